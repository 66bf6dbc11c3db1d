//! Reads the parts of a recording back, as far as they are whole. Trusts no size in them.

use std::io;

use bytes::Bytes;
use mp4_atom::{Header, Moof, ReadAtom as _, ReadFrom as _};

use super::Source;
use crate::codec;
use crate::track::{Codec, MediaInfo, Track, TrackId};

/// More is in no `moov` or `moof` that is made here.
const MAX_BOX: u64 = 4 << 20;
const MAX_SAMPLE: u32 = 64 << 20;
const MAX_SAMPLES: usize = 1 << 16;

/// Why a part can't be read.
#[derive(Debug, thiserror::Error)]
pub enum PartError {
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The recorder was stopped before it had written a first fragment.
    #[error("it ends at byte {0} before its first fragment: nothing was recorded in it")]
    Empty(u64),
    #[error("byte {at}: {what}")]
    Malformed { at: u64, what: &'static str },
}

/// What a part begins with.
#[derive(Debug)]
pub struct Part {
    pub tracks: Vec<PartTrack>,
    /// Where the first fragment lies.
    first: u64,
    next: u64,
    /// Where reading stopped before the end, because the rest is not whole.
    pub torn_at: Option<u64>,
}

#[derive(Clone, Debug)]
pub struct PartTrack {
    pub number: u32,
    pub track: Track,
    pub timescale: u32,
}

/// The samples of one fragment, all of one track.
#[derive(Debug)]
pub(super) struct Run {
    /// Index in [`Part::tracks`].
    pub track: usize,
    pub samples: Vec<StoredSample>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct StoredSample {
    pub offset: u64,
    pub size: u32,
    pub dts: i64,
    pub duration: u32,
    pub composition_offset: i32,
    pub keyframe: bool,
}

/// Kind and size of the box at `at`, header included; none when its end lies behind the end of the source.
fn peek(source: &mut dyn Source, at: u64) -> io::Result<Option<([u8; 4], u64)>> {
    if at.saturating_add(8) > source.size() {
        return Ok(None);
    }
    let mut header = [0; 8];
    source.read(at, &mut header)?;
    let [a, b, c, d, kind @ ..] = header;
    let size = u64::from(u32::from_be_bytes([a, b, c, d]));
    Ok((size >= 8 && at.saturating_add(size) <= source.size()).then_some((kind, size)))
}

fn load(source: &mut dyn Source, at: u64, size: u64) -> Result<Vec<u8>, PartError> {
    if size > MAX_BOX {
        return Err(PartError::Malformed { at, what: "a box of more than 4 MiB where none is so large" });
    }
    let mut bytes = vec![0; usize::try_from(size).unwrap_or(0)];
    source.read(at, &mut bytes)?;
    Ok(bytes)
}

/// Reads the head of a part.
pub fn read_part(source: &mut dyn Source) -> Result<Part, PartError> {
    let mut at = 0;
    loop {
        let Some((kind, size)) = peek(source, at)? else { return Err(PartError::Empty(at)) };
        if kind == *b"moov" {
            let bytes = load(source, at, size)?;
            let content = bytes.get(8..).unwrap_or_default();
            let tracks = boxes(content)
                .filter(|(kind, _)| *kind == b"trak")
                .map(|(_, trak)| track(trak).ok_or(PartError::Malformed { at, what: "a track that can't be understood" }))
                .collect::<Result<Vec<_>, _>>()?;
            if tracks.is_empty() {
                return Err(PartError::Malformed { at, what: "a moov without tracks" });
            }
            return Ok(Part { tracks, first: at + size, next: at + size, torn_at: None });
        }
        at += size;
    }
}

impl Part {
    /// Begins again with the first fragment.
    pub(super) fn rewind(&mut self) {
        self.next = self.first;
    }

    /// The next fragment, none at the end of what is whole.
    pub(super) fn next(&mut self, source: &mut dyn Source) -> Result<Option<Run>, PartError> {
        loop {
            let at = self.next;
            let Some((kind, size)) = peek(source, at)? else {
                self.torn_at = (at < source.size()).then_some(at);
                return Ok(None);
            };
            self.next = at + size;
            if kind != *b"moof" {
                continue;
            }
            // The last fragment counts only if its payload is there to the last byte.
            let Some((mdat, payload)) = peek(source, at + size)? else {
                self.torn_at = Some(at);
                return Ok(None);
            };
            if mdat != *b"mdat" {
                return Err(PartError::Malformed { at: at + size, what: "a moof that no mdat follows" });
            }
            let bytes = load(source, at, size)?;
            self.next = at + size + payload;
            let run = self.run(&bytes, at, at + size + 8, self.next)?;
            if !run.samples.is_empty() {
                return Ok(Some(run));
            }
        }
    }

    /// The samples of the `moof` in `bytes`, whose payloads lie from `from` up to `to`.
    fn run(&self, bytes: &[u8], at: u64, from: u64, to: u64) -> Result<Run, PartError> {
        let malformed = |what| PartError::Malformed { at, what };
        let mut cursor = io::Cursor::new(bytes);
        let moof = Header::read_from(&mut cursor)
            .and_then(|header| Moof::read_atom(&header, &mut cursor))
            .map_err(|_| malformed("a moof that can't be understood"))?;
        let [traf] = &moof.traf[..] else { return Err(malformed("a moof with other than one track")) };
        let [trun] = &traf.trun[..] else { return Err(malformed("a track of a moof with other than one run")) };
        let track = self.tracks.iter().position(|track| track.number == traf.tfhd.track_id);
        let track = track.ok_or_else(|| malformed("a moof of a track that the moov does not have"))?;
        let start = traf.tfdt.as_ref().map(|tfdt| tfdt.base_media_decode_time);
        let mut dts = start.and_then(|time| i64::try_from(time).ok()).ok_or_else(|| malformed("a moof without its time"))?;
        let mut offset = from;
        let is_video = self.tracks.get(track).is_some_and(|track| track.track.video().is_some());
        let mut samples = Vec::with_capacity(trun.samples.len().min(MAX_SAMPLES));
        for entry in &trun.samples {
            let size =
                entry.size.filter(|&size| size <= MAX_SAMPLE).ok_or_else(|| malformed("a sample without a usable size"))?;
            let duration = entry.duration.ok_or_else(|| malformed("a sample without a duration"))?;
            const NON_SYNC: u32 = 0x1_0000;
            let keyframe = !is_video || entry.flags.is_some_and(|flags| flags & NON_SYNC == 0);
            let composition_offset = i32::try_from(entry.cts.unwrap_or(0)).unwrap_or(0);
            samples.push(StoredSample { offset, size, dts, duration, composition_offset, keyframe });
            offset = offset.saturating_add(u64::from(size));
            dts = dts.saturating_add(i64::from(duration));
        }
        if offset > to {
            return Err(malformed("a fragment whose samples go beyond its mdat"));
        }
        Ok(Run { track, samples })
    }
}

/// Where the first sample of a fragment lies in it.
pub fn first_sample(fragment: &[u8]) -> Option<std::ops::Range<usize>> {
    let mut cursor = io::Cursor::new(fragment);
    let moof = Moof::read_atom(&Header::read_from(&mut cursor).ok()?, &mut cursor).ok()?;
    let trun = moof.traf.first()?.trun.first()?;
    let from = usize::try_from(trun.data_offset?).ok()?;
    let size = usize::try_from(trun.samples.get(0)?.size?).ok()?;
    let to = from.checked_add(size)?;
    (to <= fragment.len()).then_some(from..to)
}

/// The boxes in `bytes`; ends where they make no sense.
fn boxes(mut bytes: &[u8]) -> impl Iterator<Item = (&[u8; 4], &[u8])> {
    std::iter::from_fn(move || {
        let (size, rest) = bytes.split_first_chunk::<4>()?;
        let (kind, _) = rest.split_first_chunk::<4>()?;
        let size = usize::try_from(u32::from_be_bytes(*size)).ok()?;
        let content = bytes.get(8..size)?;
        bytes = bytes.get(size..)?;
        Some((kind, content))
    })
}

fn find<'a>(bytes: &'a [u8], kind: &[u8; 4]) -> Option<&'a [u8]> {
    boxes(bytes).find(|(found, _)| *found == kind).map(|(_, content)| content)
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn track(trak: &[u8]) -> Option<PartTrack> {
    let number_of = number(find(trak, b"tkhd")?, 12)?;
    let mdia = find(trak, b"mdia")?;
    let timescale = number(find(mdia, b"mdhd")?, 12).filter(|&timescale| timescale > 0)?;
    let stsd = find(find(find(mdia, b"minf")?, b"stbl")?, b"stsd")?;
    let (kind, entry) = boxes(stsd.get(8..)?).next()?;
    let id = TrackId(u8::try_from(number_of.checked_sub(1)?).ok()?);
    // What stands before the boxes in an entry for pictures and in one for sound (ISO/IEC 14496-12, section 12.1.3 and 12.2.3).
    let picture = |kind| find(entry.get(78..)?, kind);
    let sound = entry.get(28..);
    let (codec, config) = match kind {
        b"avc1" => (Codec::H264, picture(b"avcC")?),
        b"hvc1" => (Codec::Hevc, picture(b"hvcC")?),
        b"av01" => (Codec::Av1, picture(b"av1C")?),
        b"Opus" => (Codec::Opus, find(sound?, b"dOps")?),
        b"mp4a" => elementary_stream(find(sound?, b"esds")?)?,
        _ => return None,
    };
    let mut track = codec::track(id, codec, Bytes::copy_from_slice(config)).ok()?;
    if let (Codec::Mp3, MediaInfo::Audio(info)) = (codec, &mut track.info) {
        info.channels = u16::from_be_bytes(*entry.get(16..)?.first_chunk()?);
        info.sample_rate = timescale;
    }
    Some(PartTrack { number: number_of, track, timescale })
}

/// Codec and decoder configuration in an `esds` with the lengths that [`crate::cmaf`] writes: four bytes each.
fn elementary_stream(esds: &[u8]) -> Option<(Codec, &[u8])> {
    const OBJECT_TYPE: usize = 4 + 5 + 3 + 5;
    const SPECIFIC: usize = OBJECT_TYPE + 13;
    match esds.get(OBJECT_TYPE)? {
        0x6b | 0x69 => Some((Codec::Mp3, &[])),
        0x40 => {
            let length =
                esds.get(SPECIFIC + 1..SPECIFIC + 5)?.iter().fold(0, |length, byte| length << 7 | usize::from(byte & 0x7f));
            Some((Codec::Aac, esds.get(SPECIFIC + 5..)?.get(..length)?))
        }
        _ => None,
    }
}
