//! `/v1/vod`: recorded files that are played as live streams, once or in a loop, at a time or on demand.

use axum::extract::State;
use axum::response::Response;
use flyloft_rooms::{AccessLevel, OutputMode};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Api;
use super::apps::{body, created, repeated};
use super::extract::{Auth, From, Id, Json, Parameters};
use super::page::{List, Wanted};
use super::problem::Problem;
use super::rooms::UrlsJson;
use super::schema::{self, Problems};
use super::text::{Checks, time};
use crate::rooms::{Bases, Outcome};
use crate::vod::{self, Item, NewVod, Spec, VodView, Wrong};

/// The longest time that a stream may go on without viewers, and the longest offset, in milliseconds.
const MAX_MILLIS: u64 = 365 * 24 * 60 * 60 * 1_000;

/// A file of a playlist.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = VodItem)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ItemJson {
    /// `vod-live://` for a stream that many share, `vod://` for one viewer: a file below the media directory,
    /// `vod-live://s3/BUCKET/KEY`, `vod-live://s3/https://HOST/BUCKET/KEY`, or what a plugin knows.
    #[schema(example = "vod-live://s3/films/intro.mp4", max_length = 2048)]
    uri: String,
    /// It begins again at its end; what follows it in the list is never played.
    #[serde(default, rename = "loop")]
    looped: bool,
    /// Milliseconds that are passed over. Playing begins at the key frame before.
    #[serde(default)]
    #[schema(example = 0)]
    start_offset_ms: u64,
}

/// How far a stream has come since it was last started.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = VodProgress)]
#[serde(rename_all = "camelCase")]
pub struct ProgressJson {
    /// The entry of the playlist that is played, from 0.
    item: usize,
    /// Milliseconds of it that were played.
    position_ms: u64,
    /// How often a file began after the first one.
    loops: u64,
    /// Milliseconds of media that were read ahead.
    buffered_ms: u64,
    /// Bytes that were fetched of the file, for all streams that play it.
    bytes_fetched: u64,
    /// How often the source was too slow, and the milliseconds that the stream paused for it.
    pauses: u64,
    paused_ms: u64,
    has_audio: bool,
    has_video: bool,
    /// What last went wrong.
    last_error: Option<String>,
}

impl std::convert::From<vod::Progress> for ProgressJson {
    fn from(progress: vod::Progress) -> Self {
        let vod::Progress {
            item,
            position_ms,
            passes,
            buffered_ms,
            bytes_fetched,
            pauses,
            paused_ms,
            has_audio,
            has_video,
            last_error,
        } = progress;
        Self { item, position_ms, loops: passes, buffered_ms, bytes_fetched, pauses, paused_ms, has_audio, has_video, last_error }
    }
}

/// A stream of recorded files.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = VodStream)]
#[serde(rename_all = "camelCase")]
pub struct VodJson {
    id: String,
    app_id: String,
    #[schema(example = "news")]
    name: String,
    playlist: Vec<ItemJson>,
    #[serde(rename = "loop")]
    looped: bool,
    #[schema(schema_with = schema::optional_output_mode)]
    mode: OutputMode,
    #[schema(schema_with = schema::access_level)]
    access_level: AccessLevel,
    /// Whether one viewer watches and no more (`vod://`).
    personal: bool,
    #[schema(format = DateTime)]
    start_at: Option<String>,
    #[schema(format = DateTime)]
    end_at: Option<String>,
    on_demand: bool,
    /// The room that shows it.
    room_id: Option<String>,
    viewer_timeout_ms: Option<u64>,
    /// From the server's configuration.
    configured: bool,
    #[schema(schema_with = schema::vod_state)]
    state: &'static str,
    /// Why it is over, or why it ended when it was last started.
    reason: Option<String>,
    /// Null for one that was over when the server was started.
    progress: Option<ProgressJson>,
    /// Where it is watched, until it is over; null for one that a room shows.
    urls: Option<UrlsJson>,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    updated_at: String,
}

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = NewVodStream)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewVodJson {
    /// Which App; for the operator.
    app_id: Option<String>,
    /// A part of the addresses where it is watched: letters, digits, `-`, `_`, `.` and `~`.
    #[schema(example = "news", max_length = 128)]
    name: String,
    /// The one file that is played. Either this or `playlist`.
    #[schema(example = "vod-live://s3/films/news.mp4", max_length = 2048)]
    uri: Option<String>,
    /// The files that are played, one after the other.
    #[schema(max_items = 1000)]
    playlist: Option<Vec<ItemJson>>,
    /// Where the one file is entered, in milliseconds.
    #[schema(example = 0)]
    start_offset_ms: Option<u64>,
    /// All of it begins again at its end; as the server is configured when absent.
    #[serde(rename = "loop")]
    looped: Option<bool>,
    /// The App's, else `RTMP_CMAF`, when absent. A stream for one viewer has RTMP and HTTP-FLV.
    #[schema(schema_with = schema::optional_output_mode)]
    mode: Option<OutputMode>,
    /// `PRIVATE` needs a token to watch; `PUBLIC` when absent.
    #[schema(schema_with = schema::access_level)]
    access_level: Option<AccessLevel>,
    /// ISO 8601 with an offset; at once when absent.
    #[schema(example = "2026-11-21T19:30:00+01:00", format = DateTime)]
    start_at: Option<String>,
    /// When it is ended, whatever is played.
    #[schema(example = "2026-11-21T22:00:00+01:00", format = DateTime)]
    end_at: Option<String>,
    /// A room that shows the stream: it is published in the name of the room's owner, with the outputs that the owner's would have, and
    /// the room is started if it has not been. It is watched at the room's addresses.
    #[schema(max_length = 64)]
    room_id: Option<String>,
    /// It is started by whoever wants to watch, ended when nobody does, and started again.
    #[serde(default)]
    on_demand: bool,
    /// How long it is played without a viewer; 0 is for ever, and absent is as the server is configured.
    #[schema(example = 30000)]
    viewer_timeout_ms: Option<u64>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub struct VodQuery {
    /// Only this App's; for the operator.
    app_id: Option<String>,
    /// 1 to 100; 50 when absent.
    limit: Option<u32>,
    /// The `nextCursor` of the page before.
    cursor: Option<String>,
}

fn show(view: VodView, bases: &Bases) -> VodJson {
    let outputs = view.spec.outputs();
    let playlist = view.spec.items.iter();
    let item = |item: &Item| ItemJson { uri: item.uri.clone(), looped: item.looped, start_offset_ms: item.start_offset_ms };
    VodJson {
        playlist: playlist.map(item).collect(),
        looped: view.spec.looped,
        mode: view.spec.mode,
        access_level: view.spec.access,
        personal: !view.spec.is_shared(),
        start_at: view.spec.start_at.map(time),
        end_at: view.spec.end_at.map(time),
        on_demand: view.spec.on_demand,
        room_id: view.spec.room_id.clone(),
        viewer_timeout_ms: view.spec.viewer_timeout_ms,
        configured: view.is_configured,
        state: view.state.as_str(),
        reason: view.reason,
        progress: view.progress.map(Into::into),
        urls: (!view.state.is_over() && view.spec.room_id.is_none())
            .then(|| bases.stream(&view.name, outputs.rtmp, outputs.cmaf).into()),
        id: view.id,
        app_id: view.app_id.into_string(),
        name: view.name,
        created_at: time(view.created_at),
        updated_at: time(view.updated_at),
    }
}

/// List streams of recorded files
///
/// Newest first, with those that have been over for up to a week.
#[utoipa::path(operation_id = "listVodStreams", get, path = "/v1/vod", tag = "VOD", params(VodQuery), responses((status = 200, description = "The streams", body = List<VodJson>), Problems), security(("serverApi" = []), ("operatorApi" = [])))]
pub async fn list(
    State(api): State<Api>,
    auth: Auth,
    from: From,
    Parameters(query): Parameters<VodQuery>,
) -> Result<axum::Json<List<VodJson>>, Problem> {
    auth.not_member()?;
    let wanted = Wanted::new(query.limit, query.cursor.as_deref())?;
    let found = api.vod.list(&auth.0, query.app_id.as_deref(), wanted.page()).await?;
    Ok(axum::Json(wanted.list(found, |view| view.id.as_str(), |view| show(view, &from.bases))))
}

/// Play recorded files as a live stream
///
/// Answers when the first file was opened, unless it starts later. A stream that is to be played goes on after a restart of the server.
#[utoipa::path(operation_id = "createVodStream", post, path = "/v1/vod", tag = "VOD", request_body = NewVodJson, params(("Idempotency-Key" = Option<String>, Header, description = "Makes repeated requests one")), responses((status = 201, description = "The stream", body = VodJson), Problems), security(("serverApi" = []), ("operatorApi" = [])))]
pub async fn create(State(api): State<Api>, auth: Auth, from: From, json: Json<NewVodJson>) -> Result<Response, Problem> {
    auth.not_member()?;
    let bases = from.bases.clone();
    let once = json.once(&auth, move |made: &VodView| (201, body(&show(made.clone(), &bases))));
    let mut checks = Checks::default();
    let spec = spec(&mut checks, &json.body, api.vod.settings().looped);
    if let Err(wrong) = vod::check_name("name", &json.body.name) {
        checks.fail(&wrong.field, wrong.reason);
    }
    let spec = spec.unwrap_or_else(|wrong| {
        checks.fail(&wrong.field, wrong.reason);
        None
    });
    checks.finish()?;
    let Some(spec) = spec else { return Err(Problem::invalid("playlist", "there is nothing to play")) };
    let app = api.vod.app_for(&auth.0, json.body.app_id.as_deref()).await?;
    let new = NewVod { name: json.body.name, spec, mode: json.body.mode };
    match api.vod.create(app, new, once).await? {
        Outcome::Done(made) => {
            let location = format!("/v1/vod/{}", made.id);
            Ok(created(body(&show(made, &from.bases)), &location))
        }
        Outcome::Replayed(answer) => Ok(repeated(answer)),
    }
}

fn spec(checks: &mut Checks, json: &NewVodJson, default_loop: bool) -> Result<Option<Spec>, Wrong> {
    let item = |item: &ItemJson| Item { uri: item.uri.clone(), looped: item.looped, start_offset_ms: item.start_offset_ms };
    let items: Vec<Item> = match (&json.uri, &json.playlist) {
        (Some(uri), None) => {
            vec![Item { uri: uri.clone(), looped: false, start_offset_ms: json.start_offset_ms.unwrap_or(0) }]
        }
        (None, Some(_)) if json.start_offset_ms.is_some() => {
            return Err(Wrong::new("startOffsetMs", "give it in the entries of the playlist"));
        }
        (None, Some(playlist)) => playlist.iter().map(item).collect(),
        (Some(_), Some(_)) => return Err(Wrong::new("playlist", "give either uri or playlist")),
        (None, None) => return Err(Wrong::new("uri", "it is missing: give the file that is played, or a playlist")),
    };
    let offsets = items.iter().map(|item| ("startOffsetMs", item.start_offset_ms));
    let timeout = json.viewer_timeout_ms.map(|millis| ("viewerTimeoutMs", millis));
    if let Some((field, _)) = offsets.chain(timeout).find(|(_, millis)| *millis > MAX_MILLIS) {
        return Err(Wrong::new(field, format!("it may have up to {MAX_MILLIS} ms")));
    }
    let spec = Spec {
        items,
        looped: json.looped.unwrap_or(default_loop),
        mode: json.mode.unwrap_or(OutputMode::RtmpCmaf),
        access: json.access_level.unwrap_or(AccessLevel::Public),
        start_at: json.start_at.as_deref().and_then(|text| checks.time("startAt", text)),
        end_at: json.end_at.as_deref().and_then(|text| checks.time("endAt", text)),
        on_demand: json.on_demand,
        room_id: json.room_id.clone(),
        viewer_timeout_ms: json.viewer_timeout_ms,
    };
    spec.check()?;
    Ok(Some(spec))
}

/// Get a stream of recorded files
#[utoipa::path(operation_id = "getVodStream", get, path = "/v1/vod/{vodId}", tag = "VOD", params(("vodId" = String, Path)), responses((status = 200, description = "The stream", body = VodJson), Problems), security(("serverApi" = []), ("operatorApi" = [])))]
pub async fn get(State(api): State<Api>, auth: Auth, from: From, Id(id): Id) -> Result<axum::Json<VodJson>, Problem> {
    auth.not_member()?;
    Ok(axum::Json(show(api.vod.get(&auth.0, &id).await?, &from.bases)))
}

/// End a stream of recorded files
///
/// And forget it.
#[utoipa::path(operation_id = "deleteVodStream", delete, path = "/v1/vod/{vodId}", tag = "VOD", params(("vodId" = String, Path)), responses((status = 204, description = "It has ended"), Problems), security(("serverApi" = []), ("operatorApi" = [])))]
pub async fn delete(State(api): State<Api>, auth: Auth, Id(id): Id) -> Result<StatusCode, Problem> {
    auth.not_member()?;
    api.vod.delete(&auth.0, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}
