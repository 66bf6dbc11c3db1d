//! Rows of the database as things of the domain.

use std::str::FromStr;

use flyloft_rooms::{
    App, AppId, Event, EventBody, EventId, Member, MemberId, PublishId, RoomId, Secret, StreamKey, StreamName, UnknownWord,
    VideoRoom,
};
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::StoreError;

type Result<T> = std::result::Result<T, StoreError>;

fn text(row: &SqliteRow, column: &'static str) -> Result<String> {
    Ok(row.try_get(column)?)
}

fn optional(row: &SqliteRow, column: &'static str) -> Result<Option<String>> {
    Ok(row.try_get(column)?)
}

fn word<T: FromStr<Err = UnknownWord>>(row: &SqliteRow, column: &'static str) -> Result<T> {
    let value = text(row, column)?;
    value.parse().map_err(|_| StoreError::Corrupt { column, value })
}

fn optional_word<T: FromStr<Err = UnknownWord>>(row: &SqliteRow, column: &'static str) -> Result<Option<T>> {
    let Some(value) = optional(row, column)? else { return Ok(None) };
    value.parse().map(Some).map_err(|_| StoreError::Corrupt { column, value })
}

pub(super) fn app(row: &SqliteRow) -> Result<App> {
    Ok(App {
        id: AppId::new(text(row, "id")?),
        name: text(row, "name")?,
        key: text(row, "api_key")?,
        signing_secret: Secret::new(text(row, "signing_secret")?),
        output_mode: optional_word(row, "output_mode")?,
        transcoding_profile: optional(row, "transcoding_profile")?,
        record: row.try_get("record")?,
        created_at: row.try_get("created_at")?,
        updated_at: row.try_get("updated_at")?,
    })
}

pub(super) fn member(row: &SqliteRow) -> Result<Member> {
    Ok(Member {
        id: MemberId::new(text(row, "id")?),
        app_id: AppId::new(text(row, "app_id")?),
        app_user_id: text(row, "app_user_id")?,
        name: optional(row, "name")?,
        stream_name: StreamName::new(text(row, "stream_name")?),
        created_at: row.try_get("created_at")?,
        updated_at: row.try_get("updated_at")?,
    })
}

pub(super) fn stream_key(row: &SqliteRow) -> Result<StreamKey> {
    Ok(StreamKey {
        member_id: MemberId::new(text(row, "member_id")?),
        secret: Secret::new(text(row, "secret")?),
        state: word(row, "state")?,
        output_mode: optional_word(row, "output_mode")?,
        transcoding_profile: optional(row, "transcoding_profile")?,
        publish_id: optional(row, "publish_id")?.map(PublishId::new),
        publish_mode: optional_word(row, "publish_mode")?,
        secret_at: row.try_get("secret_at")?,
        updated_at: row.try_get("updated_at")?,
    })
}

pub(super) fn video_room(row: &SqliteRow) -> Result<VideoRoom> {
    Ok(VideoRoom {
        id: RoomId::new(text(row, "id")?),
        app_id: AppId::new(text(row, "app_id")?),
        owner_id: MemberId::new(text(row, "owner_id")?),
        kind: word(row, "kind")?,
        state: word(row, "state")?,
        access: word(row, "access_level")?,
        title: optional(row, "title")?,
        description: optional(row, "description")?,
        scheduled_at: row.try_get("scheduled_at")?,
        mode: optional_word(row, "mode")?,
        record: row.try_get("record")?,
        record_granted: row.try_get("record_granted")?,
        video_post_id: optional(row, "video_post_id")?,
        failure: optional(row, "failure")?,
        created_at: row.try_get("created_at")?,
        updated_at: row.try_get("updated_at")?,
        started_at: row.try_get("started_at")?,
        ended_at: row.try_get("ended_at")?,
    })
}

pub(super) fn event(row: &SqliteRow) -> Result<Event> {
    let body = text(row, "body")?;
    let body: EventBody = serde_json::from_str(&body).map_err(|_| StoreError::Corrupt { column: "body", value: body.clone() })?;
    Ok(Event {
        seq: row.try_get("seq")?,
        id: EventId::new(text(row, "id")?),
        app_id: AppId::new(text(row, "app_id")?),
        member_id: MemberId::new(text(row, "member_id")?),
        room_id: optional(row, "room_id")?.map(RoomId::new),
        at: row.try_get("at")?,
        body,
    })
}
