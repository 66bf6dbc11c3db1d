//! How long a frame of sound is, and what silence looks like in its codec.

use bytes::Bytes;

use crate::codec::{Mp3Header, aac_silence, mp3_info, opus_packet_samples};
use crate::track::{Codec, MediaInfo, Track};

/// One frame of 20 ms in CELT mode that decodes to nothing (RFC 6716, section 2.1.9 and 4.1).
const OPUS_SILENCE: &[u8] = &[0xf8, 0xff, 0xfe];
const OPUS_SILENCE_SAMPLES: u32 = 960;

#[derive(Debug)]
pub struct Sound {
    track: Track,
    silence: Option<Bytes>,
    last: Bytes,
}

impl Sound {
    /// `first` is the first frame: for MP3 the only source of rate and channels.
    pub fn new(track: &Track, first: &Bytes) -> Self {
        let mut track = track.clone();
        if track.codec == Codec::Mp3
            && let Ok(header) = mp3_info(first)
            && let MediaInfo::Audio(info) = &mut track.info
        {
            info.sample_rate = header.sample_rate;
            info.channels = header.channels;
            info.samples_per_frame = Some(header.samples);
        }
        let channels = track.audio().map_or(2, |info| info.channels);
        let silence = match track.codec {
            Codec::Aac => aac_silence(&track.config).map(Bytes::from),
            Codec::Opus if channels <= 2 => Some(Bytes::from_static(OPUS_SILENCE)),
            Codec::Mp3 => Mp3Header::silence(first).map(Bytes::from),
            _ => None,
        };
        Self { track, silence, last: first.clone() }
    }

    pub const fn track(&self) -> &Track {
        &self.track
    }

    /// Samples in a frame, in the track's time scale. `None` for a frame that can't be one.
    pub fn duration(&self, payload: &[u8]) -> Option<u32> {
        if payload.is_empty() {
            return None;
        }
        match self.track.audio()?.samples_per_frame {
            Some(samples) => Some(samples),
            None => opus_packet_samples(payload),
        }
    }

    pub fn heard(&mut self, payload: &Bytes) {
        self.last = payload.clone();
    }

    pub const fn last(&self) -> &Bytes {
        &self.last
    }

    /// A frame of silence and its length; where the codec has none that is known, the last frame again.
    pub fn silence(&self) -> (Bytes, u32) {
        match &self.silence {
            Some(silence) if self.track.codec == Codec::Opus => (silence.clone(), OPUS_SILENCE_SAMPLES),
            Some(silence) => (silence.clone(), self.duration(silence).unwrap_or(0)),
            None => (self.last.clone(), self.duration(&self.last).unwrap_or(0)),
        }
    }
}
