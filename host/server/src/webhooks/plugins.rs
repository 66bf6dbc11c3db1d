//! The plugins as planner: the `webhook` chain of the App plans deliveries and judges attempts.

use std::collections::BTreeMap;

use bytes::Bytes;
use flyloft_plugins::Plugins;
use flyloft_plugins::model::{self, AttemptedRequest, DeliveryMethod, Pair, ReceiverResponse, WebhookEvent};
use flyloft_rooms::Millis;
use futures_util::future::BoxFuture;

use super::planner::{Attempt, Delivery, Event, Outcome, PlanError, Planner, Subscription, Verdict};
use crate::rooms::rules;

impl Planner for Plugins {
    fn plan<'a>(&'a self, subscription: &'a Subscription, event: &'a Event) -> BoxFuture<'a, Result<Vec<Delivery>, PlanError>> {
        Box::pin(async move {
            let planned = self.plan_deliveries(&rules::context(&subscription.app), &settings(subscription), &asked(event)).await;
            let planned = planned.map_err(|fault| PlanError { reason: fault.to_string() })?;
            Ok(planned.answer.into_iter().map(|delivery| from_model(delivery, &planned.plugin)).collect())
        })
    }

    fn attempted<'a>(
        &'a self,
        subscription: &'a Subscription,
        event: &'a Event,
        delivery: &'a Delivery,
        attempt: &'a Attempt,
    ) -> BoxFuture<'a, Verdict> {
        Box::pin(async move {
            let Some(delivery_asked) = to_model(delivery) else { return Verdict::RetryAfter(None) };
            let request = AttemptedRequest { event: asked(event), delivery: delivery_asked, attempt: tried(attempt) };
            let (context, settings) = (rules::context(&subscription.app), settings(subscription));
            match Plugins::attempted(self, &delivery.planned_by, &context, &settings, &request).await {
                Ok(decided) => match decided.answer {
                    model::Verdict::Done => Verdict::Done,
                    model::Verdict::RetryAfter(after) => Verdict::RetryAfter(after),
                    model::Verdict::GiveUp(reason) => Verdict::GiveUp { reason },
                },
                // The fault is in the log. Nobody knows whether the receiver has it, so it is sent again.
                Err(_) => Verdict::RetryAfter(None),
            }
        })
    }
}

/// The subscription's settings as the plugin reads them: its own, and the addresses as `urls`.
fn settings(subscription: &Subscription) -> BTreeMap<String, String> {
    let mut settings = subscription.config.clone();
    settings.insert("urls".to_owned(), subscription.urls.join("\n"));
    settings
}

fn asked(event: &Event) -> WebhookEvent {
    WebhookEvent {
        id: event.id.clone(),
        kind: event.kind.clone(),
        time: unsigned(event.at),
        app_id: event.app_id.clone(),
        room_id: event.room_id.clone(),
        member_id: event.member_id.clone(),
        data: event.data.clone(),
    }
}

fn unsigned(time: Millis) -> u64 {
    u64::try_from(time).unwrap_or(0)
}

fn from_model(delivery: model::Delivery, plugin: &str) -> Delivery {
    Delivery {
        method: delivery.method.name().to_owned(),
        url: delivery.url,
        headers: delivery.headers.into_iter().map(|pair| (pair.name, pair.value)).collect(),
        body: Bytes::from(delivery.body),
        sign: delivery.sign,
        // The host's own limit holds for those that name none.
        timeout_ms: delivery.timeout.unwrap_or(u32::MAX),
        planned_by: plugin.to_owned(),
    }
}

/// None for a method that no plugin can have planned.
fn to_model(delivery: &Delivery) -> Option<model::Delivery> {
    let methods = [DeliveryMethod::Get, DeliveryMethod::Post, DeliveryMethod::Put, DeliveryMethod::Patch, DeliveryMethod::Delete];
    Some(model::Delivery {
        method: methods.into_iter().find(|method| method.name() == delivery.method)?,
        url: delivery.url.clone(),
        headers: delivery.headers.iter().map(|(name, value)| Pair { name: name.clone(), value: value.clone() }).collect(),
        body: delivery.body.to_vec(),
        sign: delivery.sign,
        timeout: Some(delivery.timeout_ms).filter(|&timeout| timeout < u32::MAX),
    })
}

fn tried(attempt: &Attempt) -> model::Attempt {
    let outcome = match &attempt.outcome {
        Outcome::Status { code, retry_after, body_start } => {
            let most = body_start.len().min(ReceiverResponse::MAX_BODY);
            let body = body_start.slice(..most).to_vec();
            model::Outcome::Response(ReceiverResponse { status: *code, retry_after: *retry_after, body })
        }
        Outcome::Transport { reason } => model::Outcome::Failed(reason.clone()),
    };
    model::Attempt { number: attempt.number, outcome }
}
