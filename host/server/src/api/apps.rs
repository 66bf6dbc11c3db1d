//! `/v1/apps`: tenants.

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use flyloft_rooms::{App, OutputMode};
use http::{StatusCode, header};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Api;
use super::extract::{Auth, Id, Json, Operator, Parameters};
use super::page::{List, Wanted};
use super::problem::Problem;
use super::schema::{self, Problems};
use super::text::{Checks, nullable, time};
use crate::rooms::{AppChange, AppCreated, NewApp, Outcome};

pub const MAX_NAME: usize = 200;
pub const MAX_PROFILE: usize = 64;

/// A tenant.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = App)]
#[serde(rename_all = "camelCase")]
pub struct AppJson {
    id: String,
    #[schema(example = "default")]
    name: String,
    /// The public half of the API credentials.
    key: String,
    /// The outputs of streams whose publish URL and stream key name none.
    #[schema(schema_with = schema::optional_output_mode)]
    output_mode: Option<OutputMode>,
    transcoding_profile: Option<String>,
    /// Whether rooms are recorded about which neither the policy nor the room says anything; null is the server's setting.
    record: Option<bool>,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    updated_at: String,
}

/// An App with its secret, which is never shown again.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AppWithSecret)]
pub struct AppWithSecretJson {
    #[serde(flatten)]
    app: AppJson,
    /// Null in a repeated answer to the same Idempotency-Key: the server keeps a hash only.
    secret: Option<String>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = NewApp)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewAppJson {
    #[schema(example = "concerts", max_length = 200)]
    name: String,
    #[schema(schema_with = schema::optional_output_mode)]
    output_mode: Option<OutputMode>,
    #[schema(max_length = 64)]
    transcoding_profile: Option<String>,
    record: Option<bool>,
}

/// What is absent stays; null clears.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AppPatch {
    #[schema(max_length = 200)]
    name: Option<String>,
    #[serde(default, deserialize_with = "nullable")]
    #[schema(schema_with = schema::optional_output_mode)]
    output_mode: Option<Option<OutputMode>>,
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<String>, max_length = 64)]
    transcoding_profile: Option<Option<String>>,
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<bool>)]
    record: Option<Option<bool>>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AppsQuery {
    /// 1 to 100; 50 when absent.
    limit: Option<u32>,
    /// The `nextCursor` of the page before.
    cursor: Option<String>,
}

fn show(app: App) -> AppJson {
    AppJson {
        id: app.id.into_string(),
        name: app.name,
        key: app.key,
        output_mode: app.output_mode,
        transcoding_profile: app.transcoding_profile,
        record: app.record,
        created_at: time(app.created_at),
        updated_at: time(app.updated_at),
    }
}

/// List Apps
///
/// All Apps for the operator, the own one for everybody else; newest first.
#[utoipa::path(operation_id = "listApps", get, path = "/v1/apps", tag = "Apps", params(AppsQuery), responses((status = 200, description = "The Apps", body = List<AppJson>), Problems), security(("serverApi" = []), ("clientApi" = []), ("operatorApi" = [])))]
pub async fn list(
    State(api): State<Api>,
    auth: Auth,
    Parameters(query): Parameters<AppsQuery>,
) -> Result<axum::Json<List<AppJson>>, Problem> {
    let wanted = Wanted::new(query.limit, query.cursor.as_deref())?;
    let found = api.rooms.apps(&auth.0, wanted.page()).await?;
    Ok(axum::Json(wanted.list(found, |app| app.id.as_str(), show)))
}

/// Create an App
///
/// The answer has the secret, once. For the operator.
#[utoipa::path(operation_id = "createApp", post, path = "/v1/apps", tag = "Apps", request_body = NewAppJson, params(("Idempotency-Key" = Option<String>, Header, description = "Makes repeated requests one")), responses((status = 201, description = "The App with its secret", body = AppWithSecretJson), Problems), security(("operatorApi" = [])))]
pub async fn create(State(api): State<Api>, Operator(auth): Operator, json: Json<NewAppJson>) -> Result<Response, Problem> {
    let mut checks = Checks::default();
    checks.line("name", &json.body.name, MAX_NAME);
    check_profile(&mut checks, json.body.transcoding_profile.as_deref());
    checks.finish()?;
    // A secret that is kept as a hash must not lie in the kept answer either.
    let once =
        json.once(&auth, |made: &AppCreated| (201, body(&AppWithSecretJson { app: show(made.app.clone()), secret: None })));
    let NewAppJson { name, output_mode, transcoding_profile, record } = json.body;
    match api.rooms.create_app(NewApp { name, output_mode, transcoding_profile, record }, once).await? {
        Outcome::Done(made) => {
            let location = format!("/v1/apps/{}", made.app.id);
            let json = AppWithSecretJson { app: show(made.app), secret: Some(made.secret.expose().to_owned()) };
            Ok(created(body(&json), &location))
        }
        Outcome::Replayed(answer) => Ok(repeated(answer)),
    }
}

/// Get an App
#[utoipa::path(operation_id = "getApp", get, path = "/v1/apps/{appId}", tag = "Apps", params(("appId" = String, Path)), responses((status = 200, description = "The App", body = AppJson), Problems), security(("serverApi" = []), ("clientApi" = []), ("operatorApi" = [])))]
pub async fn get(State(api): State<Api>, auth: Auth, Id(id): Id) -> Result<axum::Json<AppJson>, Problem> {
    Ok(axum::Json(show(api.rooms.app(&auth.0, &id).await?)))
}

/// Change an App
///
/// For the operator and the App's backend.
#[utoipa::path(operation_id = "updateApp", patch, path = "/v1/apps/{appId}", tag = "Apps", params(("appId" = String, Path)), request_body = AppPatch, responses((status = 200, description = "The App", body = AppJson), Problems), security(("serverApi" = []), ("operatorApi" = [])))]
pub async fn patch(State(api): State<Api>, auth: Auth, Id(id): Id, json: Json<AppPatch>) -> Result<axum::Json<AppJson>, Problem> {
    auth.not_member()?;
    let AppPatch { name, output_mode, transcoding_profile, record } = json.body;
    let mut checks = Checks::default();
    if let Some(name) = &name {
        checks.line("name", name, MAX_NAME);
    }
    check_profile(&mut checks, transcoding_profile.as_ref().and_then(Option::as_deref));
    checks.finish()?;
    let change = AppChange { name, output_mode, transcoding_profile, record };
    Ok(axum::Json(show(api.rooms.update_app(&auth.0, &id, change).await?)))
}

/// Replace an App's secret
///
/// The old one stops working at once. For the operator and the App's backend.
#[utoipa::path(operation_id = "rotateAppSecret", post, path = "/v1/apps/{appId}/secret", tag = "Apps", params(("appId" = String, Path)), responses((status = 200, description = "The App with its secret", body = AppWithSecretJson), Problems), security(("serverApi" = []), ("operatorApi" = [])))]
pub async fn rotate_secret(State(api): State<Api>, auth: Auth, Id(id): Id) -> Result<axum::Json<AppWithSecretJson>, Problem> {
    auth.not_member()?;
    let made = api.rooms.rotate_app_secret(&auth.0, &id).await?;
    Ok(axum::Json(AppWithSecretJson { app: show(made.app), secret: Some(made.secret.expose().to_owned()) }))
}

pub fn check_profile(checks: &mut Checks, profile: Option<&str>) {
    if let Some(profile) = profile {
        checks.line("transcodingProfile", profile, MAX_PROFILE);
    }
}

/// The body of an answer. Our own types always serialise.
pub fn body<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// `201 Created` with the address of what was made.
pub fn created(body: String, location: &str) -> Response {
    (StatusCode::CREATED, [(header::CONTENT_TYPE, "application/json"), (header::LOCATION, location)], body).into_response()
}

/// The answer of the first time.
pub fn repeated(answer: crate::rooms::StoredAnswer) -> Response {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::OK);
    let headers = [("content-type", "application/json"), ("idempotency-replayed", "true")];
    (status, headers, answer.body).into_response()
}
