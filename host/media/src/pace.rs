//! When frames of recorded media leave, so that they come as a live encoder would send them.
//!
//! The clock is one fixed point: a moment on the host's monotonic clock at which media time 0 is due. Nothing is ever added up, so
//! it does not drift, however long it runs. All times are microseconds.

/// Frames that are late by up to this are sent at once, to catch up; what is later makes a pause.
pub const MAX_CATCH_UP: i64 = 1_000_000;

/// The clock of one stream of recorded media.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Host time at which timestamp 0 is due.
    zero: i64,
    /// What pauses have added to the timestamps so far: they stand where the wall clock stands, as those of an encoder that paused.
    paused: i64,
}

impl Pace {
    /// Media time `at` is due at host time `now`.
    pub const fn start(at: i64, now: i64) -> Self {
        Self { zero: now.saturating_sub(at), paused: 0 }
    }

    /// What to add to media times for the timestamps that viewers get.
    pub const fn shift(&self) -> i64 {
        self.paused
    }

    /// The host time at which media time `at` is due.
    pub const fn due(&self, at: i64) -> i64 {
        self.zero.saturating_add(self.paused).saturating_add(at)
    }

    /// The media time that is due at host time `now`.
    pub const fn position(&self, now: i64) -> i64 {
        now.saturating_sub(self.zero).saturating_sub(self.paused)
    }

    /// To be called before media time `at`, the next, is sent. What is later than [`MAX_CATCH_UP`] would come as a burst: the clock is
    /// stopped for the time that was lost instead, which is returned.
    pub const fn catch_up(&mut self, at: i64, now: i64) -> Option<i64> {
        let late = now.saturating_sub(self.due(at));
        if late <= MAX_CATCH_UP {
            return None;
        }
        self.paused = self.paused.saturating_add(late);
        Some(late)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: i64 = 1_000;
    const DAY: i64 = 86_400_000_000;

    /// Sends frames 40 ms apart, each of them when a timer that is late by `jitter` says so, and tells how late the last one was.
    fn run(frames: i64, jitter: impl Fn(i64) -> i64) -> i64 {
        let pace = Pace::start(0, 7 * DAY);
        (0..frames).map(|index| pace.due(index * 40 * MS) + jitter(index) - 7 * DAY - index * 40 * MS).max().unwrap_or(0)
    }

    #[test]
    fn the_clock_does_not_drift() {
        let frames = 7 * DAY / (40 * MS);
        assert_eq!(run(frames, |_| 0), 0);
        assert_eq!(run(frames, |index| index % 7 * MS), 6 * MS);
        assert_eq!(Pace::start(5, 100).position(100 + 30 * DAY), 5 + 30 * DAY);
    }

    #[test]
    fn a_short_stall_is_caught_up_with() {
        let mut pace = Pace::start(0, 0);
        assert_eq!(pace.catch_up(2_000 * MS, 2_900 * MS), None);
        assert_eq!((pace.shift(), pace.due(3_000 * MS)), (0, 3_000 * MS));
    }

    #[test]
    fn a_long_stall_is_a_pause_without_a_burst() {
        let mut pace = Pace::start(0, 0);
        assert_eq!(pace.catch_up(2_000 * MS, 22_000 * MS), Some(20_000 * MS));
        // What was late is due now, what follows keeps its distance, and the timestamps show the pause.
        assert_eq!(pace.due(2_000 * MS), 22_000 * MS);
        assert_eq!(pace.due(2_040 * MS), 22_040 * MS);
        assert_eq!(pace.shift(), 20_000 * MS);
        assert_eq!(pace.catch_up(2_040 * MS, 22_040 * MS), None);
        assert_eq!(pace.catch_up(3_000 * MS, 26_000 * MS), Some(3_000 * MS));
        assert_eq!(pace.shift(), 23_000 * MS);
    }

    #[test]
    fn broken_times_do_no_harm() {
        let mut pace = Pace::start(i64::MIN, i64::MAX);
        assert_eq!(pace.due(i64::MAX), i64::MAX);
        assert_eq!(pace.catch_up(i64::MIN, i64::MAX), Some(i64::MAX));
        assert_eq!(pace.catch_up(i64::MAX, i64::MIN), None);
    }
}
