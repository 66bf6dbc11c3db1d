//! The segments of one rendition while they are made and for as long as they are kept.

use std::collections::VecDeque;
use std::sync::Arc;

use super::SegmenterConfig;
use super::init;
use super::window::{Init, Part, RenditionWindow, Segment};
use crate::time::{Timestamp, WallClock};
use crate::track::{MediaKind, Track};

/// Outlives discontinuities, and so do its segments.
#[derive(Debug)]
pub struct Shelf {
    kind: MediaKind,
    inits: Vec<Arc<Init>>,
    complete: VecDeque<Arc<Segment>>,
    open: Option<Segment>,
    versions: u32,
    next_msn: u64,
    listed_from: u64,
    bytes: u64,
    revision: u64,
}

/// What a segment is known by when its first part is put in.
#[derive(Debug)]
pub struct SegmentStart {
    pub msn: u64,
    pub start_ticks: i64,
    pub discontinuity: u64,
    pub program_date_time: WallClock,
    pub init: Arc<Init>,
}

impl Shelf {
    pub const fn new(kind: MediaKind) -> Self {
        Self {
            kind,
            inits: Vec::new(),
            complete: VecDeque::new(),
            open: None,
            versions: 0,
            next_msn: 0,
            listed_from: 0,
            bytes: 0,
            revision: 0,
        }
    }

    /// Rises with each change.
    pub const fn revision(&self) -> u64 {
        self.revision
    }

    pub fn is_empty(&self) -> bool {
        self.complete.is_empty() && self.open.is_none()
    }

    /// A segment is being made.
    pub const fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// The initialization segment of `track`: the latest one, when nothing has changed.
    pub fn init(&mut self, track: &Track) -> Arc<Init> {
        if let Some(latest) = self.inits.last().filter(|latest| latest.track == *track) {
            return Arc::clone(latest);
        }
        let made = Arc::new(Init {
            version: self.versions,
            track: track.clone(),
            timescale: init::timescale(track),
            bytes: init::segment(track),
        });
        self.versions += 1;
        self.inits.push(Arc::clone(&made));
        made
    }

    /// Media sequence numbers rise by one: what lies before a hole cannot stay.
    pub fn continue_at(&mut self, msn: u64) {
        if self.next_msn != msn {
            self.complete.clear();
            self.bytes = 0;
            self.next_msn = msn;
            self.listed_from = msn;
        }
    }

    /// Appends a part of `ticks` in the time scale of the segment, which `start` describes when there is none.
    pub fn put(&mut self, part: Part, ticks: u64, frames: usize, start: impl FnOnce() -> SegmentStart) {
        self.revision += 1;
        self.bytes += part.bytes.len() as u64;
        let segment = self.open.get_or_insert_with(|| {
            let start = start();
            Segment {
                msn: start.msn,
                start: Timestamp::from_timescale(start.start_ticks, start.init.timescale),
                duration: std::time::Duration::ZERO,
                start_ticks: start.start_ticks,
                duration_ticks: 0,
                discontinuity: start.discontinuity,
                program_date_time: start.program_date_time,
                init: start.init,
                parts: Vec::new(),
                frames: 0,
                complete: false,
            }
        });
        segment.duration_ticks += ticks;
        segment.duration = ticks_duration(segment.duration_ticks, segment.init.timescale);
        segment.frames += frames as u64;
        segment.parts.push(part);
    }

    /// Bytes of the segment that is being made.
    pub fn open_bytes(&self) -> u64 {
        self.open.as_ref().map_or(0, Segment::bytes)
    }

    /// Completes the segment that is being made and lets go of what is too old.
    pub fn close(&mut self, config: &SegmenterConfig, target_duration: u32) {
        let Some(mut segment) = self.open.take() else { return };
        self.revision += 1;
        segment.complete = true;
        self.next_msn = segment.msn + 1;
        self.complete.push_back(Arc::new(segment));
        // A playlist must not become shorter than three target durations (RFC 8216bis, section 6.2.2).
        let (mut count, mut length) = (0, 0.0);
        for segment in self.complete.iter().rev() {
            self.listed_from = segment.msn;
            count += 1;
            length += segment.duration.as_secs_f64();
            if count >= config.window && length >= f64::from(target_duration) * 3.5 {
                break;
            }
        }
        let keep_from = self.listed_from.saturating_sub(config.grace as u64);
        while let Some(first) = self.complete.front() {
            let too_much = self.bytes > config.max_bytes as u64 && self.complete.len() > 2;
            if first.msn >= keep_from && !too_much {
                break;
            }
            self.bytes -= first.bytes();
            self.complete.pop_front();
        }
        if let Some(first) = self.complete.front() {
            self.listed_from = self.listed_from.max(first.msn);
        }
        let latest = self.versions.saturating_sub(1);
        let oldest_used = self.complete.front().map_or(latest, |first| first.init.version);
        self.inits.retain(|init| init.version >= oldest_used);
    }

    pub fn longest_part(&self) -> std::time::Duration {
        let complete = self.complete.iter().flat_map(|segment| &segment.parts);
        let open = self.open.iter().flat_map(|segment| &segment.parts);
        complete.chain(open).map(|part| part.duration).max().unwrap_or_default()
    }

    pub fn longest_segment(&self) -> std::time::Duration {
        self.complete.iter().map(|segment| segment.duration).max().unwrap_or_default()
    }

    /// The end of the latest part on the stream's timeline.
    pub fn end(&self) -> Option<Timestamp> {
        let open = self.open.as_ref().map(Segment::end);
        open.or_else(|| self.complete.back().map(|segment| segment.end()))
    }

    pub fn first_listed(&self) -> u64 {
        self.listed_from
    }

    pub fn window(&self) -> RenditionWindow {
        let mut segments = Vec::with_capacity(self.complete.len() + 1);
        segments.extend(self.complete.iter().cloned());
        segments.extend(self.open.clone().map(Arc::new));
        let measured = if self.complete.is_empty() { self.open.as_slice() } else { &[] };
        let measured = self.complete.iter().map(|segment| &**segment).chain(measured);
        let (mut peak, mut bits, mut seconds, mut frames) = (0.0_f64, 0.0, 0.0, 0);
        for segment in measured.filter(|segment| segment.duration_ticks > 0) {
            let (segment_bits, length) = (segment.bytes() as f64 * 8.0, segment.duration.as_secs_f64());
            // A last segment of a few frames says nothing about the rate.
            if length >= 0.5 || peak == 0.0 {
                peak = peak.max(segment_bits / length);
            }
            bits += segment_bits;
            seconds += length;
            frames += segment.frames;
        }
        let per_second = |amount: f64| if seconds > 0.0 { amount / seconds } else { 0.0 };
        RenditionWindow {
            kind: self.kind,
            inits: self.inits.clone(),
            segments,
            listed_from: self.listed_from,
            next_msn: self.next_msn,
            peak_bandwidth: peak.ceil() as u64,
            average_bandwidth: per_second(bits).ceil() as u64,
            frame_rate: if self.kind == MediaKind::Video { per_second(frames as f64) } else { 0.0 },
        }
    }
}

/// `ticks` of `1/timescale` seconds.
pub fn ticks_duration(ticks: u64, timescale: u32) -> std::time::Duration {
    let nanos = u128::from(ticks) * 1_000_000_000 / u128::from(timescale.max(1));
    std::time::Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}
