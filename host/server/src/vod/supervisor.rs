//! The life of one stream: waits for its time or its first viewer, opens its file, plays, and keeps what became of it.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use flyloft_plugins::model::Protocol;
use flyloft_rooms::ConflictCode;
use futures_util::FutureExt as _;

use super::buffer::Buffer;
use super::channel::{Channel, State};
use super::player::{Over, Player};
use super::reader::{self, Opened, Opener};
use super::{Failure, Vod};
use crate::ingest::Publishing;
use crate::rooms::{Actor, Asker, Error, PublishAttempt, Refusal, now};
use crate::store::{Store, StoreError, VodFate};

/// A stream that has its time, or that was played before a restart, is tried to be started for this long.
const RETRY_FOR: Duration = Duration::from_secs(10 * 60);
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LONGEST_RETRY: Duration = Duration::from_secs(30);
/// The wall clock may be set while its time is waited for.
const LOOK_AT_CLOCK: Duration = Duration::from_secs(5);
/// How often it is tried to store that a stream is over.
const STORE_ATTEMPTS: u32 = 5;
const SHUTTING_DOWN: &str = "the server is shutting down";

/// What a stream begins with.
pub struct Ready {
    pub opened: Opened,
    pub publishing: Publishing,
}

impl Over {
    fn is_for_good(&self) -> bool {
        matches!(self, Self::OutOfTime)
    }

    fn verdict(&self) -> (VodFate, String) {
        match self {
            Self::Played => (VodFate::Ended, "it was played to its end".to_owned()),
            Self::Failed(failure) => (VodFate::Failed, failure.to_string()),
            Self::Unwatched(after) => (VodFate::Ended, format!("nobody watched for {} s", after.as_secs_f32())),
            Self::OutOfTime => (VodFate::Ended, "its time is over".to_owned()),
            Self::Sent(reason) => (VodFate::Ended, reason.clone()),
        }
    }
}

impl Vod {
    async fn opener(&self, channel: &Channel) -> Result<Opener, Failure> {
        let unavailable = |error: StoreError| Failure::Unavailable { reason: error.to_string() };
        let mut reading = self.rooms.store().read().await.map_err(unavailable)?;
        let app = Store::app(&mut reading, &channel.app_id).await.map_err(unavailable)?;
        let app = app.ok_or_else(|| Failure::Denied { reason: format!("there is no App {}", channel.app_id) })?;
        let (sources, context) = (self.sources.clone(), self.rooms.plugin_context(&app));
        Ok(Opener { sources, context, shared: channel.spec.is_shared() })
    }

    /// Opens the first file, and takes the stream for it.
    pub(super) async fn prepare(&self, channel: &Channel) -> Result<Ready, Failure> {
        let Some(first) = channel.spec.items.first() else {
            return Err(Failure::Unplayable { reason: "there is nothing in the playlist".to_owned() });
        };
        let opened = self.opener(channel).await?.open(&first.uri).await?;
        let publishing = match &channel.spec.room_id {
            Some(room) => self.publish_in_room(channel, room).await,
            None => self.door.open(&channel.name, channel.spec.outputs()),
        };
        let publishing = publishing.map_err(Failure::Refused)?;
        channel.note_open(&opened, true);
        Ok(Ready { opened, publishing })
    }

    /// Publishes in the name of the room's owner, whom the policy and the output mode are asked about as ever.
    async fn publish_in_room(&self, channel: &Channel, room: &str) -> Result<Publishing, Refusal> {
        let key = self.rooms.publisher_of_room(&channel.app_id, room).await?;
        let mode = [("mode".to_owned(), channel.spec.mode.to_string())];
        let attempt = PublishAttempt {
            stream_key: key.expose(),
            parameters: &mode,
            protocol: Protocol::Internal,
            remote: (Ipv4Addr::LOCALHOST, 0).into(),
            user_agent: None,
        };
        self.door.publish(attempt).await
    }

    /// Starts the room as soon as its stream can be watched, unless it was started before.
    async fn show_in_room(&self, channel: &Channel, room: &str) {
        let asker = Asker { remote: Ipv4Addr::LOCALHOST.into(), user_agent: None };
        let mut pause = FIRST_RETRY / 4;
        loop {
            tokio::time::sleep(pause).await;
            match self.rooms.start_room(&Actor::Operator, &asker, room).await {
                Ok(_) => return,
                Err(Error::Conflict(conflict)) => match conflict.code {
                    // The stream can't be watched yet.
                    ConflictCode::NothingPublished | ConflictCode::NotViewableYet => {}
                    ConflictCode::AlreadyStarted => return,
                    _ => return channel.note_trouble(format!("the room can't be started: {conflict}")),
                },
                Err(error) => {
                    tracing::warn!(stream = channel.name, room, %error, "the room of a stream of recorded files can't be started");
                    channel.note_trouble(format!("the room can't be started: {error}"));
                }
            }
            pause = (pause * 2).min(LONGEST_RETRY);
        }
    }

    /// Plays `channel` until it is over; what is `ready` at once, everything else in its time.
    pub(super) fn launch(self: &Arc<Self>, channel: Arc<Channel>, ready: Option<Ready>) {
        let this = Arc::clone(self);
        self.tasks.spawn(async move { this.supervise(&channel, ready).await });
    }

    async fn supervise(&self, channel: &Arc<Channel>, mut ready: Option<Ready>) {
        let (fate, reason) = loop {
            let ready = match ready.take() {
                Some(ready) => ready,
                None => match self.start(channel).await {
                    Ok(ready) => ready,
                    Err(verdict) => break verdict,
                },
            };
            let over = self.play(channel, ready).await;
            let (fate, reason) = over.verdict();
            let again = channel.spec.on_demand && !over.is_for_good() && !channel.is_told_to_end() && !self.is_stopping();
            if !again {
                break (fate, reason);
            }
            if let Over::Failed(failure) = &over {
                channel.note_failure(failure);
            }
            tracing::info!(stream = channel.name, reason, "the stream waits for its next viewer");
            // Who wanted to watch it before this has.
            let _ = channel.wanted().now_or_never();
            channel.set_over(State::Idle, &reason);
        };
        self.finish(channel, fate, &reason).await;
    }

    /// Waits for the time to start, and starts.
    ///
    /// # Errors
    /// The stream is over before it has begun.
    async fn start(&self, channel: &Channel) -> Result<Ready, (VodFate, String)> {
        let over = async {
            tokio::select! {
                () = channel.told_to_end() => channel.end_reason().unwrap_or_default(),
                () = self.stop.cancelled() => SHUTTING_DOWN.to_owned(),
                () = until(channel.spec.end_at.unwrap_or(i64::MAX)) => "its time is over".to_owned(),
            }
        };
        tokio::select! {
            biased;
            reason = over => Err((VodFate::Ended, reason)),
            started = self.try_to_start(channel) => started.map_err(|failure| (VodFate::Failed, failure.to_string())),
        }
    }

    async fn try_to_start(&self, channel: &Channel) -> Result<Ready, Failure> {
        if let Some(at) = channel.spec.start_at {
            until(at).await;
        }
        let begun = tokio::time::Instant::now();
        let mut pause = FIRST_RETRY;
        loop {
            if channel.spec.on_demand {
                channel.wanted().await;
            }
            channel.set_state(State::Starting);
            let failure = match self.prepare(channel).await {
                Ok(ready) => return Ok(ready),
                Err(failure) => failure,
            };
            tracing::warn!(stream = channel.name, reason = %failure, "a recorded file can't be played");
            channel.note_failure(&failure);
            if channel.spec.on_demand {
                let _ = channel.wanted().now_or_never();
                channel.set_over(State::Idle, &failure.to_string());
            } else if failure.is_passing() && begun.elapsed() < RETRY_FOR {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_RETRY);
            } else {
                return Err(failure);
            }
        }
    }

    async fn play(&self, channel: &Arc<Channel>, ready: Ready) -> Over {
        let Ready { opened, mut publishing } = ready;
        let opener = match self.opener(channel).await {
            Ok(opener) => opener,
            Err(failure) => return Over::Failed(failure),
        };
        let buffer = Buffer::new(self.settings.buffer);
        let viewer_timeout = match channel.spec.viewer_timeout_ms {
            Some(millis) => Some(Duration::from_millis(millis)).filter(|timeout| !timeout.is_zero()),
            None => self.settings.viewer_timeout,
        };
        let noting = Arc::clone(channel);
        let on_open = move |file: &Opened| noting.note_open(file, false);
        let reading = tokio::spawn(reader::run(opener, Arc::clone(&channel.spec), opened, Arc::clone(&buffer), on_open));
        let abort = reading.abort_handle();
        let broken = Arc::clone(&buffer);
        let watching = async move {
            if reading.await.is_err_and(|error| error.is_panic()) {
                broken
                    .finish(Err(Failure::Unplayable { reason: "reading the file failed: this is a fault of the server".into() }));
            }
            std::future::pending().await
        };
        let showing = async {
            if let Some(room) = &channel.spec.room_id {
                self.show_in_room(channel, room).await;
            }
            std::future::pending().await
        };
        let player = Player { publishing: &mut publishing, buffer, channel, viewer_timeout };
        let over = tokio::select! {
            over = player.play() => over,
            () = self.stop.cancelled() => Over::Sent(SHUTTING_DOWN.to_owned()),
            over = watching => over,
            over = showing => over,
        };
        abort.abort();
        let (_, reason) = over.verdict();
        publishing.finish(&reason).await;
        // A room waits for the return of its stream.
        if channel.spec.room_id.is_none() {
            self.door.live.end(&channel.name, &reason);
        }
        over
    }

    /// Keeps that a stream is over, and lets go of its name.
    async fn finish(&self, channel: &Arc<Channel>, fate: VodFate, reason: &str) {
        tracing::info!(stream = channel.name, reason, "a stream of recorded files is over");
        if !channel.is_configured && !self.is_stopping() {
            for attempt in 1..=STORE_ATTEMPTS {
                match self.store_end(&channel.id, fate, reason).await {
                    Ok(()) => break,
                    Err(error) => {
                        tracing::error!(stream = channel.name, attempt, %error, "it can't be stored that a stream is over");
                        tokio::time::sleep(FIRST_RETRY * attempt).await;
                    }
                }
            }
        }
        self.forget(channel);
        channel.set_over(fate.into(), reason);
    }

    async fn store_end(&self, id: &str, fate: VodFate, reason: &str) -> Result<(), StoreError> {
        let mut tx = self.rooms.store().write().await?;
        tx.end_vod_stream(id, fate, reason, now()).await?;
        tx.commit().await
    }

    /// Lets go of a stream's name.
    pub(super) fn forget(&self, channel: &Arc<Channel>) {
        let mut channels = self.channels.lock();
        if channels.get(&channel.name).is_some_and(|current| Arc::ptr_eq(current, channel)) {
            channels.remove(&channel.name);
        }
    }
}

/// Resolves at a time of the wall clock, in milliseconds since the Unix epoch.
async fn until(at: i64) {
    loop {
        match u64::try_from(at.saturating_sub(now())) {
            Ok(left) if left > 0 => tokio::time::sleep(Duration::from_millis(left).min(LOOK_AT_CLOCK)).await,
            _ => return,
        }
    }
}
