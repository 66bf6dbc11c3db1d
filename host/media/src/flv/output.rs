//! Frames as FLV tags: made once for each frame, shared by all viewers. RTMP wraps the same bodies into messages.

use bytes::Bytes;

use super::{amf0, audio, kind, metadata};
use crate::frame::Frame;
use crate::hub::{Entry, Wire};
use crate::track::{Codec, MediaKind, Track, Tracks};

/// The largest body that a tag or a message can have: its length field has 24 bits.
const MAX_BODY: usize = 0xff_ffff;

/// The body of a frame's tag: `head` and behind it the frame's payload.
pub(crate) struct Body {
    /// [`kind::AUDIO`] or [`kind::VIDEO`].
    pub kind: u8,
    head: [u8; 8],
    head_len: usize,
}

impl Body {
    fn new(kind: u8, parts: &[&[u8]]) -> Self {
        let mut body = Self { kind, head: [0; 8], head_len: 0 };
        for (to, from) in body.head.iter_mut().zip(parts.iter().copied().flatten()) {
            *to = *from;
            body.head_len += 1;
        }
        body
    }

    pub fn head(&self) -> &[u8] {
        self.head.get(..self.head_len).unwrap_or_default()
    }
}

/// How the frame goes out: the first video and the first audio track do, others do not.
pub(crate) fn body(entry: &Entry) -> Option<Body> {
    let frame = &entry.frame;
    let track = entry.tracks.first(frame.kind()).filter(|track| track.id == frame.track)?;
    let body = match frame.kind() {
        MediaKind::Video => video_body(frame),
        MediaKind::Audio => audio_body(track),
    };
    (body.head().len() + frame.payload.len() <= MAX_BODY).then_some(body)
}

fn video_body(frame: &Frame) -> Body {
    let frame_type: u8 = if frame.keyframe { 1 } else { 2 };
    // Milliseconds of pts and of dts, each rounded down, so that what players add up is the pts.
    let composition_time = frame.pts.as_millis().saturating_sub(frame.dts.as_millis()).clamp(0, 0x7f_ffff) as u32;
    let [_, time @ ..] = composition_time.to_be_bytes();
    let enhanced = |packet: u8| [0x80 | frame_type << 4 | packet];
    match (frame.codec, composition_time) {
        (Codec::Hevc, 0) => Body::new(kind::VIDEO, &[&enhanced(3), b"hvc1"]),
        (Codec::Hevc, _) => Body::new(kind::VIDEO, &[&enhanced(1), b"hvc1", &time]),
        (Codec::Av1, _) => Body::new(kind::VIDEO, &[&enhanced(1), b"av01"]),
        _ => Body::new(kind::VIDEO, &[&[frame_type << 4 | 7, 1], &time]),
    }
}

fn audio_body(track: &Track) -> Body {
    match track.codec {
        Codec::Opus => Body::new(kind::AUDIO, &[&[0x91], b"Opus"]),
        Codec::Mp3 => Body::new(kind::AUDIO, &[&[mp3_flags(track)]]),
        _ => Body::new(kind::AUDIO, &[&[0xaf, 1]]),
    }
}

/// Format, rate, 16 bits, channels. Rates that the field does not know count as 44.1 kHz: decoders look into the frames.
fn mp3_flags(track: &Track) -> u8 {
    let (rate, stereo) = match track.audio() {
        Some(audio) => (audio.sample_rate, audio.channels != 1),
        None => (44_100, true),
    };
    let rate = match rate {
        11_025 => 1,
        22_050 => 2,
        _ => 3,
    };
    0x20 | rate << 2 | 0x02 | u8::from(stereo)
}

/// A body that has no frame.
pub(crate) struct Preface {
    pub kind: u8,
    pub timestamp: u32,
    pub bytes: Vec<u8>,
}

/// What a player must know before `entry`: metadata, then the decoder configurations.
pub(crate) fn prefaces(entry: &Entry) -> Vec<Preface> {
    let tracks = &entry.tracks;
    // FFmpeg takes metadata for a track of text unless it has the time 0.
    let metadata = Preface { kind: kind::SCRIPT, timestamp: 0, bytes: amf0::write(&metadata::describe(tracks)) };
    let first = [MediaKind::Video, MediaKind::Audio].into_iter().filter_map(|kind| tracks.first(kind));
    let starts = first.filter_map(sequence_start).filter(|(_, bytes)| bytes.len() <= MAX_BODY);
    let starts = starts.map(|(kind, bytes)| Preface { kind, timestamp: timestamp(entry), bytes });
    std::iter::once(metadata).chain(starts).collect()
}

/// Kind and body of the tag with a track's configuration.
fn sequence_start(track: &Track) -> Option<(u8, Vec<u8>)> {
    let config: &[u8] = &track.config;
    Some(match track.codec {
        Codec::H264 => (kind::VIDEO, [&[0x17, 0, 0, 0, 0], config].concat()),
        Codec::Hevc => (kind::VIDEO, [b"\x90hvc1", config].concat()),
        Codec::Av1 => (kind::VIDEO, [b"\x90av01", config].concat()),
        Codec::Aac => (kind::AUDIO, [&[0xaf, 0], config].concat()),
        Codec::Opus => (kind::AUDIO, [b"\x90Opus", &*audio::opus_head(config)?].concat()),
        Codec::Mp3 => return None,
    })
}

/// The RTMP and FLV timestamp of an entry: its decode time in milliseconds, modulo 2^32.
pub(crate) const fn timestamp(entry: &Entry) -> u32 {
    entry.frame.dts.as_millis() as u32
}

/// What an FLV file begins with, up to its first tag (annex E.2).
pub fn file_header(tracks: &Tracks) -> Bytes {
    let flags = u8::from(tracks.first(MediaKind::Audio).is_some()) << 2 | u8::from(tracks.has_video());
    Bytes::copy_from_slice(&[b'F', b'L', b'V', 1, flags, 0, 0, 0, 9, 0, 0, 0, 0])
}

/// The frame as a tag with its size behind it. Empty for a track that FLV viewers do not get.
pub fn tag(entry: &Entry) -> &Bytes {
    entry.memo(Wire::FlvTag, || {
        let Some(body) = body(entry) else { return Bytes::new() };
        let payload = &entry.frame.payload;
        let mut out = Vec::with_capacity(15 + body.head().len() + payload.len());
        write_tag(&mut out, body.kind, timestamp(entry), &[body.head(), payload]);
        out.into()
    })
}

/// Metadata and decoder configurations as tags, the latter with the time of `entry`: what a viewer needs who starts there, or after a change
/// of the tracks. The file header is not in it.
pub fn header(entry: &Entry) -> &Bytes {
    entry.memo(Wire::FlvHeader, || {
        let mut out = Vec::new();
        for Preface { kind, timestamp, bytes } in prefaces(entry) {
            write_tag(&mut out, kind, timestamp, &[&bytes]);
        }
        out.into()
    })
}

/// Annex E.4.1.
fn write_tag(out: &mut Vec<u8>, kind: u8, timestamp: u32, parts: &[&[u8]]) {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let [_, size @ ..] = (length as u32).to_be_bytes();
    let [high, low @ ..] = timestamp.to_be_bytes();
    out.push(kind);
    out.extend(size);
    out.extend(low);
    out.extend([high, 0, 0, 0]);
    for part in parts {
        out.extend_from_slice(part);
    }
    out.extend((length as u32 + 11).to_be_bytes());
}
