//! Two versions of a policy with planted differences: the shadow's report and a replay find these and nothing else.

use crate::plugins::{command, deploy};
use anyhow::{Context, Result, ensure};
use flyloft_tests::guests::component;
use flyloft_tests::server::Server;
use flyloft_tests::{PATIENCE, wait_for};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Guests who want a token, one after another.
const GUESTS: u64 = 70;

/// The guests for whom `after` answers otherwise than `before`, and the fields that differ.
fn planted() -> BTreeMap<u64, BTreeSet<&'static str>> {
    let mut planted: BTreeMap<_, BTreeSet<_>> = (1..=GUESTS / 7).map(|seventh| (seventh * 7, [""].into())).collect();
    planted.insert(10, ["allow.limits.maxViewers"].into());
    planted.insert(20, ["allow.labels[1]"].into());
    planted.insert(30, ["allow.labels[0].value", "allow.limits.maxDuration"].into());
    // It has no answer at all.
    planted.insert(40, [].into());
    planted
}

fn guest(input: &Value) -> Result<u64> {
    let role = input["issue-token"]["role"].as_str().with_context(|| format!("no role in {input}"))?;
    role.strip_prefix("guest-").context("no guest")?.parse().context("no number")
}

#[test]
fn exactly_the_planted_differences_are_reported() -> Result<()> {
    let server = Server::start()?;
    let (operator, api) = (server.operator()?, server.api()?);
    server.member("ada")?;
    let room = server.room("ada", "A room")?;
    deploy(&operator, "doorman", &component("before")?)?;
    let bound = operator.post("/v1/bindings", &json!({"plugin": "doorman"}))?.success()?;
    let path = format!("/v1/bindings/{}", bound["id"].as_str().context("no id")?);
    let after = deploy(&operator, "doorman", &component("after")?)?;
    operator.post(&format!("{path}/shadow"), &json!({"digest": after}))?.success()?;
    for guest in 1..=GUESTS {
        let wanted = json!({"role": format!("guest-{guest}")});
        api.post(&format!("/v1/video-rooms/{room}/tokens"), &wanted)?.success()?;
    }
    let planted = planted();
    let failed = planted.values().filter(|fields| fields.is_empty()).count() as u64;
    let different = planted.len() as u64 - failed;

    let report = wait_for("the shadow version has seen all calls", PATIENCE, || {
        let report = operator.get(&format!("{path}/shadow")).ok()?.success().ok()?;
        let seen: u64 = ["same", "different", "failed"].iter().filter_map(|kind| report["counts"][kind].as_u64()).sum();
        (seen >= GUESTS).then_some(report)
    })?;
    let same = GUESTS - different - failed;
    for (kind, count) in [("same", same), ("different", different), ("failed", failed), ("dropped", 0)] {
        ensure!(report["counts"][kind] == count, "{kind}: {} and not {count}", report["counts"]);
    }
    let mut fields = BTreeMap::<&str, u64>::new();
    for field in planted.values().flatten() {
        *fields.entry(field).or_default() += 1;
    }
    ensure!(report["fields"] == json!(fields), "{} and not {fields:?}", report["fields"]);
    let mut seen = BTreeMap::new();
    for example in report["examples"].as_array().context("no examples")? {
        let fields = example["differences"].as_array().context("no differences")?;
        let fields: BTreeSet<_> = fields.iter().filter_map(|difference| difference["field"].as_str()).collect();
        seen.insert(guest(&example["input"])?, fields);
    }
    ensure!(seen == planted, "{seen:?} and not {planted:?}");

    let directory = tempfile::tempdir()?;
    let replay = |name: &str, more: &[&str]| -> Result<String> {
        let file = directory.path().join(format!("{name}.wasm"));
        std::fs::write(&file, component(name)?)?;
        let file = file.to_string_lossy();
        command(&server, &[&["replay", &file, "--plugin", "doorman", "--since", "1h", "--show", "1000"], more].concat())
    };
    let text = replay("after", &[])?;
    let denied = GUESTS / 7;
    let summary = format!(
        "{GUESTS} decisions replayed: {same} same, {} changed\n  {denied} times allow to deny\n  {failed} times allow to fault\n  {} times another allow",
        different + failed,
        different - denied
    );
    ensure!(text.trim_end().ends_with(&summary), "{text}");
    let lines = replay("after", &["--json"])?;
    let mut changed = BTreeSet::new();
    let mut last = Value::Null;
    for line in lines.lines() {
        last = serde_json::from_str(line).with_context(|| format!("not JSON: {line}"))?;
        if let Some(decision) = last.get("decision") {
            ensure!(changed.insert(guest(&decision["input"])?), "{line} comes twice");
        }
    }
    ensure!(changed.iter().eq(planted.keys()), "{changed:?}");
    ensure!(last["same"] == same && last["changed"] == different + failed && last["skipped"] == 0, "{last}");
    let unchanged = replay("before", &[])?;
    ensure!(unchanged.trim_end() == format!("{GUESTS} decisions replayed: {GUESTS} same, 0 changed"), "{unchanged}");
    Ok(())
}
