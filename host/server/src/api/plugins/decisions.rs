//! `/v1/decisions`: what plugins were asked and what they answered.

use std::collections::BTreeMap;

use axum::extract::State;
use flyloft_plugins::{DecisionFilter, Interface, LoggedDecision, LoggedFault};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

use super::super::Api;
use super::super::extract::{Operator, Parameters};
use super::super::page::{List, Wanted, cursor};
use super::super::problem::Problem;
use super::super::schema::Problems;
use super::super::text::Checks;
use super::show_millis;

/// A call of a plugin.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PluginDecision)]
#[serde(rename_all = "camelCase")]
pub struct DecisionJson {
    /// Rising.
    id: u64,
    #[schema(format = DateTime)]
    at: String,
    app_id: String,
    #[schema(example = "room-policy")]
    interface: &'static str,
    /// The function of the interface that was called.
    #[schema(example = "decide")]
    function: String,
    /// The binding by which the plugin was asked.
    binding: String,
    plugin: String,
    digest: String,
    /// The kind of the answer, such as `allow`, `deny`, `abstain`, `use-outputs`, `deliver` or `done`; for `vod-source` `ok` or the kind of the
    /// error, such as `not-found`; `fault` when there is none.
    #[schema(example = "allow")]
    outcome: String,
    /// What every question carries, as the plugin contract has it.
    #[schema(value_type = Object)]
    context: Box<RawValue>,
    /// Settings of this call that stood in front of what the plugin was configured with: those of a webhook, without what is secret in
    /// them. Absent when there were none.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    settings: BTreeMap<String, String>,
    /// The question, as the plugin contract has it; for `webhook` and `vod-source` below the function's name.
    #[schema(value_type = Object)]
    input: Box<RawValue>,
    /// The answer, as the plugin contract has it. Absent after a fault.
    #[schema(value_type = Object)]
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<FaultJson>,
    /// Microseconds from the question to the answer.
    micros: u64,
}

/// Why a plugin gave no answer.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PluginFault)]
pub struct FaultJson {
    #[schema(example = "deadline")]
    kind: String,
    reason: String,
}

pub fn show_fault(fault: LoggedFault) -> FaultJson {
    FaultJson { kind: fault.kind, reason: fault.reason }
}

fn show(decision: LoggedDecision) -> DecisionJson {
    DecisionJson {
        id: decision.id,
        at: show_millis(decision.time),
        app_id: decision.app,
        interface: decision.interface.name(),
        function: decision.function,
        binding: decision.binding,
        plugin: decision.plugin,
        digest: decision.digest,
        outcome: decision.outcome,
        context: decision.context,
        settings: decision.settings,
        input: decision.input,
        output: decision.output,
        fault: decision.fault.map(show_fault),
        micros: decision.micros,
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub struct DecisionsQuery {
    /// Only calls about this App.
    app_id: Option<String>,
    /// Only calls of this interface: `room-policy`, `output-mode`, `webhook` or `vod-source`.
    interface: Option<String>,
    /// Only calls of this plugin.
    plugin: Option<String>,
    /// Only calls by this binding.
    binding: Option<String>,
    /// Only calls from this time on, in ISO 8601 with an offset.
    since: Option<String>,
    /// Only calls with this outcome, such as `deny` or `fault`.
    outcome: Option<String>,
    /// 1 to 100; 50 when absent.
    limit: Option<u32>,
    /// The `nextCursor` of the page before.
    cursor: Option<String>,
}

/// List decisions
///
/// What plugins were asked and what they answered, newest first, as long as the log is kept (`plugins.decisions` in the configuration). A page may be empty and
/// yet have a `nextCursor`, when little of much is wanted. The bytes that a
/// `vod-source` reads are no decisions. Secrets that a plugin was granted stand as `[secret]`; settings of webhooks, and headers and parameters of URLs whose
/// names sound like secrets, as `[redacted]`; of a webhook's address the host is left.
#[utoipa::path(operation_id = "listDecisions", get, path = "/v1/decisions", tag = "Plugins", params(DecisionsQuery), responses((status = 200, description = "The decisions", body = List<DecisionJson>), Problems), security(("operatorApi" = [])))]
pub async fn list(
    State(api): State<Api>,
    _: Operator,
    Parameters(query): Parameters<DecisionsQuery>,
) -> Result<axum::Json<List<DecisionJson>>, Problem> {
    let wanted = Wanted::new(query.limit, query.cursor.as_deref())?;
    let before =
        wanted.after().map(|after| after.parse().map_err(|_| Problem::invalid("cursor", "it is no cursor of this list")));
    let mut checks = Checks::default();
    let since = query.since.and_then(|since| checks.time("since", &since)).map(|since| u64::try_from(since).unwrap_or(0));
    let interface = query.interface.and_then(|name| {
        let interface = Interface::of(&name);
        if interface.is_none() {
            checks.fail("interface", format!("it may be {}", super::names(&Interface::ALL).join(" or ")));
        }
        interface
    });
    checks.finish()?;
    let DecisionsQuery { app_id: app, plugin, binding, outcome, .. } = query;
    let filter = DecisionFilter { app, interface, plugin, binding, since, outcome };
    let found = api.plugins.decisions(filter, before.transpose()?, wanted.limit()).await.map_err(|error| {
        tracing::error!(%error, "the decision log can't be read");
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the decision log can't be read: see the server's log")
    })?;
    let next_cursor = found.next.map(|next| cursor(&next.to_string()));
    Ok(axum::Json(List { items: found.items.into_iter().map(show).collect(), next_cursor }))
}
