//! One viewer in a shard: a socket, a place in the ring, and the little that its socket did not take.

use std::io::{ErrorKind, IoSlice};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use flyloft_media::hub::{Cursor, Entry, From, Read, Stream};
use socket2::SockRef;

use super::Format;
use super::fanout::Batch;
use super::link::{CONTROL, LEAVING, Link, PAUSED};
use crate::live::ViewerGuard;

/// Entries that a viewer takes from the ring at a time while it catches up.
const STEP: usize = 64;

pub(super) struct Seat {
    link: Arc<Link>,
    pub format: Format,
    cursor: Cursor,
    /// Of the tracks whose configuration this viewer has.
    generation: Option<u64>,
    /// Whole messages that were begun or are next, the first of them cut to what is left. Holds shared buffers, no copies.
    unsent: Vec<Bytes>,
    last_progress: Instant,
    was_paused: bool,
    _guard: ViewerGuard,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.link.let_go(!self.unsent.is_empty());
    }
}

pub(super) enum Progress {
    /// Everything there was is written.
    Done,
    /// The socket is full.
    Blocked,
    /// The viewer is gone, or the stream is over.
    Closed,
}

impl Seat {
    pub fn new(link: Arc<Link>, format: Format, prelude: Vec<Bytes>, cursor: Cursor, guard: ViewerGuard) -> Self {
        Self {
            link,
            format,
            cursor,
            generation: None,
            unsent: prelude,
            last_progress: Instant::now(),
            was_paused: false,
            _guard: guard,
        }
    }

    pub const fn last_progress(&self) -> Instant {
        self.last_progress
    }

    /// Resets the connection when it is closed: what waits in the kernel for a viewer that takes nothing is freed at once.
    pub fn abort(&self) {
        let _ = SockRef::from(&self.link.socket).set_linger(Some(Duration::ZERO));
    }

    /// True when this viewer wants just what everybody gets.
    pub fn is_in_step(&mut self, batch: &Batch, stream: &Stream) -> bool {
        let wishes = self.link.wishes();
        if wishes & CONTROL != 0 {
            self.link.take_control(&mut self.unsent);
        }
        let paused = wishes & PAUSED != 0;
        if self.was_paused && !paused {
            self.cursor = stream.cursor(From::KeyFrame);
        }
        self.was_paused = paused;
        self.unsent.is_empty()
            && wishes & (PAUSED | LEAVING) == 0
            && !batch.entries.is_empty()
            && self.cursor.position() == batch.start
            && self.generation.is_some()
            && self.generation == batch.generation
    }

    fn write(&mut self, slices: &[IoSlice<'_>], now: Instant) -> Result<usize, Progress> {
        // Not through the runtime's readiness: nobody waits for this socket to become writable, it is tried again with the next
        // picture.
        match SockRef::from(&self.link.socket).send_vectored(slices) {
            Ok(0) => Err(Progress::Closed),
            Ok(count) => {
                self.last_progress = now;
                Ok(count)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
            Err(_) => Err(Progress::Closed),
        }
    }

    /// Writes the batch; `buffers` are the bytes of its entries in order, `slices` the same.
    pub fn write_shared(&mut self, batch: &Batch, buffers: &[Bytes], slices: &[IoSlice<'_>], now: Instant) -> Progress {
        if slices.iter().all(|slice| slice.is_empty()) {
            self.finish(batch);
            return Progress::Done;
        }
        let mut written = match self.write(slices, now) {
            Ok(written) => written,
            Err(progress) => return progress,
        };
        for (entry, buffer) in batch.entries.iter().zip(buffers) {
            if written < buffer.len() {
                if written > 0 {
                    self.unsent.push(buffer.slice(written..));
                    self.cursor.advance_to(entry.seq + 1);
                    self.generation = Some(entry.tracks.generation());
                } else {
                    self.cursor.advance_to(entry.seq);
                }
                return Progress::Blocked;
            }
            written -= buffer.len();
            self.generation = Some(entry.tracks.generation());
        }
        self.finish(batch);
        Progress::Done
    }

    fn finish(&mut self, batch: &Batch) {
        self.cursor.advance_to(batch.end);
        if let Some(last) = batch.entries.last() {
            self.generation = Some(last.tracks.generation());
        }
    }

    /// Goes on from this viewer's own place until `end`, where the others are, or until its socket is full.
    pub fn catch_up(&mut self, stream: &Stream, end: u64, max_lag: i64, scratch: &mut Vec<Arc<Entry>>, now: Instant) -> Progress {
        if self.link.wishes() & LEAVING != 0 {
            return Progress::Closed;
        }
        loop {
            if let Err(progress) = self.flush(now) {
                return progress;
            }
            if self.was_paused {
                self.last_progress = now;
                return Progress::Done;
            }
            if stream.lag(&self.cursor) > max_lag {
                stream.skip_to_latest(&mut self.cursor);
            }
            scratch.clear();
            if self.cursor.position() >= end {
                self.last_progress = now;
                return Progress::Done;
            }
            let step = usize::try_from(end.saturating_sub(self.cursor.position())).unwrap_or(STEP).min(STEP);
            match stream.read(&mut self.cursor, scratch, step) {
                Read::Entries(_) => self.queue(scratch),
                // Nothing was waiting for the socket: a quiet stream is not a stalled viewer.
                Read::Empty => {
                    self.last_progress = now;
                    return Progress::Done;
                }
                Read::Ended => return Progress::Closed,
            }
        }
    }

    fn queue(&mut self, entries: &[Arc<Entry>]) {
        for entry in entries {
            let generation = Some(entry.tracks.generation());
            if self.generation != generation {
                self.generation = generation;
                self.unsent.push(self.format.header(entry).clone());
            }
            self.unsent.push(self.format.message(entry).clone());
        }
        self.unsent.retain(|buffer| !buffer.is_empty());
    }

    fn flush(&mut self, now: Instant) -> Result<(), Progress> {
        while !self.unsent.is_empty() {
            let unsent = std::mem::take(&mut self.unsent);
            let slices: Vec<_> = unsent.iter().map(|buffer| IoSlice::new(buffer)).collect();
            let written = self.write(&slices, now);
            drop(slices);
            self.unsent = unsent;
            match written? {
                0 => return Err(Progress::Blocked),
                written => drop_written(&mut self.unsent, written),
            }
        }
        Ok(())
    }
}

fn drop_written(buffers: &mut Vec<Bytes>, mut written: usize) {
    let mut whole = 0;
    for buffer in buffers.iter() {
        if written < buffer.len() {
            break;
        }
        written -= buffer.len();
        whole += 1;
    }
    buffers.drain(..whole);
    if let Some(first) = buffers.first_mut() {
        *first = first.slice(written..);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_dropped_to_the_byte() {
        let buffers = || vec![Bytes::from_static(b"abc"), Bytes::from_static(b"de"), Bytes::from_static(b"f")];
        for written in 0..=6 {
            let mut left = buffers();
            drop_written(&mut left, written);
            assert_eq!(left.concat(), b"abcdef"[written..]);
        }
    }
}
