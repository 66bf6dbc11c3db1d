//! Objects in stores: read in blocks that all readers share, tried again while there is hope.

use std::ops::Range;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::sync::watch;
use tokio::time::Instant;

use super::answer::Version;
use super::cache::{Arrival, BLOCK, Cache, Found, Promise};
use super::error::{Failure, ReadError};
use super::http::HttpObject;
use super::own::OwnObject;
use super::retry::{self, Attempts, Limits, Watch};
use super::s3::StoredObject;

/// Blocks that one request asks for.
const RUN: u64 = 8;
/// How long opening may take, where reading may take longer.
const OPENING: Duration = Duration::from_secs(20);

/// What answers requests for ranges.
pub(super) enum Remote {
    Http(Box<HttpObject>),
    S3(StoredObject),
    Own(OwnObject),
}

impl Remote {
    pub(super) fn what(&self) -> &Arc<str> {
        match self {
            Remote::Http(object) => object.what(),
            Remote::S3(object) => object.what(),
            Remote::Own(object) => object.what(),
        }
    }

    /// Finds out which content it has.
    pub(super) async fn look(&self, limits: Limits, watch: &Watch) -> Result<Version, ReadError> {
        let limits = Limits { give_up: limits.give_up.min(OPENING), ..limits };
        let mut attempts = Attempts::new(limits, Instant::now());
        loop {
            watch.requested();
            let patience = attempts.patience(Instant::now());
            let looked = match self {
                Remote::Http(object) => object.look(patience).await,
                Remote::S3(object) => object.look(patience).await,
                Remote::Own(object) => Ok(object.version()),
            };
            match looked {
                Ok(version) => return Ok(version),
                Err(failure) => retry::after(&mut attempts, failure, watch, self.what()).await?,
            }
        }
    }

    async fn fetch(
        &self,
        range: Range<u64>,
        version: &Version,
        patience: Duration,
        take: impl FnMut(Bytes),
    ) -> Result<(), Failure> {
        match self {
            Remote::Http(object) => object.fetch(range, version, patience, take).await,
            Remote::S3(object) => object.fetch(range, version, patience, take).await,
            Remote::Own(object) => object.fetch(range, patience, take).await,
        }
    }
}

/// One content of an object, which all who read it share. Its blocks are kept for as long as somebody has it open.
pub(super) struct Object {
    /// Tells objects apart in the cache.
    id: u64,
    remote: Remote,
    version: Version,
    cache: Arc<Cache>,
    limits: Limits,
    pub(super) watch: Watch,
    /// Once there is another content under the name, no more of this one can be had.
    changed: OnceLock<ReadError>,
}

impl Drop for Object {
    fn drop(&mut self) {
        self.cache.forget(self.id);
    }
}

impl Object {
    pub(super) fn new(id: u64, remote: Remote, version: Version, cache: Arc<Cache>, limits: Limits, watch: Watch) -> Self {
        Self { id, remote, version, cache, limits, watch, changed: OnceLock::new() }
    }

    pub(super) fn what(&self) -> &Arc<str> {
        self.remote.what()
    }

    pub(super) fn size(&self) -> u64 {
        self.version.size
    }

    /// Whether there is another content under the name by now.
    pub(super) fn is_changed(&self) -> bool {
        self.changed.get().is_some()
    }

    /// The blocks from `first` to `last`, in their order.
    pub(super) async fn blocks(self: &Arc<Self>, first: u64, last: u64) -> Result<Vec<Bytes>, ReadError> {
        let mut blocks = Vec::new();
        while let Some(next) = Some(first + blocks.len() as u64).filter(|next| *next <= last) {
            if let Some(changed) = self.changed.get() {
                return Err(changed.clone());
            }
            match self.cache.find(self.id, next, last.min(next + RUN - 1)) {
                Found::Ready(bytes) => blocks.push(bytes),
                Found::Coming(promised) => blocks.extend(arrival(promised).await?),
                Found::Missing(promises, promised) => {
                    self.load(next, promises);
                    for promised in promised {
                        // Nothing when its fetch was broken off; then the rest is not coming either.
                        let Some(bytes) = arrival(promised).await? else { break };
                        blocks.push(bytes);
                    }
                }
            }
        }
        Ok(blocks)
    }

    /// Fetches blocks for all who wait for them, and goes on when the one who wanted them first goes away.
    fn load(self: &Arc<Self>, first: u64, promises: Vec<Promise>) {
        let mut run = Run::new(Arc::clone(self), first, promises);
        tokio::spawn(async move {
            let promises: Vec<Promise> = run.promises.clone();
            let nobody_waits = async move {
                for promise in promises {
                    promise.closed().await;
                }
            };
            tokio::select! {
                () = nobody_waits => {}
                () = run.fetch() => {}
            }
        });
    }
}

/// Waits for a block. None when it was given up without a reason: whoever wants it fetches it.
async fn arrival(mut promised: watch::Receiver<Arrival>) -> Result<Option<Bytes>, ReadError> {
    match promised.wait_for(Option::is_some).await {
        Ok(arrived) => arrived.clone().transpose(),
        Err(_) => Ok(None),
    }
}

/// Blocks that are fetched together.
struct Run {
    object: Arc<Object>,
    first: u64,
    promises: Vec<Promise>,
    /// Those that have come.
    done: usize,
    /// The one that is coming.
    block: BytesMut,
}

impl Drop for Run {
    fn drop(&mut self) {
        let left = self.promises.iter().enumerate().skip(self.done);
        for (index, promise) in left {
            self.object.cache.withdraw(self.object.id, self.first + index as u64, promise);
        }
    }
}

impl Run {
    fn new(object: Arc<Object>, first: u64, promises: Vec<Promise>) -> Self {
        Self { object, first, promises, done: 0, block: BytesMut::new() }
    }

    async fn fetch(&mut self) {
        let object = Arc::clone(&self.object);
        let end = object.version.size.min((self.first + self.promises.len() as u64) * BLOCK);
        let mut attempts = Attempts::new(object.limits, Instant::now());
        while self.position() < end {
            let before = self.position();
            object.watch.requested();
            let patience = attempts.patience(Instant::now());
            let fetched = object.remote.fetch(before..end, &object.version, patience, |bytes| self.take(bytes)).await;
            if self.position() > before {
                attempts.progressed(Instant::now());
            }
            let failure = match fetched {
                Ok(()) if self.position() >= end => return,
                Ok(()) => {
                    Failure::passing(format!("the answer ended after {} of {} bytes", self.position() - before, end - before))
                }
                Err(failure) => failure,
            };
            if let Err(error) = retry::after(&mut attempts, failure, &object.watch, object.what()).await {
                self.fail(&error);
                return;
            }
        }
    }

    /// Where the next byte belongs.
    fn position(&self) -> u64 {
        (self.first + self.done as u64) * BLOCK + self.block.len() as u64
    }

    fn take(&mut self, mut bytes: Bytes) {
        self.object.watch.received(bytes.len(), self.object.what());
        while let Some(promise) = self.promises.get(self.done).filter(|_| !bytes.is_empty()) {
            let number = self.first + self.done as u64;
            let size = usize::try_from(BLOCK.min(self.object.version.size.saturating_sub(number * BLOCK))).unwrap_or(0);
            if self.block.capacity() == 0 {
                self.block = BytesMut::with_capacity(size);
            }
            let part = bytes.len().min(size.saturating_sub(self.block.len()));
            self.block.extend_from_slice(bytes.get(..part).unwrap_or_default());
            bytes.advance(part);
            if self.block.len() >= size {
                let block = std::mem::take(&mut self.block).freeze();
                self.object.cache.fill(self.object.id, number, promise, &block);
                self.done += 1;
            }
        }
    }

    fn fail(&mut self, error: &ReadError) {
        if matches!(error, ReadError::Changed { .. }) {
            self.object.changed.get_or_init(|| error.clone());
        }
        tracing::warn!(source = &**self.object.what(), %error, "the source of a VOD stream failed");
        for (index, promise) in self.promises.iter().enumerate().skip(self.done) {
            self.object.cache.withdraw(self.object.id, self.first + index as u64, promise);
            promise.send_replace(Some(Err(error.clone())));
        }
        self.done = self.promises.len();
    }
}

/// The part of some neighbouring blocks that a range asks for; without a copy when it lies in one of them.
pub(super) fn cut(blocks: &[Bytes], from: u64, length: usize) -> Bytes {
    let from = usize::try_from(from).unwrap_or(usize::MAX);
    if let [block] = blocks {
        let start = from.min(block.len());
        return block.slice(start..start.saturating_add(length).min(block.len()));
    }
    let mut whole = BytesMut::with_capacity(length);
    let mut skip = from;
    for block in blocks {
        let rest = block.get(skip..).unwrap_or_default();
        skip = skip.saturating_sub(block.len());
        whole.extend_from_slice(rest.get(..length - whole.len()).unwrap_or(rest));
    }
    whole.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_cut_out_of_its_blocks() {
        let blocks = [Bytes::from_static(b"0123"), Bytes::from_static(b"4567"), Bytes::from_static(b"89")];
        assert_eq!(cut(&blocks, 2, 8), "23456789");
        assert_eq!(cut(&blocks, 3, 2), "34");
        assert_eq!(cut(&blocks, 0, 10), "0123456789");
        assert_eq!(cut(&blocks[2..], 1, 1), "9");
        assert_eq!(cut(&blocks[1..2], 1, 2).as_ptr(), blocks[1].slice(1..).as_ptr());
        assert_eq!(cut(&blocks[2..], 9, 5), "");
    }
}
