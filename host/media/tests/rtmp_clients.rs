//! Real clients against the RTMP session: ffmpeg, GStreamer and librtmp publish and play over loopback sockets.
#![allow(clippy::unwrap_used)]

mod support;

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, OnceLock};

use flyloft_media::flv::Media;
use flyloft_media::hub::{Entry, RawFrame};
use flyloft_media::rtmp::{self, Address, ClientEvent, ClientSession, Event, ServerSession, SessionConfig};
use flyloft_media::{Codec, MediaKind};
use support::{Packet, Scratch, rebased, text};

/// What a publisher sent, and what the session made of it.
struct Recorded {
    input: Vec<u8>,
    events: Vec<Event>,
}

/// Reads a publisher to its end, and lets it publish.
fn record(mut socket: TcpStream) -> Recorded {
    let mut session = ServerSession::new(SessionConfig::default());
    let mut recorded = Recorded { input: Vec::new(), events: Vec::new() };
    let mut buffer = [0; 16 << 10];
    loop {
        let count = socket.read(&mut buffer).unwrap_or(0);
        if count == 0 {
            return recorded;
        }
        recorded.input.extend_from_slice(&buffer[..count]);
        session.handle_input(&buffer[..count]).unwrap();
        collect(&mut session, &mut recorded.events);
        while let Some(bytes) = session.poll_output() {
            // A client that has said everything may be gone already.
            let _ = socket.write_all(&bytes);
        }
    }
}

/// Takes all events and answers yes to what they ask for.
fn collect(session: &mut ServerSession, events: &mut Vec<Event>) {
    while let Some(event) = session.poll_event() {
        match &event {
            Event::PublishRequested(request) => session.accept(request.id),
            Event::PlayRequested(request) => session.accept(request.id),
            _ => {}
        }
        events.push(event);
    }
}

/// A client that is stopped when the test ends early.
struct Client(Child);

impl Client {
    fn start(program: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stderr(Stdio::piped()).stdout(Stdio::null());
        Self(command.spawn().unwrap_or_else(|error| panic!("{program}: {error}")))
    }

    /// Waits for its end and gives what it complained about.
    fn finish(mut self) -> (bool, String) {
        let mut complaints = String::new();
        if let Some(mut stderr) = self.0.stderr.take() {
            let _ = stderr.read_to_string(&mut complaints);
        }
        (self.0.wait().unwrap().success(), complaints)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The clip that all tests publish: made once.
fn clip() -> &'static [u8] {
    static CLIP: OnceLock<Vec<u8>> = OnceLock::new();
    CLIP.get_or_init(|| {
        let scratch = Scratch::new("clip");
        let path = scratch.path("clip.flv");
        support::clip(&path);
        std::fs::read(path).unwrap()
    })
}

fn clip_file(scratch: &Scratch) -> std::path::PathBuf {
    let path = scratch.path("clip.flv");
    std::fs::write(&path, clip()).unwrap();
    path
}

fn listen() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

fn frames(events: &[Event]) -> Vec<&RawFrame> {
    events
        .iter()
        .filter_map(|event| match event {
            Event::Frame(frame) => Some(frame),
            _ => None,
        })
        .collect()
}

fn codecs(events: &[Event]) -> Vec<Codec> {
    let mut codecs: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            Event::Track { codec, .. } => Some(*codec),
            _ => None,
        })
        .collect();
    codecs.dedup();
    codecs
}

fn publish_with_ffmpeg(scratch: &Scratch, name: &str) -> Recorded {
    let (listener, port) = listen();
    let url = format!("rtmp://127.0.0.1:{port}/live/{name}");
    let clip = clip_file(scratch);
    let client = Client::start("ffmpeg", &["-v", "error", "-i", text(&clip), "-c", "copy", "-f", "flv", &url]);
    let recorded = record(listener.accept().unwrap().0);
    let (_, complaints) = client.finish();
    assert_eq!(complaints, "");
    recorded
}

#[test]
fn ffmpeg_publishes_what_ffprobe_sees() {
    let scratch = Scratch::new("ffmpeg-publishes");
    let Recorded { events, .. } = publish_with_ffmpeg(&scratch, "KEY?mode=CMAF&a=%41");
    let request = events.iter().find_map(|event| match event {
        Event::PublishRequested(request) => Some(request),
        _ => None,
    });
    let request = request.unwrap();
    assert_eq!((request.app.as_str(), request.name.as_str()), ("live", "KEY"));
    assert_eq!(request.parameters, [("mode".to_owned(), "CMAF".to_owned()), ("a".to_owned(), "A".to_owned())]);
    assert_eq!(codecs(&events), [Codec::H264, Codec::Aac]);
    assert_eq!(events.last(), Some(&Event::PublishFinished));
    let metadata = events.iter().find_map(|event| match event {
        Event::Metadata(metadata) => metadata.get("width").and_then(|width| width.as_number()),
        _ => None,
    });
    assert_eq!(metadata, Some(320.0));

    let expected = support::packets(&clip_file(&scratch));
    let got: Vec<Packet> = frames(&events).into_iter().map(support::packet).collect();
    assert!(got.iter().any(|packet| packet.pts != packet.dts), "the clip has B-frames");
    for kind in [MediaKind::Video, MediaKind::Audio] {
        assert_eq!(rebased(&got, kind), rebased(&expected, kind));
    }
}

#[test]
fn any_split_of_a_recorded_session_gives_the_same_events() {
    let scratch = Scratch::new("splits");
    let Recorded { input, events } = publish_with_ffmpeg(&scratch, "KEY");
    let replay = |chunks: &mut dyn Iterator<Item = &[u8]>| {
        let mut session = ServerSession::new(SessionConfig::default());
        let mut events = Vec::new();
        for chunk in chunks {
            session.handle_input(chunk).unwrap();
            collect(&mut session, &mut events);
            while session.poll_output().is_some() {}
        }
        events
    };
    assert_eq!(replay(&mut std::iter::once(&input[..])), events, "all at once");
    for size in [1, 2, 3, 7, 127, 4096] {
        assert_eq!(replay(&mut input.chunks(size)), events, "{size} bytes at a time");
    }
    // The end of the handshake, the commands, the configurations and the first frames, cut once at every byte.
    let start = &input[..input.len().min(12_000)];
    let expected = replay(&mut std::iter::once(start));
    assert!(!frames(&expected).is_empty());
    for at in 3_000..start.len() {
        let (before, after) = start.split_at(at);
        assert_eq!(replay(&mut [before, after].into_iter()), expected, "cut at byte {at}");
    }
}

/// Publishes the clip with a GStreamer sink and compares with what ffprobe sees in it.
fn gstreamer_publishes(sink: &str, location: impl Fn(u16) -> String) {
    let scratch = Scratch::new(sink);
    let clip = clip_file(&scratch);
    let (listener, port) = listen();
    let pipeline = format!(
        "filesrc location={} ! flvdemux name=d flvmux name=m streamable=true ! {sink} sync=false {} \
        d.video ! h264parse ! queue ! m. d.audio ! aacparse ! queue ! m.",
        text(&clip),
        location(port)
    );
    let arguments: Vec<_> = pipeline.split_whitespace().collect();
    let client = Client::start("gst-launch-1.0", &[&["-q"], &arguments[..]].concat());
    let Recorded { events, .. } = record(listener.accept().unwrap().0);
    let (success, complaints) = client.finish();
    assert!(success, "{complaints}");
    assert!(events.iter().any(|event| matches!(event, Event::PublishRequested(request) if request.name == "KEY")));
    assert_eq!(events.last(), Some(&Event::PublishFinished));
    let expected = support::packets(&clip_file(&scratch));
    let got: Vec<Packet> = frames(&events).into_iter().map(support::packet).collect();
    // GStreamer decides on its own decode times, on what lies between pictures, and lets nothing begin before the first picture.
    // What is shown when stays.
    let times = |packets: &[Packet], kind| -> Vec<_> {
        let origin = packets.iter().find(|packet| packet.kind == MediaKind::Video).map_or(0, |packet| packet.pts);
        let shown = packets.iter().filter(|packet| packet.kind == kind);
        shown.map(|packet| ((packet.pts - origin).max(0), packet.keyframe)).collect()
    };
    for kind in [MediaKind::Video, MediaKind::Audio] {
        let (got, expected) = (times(&got, kind), times(&expected, kind));
        let same = |(a, b): (&(i64, bool), &(i64, bool))| (a.0 - b.0).abs() <= 1 && a.1 == b.1;
        assert!(got.len() == expected.len() && got.iter().zip(&expected).all(same), "{got:?}\n{expected:?}");
    }
    let sizes = |packets: &[Packet]| -> Vec<_> { rebased(packets, MediaKind::Audio).iter().map(|packet| packet.size).collect() };
    assert_eq!(sizes(&got), sizes(&expected));
}

#[test]
fn gstreamer_publishes_with_rtmp2sink() {
    gstreamer_publishes("rtmp2sink", |port| format!("location=rtmp://127.0.0.1:{port}/live/KEY"));
}

#[test]
fn librtmp_publishes_through_rtmpsink() {
    gstreamer_publishes("rtmpsink", |port| format!("location=rtmp://127.0.0.1:{port}/live/KEY"));
}

/// Serves one player: accepts what it asks for, sends the frames, and says that the stream is over.
fn serve(mut socket: TcpStream, entries: &[Arc<Entry>]) -> Vec<Event> {
    let mut session = ServerSession::new(SessionConfig::default());
    let mut events = Vec::new();
    let mut buffer = [0; 4096];
    while !events.iter().any(|event| matches!(event, Event::PlayRequested(_))) {
        let count = socket.read(&mut buffer).unwrap();
        assert_ne!(count, 0, "the player left after {events:?}");
        session.handle_input(&buffer[..count]).unwrap();
        collect(&mut session, &mut events);
        while let Some(bytes) = session.poll_output() {
            socket.write_all(&bytes).unwrap();
        }
    }
    socket.write_all(rtmp::header(&entries[0])).unwrap();
    for entry in entries {
        socket.write_all(rtmp::message(entry)).unwrap();
    }
    session.end_play();
    while let Some(bytes) = session.poll_output() {
        socket.write_all(&bytes).unwrap();
    }
    // The player closes when it has read everything.
    while matches!(socket.read(&mut buffer), Ok(count) if count > 0) {}
    events
}

fn clip_entries() -> Vec<Arc<Entry>> {
    support::entries(support::media(&support::demux(clip())))
}

#[test]
fn ffmpeg_plays_what_was_published() {
    let scratch = Scratch::new("ffmpeg-plays");
    let (listener, port) = listen();
    let url = format!("rtmp://127.0.0.1:{port}/live/KEY?token=x");
    let got = scratch.path("got.flv");
    let client = Client::start("ffmpeg", &["-v", "error", "-i", &url, "-c", "copy", text(&got)]);
    let events = serve(listener.accept().unwrap().0, &clip_entries());
    let (success, complaints) = client.finish();
    assert!(success && complaints.is_empty(), "{complaints}");
    assert!(events.iter().any(|event| matches!(event, Event::PlayRequested(request) if request.name == "KEY")));
    let (got, expected) = (support::packets(&got), support::packets(&clip_file(&scratch)));
    for kind in [MediaKind::Video, MediaKind::Audio] {
        assert_eq!(rebased(&got, kind), rebased(&expected, kind));
    }
}

#[test]
fn librtmp_plays_what_was_published() {
    let scratch = Scratch::new("rtmpdump-plays");
    let (listener, port) = listen();
    let url = format!("rtmp://127.0.0.1:{port}/live/KEY");
    let got = scratch.path("got.flv");
    let client = Client::start("rtmpdump", &["-q", "--live", "-r", &url, "-o", text(&got)]);
    serve(listener.accept().unwrap().0, &clip_entries());
    client.finish();
    let got = support::media(&support::demux(&std::fs::read(got).unwrap()));
    let sent = support::media(&support::demux(clip()));
    let frames = |media: &[Media]| media.iter().filter(|media| matches!(media, Media::Frame(_))).count();
    assert_eq!(frames(&got), frames(&sent));
}

/// Connects to a server that is just starting.
fn connect(port: u16, server: &mut Client) -> TcpStream {
    loop {
        if let Ok(socket) = TcpStream::connect(("127.0.0.1", port)) {
            return socket;
        }
        assert_eq!(server.0.try_wait().unwrap(), None, "the server ended");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

#[test]
fn a_client_session_publishes_to_ffmpeg() {
    let scratch = Scratch::new("client-publishes");
    let port = listen().1;
    let (url, got) = (format!("rtmp://127.0.0.1:{port}/live/KEY"), scratch.path("got.flv"));
    let arguments = ["-v", "error", "-listen", "1", "-i", &url, "-c", "copy", text(&got)];
    let mut server = Client::start("ffmpeg", &arguments);
    let mut socket = connect(port, &mut server);
    let address = Address::parse(&url).unwrap();
    let mut session = ClientSession::new(address, SessionConfig::default()).unwrap();
    let mut buffer = [0; 4096];
    while session.poll_event() != Some(ClientEvent::Ready) {
        while let Some(bytes) = session.poll_output() {
            socket.write_all(&bytes).unwrap();
        }
        let count = socket.read(&mut buffer).unwrap();
        assert_ne!(count, 0, "the server left");
        session.handle_input(&buffer[..count]).unwrap();
    }
    for entry in clip_entries() {
        session.send(&entry).unwrap();
        while let Some(bytes) = session.poll_output() {
            socket.write_all(&bytes).unwrap();
        }
    }
    session.close();
    while let Some(bytes) = session.poll_output() {
        socket.write_all(&bytes).unwrap();
    }
    socket.shutdown(Shutdown::Write).unwrap();
    while matches!(socket.read(&mut buffer), Ok(count) if count > 0) {}
    drop(socket);
    server.finish();
    let (got, expected) = (support::packets(&got), support::packets(&clip_file(&scratch)));
    for kind in [MediaKind::Video, MediaKind::Audio] {
        assert_eq!(rebased(&got, kind), rebased(&expected, kind));
    }
}
