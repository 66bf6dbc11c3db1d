//! What a segmenter has made, as an immutable snapshot: playlists, manifests and media lookups are functions of it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::path::Resource;
use crate::time::{Timestamp, WallClock};
use crate::track::{MediaKind, Track};

/// An initialization segment: `ftyp` and `moov`.
#[derive(Debug)]
pub struct Init {
    pub version: u32,
    pub track: Track,
    /// Of the media header: 90000 for video, the sample rate for audio.
    pub timescale: u32,
    pub bytes: Bytes,
}

/// A CMAF chunk: one `moof` and its `mdat`, on a segment's first chunk with a `prft` before them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    pub bytes: Bytes,
    pub duration: Duration,
    /// Starts with a key frame.
    pub independent: bool,
}

/// A media segment: the concatenation of its parts.
#[derive(Clone, Debug)]
pub struct Segment {
    /// Media sequence number, the same in all renditions for the same stretch of time.
    pub msn: u64,
    /// Presentation time on the stream's timeline.
    pub start: Timestamp,
    pub duration: Duration,
    /// `start` and `duration` in the time scale of the initialization segment, without rounding.
    pub start_ticks: i64,
    pub duration_ticks: u64,
    /// Counts the discontinuities since the stream was made.
    pub discontinuity: u64,
    /// When the host received the first frame, smoothed: it advances with the media between discontinuities.
    pub program_date_time: WallClock,
    pub init: Arc<Init>,
    pub parts: Vec<Part>,
    /// Frames in `parts`.
    pub frames: u64,
    /// No part will come any more.
    pub complete: bool,
}

impl Segment {
    pub fn bytes(&self) -> u64 {
        self.parts.iter().map(|part| part.bytes.len() as u64).sum()
    }

    /// Decoding may start at the segment's start.
    pub fn independent(&self) -> bool {
        self.parts.first().is_some_and(|part| part.independent)
    }

    pub fn end(&self) -> Timestamp {
        self.start + self.duration
    }
}

/// The segments of one rendition, the oldest first. The last one may still grow.
#[derive(Clone, Debug)]
pub struct RenditionWindow {
    pub kind: MediaKind,
    /// Those that a kept segment needs, and the latest.
    pub inits: Vec<Arc<Init>>,
    pub segments: Vec<Arc<Segment>>,
    /// The first segment in playlists. Those before it are there for clients that hold an older playlist.
    pub listed_from: u64,
    /// The number that the next segment will have, when the last one is complete.
    pub next_msn: u64,
    /// Bits per second of the most demanding complete segment, and of all of them.
    pub peak_bandwidth: u64,
    pub average_bandwidth: u64,
    /// Frames per second over the complete segments; 0 for audio.
    pub frame_rate: f64,
}

impl RenditionWindow {
    pub fn listed(&self) -> &[Arc<Segment>] {
        let from = self.segments.partition_point(|segment| segment.msn < self.listed_from);
        self.segments.get(from..).unwrap_or_default()
    }

    /// The complete ones among [`Self::listed`].
    pub fn complete(&self) -> impl DoubleEndedIterator<Item = &Arc<Segment>> {
        self.listed().iter().filter(|segment| segment.complete)
    }

    pub fn segment(&self, msn: u64) -> Option<&Arc<Segment>> {
        let at = self.segments.binary_search_by_key(&msn, |segment| segment.msn).ok()?;
        self.segments.get(at)
    }

    pub fn latest_init(&self) -> Option<&Arc<Init>> {
        self.inits.last()
    }

    /// Number and part index of what comes next.
    pub fn next(&self) -> (u64, u64) {
        match self.segments.last() {
            Some(open) if !open.complete => (open.msn, open.parts.len() as u64),
            _ => (self.next_msn, 0),
        }
    }
}

/// A stretch of time that DASH players can address in one way. Each discontinuity starts one, and so does a break in the pace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Period {
    pub id: u64,
    pub first_msn: u64,
    /// Presentation time of its first segment on the stream's timeline.
    pub start: Timestamp,
    /// Microseconds from [`Window::available_from`] to the same moment.
    pub offset: i64,
    /// All its segments are about this long, so that players can compute their numbers before they exist. Otherwise segments
    /// are known when they are complete.
    pub regular: Option<Duration>,
}

/// A snapshot of a stream's segments.
#[derive(Clone, Debug)]
pub struct Window {
    pub stamp: Arc<str>,
    /// There is enough to start playback: playlists may be served.
    pub ready: bool,
    /// Nothing will come any more.
    pub ended: bool,
    /// EXT-X-TARGETDURATION in seconds. Never changes once `ready`.
    pub target_duration: u32,
    /// PART-TARGET. Never changes once `ready`.
    pub part_target: Duration,
    pub video: Option<RenditionWindow>,
    pub audio: Option<RenditionWindow>,
    /// Oldest first. Empty until the pace of the stream is known.
    pub periods: Vec<Period>,
    /// The wall-clock time of the timeline's zero in the first period: the MPD's availabilityStartTime.
    pub available_from: WallClock,
}

/// What a blocking playlist request finds (RFC 8216bis, section 6.2.5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Availability {
    /// The playlist holds it, or has passed it, or will not grow any more: answer now.
    Ready,
    /// It comes next: hold the request until the window changes.
    Wait,
    /// More than two segments ahead: answer 400.
    TooFarAhead,
    /// There is no such rendition: answer 404.
    Gone,
}

/// What to send for a media request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// In order. For a segment these are its parts so far.
    pub chunks: Vec<Bytes>,
    pub content_type: &'static str,
    /// The segment is being made: send the chunks and then those that later windows append, until this is false. What is not
    /// growing never changes and may be cached for ever.
    pub growing: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup {
    Found(Content),
    /// It comes next: hold the request until the window changes.
    Wait,
    /// It never was, or is no longer kept: answer 404.
    Gone,
}

pub const CONTENT_TYPE_VIDEO: &str = "video/mp4";
pub const CONTENT_TYPE_AUDIO: &str = "audio/mp4";

const fn content_type(kind: MediaKind) -> &'static str {
    match kind {
        MediaKind::Video => CONTENT_TYPE_VIDEO,
        MediaKind::Audio => CONTENT_TYPE_AUDIO,
    }
}

impl Window {
    pub const fn rendition(&self, kind: MediaKind) -> Option<&RenditionWindow> {
        match kind {
            MediaKind::Video => self.video.as_ref(),
            MediaKind::Audio => self.audio.as_ref(),
        }
    }

    pub fn renditions(&self) -> impl Iterator<Item = &RenditionWindow> {
        self.video.iter().chain(&self.audio)
    }

    /// Every player can start: there is a complete segment of each rendition, and a part of the next one. Players without
    /// low-latency mode know no others, and some crash on a playlist without one (FFmpeg 5); some with it start in the middle of an
    /// only segment and lose what comes next (hls.js 1.7).
    pub fn is_playable(&self) -> bool {
        self.ready && self.renditions().all(|rendition| rendition.complete().next().is_some() && rendition.listed().len() > 1)
    }

    /// Is the playlist of `kind` as far as `_HLS_msn` and `_HLS_part` ask? Without a part the whole segment is meant.
    pub fn has(&self, kind: MediaKind, msn: u64, part: Option<u64>) -> Availability {
        let Some(rendition) = self.rendition(kind) else { return Availability::Gone };
        let (next_msn, next_part) = rendition.next();
        if self.ended {
            return Availability::Ready;
        }
        if msn > next_msn.saturating_add(2) {
            return Availability::TooFarAhead;
        }
        let there = match part {
            Some(part) => self.ready && (msn, part) < (next_msn, next_part),
            None => self.ready && msn < next_msn,
        };
        if there { Availability::Ready } else { Availability::Wait }
    }

    /// Finds media. Playlists and the MPD are made by [`crate::hls`] and [`crate::dash`]; asking for them here finds nothing.
    pub fn resource(&self, resource: &Resource) -> Lookup {
        match resource {
            Resource::Multivariant | Resource::Media(_) | Resource::Mpd | Resource::TimelineMpd => Lookup::Gone,
            Resource::Init { stamp, kind, version } => self.of(stamp, *kind).map_or(Lookup::Gone, |rendition| {
                match rendition.inits.iter().find(|init| init.version == *version) {
                    Some(init) => found(vec![init.bytes.clone()], *kind, false),
                    None => Lookup::Gone,
                }
            }),
            Resource::Segment { stamp, kind, msn } => {
                self.of(stamp, *kind).map_or(Lookup::Gone, |rendition| match rendition.segment(*msn) {
                    Some(segment) => {
                        let chunks = segment.parts.iter().map(|part| part.bytes.clone()).collect();
                        found(chunks, *kind, !segment.complete)
                    }
                    None => self.coming(*msn <= rendition.next().0.saturating_add(1) && *msn >= rendition.next().0),
                })
            }
            Resource::Part { stamp, kind, msn, part } => self.of(stamp, *kind).map_or(Lookup::Gone, |rendition| {
                let bytes = usize::try_from(*part).ok().and_then(|part| rendition.segment(*msn)?.parts.get(part));
                match bytes {
                    Some(part) => found(vec![part.bytes.clone()], *kind, false),
                    None => self.coming((*msn, *part) == rendition.next()),
                }
            }),
        }
    }

    fn of(&self, stamp: &str, kind: MediaKind) -> Option<&RenditionWindow> {
        self.rendition(kind).filter(|_| *self.stamp == *stamp)
    }

    const fn coming(&self, next: bool) -> Lookup {
        if next && !self.ended { Lookup::Wait } else { Lookup::Gone }
    }
}

const fn found(chunks: Vec<Bytes>, kind: MediaKind, growing: bool) -> Lookup {
    Lookup::Found(Content { chunks, content_type: content_type(kind), growing })
}
