//! Media playlists with parts, blocking reload, preload hint, rendition reports and delta updates.

use std::sync::Arc;

use super::{VERSION, date_time, put, suffix};
use crate::cmaf::{RenditionWindow, Segment, Window, rendition_name};
use crate::track::MediaKind;

/// Segments that are older than this many target durations have no parts in the playlist (RFC 8216bis, section 4.4.4.9: at least 3).
const PARTS_FOR_TARGETS: u32 = 3;
/// CAN-SKIP-UNTIL in target durations (section 4.4.3.8: at least 6).
const SKIP_TARGETS: u32 = 6;

/// The media playlist of `kind`. With `skip` it is a delta update, where the window reaches back far enough for one.
/// `query` is appended to the URIs in it. `None` when there is no such rendition or nothing in it yet.
pub fn media(window: &Window, kind: MediaKind, skip: bool, query: &str) -> Option<String> {
    let rendition = window.rendition(kind).filter(|_| window.ready)?;
    let segments = rendition.listed();
    let first = segments.first()?;
    let mut writer = Writer { out: String::with_capacity(4096), window, kind, suffix: suffix(query) };
    writer.header(first.msn, first.discontinuity, segments.iter().all(|segment| segment.independent()));
    let skipped = if skip && !window.ended { skippable(window, segments) } else { 0 };
    if skipped > 0 {
        put(&mut writer.out, format_args!("#EXT-X-SKIP:SKIPPED-SEGMENTS={skipped}\n"));
    }
    let parts_from = parts_from(window, rendition);
    let mut before = skipped.checked_sub(1).and_then(|last| segments.get(last));
    for segment in segments.iter().skip(skipped) {
        writer.segment(segment, before, segment.msn >= parts_from);
        before = Some(segment);
    }
    writer.footer(rendition);
    Some(writer.out)
}

/// How many segments at the front lie before the skip boundary.
fn skippable(window: &Window, segments: &[Arc<Segment>]) -> usize {
    let Some(end) = segments.last().map(|last| last.end()) else { return 0 };
    let boundary = i64::from(window.target_duration) * i64::from(SKIP_TARGETS) * 1_000_000;
    segments.iter().take_while(|segment| segment.complete && end.micros_since(segment.end()) > boundary).count()
}

/// The first segment whose parts are listed.
fn parts_from(window: &Window, rendition: &RenditionWindow) -> u64 {
    if window.ended {
        return u64::MAX;
    }
    let mut left = i64::from(window.target_duration * PARTS_FOR_TARGETS) * 1_000_000;
    let mut from = rendition.next_msn;
    for segment in rendition.listed().iter().rev() {
        from = segment.msn;
        left -= segment.duration.as_micros() as i64;
        if left <= 0 {
            break;
        }
    }
    from
}

struct Writer<'a> {
    out: String,
    window: &'a Window,
    kind: MediaKind,
    suffix: String,
}

impl Writer<'_> {
    fn header(&mut self, msn: u64, discontinuity: u64, independent: bool) {
        let window = self.window;
        let target = window.target_duration;
        put(&mut self.out, format_args!("#EXTM3U\n#EXT-X-VERSION:{VERSION}\n#EXT-X-TARGETDURATION:{target}\n"));
        if !window.ended {
            let part = window.part_target.as_secs_f64();
            put(
                &mut self.out,
                format_args!(
                    "#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK={:.3},CAN-SKIP-UNTIL={:.1},HOLD-BACK={:.1}\n\
                     #EXT-X-PART-INF:PART-TARGET={part:.3}\n",
                    part * 3.0,
                    f64::from(target * SKIP_TARGETS),
                    f64::from(target * 3),
                ),
            );
        }
        put(&mut self.out, format_args!("#EXT-X-MEDIA-SEQUENCE:{msn}\n#EXT-X-DISCONTINUITY-SEQUENCE:{discontinuity}\n"));
        if independent {
            self.out.push_str("#EXT-X-INDEPENDENT-SEGMENTS\n");
        }
    }

    fn segment(&mut self, segment: &Segment, before: Option<&Arc<Segment>>, parts: bool) {
        let (kind, stamp, suffix) = (rendition_name(self.kind), &self.window.stamp, &self.suffix);
        let out = &mut self.out;
        if before.is_some_and(|before| before.discontinuity != segment.discontinuity) {
            out.push_str("#EXT-X-DISCONTINUITY\n");
        }
        if before.is_none_or(|before| before.init.version != segment.init.version) {
            put(out, format_args!("#EXT-X-MAP:URI=\"{stamp}/{kind}/init-{}.mp4{suffix}\"\n", segment.init.version));
        }
        put(out, format_args!("#EXT-X-PROGRAM-DATE-TIME:{}\n", date_time(segment.program_date_time)));
        if parts {
            for (i, part) in segment.parts.iter().enumerate() {
                let independent = if part.independent { ",INDEPENDENT=YES" } else { "" };
                put(
                    out,
                    format_args!(
                        "#EXT-X-PART:DURATION={:.5},URI=\"{stamp}/{kind}/{}.{i}.m4s{suffix}\"{independent}\n",
                        part.duration.as_secs_f64(),
                        segment.msn
                    ),
                );
            }
        }
        if segment.complete {
            let seconds = segment.duration.as_secs_f64();
            put(out, format_args!("#EXTINF:{seconds:.5},\n{stamp}/{kind}/{}.m4s{suffix}\n", segment.msn));
        }
    }

    fn footer(&mut self, rendition: &RenditionWindow) {
        if self.window.ended {
            self.out.push_str("#EXT-X-ENDLIST\n");
            return;
        }
        let (msn, part) = rendition.next();
        let (kind, stamp, suffix) = (rendition_name(self.kind), &self.window.stamp, &self.suffix);
        put(&mut self.out, format_args!("#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"{stamp}/{kind}/{msn}.{part}.m4s{suffix}\"\n"));
        for other in self.window.renditions().filter(|other| other.kind != self.kind) {
            if let Some((msn, part)) = latest(other) {
                let kind = rendition_name(other.kind);
                put(
                    &mut self.out,
                    format_args!("#EXT-X-RENDITION-REPORT:URI=\"{kind}.m3u8{suffix}\",LAST-MSN={msn},LAST-PART={part}\n"),
                );
            }
        }
    }
}

/// Number and index of the last part that is there.
fn latest(rendition: &RenditionWindow) -> Option<(u64, usize)> {
    let last = rendition.segments.iter().rev().find(|segment| !segment.parts.is_empty())?;
    Some((last.msn, last.parts.len() - 1))
}
