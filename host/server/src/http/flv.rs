//! HTTP-FLV: `GET /live/{name}.flv`, one endless response for each viewer.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use flyloft_media::flv;
use flyloft_plugins::model::Protocol;
use futures_util::stream;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use tokio::net::TcpStream;

use super::access::Access;
use super::connection::{Peer, Takeover};
use super::problem;
use crate::egress::follower::Follower;
use crate::egress::{Format, http_chunk};
use crate::live::ViewerGuard;

/// How long a viewer may wait for the first picture of a stream that has just begun.
const FIRST_PICTURE: Duration = Duration::from_secs(10);
/// What a viewer may send after its request, before it is taken for something else than a viewer.
const MAX_CHATTER: usize = 64 << 10;

const HEAD: &str = "HTTP/1.1 200 OK\r\n\
    content-type: video/x-flv\r\n\
    cache-control: no-store\r\n\
    access-control-allow-origin: *\r\n\
    access-control-expose-headers: *\r\n\
    x-content-type-options: nosniff\r\n\
    transfer-encoding: chunked\r\n\
    connection: close\r\n\r\n";
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

pub async fn serve(
    access: &Access,
    name: &str,
    peer: Peer,
    takeover: Option<Takeover>,
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
) -> Response {
    let viewer = access.viewer(peer.address, uri, headers);
    let admission = match access.admit(name, Protocol::HttpFlv, &viewer).await {
        Ok(admission) => admission,
        Err(refusal) => return problem::refused(&refusal),
    };
    let live = Arc::clone(&admission.live);
    if !live.outputs.rtmp {
        return problem::not_an_output("HTTP-FLV");
    }
    if !matches!(tokio::time::timeout(FIRST_PICTURE, live.joinable()).await, Ok(true)) {
        return problem::not_yet();
    }
    if let Err(refusal) = admission.check_picture() {
        return problem::refused(&refusal);
    }
    let grant = admission.grant;
    if method == Method::HEAD {
        return (flv_headers(), Body::empty()).into_response();
    }
    let guard = match live.viewers.connect(grant.limits.max_viewers) {
        Ok(guard) => guard,
        Err(full) => return problem::response(StatusCode::SERVICE_UNAVAILABLE, "viewers-limit", &full.to_string()),
    };
    let start = flv::file_header(&live.stream.tracks());
    tracing::info!(stream = live.name(), remote = %peer.address, "an HTTP-FLV viewer joined");
    if let Some(socket) = takeover.and_then(|takeover| takeover.take()) {
        tokio::spawn(async move {
            let Ok(socket) = socket.await else { return };
            let prelude = vec![Bytes::from_static(HEAD.as_bytes()), http_chunk(&start)];
            let attached = live.fanout.attach(socket, Format::FlvChunks, prelude, guard).await;
            let Ok(link) = attached else { return };
            tokio::select! {
                () = hung_up(&link.socket) => link.close(),
                () = link.closed() => {}
                () = super::expire(grant.limits.max_duration) => link.leave().await,
            }
            if !link.was_cut() {
                let _ = link.socket.try_write(LAST_CHUNK);
            }
        });
        return std::future::pending().await;
    }
    let follower = Follower::new(Arc::clone(&live.stream), Format::Flv, live.fanout.settings().max_lag);
    let deadline = grant.limits.max_duration.map(|limit| tokio::time::Instant::now() + Duration::from_millis(limit));
    (flv_headers(), Body::from_stream(body(start, follower, guard, deadline))).into_response()
}

fn flv_headers() -> HeaderMap {
    HeaderMap::from_iter([
        (header::CONTENT_TYPE, HeaderValue::from_static("video/x-flv")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ])
}

fn body(
    start: Bytes,
    follower: Follower,
    guard: ViewerGuard,
    deadline: Option<tokio::time::Instant>,
) -> impl futures_util::Stream<Item = std::io::Result<Bytes>> {
    let state = (vec![start].into_iter(), follower, guard, deadline);
    stream::unfold(state, |(mut ready, mut follower, guard, deadline)| async move {
        loop {
            if let Some(buffer) = ready.next() {
                return Some((Ok(buffer), (ready, follower, guard, deadline)));
            }
            let next = follower.next();
            let next = match deadline {
                Some(deadline) => tokio::time::timeout_at(deadline, next).await.ok()?,
                None => next.await,
            };
            ready = next?.into_iter();
        }
    })
}

/// Resolves when the viewer closes its side, or sends more than a viewer has to say.
async fn hung_up(socket: &TcpStream) {
    let mut chatter = 0;
    while socket.readable().await.is_ok() {
        match discard(socket) {
            Ok(0) => return,
            Ok(count) => chatter += count,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
        if chatter > MAX_CHATTER {
            return;
        }
    }
}

/// Not async, so that the buffer does not live in the task.
fn discard(socket: &TcpStream) -> std::io::Result<usize> {
    socket.try_read(&mut [0; 4096])
}
