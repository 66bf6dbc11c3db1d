//! Repairs a publisher's timestamps once, at the door, so that no output has to.
//!
//! Takes what encoders really send (32-bit wraps, jumps forward and back, resets, tracks that start far apart) and gives decode
//! times that rise strictly within each track and keep the tracks' distance to each other.

use std::collections::BTreeMap;

use crate::time::{Timestamp, WallClock};
use crate::track::TrackId;

/// RTMP and FLV count milliseconds in 32 bits.
pub const WRAP_32_BIT_MILLIS: i64 = (1 << 32) * 1000;

/// A forward step of one track larger than this is a jump of the encoder's clock, unless as much real time has passed.
/// Ten seconds leaves room for a slide show at one picture in ten seconds.
const MAX_STEP_FORWARD: i64 = 10_000_000;
/// A step back larger than this is a reset. Smaller ones are jitter of a muxer that does not sort, and are flattened.
const MAX_STEP_BACK: i64 = 1_000_000;
/// How far a forward step may differ from the real time that passed and still be a pause of the publisher.
const PAUSE_TOLERANCE: i64 = 2_000_000;
/// The first frame of a stream is placed here, so that a track that starts a little earlier stays above zero.
const ORIGIN: Timestamp = Timestamp::from_millis(1_000);
/// What a track advances by where its own pace is not known yet.
const DEFAULT_PACE: i64 = 20_000;
/// What a frame that does not advance is moved on by: the smallest step that RTMP and FLV can show.
const NUDGE: i64 = 1_000;

/// What had to be done to a timestamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// The encoder's clock went on.
    Continues,
    /// The encoder's clock jumped by this many microseconds; the timeline did not.
    Jumped { by: i64 },
    /// The frame did not come after the one before it and was moved on by this many microseconds.
    Nudged { by: i64 },
}

#[derive(Clone, Copy, Debug)]
struct TrackClock {
    raw: i64,
    dts: Timestamp,
    at: WallClock,
    pace: i64,
}

/// The clock of one stream. It outlives its publishers: [`Timeline::resume`] goes on where the last one stopped.
#[derive(Clone, Debug, Default)]
pub struct Timeline {
    tracks: BTreeMap<TrackId, TrackClock>,
    /// `dts - raw`, the newest first. A jump reaches the tracks one after the other, so the one before stays valid for a while.
    offsets: [Option<i64>; 2],
    head: Option<(Timestamp, WallClock)>,
    last_raw: Option<i64>,
    resumed_at: Option<Timestamp>,
}

impl Timeline {
    /// The decode time of the latest frame.
    pub fn head(&self) -> Option<Timestamp> {
        self.head.map(|(head, _)| head)
    }

    /// A new publisher takes over at `now`: its first frame comes after everything so far, as much later as real time has passed.
    pub fn resume(&mut self, now: WallClock) {
        if let Some((head, at)) = self.head {
            let pace = self.tracks.values().map(|track| track.pace).max().unwrap_or(DEFAULT_PACE);
            self.resumed_at = Some(head.offset(now.micros_since(at).max(pace)));
        }
        self.tracks.clear();
        self.offsets = [None; 2];
        self.last_raw = None;
    }

    /// Places a frame. `raw` is the encoder's decode time in microseconds; `wrap` is the period at which it starts again at 0, in
    /// microseconds, if it does. `now` is when the frame arrived.
    pub fn place(&mut self, track: TrackId, raw: i64, wrap: Option<i64>, now: WallClock) -> (Timestamp, Placement) {
        let last = self.tracks.get(&track).copied();
        let raw = match (wrap, last.map(|last| last.raw).or(self.last_raw)) {
            (Some(wrap), Some(near)) => unwrap_near(raw, near, wrap),
            _ => raw,
        };
        let (dts, mut placement) = match self.fitting_offset(raw, last, now) {
            Some(offset) => (Timestamp::from_micros(raw.saturating_add(offset)), Placement::Continues),
            None => self.jump(raw, last),
        };
        let dts = match last {
            Some(last) if dts <= last.dts => {
                let moved = last.dts.offset(NUDGE);
                placement = Placement::Nudged { by: moved.micros_since(dts) };
                moved
            }
            _ => dts,
        };
        let pace = match last {
            Some(last) if placement == Placement::Continues => dts.micros_since(last.dts).clamp(1, 1_000_000),
            Some(last) => last.pace,
            None => DEFAULT_PACE,
        };
        self.tracks.insert(track, TrackClock { raw, dts, at: now, pace });
        self.last_raw = Some(raw);
        let head = self.head.map_or(dts, |(head, _)| head.max(dts));
        self.head = Some((head, now));
        (dts, placement)
    }

    /// The first known offset under which the frame follows what came before on its track, or, for a track's first frame, lies
    /// near the other tracks.
    fn fitting_offset(&mut self, raw: i64, last: Option<TrackClock>, now: WallClock) -> Option<i64> {
        let head = self.head;
        self.offsets.iter().copied().flatten().find(|&offset| {
            let dts = Timestamp::from_micros(raw.saturating_add(offset));
            match (last, head) {
                (Some(last), _) => {
                    let step = dts.micros_since(last.dts);
                    let paused = (step - now.micros_since(last.at)).abs() <= PAUSE_TOLERANCE;
                    step >= -MAX_STEP_BACK && (step <= MAX_STEP_FORWARD || paused)
                }
                (None, Some((head, _))) => dts.micros_since(head).abs() <= MAX_STEP_FORWARD && dts >= Timestamp::ZERO,
                (None, None) => true,
            }
        })
    }

    fn jump(&mut self, raw: i64, last: Option<TrackClock>) -> (Timestamp, Placement) {
        let dts = match last {
            Some(last) => last.dts.offset(last.pace),
            None => self.resumed_at.take().or(self.head()).unwrap_or(ORIGIN),
        };
        let offset = dts.as_micros().saturating_sub(raw);
        let before = self.offsets[0];
        self.offsets = [Some(offset), before];
        let placement = before.map_or(Placement::Continues, |before| Placement::Jumped { by: before.saturating_sub(offset) });
        (dts, placement)
    }
}

/// The value congruent to `raw` modulo `wrap` that lies nearest to `near`.
const fn unwrap_near(raw: i64, near: i64, wrap: i64) -> i64 {
    let difference = (raw as i128 - near as i128).rem_euclid(wrap as i128);
    let difference = if difference > wrap as i128 / 2 { difference - wrap as i128 } else { difference };
    (near as i128 + difference) as i64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const V: TrackId = TrackId::VIDEO;
    const A: TrackId = TrackId::AUDIO;
    const MS: i64 = 1000;

    fn at(millis: i64) -> WallClock {
        WallClock::from_unix_micros(millis * MS)
    }

    fn place(timeline: &mut Timeline, track: TrackId, millis: i64, now: i64) -> i64 {
        timeline.place(track, millis * MS, Some(WRAP_32_BIT_MILLIS), at(now)).0.as_millis()
    }

    #[test]
    fn distances_are_kept() {
        let mut timeline = Timeline::default();
        assert_eq!(place(&mut timeline, V, 500, 0), 1000);
        assert_eq!(place(&mut timeline, A, 477, 0), 977);
        assert_eq!(place(&mut timeline, V, 533, 33), 1033);
        assert_eq!(place(&mut timeline, A, 498, 33), 998);
    }

    #[test]
    fn a_32_bit_wrap_goes_unnoticed() {
        let mut timeline = Timeline::default();
        let wrap = 1_i64 << 32;
        assert_eq!(place(&mut timeline, V, wrap - 40, 0), 1000);
        assert_eq!(place(&mut timeline, A, wrap - 10, 10), 1030);
        assert_eq!(place(&mut timeline, V, 0, 40), 1040);
        assert_eq!(place(&mut timeline, A, 11, 40), 1051);
        assert_eq!(place(&mut timeline, V, 40, 80), 1080);
    }

    #[test]
    fn a_reset_reaches_both_tracks_and_keeps_them_in_sync() {
        let mut timeline = Timeline::default();
        for i in 0..100 {
            place(&mut timeline, V, 50_000 + i * 40, i * 40);
            place(&mut timeline, A, 50_010 + i * 40, i * 40);
        }
        let video = place(&mut timeline, V, 0, 4000);
        assert_eq!(video, 1000 + 100 * 40);
        // Audio of before the reset is still on its way.
        assert_eq!(place(&mut timeline, A, 50_010 + 4000, 4000), video + 10);
        assert_eq!(place(&mut timeline, A, 50, 4040), video + 50);
        assert_eq!(place(&mut timeline, V, 40, 4040), video + 40);
    }

    #[test]
    fn a_jump_forward_is_closed_but_a_pause_is_kept() {
        let mut timeline = Timeline::default();
        place(&mut timeline, V, 0, 0);
        place(&mut timeline, V, 40, 40);
        assert_eq!(place(&mut timeline, V, 3_600_000, 80), 1080, "an hour in 40 ms is a jump");
        assert_eq!(place(&mut timeline, V, 3_630_000, 30_080), 31_080, "thirty seconds in thirty seconds is a pause");
    }

    #[test]
    fn tracks_that_start_far_apart_are_aligned() {
        let mut timeline = Timeline::default();
        assert_eq!(place(&mut timeline, A, 0, 0), 1000);
        assert_eq!(place(&mut timeline, V, 86_400_000, 0), 1000);
        assert_eq!(place(&mut timeline, A, 23, 23), 1023);
        assert_eq!(place(&mut timeline, V, 86_400_040, 40), 1040);
    }

    #[test]
    fn a_returning_publisher_continues_after_the_gap() {
        let mut timeline = Timeline::default();
        place(&mut timeline, V, 0, 0);
        place(&mut timeline, V, 40, 40);
        timeline.resume(at(5_040));
        assert_eq!(place(&mut timeline, V, 0, 5_040), 1040 + 5_000);
        assert_eq!(place(&mut timeline, A, 5, 5_045), 1040 + 5_005);
    }

    proptest! {
        #[test]
        fn any_input_rises_strictly(steps in proptest::collection::vec((0_u8..3, any::<u32>(), 0_i64..100_000), 1..200)) {
            let mut timeline = Timeline::default();
            let mut last = BTreeMap::new();
            let mut now = 0;
            for (track, raw, passed) in steps {
                now += passed;
                let (dts, _) = timeline.place(TrackId(track), i64::from(raw) * MS, Some(WRAP_32_BIT_MILLIS), at(now));
                prop_assert!(dts >= Timestamp::ZERO);
                if let Some(before) = last.insert(track, dts) {
                    prop_assert!(dts > before);
                }
            }
        }
    }
}
