//! Reads decoder configurations: from the record that a publisher sends to a [`Track`] with size, rate and RFC 6381 `codecs`.
//!
//! The records come from strangers: every field is bounds-checked and an error names it.

mod aac;
mod av1;
mod bits;
mod h264;
mod hevc;
mod mp3;
mod opus;

use bytes::Bytes;

use crate::track::{Codec, Track, TrackId};

pub use aac::silence as aac_silence;
pub use mp3::{Mp3Header, mp3_info};
pub use opus::packet_samples as opus_packet_samples;

/// Configuration records are some hundred bytes; parameter sets with scaling lists a few thousand.
const MAX_CONFIG: usize = 64 * 1024;

/// Why a decoder configuration was not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    #[error("the {record} ends inside {field}: {need} more bits are needed, the encoder sent it cut short")]
    Truncated { record: &'static str, field: &'static str, need: usize },
    #[error("the {record} has {field} = {value}, allowed is {allowed}")]
    Invalid { record: &'static str, field: &'static str, value: u64, allowed: &'static str },
    #[error("the {record} holds no {field}: send the encoder's parameter sets in it")]
    Missing { record: &'static str, field: &'static str },
    #[error("the decoder configuration has {0} bytes, more than the 65536 that are taken")]
    TooLong(usize),
}

/// Makes a track from its decoder configuration.
///
/// `config` is the content of an avcC, hvcC or av1C box, an AudioSpecificConfig, the content of a dOps box or an OpusHead packet
/// (RFC 7845, section 5.1; it is kept as dOps), and for MP3 nothing or the first frame, whose header is read.
pub fn track(id: TrackId, codec: Codec, config: Bytes) -> Result<Track, CodecError> {
    if config.len() > MAX_CONFIG && codec != Codec::Mp3 {
        return Err(CodecError::TooLong(config.len()));
    }
    let (config, info, codecs) = match codec {
        Codec::H264 => {
            let (info, codecs) = h264::configuration(&config)?;
            (config, crate::MediaInfo::Video(info), codecs)
        }
        Codec::Hevc => {
            let (info, codecs) = hevc::configuration(&config)?;
            (config, crate::MediaInfo::Video(info), codecs)
        }
        Codec::Av1 => {
            let (info, codecs) = av1::configuration(&config)?;
            (config, crate::MediaInfo::Video(info), codecs)
        }
        Codec::Aac => {
            let (info, codecs) = aac::configuration(&config)?;
            (config, crate::MediaInfo::Audio(info), codecs)
        }
        Codec::Opus => {
            let (config, info) = opus::configuration(&config)?;
            (config, crate::MediaInfo::Audio(info), "opus".to_owned())
        }
        Codec::Mp3 => {
            let info = if config.is_empty() { mp3::usual() } else { mp3_info(&config)?.info() };
            (Bytes::new(), crate::MediaInfo::Audio(info), "mp4a.6B".to_owned())
        }
    };
    Ok(Track { id, codec, config, info, codecs })
}

#[cfg(test)]
mod tests;
