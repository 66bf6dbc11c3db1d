//! `/v1/public/rooms`: what the watch page shows, without credentials.

use axum::extract::State;
use flyloft_rooms::{OutputMode, VideoRoomState};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Api;
use super::extract::{From, Id, Parameters};
use super::page::{List, Wanted};
use super::problem::Problem;
use super::rooms::UrlsJson;
use super::schema::{self, Problems};
use super::text::time;
use crate::rooms::{Bases, RoomView};

/// A room as anybody may see it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PublicRoom)]
#[serde(rename_all = "camelCase")]
pub struct PublicRoomJson {
    id: String,
    title: Option<String>,
    description: Option<String>,
    owner_name: Option<String>,
    #[schema(schema_with = schema::room_state)]
    video_room_state: VideoRoomState,
    #[schema(schema_with = schema::optional_output_mode)]
    mode: Option<OutputMode>,
    #[schema(format = DateTime)]
    scheduled_at: Option<String>,
    #[schema(format = DateTime)]
    started_at: Option<String>,
    /// While the room is live or paused.
    urls: Option<UrlsJson>,
    /// Who watches now.
    live_viewers: u32,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PublicRoomsQuery {
    /// 1 to 100; 50 when absent.
    limit: Option<u32>,
    /// The `nextCursor` of the page before.
    cursor: Option<String>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PublicRoomQuery {
    /// A room token, for a private room.
    token: Option<String>,
}

fn show(api: &Api, view: RoomView, bases: &Bases) -> PublicRoomJson {
    let live_viewers = api.rooms.room_viewers(&view);
    let RoomView { room, owner } = view;
    PublicRoomJson {
        urls: bases.room(&room).map(Into::into),
        id: room.id.into_string(),
        title: room.title,
        description: room.description,
        owner_name: owner.name,
        video_room_state: room.state,
        mode: room.mode,
        scheduled_at: room.scheduled_at.map(time),
        started_at: room.started_at.map(time),
        live_viewers,
    }
}

/// List live rooms
///
/// Public rooms that are live or paused, newest first.
#[utoipa::path(operation_id = "listPublicRooms", get, path = "/v1/public/rooms", tag = "Public", params(PublicRoomsQuery), responses((status = 200, description = "The rooms", body = List<PublicRoomJson>), Problems), security(()))]
pub async fn list(
    State(api): State<Api>,
    from: From,
    Parameters(query): Parameters<PublicRoomsQuery>,
) -> Result<axum::Json<List<PublicRoomJson>>, Problem> {
    let wanted = Wanted::new(query.limit, query.cursor.as_deref())?;
    let found = api.rooms.public_rooms(wanted.page()).await?;
    Ok(axum::Json(wanted.list(found, |view| view.room.id.as_str(), |view| show(&api, view, &from.bases))))
}

/// Get a room to watch
///
/// A private room needs a token for it.
#[utoipa::path(operation_id = "getPublicRoom", get, path = "/v1/public/rooms/{roomId}", tag = "Public", params(("roomId" = String, Path), PublicRoomQuery), responses((status = 200, description = "The room", body = PublicRoomJson), Problems), security(()))]
pub async fn get(
    State(api): State<Api>,
    from: From,
    Id(id): Id,
    Parameters(query): Parameters<PublicRoomQuery>,
) -> Result<axum::Json<PublicRoomJson>, Problem> {
    let view = api.rooms.public_room(&id, query.token.as_deref()).await?;
    Ok(axum::Json(show(&api, view, &from.bases)))
}
