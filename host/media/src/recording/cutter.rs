//! The samples of all parts in one timeline, cut into segments at key frames. What is kept at a time is bounded by the length of a
//! segment, not by that of the recording.

use std::collections::VecDeque;
use std::io;

use super::Source;
use super::reader::{Part, PartError, PartTrack, Run};
use crate::time::Timestamp;
use crate::track::{MediaKind, Track, TrackId};

/// A segment ends at the first key frame after about this much; in microseconds.
const SEGMENT: i64 = 3_800_000;
/// A segment ends here in any case, with or without a key frame.
const LONGEST_SEGMENT: i64 = 30_000_000;
const MAX_SEGMENT_BYTES: u64 = 48 << 20;
const MAX_SEGMENT_SAMPLES: usize = 8192;
/// How far a track may be behind the others before a segment goes on without it, in microseconds.
const MAY_LAG: i64 = 10_000_000;

/// A sample in the finished timeline, and where its bytes are.
#[derive(Clone, Copy, Debug)]
pub struct Placed {
    pub part: usize,
    pub offset: u64,
    pub size: u32,
    /// In ticks of the lane.
    pub dts: i64,
    pub duration: u32,
    pub composition_offset: i32,
    pub keyframe: bool,
    /// Index in [`Lane::descriptions`].
    pub description: usize,
}

/// One track of the finished file.
#[derive(Debug)]
pub struct Lane {
    pub id: TrackId,
    pub kind: MediaKind,
    /// Of the first part that has the track.
    pub timescale: u32,
    /// Its decoder configurations, one after the other.
    pub descriptions: Vec<Track>,
    /// Waits for the next one, which tells its duration.
    held: Option<Placed>,
    pending: VecDeque<Placed>,
    /// Decode time of what comes next, in ticks.
    end: i64,
    /// When everything so far has been shown, in ticks.
    shown: i64,
}

/// The samples between two cuts.
#[derive(Debug)]
pub struct Cut {
    /// Rises where a decoder configuration changes or a track comes or goes.
    pub period: usize,
    /// By lane; empty where there is nothing.
    pub samples: Vec<Vec<Placed>>,
}

#[derive(Clone, Copy, Debug)]
struct Mark {
    /// The leading lane's samples from this decode time on belong to the next segment.
    dts: i64,
    /// The other lanes' from this time on, in microseconds.
    at: i64,
    period: usize,
}

/// Reads the parts one after the other.
pub struct Cutter<'a> {
    parts: &'a mut [(Part, Box<dyn Source>)],
    part: usize,
    entered: bool,
    /// Where the part lies in the finished timeline, in microseconds.
    offset: i64,
    pub lanes: Vec<Lane>,
    /// Lane of each track of the part under way.
    map: Vec<usize>,
    period: usize,
    marks: VecDeque<Mark>,
    segment_start: Option<i64>,
    bytes: u64,
}

impl<'a> Cutter<'a> {
    pub fn new(parts: &'a mut [(Part, Box<dyn Source>)]) -> Self {
        Self {
            parts,
            part: 0,
            entered: false,
            offset: 0,
            lanes: Vec::new(),
            map: Vec::new(),
            period: 0,
            marks: VecDeque::new(),
            segment_start: None,
            bytes: 0,
        }
    }

    /// The bytes of a sample's part.
    pub fn source(&mut self, part: usize) -> Option<&mut Box<dyn Source>> {
        self.parts.get_mut(part).map(|(_, source)| source)
    }

    /// The next segment, none at the end.
    pub fn next(&mut self) -> io::Result<Option<Cut>> {
        loop {
            if let Some(mark) = self.marks.front().copied()
                && self.is_settled(mark)
            {
                self.marks.pop_front();
                return Ok(Some(self.take(mark)));
            }
            let Some((part, source)) = self.parts.get_mut(self.part) else {
                return Ok(self.rest());
            };
            match part.next(&mut **source) {
                Ok(Some(run)) => {
                    if !self.entered {
                        let tracks = part.tracks.clone();
                        self.enter(&tracks, &run);
                    }
                    self.place(&run);
                }
                Err(PartError::Io(error)) => return Err(error),
                ended => {
                    // What lies behind a damaged place can't be trusted; the next part can.
                    if let Err(PartError::Malformed { at, .. }) = ended {
                        part.torn_at = Some(at);
                    }
                    self.part += 1;
                    self.entered = false;
                }
            }
        }
    }

    /// Begins a part, which has `first` at its front: behind everything that came before, in decoding and in showing.
    fn enter(&mut self, tracks: &[PartTrack], first: &Run) {
        self.entered = true;
        let begun = self.lanes.iter().any(|lane| lane.end > 0);
        let decoded = self.lanes.iter().map(|lane| lane.micros(lane.end)).max().unwrap_or(0);
        let shown = tracks.get(first.track).zip(first.samples.first()).and_then(|(track, sample)| {
            let lane = self.lanes.iter().find(|lane| lane.id == track.track.id)?;
            let begin = sample.dts.saturating_add(i64::from(sample.composition_offset));
            Some(lane.micros(lane.shown) - Timestamp::from_timescale(begin, track.timescale).as_micros())
        });
        self.offset = decoded.max(shown.unwrap_or(0));
        let mut changed = self.map.len() != tracks.len();
        self.map.clear();
        for track in tracks {
            let at = match self.lanes.iter().position(|lane| lane.id == track.track.id) {
                Some(at) => at,
                None => {
                    self.lanes.push(Lane::new(track));
                    changed = true;
                    self.lanes.len() - 1
                }
            };
            if let Some(lane) = self.lanes.get_mut(at)
                && lane.descriptions.last() != Some(&track.track)
            {
                changed = true;
                lane.descriptions.push(track.track.clone());
            }
            self.map.push(at);
        }
        if changed && begun {
            self.mark(i64::MIN, self.offset);
            self.period += 1;
        }
    }

    /// The leading lane: the first with pictures, else the first.
    fn leader(&self) -> usize {
        self.map
            .iter()
            .copied()
            .find(|&at| self.lanes.get(at).is_some_and(|lane| lane.kind == MediaKind::Video))
            .unwrap_or(self.map.first().copied().unwrap_or(0))
    }

    fn place(&mut self, run: &Run) {
        let (leader, offset, part) = (self.leader(), self.offset, self.part);
        let Some(&at) = self.map.get(run.track) else { return };
        let timescale = self.parts.get(part).and_then(|(part, _)| part.tracks.get(run.track)).map_or(1, |track| track.timescale);
        for sample in &run.samples {
            let Some(lane) = self.lanes.get_mut(at) else { return };
            let dts = lane.ticks(offset).saturating_add(scale(sample.dts, timescale, lane.timescale));
            let dts = dts.max(lane.held.map_or(lane.end, |held| held.dts + 1));
            let placed = Placed {
                part,
                offset: sample.offset,
                size: sample.size,
                dts,
                duration: u32::try_from(scale(i64::from(sample.duration), timescale, lane.timescale)).unwrap_or(u32::MAX).max(1),
                composition_offset: i32::try_from(scale(i64::from(sample.composition_offset), timescale, lane.timescale))
                    .unwrap_or(0),
                keyframe: sample.keyframe,
                description: lane.descriptions.len().saturating_sub(1),
            };
            if let Some(mut held) = lane.held.take() {
                held.duration = u32::try_from(dts - held.dts).unwrap_or(u32::MAX);
                lane.pending.push_back(held);
            }
            lane.end = dts.saturating_add(i64::from(placed.duration));
            lane.shown = lane.shown.max(lane.end.saturating_add(i64::from(placed.composition_offset)));
            lane.held = Some(placed);
            self.bytes += u64::from(sample.size);
            if at == leader {
                self.lead(&placed);
            } else if self.marks.is_empty() {
                // Where the leading track has stopped, another one must cut.
                let now = self.lanes.get(at).map_or(0, |lane| lane.micros(dts));
                let begin = |lane: &Lane| Some(lane.micros(lane.pending.front()?.dts));
                let length = self.lanes.iter().filter_map(begin).min().map_or(0, |begin| now - begin);
                if length >= LONGEST_SEGMENT || self.is_much() {
                    self.mark(i64::MIN, now);
                }
            }
        }
    }

    /// Cuts before `sample` of the leading lane if that is due.
    fn lead(&mut self, sample: &Placed) {
        let Some(lane) = self.lanes.get(self.leader()) else { return };
        let start = *self.segment_start.get_or_insert(sample.dts);
        let elapsed = lane.micros(sample.dts - start);
        let too_much = elapsed >= LONGEST_SEGMENT || (self.marks.is_empty() && self.is_much());
        if elapsed > 0 && ((sample.keyframe && elapsed >= SEGMENT) || too_much) {
            self.mark(sample.dts, lane.micros(sample.dts.saturating_add(i64::from(sample.composition_offset))));
            self.segment_start = Some(sample.dts);
        }
    }

    /// More than is to be kept at a time.
    fn is_much(&self) -> bool {
        self.bytes >= MAX_SEGMENT_BYTES || self.lanes.iter().any(|lane| lane.pending.len() >= MAX_SEGMENT_SAMPLES)
    }

    fn mark(&mut self, dts: i64, at: i64) {
        // Without pictures the leading lane is cut by the same time as the others.
        let dts = if dts == i64::MIN { self.lanes.get(self.leader()).map_or(0, |lane| lane.ticks(at)) } else { dts };
        self.marks.push_back(Mark { dts, at, period: self.period });
        self.segment_start = None;
        self.bytes = 0;
    }

    /// Where a lane is cut by a mark, in its ticks.
    fn until(&self, at: usize, mark: Mark) -> i64 {
        if at == self.leader() { mark.dts } else { self.lanes.get(at).map_or(0, |lane| lane.ticks(mark.at)) }
    }

    /// No sample that belongs before the mark is still to come, or it is not waited for any more.
    fn is_settled(&self, mark: Mark) -> bool {
        let passed = |at: usize| {
            let held = self.lanes.get(at).and_then(|lane| lane.held);
            held.is_none_or(|held| held.dts >= self.until(at, mark))
        };
        let front = self.lanes.iter().filter_map(|lane| Some(lane.micros(lane.held?.dts))).max();
        let far_ahead = front.is_some_and(|front| front - mark.at >= MAY_LAG);
        self.parts.len() <= self.part || far_ahead || self.map.iter().all(|&at| passed(at))
    }

    fn take(&mut self, mark: Mark) -> Cut {
        let until: Vec<_> = (0..self.lanes.len()).map(|at| self.until(at, mark)).collect();
        let cut = |(lane, until): (&mut Lane, i64)| {
            let count = lane.pending.iter().take_while(|sample| sample.dts < until).count();
            let mut samples: Vec<_> = lane.pending.drain(..count).collect();
            if lane.pending.is_empty() {
                samples.extend(lane.held.take_if(|held| held.dts < until));
            }
            samples
        };
        Cut { period: mark.period, samples: self.lanes.iter_mut().zip(until).map(cut).collect() }
    }

    /// What is left behind the last mark.
    fn rest(&mut self) -> Option<Cut> {
        let samples: Vec<Vec<_>> =
            self.lanes.iter_mut().map(|lane| lane.pending.drain(..).chain(lane.held.take()).collect()).collect();
        samples.iter().any(|samples| !samples.is_empty()).then_some(Cut { period: self.period, samples })
    }
}

impl Lane {
    fn new(track: &PartTrack) -> Self {
        Self {
            id: track.track.id,
            kind: track.track.kind(),
            timescale: track.timescale,
            descriptions: Vec::new(),
            held: None,
            pending: VecDeque::new(),
            end: 0,
            shown: 0,
        }
    }

    pub fn micros(&self, ticks: i64) -> i64 {
        Timestamp::from_timescale(ticks, self.timescale).as_micros()
    }

    fn ticks(&self, micros: i64) -> i64 {
        Timestamp::from_micros(micros).to_timescale(self.timescale)
    }
}

/// A number of ticks in another time scale.
fn scale(ticks: i64, from: u32, to: u32) -> i64 {
    if from == to {
        return ticks;
    }
    let scaled = i128::from(ticks) * i128::from(to) + i128::from(from) / 2;
    i64::try_from(scaled.div_euclid(i128::from(from.max(1)))).unwrap_or(i64::MAX)
}
