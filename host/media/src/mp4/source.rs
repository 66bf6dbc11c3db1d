//! The bytes of the file that are at hand, and the ones that are wanted next.

use std::ops::Range;

use bytes::Bytes;

use super::Mp4Error;

/// No read is larger than this.
pub const MAX_READ: u64 = 1 << 20;

/// Why a parser did not come to its end: it needs bytes and goes on where it was when they are there, or the file is broken.
#[derive(Debug)]
pub(super) enum Stop {
    Want(Range<u64>),
    Broken(Mp4Error),
}

impl From<Mp4Error> for Stop {
    fn from(error: Mp4Error) -> Self {
        Self::Broken(error)
    }
}

pub(super) type Flow<T> = Result<T, Stop>;

/// A stretch of the file. Cloning shares the bytes.
#[derive(Clone, Debug, Default)]
pub(super) struct Window {
    start: u64,
    bytes: Bytes,
}

impl Window {
    /// A copy, so that a small stretch does not hold on to the large buffer that it came in.
    pub fn copy(start: u64, bytes: &[u8]) -> Self {
        Self { start, bytes: Bytes::copy_from_slice(bytes) }
    }

    pub fn get(&self, at: u64, length: u64) -> Option<&[u8]> {
        let from = usize::try_from(at.checked_sub(self.start)?).ok()?;
        self.bytes.get(from..from.checked_add(usize::try_from(length).ok()?)?)
    }

    /// Like [`Window::get`], and shared; empty if it is not all there.
    pub fn slice(&self, at: u64, length: u64) -> Bytes {
        self.get(at, length).map_or_else(Bytes::new, |bytes| self.bytes.slice_ref(bytes))
    }

    pub fn held(&self) -> usize {
        self.bytes.len()
    }
}

/// The file as its reader sees it. Parsers ask for stretches; what is not there stops them.
#[derive(Debug)]
pub(super) struct Source {
    size: u64,
    /// Kept for good: the movie box of a small file.
    kept: Window,
    recent: Window,
    /// Reads are no larger, unless more is needed at once.
    most: u64,
    wanted: Option<Range<u64>>,
}

impl Source {
    /// Reads ahead at most `most` bytes.
    pub fn new(size: u64, kept: Window, most: u64) -> Self {
        Self { size, kept, recent: Window::default(), most, wanted: None }
    }

    pub const fn most(&self) -> u64 {
        self.most
    }

    /// Bytes in the file.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// A stretch that holds at least `need` bytes (at most [`MAX_READ`]) from `at` on. If it must be read, `ahead` bytes are read.
    pub fn window(&mut self, at: u64, need: u64, ahead: u64) -> Flow<Window> {
        if self.kept.get(at, need).is_some() {
            return Ok(self.kept.clone());
        }
        if self.recent.get(at, need).is_some() {
            return Ok(self.recent.clone());
        }
        let needed = at.saturating_add(need);
        if needed > self.size {
            return Err(Mp4Error::Truncated { size: self.size, needed }.into());
        }
        let want = at..at.saturating_add(need.max(ahead.min(self.most)).min(MAX_READ)).min(self.size);
        self.wanted = Some(want.clone());
        Err(Stop::Want(want))
    }

    /// Takes the range that was wanted. Less of it means that the file ends there.
    pub fn supply(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Mp4Error> {
        let length = bytes.len() as u64;
        let asked = self.wanted.as_ref().is_some_and(|wanted| wanted.start == offset && length <= wanted.end - offset);
        let Some(wanted) = self.wanted.take_if(|_| asked) else { return Err(Mp4Error::Unasked { offset, length }) };
        if length < wanted.end - offset {
            return Err(Mp4Error::Truncated { size: offset + length, needed: self.size });
        }
        self.recent = Window::copy(offset, bytes);
        Ok(())
    }

    /// The stretch from `start` to `end`, if it is at hand, is kept for good.
    pub fn keep(&mut self, start: u64, end: u64) -> Option<Window> {
        let window = Window::copy(start, self.recent.get(start, end.checked_sub(start)?)?);
        self.kept = window.clone();
        Some(window)
    }

    /// Lets go of the last stretch if it is large.
    pub fn settle(&mut self) {
        if self.recent.held() > 64 << 10 {
            self.recent = Window::default();
        }
    }

    pub fn held(&self) -> usize {
        self.kept.held() + self.recent.held()
    }
}
