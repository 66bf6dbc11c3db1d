//! What was read ahead and waits for its time: bounded in milliseconds of media and in bytes, whichever is less.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use flyloft_media::{Track, TrackId};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::Failure;

/// Bytes that are read ahead. A reader may exceed it by what it reads at a time.
pub const MAX_BYTES: usize = 4 << 20;

/// A frame on the stream's timeline, in microseconds.
#[derive(Clone, Debug)]
pub struct Timed {
    pub track: TrackId,
    pub dts: i64,
    pub pts: i64,
    pub keyframe: bool,
    pub payload: Bytes,
}

/// What the reader gives to the player.
#[derive(Clone, Debug)]
pub enum Piece {
    /// A file begins, or begins again. Its tracks hold for the frames that follow, whose times are `base` more than in the file.
    Pass {
        item: usize,
        base: i64,
        tracks: Arc<Vec<Track>>,
    },
    Frame(Timed),
    /// Something happened that people should know of. Playing goes on.
    Note(String),
}

/// How a reading came to its end.
pub type End = Result<(), Failure>;

#[derive(Debug)]
pub struct Buffer {
    /// Microseconds of media.
    max_span: i64,
    inner: Mutex<Inner>,
    filled: Notify,
    emptied: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    pieces: VecDeque<Piece>,
    bytes: usize,
    newest: Option<i64>,
    end: Option<End>,
}

impl Inner {
    fn oldest(&self) -> Option<i64> {
        self.pieces.iter().find_map(|piece| match piece {
            Piece::Frame(frame) => Some(frame.dts),
            _ => None,
        })
    }

    fn span(&self) -> i64 {
        match (self.oldest(), self.newest) {
            (Some(oldest), Some(newest)) => newest.saturating_sub(oldest).max(0),
            _ => 0,
        }
    }
}

/// What the player finds at the head of the buffer.
#[derive(Clone, Debug)]
pub enum Head {
    /// Decode time of the frame that comes next.
    Frame(i64),
    /// Something without a time.
    Other,
    /// The reader has not kept up.
    Dry,
    End(End),
}

impl Buffer {
    pub fn new(span: Duration) -> Arc<Self> {
        let max_span = i64::try_from(span.as_micros()).unwrap_or(i64::MAX);
        Arc::new(Self { max_span, inner: Mutex::default(), filled: Notify::new(), emptied: Notify::new() })
    }

    /// Resolves when there is room for more.
    pub async fn room(&self) {
        loop {
            {
                let inner = self.inner.lock();
                if inner.span() < self.max_span && inner.bytes < MAX_BYTES {
                    return;
                }
            }
            self.emptied.notified().await;
        }
    }

    pub fn put(&self, pieces: impl IntoIterator<Item = Piece>) {
        let mut inner = self.inner.lock();
        for piece in pieces {
            if let Piece::Frame(frame) = &piece {
                inner.bytes += frame.payload.len();
                inner.newest = inner.newest.max(Some(frame.dts));
            }
            inner.pieces.push_back(piece);
        }
        drop(inner);
        self.filled.notify_one();
    }

    /// The reader is done.
    pub fn finish(&self, end: End) {
        self.inner.lock().end = Some(end);
        self.filled.notify_one();
    }

    /// Resolves when something was put in since the last call.
    pub async fn filled(&self) {
        self.filled.notified().await;
    }

    pub fn head(&self) -> Head {
        let inner = self.inner.lock();
        match (inner.pieces.front(), &inner.end) {
            (Some(Piece::Frame(frame)), _) => Head::Frame(frame.dts),
            (Some(_), _) => Head::Other,
            (None, Some(end)) => Head::End(end.clone()),
            (None, None) => Head::Dry,
        }
    }

    /// Whether so many microseconds of media are there, or all that can be.
    pub fn has(&self, span: i64) -> bool {
        let inner = self.inner.lock();
        inner.end.is_some() || inner.bytes >= MAX_BYTES || inner.span() >= span.min(self.max_span)
    }

    /// Appends to `out` what comes before a frame that is decoded after `until`.
    pub fn take(&self, until: i64, out: &mut Vec<Piece>) {
        let mut inner = self.inner.lock();
        let due = |piece: &Piece| !matches!(piece, Piece::Frame(frame) if frame.dts > until);
        while inner.pieces.front().is_some_and(due)
            && let Some(piece) = inner.pieces.pop_front()
        {
            if let Piece::Frame(frame) = &piece {
                inner.bytes = inner.bytes.saturating_sub(frame.payload.len());
            }
            out.push(piece);
        }
        drop(inner);
        self.emptied.notify_one();
    }

    /// Milliseconds of media that wait.
    pub fn millis(&self) -> u64 {
        u64::try_from(self.inner.lock().span() / 1_000).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    fn frame(dts: i64, bytes: usize) -> Piece {
        let payload = Bytes::from(vec![0; bytes]);
        Piece::Frame(Timed { track: TrackId::VIDEO, dts, pts: dts, keyframe: true, payload })
    }

    fn is_full(buffer: &Buffer) -> bool {
        buffer.room().now_or_never().is_none()
    }

    #[test]
    fn it_is_bounded_by_time_and_by_bytes() {
        let buffer = Buffer::new(Duration::from_secs(1));
        assert!(!is_full(&buffer));
        buffer.put([frame(0, 10), frame(999_999, 10)]);
        assert!(!is_full(&buffer) && buffer.has(999_999) && !buffer.has(1_000_000));
        buffer.put([frame(1_000_000, 10)]);
        assert!(is_full(&buffer));
        buffer.take(0, &mut Vec::new());
        assert!(!is_full(&buffer));
        buffer.put([frame(1_000_001, MAX_BYTES)]);
        assert!(is_full(&buffer), "one large frame fills it");
        buffer.take(2_000_000, &mut Vec::new());
        assert!(!is_full(&buffer) && buffer.millis() == 0);
    }

    #[test]
    fn what_is_due_comes_out_in_order_and_the_end_comes_last() {
        let buffer = Buffer::new(Duration::from_secs(1));
        buffer.put([Piece::Note("a".into()), frame(5, 1), frame(6, 1), frame(7, 1)]);
        buffer.finish(Ok(()));
        assert!(matches!(buffer.head(), Head::Other));
        let mut out = Vec::new();
        buffer.take(6, &mut out);
        assert_eq!(out.len(), 3);
        assert!(matches!(buffer.head(), Head::Frame(7)));
        buffer.take(7, &mut out);
        assert!(matches!(buffer.head(), Head::End(Ok(()))));
    }
}
