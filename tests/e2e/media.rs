//! What goes in comes out, in every output: the same frames, none missing, bit for bit, picture and sound in sync.

use crate::show::{Show, cast};
use anyhow::{Context, Result, ensure};
use flyloft_tests::clip::Clip;
use flyloft_tests::compare::compare;
use flyloft_tests::push::{Push, Tool};
use flyloft_tests::server::Server;
use flyloft_tests::watch::{Watch, decode, output};
use flyloft_tests::{PATIENCE, wait_for, wait_until};
use std::process::{Command, Stdio};
use std::time::Duration;

/// A window that holds the whole clip, so that HLS and DASH can be read from the first frame on.
const WHOLE: [(&str, &str); 1] = [("cmaf.window", "30")];
const CLIP: Duration = Duration::from_secs(40);
const LAST_CHUNK_OF_FFMPEG_9: &str = "Error during demuxing: Input/output error";
/// Frames that show that a live stream is being played.
const WELL_ON_ITS_WAY: usize = 100;
/// Picture against sound, at most.
const SYNC: f64 = 0.040;

/// Pushes a clip once and checks what every output makes of it.
fn check_every_output(clip: &Clip) -> Result<()> {
    let source = decode(&clip.ffmpeg, &clip.path)?;
    let mut show = Show::with(&WHOLE, |url| Push::start(clip, url))?;
    let secure = format!("rtmps://{}/live/{}", show.server.addresses().rtmps, show.room);
    let watch = |url: &str| Watch::with(&clip.ffmpeg, url);
    let viewers = [
        ("RTMP", watch(show.rtmp()?)?),
        ("RTMPS", Watch::trusting(&clip.ffmpeg, &show.server.data().join("self-signed.crt"), &secure)?),
        ("HTTP-FLV", watch(show.flv()?)?),
        ("HLS", watch(show.hls()?)?),
    ];
    let live_dash = watch(show.dash()?)?;
    wait_until("DASH is played while it is live", || {
        let (pictures, sounds) = live_dash.counts();
        pictures + sounds >= WELL_ON_ITS_WAY
    })?;
    drop(live_dash);
    let (status, errors) = show.push.wait(CLIP)?;
    ensure!(status.success() && errors.is_empty(), "the publisher ended with {status}: {errors}");
    show.server.wait_room_state(&show.room, "LIVE_INACTIVE")?;
    show.server.end_room(&show.room, false)?.success()?;
    // FFmpeg never leaves a manifest that was live when it opened it, so what it reads to the end is the one of the ended stream.
    let ended_dash = ("DASH", watch(show.dash()?)?);
    for (output, viewer) in viewers.into_iter().chain([ended_dash]) {
        let seen = viewer.end(PATIENCE).with_context(|| format!("{output}: end"))?;
        // FFmpeg 9 calls the last chunk of a chunked FLV response an error, whichever server sent it.
        let errors = seen.errors.lines().filter(|line| output != "HTTP-FLV" || !line.ends_with(LAST_CHUNK_OF_FFMPEG_9));
        let errors: Vec<_> = errors.collect();
        ensure!(errors.is_empty(), "{output}: the decoder complains: {errors:?}");
        let found = compare(&source, &seen).context(output)?;
        println!("{output}: {found:?} of {} pictures and {} sounds", source.video.len(), source.audio.len());
        ensure!(found.video.is_some() == clip.video && found.audio.is_some() == clip.audio, "{output}: {found:?}");
        if let Some((first, count)) = found.video {
            ensure!(first + count == source.video.len(), "{output}: the last pictures are missing: {found:?}");
            // Segments reach back to the first frame; the others begin with the group of pictures that was current.
            ensure!(first == 0 || !matches!(output, "HLS" | "DASH"), "{output}: begins at picture {first}");
        }
        if let Some((first, count)) = found.audio {
            // FFmpeg ends DASH with the first of the renditions that ends, and the uneven picture ends before its sound.
            let lost = if output == "DASH" { 8 } else { 1 };
            ensure!(first + count + lost >= source.audio.len(), "{output}: the last sound is missing: {found:?}");
        }
        if let Some(skew) = found.skew {
            ensure!(skew.abs() < SYNC, "{output}: sound and picture are {:.1} ms apart", skew * 1000.0);
        }
    }
    Ok(())
}

#[test]
fn h264_with_b_frames_reaches_every_output() -> Result<()> {
    check_every_output(&Clip::h264()?)
}

#[test]
fn hevc_reaches_every_output() -> Result<()> {
    check_every_output(&Clip::hevc()?)
}

#[test]
fn av1_reaches_every_output() -> Result<()> {
    check_every_output(&Clip::av1()?)
}

#[test]
fn an_uneven_frame_rate_reaches_every_output() -> Result<()> {
    check_every_output(&Clip::uneven()?)
}

#[test]
fn sound_alone_reaches_every_output() -> Result<()> {
    check_every_output(&Clip::audio_only()?)
}

#[test]
fn pictures_alone_reach_every_output() -> Result<()> {
    check_every_output(&Clip::video_only()?)
}

/// Publishes with another program, and compares what an HTTP-FLV viewer sees.
fn check_publisher(tool: Tool, secure: bool) -> Result<()> {
    let clip = Clip::h264()?;
    let source = decode(&clip.ffmpeg, &clip.path)?;
    let server = Server::start()?;
    let (member, room) = cast(&server, "ada")?;
    let url = if secure { server.secure_push_url(&member) } else { server.push_url(&member) };
    let mut push = Push::with(tool, &clip, &url)?;
    let urls = server.go_live(&member, &room)?;
    let viewer = Watch::start(urls.flv.as_deref().context("no httpFlv URL")?)?;
    let (status, errors) = push.wait(CLIP)?;
    ensure!(status.success(), "{tool:?} ended with {status}: {errors}");
    server.wait_room_state(&room, "LIVE_INACTIVE")?;
    server.end_room(&room, false)?.success()?;
    let seen = viewer.end(PATIENCE)?;
    ensure!(seen.errors.is_empty(), "the decoder complains: {}", seen.errors);
    let found = compare(&source, &seen)?;
    let (first, count) = found.video.context("no pictures")?;
    ensure!(first + count == source.video.len(), "the last pictures are missing: {found:?}");
    ensure!(found.skew.is_some_and(|skew| skew.abs() < SYNC), "sound and picture are apart: {found:?}");
    Ok(())
}

#[test]
fn gstreamer_publishes() -> Result<()> {
    check_publisher(Tool::Gstreamer, false)
}

#[test]
fn librtmp_publishes() -> Result<()> {
    check_publisher(Tool::Librtmp, false)
}

#[test]
fn ffmpeg_publishes_by_rtmps() -> Result<()> {
    check_publisher(Tool::Ffmpeg, true)
}

#[test]
fn rtmpdump_records_what_is_live() -> Result<()> {
    let clip = Clip::h264()?;
    let source = decode(&clip.ffmpeg, &clip.path)?;
    let mut show = Show::with(&[], |url| Push::start(&clip, url))?;
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("live.flv");
    let mut dump = Command::new("rtmpdump")
        .args(["-q", "--live", "-r", show.rtmp()?, "-o"])
        .arg(&file)
        .stdin(Stdio::null())
        .spawn()
        .context("running rtmpdump")?;
    show.push.wait(CLIP)?;
    show.server.wait_room_state(&show.room, "LIVE_INACTIVE")?;
    show.server.end_room(&show.room, false)?.success()?;
    let ended = wait_for("rtmpdump ends", PATIENCE, || dump.try_wait().ok().flatten());
    if ended.is_err() {
        dump.kill()?;
        dump.wait()?;
    }
    ended?;
    let found = compare(&source, &decode(&clip.ffmpeg, &file)?)?;
    let (first, count) = found.video.context("no pictures")?;
    ensure!(first + count == source.video.len(), "the last pictures are missing: {found:?}");
    Ok(())
}

#[test]
fn ffprobe_names_the_codecs_of_every_output() -> Result<()> {
    let show = Show::start(&Clip::h264()?, &[])?;
    for url in [show.rtmp()?, show.flv()?, show.hls()?, show.dash()?] {
        let fields = "stream=codec_name,profile,width,height,sample_rate,channels";
        let probe = output("ffprobe", &["-v", "error", "-show_entries", fields, "-of", "json", url])?;
        let probe: serde_json::Value = serde_json::from_str(&probe)?;
        let streams = probe["streams"].as_array().context("no streams")?;
        let codec = |name: &str| streams.iter().find(|stream| stream["codec_name"] == name);
        let (video, audio) = (codec("h264").context(probe.to_string())?, codec("aac").context(probe.to_string())?);
        ensure!((video["width"] == 640 && video["height"] == 360 && video["profile"] == "High"), "{url}: {video}");
        ensure!(audio["sample_rate"] == "44100" && audio["channels"] == 2 && audio["profile"] == "LC", "{url}: {audio}");
    }
    Ok(())
}
