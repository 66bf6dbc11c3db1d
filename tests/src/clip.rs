//! Clips to push, made by ffmpeg once and then kept. Every picture differs (a test pattern with a counter) and so does
//! every bit of sound (noise), so that a frame can be recognised wherever it comes out again.

use anyhow::{Context, Result, bail, ensure};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A media file and the ffmpeg that understands its codecs.
#[derive(Clone, Debug)]
pub struct Clip {
    pub path: PathBuf,
    pub ffmpeg: PathBuf,
    pub video: bool,
    pub audio: bool,
}

const PICTURE: &str = "-f lavfi -i testsrc2=s=640x360:r=30";
const SOUND: &str = "-f lavfi -i anoisesrc=a=0.2:r=44100:seed=7,aformat=channel_layouts=stereo";
/// Two seconds between key frames, two B-frames, closed GOPs: what an encoder for live video sends.
const H264: &str = "-c:v libx264 -preset veryfast -pix_fmt yuv420p -g 60 -bf 2 -sc_threshold 0 -b:v 600k";
/// Without noise substitution, with which every decoder makes other samples.
const AAC: &str = "-c:a aac -aac_pns 0 -b:a 96k";

impl Clip {
    /// 15 s of 640×360 at 30 frames per second with B-frames, and stereo AAC.
    pub fn h264() -> Result<Clip> {
        Clip::make("h264", None, &format!("{PICTURE} {SOUND} {H264} {AAC} -t 15"), true, true)
    }

    /// Four seconds of [`Clip::h264`], to be played in a loop.
    pub fn short() -> Result<Clip> {
        Clip::make("short", None, &format!("{PICTURE} {SOUND} {H264} {AAC} -t 4"), true, true)
    }

    /// Ten seconds of [`Clip::h264`], likewise.
    pub fn ten_seconds() -> Result<Clip> {
        Clip::make("ten-seconds", None, &format!("{PICTURE} {SOUND} {H264} {AAC} -t 10"), true, true)
    }

    /// As [`Clip::h264`], but 320×180 and without B-frames: another codec configuration.
    pub fn small() -> Result<Clip> {
        Clip::make("small", None, &format!("{PICTURE} {SOUND} {H264} -s 320x180 -bf 0 {AAC} -t 15"), true, true)
    }

    /// The pictures of [`Clip::h264`] alone.
    pub fn video_only() -> Result<Clip> {
        Clip::make("video-only", None, &format!("{PICTURE} {H264} -t 15"), true, false)
    }

    /// Stereo AAC alone.
    pub fn audio_only() -> Result<Clip> {
        Clip::make("audio-only", None, &format!("{SOUND} {AAC} -t 15"), false, true)
    }

    /// Frames come at an uneven rate: six of every ten.
    pub fn uneven() -> Result<Clip> {
        let select = "-vf select=lt(mod(n\\,10)\\,6) -fps_mode vfr";
        Clip::make("uneven", None, &format!("{PICTURE} {SOUND} {select} {H264} {AAC} -t 15"), true, true)
    }

    /// HEVC and AAC; pushed by enhanced RTMP, for which Debian's ffmpeg is too old.
    pub fn hevc() -> Result<Clip> {
        let codec = "-c:v libx265 -preset ultrafast -pix_fmt yuv420p -b:v 600k -tag:v hvc1 \
                     -x265-params log-level=error:keyint=60:min-keyint=60:scenecut=0:bframes=2:open-gop=0";
        Clip::make("hevc", Some(new_ffmpeg()?), &format!("{PICTURE} {SOUND} {codec} {AAC} -t 15"), true, true)
    }

    /// AV1 and AAC.
    pub fn av1() -> Result<Clip> {
        let codec = "-c:v libsvtav1 -preset 12 -pix_fmt yuv420p -b:v 600k -g 60";
        Clip::make("av1", Some(new_ffmpeg()?), &format!("{PICTURE} {SOUND} {codec} {AAC} -t 15"), true, true)
    }

    /// A minute of 720p30 at 2.5 Mbit/s with sound, as the comparison under load wants it.
    pub fn load() -> Result<Clip> {
        let picture = "-f lavfi -i testsrc2=s=1280x720:r=30";
        let rate = "-b:v 2400k -maxrate 2400k -bufsize 2400k -x264-params nal-hrd=cbr";
        Clip::make("load", None, &format!("{picture} {SOUND} {H264} {rate} {AAC} -t 60"), true, true)
    }

    /// The same clip as an FLV file.
    pub fn flv(&self) -> Result<PathBuf> {
        let path = self.path.with_extension("flv");
        once(&path, |to| ffmpeg(&self.ffmpeg, &["-i", text(&self.path)?, "-c", "copy"], to))?;
        Ok(path)
    }

    fn make(name: &str, tool: Option<PathBuf>, arguments: &str, video: bool, audio: bool) -> Result<Clip> {
        let tool = tool.unwrap_or_else(|| PathBuf::from("ffmpeg"));
        let path = crate::server::cache()?.join(format!("{name}.mp4"));
        once(&path, |to| ffmpeg(&tool, &arguments.split_whitespace().collect::<Vec<_>>(), to))?;
        Ok(Clip { path, ffmpeg: tool, video, audio })
    }
}

/// Makes a file once, also when several tests want it at the same time.
fn once(path: &Path, make: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let lock = File::create(path.with_extension("lock"))?;
    lock.lock().with_context(|| format!("waiting for another test that makes {}", path.display()))?;
    if path.exists() {
        return Ok(());
    }
    let part = path.with_file_name(format!("part-{}", path.file_name().unwrap_or_default().display()));
    make(&part)?;
    std::fs::rename(&part, path).with_context(|| format!("renaming {}", part.display()))
}

fn ffmpeg(tool: &Path, arguments: &[&str], to: &Path) -> Result<()> {
    let output = Command::new(tool)
        .args(["-v", "error", "-nostdin", "-y"])
        .args(arguments)
        .arg(to)
        .output()
        .with_context(|| format!("running {}", tool.display()))?;
    ensure!(output.status.success(), "making {}: {}", to.display(), String::from_utf8_lossy(&output.stderr));
    Ok(())
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))
}

/// An ffmpeg that speaks enhanced RTMP and encodes HEVC and AV1: `E2E_FFMPEG`, or the one in PyPI's `imageio-ffmpeg`,
/// where `tests/run` puts it or where Python finds it.
pub fn new_ffmpeg() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("E2E_FFMPEG") {
        return Ok(path.into());
    }
    let tools = crate::server::cache()?.join("../../tools/python");
    let output = Command::new("python3")
        .args(["-c", "import imageio_ffmpeg; print(imageio_ffmpeg.get_ffmpeg_exe())"])
        .env("PYTHONPATH", tools)
        .output()
        .context("running python3")?;
    let path = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if !output.status.success() || path.is_empty() {
        bail!(
            "no ffmpeg for HEVC and AV1 found: `tests/run` installs it; by hand it is \
             `python3 -m pip install --target target/tools/python imageio-ffmpeg`, or set E2E_FFMPEG to an ffmpeg 7 or newer"
        );
    }
    Ok(path.into())
}

/// One tag of an FLV file.
#[derive(Clone, Debug)]
pub struct Tag {
    /// 8 audio, 9 video, 18 script data: the same numbers as RTMP's message types.
    pub kind: u8,
    /// Milliseconds.
    pub timestamp: u32,
    pub payload: Vec<u8>,
}

/// All tags of an FLV file, for tests that send them by RTMP with timestamps of their own.
pub fn tags(path: &Path) -> Result<Vec<Tag>> {
    let bytes = std::fs::read(path)?;
    let mut rest = bytes.get(13..).context("no FLV header")?;
    let mut tags = Vec::new();
    while let Some((header, body)) = rest.split_at_checked(11) {
        let length = usize::from(header[1]) << 16 | usize::from(header[2]) << 8 | usize::from(header[3]);
        let payload = body.get(..length).context("the last tag is cut")?.to_vec();
        let timestamp = u32::from_be_bytes([header[7], header[4], header[5], header[6]]);
        tags.push(Tag { kind: header[0] & 0x1f, timestamp, payload });
        rest = body.get(length + 4..).unwrap_or_default();
    }
    Ok(tags)
}
