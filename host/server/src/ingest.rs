//! The door for publishers, whatever protocol they speak: asks the rooms service, takes the stream, reports what becomes of it.

pub mod rtmp;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use flyloft_media::hub::{PublishError, PushError, RawFrame};
use flyloft_media::timeline::Placement;
use flyloft_media::{Codec, TrackId, codec};
use flyloft_plugins::model::Limits;
use http::StatusCode;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::limits::{Breach, Enforcer};
use crate::live::{Hold, Live, LiveStream, Outputs};
use crate::rooms::{PublishAttempt, Refusal, Rooms};

/// Admits publishers.
#[derive(Clone)]
pub struct Door {
    pub rooms: Arc<Rooms>,
    pub live: Arc<Live>,
    pub stall_timeout: Duration,
}

/// A publisher that was let in. Call [`Publishing::finish`] when it leaves; dropping it ends the publish as well.
pub struct Publishing {
    door: Door,
    /// The member's publish; none for a stream of the server's own.
    publish_id: Option<String>,
    /// `None` once it was given back.
    hold: Option<Hold>,
    /// Says when the publisher must leave.
    pub disconnect: CancellationToken,
    live: Arc<LiveStream>,
    enforcer: Enforcer,
}

impl Door {
    /// Asks whether `attempt` may publish, and takes the stream for it.
    pub async fn publish(&self, attempt: PublishAttempt<'_>) -> Result<Publishing, Refusal> {
        let admitted = self.rooms.publish(attempt).await?;
        let outputs = Outputs { rtmp: admitted.mode.has_rtmp(), cmaf: admitted.mode.has_cmaf() };
        let hold = match self.live.publish(admitted.stream.as_str(), outputs) {
            Ok(hold) => hold,
            Err(error) => {
                self.rooms.publish_ended(&admitted.publish_id, "the stream could not be taken").await;
                return Err(busy(&error));
            }
        };
        hold.live.set_record(admitted.record);
        let labels: Vec<_> = admitted.labels.iter().map(|pair| (pair.name.clone(), pair.value.clone())).collect();
        tracing::info!(stream = hold.live.name(), room = admitted.room_id.as_deref(), mode = %admitted.mode, ?labels, "publishing");
        let (rooms, live, id) = (Arc::clone(&self.rooms), Arc::clone(&hold.live), admitted.publish_id.clone());
        let (left, before) = (hold.disconnect.clone(), hold.live.stream.stats().join_points);
        tokio::spawn(async move {
            tokio::select! {
                viewable = live.viewable(before) => if viewable { rooms.viewable(&id).await },
                () = left.cancelled() => {}
            }
        });
        hold.live.set_labels(labels);
        Ok(self.enter(hold, Some(admitted.publish_id), &admitted.limits))
    }

    /// Takes the stream `name` for a publisher of the server's own, who needs no stream key.
    pub fn open(&self, name: &str, outputs: Outputs) -> Result<Publishing, Refusal> {
        let hold = self.live.publish(name, outputs).map_err(|error| busy(&error))?;
        tracing::info!(stream = name, "publishing");
        Ok(self.enter(hold, None, &Limits::default()))
    }

    fn enter(&self, hold: Hold, publish_id: Option<String>, limits: &Limits) -> Publishing {
        if let Some(limit_ms) = limits.max_duration {
            let seat = hold.seat();
            tokio::spawn(async move {
                tokio::select! {
                    () = tokio::time::sleep(Duration::from_millis(limit_ms)) => {
                        seat.dismiss(&Breach::Duration { limit_ms }.to_string());
                    }
                    () = seat.disconnect.cancelled() => {}
                }
            });
        }
        hold.live.viewers.set_most(limits.max_viewers);
        let (disconnect, live) = (hold.disconnect.clone(), Arc::clone(&hold.live));
        Publishing { door: self.clone(), publish_id, hold: Some(hold), disconnect, live, enforcer: Enforcer::new(limits) }
    }
}

fn busy(error: &PublishError) -> Refusal {
    Refusal { status: StatusCode::CONFLICT, code: "stream-busy".into(), reason: error.to_string() }
}

impl Publishing {
    /// Sets a track's decoder configuration. A configuration that can't be read is an error that names what is wrong with it.
    pub fn set_track(&mut self, id: TrackId, codec: Codec, config: Bytes) -> Result<(), String> {
        let track = codec::track(id, codec, config).map_err(|error| format!("the {codec} configuration: {error}"))?;
        if let Some(video) = track.video() {
            self.enforcer.picture(video.width, video.height).map_err(|breach| breach.to_string())?;
        }
        if self.hold.as_mut().is_some_and(|hold| hold.publisher.set_track(track)) {
            tracing::debug!(stream = self.live.name(), track = id.0, %codec, "track configured");
        }
        Ok(())
    }

    pub fn push(&mut self, frame: RawFrame) -> Result<(), Breach> {
        let now = clock::wall();
        self.enforcer.frame(frame.payload.len(), now)?;
        let Some(hold) = &mut self.hold else { return Ok(()) };
        match hold.publisher.push(frame, now) {
            Ok(Placement::Jumped { by }) => {
                tracing::info!(stream = self.live.name(), by_ms = by / 1000, "the encoder's clock jumped: closed the gap");
            }
            Ok(_) | Err(PushError::Ended) => {}
            Err(error @ PushError::NoTrack(_)) => tracing::debug!(stream = self.live.name(), %error),
        }
        Ok(())
    }

    /// Wakes the readers after a batch of input.
    pub fn flush(&self) {
        if let Some(hold) = &self.hold {
            hold.publisher.flush();
        }
    }

    /// What follows does not continue what came before: the tracks are to be set anew, and players see a discontinuity.
    ///
    /// # Errors
    /// The stream has ended.
    pub fn start_anew(&mut self) -> Result<(), PublishError> {
        if let Some(hold) = self.hold.take() {
            self.hold = Some(hold.again()?);
        }
        Ok(())
    }

    /// Who watches the stream now.
    pub fn viewers(&self) -> u32 {
        self.live.viewers.count()
    }

    /// Why the publisher was told to leave.
    pub fn reason(&self) -> Option<String> {
        self.hold.as_ref()?.reason()
    }

    /// The publisher left.
    pub async fn finish(mut self, reason: &str) {
        if let Some(ended) = self.give_back(reason.to_owned()) {
            ended.await;
        }
    }

    /// Gives the stream back at once; what is returned tells the rooms.
    fn give_back(&mut self, reason: String) -> Option<impl Future<Output = ()> + Send + 'static> {
        let hold = self.hold.take()?;
        tracing::info!(stream = self.live.name(), reason, "publishing ended");
        self.disconnect.cancel();
        self.door.live.release(hold);
        let (rooms, id) = (Arc::clone(&self.door.rooms), self.publish_id.clone());
        Some(async move {
            if let Some(id) = id {
                rooms.publish_ended(&id, &reason).await;
            }
        })
    }
}

impl Drop for Publishing {
    fn drop(&mut self) {
        if let Some(ended) = self.give_back("the connection broke".to_owned()) {
            tokio::spawn(ended);
        }
    }
}
