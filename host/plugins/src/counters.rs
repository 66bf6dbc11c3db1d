//! Counts and durations of a plugin's calls, without locks.

use crate::api::{Counters, Faults};
use crate::error::FaultKind;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Eight buckets for each doubling of the duration.
const STEPS: u32 = 8;
/// Up to 2^25 microseconds, about half a minute.
const BUCKETS: usize = 25 * STEPS as usize;

/// What happened in all calls of one plugin.
#[derive(Debug)]
pub(crate) struct Tally {
    faults: [AtomicU64; FaultKind::NAMES.len()],
    durations: [AtomicU64; BUCKETS],
    max_memory: AtomicU64,
}

impl Default for Tally {
    fn default() -> Self {
        Tally {
            faults: [const { AtomicU64::new(0) }; FaultKind::NAMES.len()],
            durations: [const { AtomicU64::new(0) }; BUCKETS],
            max_memory: AtomicU64::new(0),
        }
    }
}

impl Tally {
    /// Counts a call that took `duration` and had at most `memory` bytes.
    pub(crate) fn call(&self, duration: Duration, memory: u64) {
        if let Some(count) = self.durations.get(bucket(duration)) {
            count.fetch_add(1, Relaxed);
        }
        // The first calls set it; from then on it is only read.
        if self.max_memory.load(Relaxed) < memory {
            self.max_memory.fetch_max(memory, Relaxed);
        }
    }

    /// Counts a fault.
    pub(crate) fn fault(&self, kind: &FaultKind) {
        if let Some(count) = self.faults.get(kind.index()) {
            count.fetch_add(1, Relaxed);
        }
    }

    /// The counts as they are now.
    pub(crate) fn counters(&self, dropped_log_lines: u64) -> Counters {
        let [guest, trap, deadline, memory, incompatible, overloaded, invalid_answer, breaker_open] =
            std::array::from_fn(|kind| self.faults.get(kind).map_or(0, |count| count.load(Relaxed)));
        let durations: Vec<u64> = self.durations.iter().map(|count| count.load(Relaxed)).collect();
        let calls = durations.iter().sum();
        Counters {
            calls,
            faults: Faults { guest, trap, deadline, memory, incompatible, overloaded, invalid_answer, breaker_open },
            p50_micros: quantile(&durations, calls, 50),
            p99_micros: quantile(&durations, calls, 99),
            max_memory: self.max_memory.load(Relaxed),
            dropped_log_lines,
        }
    }
}

/// The bucket of a duration: eight linear steps within each power of two of microseconds.
fn bucket(duration: Duration) -> usize {
    let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    if micros < u64::from(STEPS) {
        return micros as usize;
    }
    let power = micros.ilog2();
    let step = (micros >> (power - STEPS.ilog2())) as usize & (STEPS as usize - 1);
    let index = (power - STEPS.ilog2() + 1) as usize * STEPS as usize + step;
    index.min(BUCKETS - 1)
}

/// The longest duration of a bucket, in microseconds.
fn upper_end(bucket: usize) -> u64 {
    let (power, step) = (bucket as u32 / STEPS, u64::from(bucket as u32 % STEPS));
    match power {
        0 => step,
        power => ((u64::from(STEPS) + step + 1) << (power - 1)) - 1,
    }
}

fn quantile(durations: &[u64], calls: u64, percent: u64) -> Option<u64> {
    if calls == 0 {
        return None;
    }
    let rank = (calls * percent).div_ceil(100).max(1);
    let mut seen = 0;
    let found = durations.iter().position(|count| {
        seen += count;
        seen >= rank
    });
    found.map(upper_end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_duration_falls_into_a_bucket_that_ends_at_most_an_eighth_above_it() {
        for micros in (0..5000).chain([10_000, 49_999, 50_001, 1_000_000, 30_000_000]) {
            let end = upper_end(bucket(Duration::from_micros(micros)));
            assert!(end >= micros && end <= micros + micros / 8, "{micros} in the bucket that ends at {end}");
        }
        assert_eq!(bucket(Duration::from_secs(1 << 40)), BUCKETS - 1);
    }

    #[test]
    fn quantiles_are_of_the_calls_so_far() {
        let tally = Tally::default();
        assert_eq!(tally.counters(0).p50_micros, None);
        for _ in 0..98 {
            tally.call(Duration::from_micros(5), 1 << 16);
        }
        tally.call(Duration::from_micros(1000), 1 << 20);
        tally.call(Duration::from_micros(1000), 1 << 17);
        tally.fault(&FaultKind::Deadline { ms: 50 });
        let counters = tally.counters(3);
        assert_eq!((counters.calls, counters.p50_micros, counters.max_memory), (100, Some(5), 1 << 20));
        assert!(counters.p99_micros.is_some_and(|p99| (1000..=1125).contains(&p99)), "{counters:?}");
        assert_eq!((counters.faults.deadline, counters.faults.total(), counters.dropped_log_lines), (1, 1, 3));
    }
}
