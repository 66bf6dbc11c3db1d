//! What a frame costs in the segmenter, and what a playlist, a manifest and a media lookup cost: `cargo bench -p flyloft-media --bench cmaf`.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use flyloft_media::cmaf::{Resource, Segmenter, SegmenterConfig};
use flyloft_media::hub::{Entry, From, RawFrame, Read, RingLimits, Stream};
use flyloft_media::{Codec, MediaKind, TrackId, WallClock, codec, dash, hls};

const AVCC: &[u8] = &[
    1, 0x64, 0, 0x0d, 0xff, 0xe1, 0, 0x19, 0x67, 0x64, 0, 0x0d, 0xac, 0xd9, 0x41, 0x41, 0x9f, 0x9f, 0x01, 0x10, 0, 0, 3, 0, 0x10,
    0, 0, 3, 3, 0xc0, 0xf1, 0x42, 0x99, 0x60, 1, 0, 6, 0x68, 0xeb, 0xe3, 0xcb, 0x22, 0xc0,
];

/// Ten minutes of 30 pictures a second at 2.5 Mbit/s and 47 sounds a second.
fn entries() -> Vec<Arc<Entry>> {
    let now = |millis: i64| WallClock::from_unix_micros(1_790_000_000_000_000 + millis * 1000);
    let stream = Stream::new("bench", RingLimits { max_frames: 100_000, max_bytes: usize::MAX, max_age: i64::MAX });
    let mut publisher = stream.publish(now(0)).unwrap();
    publisher.set_track(codec::track(TrackId::VIDEO, Codec::H264, Bytes::from_static(AVCC)).unwrap());
    publisher.set_track(codec::track(TrackId::AUDIO, Codec::Aac, Bytes::from_static(&[0x11, 0x90])).unwrap());
    let (picture, sound) = (Bytes::from(vec![1; 10_000]), Bytes::from(vec![2; 300]));
    let mut cursor = stream.cursor(From::Oldest);
    let mut sounds = 0;
    for i in 0..18_000 {
        let millis = i * 1000 / 30;
        let mut push = |track, millis: i64, keyframe, payload: &Bytes| {
            let payload = payload.clone();
            let raw = RawFrame { track, dts: millis * 1000, composition_offset: 0, wrap: None, keyframe, payload };
            publisher.push(raw, now(millis)).unwrap();
        };
        while sounds * 1024 / 48 <= millis {
            push(TrackId::AUDIO, sounds * 1024 / 48, true, &sound);
            sounds += 1;
        }
        push(TrackId::VIDEO, millis, i % 60 == 0, &picture);
    }
    let mut entries = Vec::new();
    while let Read::Entries(_) = stream.read(&mut cursor, &mut entries, 1000) {}
    entries
}

/// Prints the fastest and the median of `rounds` times `of` operations.
fn measure(what: &str, of: usize, rounds: usize, mut operation: impl FnMut()) {
    let mut times: Vec<Duration> = (0..rounds)
        .map(|_| {
            let start = Instant::now();
            operation();
            start.elapsed()
        })
        .collect();
    times.sort();
    let micros = |time: Duration| time.as_secs_f64() * 1e6 / of as f64;
    println!("{what:<32} {:>8.2} µs fastest {:>8.2} µs median", micros(times[0]), micros(times[times.len() / 2]));
}

fn main() {
    let entries = entries();
    measure("frame through the segmenter", entries.len(), 7, || {
        let mut segmenter = Segmenter::new(SegmenterConfig::new("stamp"));
        for entry in &entries {
            black_box(segmenter.push(entry));
        }
    });
    let mut segmenter = Segmenter::new(SegmenterConfig::new("stamp"));
    entries.iter().for_each(|entry| {
        segmenter.push(entry);
    });
    let window = segmenter.window();
    let now = WallClock::from_unix_micros(1_790_000_600_000_000);
    let many = |operation: &dyn Fn()| (0..1000).for_each(|_| operation());
    measure("multivariant playlist", 1000, 20, || many(&|| drop(black_box(hls::multivariant(&window, "")))));
    measure("media playlist", 1000, 20, || many(&|| drop(black_box(hls::media(&window, MediaKind::Video, false, "")))));
    measure("delta playlist", 1000, 20, || many(&|| drop(black_box(hls::media(&window, MediaKind::Video, true, "")))));
    measure("low-latency manifest", 1000, 20, || many(&|| drop(black_box(dash::mpd(&window, now, "")))));
    measure("manifest with timeline", 1000, 20, || many(&|| drop(black_box(dash::timeline_mpd(&window, now, "")))));
    let msn = window.video.as_ref().unwrap().segments[0].msn;
    let segment = Resource::Segment { stamp: "stamp".into(), kind: MediaKind::Video, msn };
    measure("segment lookup", 1000, 20, || many(&|| drop(black_box(window.resource(&segment)))));
}
