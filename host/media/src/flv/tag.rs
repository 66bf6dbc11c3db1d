//! What audio and video tags become: tracks and frames, whatever the codec and whichever format it was written in.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::reader::Reader;
use super::{audio, video};
use crate::hub::RawFrame;
use crate::timeline::WRAP_32_BIT_MILLIS;
use crate::track::{Codec, MediaKind, TrackId};

/// What a tag held.
#[derive(Clone, Debug, PartialEq)]
pub enum Media {
    /// A decoder configuration, as [`crate::Track::config`] has it. Encoders repeat it: it may be the same as before.
    Track {
        id: TrackId,
        codec: Codec,
        config: Bytes,
    },
    Frame(RawFrame),
    Unsupported(Unsupported),
}

/// A track that can't be carried.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("track {} is coded as {codec}, which is not supported: send H.264, HEVC or AV1 with AAC, Opus or MP3", track.0)]
pub struct Unsupported {
    pub track: TrackId,
    /// The name of the codec, or what stood in its place.
    pub codec: String,
}

/// Reads the bodies of one publisher's audio and video tags. A frame comes only behind the configuration of its track.
///
/// Track n of enhanced RTMP's multitrack becomes [`TrackId`] 2n for video and 2n + 1 for audio; tracks above 127 are passed over.
#[derive(Clone, Debug, Default)]
pub struct TagReader {
    tracks: BTreeMap<TrackId, Known>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    Configured(Codec),
    Unsupported,
}

/// One track's part of a tag.
pub(super) enum Part {
    Config {
        codec: Codec,
        config: Bytes,
    },
    /// `composition_time` is `pts - dts` in milliseconds.
    Frame {
        codec: Codec,
        keyframe: bool,
        composition_time: i32,
        payload: Bytes,
    },
    Unsupported {
        codec: String,
    },
}

impl TagReader {
    /// Reads the body of a video tag. `timestamp` is in milliseconds. A body that is cut off gives as much as is whole.
    pub fn video(&mut self, timestamp: u32, body: &Bytes, mut push: impl FnMut(Media)) {
        video::read(body, |number, part| self.take(MediaKind::Video, number, timestamp, part, &mut push));
    }

    /// Reads the body of an audio tag. `timestamp` is in milliseconds. A body that is cut off gives as much as is whole.
    pub fn audio(&mut self, timestamp: u32, body: &Bytes, mut push: impl FnMut(Media)) {
        audio::read(body, |number, part| self.take(MediaKind::Audio, number, timestamp, part, &mut push));
    }

    fn take(&mut self, kind: MediaKind, number: u8, timestamp: u32, part: Part, push: &mut impl FnMut(Media)) {
        let Some(id) = number.checked_mul(2).map(|even| TrackId(even + u8::from(kind == MediaKind::Audio))) else { return };
        match part {
            Part::Config { codec, config } => {
                self.tracks.insert(id, Known::Configured(codec));
                push(Media::Track { id, codec, config });
            }
            Part::Frame { codec, keyframe, composition_time, payload } => {
                if self.tracks.get(&id) != Some(&Known::Configured(codec)) {
                    let Some(config) = implied_config(codec) else { return };
                    self.tracks.insert(id, Known::Configured(codec));
                    push(Media::Track { id, codec, config });
                }
                push(Media::Frame(RawFrame {
                    track: id,
                    dts: i64::from(timestamp) * 1000,
                    composition_offset: i64::from(composition_time) * 1000,
                    wrap: Some(WRAP_32_BIT_MILLIS),
                    keyframe,
                    payload,
                }));
            }
            Part::Unsupported { codec } => {
                if self.tracks.insert(id, Known::Unsupported) != Some(Known::Unsupported) {
                    push(Media::Unsupported(Unsupported { track: id, codec }));
                }
            }
        }
    }
}

/// The configuration of a track that starts without one, where the codec allows that.
fn implied_config(codec: Codec) -> Option<Bytes> {
    match codec {
        Codec::Mp3 => Some(Bytes::new()),
        Codec::Opus => Some(audio::STEREO_OPUS),
        _ => None,
    }
}

/// Packet types that audio and video of enhanced RTMP have in common.
pub(super) mod packet {
    pub const SEQUENCE_START: u8 = 0;
    pub const CODED_FRAMES: u8 = 1;
    /// Coded frames whose composition time is 0; video only.
    pub const CODED_FRAMES_X: u8 = 3;
    pub const AUDIO_MULTITRACK: u8 = 5;
    pub const VIDEO_MULTITRACK: u8 = 6;
    pub const MOD_EX: u8 = 7;
}

/// A packet of enhanced RTMP: one track's share of a tag.
pub(super) struct Packet {
    pub track: u8,
    pub four_cc: [u8; 4],
    pub kind: u8,
    pub body: Bytes,
}

/// Takes an enhanced tag apart (Enhanced RTMP v2, "Enhanced Video" and "Enhanced Audio"). `reader` stands behind the first byte of
/// `body`, and `kind` is the packet type in it. `None` when the body ends too early.
pub(super) fn packets(
    body: &Bytes,
    mut reader: Reader<'_>,
    kind: u8,
    multitrack: u8,
    mut each: impl FnMut(Packet),
) -> Option<()> {
    let mut kind = kind;
    // Modifiers, such as nanoseconds of the timestamp, which milliseconds do without.
    while kind == packet::MOD_EX {
        let mut size = usize::from(reader.u8()?) + 1;
        if size == 256 {
            size = usize::from(reader.u16()?) + 1;
        }
        reader.take(size)?;
        kind = reader.u8()? & 0x0f;
    }
    let rest = |reader: Reader<'_>| body.slice(reader.position()..);
    if kind != multitrack {
        let four_cc = reader.four_cc()?;
        each(Packet { track: 0, four_cc, kind, body: rest(reader) });
        return Some(());
    }
    let types = reader.u8()?;
    let (arrangement, kind) = (types >> 4, types & 0x0f);
    const ONE_TRACK: u8 = 0;
    const MANY_TRACKS_MANY_CODECS: u8 = 2;
    let shared = if arrangement == MANY_TRACKS_MANY_CODECS { None } else { Some(reader.four_cc()?) };
    while reader.left() > 0 {
        let four_cc = match shared {
            Some(four_cc) => four_cc,
            None => reader.four_cc()?,
        };
        let track = reader.u8()?;
        if arrangement == ONE_TRACK {
            each(Packet { track, four_cc, kind, body: rest(reader) });
            break;
        }
        let size = reader.u24()? as usize;
        let start = reader.position();
        reader.take(size)?;
        each(Packet { track, four_cc, kind, body: body.slice(start..start + size) });
    }
    Some(())
}

/// A fourCC as text.
pub(super) fn name(four_cc: [u8; 4]) -> String {
    four_cc.escape_ascii().to_string()
}

/// A tag of a file or of an aggregate message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tag {
    pub kind: u8,
    /// Milliseconds.
    pub timestamp: u32,
    pub body: Bytes,
}

/// The header of a tag (annex E.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TagHeader {
    pub kind: u8,
    pub encrypted: bool,
    pub length: usize,
    pub timestamp: u32,
}

impl TagHeader {
    pub const SIZE: usize = 11;

    pub fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let first = reader.u8()?;
        let length = reader.u24()? as usize;
        let low = reader.u24()?;
        let high = reader.u8()?;
        reader.u24()?;
        let timestamp = u32::from(high) << 24 | low;
        Some(Self { kind: first & 0x1f, encrypted: first & 0x20 != 0, length, timestamp })
    }
}

/// The tags that follow each other in `bytes`, each with its size behind it, as far as they are whole.
pub(crate) fn tags(bytes: &Bytes) -> impl Iterator<Item = Tag> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let mut reader = Reader::new(bytes.get(at..)?);
        let header = TagHeader::read(&mut reader)?;
        let start = at + reader.position();
        reader.take(header.length)?;
        at = start + header.length + 4;
        Some(Tag { kind: header.kind, timestamp: header.timestamp, body: bytes.slice(start..start + header.length) })
    })
}
