//! Makes the test picture and its sound in real time and puts them into a hub stream, as any publisher does.
//!
//! A task keeps the time and a thread of its own draws and encodes. A picture whose time has passed is left out, so that a machine
//! that stalls goes on with the present instead of catching up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use flyloft_media::hub::{Publisher, RawFrame, RingLimits, Stream};
use flyloft_media::{Track, TrackId, WallClock};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::pattern::{Format, TestPattern};
use super::tone::{AudioEncoder, FRAME, SAMPLE_RATE, Tone};
use super::video::VideoEncoder;
use crate::clock;

const SECOND: i64 = 1_000_000;
/// Seconds from key frame to key frame.
const GOP_SECONDS: u64 = 2;
/// Sound further behind the picture than this is left out too, in microseconds.
const MAX_CATCH_UP: i64 = 2 * SECOND;
/// When the wall clock moves against the steady one by more than this, it was set: the source starts anew with the new time.
const CLOCK_STEP: i64 = 250_000;
/// What is kept for a pusher that connects or stalls.
const KEPT: RingLimits = RingLimits { max_bytes: 8 << 20, max_frames: 1024, max_age: 6 * SECOND };

/// Draws, plays and encodes without a clock of its own. Times are counted from a full second, so that pictures and sounds fall on
/// the same seconds for ever.
pub struct Generator {
    format: Format,
    pattern: TestPattern,
    video: VideoEncoder,
    audio: AudioEncoder,
    tone: Tone,
    base: WallClock,
    first: u64,
    last: Option<u64>,
    /// The access unit of sound that is due next. It holds the samples from `unit * FRAME` on.
    unit: u64,
    /// The next unit is the first one the encoder gives, which holds nothing yet.
    primed: bool,
}

impl Generator {
    /// `base` is a full second of wall time; picture `first` counted from it will be the first one.
    pub fn new(format: Format, title: &str, base: WallClock, first: u64) -> Result<Self> {
        let pattern = TestPattern::new(format, title)?;
        let (video, audio) = (VideoEncoder::new(format)?, AudioEncoder::new()?);
        let unit = unit_at(picture_time(format, first));
        Ok(Self { format, pattern, video, audio, tone: Tone::default(), base, first, last: None, unit, primed: false })
    }

    /// Makes picture `number` (counted from the base, rising) and all sound up to it, in the order of their times.
    pub fn advance(&mut self, number: u64, keyframe: bool) -> Result<Vec<RawFrame>> {
        let time = picture_time(self.format, number);
        let gop = u64::from(self.format.fps) * GOP_SECONDS;
        let keyframe = keyframe || self.last.replace(number).is_none_or(|last| last / gop != number / gop);
        let mut frames = self.sound_until(time)?;
        let wall = WallClock::from_unix_micros(self.base.unix_micros().saturating_add(time));
        let picture = self.pattern.draw(wall, number.saturating_sub(self.first));
        let coded = self.video.encode(picture, keyframe)?;
        frames.push(raw(TrackId::VIDEO, time, coded.keyframe, coded.payload));
        Ok(frames)
    }

    /// The tracks, complete after the first picture.
    pub fn tracks(&self) -> impl Iterator<Item = &Track> {
        self.video.track().into_iter().chain([self.audio.track()])
    }

    fn sound_until(&mut self, time: i64) -> Result<Vec<RawFrame>> {
        if time.saturating_sub(unit_time(self.unit)) > MAX_CATCH_UP {
            self.unit = unit_at(time);
            self.primed = false;
        }
        let mut frames = Vec::new();
        if !self.primed {
            // One unit ahead: what goes into the encoder now comes out of the decoder with the next unit.
            let sound = self.tone.next(self.wall_of(self.unit));
            self.audio.encode(&sound)?;
            self.primed = true;
        }
        while unit_time(self.unit) <= time {
            let sound = self.tone.next(self.wall_of(self.unit + 1));
            frames.push(raw(TrackId::AUDIO, unit_time(self.unit), true, self.audio.encode(&sound)?));
            self.unit += 1;
        }
        Ok(frames)
    }

    fn wall_of(&self, unit: u64) -> WallClock {
        WallClock::from_unix_micros(self.base.unix_micros().saturating_add(unit_time(unit)))
    }
}

fn raw(track: TrackId, dts: i64, keyframe: bool, payload: bytes::Bytes) -> RawFrame {
    RawFrame { track, dts, composition_offset: 0, wrap: None, keyframe, payload }
}

/// When picture `number` is shown, in microseconds from the base, rounded down.
fn picture_time(format: Format, number: u64) -> i64 {
    scaled(number, u64::from(format.fps.max(1)))
}

/// When access unit `unit` is heard, in microseconds from the base, rounded down.
fn unit_time(unit: u64) -> i64 {
    scaled(unit.saturating_mul(FRAME as u64), u64::from(SAMPLE_RATE))
}

fn scaled(count: u64, rate: u64) -> i64 {
    i64::try_from(u128::from(count) * SECOND as u128 / u128::from(rate)).unwrap_or(i64::MAX)
}

/// The access unit that is heard at `time`.
fn unit_at(time: i64) -> u64 {
    u64::try_from(i128::from(time) * i128::from(SAMPLE_RATE) / (i128::from(SECOND) * FRAME as i128)).unwrap_or(0)
}

/// The number of the picture that is due at `time` after the base: the latest one that has begun.
fn due(format: Format, time: i64) -> u64 {
    u64::try_from(i128::from(time) * i128::from(format.fps) / i128::from(SECOND)).unwrap_or(0)
}

/// The running test picture.
pub struct Source {
    stream: Arc<Stream>,
    format: Format,
    title: String,
    keyframe: Arc<AtomicBool>,
}

impl Source {
    pub fn new(format: Format, title: &str) -> Result<Self> {
        format.check()?;
        Ok(Self { stream: Stream::new("demo", KEPT), format, title: title.to_owned(), keyframe: Arc::default() })
    }

    /// Where the frames come out.
    pub const fn stream(&self) -> &Arc<Stream> {
        &self.stream
    }

    /// The next picture will be a key frame, for somebody who has just begun to read.
    pub fn request_keyframe(&self) {
        self.keyframe.store(true, Ordering::Relaxed);
    }

    /// Produces until `cancel`; then the stream ends.
    pub async fn run(&self, cancel: CancellationToken) -> Result<()> {
        let mut result = Ok(());
        while result.is_ok() && !cancel.is_cancelled() {
            result = self.produce(&cancel).await;
        }
        self.stream.end();
        result
    }

    /// Produces until `cancel` or until the wall clock is set.
    async fn produce(&self, cancel: &CancellationToken) -> Result<()> {
        let publisher = self.stream.publish(clock::wall()).context("the demo's own stream")?;
        let (started, wall) = (Instant::now(), clock::wall());
        let past = wall.unix_micros().rem_euclid(SECOND);
        let base = WallClock::from_unix_micros(wall.unix_micros() - past);
        // The card takes a moment to draw: begin with a picture that is not due yet.
        let mut number = due(self.format, past + SECOND / 4);
        let generator = {
            let (format, title) = (self.format, self.title.clone());
            tokio::task::spawn_blocking(move || Generator::new(format, &title, base, number)).await??
        };
        let (ticks, finished) = self.start_thread(generator, publisher)?;
        loop {
            let deadline = started + Duration::from_micros(u64::try_from(picture_time(self.format, number) - past).unwrap_or(0));
            tokio::select! {
                () = cancel.cancelled() => break,
                () = tokio::time::sleep_until(deadline) => {}
            }
            let steady = i64::try_from(started.elapsed().as_micros()).unwrap_or(i64::MAX);
            if (clock::wall().micros_since(wall) - steady).abs() > CLOCK_STEP {
                tracing::info!("the system's clock was set: the demo starts anew with the new time");
                break;
            }
            number = number.max(due(self.format, steady.saturating_add(past)));
            match ticks.try_send(number) {
                Ok(()) => {}
                Err(mpsc::error::TrySendError::Full(_)) => tracing::debug!(number, "the machine is busy: a picture is left out"),
                Err(mpsc::error::TrySendError::Closed(_)) => break,
            }
            number += 1;
        }
        drop(ticks);
        finished.await.map_err(|_| anyhow!("the demo's encoder stopped without a reason"))?
    }

    /// Starts the thread that makes the pictures whose numbers it is sent. It ends when the sender is dropped.
    fn start_thread(
        &self,
        generator: Generator,
        publisher: Publisher,
    ) -> Result<(mpsc::Sender<u64>, oneshot::Receiver<Result<()>>)> {
        let (ticks, numbers) = mpsc::channel(1);
        let (finish, finished) = oneshot::channel();
        let keyframe = Arc::clone(&self.keyframe);
        std::thread::Builder::new()
            .name("demo-encoder".to_owned())
            .spawn(move || drop(finish.send(encode(generator, publisher, numbers, &keyframe))))
            .context("cannot start the demo's encoder thread")?;
        Ok((ticks, finished))
    }
}

/// Makes pictures until there are no more numbers. The publisher's place is free again when this returns.
fn encode(
    mut generator: Generator,
    mut publisher: Publisher,
    mut numbers: mpsc::Receiver<u64>,
    keyframe: &AtomicBool,
) -> Result<()> {
    while let Some(number) = numbers.blocking_recv() {
        let frames = generator.advance(number, keyframe.swap(false, Ordering::Relaxed))?;
        for track in generator.tracks() {
            publisher.set_track(track.clone());
        }
        let now = clock::wall();
        for frame in frames {
            publisher.push(frame, now)?;
        }
        publisher.flush();
    }
    Ok(())
}

#[cfg(test)]
mod tests;
