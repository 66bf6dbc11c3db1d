//! The RTMP chunk stream (RTMP 1.0, section 5.3): puts messages together from chunks, and cuts them into chunks.

mod header;
mod reader;
mod writer;

pub(super) use reader::{ChunkReader, ReaderLimits};
pub(super) use writer::{Envelope, MessageWriter};

use bytes::Bytes;

/// The chunk size of both sides until they say something else (5.4.1).
pub(super) const INITIAL_CHUNK_SIZE: usize = 128;
/// The largest chunk size: no message is longer (5.4.1).
pub(super) const MAX_CHUNK_SIZE: usize = 0xff_ffff;

/// A whole message (RTMP 1.0, section 6.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    /// Milliseconds, modulo 2^32.
    pub timestamp: u32,
    pub kind: u8,
    pub stream_id: u32,
    pub payload: Bytes,
}

/// Message types (RTMP 1.0, sections 5.4 and 7.1).
pub(super) mod kind {
    pub const SET_CHUNK_SIZE: u8 = 1;
    pub const ABORT: u8 = 2;
    pub const ACKNOWLEDGEMENT: u8 = 3;
    pub const USER_CONTROL: u8 = 4;
    pub const WINDOW_ACKNOWLEDGEMENT_SIZE: u8 = 5;
    pub const SET_PEER_BANDWIDTH: u8 = 6;
    pub const AUDIO: u8 = 8;
    pub const VIDEO: u8 = 9;
    pub const DATA_AMF3: u8 = 15;
    pub const COMMAND_AMF3: u8 = 17;
    pub const DATA: u8 = 18;
    pub const COMMAND: u8 = 20;
    pub const AGGREGATE: u8 = 22;
}

/// Chunks that can't be followed: the connection is of no more use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    #[error("a chunk of format {format} on chunk stream {id} refers to an earlier header that never came: begin with format 0")]
    NoHeader { format: u8, id: u32 },
    #[error("more than {max} chunk streams are in use: use fewer")]
    Streams { max: usize },
    #[error("a message of type {kind} with {length} bytes on chunk stream {id} is over the limit of {max} bytes")]
    Length { kind: u8, id: u32, length: usize, max: usize },
    #[error("the unfinished messages of all chunk streams hold more than {max} bytes: finish one before beginning the next")]
    Buffered { max: usize },
    #[error("a chunk size of 0 was set: set 1 to {MAX_CHUNK_SIZE}")]
    ChunkSize,
}

#[cfg(test)]
mod tests;
