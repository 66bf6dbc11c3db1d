//! Makes one file of the parts of a recording: once through all `moof`s to know how long the tables are, once more to copy.

use std::io;

use super::cutter::{Cut, Cutter, Lane, Placed};
use super::index::{Index, Period, Segment, Span};
use super::reader::{Part, PartError, read_part};
use super::tables::{COLUMNS, Tables};
use super::{Sink, Source, track_number};
use crate::cmaf::boxes::{boxed, full, u32, u64};
use crate::cmaf::fragment::{Heading, SampleHead, head};
use crate::cmaf::init::{Edit, Extent, mvhd, sample_entry, trak};
use crate::time::Timestamp;
use crate::track::MediaKind;

/// Units per second of the times in the `mvhd` and the edit lists.
const MOVIE_TIMESCALE: u32 = 90_000;
/// A table is written on when so many bytes of it are complete.
const COLUMN_PAGE: usize = 64 << 10;
const COPY: usize = 256 << 10;
/// Header of the outer `mdat`, with a size of 64 bits.
const MDAT_HEADER: u64 = 16;

/// Why no file could be made.
#[derive(Debug, thiserror::Error)]
pub enum FinishError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("nothing was recorded: no part has a whole fragment")]
    Nothing,
    #[error("the recording is too long for one file: its tables would take more than 4 GiB")]
    TooLong,
}

/// What was made.
#[derive(Clone, Debug, Default)]
pub struct Finished {
    pub bytes: u64,
    /// In microseconds.
    pub duration: i64,
    /// Of the last pictures.
    pub size: Option<(u32, u32)>,
    /// The `codecs` parameters of RFC 6381, of the last configuration of each track.
    pub codecs: Vec<String>,
    /// Which parts end with something that is not whole, and at which byte; a part that can't be used at all ends at 0.
    pub torn: Vec<(usize, u64)>,
}

/// Copies the parts, in their order, into one file: see [`crate::recording`]. Reads each part twice. Needs memory for one segment and
/// for the index, some 100 bytes for each four seconds.
pub fn finish(parts: Vec<Box<dyn Source>>, sink: &mut dyn Sink) -> Result<Finished, FinishError> {
    let mut torn = Vec::new();
    let mut open: Vec<(Part, Box<dyn Source>)> = Vec::new();
    let mut numbers = Vec::new();
    for (number, mut source) in parts.into_iter().enumerate() {
        match read_part(&mut *source) {
            Ok(part) => {
                open.push((part, source));
                numbers.push(number);
            }
            Err(PartError::Io(error)) => return Err(error.into()),
            Err(PartError::Empty(_) | PartError::Malformed { .. }) => torn.push((number, 0)),
        }
    }
    let mut plan = Plan::default();
    let mut cutter = Cutter::new(&mut open);
    while let Some(cut) = cutter.next()? {
        plan.add(&cut, &cutter.lanes);
        plan.forget();
    }
    plan.close();
    plan.forget();
    let moov = Moov::new(&plan, &cutter.lanes)?;
    torn.extend(open.iter().zip(&numbers).filter_map(|((part, _), number)| Some((*number, part.torn_at?))));
    open.iter_mut().for_each(|(part, _)| part.rewind());

    let mut plan = Plan { origin: moov.media_at() + MDAT_HEADER, ..Plan::default() };
    let mut output = Output { sink, moov: &moov, at: plan.origin };
    let mut cutter = Cutter::new(&mut open);
    while let Some(cut) = cutter.next()? {
        for piece in plan.add(&cut, &cutter.lanes) {
            output.piece(&piece, &mut cutter)?;
        }
        output.tables(&mut plan, COLUMN_PAGE)?;
    }
    plan.close();
    output.tables(&mut plan, 0)?;
    let lanes = cutter.lanes;
    output.finish(plan, &lanes, torn)
}

/// One track's fragment of a segment: its header, and the samples behind it.
struct Piece {
    head: Vec<u8>,
    samples: Vec<Placed>,
}

/// Where everything comes to lie. Adding the same segments gives the same plan.
#[derive(Default)]
struct Plan {
    /// Where in the file the first segment lies.
    origin: u64,
    /// Bytes of segments so far.
    media: u64,
    sequence: u32,
    tables: Vec<Tables>,
    index: Index,
}

impl Plan {
    fn add(&mut self, cut: &Cut, lanes: &[Lane]) -> Vec<Piece> {
        for lane in lanes.iter().skip(self.tables.len()) {
            self.tables.push(Tables::new(lane.kind));
        }
        let mut segment = Segment::default();
        let mut pieces = Vec::new();
        for (at, (lane, samples)) in lanes.iter().zip(&cut.samples).enumerate() {
            let begin = self.origin + self.media;
            for samples in samples.chunk_by(|left, right| left.description == right.description) {
                let Some(first) = samples.first() else { continue };
                self.sequence = self.sequence.wrapping_add(1);
                let decode_time = u64::try_from(first.dts).unwrap_or(0);
                let heading = Heading { track_id: track_number(lane.id), kind: lane.kind, sequence: self.sequence, decode_time };
                let mut header = Vec::with_capacity(128 + samples.len() * 16);
                head(&mut header, &heading, samples.iter().map(heads));
                let place = self.origin + self.media + header.len() as u64;
                if let Some(tables) = self.tables.get_mut(at) {
                    tables.chunk(place, samples);
                }
                self.media += header.len() as u64 + samples.iter().map(|sample| u64::from(sample.size)).sum::<u64>();
                pieces.push(Piece { head: header, samples: samples.to_vec() });
            }
            let is_first = lanes.iter().position(|other| other.kind == lane.kind) == Some(at);
            if let (true, Some(first), Some(last)) = (is_first, samples.first(), samples.last()) {
                let span = Span {
                    offset: begin,
                    size: u32::try_from(self.origin + self.media - begin).unwrap_or(u32::MAX),
                    start: first.dts + i64::from(first.composition_offset),
                    duration: u32::try_from(last.dts + i64::from(last.duration) - first.dts).unwrap_or(u32::MAX),
                    independent: first.keyframe,
                };
                self.index_span(cut.period, lane, first.description, span, &mut segment);
            }
        }
        if segment.video.is_some() || segment.audio.is_some() {
            self.index.segments.push(segment);
        }
        pieces
    }

    fn index_span(&mut self, period: usize, lane: &Lane, description: usize, span: Span, segment: &mut Segment) {
        while self.index.periods.len() <= period {
            self.index.periods.push(Period::default());
        }
        segment.period = u32::try_from(period).unwrap_or(u32::MAX);
        let Some(period) = self.index.periods.get_mut(period) else { return };
        let track = lane.descriptions.get(description);
        match lane.kind {
            MediaKind::Video => {
                segment.video = Some(span);
                period.video_timescale = lane.timescale;
                period.video = period.video.take().or_else(|| track.cloned());
            }
            MediaKind::Audio => {
                segment.audio = Some(span);
                period.audio_timescale = lane.timescale;
                period.audio = period.audio.take().or_else(|| track.cloned());
            }
        }
    }

    fn close(&mut self) {
        self.tables.iter_mut().for_each(Tables::finish);
    }

    /// Keeps of the tables only how long they are.
    fn forget(&mut self) {
        for column in self.tables.iter_mut().flat_map(|tables| &mut tables.columns) {
            column.taken += column.bytes.len() as u64;
            column.bytes.clear();
        }
    }
}

fn heads(sample: &Placed) -> SampleHead {
    SampleHead {
        duration: sample.duration,
        size: sample.size,
        composition_offset: sample.composition_offset,
        keyframe: sample.keyframe,
    }
}

/// `ftyp` and `moov`, without what is in the tables.
struct Moov {
    bytes: Vec<u8>,
    /// Where bytes of a table belong, in the order of the file: the place in `bytes`, lane, column, length.
    holes: Vec<(usize, usize, usize, u64)>,
    zero: i64,
    duration: i64,
}

impl Moov {
    fn new(plan: &Plan, lanes: &[Lane]) -> Result<Self, FinishError> {
        let shown: Vec<_> = lanes
            .iter()
            .zip(&plan.tables)
            .filter_map(|(lane, tables)| {
                let (dts, offset) = tables.first?;
                let start = lane.micros(dts + i64::from(offset));
                Some((start, start + lane.micros(i64::try_from(tables.duration).unwrap_or(i64::MAX))))
            })
            .collect();
        let zero = shown.iter().map(|(start, _)| *start).min().ok_or(FinishError::Nothing)?;
        let duration = shown.iter().map(|(_, end)| end - zero).max().unwrap_or(0);
        let mut bytes = Vec::new();
        boxed(&mut bytes, b"ftyp", |out| {
            out.extend_from_slice(b"isom");
            u32(out, 0x200);
            out.extend_from_slice(b"isomiso6mp41");
        });
        let ftyp = bytes.len();
        let mut holes = Vec::new();
        boxed(&mut bytes, b"moov", |out| {
            let next = lanes.iter().map(|lane| track_number(lane.id)).max().unwrap_or(0) + 1;
            mvhd(out, MOVIE_TIMESCALE, movie_time(duration), next);
            for (at, (lane, tables)) in lanes.iter().zip(&plan.tables).enumerate() {
                let (Some(track), Some((dts, offset))) = (lane.descriptions.last(), tables.first) else { continue };
                let shown = movie_time(lane.micros(i64::try_from(tables.duration).unwrap_or(i64::MAX)));
                let empty = movie_time(lane.micros(dts + i64::from(offset)) - zero);
                let edit = Edit { empty, shown, media_time: offset.into() };
                let extent = Extent {
                    movie: empty + shown,
                    timescale: lane.timescale,
                    media: tables.duration,
                    edit: (empty > 0 || offset != 0).then_some(edit),
                };
                trak(out, track_number(lane.id), track, &extent, |out| {
                    full(out, b"stsd", 0, 0, |out| {
                        u32(out, u32::try_from(lane.descriptions.len()).unwrap_or(u32::MAX));
                        lane.descriptions.iter().for_each(|track| sample_entry(out, track));
                    });
                    holes.extend(tables.boxes(out).into_iter().map(|(place, column)| {
                        (place, at, column, tables.columns.get(column).map_or(0, super::tables::Column::len))
                    }));
                });
            }
        });
        let around: Option<Vec<_>> = holes.iter().map(|&(place, ..)| enclosing(&bytes, ftyp, place)).collect();
        for (found, &(.., length)) in around.ok_or(FinishError::TooLong)?.into_iter().zip(&holes) {
            found.into_iter().try_for_each(|at| widen(&mut bytes, at, length)).ok_or(FinishError::TooLong)?;
        }
        Ok(Self { bytes, holes, zero, duration })
    }

    /// Where the outer `mdat` begins.
    fn media_at(&self) -> u64 {
        self.bytes.len() as u64 + self.holes.iter().map(|(.., length)| length).sum::<u64>()
    }

    /// Where a column begins in the file.
    fn column_at(&self, lane: usize, column: usize) -> Option<u64> {
        let mut before = 0;
        for &(place, of, which, length) in &self.holes {
            if (of, which) == (lane, column) {
                return Some(place as u64 + before);
            }
            before += length;
        }
        None
    }
}

/// Microseconds in the movie's time scale.
fn movie_time(micros: i64) -> u64 {
    u64::try_from(Timestamp::from_micros(micros).to_timescale(MOVIE_TIMESCALE)).unwrap_or(0)
}

/// The box that ends at `place` and all boxes around it, from the one at `at` on, which is the outermost.
fn enclosing(bytes: &[u8], mut at: usize, place: usize) -> Option<Vec<usize>> {
    let mut found = Vec::new();
    loop {
        let (size, rest) = bytes.get(at..)?.split_first_chunk::<4>()?;
        let end = at + usize::try_from(u32::from_be_bytes(*size)).ok().filter(|&size| size >= 8)?;
        if !(at < place && place <= end) {
            at = end;
            continue;
        }
        found.push(at);
        if !matches!(rest.first_chunk::<4>()?, b"moov" | b"trak" | b"mdia" | b"minf" | b"stbl") {
            return Some(found);
        }
        at += 8;
    }
}

fn widen(bytes: &mut [u8], at: usize, length: u64) -> Option<()> {
    let field = bytes.get_mut(at..)?.first_chunk_mut::<4>()?;
    *field = u32::try_from(u64::from(u32::from_be_bytes(*field)) + length).ok()?.to_be_bytes();
    Some(())
}

/// Writes the file.
struct Output<'a> {
    sink: &'a mut dyn Sink,
    moov: &'a Moov,
    /// Where the next segment goes.
    at: u64,
}

impl Output<'_> {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.sink.write(self.at, bytes)?;
        self.at += bytes.len() as u64;
        Ok(())
    }

    fn piece(&mut self, piece: &Piece, cutter: &mut Cutter<'_>) -> io::Result<()> {
        self.put(&piece.head)?;
        let mut samples = piece.samples.iter().peekable();
        let mut buffer = vec![0; COPY];
        while let Some(first) = samples.next() {
            // Samples that lie side by side are copied together.
            let (mut from, mut end) = (first.offset, first.offset + u64::from(first.size));
            while let Some(next) = samples.next_if(|next| next.part == first.part && next.offset == end) {
                end += u64::from(next.size);
            }
            let source = cutter.source(first.part).ok_or(io::ErrorKind::NotFound)?;
            while from < end {
                let count = usize::try_from(end - from).unwrap_or(COPY).min(COPY);
                let Some(chunk) = buffer.get_mut(..count) else { break };
                source.read(from, chunk)?;
                self.sink.write(self.at, chunk)?;
                self.at += count as u64;
                from += count as u64;
            }
        }
        Ok(())
    }

    /// Writes the tables on, of which at least `page` bytes are complete.
    fn tables(&mut self, plan: &mut Plan, page: usize) -> io::Result<()> {
        for (lane, tables) in plan.tables.iter_mut().enumerate() {
            for (number, column) in tables.columns.iter_mut().enumerate().take(COLUMNS) {
                if column.bytes.is_empty() || column.bytes.len() < page {
                    continue;
                }
                if let Some(at) = self.moov.column_at(lane, number) {
                    self.sink.write(at + column.taken, &column.bytes)?;
                }
                column.taken += column.bytes.len() as u64;
                column.bytes.clear();
            }
        }
        Ok(())
    }

    /// Writes what stands around segments and tables.
    fn finish(mut self, plan: Plan, lanes: &[Lane], torn: Vec<(usize, u64)>) -> Result<Finished, FinishError> {
        let (mut from, mut at) = (0, 0);
        let ends = self.moov.holes.iter().map(|&(place, _, _, length)| (place, length)).chain([(self.moov.bytes.len(), 0)]);
        for (place, length) in ends {
            let bytes = self.moov.bytes.get(from..place).unwrap_or_default();
            self.sink.write(at, bytes)?;
            at += bytes.len() as u64 + length;
            from = place;
        }
        let mut header = Vec::new();
        u32(&mut header, 1);
        header.extend_from_slice(b"mdat");
        u64(&mut header, MDAT_HEADER + plan.media);
        self.sink.write(at, &header)?;
        let index = Index { zero: self.moov.zero, duration: self.moov.duration, ..plan.index };
        self.put(&index.encode())?;
        let last = |kind| lanes.iter().find(|lane| lane.kind == kind).and_then(|lane| lane.descriptions.last());
        let (video, audio) = (last(MediaKind::Video), last(MediaKind::Audio));
        Ok(Finished {
            bytes: self.at,
            duration: self.moov.duration,
            size: video.and_then(|track| track.video()).map(|info| (info.width, info.height)),
            codecs: [video, audio].into_iter().flatten().map(|track| track.codecs.clone()).collect(),
            torn,
        })
    }
}
