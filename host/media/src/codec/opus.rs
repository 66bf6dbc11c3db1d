//! Opus: OpusHead (RFC 7845, section 5.1) and dOps (Opus in ISOBMFF, section 4.3.2), and the length of a packet (RFC 6716, section 3.1).

use bytes::{BufMut, Bytes, BytesMut};

use super::CodecError;
use super::bits::Bits;
use crate::track::AudioInfo;

const HEAD: &str = "OpusHead packet";
const BOX: &str = "dOps box";

/// The content of a dOps box, whichever of the two came, and what the decoder will give. Opus always decodes at 48 kHz.
pub fn configuration(record: &Bytes) -> Result<(Bytes, AudioInfo), CodecError> {
    let dops = match record.strip_prefix(b"OpusHead") {
        Some(head) => from_head(head)?,
        None => record.clone(),
    };
    let mut bits = Bits::new(BOX, &dops);
    let version = bits.read("Version", 8)?;
    if version != 0 {
        return Err(bits.invalid("Version", version.into(), "0"));
    }
    let channels = bits.read("OutputChannelCount", 8)? as u16;
    if channels == 0 {
        return Err(bits.invalid("OutputChannelCount", 0, "1 to 255"));
    }
    bits.skip("PreSkip, InputSampleRate and OutputGain", 64)?;
    let family = bits.read("ChannelMappingFamily", 8)?;
    if family == 0 && channels > 2 {
        return Err(bits.invalid("OutputChannelCount", channels.into(), "1 or 2 with mapping family 0"));
    }
    if family != 0 {
        bits.skip("StreamCount and CoupledCount", 16)?;
        bits.skip("ChannelMapping", usize::from(channels) * 8)?;
    }
    let used = dops.len() - bits.left() / 8;
    Ok((dops.slice(..used), AudioInfo { sample_rate: 48_000, channels, samples_per_frame: None }))
}

/// OpusHead is little-endian, dOps big-endian.
fn from_head(head: &[u8]) -> Result<Bytes, CodecError> {
    let mut bits = Bits::new(HEAD, head);
    let version = bits.read("Version", 8)?;
    if version > 15 {
        return Err(bits.invalid("Version", version.into(), "0 to 15"));
    }
    let mut dops = BytesMut::with_capacity(head.len());
    dops.put_u8(0);
    dops.put_slice(bits.bytes("Channel Count", 1)?);
    for (field, length) in [("Pre-skip", 2), ("Input Sample Rate", 4), ("Output Gain", 2)] {
        dops.extend(bits.bytes(field, length)?.iter().rev());
    }
    let rest = bits.left() / 8;
    dops.put_slice(bits.bytes("Channel Mapping", rest)?);
    Ok(dops.freeze())
}

/// Samples at 48 kHz in a packet: its frame size times its frame count. At most 120 ms, as the standard has it.
pub fn packet_samples(packet: &[u8]) -> Option<u32> {
    let toc = *packet.first()?;
    let frame = match toc >> 3 {
        config @ 0..=11 => [480, 960, 1920, 2880][usize::from(config & 3)],
        config @ 12..=15 => [480, 960][usize::from(config & 1)],
        config => [120, 240, 480, 960][usize::from(config & 3)],
    };
    let count = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => u32::from(*packet.get(1)? & 0x3f),
    };
    Some(frame * count).filter(|samples| (120..=5760).contains(samples))
}
