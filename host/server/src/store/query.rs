//! What is read. The functions take a connection, so that a write can read what it is about to change.

use flyloft_rooms::{AccessLevel, App, AppId, Event, Member, MemberId, PublishId, RoomId, StreamKey, VideoRoom, VideoRoomState};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, SqliteConnection};

use super::{Store, StoreError, row};

type Result<T> = std::result::Result<T, StoreError>;

/// A part of a list, newest first.
#[derive(Clone, Copy, Debug)]
pub struct Page<'a> {
    /// The id after which the page begins; things that were made meanwhile do not move it.
    pub after: Option<&'a str>,
    pub limit: u32,
}

/// Which rooms are listed; what is none does not matter.
#[derive(Clone, Copy, Debug, Default)]
pub struct RoomFilter<'a> {
    pub app: Option<&'a AppId>,
    pub owner: Option<&'a MemberId>,
    pub state: Option<VideoRoomState>,
    pub access: Option<AccessLevel>,
    /// Only rooms that are live or paused.
    pub shown: bool,
}

/// Which events are listed; what is none does not matter.
#[derive(Clone, Debug, Default)]
pub struct EventFilter {
    pub app: Option<AppId>,
    pub member: Option<MemberId>,
    pub room: Option<RoomId>,
}

/// An App with the hash of its secret.
#[derive(Clone, Debug)]
pub struct Credential {
    pub app: App,
    pub secret_hash: String,
}

/// The answer that a create gave under an idempotency key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredAnswer {
    pub request_hash: String,
    pub status: u16,
    pub body: String,
}

fn one<T>(found: Option<SqliteRow>, map: fn(&SqliteRow) -> Result<T>) -> Result<Option<T>> {
    found.as_ref().map(map).transpose()
}

fn all<T>(found: &[SqliteRow], map: fn(&SqliteRow) -> Result<T>) -> Result<Vec<T>> {
    found.iter().map(map).collect()
}

impl Store {
    pub async fn operator_exists(c: &mut SqliteConnection) -> Result<bool> {
        Ok(sqlx::query("SELECT 1 FROM operators LIMIT 1").fetch_optional(c).await?.is_some())
    }

    pub async fn is_operator(c: &mut SqliteConnection, token_hash: &str) -> Result<bool> {
        let found = sqlx::query("SELECT 1 FROM operators WHERE token_hash = $1").bind(token_hash.to_owned());
        Ok(found.fetch_optional(c).await?.is_some())
    }

    pub async fn app(c: &mut SqliteConnection, id: &AppId) -> Result<Option<App>> {
        let found = sqlx::query("SELECT * FROM apps WHERE id = $1").bind(id.as_str().to_owned());
        one(found.fetch_optional(c).await?, row::app)
    }

    /// The App of an API key.
    pub async fn credential(c: &mut SqliteConnection, key: &str) -> Result<Option<Credential>> {
        let found = sqlx::query("SELECT * FROM apps WHERE api_key = $1").bind(key.to_owned()).fetch_optional(c).await?;
        let Some(found) = found else { return Ok(None) };
        Ok(Some(Credential { app: row::app(&found)?, secret_hash: found.try_get("secret_hash")? }))
    }

    /// The App that was made first.
    pub async fn first_app(c: &mut SqliteConnection) -> Result<Option<App>> {
        one(sqlx::query("SELECT * FROM apps ORDER BY id LIMIT 1").fetch_optional(c).await?, row::app)
    }

    pub async fn apps(c: &mut SqliteConnection, page: Page<'_>) -> Result<Vec<App>> {
        let found = sqlx::query("SELECT * FROM apps WHERE ($1 IS NULL OR id < $1) ORDER BY id DESC LIMIT $2")
            .bind(page.after.map(str::to_owned))
            .bind(page.limit);
        all(&found.fetch_all(c).await?, row::app)
    }

    pub async fn member(c: &mut SqliteConnection, id: &MemberId) -> Result<Option<Member>> {
        let found = sqlx::query("SELECT * FROM members WHERE id = $1").bind(id.as_str().to_owned());
        one(found.fetch_optional(c).await?, row::member)
    }

    pub async fn member_by_user(c: &mut SqliteConnection, app: &AppId, app_user_id: &str) -> Result<Option<Member>> {
        let found = sqlx::query("SELECT * FROM members WHERE app_id = $1 AND app_user_id = $2")
            .bind(app.as_str().to_owned())
            .bind(app_user_id.to_owned());
        one(found.fetch_optional(c).await?, row::member)
    }

    pub async fn member_by_stream(c: &mut SqliteConnection, stream: &str) -> Result<Option<Member>> {
        let found = sqlx::query("SELECT * FROM members WHERE stream_name = $1").bind(stream.to_owned());
        one(found.fetch_optional(c).await?, row::member)
    }

    pub async fn members(c: &mut SqliteConnection, app: Option<&AppId>, page: Page<'_>) -> Result<Vec<Member>> {
        let found = sqlx::query(
            "SELECT * FROM members WHERE ($1 IS NULL OR app_id = $1) AND ($2 IS NULL OR id < $2) ORDER BY id DESC LIMIT $3",
        )
        .bind(app.map(|id| id.as_str().to_owned()))
        .bind(page.after.map(str::to_owned))
        .bind(page.limit);
        all(&found.fetch_all(c).await?, row::member)
    }

    pub async fn stream_key(c: &mut SqliteConnection, member: &MemberId) -> Result<Option<StreamKey>> {
        let found = sqlx::query("SELECT * FROM stream_keys WHERE member_id = $1").bind(member.as_str().to_owned());
        one(found.fetch_optional(c).await?, row::stream_key)
    }

    pub async fn stream_key_by_secret(c: &mut SqliteConnection, secret: &str) -> Result<Option<StreamKey>> {
        let found = sqlx::query("SELECT * FROM stream_keys WHERE secret = $1").bind(secret.to_owned());
        one(found.fetch_optional(c).await?, row::stream_key)
    }

    pub async fn stream_key_by_publish(c: &mut SqliteConnection, publish: &PublishId) -> Result<Option<StreamKey>> {
        let found = sqlx::query("SELECT * FROM stream_keys WHERE publish_id = $1").bind(publish.as_str().to_owned());
        one(found.fetch_optional(c).await?, row::stream_key)
    }

    /// The keys with a publisher.
    pub async fn publishing(c: &mut SqliteConnection) -> Result<Vec<StreamKey>> {
        let found = sqlx::query("SELECT * FROM stream_keys WHERE state LIKE 'ACTIVE%' ORDER BY member_id");
        all(&found.fetch_all(c).await?, row::stream_key)
    }

    pub async fn room(c: &mut SqliteConnection, id: &RoomId) -> Result<Option<VideoRoom>> {
        let found = sqlx::query("SELECT * FROM video_rooms WHERE id = $1").bind(id.as_str().to_owned());
        one(found.fetch_optional(c).await?, row::video_room)
    }

    /// The room of a member that is live or paused.
    pub async fn live_room(c: &mut SqliteConnection, owner: &MemberId) -> Result<Option<VideoRoom>> {
        let found = sqlx::query("SELECT * FROM video_rooms WHERE owner_id = $1 AND state IN ('LIVE', 'LIVE_INACTIVE')")
            .bind(owner.as_str().to_owned());
        one(found.fetch_optional(c).await?, row::video_room)
    }

    pub async fn rooms(c: &mut SqliteConnection, filter: RoomFilter<'_>, page: Page<'_>) -> Result<Vec<VideoRoom>> {
        let found = sqlx::query(
            "SELECT * FROM video_rooms WHERE ($1 IS NULL OR app_id = $1) AND ($2 IS NULL OR owner_id = $2) \
             AND ($3 IS NULL OR state = $3) AND ($4 IS NULL OR access_level = $4) \
             AND ($5 = 0 OR state IN ('LIVE', 'LIVE_INACTIVE')) AND ($6 IS NULL OR id < $6) ORDER BY id DESC LIMIT $7",
        )
        .bind(filter.app.map(|id| id.as_str().to_owned()))
        .bind(filter.owner.map(|id| id.as_str().to_owned()))
        .bind(filter.state.map(VideoRoomState::as_str))
        .bind(filter.access.map(AccessLevel::as_str))
        .bind(i64::from(filter.shown))
        .bind(page.after.map(str::to_owned))
        .bind(page.limit);
        all(&found.fetch_all(c).await?, row::video_room)
    }

    /// Events after `seq`, oldest first.
    pub async fn events(c: &mut SqliteConnection, filter: &EventFilter, seq: i64, limit: u32) -> Result<Vec<Event>> {
        let found = sqlx::query(
            "SELECT * FROM events WHERE seq > $1 AND ($2 IS NULL OR app_id = $2) AND ($3 IS NULL OR member_id = $3) \
             AND ($4 IS NULL OR room_id = $4) ORDER BY seq LIMIT $5",
        )
        .bind(seq)
        .bind(filter.app.as_ref().map(|id| id.as_str().to_owned()))
        .bind(filter.member.as_ref().map(|id| id.as_str().to_owned()))
        .bind(filter.room.as_ref().map(|id| id.as_str().to_owned()))
        .bind(limit);
        all(&found.fetch_all(c).await?, row::event)
    }

    /// The `seq` of the oldest event that is kept.
    pub async fn oldest_event(c: &mut SqliteConnection) -> Result<Option<i64>> {
        Ok(sqlx::query_scalar("SELECT MIN(seq) FROM events").fetch_one(c).await?)
    }

    /// The answer under an idempotency key, unless it was given before `since`.
    pub async fn stored_answer(c: &mut SqliteConnection, caller: &str, key: &str, since: i64) -> Result<Option<StoredAnswer>> {
        let found = sqlx::query("SELECT * FROM idempotency WHERE caller = $1 AND idempotency_key = $2 AND created_at >= $3")
            .bind(caller.to_owned())
            .bind(key.to_owned())
            .bind(since)
            .fetch_optional(c)
            .await?;
        let Some(found) = found else { return Ok(None) };
        Ok(Some(StoredAnswer {
            request_hash: found.try_get("request_hash")?,
            status: found.try_get("status")?,
            body: found.try_get("body")?,
        }))
    }
}
