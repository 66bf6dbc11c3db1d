//! A viewer's socket, shared by the shard that writes media to it and the task that reads from it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio::sync::Notify;

/// Bytes of protocol control that may wait for one viewer.
const MAX_CONTROL: usize = 64 << 10;

#[derive(Debug)]
pub struct Link {
    pub socket: TcpStream,
    control: Mutex<Vec<Bytes>>,
    leaving: AtomicBool,
    closed: AtomicBool,
    paused: AtomicBool,
    cut: AtomicBool,
    when_closed: Notify,
    shard: Arc<Notify>,
}

impl Link {
    pub(super) fn new(socket: TcpStream, shard: Arc<Notify>) -> Self {
        Self {
            socket,
            control: Mutex::default(),
            leaving: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            paused: AtomicBool::new(false),
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
        drop(control);
        self.shard.notify_one();
        true
    }

    pub(super) fn take_control(&self, into: &mut Vec<Bytes>) {
        into.append(&mut self.control.lock());
    }

    pub fn set_paused(&self, paused: bool) {
        self.paused.store(paused, Ordering::Relaxed);
        self.shard.notify_one();
    }

    pub(super) fn is_paused(&self) -> bool {
        self.paused.load(Ordering::Relaxed)
    }

    /// Asks the shard to let go of the viewer, who left or has to.
    pub fn close(&self) {
        self.leaving.store(true, Ordering::Release);
        self.shard.notify_one();
    }

    pub(super) fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Acquire)
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
