//! `/v1/webhooks`: what an App wants to be told, where, and what could not be told yet.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::response::Response;
use flyloft_rooms::EventBody;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Api;
use super::apps::{body, created, repeated};
use super::extract::{Auth, Id, Ids, Json, Parameters};
use super::page::{List, Wanted};
use super::problem::Problem;
use super::schema::{self, Problems};
use super::text::{Checks, nullable, time};
use crate::rooms::Outcome as Made;
use crate::store::{Queued, QueuedState, Webhook};
use crate::webhooks::planner::{Delivery, Outcome, Verdict};
use crate::webhooks::{NewWebhook, Tested, WebhookChange, Webhooks};

const MAX_DESCRIPTION: usize = 200;
const MAX_URLS: usize = 16;
const MAX_URL: usize = 2_048;
const MAX_SETTINGS: usize = 32;
const MAX_SETTING_NAME: usize = 64;
const MAX_SETTING: usize = 4_096;

/// What an App is told, and where.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Webhook)]
#[serde(rename_all = "camelCase")]
pub struct WebhookJson {
    id: String,
    app_id: String,
    description: Option<String>,
    #[schema(example = json!(["https://backend.example.com/flyloft"]))]
    urls: Vec<String>,
    /// For the plugin that plans the deliveries. It is shown as it is: no place for secrets.
    config: BTreeMap<String, String>,
    /// The types of the events that are delivered; null is all of them.
    #[schema(example = json!(["videoRoom.live", "videoRoom.ended"]))]
    event_types: Option<Vec<String>>,
    /// A webhook that is not enabled takes no events; what it took before waits until it is enabled again.
    enabled: bool,
    /// Whether the secret before the last rotation signs, too.
    old_secret_valid: bool,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    updated_at: String,
}

/// A webhook with its secret, which is never shown again.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WebhookWithSecret)]
pub struct WebhookWithSecretJson {
    #[serde(flatten)]
    webhook: WebhookJson,
    /// What deliveries are signed with, as Standard Webhooks writes it. Null in a repeated answer to the same Idempotency-Key.
    #[schema(example = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")]
    secret: Option<String>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = NewWebhook)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewWebhookJson {
    /// Which App; for the operator.
    app_id: Option<String>,
    #[schema(max_length = 200)]
    description: Option<String>,
    /// Where deliveries go: `http` or `https`, to public addresses or those that the server's configuration grants. An event is
    /// delivered to all of them before the room's next one is, so give URLs that shall not wait for each other webhooks of their own.
    #[serde(default)]
    #[schema(example = json!(["https://backend.example.com/flyloft"]), max_items = 16)]
    urls: Vec<String>,
    #[serde(default)]
    config: BTreeMap<String, String>,
    event_types: Option<Vec<String>>,
    /// True when absent.
    enabled: Option<bool>,
}

/// What is absent stays; null clears.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WebhookPatch {
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<String>, max_length = 200)]
    description: Option<Option<String>>,
    #[schema(max_items = 16)]
    urls: Option<Vec<String>>,
    config: Option<BTreeMap<String, String>>,
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<Vec<String>>)]
    event_types: Option<Option<Vec<String>>>,
    enabled: Option<bool>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub struct WebhooksQuery {
    /// Only this App's; for the operator.
    app_id: Option<String>,
    /// 1 to 100; 50 when absent.
    limit: Option<u32>,
    /// The `nextCursor` of the page before.
    cursor: Option<String>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct DeliveriesQuery {
    /// `pending`: not tried yet; `waiting`: tried in vain, and tried again later; `dead`: given up.
    #[param(schema_with = schema::delivery_state)]
    state: Option<String>,
    /// 1 to 100; 50 when absent.
    limit: Option<u32>,
    /// The `nextCursor` of the page before.
    cursor: Option<String>,
}

/// A delivery that was not made yet. Those that were are forgotten.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WebhookDelivery)]
#[serde(rename_all = "camelCase")]
pub struct DeliveryJson {
    id: String,
    /// The `webhook-id` header, the same in every attempt.
    message_id: String,
    webhook_id: String,
    event_id: String,
    #[schema(example = "videoRoom.live")]
    event_type: String,
    room_id: Option<String>,
    /// Null until it is planned.
    url: Option<String>,
    #[schema(schema_with = schema::delivery_state)]
    state: &'static str,
    /// Attempts that were made.
    attempts: u32,
    /// When it is tried again, if those before it in the room are delivered by then; null when it is dead.
    #[schema(format = DateTime)]
    next_attempt_at: Option<String>,
    /// The status of the last answer.
    last_status: Option<u16>,
    /// Why there was no answer to the last attempt, or why it was given up.
    last_error: Option<String>,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    updated_at: String,
}

/// How many deliveries are made again.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Redelivered)]
pub struct RedeliveredJson {
    count: u64,
}

/// What became of a test.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WebhookTest)]
pub struct TestJson {
    /// One for each delivery that was planned for the event.
    deliveries: Vec<TestedJson>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WebhookTestDelivery)]
pub struct TestedJson {
    url: String,
    /// Of the answer.
    status: Option<u16>,
    /// Why there was no answer.
    error: Option<String>,
    /// What it would mean for an event: `done`, `retry` or `giveUp`.
    #[schema(example = "done")]
    result: &'static str,
}

fn show(webhook: Webhook) -> WebhookJson {
    WebhookJson {
        id: webhook.id,
        app_id: webhook.app_id.into_string(),
        description: webhook.description,
        urls: webhook.urls,
        config: webhook.config,
        event_types: webhook.kinds,
        enabled: webhook.enabled,
        old_secret_valid: webhook.old_secret.is_some(),
        created_at: time(webhook.created_at),
        updated_at: time(webhook.updated_at),
    }
}

fn show_with_secret(webhook: Webhook) -> WebhookWithSecretJson {
    let secret = Some(webhook.secret.expose().to_owned());
    WebhookWithSecretJson { webhook: show(webhook), secret }
}

fn show_delivery(queued: Queued) -> DeliveryJson {
    let planned = queued.planned.and_then(|planned| serde_json::from_str::<Delivery>(&planned.request).ok());
    let progress = queued.progress;
    DeliveryJson {
        message_id: format!("msg_{}", queued.id),
        id: queued.id,
        webhook_id: queued.webhook_id,
        event_id: queued.event.id.as_str().to_owned(),
        event_type: queued.event.body.kind().to_owned(),
        room_id: queued.event.room_id.map(|room| room.into_string()),
        url: planned.map(|planned| planned.url),
        state: progress.state.as_str(),
        attempts: progress.attempts,
        next_attempt_at: (progress.state != QueuedState::Dead).then(|| time(progress.next_at)),
        last_status: progress.last_status,
        last_error: progress.last_error,
        created_at: time(queued.created_at),
        updated_at: time(queued.updated_at),
    }
}

fn show_tested(tested: Tested) -> TestedJson {
    let (status, error) = match tested.outcome {
        Outcome::Status { code, .. } => (Some(code), None),
        Outcome::Transport { reason } => (None, Some(reason)),
    };
    let result = match tested.verdict {
        Verdict::Done => "done",
        Verdict::RetryAfter(_) => "retry",
        Verdict::GiveUp { .. } => "giveUp",
    };
    TestedJson { url: tested.url, status, error, result }
}

fn check_urls(checks: &mut Checks, webhooks: &Webhooks, urls: &[String]) {
    if urls.len() > MAX_URLS {
        checks.fail("urls", format!("there are {} and may be {MAX_URLS}", urls.len()));
    }
    for (index, url) in urls.iter().enumerate().take(MAX_URLS) {
        let field = format!("urls[{index}]");
        match url.len() {
            length if length > MAX_URL => checks.fail(&field, format!("it has {length} bytes and may have {MAX_URL}")),
            _ => {
                if let Err(reason) = webhooks.check_url(url) {
                    checks.fail(&field, reason);
                }
            }
        }
    }
}

fn check_config(checks: &mut Checks, config: &BTreeMap<String, String>) {
    if config.len() > MAX_SETTINGS {
        checks.fail("config", format!("it has {} properties and may have {MAX_SETTINGS}", config.len()));
    }
    for (name, value) in config {
        if name.is_empty() || name.len() > MAX_SETTING_NAME {
            checks.fail("config", format!("names of properties may have 1 to {MAX_SETTING_NAME} bytes"));
        }
        if value.len() > MAX_SETTING {
            let shown: String = name.chars().take(MAX_SETTING_NAME).collect();
            checks.fail(&format!("config.{shown}"), format!("it has {} bytes and may have {MAX_SETTING}", value.len()));
        }
    }
}

fn check_kinds(checks: &mut Checks, kinds: &[String]) {
    if kinds.is_empty() {
        checks.fail("eventTypes", "it is empty: name at least one, or give null for all");
    }
    for (index, kind) in kinds.iter().enumerate().take(EventBody::KINDS.len() + 1) {
        if !EventBody::KINDS.contains(&kind.as_str()) {
            checks.fail(
                &format!("eventTypes[{index}]"),
                format!("there is no such type: it may be {}", EventBody::KINDS.join(", ")),
            );
        } else if kinds[..index].contains(kind) {
            checks.fail(&format!("eventTypes[{index}]"), "it is there twice");
        }
    }
}

/// List webhooks
///
/// Newest first. For the server API and the operator.
#[utoipa::path(operation_id = "listWebhooks", get, path = "/v1/webhooks", tag = "Webhooks", params(WebhooksQuery), responses((status = 200, description = "The webhooks", body = List<WebhookJson>), Problems), security(("serverApi" = []), ("operatorApi" = [])))]
pub async fn list(
    State(api): State<Api>,
    auth: Auth,
    Parameters(query): Parameters<WebhooksQuery>,
) -> Result<axum::Json<List<WebhookJson>>, Problem> {
    auth.not_member()?;
    let wanted = Wanted::new(query.limit, query.cursor.as_deref())?;
    let found = api.webhooks.list(&auth.0, query.app_id.as_deref(), wanted.page()).await?;
    Ok(axum::Json(wanted.list(found, |webhook| webhook.id.as_str(), show)))
}

/// Create a webhook
///
/// From now on every event of the App that it names is delivered: at least once, in order within a room, signed as
/// [Standard Webhooks](https://www.standardwebhooks.com) defines it, and repeated for days until the receiver answers with a status from 200
/// to 299. The answer has the secret, once. For the server API and the operator.
#[utoipa::path(operation_id = "createWebhook", post, path = "/v1/webhooks", tag = "Webhooks", request_body = NewWebhookJson, params(("Idempotency-Key" = Option<String>, Header, description = "Makes repeated requests one")), responses((status = 201, description = "The webhook with its secret", body = WebhookWithSecretJson), Problems), security(("serverApi" = []), ("operatorApi" = [])))]
pub async fn create(State(api): State<Api>, auth: Auth, json: Json<NewWebhookJson>) -> Result<Response, Problem> {
    auth.not_member()?;
    let mut checks = Checks::default();
    if let Some(description) = &json.body.description {
        checks.line("description", description, MAX_DESCRIPTION);
    }
    check_urls(&mut checks, &api.webhooks, &json.body.urls);
    check_config(&mut checks, &json.body.config);
    if let Some(kinds) = &json.body.event_types {
        check_kinds(&mut checks, kinds);
    }
    if json.body.urls.is_empty() && json.body.config.is_empty() {
        checks.fail("urls", "give at least one URL, or the config of a plugin that knows where to send");
    }
    checks.finish()?;
    // What is kept for repetitions has no secret.
    let once =
        json.once(&auth, |made: &Webhook| (201, body(&WebhookWithSecretJson { webhook: show(made.clone()), secret: None })));
    let NewWebhookJson { app_id, description, urls, config, event_types, enabled } = json.body;
    let new = NewWebhook { app_id, description, urls, config, kinds: event_types, enabled: enabled.unwrap_or(true) };
    match api.webhooks.create(&auth.0, new, once).await? {
        Made::Done(made) => {
            let location = format!("/v1/webhooks/{}", made.id);
            Ok(created(body(&show_with_secret(made)), &location))
        }
        Made::Replayed(answer) => Ok(repeated(answer)),
    }
}

/// Get a webhook
#[utoipa::path(operation_id = "getWebhook", get, path = "/v1/webhooks/{webhookId}", tag = "Webhooks", params(("webhookId" = String, Path)), responses((status = 200, description = "The webhook", body = WebhookJson), Problems), security(("serverApi" = []), ("operatorApi" = [])))]
pub async fn get(State(api): State<Api>, auth: Auth, Id(id): Id) -> Result<axum::Json<WebhookJson>, Problem> {
    auth.not_member()?;
    Ok(axum::Json(show(api.webhooks.get(&auth.0, &id).await?)))
}

/// Change a webhook
///
/// Holds for what was not tried yet, too.
#[utoipa::path(operation_id = "updateWebhook", patch, path = "/v1/webhooks/{webhookId}", tag = "Webhooks", params(("webhookId" = String, Path)), request_body = WebhookPatch, responses((status = 200, description = "The webhook", body = WebhookJson), Problems), security(("serverApi" = []), ("operatorApi" = [])))]
pub async fn patch(
    State(api): State<Api>,
    auth: Auth,
    Id(id): Id,
    json: Json<WebhookPatch>,
) -> Result<axum::Json<WebhookJson>, Problem> {
    auth.not_member()?;
    let WebhookPatch { description, urls, config, event_types, enabled } = json.body;
    let mut checks = Checks::default();
    if let Some(Some(description)) = &description {
        checks.line("description", description, MAX_DESCRIPTION);
    }
    check_urls(&mut checks, &api.webhooks, urls.as_deref().unwrap_or_default());
    check_config(&mut checks, config.as_ref().unwrap_or(&BTreeMap::new()));
    if let Some(Some(kinds)) = &event_types {
        check_kinds(&mut checks, kinds);
    }
    checks.finish()?;
    let change = WebhookChange { description, urls, config, kinds: event_types, enabled };
    Ok(axum::Json(show(api.webhooks.update(&auth.0, &id, change).await?)))
}

/// Delete a webhook
///
/// With everything that it has not delivered yet.
#[utoipa::path(operation_id = "deleteWebhook", delete, path = "/v1/webhooks/{webhookId}", tag = "Webhooks", params(("webhookId" = String, Path)), responses((status = 204, description = "It is deleted"), Problems), security(("serverApi" = []), ("operatorApi" = [])))]
pub async fn delete(State(api): State<Api>, auth: Auth, Id(id): Id) -> Result<StatusCode, Problem> {
    auth.not_member()?;
    api.webhooks.delete(&auth.0, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Rotate a webhook's secret
///
/// Deliveries are signed with the new secret and the one before, until that is retired. A rotation before then ends the oldest.
#[utoipa::path(operation_id = "rotateWebhookSecret", post, path = "/v1/webhooks/{webhookId}/rotate-secret", tag = "Webhooks", params(("webhookId" = String, Path)), responses((status = 200, description = "The webhook with its new secret", body = WebhookWithSecretJson), Problems), security(("serverApi" = []), ("operatorApi" = [])))]
pub async fn rotate_secret(State(api): State<Api>, auth: Auth, Id(id): Id) -> Result<axum::Json<WebhookWithSecretJson>, Problem> {
    auth.not_member()?;
    Ok(axum::Json(show_with_secret(api.webhooks.rotate_secret(&auth.0, &id).await?)))
}

/// Retire a webhook's old secret
///
/// Deliveries are signed with the newest secret alone.
#[utoipa::path(operation_id = "retireWebhookSecret", post, path = "/v1/webhooks/{webhookId}/retire-secret", tag = "Webhooks", params(("webhookId" = String, Path)), responses((status = 200, description = "The webhook", body = WebhookJson), Problems), security(("serverApi" = []), ("operatorApi" = [])))]
pub async fn retire_secret(State(api): State<Api>, auth: Auth, Id(id): Id) -> Result<axum::Json<WebhookJson>, Problem> {
    auth.not_member()?;
    Ok(axum::Json(show(api.webhooks.retire_secret(&auth.0, &id).await?)))
}

/// List a webhook's deliveries
///
/// Those that were not made yet, newest first; with `state=dead` those that were given up.
#[utoipa::path(operation_id = "listWebhookDeliveries", get, path = "/v1/webhooks/{webhookId}/deliveries", tag = "Webhooks", params(("webhookId" = String, Path), DeliveriesQuery), responses((status = 200, description = "The deliveries", body = List<DeliveryJson>), Problems), security(("serverApi" = []), ("operatorApi" = [])))]
pub async fn deliveries(
    State(api): State<Api>,
    auth: Auth,
    Id(id): Id,
    Parameters(query): Parameters<DeliveriesQuery>,
) -> Result<axum::Json<List<DeliveryJson>>, Problem> {
    auth.not_member()?;
    let state = query.state.as_deref().map(|word| {
        let found = QueuedState::ALL.into_iter().find(|state| state.as_str() == word);
        found.ok_or_else(|| Problem::invalid("state", "it may be pending, waiting or dead"))
    });
    let wanted = Wanted::new(query.limit, query.cursor.as_deref())?;
    let found = api.webhooks.deliveries(&auth.0, &id, state.transpose()?, wanted.page()).await?;
    Ok(axum::Json(wanted.list(found, |queued| queued.id.as_str(), show_delivery)))
}

/// Deliver again
///
/// What was given up gets all its attempts again; what waits is tried at once.
#[utoipa::path(operation_id = "redeliverWebhookDelivery", post, path = "/v1/webhooks/{webhookId}/deliveries/{deliveryId}/redeliver", tag = "Webhooks", params(("webhookId" = String, Path), ("deliveryId" = String, Path)), responses((status = 200, description = "The delivery", body = DeliveryJson), Problems), security(("serverApi" = []), ("operatorApi" = [])))]
pub async fn redeliver(State(api): State<Api>, auth: Auth, Ids(id, delivery): Ids) -> Result<axum::Json<DeliveryJson>, Problem> {
    auth.not_member()?;
    Ok(axum::Json(show_delivery(api.webhooks.redeliver(&auth.0, &id, &delivery).await?)))
}

/// Deliver everything again that was given up
#[utoipa::path(operation_id = "redeliverDeadWebhookDeliveries", post, path = "/v1/webhooks/{webhookId}/redeliver-dead", tag = "Webhooks", params(("webhookId" = String, Path)), responses((status = 200, description = "How many", body = RedeliveredJson), Problems), security(("serverApi" = []), ("operatorApi" = [])))]
pub async fn redeliver_dead(State(api): State<Api>, auth: Auth, Id(id): Id) -> Result<axum::Json<RedeliveredJson>, Problem> {
    auth.not_member()?;
    Ok(axum::Json(RedeliveredJson { count: api.webhooks.redeliver_dead(&auth.0, &id).await? }))
}

/// Test a webhook
///
/// Sends an event of the type `webhook.test` at once, and answers when its one attempt has ended.
#[utoipa::path(operation_id = "testWebhook", post, path = "/v1/webhooks/{webhookId}/test", tag = "Webhooks", params(("webhookId" = String, Path)), responses((status = 200, description = "What became of it", body = TestJson), Problems), security(("serverApi" = []), ("operatorApi" = [])))]
pub async fn test(State(api): State<Api>, auth: Auth, Id(id): Id) -> Result<axum::Json<TestJson>, Problem> {
    auth.not_member()?;
    let tested = api.webhooks.test(&auth.0, &id).await?;
    Ok(axum::Json(TestJson { deliveries: tested.into_iter().map(show_tested).collect() }))
}
