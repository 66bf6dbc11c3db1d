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

#[derive(Debug, Default)]
pub struct Viewers {
    connections: AtomicU32,
    views: AtomicU64,
    sessions: Mutex<HashMap<u64, Instant>>,
}

/// The stream has as many viewers as it may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the stream has all the viewers that it may have ({0}): try again later")]
pub struct Full(pub u32);

/// Counts one connected viewer until it is dropped.
#[derive(Debug)]
pub struct ViewerGuard(Arc<Viewers>);

impl Drop for ViewerGuard {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Viewers {
    /// Counts a connection, unless that makes more than `limit` viewers.
    pub fn connect(self: &Arc<Self>, limit: Option<u32>) -> Result<ViewerGuard, Full> {
        self.connections.fetch_add(1, Ordering::Relaxed);
        let guard = ViewerGuard(Arc::clone(self));
        match limit {
            Some(limit) if self.count() > limit => Err(Full(limit)),
            _ => {
                self.views.fetch_add(1, Ordering::Relaxed);
                Ok(guard)
            }
        }
    }

    /// Notes that the HLS or DASH session `key` is there, unless it is new and makes more than `limit` viewers.
    pub fn touch(&self, key: u64, limit: Option<u32>) -> Result<(), Full> {
        let now = Instant::now();
        let mut sessions = self.sessions.lock();
        if let Some(seen) = sessions.get_mut(&key) {
            *seen = now;
            return Ok(());
        }
        sessions.retain(|_, seen| now.duration_since(*seen) < SESSION_TIMEOUT);
        let count = self.connections.load(Ordering::Relaxed) + u32::try_from(sessions.len()).unwrap_or(u32::MAX);
        if let Some(limit) = limit.filter(|limit| count >= *limit) {
            return Err(Full(limit));
        }
        if sessions.len() < MAX_SESSIONS {
            sessions.insert(key, now);
        }
        drop(sessions);
        self.views.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Viewers now.
    pub fn count(&self) -> u32 {
        let now = Instant::now();
        let sessions = self.sessions.lock().values().filter(|seen| now.duration_since(**seen) < SESSION_TIMEOUT).count();
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
        viewers.touch(7, None).unwrap();
        viewers.touch(7, None).unwrap();
        assert_eq!((viewers.count(), viewers.views()), (2, 2));
        drop(first);
        assert_eq!(viewers.count(), 1);
    }

    #[test]
    fn the_limit_holds_for_both_kinds() {
        let viewers = Arc::new(Viewers::default());
        let _first = viewers.connect(Some(1)).unwrap();
        assert_eq!(viewers.connect(Some(1)).unwrap_err(), Full(1));
        assert_eq!(viewers.touch(1, Some(1)), Err(Full(1)));
        assert_eq!(viewers.count(), 1);
    }
}
