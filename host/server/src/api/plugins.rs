//! `/v1/plugins`: the rules of the server, replaced while it runs. For the operator.

use std::collections::BTreeMap;

use axum::extract::State;
use bytes::Bytes;
use flyloft_plugins::{Interface, PluginInfo, Plugins, Rejected, RemoveError};
use futures_util::future::BoxFuture;
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::Api;
use super::extract::{Id, Operator, Raw};
use super::page::List;
use super::problem::Problem;
use super::schema::Problems;

/// Bytes of an uploaded component.
const MAX_COMPONENT: usize = 64 << 20;

/// Where plugins are deployed to. In the server these are the [`Plugins`].
pub trait Deployments: Send + Sync {
    fn list(&self) -> Vec<PluginInfo>;
    fn get(&self, name: &str) -> Option<PluginInfo>;
    fn put<'a>(&'a self, name: &'a str, component: Bytes) -> BoxFuture<'a, Result<PluginInfo, Rejected>>;
    fn remove<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<(), RemoveError>>;
}

impl Deployments for Plugins {
    fn list(&self) -> Vec<PluginInfo> {
        Plugins::list(self)
    }

    fn get(&self, name: &str) -> Option<PluginInfo> {
        Plugins::get(self, name)
    }

    fn put<'a>(&'a self, name: &'a str, component: Bytes) -> BoxFuture<'a, Result<PluginInfo, Rejected>> {
        Box::pin(Plugins::put(self, name, component))
    }

    fn remove<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<(), RemoveError>> {
        Box::pin(Plugins::remove(self, name))
    }
}

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

fn show(info: PluginInfo) -> PluginJson {
    let names = |interfaces: &[Interface]| interfaces.iter().map(|interface| interface.name()).collect();
    let loaded_at = jiff::Timestamp::try_from(info.loaded_at).map_or(0, jiff::Timestamp::as_millisecond);
    PluginJson {
        interfaces: names(&info.component.interfaces),
        serves: names(&info.serves),
        name: info.name,
        digest: info.component.digest,
        size: info.component.size,
        imports: info.component.imports,
        built_in: info.built_in,
        loaded_at: super::text::time(loaded_at),
        counters: CountersJson {
            calls: info.counters.calls,
            faults: info.counters.faults.by_kind().into_iter().collect(),
            p50_micros: info.counters.p50_micros,
            p99_micros: info.counters.p99_micros,
            max_memory: info.counters.max_memory,
            dropped_log_lines: info.counters.dropped_log_lines,
        },
    }
}

/// List plugins
#[utoipa::path(operation_id = "listPlugins", get, path = "/v1/plugins", tag = "Plugins", responses((status = 200, description = "The plugins", body = List<PluginJson>), Problems), security(("operatorApi" = [])))]
pub async fn list(State(api): State<Api>, _: Operator) -> Result<axum::Json<List<PluginJson>>, Problem> {
    Ok(axum::Json(List { items: api.plugins.list().into_iter().map(show).collect(), next_cursor: None }))
}

/// Get a plugin
#[utoipa::path(operation_id = "getPlugin", get, path = "/v1/plugins/{name}", tag = "Plugins", params(("name" = String, Path)), responses((status = 200, description = "The plugin", body = PluginJson), Problems), security(("operatorApi" = [])))]
pub async fn get(State(api): State<Api>, _: Operator, Id(name): Id) -> Result<axum::Json<PluginJson>, Problem> {
    let missing = || Problem::not_found(format!("there is no plugin named {name:?}"));
    Ok(axum::Json(show(api.plugins.get(&name).ok_or_else(missing)?)))
}

/// Deploy a plugin
///
/// The body is the component. It is checked, compiled, kept, and answers the next call; calls under way finish on the old one. Under the name of
/// a built-in plugin (`room-policy`, `output-mode`) it replaces that one, under any other name it is asked before it.
#[utoipa::path(operation_id = "deployPlugin", put, path = "/v1/plugins/{name}", tag = "Plugins", params(("name" = String, Path)), request_body(content = Vec<u8>, content_type = "application/wasm"), responses((status = 200, description = "The plugin", body = PluginJson), Problems), security(("operatorApi" = [])))]
pub async fn put(
    State(api): State<Api>,
    _: Operator,
    Id(name): Id,
    Raw(component): Raw<MAX_COMPONENT>,
) -> Result<axum::Json<PluginJson>, Problem> {
    let info = api.plugins.put(&name, component).await.map_err(|rejected| {
        let (status, code) = match &rejected {
            Rejected::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "body-too-large"),
            Rejected::TooMany { .. } => (StatusCode::CONFLICT, "too-many-plugins"),
            Rejected::Storage { .. } => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
            Rejected::Name { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "plugin-name"),
            _ => (StatusCode::UNPROCESSABLE_ENTITY, "plugin-rejected"),
        };
        Problem::new(status, code, rejected.to_string())
    })?;
    tracing::info!(plugin = info.name, digest = info.component.digest, "plugin deployed");
    Ok(axum::Json(show(info)))
}

/// Remove a plugin
///
/// Under a built-in plugin's name, the built-in one is back at the next call.
#[utoipa::path(operation_id = "removePlugin", delete, path = "/v1/plugins/{name}", tag = "Plugins", params(("name" = String, Path)), responses((status = 204, description = "Removed"), Problems), security(("operatorApi" = [])))]
pub async fn delete(State(api): State<Api>, _: Operator, Id(name): Id) -> Result<StatusCode, Problem> {
    api.plugins.remove(&name).await.map_err(|error| match &error {
        RemoveError::NotFound { .. } => Problem::not_found(error.to_string()),
        RemoveError::BuiltIn { .. } => Problem::new(StatusCode::CONFLICT, "plugin-built-in", error.to_string()),
        RemoveError::Storage { .. } => Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", error.to_string()),
    })?;
    tracing::info!(plugin = name, "plugin removed");
    Ok(StatusCode::NO_CONTENT)
}
