//! The web pages, which are part of the binary: the list of live rooms at `/`, the watch page at `/watch/{roomId}`.

use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};

mod embedded {
    include!(concat!(env!("OUT_DIR"), "/pages.rs"));
}

/// Scripts come from here only; media may come from anywhere, because a room's URLs may lead to another host.
const POLICY: &str = "default-src 'self'; img-src 'self' data: https:; media-src * blob:; connect-src *; worker-src 'self' blob:; \
    style-src 'self' 'unsafe-inline'; object-src 'none'; base-uri 'none'; frame-ancestors *";

/// A page by its file name, or a file that a page asks for.
pub fn serve(name: &str, headers: &HeaderMap) -> Option<Response> {
    let (_, content) = embedded::FILES.iter().find(|(file, _)| *file == name)?;
    let etag = super::etag(content);
    if super::is_unchanged(headers, &etag) {
        return Some((StatusCode::NOT_MODIFIED, [(header::ETAG, etag)]).into_response());
    }
    let kind = match name.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("js" | "mjs") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("json" | "map" | "webmanifest") => "application/json",
        Some("png") => "image/png",
        _ => "application/octet-stream",
    };
    let mut response = (StatusCode::OK, [(header::ETAG, etag)], *content).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    // The name of an asset contains the hash of its content.
    let cache = if name.starts_with("assets/") { "public, max-age=31536000, immutable" } else { "no-cache" };
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if kind.starts_with("text/html") {
        headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
        headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    }
    Some(response)
}
