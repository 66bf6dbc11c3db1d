//! How long an object is tried again, and what is known of how it goes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::error::{Failure, ReadError};

/// The wait after the first failure; it doubles with each further one.
const FIRST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(5);
/// The longest wait that a store may ask for.
const LONGEST_ASKED: Duration = Duration::from_secs(30);

/// When something has failed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// One attempt: so long without a byte.
    pub(super) stall: Duration,
    /// All attempts together: so long without a byte.
    pub(super) give_up: Duration,
}

/// Attempts at the same bytes.
pub(super) struct Attempts {
    limits: Limits,
    /// The last byte, or the start.
    progress: Instant,
    /// Failures since then.
    failures: u32,
}

impl Attempts {
    pub(super) fn new(limits: Limits, now: Instant) -> Self {
        Self { limits, progress: now, failures: 0 }
    }

    pub(super) fn progressed(&mut self, now: Instant) {
        (self.progress, self.failures) = (now, 0);
    }

    /// How long the next attempt may go without a byte.
    pub(super) fn patience(&self, now: Instant) -> Duration {
        let left = self.limits.give_up.saturating_sub(now.saturating_duration_since(self.progress));
        self.limits.stall.min(left).max(Duration::from_millis(100))
    }

    /// How long to wait for the next attempt, with `jitter` out of 2³². None gives up.
    pub(super) fn failed(&mut self, now: Instant, asked: Option<Duration>, jitter: u32) -> Option<Duration> {
        let whole = FIRST.saturating_mul(1 << self.failures.min(16)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        // Between half and the whole, so that those who failed together do not come back together.
        let own = whole / 2 + (whole / 2).mul_f64(f64::from(jitter) / f64::from(u32::MAX));
        let wait = own.max(asked.unwrap_or_default().min(LONGEST_ASKED));
        let spent = now.saturating_duration_since(self.progress);
        (spent + wait < self.limits.give_up).then_some(wait)
    }
}

/// How it goes with an object, for people and metrics.
#[derive(Debug, Default)]
pub(super) struct Watch {
    bytes: AtomicU64,
    requests: AtomicU64,
    retries: AtomicU64,
    trouble: Mutex<Option<Trouble>>,
}

#[derive(Debug)]
struct Trouble {
    since: Instant,
    reason: String,
}

/// What was read of a source so far, by all who read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stats {
    pub bytes_fetched: u64,
    pub requests: u64,
    /// Attempts after one that failed.
    pub retries: u64,
    pub state: State,
}

/// Whether a source gives its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    Healthy,
    /// The last attempts failed, and others follow; without a byte for as long as this.
    Retrying {
        lasting: Duration,
        reason: String,
    },
}

impl Watch {
    pub(super) fn requested(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// Bytes have come: whatever was wrong is over.
    pub(super) fn received(&self, bytes: usize, what: &str) {
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        if let Some(trouble) = self.trouble.lock().take() {
            let seconds = trouble.since.elapsed().as_secs_f32();
            tracing::info!(source = what, seconds, "the source of a VOD stream gives bytes again");
        }
    }

    /// An attempt failed, and another follows.
    pub(super) fn failed(&self, reason: &str, what: &str) {
        self.retries.fetch_add(1, Ordering::Relaxed);
        let mut trouble = self.trouble.lock();
        match trouble.as_mut() {
            Some(trouble) => reason.clone_into(&mut trouble.reason),
            None => {
                tracing::warn!(source = what, reason, "the source of a VOD stream fails: trying again");
                *trouble = Some(Trouble { since: Instant::now(), reason: reason.to_owned() });
            }
        }
    }

    pub(super) fn stats(&self) -> Stats {
        let state = match &*self.trouble.lock() {
            None => State::Healthy,
            Some(trouble) => State::Retrying { lasting: trouble.since.elapsed(), reason: trouble.reason.clone() },
        };
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Stats { bytes_fetched: read(&self.bytes), requests: read(&self.requests), retries: read(&self.retries), state }
    }
}

/// Waits for the next attempt after one that failed.
///
/// # Errors
/// When there is none: the failure lasts, or it is time to give up.
pub(super) async fn after(attempts: &mut Attempts, failure: Failure, watch: &Watch, what: &str) -> Result<(), ReadError> {
    let (reason, asked) = match failure {
        Failure::Lasting(error) => return Err(error),
        Failure::Passing { reason, after } => (reason, after),
    };
    let jitter = getrandom::u32().unwrap_or(u32::MAX / 2);
    let seconds = attempts.limits.give_up.as_secs_f32();
    watch.failed(&reason, what);
    match attempts.failed(Instant::now(), asked, jitter) {
        Some(wait) => {
            tokio::time::sleep(wait).await;
            Ok(())
        }
        None => Err(ReadError::Unavailable { reason: format!("{what} gave nothing for {seconds:.0} s: {reason}") }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { stall: Duration::from_secs(10), give_up: Duration::from_secs(60) };

    #[test]
    fn waits_grow_and_end() {
        let start = Instant::now();
        let (mut now, mut attempts, mut waits) = (start, Attempts::new(LIMITS, start), Vec::new());
        while let Some(wait) = attempts.failed(now, None, u32::MAX) {
            waits.push(wait);
            now += wait;
        }
        let millis: Vec<u128> = waits.iter().take(7).map(Duration::as_millis).collect();
        assert_eq!(millis, [200, 400, 800, 1600, 3200, 5000, 5000]);
        assert!(now - start < LIMITS.give_up && now - start > LIMITS.give_up - LONGEST, "{:?}", now - start);
        assert_eq!(Attempts::new(LIMITS, start).failed(start, None, 0), Some(FIRST / 2));
    }

    #[test]
    fn a_byte_begins_anew() {
        let start = Instant::now();
        let mut attempts = Attempts::new(LIMITS, start);
        let late = start + Duration::from_secs(59);
        assert_eq!(attempts.patience(late), Duration::from_secs(1));
        assert!(attempts.failed(late, Some(Duration::from_secs(2)), 0).is_none());
        attempts.progressed(late);
        assert_eq!(attempts.patience(late), LIMITS.stall);
        assert_eq!(attempts.failed(late, None, u32::MAX), Some(FIRST));
    }

    #[test]
    fn a_store_may_ask_for_time_but_not_for_any() {
        let start = Instant::now();
        let mut attempts = Attempts::new(LIMITS, start);
        assert_eq!(attempts.failed(start, Some(Duration::from_secs(7)), 0), Some(Duration::from_secs(7)));
        assert_eq!(attempts.failed(start, Some(Duration::from_secs(3600)), 0), Some(LONGEST_ASKED));
    }
}
