//! An HTTP/1.1 response that arrives in pieces: its head, and its body in either framing.

use anyhow::{Context, Result, bail, ensure};

/// Where the body ends.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Framing {
    #[default]
    Head,
    /// This many bytes are to come.
    Length(u64),
    /// The line with the size of the next chunk is being read.
    Size,
    /// This many bytes of the current chunk are to come.
    Chunk(u64),
    /// The line end after a chunk.
    ChunkEnd,
    /// The lines after the last chunk.
    Trailer,
    UntilClose,
    Done,
}

/// Bytes of one response in, its body out.
#[derive(Default)]
pub struct Response {
    framing: Framing,
    /// The head or a line that is not complete yet.
    partial: Vec<u8>,
}

const LONGEST_HEAD: usize = 64 << 10;

impl Response {
    /// The whole body has come.
    pub fn done(&self) -> bool {
        self.framing == Framing::Done
    }

    /// Takes received bytes and appends what is body to `body`. A status other than 200 is an error.
    pub fn push(&mut self, mut bytes: &[u8], body: &mut Vec<u8>) -> Result<()> {
        while !bytes.is_empty() {
            match self.framing {
                Framing::Head => bytes = self.head(bytes)?,
                Framing::UntilClose => {
                    body.extend_from_slice(bytes);
                    return Ok(());
                }
                Framing::Length(left) | Framing::Chunk(left) => {
                    let (part, rest) = bytes.split_at(bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX)));
                    body.extend_from_slice(part);
                    bytes = rest;
                    let left = left - part.len() as u64;
                    self.framing = match self.framing {
                        Framing::Length(_) if left == 0 => Framing::Done,
                        Framing::Length(_) => Framing::Length(left),
                        _ if left == 0 => Framing::ChunkEnd,
                        _ => Framing::Chunk(left),
                    };
                }
                Framing::Size | Framing::ChunkEnd | Framing::Trailer => bytes = self.line(bytes)?,
                Framing::Done => bail!("{} bytes after the end of a response", bytes.len()),
            }
        }
        Ok(())
    }

    fn head<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8]> {
        let before = self.partial.len();
        self.partial.extend_from_slice(bytes);
        let Some(end) = self.partial.windows(4).position(|window| window == b"\r\n\r\n") else {
            ensure!(self.partial.len() < LONGEST_HEAD, "the response head does not end");
            return Ok(&[]);
        };
        let text = String::from_utf8_lossy(self.partial.get(..end).unwrap_or_default()).to_ascii_lowercase();
        let mut lines = text.split("\r\n");
        let first = lines.next().unwrap_or_default();
        ensure!(first.split(' ').nth(1) == Some("200"), "refused: {first}");
        self.framing = Framing::UntilClose;
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            match (name, value.trim()) {
                ("content-length", "0") => self.framing = Framing::Done,
                ("content-length", length) => {
                    self.framing = Framing::Length(length.parse().with_context(|| format!("content-length: {length}"))?);
                }
                ("transfer-encoding", "chunked") => self.framing = Framing::Size,
                _ => {}
            }
        }
        self.partial.clear();
        Ok(bytes.get(end + 4 - before..).unwrap_or_default())
    }

    /// A line of the chunked transfer coding (RFC 9112, section 7.1).
    fn line<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8]> {
        let (line, rest) = match bytes.iter().position(|byte| *byte == b'\n') {
            Some(end) => bytes.split_at(end + 1),
            None => (bytes, &[][..]),
        };
        self.partial.extend_from_slice(line);
        ensure!(self.partial.len() < LONGEST_HEAD, "a line of the transfer coding does not end");
        if !line.ends_with(b"\n") {
            return Ok(rest);
        }
        let text = String::from_utf8_lossy(&self.partial).trim().to_owned();
        self.partial.clear();
        self.framing = match self.framing {
            Framing::Size => {
                let size = text.split(';').next().unwrap_or_default();
                match u64::from_str_radix(size, 16).with_context(|| format!("not the size of a chunk: {text:?}"))? {
                    0 => Framing::Trailer,
                    size => Framing::Chunk(size),
                }
            }
            Framing::ChunkEnd => {
                ensure!(text.is_empty(), "{text:?} at the end of a chunk");
                Framing::Size
            }
            _ if text.is_empty() => Framing::Done,
            _ => Framing::Trailer,
        };
        Ok(rest)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn check(response: &[u8], done: bool) {
        for split in 0..response.len() {
            let (mut reader, mut body) = (Response::default(), Vec::new());
            reader.push(&response[..split], &mut body).unwrap();
            reader.push(&response[split..], &mut body).unwrap();
            assert_eq!((body.as_slice(), reader.done()), (&b"hello, world"[..], done), "split at {split}");
        }
    }

    #[test]
    fn every_framing_gives_the_body_at_every_split() {
        check(b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\nhello, world", true);
        check(b"HTTP/1.1 200 OK\r\ncontent-type: a\r\n\r\nhello, world", false);
        check(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7\r\nhello, \r\n5;x=y\r\nworld\r\n0\r\na: b\r\n\r\n", true);
    }

    #[test]
    fn refusals_and_wrong_framing_are_errors() {
        let push = |bytes: &[u8]| Response::default().push(bytes, &mut Vec::new());
        assert!(push(b"HTTP/1.1 404 Not Found\r\n\r\n").is_err());
        assert!(push(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n").is_err());
        assert!(push(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nab").is_err());
    }
}
