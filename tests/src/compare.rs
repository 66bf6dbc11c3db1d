//! Compares what came out with what went in: the same frames, none missing, and picture and sound as close as before.

use crate::watch::{Frame, Frames};
use anyhow::{Context, Result, ensure};

/// How a viewer's frames relate to those of the clip.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Match {
    /// Index in the clip of the first picture that was seen, and how many came from there on without a hole.
    pub video: Option<(usize, usize)>,
    /// The same for sound.
    pub audio: Option<(usize, usize)>,
    /// How much later the sound comes relative to the pictures than in the clip, in seconds.
    pub skew: Option<f64>,
}

/// A decoder that begins in the middle of AAC makes one wrong frame, sometimes two; they are not compared.
const SETTLING: usize = 2;

/// Finds the viewer's frames in the clip. Fails when one is missing between the first and the last that were seen, when
/// one has another content, or when times do not rise as they do in the clip.
pub fn compare(clip: &Frames, seen: &Frames) -> Result<Match> {
    let (video, audio) = (run("pictures", &clip.video, &seen.video, 0)?, run("sound", &clip.audio, &seen.audio, SETTLING)?);
    let skew = match (&video, &audio) {
        (Some(video), Some(audio)) => Some(audio.shift - video.shift),
        _ => None,
    };
    Ok(Match { video: video.map(|run| (run.first, run.count)), audio: audio.map(|run| (run.first, run.count)), skew })
}

struct Run {
    first: usize,
    count: usize,
    /// Seconds by which the frames come later than in the clip; the median.
    shift: f64,
}

fn run(what: &str, clip: &[Frame], seen: &[Frame], settling: usize) -> Result<Option<Run>> {
    if seen.is_empty() {
        return Ok(None);
    }
    let seen = seen.get(settling..).filter(|seen| !seen.is_empty()).with_context(|| format!("{what}: too few frames"))?;
    let begin = clip
        .iter()
        .position(|frame| frame.sum == seen[0].sum)
        .with_context(|| format!("{what}: the first frame that was seen, at {:.3} s, is not in the clip", seen[0].time))?;
    let mut shifts = Vec::with_capacity(seen.len());
    for (index, frame) in seen.iter().enumerate() {
        let Some(original) = clip.get(begin + index) else {
            // The decoder of some containers repeats the tail of the last sound as padding.
            ensure!(index + 1 >= seen.len(), "{what}: {} frames more than the clip has", seen.len() - index);
            break;
        };
        // The clip's file says that its last piece of sound is shorter than a whole frame; a live stream can't.
        let cut = settling > 0 && begin + index + 1 == clip.len();
        ensure!(
            original.sum == frame.sum || cut,
            "{what}: frame {} of the clip ({:.3} s) is missing or has changed; the clip's frame {:?} came instead",
            begin + index,
            original.time,
            clip.iter().position(|other| other.sum == frame.sum)
        );
        shifts.push(frame.time - original.time);
    }
    let count = shifts.len();
    shifts.sort_by(f64::total_cmp);
    let (low, high) = (shifts[0], shifts[count - 1]);
    ensure!(high - low < 0.040, "{what}: times drift by {:.1} ms against the clip", (high - low) * 1000.0);
    Ok(Some(Run { first: begin, count, shift: shifts[count / 2] }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(range: std::ops::Range<usize>, shift: f64) -> Vec<Frame> {
        range.map(|index| Frame { time: index as f64 / 30.0 + shift, sum: index.to_string() }).collect()
    }

    #[test]
    fn a_whole_run_from_the_middle_matches() {
        let clip = Frames { video: frames(0..100, 0.0), audio: frames(0..100, 0.0), ..Frames::default() };
        let seen = Frames { video: frames(60..100, 5.0), audio: frames(58..100, 5.01), ..Frames::default() };
        let found = compare(&clip, &seen).unwrap();
        assert_eq!((found.video, found.audio), (Some((60, 40)), Some((60, 40))));
        assert!((found.skew.unwrap() - 0.01).abs() < 1e-9);
    }

    #[test]
    fn a_hole_a_wrong_frame_and_a_jump_fail() {
        let clip = Frames { video: frames(0..100, 0.0), ..Frames::default() };
        let fails = |change: fn(&mut Vec<Frame>)| {
            let mut video = frames(10..50, 1.0);
            change(&mut video);
            compare(&clip, &Frames { video, ..Frames::default() }).unwrap_err();
        };
        fails(|video| drop(video.remove(7)));
        fails(|video| video[9].sum = "other".into());
        fails(|video| video[20..].iter_mut().for_each(|frame| frame.time += 0.05));
        fails(|video| video.swap(3, 4));
    }
}
