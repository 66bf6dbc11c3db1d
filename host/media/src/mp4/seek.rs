//! Finds the fragment from which a fragmented file must be played to start at a time: by the index of the file (`mfra`, else `sidx`),
//! else from its beginning, and from there fragment by fragment.

use super::Mp4Error;
use super::boxes::{Fields, content, header, invalid};
use super::fragment::{Moof, Walker};
use super::movie::{Fragments, Movie, MovieTrack};
use super::samples::{Lane, target};
use super::source::{Flow, Source};
use super::table::{Bisect, Cursor, Table, be32};
use crate::track::MediaKind;

#[derive(Debug)]
pub(super) struct FragmentSeek {
    start: i64,
    /// Where the first fragment lies at the earliest.
    first: u64,
    sidx: Option<u64>,
    index: Index,
    /// Where the walk began.
    from: u64,
    walker: Walker,
    moof: Option<Moof>,
    /// For each lane, the fragment to play it from.
    found: Vec<Found>,
    /// Where the leading track ends, as far as it was seen, in ticks.
    end: i64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Found {
    moof: Option<u64>,
    /// Decode and presentation time in ticks of the sync sample to start with.
    sync: Option<(i64, i64)>,
}

/// How far the index of the file was read.
#[derive(Debug)]
enum Index {
    /// The last 16 bytes of the file tell where `mfra` begins.
    Trailer,
    /// The next box in `mfra`, and its end.
    RandomAccess {
        at: u64,
        end: u64,
    },
    /// Entries of the `tfra` of the leading track.
    Entries {
        table: Table,
        wide: bool,
        cursor: Cursor,
        search: Bisect,
    },
    Segments(Option<SegmentWalk>),
    Read,
}

/// A walk along a `sidx` box (section 8.16.3).
#[derive(Debug)]
struct SegmentWalk {
    table: Table,
    cursor: Cursor,
    timescale: u32,
    next: u64,
    /// Time and place of the next subsegment.
    time: u64,
    offset: u64,
    /// Places of the two before it.
    before: [u64; 2],
}

impl FragmentSeek {
    pub fn new(fragments: &Fragments, start: i64) -> Self {
        let (first, sidx) = (fragments.at, fragments.sidx);
        Self {
            start,
            first,
            sidx,
            index: Index::Trailer,
            from: first,
            walker: Walker::new(first),
            moof: None,
            found: Vec::new(),
            end: 0,
        }
    }

    /// Where the walk through the fragments must begin. Tells the lanes what to pass over there.
    pub fn run(&mut self, movie: &Movie, lanes: &mut [Lane], source: &mut Source) -> Flow<u64> {
        let Some(leader) = lanes.first().and_then(|lane| movie.tracks.get(lane.track)) else { return Ok(self.first) };
        while !matches!(self.index, Index::Read) {
            if let Some(at) = self.read_index(leader, source)? {
                self.from = at.max(self.first);
                self.walker = Walker::new(self.from);
            }
        }
        self.found.resize(lanes.len(), Found::default());
        loop {
            // Whether the walk has seen enough, and whether that is the whole file.
            let (mut late, mut ended) = (false, false);
            if self.moof.is_none() {
                self.moof = self.walker.next(movie, source)?;
                late = self.moof.is_none();
                ended = late;
            }
            if let Some(moof) = &mut self.moof {
                for traf in &mut moof.trafs {
                    let Some(index) = lanes.iter().position(|lane| lane.track == traf.track) else { continue };
                    let Some(track) = movie.tracks.get(traf.track) else { continue };
                    if traf.time.is_none() {
                        let problem = "it has no tfdt box, so that the file can only be played from its start; remux it: ffmpeg -i bad.mp4 -c copy -movflags +faststart good.mp4";
                        return Err(invalid(format!("moof@{}", moof.start), moof.start, problem).into());
                    }
                    let picture = self.found.first().and_then(|found| found.sync).map(|(_, pts)| leader.micros(pts));
                    let time = track.ticks(if index == 0 { self.start } else { target(track.kind(), self.start, picture) });
                    let Some(found) = self.found.get_mut(index) else { continue };
                    while let Some(sample) = traf.peek(source)? {
                        let pts = sample.dts + sample.composition;
                        if index == 0 && sample.dts > time {
                            late = true;
                        }
                        if sample.dts > time {
                            break;
                        }
                        if index != 0 {
                            found.moof = Some(moof.start);
                            break;
                        }
                        if sample.keyframe && pts <= time {
                            *found = Found { moof: Some(moof.start), sync: Some((sample.dts, pts)) };
                        }
                        self.end = self.end.max(pts.saturating_add(sample.duration.into()));
                        traf.take();
                    }
                }
            }
            self.moof = None;
            if !late {
                continue;
            }
            let at = self.found.iter().filter_map(|found| found.moof).min();
            let lead = self.found.first().and_then(|found| found.sync);
            if lead.is_none() && self.from != self.first {
                // The index led too far, or to nothing.
                (self.from, self.walker) = (self.first, Walker::new(self.first));
                self.found.fill(Found::default());
                continue;
            }
            self.tell(movie, leader, lanes, lead, ended);
            // Before the first picture everything is played.
            return Ok(at.filter(|_| lead.is_some()).unwrap_or(self.first));
        }
    }

    fn tell(&self, movie: &Movie, leader: &MovieTrack, lanes: &mut [Lane], lead: Option<(i64, i64)>, ended: bool) {
        let beyond = ended && leader.ticks(self.start) >= self.end;
        let lead = lead.filter(|_| !beyond);
        let picture = lead.map(|(_, pts)| leader.micros(pts));
        for (index, lane) in lanes.iter_mut().enumerate() {
            let Some(track) = movie.tracks.get(lane.track) else { continue };
            lane.from = match (index, lead) {
                (0, Some((dts, _))) => dts,
                (0, None) if beyond => i64::MAX,
                (0, None) => i64::MIN,
                // Another picture has key frames of its own.
                _ if track.kind() == MediaKind::Video => i64::MIN,
                _ => track.ticks(target(track.kind(), self.start, picture)),
            };
        }
    }

    /// Reads on in the index; gives the place of a fragment that is early enough when it knows one.
    fn read_index(&mut self, leader: &MovieTrack, source: &mut Source) -> Flow<Option<u64>> {
        let time = u64::try_from(leader.ticks(self.start)).unwrap_or(0);
        match &mut self.index {
            Index::Trailer => {
                let size = source.size();
                let mut at = None;
                if let Some(trailer) = size.checked_sub(16) {
                    let window = source.window(trailer, 16, 16)?;
                    let bytes = window.get(trailer, 16).unwrap_or_default();
                    if bytes.starts_with(b"\0\0\0\x10mfro") {
                        at = size.checked_sub(be32(bytes, 12).into()).filter(|&at| at >= self.first && at < trailer);
                    }
                }
                self.index = match at {
                    Some(at) => Index::RandomAccess { at: at + 8, end: size },
                    None => Index::Segments(None),
                };
            }
            Index::RandomAccess { at, end } => {
                // An index that is damaged is not used.
                let Ok(found) = optional(header(source, *at, *end, 4096, "mfra"))? else {
                    self.index = Index::Segments(None);
                    return Ok(None);
                };
                let Some(found) = found.filter(|found| &found.kind.0 == b"tfra" || &found.kind.0 == b"mfro") else {
                    self.index = Index::Segments(None);
                    return Ok(None);
                };
                if &found.kind.0 == b"tfra" && found.length() >= 16 {
                    let content = content(source, &found, 16, 4096)?;
                    let (wide, lengths) = (content.first() == Some(&1), be32(&content, 8));
                    let width = if wide { 16 } else { 8 }
                        + [4, 2, 0].map(|shift| u64::from(lengths >> shift & 3) + 1).iter().sum::<u64>();
                    let count = u64::from(be32(&content, 12));
                    let table = Table { path: "mfra/tfra".into(), start: found.content + 16, count, width };
                    if be32(&content, 4) == leader.number && count * width <= found.length() - 16 && count > 0 {
                        let search = Bisect { low: 0, high: count };
                        self.index = Index::Entries { table, wide, cursor: Cursor::default(), search };
                        return Ok(None);
                    }
                }
                *at = found.end;
            }
            Index::Entries { table, wide, cursor, search } => {
                let wide = *wide;
                let behind = search.run(|index| {
                    let entry = cursor.entries(table, index, 1, source)?;
                    let at =
                        if wide { u64::from(be32(entry, 0)) << 32 | u64::from(be32(entry, 4)) } else { be32(entry, 0).into() };
                    Ok(at <= time)
                })?;
                // One entry further back, for sound that lies in a fragment of its own before the picture's.
                let entry = cursor.entries(table, behind.saturating_sub(2), 1, source)?;
                let at = if wide { u64::from(be32(entry, 8)) << 32 | u64::from(be32(entry, 12)) } else { be32(entry, 4).into() };
                self.index = Index::Read;
                return Ok(Some(at).filter(|&at| at < source.size()));
            }
            Index::Segments(walk) => {
                let Some(walk) = walk else {
                    self.index = match self.sidx.map(|at| SegmentWalk::open(at, source)).transpose() {
                        Ok(Some(Some(walk))) => Index::Segments(Some(walk)),
                        Ok(_) | Err(super::source::Stop::Broken(_)) => Index::Read,
                        Err(stop) => return Err(stop),
                    };
                    return Ok(None);
                };
                let start = self.start;
                let at = walk.find(start, leader, source)?;
                self.index = Index::Read;
                return Ok(at.filter(|&at| at < source.size()));
            }
            Index::Read => {}
        }
        Ok(None)
    }
}

/// Lets a stop for bytes through, and gives what is broken as a value.
fn optional<T>(flow: Flow<T>) -> Flow<Result<T, Mp4Error>> {
    match flow {
        Ok(value) => Ok(Ok(value)),
        Err(super::source::Stop::Broken(error)) => Ok(Err(error)),
        Err(stop) => Err(stop),
    }
}

impl SegmentWalk {
    fn open(at: u64, source: &mut Source) -> Flow<Option<Self>> {
        let Some(found) = header(source, at, source.size(), 4096, "")? else { return Ok(None) };
        let content = content(source, &found, 32, 4096)?;
        let mut fields = Fields::new("sidx", found.content, &content);
        let (version, _) = fields.version()?;
        fields.u32()?;
        let timescale = fields.u32()?;
        let time = fields.wide(version)?;
        let first = fields.wide(version)?;
        fields.u16()?;
        let count = u64::from(fields.u16()?);
        let table = Table { path: "sidx".into(), start: fields.offset(), count, width: 12 };
        let offset = found.end.saturating_add(first);
        if timescale == 0 || count * 12 > found.end.saturating_sub(table.start) {
            return Ok(None);
        }
        Ok(Some(Self { table, cursor: Cursor::default(), timescale, next: 0, time, offset, before: [offset; 2] }))
    }

    /// Where the subsegment before the one that holds `start` lies, for sound that is late against the picture.
    fn find(&mut self, start: i64, leader: &MovieTrack, source: &mut Source) -> Flow<Option<u64>> {
        // The times of an index are those of the media.
        let ticks = i128::from(leader.ticks(start)) * i128::from(self.timescale) / i128::from(leader.timescale.max(1));
        while self.next < self.table.count && i128::from(self.time) <= ticks {
            let entry = self.cursor.entries(&self.table, self.next, 1, source)?;
            let (reference, duration) = (be32(entry, 0), be32(entry, 4));
            if reference >> 31 != 0 {
                // It leads to another index.
                return Ok(None);
            }
            let [_, last] = self.before;
            self.before = [last, self.offset];
            self.offset = self.offset.saturating_add(reference.into());
            self.time = self.time.saturating_add(duration.into());
            self.next += 1;
        }
        let [place, _] = self.before;
        Ok(Some(place))
    }
}
