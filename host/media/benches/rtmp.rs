//! Time for one video message of 12 kB, about a picture at 3 Mbit/s: into the session, out as chunks, out as an FLV tag.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use bytes::Bytes;
use divan::Bencher;
use divan::counter::BytesCount;
use flyloft_media::flv;
use flyloft_media::hub::{Cursor, Entry, From, Publisher, RawFrame, RingLimits, Stream};
use flyloft_media::rtmp::{self, Event, ServerSession, SessionConfig};
use flyloft_media::{Codec, MediaInfo, Track, TrackId, VideoInfo, WallClock};

const SIZE: usize = 12 << 10;

fn main() {
    divan::main();
}

/// A source of frames of which nothing has been serialized yet.
struct Source {
    stream: Arc<Stream>,
    publisher: Publisher,
    cursor: Cursor,
    time: i64,
}

impl Source {
    fn new() -> Self {
        let stream = Stream::new("bench", RingLimits { max_frames: 256, ..RingLimits::default() });
        let mut publisher = stream.publish(WallClock::default()).unwrap();
        publisher.set_track(Track {
            id: TrackId::VIDEO,
            codec: Codec::H264,
            config: Bytes::from_static(b"avcC"),
            info: MediaInfo::Video(VideoInfo { width: 1280, height: 720, frame_rate: None, nal_length_size: 4 }),
            codecs: String::new(),
        });
        let cursor = stream.cursor(From::Next);
        let mut source = Self { stream, publisher, cursor, time: 0 };
        // As in a stream that has been running for a while: the ring is full, and new frames take the memory of old ones.
        for _ in 0..1024 {
            let entry = source.entry();
            rtmp::message(&entry);
            flv::tag(&entry);
        }
        source
    }

    fn entry(&mut self) -> Arc<Entry> {
        self.time += 33_000;
        let payload = Bytes::from(vec![7; SIZE]);
        let frame =
            RawFrame { track: TrackId::VIDEO, dts: self.time, composition_offset: 0, wrap: None, keyframe: true, payload };
        self.publisher.push(frame, WallClock::from_unix_micros(self.time)).unwrap();
        let mut out = Vec::new();
        self.stream.read(&mut self.cursor, &mut out, 1);
        out.remove(0)
    }
}

#[divan::bench(sample_count = 2000, sample_size = 1)]
fn rtmp_message_out(bencher: Bencher<'_, '_>) {
    let mut source = Source::new();
    bencher.counter(BytesCount::new(SIZE)).with_inputs(|| source.entry()).bench_local_values(|entry| {
        divan::black_box(rtmp::message(&entry));
        entry
    });
}

#[divan::bench(sample_count = 2000, sample_size = 1)]
fn flv_tag_out(bencher: Bencher<'_, '_>) {
    let mut source = Source::new();
    bencher.counter(BytesCount::new(SIZE)).with_inputs(|| source.entry()).bench_local_values(|entry| {
        divan::black_box(flv::tag(&entry));
        entry
    });
}

/// A chunk stream as encoders write it: full header, then continuations.
fn message(chunk_size: usize, kind: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![6, 0, 0, 0];
    out.extend(&(body.len() as u32).to_be_bytes()[1..]);
    out.extend([kind, 1, 0, 0, 0]);
    for (i, chunk) in body.chunks(chunk_size).enumerate() {
        if i > 0 {
            out.push(0xc6);
        }
        out.extend(chunk);
    }
    out
}

/// A command of strings, nulls (empty) and a leading transaction number.
fn command(stream_id: u8, name: &str, transaction: f64, object: &[u8], arguments: &[&str]) -> Vec<u8> {
    let mut body = vec![0x02, 0, name.len() as u8];
    body.extend(name.as_bytes());
    body.push(0);
    body.extend(transaction.to_be_bytes());
    body.extend(object);
    for argument in arguments {
        body.extend([0x02, 0, argument.len() as u8]);
        body.extend(argument.as_bytes());
    }
    let mut out = message(128, 20, &body);
    out[8] = stream_id;
    out
}

/// A session whose publisher was accepted and sends chunks of `chunk_size`.
fn publishing(chunk_size: usize) -> ServerSession {
    let mut session = ServerSession::new(SessionConfig::default());
    session.handle_input(&[3; 1 + 2 * 1536]).unwrap();
    session.handle_input(&command(0, "connect", 1.0, &[0x03, 0, 0, 9], &[])).unwrap();
    session.handle_input(&command(0, "createStream", 2.0, &[0x05], &[])).unwrap();
    session.handle_input(&command(1, "publish", 3.0, &[0x05], &["KEY"])).unwrap();
    while let Some(event) = session.poll_event() {
        if let Event::PublishRequested(request) = event {
            session.accept(request.id);
        }
    }
    session.handle_input(&message(128, 1, &(chunk_size as u32).to_be_bytes())).unwrap();
    session.handle_input(&message(chunk_size, 9, b"\x17\0\0\0\0avcC")).unwrap();
    assert!(matches!(session.poll_event(), Some(Event::Track { .. })));
    while session.poll_output().is_some() {}
    session
}

#[divan::bench(args = [128, 4096, 65_536], sample_count = 2000, sample_size = 1)]
fn rtmp_message_in(bencher: Bencher<'_, '_>, chunk_size: usize) {
    let mut session = publishing(chunk_size);
    let input = message(chunk_size, 9, &[&b"\x17\x01\0\0\0"[..], &[7; SIZE]].concat());
    bencher.counter(BytesCount::new(SIZE)).bench_local(|| {
        session.handle_input(divan::black_box(&input)).unwrap();
        let frame = session.poll_event();
        assert!(matches!(frame, Some(Event::Frame(_))));
        while session.poll_output().is_some() {}
        frame
    });
}
