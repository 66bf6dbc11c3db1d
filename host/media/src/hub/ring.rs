//! The bounded ring of a stream's latest frames, which is also its GOP cache.

use std::collections::VecDeque;
use std::sync::Arc;

use super::Entry;

/// How much a stream keeps for those who join or fall behind. The latest GOP is kept beyond `max_age`, never beyond `max_bytes`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingLimits {
    pub max_bytes: usize,
    pub max_frames: usize,
    /// Microseconds of media.
    pub max_age: i64,
}

impl Default for RingLimits {
    fn default() -> Self {
        Self { max_bytes: 32 << 20, max_frames: 16_384, max_age: 10_000_000 }
    }
}

#[derive(Debug)]
pub(super) struct Ring {
    limits: RingLimits,
    entries: VecDeque<Arc<Entry>>,
    /// Sequence number of the first entry.
    start: u64,
    bytes: usize,
    join_points: VecDeque<u64>,
}

impl Ring {
    pub fn new(limits: RingLimits) -> Self {
        Self { limits, entries: VecDeque::new(), start: 0, bytes: 0, join_points: VecDeque::new() }
    }

    pub const fn start(&self) -> u64 {
        self.start
    }

    /// The sequence number that the next entry will have.
    pub fn end(&self) -> u64 {
        self.start + self.entries.len() as u64
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// True when a reader can start at the new entry.
    pub fn push(&mut self, make: impl FnOnce(u64) -> Entry) -> bool {
        let entry = make(self.end());
        self.bytes += entry.frame.payload.len();
        let joins = entry.is_join_point();
        if joins {
            self.join_points.push_back(entry.seq);
        }
        let now = entry.frame.dts;
        self.entries.push_back(Arc::new(entry));
        while self.must_shrink(now) {
            self.drop_first();
        }
        joins
    }

    fn must_shrink(&self, now: crate::Timestamp) -> bool {
        let Some(first) = self.entries.front() else { return false };
        if self.bytes > self.limits.max_bytes || self.entries.len() > self.limits.max_frames {
            return self.entries.len() > 1;
        }
        let in_latest_gop = self.join_points.back().is_some_and(|&latest| first.seq >= latest);
        !in_latest_gop && now.micros_since(first.frame.dts) > self.limits.max_age
    }

    fn drop_first(&mut self) {
        if let Some(first) = self.entries.pop_front() {
            self.start += 1;
            self.bytes -= first.frame.payload.len();
            if self.join_points.front() == Some(&first.seq) {
                self.join_points.pop_front();
            }
        }
    }

    pub fn latest_join_point(&self) -> Option<u64> {
        self.join_points.back().copied()
    }

    pub fn first_join_point_at_or_after(&self, seq: u64) -> Option<u64> {
        let at = self.join_points.partition_point(|&point| point < seq);
        self.join_points.get(at).copied()
    }

    pub fn from(&self, seq: u64) -> impl Iterator<Item = &Arc<Entry>> {
        let skip = usize::try_from(seq.saturating_sub(self.start)).unwrap_or(usize::MAX).min(self.entries.len());
        self.entries.range(skip..)
    }
}
