//! RTMP chunk stream (RTMP 1.0, section 5.3): an incremental reader and a writer, both without any I/O.

use super::kind;
use std::collections::HashMap;

/// One complete message.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Message {
    pub chunk_stream: u32,
    /// Milliseconds, absolute.
    pub timestamp: u32,
    pub kind: u8,
    pub stream_id: u32,
    pub payload: Vec<u8>,
}

/// What made the incoming bytes unreadable; a test treats it as a fault of the server.
#[derive(Clone, Debug, PartialEq)]
pub struct Broken(pub String);

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "unreadable RTMP chunk: {}", self.0)
    }
}

impl std::error::Error for Broken {}

#[derive(Default)]
struct ChunkStream {
    timestamp: u32,
    delta: u32,
    length: usize,
    kind: u8,
    stream_id: u32,
    extended: bool,
    known: bool,
    partial: Vec<u8>,
}

/// Bytes in, messages out. Follows `Set Chunk Size` by itself.
pub struct ChunkReader {
    chunk_size: usize,
    streams: HashMap<u32, ChunkStream>,
    buffer: Vec<u8>,
    start: usize,
}

/// A message longer than this is taken for a broken stream.
const LONGEST_MESSAGE: usize = 16 << 20;

impl Default for ChunkReader {
    fn default() -> Self {
        ChunkReader { chunk_size: 128, streams: HashMap::new(), buffer: Vec::new(), start: 0 }
    }
}

impl ChunkReader {
    /// Adds received bytes; complete messages are then taken with [`ChunkReader::next`].
    pub fn push(&mut self, bytes: &[u8]) {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next complete message, or none when more bytes are needed.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Option<Message>, Broken> {
        while let Some((used, message)) = self.chunk()? {
            self.start += used;
            if let Some(message) = message {
                if message.kind == kind::SET_CHUNK_SIZE {
                    let size = message.payload.first_chunk::<4>().map(|size| u32::from_be_bytes(*size));
                    match size {
                        Some(size) if (1..=0x7fff_ffff).contains(&size) => self.chunk_size = size as usize,
                        _ => return Err(Broken(format!("set chunk size with {:?}", message.payload))),
                    }
                }
                return Ok(Some(message));
            }
        }
        Ok(None)
    }

    /// One chunk from the start of the buffer: the bytes it used, and the message that it completed.
    fn chunk(&mut self) -> Result<Option<(usize, Option<Message>)>, Broken> {
        let bytes = self.buffer.get(self.start..).unwrap_or_default();
        let mut cursor = bytes;
        let Some(first) = take(&mut cursor, 1) else { return Ok(None) };
        let (format, low) = (first[0] >> 6, u32::from(first[0] & 0x3f));
        let id = match low {
            0 => match take(&mut cursor, 1) {
                Some(id) => 64 + u32::from(id[0]),
                None => return Ok(None),
            },
            1 => match take(&mut cursor, 2) {
                Some(id) => 64 + u32::from(id[0]) + 256 * u32::from(id[1]),
                None => return Ok(None),
            },
            id => id,
        };
        let header_length = [11, 7, 3, 0][usize::from(format)];
        let Some(header) = take(&mut cursor, header_length) else { return Ok(None) };
        let stream = self.streams.entry(id).or_default();
        if format > 0 && !stream.known {
            return Err(Broken(format!("chunk stream {id} begins with format {format}")));
        }
        if format < 3 && !stream.partial.is_empty() {
            return Err(Broken(format!("chunk stream {id} begins a new message inside of an old one")));
        }
        let time_field = (format < 3).then(|| be24(header));
        let extended = time_field.map_or(stream.extended, |time| time == 0xff_ffff);
        let mut time = time_field.unwrap_or(stream.delta);
        if extended {
            match take(&mut cursor, 4) {
                Some(bytes) => time = bytes.iter().fold(0, |value, byte| value << 8 | u32::from(*byte)),
                None => return Ok(None),
            }
        }
        let length = if format < 2 { be24(&header[3..]) as usize } else { stream.length };
        if length > LONGEST_MESSAGE {
            return Err(Broken(format!("message of {length} bytes")));
        }
        let wanted = (length - stream.partial.len().min(length)).min(self.chunk_size);
        let Some(body) = take(&mut cursor, wanted) else { return Ok(None) };

        // The chunk is complete: only now may the state change.
        let begins = stream.partial.is_empty();
        stream.known = true;
        stream.extended = extended;
        stream.length = length;
        if format < 2 {
            stream.kind = header[6];
        }
        if format == 0 {
            stream.stream_id = u32::from_le_bytes([header[7], header[8], header[9], header[10]]);
            stream.timestamp = time;
            stream.delta = 0;
        } else if begins {
            stream.delta = if format == 3 && extended { stream.delta } else { time };
            stream.timestamp = stream.timestamp.wrapping_add(stream.delta);
        }
        stream.partial.extend_from_slice(body);
        let used = bytes.len() - cursor.len();
        if stream.partial.len() < length {
            return Ok(Some((used, None)));
        }
        let message = Message {
            chunk_stream: id,
            timestamp: stream.timestamp,
            kind: stream.kind,
            stream_id: stream.stream_id,
            payload: std::mem::take(&mut stream.partial),
        };
        Ok(Some((used, Some(message))))
    }
}

fn take<'a>(bytes: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (head, rest) = bytes.split_at_checked(count)?;
    *bytes = rest;
    Some(head)
}

fn be24(bytes: &[u8]) -> u32 {
    bytes.iter().take(3).fold(0, |value, byte| value << 8 | u32::from(*byte))
}

/// Appends `message` as a format 0 chunk and format 3 continuations of at most `chunk_size` bytes.
pub fn write(out: &mut Vec<u8>, message: &Message, chunk_size: usize) {
    let mut body = message.payload.chunks(chunk_size.max(1));
    header(out, message);
    out.extend_from_slice(body.next().unwrap_or_default());
    for chunk in body {
        continuation(out, message);
        out.extend_from_slice(chunk);
    }
}

/// The header of a first chunk; hostile tests use it alone, with a payload that does not fit to it.
pub fn header(out: &mut Vec<u8>, message: &Message) {
    let time = message.timestamp.min(0xff_ffff);
    out.push(message.chunk_stream as u8 & 0x3f);
    out.extend_from_slice(&time.to_be_bytes()[1..]);
    out.extend_from_slice(&(message.payload.len() as u32).to_be_bytes()[1..]);
    out.push(message.kind);
    out.extend_from_slice(&message.stream_id.to_le_bytes());
    if time == 0xff_ffff {
        out.extend_from_slice(&message.timestamp.to_be_bytes());
    }
}

/// The header of a continuation chunk of `message`.
pub fn continuation(out: &mut Vec<u8>, message: &Message) {
    out.push(0xc0 | message.chunk_stream as u8 & 0x3f);
    if message.timestamp >= 0xff_ffff {
        out.extend_from_slice(&message.timestamp.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(chunk_stream: u32, timestamp: u32, kind: u8, length: usize) -> Message {
        let payload = (0..length).map(|index| index as u8).collect();
        Message { chunk_stream, timestamp, kind, stream_id: 1, payload }
    }

    #[test]
    fn messages_survive_every_split() {
        let messages =
            [message(2, 0, kind::SET_CHUNK_SIZE, 0), message(4, 40, kind::VIDEO, 700), message(5, 0x0100_0001, kind::AUDIO, 300)];
        let mut bytes = Vec::new();
        for (index, message) in messages.iter().enumerate() {
            let mut message = message.clone();
            if index == 0 {
                message.payload = 256u32.to_be_bytes().to_vec();
            }
            write(&mut bytes, &message, if index == 0 { 128 } else { 256 });
        }
        for split in 0..bytes.len() {
            let mut reader = ChunkReader::default();
            let mut out = Vec::new();
            for part in [&bytes[..split], &bytes[split..]] {
                reader.push(part);
                while let Some(message) = reader.next().unwrap() {
                    out.push(message);
                }
            }
            assert_eq!(out.len(), 3, "split at {split}");
            assert_eq!(out[1..], messages[1..], "split at {split}");
        }
    }

    #[test]
    fn chunks_of_two_messages_may_alternate() {
        let (video, audio) = (message(4, 10, kind::VIDEO, 200), message(5, 20, kind::AUDIO, 200));
        let mut bytes = Vec::new();
        header(&mut bytes, &video);
        bytes.extend_from_slice(&video.payload[..128]);
        header(&mut bytes, &audio);
        bytes.extend_from_slice(&audio.payload[..128]);
        continuation(&mut bytes, &video);
        bytes.extend_from_slice(&video.payload[128..]);
        continuation(&mut bytes, &audio);
        bytes.extend_from_slice(&audio.payload[128..]);
        let mut reader = ChunkReader::default();
        reader.push(&bytes);
        assert_eq!(reader.next().unwrap(), Some(video));
        assert_eq!(reader.next().unwrap(), Some(audio));
        assert_eq!(reader.next().unwrap(), None);
    }

    #[test]
    fn deltas_add_up() {
        let mut bytes = Vec::new();
        header(&mut bytes, &message(4, 100, kind::VIDEO, 1));
        bytes.push(0);
        bytes.extend_from_slice(&[0x84, 0, 0, 33, 1]); // format 2: a delta of 33
        bytes.extend_from_slice(&[0xc4, 2]); // format 3: the same delta again
        let mut reader = ChunkReader::default();
        reader.push(&bytes);
        let times: Vec<u32> = std::iter::from_fn(|| reader.next().unwrap()).map(|message| message.timestamp).collect();
        assert_eq!(times, [100, 133, 166]);
    }

    #[test]
    fn a_first_chunk_without_a_header_is_an_error() {
        let mut reader = ChunkReader::default();
        reader.push(&[0xc4, 1, 2, 3]);
        assert!(reader.next().is_err());
    }
}
