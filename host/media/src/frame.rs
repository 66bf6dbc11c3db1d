//! One coded picture or one coded piece of sound, whatever protocol it came by.

use bytes::Bytes;

use crate::time::Timestamp;
use crate::track::{Codec, MediaKind, TrackId};

/// A coded frame. Codec configuration never travels as a frame: it is the state of the [`crate::Track`].
///
/// The payload is one access unit:
/// - H.264, HEVC: NAL units, each behind its length in as many bytes as the configuration record says (ISO/IEC 14496-15)
/// - AV1: a temporal unit in low-overhead format without temporal delimiters (AV1 in ISOBMFF, section 2.4)
/// - AAC: a raw_data_block without ADTS header; Opus and MP3: one packet
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub track: TrackId,
    pub codec: Codec,
    pub dts: Timestamp,
    /// Never before `dts`.
    pub pts: Timestamp,
    /// Decoding may start here. Always true for audio.
    pub keyframe: bool,
    pub payload: Bytes,
}

impl Frame {
    pub const fn kind(&self) -> MediaKind {
        self.codec.kind()
    }

    /// `pts - dts` in microseconds.
    pub const fn composition_offset(&self) -> i64 {
        self.pts.micros_since(self.dts)
    }
}
