//! `/v1/video-rooms`: broadcasts from their announcement to their end.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::response::Response;
use flyloft_rooms::{AccessLevel, OutputMode, RoomType, VideoRoomState};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Api;
use super::apps::{body, created, repeated};
use super::extract::{Auth, From, Id, Json, Parameters};
use super::members::{MAX_USER_ID, TokenJson, lifetime};
use super::page::{List, Wanted};
use super::problem::Problem;
use super::schema::{self, Problems};
use super::text::{Checks, nullable, time};
use crate::rooms::{Bases, NewRoom, Outcome, RoomChange, RoomTokenRequest, RoomUrls, RoomView};

const MAX_TITLE: usize = 200;
const MAX_DESCRIPTION: usize = 5_000;
const MAX_PERMISSIONS: usize = 32;
const MAX_CLAIMS: usize = 16;
const MAX_CLAIM: usize = 1_024;
const MAX_WORD: usize = 64;

/// Where a room can be watched: only the formats of its output mode.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RoomUrls)]
#[serde(rename_all = "camelCase")]
pub struct UrlsJson {
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "rtmp://video.example.com/live/ROOM")]
    rtmp: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "https://video.example.com/live/ROOM.flv")]
    http_flv: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "https://video.example.com/live/ROOM/index.m3u8")]
    hls: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "https://video.example.com/live/ROOM/manifest.mpd")]
    dash: Option<String>,
    /// The watch page.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "https://video.example.com/watch/ROOM")]
    watch: Option<String>,
}

impl std::convert::From<RoomUrls> for UrlsJson {
    fn from(urls: RoomUrls) -> Self {
        let RoomUrls { rtmp, http_flv, hls, dash, watch } = urls;
        Self { rtmp, http_flv, hls, dash, watch }
    }
}

/// A video room.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = VideoRoom)]
#[serde(rename_all = "camelCase")]
pub struct RoomJson {
    id: String,
    #[serde(rename = "type")]
    #[schema(schema_with = schema::room_type)]
    kind: RoomType,
    app_id: String,
    /// The owner's id.
    owner_id: String,
    /// The App's own id for the owner.
    #[schema(example = "ada")]
    app_user_id: String,
    /// For display only.
    #[schema(example = "2026-11-21T18:30:00.000Z", format = DateTime)]
    scheduled_at: Option<String>,
    title: Option<String>,
    description: Option<String>,
    #[schema(schema_with = schema::access_level)]
    access_level: AccessLevel,
    #[schema(schema_with = schema::room_state)]
    video_room_state: VideoRoomState,
    /// What the broadcast is shown in, since it was started.
    #[schema(schema_with = schema::optional_output_mode)]
    mode: Option<OutputMode>,
    /// While the room is live or paused.
    urls: Option<UrlsJson>,
    /// Whether it is recorded, where the policy does not say; null is the server's setting.
    record: Option<bool>,
    video_post_id: Option<String>,
    /// Why archiving failed.
    failure: Option<String>,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    updated_at: String,
    #[schema(format = DateTime)]
    started_at: Option<String>,
    #[schema(format = DateTime)]
    ended_at: Option<String>,
}

fn broadcast() -> RoomType {
    RoomType::BroadcastRtmp
}

fn public() -> AccessLevel {
    AccessLevel::Public
}

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = NewVideoRoom)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewRoomJson {
    /// `VIDEO_CONFERENCE` is refused by this version.
    #[serde(rename = "type", default = "broadcast")]
    #[schema(schema_with = schema::room_type)]
    kind: RoomType,
    /// Which App; for the operator.
    app_id: Option<String>,
    /// Who owns the room; a member that calls is the owner by itself.
    #[schema(example = "ada", max_length = 128)]
    app_user_id: Option<String>,
    /// ISO 8601 with an offset; for display only.
    #[schema(example = "2026-11-21T19:30:00+01:00", format = DateTime)]
    scheduled_at: Option<String>,
    #[schema(example = "Evening concert", max_length = 200)]
    title: Option<String>,
    #[schema(max_length = 5000)]
    description: Option<String>,
    /// `PRIVATE` needs a room token to watch; `PUBLIC` when absent.
    #[serde(default = "public")]
    #[schema(schema_with = schema::access_level)]
    access_level: AccessLevel,
    /// Whether it is recorded, where the policy does not say; the server's setting when absent.
    record: Option<bool>,
}

/// What is absent stays; null clears.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RoomPatch {
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<String>, format = DateTime)]
    scheduled_at: Option<Option<String>>,
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<String>, max_length = 200)]
    title: Option<Option<String>>,
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<String>, max_length = 5000)]
    description: Option<Option<String>>,
    #[schema(schema_with = schema::access_level)]
    access_level: Option<AccessLevel>,
    /// Counts from the next start or publish on.
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<bool>)]
    record: Option<Option<bool>>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub struct RoomsQuery {
    /// Only this App's rooms; for the operator.
    app_id: Option<String>,
    /// Only this owner's rooms, by the App's own id.
    app_user_id: Option<String>,
    /// Only rooms in this state.
    #[param(schema_with = schema::room_state)]
    state: Option<VideoRoomState>,
    /// 1 to 100; 50 when absent.
    limit: Option<u32>,
    /// The `nextCursor` of the page before.
    cursor: Option<String>,
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(as = EndBroadcast)]
#[serde(deny_unknown_fields)]
pub struct EndJson {
    /// Ends the broadcast while it is published: the publisher is sent away and the stream key replaced.
    force: Option<bool>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct EndQuery {
    /// The same as `force` in the body.
    force: Option<bool>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewRoomToken {
    /// The member whom the token names; absent for anybody.
    #[schema(max_length = 128)]
    app_user_id: Option<String>,
    /// `audience` when absent.
    #[schema(example = "audience", max_length = 64)]
    role: Option<String>,
    #[serde(default)]
    permissions: Vec<String>,
    /// Seconds until the token expires: 60 to 2592000, an hour when absent.
    #[schema(example = 3600, minimum = 60, maximum = 2_592_000)]
    expires_in: Option<u64>,
    /// More claims, for a policy of your own: up to 16.
    #[serde(default)]
    #[schema(schema_with = schema::any_object)]
    claims: BTreeMap<String, serde_json::Value>,
}

/// Who watches.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Viewers {
    /// Sessions that watch the room now, in all formats.
    #[schema(example = 128)]
    live_viewers: u32,
}

fn show(view: RoomView, bases: &Bases) -> RoomJson {
    let RoomView { room, owner } = view;
    RoomJson {
        urls: bases.room(&room).map(Into::into),
        id: room.id.into_string(),
        kind: room.kind,
        app_id: room.app_id.into_string(),
        owner_id: owner.id.into_string(),
        app_user_id: owner.app_user_id,
        scheduled_at: room.scheduled_at.map(time),
        title: room.title,
        description: room.description,
        access_level: room.access,
        video_room_state: room.state,
        mode: room.mode,
        record: room.record,
        video_post_id: room.video_post_id,
        failure: room.failure,
        created_at: time(room.created_at),
        updated_at: time(room.updated_at),
        started_at: room.started_at.map(time),
        ended_at: room.ended_at.map(time),
    }
}

/// List video rooms
///
/// Newest first. A member sees its own.
#[utoipa::path(operation_id = "listVideoRooms", get, path = "/v1/video-rooms", tag = "Video rooms", params(RoomsQuery), responses((status = 200, description = "The rooms", body = List<RoomJson>), Problems), security(("serverApi" = []), ("clientApi" = []), ("operatorApi" = [])))]
pub async fn list(
    State(api): State<Api>,
    auth: Auth,
    from: From,
    Parameters(query): Parameters<RoomsQuery>,
) -> Result<axum::Json<List<RoomJson>>, Problem> {
    let wanted = Wanted::new(query.limit, query.cursor.as_deref())?;
    let found =
        api.rooms.rooms(&auth.0, query.app_id.as_deref(), query.app_user_id.as_deref(), query.state, wanted.page()).await?;
    Ok(axum::Json(wanted.list(found, |view| view.room.id.as_str(), |view| show(view, &from.bases))))
}

/// Create a video room
#[utoipa::path(operation_id = "createVideoRoom", post, path = "/v1/video-rooms", tag = "Video rooms", request_body = NewRoomJson, params(("Idempotency-Key" = Option<String>, Header, description = "Makes repeated requests one")), responses((status = 201, description = "The room", body = RoomJson), Problems), security(("serverApi" = []), ("clientApi" = []), ("operatorApi" = [])))]
pub async fn create(State(api): State<Api>, auth: Auth, from: From, json: Json<NewRoomJson>) -> Result<Response, Problem> {
    let mut checks = Checks::default();
    if let Some(id) = &json.body.app_user_id {
        checks.line("appUserId", id, MAX_USER_ID);
    }
    let scheduled_at =
        check(&mut checks, json.body.title.as_deref(), json.body.description.as_deref(), json.body.scheduled_at.as_deref());
    checks.finish()?;
    let bases = from.bases.clone();
    let once = json.once(&auth, move |made: &RoomView| (201, body(&show(made.clone(), &bases))));
    let NewRoomJson { kind, app_id, app_user_id, title, description, access_level, record, .. } = json.body;
    let new = NewRoom { app_id, app_user_id, kind, access: access_level, title, description, scheduled_at, record };
    match api.rooms.create_room(&auth.0, &from.asker, new, once).await? {
        Outcome::Done(made) => {
            let location = format!("/v1/video-rooms/{}", made.room.id);
            Ok(created(body(&show(made, &from.bases)), &location))
        }
        Outcome::Replayed(answer) => Ok(repeated(answer)),
    }
}

fn check(checks: &mut Checks, title: Option<&str>, description: Option<&str>, scheduled_at: Option<&str>) -> Option<i64> {
    if let Some(title) = title {
        checks.line("title", title, MAX_TITLE);
    }
    if let Some(description) = description {
        checks.lines("description", description, MAX_DESCRIPTION);
    }
    scheduled_at.and_then(|text| checks.time("scheduledAt", text))
}

/// Get a video room
///
/// A member sees its own rooms and the public ones of its App.
#[utoipa::path(operation_id = "getVideoRoom", get, path = "/v1/video-rooms/{roomId}", tag = "Video rooms", params(("roomId" = String, Path)), responses((status = 200, description = "The room", body = RoomJson), Problems), security(("serverApi" = []), ("clientApi" = []), ("operatorApi" = [])))]
pub async fn get(State(api): State<Api>, auth: Auth, from: From, Id(id): Id) -> Result<axum::Json<RoomJson>, Problem> {
    Ok(axum::Json(show(api.rooms.room(&auth.0, &id).await?, &from.bases)))
}

/// Change a video room
#[utoipa::path(operation_id = "updateVideoRoom", patch, path = "/v1/video-rooms/{roomId}", tag = "Video rooms", params(("roomId" = String, Path)), request_body = RoomPatch, responses((status = 200, description = "The room", body = RoomJson), Problems), security(("serverApi" = []), ("clientApi" = []), ("operatorApi" = [])))]
pub async fn patch(
    State(api): State<Api>,
    auth: Auth,
    from: From,
    Id(id): Id,
    json: Json<RoomPatch>,
) -> Result<axum::Json<RoomJson>, Problem> {
    let RoomPatch { scheduled_at, title, description, access_level, record } = json.body;
    let mut checks = Checks::default();
    let flat = |text: &Option<Option<String>>| text.clone().flatten();
    let at = check(&mut checks, flat(&title).as_deref(), flat(&description).as_deref(), flat(&scheduled_at).as_deref());
    checks.finish()?;
    let change = RoomChange { access: access_level, title, description, scheduled_at: scheduled_at.map(|_| at), record };
    Ok(axum::Json(show(api.rooms.update_room(&auth.0, &id, change).await?, &from.bases)))
}

/// Start a broadcast
///
/// The owner's stream key must be `ACTIVE`: push first, then start. The answer has the addresses to watch.
#[utoipa::path(operation_id = "startVideoRoom", post, path = "/v1/video-rooms/{roomId}/start", tag = "Video rooms", params(("roomId" = String, Path)), responses((status = 200, description = "The room", body = RoomJson), Problems), security(("serverApi" = []), ("clientApi" = []), ("operatorApi" = [])))]
pub async fn start(
    State(api): State<Api>,
    auth: Auth,
    from: From,
    Id(id): Id,
    _: Json<Nothing>,
) -> Result<axum::Json<RoomJson>, Problem> {
    Ok(axum::Json(show(api.rooms.start_room(&auth.0, &from.asker, &id).await?, &from.bases)))
}

/// An empty object, or no body.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

/// End a broadcast
///
/// It can't be started again. While the stream is published, that needs `force`: the publisher is sent away and the stream key replaced.
#[utoipa::path(operation_id = "endVideoRoom", post, path = "/v1/video-rooms/{roomId}/end", tag = "Video rooms", params(("roomId" = String, Path), EndQuery), request_body = Option<EndJson>, responses((status = 200, description = "The room", body = RoomJson), Problems), security(("serverApi" = []), ("clientApi" = []), ("operatorApi" = [])))]
pub async fn end(
    State(api): State<Api>,
    auth: Auth,
    from: From,
    Id(id): Id,
    Parameters(query): Parameters<EndQuery>,
    json: Json<EndJson>,
) -> Result<axum::Json<RoomJson>, Problem> {
    let forced = match (query.force, json.body.force) {
        (Some(query), Some(body)) if query != body => {
            return Err(Problem::invalid("force", "the address and the body say different things: give it once"));
        }
        (query, body) => query.or(body).unwrap_or(false),
    };
    Ok(axum::Json(show(api.rooms.end_room(&auth.0, &from.asker, &id, forced).await?, &from.bases)))
}

/// Archive a broadcast once more
///
/// After archiving has failed: the recording is kept until then. The answer is the room in the state `ARCHIVING`.
#[utoipa::path(operation_id = "archiveVideoRoom", post, path = "/v1/video-rooms/{roomId}/archive", tag = "Video rooms", params(("roomId" = String, Path)), responses((status = 200, description = "The room", body = RoomJson), Problems), security(("serverApi" = []), ("clientApi" = []), ("operatorApi" = [])))]
pub async fn archive(
    State(api): State<Api>,
    auth: Auth,
    from: From,
    Id(id): Id,
    _: Json<Nothing>,
) -> Result<axum::Json<RoomJson>, Problem> {
    Ok(axum::Json(show(api.rooms.retry_archive(&auth.0, &id).await?, &from.bases)))
}

/// Make a room token
///
/// With it, a viewer watches a private room: append `?token=` to the room's addresses.
#[utoipa::path(operation_id = "createRoomToken", post, path = "/v1/video-rooms/{roomId}/tokens", tag = "Video rooms", params(("roomId" = String, Path)), request_body = Option<NewRoomToken>, responses((status = 200, description = "The token", body = TokenJson), Problems), security(("serverApi" = []), ("clientApi" = []), ("operatorApi" = [])))]
pub async fn issue_token(
    State(api): State<Api>,
    auth: Auth,
    from: From,
    Id(id): Id,
    json: Json<NewRoomToken>,
) -> Result<axum::Json<TokenJson>, Problem> {
    let NewRoomToken { app_user_id, role, permissions, expires_in, claims } = json.body;
    let mut checks = Checks::default();
    if let Some(id) = &app_user_id {
        checks.line("appUserId", id, MAX_USER_ID);
    }
    if let Some(role) = &role {
        checks.line("role", role, MAX_WORD);
    }
    if permissions.len() > MAX_PERMISSIONS {
        checks.fail("permissions", format!("there are {} and may be {MAX_PERMISSIONS}", permissions.len()));
    }
    for (index, permission) in permissions.iter().enumerate() {
        checks.line(&format!("permissions[{index}]"), permission, MAX_WORD);
    }
    if claims.len() > MAX_CLAIMS {
        checks.fail("claims", format!("there are {} and may be {MAX_CLAIMS}", claims.len()));
    }
    for (name, value) in &claims {
        checks.line("claims", name, MAX_WORD);
        if value.to_string().len() > MAX_CLAIM {
            checks.fail(&format!("claims.{name}"), format!("its JSON may have {MAX_CLAIM} bytes"));
        }
    }
    checks.finish()?;
    let request = RoomTokenRequest { app_user_id, role, permissions, lifetime: lifetime(expires_in)?, claims };
    Ok(axum::Json(api.rooms.issue_room_token(&auth.0, &from.asker, &id, request).await?.into()))
}

/// Count who watches
#[utoipa::path(operation_id = "countViewers", get, path = "/v1/video-rooms/{roomId}/viewers", tag = "Video rooms", params(("roomId" = String, Path)), responses((status = 200, description = "The count", body = Viewers), Problems), security(("serverApi" = []), ("clientApi" = []), ("operatorApi" = [])))]
pub async fn viewers(State(api): State<Api>, auth: Auth, Id(id): Id) -> Result<axum::Json<Viewers>, Problem> {
    Ok(axum::Json(Viewers { live_viewers: api.rooms.room_viewers(&api.rooms.room(&auth.0, &id).await?) }))
}
