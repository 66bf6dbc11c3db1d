//! Bodies of video tags: legacy AVC and HEVC (annex E.4.3), and enhanced RTMP with a fourCC.

use bytes::Bytes;

use super::reader::Reader;
use super::tag::{self, Packet, Part, packet};
use crate::track::Codec;

const ENHANCED: u8 = 0x80;
const KEY_FRAME: u8 = 1;
const GENERATED_KEY_FRAME: u8 = 4;
/// No picture, but a word to a server about seeking.
const COMMAND: u8 = 5;

/// Codec numbers of legacy tags. 12 is not in the specification; encoders in China use it.
pub(super) const LEGACY_AVC: u8 = 7;
const LEGACY_HEVC: u8 = 12;

pub(super) fn read(body: &Bytes, mut part: impl FnMut(u8, Part)) {
    let mut reader = Reader::new(body);
    let Some(first) = reader.u8() else { return };
    let frame_type = first >> 4 & 0x07;
    let keyframe = matches!(frame_type, KEY_FRAME | GENERATED_KEY_FRAME);
    if frame_type == COMMAND {
        return;
    }
    if first & ENHANCED != 0 {
        tag::packets(body, reader, first & 0x0f, packet::VIDEO_MULTITRACK, |packet| enhanced(packet, keyframe, &mut part));
        return;
    }
    let codec = match first & 0x0f {
        LEGACY_AVC => Codec::H264,
        LEGACY_HEVC => Codec::Hevc,
        // The tag says nothing but its frame type.
        _ if body.len() == 1 => return,
        other => return part(0, Part::Unsupported { codec: legacy_name(other) }),
    };
    let (Some(kind), Some(composition_time)) = (reader.u8(), reader.i24()) else { return };
    let payload = body.slice(reader.position()..);
    match kind {
        _ if payload.is_empty() => {}
        0 => part(0, Part::Config { codec, config: payload }),
        1 => part(0, Part::Frame { codec, keyframe, composition_time, payload }),
        // 2 is the end of the sequence: the publisher says so by other means as well.
        _ => {}
    }
}

fn enhanced(packet: Packet, keyframe: bool, part: &mut impl FnMut(u8, Part)) {
    let Packet { track, four_cc, kind, body } = packet;
    let codec = match &four_cc {
        b"avc1" => Codec::H264,
        b"hvc1" => Codec::Hevc,
        b"av01" => Codec::Av1,
        _ => return part(track, Part::Unsupported { codec: tag::name(four_cc) }),
    };
    let (composition_time, payload) = match (kind, codec) {
        (packet::CODED_FRAMES, Codec::H264 | Codec::Hevc) => {
            let mut reader = Reader::new(&body);
            let Some(time) = reader.i24() else { return };
            (time, body.slice(reader.position()..))
        }
        (packet::CODED_FRAMES, Codec::Av1) => (0, without_temporal_delimiter(body)),
        (packet::CODED_FRAMES_X, Codec::Av1) => (0, without_temporal_delimiter(body)),
        (packet::CODED_FRAMES_X | packet::SEQUENCE_START, _) => (0, body),
        // The end of a sequence, colour metadata, and AV1 configuration of MPEG-2 TS.
        _ => return,
    };
    match kind {
        _ if payload.is_empty() => {}
        packet::SEQUENCE_START => part(track, Part::Config { codec, config: payload }),
        _ => part(track, Part::Frame { codec, keyframe, composition_time, payload }),
    }
}

/// A temporal unit without the delimiter that it may begin with: type 2, size 0 (AV1, section 5.6).
fn without_temporal_delimiter(unit: Bytes) -> Bytes {
    match unit.get(..2) {
        Some([0x12, 0]) => unit.slice(2..),
        _ => unit,
    }
}

fn legacy_name(codec: u8) -> String {
    match codec {
        2 => "Sorenson H.263".into(),
        3 => "Screen video".into(),
        4 => "VP6".into(),
        5 => "VP6 with alpha".into(),
        6 => "Screen video 2".into(),
        other => format!("FLV video codec {other}"),
    }
}
