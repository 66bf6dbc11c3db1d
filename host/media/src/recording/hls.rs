//! HLS playlists of a finished recording (RFC 8216), as pure functions of its index. Segments are `STAMP/video-N.m4s`, initialization
//! segments `STAMP/video-init-N.mp4`; likewise for sound.

use std::fmt::Write as _;

use super::index::{Index, Segment, Span};
use crate::track::{MediaKind, Track};

/// The media type of playlists.
pub const CONTENT_TYPE: &str = crate::hls::CONTENT_TYPE;

/// Names of the two kinds in addresses.
pub const fn name(kind: MediaKind) -> &'static str {
    match kind {
        MediaKind::Video => "video",
        MediaKind::Audio => "audio",
    }
}

fn kinds(index: &Index) -> impl Iterator<Item = MediaKind> + '_ {
    [MediaKind::Video, MediaKind::Audio].into_iter().filter(|&kind| index.has(kind))
}

fn seconds(index: &Index, segment: &Segment, kind: MediaKind, span: &Span) -> f64 {
    let timescale = index.period_of(segment).map_or(1, |period| period.timescale(kind));
    f64::from(span.duration) / f64::from(timescale.max(1))
}

/// Average and highest bit rate of a rendition, in bits per second.
pub(super) fn bandwidth(index: &Index, kind: MediaKind) -> (u64, u64) {
    let (mut bits, mut time, mut peak) = (0.0, 0.0, 0.0_f64);
    for (segment, span) in index.spans(kind) {
        let (size, duration) = (f64::from(span.size) * 8.0, seconds(index, segment, kind, span));
        bits += size;
        time += duration;
        if duration > 0.5 {
            peak = peak.max(size / duration);
        }
    }
    let average = if time > 0.0 { bits / time } else { 0.0 };
    (average.ceil().max(1.0) as u64, peak.max(average).ceil().max(1.0) as u64)
}

/// The multivariant playlist. `query` is appended to the addresses of the media playlists.
pub fn multivariant(index: &Index, query: &str) -> String {
    let suffix = crate::hls::suffix(query);
    let mut out = String::from("#EXTM3U\n#EXT-X-VERSION:7\n");
    let has_both = index.has(MediaKind::Video) && index.has(MediaKind::Audio);
    let track = |kind| index.periods.iter().find_map(|period| period.track(kind));
    if has_both {
        let channels = track(MediaKind::Audio).and_then(Track::audio).map_or(2, |info| info.channels);
        let _ = writeln!(
            out,
            "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"audio\",NAME=\"Audio\",DEFAULT=YES,AUTOSELECT=YES,CHANNELS=\"{channels}\",\
             URI=\"audio.m3u8{suffix}\""
        );
    }
    let Some(main) = kinds(index).next() else { return out };
    let (average, peak) = kinds(index).map(|kind| bandwidth(index, kind)).fold((0, 0), |sum, of| (sum.0 + of.0, sum.1 + of.1));
    let codecs: Vec<_> = kinds(index).filter_map(track).map(|track| track.codecs.as_str()).collect();
    let _ = write!(out, "#EXT-X-STREAM-INF:BANDWIDTH={peak},AVERAGE-BANDWIDTH={average},CODECS=\"{}\"", codecs.join(","));
    if let Some(info) = track(MediaKind::Video).and_then(Track::video) {
        let _ = write!(out, ",RESOLUTION={}x{}", info.width, info.height);
        if let Some((frames, per)) = info.frame_rate.filter(|(_, per)| *per > 0) {
            let _ = write!(out, ",FRAME-RATE={:.3}", f64::from(frames) / f64::from(per));
        }
    }
    if has_both {
        out.push_str(",AUDIO=\"audio\"");
    }
    let _ = writeln!(out, "\n{}.m3u8{suffix}", name(main));
    out
}

/// The media playlist of `kind`, none when the recording has no such track.
pub fn media(index: &Index, kind: MediaKind, stamp: &str) -> Option<String> {
    if !index.has(kind) {
        return None;
    }
    let name = name(kind);
    let both = [MediaKind::Video, MediaKind::Audio].into_iter().flat_map(|kind| index.spans(kind).map(move |of| (kind, of)));
    let longest = both.map(|(kind, (segment, span))| seconds(index, segment, kind, span)).fold(1.0, f64::max);
    let mut out = format!(
        "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:{}\n#EXT-X-MEDIA-SEQUENCE:0\n#EXT-X-PLAYLIST-TYPE:VOD\n",
        longest.round() as u64
    );
    if index.spans(kind).all(|(_, span)| span.independent) {
        out.push_str("#EXT-X-INDEPENDENT-SEGMENTS\n");
    }
    let other = if kind == MediaKind::Video { MediaKind::Audio } else { MediaKind::Video };
    let (mut before, mut number) = (None, 0);
    for segment in &index.segments {
        if before.is_some_and(|before| before != segment.period) {
            out.push_str("#EXT-X-DISCONTINUITY\n");
        }
        if before != Some(segment.period) && index.period_of(segment).is_some_and(|period| period.track(kind).is_some()) {
            let _ = writeln!(out, "#EXT-X-MAP:URI=\"{stamp}/{name}-init-{}.mp4\"", segment.period);
        }
        before = Some(segment.period);
        match (segment.span(kind), segment.span(other)) {
            (Some(span), _) => {
                let _ = writeln!(out, "#EXTINF:{:.6},\n{stamp}/{name}-{number}.m4s", seconds(index, segment, kind, span));
                number += 1;
            }
            // The other rendition goes on: the times after it must fit.
            (None, Some(span)) => {
                let length = seconds(index, segment, other, span);
                let _ = writeln!(out, "#EXT-X-GAP\n#EXTINF:{length:.6},\n{stamp}/{name}-gap.m4s");
            }
            (None, None) => {}
        }
    }
    out.push_str("#EXT-X-ENDLIST\n");
    Some(out)
}
