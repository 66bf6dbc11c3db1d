//! Recordings and video posts: what is to be recorded, and a post's way from its first frame to its last viewer.

use std::sync::Arc;

use flyloft_plugins::model::{Action, PlayRequest};
use flyloft_rooms::{
    AccessLevel, AppId, Deleted, EventBody, Member, MemberId, Millis, PostId, PostInput, PostState, RoomId, RoomInput, VideoPost,
    VideoRoom, VideoRoomState,
};
use http::StatusCode;
use sqlx::SqliteConnection;

use super::{Actor, Error, Page, PlayAttempt, Refusal, Rooms, StreamName, new_event_id, new_id, now, rules, token};
use crate::store::{PostFilter, Store, StoreError, Tx};

/// Longer ids are not looked for.
const MAX_ID: usize = 64;

/// A member's stream, and what is to be recorded of it now.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub stream: StreamName,
    /// The live or paused room.
    pub room: Option<RoomId>,
    pub record: bool,
}

/// A post with what its answers tell of its room.
#[derive(Clone, Debug)]
pub struct PostView {
    pub post: VideoPost,
    /// Who may watch: as the room has it, and without a room nobody without a token.
    pub access: AccessLevel,
}

/// What became of a recording.
#[derive(Clone, Debug)]
pub struct Archived {
    pub duration: Millis,
    pub bytes: i64,
    pub size: Option<(u32, u32)>,
    pub codecs: String,
}

impl Rooms {
    /// What is to be recorded of a member's stream. `granted` tells what the policy said when it was published. In this order: what
    /// the policy said when the room was started, when the stream was published, the room's own setting, the App's, the server's. A
    /// stream without a room is recorded only when the policy says so.
    pub async fn recording_wanted(
        &self,
        member: &MemberId,
        granted: impl Fn(&str) -> Option<bool> + Send,
    ) -> Result<Option<Wanted>, StoreError> {
        let mut reading = self.store.read().await?;
        let Some(member) = Store::member(&mut reading, member).await? else { return Ok(None) };
        let room = Store::live_room(&mut reading, &member.id).await?;
        let published = granted(member.stream_name.as_str());
        let app = Store::app(&mut reading, &member.app_id).await?.and_then(|app| app.record);
        let record = match &room {
            Some(room) => room.record_granted.or(published).or(room.record).or(app).unwrap_or(self.config.record),
            None => published.unwrap_or(false),
        };
        Ok(Some(Wanted { stream: member.stream_name, room: room.map(|room| room.id), record }))
    }

    /// The post that a recording goes into: a room has one, a stream without a room gets a new one.
    pub async fn begin_recording(self: &Arc<Self>, member: &MemberId, room: Option<&RoomId>) -> Result<VideoPost, Error> {
        let (this, member, room) = (Arc::clone(self), member.clone(), room.cloned());
        self.run(async move {
            let mut tx = this.store.write().await?;
            let missing = || Error::NotFound { what: "member", id: member.to_string() };
            let owner = Store::member(tx.connection(), &member).await?.ok_or_else(missing)?;
            let shown = match &room {
                Some(id) => {
                    if let Some(post) = Store::post_of_room(tx.connection(), id).await? {
                        return Ok(post);
                    }
                    Store::room(tx.connection(), id).await?
                }
                None => None,
            };
            let now = now();
            let post = VideoPost {
                id: PostId::new(new_id()),
                app_id: owner.app_id.clone(),
                owner_id: owner.id.clone(),
                room_id: room,
                state: PostState::Recording,
                stamp: crate::secret::random_name(),
                title: shown.as_ref().and_then(|room| room.title.clone()),
                description: shown.and_then(|room| room.description),
                duration: None,
                bytes: None,
                size: None,
                codecs: None,
                failure: None,
                missing: None,
                created_at: now,
                updated_at: now,
            };
            tx.add_post(&post).await?;
            let started = EventBody::RecordingStarted { video_post_id: post.id.to_string() };
            tx.record(new_event_id(), now, &owner, post.room_id.as_ref(), started).await?;
            tx.commit().await?;
            Ok(post)
        })
        .await
    }

    /// Something of the broadcast will be missing; with `stopped`, everything that comes now.
    pub async fn recording_lost(self: &Arc<Self>, id: &PostId, what: &str, stopped: bool) -> Result<(), Error> {
        let (this, id, what) = (Arc::clone(self), id.clone(), what.to_owned());
        self.run(async move {
            let mut tx = this.store.write().await?;
            let (mut post, owner) = post_and_owner(tx.connection(), &id).await?;
            post.missing = Some(match post.missing.take() {
                // A disk that fails again and again shall not fill the row.
                Some(before) if before.len() < 1024 && !before.ends_with(&what) => format!("{before}; {what}"),
                Some(before) => before,
                None => what.clone(),
            });
            post.updated_at = now();
            tx.update_post(&post).await?;
            if stopped {
                let body = EventBody::RecordingStopped { video_post_id: id.to_string(), reason: what };
                tx.record(new_event_id(), post.updated_at, &owner, post.room_id.as_ref(), body).await?;
            }
            tx.commit().await?;
            Ok(())
        })
        .await
    }

    /// The recording of a room, which may still be under way.
    pub async fn post_of_room(&self, room: &RoomId) -> Result<Option<VideoPost>, StoreError> {
        Store::post_of_room(&mut *self.store.read().await?, room).await
    }

    /// Posts whose recording or whose file is not complete, oldest first.
    pub async fn unfinished_posts(&self) -> Result<Vec<VideoPost>, StoreError> {
        Store::unfinished_posts(&mut *self.store.read().await?).await
    }

    /// Whether the room of a post may still go on.
    pub async fn may_go_on(&self, post: &VideoPost) -> Result<bool, StoreError> {
        let Some(room) = &post.room_id else { return Ok(false) };
        Ok(Store::room(&mut *self.store.read().await?, room).await?.is_some_and(|room| room.state.is_live()))
    }

    /// The post's file is being made now, and its room is `ARCHIVING`. What is so already, stays.
    pub async fn archiving_began(self: &Arc<Self>, id: &PostId) -> Result<(), Error> {
        self.move_post(id, PostInput::ArchivingBegan, RoomInput::ArchivingBegan, |_| (), None).await
    }

    /// The post can be watched, and its room is `ARCHIVED`.
    pub async fn archived(self: &Arc<Self>, id: &PostId, made: Archived) -> Result<(), Error> {
        let event = EventBody::PostReady { video_post_id: id.to_string(), duration_ms: made.duration, size_bytes: made.bytes };
        let change = move |post: &mut VideoPost| {
            (post.duration, post.bytes) = (Some(made.duration), Some(made.bytes));
            (post.size, post.codecs, post.failure) = (made.size, Some(made.codecs), None);
        };
        self.move_post(id, PostInput::ArchiveReady, RoomInput::ArchiveReady, change, Some(event)).await
    }

    /// The post's file could not be made; its room is `ARCHIVE_FAILED`.
    pub async fn archiving_failed(self: &Arc<Self>, id: &PostId, reason: &str) -> Result<(), Error> {
        let event = EventBody::PostFailed { video_post_id: id.to_string(), reason: reason.to_owned() };
        let reason = reason.to_owned();
        let change = move |post: &mut VideoPost| post.failure = Some(reason);
        self.move_post(id, PostInput::ArchivingFailed, RoomInput::ArchivingFailed, change, Some(event)).await
    }

    /// Moves a post and its room together.
    async fn move_post(
        self: &Arc<Self>,
        id: &PostId,
        input: PostInput,
        room_input: RoomInput,
        change: impl FnOnce(&mut VideoPost) + Send + 'static,
        event: Option<EventBody>,
    ) -> Result<(), Error> {
        let (this, id) = (Arc::clone(self), id.clone());
        self.run(async move {
            let mut tx = this.store.write().await?;
            let (mut post, owner) = post_and_owner(tx.connection(), &id).await?;
            let now = now();
            if let Some(state) = post.state.next(input) {
                (post.state, post.updated_at) = (state, now);
                change(&mut post);
                tx.update_post(&post).await?;
                if let Some(event) = event {
                    tx.record(new_event_id(), now, &owner, post.room_id.as_ref(), event).await?;
                }
            }
            let room = match &post.room_id {
                Some(id) => Store::room(tx.connection(), id).await?,
                None => None,
            };
            if let Some(mut room) = room
                && let Ok(to) = room.state.next(room_input)
            {
                step_room(&mut tx, &mut room, to, &post, &owner).await?;
            }
            tx.commit().await?;
            Ok(())
        })
        .await
    }

    /// Lets the archive of a room be made once more after it has failed.
    pub async fn retry_archive(self: &Arc<Self>, actor: &Actor, id: &str) -> Result<super::RoomView, Error> {
        let (this, actor, id) = (Arc::clone(self), actor.clone(), id.to_owned());
        self.run(async move {
            let mut tx = this.store.write().await?;
            let (mut room, owner) = this.visible_room(tx.connection(), &actor, &id).await?;
            if actor.member().is_some_and(|own| own.id != owner.id) {
                return Err(Refusal::new(StatusCode::FORBIDDEN, "not-owner", "only the room's owner may do this").into());
            }
            let post = Store::post_of_room(tx.connection(), &room.id).await?;
            let Some(mut post) = post.filter(|post| post.state == PostState::Failed) else {
                let reason = match room.state {
                    VideoRoomState::Archiving => "the room is being archived already: wait for its end",
                    VideoRoomState::Archived => "the room was archived: see its video post",
                    VideoRoomState::Ended | VideoRoomState::ArchiveFailed => {
                        "there is no recording that could be archived: the room was not recorded"
                    }
                    _ => "the room has not ended: it is archived by itself when it has",
                };
                return Err(Error::Busy { code: "nothing-to-archive", reason: reason.into() });
            };
            let to = room.state.next(RoomInput::ArchivingBegan)?;
            let now = now();
            (post.state, post.failure, post.updated_at) = (PostState::Processing, None, now);
            tx.update_post(&post).await?;
            step_room(&mut tx, &mut room, to, &post, &owner).await?;
            tx.commit().await?;
            Ok(super::RoomView { room, owner })
        })
        .await
    }

    /// Posts that the caller may see, newest first: for a member, its own.
    pub async fn posts(
        &self,
        actor: &Actor,
        app: Option<&str>,
        app_user_id: Option<&str>,
        (room, state): (Option<&str>, Option<PostState>),
        page: Page<'_>,
    ) -> Result<Vec<PostView>, Error> {
        let mut reading = self.store.read().await?;
        let app: Option<AppId> = match (actor, app, app_user_id) {
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
        let room = room.map(RoomId::new);
        let filter = PostFilter { app: app.as_ref(), owner: owner.as_ref(), room: room.as_ref(), state };
        let posts = Store::posts(&mut reading, filter, page).await?;
        let mut views = Vec::with_capacity(posts.len());
        for post in posts {
            views.push(view(&mut reading, post).await?.0);
        }
        Ok(views)
    }

    /// A post that the caller may see: for a member, its own and those of public rooms of its App.
    pub async fn post(&self, actor: &Actor, id: &str) -> Result<PostView, Error> {
        self.visible_post(&mut *self.store.read().await?, actor, id).await
    }

    async fn visible_post(&self, c: &mut SqliteConnection, actor: &Actor, id: &str) -> Result<PostView, Error> {
        let missing = || Error::NotFound { what: "video post", id: id.chars().take(MAX_ID).collect() };
        let post = Store::post(c, &PostId::new(id)).await?.ok_or_else(missing)?;
        let (view, _) = view(c, post).await?;
        let sees = actor.app().is_none_or(|app| app.id == view.post.app_id)
            && actor.member().is_none_or(|own| own.id == view.post.owner_id || view.access == AccessLevel::Public);
        if sees { Ok(view) } else { Err(missing()) }
    }

    /// Deletes a post with its file.
    pub async fn delete_post(self: &Arc<Self>, actor: &Actor, id: &str) -> Result<(), Error> {
        let (this, actor, id) = (Arc::clone(self), actor.clone(), id.to_owned());
        self.run(async move {
            let mut tx = this.store.write().await?;
            let PostView { post, .. } = this.visible_post(tx.connection(), &actor, &id).await?;
            if actor.member().is_some_and(|own| own.id != post.owner_id) {
                return Err(Refusal::new(StatusCode::FORBIDDEN, "not-owner", "only the post's owner may delete it").into());
            }
            if post.state.is_under_way() {
                let reason = "the post is being made: end its room and wait until it is READY or FAILED".into();
                return Err(Error::Busy { code: "post-under-way", reason });
            }
            drop_post(&mut tx, &post, Deleted::Requested).await?;
            tx.commit().await?;
            Ok(())
        })
        .await
    }

    /// Deletes what is older than `made_before`, and of the rest the oldest until no more than `max_bytes` are left. How many.
    pub async fn prune_posts(self: &Arc<Self>, made_before: Millis, max_bytes: i64) -> Result<usize, Error> {
        const STEP: u32 = 100;
        let this = Arc::clone(self);
        self.run(async move {
            let mut tx = this.store.write().await?;
            let posts = Store::posts_to_drop(tx.connection(), made_before, max_bytes, STEP).await?;
            for post in &posts {
                let why = if post.created_at < made_before { Deleted::Expired } else { Deleted::SpaceLimit };
                drop_post(&mut tx, post, why).await?;
            }
            if !posts.is_empty() {
                tx.commit().await?;
            }
            Ok(posts.len())
        })
        .await
    }

    /// The state of a post; none when it was deleted.
    pub async fn post_state(&self, id: &PostId) -> Result<Option<PostState>, StoreError> {
        Ok(Store::post(&mut *self.store.read().await?, id).await?.map(|post| post.state))
    }

    /// A post that can be watched by everybody who knows its stamp.
    pub async fn post_by_stamp(&self, id: &str, stamp: &str) -> Result<Option<VideoPost>, StoreError> {
        if id.len() > MAX_ID {
            return Ok(None);
        }
        let found = Store::post(&mut *self.store.read().await?, &PostId::new(id)).await?;
        Ok(found.filter(|post| post.state == PostState::Ready && post.stamp == stamp))
    }

    /// Whether somebody may watch the post `attempt.name`: the policy is asked as for its room.
    pub async fn resolve_post(&self, attempt: PlayAttempt<'_>) -> Result<VideoPost, Refusal> {
        let unknown = || {
            let reason = "there is no video post of this name: check the address, it may have been deleted";
            Refusal::new(StatusCode::NOT_FOUND, "unknown-post", reason)
        };
        if attempt.name.is_empty() || attempt.name.len() > MAX_ID {
            return Err(unknown());
        }
        let (app, owner, room, post) = {
            let mut reading = self.store.read().await?;
            let post = Store::post(&mut reading, &PostId::new(attempt.name)).await?.ok_or_else(unknown)?;
            let owner = Store::member(&mut reading, &post.owner_id).await?.ok_or_else(unknown)?;
            let app = Store::app(&mut reading, &post.app_id).await?.ok_or_else(unknown)?;
            let room = match &post.room_id {
                Some(id) => Store::room(&mut reading, id).await?,
                None => None,
            };
            (app, owner, room, post)
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
            viewers: 0,
        };
        rules::ask(&*self.rules, &rules::context(&app), &Action::Play(request)).await?;
        if post.state != PostState::Ready {
            let reason = match post.state {
                PostState::Failed => "this video post could not be made: its owner can try again",
                _ => "this video post is still being made: try again in a while",
            };
            return Err(Refusal::new(StatusCode::NOT_FOUND, "post-not-ready", reason));
        }
        Ok(post)
    }
}

async fn post_and_owner(c: &mut SqliteConnection, id: &PostId) -> Result<(VideoPost, Member), Error> {
    let missing = || Error::NotFound { what: "video post", id: id.to_string() };
    let post = Store::post(c, id).await?.ok_or_else(missing)?;
    let owner = Store::member(c, &post.owner_id).await?.ok_or_else(missing)?;
    Ok((post, owner))
}

async fn view(c: &mut SqliteConnection, post: VideoPost) -> Result<(PostView, Option<VideoRoom>), StoreError> {
    let room = match &post.room_id {
        Some(id) => Store::room(c, id).await?,
        None => None,
    };
    let access = room.as_ref().map_or(AccessLevel::Private, |room| room.access);
    Ok((PostView { post, access }, room))
}

async fn drop_post(tx: &mut Tx<'_>, post: &VideoPost, reason: Deleted) -> Result<(), Error> {
    let missing = || Error::NotFound { what: "member", id: post.owner_id.to_string() };
    let owner = Store::member(tx.connection(), &post.owner_id).await?.ok_or_else(missing)?;
    tx.delete_post(&post.id).await?;
    let body = EventBody::PostDeleted { video_post_id: post.id.to_string(), reason };
    tx.record(new_event_id(), now(), &owner, post.room_id.as_ref(), body).await?;
    Ok(())
}

/// Keeps a room's step on its way into the archive.
async fn step_room(
    tx: &mut Tx<'_>,
    room: &mut VideoRoom,
    to: VideoRoomState,
    post: &VideoPost,
    owner: &Member,
) -> Result<(), Error> {
    let now = now();
    let from = std::mem::replace(&mut room.state, to);
    room.updated_at = now;
    room.failure = None;
    let body = match to {
        VideoRoomState::Archived => {
            room.video_post_id = Some(post.id.to_string());
            EventBody::RoomArchived { from, to, video_post_id: post.id.to_string() }
        }
        VideoRoomState::ArchiveFailed => {
            let reason = post.failure.clone().unwrap_or_default();
            room.failure = Some(reason.clone());
            EventBody::RoomArchiveFailed { from, to, reason }
        }
        _ => EventBody::RoomArchiving { from, to },
    };
    tx.update_room(room).await?;
    tx.record(new_event_id(), now, owner, Some(&room.id), body).await?;
    Ok(())
}

#[cfg(test)]
mod tests;
