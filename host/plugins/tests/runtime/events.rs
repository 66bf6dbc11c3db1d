//! The `webhook` interface: the built-in plugin and odd ones.

use crate::requests::*;
use flyloft_plugins::model::*;
use flyloft_plugins::{FaultKind, Plugins};
use flyloft_test_guests::HOOKS;
use serde_json::Value;
use std::collections::BTreeMap;

fn event(kind: &str) -> WebhookEvent {
    WebhookEvent {
        id: "evt-1".into(),
        kind: kind.into(),
        time: 1_800_000_000_000,
        app_id: "app-1".into(),
        room_id: Some("room-1".into()),
        member_id: Some("owner".into()),
        data: "{\"from\":\"SCHEDULED\",\"to\":\"LIVE\"}".into(),
    }
}

fn settings(urls: &str) -> BTreeMap<String, String> {
    [("urls".to_owned(), urls.to_owned())].into()
}

async fn hooks() -> Plugins {
    let plugins = plugins();
    plugins.put("hooks", HOOKS.into()).await.unwrap();
    plugins
}

async fn planned(plugins: &Plugins, kind: &str) -> Result<Vec<Delivery>, FaultKind> {
    let planned = plugins.plan_deliveries(&context(), &settings("https://fallback.example"), &event(kind)).await;
    planned.map(|decided| decided.answer).map_err(|fault| fault.kind)
}

async fn verdict_of(plugins: &Plugins, by: &str, number: u32, outcome: Outcome) -> Result<Verdict, FaultKind> {
    let delivery = planned(plugins, "one").await.unwrap().remove(0);
    let request = AttemptedRequest { event: event("one"), delivery, attempt: Attempt { number, outcome } };
    let verdict = plugins.attempted(by, &context(), &BTreeMap::new(), &request).await;
    verdict.map(|decided| decided.answer).map_err(|fault| fault.kind)
}

fn response(status: u16, retry_after: Option<u64>) -> Outcome {
    Outcome::Response(ReceiverResponse { status, retry_after, body: b"body".to_vec() })
}

#[tokio::test]
async fn the_built_in_plugin_makes_cloud_events() {
    let plugins = plugins();
    let urls = settings("https://a.example/hook, http://b.example:8080/");
    let decided = plugins.plan_deliveries(&context(), &urls, &event("videoRoom.live")).await.unwrap();
    assert_eq!(&*decided.plugin, "webhook");
    let urls: Vec<&str> = decided.answer.iter().map(|delivery| delivery.url.as_str()).collect();
    assert_eq!(urls, ["https://a.example/hook", "http://b.example:8080/"]);
    let delivery = &decided.answer[0];
    assert_eq!((delivery.method, delivery.sign, delivery.timeout), (DeliveryMethod::Post, true, None));
    let json: Value = serde_json::from_slice(&delivery.body).unwrap();
    assert_eq!(json["specversion"], "1.0");
    assert_eq!(json["type"], "videoRoom.live");
    assert_eq!(json["time"], "2027-01-15T08:00:00.000Z");
    assert_eq!(json["data"]["to"], "LIVE");
}

#[tokio::test]
async fn without_urls_nobody_is_told() {
    let plugins = plugins();
    let decided = plugins.plan_deliveries(&context(), &BTreeMap::new(), &event("videoRoom.live")).await.unwrap();
    assert_eq!((&*decided.plugin, decided.answer), ("webhook", vec![]));
}

#[tokio::test]
async fn the_built_in_plugin_judges_by_status() {
    let plugins = plugins();
    let verdict = async |outcome| verdict_of(&plugins, "webhook", 1, outcome).await.unwrap();
    assert_eq!(verdict(response(204, None)).await, Verdict::Done);
    assert_eq!(verdict(response(500, None)).await, Verdict::RetryAfter(None));
    assert_eq!(verdict(response(429, Some(5_000))).await, Verdict::RetryAfter(Some(5_000)));
    assert!(matches!(verdict(response(410, None)).await, Verdict::GiveUp(_)));
    assert_eq!(verdict(Outcome::Failed("refused".into())).await, Verdict::RetryAfter(None));
}

#[tokio::test]
async fn the_first_opinion_counts() {
    let plugins = hooks().await;
    let one = planned(&plugins, "one").await.unwrap();
    assert_eq!(String::from_utf8_lossy(&one[0].body), "evt-1 Some(\"room-1\") app-1");
    assert_eq!(planned(&plugins, "nobody").await.unwrap(), vec![]);
    let two = planned(&plugins, "two").await.unwrap();
    assert_eq!((two[1].method, two[1].sign, two[1].timeout), (DeliveryMethod::Put, false, Some(500)));
    let passed_on = planned(&plugins, "abstain").await.unwrap();
    assert_eq!(passed_on[0].url, "https://fallback.example");
}

#[tokio::test]
async fn a_plan_that_breaks_the_contract_is_none() {
    let plugins = hooks().await;
    for (kind, expected) in [
        ("too-many", "deliver"),
        ("too-large", "the answer"),
        ("file", "deliver.url"),
        ("hop-by-hop", "deliver.headers.transfer-encoding"),
        ("signature", "deliver.headers.webhook-signature"),
        ("line-break", "deliver.headers"),
    ] {
        match planned(&plugins, kind).await {
            Err(FaultKind::InvalidAnswer { field, .. }) => assert!(field.starts_with(expected), "{kind}: {field}"),
            other => panic!("{kind}: {other:?}"),
        }
    }
    // A failure is not an opinion that others could be asked instead of.
    assert!(matches!(planned(&plugins, "panic").await, Err(FaultKind::Trap { .. })));
}

#[tokio::test]
async fn the_planner_of_a_delivery_judges_it() {
    let plugins = hooks().await;
    let verdict = async |number| verdict_of(&plugins, "hooks", number, response(200, None)).await;
    assert_eq!(verdict(1).await, Ok(Verdict::RetryAfter(None)));
    assert_eq!(verdict(2).await, Ok(Verdict::RetryAfter(Some(2_000))));
    let Ok(Verdict::GiveUp(reason)) = verdict(3).await else { panic!("not given up") };
    assert!(reason.contains("https://a.example/hook") && reason.contains("200"), "{reason}");
    assert!(matches!(verdict(4).await, Err(FaultKind::InvalidAnswer { .. })));
    // When it is gone, the last of the chain does.
    assert_eq!(verdict_of(&plugins, "gone", 1, response(200, None)).await, Ok(Verdict::Done));
}

#[test]
fn questions_and_answers_are_json() {
    let delivery = Delivery {
        method: DeliveryMethod::Post,
        url: "https://a.example".into(),
        headers: vec![],
        body: b"{}".to_vec(),
        sign: true,
        timeout: None,
    };
    let json = serde_json::to_value(WebhookAnswer::Deliver(vec![delivery.clone()])).unwrap();
    assert_eq!(json["deliver"][0]["method"], "POST");
    assert_eq!(json["deliver"][0]["body"], "{}");
    assert_eq!(serde_json::from_value::<WebhookAnswer>(json).unwrap(), WebhookAnswer::Deliver(vec![delivery]));
    assert_eq!(serde_json::to_value(Verdict::RetryAfter(Some(5))).unwrap()["retry-after"], 5);
}
