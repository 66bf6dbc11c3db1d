//! MP3: the frame header (ISO/IEC 11172-3, section 2.4.1.3 and ISO/IEC 13818-3), which is all the configuration there is.

use super::CodecError;
use super::bits::Bits;
use crate::track::AudioInfo;

const RECORD: &str = "MP3 frame header";
/// kbit/s of layer III by index.
const RATES_1: [u32; 14] = [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320];
const RATES_2: [u32; 14] = [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160];

/// A layer III frame header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mp3Header {
    /// Samples per second.
    pub sample_rate: u32,
    pub channels: u16,
    /// Samples in each frame: 1152, or 576 at the lower rates of MPEG-2.
    pub samples: u32,
    /// Bytes of the frame, header included.
    pub length: usize,
}

impl Mp3Header {
    pub(super) const fn info(self) -> AudioInfo {
        AudioInfo { sample_rate: self.sample_rate, channels: self.channels, samples_per_frame: Some(self.samples) }
    }

    /// A silent frame like `frame`: a frame without side information decodes to nothing.
    pub fn silence(frame: &[u8]) -> Option<Vec<u8>> {
        let header = mp3_info(frame).ok()?;
        let mut silent = vec![0; header.length];
        silent.get_mut(..4)?.copy_from_slice(frame.get(..4)?);
        // No checksum follows.
        *silent.get_mut(1)? |= 1;
        Some(silent)
    }
}

/// Reads the header of an MP3 frame.
pub fn mp3_info(frame: &[u8]) -> Result<Mp3Header, CodecError> {
    let mut bits = Bits::new(RECORD, frame);
    let sync = bits.read("syncword", 11)?;
    if sync != 0x7ff {
        return Err(bits.invalid("syncword", sync.into(), "2047"));
    }
    let version = bits.read("ID", 2)?;
    let layer = bits.read("layer", 2)?;
    if layer != 1 {
        return Err(bits.invalid("layer", layer.into(), "1 (layer III)"));
    }
    bits.skip("protection_bit", 1)?;
    let bit_rate = bits.read("bitrate_index", 4)?;
    let rate = bits.read("sampling_frequency", 2)?;
    let padding = bits.read("padding_bit", 1)?;
    bits.skip("private_bit", 1)?;
    let channels = if bits.read("mode", 2)? == 3 { 1 } else { 2 };
    let divisor = match version {
        3 => 1,
        2 => 2,
        0 => 4,
        other => return Err(bits.invalid("ID", other.into(), "3 (MPEG-1), 2 (MPEG-2) or 0 (MPEG-2.5)")),
    };
    let sample_rate = match [44_100, 48_000, 32_000].get(rate as usize) {
        Some(rate) => rate / divisor,
        None => return Err(bits.invalid("sampling_frequency", rate.into(), "0 to 2")),
    };
    let kbits = if divisor == 1 { &RATES_1 } else { &RATES_2 };
    let kbits = kbits
        .get((bit_rate as usize).wrapping_sub(1))
        .ok_or_else(|| bits.invalid("bitrate_index", bit_rate.into(), "1 to 14"))?;
    let samples = if divisor == 1 { 1152 } else { 576 };
    let length = (samples / 8 * kbits * 1000 / sample_rate + padding) as usize;
    Ok(Mp3Header { sample_rate, channels, samples, length })
}

/// What most MP3 streams are, until the first frame tells.
pub const fn usual() -> AudioInfo {
    AudioInfo { sample_rate: 44_100, channels: 2, samples_per_frame: Some(1152) }
}
