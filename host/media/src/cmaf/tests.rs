//! Invariants of the segmenter under any input, and the rules for tracks that come late, stop, change or never come.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use mp4_atom::{Header, Moof, ReadAtom, ReadFrom};
use proptest::prelude::*;

use super::*;
use crate::codec;
use crate::hub::{Cursor, From, Publisher, RawFrame, Read, RingLimits, Stream};
use crate::{Codec, MediaKind, TrackId, WallClock};

/// x264, 320x180, 30 frames a second.
pub(crate) const AVCC: &[u8] = &[
    1, 0x64, 0, 0x0d, 0xff, 0xe1, 0, 0x19, 0x67, 0x64, 0, 0x0d, 0xac, 0xd9, 0x41, 0x41, 0x9f, 0x9f, 0x01, 0x10, 0, 0, 3, 0, 0x10,
    0, 0, 3, 3, 0xc0, 0xf1, 0x42, 0x99, 0x60, 1, 0, 6, 0x68, 0xeb, 0xe3, 0xcb, 0x22, 0xc0,
];
pub(crate) const AAC_48K_STEREO: &[u8] = &[0x11, 0x90];
pub(crate) const AAC_44K_STEREO: &[u8] = &[0x12, 0x10];
const V: TrackId = TrackId::VIDEO;
const A: TrackId = TrackId::AUDIO;

/// A publisher and a segmenter on a clock of their own, in milliseconds.
pub(crate) struct Rig {
    stream: Arc<Stream>,
    publisher: Option<Publisher>,
    cursor: Cursor,
    pub segmenter: Segmenter,
    now: i64,
    /// The frame with which the groups of pictures of [`Rig::play`] begin.
    first_keyframe: i64,
}

impl Rig {
    pub fn new(config: SegmenterConfig) -> Self {
        let stream = Stream::new("test", RingLimits::default());
        let cursor = stream.cursor(From::Oldest);
        Self { stream, publisher: None, cursor, segmenter: Segmenter::new(config), now: 1_790_000_000_000, first_keyframe: 0 }
    }

    fn clock(&self) -> WallClock {
        WallClock::from_unix_micros(self.now * 1000)
    }

    pub fn wait(&mut self, millis: i64) {
        self.now += millis;
    }

    pub fn publish(&mut self) {
        self.publisher = None;
        self.publisher = Some(self.stream.publish(self.clock()).unwrap());
    }

    pub fn track(&mut self, id: TrackId, codec: Codec, config: &'static [u8]) {
        let track = codec::track(id, codec, Bytes::from_static(config)).unwrap();
        self.publisher.as_mut().unwrap().set_track(track);
    }

    pub fn push(&mut self, track: TrackId, millis: i64, composition: i64, keyframe: bool, size: usize) {
        let raw = RawFrame {
            track,
            dts: millis * 1000,
            composition_offset: composition * 1000,
            wrap: None,
            keyframe,
            payload: Bytes::from(vec![track.0; size]),
        };
        let now = self.clock();
        self.publisher.as_mut().unwrap().push(raw, now).unwrap();
        let mut entries = Vec::new();
        while let Read::Entries(_) = self.stream.read(&mut self.cursor, &mut entries, 64) {}
        for entry in &entries {
            self.segmenter.push(entry);
        }
    }

    /// The frame of [`Rig::play`] at `millis` is a key frame, and others follow from there on.
    pub fn keyframe_at(&mut self, millis: i64) {
        self.first_keyframe = millis / 40;
    }

    /// `from..to` milliseconds of 25 pictures a second, a key frame every two seconds, and of sound at 48 kHz, as asked for.
    pub fn play(&mut self, from: i64, to: i64, video: bool, audio: bool) {
        let mut sound = (from * 48 + 1023) / 1024;
        for frame in (from + 39) / 40..to / 40 {
            let millis = frame * 40;
            while audio && sound * 1024 / 48 <= millis {
                self.push(A, sound * 1024 / 48, 0, true, 200);
                sound += 1;
            }
            if video {
                let keyframe = (frame - self.first_keyframe) % 50 == 0;
                self.push(V, millis, if keyframe { 80 } else { 40 * (frame % 3) }, keyframe, 1000);
            }
            self.now += 40;
        }
        while audio && sound * 1024 / 48 < to {
            self.push(A, sound * 1024 / 48, 0, true, 200);
            sound += 1;
        }
    }

    pub fn both() -> Self {
        let mut rig = Self::new(SegmenterConfig::new("stamp"));
        rig.publish();
        rig.track(V, Codec::H264, AVCC);
        rig.track(A, Codec::Aac, AAC_48K_STEREO);
        rig
    }

    pub fn window(&self) -> Arc<Window> {
        self.segmenter.window()
    }
}

/// Decode time, duration, sequence number and payload length of a part, after its boxes were checked.
fn dissect(part: &Part, timescale: u32) -> (u64, u64, u32) {
    let bytes = &part.bytes[..];
    let mut at = 0;
    let mut moof: Option<(usize, Moof)> = None;
    while at < bytes.len() {
        let size = u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
        match &bytes[at + 4..at + 8] {
            b"moof" => {
                let mut cursor = std::io::Cursor::new(&bytes[at..at + size]);
                let header = Header::read_from(&mut cursor).unwrap();
                moof = Some((at, Moof::read_atom(&header, &mut cursor).unwrap()));
            }
            b"mdat" => {
                let (start, moof) = moof.as_ref().unwrap();
                let trun = &moof.traf[0].trun[0];
                assert_eq!(start + trun.data_offset.unwrap() as usize, at + 8, "data_offset points behind the mdat's header");
                let sizes: u32 = trun.samples.iter().map(|sample| sample.size.unwrap()).sum();
                assert_eq!(sizes as usize, size - 8);
            }
            b"prft" => {}
            other => panic!("box {other:?}"),
        }
        at += size;
    }
    let (_, moof) = moof.unwrap();
    let traf = &moof.traf[0];
    let duration: u64 = traf.trun[0].samples.iter().map(|sample| u64::from(sample.duration.unwrap())).sum();
    assert!(traf.trun[0].samples.iter().all(|sample| sample.cts.unwrap_or(0) >= 0));
    let seconds = duration as f64 / f64::from(timescale);
    assert!((seconds - part.duration.as_secs_f64()).abs() < 1e-6);
    (traf.tfdt.as_ref().unwrap().base_media_decode_time, duration, moof.mfhd.sequence_number)
}

/// What holds for every window.
fn check(window: &Window) {
    let mut starts: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
    for rendition in window.renditions() {
        let timescale = rendition.inits[0].timescale;
        let mut before: Option<(&Segment, u64, u32)> = None;
        for (i, segment) in rendition.segments.iter().enumerate() {
            assert!(segment.complete || i + 1 == rendition.segments.len(), "only the last segment is open");
            assert!(rendition.inits.iter().any(|init| init.version == segment.init.version));
            let longest = f64::from(window.target_duration) + 0.5;
            assert!(segment.duration.as_secs_f64() < longest, "{:?} {} {:?}", rendition.kind, segment.msn, segment.duration);
            let (mut end, mut sequence) = (None, 0);
            if let Some((last, last_end, last_sequence)) = before {
                assert_eq!(segment.msn, last.msn + 1, "media sequence numbers rise by one");
                if segment.discontinuity == last.discontinuity {
                    (end, sequence) = (Some(last_end), last_sequence);
                    assert!(segment.program_date_time > last.program_date_time);
                } else {
                    assert!(segment.discontinuity > last.discontinuity);
                    // Sound may start a little before the picture.
                    assert!(segment.program_date_time.micros_since(last.program_date_time) > -300_000);
                }
            }
            for part in &segment.parts {
                let (start, duration, number) = dissect(part, timescale);
                assert!(end.is_none_or(|end| end == start), "decode times have no hole and no overlap");
                assert!(number > sequence, "sequence numbers rise");
                (end, sequence) = (Some(start + duration), number);
            }
            before = Some((segment, end.unwrap(), sequence));
            starts.entry(segment.msn).or_default().push(segment.start.as_micros() as f64 / 1e6);
        }
    }
    for (msn, starts) in starts {
        if let [video, audio] = starts[..] {
            assert!((video - audio).abs() < 0.35, "segment {msn} starts at {video} and {audio}");
        }
    }
}

#[test]
fn parts_come_while_a_segment_is_made() {
    let mut rig = Rig::both();
    rig.play(0, 5000, true, true);
    let window = rig.window();
    check(&window);
    assert!(window.ready);
    assert_eq!(window.target_duration, 2);
    let video = window.video.as_ref().unwrap();
    assert_eq!(video.segments.len(), 3);
    // 25 frames of the third segment came: one is held, eight make a part.
    assert_eq!(video.next(), (2, 3));
    assert_eq!(window.has(MediaKind::Video, 2, Some(2)), Availability::Ready);
    assert_eq!(window.has(MediaKind::Video, 2, Some(3)), Availability::Wait);
    assert_eq!(window.has(MediaKind::Video, 2, None), Availability::Wait);
    assert_eq!(window.has(MediaKind::Video, 5, None), Availability::TooFarAhead);
    let resource = |path: &str| window.resource(&parse_path(path).unwrap());
    assert!(matches!(resource("stamp/video/2.m4s"), Lookup::Found(Content { growing: true, .. })));
    assert!(matches!(resource("stamp/video/1.m4s"), Lookup::Found(Content { growing: false, .. })));
    assert_eq!(resource("stamp/video/2.3.m4s"), Lookup::Wait);
    assert_eq!(resource("stamp/video/2.4.m4s"), Lookup::Gone);
    assert_eq!(resource("stamp/video/3.m4s"), Lookup::Wait);
    assert_eq!(resource("other/video/1.m4s"), Lookup::Gone);
}

#[test]
fn playlists_wait_for_a_segment_and_a_part_of_the_next() {
    let mut rig = Rig::both();
    rig.play(0, 2200, true, true);
    assert_eq!(rig.window().video.as_ref().unwrap().complete().count(), 1);
    assert!(!rig.window().is_playable());
    rig.play(2200, 2600, true, true);
    assert!(rig.window().is_playable());
}

#[test]
fn sound_that_stops_becomes_silence_and_comes_back() {
    let mut rig = Rig::both();
    rig.play(0, 3000, true, true);
    rig.play(3000, 9000, true, false);
    rig.play(9000, 13_000, true, true);
    rig.segmenter.finish();
    let window = rig.window();
    check(&window);
    assert!(window.renditions().all(|rendition| rendition.segments.len() == 7));
    assert!(window.renditions().all(|rendition| rendition.segments.iter().all(|segment| segment.discontinuity == 0)));
}

#[test]
fn a_picture_that_stops_is_shown_again() {
    let mut rig = Rig::both();
    rig.play(0, 4000, true, true);
    rig.play(4000, 14_000, false, true);
    let during = rig.window();
    check(&during);
    assert!(during.video.as_ref().unwrap().segments.len() >= 5, "segments go on");
    rig.play(14_000, 20_000, true, true);
    rig.segmenter.finish();
    let window = rig.window();
    check(&window);
    let video = window.video.as_ref().unwrap();
    assert!(video.segments.iter().all(|segment| segment.discontinuity == 0));
}

#[test]
fn sound_that_comes_late_starts_with_a_key_frame_and_a_discontinuity() {
    let mut rig = Rig::both();
    rig.play(0, 5000, true, false);
    assert!(rig.window().audio.is_none() && rig.window().ready);
    rig.play(5000, 11_000, true, true);
    rig.segmenter.finish();
    let window = rig.window();
    check(&window);
    let (video, audio) = (window.video.as_ref().unwrap(), window.audio.as_ref().unwrap());
    assert_eq!(video.segments.iter().map(|segment| segment.discontinuity).collect::<Vec<_>>(), [0, 0, 0, 1, 1, 1]);
    assert_eq!((audio.segments[0].msn, audio.segments[0].discontinuity), (3, 1));
}

#[test]
fn a_picture_that_comes_late_starts_with_a_discontinuity() {
    let mut rig = Rig::new(SegmenterConfig::new("stamp"));
    rig.publish();
    rig.track(A, Codec::Aac, AAC_48K_STEREO);
    rig.play(0, 7000, false, true);
    assert!(rig.window().video.is_none() && rig.window().ready);
    rig.track(V, Codec::H264, AVCC);
    rig.play(7000, 13_000, true, true);
    rig.segmenter.finish();
    let window = rig.window();
    check(&window);
    assert!(window.video.as_ref().unwrap().segments.iter().all(|segment| segment.discontinuity == 1));
}

#[test]
fn another_audio_configuration_makes_a_new_initialization_segment() {
    let mut rig = Rig::both();
    rig.play(0, 5000, true, true);
    rig.track(A, Codec::Aac, AAC_44K_STEREO);
    rig.play(5000, 9000, true, true);
    rig.segmenter.finish();
    let window = rig.window();
    check_across_timescales(&window);
    let audio = window.audio.as_ref().unwrap();
    assert_eq!(audio.inits.iter().map(|init| init.timescale).collect::<Vec<_>>(), [48_000, 44_100]);
    assert_eq!(window.video.as_ref().unwrap().inits.len(), 1);
    assert_eq!(window.periods.len(), 2);
}

/// Like [`check`] for the numbers alone.
fn check_across_timescales(window: &Window) {
    for rendition in window.renditions() {
        assert!(rendition.segments.windows(2).all(|pair| pair[1].msn == pair[0].msn + 1));
    }
}

#[test]
fn what_leaves_the_playlist_stays_a_while_and_memory_is_bounded() {
    let config = SegmenterConfig { max_bytes: 1_000_000, ..SegmenterConfig::new("stamp") };
    let mut rig = Rig::new(config);
    rig.publish();
    rig.track(V, Codec::H264, AVCC);
    rig.play(0, 100_000, true, false);
    let window = rig.window();
    let video = window.video.as_ref().unwrap();
    assert_eq!(video.listed().len(), 11, "ten complete ones and the open one");
    let bytes: u64 = video.segments.iter().map(|segment| segment.bytes()).sum();
    assert!(bytes <= 1_000_000 + 60_000, "{bytes}");
    assert!(video.segments.len() > video.listed().len());
    let (gone, there) = (video.segments[0].msn - 1, video.segments[0].msn);
    let segment = |msn| Resource::Segment { stamp: "stamp".into(), kind: MediaKind::Video, msn };
    assert_eq!(window.resource(&segment(gone)), Lookup::Gone);
    assert!(matches!(window.resource(&segment(there)), Lookup::Found(_)));
}

#[test]
fn key_frames_too_far_apart_are_cut_in_between() {
    let mut rig = Rig::new(SegmenterConfig::new("stamp"));
    rig.publish();
    rig.track(V, Codec::H264, AVCC);
    for frame in 0..1000 {
        rig.push(V, frame * 40, 0, frame == 0 || frame == 50 || frame == 400, 100);
        rig.wait(40);
    }
    let window = rig.window();
    check(&window);
    assert_eq!(window.target_duration, 2);
    let video = window.video.as_ref().unwrap();
    assert!(video.segments.iter().any(|segment| !segment.independent()));
    let again = video.segments.iter().find(|segment| segment.independent() && segment.msn > 1).unwrap();
    assert_eq!(again.start.as_millis(), 1000 + 400 * 40, "starts on the key frame again");
}

#[test]
fn a_stall_brings_out_what_is_there() {
    let mut rig = Rig::both();
    rig.play(0, 4800, true, true);
    let before = rig.window().video.as_ref().unwrap().next();
    assert!(!rig.segmenter.tick(rig.clock()));
    rig.wait(1500);
    assert!(rig.segmenter.tick(rig.clock()));
    let after = rig.window().video.as_ref().unwrap().next();
    assert_eq!(after, (before.0, before.1 + 1));
    rig.play(4800, 9000, true, true);
    check(&rig.window());
}

#[test]
fn a_hole_longer_than_a_segment_is_a_discontinuity() {
    let mut rig = Rig::both();
    rig.play(0, 4000, true, true);
    rig.wait(26_000);
    rig.play(30_000, 34_000, true, true);
    rig.segmenter.finish();
    let window = rig.window();
    check(&window);
    let video = window.video.as_ref().unwrap();
    assert_eq!(video.segments.iter().map(|segment| segment.discontinuity).collect::<Vec<_>>(), [0, 0, 1, 1]);
}

/// Players wait for every rendition that they play, so none may stop.
#[test]
fn a_publisher_that_returns_without_one_of_its_tracks() {
    for (video, audio) in [(true, false), (false, true)] {
        let mut rig = Rig::both();
        rig.play(0, 5000, true, true);
        rig.publish();
        if video {
            rig.track(V, Codec::H264, AVCC);
        } else {
            rig.track(A, Codec::Aac, AAC_48K_STEREO);
        }
        rig.play(0, 9000, video, audio);
        let window = rig.window();
        check(&window);
        let ends: Vec<_> = window.renditions().map(|rendition| rendition.segments.last().unwrap().end()).collect();
        assert_eq!(ends.len(), 2);
        assert!(ends[0].micros_since(ends[1]).abs() < 2_500_000, "{ends:?}");
        assert!(window.renditions().all(|rendition| rendition.segments.len() >= 6));
    }
}

#[derive(Clone, Debug)]
enum Step {
    Video { advance: i64, composition: i64, keyframe: bool, size: usize },
    Audio { advance: i64, size: usize },
    Wait(i64),
    Republish { video: bool, audio: bool },
    Jump(i64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        20 => (1_i64..120, 0_i64..200, prop::bool::weighted(0.1), 0_usize..3000)
            .prop_map(|(advance, composition, keyframe, size)| Step::Video { advance, composition, keyframe, size }),
        20 => (1_i64..60, 0_usize..400).prop_map(|(advance, size)| Step::Audio { advance, size }),
        1 => (0_i64..4000).prop_map(Step::Wait),
        1 => (any::<bool>(), any::<bool>()).prop_map(|(video, audio)| Step::Republish { video, audio }),
        1 => (-20_000_i64..20_000).prop_map(Step::Jump),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, max_shrink_iters: 4000, ..ProptestConfig::default() })]
    #[test]
    fn any_frames_make_a_sound_window(steps in prop::collection::vec(step(), 1..600)) {
        let mut rig = Rig::both();
        let (mut video, mut audio) = (0, 0);
        let mut tracks = (true, true);
        for (i, step) in steps.into_iter().enumerate() {
            match step {
                Step::Video { advance, composition, keyframe, size } if tracks.0 => {
                    video += advance;
                    rig.push(V, video, composition, keyframe, size);
                    rig.wait(advance / 2);
                }
                Step::Audio { advance, size } if tracks.1 => {
                    audio += advance;
                    rig.push(A, audio, 0, true, size);
                    rig.wait(advance / 2);
                }
                Step::Video { .. } | Step::Audio { .. } => {}
                Step::Wait(millis) => {
                    rig.wait(millis);
                    let now = rig.clock();
                    rig.segmenter.tick(now);
                }
                Step::Republish { video: with_video, audio: with_audio } => {
                    rig.publish();
                    tracks = (with_video, with_audio);
                    if with_video {
                        rig.track(V, Codec::H264, AVCC);
                    }
                    if with_audio {
                        rig.track(A, Codec::Aac, AAC_48K_STEREO);
                    }
                }
                Step::Jump(by) => {
                    video += by;
                    audio += by;
                }
            }
            if i % 50 == 0 {
                check(&rig.window());
            }
        }
        rig.segmenter.finish();
        let window = rig.window();
        check(&window);
        prop_assert!(window.ended);
        for kind in [MediaKind::Video, MediaKind::Audio] {
            if let Some(playlist) = crate::hls::media(&window, kind, false, "") {
                prop_assert!(playlist.ends_with("#EXT-X-ENDLIST\n"));
            }
        }
    }
}
