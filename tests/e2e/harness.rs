//! The measuring itself: it must find nothing wrong with what ffmpeg makes of a clip, and everything that is wrong.

use anyhow::{Context, Result, ensure};
use flyloft_tests::clip::Clip;
use flyloft_tests::compare::compare;
use flyloft_tests::watch::{Frames, decode, output};

/// Lets ffmpeg change the clip, and decodes the result.
fn changed(clip: &Clip, arguments: &[&str], name: &str) -> Result<Frames> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join(name);
    let tool = clip.ffmpeg.to_str().context("the path of ffmpeg is not UTF-8")?;
    let (from, to) = (clip.path.to_str().context("UTF-8")?, path.to_str().context("UTF-8")?);
    output(tool, &[&["-v", "error", "-nostdin", "-i", from], arguments, &[to]].concat())?;
    decode(&clip.ffmpeg, &path)
}

const HLS: &[&str] = &["-c", "copy", "-f", "hls", "-hls_segment_type", "fmp4", "-hls_list_size", "0"];
const DASH: &[&str] = &["-c", "copy", "-f", "dash", "-seg_duration", "2"];

fn check(clip: &Clip, arguments: &[&str], name: &str) -> Result<()> {
    let source = decode(&clip.ffmpeg, &clip.path)?;
    ensure!(source.errors.is_empty() && source.video.len() > 200 && source.audio.len() > 600, "{clip:?}");
    let found = compare(&source, &changed(clip, arguments, name)?)?;
    ensure!(found.video == Some((0, source.video.len())), "{found:?}");
    ensure!(found.skew.is_some_and(|skew| skew.abs() < 0.040), "{found:?}");
    Ok(())
}

#[test]
fn whole_clips_are_recognised_in_every_container() -> Result<()> {
    let h264 = Clip::h264()?;
    check(&h264, HLS, "index.m3u8").context("HLS")?;
    check(&h264, DASH, "index.mpd").context("DASH")?;
    for clip in [h264, Clip::uneven()?, Clip::hevc()?, Clip::av1()?] {
        check(&clip, &["-c", "copy"], "clip.flv").with_context(|| format!("{} as FLV", clip.path.display()))?;
    }
    Ok(())
}

#[test]
fn holes_and_shifts_are_found() -> Result<()> {
    let clip = Clip::h264()?;
    let source = decode(&clip.ffmpeg, &clip.path)?;
    let drop = ["-c", "copy", "-bsf:a", "noise=drop=eq(n\\,100)"];
    ensure!(compare(&source, &changed(&clip, &drop, "dropped.flv")?).is_err(), "missing sound was not found");
    let mut seen = source.clone();
    seen.video.remove(200);
    ensure!(compare(&source, &seen).is_err(), "a missing picture was not found");
    let late = ["-itsoffset", "0.1"];
    let from = clip.path.to_str().context("UTF-8")?;
    let shift = [&late[..], &["-i", from, "-map", "0:v", "-map", "1:a", "-c", "copy"]].concat();
    let found = compare(&source, &changed(&clip, &shift, "late.mp4")?)?;
    ensure!(found.skew.is_some_and(|skew| (skew - 0.1).abs() < 0.01), "late sound was not found: {found:?}");
    Ok(())
}
