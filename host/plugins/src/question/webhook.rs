//! The questions of `webhook`: what is sent about an event, and is a delivery done?

use super::Question;
use super::checks::{count, headers, invalid, text, url};
use crate::api::Interface;
use crate::error::FaultKind;
use crate::grants::Grants;
use crate::model::{Attempt, AttemptedRequest, Context, Delivery, Verdict, WebhookAnswer, WebhookEvent};
use crate::plugin::Entries;
use wasmtime::component::ComponentExportIndex;

const MAX_DELIVERIES: usize = 16;
/// Bytes of a delivery's body.
const MAX_BODY: usize = 1 << 20;
/// Milliseconds.
const TIMEOUT: std::ops::RangeInclusive<u32> = 100..=60_000;
/// Milliseconds that a delivery may be put off for: as long as the host tries.
const MAX_RETRY_AFTER: u64 = 3 * 24 * 60 * 60 * 1000;

/// What is sent about an event?
pub(crate) struct DeliverQuestion;

impl Question for DeliverQuestion {
    type Ask = WebhookEvent;
    type Params<'a> = (&'a Context, &'a WebhookEvent);
    type Answer = WebhookAnswer;
    const INTERFACE: Interface = Interface::Webhook;
    const FUNCTION: &'static str = "deliver";

    fn entry(entries: &Entries) -> Option<&ComponentExportIndex> {
        entries.deliver.as_ref()
    }

    fn params<'a>(context: &'a Context, ask: &'a WebhookEvent) -> Self::Params<'a> {
        (context, ask)
    }

    fn check(_ask: &WebhookEvent, answer: &WebhookAnswer, _grants: &Grants) -> Result<(), FaultKind> {
        let WebhookAnswer::Deliver(deliveries) = answer else {
            return Ok(());
        };
        count("deliver", deliveries.len(), MAX_DELIVERIES)?;
        deliveries.iter().try_for_each(delivery)
    }

    fn abstains(answer: &WebhookAnswer) -> bool {
        *answer == WebhookAnswer::Abstain
    }
}

fn delivery(delivery: &Delivery) -> Result<(), FaultKind> {
    url("deliver.url", &delivery.url)?;
    headers("deliver.headers", &delivery.headers, |name| name.starts_with("webhook-"))?;
    if delivery.body.len() > MAX_BODY {
        return invalid("deliver.body", format!("has {} bytes, and at most {MAX_BODY} are allowed", delivery.body.len()));
    }
    match delivery.timeout {
        Some(timeout) if !TIMEOUT.contains(&timeout) => {
            let (least, most) = (TIMEOUT.start(), TIMEOUT.end());
            invalid("deliver.timeout", format!("is {timeout} ms, and {least} to {most} are allowed"))
        }
        _ => Ok(()),
    }
}

/// Is a delivery done?
pub(crate) struct AttemptedQuestion;

impl Question for AttemptedQuestion {
    type Ask = AttemptedRequest;
    type Params<'a> = (&'a Context, &'a WebhookEvent, &'a Delivery, &'a Attempt);
    type Answer = Verdict;
    const INTERFACE: Interface = Interface::Webhook;
    const FUNCTION: &'static str = "attempted";

    fn entry(entries: &Entries) -> Option<&ComponentExportIndex> {
        entries.attempted.as_ref()
    }

    fn params<'a>(context: &'a Context, ask: &'a AttemptedRequest) -> Self::Params<'a> {
        (context, &ask.event, &ask.delivery, &ask.attempt)
    }

    fn check(_ask: &AttemptedRequest, answer: &Verdict, _grants: &Grants) -> Result<(), FaultKind> {
        match answer {
            Verdict::Done | Verdict::RetryAfter(None) => Ok(()),
            Verdict::RetryAfter(Some(ms)) if *ms > MAX_RETRY_AFTER => {
                invalid("retry-after", format!("is {ms} ms, and at most {MAX_RETRY_AFTER} (three days) are allowed"))
            }
            Verdict::RetryAfter(Some(_)) => Ok(()),
            Verdict::GiveUp(reason) => text("give-up", reason, 1, 1024),
        }
    }

    fn abstains(_answer: &Verdict) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{DeliveryMethod, Pair};

    fn good() -> Delivery {
        Delivery {
            method: DeliveryMethod::Post,
            url: "https://a.example/hook".into(),
            headers: vec![Pair { name: "content-type".into(), value: "application/json".into() }],
            body: b"{}".to_vec(),
            sign: true,
            timeout: None,
        }
    }

    fn planned(deliveries: Vec<Delivery>) -> Option<String> {
        let event = WebhookEvent {
            id: "evt-1".into(),
            kind: "videoRoom.live".into(),
            time: 0,
            app_id: "app-1".into(),
            room_id: None,
            member_id: None,
            data: "{}".into(),
        };
        match DeliverQuestion::check(&event, &WebhookAnswer::Deliver(deliveries), &Grants::default()) {
            Ok(()) => None,
            Err(FaultKind::InvalidAnswer { field, .. }) => Some(field),
            Err(other) => panic!("{other}"),
        }
    }

    fn changed(change: impl FnOnce(&mut Delivery)) -> Option<String> {
        let mut delivery = good();
        change(&mut delivery);
        planned(vec![good(), delivery])
    }

    #[test]
    fn deliveries_are_limited() {
        assert_eq!(planned(vec![]), None);
        assert_eq!(planned(vec![good(); 16]), None);
        assert_eq!(planned(vec![good(); 17]).as_deref(), Some("deliver"));
        assert_eq!(changed(|d| d.body = vec![0; MAX_BODY]), None);
        assert_eq!(changed(|d| d.body = vec![0; MAX_BODY + 1]).as_deref(), Some("deliver.body"));
        assert_eq!(changed(|d| d.url = "ftp://a.example".into()).as_deref(), Some("deliver.url"));
        assert_eq!(changed(|d| d.timeout = Some(100)), None);
        assert_eq!(changed(|d| d.timeout = Some(60_001)).as_deref(), Some("deliver.timeout"));
        assert_eq!(changed(|d| d.headers[0].name = "Webhook-Id".into()).as_deref(), Some("deliver.headers.webhook-id"));
    }

    #[test]
    fn a_delivery_is_put_off_for_three_days_at_most() {
        let event = good();
        let ask = AttemptedRequest {
            event: WebhookEvent {
                id: "e".into(),
                kind: "k".into(),
                time: 0,
                app_id: "a".into(),
                room_id: None,
                member_id: None,
                data: "{}".into(),
            },
            delivery: event,
            attempt: Attempt { number: 1, outcome: crate::model::Outcome::Failed("refused".into()) },
        };
        let valid = |verdict: Verdict| AttemptedQuestion::check(&ask, &verdict, &Grants::default()).is_ok();
        assert!(valid(Verdict::Done) && valid(Verdict::RetryAfter(None)) && valid(Verdict::RetryAfter(Some(MAX_RETRY_AFTER))));
        assert!(!valid(Verdict::RetryAfter(Some(MAX_RETRY_AFTER + 1))));
        assert!(valid(Verdict::GiveUp("410 Gone".into())) && !valid(Verdict::GiveUp(String::new())));
    }
}
