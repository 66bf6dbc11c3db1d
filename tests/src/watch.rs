//! Viewers: real programs that decode a stream, and report every frame with its time and a checksum of its content.

use crate::process::{Signal, signal};
use crate::wait_for;
use anyhow::{Context, Result, ensure};
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// One decoded frame.
#[derive(Clone, Debug, PartialEq)]
pub struct Frame {
    /// Presentation time in seconds.
    pub time: f64,
    /// Checksum of the decoded pixels or samples.
    pub sum: String,
}

/// All frames of both kinds, in the order in which they were shown.
#[derive(Clone, Debug, Default)]
pub struct Frames {
    pub video: Vec<Frame>,
    pub audio: Vec<Frame>,
    /// What the decoder complained about.
    pub errors: String,
}

/// A running viewer; dropping it kills it.
pub struct Watch {
    child: Child,
    seen: Arc<Mutex<Seen>>,
    readers: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Seen {
    frames: Frames,
    kinds: HashMap<usize, (bool, f64)>,
}

impl Watch {
    /// Decodes `url` with Debian's ffmpeg.
    pub fn start(url: &str) -> Result<Watch> {
        Watch::with(Path::new("ffmpeg"), url)
    }

    /// Decodes `url` with a certain ffmpeg. HLS is read from the first segment of the playlist on.
    pub fn with(ffmpeg: &Path, url: &str) -> Result<Watch> {
        Watch::run(Command::new(ffmpeg), url)
    }

    /// The same for an encrypted URL: trusts `certificate`, as newer versions ask for.
    pub fn trusting(ffmpeg: &Path, certificate: &Path, url: &str) -> Result<Watch> {
        let mut command = Command::new(ffmpeg);
        command.env("SSL_CERT_FILE", certificate);
        Watch::run(command, url)
    }

    fn run(mut command: Command, url: &str) -> Result<Watch> {
        command.args(["-v", "error", "-nostdin"]);
        if url.contains(".m3u8") {
            command.args(["-live_start_index", "0"]);
        }
        command.args(["-i", url, "-map", "0:v?", "-map", "0:a?", "-fps_mode", "passthrough", "-enc_time_base:v", "1:1000000"]);
        command.args(["-flush_packets", "1", "-f", "framecrc", "-"]);
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("running {:?}", command.get_program()))?;
        let seen = Arc::new(Mutex::new(Seen::default()));
        let mut readers = Vec::new();
        if let Some(stdout) = child.stdout.take() {
            let seen = Arc::clone(&seen);
            readers.push(std::thread::spawn(move || {
                for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                    seen.lock().unwrap_or_else(PoisonError::into_inner).line(&line);
                }
            }));
        }
        if let Some(stderr) = child.stderr.take() {
            let seen = Arc::clone(&seen);
            readers.push(std::thread::spawn(move || {
                for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                    seen.frames.errors += &line;
                    seen.frames.errors += "\n";
                }
            }));
        }
        Ok(Watch { child, seen, readers })
    }

    /// What has been seen so far.
    pub fn frames(&self) -> Frames {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).frames.clone()
    }

    /// How many pictures and pieces of sound have been seen so far.
    pub fn counts(&self) -> (usize, usize) {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        (seen.frames.video.len(), seen.frames.audio.len())
    }

    pub fn running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits until this many more pictures have been shown than now.
    pub fn advance(&self, pictures: usize) -> Result<()> {
        let goal = self.counts().0 + pictures;
        wait_for(&format!("picture {goal} is shown"), crate::PATIENCE, || (self.counts().0 >= goal).then_some(()))
    }

    /// Waits until the stream ends for this viewer, and gives all that it has seen.
    pub fn end(mut self, limit: Duration) -> Result<Frames> {
        let child = &mut self.child;
        let status = wait_for("the stream ends for a viewer", limit, || child.try_wait().ok().flatten())
            .with_context(|| format!("it has seen {:?} frames", self.counts()))?;
        self.finish();
        let frames = self.frames();
        ensure!(status.success(), "the viewer failed with {status}: {}", frames.errors);
        Ok(frames)
    }

    /// Makes the viewer leave now, and gives all that it has seen.
    pub fn leave(mut self) -> Result<Frames> {
        if self.running() {
            signal(self.child.id(), Signal::Interrupt)?;
        }
        let child = &mut self.child;
        wait_for("the viewer has left", crate::PATIENCE, || child.try_wait().ok().flatten())?;
        self.finish();
        Ok(self.frames())
    }

    fn finish(&mut self) {
        for reader in self.readers.drain(..) {
            // A reader that panicked has already said so.
            let _ = reader.join();
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // Both fail only when the process has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.finish();
    }
}

impl Seen {
    /// One line of ffmpeg's framecrc format.
    fn line(&mut self, line: &str) {
        if let Some(rest) = line.strip_prefix("#tb ") {
            if let Some((stream, base)) = rest.split_once(": ")
                && let (Ok(stream), Some((num, den))) = (stream.parse(), base.split_once('/'))
                && let (Ok(num), Ok(den)) = (num.parse::<f64>(), den.parse::<f64>())
            {
                self.kinds.entry(stream).or_default().1 = num / den;
            }
        } else if let Some(rest) = line.strip_prefix("#media_type ") {
            if let Some((stream, kind)) = rest.split_once(": ")
                && let Ok(stream) = stream.parse()
            {
                self.kinds.entry(stream).or_default().0 = kind == "video";
            }
        } else if !line.starts_with('#') {
            let fields: Vec<&str> = line.split(',').map(str::trim).collect();
            if let [stream, _, pts, _, _, sum, ..] = fields[..]
                && let (Ok(stream), Ok(pts)) = (stream.parse::<usize>(), pts.parse::<f64>())
                && let Some((video, base)) = self.kinds.get(&stream)
            {
                let frame = Frame { time: pts * base, sum: sum.to_owned() };
                if *video { self.frames.video.push(frame) } else { self.frames.audio.push(frame) }
            }
        }
    }
}

/// Decodes a whole file.
pub fn decode(ffmpeg: &Path, path: &Path) -> Result<Frames> {
    let path = path.to_str().context("the path is not UTF-8")?;
    Watch::with(ffmpeg, path)?.end(Duration::from_secs(60))
}

/// Runs a program to its end and gives its standard output; an error shows its standard error.
pub fn output(program: &str, arguments: &[&str]) -> Result<String> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("running {program}"))?;
    let stderr = child.stderr.take();
    let errors = std::thread::spawn(move || {
        let mut text = String::new();
        if let Some(mut stderr) = stderr {
            // What can be read is shown; an end in the middle of a character is no reason to fail.
            let _ = stderr.read_to_string(&mut text);
        }
        text
    });
    let mut text = String::new();
    if let Some(stdout) = &mut child.stdout {
        stdout.read_to_string(&mut text)?;
    }
    let status = child.wait()?;
    let errors = errors.join().unwrap_or_default();
    ensure!(status.success(), "{program} {arguments:?} ended with {status}: {errors}{text}");
    Ok(text)
}
