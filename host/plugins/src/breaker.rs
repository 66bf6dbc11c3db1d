//! Stops asking a plugin that keeps failing, and finds out by single calls when it is well again. One for each
//! binding. The time comes from outside.

use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// When a breaker opens and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BreakerSettings {
    /// Failed calls one after another that open it.
    pub failures: u32,
    /// Milliseconds for which the plugin is left alone before a call probes it.
    pub back_off_ms: u64,
}

impl Default for BreakerSettings {
    fn default() -> Self {
        BreakerSettings { failures: 20, back_off_ms: 10_000 }
    }
}

/// What a breaker does with the next call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum BreakerState {
    /// The plugin is asked.
    Closed,
    /// The plugin is not asked.
    Open,
    /// One call probes the plugin, the others do not ask it.
    HalfOpen,
}

impl BreakerState {
    /// As it stands in JSON.
    pub fn name(self) -> &'static str {
        match self {
            BreakerState::Closed => "closed",
            BreakerState::Open => "open",
            BreakerState::HalfOpen => "half-open",
        }
    }
}

/// A breaker as it is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BreakerInfo {
    pub state: BreakerState,
    /// Calls that failed since the last one that did not.
    pub failures: u32,
    /// How often it has opened.
    pub opened: u64,
    /// Milliseconds until a call probes the plugin, while it is open.
    pub probe_in_ms: Option<u64>,
}

#[derive(Debug)]
pub(crate) struct Breaker {
    settings: BreakerSettings,
    /// False while it is closed, so that a healthy plugin's calls take no lock.
    tripped: AtomicBool,
    failures: AtomicU32,
    opened: AtomicU64,
    state: Mutex<State>,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Closed,
    Open { until: Instant },
    Probing,
}

/// What became of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Report {
    Answered,
    Failed,
    /// It says nothing about the plugin: there was no room for the call, or the caller went away.
    Nothing,
}

/// The leave to ask the plugin once. Dropped without a report, it reports [`Report::Nothing`].
#[derive(Debug)]
pub(crate) struct Ticket<'a> {
    breaker: &'a Breaker,
    probe: bool,
}

impl Breaker {
    pub(crate) fn new(settings: BreakerSettings) -> Breaker {
        Breaker {
            settings,
            tripped: AtomicBool::new(false),
            failures: AtomicU32::new(0),
            opened: AtomicU64::new(0),
            state: Mutex::new(State::Closed),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the plugin may be asked now; else how long it is left alone yet.
    pub(crate) fn admit(&self, now: Instant) -> Result<Ticket<'_>, Duration> {
        if !self.tripped.load(Relaxed) {
            return Ok(Ticket { breaker: self, probe: false });
        }
        let mut state = self.state();
        match *state {
            State::Closed => Ok(Ticket { breaker: self, probe: false }),
            State::Open { until } if now < until => Err(until - now),
            State::Open { .. } => {
                *state = State::Probing;
                Ok(Ticket { breaker: self, probe: true })
            }
            State::Probing => Err(Duration::ZERO),
        }
    }

    pub(crate) fn info(&self, now: Instant) -> BreakerInfo {
        let (state, probe_in_ms) = match *self.state() {
            State::Closed => (BreakerState::Closed, None),
            State::Open { until } => {
                let left = until.saturating_duration_since(now).as_millis();
                (BreakerState::Open, Some(u64::try_from(left).unwrap_or(u64::MAX)))
            }
            State::Probing => (BreakerState::HalfOpen, None),
        };
        BreakerInfo { state, failures: self.failures.load(Relaxed), opened: self.opened.load(Relaxed), probe_in_ms }
    }

    fn open(&self, state: &mut State, now: Instant) {
        *state = State::Open { until: now + Duration::from_millis(self.settings.back_off_ms) };
        self.opened.fetch_add(1, Relaxed);
        self.tripped.store(true, Relaxed);
    }

    fn report(&self, probe: bool, report: Report, now: Instant) {
        match (report, probe) {
            (Report::Answered, false) => {
                // Only read while all is well, so that threads don't fight for it. What began before the breaker opened
                // does not close it.
                if self.failures.load(Relaxed) != 0 && !self.tripped.load(Relaxed) {
                    self.failures.store(0, Relaxed);
                }
            }
            (Report::Failed, false) => {
                let failures = self.failures.fetch_add(1, Relaxed).saturating_add(1);
                if failures >= self.settings.failures {
                    let mut state = self.state();
                    if matches!(*state, State::Closed) {
                        self.open(&mut state, now);
                    }
                }
            }
            (Report::Nothing, false) => {}
            (Report::Answered, true) => {
                let mut state = self.state();
                self.failures.store(0, Relaxed);
                *state = State::Closed;
                self.tripped.store(false, Relaxed);
            }
            (Report::Failed, true) => {
                self.failures.fetch_add(1, Relaxed);
                let mut state = self.state();
                self.open(&mut state, now);
            }
            // The next call probes.
            (Report::Nothing, true) => *self.state() = State::Open { until: now },
        }
    }
}

impl Ticket<'_> {
    pub(crate) fn report(self, report: Report, now: Instant) {
        self.breaker.report(self.probe, report, now);
        std::mem::forget(self);
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        if self.probe {
            self.breaker.report(true, Report::Nothing, Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn breaker(failures: u32) -> Breaker {
        Breaker::new(BreakerSettings { failures, back_off_ms: 1000 })
    }

    fn fail(breaker: &Breaker, times: u32, now: Instant) {
        for _ in 0..times {
            breaker.admit(now).unwrap().report(Report::Failed, now);
        }
    }

    #[test]
    fn it_opens_after_failures_in_a_row_and_closes_when_a_probe_is_answered() {
        let (breaker, start) = (breaker(3), Instant::now());
        fail(&breaker, 2, start);
        breaker.admit(start).unwrap().report(Report::Answered, start);
        fail(&breaker, 2, start);
        assert_eq!(breaker.info(start).state, BreakerState::Closed);
        fail(&breaker, 1, start);
        let half = start + Duration::from_millis(400);
        assert_eq!(breaker.admit(half).unwrap_err(), Duration::from_millis(600));
        let expected = BreakerInfo { state: BreakerState::Open, failures: 3, opened: 1, probe_in_ms: Some(600) };
        assert_eq!(breaker.info(half), expected);
        let later = start + Duration::from_millis(1000);
        let probe = breaker.admit(later).unwrap();
        assert_eq!(breaker.info(later).state, BreakerState::HalfOpen);
        assert_eq!(breaker.admit(later).unwrap_err(), Duration::ZERO);
        probe.report(Report::Answered, later);
        assert_eq!(breaker.info(later), BreakerInfo { state: BreakerState::Closed, failures: 0, opened: 1, probe_in_ms: None });
        assert!(breaker.admit(later).is_ok());
    }

    #[test]
    fn a_failed_probe_opens_it_for_another_back_off_time() {
        let (breaker, start) = (breaker(1), Instant::now());
        fail(&breaker, 1, start);
        let later = start + Duration::from_millis(1500);
        breaker.admit(later).unwrap().report(Report::Failed, later);
        assert_eq!(breaker.admit(later).unwrap_err(), Duration::from_millis(1000));
        assert_eq!(breaker.info(later).opened, 2);
    }

    #[test]
    fn a_probe_whose_caller_goes_away_is_made_by_the_next_call() {
        let (breaker, start) = (breaker(1), Instant::now());
        fail(&breaker, 1, start);
        let later = start + Duration::from_secs(2);
        drop(breaker.admit(later).unwrap());
        breaker.admit(Instant::now() + Duration::from_secs(2)).unwrap().report(Report::Nothing, later);
        breaker.admit(later).unwrap().report(Report::Answered, later);
        assert_eq!(breaker.info(later).state, BreakerState::Closed);
    }

    #[test]
    fn calls_that_began_before_it_opened_change_nothing() {
        let (breaker, start) = (breaker(2), Instant::now());
        let (late_answer, late_failure) = (breaker.admit(start).unwrap(), breaker.admit(start).unwrap());
        fail(&breaker, 2, start);
        late_answer.report(Report::Answered, start);
        late_failure.report(Report::Failed, start);
        let info = breaker.info(start);
        assert_eq!((info.state, info.opened), (BreakerState::Open, 1));
    }

    /// The same in the plainest words, one call at a time.
    #[derive(Default)]
    struct Model {
        failures: u32,
        open_until: Option<u64>,
    }

    proptest! {
        #[test]
        fn it_does_what_the_model_does(limit in 1_u32..5, calls in proptest::collection::vec((0_u64..700, 0_u8..3), 0..200)) {
            let (breaker, start) = (breaker(limit), Instant::now());
            let (mut model, mut clock) = (Model::default(), 0);
            for (wait, outcome) in calls {
                clock += wait;
                let now = start + Duration::from_millis(clock);
                let expected = model.open_until.is_none_or(|until| clock >= until);
                let ticket = breaker.admit(now);
                prop_assert_eq!(ticket.is_ok(), expected);
                let Ok(ticket) = ticket else { continue };
                match outcome {
                    0 => {
                        ticket.report(Report::Answered, now);
                        model = Model::default();
                    }
                    1 => {
                        ticket.report(Report::Failed, now);
                        model.failures += 1;
                        if model.open_until.is_some() || model.failures >= limit {
                            model.open_until = Some(clock + 1000);
                        }
                    }
                    _ => ticket.report(Report::Nothing, now),
                }
                let open = breaker.info(now).state != BreakerState::Closed;
                prop_assert_eq!(open, model.open_until.is_some());
            }
        }
    }
}
