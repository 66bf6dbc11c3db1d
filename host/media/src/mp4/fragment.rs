//! Movie fragments (ISO/IEC 14496-12, section 8.8): finds the `moof` boxes of a file one after the other and reads the runs in them.

use super::Mp4Error;
use super::boxes::{Fields, Header, content, header, invalid};
use super::lane::{MAX_TIME, RawSample, shift};
use super::movie::Movie;
use super::source::{Flow, Source, Window};
use super::table::{AHEAD, Cursor, Table, be32};

/// Bytes that are read to see a box of the file: most `moof` boxes of a second or two fit in.
const PEEK: u64 = 4 << 10;
/// Track fragments that one `moof` may have.
const MAX_TRAFS: usize = 256;
/// Composition offsets of so many samples are looked at for the most negative one.
const PROBED_OFFSETS: u64 = 512;

/// What holds for the samples of a track where a fragment says nothing (trex, section 8.8.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Defaults {
    pub entry: u32,
    pub duration: u32,
    pub size: u32,
    pub flags: u32,
}

impl Defaults {
    /// Reads a trex box: the number of its track, and what it says.
    pub fn read(path: &str, offset: u64, content: &[u8]) -> Result<(u32, Self), Mp4Error> {
        let mut fields = Fields::new(path, offset, content);
        fields.version()?;
        let number = fields.u32()?;
        Ok((number, Self { entry: fields.u32()?, duration: fields.u32()?, size: fields.u32()?, flags: fields.u32()? }))
    }
}

/// One `moof` that was read: its track fragments, without those of tracks that are not known.
#[derive(Debug)]
pub(super) struct Moof {
    pub start: u64,
    pub trafs: Vec<Traf>,
}

/// Goes from `moof` to `moof`, always forward.
#[derive(Debug)]
pub(super) struct Walker {
    at: u64,
    reading: Option<Reading>,
}

/// A `moof` that is being read.
#[derive(Debug)]
struct Reading {
    moof: Moof,
    path: String,
    at: u64,
    end: u64,
    /// Track fragments so far, the ones that are passed over too.
    count: usize,
    traf: Option<(Header, Option<Traf>)>,
}

impl Walker {
    pub const fn new(at: u64) -> Self {
        Self { at, reading: None }
    }

    /// The next `moof`, or `None` at the end of the file.
    pub fn next(&mut self, movie: &Movie, source: &mut Source) -> Flow<Option<Moof>> {
        loop {
            let Some(reading) = &mut self.reading else {
                let Some(found) = header(source, self.at, source.size(), PEEK, "")? else { return Ok(None) };
                if &found.kind.0 != b"moof" {
                    // A file that is cut off ends in its last mdat: what lies before the cut is played.
                    self.at = found.end;
                    continue;
                }
                if found.end > source.size() {
                    return Err(Mp4Error::Truncated { size: source.size(), needed: found.end }.into());
                }
                let moof = Moof { start: found.start, trafs: Vec::new() };
                let path = format!("moof@{}", found.start);
                self.reading = Some(Reading { moof, path, at: found.content, end: found.end, count: 0, traf: None });
                continue;
            };
            if reading.step(movie, source)? {
                self.at = reading.end;
                return Ok(self.reading.take().map(|reading| reading.moof));
            }
        }
    }
}

impl Reading {
    /// Reads one box; whether the `moof` is at its end.
    fn step(&mut self, movie: &Movie, source: &mut Source) -> Flow<bool> {
        let Some((inside, traf)) = &mut self.traf else {
            let Some(found) = header(source, self.at, self.end, PEEK, &self.path)? else { return Ok(true) };
            if &found.kind.0 == b"traf" {
                self.at = found.content;
                self.traf = Some((found, None));
            } else {
                self.at = found.end;
            }
            return Ok(false);
        };
        let path = format!("{}/traf[{}]", self.path, self.count);
        let found = header(source, self.at, inside.end, PEEK, &path)?;
        match found {
            Some(found) if &found.kind.0 == b"tfhd" => {
                let path = format!("{path}/tfhd");
                let content = content(source, &found, 64, PEEK)?;
                let fields = Fields::new(&path, found.content, &content);
                *traf = Traf::read(movie, fields, self.moof.start, self.count, inside.end)?;
                self.at = found.end;
            }
            Some(found) if &found.kind.0 == b"tfdt" && traf.is_some() => {
                let path = format!("{path}/tfdt");
                let content = content(source, &found, 16, PEEK)?;
                let mut fields = Fields::new(&path, found.content, &content);
                let (version, _) = fields.version()?;
                let time = fields.wide(version)?;
                let time = i64::try_from(time).ok().filter(|&time| time <= MAX_TIME).ok_or_else(|| {
                    invalid(&path, found.content, format!("its baseMediaDecodeTime is {time}, allowed is at most {MAX_TIME}"))
                })?;
                if let Some(traf) = traf {
                    traf.time = Some(time);
                }
                self.at = found.end;
            }
            Some(found) if &found.kind.0 != b"trun" => self.at = found.end,
            // The entries of the runs are read when they are played.
            _ => {
                if self.count >= MAX_TRAFS {
                    let problem = format!("it has more than {MAX_TRAFS} track fragments");
                    return Err(invalid(&self.path, self.moof.start, problem).into());
                }
                if let Some(traf) = traf {
                    (traf.at, traf.path) = (self.at, path);
                    traf.next_run(source)?;
                }
                self.moof.trafs.extend(traf.take());
                self.count += 1;
                self.at = inside.end;
                self.traf = None;
            }
        }
        Ok(false)
    }
}

/// A track fragment, read run by run.
#[derive(Debug)]
pub(super) struct Traf {
    /// Index of its track in the movie.
    pub track: usize,
    /// Decode time of its first sample in ticks, if it says so.
    pub time: Option<i64>,
    path: String,
    defaults: Defaults,
    base: u64,
    /// Where its boxes go on and end.
    at: u64,
    end: u64,
    /// Where the data of the next run begins, unless it says so itself.
    position: u64,
    run: Option<Run>,
    head: Option<RawSample>,
}

#[derive(Debug)]
struct Run {
    table: Table,
    cursor: Cursor,
    flags: u32,
    first_flags: Option<u32>,
    next: u64,
}

/// Flags of tfhd and trun.
const BASE_DATA_OFFSET: u32 = 0x1;
const SAMPLE_ENTRY: u32 = 0x2;
const DEFAULT_DURATION: u32 = 0x8;
const DEFAULT_SIZE: u32 = 0x10;
const DEFAULT_FLAGS: u32 = 0x20;
const DEFAULT_BASE_IS_MOOF: u32 = 0x2_0000;
const DATA_OFFSET: u32 = 0x1;
const FIRST_FLAGS: u32 = 0x4;
const DURATION: u32 = 0x100;
const SIZE: u32 = 0x200;
const FLAGS: u32 = 0x400;
const COMPOSITION: u32 = 0x800;
/// Sample flags (section 8.8.3.1): sample_depends_on is 1, sample_is_non_sync_sample.
const DEPENDS_ON_OTHERS: u32 = 0x100_0000;
const NON_SYNC: u32 = 0x1_0000;

impl Traf {
    /// Reads a tfhd box; `None` for a track that is not known.
    fn read(movie: &Movie, mut fields: Fields<'_>, moof: u64, index: usize, end: u64) -> Result<Option<Self>, Mp4Error> {
        let offset = fields.offset();
        let (_, flags) = fields.version()?;
        let number = fields.u32()?;
        let Some((track, known)) = movie.tracks.iter().enumerate().find(|(_, track)| track.number == number) else {
            return Ok(None);
        };
        let explicit = if flags & BASE_DATA_OFFSET != 0 { Some(fields.u64()?) } else { None };
        let mut defaults = known.defaults.unwrap_or_default();
        let values = [
            (SAMPLE_ENTRY, &mut defaults.entry),
            (DEFAULT_DURATION, &mut defaults.duration),
            (DEFAULT_SIZE, &mut defaults.size),
            (DEFAULT_FLAGS, &mut defaults.flags),
        ];
        for (flag, value) in values {
            if flags & flag != 0 {
                *value = fields.u32()?;
            }
        }
        let base = match explicit {
            Some(base) => base,
            None if flags & DEFAULT_BASE_IS_MOOF != 0 || index == 0 => moof,
            None => {
                let problem = "its data begins where the track fragment before ends, which is not supported; remux the file: ffmpeg -i bad.mp4 -c copy -movflags +faststart good.mp4";
                return Err(invalid(format!("moof@{moof}/traf[{index}]/tfhd"), offset, problem));
            }
        };
        let entry = defaults.entry.checked_sub(1).and_then(|entry| known.tables.entries.get(usize::try_from(entry).ok()?));
        if entry != Some(&true) {
            let problem = format!(
                "it has sample entry {}, which is missing, can't be played, or has another decoder configuration; encode the file again",
                defaults.entry
            );
            return Err(invalid(format!("moof@{moof}/traf[{index}]/tfhd"), offset, problem));
        }
        Ok(Some(Self {
            track,
            time: None,
            path: String::new(),
            defaults,
            base,
            at: 0,
            end,
            position: base,
            run: None,
            head: None,
        }))
    }

    /// The next sample, which stays the next one. There is none while `time` is not known.
    pub fn peek(&mut self, source: &mut Source) -> Flow<Option<RawSample>> {
        while self.head.is_none() && self.time.is_some() {
            let exhausted = self.run.as_ref().is_none_or(|run| run.next >= run.table.count);
            if exhausted && !self.next_run(source)? {
                return Ok(None);
            }
            self.read_sample(source)?;
        }
        Ok(self.head)
    }

    pub const fn take(&mut self) -> Option<RawSample> {
        self.head.take()
    }

    /// How far decode times must be moved back so that none is after its presentation time, judged by the first run.
    pub fn shift(&mut self, source: &mut Source) -> Flow<i64> {
        self.peek(source)?;
        let Some(run) = self.run.as_mut().filter(|run| run.flags & COMPOSITION != 0) else { return Ok(0) };
        let count = run.table.count.min(PROBED_OFFSETS);
        let width = usize::try_from(run.table.width).unwrap_or(4).max(4);
        let entries = run.cursor.entries(&run.table, 0, count, source)?;
        // It is the last field of an entry.
        Ok(shift(entries.chunks_exact(width).map(|entry| be32(entry, width - 4) as i32)))
    }

    pub fn held(&self) -> usize {
        self.run.as_ref().map_or(0, |run| run.cursor.held()) + size_of::<Self>()
    }

    fn next_run(&mut self, source: &mut Source) -> Flow<bool> {
        self.run = None;
        while let Some(found) = self.header(source)? {
            if &found.kind.0 == b"trun" {
                self.run = Some(self.read_run(found, source)?);
                self.at = found.end;
                return Ok(true);
            }
            self.at = found.end;
        }
        Ok(false)
    }

    fn header(&self, source: &mut Source) -> Flow<Option<Header>> {
        header(source, self.at, self.end, AHEAD, &self.path)
    }

    /// Reads a trun box (section 8.8.8) up to its entries.
    fn read_run(&mut self, found: Header, source: &mut Source) -> Flow<Run> {
        let path = format!("{}/trun", self.path);
        let content = content(source, &found, 32, AHEAD)?;
        let mut fields = Fields::new(&path, found.content, &content);
        let (_, flags) = fields.version()?;
        let count = u64::from(fields.u32()?);
        if flags & DATA_OFFSET != 0 {
            let offset = fields.i32()?;
            self.position = self.base.checked_add_signed(offset.into()).ok_or_else(|| {
                invalid(&path, found.content, format!("its data_offset {offset} from byte {} leads out of the file", self.base))
            })?;
        }
        let first_flags = if flags & FIRST_FLAGS != 0 { Some(fields.u32()?) } else { None };
        let width = 4 * u64::from((flags & (DURATION | SIZE | FLAGS | COMPOSITION)).count_ones());
        let start = fields.offset();
        if count.saturating_mul(width) > found.end - start {
            let problem = format!("its sample_count is {count}, which does not fit into its {} bytes", found.length());
            return Err(invalid(path, found.content, problem).into());
        }
        if flags & SIZE == 0 && self.defaults.size == 0 && count > 0 {
            let problem = format!("neither it nor tfhd or trex tell the size of its {count} samples");
            return Err(invalid(path, found.content, problem).into());
        }
        // What was read around the beginning is kept until the run is played.
        let window = if count.min(width) > 0 {
            source.window(found.start, start + width - found.start, AHEAD)?
        } else {
            Window::default()
        };
        let table = Table { path: path.into(), start, count, width };
        Ok(Run { table, cursor: Cursor::with(window), flags, first_flags, next: 0 })
    }

    /// Reads the next sample of the run into `head`. A sample without bytes only moves the time on.
    fn read_sample(&mut self, source: &mut Source) -> Flow<()> {
        let (Some(run), Some(dts)) = (&mut self.run, self.time) else { return Ok(()) };
        if run.next >= run.table.count {
            return Ok(());
        }
        let entry = if run.table.width > 0 { run.cursor.entries(&run.table, run.next, 1, source)? } else { &[] };
        let mut at = 0;
        let mut field = |flag| {
            (run.flags & flag != 0).then(|| {
                at += 4;
                be32(entry, at - 4)
            })
        };
        let duration = field(DURATION).unwrap_or(self.defaults.duration);
        let size = field(SIZE).unwrap_or(self.defaults.size);
        let flags = field(FLAGS).or(run.first_flags.filter(|_| run.next == 0)).unwrap_or(self.defaults.flags);
        let composition = field(COMPOSITION).map_or(0, |value| i64::from(value as i32));
        let end = self.position.checked_add(size.into());
        let time = Some(dts.saturating_add(duration.into())).filter(|&time| time <= MAX_TIME);
        let (Some(end), Some(time)) = (end, time) else {
            let problem = format!("the place or time of sample {} overflows", run.next);
            return Err(run.table.invalid(run.next, problem).into());
        };
        let keyframe = flags & (NON_SYNC | DEPENDS_ON_OTHERS) == 0;
        if size > 0 {
            self.head = Some(RawSample { dts, composition, duration, size, offset: self.position, keyframe });
        }
        run.next += 1;
        (self.position, self.time) = (end, Some(time));
        Ok(())
    }
}
