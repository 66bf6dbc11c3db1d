//! A viewer's socket, shared by the shard that writes media to it and the task that reads from it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio::sync::Notify;

/// Bytes of protocol control that may wait for one viewer.
const MAX_CONTROL: usize = 64 << 10;

/// There are control bytes.
pub(super) const CONTROL: u8 = 1;
/// The viewer wants nothing for now.
pub(super) const PAUSED: u8 = 2;
/// The viewer left, or has to.
pub(super) const LEAVING: u8 = 4;

#[derive(Debug)]
pub struct Link {
    pub socket: TcpStream,
    control: Mutex<Vec<Bytes>>,
    /// What the shard must know before it writes, in one word: it looks at each viewer for each picture.
    wishes: AtomicU8,
    closed: AtomicBool,
    cut: AtomicBool,
    when_closed: Notify,
    shard: Arc<Notify>,
}

impl Link {
    pub(super) fn new(socket: TcpStream, shard: Arc<Notify>) -> Self {
        Self {
            socket,
            control: Mutex::default(),
            wishes: AtomicU8::new(0),
            closed: AtomicBool::new(false),
            cut: AtomicBool::new(false),
            when_closed: Notify::new(),
            shard,
        }
    }

    /// Sends protocol bytes between two media messages. False when the viewer does not take what is waiting for it already.
    pub fn send_control(&self, bytes: Bytes) -> bool {
        let mut control = self.control.lock();
        if control.iter().map(Bytes::len).sum::<usize>() + bytes.len() > MAX_CONTROL {
            return false;
        }
        control.push(bytes);
        self.wishes.fetch_or(CONTROL, Ordering::Release);
        drop(control);
        self.shard.notify_one();
        true
    }

    pub(super) fn take_control(&self, into: &mut Vec<Bytes>) {
        let mut control = self.control.lock();
        self.wishes.fetch_and(!CONTROL, Ordering::Relaxed);
        into.append(&mut control);
    }

    pub fn set_paused(&self, paused: bool) {
        match paused {
            true => self.wishes.fetch_or(PAUSED, Ordering::Release),
            false => self.wishes.fetch_and(!PAUSED, Ordering::Release),
        };
        self.shard.notify_one();
    }

    /// [`CONTROL`], [`PAUSED`] and [`LEAVING`].
    pub(super) fn wishes(&self) -> u8 {
        self.wishes.load(Ordering::Acquire)
    }

    /// Asks the shard to let go of the viewer, who left or has to.
    pub fn close(&self) {
        self.wishes.fetch_or(LEAVING, Ordering::Release);
        self.shard.notify_one();
    }

    /// Asks the shard to let go and waits until it has. Nothing is written behind the caller's back after that.
    pub async fn leave(&self) {
        self.close();
        self.closed().await;
    }

    /// The shard will not write any more. `cut` says that the last message was not written to its end.
    pub(super) fn let_go(&self, cut: bool) {
        self.cut.store(cut, Ordering::Release);
        self.closed.store(true, Ordering::Release);
        self.when_closed.notify_waiters();
    }

    /// The last message was not written to its end. Known when [`Self::closed`] has resolved.
    pub fn was_cut(&self) -> bool {
        self.cut.load(Ordering::Acquire)
    }

    /// Resolves when the shard has let go of the viewer.
    pub async fn closed(&self) {
        loop {
            let mut notified = std::pin::pin!(self.when_closed.notified());
            notified.as_mut().enable();
            if self.closed.load(Ordering::Acquire) {
                return;
            }
            notified.await;
        }
    }
}
