//! Sample tables that stay in the file: a [`Cursor`] holds one small stretch of a table, and [`Marks`] remember where a walk along a
//! run-length table has been.

use std::sync::Arc;

use parking_lot::Mutex;

use super::Mp4Error;
use super::boxes::invalid;
use super::movie::{Sizes, Tables};
use super::source::{Flow, MAX_READ, Source, Window};

/// Bytes of a table that are read at once while samples are played.
pub(super) const AHEAD: u64 = 16 << 10;
/// A mark for each so many entries at first.
const MARK_EVERY: u64 = 4096;
/// Marks of one table. A longer table has fewer for each stretch.
const MAX_MARKS: u64 = 2048;

/// A table of entries of the same size. Its box has been checked to hold them.
#[derive(Clone, Debug)]
pub(super) struct Table {
    pub path: Arc<str>,
    /// Offset of the first entry in the file.
    pub start: u64,
    pub count: u64,
    /// Bytes of an entry.
    pub width: u64,
}

impl Table {
    /// Offset of entry `index` in the file.
    pub const fn offset(&self, index: u64) -> u64 {
        self.start.saturating_add(index.saturating_mul(self.width))
    }

    pub fn invalid(&self, index: u64, problem: impl Into<String>) -> Mp4Error {
        invalid(&*self.path, self.offset(index), problem)
    }
}

/// Reads entries of one table. What it holds is one stretch of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Cursor {
    window: Window,
    /// Goes far along the table: each read is larger than the one before.
    far: Option<u64>,
}

impl Cursor {
    /// Starts with a stretch that is at hand anyway.
    pub const fn with(window: Window) -> Self {
        Self { window, far: None }
    }

    /// `count` entries from `index` on. They must lie within [`MAX_READ`].
    pub fn entries(&mut self, table: &Table, index: u64, count: u64, source: &mut Source) -> Flow<&[u8]> {
        let (at, length) = (table.offset(index), count.saturating_mul(table.width));
        if index.saturating_add(count) > table.count || length > MAX_READ {
            return Err(table.invalid(index, format!("entry {index} lies behind its {} entries", table.count)).into());
        }
        if self.window.get(at, length).is_none() {
            self.window = Window::default();
            self.window = source.window(at, length, self.far.unwrap_or(AHEAD))?;
            self.far = self.far.map(|ahead| (ahead * 4).min(MAX_READ));
        }
        Ok(self.window.get(at, length).unwrap_or_default())
    }

    fn u32(&mut self, table: &Table, index: u64, source: &mut Source) -> Flow<u32> {
        Ok(be32(self.entries(table, index, 1, source)?, 0))
    }

    /// Is about to go far along the table.
    pub fn hurry(&mut self) {
        self.far.get_or_insert(AHEAD);
    }

    /// Lets go of the large stretch that a far way needed.
    pub fn settle(&mut self) {
        self.far = None;
        if self.window.held() as u64 > AHEAD {
            self.window = Window::default();
        }
    }

    pub fn held(&self) -> usize {
        self.window.held()
    }
}

/// The big-endian number at `at`, as far as the bytes go.
pub(super) fn be32(bytes: &[u8], at: usize) -> u32 {
    bytes.iter().skip(at).take(4).fold(0, |value, &byte| value << 8 | u32::from(byte))
}

/// The place before an entry of a run-length table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mark {
    pub entry: u64,
    /// Number of the sample that the entry begins with.
    pub sample: u64,
    /// Its decode time in ticks, in the table that tells it.
    pub time: u64,
}

/// Places in a run-length table, shared by all that play the file, so that only the first one goes the whole way.
#[derive(Debug)]
pub(super) struct Marks {
    every: u64,
    list: Mutex<Vec<Mark>>,
}

impl Marks {
    pub fn new(entries: u64) -> Self {
        Self { every: MARK_EVERY.max(entries.div_ceil(MAX_MARKS)), list: Mutex::default() }
    }

    fn note(&self, mark: Mark) {
        if !mark.entry.is_multiple_of(self.every) {
            return;
        }
        let mut list = self.list.lock();
        if list.last().is_none_or(|last| last.entry < mark.entry) {
            list.push(mark);
        }
    }

    /// The last mark of those, from the first on, that are `early`.
    fn last(&self, early: impl Fn(&Mark) -> bool) -> Mark {
        let list = self.list.lock();
        let behind = list.partition_point(early);
        behind.checked_sub(1).and_then(|index| list.get(index)).copied().unwrap_or_default()
    }

    pub fn held(&self) -> usize {
        self.list.lock().capacity() * size_of::<Mark>()
    }
}

/// A walk along stts or ctts: entries of a sample count and a value.
#[derive(Clone, Debug, Default)]
pub(super) struct Runs {
    pub cursor: Cursor,
    /// The values are durations, and their sums are times.
    timed: bool,
    /// The entry that holds: its place, and what it says.
    here: Mark,
    value: u32,
    /// The entry after it.
    next: Mark,
}

impl Runs {
    /// A walk along durations.
    pub fn timed() -> Self {
        Self { timed: true, ..Self::default() }
    }

    /// The value for sample `n`, and its time as the sum of the values before it. Samples behind the table have the last value.
    pub fn at(&mut self, n: u64, table: &Table, marks: &Marks, source: &mut Source) -> Flow<(u32, u64)> {
        if n < self.here.sample || self.cursor.far.is_some() {
            self.turn(marks.last(|mark| mark.sample <= n), |here| here.sample <= n);
        }
        while n >= self.next.sample && self.load(table, marks, source)? {}
        let time = self.sum(n - self.here.sample, self.here.time);
        let time = time.ok_or_else(|| table.invalid(self.here.entry, format!("the decode time of sample {n} overflows")))?;
        Ok((self.value, time))
    }

    /// Whether the table went as far as sample `n`, for which it was asked last.
    pub const fn covers(&self, n: u64) -> bool {
        n < self.next.sample
    }

    /// The last sample whose time is not after `time`, or `None` when the table ends before.
    pub fn find(&mut self, time: u64, table: &Table, marks: &Marks, source: &mut Source) -> Flow<Option<u64>> {
        self.turn(marks.last(|mark| mark.time <= time), |here| here.time <= time);
        while time >= self.next.time {
            if !self.load(table, marks, source)? {
                return Ok(None);
            }
        }
        Ok(Some(self.here.sample + (time - self.here.time) / u64::from(self.value.max(1))))
    }

    /// Goes to `mark`, unless this place is `early` too and further on.
    fn turn(&mut self, mark: Mark, early: impl Fn(&Mark) -> bool) {
        if mark.entry > self.next.entry || !early(&self.here) {
            (self.here, self.next, self.value) = (mark, mark, 0);
        }
    }

    fn load(&mut self, table: &Table, marks: &Marks, source: &mut Source) -> Flow<bool> {
        let index = self.next.entry;
        if index >= table.count {
            return Ok(false);
        }
        let entry = self.cursor.entries(table, index, 1, source)?;
        let (count, value) = (u64::from(be32(entry, 0)), be32(entry, 4));
        (self.here, self.value) = (self.next, value);
        let time = self.sum(count, self.here.time);
        let time = time.ok_or_else(|| table.invalid(index, "the sum of the durations overflows"))?;
        self.next = Mark { entry: index + 1, sample: self.here.sample.saturating_add(count), time };
        marks.note(self.next);
        Ok(true)
    }

    /// `time` after `count` more samples of the present value.
    fn sum(&self, count: u64, time: u64) -> Option<u64> {
        if self.timed { count.checked_mul(self.value.into())?.checked_add(time) } else { Some(0) }
    }
}

/// Bytes of each sample (stsz, stz2).
#[derive(Clone, Debug, Default)]
pub(super) struct SizeWalk {
    pub cursor: Cursor,
}

impl SizeWalk {
    pub fn at(&mut self, n: u64, sizes: &Sizes, source: &mut Source) -> Flow<u32> {
        match sizes {
            Sizes::Constant(size) => Ok(*size),
            Sizes::Each(table) => {
                let entry = self.cursor.entries(table, n, 1, source)?;
                Ok(entry.iter().fold(0, |size, &byte| size << 8 | u32::from(byte)))
            }
            Sizes::Nibbles(table) => {
                let pair = self.cursor.entries(table, n / 2, 1, source)?.first().copied().unwrap_or(0);
                Ok(u32::from(if n.is_multiple_of(2) { pair >> 4 } else { pair & 0xf }))
            }
        }
    }
}

/// A walk along stsc and stco or co64: where each sample lies.
#[derive(Clone, Debug, Default)]
pub(super) struct ChunkWalk {
    pub cursor: Cursor,
    pub offsets: Cursor,
    /// The run of chunks that holds: its first sample, its first chunk from 0, how many there are, and samples in each.
    run: Mark,
    first: u64,
    chunks: u64,
    per_chunk: u64,
    next: Mark,
    /// The sample at `position`, and how many there are from it to the end of its chunk.
    sample: u64,
    left: u64,
    position: u64,
}

impl ChunkWalk {
    /// Offset of sample `n` in the file.
    pub fn at(&mut self, n: u64, tables: &Tables, sizes: &mut SizeWalk, source: &mut Source) -> Flow<u64> {
        if n < self.sample || n - self.sample >= self.left {
            self.find_run(n, tables, source)?;
            let into_run = n - self.run.sample;
            let chunk = self.first + into_run / self.per_chunk.max(1);
            let entry = self.offsets.entries(&tables.offsets, chunk, 1, source)?;
            let position = entry.iter().fold(0, |position, &byte| position << 8 | u64::from(byte));
            let into_chunk = into_run % self.per_chunk.max(1);
            (self.sample, self.left, self.position) = (n - into_chunk, self.per_chunk, position);
        }
        if let Sizes::Constant(size) = tables.sizes {
            self.pass((n - self.sample).saturating_mul(size.into()), n - self.sample, tables)?;
        }
        while self.sample < n {
            let size = sizes.at(self.sample, &tables.sizes, source)?;
            self.pass(size.into(), 1, tables)?;
        }
        Ok(self.position)
    }

    fn pass(&mut self, bytes: u64, samples: u64, tables: &Tables) -> Result<(), Mp4Error> {
        let position = self.position.checked_add(bytes);
        self.position = position.ok_or_else(|| {
            let problem = format!("sample {} would lie behind byte {}", self.sample, u64::MAX);
            tables.offsets.invalid(self.first, problem)
        })?;
        self.sample += samples;
        self.left = self.left.saturating_sub(samples);
        Ok(())
    }

    fn find_run(&mut self, n: u64, tables: &Tables, source: &mut Source) -> Flow<()> {
        if n < self.run.sample || self.cursor.far.is_some() {
            let mark = tables.chunk_marks.last(|mark| mark.sample <= n);
            if n < self.run.sample || mark.entry > self.next.entry {
                (self.run, self.next, self.chunks) = (mark, mark, 0);
            }
        }
        while n >= self.next.sample {
            self.load(n, tables, source)?;
        }
        Ok(())
    }

    fn load(&mut self, n: u64, tables: &Tables, source: &mut Source) -> Flow<()> {
        let (table, index, all) = (&tables.chunks, self.next.entry, tables.offsets.count);
        if index >= table.count {
            let problem = format!("its chunks hold {} samples, and sample {n} is none of them", self.next.sample);
            return Err(table.invalid(index, problem).into());
        }
        let pair = self.cursor.entries(table, index, (table.count - index).min(2), source)?;
        let (first, per_chunk, entry) = (u64::from(be32(pair, 0)), u64::from(be32(pair, 4)), u64::from(be32(pair, 8)));
        let end = if index + 1 < table.count { u64::from(be32(pair, 12)) } else { all + 1 };
        if first >= end && first <= all || first == 0 || index == 0 && first != 1 {
            let problem = format!("its first_chunk is {first}, allowed are rising numbers from 1");
            return Err(table.invalid(index, problem).into());
        }
        if per_chunk == 0 {
            return Err(table.invalid(index, "its samples_per_chunk is 0, allowed is a number from 1").into());
        }
        let playable = entry.checked_sub(1).and_then(|entry| tables.entries.get(usize::try_from(entry).ok()?));
        if playable != Some(&true) {
            let problem = format!(
                "from sample {} on, the track has sample entry {entry}, which is missing, can't be played, or has another decoder configuration; encode the file again",
                self.next.sample
            );
            return Err(table.invalid(index, problem).into());
        }
        let chunks = end.min(all + 1).saturating_sub(first);
        self.run = self.next;
        (self.first, self.chunks, self.per_chunk) = (first - 1, chunks, per_chunk);
        self.next = Mark { entry: index + 1, sample: self.run.sample.saturating_add(chunks * per_chunk), time: 0 };
        tables.chunk_marks.note(self.next);
        Ok(())
    }
}

/// A walk along stss: sample numbers from 1 that rise.
#[derive(Clone, Debug, Default)]
pub(super) struct SyncWalk {
    pub cursor: Cursor,
    /// The first entry that may name the next sample.
    index: u64,
    search: Option<Bisect>,
}

impl SyncWalk {
    /// Whether sample `n` is a sync sample; asked for rising numbers.
    pub fn at(&mut self, n: u64, table: &Table, source: &mut Source) -> Flow<bool> {
        while self.index < table.count {
            let sample = u64::from(self.cursor.u32(table, self.index, source)?);
            if sample > n {
                return Ok(sample == n + 1);
            }
            self.index += 1;
        }
        Ok(false)
    }

    /// The last sync sample that is not after `n`; the first sample if there is none.
    pub fn before(&mut self, n: u64, table: &Table, source: &mut Source) -> Flow<u64> {
        // Numbers that rise from 1 leave no more room than this.
        let search = self.search.get_or_insert(Bisect { low: 0, high: table.count.min(n + 1) });
        let behind = search.run(|index| Ok(u64::from(self.cursor.u32(table, index, source)?) <= n + 1))?;
        let Some(index) = behind.checked_sub(1) else {
            (self.index, self.search) = (0, None);
            return Ok(0);
        };
        let sample = self.cursor.u32(table, index, source)?;
        (self.index, self.search) = (index, None);
        Ok(u64::from(sample).saturating_sub(1).min(n))
    }
}

/// A binary search that goes on where it stopped for bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bisect {
    pub low: u64,
    pub high: u64,
}

impl Bisect {
    /// The first index that is not `early`, if those before it all are.
    pub fn run(&mut self, mut early: impl FnMut(u64) -> Flow<bool>) -> Flow<u64> {
        while self.low < self.high {
            let middle = self.low + (self.high - self.low) / 2;
            if early(middle)? {
                self.low = middle + 1;
            } else {
                self.high = middle;
            }
        }
        Ok(self.low)
    }
}
