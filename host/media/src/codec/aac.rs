//! AAC: AudioSpecificConfig (ISO/IEC 14496-3, section 1.6.2.1), with the HE-AAC signalling in it, and silent frames.

use super::CodecError;
use super::bits::Bits;
use crate::track::AudioInfo;

const RECORD: &str = "AudioSpecificConfig";
const RATES: [u32; 13] = [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350];
const SBR: u32 = 5;
const PS: u32 = 29;

/// What the decoder will give, and the `codecs` parameter.
pub fn configuration(record: &[u8]) -> Result<(AudioInfo, String), CodecError> {
    let mut bits = Bits::new(RECORD, record);
    let signalled = object_type(&mut bits)?;
    let core_rate = sample_rate(&mut bits)?;
    let channel_configuration = bits.read("channelConfiguration", 4)?;
    let (mut object, mut rate, mut profile) = (signalled, core_rate, signalled);
    if signalled == SBR || signalled == PS {
        rate = sample_rate(&mut bits)?;
        object = object_type(&mut bits)?;
    }
    let mut frame_length = 1024;
    let mut channels = channels(&bits, channel_configuration)?;
    if matches!(object, 1..=4 | 6 | 7 | 17 | 19 | 20 | 21 | 22 | 23) {
        if bits.flag("frameLengthFlag")? {
            frame_length = if object == 23 { 480 } else { 960 };
        } else if object == 23 {
            frame_length = 512;
        }
        if bits.flag("dependsOnCoreCoder")? {
            bits.skip("coreCoderDelay", 14)?;
        }
        bits.skip("extensionFlag", 1)?;
        if channel_configuration == 0 {
            channels = program_config_channels(&mut bits)?;
        }
        // Many encoders end the record here, and those that go on may end it anywhere: what is missing was not signalled.
        if profile == object
            && let Ok(Some((extended, extended_rate))) = backward_compatible_extension(&mut bits)
        {
            profile = extended;
            rate = extended_rate;
        }
    } else if object == 0 || channel_configuration == 0 {
        return Err(bits.invalid("audioObjectType", object.into(), "an AAC object type such as 2 (AAC-LC), 5 (SBR) or 29 (PS)"));
    }
    if profile == PS && channels == 1 {
        channels = 2;
    }
    let samples = if rate == core_rate.saturating_mul(2) { frame_length * 2 } else { frame_length };
    Ok((AudioInfo { sample_rate: rate, channels, samples_per_frame: Some(samples) }, format!("mp4a.40.{profile}")))
}

fn object_type(bits: &mut Bits<'_>) -> Result<u32, CodecError> {
    match bits.read("audioObjectType", 5)? {
        31 => Ok(32 + bits.read("audioObjectTypeExt", 6)?),
        kind => Ok(kind),
    }
}

fn sample_rate(bits: &mut Bits<'_>) -> Result<u32, CodecError> {
    let index = bits.read("samplingFrequencyIndex", 4)?;
    let rate = match index {
        15 => bits.read("samplingFrequency", 24)?,
        index => RATES.get(index as usize).copied().unwrap_or(0),
    };
    if !(4_000..=192_000).contains(&rate) {
        let value = if index == 15 { rate } else { index };
        return Err(bits.invalid("samplingFrequency", value.into(), "a rate of 4000 to 192000 Hz or its index"));
    }
    Ok(rate)
}

fn channels(bits: &Bits<'_>, configuration: u32) -> Result<u16, CodecError> {
    Ok(match configuration {
        0 => 0,
        n @ 1..=6 => n as u16,
        7 | 12 | 14 => 8,
        11 => 7,
        13 => 24,
        other => return Err(bits.invalid("channelConfiguration", other.into(), "0 to 7 or 11 to 14")),
    })
}

/// The channels of a program_config_element (ISO/IEC 14496-3, section 4.4.1.1).
fn program_config_channels(bits: &mut Bits<'_>) -> Result<u16, CodecError> {
    bits.skip("element_instance_tag, object_type and sampling_frequency_index", 10)?;
    let front = bits.read("num_front_channel_elements", 4)?;
    let side = bits.read("num_side_channel_elements", 4)?;
    let back = bits.read("num_back_channel_elements", 4)?;
    let low = bits.read("num_lfe_channel_elements", 2)?;
    bits.skip("num_assoc_data_elements and num_valid_cc_elements", 7)?;
    for (field, length) in [("mono_mixdown", 4), ("stereo_mixdown", 4), ("matrix_mixdown", 3)] {
        if bits.flag(field)? {
            bits.skip(field, length)?;
        }
    }
    let mut channels = low as u16;
    for _ in 0..front + side + back {
        channels += if bits.flag("element_is_cpe")? { 2 } else { 1 };
        bits.skip("element_tag_select", 4)?;
    }
    if channels == 0 {
        return Err(bits.invalid("num_front_channel_elements", 0, "a program with at least one channel"));
    }
    Ok(channels)
}

/// Object type and rate of SBR or PS that is signalled behind the configuration (ISO/IEC 14496-3, section 1.6.6.1).
fn backward_compatible_extension(bits: &mut Bits<'_>) -> Result<Option<(u32, u32)>, CodecError> {
    if bits.read("syncExtensionType", 11)? != 0x2b7 || object_type(bits)? != SBR || !bits.flag("sbrPresentFlag")? {
        return Ok(None);
    }
    let rate = sample_rate(bits)?;
    let parametric_stereo = matches!(bits.read("syncExtensionType", 11), Ok(0x548)) && bits.flag("psPresentFlag")?;
    Ok(Some((if parametric_stereo { PS } else { SBR }, rate)))
}

/// Syntactic elements of a raw_data_block (ISO/IEC 14496-3, table 4.85).
#[derive(Clone, Copy)]
enum Element {
    Single = 0,
    Pair = 1,
    Low = 3,
}

/// A frame of silence for a decoder with this configuration: all its channels without spectral data. `None` for object types
/// and channel orders that are not the usual ones.
pub fn silence(record: &[u8]) -> Option<Vec<u8>> {
    use Element::{Low, Pair, Single};
    let mut bits = Bits::new(RECORD, record);
    let mut object = object_type(&mut bits).ok()?;
    sample_rate(&mut bits).ok()?;
    let elements: &[Element] = match bits.read("channelConfiguration", 4).ok()? {
        1 => &[Single],
        2 => &[Pair],
        3 => &[Single, Pair],
        4 => &[Single, Pair, Single],
        5 => &[Single, Pair, Pair],
        6 => &[Single, Pair, Pair, Low],
        _ => return None,
    };
    if object == SBR || object == PS {
        sample_rate(&mut bits).ok()?;
        object = object_type(&mut bits).ok()?;
    }
    if !(1..=4).contains(&object) {
        return None;
    }
    let mut out = Writer::default();
    let mut tags = [0; 4];
    for &element in elements {
        let tag = tags.get_mut(element as usize)?;
        out.write(element as u32, 3);
        out.write(*tag, 4);
        *tag += 1;
        if let Pair = element {
            out.write(1, 1);
            out.write_ics_info();
            out.write(0, 2);
            out.write_channel();
            out.write_channel();
        } else {
            out.write(0, 8);
            out.write_ics_info();
            out.write(0, 3);
        }
    }
    out.write(7, 3);
    Some(out.bytes)
}

#[derive(Default)]
struct Writer {
    bytes: Vec<u8>,
    used: usize,
}

impl Writer {
    fn write(&mut self, value: u32, count: usize) {
        for i in (0..count).rev() {
            if self.used.is_multiple_of(8) {
                self.bytes.push(0);
            }
            if let Some(last) = self.bytes.last_mut() {
                *last |= ((value >> i & 1) as u8) << (7 - self.used % 8);
            }
            self.used += 1;
        }
    }

    /// A long window without scale factor bands and prediction.
    fn write_ics_info(&mut self) {
        self.write(0, 1 + 2 + 1 + 6 + 1);
    }

    /// A channel of a pair with a common window: gain, and neither pulses, noise shaping nor gain control.
    fn write_channel(&mut self) {
        self.write(0, 8 + 3);
    }
}
