//! Bodies of audio tags: legacy AAC and MP3 (annex E.4.2), and enhanced RTMP with a fourCC.

use bytes::Bytes;

use super::reader::Reader;
use super::tag::{self, Packet, Part, packet};
use crate::track::Codec;

const LEGACY_MP3: u8 = 2;
const ENHANCED: u8 = 9;
const LEGACY_AAC: u8 = 10;
const LEGACY_MP3_8_KHZ: u8 = 14;

/// The content of a dOps box for a stream that does not describe itself: two channels (RFC 7845, section 5.1.1.1).
pub(super) const STEREO_OPUS: Bytes = Bytes::from_static(&[0, 2, 0, 0, 0, 0, 0xbb, 0x80, 0, 0, 0]);

pub(super) fn read(body: &Bytes, mut part: impl FnMut(u8, Part)) {
    let mut reader = Reader::new(body);
    let Some(first) = reader.u8() else { return };
    let frame = |codec, payload| Part::Frame { codec, keyframe: true, composition_time: 0, payload };
    match first >> 4 {
        ENHANCED => {
            tag::packets(body, reader, first & 0x0f, packet::AUDIO_MULTITRACK, |packet| enhanced(packet, &mut part));
        }
        LEGACY_AAC => {
            let kind = reader.u8();
            let payload = body.slice(reader.position()..);
            match kind {
                _ if payload.is_empty() => {}
                Some(0) => part(0, Part::Config { codec: Codec::Aac, config: payload }),
                Some(1) => part(0, frame(Codec::Aac, payload)),
                _ => {}
            }
        }
        LEGACY_MP3 | LEGACY_MP3_8_KHZ if body.len() > 1 => part(0, frame(Codec::Mp3, body.slice(1..))),
        // Encoders without sound send empty tags of any codec.
        other if body.len() > 1 => part(0, Part::Unsupported { codec: legacy_name(other) }),
        _ => {}
    }
}

fn enhanced(packet: Packet, part: &mut impl FnMut(u8, Part)) {
    let Packet { track, four_cc, kind, body } = packet;
    let codec = match &four_cc {
        b"mp4a" => Codec::Aac,
        b"Opus" => Codec::Opus,
        b".mp3" => Codec::Mp3,
        _ => return part(track, Part::Unsupported { codec: tag::name(four_cc) }),
    };
    match (kind, codec) {
        _ if body.is_empty() => {}
        (packet::SEQUENCE_START, Codec::Aac) => part(track, Part::Config { codec, config: body }),
        (packet::SEQUENCE_START, Codec::Opus) => {
            if let Some(config) = opus_config(&body) {
                part(track, Part::Config { codec, config });
            }
        }
        (packet::CODED_FRAMES, _) => part(track, Part::Frame { codec, keyframe: true, composition_time: 0, payload: body }),
        // The end of a sequence, the arrangement of channels.
        _ => {}
    }
}

/// The content of a dOps box (Encapsulation of Opus in ISOBMFF, section 4.3.2) from an identification header (RFC 7845, section
/// 5.1), which has the same fields the other way round.
fn opus_config(head: &[u8]) -> Option<Bytes> {
    let fields = head.strip_prefix(b"OpusHead")?;
    let (&[_version, channels, skip_low, skip_high, a, b, c, d, gain_low, gain_high, family], mapping) =
        fields.split_first_chunk()?;
    let mut config = vec![0, channels, skip_high, skip_low, d, c, b, a, gain_high, gain_low, family];
    config.extend_from_slice(mapping.get(..mapping_size(family, channels))?);
    Some(config.into())
}

/// The identification header from the content of a dOps box.
pub(super) fn opus_head(config: &[u8]) -> Option<Vec<u8>> {
    let (&[_version, channels, skip_high, skip_low, d, c, b, a, gain_high, gain_low, family], mapping) =
        config.split_first_chunk()?;
    let mut head = b"OpusHead".to_vec();
    head.extend([1, channels, skip_low, skip_high, a, b, c, d, gain_low, gain_high, family]);
    head.extend_from_slice(mapping.get(..mapping_size(family, channels))?);
    Some(head)
}

/// Bytes of the channel mapping: two counts and a place for each channel, except in family 0.
fn mapping_size(family: u8, channels: u8) -> usize {
    if family == 0 { 0 } else { 2 + usize::from(channels) }
}

fn legacy_name(format: u8) -> String {
    match format {
        0 | 3 => "PCM".into(),
        1 => "ADPCM".into(),
        4..=6 => "Nellymoser".into(),
        7 => "G.711 A-law".into(),
        8 => "G.711 mu-law".into(),
        11 => "Speex".into(),
        15 => "device-specific sound".into(),
        other => format!("FLV sound format {other}"),
    }
}
