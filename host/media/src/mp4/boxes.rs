//! Box headers (ISO/IEC 14496-12, section 4.2) and the fields in a box, from bytes that nobody has checked.

use std::fmt;

use bytes::Bytes;

use super::Mp4Error;
use super::source::{Flow, Source};

/// A four-character code.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) struct FourCc(pub [u8; 4]);

impl fmt::Display for FourCc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

impl fmt::Debug for FourCc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    pub kind: FourCc,
    /// Where the box begins, where its content does, and where both end, in bytes of the file.
    pub start: u64,
    pub content: u64,
    pub end: u64,
}

impl Header {
    /// Bytes of the content.
    pub const fn length(&self) -> u64 {
        self.end.saturating_sub(self.content)
    }
}

/// The first `most` bytes of a box's content, or all if it has fewer. They are read together with the header, because whoever is
/// stopped here asks for the header again.
pub(super) fn content(source: &mut Source, found: &Header, most: u64, ahead: u64) -> Flow<Bytes> {
    let (before, length) = (found.content - found.start, found.length().min(most));
    let window = source.window(found.start, before + length, ahead)?;
    Ok(window.slice(found.content, length))
}

pub(super) fn invalid(path: impl Into<String>, offset: u64, problem: impl Into<String>) -> Mp4Error {
    Mp4Error::Invalid { path: path.into(), offset, problem: problem.into() }
}

/// The path of a box in `parent`; the file itself has none.
pub(super) fn join(parent: &str, kind: FourCc) -> String {
    if parent.is_empty() { kind.to_string() } else { format!("{parent}/{kind}") }
}

/// The header of the box at `at` in a parent that ends at `limit`, or `None` at its end. A box in another box fits into it; one of
/// the file (`path` empty) may claim to go on behind the file's end. Where it must be read, `ahead` bytes are.
pub(super) fn header(source: &mut Source, at: u64, limit: u64, ahead: u64, path: &str) -> Flow<Option<Header>> {
    // Up to seven bytes that are left are padding, such as the four zeros that QuickTime ends lists with.
    let room = limit.saturating_sub(at);
    if room < 8 {
        return Ok(None);
    }
    let window = source.window(at, room.min(16), ahead)?;
    let mut fields = Fields::new(path, at, window.get(at, room.min(16)).unwrap_or_default());
    let size = u64::from(fields.u32()?);
    let kind = FourCc(fields.array()?);
    let problem = |problem: String| invalid(join(path, kind), at, problem);
    let (size, header) = match size {
        0 => (room, 8),
        1 if room < 16 => return Err(problem("its 64-bit size is cut off".into()).into()),
        1 => (fields.u64()?, 16),
        size => (size, 8),
    };
    if size < header {
        return Err(problem(format!("its size of {size} bytes is smaller than its header")).into());
    }
    let end = at.saturating_add(size);
    if end > limit && !path.is_empty() {
        return Err(
            problem(format!("its size of {size} bytes is larger than the {room} bytes that {path} has left for it")).into()
        );
    }
    Ok(Some(Header { kind, start: at, content: at + header, end }))
}

/// Reads big-endian fields and names the place where they end too early.
pub(super) struct Fields<'a> {
    path: &'a str,
    start: u64,
    data: &'a [u8],
    at: usize,
}

impl<'a> Fields<'a> {
    /// `start` is the offset of `data` in the file.
    pub const fn new(path: &'a str, start: u64, data: &'a [u8]) -> Self {
        Self { path, start, data, at: 0 }
    }

    /// Offset in the file of what is read next.
    pub const fn offset(&self) -> u64 {
        self.start + self.at as u64
    }

    pub const fn left(&self) -> usize {
        self.data.len() - self.at
    }

    pub fn take(&mut self, count: usize) -> Result<&'a [u8], Mp4Error> {
        let taken = self.at.checked_add(count).and_then(|end| self.data.get(self.at..end));
        let taken = taken.ok_or_else(|| {
            invalid(
                self.path,
                self.offset(),
                format!("it ends inside its fields: {count} bytes are needed, {} are left", self.left()),
            )
        })?;
        self.at += count;
        Ok(taken)
    }

    pub fn rest(&mut self) -> &'a [u8] {
        let rest = self.data.get(self.at..).unwrap_or_default();
        self.at = self.data.len();
        rest
    }

    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Mp4Error> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    pub fn u16(&mut self) -> Result<u16, Mp4Error> {
        self.array().map(u16::from_be_bytes)
    }

    pub fn u32(&mut self) -> Result<u32, Mp4Error> {
        self.array().map(u32::from_be_bytes)
    }

    pub fn i32(&mut self) -> Result<i32, Mp4Error> {
        self.array().map(i32::from_be_bytes)
    }

    pub fn u64(&mut self) -> Result<u64, Mp4Error> {
        self.array().map(u64::from_be_bytes)
    }

    /// 64 bits, or 32 in a box of version 0.
    pub fn wide(&mut self, version: u8) -> Result<u64, Mp4Error> {
        if version == 0 { self.u32().map(u64::from) } else { self.u64() }
    }

    /// Version and flags of a full box.
    pub fn version(&mut self) -> Result<(u8, u32), Mp4Error> {
        let word = self.u32()?;
        Ok(((word >> 24) as u8, word & 0x00ff_ffff))
    }
}
