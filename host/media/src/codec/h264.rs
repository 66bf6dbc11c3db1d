//! H.264: AVCDecoderConfigurationRecord (ISO/IEC 14496-15, section 5.3.3.1) and its sequence parameter set (ITU-T H.264, section 7.3.2.1).

use super::CodecError;
use super::bits::{Bits, unescape};
use crate::track::VideoInfo;

const RECORD: &str = "AVC configuration record";
const SPS: &str = "H.264 sequence parameter set";

/// Size and rate, and the `codecs` parameter.
pub fn configuration(record: &[u8]) -> Result<(VideoInfo, String), CodecError> {
    let mut bits = Bits::new(RECORD, record);
    let version = bits.read("configurationVersion", 8)?;
    if version != 1 {
        return Err(bits.invalid("configurationVersion", version.into(), "1"));
    }
    let profile = bits.read("AVCProfileIndication", 8)?;
    let compatibility = bits.read("profile_compatibility", 8)?;
    let level = bits.read("AVCLevelIndication", 8)?;
    bits.skip("reserved", 6)?;
    let nal_length_size = bits.read("lengthSizeMinusOne", 2)? as u8 + 1;
    if nal_length_size == 3 {
        return Err(bits.invalid("lengthSizeMinusOne", 2, "0, 1 or 3"));
    }
    bits.skip("reserved", 3)?;
    if bits.read("numOfSequenceParameterSets", 5)? == 0 {
        return Err(CodecError::Missing { record: RECORD, field: "sequence parameter set" });
    }
    let length = bits.read("sequenceParameterSetLength", 16)? as usize;
    let sps = sequence_parameter_set(bits.bytes("sequenceParameterSetNALUnit", length)?)?;
    let info = VideoInfo { width: sps.width, height: sps.height, frame_rate: sps.frame_rate, nal_length_size };
    Ok((info, format!("avc1.{profile:02x}{compatibility:02x}{level:02x}")))
}

struct Sps {
    width: u32,
    height: u32,
    frame_rate: Option<(u32, u32)>,
}

fn sequence_parameter_set(nal: &[u8]) -> Result<Sps, CodecError> {
    let rbsp = unescape(nal);
    let mut bits = Bits::new(SPS, &rbsp);
    bits.skip("forbidden_zero_bit and nal_ref_idc", 3)?;
    let kind = bits.read("nal_unit_type", 5)?;
    if kind != 7 {
        return Err(bits.invalid("nal_unit_type", kind.into(), "7"));
    }
    let profile = bits.read("profile_idc", 8)?;
    bits.skip("constraint flags", 8)?;
    bits.skip("level_idc", 8)?;
    bits.ue("seq_parameter_set_id")?;
    let (mut chroma_format, mut separate_planes) = (1, false);
    if matches!(profile, 100 | 110 | 122 | 244 | 44 | 83 | 86 | 118 | 128 | 138 | 139 | 134 | 135) {
        chroma_format = bits.ue("chroma_format_idc")?;
        if chroma_format > 3 {
            return Err(bits.invalid("chroma_format_idc", chroma_format.into(), "0 to 3"));
        }
        if chroma_format == 3 {
            separate_planes = bits.flag("separate_colour_plane_flag")?;
        }
        bits.ue("bit_depth_luma_minus8")?;
        bits.ue("bit_depth_chroma_minus8")?;
        bits.skip("qpprime_y_zero_transform_bypass_flag", 1)?;
        if bits.flag("seq_scaling_matrix_present_flag")? {
            for i in 0..if chroma_format == 3 { 12 } else { 8 } {
                if bits.flag("seq_scaling_list_present_flag")? {
                    skip_scaling_list(&mut bits, if i < 6 { 16 } else { 64 })?;
                }
            }
        }
    }
    bits.ue("log2_max_frame_num_minus4")?;
    match bits.ue("pic_order_cnt_type")? {
        0 => {
            bits.ue("log2_max_pic_order_cnt_lsb_minus4")?;
        }
        1 => {
            bits.skip("delta_pic_order_always_zero_flag", 1)?;
            bits.se("offset_for_non_ref_pic")?;
            bits.se("offset_for_top_to_bottom_field")?;
            let count = bits.ue("num_ref_frames_in_pic_order_cnt_cycle")?;
            if count > 255 {
                return Err(bits.invalid("num_ref_frames_in_pic_order_cnt_cycle", count.into(), "0 to 255"));
            }
            for _ in 0..count {
                bits.se("offset_for_ref_frame")?;
            }
        }
        2 => {}
        other => return Err(bits.invalid("pic_order_cnt_type", other.into(), "0 to 2")),
    }
    bits.ue("max_num_ref_frames")?;
    bits.skip("gaps_in_frame_num_value_allowed_flag", 1)?;
    let width_in_mbs = u64::from(bits.ue("pic_width_in_mbs_minus1")?) + 1;
    let height_in_units = u64::from(bits.ue("pic_height_in_map_units_minus1")?) + 1;
    let frame_mbs_only = bits.flag("frame_mbs_only_flag")?;
    if !frame_mbs_only {
        bits.skip("mb_adaptive_frame_field_flag", 1)?;
    }
    bits.skip("direct_8x8_inference_flag", 1)?;
    let fields = if frame_mbs_only { 1 } else { 2 };
    let (mut crop_width, mut crop_height) = (0, 0);
    if bits.flag("frame_cropping_flag")? {
        let (unit_x, unit_y) = match (separate_planes, chroma_format) {
            (false, 1) => (2, 2),
            (false, 2) => (2, 1),
            _ => (1, 1),
        };
        let left = u64::from(bits.ue("frame_crop_left_offset")?);
        let right = u64::from(bits.ue("frame_crop_right_offset")?);
        let top = u64::from(bits.ue("frame_crop_top_offset")?);
        let bottom = u64::from(bits.ue("frame_crop_bottom_offset")?);
        crop_width = (left + right) * unit_x;
        crop_height = (top + bottom) * unit_y * fields;
    }
    let width = size(&bits, "pic_width_in_mbs_minus1", width_in_mbs * 16, crop_width)?;
    let height = size(&bits, "pic_height_in_map_units_minus1", height_in_units * 16 * fields, crop_height)?;
    // The usability information comes last and is often cut by encoders: without it there is just no frame rate.
    let frame_rate = frame_rate(&mut bits).ok().flatten();
    Ok(Sps { width, height, frame_rate })
}

/// A picture side after cropping. Sample entries hold 16 bits.
fn size(bits: &Bits<'_>, field: &'static str, coded: u64, cropped: u64) -> Result<u32, CodecError> {
    match coded.checked_sub(cropped) {
        Some(size @ 1..=0xffff) => Ok(size as u32),
        _ => Err(bits.invalid(field, coded, "a picture of 1 to 65535 pixels a side after cropping")),
    }
}

fn skip_scaling_list(bits: &mut Bits<'_>, size: u32) -> Result<(), CodecError> {
    let (mut last, mut next) = (8_i64, 8_i64);
    for _ in 0..size {
        if next != 0 {
            next = (last + i64::from(bits.se("delta_scale")?)).rem_euclid(256);
        }
        last = if next == 0 { last } else { next };
    }
    Ok(())
}

/// `time_scale / (2 * num_units_in_tick)` from the VUI parameters (ITU-T H.264, section E.1.1).
fn frame_rate(bits: &mut Bits<'_>) -> Result<Option<(u32, u32)>, CodecError> {
    if !bits.flag("vui_parameters_present_flag")? {
        return Ok(None);
    }
    if bits.flag("aspect_ratio_info_present_flag")? && bits.read("aspect_ratio_idc", 8)? == 255 {
        bits.skip("sar_width and sar_height", 32)?;
    }
    if bits.flag("overscan_info_present_flag")? {
        bits.skip("overscan_appropriate_flag", 1)?;
    }
    if bits.flag("video_signal_type_present_flag")? {
        bits.skip("video_format and video_full_range_flag", 4)?;
        if bits.flag("colour_description_present_flag")? {
            bits.skip("colour description", 24)?;
        }
    }
    if bits.flag("chroma_loc_info_present_flag")? {
        bits.ue("chroma_sample_loc_type_top_field")?;
        bits.ue("chroma_sample_loc_type_bottom_field")?;
    }
    if !bits.flag("timing_info_present_flag")? {
        return Ok(None);
    }
    let ticks = bits.read("num_units_in_tick", 32)?;
    let scale = bits.read("time_scale", 32)?;
    Ok(super::bits::plausible_rate(scale.into(), u64::from(ticks) * 2))
}
