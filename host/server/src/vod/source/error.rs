//! What can go wrong with a source. Everything below speaks of failed attempts; what becomes of them is decided in one place.

use std::time::Duration;

/// Why a source can't be opened. Texts are for people, and hold no secrets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    #[error("File not found: {what}")]
    NotFound { what: String },
    /// It may not be read.
    #[error("{reason}")]
    Denied { reason: String },
    /// The URI is wrong, or what it names can't be read.
    #[error("{reason}")]
    Invalid { reason: String },
    /// A later call may succeed.
    #[error("{reason}")]
    Unavailable { reason: String },
}

/// Why bytes of an open source can't be had. Texts are for people, and hold no secrets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// It is not there any more.
    #[error("File not found: {what}")]
    NotFound { what: String },
    #[error("{reason}")]
    Denied { reason: String },
    /// The store's answers can't be used, or the caller asked for what can't be.
    #[error("{reason}")]
    Invalid { reason: String },
    /// It was tried again and again, for as long as the settings say.
    #[error("{reason}")]
    Unavailable { reason: String },
    /// Another file is under the name than when it was opened: what was read of the one does not fit the other.
    #[error("{what} was changed while it was played: open it again")]
    Changed { what: String },
    /// The file is shorter than it was.
    #[error("{what} ends at byte {at}, before its size of {size}: it was cut off")]
    Truncated { what: String, at: u64, size: u64 },
}

impl From<ReadError> for OpenError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::NotFound { what } => Self::NotFound { what },
            ReadError::Denied { reason } => Self::Denied { reason },
            ReadError::Invalid { reason } => Self::Invalid { reason },
            ReadError::Unavailable { reason } => Self::Unavailable { reason },
            error @ (ReadError::Changed { .. } | ReadError::Truncated { .. }) => Self::Unavailable { reason: error.to_string() },
        }
    }
}

/// How one attempt failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// Another attempt may succeed, not before `after` where the store says so.
    Passing {
        reason: String,
        after: Option<Duration>,
    },
    Lasting(ReadError),
}

impl Failure {
    pub(super) fn passing(reason: impl Into<String>) -> Self {
        Self::Passing { reason: reason.into(), after: None }
    }

    pub(super) fn invalid(reason: impl Into<String>) -> Self {
        Self::Lasting(ReadError::Invalid { reason: reason.into() })
    }
}

/// Characters of a stranger's text that are repeated.
const MAX_SHOWN: usize = 200;

/// A stranger's text as it may stand in errors and logs.
pub(super) fn shown(text: &str) -> String {
    let mut shown: String = text.chars().take(MAX_SHOWN).map(|char| if char.is_control() { '?' } else { char }).collect();
    if text.chars().nth(MAX_SHOWN).is_some() {
        shown.push('…');
    }
    shown
}
