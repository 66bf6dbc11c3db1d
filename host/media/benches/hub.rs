//! Time in the hub for one picture of 12 kB: published into a ring that is full, and read by many followers.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use bytes::Bytes;
use divan::Bencher;
use divan::counter::ItemsCount;
use flyloft_media::hub::{Cursor, From, Publisher, RawFrame, RingLimits, Stream};
use flyloft_media::{Codec, MediaInfo, Track, TrackId, VideoInfo, WallClock};

const GOP: u64 = 60;

fn main() {
    divan::main();
}

struct Show {
    stream: Arc<Stream>,
    publisher: Publisher,
    payload: Bytes,
    frames: u64,
}

impl Show {
    fn new() -> Self {
        let stream = Stream::new("bench", RingLimits { max_frames: 512, ..RingLimits::default() });
        let mut publisher = stream.publish(WallClock::default()).unwrap();
        publisher.set_track(Track {
            id: TrackId::VIDEO,
            codec: Codec::H264,
            config: Bytes::from_static(b"avcC"),
            info: MediaInfo::Video(VideoInfo { width: 1280, height: 720, frame_rate: None, nal_length_size: 4 }),
            codecs: String::new(),
        });
        let mut show = Self { stream, publisher, payload: Bytes::from(vec![7; 12 << 10]), frames: 0 };
        for _ in 0..18 * GOP {
            show.publish();
        }
        show
    }

    fn publish(&mut self) {
        let time = self.frames as i64 * 33_333;
        let keyframe = self.frames.is_multiple_of(GOP);
        let payload = self.payload.clone();
        let frame = RawFrame { track: TrackId::VIDEO, dts: time, composition_offset: 0, wrap: None, keyframe, payload };
        self.publisher.push(frame, WallClock::from_unix_micros(time)).unwrap();
        self.frames += 1;
    }
}

/// A picture comes in; the oldest one leaves.
#[divan::bench]
fn publish(bencher: Bencher<'_, '_>) {
    let mut show = Show::new();
    bencher.bench_local(|| show.publish());
}

/// A picture comes in and each follower takes it, as the shards, the segmenter and viewers over TLS do.
#[divan::bench(args = [1, 100, 1000])]
fn publish_and_follow(bencher: Bencher<'_, '_>, followers: usize) {
    let mut show = Show::new();
    let mut cursors: Vec<Cursor> = (0..followers).map(|_| show.stream.cursor(From::Next)).collect();
    let mut taken = Vec::with_capacity(16);
    bencher.counter(ItemsCount::new(followers)).bench_local(|| {
        show.publish();
        for cursor in &mut cursors {
            taken.clear();
            show.stream.read(cursor, &mut taken, 16);
            divan::black_box(&taken);
        }
    });
}

/// A viewer joins: it takes everything from the latest key frame on.
#[divan::bench]
fn join(bencher: Bencher<'_, '_>) {
    let show = Show::new();
    let mut taken = Vec::with_capacity(GOP as usize);
    bencher.bench_local(|| {
        taken.clear();
        let mut cursor = show.stream.cursor(From::KeyFrame);
        show.stream.read(&mut cursor, &mut taken, GOP as usize);
        taken.len()
    });
}
