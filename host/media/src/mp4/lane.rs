//! The samples of one track out of its sample tables, one after the other, from any place.

use super::boxes::invalid;
use super::movie::{Movie, MovieTrack, Tables};
use super::source::{Flow, Source};
use super::table::{ChunkWalk, Cursor, Runs, SizeWalk, SyncWalk, be32};

/// Composition offsets of so many entries tell how far decode times must be moved so that none is after its presentation.
const PROBED_OFFSETS: u64 = 1024;
/// No decode time in ticks is later, so that sums with offsets can't overflow.
pub(super) const MAX_TIME: i64 = 1 << 60;
/// How many sync samples a seek goes back at most to find one that is not shown too late. Reordering asks for one.
const MAX_STEPS_BACK: u32 = 8;

/// A sample as tables and fragments tell it, times in ticks of the track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RawSample {
    pub dts: i64,
    /// Presentation time minus decode time.
    pub composition: i64,
    pub duration: u32,
    pub size: u32,
    pub offset: u64,
    pub keyframe: bool,
}

/// Where a lane is on its way to a start time.
#[derive(Clone, Copy, Debug)]
enum Seek {
    Time,
    /// The last sync sample that is not after this one.
    Sync(u64),
    /// Whether this sync sample is shown in time.
    Shown(u64),
    There,
}

#[derive(Debug)]
pub(super) struct TableLane {
    /// The sample that comes next.
    next: u64,
    seek: Seek,
    steps_back: u32,
    times: Runs,
    compositions: Runs,
    chunks: ChunkWalk,
    sizes: SizeWalk,
    sync: SyncWalk,
}

impl TableLane {
    pub fn new() -> Self {
        Self {
            next: 0,
            seek: Seek::Time,
            steps_back: 0,
            times: Runs::timed(),
            compositions: Runs::default(),
            chunks: ChunkWalk::default(),
            sizes: SizeWalk::default(),
            sync: SyncWalk::default(),
        }
    }

    /// The next sample, or `None` behind the last one.
    pub fn next(&mut self, track: &MovieTrack, source: &mut Source) -> Flow<Option<RawSample>> {
        let tables = &track.tables;
        while self.next < tables.samples {
            let n = self.next;
            let (dts, duration) = self.time(n, tables, source)?;
            if track.edit.end.is_some_and(|end| dts >= end) {
                break;
            }
            let composition = self.composition(n, tables, source)?;
            let keyframe = match &tables.sync {
                Some(table) => self.sync.at(n, table, source)?,
                None => true,
            };
            let offset = self.chunks.at(n, tables, &mut self.sizes, source)?;
            let size = self.sizes.at(n, &tables.sizes, source)?;
            self.next += 1;
            if size > 0 {
                return Ok(Some(RawSample { dts, composition, duration, size, offset, keyframe }));
            }
        }
        self.next = tables.samples;
        Ok(None)
    }

    /// Goes to the last sync sample that is shown at `time` (ticks of the media) or before, and tells when it is shown; `None` if the
    /// track ends before `time`.
    pub fn seek(&mut self, time: i64, track: &MovieTrack, source: &mut Source) -> Flow<Option<i64>> {
        let tables = &track.tables;
        if time > 0 {
            self.cursors().into_iter().for_each(Cursor::hurry);
        }
        let shown = loop {
            match self.seek {
                Seek::Time => {
                    let decode = u64::try_from(time).unwrap_or(0);
                    let found = self.times.find(decode, &tables.times, &tables.time_marks, source)?;
                    let last = tables.samples.saturating_sub(1);
                    // Reordered pictures are shown after the last decode time too.
                    if track.edit.end.is_none_or(|end| time < end) && (found.is_some_and(|n| n <= last) || track.shows(time)) {
                        self.seek = Seek::Sync(found.map_or(last, |n| n.min(last)));
                    } else {
                        self.next = tables.samples;
                        break None;
                    }
                }
                Seek::Sync(n) => {
                    let sync = match &tables.sync {
                        Some(table) => self.sync.before(n, table, source)?,
                        None => n,
                    };
                    self.seek = Seek::Shown(sync);
                }
                Seek::Shown(n) => {
                    let (dts, _) = self.time(n, tables, source)?;
                    let shown = dts + self.composition(n, tables, source)?;
                    if shown > time && n > 0 && self.steps_back < MAX_STEPS_BACK {
                        self.steps_back += 1;
                        self.seek = Seek::Sync(n - 1);
                        continue;
                    }
                    self.next = n;
                    self.seek = Seek::There;
                }
                Seek::There => {
                    let (dts, _) = self.time(self.next, tables, source)?;
                    let shown = dts + self.composition(self.next, tables, source)?;
                    // Goes the way along the chunks while large stretches are read.
                    self.chunks.at(self.next, tables, &mut self.sizes, source)?;
                    break Some(shown);
                }
            }
        };
        self.cursors().into_iter().for_each(Cursor::settle);
        Ok(shown)
    }

    /// How far decode times must be moved back so that none is after its presentation time, judged by the first samples.
    pub fn shift(&mut self, tables: &Tables, source: &mut Source) -> Flow<i64> {
        let Some(table) = &tables.compositions else { return Ok(0) };
        let count = table.count.min(PROBED_OFFSETS);
        let entries = self.compositions.cursor.entries(table, 0, count, source)?;
        Ok(shift(entries.chunks_exact(8).map(|entry| be32(entry, 4) as i32)))
    }

    /// Whether all samples in the tables of that track were given.
    pub fn is_behind(&self, movie: &Movie, track: usize) -> bool {
        movie.tracks.get(track).is_none_or(|track| self.next >= track.tables.samples)
    }

    pub fn held(&self) -> usize {
        let Self { times, compositions, chunks, sizes, sync, .. } = self;
        [&times.cursor, &compositions.cursor, &chunks.cursor, &chunks.offsets, &sizes.cursor, &sync.cursor]
            .iter()
            .map(|cursor| cursor.held())
            .sum()
    }

    fn cursors(&mut self) -> [&mut Cursor; 4] {
        [&mut self.times.cursor, &mut self.compositions.cursor, &mut self.chunks.cursor, &mut self.sizes.cursor]
    }

    /// Decode time and duration of sample `n`.
    fn time(&mut self, n: u64, tables: &Tables, source: &mut Source) -> Flow<(i64, u32)> {
        let (duration, time) = self.times.at(n, &tables.times, &tables.time_marks, source)?;
        match i64::try_from(time) {
            Ok(time @ ..=MAX_TIME) => Ok((time, duration)),
            _ => {
                let problem = format!("the decode time of sample {n} is {time}, allowed is at most {MAX_TIME}");
                Err(invalid(&*tables.times.path, tables.times.start, problem).into())
            }
        }
    }

    fn composition(&mut self, n: u64, tables: &Tables, source: &mut Source) -> Flow<i64> {
        let Some(table) = &tables.compositions else { return Ok(0) };
        let (value, _) = self.compositions.at(n, table, &tables.composition_marks, source)?;
        // Version 0 is unsigned by the standard, and negative in files all the same.
        Ok(if self.compositions.covers(n) { i64::from(value as i32) } else { 0 })
    }
}

/// The distance by which the most negative of the offsets is below zero.
pub(super) fn shift(offsets: impl Iterator<Item = i32>) -> i64 {
    offsets.min().map_or(0, |least| -i64::from(least).min(0))
}
