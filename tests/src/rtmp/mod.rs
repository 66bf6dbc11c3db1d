//! A small RTMP client of our own, so that the server is not tested with its own parser.
//! `amf` and `chunk` are sans-IO and shared with the load generator; `Client` is a blocking connection.

pub mod amf;
pub mod chunk;
mod client;

pub use chunk::{ChunkReader, Message};
pub use client::{Client, Status};

/// Message types (RTMP 1.0, sections 5.4 and 7.1).
pub mod kind {
    pub const SET_CHUNK_SIZE: u8 = 1;
    pub const ACKNOWLEDGEMENT: u8 = 3;
    pub const USER_CONTROL: u8 = 4;
    pub const WINDOW_ACK_SIZE: u8 = 5;
    pub const AUDIO: u8 = 8;
    pub const VIDEO: u8 = 9;
    pub const DATA_AMF0: u8 = 18;
    pub const COMMAND_AMF0: u8 = 20;
}

/// Length of C1, S1, C2 and S2 (RTMP 1.0, section 5.2).
pub const HANDSHAKE: usize = 1536;

/// C0 and C1 of the simple handshake; the version and time fields of C1 are zero, the rest is a fixed pattern.
pub fn hello() -> Vec<u8> {
    let mut bytes = vec![3u8; 1 + HANDSHAKE];
    bytes[1..9].fill(0);
    for (index, byte) in bytes[9..].iter_mut().enumerate() {
        *byte = (index * 7 + 13) as u8;
    }
    bytes
}
