use anyhow::Result;
use flyloft_tests::{clip::Clip, push::*, watch::*, compare::*};
use std::time::Duration;
#[test]
fn scratch() -> Result<()> {
    let url = "rtmp://127.0.0.1:21935/live/x";
    for (clip, tool) in [(Clip::h264()?, Tool::Ffmpeg), (Clip::h264()?, Tool::Gstreamer), (Clip::h264()?, Tool::Librtmp), (Clip::uneven()?, Tool::Ffmpeg), (Clip::small()?, Tool::Ffmpeg)] {
        let source = decode(&clip.ffmpeg, &clip.path)?;
        let mut push = Push::with(tool, &clip, url)?;
        std::thread::sleep(Duration::from_secs(1));
        let watch = Watch::start(url)?;
        let (st, err) = push.wait(Duration::from_secs(30))?;
        eprintln!("{tool:?} {st} {err} {:?}", watch.counts());
        let frames = watch.leave()?;
        eprintln!("{} {} errors {}", source.video.len(), source.audio.len(), frames.errors);
        eprintln!("{:?}", compare(&source, &frames));
    }
    for clip in [Clip::hevc()?, Clip::av1()?, Clip::audio_only()?, Clip::video_only()?] {
        let source = decode(&clip.ffmpeg, &clip.path)?;
        let flv = decode(&clip.ffmpeg, &clip.flv()?)?;
        eprintln!("{:?} {:?}", clip.path, compare(&source, &flv));
        eprintln!("{}", flv.errors);
    }
    Ok(())
}
