//! One step of a stream key and the room that shows it, kept together with its events.

use flyloft_plugins::model::Pair;
use flyloft_rooms::{
    App, Broadcast, Effects, EventBody, Member, OutputMode, PublishId, Replaced, Secret, StreamKey, Trigger, VideoRoom,
    VideoRoomState,
};
use sqlx::SqliteConnection;

use super::{Error, new_event_id, now, token};
use crate::store::{Store, StoreError, Tx};

/// A member with everything that a step can touch.
#[derive(Clone, Debug)]
pub(super) struct Cast {
    pub app: App,
    pub member: Member,
    pub key: StreamKey,
    /// The room that the step is about: the one to be started or ended, else the one that is live or paused.
    pub room: Option<VideoRoom>,
}

/// What a step's events say besides the states.
#[derive(Clone, Debug, Default)]
pub(super) struct Details {
    /// The publish that begins, with its outputs.
    pub publish: Option<(PublishId, OutputMode)>,
    pub reason: Option<String>,
    pub labels: Vec<Pair>,
    /// What the policy said about recording a room that starts.
    pub record: Option<bool>,
}

impl Cast {
    /// The member of a stream key, with its live or paused room.
    pub async fn of_key(c: &mut SqliteConnection, key: StreamKey) -> Result<Self, StoreError> {
        let missing =
            |what: &str| StoreError::Corrupt { column: "member_id", value: format!("{} without {what}", key.member_id) };
        let member = Store::member(c, &key.member_id).await?.ok_or_else(|| missing("member"))?;
        let app = Store::app(c, &member.app_id).await?.ok_or_else(|| missing("App"))?;
        let room = Store::live_room(c, &member.id).await?;
        Ok(Self { app, member, key, room })
    }

    /// Takes one step and keeps it in `tx`.
    pub async fn step(&mut self, tx: &mut Tx<'_>, trigger: Trigger, details: Details) -> Result<Effects, Error> {
        let now = now();
        let before = Broadcast { key: self.key.state, room: self.room.as_ref().map(|room| room.state) };
        let step = before.apply(trigger)?;
        let after = step.after;

        if let Some((id, mode)) = details.publish {
            (self.key.publish_id, self.key.publish_mode) = (Some(id), Some(mode));
        } else if !after.key.is_publishing() {
            (self.key.publish_id, self.key.publish_mode) = (None, None);
        }
        if step.effects.replace_key {
            (self.key.secret, self.key.secret_at) = (Secret::new(token::stream_key()?), now);
        }
        (self.key.state, self.key.updated_at) = (after.key, now);
        tx.update_stream_key(&self.key).await?;
        let room_id = self.room.as_ref().filter(|_| before.key.is_live() || after.key.is_live()).map(|room| room.id.clone());
        let changed = EventBody::StreamKeyStateChanged {
            from: before.key,
            to: after.key,
            mode: self.key.publish_mode,
            reason: details.reason,
            labels: details.labels.into_iter().map(|pair| (pair.name, pair.value)).collect(),
        };
        tx.record(new_event_id(), now, &self.member, room_id.as_ref(), changed).await?;
        if step.effects.replace_key {
            let replaced = EventBody::StreamKeyReplaced { reason: Replaced::ForcedEnd };
            tx.record(new_event_id(), now, &self.member, room_id.as_ref(), replaced).await?;
        }

        if let (Some(room), Some(from), Some(to)) = (&mut self.room, before.room, after.room)
            && from != to
        {
            (room.state, room.updated_at) = (to, now);
            let body = match to {
                VideoRoomState::Live => {
                    room.started_at = room.started_at.or(Some(now));
                    room.mode = self.key.publish_mode.or(room.mode);
                    room.record_granted = details.record.or(room.record_granted);
                    EventBody::RoomLive { from, to, mode: room.mode }
                }
                VideoRoomState::LiveInactive => EventBody::RoomInactive { from, to },
                _ => {
                    room.ended_at = Some(now);
                    EventBody::RoomEnded { from, to, forced: trigger == Trigger::ForcedEnd }
                }
            };
            tx.update_room(room).await?;
            tx.record(new_event_id(), now, &self.member, Some(&room.id), body).await?;
        }
        tracing::info!(
            app = %self.app.id, member = %self.member.id, room = room_id.as_ref().map(|id| id.as_str()), from = %before.key, to = %after.key,
            "stream key moved"
        );
        Ok(step.effects)
    }
}
