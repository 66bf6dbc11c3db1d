//! HEVC: HEVCDecoderConfigurationRecord (ISO/IEC 14496-15, section 8.3.3.1) and the size in its sequence parameter set
//! (ITU-T H.265, section 7.3.2.2).

use std::fmt::Write;

use super::CodecError;
use super::bits::{Bits, plausible_rate, unescape};
use crate::track::VideoInfo;

const RECORD: &str = "HEVC configuration record";
const SPS: &str = "HEVC sequence parameter set";
const NAL_SPS: u32 = 33;

/// Size and rate, and the `codecs` parameter (ISO/IEC 14496-15, Annex E.3).
pub fn configuration(record: &[u8]) -> Result<(VideoInfo, String), CodecError> {
    let mut bits = Bits::new(RECORD, record);
    let version = bits.read("configurationVersion", 8)?;
    // Encoders of before the standard's publication wrote 0.
    if version > 1 {
        return Err(bits.invalid("configurationVersion", version.into(), "1"));
    }
    let space = bits.read("general_profile_space", 2)?;
    let tier = bits.flag("general_tier_flag")?;
    let profile = bits.read("general_profile_idc", 5)?;
    let compatibility = bits.read("general_profile_compatibility_flags", 32)?;
    let constraints = bits.bytes("general_constraint_indicator_flags", 6)?;
    let level = bits.read("general_level_idc", 8)?;
    bits.skip("min_spatial_segmentation_idc", 16)?;
    bits.skip("parallelismType", 8)?;
    bits.skip("chromaFormat", 8)?;
    bits.skip("bitDepthLumaMinus8", 8)?;
    bits.skip("bitDepthChromaMinus8", 8)?;
    let average_rate = bits.read("avgFrameRate", 16)?;
    bits.skip("constantFrameRate, numTemporalLayers and temporalIdNested", 6)?;
    let nal_length_size = bits.read("lengthSizeMinusOne", 2)? as u8 + 1;
    if nal_length_size == 3 {
        return Err(bits.invalid("lengthSizeMinusOne", 2, "0, 1 or 3"));
    }
    let mut sps = None;
    for _ in 0..bits.read("numOfArrays", 8)? {
        bits.skip("array_completeness", 2)?;
        let kind = bits.read("NAL_unit_type", 6)?;
        for _ in 0..bits.read("numNalus", 16)? {
            let length = bits.read("nalUnitLength", 16)? as usize;
            let nal = bits.bytes("nalUnit", length)?;
            if kind == NAL_SPS && sps.is_none() {
                sps = Some(size(nal)?);
            }
        }
    }
    let (width, height) = sps.ok_or(CodecError::Missing { record: RECORD, field: "sequence parameter set" })?;
    let info = VideoInfo { width, height, frame_rate: plausible_rate(average_rate.into(), 256), nal_length_size };

    let mut codecs = String::from("hvc1.");
    if let Some(space) = ['A', 'B', 'C'].get((space as usize).wrapping_sub(1)) {
        codecs.push(*space);
    }
    let _ = write!(codecs, "{profile}.{:X}.{}{level}", compatibility.reverse_bits(), if tier { 'H' } else { 'L' });
    let used = constraints.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    for byte in constraints.iter().take(used) {
        let _ = write!(codecs, ".{byte:X}");
    }
    Ok((info, codecs))
}

/// Width and height after the conformance window.
fn size(nal: &[u8]) -> Result<(u32, u32), CodecError> {
    let rbsp = unescape(nal);
    let mut bits = Bits::new(SPS, &rbsp);
    bits.skip("NAL unit header", 16)?;
    bits.skip("sps_video_parameter_set_id", 4)?;
    let sub_layers = bits.read("sps_max_sub_layers_minus1", 3)?;
    bits.skip("sps_temporal_id_nesting_flag", 1)?;
    skip_profile_tier_level(&mut bits, sub_layers)?;
    bits.ue("sps_seq_parameter_set_id")?;
    let chroma_format = bits.ue("chroma_format_idc")?;
    let separate_planes = chroma_format == 3 && bits.flag("separate_colour_plane_flag")?;
    let width = bits.ue("pic_width_in_luma_samples")?;
    let height = bits.ue("pic_height_in_luma_samples")?;
    let (mut crop_width, mut crop_height) = (0, 0);
    if bits.flag("conformance_window_flag")? {
        let (unit_x, unit_y) = match (separate_planes, chroma_format) {
            (false, 1) => (2, 2),
            (false, 2) => (2, 1),
            _ => (1, 1),
        };
        let left = u64::from(bits.ue("conf_win_left_offset")?);
        let right = u64::from(bits.ue("conf_win_right_offset")?);
        let top = u64::from(bits.ue("conf_win_top_offset")?);
        let bottom = u64::from(bits.ue("conf_win_bottom_offset")?);
        crop_width = (left + right) * unit_x;
        crop_height = (top + bottom) * unit_y;
    }
    let side = |field, coded: u32, cropped: u64| match u64::from(coded).checked_sub(cropped) {
        Some(size @ 1..=0xffff) => Ok(size as u32),
        _ => Err(bits.invalid(field, coded.into(), "a picture of 1 to 65535 pixels a side after cropping")),
    };
    Ok((side("pic_width_in_luma_samples", width, crop_width)?, side("pic_height_in_luma_samples", height, crop_height)?))
}

/// profile_tier_level(1, sub_layers), ITU-T H.265 section 7.3.3.
fn skip_profile_tier_level(bits: &mut Bits<'_>, sub_layers: u32) -> Result<(), CodecError> {
    bits.skip("general profile, tier and level", 96)?;
    if sub_layers == 0 {
        return Ok(());
    }
    let mut present = Vec::with_capacity(sub_layers as usize);
    for _ in 0..sub_layers {
        present.push((bits.flag("sub_layer_profile_present_flag")?, bits.flag("sub_layer_level_present_flag")?));
    }
    bits.skip("reserved_zero_2bits", (8 - sub_layers as usize) * 2)?;
    for (profile, level) in present {
        bits.skip("sub-layer profile and level", if profile { 88 } else { 0 } + if level { 8 } else { 0 })?;
    }
    Ok(())
}
