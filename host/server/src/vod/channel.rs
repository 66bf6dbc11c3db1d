//! One stream of recorded files: what it plays, where it stands, and how it is told to start and to end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use flyloft_media::MediaKind;
use flyloft_rooms::{AppId, Millis};
use http::StatusCode;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::Failure;
use super::reader::Opened;
use super::source::{self, Source};
use super::spec::Spec;
use crate::rooms::{Refusal, now};
use crate::store::{VodFate, VodRow};

/// How long somebody who wants to watch waits for a stream that is started on demand.
const START_PATIENCE: Duration = Duration::from_secs(15);
/// After a failure the next who wants to watch is told of it, for this long, instead of asking the store again.
const FAILURE_HOLDS: Duration = Duration::from_secs(5);

/// Where a stream is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Its time has not come.
    Scheduled,
    /// It is started by who wants to watch.
    Idle,
    /// Its file is being opened.
    Starting,
    Playing,
    /// The source is too slow; it goes on by itself.
    Buffering,
    Ended,
    Failed,
}

impl State {
    pub const ALL: [State; 7] =
        [State::Scheduled, State::Idle, State::Starting, State::Playing, State::Buffering, State::Ended, State::Failed];

    pub const fn as_str(self) -> &'static str {
        match self {
            State::Scheduled => "SCHEDULED",
            State::Idle => "IDLE",
            State::Starting => "STARTING",
            State::Playing => "PLAYING",
            State::Buffering => "BUFFERING",
            State::Ended => "ENDED",
            State::Failed => "FAILED",
        }
    }

    pub const fn is_over(self) -> bool {
        matches!(self, State::Ended | State::Failed)
    }

    /// There is a stream that can be watched.
    pub const fn is_on(self) -> bool {
        matches!(self, State::Playing | State::Buffering)
    }
}

impl From<VodFate> for State {
    fn from(fate: VodFate) -> Self {
        match fate {
            VodFate::Kept => State::Starting,
            VodFate::Ended => State::Ended,
            VodFate::Failed => State::Failed,
        }
    }
}

/// How far a stream has come since it was last started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Which entry of the playlist, from 0, and the milliseconds of it that were played.
    pub item: usize,
    pub position_ms: u64,
    /// How often a file has begun after the first one.
    pub passes: u64,
    /// Milliseconds of media that were read ahead.
    pub buffered_ms: u64,
    /// Bytes that the store has sent for the file, for all who read it.
    pub bytes_fetched: u64,
    /// How often the source was too slow, and the milliseconds that were lost by it.
    pub pauses: u64,
    pub paused_ms: u64,
    pub has_audio: bool,
    pub has_video: bool,
    /// What last went wrong.
    pub last_error: Option<String>,
}

#[derive(Debug)]
pub struct Channel {
    pub id: String,
    pub app_id: AppId,
    pub name: String,
    pub spec: Arc<Spec>,
    /// From the configuration, which keeps it.
    pub is_configured: bool,
    pub created_at: Millis,
    status: watch::Sender<Status>,
    notes: Mutex<Notes>,
    wanted: Notify,
    end: CancellationToken,
    end_reason: Mutex<Option<String>>,
}

#[derive(Clone, Copy, Debug)]
struct Status {
    state: State,
    /// Rises with each attempt to start.
    attempt: u64,
}

#[derive(Debug, Default)]
struct Notes {
    progress: Progress,
    source: Option<Source>,
    /// What the file's times lie before the stream's, in microseconds.
    base: i64,
    has_begun: bool,
    /// Why it is over.
    reason: Option<String>,
    failed: Option<(Instant, Refusal)>,
    updated_at: Millis,
}

impl Channel {
    pub fn new(row: &VodRow, spec: Spec, is_configured: bool) -> Self {
        let state = match (spec.on_demand, spec.start_at) {
            (true, _) => State::Idle,
            (false, Some(at)) if at > now() => State::Scheduled,
            (false, _) => State::Starting,
        };
        Self {
            id: row.id.clone(),
            app_id: row.app_id.clone(),
            name: row.name.clone(),
            spec: Arc::new(spec),
            is_configured,
            created_at: row.created_at,
            status: watch::Sender::new(Status { state, attempt: 0 }),
            notes: Mutex::new(Notes { updated_at: row.updated_at, ..Notes::default() }),
            wanted: Notify::new(),
            end: CancellationToken::new(),
            end_reason: Mutex::default(),
        }
    }

    pub fn state(&self) -> State {
        self.status.borrow().state
    }

    pub fn reason(&self) -> Option<String> {
        self.notes.lock().reason.clone()
    }

    pub fn updated_at(&self) -> Millis {
        self.notes.lock().updated_at
    }

    pub fn progress(&self) -> Progress {
        let notes = self.notes.lock();
        let bytes_fetched = notes.source.as_ref().map_or(0, |source| source.stats().bytes_fetched);
        Progress { bytes_fetched, ..notes.progress.clone() }
    }

    pub fn set_state(&self, state: State) {
        self.notes.lock().updated_at = now();
        self.status.send_modify(|status| {
            status.attempt += u64::from(state == State::Starting);
            status.state = state;
        });
    }

    /// It is over, or over for now where it is started on demand.
    pub fn set_over(&self, state: State, reason: &str) {
        self.notes.lock().reason = Some(reason.to_owned());
        self.set_state(state);
    }

    /// Tells it to end, and why.
    pub fn end(&self, reason: &str) {
        self.end_reason.lock().get_or_insert_with(|| reason.to_owned());
        self.end.cancel();
    }

    pub async fn told_to_end(&self) {
        self.end.cancelled().await;
    }

    pub fn is_told_to_end(&self) -> bool {
        self.end.is_cancelled()
    }

    pub fn end_reason(&self) -> Option<String> {
        self.end_reason.lock().clone()
    }

    /// Resolves when it is over.
    pub async fn is_over(&self) {
        // The sender is this channel's own.
        let _ = self.status.subscribe().wait_for(|status| status.state.is_over()).await;
    }

    /// Resolves when somebody wants to watch.
    pub async fn wanted(&self) {
        self.wanted.notified().await;
    }

    /// Starts it if it is started on demand, and waits until it can be watched.
    ///
    /// # Errors
    /// Why it can't be.
    pub async fn wake(&self) -> Result<(), Refusal> {
        let refusal = |status, code: &str, reason: String| Err(Refusal { status, code: code.to_owned(), reason });
        let mut status = self.status.subscribe();
        let before = *status.borrow_and_update();
        match before.state {
            State::Playing | State::Buffering => return Ok(()),
            State::Scheduled => {
                return refusal(
                    StatusCode::NOT_FOUND,
                    "not-live",
                    "this stream has not started yet: come back when it has".into(),
                );
            }
            State::Ended | State::Failed => return refusal(StatusCode::NOT_FOUND, "not-live", "this stream is over".into()),
            State::Idle => {
                let failed = self.notes.lock().failed.clone();
                if let Some((_, refusal)) = failed.filter(|(at, _)| at.elapsed() < FAILURE_HOLDS) {
                    return Err(refusal);
                }
                self.wanted.notify_one();
            }
            State::Starting => {}
        }
        // An idle stream that is idle again after another attempt has failed.
        let starting = |now: &Status| now.state == State::Starting || (now.state == State::Idle && now.attempt == before.attempt);
        let patience = tokio::time::timeout(START_PATIENCE, status.wait_for(|now| !starting(now))).await;
        match patience.map(|status| status.map(|status| status.state)) {
            Ok(Ok(state)) if state.is_on() => Ok(()),
            Ok(Ok(_)) => match self.notes.lock().failed.clone() {
                Some((_, refusal)) => Err(refusal),
                None => refusal(StatusCode::NOT_FOUND, "not-live", "this stream is over".into()),
            },
            _ => refusal(StatusCode::SERVICE_UNAVAILABLE, "not-yet", "the stream is being started: try again in a moment".into()),
        }
    }

    /// An attempt to start it failed.
    pub fn note_failure(&self, failure: &Failure) {
        let mut notes = self.notes.lock();
        notes.failed = Some((Instant::now(), failure.refusal()));
        notes.progress.last_error = Some(failure.to_string());
    }

    /// A file was opened; the first of a new start when `anew`.
    pub fn note_open(&self, file: &Opened, anew: bool) {
        let mut notes = self.notes.lock();
        if anew {
            *notes = Notes { updated_at: notes.updated_at, ..Notes::default() };
        }
        notes.source = Some(file.source.clone());
        notes.progress.has_audio |= file.has(MediaKind::Audio);
        notes.progress.has_video |= file.has(MediaKind::Video);
    }

    pub fn note_pass(&self, item: usize, base: i64) {
        let mut notes = self.notes.lock();
        notes.progress.passes += u64::from(std::mem::replace(&mut notes.has_begun, true));
        (notes.progress.item, notes.base) = (item, base);
    }

    /// `position` is on the stream's timeline, in microseconds.
    pub fn note_progress(&self, position: Option<i64>, buffered_ms: u64) {
        let mut notes = self.notes.lock();
        let in_file = position.map_or(0, |position| position.saturating_sub(notes.base) / 1_000);
        notes.progress.position_ms = u64::try_from(in_file).unwrap_or(0);
        notes.progress.buffered_ms = buffered_ms;
    }

    pub fn note_pause(&self, millis: i64) {
        let trouble = self.source_trouble();
        let mut notes = self.notes.lock();
        notes.progress.pauses += 1;
        notes.progress.paused_ms += u64::try_from(millis).unwrap_or(0);
        let why = trouble.unwrap_or_else(|| "its source was too slow".to_owned());
        notes.progress.last_error = Some(format!("the stream paused for {millis} ms: {why}"));
    }

    pub fn note_trouble(&self, text: String) {
        self.notes.lock().progress.last_error = Some(text);
    }

    /// What the source says for itself, when it does not give its bytes.
    pub fn source_trouble(&self) -> Option<String> {
        let source = self.notes.lock().source.clone()?;
        match source.stats().state {
            source::State::Healthy => None,
            source::State::Retrying { reason, .. } => Some(reason),
        }
    }
}
