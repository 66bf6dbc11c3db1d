//! JPEGs of live streams: the latest key frame, decoded only when somebody asks, once for everybody who asks within some seconds.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use flyloft_media::MediaKind;
use flyloft_media::hub::From;
use flyloft_plugins::model::Protocol;
use http::{HeaderMap, StatusCode, Uri, header};
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::access::{Access, Admission};
use super::connection::Peer;
use super::problem;
use crate::live::LiveStream;
use crate::thumbnail::{ThumbnailError, jpeg};

/// How old a picture may be.
const REFRESH: Duration = Duration::from_secs(5);
/// Pictures that nobody asked for in this time are forgotten.
const FORGET: Duration = Duration::from_secs(60);
const CACHE: &str = "private, max-age=5";

type Made = Result<Bytes, ThumbnailError>;

pub struct Thumbnails {
    access: Arc<Access>,
    /// By the stream's stamp.
    made: Mutex<HashMap<String, (Instant, Made)>>,
    /// One picture is decoded at a time: it is never worth more than a part of one processor.
    turn: Semaphore,
}

impl Thumbnails {
    pub fn new(access: Arc<Access>) -> Self {
        Self { access, made: Mutex::default(), turn: Semaphore::new(1) }
    }

    /// `/live/NAME/thumbnail.jpg`, for those who may watch.
    pub async fn live(&self, name: &str, peer: Peer, uri: &Uri, headers: &HeaderMap) -> Response {
        let viewer = self.access.viewer(peer.address, uri, headers);
        match self.access.admit(name, Protocol::Rest, &viewer).await {
            Ok(Admission { live, .. }) => match self.latest(&live).await {
                Some(made) => respond(made, CACHE, headers),
                None => problem::not_yet(),
            },
            Err(refusal) => problem::refused(&refusal),
        }
    }

    /// None as long as the stream has no picture.
    async fn latest(&self, live: &Arc<LiveStream>) -> Option<Made> {
        if let Some(made) = self.fresh(&live.stamp) {
            return Some(made);
        }
        let _turn = self.turn.acquire().await.ok()?;
        if let Some(made) = self.fresh(&live.stamp) {
            return Some(made);
        }
        let mut entries = Vec::new();
        live.stream.read(&mut live.stream.cursor(From::KeyFrame), &mut entries, 1);
        let entry = entries.pop().filter(|entry| entry.frame.kind() == MediaKind::Video)?;
        let track = entry.tracks.get(entry.frame.track)?.clone();
        let made = tokio::task::spawn_blocking(move || jpeg(&track, &entry.frame.payload)).await.ok()?;
        let mut all = self.made.lock();
        all.retain(|_, (at, _)| at.elapsed() < FORGET);
        all.insert(live.stamp.clone(), (Instant::now(), made.clone()));
        Some(made)
    }

    fn fresh(&self, stamp: &str) -> Option<Made> {
        self.made.lock().get(stamp).filter(|(at, _)| at.elapsed() < REFRESH).map(|(_, made)| made.clone())
    }
}

pub(super) fn respond(made: Made, cache: &'static str, headers: &HeaderMap) -> Response {
    let picture = match made {
        Ok(picture) => picture,
        Err(error) => return problem::response(StatusCode::NOT_FOUND, "no-thumbnail", &error.to_string()),
    };
    let etag = super::etag(&picture);
    let fields = [(header::ETAG, etag.as_str()), (header::CACHE_CONTROL, cache)];
    if super::is_unchanged(headers, &etag) {
        return (StatusCode::NOT_MODIFIED, fields).into_response();
    }
    (fields, [(header::CONTENT_TYPE, "image/jpeg")], picture).into_response()
}
