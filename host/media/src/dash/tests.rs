//! Golden manifests, from windows that a segmenter made on a clock of its own. Renew them with `INSTA_UPDATE=always`.

use super::*;
use crate::cmaf::SegmenterConfig;
use crate::cmaf::tests::{AAC_48K_STEREO, AVCC, Rig};
use crate::{Codec, TrackId};

const NOW: WallClock = WallClock::from_unix_micros(1_790_000_100_000_000);

#[test]
fn a_regular_stream_is_addressed_by_number() {
    let mut rig = Rig::both();
    rig.play(0, 3000, true, true);
    assert_eq!(mpd(&rig.window(), NOW, ""), None, "the pace is not known after one segment");
    rig.play(3000, 7000, true, true);
    insta::assert_snapshot!("live", mpd(&rig.window(), NOW, "token=a&b=$c").unwrap());
    insta::assert_snapshot!("live_timeline", timeline_mpd(&rig.window(), NOW, "").unwrap());
    rig.play(7000, 60_000, true, true);
    rig.segmenter.finish();
    insta::assert_snapshot!("ended", mpd(&rig.window(), NOW, "").unwrap());
    insta::assert_snapshot!("ended_timeline", timeline_mpd(&rig.window(), NOW, "").unwrap());
}

#[test]
fn a_discontinuity_starts_a_period() {
    let mut rig = Rig::both();
    rig.play(0, 5000, true, true);
    rig.wait(2000);
    rig.publish();
    rig.track(TrackId::VIDEO, Codec::H264, AVCC);
    rig.track(TrackId::AUDIO, Codec::Aac, AAC_48K_STEREO);
    rig.play(0, 5000, true, true);
    insta::assert_snapshot!("discontinuity", mpd(&rig.window(), NOW, "").unwrap());
    // When the first period's segments have left the playlist, it is gone.
    rig.play(5000, 40_000, true, true);
    assert_eq!(mpd(&rig.window(), NOW, "").unwrap().matches("<Period ").count(), 1);
}

#[test]
fn a_stream_that_loses_its_pace_gets_a_timeline() {
    let mut rig = Rig::new(SegmenterConfig::new("stamp"));
    rig.publish();
    rig.track(TrackId::VIDEO, Codec::H264, AVCC);
    for frame in 0..350 {
        rig.push(TrackId::VIDEO, frame * 40, 0, frame % 50 == 0 && frame < 200 || frame % 30 == 0 && frame > 200, 1000);
        rig.wait(40);
    }
    let manifest = mpd(&rig.window(), NOW, "").unwrap();
    insta::assert_snapshot!("irregular", manifest);
}

/// Everything that a period in a manifest needs; the number of periods.
fn check_periods(manifest: &str) -> usize {
    let periods: Vec<_> = manifest.split("<Period ").skip(1).collect();
    for period in &periods {
        assert_eq!(period.matches("<AdaptationSet ").count(), 2, "{manifest}");
    }
    periods.len()
}

#[test]
fn a_file_that_begins_again_keeps_its_pace() {
    let mut rig = Rig::both();
    // 15 s with a key frame every two seconds, again and again: each eighth segment is short.
    let mut most = 0;
    for time in (0..60_000).step_by(200) {
        if time % 15_000 == 0 {
            rig.keyframe_at(time);
        }
        rig.play(time, time + 200, true, true);
        if let Some(manifest) = mpd(&rig.window(), NOW, "") {
            most = most.max(check_periods(&manifest));
            assert!(!manifest.contains("<SegmentTimeline>"), "{manifest}");
        }
    }
    assert_eq!(most, 3, "the playlist is longer than the file");
}

#[test]
fn an_odd_first_segment_is_left_out() {
    let mut rig = Rig::both();
    rig.play(0, 1000, true, true);
    rig.keyframe_at(1000);
    rig.play(1000, 5800, true, true);
    assert_eq!(mpd(&rig.window(), NOW, ""), None);
    rig.play(5800, 9000, true, true);
    let manifest = mpd(&rig.window(), NOW, "").unwrap();
    assert_eq!(check_periods(&manifest), 1);
    assert!(manifest.contains(" duration=\"2000000\" startNumber=\"1\""), "{manifest}");
}

#[test]
fn a_pace_that_is_lost_is_found_again() {
    let mut rig = Rig::both();
    let mut kinds = Vec::new();
    for time in (0..60_000).step_by(200) {
        if [11_000, 14_600, 20_000].contains(&time) {
            rig.keyframe_at(time);
        }
        rig.play(time, time + 200, true, true);
        if let Some(manifest) = mpd(&rig.window(), NOW, "") {
            check_periods(&manifest);
        }
        kinds.extend(rig.window().periods.last().map(|period| period.regular.is_some()));
    }
    kinds.dedup();
    assert_eq!(kinds, [true, false, true]);
}

#[test]
fn sound_alone() {
    let mut rig = Rig::new(SegmenterConfig::new("stamp"));
    rig.publish();
    rig.track(TrackId::AUDIO, Codec::Aac, AAC_48K_STEREO);
    rig.play(0, 7000, false, true);
    insta::assert_snapshot!("audio_only", mpd(&rig.window(), NOW, "").unwrap());
}
