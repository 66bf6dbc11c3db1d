//! AV1: AV1CodecConfigurationRecord (AV1 in ISOBMFF, section 2.3.3) and the sequence header in it (AV1, section 5.5).

use super::CodecError;
use super::bits::{Bits, plausible_rate};
use crate::track::VideoInfo;

const RECORD: &str = "AV1 configuration record";
const HEADER: &str = "AV1 sequence header";
const OBU_SEQUENCE_HEADER: u32 = 1;

/// Size and rate, and the `codecs` parameter (AV1 in ISOBMFF, section 5).
pub fn configuration(record: &[u8]) -> Result<(VideoInfo, String), CodecError> {
    let mut bits = Bits::new(RECORD, record);
    let marker = bits.read("marker and version", 8)?;
    if marker != 0x81 {
        return Err(bits.invalid("marker and version", marker.into(), "129"));
    }
    let profile = bits.read("seq_profile", 3)?;
    let level = bits.read("seq_level_idx_0", 5)?;
    let tier = bits.flag("seq_tier_0")?;
    let high_bit_depth = bits.flag("high_bitdepth")?;
    let twelve_bit = bits.flag("twelve_bit")?;
    bits.skip("monochrome and chroma subsampling", 5)?;
    bits.skip("initial_presentation_delay", 8)?;
    let Header { width, height, frame_rate } = sequence_header(record.get(4..).unwrap_or_default())?;
    let depth = match (high_bit_depth, twelve_bit) {
        (true, true) => 12,
        (true, false) => 10,
        (false, _) => 8,
    };
    let tier = if tier { 'H' } else { 'M' };
    let info = VideoInfo { width, height, frame_rate, nal_length_size: 0 };
    Ok((info, format!("av01.{profile}.{level:02}{tier}.{depth:02}")))
}

struct Header {
    width: u32,
    height: u32,
    frame_rate: Option<(u32, u32)>,
}

/// Finds the sequence header among `obus`.
fn sequence_header(obus: &[u8]) -> Result<Header, CodecError> {
    let mut bits = Bits::new(RECORD, obus);
    while bits.left() > 0 {
        bits.skip("obu_forbidden_bit", 1)?;
        let kind = bits.read("obu_type", 4)?;
        let extension = bits.flag("obu_extension_flag")?;
        let has_size = bits.flag("obu_has_size_field")?;
        bits.skip("obu_reserved_1bit", 1)?;
        if extension {
            bits.skip("obu_extension_header", 8)?;
        }
        let size = if has_size { bits.leb128("obu_size")? } else { bits.left() as u64 / 8 };
        let payload = bits.bytes("OBU", usize::try_from(size).unwrap_or(usize::MAX / 8))?;
        if kind == OBU_SEQUENCE_HEADER {
            return read_sequence_header(payload);
        }
    }
    Err(CodecError::Missing { record: RECORD, field: "sequence header OBU" })
}

fn read_sequence_header(payload: &[u8]) -> Result<Header, CodecError> {
    let mut bits = Bits::new(HEADER, payload);
    bits.skip("seq_profile and still_picture", 4)?;
    let mut frame_rate = None;
    if bits.flag("reduced_still_picture_header")? {
        bits.skip("seq_level_idx", 5)?;
    } else {
        let mut decoder_model_delay = None;
        if bits.flag("timing_info_present_flag")? {
            let ticks = bits.read("num_units_in_display_tick", 32)?;
            let scale = bits.read("time_scale", 32)?;
            if bits.flag("equal_picture_interval")? {
                let per_picture = u64::from(bits.ue("num_ticks_per_picture_minus_1")?) + 1;
                frame_rate = plausible_rate(scale.into(), u64::from(ticks) * per_picture);
            }
            if bits.flag("decoder_model_info_present_flag")? {
                decoder_model_delay = Some(bits.read("buffer_delay_length_minus_1", 5)? as usize + 1);
                bits.skip("decoder model", 32 + 5 + 5)?;
            }
        }
        let display_delay = bits.flag("initial_display_delay_present_flag")?;
        for _ in 0..=bits.read("operating_points_cnt_minus_1", 5)? {
            bits.skip("operating_point_idc", 12)?;
            if bits.read("seq_level_idx", 5)? > 7 {
                bits.skip("seq_tier", 1)?;
            }
            if let Some(length) = decoder_model_delay
                && bits.flag("decoder_model_present_for_this_op")?
            {
                bits.skip("operating parameters", 2 * length + 1)?;
            }
            if display_delay && bits.flag("initial_display_delay_present_for_this_op")? {
                bits.skip("initial_display_delay_minus_1", 4)?;
            }
        }
    }
    let width_bits = bits.read("frame_width_bits_minus_1", 4)? as usize + 1;
    let height_bits = bits.read("frame_height_bits_minus_1", 4)? as usize + 1;
    let width = bits.read("max_frame_width_minus_1", width_bits)? + 1;
    let height = bits.read("max_frame_height_minus_1", height_bits)? + 1;
    if width > 0xffff || height > 0xffff {
        return Err(bits.invalid("max_frame_width_minus_1", width.max(height).into(), "a picture of up to 65535 pixels a side"));
    }
    Ok(Header { width, height, frame_rate })
}
