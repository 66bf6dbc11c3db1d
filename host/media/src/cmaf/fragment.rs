//! Movie fragments: `moof` and `mdat` of one track (ISO/IEC 14496-12, section 8.8), with `prft` (section 8.16.5).

use bytes::Bytes;

use super::boxes::{boxed, full, u32, u64};
use crate::time::WallClock;
use crate::track::MediaKind;

/// Each rendition is a file of its own with one track.
pub const TRACK_ID: u32 = 1;

/// sample_depends_on 2: a key frame, or sound. sample_depends_on 1 and sample_is_non_sync_sample: any other picture.
const FLAGS_SYNC: u32 = 0x0200_0000;
const FLAGS_NON_SYNC: u32 = 0x0101_0000;
const DEFAULT_BASE_IS_MOOF: u32 = 0x02_0000;
const DEFAULT_SAMPLE_FLAGS: u32 = 0x20;
const DATA_OFFSET: u32 = 0x1;
const SAMPLE_DURATION: u32 = 0x100;
const SAMPLE_SIZE: u32 = 0x200;
const SAMPLE_FLAGS: u32 = 0x400;
const SAMPLE_COMPOSITION_OFFSET: u32 = 0x800;
/// Seconds from 1900, where NTP counts from, to 1970.
const NTP_EPOCH: i64 = 2_208_988_800;

/// A frame on its track's own time scale.
#[derive(Clone, Debug)]
pub struct Sample {
    pub dts: i64,
    pub composition_offset: i32,
    pub duration: u32,
    pub keyframe: bool,
    pub payload: Bytes,
}

/// When the first sample of a fragment was received, and its presentation time.
#[derive(Clone, Copy, Debug)]
pub struct Reference {
    pub received: WallClock,
    pub media_time: i64,
}

/// The fragment of `samples`, which are not empty and follow each other without gaps. The payloads are copied once, here.
pub fn chunk(kind: MediaKind, sequence: u32, samples: &[Sample], reference: Option<Reference>) -> Bytes {
    let payload: usize = samples.iter().map(|sample| sample.payload.len()).sum();
    let mut out = Vec::with_capacity(payload + 160 + samples.len() * 16);
    if let Some(reference) = reference {
        prft(&mut out, reference);
    }
    let moof = out.len();
    let mut data_offset = 0;
    boxed(&mut out, b"moof", |out| {
        full(out, b"mfhd", 0, 0, |out| u32(out, sequence));
        boxed(out, b"traf", |out| {
            let video = kind == MediaKind::Video;
            let defaults = if video { 0 } else { DEFAULT_SAMPLE_FLAGS };
            full(out, b"tfhd", 0, DEFAULT_BASE_IS_MOOF | defaults, |out| {
                u32(out, TRACK_ID);
                if !video {
                    u32(out, FLAGS_SYNC);
                }
            });
            let decode_time = samples.first().map_or(0, |sample| sample.dts.max(0));
            full(out, b"tfdt", 1, 0, |out| u64(out, decode_time as u64));
            let mut fields = DATA_OFFSET | SAMPLE_DURATION | SAMPLE_SIZE;
            if video {
                fields |= SAMPLE_FLAGS | SAMPLE_COMPOSITION_OFFSET;
            }
            // Version 1: composition offsets are signed.
            full(out, b"trun", 1, fields, |out| {
                u32(out, samples.len() as u32);
                data_offset = out.len();
                u32(out, 0);
                for sample in samples {
                    u32(out, sample.duration);
                    u32(out, sample.payload.len() as u32);
                    if video {
                        u32(out, if sample.keyframe { FLAGS_SYNC } else { FLAGS_NON_SYNC });
                        u32(out, sample.composition_offset as u32);
                    }
                }
            });
        });
    });
    // The offset counts from the moof to the first byte behind the mdat's header.
    let offset = (out.len() - moof + 8) as u32;
    if let Some(field) = out.get_mut(data_offset..data_offset + 4) {
        field.copy_from_slice(&offset.to_be_bytes());
    }
    boxed(&mut out, b"mdat", |out| samples.iter().for_each(|sample| out.extend_from_slice(&sample.payload)));
    out.into()
}

/// The host's time of reception stands for the time of capture, the nearest that it can know.
fn prft(out: &mut Vec<u8>, reference: Reference) {
    const CAPTURED: u32 = 24;
    full(out, b"prft", 1, CAPTURED, |out| {
        let micros = reference.received.unix_micros();
        let seconds = micros.div_euclid(1_000_000).saturating_add(NTP_EPOCH) as u64;
        let fraction = ((micros.rem_euclid(1_000_000) as u64) << 32) / 1_000_000;
        u32(out, TRACK_ID);
        u64(out, seconds << 32 | fraction);
        u64(out, reference.media_time.max(0) as u64);
    });
}
