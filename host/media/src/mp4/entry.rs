//! Sample entries (ISO/IEC 14496-12, section 8.5.2): which codec a track has, and its decoder configuration.
//!
//! Sources: ISO/IEC 14496-14 (esds), 14496-15 (avcC, hvcC), the AV1 and Opus bindings, and the QuickTime File Format Specification for
//! sound descriptions of version 1 and 2 with a `wave` box.

use bytes::Bytes;

use super::Mp4Error;
use super::boxes::{Fields, FourCc, invalid};
use crate::codec::{self, CodecError};
use crate::track::{Codec, MediaInfo, MediaKind, Track, TrackId};

/// More entries than this in one track are taken for damage.
const MAX_ENTRIES: u32 = 256;

/// What a sample entry says, or why it can't be played.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    /// The codec as the file names it, for people: `mp4v`, `mp4a (object type 0xdd)`.
    pub name: String,
    pub description: Result<Description, String>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Description {
    codec: Codec,
    config: Bytes,
    sample_rate: u32,
}

impl Description {
    pub const fn kind_name(&self) -> &'static str {
        match self.codec.kind() {
            MediaKind::Video => "video",
            MediaKind::Audio => "audio",
        }
    }

    /// The track with this description, under number `id`.
    pub fn track(&self, id: TrackId) -> Result<Track, CodecError> {
        let mut track = codec::track(id, self.codec, self.config.clone())?;
        if let (Codec::Mp3, MediaInfo::Audio(info), rate @ 1..) = (self.codec, &mut track.info, self.sample_rate) {
            info.sample_rate = rate;
            info.samples_per_frame = Some(if rate < 32_000 { 576 } else { 1152 });
        }
        Ok(track)
    }
}

/// Reads the entries of an stsd box. `content` is what follows its header, `offset` where that lies in the file.
pub(super) fn read(path: &str, offset: u64, content: &[u8]) -> Result<Vec<Entry>, Mp4Error> {
    let mut fields = Fields::new(path, offset, content);
    let (version, _) = fields.version()?;
    let count = fields.u32()?;
    if count > MAX_ENTRIES {
        let problem = format!("its entry_count is {count}, at most {MAX_ENTRIES} sample entries are taken");
        return Err(invalid(path, offset, problem));
    }
    (0..count)
        .map(|index| {
            let start = fields.offset();
            let size = fields.u32()? as usize;
            let kind = FourCc(fields.array()?);
            let length = size.checked_sub(8).filter(|&length| length <= fields.left()).ok_or_else(|| {
                let problem = format!("sample entry {index} ({kind}) of {size} bytes does not fit into the box");
                invalid(path, start, problem)
            })?;
            let at = fields.offset();
            Ok(entry(kind, version, Fields::new(path, at, fields.take(length)?)))
        })
        .collect()
}

fn entry(kind: FourCc, version: u8, fields: Fields<'_>) -> Entry {
    let mut name = kind.to_string();
    let description = match &kind.0 {
        b"avc1" | b"avc3" => video(Codec::H264, *b"avcC", fields),
        b"hvc1" | b"hev1" => video(Codec::Hevc, *b"hvcC", fields),
        b"av01" => video(Codec::Av1, *b"av1C", fields),
        b"mp4a" | b".mp3" | b"ms\0U" | b"Opus" => audio(kind, version, fields, &mut name),
        b"encv" | b"enca" => Err("it is encrypted".to_owned()),
        _ => Err("the codec is not supported".to_owned()),
    };
    // Checked here, so that a configuration that no decoder takes leaves the track out with a reason.
    let checked = description
        .and_then(|description| description.track(TrackId::VIDEO).map(|_| description).map_err(|error| error.to_string()));
    Entry { name, description: checked }
}

fn video(codec: Codec, configuration: [u8; 4], mut fields: Fields<'_>) -> Result<Description, String> {
    // VisualSampleEntry (section 12.1.3).
    fields.take(78).map_err(|error| error.to_string())?;
    let config =
        child(fields.rest(), configuration).ok_or_else(|| format!("its sample entry has no {} box", FourCc(configuration)))?;
    Ok(Description { codec, config: Bytes::copy_from_slice(config), sample_rate: 0 })
}

fn audio(kind: FourCc, stsd_version: u8, mut fields: Fields<'_>, name: &mut String) -> Result<Description, String> {
    let (rate, boxes) = sound_description(stsd_version, &mut fields).map_err(|error| error.to_string())?;
    let description = |codec, config: &[u8]| Description { codec, config: Bytes::copy_from_slice(config), sample_rate: rate };
    match &kind.0 {
        b"Opus" => Ok(description(Codec::Opus, child(boxes, *b"dOps").ok_or("its sample entry has no dOps box")?)),
        b"mp4a" => {
            let wave = child(boxes, *b"wave").unwrap_or_default();
            let esds = child(boxes, *b"esds").or_else(|| child(wave, *b"esds")).ok_or("its sample entry has no esds box")?;
            let stream = elementary_stream(esds).ok_or("its esds box is damaged")?;
            match stream.object_type {
                // ISO/IEC 14496-1, table 5: MPEG-4 and MPEG-2 AAC, MPEG-1 and MPEG-2 audio.
                0x40 | 0x66..=0x68 => {
                    let config = stream.specific.ok_or("its esds box has no AudioSpecificConfig")?;
                    Ok(description(Codec::Aac, config))
                }
                0x69 | 0x6b => Ok(description(Codec::Mp3, &[])),
                other => {
                    *name = format!("{kind} (object type {other:#04x})");
                    Err("the codec is not supported".to_owned())
                }
            }
        }
        _ => Ok(description(Codec::Mp3, &[])),
    }
}

/// The sample rate, and the boxes in the entry.
fn sound_description<'a>(stsd_version: u8, fields: &mut Fields<'a>) -> Result<(u32, &'a [u8]), Mp4Error> {
    // AudioSampleEntry (section 12.2.3): reserved and data_reference_index, then a version that only QuickTime uses.
    fields.take(8)?;
    let version = fields.u16()?;
    fields.take(2 + 4 + 2 + 2 + 2 + 2)?;
    let mut rate = fields.u32()? >> 16;
    match version {
        1 if stsd_version == 0 => drop(fields.take(16)?),
        2 if stsd_version == 0 => {
            fields.take(4)?;
            let precise = f64::from_bits(fields.u64()?);
            // A float outside the range of the integer becomes its nearest end.
            rate = precise as u32;
            fields.take(24)?;
        }
        _ => {}
    }
    Ok((rate, fields.rest()))
}

/// The content of the first box of `kind`. Anything that is not a row of boxes ends the search.
fn child(mut boxes: &[u8], kind: [u8; 4]) -> Option<&[u8]> {
    loop {
        let size = u32::from_be_bytes(*boxes.first_chunk()?) as usize;
        let content = boxes.get(8..size)?;
        if boxes.get(4..8)? == kind {
            return Some(content);
        }
        boxes = boxes.get(size..)?;
    }
}

struct ElementaryStream<'a> {
    object_type: u8,
    specific: Option<&'a [u8]>,
}

/// ES_Descriptor in an esds box (ISO/IEC 14496-1, section 7.2.6.5).
fn elementary_stream(esds: &[u8]) -> Option<ElementaryStream<'_>> {
    let stream = descriptor(esds.get(4..)?, 0x03)?;
    let (&flags, mut rest) = stream.get(2..)?.split_first()?;
    if flags & 0x80 != 0 {
        rest = rest.get(2..)?;
    }
    if flags & 0x40 != 0 {
        let length = usize::from(*rest.first()?);
        rest = rest.get(1 + length..)?;
    }
    if flags & 0x20 != 0 {
        rest = rest.get(2..)?;
    }
    let config = descriptor(rest, 0x04)?;
    Some(ElementaryStream { object_type: *config.first()?, specific: config.get(13..).and_then(|rest| descriptor(rest, 0x05)) })
}

/// The content of the first descriptor with `tag`; one that claims too much is cut to what is there.
fn descriptor(mut data: &[u8], tag: u8) -> Option<&[u8]> {
    loop {
        let (&found, mut rest) = data.split_first()?;
        let mut length = 0;
        for _ in 0..4 {
            let (&byte, after) = rest.split_first()?;
            rest = after;
            length = length << 7 | usize::from(byte & 0x7f);
            if byte & 0x80 == 0 {
                break;
            }
        }
        if found == tag {
            return rest.get(..length.min(rest.len()));
        }
        data = rest.get(length..)?;
    }
}
