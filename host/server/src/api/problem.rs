//! Every error of the API as problem details (RFC 9457), from one place.

use std::borrow::Cow;

use axum::Json;
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use utoipa::ToSchema;

use super::Peer;
use crate::rooms::{Error, Refusal};
use crate::store::StoreError;

const CONTENT_TYPE: HeaderValue = HeaderValue::from_static("application/problem+json");

/// What went wrong with one part of the request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct FieldError {
    /// The property, query parameter or header.
    #[schema(example = "title")]
    pub field: String,
    #[schema(example = "it has 300 characters and may have 200")]
    pub detail: String,
}

/// An error.
#[derive(Clone, Debug)]
pub struct Problem {
    pub status: StatusCode,
    pub code: Cow<'static, str>,
    pub detail: String,
    pub errors: Vec<FieldError>,
    /// Where JSON could not be read, counted from 1.
    pub position: Option<(usize, usize)>,
}

/// Problem details (RFC 9457).
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemJson {
    #[serde(rename = "type")]
    #[schema(example = "urn:flyloft:problem:stream-inactive")]
    kind: String,
    #[schema(example = "Conflict")]
    title: &'static str,
    #[schema(example = 409)]
    status: u16,
    /// For a program: the last part of the type.
    #[schema(example = "stream-inactive")]
    code: String,
    /// For a person: what was wrong and what to do about it.
    detail: String,
    /// The path of the request.
    #[schema(example = "/v1/video-rooms/0199c2f0-0000-7000-8000-000000000000/start")]
    instance: String,
    /// The first property, parameter or header that was wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
    /// All of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldError>,
    /// Where the JSON could not be read, counted from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<usize>,
}

impl Problem {
    pub fn new(status: StatusCode, code: impl Into<Cow<'static, str>>, detail: impl Into<String>) -> Self {
        Self { status, code: code.into(), detail: detail.into(), errors: Vec::new(), position: None }
    }

    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", detail)
    }

    pub fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", detail)
    }

    /// One part of the request can't be used.
    pub fn invalid(field: impl Into<String>, detail: impl Into<String>) -> Self {
        let error = FieldError { field: field.into(), detail: detail.into() };
        let detail = format!("{}: {}", error.field, error.detail);
        Self { errors: vec![error], ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", detail) }
    }

    fn from_status(status: StatusCode) -> Self {
        match status {
            StatusCode::METHOD_NOT_ALLOWED => {
                Self::new(status, "method-not-allowed", "this address does not take this method: see the Allow header")
            }
            StatusCode::NOT_FOUND => Self::not_found("there is nothing at this address: the API is described at /v1/docs"),
            _ => Self::new(status, "error", "the request could not be served: the API is described at /v1/docs"),
        }
    }

    fn into_json(self, instance: String) -> ProblemJson {
        ProblemJson {
            kind: format!("urn:flyloft:problem:{}", self.code),
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            code: self.code.into_owned(),
            detail: self.detail,
            instance,
            field: self.errors.first().map(|error| error.field.clone()),
            errors: self.errors,
            line: self.position.map(|(line, _)| line),
            column: self.position.map(|(_, column)| column),
        }
    }
}

/// The body is written by [`finish`], which knows the path.
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// Writes the body of every error, those of the framework included.
pub async fn finish(request: Request, next: Next) -> Response {
    let (path, method) = (request.uri().path().to_owned(), request.method().clone());
    let remote = request.extensions().get::<Peer>().map(|peer| peer.address);
    let mut response = next.run(request).await;
    let status = response.status();
    let problem = match response.extensions_mut().remove::<Problem>() {
        Some(problem) => problem,
        None if status.is_client_error() || status.is_server_error() => Problem::from_status(status),
        None => return response,
    };
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            tracing::info!(?remote, %method, path, code = %problem.code, detail = problem.detail, "refused");
        }
        _ => tracing::debug!(?remote, %method, path, code = %problem.code, detail = problem.detail, "not served"),
    }
    let (mut parts, _) = response.into_parts();
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.insert(header::CONTENT_TYPE, CONTENT_TYPE);
    if status == StatusCode::UNAUTHORIZED {
        parts.headers.append(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"flyloft\""));
        // On pages, a browser would answer this one with a window that asks for a password.
        if !path.starts_with("/v1/public/") {
            parts
                .headers
                .append(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"flyloft\", charset=\"UTF-8\""));
        }
    }
    let body = Json(problem.into_json(path)).into_response().into_body();
    Response::from_parts(parts, body)
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let errors = match &error {
            Error::Invalid { field, reason } | Error::Taken { field, reason } => {
                vec![FieldError { field: (*field).to_owned(), detail: reason.clone() }]
            }
            Error::KeyReused => vec![FieldError { field: "Idempotency-Key".into(), detail: error.to_string() }],
            _ => Vec::new(),
        };
        let refusal = Refusal::from(error);
        Self { errors, ..refusal.into() }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        Self::new(refusal.status, refusal.code, refusal.reason)
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        Error::Store(error).into()
    }
}
