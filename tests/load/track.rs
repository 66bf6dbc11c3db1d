//! Looks at the timestamps of one track: do they rise, and is one missing?

use std::collections::BTreeMap;

/// The steps between the timestamps of one track of one viewer.
#[derive(Clone, Debug, Default)]
pub struct Track {
    last: Option<u32>,
    steps: BTreeMap<u32, u64>,
    /// Frames seen.
    pub frames: u64,
    /// Timestamps lower than the one before.
    pub backwards: u64,
}

impl Track {
    /// The next frame, at `timestamp` milliseconds.
    pub fn frame(&mut self, timestamp: u32) {
        self.frames += 1;
        if let Some(last) = self.last {
            // RTMP timestamps wrap at 2^32: "lower" is judged as serial numbers are (RFC 1982).
            let step = timestamp.wrapping_sub(last);
            if step > u32::MAX / 2 {
                self.backwards += 1;
            } else {
                *self.steps.entry(step).or_default() += 1;
            }
        }
        self.last = Some(timestamp);
    }

    /// Forgets what was counted, but not where the track is.
    pub fn reset(&mut self) {
        *self = Track { last: self.last, ..Track::default() };
    }

    /// How many frames are missing, taking the most common step for the distance of frames. Steps up to half longer
    /// than that are jitter of rounding; so this is for tracks with a constant frame rate only.
    pub fn skipped(&self) -> u64 {
        let Some((&usual, _)) = self.steps.iter().max_by_key(|(_, count)| **count) else { return 0 };
        if usual == 0 {
            return 0;
        }
        self.steps
            .iter()
            .map(|(&step, &count)| {
                let frames = (u64::from(step) + u64::from(usual) / 2) / u64::from(usual);
                frames.saturating_sub(1) * count
            })
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn track(times: impl IntoIterator<Item = u32>) -> Track {
        let mut track = Track::default();
        times.into_iter().for_each(|time| track.frame(time));
        track
    }

    #[test]
    fn rounded_thirty_frames_per_second_have_no_hole() {
        let track = track((0..300).map(|index| index * 1000 / 30));
        assert_eq!((track.skipped(), track.backwards, track.frames), (0, 0, 300));
    }

    #[test]
    fn missing_frames_are_counted() {
        let times = (0..300).filter(|index| ![100, 200, 201].contains(index)).map(|index| index * 1000 / 30);
        assert_eq!(track(times).skipped(), 3);
    }

    #[test]
    fn a_wrap_is_no_step_back_but_a_lower_time_is() {
        assert_eq!(track([u32::MAX - 20, 12, 45]).backwards, 0);
        assert_eq!(track([100, 133, 120, 153]).backwards, 1);
    }
}
