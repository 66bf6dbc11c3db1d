//! The door for publishers, whatever protocol they speak: asks the rooms service, takes the stream, reports what becomes of it.

pub mod rtmp;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use flyloft_media::hub::{PushError, RawFrame};
use flyloft_media::timeline::Placement;
use flyloft_media::{Codec, TrackId, codec};
use http::StatusCode;

use crate::clock;
use crate::limits::{Breach, Enforcer};
use crate::live::{Hold, Live, Outputs};
use crate::rooms::{Admitted, PublishAttempt, Refusal, Rooms};

/// Admits publishers.
#[derive(Clone)]
pub struct Door {
    pub rooms: Arc<Rooms>,
    pub live: Arc<Live>,
    pub stall_timeout: Duration,
}

/// A publisher that was let in. [`Publishing::finish`] must be called when it leaves.
pub struct Publishing {
    door: Door,
    admitted: Admitted,
    pub hold: Hold,
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
                return Err(Refusal { status: StatusCode::CONFLICT, code: "stream-busy".into(), reason: error.to_string() });
            }
        };
        tracing::info!(stream = hold.live.name(), room = admitted.room_id.as_deref(), mode = %admitted.mode, "publishing");
        let (rooms, live, id) = (Arc::clone(&self.rooms), Arc::clone(&hold.live), admitted.publish_id.clone());
        let (left, before) = (hold.disconnect.clone(), hold.live.stream.stats().join_points);
        tokio::spawn(async move {
            tokio::select! {
                viewable = live.viewable(before) => if viewable { rooms.viewable(&id).await },
                () = left.cancelled() => {}
            }
        });
        let enforcer = Enforcer::new(&admitted.limits);
        Ok(Publishing { door: self.clone(), admitted, hold, enforcer })
    }
}

impl Publishing {
    /// Sets a track's decoder configuration. A configuration that can't be read is an error that names what is wrong with it.
    pub fn set_track(&mut self, id: TrackId, codec: Codec, config: Bytes) -> Result<(), String> {
        let track = codec::track(id, codec, config).map_err(|error| format!("the {codec} configuration: {error}"))?;
        if let Some(video) = track.video() {
            self.enforcer.picture(video.width, video.height).map_err(|breach| breach.to_string())?;
        }
        if self.hold.publisher.set_track(track) {
            tracing::debug!(stream = self.hold.live.name(), track = id.0, %codec, "track configured");
        }
        Ok(())
    }

    pub fn push(&mut self, frame: RawFrame) -> Result<(), Breach> {
        let now = clock::wall();
        self.enforcer.frame(frame.payload.len(), now)?;
        match self.hold.publisher.push(frame, now) {
            Ok(Placement::Jumped { by }) => {
                tracing::info!(stream = self.hold.live.name(), by_ms = by / 1000, "the encoder's clock jumped: closed the gap");
            }
            Ok(_) | Err(PushError::Ended) => {}
            Err(error @ PushError::NoTrack(_)) => tracing::debug!(stream = self.hold.live.name(), %error),
        }
        Ok(())
    }

    /// Wakes the readers after a batch of input.
    pub fn flush(&self) {
        self.hold.publisher.flush();
    }

    /// The publisher left.
    pub async fn finish(self, reason: &str) {
        tracing::info!(stream = self.hold.live.name(), reason, "publishing ended");
        self.hold.disconnect.cancel();
        let Self { door, admitted, hold, .. } = self;
        door.live.release(hold);
        door.rooms.publish_ended(&admitted.publish_id, reason).await;
    }
}
