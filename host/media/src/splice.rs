//! Puts passes through recorded movies one after the other on one timeline that rises, so that a loop or a playlist looks to every
//! output like one broadcast.
//!
//! A pass begins where the presentation of the one before has ended, with all of its tracks at the same media time: tracks of
//! different length never drift apart, however often they are repeated. Sound goes on sample for sample: a pass moves its sound by up
//! to half a frame onto the grid of the frames before it, and leaves out what would overlap. All times are microseconds.

use std::collections::BTreeMap;

use crate::track::{MediaKind, TrackId};

/// The smallest step between two decode times: what RTMP and FLV can show.
const MIN_STEP: i64 = 1_000;
/// How far counted sound may be from the times that the movie gives before the movie is believed.
const MAX_GRID_ERROR: i64 = 2_000;

/// What is known of a track before a pass begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassTrack {
    pub id: TrackId,
    pub kind: MediaKind,
    /// Samples in a frame of sound and samples per second, where both are constant.
    pub frame_length: Option<(u32, u32)>,
    /// Where the track's presentation ends in the movie's time, if the movie says so.
    pub end: Option<i64>,
}

/// A frame's place in its movie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    pub track: TrackId,
    pub dts: i64,
    pub pts: i64,
    pub duration: i64,
}

/// A frame's place on the timeline. Decode times rise strictly within a track, and `pts` is never before `dts`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    pub dts: i64,
    pub pts: i64,
}

/// The timeline of one stream of recorded media.
#[derive(Debug, Default)]
pub struct Splicer {
    /// What is added to the movie's times in this pass.
    base: i64,
    /// Where the presentation of everything so far ends.
    end: i64,
    passes: u64,
    lanes: BTreeMap<TrackId, Lane>,
}

#[derive(Debug)]
struct Lane {
    kind: MediaKind,
    /// The end of the presentation on the timeline, if the movie says so.
    limit: Option<i64>,
    frame_length: Option<(u32, u32)>,
    last_dts: Option<i64>,
    /// Decode times are moved so far ahead that no picture is shown before it is decoded.
    ahead: i64,
    grid: Option<Grid>,
    /// What this pass moves the sound by; none until its first frame.
    shift: Option<i64>,
}

/// Where the next frame of sound is due, counted in samples so that rounding does not add up.
#[derive(Clone, Copy, Debug)]
struct Grid {
    origin: i64,
    samples: i64,
    rate: u32,
}

impl Grid {
    fn due(&self) -> i64 {
        let micros = i128::from(self.samples) * 1_000_000 / i128::from(self.rate.max(1));
        self.origin.saturating_add(i64::try_from(micros).unwrap_or(i64::MAX))
    }
}

impl Splicer {
    /// Passes that have begun.
    pub const fn passes(&self) -> u64 {
        self.passes
    }

    /// What this pass adds to the movie's times, but for the sound's half a frame.
    pub const fn base(&self) -> i64 {
        self.base
    }

    /// Where the presentation of everything so far ends.
    pub const fn end(&self) -> i64 {
        self.end
    }

    /// A pass begins. `from` is the movie's presentation time that comes first: 0, or that of the key frame where it is entered.
    /// `ahead` are the first frames of all tracks, about a second of them.
    pub fn begin(&mut self, tracks: &[PassTrack], from: i64, ahead: &[Piece]) {
        self.passes += 1;
        self.base = self.end.saturating_sub(from);
        self.lanes.retain(|id, _| tracks.iter().any(|track| track.id == *id));
        for track in tracks {
            let pieces = || ahead.iter().filter(|piece| piece.track == track.id);
            let lane = self.lanes.entry(track.id).or_insert_with(|| Lane::new(track));
            lane.kind = track.kind;
            if lane.frame_length != track.frame_length {
                (lane.frame_length, lane.grid) = (track.frame_length, None);
            }
            lane.shift = None;
            lane.ahead = pieces().map(|piece| piece.dts.saturating_sub(piece.pts)).max().unwrap_or(0).max(0);
            // A movie whose pictures are reordered more deeply than those before it decodes its first one earlier.
            if let (MediaKind::Video, Some(last), Some(first)) = (track.kind, lane.last_dts, pieces().next()) {
                let dts = self.base.saturating_add(first.dts).saturating_sub(lane.ahead);
                self.base = self.base.saturating_add(last.saturating_add(MIN_STEP).saturating_sub(dts).max(0));
            }
        }
        for track in tracks {
            if let Some(lane) = self.lanes.get_mut(&track.id) {
                lane.limit = track.end.map(|end| self.base.saturating_add(end));
            }
        }
    }

    /// Places the pass's next frame. None for one that is left out: sound from before the presentation or over that of the pass before.
    pub fn place(&mut self, piece: &Piece) -> Option<Placed> {
        let lane = self.lanes.get_mut(&piece.track)?;
        let (dts, pts) = (self.base.saturating_add(piece.dts), self.base.saturating_add(piece.pts));
        let shown_until = pts.saturating_add(piece.duration.max(0));
        let (placed, shown_until) = match lane.kind {
            MediaKind::Video => (lane.picture(dts, pts), shown_until),
            MediaKind::Audio => {
                (lane.sound(pts, piece.duration)?, lane.limit.map_or(shown_until, |limit| shown_until.min(limit)))
            }
        };
        self.end = self.end.max(shown_until);
        Some(placed)
    }
}

impl Lane {
    const fn new(track: &PassTrack) -> Self {
        Self {
            kind: track.kind,
            limit: None,
            frame_length: track.frame_length,
            last_dts: None,
            ahead: 0,
            grid: None,
            shift: None,
        }
    }

    fn picture(&mut self, dts: i64, pts: i64) -> Placed {
        let dts = dts.saturating_sub(self.ahead).min(pts);
        let dts = self.last_dts.map_or(dts, |last| dts.max(last.saturating_add(MIN_STEP)));
        self.last_dts = Some(dts);
        Placed { dts, pts: pts.max(dts) }
    }

    fn sound(&mut self, natural: i64, duration: i64) -> Option<Placed> {
        let (samples, rate) = match self.frame_length {
            Some((samples, rate)) if samples > 0 && rate > 0 => (i64::from(samples), rate),
            _ => (duration.max(MIN_STEP), 1_000_000),
        };
        let length = samples.saturating_mul(1_000_000) / i64::from(rate);
        let due = self.grid.as_ref().map(Grid::due);
        let at = match (self.shift, due) {
            (Some(shift), Some(due)) => {
                let at = natural.saturating_add(shift);
                // A hole or an overlap in the movie itself.
                if (at.saturating_sub(due)).abs() > MAX_GRID_ERROR {
                    self.grid = None;
                }
                at
            }
            (None, Some(due)) if natural < due.saturating_sub(length / 2) => return None,
            (None, Some(due)) if natural <= due.saturating_add(length / 2) => due,
            _ => {
                self.grid = None;
                natural
            }
        };
        if self.last_dts.is_some_and(|last| at < last.saturating_add(MIN_STEP)) {
            return None;
        }
        self.shift.get_or_insert(at.saturating_sub(natural));
        let grid = self.grid.get_or_insert(Grid { origin: at, samples: 0, rate });
        grid.samples = grid.samples.saturating_add(samples);
        self.last_dts = Some(at);
        Some(Placed { dts: at, pts: at })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const V: TrackId = TrackId::VIDEO;
    const A: TrackId = TrackId::AUDIO;

    /// A clip with 30 frames per second and AAC at 48 kHz.
    struct Clip {
        pictures: i64,
        sounds: i64,
        /// Frames by which decoding is ahead.
        reorder: i64,
        /// Frames of sound before the presentation begins.
        priming: i64,
    }

    fn picture(index: i64) -> i64 {
        index * 1_000_000 / 30
    }

    fn sound(index: i64) -> i64 {
        (index * 1024 * 1_000_000 + 24_000) / 48_000
    }

    impl Clip {
        fn tracks(&self) -> [PassTrack; 2] {
            [
                PassTrack { id: V, kind: MediaKind::Video, frame_length: None, end: Some(picture(self.pictures)) },
                PassTrack { id: A, kind: MediaKind::Audio, frame_length: Some((1024, 48_000)), end: Some(sound(self.sounds)) },
            ]
        }

        fn pieces(&self) -> Vec<Piece> {
            let video = (0..self.pictures).map(|index| {
                let (dts, pts) = (picture(index - self.reorder), picture(index));
                Piece { track: V, dts, pts, duration: picture(index + 1) - pts }
            });
            let audio = (-self.priming..self.sounds).map(|index| {
                let at = sound(index);
                Piece { track: A, dts: at, pts: at, duration: sound(index + 1) - at }
            });
            let mut all: Vec<_> = video.chain(audio).collect();
            all.sort_by_key(|piece| piece.dts);
            all
        }

        fn pass(&self, splicer: &mut Splicer) -> Vec<(Piece, Placed)> {
            let pieces = self.pieces();
            splicer.begin(&self.tracks(), 0, &pieces[..pieces.len().min(60)]);
            pieces.iter().filter_map(|piece| Some((*piece, splicer.place(piece)?))).collect()
        }
    }

    const TEN_SECONDS: Clip = Clip { pictures: 300, sounds: 469, reorder: 2, priming: 1 };

    fn rises(frames: &[(Piece, Placed)]) {
        for track in [V, A] {
            let of: Vec<_> = frames.iter().filter(|(piece, _)| piece.track == track).map(|(_, placed)| placed).collect();
            assert!(of.windows(2).all(|pair| pair[1].dts >= pair[0].dts + MIN_STEP), "track {track:?}");
            assert!(of.iter().all(|placed| placed.pts >= placed.dts));
        }
    }

    #[test]
    fn a_day_of_loops_keeps_picture_and_sound_together() {
        let mut splicer = Splicer::default();
        let mut last = Vec::new();
        for pass in 0..8_640_i64 {
            let frames = TEN_SECONDS.pass(&mut splicer);
            rises(&[last, frames.clone()].concat());
            let shift = |track| {
                let of = frames.iter().filter(|(piece, _)| piece.track == track);
                let (piece, placed) = of.clone().next_back().expect("there are frames of both tracks");
                placed.pts - piece.pts
            };
            // The sound ends 5.3 ms after the picture, and with it the presentation.
            assert_eq!(shift(V), pass * sound(469), "the picture is exact");
            assert!((shift(A) - shift(V)).abs() <= 10_667, "pass {pass}: {} us apart", shift(A) - shift(V));
            assert_eq!(frames.iter().filter(|(piece, _)| piece.track == V).count(), 300);
            last = frames;
        }
    }

    #[test]
    fn sound_goes_on_sample_for_sample() {
        let mut splicer = Splicer::default();
        let frames: Vec<_> = (0..1_000).flat_map(|_| TEN_SECONDS.pass(&mut splicer)).collect();
        let times: Vec<_> = frames.iter().filter(|(piece, _)| piece.track == A).map(|(_, placed)| placed.pts).collect();
        for (index, time) in times.iter().enumerate() {
            let counted = sound(index as i64 - 1);
            assert!((time - counted).abs() <= 2, "frame {index} is at {time} and not at {counted}");
        }
    }

    #[test]
    fn the_first_pass_keeps_the_priming_and_later_ones_leave_it_out() {
        let mut splicer = Splicer::default();
        let sounds = |frames: &[(Piece, Placed)]| frames.iter().filter(|(piece, _)| piece.track == A).count();
        assert_eq!(sounds(&TEN_SECONDS.pass(&mut splicer)), 470);
        assert_eq!(sounds(&TEN_SECONDS.pass(&mut splicer)), 469);
    }

    #[test]
    fn sound_that_is_shorter_begins_with_the_picture_again() {
        let clip = Clip { sounds: 400, ..TEN_SECONDS };
        let mut splicer = Splicer::default();
        for pass in 0..50 {
            let frames = clip.pass(&mut splicer);
            let first = |track| frames.iter().find(|(piece, _)| piece.track == track && piece.pts >= 0).map(|(_, at)| at.pts);
            assert_eq!(first(V), Some(pass * 10_000_000));
            assert!((first(A).unwrap_or(0) - pass * 10_000_000).abs() <= 10_667);
        }
    }

    #[test]
    fn a_clip_that_is_reordered_more_deeply_still_rises() {
        let mut splicer = Splicer::default();
        let flat = Clip { reorder: 0, priming: 0, ..TEN_SECONDS };
        let frames = [flat.pass(&mut splicer), TEN_SECONDS.pass(&mut splicer), flat.pass(&mut splicer)].concat();
        rises(&frames);
    }

    #[test]
    fn negative_composition_offsets_move_the_decode_times() {
        let tracks = [PassTrack { id: V, kind: MediaKind::Video, frame_length: None, end: None }];
        let order = [0, 3, 1, 2, 6, 4, 5];
        let pieces: Vec<_> = (0..order.len())
            .map(|index| Piece { track: V, dts: picture(index as i64), pts: picture(order[index]), duration: picture(1) })
            .collect();
        let mut splicer = Splicer::default();
        splicer.begin(&tracks, 0, &pieces);
        let placed: Vec<_> = pieces.iter().map(|piece| splicer.place(piece).expect("no picture is left out")).collect();
        assert!(placed.iter().zip(&pieces).all(|(placed, piece)| placed.pts == piece.pts && placed.dts <= placed.pts));
        assert!(placed.windows(2).all(|pair| pair[1].dts > pair[0].dts));
    }

    #[test]
    fn a_pass_may_begin_in_the_middle() {
        let mut splicer = Splicer::default();
        let pieces: Vec<_> = TEN_SECONDS.pieces().into_iter().filter(|piece| piece.pts >= 4_000_000).collect();
        splicer.begin(&TEN_SECONDS.tracks(), 4_000_000, &pieces[..60]);
        let first = splicer.place(&pieces[0]).expect("it is placed");
        assert!(first.pts < 100_000, "{first:?}");
        for piece in &pieces[1..] {
            splicer.place(piece);
        }
        assert_eq!(splicer.end(), sound(469) - 4_000_000);
    }

    proptest! {
        #[test]
        fn anything_rises(
            passes in proptest::collection::vec(
                (-1_000_000_i64..1_000_000, proptest::collection::vec((0_u8..2, any::<i32>(), -200_000_i64..200_000, -10_i64..100_000), 0..50)),
                1..8,
            ),
        ) {
            let tracks = TEN_SECONDS.tracks();
            let mut splicer = Splicer::default();
            let mut last: BTreeMap<TrackId, i64> = BTreeMap::new();
            for (from, frames) in passes {
                let pieces: Vec<_> = frames
                    .iter()
                    .map(|&(track, dts, offset, duration)| {
                        let dts = i64::from(dts);
                        Piece { track: TrackId(track), dts, pts: dts + offset, duration }
                    })
                    .collect();
                splicer.begin(&tracks, from, &pieces);
                for piece in &pieces {
                    let Some(placed) = splicer.place(piece) else { continue };
                    prop_assert!(placed.pts >= placed.dts);
                    if let Some(before) = last.insert(piece.track, placed.dts) {
                        prop_assert!(placed.dts > before);
                    }
                }
            }
        }
    }
}
