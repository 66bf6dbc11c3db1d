//! Frames as RTMP messages in chunks: made once for each frame, shared by all players.

use bytes::Bytes;

use super::OUT_CHUNK_SIZE;
use super::chunk::{Envelope, MessageWriter, kind};
use super::connection::chunk_stream;
use super::server::PLAY_STREAM;
use crate::flv::{self, Preface};
use crate::hub::{Entry, Wire};

const WRITER: MessageWriter = MessageWriter { chunk_size: OUT_CHUNK_SIZE };

const fn envelope(kind: u8, timestamp: u32, stream_id: u32) -> Envelope {
    let chunk_stream = match kind {
        kind::AUDIO => chunk_stream::AUDIO,
        kind::VIDEO => chunk_stream::VIDEO,
        _ => chunk_stream::DATA,
    };
    Envelope { chunk_stream, timestamp, kind, stream_id }
}

/// The frame as a message for players. Empty for a track that they do not get.
///
/// It does not depend on what was sent before: every player who was accepted by a [`super::ServerSession`] can take it.
pub fn message(entry: &Entry) -> &Bytes {
    entry.memo(Wire::RtmpMessage, || frame_message(entry, PLAY_STREAM))
}

/// Metadata and decoder configurations as messages, the latter with the time of `entry`: what a player needs who starts there, or after a
/// change of the tracks.
pub fn header(entry: &Entry) -> &Bytes {
    entry.memo(Wire::RtmpHeader, || header_messages(entry, PLAY_STREAM, &[]))
}

/// The same as [`message`] for any message stream; shared with the players where it is theirs.
pub(super) fn shared_message(entry: &Entry, stream_id: u32) -> Bytes {
    match stream_id {
        PLAY_STREAM => message(entry).clone(),
        other => frame_message(entry, other),
    }
}

fn frame_message(entry: &Entry, stream_id: u32) -> Bytes {
    let Some(body) = flv::body(entry) else { return Bytes::new() };
    let mut out = Vec::new();
    let envelope = envelope(body.kind, flv::timestamp(entry), stream_id);
    WRITER.write(&mut out, envelope, &[body.head(), &entry.frame.payload]);
    out.into()
}

/// The same as [`header`] for any message stream, with `prefix` before the metadata.
pub(super) fn header_messages(entry: &Entry, stream_id: u32, prefix: &[u8]) -> Bytes {
    let mut out = Vec::new();
    for Preface { kind, timestamp, bytes } in flv::prefaces(entry) {
        let prefix = if kind == kind::DATA { prefix } else { &[] };
        WRITER.write(&mut out, envelope(kind, timestamp, stream_id), &[prefix, &bytes]);
    }
    out.into()
}
