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

    /// Ends the view, from whichever side.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.when_closed.notify_waiters();
        self.shard.notify_one();
    }

    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    pub(super) fn mark_cut(&self) {
        self.cut.store(true, Ordering::Release);
    }

    /// The last message was not written to its end. Known when the link is closed by the shard.
    pub fn was_cut(&self) -> bool {
        self.cut.load(Ordering::Acquire)
    }

    pub async fn closed(&self) {
        loop {
            let mut notified = std::pin::pin!(self.when_closed.notified());
            notified.as_mut().enable();
            if self.is_closed() {
                return;
            }
            notified.await;
        }
    }
}
