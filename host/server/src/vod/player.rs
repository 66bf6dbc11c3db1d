//! The second stage: takes what was read ahead, and lets every frame leave at its time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use flyloft_media::hub::RawFrame;
use flyloft_media::pace::{MAX_CATCH_UP, Pace};
use flyloft_media::{Track, TrackId};
use tokio::time::MissedTickBehavior;

use super::Failure;
use super::buffer::{Buffer, Head, Piece};
use super::channel::{Channel, State};
use crate::ingest::Publishing;

/// Frames leave up to this early, in microseconds, so that one wake-up serves picture and sound.
const EARLY: i64 = 10_000;
/// What must have been read before playing begins, or goes on after the source was too slow: microseconds of media.
const READY: i64 = 2_000_000;
/// How often the player looks after what is not due at a certain time.
const LOOK: Duration = Duration::from_millis(500);

/// Why playing is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Over {
    /// The last file has ended.
    Played,
    Failed(Failure),
    /// Nobody watched for this long.
    Unwatched(Duration),
    /// Its time has come.
    OutOfTime,
    /// Somebody ended it.
    Sent(String),
}

pub struct Player<'a> {
    pub publishing: &'a mut Publishing,
    pub buffer: Arc<Buffer>,
    pub channel: &'a Channel,
    /// How long it plays on without a viewer; none for ever.
    pub viewer_timeout: Option<Duration>,
}

impl Player<'_> {
    pub async fn play(self) -> Over {
        let disconnect = self.publishing.disconnect.clone();
        let buffer = Arc::clone(&self.buffer);
        let begun = Instant::now();
        let mut run = Run {
            publishing: self.publishing,
            buffer: self.buffer,
            channel: self.channel,
            begun,
            pace: None,
            dry_since: Some(0),
            waits_for_data: true,
            tracks: Arc::default(),
            pieces: Vec::new(),
            watched: begun,
        };
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            let wait = match run.turn() {
                Ok(wait) => wait,
                Err(over) => return over,
            };
            let until = match wait {
                Wait::Until(due) => begun + Duration::from_micros(due.max(0).unsigned_abs()),
                Wait::Filled => begun,
            };
            tokio::select! {
                () = disconnect.cancelled() => {
                    let reason = run.publishing.reason().or_else(|| self.channel.end_reason());
                    return Over::Sent(reason.unwrap_or_else(|| "the server ended it".to_owned()));
                }
                () = self.channel.told_to_end() => {
                    return Over::Sent(self.channel.end_reason().unwrap_or_else(|| "the server ended it".to_owned()));
                }
                () = tokio::time::sleep_until(until.into()), if matches!(wait, Wait::Until(_)) => {}
                () = buffer.filled(), if matches!(wait, Wait::Filled) => {}
                _ = look.tick() => if let Some(over) = run.look(self.viewer_timeout) { return over },
            }
        }
    }
}

/// What a player waits for.
#[derive(Clone, Copy, Debug)]
enum Wait {
    /// Microseconds since it began.
    Until(i64),
    Filled,
}

struct Run<'a> {
    publishing: &'a mut Publishing,
    buffer: Arc<Buffer>,
    channel: &'a Channel,
    begun: Instant,
    pace: Option<Pace>,
    /// Since when there has been nothing to play, in microseconds since it began.
    dry_since: Option<i64>,
    /// There was nothing for so long that it goes on only with something in reserve.
    waits_for_data: bool,
    tracks: Arc<Vec<Track>>,
    pieces: Vec<Piece>,
    /// When somebody was last seen to watch.
    watched: Instant,
}

impl Run<'_> {
    fn now(&self) -> i64 {
        i64::try_from(self.begun.elapsed().as_micros()).unwrap_or(i64::MAX)
    }

    /// Sends all that is due.
    fn turn(&mut self) -> Result<Wait, Over> {
        let mut has_sent = false;
        let wait = loop {
            let now = self.now();
            match self.buffer.head() {
                Head::End(Ok(())) => break Err(Over::Played),
                Head::End(Err(failure)) => break Err(Over::Failed(failure)),
                Head::Other => self.take(i64::MIN)?,
                Head::Dry => {
                    self.is_dry(now);
                    break Ok(Wait::Filled);
                }
                Head::Frame(_) if self.waits_for_data && !self.buffer.has(READY) => break Ok(Wait::Filled),
                Head::Frame(dts) => {
                    let pace = self.pace.get_or_insert_with(|| Pace::start(dts, now));
                    let late = pace.catch_up(dts, now);
                    let (due, until) = (pace.due(dts), pace.position(now.saturating_add(EARLY)));
                    self.goes_on(late);
                    if due > now.saturating_add(EARLY) {
                        break Ok(Wait::Until(due));
                    }
                    self.take(until)?;
                    has_sent = true;
                }
            }
        };
        if has_sent {
            self.publishing.flush();
        }
        wait
    }

    fn is_dry(&mut self, now: i64) {
        let since = *self.dry_since.get_or_insert(now);
        if !self.waits_for_data && now.saturating_sub(since) > MAX_CATCH_UP {
            self.waits_for_data = true;
            let why = self.channel.source_trouble();
            tracing::warn!(stream = self.channel.name, why, "the source is too slow: the stream pauses");
            self.channel.set_state(State::Buffering);
        }
    }

    /// There is something to play, `late` by so many microseconds.
    fn goes_on(&mut self, late: Option<i64>) {
        self.dry_since = None;
        if let Some(late) = late {
            let millis = late / 1_000;
            tracing::warn!(stream = self.channel.name, paused_ms = millis, "the stream goes on after a pause");
            self.channel.note_pause(millis);
        }
        if std::mem::take(&mut self.waits_for_data) {
            self.channel.set_state(State::Playing);
        }
    }

    /// Sends what is decoded until `until`, on the timeline of the media.
    fn take(&mut self, until: i64) -> Result<(), Over> {
        let mut pieces = std::mem::take(&mut self.pieces);
        self.buffer.take(until, &mut pieces);
        let shift = self.pace.map_or(0, |pace| pace.shift());
        for piece in pieces.drain(..) {
            match piece {
                Piece::Frame(frame) => {
                    let raw = RawFrame {
                        track: frame.track,
                        dts: frame.dts.saturating_add(shift),
                        composition_offset: frame.pts.saturating_sub(frame.dts),
                        wrap: None,
                        keyframe: frame.keyframe,
                        payload: frame.payload,
                    };
                    self.publishing.push(raw).map_err(|breach| Over::Sent(breach.to_string()))?;
                }
                Piece::Pass { item, base, tracks } => {
                    self.use_tracks(tracks)?;
                    self.channel.note_pass(item, base);
                }
                Piece::Note(text) => {
                    tracing::warn!(stream = self.channel.name, "{text}");
                    self.channel.note_trouble(text);
                }
            }
        }
        self.pieces = pieces;
        Ok(())
    }

    fn use_tracks(&mut self, tracks: Arc<Vec<Track>>) -> Result<(), Over> {
        let unplayable = |reason: String| Over::Failed(Failure::Unplayable { reason });
        let has = |id: TrackId| tracks.iter().any(|track| track.id == id);
        if self.tracks.iter().any(|track| !has(track.id)) {
            // Viewers would wait for the track that is gone.
            self.publishing.start_anew().map_err(|error| unplayable(error.to_string()))?;
        }
        for track in tracks.iter() {
            self.publishing.set_track(track.id, track.codec, track.config.clone()).map_err(unplayable)?;
        }
        self.tracks = tracks;
        Ok(())
    }

    /// Looks after viewers and the end, and notes how far playing has come.
    fn look(&mut self, viewer_timeout: Option<Duration>) -> Option<Over> {
        let now = Instant::now();
        let position = self.pace.map(|pace| pace.position(self.now()));
        self.channel.note_progress(position, self.buffer.millis());
        if self.publishing.viewers() > 0 {
            self.watched = now;
        }
        if let Some(timeout) = viewer_timeout
            && now.duration_since(self.watched) >= timeout
        {
            return Some(Over::Unwatched(timeout));
        }
        let is_over = self.channel.spec.end_at.is_some_and(|end| crate::rooms::now() >= end);
        is_over.then_some(Over::OutOfTime)
    }
}
