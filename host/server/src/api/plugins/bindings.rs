//! `/v1/bindings`: which plugin is asked for whom, in which version, and what it may.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::response::Response;
use flyloft_plugins::{
    BindError, BindingChange, BindingInfo, BindingLimits, BreakerSettings, Difference, Grants, Interface, NewBinding, OnFailure,
    Secret, ShadowAnswer, ShadowExample, ShadowReport, model,
};
use flyloft_rooms::RoomType;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::super::Api;
use super::super::apps::{body, created, repeated};
use super::super::extract::{Id, Json, Operator};
use super::super::page::List;
use super::super::problem::{FieldError, Problem};
use super::super::schema::{self, Problems};
use super::super::text::nullable;
use super::decisions::{FaultJson, show_fault};
use super::{BreakerJson, CountersJson, ShadowCountsJson, names, show_breaker, show_counters, show_millis};
use crate::rooms::{Error, Outcome};

/// Where a plugin is asked.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Binding)]
#[serde(rename_all = "camelCase")]
pub struct BindingJson {
    #[schema(example = "front-1")]
    id: String,
    #[schema(example = "front")]
    plugin: String,
    /// What it is asked for.
    #[schema(example = json!(["room-policy"]))]
    interfaces: Vec<&'static str>,
    /// Null for all Apps.
    app_id: Option<String>,
    /// Null for all calls, those that are about no room included.
    #[schema(schema_with = schema::optional_room_type)]
    room_type: Option<RoomType>,
    /// Lower ones are asked first, those of the same number by their plugins' names; the built-in plugins' own bindings always come last.
    position: i32,
    /// The digest of the version that answers.
    active: String,
    /// Whether that is the version that came with the server.
    active_built_in: bool,
    /// What a rollback goes back to: a digest, or `built-in`.
    previous: Option<String>,
    /// The digest of the shadow version.
    shadow: Option<String>,
    /// What the plugin reads by `wasi:config`.
    config: BTreeMap<String, String>,
    /// The names of the secrets that the plugin reads by `wasi:config`, too. Their values are never shown.
    secrets: Vec<String>,
    /// What the plugin may ask by `wasi:http`.
    hosts: Vec<String>,
    /// Bytes that the plugin may keep by `wasi:keyvalue`.
    key_value_quota: u64,
    /// Object-store credentials that the plugin's plans may name.
    credentials: Vec<String>,
    limits: LimitsJson,
    /// `deny`, `allow` or `next`; null for the interface's own: `deny` for `room-policy`, `next` for `output-mode`.
    #[schema(value_type = Option<String>)]
    on_failure: Option<OnFailure>,
    breaker: BreakerJson,
    /// Whether it is a built-in plugin's own binding.
    built_in: bool,
    #[schema(format = DateTime)]
    created_at: String,
}

/// The limits of a call, as they hold.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CallLimits)]
#[serde(rename_all = "camelCase")]
pub struct LimitsJson {
    deadline_ms: u64,
    /// Bytes.
    memory: usize,
    /// Bytes that a call may hand out.
    transfer: usize,
    log_lines: u32,
    /// HTTP requests of one call.
    outgoing_requests: u32,
    /// Bytes of the body of such a request, and of its answer.
    outgoing_body: usize,
}

/// Limits of a binding's calls. What is absent is as the server's configuration says.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(as = BindingLimits)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct SetLimitsJson {
    /// 5 to 60,000.
    deadline_ms: Option<u64>,
    /// Bytes, from 1 MiB to `plugins.memory_bytes` of the configuration.
    memory: Option<usize>,
    /// Bytes that a call may hand out, 4 KiB to 16 MiB.
    transfer: Option<usize>,
    log_lines: Option<u32>,
    /// HTTP requests of one call, up to 64.
    outgoing_requests: Option<u32>,
    /// Bytes of the body of such a request and of its answer, up to 16 MiB.
    outgoing_body: Option<usize>,
}

/// When the breaker opens. What is absent is 20 failures and 10,000 ms.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(as = BreakerSettings)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct SetBreakerJson {
    failures: Option<u32>,
    back_off_ms: Option<u64>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = NewBinding)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewBindingJson {
    #[schema(example = "front")]
    plugin: String,
    /// The version: a digest, its first eight or more digits, or `built-in`. The newest when absent.
    digest: Option<String>,
    /// All that the active version exports when absent.
    #[serde(default)]
    #[schema(value_type = Vec<String>, example = json!(["room-policy"]))]
    interfaces: Vec<Interface>,
    /// All Apps when absent.
    app_id: Option<String>,
    /// All calls when absent.
    #[schema(schema_with = schema::optional_room_type)]
    room_type: Option<RoomType>,
    #[serde(default)]
    position: i32,
    #[serde(default)]
    config: BTreeMap<String, String>,
    #[serde(default)]
    secrets: BTreeMap<String, String>,
    #[serde(default)]
    #[schema(example = json!(["auth.example.com"]))]
    hosts: Vec<String>,
    #[serde(default)]
    key_value_quota: u64,
    #[serde(default)]
    credentials: Vec<String>,
    #[serde(default)]
    limits: SetLimitsJson,
    #[schema(value_type = Option<String>)]
    on_failure: Option<OnFailure>,
    #[serde(default)]
    breaker: SetBreakerJson,
}

/// What is absent stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BindingPatch {
    #[schema(value_type = Option<Vec<String>>)]
    interfaces: Option<Vec<Interface>>,
    position: Option<i32>,
    /// Takes the place of all that was configured.
    config: Option<BTreeMap<String, String>>,
    /// Each is set, or taken away by null; the others stay.
    #[serde(default)]
    secrets: BTreeMap<String, Option<String>>,
    hosts: Option<Vec<String>>,
    key_value_quota: Option<u64>,
    credentials: Option<Vec<String>>,
    /// Takes the place of all that was set.
    limits: Option<SetLimitsJson>,
    /// Null goes back to the interface's own.
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<String>)]
    on_failure: Option<Option<OnFailure>>,
    /// Takes the place of both numbers.
    breaker: Option<SetBreakerJson>,
}

/// A version of the binding's plugin.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct VersionChoice {
    /// A digest, its first eight or more digits, or `built-in`.
    digest: String,
}

/// What a shadow version would have done otherwise.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ShadowReport)]
pub struct ShadowJson {
    /// The digest of the active version.
    active: String,
    /// When it began.
    #[schema(format = DateTime)]
    since: String,
    counts: ShadowCountsJson,
    /// How often each field differed; an empty name stands for answers of different kinds.
    fields: BTreeMap<String, u64>,
    counters: CountersJson,
    /// The last 50 calls that were different or failed, newest first.
    examples: Vec<ShadowExampleJson>,
}

/// A call that the active and the shadow version answered differently.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ShadowExample)]
pub struct ShadowExampleJson {
    #[schema(format = DateTime)]
    at: String,
    #[schema(value_type = Object)]
    context: Box<RawValue>,
    #[schema(value_type = Object)]
    input: Box<RawValue>,
    active: ShadowAnswerJson,
    shadow: ShadowAnswerJson,
    differences: Vec<DifferenceJson>,
}

/// An answer, or why there is none.
#[derive(Debug, Default, Serialize, ToSchema)]
#[schema(as = ShadowAnswer)]
pub struct ShadowAnswerJson {
    #[schema(value_type = Object)]
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<FaultJson>,
}

/// A field in which two answers differ.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Difference)]
pub struct DifferenceJson {
    #[schema(example = "allow.limits.maxBitrate")]
    field: String,
    /// Absent when only the shadow version's answer has the field.
    #[schema(value_type = Object)]
    #[serde(skip_serializing_if = "Option::is_none")]
    active: Option<Value>,
    /// Absent when only the active version's answer has the field.
    #[schema(value_type = Object)]
    #[serde(skip_serializing_if = "Option::is_none")]
    shadow: Option<Value>,
}

fn from_model(kind: model::RoomType) -> RoomType {
    match kind {
        model::RoomType::BroadcastRtmp => RoomType::BroadcastRtmp,
        model::RoomType::VideoConference => RoomType::VideoConference,
    }
}

fn to_model(kind: RoomType) -> model::RoomType {
    match kind {
        RoomType::BroadcastRtmp => model::RoomType::BroadcastRtmp,
        RoomType::VideoConference => model::RoomType::VideoConference,
    }
}

fn to_limits(json: SetLimitsJson) -> BindingLimits {
    let SetLimitsJson { deadline_ms, memory, transfer, log_lines, outgoing_requests, outgoing_body } = json;
    BindingLimits { deadline_ms, memory, transfer, log_lines, outgoing_requests, outgoing_body }
}

fn to_breaker(json: &SetBreakerJson) -> BreakerSettings {
    let default = BreakerSettings::default();
    BreakerSettings {
        failures: json.failures.unwrap_or(default.failures),
        back_off_ms: json.back_off_ms.unwrap_or(default.back_off_ms),
    }
}

fn show(info: BindingInfo) -> BindingJson {
    let limits = LimitsJson {
        deadline_ms: u64::try_from(info.call_limits.deadline.as_millis()).unwrap_or(u64::MAX),
        memory: info.call_limits.memory,
        transfer: info.call_limits.transfer,
        log_lines: info.call_limits.log_lines,
        outgoing_requests: info.call_limits.outgoing_requests,
        outgoing_body: info.call_limits.outgoing_body,
    };
    BindingJson {
        interfaces: names(&info.interfaces),
        id: info.id,
        plugin: info.plugin,
        app_id: info.app,
        room_type: info.room_type.map(from_model),
        position: info.position,
        active: info.active,
        active_built_in: info.active_built_in,
        previous: info.previous,
        shadow: info.shadow,
        config: info.grants.config,
        secrets: info.grants.secrets.into_keys().collect(),
        hosts: info.grants.hosts,
        key_value_quota: info.grants.key_value_quota,
        credentials: info.grants.credentials,
        limits,
        on_failure: info.on_failure,
        breaker: show_breaker(info.breaker_settings, info.breaker),
        built_in: info.built_in,
        created_at: show_millis(info.created_at),
    }
}

pub fn counts(report: &ShadowReport) -> ShadowCountsJson {
    ShadowCountsJson {
        digest: report.digest.clone(),
        same: report.same,
        different: report.different,
        failed: report.failed,
        dropped: report.dropped,
    }
}

fn show_shadow(report: ShadowReport) -> ShadowJson {
    let counts = counts(&report);
    ShadowJson {
        counts,
        active: report.active,
        since: show_millis(report.since),
        fields: report.fields,
        counters: show_counters(report.counters),
        examples: report.examples.into_iter().map(show_example).collect(),
    }
}

fn show_example(example: ShadowExample) -> ShadowExampleJson {
    let answer = |answer| match answer {
        ShadowAnswer::Output(output) => ShadowAnswerJson { output: Some(output), fault: None },
        ShadowAnswer::Fault(fault) => ShadowAnswerJson { output: None, fault: Some(show_fault(fault)) },
    };
    let difference = |Difference { field, before, after }| DifferenceJson { field, active: before, shadow: after };
    ShadowExampleJson {
        at: show_millis(example.time),
        context: example.context,
        input: example.input,
        active: answer(example.active),
        shadow: answer(example.shadow),
        differences: example.differences.into_iter().map(difference).collect(),
    }
}

fn refused(error: BindError) -> Problem {
    let detail = error.to_string();
    let field = |field: &str| vec![FieldError { field: field.to_owned(), detail: detail.clone() }];
    let (status, code, errors) = match &error {
        BindError::NotFound { .. } => (StatusCode::NOT_FOUND, "not-found", Vec::new()),
        BindError::NoShadow { .. } => (StatusCode::NOT_FOUND, "no-shadow", Vec::new()),
        BindError::NoPlugin { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "invalid", field("plugin")),
        BindError::NoVersion { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "invalid", field("digest")),
        BindError::Invalid { field, problem } => return Problem::invalid(*field, problem.clone()),
        BindError::BuiltIn { .. } => (StatusCode::CONFLICT, "binding-built-in", Vec::new()),
        BindError::NoPrevious { .. } => (StatusCode::CONFLICT, "no-previous", Vec::new()),
        BindError::TooMany { .. } => (StatusCode::CONFLICT, "too-many-bindings", Vec::new()),
        BindError::Storage { .. } => (StatusCode::INTERNAL_SERVER_ERROR, "internal", Vec::new()),
    };
    Problem { errors, ..Problem::new(status, code, detail) }
}

/// List bindings
///
/// In the order in which they are asked: the first that is not without an opinion decides.
#[utoipa::path(operation_id = "listBindings", get, path = "/v1/bindings", tag = "Plugins", responses((status = 200, description = "The bindings", body = List<BindingJson>), Problems), security(("operatorApi" = [])))]
pub async fn list(State(api): State<Api>, _: Operator) -> Result<axum::Json<List<BindingJson>>, Problem> {
    Ok(axum::Json(List { items: api.plugins.bindings().into_iter().map(show).collect(), next_cursor: None }))
}

/// Bind a plugin
///
/// It is asked from the next call on.
#[utoipa::path(operation_id = "createBinding", post, path = "/v1/bindings", tag = "Plugins", request_body = NewBindingJson, params(("Idempotency-Key" = Option<String>, Header, description = "Makes repeated requests one")), responses((status = 201, description = "The binding", body = BindingJson), Problems), security(("operatorApi" = [])))]
pub async fn create(State(api): State<Api>, Operator(auth): Operator, json: Json<NewBindingJson>) -> Result<Response, Problem> {
    let once = json.once(&auth, |made: &BindingInfo| (201, body(&show(made.clone()))));
    let json = json.body;
    if let Some(app) = &json.app_id {
        match api.rooms.app(&auth.0, app).await {
            Err(Error::NotFound { .. }) => return Err(Problem::invalid("appId", "there is no App with this id")),
            found => found?,
        };
    }
    let new = NewBinding {
        plugin: json.plugin,
        version: json.digest,
        interfaces: json.interfaces,
        app: json.app_id,
        room_type: json.room_type.map(to_model),
        position: json.position,
        grants: Grants {
            config: json.config,
            secrets: json.secrets.into_iter().map(|(name, text)| (name, Secret::new(text))).collect(),
            hosts: json.hosts,
            key_value_quota: json.key_value_quota,
            credentials: json.credentials,
            ..Grants::default()
        },
        limits: to_limits(json.limits),
        on_failure: json.on_failure,
        breaker: to_breaker(&json.breaker),
    };
    let plugins = api.plugins.clone();
    match api.rooms.create_once(once, async move { plugins.bind(new).await.map_err(refused) }).await? {
        Outcome::Done(made) => {
            let location = format!("/v1/bindings/{}", made.id);
            Ok(created(body(&show(made)), &location))
        }
        Outcome::Replayed(answer) => Ok(repeated(answer)),
    }
}

/// Get a binding
#[utoipa::path(operation_id = "getBinding", get, path = "/v1/bindings/{bindingId}", tag = "Plugins", params(("bindingId" = String, Path)), responses((status = 200, description = "The binding", body = BindingJson), Problems), security(("operatorApi" = [])))]
pub async fn get(State(api): State<Api>, _: Operator, Id(id): Id) -> Result<axum::Json<BindingJson>, Problem> {
    Ok(axum::Json(show(api.plugins.binding(&id).map_err(refused)?)))
}

/// Change a binding
///
/// From the next call on.
#[utoipa::path(operation_id = "updateBinding", patch, path = "/v1/bindings/{bindingId}", tag = "Plugins", params(("bindingId" = String, Path)), request_body = BindingPatch, responses((status = 200, description = "The binding", body = BindingJson), Problems), security(("operatorApi" = [])))]
pub async fn patch(
    State(api): State<Api>,
    _: Operator,
    Id(id): Id,
    json: Json<BindingPatch>,
) -> Result<axum::Json<BindingJson>, Problem> {
    let json = json.body;
    let change = BindingChange {
        interfaces: json.interfaces,
        position: json.position,
        config: json.config,
        secrets: json.secrets.into_iter().map(|(name, text)| (name, text.map(Secret::new))).collect(),
        hosts: json.hosts,
        key_value_quota: json.key_value_quota,
        credentials: json.credentials,
        limits: json.limits.map(to_limits),
        on_failure: json.on_failure,
        breaker: json.breaker.as_ref().map(to_breaker),
    };
    Ok(axum::Json(show(api.plugins.change(&id, change).await.map_err(refused)?)))
}

/// Remove a binding
#[utoipa::path(operation_id = "deleteBinding", delete, path = "/v1/bindings/{bindingId}", tag = "Plugins", params(("bindingId" = String, Path)), responses((status = 204, description = "Removed"), Problems), security(("operatorApi" = [])))]
pub async fn delete(State(api): State<Api>, _: Operator, Id(id): Id) -> Result<StatusCode, Problem> {
    api.plugins.unbind(&id).await.map_err(refused)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Activate a version
///
/// It answers the next call; calls under way finish on the old one.
#[utoipa::path(operation_id = "activateVersion", post, path = "/v1/bindings/{bindingId}/activate", tag = "Plugins", params(("bindingId" = String, Path)), request_body = VersionChoice, responses((status = 200, description = "The binding", body = BindingJson), Problems), security(("operatorApi" = [])))]
pub async fn activate(
    State(api): State<Api>,
    _: Operator,
    Id(id): Id,
    json: Json<VersionChoice>,
) -> Result<axum::Json<BindingJson>, Problem> {
    Ok(axum::Json(show(api.plugins.activate(&id, &json.body.digest).await.map_err(refused)?)))
}

/// Roll back
///
/// The version that was active before answers the next call. Twice goes back and forth.
#[utoipa::path(operation_id = "rollBackVersion", post, path = "/v1/bindings/{bindingId}/rollback", tag = "Plugins", params(("bindingId" = String, Path)), responses((status = 200, description = "The binding", body = BindingJson), Problems), security(("operatorApi" = [])))]
pub async fn roll_back(State(api): State<Api>, _: Operator, Id(id): Id) -> Result<axum::Json<BindingJson>, Problem> {
    Ok(axum::Json(show(api.plugins.roll_back(&id).await.map_err(refused)?)))
}

/// Set a shadow version
///
/// It sees what the active one is asked, its answers are compared field by field, and never acted on.
#[utoipa::path(operation_id = "setShadowVersion", post, path = "/v1/bindings/{bindingId}/shadow", tag = "Plugins", params(("bindingId" = String, Path)), request_body = VersionChoice, responses((status = 200, description = "The binding", body = BindingJson), Problems), security(("operatorApi" = [])))]
pub async fn set_shadow(
    State(api): State<Api>,
    _: Operator,
    Id(id): Id,
    json: Json<VersionChoice>,
) -> Result<axum::Json<BindingJson>, Problem> {
    Ok(axum::Json(show(api.plugins.set_shadow(&id, Some(&json.body.digest)).await.map_err(refused)?)))
}

/// End a shadow version
#[utoipa::path(operation_id = "endShadowVersion", delete, path = "/v1/bindings/{bindingId}/shadow", tag = "Plugins", params(("bindingId" = String, Path)), responses((status = 200, description = "The binding", body = BindingJson), Problems), security(("operatorApi" = [])))]
pub async fn end_shadow(State(api): State<Api>, _: Operator, Id(id): Id) -> Result<axum::Json<BindingJson>, Problem> {
    Ok(axum::Json(show(api.plugins.set_shadow(&id, None).await.map_err(refused)?)))
}

/// Compare a shadow version
///
/// With the active one, since it was set: how many calls both answered alike, and the last that they did not.
#[utoipa::path(operation_id = "getShadowReport", get, path = "/v1/bindings/{bindingId}/shadow", tag = "Plugins", params(("bindingId" = String, Path)), responses((status = 200, description = "The comparison", body = ShadowJson), Problems), security(("operatorApi" = [])))]
pub async fn shadow(State(api): State<Api>, _: Operator, Id(id): Id) -> Result<axum::Json<ShadowJson>, Problem> {
    Ok(axum::Json(show_shadow(api.plugins.shadow_report(&id).map_err(refused)?)))
}
