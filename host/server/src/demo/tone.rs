//! The sound of the test picture: a soft bell at each full second over a quiet pad, encoded as AAC-LC.

use std::f32::consts::TAU;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use flyloft_media::{AudioInfo, Codec, MediaInfo, Track, TrackId, WallClock};
use syom::{EncodeOptions, Encoder};

/// Samples per second.
pub const SAMPLE_RATE: u32 = 48_000;
/// Samples of one AAC-LC frame.
pub const FRAME: usize = 1024;
const CHANNELS: u16 = 2;
const BIT_RATE: u32 = 128_000;

const BELL_PEAK: f32 = 0.32;
/// The bell's notes in turn, in hertz: a calm pentatonic figure of eight seconds.
const BELLS: [f32; 8] = [1046.5, 783.99, 880.0, 783.99, 1046.5, 1174.66, 880.0, 783.99];
const PAD_PEAK: f32 = 0.014;
/// Two chords that take turns, as the partials of the pad in hertz.
const CHORDS: [[f32; 3]; 2] = [[130.81, 196.0, 329.63], [110.0, 164.81, 261.63]];
/// Seconds from the middle of one chord to the middle of the next.
const CHORD_SECONDS: i64 = 8;

/// The sound itself, left and right in -1 to 1.
#[derive(Debug, Default)]
pub struct Tone {
    phases: [[f32; 3]; 2],
}

impl Tone {
    /// The next [`FRAME`] samples, the first of which is heard at `wall`.
    pub fn next(&mut self, wall: WallClock) -> [[f32; FRAME]; 2] {
        let start = i128::from(wall.unix_micros()) * i128::from(SAMPLE_RATE);
        let start = start.div_euclid(1_000_000) as i64 + i64::from(start.rem_euclid(1_000_000) >= 500_000);
        let mut sound = [[0.0; FRAME]; 2];
        let [left, right] = &mut sound;
        for (i, (left, right)) in left.iter_mut().zip(right).enumerate() {
            let sample = start.saturating_add(i as i64);
            let (second, at) = (sample.div_euclid(i64::from(SAMPLE_RATE)), sample.rem_euclid(i64::from(SAMPLE_RATE)));
            let at = at as f32 / SAMPLE_RATE as f32;
            let (bell, [low, high]) = (bell(second, at), self.pad(second, at));
            *left = bell + low;
            *right = bell + high;
        }
        sound
    }

    fn pad(&mut self, second: i64, at: f32) -> [f32; 2] {
        let place = second.rem_euclid(2 * CHORD_SECONDS) as f32 + at;
        let first = 0.5 + 0.5 * (place * TAU / (2 * CHORD_SECONDS) as f32).cos();
        let mut sides = [0.0; 2];
        for ((phases, chord), gain) in self.phases.iter_mut().zip(CHORDS).zip([first, 1.0 - first]) {
            for (voice, (phase, frequency)) in phases.iter_mut().zip(chord).enumerate() {
                *phase = (*phase + frequency / SAMPLE_RATE as f32).fract();
                let value = (*phase * TAU).sin() * gain * PAD_PEAK;
                let right = 0.3 + 0.2 * voice as f32;
                sides[0] += value * (1.0 - right);
                sides[1] += value * right;
            }
        }
        sides
    }
}

/// A struck bar: the note with its fourth harmonic, which fades sooner. `at` is the time since the full second in seconds.
fn bell(second: i64, at: f32) -> f32 {
    let note = BELLS.get(second.rem_euclid(BELLS.len() as i64) as usize).copied().unwrap_or_default();
    let strike = (at / 0.002).min(1.0);
    let tail = (-at / 0.085).exp();
    if tail < 1e-4 {
        return 0.0;
    }
    let turn = TAU * note * at;
    BELL_PEAK * strike * tail * (0.85 * turn.sin() + 0.15 * (-at / 0.02).exp() * (4.0 * turn).sin())
}

/// An AAC-LC encoder for [`Tone`].
pub struct AudioEncoder {
    encoder: Encoder,
    track: Track,
}

impl AudioEncoder {
    pub fn new() -> Result<Self> {
        let options = EncodeOptions::raw().with_bitrate_bps(BIT_RATE);
        let encoder = Encoder::new(SAMPLE_RATE, usize::from(CHANNELS), &options).context("cannot start the AAC encoder")?;
        let track = Track {
            id: TrackId::AUDIO,
            codec: Codec::Aac,
            config: Bytes::copy_from_slice(encoder.asc()),
            info: MediaInfo::Audio(AudioInfo {
                sample_rate: SAMPLE_RATE,
                channels: CHANNELS,
                samples_per_frame: u32::try_from(FRAME).ok(),
            }),
            codecs: "mp4a.40.2".to_owned(),
        };
        Ok(Self { encoder, track })
    }

    pub const fn track(&self) -> &Track {
        &self.track
    }

    /// Encodes one frame of sound to one access unit, which is decoded [`Self::PRIMING`] samples late.
    pub fn encode(&mut self, sound: &[[f32; FRAME]; 2]) -> Result<Bytes> {
        let mut unit = Bytes::new();
        self.encoder
            .feed(&[&sound[0], &sound[1]], |frame| {
                unit = Bytes::copy_from_slice(frame.payload);
                Ok(())
            })
            .context("the AAC encoder failed")?;
        anyhow::ensure!(!unit.is_empty(), "the AAC encoder gave nothing for a whole frame");
        Ok(unit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten seconds of sound from a full second on.
    fn seconds() -> Vec<f32> {
        let mut tone = Tone::default();
        let start = 1_800_000_000_000_000_i64;
        (0..10 * SAMPLE_RATE as i64 / FRAME as i64)
            .flat_map(|frame| tone.next(WallClock::from_unix_micros(start + frame * FRAME as i64 * 1_000_000 / 48_000))[0])
            .collect()
    }

    #[test]
    fn the_bell_rings_at_each_full_second_and_the_pad_is_quiet() {
        let sound = seconds();
        let peak = |from: usize| sound[from..from + 2_400].iter().fold(0.0_f32, |peak, value| peak.max(value.abs()));
        for second in 1..9 {
            let strike = second * 48_000;
            assert!(peak(strike) > 0.2, "no bell in second {second}: {}", peak(strike));
            assert!(peak(strike - 2_400) < 0.06, "second {second} begins too soon: {}", peak(strike - 2_400));
            assert!(peak(strike - 2_400) > 0.001, "the pad is missing");
        }
        assert!(sound.iter().all(|value| value.abs() < 0.5));
    }

    #[test]
    fn there_is_no_click_between_frames() {
        let sound = seconds();
        let steepest = sound.windows(2).map(|pair| (pair[1] - pair[0]).abs()).fold(0.0, f32::max);
        assert!(steepest < 0.12, "{steepest}");
    }

    #[test]
    fn a_strange_clock_does_no_harm() {
        for micros in [i64::MIN, -1, i64::MAX] {
            let sound = Tone::default().next(WallClock::from_unix_micros(micros));
            assert!(sound.iter().flatten().all(|value| value.abs() <= 1.0));
        }
    }

    #[test]
    fn the_configuration_says_aac_lc_48_khz_stereo() {
        // ISO/IEC 14496-3, 1.6.2.1: object type 2, frequency index 3, two channels.
        assert_eq!(AudioEncoder::new().unwrap().track().config.as_ref(), [0x11, 0x90]);
    }
}
