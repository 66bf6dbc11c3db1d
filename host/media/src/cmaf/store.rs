//! What outlives discontinuities: both shelves, the periods, and the two durations that playlists promise.

use std::sync::Arc;
use std::time::Duration;

use super::SegmenterConfig;
use super::periods::Periods;
use super::shelf::Shelf;
use super::window::Window;
use crate::time::{Timestamp, WallClock};
use crate::track::MediaKind;

/// Until the target duration is known, a segment may have this many times the configured target.
const LONGEST_FIRST: u32 = 3;
const SLACK: Duration = Duration::from_millis(200);

#[derive(Debug)]
pub struct Store {
    pub config: SegmenterConfig,
    pub video: Shelf,
    pub audio: Shelf,
    pub periods: Periods,
    pub next_msn: u64,
    pub discontinuity: u64,
    /// Wall-clock time of the timeline's zero, from the first frame.
    available_from: Option<WallClock>,
    target_duration: Option<u32>,
    part_target: Duration,
    stamp: Arc<str>,
    /// The renditions that the current stretch has: playlists wait until there is something in each.
    pub expects: Expected,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct Expected {
    pub video: bool,
    pub audio: bool,
}

impl Store {
    pub fn new(config: SegmenterConfig) -> Self {
        Self {
            video: Shelf::new(MediaKind::Video),
            audio: Shelf::new(MediaKind::Audio),
            periods: Periods::new(),
            next_msn: 0,
            discontinuity: 0,
            available_from: None,
            target_duration: None,
            part_target: config.part_target,
            expects: Expected::default(),
            stamp: config.stamp.as_str().into(),
            config,
        }
    }

    /// A stretch without discontinuities starts at `start`; by its arrival the timeline's zero was at `zero`.
    /// Returns where that is after what came before has been left room.
    pub fn start(&mut self, start: Timestamp, zero: WallClock) -> WallClock {
        let available_from = *self.available_from.get_or_insert(zero);
        let end = self.video.end().max(self.audio.end());
        let delta = self.periods.discontinuity(self.next_msn, start, zero.micros_since(available_from), end);
        WallClock::from_unix_micros(available_from.unix_micros().saturating_add(delta))
    }

    /// EXT-X-TARGETDURATION, or what it can still become.
    pub fn target_duration(&self) -> u32 {
        self.target_duration.unwrap_or_else(|| ceil_seconds(self.config.segment_target * LONGEST_FIRST))
    }

    /// No segment may be longer. Durations are rounded to the nearest second before they are compared with the target duration
    /// (RFC 8216bis, section 4.4.3.1); the slack leaves room for sound that ends a little later than the picture.
    pub fn longest_segment(&self) -> Duration {
        match self.target_duration {
            Some(seconds) => Duration::from_secs(seconds.into()) + SLACK,
            None => self.config.segment_target * LONGEST_FIRST - SLACK,
        }
    }

    /// No single frame may be longer, whatever the target duration will be.
    pub fn longest_frame(&self) -> Duration {
        match self.target_duration {
            Some(_) => self.longest_segment(),
            None => self.config.segment_target,
        }
    }

    /// The leading rendition has completed a segment. The first one tells what the playlists can promise: a key frame interval
    /// a little longer than the target makes the target duration longer; one that comes later than that is cut in between.
    pub fn segment_completed(&mut self) {
        if self.target_duration.is_none() {
            let longest = self.video.longest_segment().max(self.audio.longest_segment());
            let with_slack = (longest.as_secs_f64() * 1.05 - SLACK.as_secs_f64()).ceil() as u32;
            let least = ceil_seconds(self.config.segment_target);
            let most = ceil_seconds(self.config.segment_target * LONGEST_FIRST).max(least);
            self.target_duration = Some(with_slack.clamp(least, most));
            let part = self.video.longest_part().max(self.audio.longest_part()).max(self.config.part_target);
            self.part_target = Duration::from_millis(part.as_micros().div_ceil(1000) as u64);
        }
        let first = if self.video.is_empty() { self.audio.first_listed() } else { self.video.first_listed() };
        self.periods.trim(first);
    }

    /// Rises with each part and each segment.
    pub const fn revision(&self) -> u64 {
        self.video.revision() + self.audio.revision()
    }

    pub fn window(&self, ended: bool) -> Window {
        let missing = self.expects.video && self.video.is_empty() || self.expects.audio && self.audio.is_empty();
        let shown = |shelf: &Shelf| (!shelf.is_empty()).then(|| shelf.window());
        Window {
            stamp: Arc::clone(&self.stamp),
            ready: self.target_duration.is_some() && (ended || !missing),
            ended,
            target_duration: self.target_duration(),
            part_target: self.part_target,
            video: shown(&self.video),
            audio: shown(&self.audio),
            periods: self.periods.known().to_vec(),
            available_from: self.available_from.unwrap_or_default(),
        }
    }
}

fn ceil_seconds(duration: Duration) -> u32 {
    (duration.as_secs_f64().ceil() as u32).max(1)
}
