//! The states of a delivery, as a pure machine: when it may be sent, when again, and when it is given up.

use std::time::Duration;

use flyloft_rooms::Millis;

use super::planner::Verdict;

/// How soon and how long a delivery is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// After the first attempt; doubled after each further one.
    pub first: Duration,
    /// The longest time between two attempts.
    pub longest: Duration,
    /// From the event to the last attempt. Every delivery has at least one.
    pub give_up: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            first: Duration::from_secs(5),
            longest: Duration::from_secs(12 * 60 * 60),
            give_up: Duration::from_secs(3 * 24 * 60 * 60),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Not tried yet.
    Pending,
    Sending,
    /// Tried in vain; the next attempt is made then.
    Waiting {
        until: Millis,
    },
    Done,
    /// Given up, until somebody asks for it to be delivered again.
    Dead {
        reason: String,
    },
}

/// A delivery on its way. It is kept as it was before an attempt until the attempt has ended, so that after a crash the attempt is made
/// again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Journey {
    pub state: State,
    /// Attempts that have ended.
    pub attempts: u32,
    /// From when on the time is counted after which it is given up.
    pub since: Millis,
}

impl Journey {
    /// Begins an attempt and gives its number, counted from 1. None when it is not the time for one.
    pub fn begin(&mut self, now: Millis) -> Option<u32> {
        match self.state {
            State::Pending => {}
            State::Waiting { until } if until <= now => {}
            _ => return None,
        }
        self.state = State::Sending;
        Some(self.attempts.saturating_add(1))
    }

    /// Ends the attempt under way. `roll`, from 0 up to 1, spreads those that failed at the same time.
    pub fn end(&mut self, now: Millis, verdict: &Verdict, retry: &Retry, roll: f64) {
        if self.state != State::Sending {
            return;
        }
        self.attempts = self.attempts.saturating_add(1);
        let last = self.since.saturating_add(millis(retry.give_up));
        self.state = match verdict {
            Verdict::Done => State::Done,
            Verdict::GiveUp { reason } => State::Dead { reason: reason.clone() },
            Verdict::RetryAfter(_) if now >= last => {
                State::Dead { reason: format!("it was not delivered in {} attempts, and its time is over", self.attempts) }
            }
            Verdict::RetryAfter(wanted) => {
                let wait = match wanted {
                    Some(wanted) => millis(Duration::from_millis(*wanted).clamp(retry.first.min(retry.longest), retry.longest)),
                    None => delay(self.attempts, retry, roll),
                };
                State::Waiting { until: now.saturating_add(wait).min(last).max(now) }
            }
        };
    }
}

/// Exponential, with up to a fifth more or less by chance.
fn delay(attempts: u32, retry: &Retry, roll: f64) -> Millis {
    let doubled = 1u32.checked_shl(attempts.saturating_sub(1)).unwrap_or(u32::MAX);
    let plain = retry.first.saturating_mul(doubled).min(retry.longest);
    millis(plain.mul_f64(0.8 + 0.4 * roll.clamp(0.0, 1.0)).min(retry.longest))
}

fn millis(duration: Duration) -> Millis {
    Millis::try_from(duration.as_millis()).unwrap_or(Millis::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RETRY: Verdict = Verdict::RetryAfter(None);

    fn new(since: Millis) -> Journey {
        Journey { state: State::Pending, attempts: 0, since }
    }

    #[test]
    fn three_days_of_failures_end_in_death() {
        let retry = Retry::default();
        let (mut now, mut journey, mut waits) = (1_000, new(1_000), Vec::new());
        loop {
            assert_eq!(journey.begin(now), Some(waits.len() as u32 + 1));
            journey.end(now, &RETRY, &retry, 0.5);
            let State::Waiting { until } = journey.state else { break };
            assert_eq!(journey.clone().begin(until - 1), None, "not before its time");
            waits.push((until - now) / 1000);
            now = until;
        }
        assert_eq!(&waits[..5], [5, 10, 20, 40, 80]);
        assert_eq!(waits.iter().max(), Some(&(12 * 60 * 60)));
        assert_eq!(now, 1_000 + 3 * 24 * 60 * 60 * 1000, "the last attempt is made when the time is over");
        assert!(matches!(&journey.state, State::Dead { reason } if reason.contains(&format!("{} attempts", waits.len() + 1))));
        assert_eq!(journey.begin(Millis::MAX), None);
    }

    #[test]
    fn what_the_receiver_asks_for_is_kept_within_bounds() {
        let retry = Retry::default();
        let wait = |wanted| {
            let mut journey = new(0);
            journey.begin(0);
            journey.end(0, &Verdict::RetryAfter(Some(wanted)), &retry, 0.9);
            journey.state
        };
        assert_eq!(wait(60_000), State::Waiting { until: 60_000 });
        assert_eq!(wait(0), State::Waiting { until: 5_000 });
        assert_eq!(wait(u64::MAX), State::Waiting { until: 12 * 60 * 60 * 1000 });
    }

    #[test]
    fn an_attempt_begins_and_ends_once() {
        let mut journey = new(7);
        assert_eq!(journey.begin(7), Some(1));
        assert_eq!(journey.begin(8), None, "one at a time");
        journey.end(10, &Verdict::Done, &Retry::default(), 0.0);
        assert_eq!((&journey.state, journey.attempts), (&State::Done, 1));
        journey.end(11, &RETRY, &Retry::default(), 0.0);
        assert_eq!((&journey.state, journey.attempts), (&State::Done, 1));
        assert_eq!(journey.begin(12), None);
        let mut refused = new(0);
        refused.begin(0);
        refused.end(0, &Verdict::GiveUp { reason: "gone".into() }, &Retry::default(), 0.0);
        assert_eq!(refused.state, State::Dead { reason: "gone".into() });
    }

    #[test]
    fn an_event_that_waited_behind_others_for_days_has_one_attempt() {
        let (retry, late) = (Retry::default(), 10 * 24 * 60 * 60 * 1000);
        let mut journey = new(0);
        assert_eq!(journey.begin(late), Some(1));
        journey.end(late, &RETRY, &retry, 0.0);
        assert!(matches!(journey.state, State::Dead { .. }));
    }

    proptest! {
        #[test]
        fn it_always_ends_and_never_waits_too_long(
            since in 0i64..1 << 45,
            verdicts in proptest::collection::vec((0u8..3, any::<u64>(), 0.0f64..1.0, 0i64..100_000, any::<bool>()), 1..400),
            first in 1u64..100_000,
            factor in 1u64..10_000,
        ) {
            let first = Duration::from_millis(first);
            let retry = Retry { first, longest: first * factor as u32, give_up: Duration::from_secs(259_200) };
            let (mut now, mut journey) = (since, new(since));
            for (kind, wanted, roll, late, crashes) in verdicts {
                let kept = journey.clone();
                let Some(number) = journey.begin(now) else { break };
                prop_assert_eq!(number, kept.attempts + 1);
                if crashes {
                    journey = kept;
                    continue;
                }
                let verdict = match kind { 0 => Verdict::RetryAfter(Some(wanted)), _ => Verdict::RetryAfter(None) };
                journey.end(now, &verdict, &retry, roll);
                match journey.state {
                    State::Waiting { until } => {
                        prop_assert!(until >= now && until - now <= millis(retry.longest));
                        prop_assert!(until <= since + millis(retry.give_up));
                        now = until + late;
                    }
                    State::Dead { .. } => prop_assert!(now >= since + millis(retry.give_up)),
                    _ => prop_assert!(false, "{:?}", journey.state),
                }
            }
        }
    }
}
