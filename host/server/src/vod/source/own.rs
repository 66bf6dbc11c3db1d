//! Bytes that a plugin makes itself, asked for piece by piece.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use flyloft_plugins::Plugins;
use flyloft_plugins::model::{ByteRange, Context, OwnBytes, SourceError};

use super::answer::{self, Version};
use super::error::{Failure, ReadError, shown};
use crate::rooms::{new_id, now};

/// A file that a plugin makes.
pub(super) struct OwnObject {
    plugins: Plugins,
    plugin: Arc<str>,
    context: Context,
    handle: String,
    size: u64,
    /// For people.
    what: Arc<str>,
}

impl OwnObject {
    pub(super) fn new(plugins: Plugins, plugin: Arc<str>, context: Context, own: OwnBytes) -> Self {
        let what = format!("{:?} of the plugin {plugin}", shown(&own.handle));
        Self { plugins, plugin, context, handle: own.handle, size: own.size, what: what.into() }
    }

    pub(super) fn what(&self) -> &Arc<str> {
        &self.what
    }

    pub(super) fn version(&self) -> Version {
        Version { size: self.size, tag: None }
    }

    /// Reads a range, and gives the bytes to `take` as they come.
    pub(super) async fn fetch(&self, range: Range<u64>, patience: Duration, mut take: impl FnMut(Bytes)) -> Result<(), Failure> {
        let mut at = range.start;
        while at < range.end {
            let length = u32::try_from(range.end - at).unwrap_or(u32::MAX).min(ByteRange::MAX_LENGTH);
            let ask = ByteRange { handle: self.handle.clone(), offset: at, length };
            // Each call has an id of its own in the log.
            let context = Context { call_id: new_id(), now: u64::try_from(now()).unwrap_or(0), ..self.context.clone() };
            let read = tokio::time::timeout(patience, self.plugins.read_source(&self.plugin, &context, &ask)).await;
            let answered = read.map_err(|_| answer::silent(patience))?;
            let decided =
                answered.map_err(|fault| Failure::passing(format!("the plugin {} failed: {}", self.plugin, fault.kind)))?;
            let bytes = decided.answer.map_err(|error| self.failed(error))?;
            let got = bytes.len() as u64;
            take(bytes.into());
            at += got;
            if got < u64::from(length) {
                let (what, size) = (self.what.to_string(), self.size);
                return Err(Failure::Lasting(ReadError::Truncated { what, at, size }));
            }
        }
        Ok(())
    }

    fn failed(&self, error: SourceError) -> Failure {
        let what = &self.what;
        match error {
            SourceError::NotMine => Failure::invalid(format!("{what}: the plugin does not know it any more")),
            SourceError::NotFound(_) => Failure::Lasting(ReadError::NotFound { what: what.to_string() }),
            SourceError::Denied(reason) => Failure::Lasting(ReadError::Denied { reason: shown(&reason) }),
            SourceError::Invalid(reason) => Failure::invalid(shown(&reason)),
            SourceError::Unavailable(reason) => Failure::passing(shown(&reason)),
        }
    }
}
