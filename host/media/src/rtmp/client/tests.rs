use std::sync::Arc;

use super::*;
use crate::WallClock;
use crate::hub::{From, RawFrame, RingLimits, Stream};
use crate::rtmp::connection::user_control;
use crate::rtmp::{Event, ServerSession};
use crate::track::{AudioInfo, Codec, MediaInfo, Track, TrackId, VideoInfo};

fn address() -> Address {
    Address::parse("rtmp://h/live/KEY?mode=CMAF").unwrap()
}

/// Three pictures with B-frames and sound between them; the configuration changes before the last picture.
fn entries() -> Vec<Arc<Entry>> {
    let stream = Stream::new("test", RingLimits::default());
    let mut publisher = stream.publish(WallClock::default()).unwrap();
    let video = |config: &'static [u8]| Track {
        id: TrackId::VIDEO,
        codec: Codec::H264,
        config: Bytes::from_static(config),
        info: MediaInfo::Video(VideoInfo { width: 320, height: 180, frame_rate: Some((25, 1)), nal_length_size: 4 }),
        codecs: String::new(),
    };
    publisher.set_track(video(b"first"));
    publisher.set_track(Track {
        id: TrackId::AUDIO,
        codec: Codec::Aac,
        config: Bytes::from_static(&[0x12, 0x10]),
        info: MediaInfo::Audio(AudioInfo { sample_rate: 44_100, channels: 2, samples_per_frame: Some(1024) }),
        codecs: String::new(),
    });
    for (i, offset) in [80, 40, 0].into_iter().enumerate() {
        if i == 2 {
            publisher.set_track(video(b"second"));
        }
        let mut push = |track, dts: i64, offset: i64, payload: Vec<u8>| {
            let payload = Bytes::from(payload);
            let frame = RawFrame {
                track,
                dts,
                composition_offset: offset * 1000,
                wrap: None,
                keyframe: i != 1 || track == TrackId::AUDIO,
                payload,
            };
            publisher.push(frame, WallClock::from_unix_micros(dts)).unwrap();
        };
        push(TrackId::VIDEO, i as i64 * 40_000, offset, vec![i as u8; 70_000]);
        push(TrackId::AUDIO, i as i64 * 40_000 + 5_000, 0, vec![0x80; 200]);
    }
    let mut out = Vec::new();
    stream.read(&mut stream.cursor(From::Oldest), &mut out, usize::MAX);
    out
}

/// Carries bytes both ways until neither side has more to say.
fn exchange(client: &mut ClientSession, server: &mut ServerSession) {
    loop {
        let to_server = std::iter::from_fn(|| client.poll_output()).collect::<Vec<_>>().concat();
        server.handle_input(&to_server).unwrap();
        let to_client = std::iter::from_fn(|| server.poll_output()).collect::<Vec<_>>().concat();
        client.handle_input(&to_client).unwrap();
        if to_server.is_empty() && to_client.is_empty() {
            return;
        }
    }
}

fn server_events(server: &mut ServerSession) -> Vec<Event> {
    std::iter::from_fn(|| server.poll_event()).collect()
}

fn asking() -> (ClientSession, ServerSession, crate::rtmp::PublishRequest) {
    let mut client = ClientSession::new(address(), SessionConfig::default()).unwrap();
    let mut server = ServerSession::new(SessionConfig::default());
    exchange(&mut client, &mut server);
    let mut events = server_events(&mut server);
    let Some(Event::PublishRequested(request)) = events.pop() else { panic!("no request") };
    (client, server, request)
}

#[test]
fn what_is_sent_is_what_the_server_gets() {
    let (mut client, mut server, request) = asking();
    assert_eq!((request.app.as_str(), request.name.as_str()), ("live", "KEY"));
    assert_eq!(request.parameters, [("mode".to_owned(), "CMAF".to_owned())]);
    let entries = entries();
    assert_eq!(client.send(&entries[0]), Err(NotReady));
    server.accept(request.id);
    exchange(&mut client, &mut server);
    assert_eq!(client.poll_event(), Some(ClientEvent::Ready));
    for entry in &entries {
        client.send(entry).unwrap();
        exchange(&mut client, &mut server);
    }
    client.close();
    exchange(&mut client, &mut server);
    let events = server_events(&mut server);
    let frames = events.iter().filter_map(|event| if let Event::Frame(frame) = event { Some(frame) } else { None });
    let frames: Vec<_> = frames
        .map(|frame| {
            (
                frame.track,
                frame.dts,
                frame.composition_offset,
                frame.keyframe,
                frame.payload.len(),
                frame.payload.first().copied(),
            )
        })
        .collect();
    let sent = entries.iter().map(|entry| &entry.frame);
    let sent: Vec<_> = sent
        .map(|frame| {
            (
                frame.track,
                frame.dts.as_micros(),
                frame.composition_offset(),
                frame.keyframe,
                frame.payload.len(),
                frame.payload.first().copied(),
            )
        })
        .collect();
    assert_eq!(frames, sent);
    let configs =
        events.iter().filter_map(|event| if let Event::Track { config, .. } = event { Some(&config[..]) } else { None });
    assert_eq!(configs.collect::<Vec<_>>(), [b"first", &[0x12, 0x10][..], b"second", &[0x12, 0x10]]);
    let widths =
        events.iter().filter_map(|event| if let Event::Metadata(metadata) = event { metadata.get("width") } else { None });
    assert_eq!(widths.collect::<Vec<_>>(), [&Value::Number(320.0); 2]);
    assert_eq!(events.last(), Some(&Event::PublishFinished));
    assert_eq!(client.poll_event(), None, "a stream that was closed by this side is not reported");
}

#[test]
fn a_refusal_is_told_with_its_reason() {
    let (mut client, mut server, request) = asking();
    server.reject(request.id, "NetStream.Publish.BadName", "no such key");
    exchange(&mut client, &mut server);
    let expected = ClientEvent::Rejected { code: "NetStream.Publish.BadName".into(), description: "no such key".into() };
    assert_eq!(client.poll_event(), Some(expected));
    assert_eq!(client.send(&entries()[0]), Err(NotReady));
}

#[test]
fn an_end_by_the_server_is_told_with_its_reason() {
    let (mut client, mut server, request) = asking();
    server.accept(request.id);
    exchange(&mut client, &mut server);
    server.end_publish("NetStream.Publish.Failed", "the room was ended");
    exchange(&mut client, &mut server);
    let expected = ClientEvent::Closed { code: "NetStream.Publish.Failed".into(), description: "the room was ended".into() };
    assert_eq!([client.poll_event(), client.poll_event()], [Some(ClientEvent::Ready), Some(expected)]);
    assert_eq!(client.send(&entries()[0]), Err(NotReady));
}

#[test]
fn the_message_stream_is_the_one_that_the_server_gave() {
    let mut client = ClientSession::new(address(), SessionConfig::default()).unwrap();
    let mut server = Connection::server(&SessionConfig::default());
    server.set_wants_media(true);
    let mut media = Vec::new();
    let mut commands = Vec::new();
    let entries = entries();
    let mut unsent = entries.iter();
    for _ in 0..20 {
        let input = std::iter::from_fn(|| client.poll_output()).collect::<Vec<_>>().concat();
        let mut input = &input[..];
        while let Some(message) = server.next(&mut input).unwrap() {
            if message.kind != kind::COMMAND {
                media.push((message.kind, message.stream_id));
                continue;
            }
            let command = Command::read(&message).unwrap();
            let info = |code: &str| amf0::object([("level", "status".into()), ("code", code.into())]);
            let answer = |name: &str, value: Value| [name.into(), command.transaction.into(), Value::Null, value];
            match command.name.as_str() {
                "connect" => server.command(0, &answer("_result", info("NetConnection.Connect.Success"))),
                "createStream" => server.command(0, &answer("_result", 7.0.into())),
                "publish" => server.command(message.stream_id, &answer("onStatus", info("NetStream.Publish.Start"))),
                _ => server.command(0, &answer("_error", info("NetConnection.Call.Failed"))),
            }
            commands.push((command.name, message.stream_id));
        }
        server.user_control(user_control::PING_REQUEST, 1);
        let output = std::iter::from_fn(|| server.poll_output()).collect::<Vec<_>>().concat();
        client.handle_input(&output).unwrap();
        if client.send(entries.first().unwrap()).is_ok()
            && let Some(entry) = unsent.next()
        {
            client.send(entry).unwrap();
        }
    }
    let names: Vec<_> = commands.iter().map(|(name, stream_id)| (name.as_str(), *stream_id)).collect();
    assert_eq!(names, [("connect", 0), ("releaseStream", 0), ("FCPublish", 0), ("createStream", 0), ("publish", 7)]);
    assert!(media.len() > entries.len() && media.iter().all(|(_, stream_id)| *stream_id == 7), "{media:?}");
}
