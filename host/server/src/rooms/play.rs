//! Watching: from a name in a URL to the stream behind it, within the limits that the policy gives.

use flyloft_plugins::model::{self, Action, Grant, PlayRequest};
use flyloft_rooms::{AccessLevel, App, AppId, RoomId, StreamName, VideoRoomState};
use http::StatusCode;

use super::{PlayAttempt, PlayGrant, Refusal, Rooms, rules, token};
use crate::store::{Store, StoreError};

/// Longer names are not looked for.
const MAX_NAME: usize = 128;

/// A stream that the server itself makes, from a recorded file. It has no member, so the policy is told of it as of a live room.
#[derive(Clone, Debug)]
pub struct OwnStream<'a> {
    pub id: &'a str,
    pub app_id: &'a AppId,
    pub name: &'a str,
    pub access: AccessLevel,
}

/// The `appUserId` that policies are told for streams that no member publishes.
const OWN_MEMBER: &str = "vod";

impl Rooms {
    /// Whether somebody may watch a stream of the server's own.
    pub async fn resolve_own_play(&self, own: OwnStream<'_>, attempt: PlayAttempt<'_>) -> Result<PlayGrant, Refusal> {
        let app = Store::app(&mut *self.store.read().await?, own.app_id).await?;
        let app = app.ok_or_else(|| StoreError::Corrupt { column: "app_id", value: own.app_id.to_string() })?;
        let owner = model::Member { id: own.id.to_owned(), app_user_id: OWN_MEMBER.to_owned(), name: None };
        let room = model::Room {
            id: own.id.to_owned(),
            kind: model::RoomType::BroadcastRtmp,
            state: model::RoomState::Live,
            access: rules::access_to(own.access),
            owner: owner.clone(),
            title: Some(own.name.to_owned()),
        };
        let grant = self.ask_play(&app, &attempt, Some(room), owner, &StreamName::new(own.name)).await?;
        Ok(PlayGrant { stream: StreamName::new(own.name), room_id: None, limits: grant.limits, labels: grant.labels })
    }

    async fn ask_play(
        &self,
        app: &App,
        attempt: &PlayAttempt<'_>,
        room: Option<model::Room>,
        owner: model::Member,
        stream: &StreamName,
    ) -> Result<Grant, Refusal> {
        let token = match attempt.token {
            Some(text) => Some(token::verify(app, text, &[token::FOR_ROOM, token::FOR_API])?.into_model()),
            None => None,
        };
        let request = PlayRequest {
            connection: rules::connection(attempt.protocol, attempt.remote.ip(), attempt.user_agent, attempt.parameters),
            room,
            owner,
            stream: stream.to_string(),
            token,
            viewers: self.live.viewers(stream),
        };
        rules::ask(&*self.rules, &rules::context(app), &Action::Play(request)).await
    }

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
        let shown = room.as_ref().map(|room| rules::room(room, &owner));
        let grant = self.ask_play(&app, &attempt, shown, rules::member(&owner), &owner.stream_name).await?;
        Ok(PlayGrant {
            stream: owner.stream_name,
            room_id: room.map(|room| room.id.into_string()),
            limits: grant.limits,
            labels: grant.labels,
        })
    }
}
