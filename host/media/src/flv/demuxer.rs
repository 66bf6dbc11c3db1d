//! Reads an FLV file or stream that comes in any split.

use std::collections::VecDeque;

use bytes::Bytes;

use super::reader::Reader;
use super::tag::TagHeader;
use super::{Media, Metadata, TagReader, amf0, kind};

/// Bytes of one tag's body.
const MAX_BODY: usize = 8 << 20;
/// Bytes between the file header and the first tag.
const MAX_OFFSET: usize = 64 << 10;
/// What is set aside for a body before more of it has come.
const FIRST_ALLOCATION: usize = 16 << 10;
const FILE_HEADER: usize = 9;

/// What a file holds.
#[derive(Clone, Debug, PartialEq)]
pub enum FlvEvent {
    Header { has_audio: bool, has_video: bool },
    Metadata(Metadata),
    Media(Media),
}

/// Bytes are no FLV. `at` counts from the beginning of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FlvError {
    #[error("the file does not begin with \"FLV\": it is another format")]
    Signature,
    #[error("the file header says that the first tag is at byte {offset}, which is not behind it: the file is damaged")]
    Offset { offset: usize },
    #[error("the tag at byte {at} says it has {length} bytes, over the limit of {MAX_BODY}: the file is damaged")]
    Length { at: u64, length: usize },
}

/// Reads a file from its first byte. Feed it with [`Self::handle_input`], then take all events.
#[derive(Debug)]
pub struct Demuxer {
    state: State,
    /// Bytes read before those in `head`.
    at: u64,
    /// The beginning of a header.
    head: Vec<u8>,
    tags: TagReader,
    events: VecDeque<FlvEvent>,
}

#[derive(Debug)]
enum State {
    FileHeader,
    Skip {
        left: usize,
    },
    /// The size of the tag before, and the header of the next.
    TagHeader,
    Body {
        header: TagHeader,
        body: Vec<u8>,
    },
    Failed(FlvError),
}

impl Default for Demuxer {
    fn default() -> Self {
        Self { state: State::FileHeader, at: 0, head: Vec::new(), tags: TagReader::default(), events: VecDeque::new() }
    }
}

impl Demuxer {
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes of the file. After an error there is no more to read.
    pub fn handle_input(&mut self, bytes: &[u8]) -> Result<(), FlvError> {
        let mut input = bytes;
        loop {
            match self.step(&mut input) {
                Ok(true) => {}
                Ok(false) => return Ok(()),
                Err(error) => {
                    self.state = State::Failed(error);
                    return Err(error);
                }
            }
        }
    }

    pub fn poll_event(&mut self) -> Option<FlvEvent> {
        self.events.pop_front()
    }

    /// False when more input is needed.
    fn step(&mut self, input: &mut &[u8]) -> Result<bool, FlvError> {
        match &mut self.state {
            State::FileHeader => {
                let Some(head) = self.header(FILE_HEADER, input) else { return Ok(false) };
                let mut reader = Reader::new(&head);
                let (signature, _version, flags, offset) = (reader.take(3), reader.u8(), reader.u8(), reader.u32());
                if signature != Some(b"FLV") {
                    return Err(FlvError::Signature);
                }
                let (flags, offset) = (flags.unwrap_or_default(), offset.unwrap_or_default() as usize);
                if !(FILE_HEADER..=MAX_OFFSET).contains(&offset) {
                    return Err(FlvError::Offset { offset });
                }
                self.events.push_back(FlvEvent::Header { has_audio: flags & 4 != 0, has_video: flags & 1 != 0 });
                self.state = State::Skip { left: offset - FILE_HEADER };
            }
            State::Skip { left } => {
                let (skipped, rest) = input.split_at(input.len().min(*left));
                *left -= skipped.len();
                self.at += skipped.len() as u64;
                *input = rest;
                if *left > 0 {
                    return Ok(false);
                }
                self.state = State::TagHeader;
            }
            State::TagHeader => {
                let at = self.at + 4;
                let Some(head) = self.header(4 + TagHeader::SIZE, input) else { return Ok(false) };
                let mut reader = Reader::new(&head);
                reader.u32();
                let Some(header) = TagHeader::read(&mut reader) else { return Ok(false) };
                if header.length > MAX_BODY {
                    return Err(FlvError::Length { at, length: header.length });
                }
                self.state = State::Body { header, body: Vec::with_capacity(header.length.min(FIRST_ALLOCATION)) };
            }
            State::Body { header, body } => {
                let (now, rest) = input.split_at(input.len().min(header.length - body.len()));
                body.extend_from_slice(now);
                self.at += now.len() as u64;
                *input = rest;
                if body.len() < header.length {
                    return Ok(false);
                }
                let (header, body) = (*header, Bytes::from(std::mem::take(body)));
                self.state = State::TagHeader;
                self.tag(header, &body);
            }
            State::Failed(error) => return Err(*error),
        }
        Ok(true)
    }

    /// The next `size` bytes, when they are all there.
    fn header(&mut self, size: usize, input: &mut &[u8]) -> Option<Vec<u8>> {
        let (now, rest) = input.split_at(input.len().min(size - self.head.len()));
        self.head.extend_from_slice(now);
        *input = rest;
        if self.head.len() < size {
            return None;
        }
        self.at += size as u64;
        Some(std::mem::take(&mut self.head))
    }

    fn tag(&mut self, header: TagHeader, body: &Bytes) {
        let events = &mut self.events;
        let push = |media| events.push_back(FlvEvent::Media(media));
        match header.kind {
            _ if header.encrypted => {}
            kind::AUDIO => self.tags.audio(header.timestamp, body, push),
            kind::VIDEO => self.tags.video(header.timestamp, body, push),
            kind::SCRIPT => {
                let metadata = amf0::read(body).ok().and_then(|values| Metadata::from_values(&values));
                self.events.extend(metadata.map(FlvEvent::Metadata));
            }
            _ => {}
        }
    }
}
