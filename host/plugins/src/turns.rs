//! Who may run when. Calls end within microseconds, so they are run where they are asked. Those that take long share a few turns on
//! the executor's threads, and so do all calls of a binding that took long or failed lately: what hostile plugins use up together
//! is bounded, and the other threads stay free for everybody else.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Processor time that a call may use before it needs a turn.
const ALLOWANCE: Duration = Duration::from_millis(2);
/// Calls that must end well and within their allowance until a binding is trusted again.
const PROBATION: u32 = 64;
/// Of so many calls of a trusted binding one is measured from its beginning. Reading the clock is a system call, and most calls
/// take little longer than a few of those.
const SAMPLE: u32 = 16;

/// The turns that all bindings share.
#[derive(Clone, Debug)]
pub(crate) struct Shared(Arc<Semaphore>);

impl Shared {
    /// So many calls that take long run at a time.
    pub(crate) fn new(turns: usize) -> Shared {
        Shared(Arc::new(Semaphore::new(turns.max(1))))
    }
}

/// The turns as one binding gets them.
#[derive(Debug)]
pub(crate) struct Turns {
    shared: Shared,
    /// Calls that are yet to end well until the binding needs no turns from the beginning.
    probation: AtomicU32,
    calls: AtomicU32,
}

impl Turns {
    pub(crate) fn new(shared: &Shared) -> Turns {
        Turns { shared: shared.clone(), probation: AtomicU32::new(0), calls: AtomicU32::new(0) }
    }

    /// The call, run in turns as far as it needs them.
    pub(crate) fn pace<'a, F: Future>(&self, call: Pin<&'a mut F>) -> Paced<'a, F> {
        let in_turns = self.probation.load(Relaxed) > 0;
        let measured = in_turns || self.calls.fetch_add(1, Relaxed).is_multiple_of(SAMPLE);
        Paced { call, shared: self.shared.clone(), measured, in_turns, used: Duration::ZERO, waiting: None }
    }

    /// Tells how a call went.
    pub(crate) fn report(&self, well: bool) {
        if !well {
            self.probation.store(PROBATION, Relaxed);
        } else if self.probation.load(Relaxed) > 0 {
            // It fails at zero only.
            let _ = self.probation.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1));
        }
    }
}

type Turn = Pin<Box<dyn Future<Output = Option<OwnedSemaphorePermit>> + Send>>;

/// A call that is polled only while it holds a turn, once it needs one.
pub(crate) struct Paced<'a, F> {
    call: Pin<&'a mut F>,
    shared: Shared,
    /// Whether its next poll is measured; all after the first are.
    measured: bool,
    in_turns: bool,
    /// Processor time of its measured polls.
    used: Duration,
    waiting: Option<Turn>,
}

impl<F> Paced<'_, F> {
    /// Whether the call has used up its allowance.
    pub(crate) fn took_long(&self) -> bool {
        self.used >= ALLOWANCE
    }
}

impl<F: Future> Future for Paced<'_, F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<F::Output> {
        let this = &mut *self;
        let mut turn = None;
        if this.in_turns {
            let turns = &this.shared.0;
            let waiting = this.waiting.get_or_insert_with(|| {
                let turns = Arc::clone(turns);
                Box::pin(async { turns.acquire_owned().await.ok() })
            });
            let Poll::Ready(held) = waiting.as_mut().poll(task) else { return Poll::Pending };
            (turn, this.waiting) = (held, None);
        }
        let begun = if std::mem::replace(&mut this.measured, true) { processor_time() } else { None };
        let polled = this.call.as_mut().poll(task);
        if let Some(begun) = begun
            && let Some(ended) = processor_time()
        {
            this.used += ended.saturating_sub(begun);
            this.in_turns |= this.took_long();
        }
        drop(turn);
        polled
    }
}

/// Processor time of this thread. Time on the wall would blame a call for what others do to a busy machine.
#[cfg(unix)]
fn processor_time() -> Option<Duration> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a timespec that lives through the call.
    let failed = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    let (seconds, nanos) = (u64::try_from(time.tv_sec).ok()?, u32::try_from(time.tv_nsec).ok()?);
    (failed == 0).then(|| Duration::new(seconds, nanos))
}

#[cfg(not(unix))]
fn processor_time() -> Option<Duration> {
    use std::sync::LazyLock;
    use std::time::Instant;
    static BEGIN: LazyLock<Instant> = LazyLock::new(Instant::now);
    Some(BEGIN.elapsed())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use std::pin::pin;
    use std::task::Waker;

    /// Uses a millisecond of the processor at each poll, and never ends.
    fn busy() -> impl Future<Output = ()> {
        poll_fn(|_| {
            let begun = processor_time().unwrap();
            while processor_time().unwrap() - begun < Duration::from_millis(1) {}
            Poll::Pending
        })
    }

    /// Ends at its poll number `last`.
    fn idle(last: u32) -> impl Future<Output = u32> {
        let mut polls = 0;
        poll_fn(move |_| {
            polls += 1;
            if polls == last { Poll::Ready(polls) } else { Poll::Pending }
        })
    }

    fn polled<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
        Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn only_what_takes_long_needs_a_turn() {
        let shared = Shared::new(1);
        let turns = Turns::new(&shared);
        let _taken = Arc::clone(&shared.0).try_acquire_owned().unwrap();
        let mut call = pin!(busy());
        let mut paced = turns.pace(call.as_mut());
        for poll in 0..2 {
            assert!(!paced.in_turns, "before poll {poll}");
            assert!(polled(&mut paced).is_pending());
        }
        assert!(paced.took_long());
        // Somebody else has the only turn.
        let used = paced.used;
        assert!(polled(&mut paced).is_pending() && paced.used == used);
        let mut call = pin!(idle(100));
        let mut paced = turns.pace(call.as_mut());
        for _ in 1..100 {
            assert!(polled(&mut paced).is_pending());
        }
        assert_eq!(polled(&mut paced), Poll::Ready(100), "waiting is not using");
    }

    #[test]
    fn what_takes_long_at_once_is_found_among_many_calls() {
        let turns = Turns::new(&Shared::new(1));
        let long = |turns: &Turns| {
            let mut call = pin!(async {
                let mut busy = pin!(busy());
                for _ in 0..2 {
                    assert!(polled(&mut busy).is_pending());
                }
            });
            let mut paced = turns.pace(call.as_mut());
            assert!(polled(&mut paced).is_ready());
            paced.took_long()
        };
        assert_eq!((0..2 * SAMPLE).filter(|_| long(&turns)).count(), 2);
        turns.report(false);
        assert!(long(&turns) && long(&turns), "then every one is measured");
    }

    #[test]
    fn a_binding_that_failed_needs_turns_until_it_has_made_up_for_it() {
        let shared = Shared::new(1);
        let (turns, other) = (Turns::new(&shared), Turns::new(&shared));
        let taken = Arc::clone(&shared.0).try_acquire_owned().unwrap();
        turns.report(false);
        let mut call = pin!(idle(1));
        let mut waiting = turns.pace(call.as_mut());
        assert!(polled(&mut waiting).is_pending());
        let mut call = pin!(idle(1));
        assert!(polled(&mut other.pace(call.as_mut())).is_ready());
        drop(taken);
        assert!(polled(&mut waiting).is_ready());
        for _ in 0..PROBATION {
            let mut call = pin!(idle(1));
            assert!(turns.pace(call.as_mut()).in_turns);
            turns.report(true);
        }
        let mut call = pin!(idle(1));
        assert!(!turns.pace(call.as_mut()).in_turns);
    }
}
