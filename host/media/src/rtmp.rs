//! RTMP, sans-IO: a session for each connection, of the server's side or the client's, and media as chunks that all players share.
//!
//! Sources: Adobe, "RTMP Specification 1.0" (2012); Veovera, "Enhanced RTMP v2" for HEVC, AV1 and Opus.

mod address;
mod chunk;
mod client;
mod connection;
mod handshake;
mod name;
mod output;
mod server;
#[cfg(test)]
pub(crate) mod testing;

pub use address::{Address, AddressError};
pub use chunk::ChunkError;
pub use client::{ClientEvent, ClientSession, NotReady};
pub use handshake::HandshakeError;
pub use output::{header, message};
pub use server::{Connected, Event, PlayRequest, PublishKind, PublishRequest, RequestId, ServerSession};

use crate::flv::amf0::Amf0Error;

/// The chunk size of everything that is sent. One for all, because shared media is cut into chunks only once.
pub const OUT_CHUNK_SIZE: usize = 65_536;

/// Limits and windows of a session. The defaults suit both sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionConfig {
    /// Bytes after which the sender of media is told that they arrived.
    pub window: u32,
    /// Bytes of one audio, video or aggregate message.
    pub max_message: usize,
    /// Bytes of one command. Longer metadata is passed over.
    pub max_command: usize,
    /// Bytes of all messages that are not whole yet, together.
    pub max_buffered: usize,
    pub max_chunk_streams: usize,
    /// Bytes that the peer may send while its request to publish or play waits for an answer.
    pub max_held: usize,
}

impl Default for SessionConfig {
    fn default() -> Self {
        Self {
            window: 2_500_000,
            max_message: 8 << 20,
            max_command: 64 << 10,
            max_buffered: 16 << 20,
            max_chunk_streams: 64,
            max_held: 1 << 20,
        }
    }
}

/// The peer broke the protocol: the connection must be closed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    #[error(transparent)]
    Chunk(#[from] ChunkError),
    #[error("a command can't be read: {0}")]
    Command(Amf0Error),
    #[error("a command does not begin with its name: send an AMF0 string first")]
    CommandName,
    #[error("{0} came before connect: connect first")]
    NotConnected(String),
    #[error("connect came twice: open another connection")]
    ConnectedTwice,
    #[error("more than {max} bytes came while a request to publish or play waited for its answer: wait for it")]
    Held { max: usize },
}
