//! One viewer on a connection that can't be shared with the fan-out: TLS, or one stream of HTTP/2.

use std::sync::Arc;

use bytes::Bytes;
use flyloft_media::hub::{Cursor, Entry, From, Read, Stream};

use super::Format;

/// Entries that are taken from the ring at a time.
const STEP: usize = 64;

pub struct Follower {
    stream: Arc<Stream>,
    format: Format,
    cursor: Cursor,
    generation: Option<u64>,
    max_lag: i64,
    entries: Vec<Arc<Entry>>,
}

impl Follower {
    /// `max_lag` is in microseconds of media.
    pub fn new(stream: Arc<Stream>, format: Format, max_lag: i64) -> Self {
        let cursor = stream.cursor(From::KeyFrame);
        Self { stream, format, cursor, generation: None, max_lag, entries: Vec::new() }
    }

    pub fn resume_at_key_frame(&mut self) {
        self.cursor = self.stream.cursor(From::KeyFrame);
    }

    /// The shared buffers that come next, or `None` at the end. Safe to drop while it waits.
    pub async fn next(&mut self) -> Option<Vec<Bytes>> {
        loop {
            let listener = self.stream.listen();
            if self.stream.lag(&self.cursor) > self.max_lag {
                self.stream.skip_to_latest(&mut self.cursor);
            }
            self.entries.clear();
            match self.stream.read(&mut self.cursor, &mut self.entries, STEP) {
                Read::Entries(_) => return Some(self.buffers()),
                Read::Empty => listener.await,
                Read::Ended => return None,
            }
        }
    }

    fn buffers(&mut self) -> Vec<Bytes> {
        let mut buffers = Vec::with_capacity(self.entries.len() + 1);
        for entry in &self.entries {
            let generation = Some(entry.tracks.generation());
            if self.generation != generation {
                self.generation = generation;
                buffers.push(self.format.header(entry).clone());
            }
            buffers.push(self.format.message(entry).clone());
        }
        buffers.retain(|buffer| !buffer.is_empty());
        buffers
    }
}
