//! `/v1/plugins`: the rules of the server, replaced while it runs. For the operator.

pub mod bindings;
pub mod decisions;
pub mod logs;

use std::collections::BTreeMap;
use std::time::SystemTime;

use axum::extract::State;
use axum::response::Response;
use flyloft_plugins::{BreakerInfo, BreakerSettings, Counters, Interface, PluginInfo, Rejected, RemoveError, VersionInfo};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Api;
use super::apps::{body, created};
use super::extract::{Component, ComponentOrJson, Id, Operator};
use super::page::List;
use super::problem::Problem;
use super::schema::Problems;
use super::text::time;
use crate::oci::{MAX_COMPONENT, PullError, Reference};

/// A loaded plugin.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Plugin)]
#[serde(rename_all = "camelCase")]
pub struct PluginJson {
    #[schema(example = "room-policy")]
    name: String,
    #[schema(example = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08")]
    digest: String,
    /// Bytes.
    size: u64,
    /// What it exports of what the server asks.
    #[schema(example = json!(["room-policy"]))]
    interfaces: Vec<&'static str>,
    /// Of these, what it is asked for.
    #[schema(example = json!(["room-policy"]))]
    serves: Vec<&'static str>,
    imports: Vec<String>,
    /// Whether it came with the server.
    built_in: bool,
    #[schema(format = DateTime)]
    loaded_at: String,
    counters: CountersJson,
}

/// What happened since the plugin was loaded.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PluginCounters)]
#[serde(rename_all = "camelCase")]
pub struct CountersJson {
    /// Failed ones included.
    calls: u64,
    /// Failed calls by kind.
    faults: BTreeMap<&'static str, u64>,
    /// Median duration of a call in microseconds.
    p50_micros: Option<u64>,
    /// The duration that 99 of 100 calls stay under, in microseconds.
    p99_micros: Option<u64>,
    /// The most memory that a call had, in bytes.
    max_memory: u64,
    dropped_log_lines: u64,
}

/// A version of a plugin.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PluginVersion)]
#[serde(rename_all = "camelCase")]
pub struct VersionJson {
    #[schema(example = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08")]
    digest: String,
    /// Bytes.
    size: u64,
    /// What it exports of what the server asks.
    #[schema(example = json!(["room-policy"]))]
    interfaces: Vec<&'static str>,
    imports: Vec<String>,
    /// Whether it came with the server. Then bindings name it `built-in`.
    built_in: bool,
    /// For one that came with the server, when that was started.
    #[schema(format = DateTime)]
    uploaded_at: String,
    /// Where it was pulled from, with the digest of the manifest there.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(
        example = "oci://ghcr.io/team/geo-block:1.2@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
    )]
    reference: Option<String>,
    /// The bindings in which it answers.
    active_in: Vec<String>,
    /// The bindings that it shadows.
    shadow_in: Vec<String>,
    counters: CountersJson,
}

/// Where a component is.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = PullPlugin)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct PullJson {
    /// An artifact in an OCI registry, by its tag or its digest.
    #[schema(example = "oci://ghcr.io/team/geo-block:1.2")]
    reference: String,
}

/// How a plugin does.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PluginStats)]
pub struct StatsJson {
    /// The newest first.
    versions: Vec<VersionJson>,
    bindings: Vec<BindingStatsJson>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = BindingStats)]
pub struct BindingStatsJson {
    id: String,
    /// The digest of the version that answers.
    active: String,
    breaker: BreakerJson,
    /// How its shadow version compares, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    shadow: Option<ShadowCountsJson>,
}

/// What leaves a plugin alone that keeps failing.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Breaker)]
#[serde(rename_all = "camelCase")]
pub struct BreakerJson {
    /// Failed calls one after another that open it.
    #[schema(example = 20)]
    failures: u32,
    /// Milliseconds for which the plugin is left alone before a call probes it.
    #[schema(example = 10_000)]
    back_off_ms: u64,
    /// `closed`: the plugin is asked; `open`: it is not, and `onFailure` holds; `half-open`: one call probes it.
    #[schema(example = "closed")]
    state: &'static str,
    /// Calls that failed since the last one that did not.
    failed_in_a_row: u32,
    /// How often it has opened.
    opened: u64,
    /// Milliseconds until a call probes the plugin, while it is open.
    #[serde(skip_serializing_if = "Option::is_none")]
    probe_in_ms: Option<u64>,
}

/// Calls that a shadow version was asked, too.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ShadowCounts)]
pub struct ShadowCountsJson {
    digest: String,
    /// Both answered alike.
    same: u64,
    /// They answered differently, or only the shadow version did.
    different: u64,
    /// The shadow version gave no answer.
    failed: u64,
    /// The shadow version was not asked, because too many calls waited for it.
    dropped: u64,
}

fn show_breaker(settings: BreakerSettings, now: BreakerInfo) -> BreakerJson {
    BreakerJson {
        failures: settings.failures,
        back_off_ms: settings.back_off_ms,
        state: now.state.name(),
        failed_in_a_row: now.failures,
        opened: now.opened,
        probe_in_ms: now.probe_in_ms,
    }
}

fn show_counters(counters: Counters) -> CountersJson {
    CountersJson {
        calls: counters.calls,
        faults: counters.faults.by_kind().into_iter().collect(),
        p50_micros: counters.p50_micros,
        p99_micros: counters.p99_micros,
        max_memory: counters.max_memory,
        dropped_log_lines: counters.dropped_log_lines,
    }
}

fn names(interfaces: &[Interface]) -> Vec<&'static str> {
    interfaces.iter().map(|interface| interface.name()).collect()
}

fn show_time(at: SystemTime) -> String {
    time(jiff::Timestamp::try_from(at).map_or(0, jiff::Timestamp::as_millisecond))
}

/// A time of the plugin runtime, in milliseconds since the Unix epoch.
fn show_millis(at: u64) -> String {
    time(i64::try_from(at).unwrap_or(i64::MAX))
}

fn show_version(version: VersionInfo) -> VersionJson {
    VersionJson {
        interfaces: names(&version.component.interfaces),
        digest: version.component.digest,
        size: version.component.size,
        imports: version.component.imports,
        built_in: version.built_in,
        uploaded_at: show_time(version.uploaded_at),
        reference: version.reference,
        active_in: version.active_in,
        shadow_in: version.shadow_in,
        counters: show_counters(version.counters),
    }
}

fn show(info: PluginInfo) -> PluginJson {
    PluginJson {
        interfaces: names(&info.component.interfaces),
        serves: names(&info.serves),
        name: info.name,
        digest: info.component.digest,
        size: info.component.size,
        imports: info.component.imports,
        built_in: info.built_in,
        loaded_at: show_time(info.loaded_at),
        counters: show_counters(info.counters),
    }
}

fn missing(name: &str) -> Problem {
    Problem::not_found(format!("there is no plugin named {name:?}"))
}

/// List plugins
#[utoipa::path(operation_id = "listPlugins", get, path = "/v1/plugins", tag = "Plugins", responses((status = 200, description = "The plugins", body = List<PluginJson>), Problems), security(("operatorApi" = [])))]
pub async fn list(State(api): State<Api>, _: Operator) -> Result<axum::Json<List<PluginJson>>, Problem> {
    Ok(axum::Json(List { items: api.plugins.list().into_iter().map(show).collect(), next_cursor: None }))
}

/// Get a plugin
#[utoipa::path(operation_id = "getPlugin", get, path = "/v1/plugins/{name}", tag = "Plugins", params(("name" = String, Path)), responses((status = 200, description = "The plugin", body = PluginJson), Problems), security(("operatorApi" = [])))]
pub async fn get(State(api): State<Api>, _: Operator, Id(name): Id) -> Result<axum::Json<PluginJson>, Problem> {
    Ok(axum::Json(show(api.plugins.get(&name).ok_or_else(|| missing(&name))?)))
}

/// Deploy and activate a plugin
///
/// The short way. The body is the component. It is checked, compiled, kept, and from the next call on the active version in all bindings of the plugin; calls
/// under way finish on the old one. A plugin without a binding gets one: for all Apps and all interfaces that it exports, before the built-in
/// plugins. Under the name of a built-in plugin (`room-policy`, `output-mode`) it replaces that one.
#[utoipa::path(operation_id = "deployPlugin", put, path = "/v1/plugins/{name}", tag = "Plugins", params(("name" = String, Path)), request_body(content = Vec<u8>, content_type = "application/wasm"), responses((status = 200, description = "The plugin", body = PluginJson), Problems), security(("operatorApi" = [])))]
pub async fn put(
    State(api): State<Api>,
    _: Operator,
    Id(name): Id,
    Component(component): Component<MAX_COMPONENT>,
) -> Result<axum::Json<PluginJson>, Problem> {
    let info = api.plugins.put(&name, component).await.map_err(rejected)?;
    Ok(axum::Json(show(info)))
}

/// Deploy a version
///
/// The body is the component, or JSON with a reference by which the server pulls it from an OCI registry. It is checked, compiled and kept, and not asked
/// before a binding names it. The same component again is the same version.
///
/// When a plugin has more than ten versions, the oldest that no binding uses are forgotten.
#[utoipa::path(operation_id = "addPluginVersion", post, path = "/v1/plugins/{name}/versions", tag = "Plugins", params(("name" = String, Path)), request_body(content((Vec<u8> = "application/wasm"), (PullJson = "application/json"))), responses((status = 201, description = "The version", body = VersionJson), Problems), security(("operatorApi" = [])))]
pub async fn deploy(
    State(api): State<Api>,
    _: Operator,
    Id(name): Id,
    given: ComponentOrJson<PullJson, MAX_COMPONENT>,
) -> Result<Response, Problem> {
    let version = match given {
        ComponentOrJson::Component(component) => api.plugins.deploy(&name, component).await,
        ComponentOrJson::Json(PullJson { reference }) => {
            let reference = Reference::parse(&reference).map_err(not_pulled)?;
            let pulled = api.registries.pull(&reference).await.map_err(not_pulled)?;
            api.plugins.deploy_pulled(&name, pulled.component, pulled.reference.to_string()).await
        }
    };
    let version = version.map_err(rejected)?;
    let location = format!("/v1/plugins/{name}/versions");
    Ok(created(body(&show_version(version)), &location))
}

/// List a plugin's versions
///
/// The newest first.
#[utoipa::path(operation_id = "listPluginVersions", get, path = "/v1/plugins/{name}/versions", tag = "Plugins", params(("name" = String, Path)), responses((status = 200, description = "The versions", body = List<VersionJson>), Problems), security(("operatorApi" = [])))]
pub async fn versions(State(api): State<Api>, _: Operator, Id(name): Id) -> Result<axum::Json<List<VersionJson>>, Problem> {
    let versions = api.plugins.versions(&name).ok_or_else(|| missing(&name))?;
    Ok(axum::Json(List { items: versions.into_iter().map(show_version).collect(), next_cursor: None }))
}

/// Look how a plugin does
///
/// Calls, failures by kind, durations and memory of each version, the breakers of its bindings, and how shadow versions compare.
#[utoipa::path(operation_id = "getPluginStats", get, path = "/v1/plugins/{name}/stats", tag = "Plugins", params(("name" = String, Path)), responses((status = 200, description = "The figures", body = StatsJson), Problems), security(("operatorApi" = [])))]
pub async fn stats(State(api): State<Api>, _: Operator, Id(name): Id) -> Result<axum::Json<StatsJson>, Problem> {
    let versions = api.plugins.versions(&name).ok_or_else(|| missing(&name))?;
    let bindings = api.plugins.bindings().into_iter().filter(|binding| binding.plugin == name);
    let bindings = bindings.map(|binding| BindingStatsJson {
        shadow: api.plugins.shadow_report(&binding.id).ok().map(|report| bindings::counts(&report)),
        breaker: show_breaker(binding.breaker_settings, binding.breaker),
        id: binding.id,
        active: binding.active,
    });
    Ok(axum::Json(StatsJson { bindings: bindings.collect(), versions: versions.into_iter().map(show_version).collect() }))
}

fn rejected(rejected: Rejected) -> Problem {
    let (status, code) = match &rejected {
        Rejected::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "body-too-large"),
        Rejected::TooMany { .. } => (StatusCode::CONFLICT, "too-many-plugins"),
        Rejected::Storage { .. } => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        Rejected::Name { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "plugin-name"),
        _ => (StatusCode::UNPROCESSABLE_ENTITY, "plugin-rejected"),
    };
    Problem::new(status, code, rejected.to_string())
}

fn not_pulled(error: PullError) -> Problem {
    let (status, code) = match &error {
        PullError::Reference { .. } => return Problem::invalid("reference".to_owned(), error.to_string()),
        PullError::NotFound { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "artifact-not-found"),
        PullError::Unauthorized { .. } | PullError::Closed { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "registry-closed"),
        PullError::WrongType { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "artifact-type"),
        PullError::TooLarge { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "artifact-too-large"),
        PullError::Damaged { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "artifact-damaged"),
        PullError::Registry { .. } | PullError::Unreachable { .. } => (StatusCode::BAD_GATEWAY, "registry-unavailable"),
        PullError::Password { .. } => (StatusCode::INTERNAL_SERVER_ERROR, "registry-password"),
    };
    Problem::new(status, code, error.to_string())
}

/// Remove a plugin
///
/// With all its versions. A plugin that was bound by `POST /v1/bindings` must be unbound first; the binding that `PUT` made goes with it. Under a built-in
/// plugin's name, the built-in version is back at the next call.
#[utoipa::path(operation_id = "removePlugin", delete, path = "/v1/plugins/{name}", tag = "Plugins", params(("name" = String, Path)), responses((status = 204, description = "Removed"), Problems), security(("operatorApi" = [])))]
pub async fn delete(State(api): State<Api>, _: Operator, Id(name): Id) -> Result<StatusCode, Problem> {
    api.plugins.remove(&name).await.map_err(|error| match &error {
        RemoveError::NotFound { .. } => Problem::not_found(error.to_string()),
        RemoveError::BuiltIn { .. } => Problem::new(StatusCode::CONFLICT, "plugin-built-in", error.to_string()),
        RemoveError::Bound { .. } => Problem::new(StatusCode::CONFLICT, "plugin-bound", error.to_string()),
        RemoveError::Storage { .. } => Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", error.to_string()),
    })?;
    Ok(StatusCode::NO_CONTENT)
}
