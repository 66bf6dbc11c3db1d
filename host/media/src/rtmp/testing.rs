//! Messages as a peer would send them, for tests.

use super::chunk::{Envelope, MessageWriter, kind};
use super::connection::chunk_stream;
use crate::flv::amf0::{self, Value};

const WRITER: MessageWriter = MessageWriter { chunk_size: super::chunk::INITIAL_CHUNK_SIZE };

/// A message of message stream 1, with the time in milliseconds.
pub(crate) fn message(kind: u8, timestamp: u32, payload: &[u8]) -> Vec<u8> {
    write(kind, timestamp, 1, payload)
}

pub(crate) fn command(stream_id: u32, values: &[Value]) -> Vec<u8> {
    write(kind::COMMAND, 0, stream_id, &amf0::write(values))
}

pub(crate) fn write(kind: u8, timestamp: u32, stream_id: u32, payload: &[u8]) -> Vec<u8> {
    let chunk_stream = match kind {
        kind::AUDIO => chunk_stream::AUDIO,
        kind::VIDEO => chunk_stream::VIDEO,
        _ => chunk_stream::COMMAND,
    };
    let mut out = Vec::new();
    WRITER.write(&mut out, Envelope { chunk_stream, timestamp, kind, stream_id }, &[payload]);
    out
}
