//! Bounds how many calls run and how many wait.

use std::sync::atomic::{AtomicU32, Ordering};
use tokio::sync::{Semaphore, SemaphorePermit, TryAcquireError};

/// Running calls hold a permit; when there is none left, a bounded number of calls waits for one in its turn.
#[derive(Debug)]
pub(crate) struct Permits {
    running: Semaphore,
    waiting: AtomicU32,
    max_waiting: u32,
}

impl Permits {
    pub(crate) fn new(running: u32, max_waiting: u32) -> Permits {
        let running = Semaphore::new(running.clamp(1, 10_000) as usize);
        Permits { running, waiting: AtomicU32::new(0), max_waiting }
    }

    /// Waits for a permit, or answers with the number of calls that wait already when they are too many.
    pub(crate) async fn acquire(&self) -> Result<SemaphorePermit<'_>, u32> {
        // A call ends within one poll, so a task that makes one after another would never let others run.
        tokio::task::coop::consume_budget().await;
        match self.running.try_acquire() {
            Ok(permit) => return Ok(permit),
            Err(TryAcquireError::NoPermits) => {}
            Err(TryAcquireError::Closed) => return Err(0),
        }
        let before = self.waiting.fetch_add(1, Ordering::Relaxed);
        // Counts down also when the caller goes away while it waits.
        let _waiting = Waiting(&self.waiting);
        if before >= self.max_waiting {
            return Err(before);
        }
        self.running.acquire().await.map_err(|_| 0)
    }
}

struct Waiting<'a>(&'a AtomicU32);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[tokio::test]
    async fn calls_wait_their_turn_and_too_many_are_refused() {
        let permits = Arc::new(Permits::new(1, 1));
        let running = permits.acquire().await.unwrap();
        let waiter = Arc::clone(&permits);
        let waiting = tokio::spawn(async move { waiter.acquire().await.map(drop) });
        while permits.waiting.load(Ordering::Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(permits.acquire().await.map(drop), Err(1));
        drop(running);
        assert_eq!(waiting.await.unwrap(), Ok(()));
        assert_eq!(permits.waiting.load(Ordering::Relaxed), 0);
        assert!(permits.acquire().await.is_ok());
    }

    #[tokio::test]
    async fn a_waiter_that_goes_away_is_not_counted() {
        let permits = Permits::new(1, 1);
        let _running = permits.acquire().await.unwrap();
        {
            let mut waiting = std::pin::pin!(permits.acquire());
            assert!(futures_poll(waiting.as_mut()).await.is_none());
            assert_eq!(permits.waiting.load(Ordering::Relaxed), 1);
        }
        assert_eq!(permits.waiting.load(Ordering::Relaxed), 0);
    }

    async fn futures_poll<F: Future>(mut future: std::pin::Pin<&mut F>) -> Option<F::Output> {
        std::future::poll_fn(|task| {
            std::task::Poll::Ready(match future.as_mut().poll(task) {
                std::task::Poll::Ready(output) => Some(output),
                std::task::Poll::Pending => None,
            })
        })
        .await
    }
}
