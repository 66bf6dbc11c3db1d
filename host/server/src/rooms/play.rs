//! Watching: from a name in a URL to the stream behind it, within the limits that the policy gives.

use flyloft_plugins::model::{Action, PlayRequest};
use flyloft_rooms::{RoomId, VideoRoomState};
use http::StatusCode;

use super::{PlayAttempt, PlayGrant, Refusal, Rooms, rules, token};
use crate::store::{Store, StoreError};

/// Longer names are not looked for.
const MAX_NAME: usize = 128;

impl Rooms {
    /// Whether somebody may watch `attempt.name`, and which stream that is.
    pub async fn resolve_play(&self, attempt: PlayAttempt<'_>) -> Result<PlayGrant, Refusal> {
        let unknown = || {
            Refusal::new(
                StatusCode::NOT_FOUND,
                "unknown-stream",
                "there is no room and no stream of this name: check the address",
            )
        };
        if attempt.name.is_empty() || attempt.name.len() > MAX_NAME {
            return Err(unknown());
        }
        let (app, owner, room) = {
            let mut reading = self.store.read().await?;
            let (owner, room) = match Store::room(&mut reading, &RoomId::new(attempt.name)).await? {
                Some(room) => (Store::member(&mut reading, &room.owner_id).await?, Some(room)),
                None => {
                    let owner = Store::member_by_stream(&mut reading, attempt.name).await?.ok_or_else(unknown)?;
                    let room = Store::live_room(&mut reading, &owner.id).await?;
                    (Some(owner), room)
                }
            };
            let missing = || StoreError::Corrupt { column: "owner_id", value: attempt.name.to_owned() };
            let owner = owner.ok_or_else(missing)?;
            // What the owner sends by now belongs to another room.
            if room.as_ref().is_some_and(|room| room.state == VideoRoomState::Archived) {
                let reason = "this room has ended: watch its recording, the room's video post";
                return Err(Refusal::new(StatusCode::NOT_FOUND, "not-live", reason));
            }
            let app = Store::app(&mut reading, &owner.app_id).await?.ok_or_else(missing)?;
            (app, owner, room)
        };
        let token = match attempt.token {
            Some(text) => Some(token::verify(&app, text, &[token::FOR_ROOM, token::FOR_API])?.into_model()),
            None => None,
        };
        let request = PlayRequest {
            connection: rules::connection(attempt.protocol, attempt.remote.ip(), attempt.user_agent, attempt.parameters),
            room: room.as_ref().map(|room| rules::room(room, &owner)),
            owner: rules::member(&owner),
            stream: owner.stream_name.to_string(),
            token,
            viewers: self.live.viewers(&owner.stream_name),
        };
        let grant = rules::ask(&*self.rules, &rules::context(&app), &Action::Play(request)).await?;
        Ok(PlayGrant {
            stream: owner.stream_name,
            room_id: room.map(|room| room.id.into_string()),
            limits: grant.limits,
            labels: grant.labels,
        })
    }
}
