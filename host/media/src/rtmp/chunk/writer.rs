//! Cuts messages into chunks. Every message has a full header, so that its bytes are the same whatever was sent before.

use super::header::EXTENDED;

/// Writes messages for one chunk size into any buffer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MessageWriter {
    pub chunk_size: usize,
}

/// Where a message goes and what it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Envelope {
    /// 2 to 63.
    pub chunk_stream: u8,
    /// Milliseconds.
    pub timestamp: u32,
    pub kind: u8,
    pub stream_id: u32,
}

impl MessageWriter {
    /// Bytes that a message of `length` bytes becomes.
    pub const fn size(self, timestamp: u32, length: usize) -> usize {
        let extension = if timestamp >= EXTENDED { 4 } else { 0 };
        let chunks = if length == 0 { 1 } else { length.div_ceil(self.chunk_size) };
        12 + extension + (chunks - 1) * (1 + extension) + length
    }

    /// Appends the message whose payload is `parts` one after the other: format 0, then format 3, with the extended timestamp
    /// repeated (RTMP 1.0, section 5.3.1.3). The parts must not have more than 0xffffff bytes together.
    pub fn write(self, out: &mut Vec<u8>, envelope: Envelope, parts: &[&[u8]]) {
        let Envelope { chunk_stream, timestamp, kind, stream_id } = envelope;
        let length: usize = parts.iter().map(|part| part.len()).sum();
        out.reserve(self.size(timestamp, length));
        let extended = (timestamp >= EXTENDED).then(|| timestamp.to_be_bytes());
        let [_, time @ ..] = timestamp.min(EXTENDED).to_be_bytes();
        let [_, size @ ..] = (length as u32).to_be_bytes();
        out.push(chunk_stream);
        out.extend(time);
        out.extend(size);
        out.push(kind);
        out.extend(stream_id.to_le_bytes());
        out.extend(extended.iter().flatten());
        let mut room = self.chunk_size;
        for part in parts {
            let mut rest = *part;
            while !rest.is_empty() {
                if room == 0 {
                    out.push(0xc0 | chunk_stream);
                    out.extend(extended.iter().flatten());
                    room = self.chunk_size;
                }
                let (now, later) = rest.split_at(rest.len().min(room));
                out.extend_from_slice(now);
                room -= now.len();
                rest = later;
            }
        }
    }
}
