//! Video rooms as the REST API manages them: create, change, start, end.

use std::collections::HashMap;
use std::sync::Arc;

use flyloft_plugins::model::{Action, RoomRequest};
use flyloft_rooms::{
    AccessLevel, App, EventBody, Member, MemberId, Millis, RoomId, RoomType, Trigger, VideoRoom, VideoRoomState,
};
use http::StatusCode;

use super::members::set;
use super::once::{self, Once, Outcome};
use super::rules::{self, Asker};
use super::step::{Cast, Details};
use super::{Actor, Error, Page, Refusal, RoomFilter, Rooms, new_event_id, new_id, now, token};
use crate::store::{Store, StoreError, Tx};

/// A room with its owner.
#[derive(Clone, Debug)]
pub struct RoomView {
    pub room: VideoRoom,
    pub owner: Member,
}

/// A room to be made.
#[derive(Clone, Debug)]
pub struct NewRoom {
    /// Which App, for the operator.
    pub app_id: Option<String>,
    /// Who owns it; a member who calls is the owner without this.
    pub app_user_id: Option<String>,
    pub kind: RoomType,
    pub access: AccessLevel,
    pub title: Option<String>,
    pub description: Option<String>,
    pub scheduled_at: Option<Millis>,
    /// Whether it is recorded; none leaves it to the server's setting.
    pub record: Option<bool>,
}

/// What is to change; what is none stays.
#[derive(Clone, Debug, Default)]
pub struct RoomChange {
    pub access: Option<AccessLevel>,
    pub title: Option<Option<String>>,
    pub description: Option<Option<String>>,
    pub scheduled_at: Option<Option<Millis>>,
    pub record: Option<Option<bool>>,
}

impl Rooms {
    /// Makes a room, when the policy allows it.
    pub async fn create_room(
        self: &Arc<Self>,
        actor: &Actor,
        asker: &Asker,
        new: NewRoom,
        once: Option<Once<RoomView>>,
    ) -> Result<Outcome<RoomView>, Error> {
        if let Some(answer) = self.repeated(once.as_ref()).await? {
            return Ok(Outcome::Replayed(answer));
        }
        if new.kind == RoomType::VideoConference {
            let reason = "this version has no video conferences yet: the type must be BROADCAST_RTMP".into();
            return Err(Error::Invalid { field: "type", reason });
        }
        let (app, owner) = self.owner_of_new(actor, &new).await?;
        let now = now();
        let room = VideoRoom {
            id: RoomId::new(new_id()),
            app_id: app.id.clone(),
            owner_id: owner.id.clone(),
            kind: new.kind,
            state: VideoRoomState::Scheduled,
            access: new.access,
            title: new.title,
            description: new.description,
            scheduled_at: new.scheduled_at,
            mode: None,
            record: new.record,
            record_granted: None,
            video_post_id: None,
            failure: None,
            created_at: now,
            updated_at: now,
            started_at: None,
            ended_at: None,
        };
        let view = RoomView { room, owner };
        self.ask_about(actor, asker, &app, &view, Action::Create, false).await?;
        let this = Arc::clone(self);
        self.run(async move {
            let mut tx = this.store.write().await?;
            if let Some(answer) = once::replayed(tx.connection(), once.as_ref()).await? {
                return Ok(Outcome::Replayed(answer));
            }
            tx.add_room(&view.room).await?;
            tx.record(new_event_id(), now, &view.owner, Some(&view.room.id), EventBody::RoomCreated).await?;
            once::keep(&mut tx, once.as_ref(), &view).await?;
            tx.commit().await?;
            Ok(Outcome::Done(view))
        })
        .await
    }

    async fn owner_of_new(&self, actor: &Actor, new: &NewRoom) -> Result<(App, Member), Error> {
        let mut reading = self.store.read().await?;
        let app = self.app_for(&mut reading, actor, new.app_id.as_deref()).await?;
        let invalid = |reason: &str| Error::Invalid { field: "appUserId", reason: reason.into() };
        let owner = match (actor.member(), &new.app_user_id) {
            (Some(own), Some(named)) if own.app_user_id != *named => {
                return Err(invalid("a member makes rooms for itself only: leave appUserId out"));
            }
            (Some(own), _) => own.clone(),
            (None, None) => return Err(invalid("say who owns the room: give the appUserId of one of the App's members")),
            (None, Some(named)) => Store::member_by_user(&mut reading, &app.id, named)
                .await?
                .ok_or_else(|| invalid("the App has no member with this appUserId: create the member first"))?,
        };
        Ok((app, owner))
    }

    /// Asks the policy; what it says about recording.
    async fn ask_about(
        &self,
        actor: &Actor,
        asker: &Asker,
        app: &App,
        view: &RoomView,
        action: fn(RoomRequest) -> Action,
        forced: bool,
    ) -> Result<Option<bool>, Error> {
        let request = RoomRequest {
            connection: asker.connection(),
            room: rules::room(&view.room, &view.owner),
            caller: actor.caller(),
            member: actor.model_member(),
            forced,
        };
        Ok(rules::ask(&*self.rules, &rules::context(app), &action(request)).await?.record)
    }

    /// Rooms that the caller may see, newest first: for a member, its own.
    pub async fn rooms(
        &self,
        actor: &Actor,
        app: Option<&str>,
        app_user_id: Option<&str>,
        state: Option<VideoRoomState>,
        page: Page<'_>,
    ) -> Result<Vec<RoomView>, Error> {
        let mut reading = self.store.read().await?;
        let app = match (actor, app, app_user_id) {
            (Actor::Operator, None, None) => None,
            (actor, named, _) => Some(self.app_for(&mut reading, actor, named).await?.id),
        };
        let owner = match (actor.member(), app_user_id, &app) {
            (Some(own), named, _) if named.is_none_or(|id| id == own.app_user_id) => Some(own.id.clone()),
            (Some(_), _, _) => return Ok(Vec::new()),
            (None, Some(id), Some(app)) => match Store::member_by_user(&mut reading, app, id).await? {
                Some(member) => Some(member.id),
                None => return Ok(Vec::new()),
            },
            (None, _, _) => None,
        };
        let filter = RoomFilter { app: app.as_ref(), owner: owner.as_ref(), state, ..RoomFilter::default() };
        self.views(filter, page).await
    }

    async fn views(&self, filter: RoomFilter<'_>, page: Page<'_>) -> Result<Vec<RoomView>, Error> {
        let mut reading = self.store.read().await?;
        let rooms = Store::rooms(&mut reading, filter, page).await?;
        let mut owners: HashMap<MemberId, Member> = HashMap::new();
        let mut views = Vec::with_capacity(rooms.len());
        for room in rooms {
            let owner = match owners.get(&room.owner_id) {
                Some(owner) => owner.clone(),
                None => {
                    let missing = || StoreError::Corrupt { column: "owner_id", value: room.owner_id.to_string() };
                    let owner = Store::member(&mut reading, &room.owner_id).await?.ok_or_else(missing)?;
                    owners.insert(room.owner_id.clone(), owner.clone());
                    owner
                }
            };
            views.push(RoomView { room, owner });
        }
        Ok(views)
    }

    pub async fn room(&self, actor: &Actor, id: &str) -> Result<RoomView, Error> {
        let (room, owner) = self.visible_room(&mut *self.store.read().await?, actor, id).await?;
        Ok(RoomView { room, owner })
    }

    /// Public rooms that are live or paused, newest first.
    pub async fn public_rooms(&self, page: Page<'_>) -> Result<Vec<RoomView>, Error> {
        self.views(RoomFilter { access: Some(AccessLevel::Public), shown: true, ..RoomFilter::default() }, page).await
    }

    /// A room for its watch page: a public one, or a private one for the bearer of a token for it.
    pub async fn public_room(&self, id: &str, token: Option<&str>) -> Result<RoomView, Error> {
        let mut reading = self.store.read().await?;
        let (room, owner) = self.visible_room(&mut reading, &Actor::Operator, id).await?;
        if room.access == AccessLevel::Private {
            let app = self.visible_app(&mut reading, &Actor::Operator, room.app_id.as_str()).await?;
            let refused = |code, reason| Refusal::new(StatusCode::UNAUTHORIZED, code, reason);
            let Some(token) = token else {
                return Err(refused(
                    "token-needed",
                    "this room is private: open it with a room token, as ?token=… in its address",
                )
                .into());
            };
            let claims = token::verify(&app, token, &[token::FOR_ROOM, token::FOR_API])?;
            let for_room =
                claims.room.as_deref().map_or(claims.sub.as_deref() == Some(owner.id.as_str()), |id| id == room.id.as_str());
            if !for_room {
                return Err(refused("wrong-room", "the token is not for this room").into());
            }
        }
        Ok(RoomView { room, owner })
    }

    /// Changes what is shown of a room, and who may watch it.
    pub async fn update_room(self: &Arc<Self>, actor: &Actor, id: &str, change: RoomChange) -> Result<RoomView, Error> {
        let (this, actor, id) = (Arc::clone(self), actor.clone(), id.to_owned());
        self.run(async move {
            let mut tx = this.store.write().await?;
            let (mut room, owner) = this.visible_room(tx.connection(), &actor, &id).await?;
            if actor.member().is_some_and(|own| own.id != owner.id) {
                return Err(Refusal::new(StatusCode::FORBIDDEN, "not-owner", "only the room's owner may change it").into());
            }
            let before = room.clone();
            set(&mut room.access, change.access);
            set(&mut room.title, change.title);
            set(&mut room.description, change.description);
            set(&mut room.scheduled_at, change.scheduled_at);
            set(&mut room.record, change.record);
            let changed: Vec<String> = [
                ("accessLevel", before.access != room.access),
                ("title", before.title != room.title),
                ("description", before.description != room.description),
                ("scheduledAt", before.scheduled_at != room.scheduled_at),
                ("record", before.record != room.record),
            ]
            .into_iter()
            .filter(|(_, differs)| *differs)
            .map(|(name, _)| name.to_owned())
            .collect();
            if !changed.is_empty() {
                room.updated_at = now();
                tx.update_room(&room).await?;
                tx.record(new_event_id(), room.updated_at, &owner, Some(&room.id), EventBody::RoomUpdated { changed }).await?;
                tx.commit().await?;
            }
            Ok(RoomView { room, owner })
        })
        .await
    }

    /// Shows the owner's stream in the room, when the policy allows it.
    pub async fn start_room(self: &Arc<Self>, actor: &Actor, asker: &Asker, id: &str) -> Result<RoomView, Error> {
        self.move_room(actor, asker, id, Trigger::Start).await
    }

    /// Ends the broadcast, when the policy allows it. While it is published that must be `forced`: then the publisher is sent away
    /// and the stream key replaced.
    pub async fn end_room(self: &Arc<Self>, actor: &Actor, asker: &Asker, id: &str, forced: bool) -> Result<RoomView, Error> {
        self.move_room(actor, asker, id, if forced { Trigger::ForcedEnd } else { Trigger::End }).await
    }

    async fn move_room(self: &Arc<Self>, actor: &Actor, asker: &Asker, id: &str, trigger: Trigger) -> Result<RoomView, Error> {
        let (view, app) = {
            let mut reading = self.store.read().await?;
            let (room, owner) = self.visible_room(&mut reading, actor, id).await?;
            let app = self.visible_app(&mut reading, actor, room.app_id.as_str()).await?;
            (RoomView { room, owner }, app)
        };
        let action = if trigger == Trigger::Start { Action::Start } else { Action::End };
        let record = self.ask_about(actor, asker, &app, &view, action, trigger == Trigger::ForcedEnd).await?;
        let (this, id) = (Arc::clone(self), view.room.id);
        self.run(async move {
            let mut tx = this.store.write().await?;
            let mut cast = cast_of_room(&mut tx, app, &id).await?;
            let effects = cast.step(&mut tx, trigger, Details { record, ..Details::default() }).await?;
            tx.commit().await?;
            if effects.end_stream {
                this.live.end_stream(&cast.member.stream_name, "the broadcast has ended");
            }
            let missing = || Error::NotFound { what: "video room", id: id.to_string() };
            Ok(RoomView { room: cast.room.ok_or_else(missing)?, owner: cast.member })
        })
        .await
    }
}

/// The room as it is now, with its owner and the owner's key.
async fn cast_of_room(tx: &mut Tx<'_>, app: App, id: &RoomId) -> Result<Cast, Error> {
    let missing = || Error::NotFound { what: "video room", id: id.to_string() };
    let room = Store::room(tx.connection(), id).await?.ok_or_else(missing)?;
    let member = Store::member(tx.connection(), &room.owner_id).await?.ok_or_else(missing)?;
    let key = Store::stream_key(tx.connection(), &member.id).await?.ok_or_else(missing)?;
    Ok(Cast { app, member, key, room: Some(room) })
}
