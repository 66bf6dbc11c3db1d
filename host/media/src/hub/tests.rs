use super::*;
use crate::track::{AudioInfo, Codec, MediaInfo, VideoInfo};

pub(crate) fn video_track() -> Track {
    Track {
        id: TrackId::VIDEO,
        codec: Codec::H264,
        config: Bytes::from_static(b"avcC"),
        info: MediaInfo::Video(VideoInfo { width: 16, height: 16, frame_rate: None, nal_length_size: 4 }),
        codecs: "avc1.64001f".into(),
    }
}

fn audio_track() -> Track {
    Track {
        id: TrackId::AUDIO,
        codec: Codec::Aac,
        config: Bytes::from_static(&[0x12, 0x10]),
        info: MediaInfo::Audio(AudioInfo { sample_rate: 44_100, channels: 2, samples_per_frame: Some(1024) }),
        codecs: "mp4a.40.2".into(),
    }
}

fn at(millis: i64) -> WallClock {
    WallClock::from_unix_micros(millis * 1000)
}

fn push(publisher: &mut Publisher, track: TrackId, millis: i64, keyframe: bool, size: usize) {
    let raw =
        RawFrame { track, dts: millis * 1000, composition_offset: 0, wrap: None, keyframe, payload: Bytes::from(vec![0; size]) };
    publisher.push(raw, at(millis)).unwrap();
}

/// A GOP of ten frames of 100 bytes at 25 frames a second, from `first` on.
fn push_gops(publisher: &mut Publisher, gops: std::ops::Range<i64>) {
    for i in gops.start * 10..gops.end * 10 {
        push(publisher, TrackId::VIDEO, i * 40, i % 10 == 0, 100);
    }
}

fn stream() -> (Arc<Stream>, Publisher) {
    let limits = RingLimits { max_bytes: 10_000, max_frames: 1000, max_age: 1_000_000 };
    let stream = Stream::new("test", limits);
    let mut publisher = stream.publish(at(0)).unwrap();
    publisher.set_track(video_track());
    (stream, publisher)
}

fn read(stream: &Stream, cursor: &mut Cursor) -> Vec<u64> {
    let mut out = Vec::new();
    stream.read(cursor, &mut out, usize::MAX);
    out.iter().map(|entry| entry.seq).collect()
}

#[test]
fn a_reader_starts_on_the_latest_key_frame_and_misses_nothing() {
    let (stream, mut publisher) = stream();
    push_gops(&mut publisher, 0..2);
    push(&mut publisher, TrackId::VIDEO, 800, true, 100);
    push(&mut publisher, TrackId::VIDEO, 840, false, 100);
    let mut cursor = stream.cursor(From::KeyFrame);
    assert_eq!(read(&stream, &mut cursor), [20, 21]);
    assert_eq!(stream.read(&mut cursor, &mut Vec::new(), 1), Read::Empty);
    push(&mut publisher, TrackId::VIDEO, 880, false, 100);
    assert_eq!(read(&stream, &mut cursor), [22]);
    assert_eq!(cursor.skipped(), 0);
}

#[test]
fn a_reader_of_the_next_key_frame_waits_for_it() {
    let (stream, mut publisher) = stream();
    push_gops(&mut publisher, 0..1);
    let mut cursor = stream.cursor(From::Next);
    push(&mut publisher, TrackId::VIDEO, 400, false, 100);
    assert_eq!(read(&stream, &mut cursor), [0; 0]);
    push(&mut publisher, TrackId::VIDEO, 440, true, 100);
    assert_eq!(read(&stream, &mut cursor), [11]);
}

#[test]
fn a_slow_reader_goes_on_at_a_key_frame_and_memory_stays_bounded() {
    let (stream, mut publisher) = stream();
    let mut cursor = stream.cursor(From::Next);
    push_gops(&mut publisher, 0..100);
    let stats = stream.stats();
    assert!(stats.ring_bytes <= 10_000 && stats.ring_frames <= 100, "{stats:?}");
    let seqs = read(&stream, &mut cursor);
    assert_eq!(seqs[0] % 10, 0, "starts on a key frame");
    assert_eq!(*seqs.last().unwrap(), 999);
    assert_eq!(cursor.skipped(), seqs[0]);
    assert!(seqs.windows(2).all(|pair| pair[1] == pair[0] + 1));
}

#[test]
fn a_gop_longer_than_the_age_limit_is_kept_whole() {
    let (stream, mut publisher) = stream();
    push(&mut publisher, TrackId::VIDEO, 0, true, 10);
    for i in 1..100 {
        push(&mut publisher, TrackId::VIDEO, i * 40, false, 10);
    }
    assert_eq!(read(&stream, &mut stream.cursor(From::KeyFrame)).len(), 100);
}

#[test]
fn audio_alone_can_be_joined_anywhere() {
    let stream = Stream::new("test", RingLimits::default());
    let mut publisher = stream.publish(at(0)).unwrap();
    publisher.set_track(audio_track());
    for i in 0..5 {
        push(&mut publisher, TrackId::AUDIO, i * 23, true, 10);
    }
    assert_eq!(read(&stream, &mut stream.cursor(From::KeyFrame)), [4]);
}

#[test]
fn one_publisher_at_a_time_and_a_return_is_a_new_epoch() {
    let (stream, mut publisher) = stream();
    assert_eq!(stream.publish(at(0)).unwrap_err(), PublishError::Busy);
    push_gops(&mut publisher, 0..1);
    let mut cursor = stream.cursor(From::KeyFrame);
    drop(publisher);
    assert!(!stream.is_publishing());
    let mut publisher = stream.publish(at(500)).unwrap();
    assert!(stream.tracks().is_empty());
    publisher.set_track(video_track());
    push(&mut publisher, TrackId::VIDEO, 0, true, 100);
    let mut out = Vec::new();
    stream.read(&mut cursor, &mut out, usize::MAX);
    let (before, after) = (&out[9], &out[10]);
    assert_eq!((before.epoch, after.epoch), (0, 1));
    assert!(after.frame.dts > before.frame.dts);
    assert!(after.tracks.generation() > before.tracks.generation());
}

#[test]
fn the_end_comes_after_what_is_left() {
    let (stream, mut publisher) = stream();
    push_gops(&mut publisher, 0..1);
    let mut cursor = stream.cursor(From::KeyFrame);
    stream.end();
    assert_eq!(read(&stream, &mut cursor).len(), 10);
    assert_eq!(stream.read(&mut cursor, &mut Vec::new(), 1), Read::Ended);
    let raw =
        RawFrame { track: TrackId::VIDEO, dts: 0, composition_offset: 0, wrap: None, keyframe: true, payload: Bytes::new() };
    assert_eq!(publisher.push(raw, at(0)), Err(PushError::Ended));
}

#[test]
fn a_frame_without_configuration_is_refused() {
    let (_stream, mut publisher) = stream();
    let raw =
        RawFrame { track: TrackId::AUDIO, dts: 0, composition_offset: 0, wrap: None, keyframe: true, payload: Bytes::new() };
    assert_eq!(publisher.push(raw, at(0)), Err(PushError::NoTrack(TrackId::AUDIO)));
}

#[test]
fn a_serialized_form_is_made_once() {
    let (stream, mut publisher) = stream();
    push_gops(&mut publisher, 0..1);
    let mut out = Vec::new();
    stream.read(&mut stream.cursor(From::KeyFrame), &mut out, 1);
    let first = out[0].memo(Wire::FlvTag, || Bytes::from_static(b"tag")).clone();
    let second = out[0].memo(Wire::FlvTag, || unreachable!()).clone();
    assert_eq!(first.as_ptr(), second.as_ptr());
}
