//! The samples of the chosen tracks in the order in which they are decoded, out of sample tables and fragments alike.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use super::Mp4Error;
use super::fragment::{Traf, Walker};
use super::lane::{RawSample, TableLane};
use super::movie::{Movie, MovieTrack};
use super::seek::FragmentSeek;
use super::source::{Flow, Source, Stop};
use crate::track::{MediaKind, TrackId};

/// Fragments that wait for their turn, of all tracks. A track with nothing in so many fragments is no longer waited for.
const MAX_QUEUED: usize = 64;
/// Sound before the start that decoders need to get going: AAC primes with up to 2112 samples, Opus with 80 ms. In microseconds.
const PRIMING: i64 = 100_000;

/// A frame and where it lies in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    pub track: TrackId,
    /// Decode time on the timeline of the presentation in microseconds, never after `pts`. Below zero for what is decoded before the
    /// first picture is shown. Rounded from ticks for each sample, so that it does not drift.
    pub dts: i64,
    /// Presentation time in microseconds, edit list applied.
    pub pts: i64,
    /// In microseconds.
    pub duration: i64,
    pub keyframe: bool,
    /// Its bytes in the file; never empty, always in the file.
    pub range: Range<u64>,
}

/// What [`Samples::step`] gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// This range of the file is needed: read it, [`Samples::supply`] it, and step again.
    Want(Range<u64>),
    Sample(Sample),
    /// All samples were given.
    End,
}

/// Walks through the samples of a movie. Holds a few small stretches of the sample tables, whatever the size of the file.
///
/// Samples come in the order of their decode time over all tracks, those of the same time in the order of the file. In a fragmented
/// file whose tracks lie far apart that order holds as far as 64 fragments.
#[derive(Debug)]
pub struct Samples {
    movie: Arc<Movie>,
    source: Source,
    start: i64,
    stage: Stage,
    lanes: Vec<Lane>,
    walker: Option<Walker>,
}

#[derive(Debug)]
enum Stage {
    /// Looks for the sync sample in the tables of the lane with this number.
    Tables {
        lane: usize,
        shown: Option<i64>,
    },
    Fragments(Box<FragmentSeek>),
    Playing,
}

/// One track on its way.
#[derive(Debug)]
pub(super) struct Lane {
    pub track: usize,
    table: TableLane,
    queue: VecDeque<Traf>,
    head: Option<Sample>,
    shift: Option<i64>,
    /// Decode time in ticks at which the next fragment begins, unless it says so itself.
    time: i64,
    /// Pictures that are decoded and sound that is over before this, in ticks, are passed over: the start lies behind them.
    pub from: i64,
}

impl Samples {
    /// The samples of `tracks` from `start` on, in microseconds of the presentation: of a picture from the sync sample at or before it,
    /// of the sound from what is heard with that picture. At 0 and below, everything that the edit list shows is there, with the
    /// priming of the sound before it.
    pub fn new(movie: Arc<Movie>, tracks: &[TrackId], start: i64) -> Self {
        let mut indices: Vec<_> = tracks.iter().filter_map(|&id| movie.index(id)).collect();
        indices.sort_unstable_by_key(|&index| movie.tracks.get(index).map(|track| (track.kind() == MediaKind::Audio, index)));
        indices.dedup();
        let lanes = indices.into_iter().map(Lane::new).collect();
        let source = Source::new(movie.size, movie.kept.clone(), movie.most);
        Self { source, start, stage: Stage::Tables { lane: 0, shown: None }, lanes, walker: None, movie }
    }

    /// The next sample, or what must be read first. After an error it gives the same error again.
    pub fn step(&mut self) -> Result<Next, Mp4Error> {
        match self.advance() {
            Ok(Some(sample)) => Ok(Next::Sample(sample)),
            Ok(None) => Ok(Next::End),
            Err(Stop::Want(range)) => Ok(Next::Want(range)),
            Err(Stop::Broken(error)) => Err(error),
        }
    }

    /// Takes the bytes of the range that was wanted; fewer mean that the file ends there.
    pub fn supply(&mut self, offset: u64, bytes: impl AsRef<[u8]>) -> Result<(), Mp4Error> {
        self.source.supply(offset, bytes.as_ref())
    }

    /// At most so many bytes of memory are held besides the [`Movie`].
    pub fn held(&self) -> usize {
        let lanes = self.lanes.iter().map(|lane| lane.table.held() + lane.queue.iter().map(Traf::held).sum::<usize>());
        self.source.held() + lanes.sum::<usize>() + self.lanes.len() * size_of::<Lane>()
    }

    fn advance(&mut self) -> Flow<Option<Sample>> {
        loop {
            match &mut self.stage {
                Stage::Tables { lane, shown } => {
                    let Some(this) = self.lanes.get_mut(*lane) else {
                        self.enter_fragments();
                        continue;
                    };
                    let Some(track) = self.movie.tracks.get(this.track) else { return Ok(None) };
                    let found = this.locate(track, self.start, *shown, &mut self.source)?;
                    if track.kind() == MediaKind::Video {
                        *shown = match (*shown, found) {
                            (Some(a), Some(b)) => Some(a.min(b)),
                            (a, b) => a.or(b),
                        };
                    }
                    *lane += 1;
                }
                Stage::Fragments(seek) => {
                    let at = seek.run(&self.movie, &mut self.lanes, &mut self.source)?;
                    self.walker = Some(Walker::new(at));
                    self.stage = Stage::Playing;
                }
                Stage::Playing => return self.play(),
            }
        }
    }

    /// The tables are in place. Fragments are looked at only if the start lies behind all samples in the tables.
    fn enter_fragments(&mut self) {
        self.source.settle();
        self.stage = Stage::Playing;
        let Some(fragments) = &self.movie.fragments else { return };
        let behind = self.lanes.iter().all(|lane| lane.table.is_behind(&self.movie, lane.track));
        if behind && self.start > 0 {
            self.stage = Stage::Fragments(Box::new(FragmentSeek::new(fragments, self.start)));
        } else {
            self.walker = Some(Walker::new(fragments.at));
        }
    }

    fn play(&mut self) -> Flow<Option<Sample>> {
        for lane in &mut self.lanes {
            lane.fill(&self.movie, &mut self.source)?;
        }
        while let Some(walker) = &mut self.walker {
            let waiting = self.lanes.iter().any(|lane| lane.head.is_none());
            let queued: usize = self.lanes.iter().map(|lane| lane.queue.len()).sum();
            if !waiting || queued >= MAX_QUEUED && self.lanes.iter().any(|lane| lane.head.is_some()) {
                break;
            }
            let Some(moof) = walker.next(&self.movie, &mut self.source)? else {
                self.walker = None;
                break;
            };
            for traf in moof.trafs {
                if let Some(lane) = self.lanes.iter_mut().find(|lane| lane.track == traf.track) {
                    lane.queue.push_back(traf);
                }
            }
            for lane in &mut self.lanes {
                lane.fill(&self.movie, &mut self.source)?;
            }
        }
        let first = self.lanes.iter_mut().filter(|lane| lane.head.is_some());
        let first = first.min_by_key(|lane| lane.head.as_ref().map(|sample| (sample.dts, sample.range.start)));
        let Some(head) = first.map(|lane| &mut lane.head) else { return Ok(None) };
        if let Some(sample) = head.as_ref().filter(|sample| sample.range.end > self.source.size()) {
            return Err(Mp4Error::Truncated { size: self.source.size(), needed: sample.range.end }.into());
        }
        Ok(head.take())
    }
}

impl Lane {
    fn new(track: usize) -> Self {
        let (table, queue) = (TableLane::new(), VecDeque::new());
        Self { track, table, queue, head: None, shift: None, time: 0, from: i64::MIN }
    }

    /// Goes to the sample in the tables that a start at `start` needs, and tells in microseconds when it is shown. `picture` is when
    /// the first picture is shown, where there is one.
    fn locate(&mut self, track: &MovieTrack, start: i64, picture: Option<i64>, source: &mut Source) -> Flow<Option<i64>> {
        if track.tables.samples == 0 {
            return Ok(None);
        }
        let target = track.ticks(target(track.kind(), start, picture));
        let shown = self.table.seek(target, track, source)?;
        Ok(shown.map(|ticks| track.micros(ticks)))
    }

    /// Sees to it that the next sample is known, as far as the tables and the fragments at hand go.
    fn fill(&mut self, movie: &Movie, source: &mut Source) -> Flow<()> {
        let Some(track) = movie.tracks.get(self.track) else { return Ok(()) };
        while self.head.is_none() {
            let raw = if self.table.is_behind(movie, self.track) { None } else { self.next_of_tables(track, source)? };
            let raw = match raw {
                Some(raw) => Some(raw),
                None => self.next_of_fragments(source)?,
            };
            let Some(raw) = raw else { break };
            self.time = raw.dts.saturating_add(raw.duration.into());
            let early = match track.kind() {
                MediaKind::Video => raw.dts < self.from,
                // What is still heard at that moment is played.
                MediaKind::Audio => self.time <= self.from,
            };
            if !early && track.edit.end.is_none_or(|end| raw.dts < end) {
                self.head = Some(track.sample(raw, self.shift.unwrap_or(0)));
            }
        }
        Ok(())
    }

    fn next_of_tables(&mut self, track: &MovieTrack, source: &mut Source) -> Flow<Option<RawSample>> {
        if self.shift.is_none() {
            self.shift = Some(match track.shift {
                Some(shift) => shift,
                None => self.table.shift(&track.tables, source)?,
            });
        }
        self.table.next(track, source)
    }

    fn next_of_fragments(&mut self, source: &mut Source) -> Flow<Option<RawSample>> {
        while let Some(traf) = self.queue.front_mut() {
            traf.time.get_or_insert(self.time);
            if self.shift.is_none() {
                self.shift = Some(traf.shift(source)?);
            }
            if traf.peek(source)?.is_some() {
                return Ok(traf.take());
            }
            // Samples without bytes may have moved the time on.
            self.time = traf.time.unwrap_or(self.time);
            self.queue.pop_front();
        }
        Ok(None)
    }
}

/// The presentation time in microseconds that a track must be played from, when the movie is played from `start`.
pub(super) fn target(kind: MediaKind, start: i64, picture: Option<i64>) -> i64 {
    let target = picture.map_or(start, |picture| start.min(picture));
    if kind == MediaKind::Audio && target <= 0 { target.saturating_sub(PRIMING) } else { target }
}

impl MovieTrack {
    /// Microseconds of the presentation at `ticks` of the media.
    pub(super) fn micros(&self, ticks: i64) -> i64 {
        let scale = i128::from(self.timescale.max(1));
        let scaled = (i128::from(ticks) - i128::from(self.edit.media_time)) * 1_000_000 + scale / 2;
        let micros = scaled.div_euclid(scale) + i128::from(self.edit.delay);
        narrow(micros)
    }

    /// Ticks of the media at `micros` of the presentation, rounded down.
    pub(super) fn ticks(&self, micros: i64) -> i64 {
        let scaled = (i128::from(micros) - i128::from(self.edit.delay)) * i128::from(self.timescale.max(1));
        let ticks = scaled.div_euclid(1_000_000) + i128::from(self.edit.media_time);
        narrow(ticks)
    }

    /// Whether the header says that the samples in the tables are shown beyond `ticks` of the media.
    pub(super) fn shows(&self, ticks: i64) -> bool {
        self.defaults.is_none() && self.duration.is_some_and(|duration| self.micros(ticks) < duration)
    }

    fn sample(&self, raw: RawSample, shift: i64) -> Sample {
        let pts = self.micros(raw.dts + raw.composition);
        let (start, end) = (self.micros(raw.dts), self.micros(raw.dts.saturating_add(raw.duration.into())));
        Sample {
            track: self.track.id,
            // The shift was judged by the first samples: a later one may be shown earlier still.
            dts: self.micros(raw.dts - shift).min(pts),
            pts,
            duration: end.saturating_sub(start),
            keyframe: raw.keyframe,
            range: raw.offset..raw.offset.saturating_add(raw.size.into()),
        }
    }
}

fn narrow(value: i128) -> i64 {
    value.clamp(i64::MIN.into(), i64::MAX.into()) as i64
}
