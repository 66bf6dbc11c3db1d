//! One track on its way into parts and segments. Knows nothing of the other tracks: where to cut is told from outside.

use std::sync::Arc;
use std::time::Duration;

use super::SegmenterConfig;
use super::fragment::{self, Reference, Sample};
use super::shelf::{SegmentStart, Shelf, ticks_duration};
use super::window::{Init, Part};
use crate::time::WallClock;
use crate::track::MediaKind;

/// More frames than this are not put into one part, however short they are.
const MAX_SAMPLES: usize = 1024;

/// A rendition between two discontinuities.
#[derive(Debug)]
pub struct Lane {
    kind: MediaKind,
    pub init: Arc<Init>,
    /// Of the segment that is being made, or comes next.
    pub msn: u64,
    discontinuity: u64,
    /// Wall-clock time of the timeline's zero.
    clock: WallClock,
    /// Presentation time less decode time of a key frame, in ticks. Segments are known by when they are shown.
    pub shift: i64,
    samples: Vec<Sample>,
    samples_bytes: usize,
    samples_ticks: u64,
    /// Of the first sample in the segment, until its part is made.
    reference: Option<Reference>,
    sequence: u32,
    part_limit: u64,
    part_bytes: usize,
}

/// What a lane starts from.
#[derive(Debug)]
pub struct LaneStart {
    pub init: Arc<Init>,
    pub msn: u64,
    pub discontinuity: u64,
    pub clock: WallClock,
    pub shift: i64,
}

impl Lane {
    pub fn new(kind: MediaKind, start: LaneStart, config: &SegmenterConfig) -> Self {
        let part_limit = config.part_target.as_micros() as u64 * u64::from(start.init.timescale) / 1_000_000;
        Self {
            kind,
            init: start.init,
            msn: start.msn,
            discontinuity: start.discontinuity,
            clock: start.clock,
            shift: start.shift,
            samples: Vec::new(),
            samples_bytes: 0,
            samples_ticks: 0,
            reference: None,
            sequence: 0,
            part_limit,
            part_bytes: config.max_part_bytes,
        }
    }

    /// A duration in ticks.
    pub fn ticks(&self, duration: Duration) -> i64 {
        (duration.as_micros() * u128::from(self.init.timescale) / 1_000_000) as i64
    }

    /// Appends a sample that was received at `received`. Closes the part before it when it would become too long, and after it
    /// when another one like it would not fit.
    pub fn add(&mut self, sample: Sample, received: WallClock, shelf: &mut Shelf) {
        let ticks = u64::from(sample.duration);
        if self.samples_ticks + ticks > self.part_limit {
            self.close_part(shelf);
        }
        if self.samples.is_empty() && self.reference.is_none() {
            let media_time = sample.dts + i64::from(sample.composition_offset);
            self.reference = Some(Reference { received, media_time });
        }
        self.samples_bytes += sample.payload.len();
        self.samples_ticks += ticks;
        self.samples.push(sample);
        if self.samples_ticks + ticks > self.part_limit
            || self.samples_bytes >= self.part_bytes
            || self.samples.len() >= MAX_SAMPLES
        {
            self.close_part(shelf);
        }
    }

    /// Length of the part that is being made.
    pub fn part_duration(&self) -> Duration {
        ticks_duration(self.samples_ticks, self.init.timescale)
    }

    /// Makes a part of the samples so far. True when there were some.
    pub fn close_part(&mut self, shelf: &mut Shelf) -> bool {
        let Some(first) = self.samples.first() else { return false };
        self.sequence = self.sequence.wrapping_add(1);
        let begins_segment = !shelf.is_open();
        let reference = self.reference.filter(|_| begins_segment);
        let start_ticks = first.dts + self.shift;
        let part = Part {
            bytes: fragment::chunk(self.kind, self.sequence, &self.samples, reference),
            duration: ticks_duration(self.samples_ticks, self.init.timescale),
            independent: first.keyframe,
        };
        let (ticks, frames) = (self.samples_ticks, self.samples.len());
        shelf.put(part, ticks, frames, || SegmentStart {
            msn: self.msn,
            start_ticks,
            discontinuity: self.discontinuity,
            program_date_time: self.wall(start_ticks),
            init: Arc::clone(&self.init),
        });
        self.samples.clear();
        self.samples_bytes = 0;
        self.samples_ticks = 0;
        true
    }

    /// Completes the segment. The next sample begins the next one.
    pub fn close_segment(&mut self, shelf: &mut Shelf, config: &SegmenterConfig, target_duration: u32) {
        self.close_part(shelf);
        if shelf.is_open() {
            shelf.close(config, target_duration);
            self.msn += 1;
        }
        self.reference = None;
    }

    fn wall(&self, ticks: i64) -> WallClock {
        let micros = crate::Timestamp::from_timescale(ticks, self.init.timescale).as_micros();
        WallClock::from_unix_micros(self.clock.unix_micros().saturating_add(micros))
    }
}
