//! `/rest-api/vod`: recorded files as live streams, with the fields and the statuses that clients of other servers know.

use std::sync::Arc;

use axum::extract::State;
use flyloft_rooms::{AccessLevel, App, OutputMode};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Api;
use super::extract::{Auth, Json};
use super::problem::Problem;
use super::schema::Problems;
use crate::rooms::{Actor, Error};
use crate::vod::{self, Channel, Item, NewVod, Spec, VodFilter, Wrong};

/// What `status` says of every stream that is found.
const PROCESSED_LOCAL: &str = "PROCESSED_LOCAL";

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = VodStartup)]
#[serde(rename_all = "camelCase")]
pub struct Startup {
    /// What is played.
    #[schema(example = "vod-live://sample.mp4")]
    uri: String,
    /// The name under which it is watched.
    #[schema(example = "test")]
    local_stream_name: String,
    /// Whether it begins again at its end; as the server is configured when absent.
    #[serde(rename = "loop")]
    looped: Option<bool>,
}

/// Which streams are meant: those that have all of what is given.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = VodCriteria)]
#[serde(rename_all = "camelCase")]
pub struct Criteria {
    #[schema(example = "test")]
    local_stream_name: Option<String>,
    #[schema(example = "vod-live://sample.mp4")]
    uri: Option<String>,
}

/// A stream that is played.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = VodFound)]
#[serde(rename_all = "camelCase")]
pub struct Found {
    #[schema(example = "29ec3236-1093-42bb-88d6-d4ac37af3ac0")]
    local_media_session_id: String,
    #[schema(example = "test")]
    local_stream_name: String,
    #[schema(example = "vod-live://sample.mp4")]
    uri: String,
    #[schema(example = "PROCESSED_LOCAL")]
    status: &'static str,
    has_audio: bool,
    has_video: bool,
    record: bool,
    #[serde(rename = "loop")]
    looped: bool,
}

fn show(channel: &Arc<Channel>) -> Found {
    let progress = channel.progress();
    Found {
        local_media_session_id: channel.id.clone(),
        local_stream_name: channel.name.clone(),
        uri: channel.spec.items.first().map(|item| item.uri.clone()).unwrap_or_default(),
        status: PROCESSED_LOCAL,
        has_audio: progress.has_audio,
        has_video: progress.has_video,
        record: false,
        looped: channel.spec.looped,
    }
}

fn malformed(wrong: Wrong) -> Problem {
    Problem { status: StatusCode::BAD_REQUEST, ..Problem::invalid(wrong.field, wrong.reason) }
}

/// The App whose streams a call is about; for the operator the one of the configuration.
async fn app_of(api: &Api, auth: &Auth) -> Result<App, Problem> {
    auth.not_member()?;
    match auth.0.app() {
        Some(app) => Ok(app.clone()),
        None => Ok(api.vod.default_app().await?),
    }
}

/// Whose streams are found: all for the operator.
fn filter<'a>(actor: &'a Actor, criteria: &'a Criteria) -> VodFilter<'a> {
    VodFilter { app: actor.app().map(|app| &app.id), name: criteria.local_stream_name.as_deref(), uri: criteria.uri.as_deref() }
}

/// Play a file as a live stream
///
/// Answers when the file was opened. `409`: there is a stream of this name. `500`: the file can't be played, and why; a missing one is
/// "File not found".
#[utoipa::path(operation_id = "vodStartup", post, path = "/rest-api/vod/startup", tag = "VOD, /rest-api", request_body = Startup, responses((status = 200, description = "It is played"), Problems), security(("serverApi" = []), ("operatorApi" = [])))]
pub async fn startup(State(api): State<Api>, auth: Auth, json: Json<Startup>) -> Result<StatusCode, Problem> {
    let app = app_of(&api, &auth).await?;
    let Startup { uri, local_stream_name, looped } = json.body;
    vod::check_name("localStreamName", &local_stream_name).map_err(malformed)?;
    let looped = looped.unwrap_or(api.vod.settings().looped);
    let spec = Spec {
        items: vec![Item { uri, looped: false, start_offset_ms: 0 }],
        looped,
        mode: OutputMode::RtmpCmaf,
        access: AccessLevel::Public,
        start_at: None,
        end_at: None,
        on_demand: false,
        room_id: None,
        viewer_timeout_ms: None,
    };
    spec.check().map_err(malformed)?;
    if !spec.is_shared() {
        let reason = "only vod-live:// is started by this call: a stream for one viewer (vod://) is made with POST /v1/vod";
        return Err(malformed(Wrong::new("uri", reason)));
    }
    match api.vod.create(app, NewVod { name: local_stream_name, spec, mode: None }, None).await {
        Ok(_) => Ok(StatusCode::OK),
        Err(error @ (Error::Taken { .. } | Error::Busy { .. })) => Err(error.into()),
        Err(error) => {
            let problem = Problem::from(error);
            // The callers of this API know 409 and 500.
            let status = if problem.status == StatusCode::CONFLICT { problem.status } else { StatusCode::INTERNAL_SERVER_ERROR };
            Err(Problem { status, ..problem })
        }
    }
}

/// Find streams that are played
#[utoipa::path(operation_id = "vodFind", post, path = "/rest-api/vod/find", tag = "VOD, /rest-api", request_body = Criteria, responses((status = 200, description = "The streams", body = Vec<Found>), Problems), security(("serverApi" = []), ("operatorApi" = [])))]
pub async fn find(State(api): State<Api>, auth: Auth, json: Json<Criteria>) -> Result<axum::Json<Vec<Found>>, Problem> {
    auth.not_member()?;
    found(&api.vod.playing(filter(&auth.0, &json.body)))
}

/// Find all streams that are played
#[utoipa::path(operation_id = "vodFindAll", post, path = "/rest-api/vod/find_all", tag = "VOD, /rest-api", responses((status = 200, description = "The streams", body = Vec<Found>), Problems), security(("serverApi" = []), ("operatorApi" = [])))]
pub async fn find_all(State(api): State<Api>, auth: Auth) -> Result<axum::Json<Vec<Found>>, Problem> {
    auth.not_member()?;
    let all = Criteria { local_stream_name: None, uri: None };
    found(&api.vod.playing(filter(&auth.0, &all)))
}

fn found(channels: &[Arc<Channel>]) -> Result<axum::Json<Vec<Found>>, Problem> {
    if channels.is_empty() {
        return Err(Problem::not_found("no such stream is played"));
    }
    Ok(axum::Json(channels.iter().map(show).collect()))
}

/// End streams
#[utoipa::path(operation_id = "vodTerminate", post, path = "/rest-api/vod/terminate", tag = "VOD, /rest-api", request_body = Criteria, responses((status = 200, description = "They have ended"), Problems), security(("serverApi" = []), ("operatorApi" = [])))]
pub async fn terminate(State(api): State<Api>, auth: Auth, json: Json<Criteria>) -> Result<StatusCode, Problem> {
    auth.not_member()?;
    if json.body.local_stream_name.is_none() && json.body.uri.is_none() {
        let reason = "it says no stream: give its localStreamName, or the uri that it plays";
        return Err(malformed(Wrong::new("localStreamName", reason)));
    }
    let channels = api.vod.playing(filter(&auth.0, &json.body));
    if channels.is_empty() {
        return Err(Problem::not_found("Stream not found"));
    }
    api.vod.terminate(&channels, "it was terminated").await;
    Ok(StatusCode::OK)
}
