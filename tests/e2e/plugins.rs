//! Rules that are replaced while the server runs, and rules that misbehave.

use crate::show::Show;
use anyhow::{Context, Result, ensure};
use flyloft_tests::clip::Clip;
use flyloft_tests::guests::component;
use flyloft_tests::http::Http;
use flyloft_tests::push::Push;
use flyloft_tests::rtmp::{Client, Status};
use flyloft_tests::server::{Server, binary};
use flyloft_tests::watch::Watch;
use flyloft_tests::{PATIENCE, wait_for};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

fn publish(server: &Server, key: &str) -> Result<Status> {
    Ok(Client::connect(server.addresses().rtmp, "live")?.publish(key)?.1)
}

#[test]
fn a_misbehaving_policy_costs_its_call_only() -> Result<()> {
    let show = Show::start(&Clip::h264()?, &[])?;
    let viewer = Watch::start(show.flv()?)?;
    viewer.advance(30)?;
    let server = &show.server;
    server.put_plugin("room-policy", &component("moody")?)?.success()?;
    let calm = server.member("calm")?;
    for mood in ["loop", "bomb", "trap"] {
        let member = server.member(mood)?;
        let before = server.usage()?.rss;
        for _ in 0..3 {
            let status = publish(server, &member.key)?;
            ensure!(status.level == "error" && status.code.starts_with("NetStream.Publish."), "{mood}: {status:?}");
            ensure!(!status.description.is_empty(), "{mood}: {status:?}");
        }
        ensure!(server.usage()?.rss < before + (96 << 20), "{mood}: memory grew from {before} to {:?}", server.usage()?);
        ensure!(server.key_state(&member)? == "INACTIVE", "{mood}: {}", server.key_state(&member)?);
        ensure!(publish(server, &calm.key)?.code == "NetStream.Publish.Start", "{mood}: a good call after it fails");
        server.wait_key_state(&calm, "INACTIVE")?;
    }
    let banned = server.member("banned")?;
    let status = publish(server, &banned.key)?;
    ensure!(status.level == "error" && status.description.contains("may not"), "{status:?}");
    viewer.advance(60)?;
    let seen = viewer.leave()?;
    // The publisher was interrupted: of its last group some pictures that are shown earlier were never sent.
    let whole = &seen.video[..seen.video.len().saturating_sub(4)];
    let hole = whole.windows(2).find(|pair| pair[1].time - pair[0].time > 0.050);
    ensure!(hole.is_none(), "a viewer missed pictures meanwhile: {hole:?}");
    Ok(())
}

#[test]
fn a_replaced_output_mode_answers_the_next_publish_and_survives_a_restart() -> Result<()> {
    let clip = Clip::h264()?;
    let mut server = Server::start()?;
    let member = server.member("ada")?;
    let outputs = |server: &Server| -> Result<(bool, bool)> {
        let room = server.room("ada", "A room")?;
        let push = Push::looped(&clip, &format!("{}?mode=RTMP", server.push_url(&member)))?;
        let urls = server.go_live(&member, &room)?;
        drop(push);
        server.wait_room_state(&room, "LIVE_INACTIVE")?;
        server.end_room(&room, false)?.success()?;
        server.wait_key_state(&member, "INACTIVE")?;
        Ok((urls.rtmp.is_some(), urls.hls.is_some()))
    };
    ensure!(outputs(&server)? == (true, false), "the built-in rule");
    server.put_plugin("output-mode", &component("only_cmaf")?)?.success()?;
    ensure!(outputs(&server)? == (false, true), "the replaced rule");
    server.kill()?;
    server.restart()?;
    ensure!(outputs(&server)? == (false, true), "the replaced rule after a crash");
    server.operator()?.delete("/v1/plugins/output-mode")?.success()?;
    ensure!(outputs(&server)? == (true, false), "the built-in rule again");
    Ok(())
}

#[test]
fn what_is_no_plugin_is_refused_and_changes_nothing() -> Result<()> {
    let server = Server::start()?;
    let core_module = b"\0asm\x01\0\0\0";
    let empty_component = b"\0asm\x0d\0\x01\0";
    let mut cut = component("moody")?;
    cut.truncate(cut.len() / 2);
    for bytes in [&b"not wasm at all"[..], b"", core_module, empty_component, &cut] {
        let answer = server.put_plugin("room-policy", bytes)?;
        ensure!((400..500).contains(&answer.status), "status {}: {}", answer.status, answer.text());
        answer.problem(answer.status)?;
    }
    let denied = server.api()?.request("PUT", "/v1/plugins/room-policy", &[], Some(&component("moody")?))?;
    denied.problem(403)?;
    let member = server.member("banned")?;
    ensure!(publish(&server, &member.key)?.code == "NetStream.Publish.Start", "the built-in policy is not in force");
    Ok(())
}

/// Asks for a room token: a question to the policy whose answer shows which version gave it.
pub fn verdict(api: &Http, room: &str) -> Result<String> {
    let answer = api.post(&format!("/v1/video-rooms/{room}/tokens"), &json!({"role": "audience"}))?;
    if answer.status == 200 {
        return Ok("allowed".into());
    }
    let problem = answer.problem(403)?;
    Ok(problem["code"].as_str().unwrap_or_default().to_owned())
}

pub fn deploy(operator: &Http, plugin: &str, component: &[u8]) -> Result<String> {
    let version = operator.request("POST", &format!("/v1/plugins/{plugin}/versions"), &[], Some(component))?.success()?;
    Ok(version["digest"].as_str().context("a version without a digest")?.to_owned())
}

#[test]
fn a_policy_is_bound_shadowed_activated_and_rolled_back_while_calls_go_on() -> Result<()> {
    let mut server = Server::start()?;
    let (operator, api) = (server.operator()?, server.api()?);
    server.member("ada")?;
    let room = server.room("ada", "A room")?;
    let app = server.credentials()?["app"]["id"].as_str().context("no App")?.to_owned();
    let (first, second) =
        (deploy(&operator, "doorman", &component("first")?)?, deploy(&operator, "doorman", &component("second")?)?);
    ensure!(verdict(&api, &room)? == "allowed", "what is not bound is asked");

    let done = AtomicBool::new(false);
    let (binding, counts) = std::thread::scope(|scope| -> Result<(String, BTreeMap<String, u64>)> {
        let callers: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| -> Result<BTreeMap<String, u64>> {
                    let mut counts = BTreeMap::new();
                    while !done.load(Ordering::Relaxed) {
                        *counts.entry(verdict(&api, &room)?).or_default() += 1;
                    }
                    Ok(counts)
                })
            })
            .collect();
        let work = || -> Result<String> {
            let new = json!({"plugin": "doorman", "digest": first, "appId": app});
            let bound = operator.post("/v1/bindings", &new)?.success()?;
            let id = bound["id"].as_str().context("a binding without an id")?.to_owned();
            let path = format!("/v1/bindings/{id}");
            ensure!(verdict(&api, &room)? == "first", "the bound version");
            operator.post(&format!("{path}/shadow"), &json!({"digest": second}))?.success()?;
            let report = wait_for("the shadow version has seen calls", PATIENCE, || {
                let report = operator.get(&format!("{path}/shadow")).ok()?.success().ok()?;
                (report["counts"]["different"].as_u64()? >= 50).then_some(report)
            })?;
            ensure!(report["counts"]["same"] == 0 && report["counts"]["failed"] == 0, "{}", report["counts"]);
            let fields: Vec<_> = report["fields"].as_object().into_iter().flatten().map(|(field, _)| field.as_str()).collect();
            ensure!(fields == ["deny.code", "deny.reason"], "{fields:?}");
            ensure!(verdict(&api, &room)? == "first", "a shadow version answers");
            for round in 0..10 {
                operator.post(&format!("{path}/activate"), &json!({"digest": second}))?.success()?;
                ensure!(verdict(&api, &room)? == "second", "the activated version, round {round}");
                operator.post(&format!("{path}/rollback"), &json!({}))?.success()?;
                ensure!(verdict(&api, &room)? == "first", "the version before, round {round}");
            }
            operator.post(&format!("{path}/shadow"), &json!({"digest": second}))?.success()?;
            Ok(id)
        };
        let worked = work();
        done.store(true, Ordering::Relaxed);
        let mut counts = BTreeMap::new();
        for caller in callers {
            for (verdict, count) in caller.join().map_err(|_| anyhow::anyhow!("a caller panicked"))?? {
                *counts.entry(verdict).or_default() += count;
            }
        }
        Ok((worked?, counts))
    })?;
    ensure!(counts.keys().all(|verdict| ["allowed", "first", "second"].contains(&verdict.as_str())), "{counts:?}");
    ensure!(counts["first"] >= 50, "{counts:?}");

    // Another App has the built-in policy.
    let other = operator.post("/v1/apps", &json!({"name": "other"}))?.success()?;
    let ask = json!({"appUserId": "eve", "appId": other["id"]});
    operator.post("/v1/members", &ask)?.success()?;
    let other_room = operator.post("/v1/video-rooms", &ask)?.success()?;
    ensure!(verdict(&operator, other_room["id"].as_str().context("a room without id")?)? == "allowed", "another App");

    let bindings = |server: &Server| -> Result<Value> {
        let mut all = server.operator()?.get("/v1/bindings")?.success()?;
        // What the last start counts.
        for binding in all["items"].as_array_mut().context("no bindings")? {
            binding["breaker"] = Value::Null;
            binding["createdAt"] = if binding["builtIn"] == true { Value::Null } else { binding["createdAt"].clone() };
        }
        Ok(all)
    };
    let before = bindings(&server)?;
    server.kill()?;
    server.restart()?;
    ensure!(bindings(&server)? == before, "after a crash: {} and before: {before}", bindings(&server)?);
    ensure!(verdict(&server.api()?, &room)? == "first", "after a crash");
    let path = format!("/v1/decisions?binding={binding}&outcome=deny&limit=100");
    let decisions = server.operator()?.get(&path)?.success()?;
    let decisions = decisions["items"].as_array().context("no decisions")?;
    ensure!(decisions.len() == 100, "{} decisions are kept", decisions.len());
    ensure!(decisions.iter().all(|decision| decision["input"]["issue-token"]["role"] == "audience"), "{}", decisions[0]);
    Ok(())
}

/// Runs `flyloft plugin …` for this server and gives what it prints.
pub fn command(server: &Server, arguments: &[&str]) -> Result<String> {
    let mut command = Command::new(binary()?);
    command.arg("plugin").args(arguments).arg("--data").arg(server.data());
    for name in ["FLYLOFT_SERVER", "FLYLOFT_TOKEN"] {
        command.env_remove(name);
    }
    let output = command.output()?;
    let (out, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "plugin {arguments:?}: {error}");
    Ok(out.into_owned())
}

#[test]
fn plugins_are_handled_from_the_command_line() -> Result<()> {
    let server = Server::start()?;
    let api = server.api()?;
    server.member("ada")?;
    let room = server.room("ada", "A room")?;
    let directory = tempfile::tempdir()?;
    let write = |name: &str| -> Result<String> {
        let path = directory.path().join(format!("{name}.wasm"));
        std::fs::write(&path, component(name)?)?;
        Ok(path.to_string_lossy().into_owned())
    };
    let (first, second) = (write("first")?, write("second")?);
    let deployed = command(&server, &["deploy", &first, "--name", "doorman", "--on-failure", "next", "--secret", "key=hunter2"])?;
    ensure!(deployed.starts_with("doorman-1: doorman "), "{deployed}");
    for _ in 0..5 {
        ensure!(verdict(&api, &room)? == "first", "the deployed version");
    }
    let kept = command(&server, &["deploy", &second, "--name", "doorman", "--no-activate", "--json"])?;
    let kept: Value = serde_json::from_str(&kept)?;
    let digest = kept["digest"].as_str().context("no digest")?.trim_start_matches("sha256:").to_owned();
    ensure!(verdict(&api, &room)? == "first", "a version that is only kept answers");

    let replayed = command(&server, &["replay", &second, "--plugin", "doorman", "--since", "1h"])?;
    ensure!(replayed.contains("0 same, 6 changed") && replayed.contains("6 times another deny"), "{replayed}");
    ensure!(replayed.contains(r#"deny.code: was "first", is "second""#), "{replayed}");
    let same = command(&server, &["replay", &first, "--plugin", "doorman"])?;
    ensure!(same.contains("6 same, 0 changed"), "{same}");

    command(&server, &["shadow", "doorman", &digest[..8]])?;
    verdict(&api, &room)?;
    wait_for("the shadow version has seen a call", PATIENCE, || {
        let report = command(&server, &["shadow", "doorman"]).ok()?;
        report.contains("0 same, 1 different").then_some(())
    })?;
    command(&server, &["activate", "doorman", &digest])?;
    ensure!(verdict(&api, &room)? == "second", "the activated version");
    let list = command(&server, &["list"])?;
    ensure!(list.contains(&digest[..12]) && list.contains("active in doorman-1") && !list.contains("hunter2"), "{list}");
    let stats = command(&server, &["stats", "doorman"])?;
    ensure!(stats.contains("1 calls") && stats.contains("doorman-1: breaker closed"), "{stats}");
    command(&server, &["rollback", "doorman"])?;
    ensure!(verdict(&api, &room)? == "first", "the version before");
    ensure!(command(&server, &["delete", "doorman"]).is_err(), "what is bound is deleted");
    command(&server, &["unbind", "doorman"])?;
    ensure!(verdict(&api, &room)? == "allowed", "the built-in policy");
    command(&server, &["bind", "doorman", "--interface", "room-policy", "--position", "-1"])?;
    ensure!(verdict(&api, &room)? == "second", "the newest version");
    command(&server, &["unbind", "doorman"])?;
    command(&server, &["delete", "doorman"])?;
    ensure!(Path::new(&second).exists(), "the author's file is gone");
    let missing = command(&server, &["stats", "doorman"]);
    ensure!(missing.is_err_and(|error| error.to_string().contains("there is no plugin named")), "a deleted plugin has figures");
    Ok(())
}

#[test]
fn webhooks_are_logged_without_their_addresses_and_replayed() -> Result<()> {
    let server = Server::start()?;
    let (operator, api) = (server.operator()?, server.api()?);
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("quota.wasm");
    std::fs::write(&file, component("stream_quota")?)?;
    deploy(&operator, "quota", &component("stream_quota")?)?;
    operator.post("/v1/bindings", &json!({"plugin": "quota", "interfaces": ["webhook"]}))?.success()?;
    // Nobody of that name is there, which is for the second plugin of the chain to judge.
    api.post("/v1/webhooks", &json!({"urls": ["https://hooks.invalid/T0/very-secret"]}))?.success()?;
    server.member("ada")?;
    let decisions = wait_for("both plugins were asked", PATIENCE, || {
        let all = operator.get("/v1/decisions?interface=webhook&limit=100").ok()?.success().ok()?;
        let items = all["items"].as_array()?.clone();
        let asked = |plugin: &str, function: &str| {
            items.iter().any(|decision| decision["plugin"] == plugin && decision["function"] == function)
        };
        (asked("quota", "deliver") && asked("webhook", "deliver") && asked("webhook", "attempted")).then_some(items)
    })?;
    for decision in &decisions {
        ensure!(!decision.to_string().contains("very-secret"), "{decision}");
        ensure!(decision["settings"]["urls"] == "https://hooks.invalid/redacted-1", "{decision}");
        ensure!(decision["context"]["app"]["name"] == "default", "{decision}");
    }
    let file = file.to_string_lossy();
    let replayed = command(&server, &["replay", &file, "--plugin", "quota"])?;
    ensure!(replayed.contains(" same, 0 changed") && !replayed.contains("skipped"), "{replayed}");
    // It abstains where the built-in plugin plans.
    let other = command(&server, &["replay", &file, "--plugin", "webhook"])?;
    ensure!(other.contains("deliver to abstain") && !other.contains("very-secret"), "{other}");
    Ok(())
}
