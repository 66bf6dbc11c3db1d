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

/// What a fragment's header says of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SampleHead {
    pub duration: u32,
    pub size: u32,
    pub composition_offset: i32,
    pub keyframe: bool,
}

/// Which fragment of which track it is.
#[derive(Clone, Copy, Debug)]
pub struct Heading {
    pub track_id: u32,
    pub kind: MediaKind,
    pub sequence: u32,
    /// Decode time of the first sample, in ticks.
    pub decode_time: u64,
}

/// The fragment of `samples`, which are not empty and follow each other without gaps. The payloads are copied once, here.
pub fn chunk(kind: MediaKind, sequence: u32, samples: &[Sample], reference: Option<Reference>) -> Bytes {
    let payload: usize = samples.iter().map(|sample| sample.payload.len()).sum();
    let mut out = Vec::with_capacity(payload + 160 + samples.len() * 16);
    if let Some(reference) = reference {
        prft(&mut out, reference);
    }
    let decode_time = samples.first().map_or(0, |sample| sample.dts.max(0)) as u64;
    let heading = Heading { track_id: TRACK_ID, kind, sequence, decode_time };
    head(&mut out, &heading, samples.iter().map(Sample::head));
    samples.iter().for_each(|sample| out.extend_from_slice(&sample.payload));
    out.into()
}

impl Sample {
    pub fn head(&self) -> SampleHead {
        SampleHead {
            duration: self.duration,
            size: u32::try_from(self.payload.len()).unwrap_or(u32::MAX),
            composition_offset: self.composition_offset,
            keyframe: self.keyframe,
        }
    }
}

/// The `moof` of a fragment and the header of its `mdat`; the payloads of the samples follow, in order, and end it.
pub fn head(out: &mut Vec<u8>, heading: &Heading, samples: impl ExactSizeIterator<Item = SampleHead>) {
    let moof = out.len();
    let mut data_offset = 0;
    let mut payload = 0_u32;
    boxed(out, b"moof", |out| {
        full(out, b"mfhd", 0, 0, |out| u32(out, heading.sequence));
        boxed(out, b"traf", |out| {
            let video = heading.kind == MediaKind::Video;
            let defaults = if video { 0 } else { DEFAULT_SAMPLE_FLAGS };
            full(out, b"tfhd", 0, DEFAULT_BASE_IS_MOOF | defaults, |out| {
                u32(out, heading.track_id);
                if !video {
                    u32(out, FLAGS_SYNC);
                }
            });
            full(out, b"tfdt", 1, 0, |out| u64(out, heading.decode_time));
            let mut fields = DATA_OFFSET | SAMPLE_DURATION | SAMPLE_SIZE;
            if video {
                fields |= SAMPLE_FLAGS | SAMPLE_COMPOSITION_OFFSET;
            }
            // Version 1: composition offsets are signed.
            full(out, b"trun", 1, fields, |out| {
                u32(out, u32::try_from(samples.len()).unwrap_or(u32::MAX));
                data_offset = out.len();
                u32(out, 0);
                for sample in samples {
                    payload = payload.saturating_add(sample.size);
                    u32(out, sample.duration);
                    u32(out, sample.size);
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
    u32(out, payload.saturating_add(8));
    out.extend_from_slice(b"mdat");
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
