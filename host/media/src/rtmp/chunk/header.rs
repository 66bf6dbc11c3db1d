//! Chunk headers (RTMP 1.0, section 5.3.1): what stands before the payload of each chunk.

use crate::flv::reader::Reader;

/// A timestamp field of this value says that the real one follows in 32 bits (5.3.1.3).
pub(super) const EXTENDED: u32 = 0xff_ffff;

/// The basic header (5.3.1.1): the format of the message header and the chunk stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Basic {
    pub format: u8,
    pub id: u32,
}

/// A message header (5.3.1.2): what is missing is the same as in the chunk before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Header {
    /// The timestamp or the step from the one before, without the extension.
    pub time: u32,
    pub length: usize,
    pub kind: u8,
    pub stream_id: u32,
}

pub(super) fn basic(reader: &mut Reader<'_>) -> Option<Basic> {
    let first = reader.u8()?;
    let id = match first & 0x3f {
        0 => 64 + u32::from(reader.u8()?),
        1 => 64 + u32::from(reader.u16()?.swap_bytes()),
        id => u32::from(id),
    };
    Some(Basic { format: first >> 6, id })
}

/// The header of a chunk of `format` after one with the header `before`.
pub(super) fn message(reader: &mut Reader<'_>, format: u8, before: Header) -> Option<Header> {
    let mut header = before;
    if format <= 2 {
        header.time = reader.u24()?;
    }
    if format <= 1 {
        header.length = reader.u24()? as usize;
        header.kind = reader.u8()?;
    }
    if format == 0 {
        header.stream_id = reader.u32()?.swap_bytes();
    }
    Some(header)
}

/// The extended timestamp of a format 3 chunk, whose header before had `extended`. Not every sender repeats it there, and some
/// repeat the message's `timestamp` where the header had a step, so that only a look at the bytes tells: what differs is payload.
/// `None`: more bytes are needed to tell.
pub(super) fn repeated(reader: &mut Reader<'_>, extended: u32, timestamp: u32) -> Option<()> {
    let candidates = [extended.to_be_bytes(), timestamp.to_be_bytes()];
    let ahead = reader.peek(4);
    if !candidates.iter().any(|candidate| candidate.starts_with(ahead)) {
        return Some(());
    }
    reader.take(4).map(drop)
}
