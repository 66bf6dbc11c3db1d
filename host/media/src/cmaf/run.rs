//! The stretch between two discontinuities: the picture leads, the sound is cut where the picture is, and neither may stop the other.
//!
//! Both renditions have the same media sequence numbers and no holes. Where frames are missing, silence or the last key frame
//! stands in for them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::fragment::Sample;
use super::lane::{Lane, LaneStart};
use super::sound::Sound;
use super::store::{Expected, Store};
use crate::frame::Frame;
use crate::hub::Entry;
use crate::time::{Timestamp, WallClock};
use crate::track::{MediaKind, Track};

/// Sound that comes this much after the picture, in microseconds, is taken for missing. Grows when it comes after all.
const SOUND_MAY_LAG: i64 = 1_000_000;
const SOUND_MAY_LAG_AT_MOST: i64 = 6_000_000;
/// A picture that is this much older than the sound is shown again.
const PICTURE_MAY_LAG: i64 = 3_000_000;
const REPEAT_EVERY: i64 = 1_000_000;
/// Sound before the first picture and after the last one is kept up to this.
pub const SOUND_MAY_OVERHANG: i64 = 250_000;
/// A composition offset beyond this is a broken timestamp.
const MAX_COMPOSITION_OFFSET: i64 = 10 * 90_000;
/// Sound that waits for the picture. It is let go of in time, this is for a flood.
const MAX_WAITING: usize = 4096;

#[derive(Debug)]
pub struct Run {
    pub video: Option<Picture>,
    pub audio: Option<Hearing>,
    /// Where the picture was cut and the sound was not yet, in microseconds.
    cuts: VecDeque<i64>,
}

#[derive(Debug)]
pub struct Picture {
    pub track: Track,
    lane: Lane,
    /// The latest frame: its duration is known when the next one comes.
    held: Option<(Sample, WallClock)>,
    last_duration: i64,
    segment_start: Option<i64>,
    segment_independent: bool,
    last_key: Option<(i64, Bytes)>,
    last_gop: i64,
    /// The last key frame is being repeated: others are of no use before the next key frame.
    repeating: bool,
}

#[derive(Debug)]
pub struct Hearing {
    pub track: Track,
    lane: Lane,
    sound: Sound,
    /// Decode time at which the next frame is due, in ticks.
    due: Option<i64>,
    /// When the first picture is shown, in ticks.
    picture_start: Option<i64>,
    segment_start: Option<i64>,
    /// Frames that the picture has not come up to.
    waiting: VecDeque<Arc<Entry>>,
    may_lag: i64,
    last_received: WallClock,
}

/// The first frames of the tracks that a run starts with.
pub struct Beginning {
    pub video: Option<(Track, Frame)>,
    pub audio: Option<(Track, Frame)>,
    /// Wall-clock time of the timeline's zero by the arrival of the frames.
    pub zero: WallClock,
    /// What stands in for a track that the stretch before had and this one has not: players wait for all that they play.
    pub stand_ins: StandIns,
}

/// The last key frame, with its track, and the last sound, with its own.
#[derive(Debug, Default)]
pub struct StandIns {
    pub video: Option<(Track, Frame)>,
    pub audio: Option<(Track, Frame)>,
}

impl Run {
    /// Starts at the first key frame, or, without a picture, at the first sound.
    pub fn start(mut beginning: Beginning, store: &mut Store) -> Self {
        let (no_picture, no_sound) = (beginning.video.is_none(), beginning.audio.is_none());
        if let Some((_, frame)) = beginning.video.as_ref().or(beginning.audio.as_ref()) {
            let at = frame.pts;
            let stand_in = |(track, frame): (Track, Frame)| (track, Frame { dts: at, pts: at, ..frame });
            beginning.video = beginning.video.take().or_else(|| beginning.stand_ins.video.take().map(stand_in));
            beginning.audio = beginning.audio.take().or_else(|| beginning.stand_ins.audio.take().map(stand_in));
        }
        let first = beginning.video.as_ref().or(beginning.audio.as_ref()).map_or(Timestamp::ZERO, |(_, frame)| frame.pts);
        let clock = store.start(first, beginning.zero);
        store.expects = Expected { video: beginning.video.is_some(), audio: beginning.audio.is_some() };
        let (msn, discontinuity) = (store.next_msn, store.discontinuity);
        let lane_start = |init, shift| LaneStart { init, msn, discontinuity, clock, shift };
        let video = beginning.video.as_ref().map(|(track, frame)| {
            store.video.continue_at(msn);
            let shift = (frame.pts.to_timescale(90_000) - frame.dts.to_timescale(90_000)).clamp(0, MAX_COMPOSITION_OFFSET);
            let rate = track.video().and_then(|info| info.frame_rate);
            let start = lane_start(store.video.init(track), shift);
            Picture {
                track: track.clone(),
                lane: Lane::new(MediaKind::Video, start, &store.config),
                held: None,
                last_duration: rate.map_or(3_000, |(frames, seconds)| 90_000 * i64::from(seconds) / i64::from(frames.max(1))),
                segment_start: None,
                segment_independent: true,
                last_key: None,
                last_gop: 0,
                repeating: false,
            }
        });
        let audio = beginning.audio.as_ref().map(|(track, frame)| {
            store.audio.continue_at(msn);
            let sound = Sound::new(track, &frame.payload);
            let start = lane_start(store.audio.init(sound.track()), 0);
            let lane = Lane::new(MediaKind::Audio, start, &store.config);
            Hearing {
                track: track.clone(),
                picture_start: beginning.video.as_ref().map(|(_, frame)| frame.pts.to_timescale(lane.init.timescale)),
                lane,
                sound,
                due: None,
                segment_start: None,
                waiting: VecDeque::new(),
                may_lag: SOUND_MAY_LAG,
                last_received: WallClock::default(),
            }
        });
        let mut run = Self { video, audio, cuts: VecDeque::new() };
        // Sound that starts clearly later than the picture begins with silence, so that the renditions have the same segments.
        if let (Some(video), Some(audio), Some((_, frame))) = (&beginning.video, &mut run.audio, &beginning.audio)
            && (no_sound || frame.pts.micros_since(video.1.pts) > SOUND_MAY_OVERHANG)
        {
            audio.due = audio.picture_start;
            audio.may_lag = if no_sound { SOUND_MAY_OVERHANG * 2 } else { SOUND_MAY_LAG };
        }
        if let Some((_, frame)) = beginning.video.as_ref().filter(|_| no_picture) {
            let received = beginning.zero.unix_micros().saturating_add(frame.pts.as_micros());
            run.picture(frame, WallClock::from_unix_micros(received), store);
            run.video.as_mut().into_iter().for_each(|video| video.repeating = true);
        }
        run
    }

    /// Takes a frame of a track that the run has.
    pub fn push(&mut self, entry: &Arc<Entry>, store: &mut Store) {
        match entry.frame.kind() {
            MediaKind::Video => {
                let longest = store.longest_frame().as_micros() as i64;
                self.repeat_picture(&entry.frame, longest, entry.arrived, store);
                self.picture(&entry.frame, entry.arrived, store);
                self.release(store);
                self.fill_sound(store);
            }
            MediaKind::Audio if self.video.is_some() => {
                if let Some(audio) = &mut self.audio {
                    audio.waiting.push_back(Arc::clone(entry));
                    if audio.waiting.len() > MAX_WAITING {
                        audio.waiting.pop_front();
                    }
                }
                // Once it is repeated, it need not wait as long again.
                let repeating = self.video.as_ref().is_some_and(|video| video.repeating);
                let may_lag = if repeating { REPEAT_EVERY } else { PICTURE_MAY_LAG };
                self.repeat_picture(&entry.frame, may_lag, entry.arrived, store);
                self.release(store);
            }
            MediaKind::Audio => self.sound(entry, store),
        }
    }

    /// A frame so long after the last one of its track that nothing can stand in for what is missing.
    pub fn is_broken_off_by(&self, frame: &Frame, store: &Store) -> bool {
        let longest = store.longest_frame().as_micros() as i64;
        let at = frame.dts.as_micros();
        match (&self.video, &self.audio) {
            (Some(video), audio) if frame.kind() == MediaKind::Video => {
                // As long as there is sound, the picture can be repeated.
                let sound = audio.as_ref().and_then(Hearing::latest);
                video.frontier().max(sound).is_some_and(|latest| at + video.shift_micros() - latest > longest)
            }
            (None, Some(audio)) => audio.due_micros().is_some_and(|due| at - due > longest),
            _ => false,
        }
    }

    fn picture(&mut self, frame: &Frame, received: WallClock, store: &mut Store) {
        let Some(video) = &mut self.video else { return };
        let dts = frame.dts.to_timescale(90_000);
        let late = video.held.as_ref().is_some_and(|(held, _)| dts <= held.dts);
        if late || (video.repeating && !frame.keyframe) || (video.held.is_none() && !frame.keyframe) {
            return;
        }
        video.repeating = false;
        if let Some((mut held, held_received)) = video.held.take() {
            let duration = (dts - held.dts).min(u32::MAX.into());
            video.last_duration = duration;
            held.duration = duration as u32;
            // Only now it is known how long the segment would become with it.
            if video.segment_start.is_some_and(|start| held.dts > start && dts - start > video.longest(store)) {
                video.cut(store);
                self.cuts.push_back(video.presentation(held.dts));
                video.begin_segment(held.dts, held.keyframe, store);
            }
            video.lane.add(held, held_received, &mut store.video);
        }
        if frame.keyframe
            && let Some((last, _)) = video.last_key
        {
            video.last_gop = dts - last;
        }
        if let Some(start) = video.segment_start {
            if video.must_cut(dts - start, frame.keyframe, store) {
                video.cut(store);
                self.cuts.push_back(video.presentation(dts));
            } else if frame.keyframe && video.lane.part_duration() * 2 >= store.config.part_target {
                video.lane.close_part(&mut store.video);
            }
        }
        if video.segment_start.is_none() {
            video.begin_segment(dts, frame.keyframe, store);
        }
        if frame.keyframe {
            video.last_key = Some((dts, frame.payload.clone()));
        }
        let composition_offset = (frame.pts.to_timescale(90_000) - dts).clamp(0, MAX_COMPOSITION_OFFSET) as i32;
        let sample = Sample { dts, composition_offset, duration: 0, keyframe: frame.keyframe, payload: frame.payload.clone() };
        video.held = Some((sample, received));
    }

    /// Shows the last key frame again until the picture is not more than `may_lag` microseconds behind `latest`.
    fn repeat_picture(&mut self, latest: &Frame, may_lag: i64, received: WallClock, store: &mut Store) {
        while let Some(video) = &mut self.video
            && let Some(frontier) = video.frontier()
            && latest.pts.micros_since(Timestamp::from_micros(frontier)) > may_lag
            && let Some((_, payload)) = &video.last_key
        {
            let dts = Timestamp::from_micros(frontier - video.shift_micros() + REPEAT_EVERY);
            let frame = Frame {
                track: video.track.id,
                codec: video.track.codec,
                dts,
                pts: dts.offset(video.shift_micros()),
                keyframe: true,
                payload: payload.clone(),
            };
            self.picture(&frame, received, store);
            match &mut self.video {
                Some(video) if video.frontier() > Some(frontier) => video.repeating = true,
                _ => return,
            }
        }
    }

    /// Lets go of the sound that the picture has come up to: no cut can lie before it any more.
    fn release(&mut self, store: &mut Store) {
        let Some(frontier) = self.video.as_ref().and_then(Picture::frontier) else { return };
        while let Some(audio) = &mut self.audio
            && audio.waiting.front().is_some_and(|entry| entry.frame.pts.as_micros() <= frontier)
            && let Some(entry) = audio.waiting.pop_front()
        {
            self.sound(&entry, store);
        }
    }

    /// Places a frame of sound by counting samples, as RTMP's milliseconds jitter. Where it is off by more than a frame and a
    /// half, silence is put in or the frame left out.
    fn sound(&mut self, entry: &Entry, store: &mut Store) {
        let Some(audio) = &mut self.audio else { return };
        let payload = &entry.frame.payload;
        let Some(duration) = audio.sound.duration(payload).filter(|&duration| duration > 0) else { return };
        let at = entry.frame.pts.to_timescale(audio.lane.init.timescale);
        // The first sound may be of no use, and this one be much later.
        let overhang = audio.lane.ticks(Duration::from_micros(SOUND_MAY_OVERHANG as u64));
        audio.due = audio.due.or(audio.picture_start.filter(|start| at - start > overhang));
        let (due, length) = (audio.due.unwrap_or(at), i64::from(duration));
        audio.sound.heard(payload);
        audio.last_received = entry.arrived;
        let off = at - due;
        if off < -length * 3 / 2 {
            let late = audio.micros(due - at);
            audio.may_lag = audio.may_lag.max((late + SOUND_MAY_LAG).min(SOUND_MAY_LAG_AT_MOST));
            return;
        }
        if off > length * 3 / 2 {
            self.silence_until(at - length / 2, store);
        }
        self.put_sound(at, payload.clone(), duration, entry.arrived, store);
    }

    /// Silence from where the sound is due up to about `until` ticks. Longer holes than a segment are discontinuities.
    fn silence_until(&mut self, until: i64, store: &mut Store) {
        while self.audio.as_ref().is_some_and(|audio| audio.due.is_some_and(|due| due < until)) && self.silence(store) {}
    }

    /// One frame of silence where the sound is due. False if there is none in this codec.
    fn silence(&mut self, store: &mut Store) -> bool {
        let Some(audio) = &self.audio else { return false };
        let ((payload, duration), received) = (audio.sound.silence(), audio.last_received);
        match audio.due.filter(|_| duration > 0) {
            Some(due) => self.put_sound(due, payload, duration, received, store),
            None => return false,
        }
        true
    }

    /// Appends sound where it is due, or at `at` when it is the first. Cuts before it where the picture was cut nearest to.
    fn put_sound(&mut self, at: i64, payload: Bytes, duration: u32, received: WallClock, store: &mut Store) {
        let Some(audio) = &mut self.audio else { return };
        let dts = audio.due.unwrap_or(at);
        let length = i64::from(duration);
        if self.video.is_some() {
            // A segment of the picture may be shorter than one frame of sound; there must be one in it all the same.
            if audio.segment_start.is_some() && self.cuts.front().is_some_and(|&cut| cut <= audio.micros(dts + length / 2)) {
                self.cuts.pop_front();
                audio.cut(store);
            }
        } else {
            let target = audio.lane.ticks(store.config.segment_target);
            if audio.segment_start.is_some_and(|start| dts - start >= target) {
                audio.cut(store);
                store.segment_completed();
            }
            if audio.segment_start.is_none() {
                store.periods.opened(audio.lane.msn, Timestamp::from_micros(audio.micros(dts)));
            }
        }
        audio.segment_start.get_or_insert(dts);
        let sample = Sample { dts, composition_offset: 0, duration, keyframe: true, payload };
        audio.lane.add(sample, received, &mut store.audio);
        audio.due = Some(dts + length);
    }

    /// Silence where the picture has gone far ahead of the sound.
    fn fill_sound(&mut self, store: &mut Store) {
        let (Some(frontier), Some(audio)) = (self.video.as_ref().and_then(Picture::frontier), &self.audio) else { return };
        if !audio.waiting.is_empty() || audio.due_micros().is_none_or(|due| frontier - due <= audio.may_lag) {
            return;
        }
        let until = Timestamp::from_micros(frontier - SOUND_MAY_OVERHANG).to_timescale(audio.lane.init.timescale);
        self.silence_until(until, store);
    }

    /// Makes parts of what lies there, because nothing more has come for a while.
    pub fn flush(&mut self, store: &mut Store) {
        if let Some(video) = &mut self.video {
            video.lane.close_part(&mut store.video);
        }
        if let Some(audio) = &mut self.audio {
            audio.lane.close_part(&mut store.audio);
        }
    }

    /// Ends all segments, at the same place in both renditions. Gives what can stand in for the tracks later.
    pub fn finish(mut self, store: &mut Store) -> StandIns {
        let mut picture_end = None;
        if let Some(video) = &mut self.video
            && let Some((mut held, received)) = video.held.take()
        {
            let room = video.longest(store) - (held.dts - video.segment_start.unwrap_or(held.dts));
            held.duration = video.last_duration.min(room).clamp(1, 90_000) as u32;
            picture_end = Some(video.presentation(held.dts + i64::from(held.duration)));
            video.lane.add(held, received, &mut store.video);
        }
        if let Some(end) = picture_end {
            while let Some(entry) = self.audio.as_mut().and_then(|audio| audio.waiting.pop_front()) {
                if entry.frame.pts.as_micros() < end + SOUND_MAY_OVERHANG {
                    self.sound(&entry, store);
                }
            }
            if let Some(audio) = &mut self.audio {
                audio.due = audio.due.or(audio.picture_start);
                let until = self.cuts.back().map_or(i64::MIN, |&cut| cut + 1).max(end - SOUND_MAY_OVERHANG);
                let until = Timestamp::from_micros(until).to_timescale(audio.lane.init.timescale);
                self.silence_until(until, store);
            }
            // Each segment needs some sound.
            while let Some(audio) = &self.audio
                && (audio.segment_start.is_none() || !self.cuts.is_empty())
                && self.silence(store)
            {}
        }
        if let Some(video) = &mut self.video {
            video.cut(store);
            store.next_msn = store.next_msn.max(video.lane.msn);
        }
        if let Some(audio) = &mut self.audio {
            audio.cut(store);
            if self.video.is_none() {
                store.segment_completed();
            }
            store.next_msn = store.next_msn.max(audio.lane.msn);
        }
        store.discontinuity += 1;
        let frame = |track: &Track, payload: Bytes| Frame {
            track: track.id,
            codec: track.codec,
            dts: Timestamp::ZERO,
            pts: Timestamp::ZERO,
            keyframe: true,
            payload,
        };
        let video = self.video.and_then(|video| {
            let frame = frame(&video.track, video.last_key?.1);
            Some((video.track, frame))
        });
        let audio = self.audio.map(|audio| {
            let frame = frame(&audio.track, audio.sound.last().clone());
            (audio.track, frame)
        });
        StandIns { video, audio }
    }
}

impl Picture {
    /// What the last frame was shown at, in microseconds: everything before it is settled.
    fn frontier(&self) -> Option<i64> {
        self.held.as_ref().map(|(held, _)| self.presentation(held.dts))
    }

    fn presentation(&self, dts: i64) -> i64 {
        Timestamp::from_timescale(dts + self.lane.shift, 90_000).as_micros()
    }

    fn shift_micros(&self) -> i64 {
        Timestamp::from_timescale(self.lane.shift, 90_000).as_micros()
    }

    fn longest(&self, store: &Store) -> i64 {
        self.lane.ticks(store.longest_segment())
    }

    /// A segment ends before a key frame at about the target duration, or before any key frame if it did not start on one or
    /// would be too long at the next; and before any frame when memory asks for it.
    fn must_cut(&self, elapsed: i64, keyframe: bool, store: &Store) -> bool {
        let target = self.lane.ticks(store.config.segment_target);
        let whole = elapsed >= target - target / 10 || elapsed + self.last_gop > self.longest(store);
        keyframe && (whole || !self.segment_independent) || store.video.open_bytes() > store.config.max_bytes as u64 / 4
    }

    fn begin_segment(&mut self, dts: i64, independent: bool, store: &mut Store) {
        self.segment_start = Some(dts);
        self.segment_independent = independent;
        store.periods.opened(self.lane.msn, Timestamp::from_micros(self.presentation(dts)));
    }

    fn cut(&mut self, store: &mut Store) {
        let target = store.target_duration();
        self.lane.close_segment(&mut store.video, &store.config, target);
        self.segment_start = None;
        store.segment_completed();
    }
}

impl Hearing {
    fn micros(&self, ticks: i64) -> i64 {
        Timestamp::from_timescale(ticks, self.lane.init.timescale).as_micros()
    }

    /// Up to where there is sound, in microseconds.
    fn latest(&self) -> Option<i64> {
        self.waiting.back().map(|entry| entry.frame.pts.as_micros()).max(self.due_micros())
    }

    fn due_micros(&self) -> Option<i64> {
        self.due.map(|due| self.micros(due))
    }

    fn cut(&mut self, store: &mut Store) {
        let target = store.target_duration();
        self.lane.close_segment(&mut store.audio, &store.config, target);
        self.segment_start = None;
    }
}
