//! Where the segments lie in a finished recording. The index is the file's last box, so that the file is all that has to be kept.

use bytes::Bytes;

use crate::cmaf::boxes;
use crate::cmaf::init::movie;
use crate::codec;
use crate::track::{AudioInfo, Codec, MediaInfo, MediaKind, Track, TrackId};

/// The type of the `uuid` box.
const TYPE: [u8; 16] = *b"flyloft segments";
const VERSION: u32 = 1;
/// The last bytes of the file, which say how long the index is: its size as 32 bits.
pub const TAIL: u64 = 4;
const MAX_INDEX: u64 = 256 << 20;
const CODECS: [Codec; 6] = [Codec::H264, Codec::Hevc, Codec::Av1, Codec::Aac, Codec::Opus, Codec::Mp3];

/// Why an index can't be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the file's segment index can't be read ({0}): it is no finished recording, or it is damaged")]
pub struct IndexError(&'static str);

/// A finished recording as HLS and DASH see it: at most one track of each kind.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Index {
    /// Where the presentation begins, in microseconds of the tracks' time.
    pub zero: i64,
    /// In microseconds.
    pub duration: i64,
    pub periods: Vec<Period>,
    pub segments: Vec<Segment>,
}

/// A stretch with the same decoder configurations.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Period {
    pub video: Option<Track>,
    pub audio: Option<Track>,
    pub video_timescale: u32,
    pub audio_timescale: u32,
}

/// About four seconds, from key frame to key frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    /// Index in [`Index::periods`].
    pub period: u32,
    pub video: Option<Span>,
    pub audio: Option<Span>,
}

/// One track of a segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// Where its `moof` lies in the file.
    pub offset: u64,
    /// Bytes of `moof` and `mdat`.
    pub size: u32,
    /// Presentation time of its first sample, in ticks.
    pub start: i64,
    /// In ticks.
    pub duration: u32,
    /// It begins with a key frame.
    pub independent: bool,
}

impl Period {
    pub const fn track(&self, kind: MediaKind) -> Option<&Track> {
        match kind {
            MediaKind::Video => self.video.as_ref(),
            MediaKind::Audio => self.audio.as_ref(),
        }
    }

    pub const fn timescale(&self, kind: MediaKind) -> u32 {
        match kind {
            MediaKind::Video => self.video_timescale,
            MediaKind::Audio => self.audio_timescale,
        }
    }

    /// The initialization segment of a track, in the numbering of the file.
    pub fn init(&self, kind: MediaKind) -> Option<Bytes> {
        let track = self.track(kind)?;
        Some(movie(std::iter::once((super::track_number(track.id), track, self.timescale(kind)))))
    }
}

impl Segment {
    pub const fn span(&self, kind: MediaKind) -> Option<&Span> {
        match kind {
            MediaKind::Video => self.video.as_ref(),
            MediaKind::Audio => self.audio.as_ref(),
        }
    }
}

impl Index {
    pub fn has(&self, kind: MediaKind) -> bool {
        self.periods.iter().any(|period| period.track(kind).is_some())
    }

    /// The segments that have this kind of track, in order: their places here are the numbers in their addresses.
    pub fn spans(&self, kind: MediaKind) -> impl Iterator<Item = (&Segment, &Span)> {
        self.segments.iter().filter_map(move |segment| Some((segment, segment.span(kind)?)))
    }

    pub fn period_of(&self, segment: &Segment) -> Option<&Period> {
        self.periods.get(usize::try_from(segment.period).ok()?)
    }

    /// The box to put at the end of the file.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(1024 + self.segments.len() * 64);
        boxes::boxed(&mut out, b"uuid", |out| {
            out.extend_from_slice(&TYPE);
            boxes::u32(out, VERSION);
            boxes::u64(out, self.zero as u64);
            boxes::u64(out, self.duration as u64);
            boxes::u32(out, self.periods.len() as u32);
            for period in &self.periods {
                for kind in [MediaKind::Video, MediaKind::Audio] {
                    write_track(out, period.track(kind), period.timescale(kind));
                }
            }
            boxes::u32(out, self.segments.len() as u32);
            for segment in &self.segments {
                boxes::u32(out, segment.period);
                for span in [segment.video, segment.audio] {
                    let flags = u8::from(span.is_some()) | u8::from(span.is_some_and(|span| span.independent)) << 1;
                    let span = span.unwrap_or_default();
                    boxes::u8(out, flags);
                    boxes::u64(out, span.offset);
                    boxes::u32(out, span.size);
                    boxes::u64(out, span.start as u64);
                    boxes::u32(out, span.duration);
                }
            }
            let size = out.len() + 4;
            boxes::u32(out, size as u32);
        });
        out
    }

    /// How many bytes at the end of the file are its index, by the file's last [`TAIL`] bytes and its size.
    pub fn length(tail: [u8; 4], file: u64) -> Result<u64, IndexError> {
        let length = u64::from(u32::from_be_bytes(tail));
        if (48..=MAX_INDEX.min(file)).contains(&length) { Ok(length) } else { Err(IndexError("its length is impossible")) }
    }

    /// Reads the last bytes of a file, as many as [`Index::length`] says. All places are within `file` bytes.
    pub fn decode(bytes: &[u8], file: u64) -> Result<Self, IndexError> {
        let mut input = Input(bytes);
        input.u32()?;
        if input.take(4)? != b"uuid" || input.take(16)? != TYPE {
            return Err(IndexError("it is not there"));
        }
        if input.u32()? != VERSION {
            return Err(IndexError("it was written by another version"));
        }
        let mut index = Self { zero: input.u64()? as i64, duration: input.u64()? as i64, ..Self::default() };
        for _ in 0..input.u32()? {
            let (video, video_timescale) = read_track(&mut input)?;
            let (audio, audio_timescale) = read_track(&mut input)?;
            index.periods.push(Period { video, audio, video_timescale, audio_timescale });
        }
        for _ in 0..input.u32()? {
            let period = input.u32()?;
            let (video, audio) = (read_span(&mut input, file)?, read_span(&mut input, file)?);
            if period as usize >= index.periods.len() {
                return Err(IndexError("a segment has no period"));
            }
            index.segments.push(Segment { period, video, audio });
        }
        Ok(index)
    }
}

fn write_track(out: &mut Vec<u8>, track: Option<&Track>, timescale: u32) {
    let codec = track.and_then(|track| CODECS.iter().position(|codec| *codec == track.codec));
    boxes::u8(out, codec.map_or(0, |at| at as u8 + 1));
    boxes::u8(out, track.map_or(0, |track| track.id.0));
    boxes::u32(out, timescale);
    boxes::u32(out, track.and_then(Track::audio).map_or(0, |info| info.sample_rate));
    boxes::u16(out, track.and_then(Track::audio).map_or(0, |info| info.channels));
    let config = track.map_or(&[][..], |track| &track.config);
    boxes::u32(out, config.len() as u32);
    out.extend_from_slice(config);
}

fn read_track(input: &mut Input<'_>) -> Result<(Option<Track>, u32), IndexError> {
    let codec = input.u8()?;
    let id = TrackId(input.u8()?);
    let timescale = input.u32()?;
    let (sample_rate, channels) = (input.u32()?, input.u16()?);
    let length = input.u32()?;
    let config = input.take(length as usize)?;
    let Some(at) = codec.checked_sub(1) else { return Ok((None, timescale)) };
    let codec = *CODECS.get(usize::from(at)).ok_or(IndexError("a codec that is not known"))?;
    let track = codec::track(id, codec, Bytes::copy_from_slice(config));
    let mut track = track.map_err(|_| IndexError("a decoder configuration that can't be understood"))?;
    if timescale == 0 {
        return Err(IndexError("a time scale of 0"));
    }
    if let (Codec::Mp3, MediaInfo::Audio(info)) = (codec, &mut track.info) {
        *info = AudioInfo { sample_rate, channels, ..info.clone() };
    }
    Ok((Some(track), timescale))
}

fn read_span(input: &mut Input<'_>, file: u64) -> Result<Option<Span>, IndexError> {
    let flags = input.u8()?;
    let (offset, size) = (input.u64()?, input.u32()?);
    let (start, duration) = (input.u64()? as i64, input.u32()?);
    if flags & 1 == 0 {
        return Ok(None);
    }
    if offset.checked_add(u64::from(size)).is_none_or(|end| end > file) {
        return Err(IndexError("a segment beyond the end of the file"));
    }
    Ok(Some(Span { offset, size, start, duration, independent: flags & 2 != 0 }))
}

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], IndexError> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(IndexError("it ends too early"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], IndexError> {
        self.take(N)?.try_into().map_err(|_| IndexError("it ends too early"))
    }

    fn u8(&mut self) -> Result<u8, IndexError> {
        Ok(u8::from_be_bytes(self.array()?))
    }

    fn u16(&mut self) -> Result<u16, IndexError> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    fn u32(&mut self) -> Result<u32, IndexError> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    fn u64(&mut self) -> Result<u64, IndexError> {
        Ok(u64::from_be_bytes(self.array()?))
    }
}
