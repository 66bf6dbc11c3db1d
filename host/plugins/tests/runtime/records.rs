//! What is kept of calls: the decision log, and how shadow versions compare.

use crate::requests::*;
use flyloft_plugins::model::*;
use flyloft_plugins::{
    BindingChange, Config, DecisionFilter, DecisionLimits, Grants, Interface, LoggedDecision, NewBinding, OnFailure, Plugins,
    Secret, ShadowAnswer, ShadowReport, Trial, answer_kind, differences,
};
use flyloft_test_guests::{ABSTAIN, BOTH, HOOKS, HOSTILE, SOURCES};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

fn open(dir: &Path) -> Plugins {
    Plugins::open(Config { data_dir: Some(dir.to_owned()), ..config() }).unwrap()
}

async fn all(plugins: &Plugins, filter: DecisionFilter) -> Vec<LoggedDecision> {
    plugins.decisions(filter, None, 1000).await.unwrap().items
}

fn seen(decisions: &[LoggedDecision]) -> Vec<(&str, &str)> {
    decisions.iter().map(|decision| (decision.binding.as_str(), decision.outcome.as_str())).collect()
}

#[tokio::test]
async fn every_call_of_a_chain_is_logged_with_its_question_and_answer() {
    let dir = tempfile::tempdir().unwrap();
    let plugins = open(dir.path());
    let front = plugins.put("front", ABSTAIN.into()).await.unwrap().component.digest;
    let id = plugins.bindings()[0].id.clone();
    let action = publish("s");
    plugins.decide(&context(), &action).await.unwrap();
    plugins.resolve_output_mode(&context(), &output_request(Some("RTMP"), None)).await.unwrap();
    let found = all(&plugins, DecisionFilter::default()).await;
    // Newest first.
    let expected = [("output-mode", "use-outputs"), (&*id, "abstain"), ("room-policy", "allow"), (&*id, "abstain")];
    assert_eq!(seen(&found), expected);
    let first = found.last().unwrap();
    assert_eq!(
        (first.plugin.as_str(), &first.digest, first.interface, &*first.function),
        ("front", &front, Interface::RoomPolicy, "decide")
    );
    assert_eq!((first.id, first.app.as_str()), (1, "app-1"));
    assert!(first.time > 1_700_000_000_000 && first.fault.is_none());
    let input: Action = serde_json::from_str(first.input.get()).unwrap();
    let told: Context = serde_json::from_str(first.context.get()).unwrap();
    assert_eq!((input, told), (action, context()));
    let answer: Decision = serde_json::from_str(found[2].output.as_ref().unwrap().get()).unwrap();
    assert_eq!(answer, Decision::Allow(Grant::default()));

    let by = |filter| {
        let plugins = plugins.clone();
        async move { all(&plugins, filter).await.len() }
    };
    assert_eq!(by(DecisionFilter { interface: Some(Interface::OutputMode), ..Default::default() }).await, 2);
    assert_eq!(by(DecisionFilter { plugin: Some("front".into()), ..Default::default() }).await, 2);
    assert_eq!(by(DecisionFilter { binding: Some("room-policy".into()), ..Default::default() }).await, 1);
    assert_eq!(by(DecisionFilter { outcome: Some("abstain".into()), ..Default::default() }).await, 2);
    assert_eq!(by(DecisionFilter { app: Some("app-2".into()), ..Default::default() }).await, 0);
    assert_eq!(by(DecisionFilter { since: Some(first.time + 86_400_000), ..Default::default() }).await, 0);
    let page = plugins.decisions(DecisionFilter::default(), Some(3), 1).await.unwrap();
    assert_eq!((page.items[0].id, page.next), (2, Some(2)));
}

#[tokio::test]
async fn the_log_goes_on_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    for _ in 0..3 {
        let plugins = open(dir.path());
        plugins.decide(&context(), &publish("s")).await.unwrap();
        plugins.flush().await;
    }
    let ids: Vec<u64> = all(&open(dir.path()), DecisionFilter::default()).await.iter().map(|decision| decision.id).collect();
    assert_eq!(ids, [3, 2, 1]);
}

#[tokio::test]
async fn faults_are_logged_with_their_reasons() {
    let dir = tempfile::tempdir().unwrap();
    let plugins = open(dir.path());
    plugins.put("room-policy", HOSTILE.into()).await.unwrap();
    fault(&plugins, publish("panic")).await;
    let found = all(&plugins, DecisionFilter::default()).await;
    assert_eq!(seen(&found), [("room-policy", "fault")]);
    let fault = found[0].fault.as_ref().unwrap();
    assert!(found[0].output.is_none() && fault.kind == "trap");
    assert!(fault.reason.contains("the answer is not forty-two"), "{}", fault.reason);
}

#[tokio::test]
async fn secrets_are_in_no_record() {
    let dir = tempfile::tempdir().unwrap();
    let plugins = open(dir.path());
    plugins.deploy("hostile", HOSTILE.into()).await.unwrap();
    // What the hostile policy says by itself stands for secrets that a plugin puts into its answers and its last words.
    let secrets = [("a", "forty-two"), ("b", "12345-very-secret"), ("c", "count")];
    let secrets = secrets.into_iter().map(|(name, text)| (name.to_owned(), Secret::new(text))).collect();
    let new = NewBinding { plugin: "hostile".into(), grants: Grants { secrets, ..Grants::default() }, ..NewBinding::default() };
    plugins.bind(new).await.unwrap();
    for how in ["panic", "healthy"] {
        let _ = plugins.decide(&context(), &publish(how)).await;
    }
    let denied = plugins.decide(&context(), &publish("count")).await.unwrap();
    assert!(matches!(denied.answer, Decision::Deny(denial) if denial.code == "count"), "the answer itself is whole");
    let found = all(&plugins, DecisionFilter::default()).await;
    assert_eq!(found.len(), 3);
    assert!(found[0].output.as_ref().unwrap().get().contains("[secret]"), "{found:?}");
    let mut bytes = 0;
    for entry in std::fs::read_dir(dir.path().join("decisions")).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        bytes += text.len();
        for secret in ["forty-two", "very-secret"] {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
        assert!(text.contains("is not [secret]"));
    }
    assert!(bytes > 0);
}

#[tokio::test]
async fn a_log_that_is_switched_off_keeps_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let decisions = DecisionLimits { max_bytes: 0, ..DecisionLimits::default() };
    let plugins = Plugins::open(Config { data_dir: Some(dir.path().to_owned()), decisions, ..config() }).unwrap();
    plugins.decide(&context(), &publish("s")).await.unwrap();
    assert!(all(&plugins, DecisionFilter::default()).await.is_empty());
    assert!(!dir.path().join("decisions").exists());
}

/// The report when the shadow version has seen so many calls.
async fn report(plugins: &Plugins, id: &str, calls: u64) -> ShadowReport {
    loop {
        let report = plugins.shadow_report(id).unwrap();
        assert_eq!(report.dropped, 0);
        if report.same + report.different + report.failed >= calls {
            return report;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn a_shadow_version_reports_what_differs_and_nothing_else() {
    let plugins = plugins();
    let both = plugins.put("front", BOTH.into()).await.unwrap().component.digest;
    let abstain = plugins.deploy("front", ABSTAIN.into()).await.unwrap().component.digest;
    let id = plugins.bindings()[0].id.clone();
    assert_eq!(plugins.set_shadow(&id, Some(&abstain)).await.unwrap().shadow, Some(abstain.clone()));
    // BOTH denies each publish and has no opinion about the rest, as ABSTAIN has about everything.
    let push_out = Action::PushOut(PushOutRequest { room: None, stream: "s".into(), target: "rtmp://a.example".into() });
    for _ in 0..30 {
        assert_eq!(verdict(&plugins, publish("s")).await, Err("both".into()));
        assert_eq!(verdict(&plugins, push_out.clone()).await, Ok(Grant::default()));
    }
    let seen = report(&plugins, &id, 60).await;
    assert_eq!((seen.same, seen.different, seen.failed), (30, 30, 0));
    assert_eq!((&seen.active, &seen.digest), (&both, &abstain));
    assert_eq!((seen.fields.len(), seen.fields[""], seen.examples.len()), (1, 30, 30));
    let example = &seen.examples[0];
    assert!(matches!(&example.shadow, ShadowAnswer::Output(answer) if answer == "abstain"), "{example:?}");
    assert!(matches!(&example.active, ShadowAnswer::Output(answer) if answer["deny"]["code"] == "both"), "{example:?}");
    assert!(serde_json::from_str::<Action>(example.input.get()).is_ok());
    // Its calls are not the plugin's.
    assert_eq!(plugins.versions("front").unwrap()[0].counters.calls, 0);
    assert_eq!(seen.counters.calls, 60);

    // Another place in the chain changes nothing about the comparison, another active version does.
    let moved = BindingChange { position: Some(3), ..BindingChange::default() };
    plugins.change(&id, moved).await.unwrap();
    assert_eq!(plugins.shadow_report(&id).unwrap().different, 30);
    let active = plugins.activate(&id, &abstain).await.unwrap();
    assert_eq!((active.shadow, active.previous), (None, Some(both)));
    assert!(plugins.shadow_report(&id).is_err());
}

#[tokio::test]
async fn only_the_last_fifty_differences_are_kept() {
    let plugins = plugins();
    plugins.put("front", BOTH.into()).await.unwrap();
    let abstain = plugins.deploy("front", ABSTAIN.into()).await.unwrap().component.digest;
    let id = plugins.bindings()[0].id.clone();
    plugins.set_shadow(&id, Some(&abstain)).await.unwrap();
    for number in 0..60_u64 {
        let context = Context { call_id: format!("call-{number}"), ..context() };
        plugins.decide(&context, &publish("s")).await.unwrap();
    }
    let seen = report(&plugins, &id, 60).await;
    assert_eq!((seen.different, seen.examples.len()), (60, 50));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hostile_shadow_version_harms_no_live_call() {
    let plugins = plugins();
    plugins.put("room-policy", BOTH.into()).await.unwrap();
    let hostile = plugins.deploy("room-policy", HOSTILE.into()).await.unwrap().component.digest;
    plugins.set_shadow("room-policy", Some(&hostile)).await.unwrap();
    let breaker = plugins.binding("room-policy").unwrap().breaker;
    for how in ["loop", "trap", "allocate-4g", "exit", "huge-reason", "loop"] {
        assert_eq!(verdict(&plugins, publish(how)).await, Err("both".into()));
    }
    let seen = report(&plugins, "room-policy", 6).await;
    assert_eq!((seen.same, seen.different, seen.failed), (0, 0, 6));
    assert_eq!((seen.counters.faults.deadline, seen.counters.faults.trap), (2, 1));
    assert!(seen.examples.iter().all(|example| matches!(example.shadow, ShadowAnswer::Fault(_))));
    assert_eq!(plugins.binding("room-policy").unwrap().breaker, breaker);
}

#[tokio::test]
async fn an_active_version_that_fails_differs_from_a_shadow_that_does_not() {
    let plugins = plugins();
    plugins.put("room-policy", HOSTILE.into()).await.unwrap();
    let both = plugins.deploy("room-policy", BOTH.into()).await.unwrap().component.digest;
    plugins.set_shadow("room-policy", Some(&both)).await.unwrap();
    let next = BindingChange { on_failure: Some(Some(OnFailure::Next)), ..BindingChange::default() };
    plugins.change("room-policy", next).await.unwrap();
    fault(&plugins, publish("trap")).await;
    let seen = report(&plugins, "room-policy", 1).await;
    assert_eq!((seen.different, seen.failed), (1, 0));
    assert!(matches!(&seen.examples[0].active, ShadowAnswer::Fault(fault) if fault.kind == "trap"));
}

fn event(kind: &str) -> WebhookEvent {
    WebhookEvent {
        id: "evt-1".into(),
        kind: kind.into(),
        time: 1_800_000_000_000,
        app_id: "app-1".into(),
        room_id: None,
        member_id: None,
        data: "{}".into(),
    }
}

/// Settings of a subscription, with an address that is a secret.
fn settings() -> BTreeMap<String, String> {
    [("urls".to_owned(), "https://hooks.example/T0/very-secret".to_owned())].into()
}

fn attempted(headers: Vec<Pair>) -> AttemptedRequest {
    let url = "https://hooks.example/T0/very-secret".into();
    let delivery = Delivery { method: DeliveryMethod::Post, url, headers, body: b"{}".to_vec(), sign: true, timeout: None };
    let response = ReceiverResponse { status: 204, retry_after: None, body: Vec::new() };
    AttemptedRequest { event: event("one"), delivery, attempt: Attempt { number: 1, outcome: Outcome::Response(response) } }
}

fn value(raw: &serde_json::value::RawValue) -> Value {
    serde_json::from_str(raw.get()).unwrap()
}

/// Asks a component all that the log has, and gives what it would answer otherwise.
async fn replayed(component: &'static [u8], decisions: &[LoggedDecision]) -> Vec<(u64, String)> {
    let trial = Trial::load(component.into(), &config(), Grants::default()).await.unwrap();
    let mut changed = Vec::new();
    for decision in decisions {
        let context: Context = serde_json::from_str(decision.context.get()).unwrap();
        let input = value(&decision.input);
        let now = trial.ask_again(decision.interface, &context, &decision.settings, input).await.unwrap();
        let before = value(decision.output.as_ref().unwrap());
        let found = differences(&before, &now);
        changed.extend(found.into_iter().map(|found| (decision.id, found.field)));
    }
    changed
}

#[tokio::test]
async fn webhooks_are_logged_without_their_secrets_and_can_be_replayed() {
    let dir = tempfile::tempdir().unwrap();
    let plugins = open(dir.path());
    plugins.plan_deliveries(&context(), &settings(), &event("videoRoom.live")).await.unwrap();
    let headers = vec![Pair { name: "Authorization".into(), value: "Bearer very-secret-token".into() }];
    plugins.attempted("webhook", &context(), &settings(), &attempted(headers)).await.unwrap();
    plugins.put("hooks", HOOKS.into()).await.unwrap();
    plugins.plan_deliveries(&context(), &settings(), &event("abstain")).await.unwrap();
    let _ = plugins.plan_deliveries(&context(), &settings(), &event("panic")).await.unwrap_err();
    let found = all(&plugins, DecisionFilter { interface: Some(Interface::Webhook), ..Default::default() }).await;
    let id = found[0].binding.clone();
    assert_eq!(
        seen(&found),
        [(&*id, "fault"), ("webhook", "deliver"), (&*id, "abstain"), ("webhook", "done"), ("webhook", "deliver")]
    );
    let functions: Vec<&str> = found.iter().map(|decision| decision.function.as_str()).collect();
    assert_eq!(functions, ["deliver", "deliver", "deliver", "attempted", "deliver"]);

    let (planned, judged) = (&found[4], &found[3]);
    assert_eq!(planned.settings["urls"], "https://hooks.example/redacted-1");
    assert_eq!(value(&planned.input)["deliver"]["kind"], "videoRoom.live");
    assert_eq!(value(planned.output.as_ref().unwrap())["deliver"][0]["url"], "https://hooks.example/redacted-1");
    let delivery = &value(&judged.input)["attempted"]["delivery"];
    assert_eq!(
        (&delivery["url"], &delivery["headers"][0]["value"]),
        (&json!("https://hooks.example/redacted-1"), &json!("[redacted]"))
    );
    for entry in std::fs::read_dir(dir.path().join("decisions")).unwrap() {
        assert!(!std::fs::read_to_string(entry.unwrap().path()).unwrap().contains("very-secret"));
    }

    // The same version answers the same; another one does not.
    let built_in: Vec<_> = found.into_iter().filter(|decision| decision.binding == "webhook").collect();
    assert_eq!(replayed(include_bytes!(concat!(env!("OUT_DIR"), "/webhook.wasm")), &built_in).await, []);
    let changed = replayed(HOOKS, &built_in[2..]).await;
    let fields: Vec<&str> = changed.iter().map(|(_, field)| field.as_str()).collect();
    assert!(fields.contains(&"deliver[0].url") && fields.contains(&"deliver[0].body"), "{fields:?}");
}

#[tokio::test]
async fn sources_are_logged_and_their_bytes_are_not() {
    let dir = tempfile::tempdir().unwrap();
    let plugins = open(dir.path());
    plugins.put("sources", SOURCES.into()).await.unwrap();
    let request = |path: &str| SourceRequest { uri: format!("vod://test/{path}"), shared: true };
    for path in ["own/film", "missing", "own/"] {
        let _ = plugins.open_source(&context(), &request(path)).await;
    }
    plugins.open_source(&context(), &SourceRequest { uri: "other://x".into(), shared: false }).await.unwrap().answer.unwrap_err();
    plugins.stat_source(&context(), &request("own/film")).await.unwrap().answer.unwrap();
    let list = ListRequest { uri: "vod://test/".into(), cursor: None, limit: 2 };
    plugins.list_sources(&context(), &list).await.unwrap().answer.unwrap();
    let range = ByteRange { handle: "film".into(), offset: 0, length: 100 };
    plugins.read_source("sources", &context(), &range).await.unwrap().answer.unwrap();
    let sources = DecisionFilter { interface: Some(Interface::VodSource), plugin: Some("sources".into()), ..Default::default() };
    let found = all(&plugins, sources).await;
    let kinds: Vec<_> = found.iter().map(|decision| (decision.function.as_str(), decision.outcome.as_str())).collect();
    let expected =
        [("list", "ok"), ("stat", "ok"), ("open", "not-mine"), ("open", "fault"), ("open", "not-found"), ("open", "ok")];
    assert_eq!(kinds, expected);
    assert_eq!(value(&found[5].input), json!({"open": {"uri": "vod://test/own/film", "shared": true}}));
    let answered: Vec<_> = found.into_iter().filter(|decision| decision.output.is_some()).collect();
    assert_eq!(replayed(SOURCES, &answered).await, []);
}

#[tokio::test]
async fn shadow_versions_of_webhooks_and_sources_see_what_the_active_ones_see() {
    let plugins = plugins();
    let hooks = plugins.deploy("webhook", HOOKS.into()).await.unwrap().component.digest;
    plugins.set_shadow("webhook", Some(&hooks)).await.unwrap();
    plugins.plan_deliveries(&context(), &settings(), &event("nobody")).await.unwrap();
    plugins.plan_deliveries(&context(), &BTreeMap::new(), &event("abstain")).await.unwrap();
    plugins.attempted("webhook", &context(), &settings(), &attempted(Vec::new())).await.unwrap();
    let seen = report(&plugins, "webhook", 3).await;
    // Without addresses the built-in plugin has no opinion, as the shadow version for this event.
    assert_eq!((seen.same, seen.different, seen.failed), (1, 2, 0));
    assert!(seen.examples.iter().all(|example| !format!("{example:?}").contains("very-secret")), "{:?}", seen.examples);
    let planned = seen.examples.iter().find(|example| value(&example.input).get("deliver").is_some()).unwrap();
    let ShadowAnswer::Output(active) = &planned.active else { panic!("{planned:?}") };
    assert_eq!((answer_kind(active), &active["deliver"][0]["url"]), ("deliver", &json!("https://hooks.example/redacted-1")));
    assert_eq!(planned.differences[0].field, "deliver[0]");
}
