//! Initialization segments: `ftyp` and `moov` for one track of any supported codec (ISO/IEC 14496-12, -14, -15, and the Opus and
//! AV1 bindings). The decoder configuration is carried over byte by byte.

use bytes::Bytes;

use super::boxes::{boxed, full, u8, u16, u32, u64, zeros};
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
    movie([(TRACK_ID, track, timescale(track))].into_iter())
}

/// The initialization segment of several tracks, each with its number in the file and its time scale.
pub(crate) fn movie<'a>(tracks: impl Iterator<Item = (u32, &'a Track, u32)> + Clone) -> Bytes {
    let mut out = Vec::with_capacity(1024);
    boxed(&mut out, b"ftyp", |out| {
        out.extend_from_slice(b"iso6");
        u32(out, 0);
        out.extend_from_slice(b"iso6cmfcmp41dash");
    });
    boxed(&mut out, b"moov", |out| {
        let next = tracks.clone().map(|(id, ..)| id).max().unwrap_or(0) + 1;
        mvhd(out, 1000, 0, next);
        for (id, track, timescale) in tracks.clone() {
            let extent = Extent { timescale, ..Extent::default() };
            trak(out, id, track, &extent, |out| {
                full(out, b"stsd", 0, 0, |out| {
                    u32(out, 1);
                    sample_entry(out, track);
                });
                full(out, b"stts", 0, 0, |out| u32(out, 0));
                full(out, b"stsc", 0, 0, |out| u32(out, 0));
                full(out, b"stsz", 0, 0, |out| zeros(out, 8));
                full(out, b"stco", 0, 0, |out| u32(out, 0));
            });
        }
        boxed(out, b"mvex", |out| {
            for (id, ..) in tracks {
                full(out, b"trex", 0, 0, |out| {
                    u32(out, id);
                    u32(out, 1);
                    zeros(out, 12);
                });
            }
        });
    });
    out.into()
}

/// `duration` is in the movie's time scale.
pub(crate) fn mvhd(out: &mut Vec<u8>, timescale: u32, duration: u64, next_track: u32) {
    timed(
        out,
        b"mvhd",
        0,
        |out| u32(out, timescale),
        duration,
        |out| {
            u32(out, 0x1_0000);
            u16(out, 0x100);
            zeros(out, 10);
            IDENTITY.iter().for_each(|&value| u32(out, value));
            zeros(out, 24);
            u32(out, next_track);
        },
    );
}

/// A full box that begins with two times and, after `middle`, a duration: of 32 bits where that is enough.
fn timed(
    out: &mut Vec<u8>,
    kind: &[u8; 4],
    flags: u32,
    middle: impl FnOnce(&mut Vec<u8>),
    duration: u64,
    rest: impl FnOnce(&mut Vec<u8>),
) {
    let short = u32::try_from(duration).ok();
    full(out, kind, if short.is_some() { 0 } else { 1 }, flags, |out| {
        zeros(out, if short.is_some() { 8 } else { 16 });
        middle(out);
        match short {
            Some(duration) => u32(out, duration),
            None => u64(out, duration),
        }
        rest(out);
    });
}

/// When a track is shown in a movie (ISO/IEC 14496-12, section 8.6.6).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Edit {
    /// How long nothing is shown first, in the movie's time scale.
    pub empty: u64,
    /// How long the media is shown then, in the movie's time scale.
    pub shown: u64,
    /// Where in the media that begins, in ticks of the track.
    pub media_time: i64,
}

/// How long a track is; all 0 in a file of fragments.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Extent {
    /// In the movie's time scale.
    pub movie: u64,
    pub timescale: u32,
    /// In the track's time scale.
    pub media: u64,
    pub edit: Option<Edit>,
}

/// `tables` writes what is in the `stbl`.
pub(crate) fn trak(out: &mut Vec<u8>, id: u32, track: &Track, extent: &Extent, tables: impl FnOnce(&mut Vec<u8>)) {
    boxed(out, b"trak", |out| {
        // Enabled, in the movie.
        let middle = |out: &mut Vec<u8>| {
            u32(out, id);
            zeros(out, 4);
        };
        timed(out, b"tkhd", 3, middle, extent.movie, |out| {
            zeros(out, 8);
            u16(out, 0);
            u16(out, 0);
            u16(out, if track.audio().is_some() { 0x100 } else { 0 });
            u16(out, 0);
            IDENTITY.iter().for_each(|&value| u32(out, value));
            let (width, height) = track.video().map_or((0, 0), |info| (info.width, info.height));
            u32(out, width << 16);
            u32(out, height << 16);
        });
        if let Some(edit) = extent.edit {
            boxed(out, b"edts", |out| edit_list(out, &edit));
        }
        boxed(out, b"mdia", |out| {
            timed(
                out,
                b"mdhd",
                0,
                |out| u32(out, extent.timescale),
                extent.media,
                |out| {
                    u16(out, LANGUAGE);
                    u16(out, 0);
                },
            );
            full(out, b"hdlr", 0, 0, |out| {
                u32(out, 0);
                out.extend_from_slice(if track.video().is_some() { b"vide" } else { b"soun" });
                zeros(out, 12);
                out.extend_from_slice(if track.video().is_some() { b"Video\0" } else { b"Audio\0" });
            });
            boxed(out, b"minf", |out| minf(out, track, tables));
        });
    });
}

fn edit_list(out: &mut Vec<u8>, edit: &Edit) {
    const NORMAL_SPEED: u32 = 0x1_0000;
    full(out, b"elst", 1, 0, |out| {
        u32(out, if edit.empty > 0 { 2 } else { 1 });
        if edit.empty > 0 {
            u64(out, edit.empty);
            u64(out, u64::MAX);
            u32(out, NORMAL_SPEED);
        }
        u64(out, edit.shown);
        u64(out, edit.media_time as u64);
        u32(out, NORMAL_SPEED);
    });
}

fn minf(out: &mut Vec<u8>, track: &Track, tables: impl FnOnce(&mut Vec<u8>)) {
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
    boxed(out, b"stbl", tables);
}

/// The entry of the `stsd` that describes `track`.
pub(crate) fn sample_entry(out: &mut Vec<u8>, track: &Track) {
    match &track.info {
        crate::MediaInfo::Video(info) => video_entry(out, track, info),
        crate::MediaInfo::Audio(info) => audio_entry(out, track, info),
    }
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
