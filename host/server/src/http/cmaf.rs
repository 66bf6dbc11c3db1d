//! HLS and MPEG-DASH: playlists and manifests for those who may watch, segments for those who know their names.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use flyloft_media::cmaf::{Availability, Content, Lookup, Resource, Window, parse_path};
use flyloft_media::{MediaKind, WallClock};
use flyloft_media::{dash, hls};
use flyloft_plugins::model::Protocol;
use futures_util::stream;
use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use tokio::sync::watch;

use super::access::{Access, Admission};
use super::connection::Peer;
use super::playlists::{Kind, Rendered};
use super::problem;
use super::range::{self, Requested};
use crate::clock;
use crate::live::LiveStream;

/// How long a player may wait for the first segment of a stream that has just begun.
const FIRST_SEGMENT: Duration = Duration::from_secs(10);
/// What never changes may be kept for as long as anybody would ask for it.
const IMMUTABLE: &str = "public, max-age=3600, immutable";
/// An answer to `_HLS_msn` is the same for everybody who asks for that moment (RFC 8216bis, section 6.2.5.2).
const BLOCKING: &str = "public, max-age=6";
const NO_CACHE: &str = "no-cache";

pub async fn serve(access: &Access, name: &str, path: &str, peer: Peer, uri: &Uri, headers: &HeaderMap) -> Response {
    let Some(resource) = parse_path(path) else {
        return problem::not_found("a stream is watched at /live/NAME/index.m3u8 (HLS) or /live/NAME/manifest.mpd (MPEG-DASH)");
    };
    let protocol = match &resource {
        Resource::Multivariant | Resource::Media(_) => Protocol::Hls,
        Resource::Mpd | Resource::TimelineMpd => Protocol::Dash,
        Resource::Init { stamp, .. } | Resource::Segment { stamp, .. } | Resource::Part { stamp, .. } => {
            return match access.live().by_stamp(stamp) {
                Some(live) => media(&live, &resource, headers).await,
                None => problem::not_found("there is no such segment: load the playlist or the manifest again"),
            };
        }
    };
    let viewer = access.viewer(peer.address, uri, headers);
    let Admission { live, .. } = match access.admit_session(name, protocol, &viewer).await {
        Ok(admission) => admission,
        Err(refusal) => return problem::refused(&refusal),
    };
    let Some(mut window) = live.window() else { return problem::not_an_output("HLS or MPEG-DASH") };
    let ready = window.wait_for(|window| window.is_playable() || window.ended);
    if !matches!(tokio::time::timeout(FIRST_SEGMENT, ready).await, Ok(Ok(_))) {
        return problem::not_yet();
    }
    let query = viewer.token.as_deref().map(super::token_query).unwrap_or_default();
    match resource {
        Resource::Multivariant => playlist(&live, &window, Kind::Multivariant, &query, NO_CACHE, headers),
        Resource::Media(of) => media_playlist(&live, window, of, &query, uri, headers).await,
        Resource::Mpd if !knows_only_complete_segments(headers) => manifest(window, dash::mpd, &query, headers).await,
        _ => manifest(window, dash::timeline_mpd, &query, headers).await,
    }
}

/// Players that ask for each segment by its exact time and never for one in the making get the manifest that is made for them:
/// FFmpeg reads no end and no change out of the low-latency one.
fn knows_only_complete_segments(headers: &HeaderMap) -> bool {
    let agent = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default();
    ["Lavf/", "GStreamer", "VLC/"].iter().any(|player| agent.contains(player))
}

/// The pace of a stream is known, and with it the manifest, after two segments.
async fn manifest(
    mut window: watch::Receiver<Arc<Window>>,
    render: fn(&Window, WallClock, &str) -> Option<String>,
    query: &str,
    headers: &HeaderMap,
) -> Response {
    let rendered = async {
        loop {
            let text = render(&window.borrow_and_update(), clock::wall(), query);
            match text {
                Some(text) => return Some(text),
                None => window.changed().await.ok()?,
            }
        }
    };
    match tokio::time::timeout(FIRST_SEGMENT, rendered).await {
        Ok(Some(text)) => {
            let mut response = text_response(&Rendered::new(text), dash::CONTENT_TYPE, NO_CACHE, headers);
            response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept-encoding, user-agent"));
            response
        }
        _ => problem::not_yet(),
    }
}

/// What a player asks of a media playlist (RFC 8216bis, section 6.2.5).
#[derive(Debug, Default, PartialEq, Eq)]
struct Directives {
    msn: Option<u64>,
    part: Option<u64>,
    skip: bool,
}

impl Directives {
    fn parse(query: &str) -> Result<Self, String> {
        let mut directives = Self::default();
        let number = |name: &str, value: &str| value.parse().map_err(|_| format!("{name}={value:?} is no decimal number"));
        for (name, value) in form_urlencoded::parse(query.as_bytes()).take(32) {
            match &*name {
                "_HLS_msn" => directives.msn = Some(number(&name, &value)?),
                "_HLS_part" => directives.part = Some(number(&name, &value)?),
                "_HLS_skip" => directives.skip = matches!(&*value, "YES" | "v2"),
                _ => {}
            }
        }
        match directives {
            Self { msn: None, part: Some(_), .. } => Err("_HLS_part needs _HLS_msn beside it".to_owned()),
            _ => Ok(directives),
        }
    }
}

async fn media_playlist(
    live: &LiveStream,
    mut window: watch::Receiver<Arc<Window>>,
    of: MediaKind,
    query: &str,
    uri: &Uri,
    headers: &HeaderMap,
) -> Response {
    let directives = match Directives::parse(uri.query().unwrap_or_default()) {
        Ok(directives) => directives,
        Err(detail) => return problem::response(StatusCode::BAD_REQUEST, "bad-directive", &detail),
    };
    let mut cache = NO_CACHE;
    if let Some(msn) = directives.msn {
        cache = BLOCKING;
        let patience = Duration::from_secs(u64::from(window.borrow().target_duration).max(1) * 3);
        let reached = window.wait_for(|window| window.has(of, msn, directives.part) != Availability::Wait);
        if !matches!(tokio::time::timeout(patience, reached).await, Ok(Ok(_))) {
            let detail = "the stream stood still for three target durations: ask again";
            return problem::response(StatusCode::SERVICE_UNAVAILABLE, "playlist-timeout", detail);
        }
        if window.borrow().has(of, msn, directives.part) == Availability::TooFarAhead {
            let detail = format!("_HLS_msn={msn} lies more than two segments ahead of the playlist");
            return problem::response(StatusCode::BAD_REQUEST, "too-far-ahead", &detail);
        }
    }
    playlist(live, &window, Kind::Media { of, skip: directives.skip }, query, cache, headers)
}

fn playlist(
    live: &LiveStream,
    window: &watch::Receiver<Arc<Window>>,
    kind: Kind,
    query: &str,
    cache: &'static str,
    headers: &HeaderMap,
) -> Response {
    let window = Arc::clone(&window.borrow());
    match live.playlists.get(&window, kind, query) {
        Some(rendered) => text_response(&rendered, hls::CONTENT_TYPE, cache, headers),
        None => problem::not_found("the stream has no such rendition: see index.m3u8"),
    }
}

fn text_response(rendered: &Rendered, content_type: &'static str, cache: &'static str, headers: &HeaderMap) -> Response {
    if super::is_unchanged(headers, &rendered.etag) {
        return (StatusCode::NOT_MODIFIED, [(header::ETAG, rendered.etag.clone())]).into_response();
    }
    let zipped = headers
        .get_all(header::ACCEPT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|coding| {
            matches!(coding.split(';').map(str::trim).collect::<Vec<_>>()[..], ["gzip" | "*"]) || is_weighted_gzip(coding)
        });
    let body = if zipped && !rendered.gzip.is_empty() { &rendered.gzip } else { &rendered.plain };
    let mut response = Body::from(body.clone()).into_response();
    let out = response.headers_mut();
    if zipped && !rendered.gzip.is_empty() {
        out.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    out.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    out.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
    out.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    if let Ok(etag) = HeaderValue::from_str(&rendered.etag) {
        out.insert(header::ETAG, etag);
    }
    response
}

fn is_weighted_gzip(coding: &str) -> bool {
    let Some((name, weight)) = coding.split_once(';') else { return false };
    let weight = weight.trim().strip_prefix("q=").and_then(|weight| weight.parse::<f32>().ok());
    name.trim() == "gzip" && weight.is_some_and(|weight| weight > 0.0)
}

async fn media(live: &LiveStream, resource: &Resource, headers: &HeaderMap) -> Response {
    let Some(mut window) = live.window() else { return problem::not_an_output("HLS or MPEG-DASH") };
    let patience = Duration::from_secs(u64::from(window.borrow().target_duration).max(1) * 3);
    let found = async {
        loop {
            let found = window.borrow_and_update().resource(resource);
            match found {
                Lookup::Wait => window.changed().await.ok()?,
                Lookup::Found(content) => return Some(content),
                Lookup::Gone => return None,
            }
        }
    };
    let Ok(Some(content)) = tokio::time::timeout(patience, found).await else {
        return problem::not_found("there is no such segment any more, or not yet: load the playlist or the manifest again");
    };
    if content.growing {
        let headers = [(header::CONTENT_TYPE, content.content_type), (header::CACHE_CONTROL, NO_CACHE)];
        return (headers, Body::from_stream(growing(content, window, resource.clone()))).into_response();
    }
    whole(content, resource, headers)
}

/// The chunks of a segment as they are made (LL-DASH over chunked transfer).
fn growing(
    content: Content,
    window: watch::Receiver<Arc<Window>>,
    resource: Resource,
) -> impl futures_util::Stream<Item = std::io::Result<Bytes>> {
    stream::unfold((content, 0, window, resource), |(mut content, mut sent, mut window, resource)| async move {
        loop {
            if let Some(chunk) = content.chunks.get(sent) {
                let chunk = chunk.clone();
                sent += 1;
                return Some((Ok(chunk), (content, sent, window, resource)));
            }
            if !content.growing {
                return None;
            }
            // A segment that is dropped or never finished ends here; the player sees a short body and loads on.
            window.changed().await.ok()?;
            match window.borrow_and_update().resource(&resource) {
                Lookup::Found(now) => content = now,
                Lookup::Wait | Lookup::Gone => return None,
            }
        }
    })
}

fn whole(content: Content, resource: &Resource, headers: &HeaderMap) -> Response {
    let etag = super::etag(format!("{resource:?}").as_bytes());
    if super::is_unchanged(headers, &etag) {
        return (StatusCode::NOT_MODIFIED, [(header::ETAG, etag), (header::CACHE_CONTROL, IMMUTABLE.to_owned())]).into_response();
    }
    let total = content.chunks.iter().map(Bytes::len).sum::<usize>();
    let range = headers.get(header::RANGE).and_then(|range| range.to_str().ok()).map(|range| range::parse(range, total as u64));
    let (status, start, end) = match range {
        None | Some(Requested::Ignored) => (StatusCode::OK, 0, total),
        Some(Requested::Bytes(start, end)) => (StatusCode::PARTIAL_CONTENT, start as usize, end as usize),
        Some(Requested::Unsatisfiable) => {
            let range = [(header::CONTENT_RANGE, format!("bytes */{total}"))];
            return (StatusCode::RANGE_NOT_SATISFIABLE, range).into_response();
        }
    };
    let body = match &content.chunks[..] {
        [only] => Body::from(only.slice(start..end)),
        chunks => {
            let cut = cut(chunks, start, end);
            Body::from_stream(stream::iter(cut.into_iter().map(std::io::Result::Ok)))
        }
    };
    let mut response = (status, [(header::ETAG, etag)], body).into_response();
    let out = response.headers_mut();
    out.insert(header::CONTENT_TYPE, HeaderValue::from_static(content.content_type));
    out.insert(header::CACHE_CONTROL, HeaderValue::from_static(IMMUTABLE));
    out.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    out.insert(header::CONTENT_LENGTH, HeaderValue::from(end - start));
    if status == StatusCode::PARTIAL_CONTENT
        && let Ok(range) = HeaderValue::from_str(&format!("bytes {start}-{}/{total}", end - 1))
    {
        out.insert(header::CONTENT_RANGE, range);
    }
    response
}

/// The bytes from `start` up to `end` of the chunks together, without copying.
fn cut(chunks: &[Bytes], start: usize, end: usize) -> Vec<Bytes> {
    let mut offset = 0;
    let mut out = Vec::with_capacity(chunks.len());
    for chunk in chunks {
        let (from, to) = (start.saturating_sub(offset).min(chunk.len()), end.saturating_sub(offset).min(chunk.len()));
        if from < to {
            out.push(chunk.slice(from..to));
        }
        offset += chunk.len();
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_across_chunks_is_cut_to_the_byte() {
        let chunks = [Bytes::from_static(b"abc"), Bytes::from_static(b"defg"), Bytes::from_static(b"h")];
        for start in 0..8 {
            for end in start..=8 {
                assert_eq!(cut(&chunks, start, end).concat(), b"abcdefgh"[start..end]);
            }
        }
    }

    #[test]
    fn directives() {
        assert_eq!(
            Directives::parse("_HLS_msn=7&_HLS_part=2&_HLS_skip=YES"),
            Ok(Directives { msn: Some(7), part: Some(2), skip: true })
        );
        assert!(Directives::parse("_HLS_part=2").unwrap_err().contains("_HLS_msn"));
        assert!(Directives::parse("_HLS_msn=-1").unwrap_err().contains("_HLS_msn"));
    }
}
