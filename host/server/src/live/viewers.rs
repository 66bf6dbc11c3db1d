//! Who watches a stream: connections by count, HLS and DASH sessions by when they last asked for something.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// A session that asked for nothing for so long has left: several playlist reloads of any player.
const SESSION_TIMEOUT: Duration = Duration::from_secs(20);
/// Sessions that are told apart. More are served but counted only up to here.
const MAX_SESSIONS: usize = 100_000;

/// The viewers of one stream.
#[derive(Debug, Default)]
pub struct Viewers {
    connections: AtomicU32,
    views: AtomicU64,
    sessions: Mutex<HashMap<u64, Session>>,
    /// What the publish's grant allows, whatever the viewers' own do.
    most: Mutex<Option<u32>>,
}

#[derive(Debug)]
struct Session {
    since: Instant,
    seen: Instant,
}

/// Why somebody may not watch, or not any longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TurnedAway {
    #[error("the stream has all the viewers that it may have ({0}): try again later")]
    Full(u32),
    #[error("the time to watch is over: it was {0} ms")]
    Over(u64),
}

/// Counts one connected viewer until it is dropped.
#[derive(Debug)]
pub struct ViewerGuard(Arc<Viewers>);

impl Drop for ViewerGuard {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Viewers {
    /// Limits the viewers of all protocols together. Who watches already goes on.
    pub fn set_most(&self, most: Option<u32>) {
        *self.most.lock() = most;
    }

    /// The smaller of a viewer's own limit and the stream's.
    fn limit(&self, own: Option<u32>) -> Option<u32> {
        [own, *self.most.lock()].into_iter().flatten().min()
    }

    /// Counts a connection, unless that makes more than `limit` viewers.
    pub fn connect(self: &Arc<Self>, limit: Option<u32>) -> Result<ViewerGuard, TurnedAway> {
        self.connections.fetch_add(1, Ordering::Relaxed);
        let guard = ViewerGuard(Arc::clone(self));
        match self.limit(limit) {
            Some(limit) if self.count() > limit => Err(TurnedAway::Full(limit)),
            _ => {
                self.views.fetch_add(1, Ordering::Relaxed);
                Ok(guard)
            }
        }
    }

    /// Notes that the HLS or DASH session `key` is there, unless it is new and makes more than `limit` viewers, or has lasted longer than
    /// `longest` in milliseconds.
    pub fn touch(&self, key: u64, limit: Option<u32>, longest: Option<u64>) -> Result<(), TurnedAway> {
        self.touch_at(Instant::now(), key, limit, longest)
    }

    fn touch_at(&self, now: Instant, key: u64, limit: Option<u32>, longest: Option<u64>) -> Result<(), TurnedAway> {
        let limit = self.limit(limit);
        let mut sessions = self.sessions.lock();
        if let Some(session) = sessions.get_mut(&key) {
            // Whoever goes on asking stays turned away.
            session.seen = now;
            return match longest {
                Some(longest) if now.duration_since(session.since) > Duration::from_millis(longest) => {
                    Err(TurnedAway::Over(longest))
                }
                _ => Ok(()),
            };
        }
        sessions.retain(|_, session| now.duration_since(session.seen) < SESSION_TIMEOUT);
        let count = self.connections.load(Ordering::Relaxed) + u32::try_from(sessions.len()).unwrap_or(u32::MAX);
        if let Some(limit) = limit.filter(|limit| count >= *limit) {
            return Err(TurnedAway::Full(limit));
        }
        if sessions.len() < MAX_SESSIONS {
            sessions.insert(key, Session { since: now, seen: now });
        }
        drop(sessions);
        self.views.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Viewers now.
    pub fn count(&self) -> u32 {
        let now = Instant::now();
        let here = |session: &&Session| now.duration_since(session.seen) < SESSION_TIMEOUT;
        let sessions = self.sessions.lock().values().filter(here).count();
        self.connections.load(Ordering::Relaxed).saturating_add(u32::try_from(sessions).unwrap_or(u32::MAX))
    }

    /// Viewers since the stream was opened.
    pub fn views(&self) -> u64 {
        self.views.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_and_sessions_are_counted_once_each() {
        let viewers = Arc::new(Viewers::default());
        let first = viewers.connect(None).unwrap();
        viewers.touch(7, None, None).unwrap();
        viewers.touch(7, None, None).unwrap();
        assert_eq!((viewers.count(), viewers.views()), (2, 2));
        drop(first);
        assert_eq!(viewers.count(), 1);
    }

    #[test]
    fn the_limit_holds_for_both_kinds() {
        let viewers = Arc::new(Viewers::default());
        let _first = viewers.connect(Some(1)).unwrap();
        assert_eq!(viewers.connect(Some(1)).unwrap_err(), TurnedAway::Full(1));
        assert_eq!(viewers.touch(1, Some(1), None), Err(TurnedAway::Full(1)));
        assert_eq!(viewers.count(), 1);
    }

    #[test]
    fn the_smaller_of_two_limits_holds() {
        let viewers = Arc::new(Viewers::default());
        viewers.set_most(Some(2));
        let _first = viewers.connect(None).unwrap();
        assert_eq!(viewers.connect(Some(1)).unwrap_err(), TurnedAway::Full(1));
        viewers.touch(1, Some(9), None).unwrap();
        assert_eq!(viewers.touch(2, Some(9), None), Err(TurnedAway::Full(2)));
        assert_eq!(viewers.connect(None).unwrap_err(), TurnedAway::Full(2));
        viewers.set_most(None);
        viewers.touch(2, None, None).unwrap();
    }

    #[test]
    fn a_session_ends_when_its_time_is_over_and_stays_so() {
        let viewers = Arc::new(Viewers::default());
        let start = Instant::now();
        let at = |seconds: u64| viewers.touch_at(start + Duration::from_secs(seconds), 1, None, Some(25_000));
        for second in [0, 10, 20, 25] {
            assert_eq!(at(second), Ok(()), "{second}");
        }
        for second in [26, 40, 55] {
            assert_eq!(at(second), Err(TurnedAway::Over(25_000)), "{second}");
        }
        assert_eq!(viewers.touch_at(start + Duration::from_secs(56), 2, None, Some(25_000)), Ok(()));
    }
}
