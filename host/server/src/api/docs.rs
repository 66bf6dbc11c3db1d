//! `/v1/openapi.json` and the page that shows it, without anything from elsewhere.

use axum::Router;
use axum::response::IntoResponse as _;
use axum::routing::get;
use http::header;
use utoipa::openapi::OpenApi;

use super::Api;

const POLICY: &str =
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; frame-ancestors 'none'";

pub fn router(document: &OpenApi) -> Router<Api> {
    // Our own document always serialises.
    let json: bytes::Bytes = document.to_json().unwrap_or_default().into();
    let file = |kind: &'static str, content: bytes::Bytes| {
        get(move || async move {
            let headers = [
                (header::CONTENT_TYPE, kind),
                (header::CACHE_CONTROL, "no-cache"),
                (header::CONTENT_SECURITY_POLICY, POLICY),
                (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            ];
            (headers, content).into_response()
        })
    };
    let text = |content: &'static str| bytes::Bytes::from_static(content.as_bytes());
    Router::new()
        .route("/v1/openapi.json", file("application/json", json))
        .route("/v1/docs", file("text/html; charset=utf-8", text(include_str!("docs/page.html"))))
        .route("/v1/docs/page.js", file("text/javascript; charset=utf-8", text(include_str!("docs/page.js"))))
        .route("/v1/docs/page.css", file("text/css; charset=utf-8", text(include_str!("docs/page.css"))))
}
