//! Video posts: the file for those who may watch, and HLS and DASH out of the same file. Playlists ask who may watch; segments are for
//! those who know their names.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use flyloft_media::MediaKind;
use flyloft_media::recording::{Index, TAIL, dash, first_sample, hls};
use flyloft_plugins::model::Protocol;
use flyloft_rooms::{PostId, VideoPost};
use futures_util::stream;
use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use parking_lot::Mutex;

use super::access::{Access, Viewer};
use super::connection::Peer;
use super::problem;
use super::range::{self, Requested};
use crate::recording::Library;
use crate::rooms::{PlayAttempt, Refusal, Rooms};
use crate::thumbnail::{ThumbnailError, jpeg};

/// Read from the disk at a time; a slow client holds no more.
const CHUNK: u64 = 128 << 10;
/// Posts whose index is kept at hand.
const OPEN: usize = 32;
/// A post never changes, but it may be deleted, or its room be closed to the public.
const PLAYLIST_CACHE: &str = "private, max-age=60";
const SEGMENT_CACHE: &str = "public, max-age=3600, immutable";
/// Larger segments are not read for a thumbnail.
const MAX_SEGMENT: u32 = 64 << 20;
const MP4: &str = "video/mp4";

pub struct Posts {
    access: Arc<Access>,
    rooms: Arc<Rooms>,
    library: Library,
    /// The latest used at the end.
    open: Mutex<VecDeque<Arc<Opened>>>,
}

/// A post's file with its index.
struct Opened {
    id: PostId,
    file: File,
    size: u64,
    index: Index,
    thumbnail: OnceLock<Result<Bytes, ThumbnailError>>,
}

impl Posts {
    pub fn new(access: Arc<Access>, rooms: Arc<Rooms>, library: Library) -> Arc<Self> {
        Arc::new(Self { access, rooms, library, open: Mutex::default() })
    }

    /// The file: `/posts/ID.mp4`.
    pub async fn file(&self, id: &str, peer: Peer, uri: &Uri, headers: &HeaderMap) -> Response {
        let post = match self.admit(id, Protocol::Rest, peer, uri, headers).await {
            Ok((post, _)) => post,
            Err(refusal) => return problem::refused(&refusal),
        };
        match self.open(&post.id).await {
            Ok(opened) => {
                let size = opened.size;
                send(opened, (0, size), MP4, PLAYLIST_CACHE, &format!("\"{}\"", post.stamp), headers)
            }
            Err(error) => unreadable(&post.id, &error),
        }
    }

    /// What is under `/posts/ID/`.
    pub async fn resource(&self, id: &str, path: &str, peer: Peer, uri: &Uri, headers: &HeaderMap) -> Response {
        if let Some((stamp, name)) = path.split_once('/') {
            return self.segment(id, stamp, name, headers).await;
        }
        let protocol = if path == "manifest.mpd" { Protocol::Dash } else { Protocol::Hls };
        if path == "thumbnail.jpg" {
            return self.thumbnail(id, peer, uri, headers).await;
        }
        if !matches!(path, "index.m3u8" | "video.m3u8" | "audio.m3u8" | "manifest.mpd") {
            return nothing();
        }
        let (post, viewer) = match self.admit(id, protocol, peer, uri, headers).await {
            Ok(admitted) => admitted,
            Err(refusal) => return problem::refused(&refusal),
        };
        let opened = match self.open(&post.id).await {
            Ok(opened) => opened,
            Err(error) => return unreadable(&post.id, &error),
        };
        let (index, stamp) = (&opened.index, &post.stamp);
        let text = match path {
            "index.m3u8" => {
                let query = viewer.token.as_deref().map(super::token_query).unwrap_or_default();
                Some(hls::multivariant(index, &query))
            }
            "video.m3u8" => hls::media(index, MediaKind::Video, stamp),
            "audio.m3u8" => hls::media(index, MediaKind::Audio, stamp),
            _ => Some(dash::mpd(index, stamp)),
        };
        let Some(text) = text else { return problem::not_found("the video post has no such rendition: see index.m3u8") };
        let etag = super::etag(text.as_bytes());
        let content_type = if protocol == Protocol::Dash { dash::CONTENT_TYPE } else { hls::CONTENT_TYPE };
        let fields = [(header::ETAG, etag.as_str()), (header::CACHE_CONTROL, PLAYLIST_CACHE)];
        if super::is_unchanged(headers, &etag) {
            return (StatusCode::NOT_MODIFIED, fields).into_response();
        }
        (fields, [(header::CONTENT_TYPE, content_type)], text).into_response()
    }

    async fn thumbnail(&self, id: &str, peer: Peer, uri: &Uri, headers: &HeaderMap) -> Response {
        let post = match self.admit(id, Protocol::Rest, peer, uri, headers).await {
            Ok((post, _)) => post,
            Err(refusal) => return problem::refused(&refusal),
        };
        let opened = match self.open(&post.id).await {
            Ok(opened) => opened,
            Err(error) => return unreadable(&post.id, &error),
        };
        let made = tokio::task::spawn_blocking(move || opened.thumbnail()).await.map_err(io::Error::other).flatten();
        match made {
            Ok(Some(made)) => super::thumbnails::respond(made, PLAYLIST_CACHE, headers),
            Ok(None) => problem::response(StatusCode::NOT_FOUND, "no-thumbnail", "the video post has no picture"),
            Err(error) => unreadable(&post.id, &error),
        }
    }

    async fn segment(&self, id: &str, stamp: &str, name: &str, headers: &HeaderMap) -> Response {
        let post = match self.rooms.post_by_stamp(id, stamp).await {
            Ok(Some(post)) => post,
            Ok(None) => return nothing(),
            Err(error) => return problem::refused(&error.into()),
        };
        let opened = match self.open(&post.id).await {
            Ok(opened) => opened,
            Err(error) => return unreadable(&post.id, &error),
        };
        let Some(wanted) = Wanted::parse(name) else { return nothing() };
        let etag = format!("\"{stamp}-{name}\"");
        match wanted {
            Wanted::Init(kind, number) => match opened.index.periods.get(number).and_then(|period| period.init(kind)) {
                Some(init) => {
                    let fields = [(header::ETAG, etag.as_str()), (header::CACHE_CONTROL, SEGMENT_CACHE)];
                    if super::is_unchanged(headers, &etag) {
                        return (StatusCode::NOT_MODIFIED, fields).into_response();
                    }
                    (fields, [(header::CONTENT_TYPE, content_type(kind))], init).into_response()
                }
                None => nothing(),
            },
            Wanted::Media(kind, number) => {
                let span = opened.index.spans(kind).nth(number).map(|(_, span)| *span);
                let Some(span) = span else { return nothing() };
                let place = (span.offset, span.offset + u64::from(span.size));
                send(opened, place, content_type(kind), SEGMENT_CACHE, &etag, headers)
            }
        }
    }

    async fn admit(
        &self,
        id: &str,
        protocol: Protocol,
        peer: Peer,
        uri: &Uri,
        headers: &HeaderMap,
    ) -> Result<(VideoPost, Viewer), Refusal> {
        let viewer = self.access.viewer(peer.address, uri, headers);
        let attempt = PlayAttempt {
            name: id,
            token: viewer.token.as_deref(),
            protocol,
            remote: viewer.remote,
            user_agent: viewer.user_agent.as_deref(),
            parameters: &viewer.parameters,
        };
        let post = self.rooms.resolve_post(attempt).await?;
        Ok((post, viewer))
    }

    /// The caller has made sure that there is such a post.
    async fn open(&self, id: &PostId) -> io::Result<Arc<Opened>> {
        {
            let mut open = self.open.lock();
            if let Some(at) = open.iter().position(|opened| opened.id == *id)
                && let Some(opened) = open.remove(at)
            {
                open.push_back(Arc::clone(&opened));
                return Ok(opened);
            }
        }
        let (id, path) = (id.clone(), self.library.post(id));
        let opened = tokio::task::spawn_blocking(move || Opened::open(id, &path)).await.map_err(io::Error::other)??;
        let opened = Arc::new(opened);
        let mut open = self.open.lock();
        open.push_back(Arc::clone(&opened));
        while open.len() > OPEN {
            open.pop_front();
        }
        Ok(opened)
    }
}

impl Opened {
    fn open(id: PostId, path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let size = file.metadata()?.len();
        let mut tail = [0; TAIL as usize];
        file.read_exact_at(&mut tail, size.saturating_sub(TAIL))?;
        let length = Index::length(tail, size).map_err(io::Error::other)?;
        let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
        file.read_exact_at(&mut bytes, size - length)?;
        let index = Index::decode(&bytes, size).map_err(io::Error::other)?;
        Ok(Self { id, file, size, index, thumbnail: OnceLock::new() })
    }

    /// A JPEG of the key frame at a tenth of the post, or of the first one; none without pictures.
    fn thumbnail(&self) -> io::Result<Option<Result<Bytes, ThumbnailError>>> {
        if let Some(made) = self.thumbnail.get() {
            return Ok(Some(made.clone()));
        }
        let segments = &self.index.segments;
        let found = segments.iter().skip(segments.len() / 10).chain(segments).find_map(|segment| {
            let span = segment.video.filter(|span| span.independent && span.size <= MAX_SEGMENT)?;
            Some((span, self.index.period_of(segment)?.video.as_ref()?))
        });
        let Some((span, track)) = found else { return Ok(None) };
        let mut fragment = vec![0; usize::try_from(span.size).map_err(io::Error::other)?];
        self.file.read_exact_at(&mut fragment, span.offset)?;
        let frame = first_sample(&fragment).and_then(|place| fragment.get(place));
        let frame = frame.ok_or_else(|| io::Error::other("a segment is damaged"))?;
        Ok(Some(self.thumbnail.get_or_init(|| jpeg(track, frame)).clone()))
    }
}

/// A file under `/posts/ID/STAMP/`.
#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    Init(MediaKind, usize),
    Media(MediaKind, usize),
}

impl Wanted {
    fn parse(name: &str) -> Option<Self> {
        let (kind, rest) = name.split_once('-')?;
        let kind = match kind {
            "video" => MediaKind::Video,
            "audio" => MediaKind::Audio,
            _ => return None,
        };
        match rest.strip_prefix("init-") {
            Some(rest) => Some(Self::Init(kind, rest.strip_suffix(".mp4")?.parse().ok()?)),
            None => Some(Self::Media(kind, rest.strip_suffix(".m4s")?.parse().ok()?)),
        }
    }
}

const fn content_type(kind: MediaKind) -> &'static str {
    match kind {
        MediaKind::Video => MP4,
        MediaKind::Audio => "audio/mp4",
    }
}

fn nothing() -> Response {
    problem::not_found(
        "a video post is watched at /posts/ID.mp4, /posts/ID/index.m3u8 (HLS) or /posts/ID/manifest.mpd (MPEG-DASH): \
         load the playlist or the manifest again",
    )
}

fn unreadable(id: &PostId, error: &io::Error) -> Response {
    tracing::error!(post = %id, %error, "the file of a video post can't be read");
    let detail = "the file of this video post can't be read: the operator finds the reason in the server's log";
    problem::response(StatusCode::INTERNAL_SERVER_ERROR, "post-unreadable", detail)
}

/// Sends what lies from the first place up to the second, or the part of it that is asked for.
fn send(
    opened: Arc<Opened>,
    (from, to): (u64, u64),
    content_type: &'static str,
    cache: &'static str,
    etag: &str,
    headers: &HeaderMap,
) -> Response {
    let fields = [(header::ETAG, etag), (header::CACHE_CONTROL, cache), (header::ACCEPT_RANGES, "bytes")];
    if super::is_unchanged(headers, etag) {
        return (StatusCode::NOT_MODIFIED, fields).into_response();
    }
    let total = to - from;
    // A range of another version would not fit (RFC 9110, section 13.1.5).
    let same = headers.get(header::IF_RANGE).is_none_or(|tag| tag.as_bytes() == etag.as_bytes());
    let range = headers.get(header::RANGE).filter(|_| same).and_then(|range| range.to_str().ok());
    let (status, start, end) = match range.map(|range| range::parse(range, total)) {
        None | Some(Requested::Ignored) => (StatusCode::OK, 0, total),
        Some(Requested::Bytes(start, end)) => (StatusCode::PARTIAL_CONTENT, start, end),
        Some(Requested::Unsatisfiable) => {
            let range = [(header::CONTENT_RANGE, format!("bytes */{total}"))];
            return (StatusCode::RANGE_NOT_SATISFIABLE, range).into_response();
        }
    };
    let mut response = (status, fields, Body::from_stream(read(opened, from + start, from + end))).into_response();
    let out = response.headers_mut();
    out.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    out.insert(header::CONTENT_LENGTH, HeaderValue::from(end - start));
    if status == StatusCode::PARTIAL_CONTENT
        && let Ok(range) = HeaderValue::from_str(&format!("bytes {start}-{}/{total}", end - 1))
    {
        out.insert(header::CONTENT_RANGE, range);
    }
    response
}

/// Reads as fast as the client takes it, one piece at a time.
fn read(opened: Arc<Opened>, from: u64, to: u64) -> impl futures_util::Stream<Item = io::Result<Bytes>> {
    stream::unfold((opened, from), move |(opened, at)| async move {
        let length = to.saturating_sub(at).min(CHUNK);
        if length == 0 {
            return None;
        }
        let piece = tokio::task::spawn_blocking(move || {
            let mut buffer = vec![0; usize::try_from(length).unwrap_or(0)];
            opened.file.read_exact_at(&mut buffer, at).map(|()| (Bytes::from(buffer), opened))
        });
        match piece.await.map_err(io::Error::other).flatten() {
            Ok((bytes, opened)) => Some((Ok(bytes), (opened, at + length))),
            // The body ends short, which the client sees; nothing more is read.
            Err(error) => {
                tracing::error!(%error, "a video post can't be read any more");
                None
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_segments() {
        assert_eq!(Wanted::parse("video-init-0.mp4"), Some(Wanted::Init(MediaKind::Video, 0)));
        assert_eq!(Wanted::parse("audio-17.m4s"), Some(Wanted::Media(MediaKind::Audio, 17)));
        for name in
            ["video-1.mp4", "audio-init-1.m4s", "text-1.m4s", "video-.m4s", "video--1.m4s", "video-99999999999999999999.m4s"]
        {
            assert_eq!(Wanted::parse(name), None, "{name}");
        }
    }
}
