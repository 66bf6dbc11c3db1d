//! Why the service does not do what it was asked: for transports a [`Refusal`], for the REST API an [`Error`].

use flyloft_rooms::Conflict;
use http::StatusCode;

use crate::store::StoreError;

/// A publish or a play that is not let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub status: StatusCode,
    /// For a program: lower-case words joined by hyphens.
    pub code: String,
    /// For a person: what was refused, why, and what to do about it.
    pub reason: String,
}

impl Refusal {
    pub fn new(status: StatusCode, code: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { status, code: code.into(), reason: reason.into() }
    }
}

/// Why a call did not succeed. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("there is no {what} with the id {id:?}")]
    NotFound { what: &'static str, id: String },
    #[error(transparent)]
    Conflict(#[from] Conflict),
    /// Another thing has this value already.
    #[error("{reason}")]
    Taken { field: &'static str, reason: String },
    /// Not possible right now.
    #[error("{reason}")]
    Busy { code: &'static str, reason: String },
    /// A value that can't be used.
    #[error("{reason}")]
    Invalid { field: &'static str, reason: String },
    /// The idempotency key was used for another request.
    #[error(
        "this Idempotency-Key was used for a different request in the last 24 hours: send the same request again, or use a new key"
    )]
    KeyReused,
    #[error("{}", .0.reason)]
    Refused(Refusal),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the system gives no random numbers: {0}")]
    Random(#[from] getrandom::Error),
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Error::Refused(refusal)
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let status = match &error {
            Error::NotFound { .. } => StatusCode::NOT_FOUND,
            Error::Conflict(conflict) => return Refusal::new(StatusCode::CONFLICT, conflict.code.name(), error.to_string()),
            Error::Taken { .. } => StatusCode::CONFLICT,
            Error::Busy { code, .. } => return Refusal::new(StatusCode::CONFLICT, *code, error.to_string()),
            Error::Invalid { .. } | Error::KeyReused => StatusCode::UNPROCESSABLE_ENTITY,
            Error::Refused(refusal) => return refusal.clone(),
            Error::Store(_) | Error::Random(_) => {
                tracing::error!(error = %error, "a request could not be served");
                return Refusal::new(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "internal",
                    "the server could not do this because of a fault of its own: try again, and look into its log",
                );
            }
        };
        let code = match &error {
            Error::NotFound { .. } => "not-found",
            Error::Taken { .. } => "taken",
            Error::KeyReused => "idempotency-key-reused",
            _ => "invalid",
        };
        Refusal::new(status, code, error.to_string())
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Error::Store(error).into()
    }
}
