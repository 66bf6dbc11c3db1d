//! Errors of the media and page routes as problem details (RFC 9457).

use axum::response::{IntoResponse as _, Response};
use http::{HeaderValue, StatusCode, header};
use serde_json::json;

use crate::rooms::Refusal;

/// `code` is for programs, `detail` for people: what was wrong and what to do.
pub fn response(status: StatusCode, code: &str, detail: &str) -> Response {
    let title = status.canonical_reason().unwrap_or("Error");
    let body =
        json!({ "type": format!("urn:flyloft:problem:{code}"), "title": title, "status": status.as_u16(), "detail": detail });
    let mut response = (status, body.to_string()).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

pub fn refused(refusal: &Refusal) -> Response {
    response(refusal.status, &refusal.code, &refusal.reason)
}

pub fn not_found(detail: &str) -> Response {
    response(StatusCode::NOT_FOUND, "not-found", detail)
}

pub fn not_an_output(output: &str) -> Response {
    response(
        StatusCode::NOT_FOUND,
        "not-an-output",
        &format!("this stream has no {output} output: its output mode leaves it out"),
    )
}

pub fn not_yet() -> Response {
    let mut response = response(StatusCode::NOT_FOUND, "not-yet", "the stream has no picture yet: try again in a moment");
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
}
