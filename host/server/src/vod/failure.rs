//! Why a recorded file can't be played.

use http::StatusCode;

use super::source::{OpenError, ReadError};
use crate::rooms::Refusal;

/// Texts are for people, and hold no secrets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    #[error("File not found: {what}")]
    NotFound { what: String },
    #[error("{reason}")]
    Denied { reason: String },
    /// The URI is wrong, or what is there can't be played.
    #[error("{reason}")]
    Unplayable { reason: String },
    /// A later attempt may succeed.
    #[error("{reason}")]
    Unavailable { reason: String },
    /// Another file is under the name than when it was opened.
    #[error("{reason}")]
    Changed { reason: String },
    /// The stream could not be published.
    #[error("{}", .0.reason)]
    Refused(Refusal),
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::NotFound { what } => Self::NotFound { what },
            OpenError::Denied { reason } => Self::Denied { reason },
            OpenError::Invalid { reason } => Self::Unplayable { reason },
            OpenError::Unavailable { reason } => Self::Unavailable { reason },
        }
    }
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        match error {
            error @ (ReadError::Changed { .. } | ReadError::Truncated { .. }) => Self::Changed { reason: error.to_string() },
            error => OpenError::from(error).into(),
        }
    }
}

impl Failure {
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::Changed { .. })
    }

    /// What somebody is told who wanted it played.
    pub fn refusal(&self) -> Refusal {
        let (status, code) = match self {
            Self::NotFound { .. } => (StatusCode::NOT_FOUND, "file-not-found"),
            Self::Denied { .. } => (StatusCode::FORBIDDEN, "source-denied"),
            Self::Unplayable { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "unplayable"),
            Self::Refused(refusal) => return refusal.clone(),
            Self::Unavailable { .. } | Self::Changed { .. } => (StatusCode::SERVICE_UNAVAILABLE, "source-unavailable"),
        };
        Refusal::new(status, code, self.to_string())
    }
}
