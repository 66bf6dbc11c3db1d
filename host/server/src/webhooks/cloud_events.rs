//! Deliveries as CloudEvents 1.0 in JSON (structured mode), one for each URL, until the `webhook` interface of plugins plans them.

use bytes::Bytes;
use futures_util::future::{BoxFuture, ready};
use serde_json::{Value, json};

use super::planner::{Attempt, Delivery, Event, Outcome, PlanError, Planner, Subscription, Verdict};

/// How long an attempt may take.
const TIMEOUT_MS: u32 = 15_000;

/// Plans CloudEvents.
#[derive(Clone, Copy, Debug, Default)]
pub struct CloudEvents;

impl Planner for CloudEvents {
    fn plan<'a>(&'a self, subscription: &'a Subscription, event: &'a Event) -> BoxFuture<'a, Result<Vec<Delivery>, PlanError>> {
        Box::pin(ready(plan(subscription, event)))
    }

    fn attempted<'a>(
        &'a self,
        _: &'a Subscription,
        _: &'a Event,
        _: &'a Delivery,
        attempt: &'a Attempt,
    ) -> BoxFuture<'a, Verdict> {
        Box::pin(ready(judge(&attempt.outcome)))
    }
}

fn plan(subscription: &Subscription, event: &Event) -> Result<Vec<Delivery>, PlanError> {
    let data: Value = serde_json::from_str(&event.data).map_err(|error| PlanError { reason: error.to_string() })?;
    let subject = event.room_id.as_ref().map(|id| format!("rooms/{id}"));
    let subject = subject.or_else(|| event.member_id.as_ref().map(|id| format!("members/{id}")));
    let mut envelope = json!({
        "specversion": "1.0",
        "id": event.id,
        "source": format!("/apps/{}", event.app_id),
        "type": event.kind,
        "time": jiff::Timestamp::from_millisecond(event.at).map(|time| format!("{time:.3}")).unwrap_or_default(),
        "datacontenttype": "application/json",
        "data": data,
    });
    if let Some(subject) = subject {
        envelope["subject"] = Value::from(subject);
    }
    let body = Bytes::from(envelope.to_string());
    let delivery = |url: &String| Delivery {
        method: "POST".into(),
        url: url.clone(),
        headers: vec![("content-type".into(), "application/cloudevents+json; charset=utf-8".into())],
        body: body.clone(),
        sign: true,
        timeout_ms: TIMEOUT_MS,
    };
    Ok(subscription.urls.iter().map(delivery).collect())
}

fn judge(outcome: &Outcome) -> Verdict {
    match outcome {
        Outcome::Status { code: 200..=299, .. } => Verdict::Done,
        Outcome::Status { code: 410, .. } => Verdict::GiveUp { reason: "the receiver is gone (status 410)".into() },
        Outcome::Status { code: 429 | 503, retry_after, .. } => Verdict::RetryAfter(*retry_after),
        _ => Verdict::RetryAfter(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_a_cloud_event_for_each_url() {
        let subscription = Subscription {
            id: "w".into(),
            app_id: "a".into(),
            urls: vec!["https://one.example/".into(), "https://two.example/".into()],
            config: Default::default(),
        };
        let event = Event {
            id: "e".into(),
            kind: "videoRoom.live".into(),
            at: 1_795_285_800_500,
            app_id: "a".into(),
            member_id: Some("m".into()),
            room_id: Some("r".into()),
            data: r#"{"to":"LIVE"}"#.into(),
        };
        let planned = plan(&subscription, &event).unwrap();
        assert_eq!(planned.iter().map(|delivery| delivery.url.as_str()).collect::<Vec<_>>(), subscription.urls);
        assert_eq!(
            serde_json::from_slice::<Value>(&planned[0].body).unwrap(),
            json!({
                "specversion": "1.0", "id": "e", "source": "/apps/a", "type": "videoRoom.live", "subject": "rooms/r",
                "time": "2026-11-21T18:30:00.500Z", "datacontenttype": "application/json", "data": { "to": "LIVE" },
            })
        );
    }

    #[test]
    fn the_status_says_what_is_next() {
        let status = |code, retry_after| judge(&Outcome::Status { code, retry_after, body_start: Bytes::new() });
        assert_eq!(status(204, None), Verdict::Done);
        assert_eq!(status(503, Some(7_000)), Verdict::RetryAfter(Some(7_000)));
        assert_eq!(status(500, Some(7_000)), Verdict::RetryAfter(None));
        assert_eq!(status(302, None), Verdict::RetryAfter(None));
        assert!(matches!(status(410, None), Verdict::GiveUp { .. }));
        assert_eq!(judge(&Outcome::Transport { reason: "x".into() }), Verdict::RetryAfter(None));
    }
}
