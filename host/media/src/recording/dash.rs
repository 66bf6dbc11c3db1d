//! The DASH manifest of a finished recording (ISO/IEC 23009-1), a pure function of its index.

use std::fmt::Write as _;

use super::hls::{bandwidth, name};
use super::index::{Index, Period, Span};
use crate::time::Timestamp;
use crate::track::MediaKind;

/// The media type of manifests.
pub const CONTENT_TYPE: &str = crate::dash::CONTENT_TYPE;

/// An ISO 8601 duration.
fn duration(micros: i64) -> String {
    format!("PT{:.3}S", micros.max(0) as f64 / 1e6)
}

/// The manifest of all segments, with the names that [`super::hls`] gives them.
pub fn mpd(index: &Index, stamp: &str) -> String {
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let _ = writeln!(
        out,
        "<MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\" profiles=\"urn:mpeg:dash:profile:isoff-live:2011\" type=\"static\" \
         mediaPresentationDuration=\"{}\" minBufferTime=\"PT4S\">",
        duration(index.duration)
    );
    let start = |number: u32| start_of(index, number).unwrap_or(0);
    for (number, period) in index.periods.iter().enumerate() {
        let number = u32::try_from(number).unwrap_or(u32::MAX);
        if !index.segments.iter().any(|segment| segment.period == number) {
            continue;
        }
        let begin = if number == 0 { index.zero } else { start(number) };
        let next = (number + 1..).take(index.periods.len()).find_map(|next| start_of(index, next));
        let end = next.unwrap_or(index.zero + index.duration);
        let _ = writeln!(
            out,
            "  <Period id=\"{number}\" start=\"{}\" duration=\"{}\">",
            duration(begin - index.zero),
            duration(end - begin)
        );
        for (id, kind) in [MediaKind::Video, MediaKind::Audio].into_iter().enumerate() {
            adaptation_set(&mut out, index, (number, period, begin), (id, kind), stamp);
        }
        out.push_str("  </Period>\n");
    }
    out.push_str("</MPD>\n");
    out
}

/// When the first segment of a period is shown, in microseconds.
fn start_of(index: &Index, number: u32) -> Option<i64> {
    let segment = index.segments.iter().find(|segment| segment.period == number)?;
    let period = index.period_of(segment)?;
    let at = |kind| {
        let span: &Span = segment.span(kind)?;
        Some(Timestamp::from_timescale(span.start, period.timescale(kind)).as_micros())
    };
    [at(MediaKind::Video), at(MediaKind::Audio)].into_iter().flatten().min()
}

fn adaptation_set(
    out: &mut String,
    index: &Index,
    (number, period, begin): (u32, &Period, i64),
    (id, kind): (usize, MediaKind),
    stamp: &str,
) {
    let Some(track) = period.track(kind) else { return };
    let spans = || index.spans(kind).filter(|(segment, _)| segment.period == number).map(|(_, span)| span);
    let first = index.spans(kind).position(|(segment, _)| segment.period == number);
    let (Some(first), name, timescale) = (first, name(kind), period.timescale(kind)) else { return };
    let _ =
        write!(out, "    <AdaptationSet id=\"{id}\" contentType=\"{name}\" mimeType=\"{name}/mp4\" segmentAlignment=\"true\"");
    if spans().all(|span| span.independent) {
        out.push_str(" startWithSAP=\"1\"");
    }
    let _ = writeln!(
        out,
        ">\n      <SegmentTemplate timescale=\"{timescale}\" presentationTimeOffset=\"{}\" startNumber=\"{first}\" \
         media=\"{stamp}/{name}-$Number$.m4s\" initialization=\"{stamp}/{name}-init-{number}.mp4\">\n        <SegmentTimeline>",
        Timestamp::from_micros(begin).to_timescale(timescale).max(0)
    );
    for span in spans() {
        let _ = writeln!(out, "          <S t=\"{}\" d=\"{}\"/>", span.start, span.duration);
    }
    let _ = write!(
        out,
        "        </SegmentTimeline>\n      </SegmentTemplate>\n      <Representation id=\"{name}\" bandwidth=\"{}\" codecs=\"{}\"",
        bandwidth(index, kind).0,
        track.codecs
    );
    if let Some(info) = track.video() {
        let _ = write!(out, " width=\"{}\" height=\"{}\"", info.width, info.height);
    }
    match track.audio() {
        Some(info) => {
            let _ = writeln!(
                out,
                " audioSamplingRate=\"{}\">\n        <AudioChannelConfiguration \
                 schemeIdUri=\"urn:mpeg:dash:23003:3:audio_channel_configuration:2011\" value=\"{}\"/>\n      </Representation>",
                info.sample_rate, info.channels
            );
        }
        None => out.push_str("/>\n"),
    }
    out.push_str("    </AdaptationSet>\n");
}
