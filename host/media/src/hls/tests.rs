//! Golden playlists, from windows that a segmenter made on a clock of its own. Renew them with `INSTA_UPDATE=always`.

use super::*;
use crate::cmaf::tests::{AAC_48K_STEREO, AVCC, Rig};
use crate::cmaf::{SegmenterConfig, Window};
use crate::{Codec, MediaKind, TrackId};

fn with_both(millis: i64) -> Rig {
    let mut rig = Rig::both();
    rig.play(0, millis, true, true);
    rig
}

fn video(window: &Window, skip: bool) -> String {
    media(window, MediaKind::Video, skip, "token=a&b=\"c\nd").unwrap()
}

#[test]
fn a_live_stream() {
    let window = with_both(7000).window();
    insta::assert_snapshot!("multivariant", multivariant(&window, "token=a&b"));
    insta::assert_snapshot!("video", video(&window, false));
    insta::assert_snapshot!("audio", media(&window, MediaKind::Audio, false, "").unwrap());
}

#[test]
fn a_delta_update_leaves_out_what_is_old() {
    let window = with_both(27_000).window();
    let (full, delta) = (video(&window, false), video(&window, true));
    insta::assert_snapshot!("delta", delta);
    // What follows the skipped segments is the same in both.
    let after = |playlist: &str, skipped: usize| {
        let lines: Vec<_> = playlist.split_inclusive('\n').collect();
        let segments = lines.iter().enumerate().filter(|(_, line)| line.starts_with("stamp/")).map(|(i, _)| i + 1);
        let from = if skipped == 0 { 0 } else { segments.take(skipped).last().unwrap() };
        lines[from..].concat()
    };
    let tail = delta.split_once("EXT-X-SKIP:SKIPPED-SEGMENTS=").unwrap().1;
    let (count, tail) = tail.split_once('\n').unwrap();
    assert_eq!(after(&full, count.parse().unwrap()), tail);
}

#[test]
fn a_short_playlist_is_never_a_delta() {
    let window = with_both(7000).window();
    assert_eq!(video(&window, true), video(&window, false));
}

#[test]
fn a_returning_publisher_and_the_end() {
    let mut rig = with_both(5000);
    rig.wait(2000);
    rig.publish();
    rig.track(TrackId::VIDEO, Codec::H264, AVCC);
    rig.track(TrackId::AUDIO, Codec::Aac, AAC_48K_STEREO);
    rig.play(0, 3000, true, true);
    insta::assert_snapshot!("discontinuity", video(&rig.window(), false));
    rig.segmenter.finish();
    insta::assert_snapshot!("ended", video(&rig.window(), false));
}

#[test]
fn discontinuities_are_counted_when_they_have_left_the_playlist() {
    let mut rig = with_both(5000);
    rig.publish();
    rig.track(TrackId::VIDEO, Codec::H264, AVCC);
    rig.track(TrackId::AUDIO, Codec::Aac, AAC_48K_STEREO);
    rig.play(0, 40_000, true, true);
    for kind in [MediaKind::Video, MediaKind::Audio] {
        let playlist = media(&rig.window(), kind, false, "").unwrap();
        assert!(playlist.contains("#EXT-X-DISCONTINUITY-SEQUENCE:1\n") && !playlist.contains("#EXT-X-DISCONTINUITY\n"));
    }
}

#[test]
fn sound_alone() {
    let mut rig = Rig::new(SegmenterConfig::new("stamp"));
    rig.publish();
    rig.track(TrackId::AUDIO, Codec::Aac, AAC_48K_STEREO);
    rig.play(0, 6000, false, true);
    let window = rig.window();
    insta::assert_snapshot!("audio_only_multivariant", multivariant(&window, ""));
    insta::assert_snapshot!("audio_only", media(&window, MediaKind::Audio, false, "").unwrap());
    assert_eq!(media(&window, MediaKind::Video, false, ""), None);
}

#[test]
fn nothing_is_listed_before_there_is_enough() {
    let window = with_both(1000).window();
    assert!(!window.ready);
    assert_eq!(media(&window, MediaKind::Video, false, ""), None);
}

#[test]
fn dates_are_those_of_the_calendar() {
    let date = |seconds: i64| date_time(WallClock::from_unix_micros(seconds * 1_000_000 + 7_000));
    assert_eq!(date(0), "1970-01-01T00:00:00.007Z");
    assert_eq!(date(951_782_400), "2000-02-29T00:00:00.007Z");
    assert_eq!(date(1_790_000_000), "2026-09-21T14:13:20.007Z");
    assert_eq!(date(4_107_542_399), "2100-02-28T23:59:59.007Z");
    assert_eq!(date(4_107_542_400), "2100-03-01T00:00:00.007Z");
}
