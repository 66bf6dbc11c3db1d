//! The tags of an FLV stream that comes as an endless HTTP/1.1 response.

use super::response::Response;
use anyhow::{Result, ensure};
use flyloft_tests::rtmp::kind;

/// One FLV tag without its payload.
#[derive(Debug, PartialEq)]
pub struct Tag {
    /// 8 audio, 9 video, 18 script data.
    pub kind: u8,
    /// Milliseconds.
    pub timestamp: u32,
    /// Codec configuration, no frame.
    pub config: bool,
}

/// Bytes of a response in, tags out.
#[derive(Default)]
pub struct Reader {
    response: Response,
    body: Vec<u8>,
    start: usize,
    began: bool,
}

impl Reader {
    /// Adds received bytes. An error says what the server answered when that is no stream.
    pub fn push(&mut self, bytes: &[u8]) -> Result<()> {
        self.body.drain(..self.start);
        self.start = 0;
        self.response.push(bytes, &mut self.body)?;
        ensure!(!self.response.done(), "the server ended the stream");
        Ok(())
    }

    /// The next complete tag.
    pub fn next(&mut self) -> Result<Option<Tag>> {
        let bytes = self.body.get(self.start..).unwrap_or_default();
        if !self.began {
            // File header (9 bytes) and the size of the tag before the first (4 bytes).
            let Some(header) = bytes.get(..13) else { return Ok(None) };
            ensure!(header.starts_with(b"FLV\x01"), "no FLV header: {header:?}");
            self.began = true;
            self.start += 13;
            return self.next();
        }
        let Some((header, rest)) = bytes.split_at_checked(11) else { return Ok(None) };
        let length = usize::from(header[1]) << 16 | usize::from(header[2]) << 8 | usize::from(header[3]);
        let Some((payload, size)) = rest.split_at_checked(length) else { return Ok(None) };
        let Some(size) = size.first_chunk::<4>() else { return Ok(None) };
        let size = u32::from_be_bytes(*size) as usize;
        ensure!(size == length + 11, "PreviousTagSize is {size} after a tag of {} bytes", length + 11);
        let kind = header[0] & 0x1f;
        let timestamp = u32::from_be_bytes([header[7], header[4], header[5], header[6]]);
        let config = is_config(kind, payload);
        self.start += 11 + length + 4;
        Ok(Some(Tag { kind, timestamp, config }))
    }
}

/// An AVC, AAC or enhanced sequence header, or another message about a track that is no frame.
pub fn is_config(message: u8, payload: &[u8]) -> bool {
    match (message, payload) {
        (kind::VIDEO, [first, ..]) if first & 0x80 != 0 => !matches!(first & 0x0f, 1 | 3),
        (kind::VIDEO, [first, packet, ..]) if first & 0x0f == 7 => *packet != 1,
        (kind::AUDIO, [first, ..]) if first >> 4 == 9 => first & 0x0f != 1,
        (kind::AUDIO, [first, packet, ..]) if first >> 4 == 10 => *packet != 1,
        (_, []) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn tag(kind: u8, timestamp: u32, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![kind];
        bytes.extend_from_slice(&(payload.len() as u32).to_be_bytes()[1..]);
        bytes.extend_from_slice(&timestamp.to_be_bytes()[1..]);
        bytes.push((timestamp >> 24) as u8);
        bytes.extend_from_slice(&[0, 0, 0]);
        bytes.extend_from_slice(payload);
        bytes.extend_from_slice(&(payload.len() as u32 + 11).to_be_bytes());
        bytes
    }

    fn flv() -> Vec<u8> {
        let mut bytes = b"FLV\x01\x05\0\0\0\x09\0\0\0\0".to_vec();
        bytes.extend(tag(kind::VIDEO, 0, &[0x17, 0, 0, 0, 0, 1, 2, 3]));
        bytes.extend(tag(kind::VIDEO, 40, &[0x17, 1, 0, 0, 0, 4, 5]));
        bytes.extend(tag(kind::AUDIO, 0x0123_4567, &[0xaf, 1, 9]));
        bytes
    }

    fn tags(response: &[u8], split: usize) -> Vec<Tag> {
        let mut reader = Reader::default();
        let mut tags = Vec::new();
        for part in [&response[..split], &response[split..]] {
            reader.push(part).unwrap();
            while let Some(tag) = reader.next().unwrap() {
                tags.push(tag);
            }
        }
        tags
    }

    #[test]
    fn plain_and_chunked_bodies_give_the_same_tags_at_every_split() {
        let expected = [
            Tag { kind: kind::VIDEO, timestamp: 0, config: true },
            Tag { kind: kind::VIDEO, timestamp: 40, config: false },
            Tag { kind: kind::AUDIO, timestamp: 0x0123_4567, config: false },
        ];
        let mut plain = b"HTTP/1.1 200 OK\r\nContent-Type: video/x-flv\r\n\r\n".to_vec();
        plain.extend(flv());
        let mut chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        for part in flv().chunks(17) {
            chunked.extend(format!("{:x}\r\n", part.len()).as_bytes());
            chunked.extend(part);
            chunked.extend(b"\r\n");
        }
        for response in [plain, chunked] {
            for split in 0..response.len() {
                assert_eq!(tags(&response, split), expected, "split at {split}");
            }
        }
    }

    #[test]
    fn a_refusal_and_a_wrong_tag_size_are_errors() {
        assert!(Reader::default().push(b"HTTP/1.1 404 Not Found\r\n\r\n").is_err());
        let mut bytes = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
        bytes.extend(flv());
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        let mut reader = Reader::default();
        reader.push(&bytes).unwrap();
        assert!((0..3).any(|_| reader.next().is_err()));
    }
}
