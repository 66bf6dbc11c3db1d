//! Puts messages together from chunks that come in any split and any interleaving, within limits.

use bytes::Bytes;

use super::header::{self, Basic, EXTENDED, Header};
use super::{ChunkError, INITIAL_CHUNK_SIZE, MAX_CHUNK_SIZE, Message, kind};
use crate::flv::reader::Reader;

/// The longest header: 3 bytes basic, 11 message, 4 extended timestamp.
const MAX_HEADER: usize = 18;
/// What is set aside for a message before more of it has come, so that its length alone costs the reader nothing.
const FIRST_ALLOCATION: usize = 16 << 10;
/// Bytes of a protocol control or user control message. The longest one that exists has 10.
const MAX_CONTROL: usize = 64;

/// What a [`ChunkReader`] accepts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReaderLimits {
    pub chunk_streams: usize,
    /// Bytes of one audio, video or aggregate message.
    pub media: usize,
    /// Bytes of one command. Longer data messages are passed over.
    pub command: usize,
    /// Bytes of all unfinished messages together, as long as they say they are.
    pub buffered: usize,
}

impl ReaderLimits {
    /// Whether a message is kept; if not, it is passed over.
    const fn keeps(&self, id: u32, header: Header, wants_media: bool) -> Result<bool, ChunkError> {
        let Header { kind, length, .. } = header;
        let (keeps, max) = match kind {
            kind::SET_CHUNK_SIZE..=kind::SET_PEER_BANDWIDTH => (true, MAX_CONTROL),
            kind::AUDIO | kind::VIDEO | kind::AGGREGATE => (wants_media, self.media),
            kind::COMMAND | kind::COMMAND_AMF3 => (true, self.command),
            kind::DATA | kind::DATA_AMF3 => (wants_media && length <= self.command, usize::MAX),
            _ => (false, usize::MAX),
        };
        match keeps && length > max {
            true => Err(ChunkError::Length { kind, id, length, max }),
            false => Ok(keeps),
        }
    }
}

/// One direction of a connection's chunks, as messages.
#[derive(Debug)]
pub(crate) struct ChunkReader {
    limits: ReaderLimits,
    chunk_size: usize,
    wants_media: bool,
    streams: Vec<ChunkStream>,
    /// The lengths of all unfinished messages that are kept.
    reserved: usize,
    /// The beginning of a header whose rest has not come yet.
    carry: Carry,
    /// The place in `streams` of the chunk being read, and how much of its payload is left.
    payload: Option<(usize, usize)>,
}

#[derive(Debug)]
struct ChunkStream {
    id: u32,
    header: Header,
    /// The 32-bit timestamp field of the latest header, when it had one.
    extended: Option<u32>,
    /// Of the latest message.
    timestamp: u32,
    partial: Option<Partial>,
}

/// A message of which not all has come. The body is absent when it is passed over.
#[derive(Debug)]
struct Partial {
    left: usize,
    body: Option<Vec<u8>>,
}

impl Partial {
    fn take(&mut self, bytes: &[u8]) {
        if let Some(body) = &mut self.body {
            let needed = body.len() + bytes.len();
            if needed > body.capacity() {
                // Doubles, but ends exactly at the message's length: the allocation stays with the frame.
                let capacity = needed.max(2 * body.capacity()).min(body.len() + self.left);
                body.reserve_exact(capacity - body.len());
            }
            body.extend_from_slice(bytes);
        }
        self.left -= bytes.len();
    }
}

#[derive(Debug, Default)]
struct Carry {
    bytes: [u8; MAX_HEADER],
    len: usize,
}

impl Carry {
    fn filled(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    /// Appends the beginning of `input` and tells how much of it fitted.
    fn fill(&mut self, input: &[u8]) -> usize {
        let before = self.len;
        for (to, from) in self.bytes.iter_mut().skip(before).zip(input) {
            *to = *from;
            self.len += 1;
        }
        self.len - before
    }

    fn consume(&mut self, count: usize) {
        let count = count.min(self.len);
        self.bytes.copy_within(count..self.len, 0);
        self.len -= count;
    }
}

/// A chunk header that was read whole.
struct Chunk {
    basic: Basic,
    header: Header,
    extended: Option<u32>,
    /// Bytes that the header took.
    size: usize,
}

impl ChunkReader {
    pub const fn new(limits: ReaderLimits) -> Self {
        Self {
            limits,
            chunk_size: INITIAL_CHUNK_SIZE,
            wants_media: false,
            streams: Vec::new(),
            reserved: 0,
            carry: Carry { bytes: [0; MAX_HEADER], len: 0 },
            payload: None,
        }
    }

    /// Whether audio, video and data messages that begin from now on are kept. At first they are not.
    pub const fn set_wants_media(&mut self, wants: bool) {
        self.wants_media = wants;
    }

    /// Takes bytes off `input` up to the end of the next message. `None`: all of it was taken and the message is not whole yet.
    pub fn next(&mut self, input: &mut &[u8]) -> Result<Option<Message>, ChunkError> {
        loop {
            let Some((at, left)) = self.payload else {
                let Some(chunk) = self.read_header(input)? else { return Ok(None) };
                self.payload = Some(self.begin(&chunk)?);
                continue;
            };
            if let Some(message) = self.read_payload(at, left, input) {
                if !self.follow(&message)? {
                    return Ok(Some(message));
                }
            } else if self.payload.is_some() {
                return Ok(None);
            }
        }
    }

    /// Follows the messages that change how chunks are read. True when there is nothing more to them.
    fn follow(&mut self, message: &Message) -> Result<bool, ChunkError> {
        let mut reader = Reader::new(&message.payload);
        match message.kind {
            kind::SET_CHUNK_SIZE => {
                if let Some(size) = reader.u32() {
                    // The first bit is reserved; what is larger than any message means the same as the largest message.
                    self.chunk_size = ((size & 0x7fff_ffff) as usize).min(MAX_CHUNK_SIZE);
                }
                if self.chunk_size == 0 { Err(ChunkError::ChunkSize) } else { Ok(true) }
            }
            kind::ABORT => {
                if let Some(stream) = reader.u32().and_then(|id| self.streams.iter_mut().find(|stream| stream.id == id)) {
                    stream.drop_partial(&mut self.reserved);
                }
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    fn read_header(&mut self, input: &mut &[u8]) -> Result<Option<Chunk>, ChunkError> {
        if self.carry.len == 0
            && let Some(chunk) = self.parse(input)?
        {
            *input = input.get(chunk.size..).unwrap_or_default();
            return Ok(Some(chunk));
        }
        let before = self.carry.len;
        let added = self.carry.fill(input);
        let Some(chunk) = self.parse(self.carry.filled())? else {
            *input = input.get(added..).unwrap_or_default();
            return Ok(None);
        };
        // What the header did not need goes back to the input. If it needed less than was there before, because some of that
        // turned out to be no extended timestamp, the rest stays in the carry as payload.
        *input = input.get(chunk.size.saturating_sub(before)..).unwrap_or_default();
        self.carry.len = before.max(chunk.size);
        self.carry.consume(chunk.size);
        Ok(Some(chunk))
    }

    /// Reads a header without changing anything. `None`: more bytes are needed.
    fn parse(&self, bytes: &[u8]) -> Result<Option<Chunk>, ChunkError> {
        let mut reader = Reader::new(bytes);
        let Some(basic) = header::basic(&mut reader) else { return Ok(None) };
        let stream = self.streams.iter().find(|stream| stream.id == basic.id);
        // librtmp opens a chunk stream with format 1: its message stream is then 0.
        if stream.is_none() && basic.format >= 2 {
            return Err(ChunkError::NoHeader { format: basic.format, id: basic.id });
        }
        let before = stream.map(|stream| stream.header).unwrap_or_default();
        let Some(header) = header::message(&mut reader, basic.format, before) else { return Ok(None) };
        let extended = if basic.format == 3 {
            let extended = stream.and_then(|stream| stream.extended.map(|extended| (extended, stream.timestamp)));
            if let Some((extended, timestamp)) = extended
                && header::repeated(&mut reader, extended, timestamp).is_none()
            {
                return Ok(None);
            }
            extended.map(|(extended, _)| extended)
        } else if header.time == EXTENDED {
            let Some(extended) = reader.u32() else { return Ok(None) };
            Some(extended)
        } else {
            None
        };
        Ok(Some(Chunk { basic, header, extended, size: reader.position() }))
    }

    /// Begins the message of `chunk` or goes on with it. Gives the place of its chunk stream and the length of its payload.
    fn begin(&mut self, chunk: &Chunk) -> Result<(usize, usize), ChunkError> {
        let Basic { format, id } = chunk.basic;
        let at = match self.streams.iter().position(|stream| stream.id == id) {
            Some(at) => at,
            None if self.streams.len() >= self.limits.chunk_streams => {
                return Err(ChunkError::Streams { max: self.limits.chunk_streams });
            }
            None => {
                self.streams.push(ChunkStream { id, header: Header::default(), extended: None, timestamp: 0, partial: None });
                self.streams.len() - 1
            }
        };
        let Some(stream) = self.streams.get_mut(at) else { return Ok((at, 0)) };
        if let Some(partial) = &stream.partial {
            // Some senders write full headers on the chunks in the middle of a message. As in FFmpeg, the same length and type
            // mean that it goes on.
            let same = stream.header.length == chunk.header.length && stream.header.kind == chunk.header.kind;
            if format == 3 || same {
                return Ok((at, partial.left.min(self.chunk_size)));
            }
            stream.drop_partial(&mut self.reserved);
        }
        let time = chunk.extended.unwrap_or(chunk.header.time);
        // A format 3 chunk that begins a message steps on by the field before it, even if that was absolute (5.3.1.2.4).
        stream.timestamp = if format == 0 { time } else { stream.timestamp.wrapping_add(time) };
        stream.header = chunk.header;
        stream.extended = chunk.extended;
        let length = chunk.header.length;
        let keeps = self.limits.keeps(id, chunk.header, self.wants_media)?;
        if keeps {
            self.reserved += length;
            if self.reserved > self.limits.buffered {
                return Err(ChunkError::Buffered { max: self.limits.buffered });
            }
        }
        let body = keeps.then(|| Vec::with_capacity(length.min(FIRST_ALLOCATION)));
        stream.partial = Some(Partial { left: length, body });
        Ok((at, length.min(self.chunk_size)))
    }

    /// Moves up to `left` bytes of payload. Gives the message when it is whole; `payload` tells whether the chunk is.
    fn read_payload(&mut self, at: usize, left: usize, input: &mut &[u8]) -> Option<Message> {
        let stream = self.streams.get_mut(at)?;
        let partial = stream.partial.as_mut()?;
        let carried = left.min(self.carry.len);
        partial.take(self.carry.filled().get(..carried).unwrap_or_default());
        self.carry.consume(carried);
        let left = left - carried;
        let (now, rest) = input.split_at(left.min(input.len()));
        partial.take(now);
        *input = rest;
        let left = left - now.len();
        self.payload = (left > 0).then_some((at, left));
        if partial.left > 0 {
            return None;
        }
        let body = stream.partial.take()?.body?;
        let Header { kind, stream_id, .. } = stream.header;
        self.reserved -= body.len();
        Some(Message { timestamp: stream.timestamp, kind, stream_id, payload: Bytes::from(body) })
    }
}

impl ChunkStream {
    fn drop_partial(&mut self, reserved: &mut usize) {
        if let Some(Partial { body: Some(_), .. }) = self.partial.take() {
            *reserved -= self.header.length;
        }
    }
}
