//! The HTTP side: media, pages, the REST API and operations on one address.

pub mod access;
mod cmaf;
pub mod connection;
mod flv;
mod ops;
mod pages;
pub mod playlists;
mod posts;
pub mod problem;
mod range;
mod thumbnails;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::get;
use http::{HeaderMap, Method, Version, header};
use sha2::{Digest as _, Sha256};
use tower_http::cors::{Any, CorsLayer};

use access::Access;
use connection::{Peer, Takeover};
pub use ops::{Health, Metrics};
pub use posts::Posts;
pub use thumbnails::Thumbnails;

/// What the routes outside the REST API need.
pub struct Site {
    pub access: Arc<Access>,
    pub posts: Arc<Posts>,
    pub thumbnails: Thumbnails,
    pub health: Arc<Health>,
    pub metrics: Metrics,
}

/// All routes. `api` is the REST API, which answers everything under `/v1`.
pub fn router(site: Arc<Site>, api: Router) -> Router {
    let media = Router::new()
        .route("/live/{name}", get(flv_by_name))
        .route("/live/{name}/{*path}", get(cmaf_by_path))
        .route("/posts/{name}", get(post_file))
        .route("/posts/{id}/{*path}", get(post_by_path))
        .route("/time", get(time))
        .layer(
            CorsLayer::new().allow_origin(Any).allow_methods([Method::GET, Method::HEAD]).allow_headers(Any).expose_headers(Any),
        );
    Router::new()
        .route("/", get(|headers: HeaderMap| async move { page("index.html", &headers) }))
        .route("/watch/{room}", get(|headers: HeaderMap| async move { page("watch.html", &headers) }))
        .route("/healthz", get(ops::health))
        .route("/readyz", get(ops::ready))
        .route("/metrics", get(ops::metrics))
        .route("/api", get(|| async { Redirect::temporary("/v1/docs") }))
        .merge(media)
        .fallback(file)
        .with_state(site)
        .merge(api)
}

async fn flv_by_name(State(site): State<Arc<Site>>, Path(name): Path<String>, request: Request) -> Response {
    let Some(name) = name.strip_suffix(".flv") else {
        return problem::not_found("a stream is watched at /live/NAME.flv, /live/NAME/index.m3u8 or /live/NAME/manifest.mpd");
    };
    let Some(peer) = peer(&request) else { return problem::not_found("no peer address") };
    // Chunks are what HTTP/1.1 has to tell the end of a body that has no length.
    let takeover = request.extensions().get::<Takeover>().filter(|_| request.version() == Version::HTTP_11).cloned();
    flv::serve(&site.access, name, peer, takeover, request.method(), request.uri(), request.headers()).await
}

async fn cmaf_by_path(State(site): State<Arc<Site>>, Path((name, path)): Path<(String, String)>, request: Request) -> Response {
    let Some(peer) = peer(&request) else { return problem::not_found("no peer address") };
    if path == "thumbnail.jpg" {
        return site.thumbnails.live(&name, peer, request.uri(), request.headers()).await;
    }
    cmaf::serve(&site.access, &name, &path, peer, request.uri(), request.headers()).await
}

async fn post_file(State(site): State<Arc<Site>>, Path(name): Path<String>, request: Request) -> Response {
    let Some(id) = name.strip_suffix(".mp4") else {
        return problem::not_found("a video post is watched at /posts/ID.mp4, /posts/ID/index.m3u8 or /posts/ID/manifest.mpd");
    };
    let Some(peer) = peer(&request) else { return problem::not_found("no peer address") };
    site.posts.file(id, peer, request.uri(), request.headers()).await
}

async fn post_by_path(State(site): State<Arc<Site>>, Path((id, path)): Path<(String, String)>, request: Request) -> Response {
    let Some(peer) = peer(&request) else { return problem::not_found("no peer address") };
    site.posts.resource(&id, &path, peer, request.uri(), request.headers()).await
}

/// The time for players of DASH (`urn:mpeg:dash:utc:http-xsdate:2014`).
async fn time() -> Response {
    ([(header::CONTENT_TYPE, "text/plain"), (header::CACHE_CONTROL, "no-store")], jiff::Timestamp::now().to_string())
        .into_response()
}

async fn file(request: Request) -> Response {
    page(request.uri().path().trim_start_matches('/'), request.headers())
}

fn page(name: &str, headers: &HeaderMap) -> Response {
    pages::serve(name, headers)
        .unwrap_or_else(|| problem::not_found("there is nothing here: the rooms are at /, the API at /v1/docs"))
}

fn peer(request: &Request) -> Option<Peer> {
    request.extensions().get().copied()
}

/// Resolves after `limit` milliseconds, or never.
pub async fn expire(limit: Option<u64>) {
    match limit {
        Some(limit) => tokio::time::sleep(Duration::from_millis(limit)).await,
        None => std::future::pending().await,
    }
}

/// The query that carries a viewer's token on to the addresses in a playlist.
fn token_query(token: &str) -> String {
    form_urlencoded::Serializer::new(String::new()).append_pair("token", token).finish()
}

/// A strong entity tag of `content`.
fn etag(content: &[u8]) -> String {
    let digest = Sha256::digest(content);
    let hex: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("\"{hex}\"")
}

/// The client has this version already (RFC 9110, section 13.1.2).
fn is_unchanged(headers: &HeaderMap, etag: &str) -> bool {
    headers
        .get(header::IF_NONE_MATCH)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.split(',').map(str::trim).any(|tag| tag == "*" || tag.trim_start_matches("W/") == etag))
}
