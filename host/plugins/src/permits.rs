//! Bounds how many calls run and how many wait: of all Apps together, and of each App, so that calls of one App that wait for a
//! slow backend leave room for those of the others.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};

/// Apps whose gates are kept; those where nothing happens make room.
const KEPT_APPS: usize = 1024;

/// How many calls there may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    pub(crate) running: u32,
    pub(crate) waiting: u32,
}

/// Running calls hold a permit; when there is none left, a bounded number of calls waits for one in its turn and for a limited
/// time.
#[derive(Debug)]
pub(crate) struct Permits {
    all: Gate,
    of_app: Room,
    max_wait: Duration,
    apps: Mutex<HashMap<String, Arc<Gate>>>,
}

/// A call that may run.
#[derive(Debug)]
pub(crate) struct Permit {
    _of_app: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
}

/// There is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Crowd {
    /// Calls that wait already.
    pub(crate) waiting: u32,
    /// Whether it is the App that has too many, and not all Apps together.
    pub(crate) of_app: bool,
}

impl Permits {
    pub(crate) fn new(all: Room, of_app: Room, max_wait: Duration) -> Permits {
        Permits { all: Gate::new(all), of_app, max_wait, apps: Mutex::default() }
    }

    /// Waits for a permit for a call of this App.
    pub(crate) async fn acquire(&self, app: &str) -> Result<Permit, Crowd> {
        // A call ends within one poll, so a task that makes one after another would never let others run.
        tokio::task::coop::consume_budget().await;
        let gate = self.gate(app);
        // The App's own first: what waits there holds nothing that others need.
        let of_app = gate.enter(self.max_wait).await.map_err(|waiting| Crowd { waiting, of_app: true })?;
        let of_all = self.all.enter(self.max_wait).await.map_err(|waiting| Crowd { waiting, of_app: false })?;
        Ok(Permit { _of_app: of_app, _of_all: of_all })
    }

    fn gate(&self, app: &str) -> Arc<Gate> {
        let mut apps = self.apps.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(gate) = apps.get(app) {
            return Arc::clone(gate);
        }
        if apps.len() >= KEPT_APPS {
            apps.retain(|_, gate| !gate.is_idle());
        }
        Arc::clone(apps.entry(app.to_owned()).or_insert_with(|| Arc::new(Gate::new(self.of_app))))
    }
}

#[derive(Debug)]
struct Gate {
    running: Arc<Semaphore>,
    waiting: AtomicU32,
    room: Room,
}

impl Gate {
    fn new(room: Room) -> Gate {
        let room = Room { running: room.running.clamp(1, 10_000), ..room };
        Gate { running: Arc::new(Semaphore::new(room.running as usize)), waiting: AtomicU32::new(0), room }
    }

    /// Whether no call is here or on its way. Only while nobody can get hold of the gate.
    fn is_idle(self: &Arc<Self>) -> bool {
        Arc::strong_count(self) == 1 && self.running.available_permits() == self.room.running as usize
    }

    /// Waits for a permit, or answers with the number of calls that wait already when they are too many or it takes too long.
    async fn enter(&self, max_wait: Duration) -> Result<OwnedSemaphorePermit, u32> {
        match Arc::clone(&self.running).try_acquire_owned() {
            Ok(permit) => return Ok(permit),
            Err(TryAcquireError::NoPermits) => {}
            Err(TryAcquireError::Closed) => return Err(0),
        }
        let before = self.waiting.fetch_add(1, Ordering::Relaxed);
        // Counts down also when the caller goes away while it waits.
        let _waiting = Waiting(&self.waiting);
        if before >= self.room.waiting {
            return Err(before);
        }
        match tokio::time::timeout(max_wait, Arc::clone(&self.running).acquire_owned()).await {
            Ok(permit) => permit.map_err(|_| 0),
            Err(_) => Err(self.waiting.load(Ordering::Relaxed).saturating_sub(1)),
        }
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

    const LONG: Duration = Duration::from_secs(600);

    fn room(running: u32, waiting: u32) -> Room {
        Room { running, waiting }
    }

    fn full(waiting: u32, of_app: bool) -> Crowd {
        Crowd { waiting, of_app }
    }

    #[tokio::test]
    async fn calls_wait_their_turn_and_too_many_are_refused() {
        let permits = Arc::new(Permits::new(room(1, 1), room(9, 9), LONG));
        let running = permits.acquire("a").await.unwrap();
        let waiter = Arc::clone(&permits);
        let waiting = tokio::spawn(async move { waiter.acquire("b").await.map(drop) });
        while permits.all.waiting.load(Ordering::Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(permits.acquire("a").await.map(drop), Err(full(1, false)));
        drop(running);
        assert_eq!(waiting.await.unwrap(), Ok(()));
        assert_eq!(permits.all.waiting.load(Ordering::Relaxed), 0);
        assert!(permits.acquire("a").await.is_ok());
    }

    #[tokio::test]
    async fn an_app_has_its_share_and_leaves_the_rest() {
        let permits = Permits::new(room(4, 0), room(2, 0), LONG);
        let held = [permits.acquire("a").await.unwrap(), permits.acquire("a").await.unwrap()];
        assert_eq!(permits.acquire("a").await.map(drop), Err(full(0, true)));
        let others = [permits.acquire("b").await.unwrap(), permits.acquire("c").await.unwrap()];
        assert_eq!(permits.acquire("b").await.map(drop), Err(full(0, false)));
        drop(held);
        assert!(permits.acquire("a").await.is_ok());
        drop(others);
    }

    #[tokio::test]
    async fn nobody_waits_for_ever() {
        let permits = Permits::new(room(4, 4), room(1, 4), Duration::from_millis(5));
        let _held = permits.acquire("a").await.unwrap();
        assert_eq!(permits.acquire("a").await.map(drop), Err(full(0, true)));
    }

    #[tokio::test]
    async fn a_waiter_that_goes_away_is_not_counted() {
        let permits = Permits::new(room(1, 1), room(1, 1), LONG);
        let _running = permits.acquire("a").await.unwrap();
        let gate = permits.gate("a");
        {
            let mut waiting = std::pin::pin!(permits.acquire("a"));
            assert!(futures_poll(waiting.as_mut()).await.is_none());
            assert_eq!(gate.waiting.load(Ordering::Relaxed), 1);
        }
        assert_eq!(gate.waiting.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn apps_without_calls_are_forgotten() {
        let permits = Permits::new(room(4, 4), room(1, 0), LONG);
        let held = permits.acquire("busy").await.unwrap();
        for app in 0..2 * KEPT_APPS {
            drop(permits.acquire(&app.to_string()).await.unwrap());
        }
        assert!(permits.apps.lock().unwrap().len() <= KEPT_APPS);
        assert_eq!(permits.acquire("busy").await.map(drop), Err(full(0, true)));
        drop(held);
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
