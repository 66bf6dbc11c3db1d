//! From the hub's entries to the parts of a recording.

use std::sync::Arc;

use bytes::Bytes;

use super::track_number;
use crate::cmaf::fragment::{Heading, Sample, head};
use crate::cmaf::init::{movie, timescale};
use crate::cmaf::sound::Sound;
use crate::hub::Entry;
use crate::time::Timestamp;
use crate::track::{Codec, MediaKind, Track, TrackId};

/// Media time in microseconds for the second kind of track to appear before a part begins without it.
const WAIT_FOR_TRACKS: i64 = 1_000_000;
/// The same where a picture was announced and its key frame is to come.
const WAIT_FOR_KEY_FRAME: i64 = 5_000_000;
const MAX_WAITING: usize = 2048;
const MAX_WAITING_BYTES: usize = 32 << 20;
/// A fragment ends before a key frame after this much, and before any frame after that much; in microseconds.
const FRAGMENT_AT_KEY_FRAME: i64 = 900_000;
const FRAGMENT: i64 = 2_000_000;
/// What the fragment under way may hold, whatever its length.
const MAX_FRAGMENT_BYTES: usize = 8 << 20;
const MAX_FRAGMENT_SAMPLES: usize = 4096;
/// Sound from well before the first picture is left out, in microseconds.
const SOUND_BEFORE_PICTURE: i64 = 250_000;
/// A composition offset beyond this is a broken timestamp, in ticks.
const MAX_COMPOSITION_OFFSET: i64 = 10 * 90_000;
const MAX_TRACKS: usize = 16;

/// What is to be written.
#[derive(Clone, Debug)]
pub enum Output {
    /// The first bytes of a new part.
    Part(Bytes),
    /// The next bytes of the part under way.
    Fragment(Fragment),
}

/// Bytes that belong together: written whole, they can be read back. The payloads are those of the hub, not copies.
#[derive(Clone, Debug, Default)]
pub struct Fragment {
    pub chunks: Vec<Bytes>,
    pub bytes: usize,
}

/// Makes the parts of one recording out of one stream.
#[derive(Debug, Default)]
pub struct Muxer {
    lanes: Vec<Lane>,
    running: bool,
    /// Entries from which the tracks are to be seen.
    waiting: Vec<Arc<Entry>>,
    /// A frame came that no lane can take: begin anew at the next place where a player can start.
    stale: bool,
    /// What the stream's time is at the part's zero, in microseconds.
    base: i64,
    sequence: u32,
    last: Option<(u64, u32)>,
}

#[derive(Debug)]
struct Lane {
    /// As the stream has it.
    declared: Track,
    /// As the part's `moov` describes it.
    track: Track,
    timescale: u32,
    sound: Option<Sound>,
    /// The latest picture: its duration is known when the next one comes.
    held: Option<Sample>,
    last_duration: i64,
    samples: Vec<Sample>,
    /// Decode time of what comes next, in ticks.
    end: i64,
    /// When everything so far has been shown, in ticks.
    shown: i64,
}

impl Muxer {
    /// Takes the stream's next frame.
    pub fn push(&mut self, entry: &Arc<Entry>, out: &mut Vec<Output>) {
        let follows = self.last.is_none_or(|(seq, epoch)| seq + 1 == entry.seq && epoch == entry.epoch);
        self.last = Some((entry.seq, entry.epoch));
        if !follows {
            self.pause(out);
            self.waiting.clear();
        }
        if self.running {
            match entry.tracks.get(entry.frame.track) {
                Some(track) if self.lanes.iter().any(|lane| lane.declared == *track) => {}
                _ => self.stale = true,
            }
            if !(self.stale && entry.is_join_point()) {
                self.add(entry, out);
                return;
            }
            self.pause(out);
        }
        if self.waiting.is_empty() && !entry.is_join_point() {
            return;
        }
        self.waiting.push(Arc::clone(entry));
        if self.enough_is_known(entry) {
            self.start(out);
        }
    }

    /// Brings out everything that lies there: at the end, and when frames have stopped coming.
    pub fn flush(&mut self, out: &mut Vec<Output>) {
        if !self.running && !self.waiting.is_empty() {
            self.start(out);
        }
        for lane in &mut self.lanes {
            lane.release();
        }
        self.close_fragment(out);
    }

    fn pause(&mut self, out: &mut Vec<Output>) {
        if self.running {
            self.flush(out);
        }
        self.running = false;
        self.stale = false;
    }

    /// Both kinds of track have come, or the second one has been waited for.
    fn enough_is_known(&self, latest: &Entry) -> bool {
        let of = |kind| self.waiting.iter().any(|entry| entry.frame.kind() == kind);
        let key = self.waiting.iter().any(|entry| entry.frame.kind() == MediaKind::Video && entry.frame.keyframe);
        if key && of(MediaKind::Audio) {
            return true;
        }
        let waited = self.waiting.first().map_or(0, |first| latest.frame.dts.micros_since(first.frame.dts).abs());
        let patience = if !key && latest.tracks.has_video() { WAIT_FOR_KEY_FRAME } else { WAIT_FOR_TRACKS };
        let bytes: usize = self.waiting.iter().map(|entry| entry.frame.payload.len()).sum();
        waited >= patience || self.waiting.len() >= MAX_WAITING || bytes >= MAX_WAITING_BYTES
    }

    /// Goes on with the part if the tracks are the same, else with a new one.
    fn start(&mut self, out: &mut Vec<Output>) {
        let entries = std::mem::take(&mut self.waiting);
        let picture = entries.iter().position(|entry| entry.frame.kind() == MediaKind::Video && entry.frame.keyframe);
        let shown = picture.and_then(|at| entries.get(at)).map(|entry| entry.frame.pts);
        let wanted: Vec<_> = entries
            .iter()
            .enumerate()
            .filter(|(at, entry)| match entry.frame.kind() {
                MediaKind::Video => picture.is_some_and(|picture| *at >= picture),
                MediaKind::Audio => shown.is_none_or(|shown| shown.micros_since(entry.frame.pts) <= SOUND_BEFORE_PICTURE),
            })
            .map(|(_, entry)| entry)
            .collect();
        let Some(last) = wanted.last() else { return };
        let first = |id: TrackId| wanted.iter().find(|entry| entry.frame.track == id);
        let lanes: Vec<_> = last
            .tracks
            .iter()
            .filter(|track| track.kind() == MediaKind::Audio || first(track.id).is_some())
            .filter_map(|track| Lane::new(track, first(track.id).map(|entry| &entry.frame.payload)))
            .take(MAX_TRACKS)
            .collect();
        if lanes.is_empty() {
            return;
        }
        let begins =
            |lane: &Lane| first(lane.declared.id).map(|entry| (entry.frame.dts.as_micros(), entry.frame.pts.as_micros()));
        let same = self.lanes.len() == lanes.len() && self.lanes.iter().zip(&lanes).all(|(old, new)| old.track == new.track);
        if same {
            // As early as it can be without going back in any track, neither in decoding nor in showing.
            let base = self.lanes.iter().filter_map(|lane| {
                let (decoded, shown) = begins(lane)?;
                Some((decoded - lane.micros(lane.end)).min(shown - lane.micros(lane.shown)))
            });
            self.base = base.min().unwrap_or(self.base);
            self.lanes.iter_mut().zip(lanes).for_each(|(old, new)| old.declared = new.declared);
        } else {
            self.base = lanes.iter().filter_map(begins).map(|(decoded, _)| decoded).min().unwrap_or_default();
            out.push(Output::Part(movie(lanes.iter().map(|lane| (track_number(lane.track.id), &lane.track, lane.timescale)))));
            self.lanes = lanes;
            self.sequence = 0;
        }
        (self.running, self.stale) = (true, false);
        for entry in wanted {
            self.add(entry, out);
        }
    }

    fn add(&mut self, entry: &Entry, out: &mut Vec<Output>) {
        let (frame, base) = (&entry.frame, self.base);
        let declared = entry.tracks.get(frame.track);
        // A track that came or changed in the middle is taken from the next place on where a player can start.
        let Some(lane) = self.lanes.iter_mut().find(|lane| Some(&lane.declared) == declared) else { return };
        match lane.sound {
            Some(_) => {
                lane.hear(frame.dts.offset(-base), &frame.payload);
                if self.is_full(FRAGMENT + FRAGMENT / 4) {
                    self.close_fragment(out);
                }
            }
            None => {
                lane.see(frame.dts.offset(-base), frame.composition_offset(), frame.keyframe, &frame.payload);
                if self.is_full(if frame.keyframe { FRAGMENT_AT_KEY_FRAME } else { FRAGMENT }) {
                    self.close_fragment(out);
                }
            }
        }
    }

    /// Whether the fragment under way has this many microseconds, or too much of anything else.
    fn is_full(&self, micros: i64) -> bool {
        let bytes: usize = self.lanes.iter().flat_map(|lane| &lane.samples).map(|sample| sample.payload.len()).sum();
        bytes >= MAX_FRAGMENT_BYTES
            || self.lanes.iter().any(|lane| lane.length() >= micros || lane.samples.len() >= MAX_FRAGMENT_SAMPLES)
    }

    fn close_fragment(&mut self, out: &mut Vec<Output>) {
        let mut fragment = Fragment::default();
        for lane in &mut self.lanes {
            let Some(first) = lane.samples.first() else { continue };
            self.sequence = self.sequence.wrapping_add(1);
            let heading = Heading {
                track_id: track_number(lane.track.id),
                kind: lane.track.kind(),
                sequence: self.sequence,
                decode_time: first.dts.max(0) as u64,
            };
            let mut header = Vec::with_capacity(128 + lane.samples.len() * 16);
            head(&mut header, &heading, lane.samples.iter().map(Sample::head));
            fragment.chunks.push(header.into());
            fragment.chunks.extend(lane.samples.drain(..).map(|sample| sample.payload));
        }
        fragment.bytes = fragment.chunks.iter().map(Bytes::len).sum();
        if fragment.bytes > 0 {
            out.push(Output::Fragment(fragment));
        }
    }
}

impl Lane {
    /// `first` is the track's first frame, which tells the rate of MP3.
    fn new(declared: &Track, first: Option<&Bytes>) -> Option<Self> {
        let sound = match (declared.kind(), first) {
            (MediaKind::Video, _) => None,
            (MediaKind::Audio, None) if declared.codec == Codec::Mp3 => return None,
            (MediaKind::Audio, first) => Some(Sound::new(declared, first.unwrap_or(&Bytes::new()))),
        };
        let track = sound.as_ref().map_or(declared, Sound::track).clone();
        let rate = track.video().and_then(|info| info.frame_rate).filter(|(frames, _)| *frames > 0);
        Some(Self {
            timescale: timescale(&track),
            declared: declared.clone(),
            track,
            sound,
            held: None,
            last_duration: rate.map_or(3_000, |(frames, seconds)| 90_000 * i64::from(seconds) / i64::from(frames)),
            samples: Vec::new(),
            end: 0,
            shown: 0,
        })
    }

    fn micros(&self, ticks: i64) -> i64 {
        Timestamp::from_timescale(ticks, self.timescale).as_micros()
    }

    /// Microseconds in the fragment under way.
    fn length(&self) -> i64 {
        self.samples.first().map_or(0, |first| self.micros(self.end - first.dts))
    }

    fn see(&mut self, dts: Timestamp, composition_offset: i64, keyframe: bool, payload: &Bytes) {
        let after = self.held.as_ref().map_or(self.end, |held| held.dts + 1);
        let at = dts.to_timescale(self.timescale).max(after);
        if let Some(mut held) = self.held.take() {
            self.last_duration = at - held.dts;
            held.duration = u32::try_from(self.last_duration).unwrap_or(u32::MAX);
            self.keep(held);
        }
        self.end = at;
        // Where the decode time had to be moved, the presentation time stays.
        let shown = dts.offset(composition_offset.max(0)).to_timescale(self.timescale);
        let offset = (shown - at).clamp(0, MAX_COMPOSITION_OFFSET);
        self.held = Some(Sample { dts: at, composition_offset: offset as i32, duration: 0, keyframe, payload: payload.clone() });
    }

    /// Places sound by counting samples, as the milliseconds of RTMP jitter; where it is off by more than a frame and a half, by its
    /// time. What can't be a frame is left out.
    fn hear(&mut self, dts: Timestamp, payload: &Bytes) {
        let duration = self.sound.as_ref().and_then(|sound| sound.duration(payload)).filter(|&duration| duration > 0);
        let Some(duration) = duration else { return };
        let length = i64::from(duration);
        let at = dts.to_timescale(self.timescale);
        let begins = self.end == 0 && self.samples.is_empty();
        let at = if begins || (at - self.end).abs() * 2 > length * 3 { at.max(0) } else { self.end };
        let at = match self.samples.last_mut() {
            Some(last) => {
                let at = at.max(last.dts + 1);
                last.duration = u32::try_from(at - last.dts).unwrap_or(u32::MAX);
                at
            }
            None => at,
        };
        self.samples.push(Sample { dts: at, composition_offset: 0, duration, keyframe: true, payload: payload.clone() });
        self.end = at + length;
        self.shown = self.end;
    }

    /// Lets go of the latest picture, as long as the one before.
    fn release(&mut self) {
        if let Some(mut held) = self.held.take() {
            held.duration = u32::try_from(self.last_duration.clamp(1, i64::from(self.timescale))).unwrap_or(1);
            self.end = held.dts + i64::from(held.duration);
            self.keep(held);
        }
    }

    fn keep(&mut self, sample: Sample) {
        let end = sample.dts + i64::from(sample.composition_offset) + i64::from(sample.duration);
        self.shown = self.shown.max(end);
        self.samples.push(sample);
    }
}
