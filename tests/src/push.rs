//! Publishers: real programs that send a clip in real time.

use crate::clip::Clip;
use crate::process::{Signal, signal};
use crate::wait_for;
use anyhow::{Context, Result};
use std::io::Read;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

/// The programs that push.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Tool {
    /// The clip's own ffmpeg, with its native RTMP.
    Ffmpeg,
    /// GStreamer's `rtmp2sink`.
    Gstreamer,
    /// librtmp, by GStreamer's `rtmpsink`.
    Librtmp,
}

/// A running publisher; dropping it kills it.
pub struct Push {
    child: Child,
}

impl Push {
    /// Sends the clip once with ffmpeg, without encoding it again.
    pub fn start(clip: &Clip, url: &str) -> Result<Push> {
        Push::ffmpeg(clip, &["-re"], url)
    }

    /// Sends the clip again and again until stopped.
    pub fn looped(clip: &Clip, url: &str) -> Result<Push> {
        Push::ffmpeg(clip, &["-stream_loop", "-1", "-re"], url)
    }

    /// Sends the clip once with another program.
    pub fn with(tool: Tool, clip: &Clip, url: &str) -> Result<Push> {
        let sink = match tool {
            Tool::Ffmpeg => return Push::start(clip, url),
            Tool::Gstreamer => ["rtmp2sink".to_owned(), format!("location={url}")],
            Tool::Librtmp => ["rtmpsink".to_owned(), format!("location={url} live=1")],
        };
        let source = format!("location={}", clip.path.display());
        let tracks =
            "qtdemux name=d d.video_0 ! queue ! h264parse ! m. d.audio_0 ! queue ! aacparse ! m. flvmux name=m streamable=true !";
        let mut command = Command::new("gst-launch-1.0");
        command.args(["-q", "filesrc", &source, "!"]).args(tracks.split(' ')).args(sink).arg("sync=true");
        Push::spawn(&mut command)
    }

    fn ffmpeg(clip: &Clip, pace: &[&str], url: &str) -> Result<Push> {
        let mut command = Command::new(&clip.ffmpeg);
        command.args(["-v", "error", "-nostdin"]).args(pace).arg("-i").arg(&clip.path);
        command.args(["-map", "0", "-c", "copy", "-flvflags", "no_duration_filesize", "-f", "flv", url]);
        Push::spawn(&mut command)
    }

    fn spawn(command: &mut Command) -> Result<Push> {
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
        Ok(Push { child: child.with_context(|| format!("running {}", command.get_program().display()))? })
    }

    /// Sends a signal to the publisher: [`Signal::Kill`] cuts the connection, [`Signal::Pause`] leaves it silent.
    pub fn signal(&self, which: Signal) -> Result<()> {
        signal(self.child.id(), which)
    }

    pub fn running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits until the publisher has ended by itself; its status and what it wrote to standard error.
    pub fn wait(&mut self, limit: Duration) -> Result<(ExitStatus, String)> {
        let child = &mut self.child;
        let status = wait_for("the publisher has ended", limit, || child.try_wait().ok().flatten())?;
        let mut errors = String::new();
        if let Some(stderr) = &mut self.child.stderr {
            stderr.read_to_string(&mut errors)?;
        }
        Ok((status, errors))
    }
}

impl Drop for Push {
    fn drop(&mut self) {
        // Both fail only when the process has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
