//! The MPEG-DASH manifest (ISO/IEC 23009-1) as a pure function of a [`Window`]: dynamic and low-latency, static once it has ended.
//!
//! The MPD's timeline is the stream's own: a period's media offset equals its start unless the clocks were set apart by a
//! discontinuity. A period with a regular pace is addressed by number and duration, so that players ask for a segment while it is
//! being made; one without has a segment timeline of complete segments.

use std::fmt::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use crate::cmaf::{Init, Period, RenditionWindow, Segment, Window, rendition_name};
use crate::hls::date_time;
use crate::time::WallClock;
use crate::track::MediaKind;

/// The media type of the manifest.
pub const CONTENT_TYPE: &str = "application/dash+xml";

/// Where the HTTP layer serves the time of day as xs:dateTime.
pub const TIME_PATH: &str = "/time";

/// Time scale of templates with numbers: microseconds, the same in all renditions.
const MICROS: u64 = 1_000_000;

fn put(out: &mut String, text: fmt::Arguments<'_>) {
    let _ = out.write_fmt(text);
}

/// The low-latency manifest, to be served as `manifest.mpd`. `query` is appended to the media URIs. `now` becomes its publishTime.
/// `None` while the pace of the stream is not known: it is after two segments, or at the end of a shorter stream.
pub fn mpd(window: &Window, now: WallClock, query: &str) -> Option<String> {
    manifest(window, now, query, window.periods.clone())
}

/// The manifest for players that have no low-latency mode, to be served as `timeline.mpd`: all complete segments with their exact
/// times, nothing to be computed and nothing in the making.
pub fn timeline_mpd(window: &Window, now: WallClock, query: &str) -> Option<String> {
    let mut periods = window.periods.clone();
    periods.iter_mut().for_each(|period| period.regular = None);
    manifest(window, now, query, periods)
}

fn manifest(window: &Window, now: WallClock, query: &str, mut periods: Vec<Period>) -> Option<String> {
    let main = window.video.as_ref().or(window.audio.as_ref())?;
    let first = main.listed().first().filter(|_| window.ready)?;
    let ends: Vec<_> = ends(window, main).collect();
    if let Some(period) = periods.iter_mut().rfind(|period| window.ended && period.first_msn < first.msn) {
        // A recording begins with what is left of it.
        period.offset += first.start.micros_since(period.start);
        period.start = first.start;
        period.first_msn = first.msn;
    }
    let mut periods: Vec<_> = periods.iter().zip(ends).filter(|(_, end)| *end != Some(0)).collect();
    while periods.last().is_some_and(|(period, _)| !window.ended && !has_begun(window, period)) {
        periods.pop();
    }
    if !window.ended && periods.last().is_some_and(|(period, _)| period.regular.is_some()) {
        // Shaka takes the end of a timeline for the live edge, so what was irregular before is left out.
        let from = periods.iter().rposition(|(period, _)| period.regular.is_none()).map_or(0, |at| at + 1);
        periods.drain(..from);
    }
    if periods.is_empty() {
        return None;
    }
    let mut mpd = Mpd { out: String::with_capacity(4096), window, main, query: query_suffix(query) };
    mpd.open(now, &periods);
    for (i, (period, end)) in periods.iter().enumerate() {
        mpd.period(period, *end, i + 1 == periods.len());
    }
    mpd.close();
    Some(mpd.out)
}

/// The latest period can be shown: players refuse one without an AdaptationSet, and do not look for another one later. A rendition
/// that has nothing when another one is two segments ahead is not in it.
fn has_begun(window: &Window, period: &Period) -> bool {
    let known = |rendition: &RenditionWindow, complete: bool, count: usize| {
        let listed = rendition.listed().iter().rev().take_while(|segment| segment.msn >= period.first_msn);
        listed.filter(|segment| segment.complete || !complete).count() >= count
    };
    window.renditions().all(|rendition| known(rendition, period.regular.is_none(), 1))
        || window.renditions().any(|rendition| known(rendition, true, 2))
}

/// For each period the number after its last segment, `None` for one that goes on; `Some(0)` for one that has nothing listed.
fn ends<'a>(window: &'a Window, main: &'a RenditionWindow) -> impl Iterator<Item = Option<u64>> + 'a {
    let first = main.listed().first().map_or(u64::MAX, |segment| segment.msn);
    // Sound that lasts longer than the picture may have a segment more.
    let last = window.renditions().map(|rendition| rendition.next_msn).max().unwrap_or(0);
    window.periods.iter().enumerate().map(move |(i, period)| match window.periods.get(i + 1) {
        Some(next) if next.first_msn <= first => Some(0),
        Some(next) => Some(next.first_msn),
        None if window.ended && main.next_msn <= period.first_msn => Some(0),
        None if window.ended => Some(last),
        None => None,
    })
}

/// `query` for a SegmentTemplate: `$` is doubled, and what XML needs escaped is.
fn query_suffix(query: &str) -> String {
    let query = query.trim_start_matches('?');
    if query.is_empty() {
        return String::new();
    }
    let mut out = String::from("?");
    for c in query.chars().filter(char::is_ascii_graphic) {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '"' => out.push_str("&quot;"),
            '$' => out.push_str("$$"),
            c => out.push(c),
        }
    }
    out
}

/// xs:duration.
fn seconds(micros: i64) -> String {
    let micros = micros.max(0);
    let text = format!("PT{}.{:06}", micros / 1_000_000, micros % 1_000_000);
    format!("{}S", text.trim_end_matches('0').trim_end_matches('.'))
}

struct Mpd<'a> {
    out: String,
    window: &'a Window,
    main: &'a RenditionWindow,
    query: String,
}

impl Mpd<'_> {
    fn open(&mut self, now: WallClock, periods: &[(&Period, Option<u64>)]) {
        let window = self.window;
        let target = i64::from(window.target_duration) * 1_000_000;
        let listed = self.main.complete();
        let (mut depth, mut longest) = (0, 0);
        for segment in listed {
            let duration = segment.duration.as_micros() as i64;
            depth += duration;
            longest = longest.max(duration);
        }
        self.out.push_str("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\"");
        self.out
            .push_str(" profiles=\"urn:mpeg:dash:profile:isoff-live:2011,http://www.dashif.org/guidelines/low-latency-live-v5\"");
        if window.ended {
            let end = periods.last().map_or(0, |(period, _)| self.end_of(period));
            put(
                &mut self.out,
                format_args!(
                    " type=\"static\" mediaPresentationDuration=\"{}\" minBufferTime=\"{}\">\n",
                    seconds(end),
                    seconds(longest)
                ),
            );
            return;
        }
        let regular = periods.last().is_some_and(|(period, _)| period.regular.is_some());
        // A new segment must be known before the buffer is empty: players with a timeline look once in each part of a segment.
        let update = if regular { target } else { (target / 4).max(500_000) };
        let delay = if regular { self.latency_target() } else { longest.max(target) * 2 + update };
        put(
            &mut self.out,
            format_args!(
                " type=\"dynamic\" availabilityStartTime=\"{}\" publishTime=\"{}\" minimumUpdatePeriod=\"{}\" \
                 timeShiftBufferDepth=\"{}\" suggestedPresentationDelay=\"{}\" minBufferTime=\"{}\" maxSegmentDuration=\"{}\">\n",
                date_time(window.available_from),
                date_time(now),
                seconds(update),
                seconds(depth.max(target)),
                seconds(delay),
                seconds(if regular { window.part_target.as_micros() as i64 } else { longest }),
                seconds(longest.max(target)),
            ),
        );
        if regular {
            put(
                &mut self.out,
                format_args!(
                    "  <ServiceDescription id=\"0\">\n    <Latency referenceId=\"0\" target=\"{}\" min=\"{}\" max=\"{}\"/>\n    \
                     <PlaybackRate min=\"0.96\" max=\"1.04\"/>\n  </ServiceDescription>\n",
                    delay / 1000,
                    delay / 2000,
                    delay * 3 / 1000
                ),
            );
        }
    }

    /// In microseconds: three parts, and what requests, a decoder and a busy machine need. With half a second less dash.js waits at times.
    fn latency_target(&self) -> i64 {
        self.window.part_target.as_micros() as i64 * 3 + 1_500_000
    }

    /// Microseconds from the MPD's zero to the end of the last segment of `period`, which is the last one.
    fn end_of(&self, period: &Period) -> i64 {
        let last = self.window.renditions().filter_map(|rendition| rendition.listed().last());
        let end = last.map(|segment| segment.end()).max().unwrap_or(period.start);
        let length = end.micros_since(period.start);
        let length = match period.regular {
            // No more numbers than there are segments.
            Some(pace) => length.min(pace.as_micros() as i64 * self.main.next_msn.saturating_sub(period.first_msn) as i64),
            None => length,
        };
        period.offset + length
    }

    fn period(&mut self, period: &Period, end: Option<u64>, last: bool) {
        put(&mut self.out, format_args!("  <Period id=\"{}\" start=\"{}\"", period.id, seconds(period.offset)));
        if last && self.window.ended {
            let duration = seconds(self.end_of(period) - period.offset);
            put(&mut self.out, format_args!(" duration=\"{duration}\""));
        }
        self.out.push_str(">\n");
        for (id, rendition) in self.window.renditions().enumerate() {
            self.adaptation_set(id, rendition, period, end);
        }
        self.out.push_str("  </Period>\n");
    }

    fn adaptation_set(&mut self, id: usize, rendition: &RenditionWindow, period: &Period, end: Option<u64>) {
        let segments: Vec<_> = rendition
            .listed()
            .iter()
            .filter(|segment| segment.msn >= period.first_msn && end.is_none_or(|end| segment.msn < end))
            .collect();
        let Some(init) = segments.first().map(|segment| &segment.init) else { return };
        if period.regular.is_none() && !segments.iter().any(|segment| segment.complete) {
            return;
        }
        let kind = rendition_name(rendition.kind);
        put(
            &mut self.out,
            format_args!(
                "    <AdaptationSet id=\"{id}\" contentType=\"{kind}\" mimeType=\"{kind}/mp4\" segmentAlignment=\"true\""
            ),
        );
        if segments.iter().all(|segment| segment.independent()) {
            self.out.push_str(" startWithSAP=\"1\"");
        }
        self.out.push_str(">\n");
        if rendition.kind == self.main.kind && !self.window.ended {
            put(
                &mut self.out,
                format_args!(
                    "      <ProducerReferenceTime id=\"0\" inband=\"true\" type=\"captured\" wallClockTime=\"{}\" \
                     presentationTime=\"{}\">\n        <UTCTiming schemeIdUri=\"urn:mpeg:dash:utc:http-xsdate:2014\" \
                     value=\"{TIME_PATH}\"/>\n      </ProducerReferenceTime>\n",
                    date_time(WallClock::from_unix_micros(
                        self.window.available_from.unix_micros().saturating_add(period.offset)
                    )),
                    if period.regular.is_some() { period.start.as_micros() } else { period.start.to_timescale(init.timescale) },
                ),
            );
        }
        self.template(rendition.kind, init, period, &segments);
        self.representation(rendition, init);
        self.out.push_str("    </AdaptationSet>\n");
    }

    fn template(&mut self, kind: MediaKind, init: &Init, period: &Period, segments: &[&Arc<Segment>]) {
        let (name, stamp, query) = (rendition_name(kind), &self.window.stamp, &self.query);
        let uris = format!(
            "media=\"{stamp}/{name}/$Number$.m4s{query}\" initialization=\"{stamp}/{name}/init-{}.mp4{query}\"",
            init.version
        );
        let out = &mut self.out;
        match period.regular {
            Some(pace) => {
                put(
                    out,
                    format_args!(
                        "      <SegmentTemplate timescale=\"{MICROS}\" presentationTimeOffset=\"{}\" duration=\"{}\" startNumber=\"{}\"",
                        period.start.as_micros(),
                        pace.as_micros(),
                        period.first_msn
                    ),
                );
                if !self.window.ended {
                    let early = pace.saturating_sub(self.window.part_target).max(Duration::ZERO);
                    put(
                        out,
                        format_args!(" availabilityTimeOffset=\"{:.3}\" availabilityTimeComplete=\"false\"", early.as_secs_f64()),
                    );
                }
                put(out, format_args!(" {uris}/>\n"));
            }
            None => {
                let complete: Vec<_> = segments.iter().filter(|segment| segment.complete).collect();
                put(
                    out,
                    format_args!(
                        "      <SegmentTemplate timescale=\"{}\" presentationTimeOffset=\"{}\" startNumber=\"{}\" {uris}>\n        \
                         <SegmentTimeline>\n",
                        init.timescale,
                        period.start.to_timescale(init.timescale),
                        complete.first().map_or(period.first_msn, |segment| segment.msn),
                    ),
                );
                for segment in complete {
                    put(out, format_args!("          <S t=\"{}\" d=\"{}\"/>\n", segment.start_ticks, segment.duration_ticks));
                }
                out.push_str("        </SegmentTimeline>\n      </SegmentTemplate>\n");
            }
        }
    }

    fn representation(&mut self, rendition: &RenditionWindow, init: &Init) {
        let (kind, track) = (rendition_name(rendition.kind), &init.track);
        put(
            &mut self.out,
            format_args!(
                "      <Representation id=\"{kind}\" bandwidth=\"{}\" codecs=\"{}\"",
                rendition.average_bandwidth.max(1),
                track.codecs
            ),
        );
        if let Some(info) = track.video() {
            put(&mut self.out, format_args!(" width=\"{}\" height=\"{}\"", info.width, info.height));
            if let Some((numerator, denominator)) = info.frame_rate {
                let rate = if denominator == 1 { numerator.to_string() } else { format!("{numerator}/{denominator}") };
                put(&mut self.out, format_args!(" frameRate=\"{rate}\""));
            }
        }
        match track.audio() {
            Some(info) => put(
                &mut self.out,
                format_args!(
                    " audioSamplingRate=\"{}\">\n        <AudioChannelConfiguration \
                     schemeIdUri=\"urn:mpeg:dash:23003:3:audio_channel_configuration:2011\" value=\"{}\"/>\n      </Representation>\n",
                    info.sample_rate, info.channels
                ),
            ),
            None => self.out.push_str("/>\n"),
        }
    }

    fn close(&mut self) {
        if !self.window.ended {
            put(
                &mut self.out,
                format_args!("  <UTCTiming schemeIdUri=\"urn:mpeg:dash:utc:http-xsdate:2014\" value=\"{TIME_PATH}\"/>\n"),
            );
        }
        self.out.push_str("</MPD>\n");
    }
}

#[cfg(test)]
mod tests;
