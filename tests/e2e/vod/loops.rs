//! Compares what viewers saw of a loop with the clip: every picture of every pass in its place, and sound and picture together.

use anyhow::{Context, Result, ensure};
use flyloft_tests::watch::{Frame, Frames};
use std::collections::HashMap;

/// What a viewer saw.
#[derive(Clone, Copy, Debug)]
pub struct Loops {
    pub pictures: usize,
    /// How often the clip was seen to its end.
    pub passes: usize,
    /// How much later the sound comes at the end, relative to the pictures, than in the clip, in seconds.
    pub skew: f64,
}

/// Pictures that wait for one that is decoded later.
const REORDERED: usize = 3;
/// The latest frames by which the skew is measured.
const LATEST: usize = 30;

/// Finds what was seen in the clip, which is repeated. Fails when a picture is missing or has changed, and when times do not rise as
/// in the clip.
pub fn looped(clip: &Frames, seen: &Frames) -> Result<Loops> {
    let first = seen.video.first().context("no pictures")?;
    let count = clip.video.len();
    let begin = clip.video.iter().position(|frame| frame.sum == first.sum).context("the first picture is not in the clip")?;
    // Where a stream is ended in the middle, some pictures that are shown before the last one are decoded after it.
    let whole = seen.video.len().saturating_sub(REORDERED);
    for (index, frame) in seen.video.iter().take(whole).enumerate() {
        let wanted = &clip.video[(begin + index) % count];
        ensure!(
            frame.sum == wanted.sum,
            "picture {index} at {:.3} s is not number {} of the clip, but {:?}",
            frame.time,
            (begin + index) % count,
            clip.video.iter().position(|other| other.sum == frame.sum)
        );
    }
    rises("pictures", &seen.video[..whole], 1.0 / 30.0, 0.012)?;
    rises("sound", &seen.audio, 1024.0 / 44_100.0, 0.006)?;
    Ok(Loops { pictures: whole, passes: (begin + whole) / count, skew: skew(clip, seen)? })
}

/// Each time is one `step` after the one before it.
fn rises(what: &str, frames: &[Frame], step: f64, tolerance: f64) -> Result<()> {
    for pair in frames.windows(2) {
        let passed = pair[1].time - pair[0].time;
        ensure!((passed - step).abs() <= tolerance, "{what}: {:.1} ms pass at {:.3} s", passed * 1000.0, pair[1].time);
    }
    Ok(())
}

fn skew(clip: &Frames, seen: &Frames) -> Result<f64> {
    let picture = shift(&clip.video, &seen.video).context("no picture of the end is in the clip")?;
    let sound = shift(&clip.audio, &seen.audio).context("no sound of the end is in the clip")?;
    let length = clip.video.len() as f64 / 30.0;
    // The latest picture and the latest sound may be of different passes.
    let apart = sound - picture;
    Ok(apart - (apart / length).round() * length)
}

/// By how much the latest frames are later than in the clip; the median, in seconds.
fn shift(clip: &[Frame], seen: &[Frame]) -> Option<f64> {
    let mut places: HashMap<&str, Option<f64>> = HashMap::new();
    for frame in clip {
        places.entry(&frame.sum).and_modify(|place| *place = None).or_insert(Some(frame.time));
    }
    let known = seen.iter().rev().filter_map(|frame| Some(frame.time - (*places.get(frame.sum.as_str())?)?));
    let mut shifts: Vec<f64> = known.take(LATEST).collect();
    shifts.sort_by(f64::total_cmp);
    shifts.get(shifts.len() / 2).copied()
}
