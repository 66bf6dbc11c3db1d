//! `/v1/members`: people and devices of an App, their stream keys and their tokens.

use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use flyloft_rooms::{Member, OutputMode, StreamKeyState};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Api;
use super::apps::{MAX_NAME, body, check_profile, created, repeated};
use super::extract::{Auth, From, Id, Json, Parameters};
use super::page::{List, Wanted};
use super::problem::Problem;
use super::schema::{self, Problems};
use super::text::{Checks, nullable, time};
use crate::rooms::{Bases, IssuedToken, KeyChange, KeyView, MAX_TOKEN_LIFE, MemberChange, NewMember, Outcome};

pub const MAX_USER_ID: usize = 128;

/// A person or device of an App.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Member)]
#[serde(rename_all = "camelCase")]
pub struct MemberJson {
    id: String,
    app_id: String,
    /// The App's own id for this member.
    #[schema(example = "ada")]
    app_user_id: String,
    name: Option<String>,
    /// The public name of the member's stream. It stays when the stream key is replaced.
    stream_name: String,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    updated_at: String,
}

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = NewMember)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewMemberJson {
    /// Which App; for the operator.
    app_id: Option<String>,
    /// The App's own id for this member, unique in the App.
    #[schema(example = "ada", max_length = 128)]
    app_user_id: String,
    #[schema(example = "Ada Lovelace", max_length = 200)]
    name: Option<String>,
}

/// What is absent stays; null clears.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MemberPatch {
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<String>, max_length = 200)]
    name: Option<Option<String>>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub struct MembersQuery {
    /// Only this App's members; for the operator.
    app_id: Option<String>,
    /// Only the member with this id of the App's own.
    app_user_id: Option<String>,
    /// 1 to 100; 50 when absent.
    limit: Option<u32>,
    /// The `nextCursor` of the page before.
    cursor: Option<String>,
}

/// What a member publishes with.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = StreamKey)]
#[serde(rename_all = "camelCase")]
pub struct StreamKeyJson {
    member_id: String,
    app_user_id: String,
    /// Where an encoder pushes to ("server").
    #[serde(rename = "ingestURL")]
    #[schema(example = "rtmp://video.example.com/live")]
    ingest_url: String,
    /// The secret ("stream key" of an encoder). Append `?mode=` and an output mode to choose the outputs.
    stream_key: String,
    /// Both in one, for programs that take one address.
    full_url: String,
    #[schema(schema_with = schema::key_state)]
    stream_key_state: StreamKeyState,
    /// Comes before the App's and after the one in the publish URL.
    #[schema(schema_with = schema::optional_output_mode)]
    output_mode: Option<OutputMode>,
    transcoding_profile: Option<String>,
    /// When the secret was made.
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    updated_at: String,
}

/// What is absent stays; null clears. Holds from the next publish on.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StreamKeyPatch {
    #[serde(default, deserialize_with = "nullable")]
    #[schema(schema_with = schema::optional_output_mode)]
    output_mode: Option<Option<OutputMode>>,
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<String>, max_length = 64)]
    transcoding_profile: Option<Option<String>>,
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(as = RotateStreamKey)]
#[serde(deny_unknown_fields)]
pub struct RotateJson {
    /// Whether a publisher under way is sent away. Without it, the call is refused while somebody publishes.
    #[serde(default)]
    disconnect: bool,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewMemberToken {
    /// Seconds until the token expires: 60 to 2592000, an hour when absent.
    #[schema(example = 3600, minimum = 60, maximum = 2_592_000)]
    expires_in: Option<u64>,
}

/// A signed token (JWT).
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Token)]
#[serde(rename_all = "camelCase")]
pub struct TokenJson {
    token: String,
    #[schema(format = DateTime)]
    expires_at: String,
}

impl std::convert::From<IssuedToken> for TokenJson {
    fn from(issued: IssuedToken) -> Self {
        Self { token: issued.token, expires_at: time(issued.expires_at) }
    }
}

fn show(member: Member) -> MemberJson {
    MemberJson {
        id: member.id.into_string(),
        app_id: member.app_id.into_string(),
        app_user_id: member.app_user_id,
        name: member.name,
        stream_name: member.stream_name.into_string(),
        created_at: time(member.created_at),
        updated_at: time(member.updated_at),
    }
}

fn show_key(view: KeyView, bases: &Bases) -> StreamKeyJson {
    let (ingest_url, secret) = (bases.ingest(), view.key.secret.expose());
    StreamKeyJson {
        member_id: view.member.id.into_string(),
        app_user_id: view.member.app_user_id,
        full_url: format!("{ingest_url}/{secret}"),
        stream_key: secret.to_owned(),
        ingest_url,
        stream_key_state: view.key.state,
        output_mode: view.key.output_mode,
        transcoding_profile: view.key.transcoding_profile,
        created_at: time(view.key.secret_at),
        updated_at: time(view.key.updated_at),
    }
}

/// List members
///
/// Newest first. A member sees itself only.
#[utoipa::path(operation_id = "listMembers", get, path = "/v1/members", tag = "Members", params(MembersQuery), responses((status = 200, description = "The members", body = List<MemberJson>), Problems), security(("serverApi" = []), ("clientApi" = []), ("operatorApi" = [])))]
pub async fn list(
    State(api): State<Api>,
    auth: Auth,
    Parameters(query): Parameters<MembersQuery>,
) -> Result<axum::Json<List<MemberJson>>, Problem> {
    let wanted = Wanted::new(query.limit, query.cursor.as_deref())?;
    let found = api.rooms.members(&auth.0, query.app_id.as_deref(), query.app_user_id.as_deref(), wanted.page()).await?;
    Ok(axum::Json(wanted.list(found, |member| member.id.as_str(), show)))
}

/// Create a member
///
/// The member gets a stream key and a stream name. For the server API and the operator.
#[utoipa::path(operation_id = "createMember", post, path = "/v1/members", tag = "Members", request_body = NewMemberJson, params(("Idempotency-Key" = Option<String>, Header, description = "Makes repeated requests one")), responses((status = 201, description = "The member", body = MemberJson), Problems), security(("serverApi" = []), ("operatorApi" = [])))]
pub async fn create(State(api): State<Api>, auth: Auth, json: Json<NewMemberJson>) -> Result<Response, Problem> {
    auth.not_member()?;
    let mut checks = Checks::default();
    checks.line("appUserId", &json.body.app_user_id, MAX_USER_ID);
    if let Some(name) = &json.body.name {
        checks.line("name", name, MAX_NAME);
    }
    checks.finish()?;
    let once = json.once(&auth, |made: &Member| (201, body(&show(made.clone()))));
    let NewMemberJson { app_id, app_user_id, name } = json.body;
    match api.rooms.create_member(&auth.0, NewMember { app_id, app_user_id, name }, once).await? {
        Outcome::Done(made) => {
            let location = format!("/v1/members/{}", made.id);
            Ok(created(body(&show(made)), &location))
        }
        Outcome::Replayed(answer) => Ok(repeated(answer)),
    }
}

/// Get a member
///
/// With a member's token, `me` is the member itself.
#[utoipa::path(operation_id = "getMember", get, path = "/v1/members/{memberId}", tag = "Members", params(("memberId" = String, Path)), responses((status = 200, description = "The member", body = MemberJson), Problems), security(("serverApi" = []), ("clientApi" = []), ("operatorApi" = [])))]
pub async fn get(State(api): State<Api>, auth: Auth, Id(id): Id) -> Result<axum::Json<MemberJson>, Problem> {
    Ok(axum::Json(show(api.rooms.member(&auth.0, auth.member_id(&id)).await?)))
}

/// Change a member
#[utoipa::path(operation_id = "updateMember", patch, path = "/v1/members/{memberId}", tag = "Members", params(("memberId" = String, Path)), request_body = MemberPatch, responses((status = 200, description = "The member", body = MemberJson), Problems), security(("serverApi" = []), ("clientApi" = []), ("operatorApi" = [])))]
pub async fn patch(
    State(api): State<Api>,
    auth: Auth,
    Id(id): Id,
    json: Json<MemberPatch>,
) -> Result<axum::Json<MemberJson>, Problem> {
    let MemberPatch { name } = json.body;
    let mut checks = Checks::default();
    if let Some(Some(name)) = &name {
        checks.line("name", name, MAX_NAME);
    }
    checks.finish()?;
    Ok(axum::Json(show(api.rooms.update_member(&auth.0, auth.member_id(&id), MemberChange { name }).await?)))
}

/// Get a member's stream key
#[utoipa::path(operation_id = "getStreamKey", get, path = "/v1/members/{memberId}/stream-key", tag = "Members", params(("memberId" = String, Path)), responses((status = 200, description = "The stream key", body = StreamKeyJson), Problems), security(("serverApi" = []), ("clientApi" = []), ("operatorApi" = [])))]
pub async fn get_key(State(api): State<Api>, auth: Auth, from: From, Id(id): Id) -> Result<axum::Json<StreamKeyJson>, Problem> {
    Ok(axum::Json(show_key(api.rooms.stream_key(&auth.0, auth.member_id(&id)).await?, &from.bases)))
}

/// Change what a stream key's publishes get
#[utoipa::path(operation_id = "updateStreamKey", patch, path = "/v1/members/{memberId}/stream-key", tag = "Members", params(("memberId" = String, Path)), request_body = StreamKeyPatch, responses((status = 200, description = "The stream key", body = StreamKeyJson), Problems), security(("serverApi" = []), ("clientApi" = []), ("operatorApi" = [])))]
pub async fn patch_key(
    State(api): State<Api>,
    auth: Auth,
    from: From,
    Id(id): Id,
    json: Json<StreamKeyPatch>,
) -> Result<axum::Json<StreamKeyJson>, Problem> {
    let StreamKeyPatch { output_mode, transcoding_profile } = json.body;
    let mut checks = Checks::default();
    check_profile(&mut checks, transcoding_profile.as_ref().and_then(Option::as_deref));
    checks.finish()?;
    let change = KeyChange { output_mode, transcoding_profile };
    Ok(axum::Json(show_key(api.rooms.update_stream_key(&auth.0, auth.member_id(&id), change).await?, &from.bases)))
}

/// Replace a stream key
///
/// The old one stops working at once; the stream's public name and the rooms stay.
#[utoipa::path(operation_id = "rotateStreamKey", post, path = "/v1/members/{memberId}/stream-key/rotate", tag = "Members", params(("memberId" = String, Path)), request_body = Option<RotateJson>, responses((status = 200, description = "The stream key", body = StreamKeyJson), Problems), security(("serverApi" = []), ("clientApi" = []), ("operatorApi" = [])))]
pub async fn rotate_key(
    State(api): State<Api>,
    auth: Auth,
    from: From,
    Id(id): Id,
    json: Json<RotateJson>,
) -> Result<axum::Json<StreamKeyJson>, Problem> {
    let view = api.rooms.rotate_stream_key(&auth.0, auth.member_id(&id), json.body.disconnect).await?;
    Ok(axum::Json(show_key(view, &from.bases)))
}

/// Make a token for the client API
///
/// Hand it to the member's device. For the server API and the operator.
#[utoipa::path(operation_id = "createMemberToken", post, path = "/v1/members/{memberId}/tokens", tag = "Members", params(("memberId" = String, Path)), request_body = Option<NewMemberToken>, responses((status = 200, description = "The token", body = TokenJson), Problems), security(("serverApi" = []), ("operatorApi" = [])))]
pub async fn issue_token(
    State(api): State<Api>,
    auth: Auth,
    from: From,
    Id(id): Id,
    json: Json<NewMemberToken>,
) -> Result<axum::Json<TokenJson>, Problem> {
    auth.not_member()?;
    let lifetime = lifetime(json.body.expires_in)?;
    Ok(axum::Json(api.rooms.issue_member_token(&auth.0, &from.asker, &id, lifetime).await?.into()))
}

pub fn lifetime(seconds: Option<u64>) -> Result<Option<Duration>, Problem> {
    let longest = MAX_TOKEN_LIFE.as_secs();
    match seconds {
        Some(seconds) if !(60..=longest).contains(&seconds) => {
            Err(Problem::invalid("expiresIn", format!("it is {seconds} seconds and may be 60 to {longest}")))
        }
        seconds => Ok(seconds.map(Duration::from_secs)),
    }
}
