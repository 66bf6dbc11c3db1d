//! The ways of a stream to its viewers: many plain sockets at once, or one encrypted or multiplexed connection at a time.

pub mod fanout;
pub mod follower;
pub mod link;
mod seat;

use bytes::Bytes;
use flyloft_media::hub::{Entry, Wire};
use flyloft_media::{flv, rtmp};

/// How frames are put into bytes. Each form is made once for each frame and shared by all viewers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Rtmp,
    Flv,
    /// FLV tags as chunks of HTTP/1.1 (RFC 9112, section 7.1), so that a player can tell the end from a broken connection.
    FlvChunks,
}

impl Format {
    /// Empty for an entry that this format does not carry.
    pub fn message(self, entry: &Entry) -> &Bytes {
        match self {
            Self::Rtmp => rtmp::message(entry),
            Self::Flv => flv::tag(entry),
            Self::FlvChunks => entry.memo(Wire::FlvTagChunk, || http_chunk(flv::tag(entry))),
        }
    }

    /// The configuration of the tracks as of `entry`, which must come before it for a player that doesn't have it.
    pub fn header(self, entry: &Entry) -> &Bytes {
        match self {
            Self::Rtmp => rtmp::header(entry),
            Self::Flv => flv::header(entry),
            Self::FlvChunks => entry.memo(Wire::FlvHeaderChunk, || http_chunk(flv::header(entry))),
        }
    }
}

/// One chunk; nothing for nothing, because an empty chunk is the end.
pub fn http_chunk(content: &[u8]) -> Bytes {
    if content.is_empty() {
        return Bytes::new();
    }
    let mut chunk = format!("{:x}\r\n", content.len()).into_bytes();
    chunk.reserve_exact(content.len() + 2);
    chunk.extend_from_slice(content);
    chunk.extend_from_slice(b"\r\n");
    chunk.into()
}
