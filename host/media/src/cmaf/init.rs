//! Initialization segments: `ftyp` and `moov` for one track of any supported codec (ISO/IEC 14496-12, -14, -15, and the Opus and
//! AV1 bindings). The decoder configuration is carried over byte by byte.

use bytes::Bytes;

use super::boxes::{boxed, full, u8, u16, u32, zeros};
use super::fragment::TRACK_ID;
use crate::track::{AudioInfo, Codec, Track, VideoInfo};

const IDENTITY: [u32; 9] = [0x1_0000, 0, 0, 0, 0x1_0000, 0, 0, 0, 0x4000_0000];
/// "und", undetermined (ISO 639-2/T packed in 15 bits).
const LANGUAGE: u16 = 0x55c4;
/// Object type indications of MPEG-4 registration (ISO/IEC 14496-1, table 5).
const OBJECT_AAC: u8 = 0x40;
const OBJECT_MP3: u8 = 0x6b;

/// Time scale of `track` in fragments: 90 kHz for the picture, the sample rate for the sound.
pub fn timescale(track: &Track) -> u32 {
    track.audio().map_or(90_000, |info| info.sample_rate.max(1))
}

/// The initialization segment of `track`.
pub fn segment(track: &Track) -> Bytes {
    let mut out = Vec::with_capacity(1024);
    boxed(&mut out, b"ftyp", |out| {
        out.extend_from_slice(b"iso6");
        u32(out, 0);
        out.extend_from_slice(b"iso6cmfcmp41dash");
    });
    boxed(&mut out, b"moov", |out| {
        full(out, b"mvhd", 0, 0, |out| {
            zeros(out, 8);
            u32(out, 1000);
            u32(out, 0);
            u32(out, 0x1_0000);
            u16(out, 0x100);
            zeros(out, 10);
            IDENTITY.iter().for_each(|&value| u32(out, value));
            zeros(out, 24);
            u32(out, TRACK_ID + 1);
        });
        boxed(out, b"trak", |out| trak(out, track));
        boxed(out, b"mvex", |out| {
            full(out, b"trex", 0, 0, |out| {
                u32(out, TRACK_ID);
                u32(out, 1);
                zeros(out, 12);
            });
        });
    });
    out.into()
}

fn trak(out: &mut Vec<u8>, track: &Track) {
    // Enabled, in the movie.
    full(out, b"tkhd", 0, 3, |out| {
        zeros(out, 8);
        u32(out, TRACK_ID);
        zeros(out, 16);
        u16(out, 0);
        u16(out, 0);
        u16(out, if track.audio().is_some() { 0x100 } else { 0 });
        u16(out, 0);
        IDENTITY.iter().for_each(|&value| u32(out, value));
        let (width, height) = track.video().map_or((0, 0), |info| (info.width, info.height));
        u32(out, width << 16);
        u32(out, height << 16);
    });
    boxed(out, b"mdia", |out| {
        full(out, b"mdhd", 0, 0, |out| {
            zeros(out, 8);
            u32(out, timescale(track));
            u32(out, 0);
            u16(out, LANGUAGE);
            u16(out, 0);
        });
        full(out, b"hdlr", 0, 0, |out| {
            u32(out, 0);
            out.extend_from_slice(if track.video().is_some() { b"vide" } else { b"soun" });
            zeros(out, 12);
            out.extend_from_slice(if track.video().is_some() { b"Video\0" } else { b"Audio\0" });
        });
        boxed(out, b"minf", |out| minf(out, track));
    });
}

fn minf(out: &mut Vec<u8>, track: &Track) {
    if track.video().is_some() {
        full(out, b"vmhd", 0, 1, |out| zeros(out, 8));
    } else {
        full(out, b"smhd", 0, 0, |out| zeros(out, 4));
    }
    boxed(out, b"dinf", |out| {
        full(out, b"dref", 0, 0, |out| {
            u32(out, 1);
            // The media is in the same file.
            full(out, b"url ", 0, 1, |_| {});
        });
    });
    boxed(out, b"stbl", |out| {
        full(out, b"stsd", 0, 0, |out| {
            u32(out, 1);
            match &track.info {
                crate::MediaInfo::Video(info) => video_entry(out, track, info),
                crate::MediaInfo::Audio(info) => audio_entry(out, track, info),
            }
        });
        full(out, b"stts", 0, 0, |out| u32(out, 0));
        full(out, b"stsc", 0, 0, |out| u32(out, 0));
        full(out, b"stsz", 0, 0, |out| zeros(out, 8));
        full(out, b"stco", 0, 0, |out| u32(out, 0));
    });
}

fn video_entry(out: &mut Vec<u8>, track: &Track, info: &VideoInfo) {
    let (entry, configuration) = match track.codec {
        Codec::Hevc => (b"hvc1", b"hvcC"),
        Codec::Av1 => (b"av01", b"av1C"),
        _ => (b"avc1", b"avcC"),
    };
    boxed(out, entry, |out| {
        zeros(out, 6);
        u16(out, 1);
        zeros(out, 16);
        u16(out, info.width as u16);
        u16(out, info.height as u16);
        u32(out, 0x48_0000);
        u32(out, 0x48_0000);
        u32(out, 0);
        u16(out, 1);
        zeros(out, 32);
        u16(out, 24);
        u16(out, 0xffff);
        boxed(out, configuration, |out| out.extend_from_slice(&track.config));
    });
}

fn audio_entry(out: &mut Vec<u8>, track: &Track, info: &AudioInfo) {
    let entry = if track.codec == Codec::Opus { b"Opus" } else { b"mp4a" };
    boxed(out, entry, |out| {
        zeros(out, 6);
        u16(out, 1);
        zeros(out, 8);
        u16(out, if info.channels == 0 { 2 } else { info.channels });
        u16(out, 16);
        zeros(out, 4);
        // 16.16; rates that do not fit are told by the configuration alone.
        u32(out, if info.sample_rate < 0x1_0000 { info.sample_rate << 16 } else { 0 });
        match track.codec {
            Codec::Opus => boxed(out, b"dOps", |out| out.extend_from_slice(&track.config)),
            Codec::Mp3 => full(out, b"esds", 0, 0, |out| elementary_stream(out, OBJECT_MP3, &[])),
            _ => full(out, b"esds", 0, 0, |out| elementary_stream(out, OBJECT_AAC, &track.config)),
        }
    });
}

/// ES_Descriptor (ISO/IEC 14496-1, section 7.2.6.5).
fn elementary_stream(out: &mut Vec<u8>, object_type: u8, specific: &[u8]) {
    descriptor(out, 0x03, |out| {
        u16(out, TRACK_ID as u16);
        u8(out, 0);
        descriptor(out, 0x04, |out| {
            u8(out, object_type);
            // Audio stream, upstream 0, reserved 1.
            u8(out, 0x05 << 2 | 1);
            zeros(out, 3 + 4 + 4);
            if !specific.is_empty() {
                descriptor(out, 0x05, |out| out.extend_from_slice(specific));
            }
        });
        descriptor(out, 0x06, |out| u8(out, 2));
    });
}

/// A descriptor with its length in four bytes of seven bits.
fn descriptor(out: &mut Vec<u8>, tag: u8, write: impl FnOnce(&mut Vec<u8>)) {
    let mut content = Vec::new();
    write(&mut content);
    u8(out, tag);
    for shift in [21, 14, 7, 0] {
        let more = if shift > 0 { 0x80 } else { 0 };
        u8(out, (content.len() >> shift) as u8 & 0x7f | more);
    }
    out.extend_from_slice(&content);
}
