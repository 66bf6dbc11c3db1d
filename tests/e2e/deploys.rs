//! Versions of a policy that come and go under load: every call is answered, by one of them.
//! `DEPLOY_RATE` (calls per second) and `DEPLOY_SECONDS` make it another size than the usual.

use crate::plugins::deploy;
use anyhow::{Context, Result, ensure};
use flyloft_tests::guests::component;
use flyloft_tests::http::Http;
use flyloft_tests::rtmp::Client;
use flyloft_tests::server::Server;
use serde_json::json;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Threads that want to watch; each has one request under way at a time.
const VIEWERS: usize = 12;
/// Of so many calls one is a publish.
const PUBLISHES: usize = 20;

fn number(name: &str, usual: u32) -> Result<u32> {
    match std::env::var(name) {
        Ok(text) => text.parse().with_context(|| format!("{name} must be a number")),
        Err(_) => Ok(usual),
    }
}

/// Which version answered.
fn play(http: &Http, url: &str) -> Result<String> {
    let problem = http.get(url)?.problem(403)?;
    let kind = problem["type"].as_str().unwrap_or_default();
    Ok(kind.strip_prefix("urn:flyloft:problem:").with_context(|| format!("no type in {problem}"))?.to_owned())
}

fn publish(address: SocketAddr, key: &str) -> Result<String> {
    let status = Client::connect(address, "live")?.publish(key)?.1;
    ensure!(status.level == "error" && status.code.starts_with("NetStream.Publish."), "{status:?}");
    let version = ["first", "second"].into_iter().find(|version| status.description.contains(&format!("the {version} version")));
    Ok(version.with_context(|| format!("no version says {status:?}"))?.to_owned())
}

/// The same policy as another component, by a custom section at its end.
fn variant(component: &[u8], number: u32) -> Vec<u8> {
    let section = [&[0, 6, 1, b'n'][..], &number.to_le_bytes()].concat();
    [component, &section].concat()
}

/// Changes the policy until the time is over; how often.
fn change(server: &Server, binding: &str, url: &str, until: Instant) -> Result<u32> {
    let operator = server.operator()?;
    let viewer = server.public();
    let policies = [("first", component("first")?), ("second", component("second")?)];
    let path = format!("/v1/bindings/{binding}");
    let mut changes = 0;
    let answers = |version: &str, what: &str| -> Result<()> {
        let found = play(&viewer, url)?;
        ensure!(found == version, "{what} answers {found} and not {version}");
        Ok(())
    };
    for round in 0.. {
        if Instant::now() >= until {
            break;
        }
        let (version, policy) = &policies[(round as usize + 1) % 2];
        let (before, _) = &policies[round as usize % 2];
        // A component that this server has not seen is compiled while the calls go on.
        let digest = deploy(&operator, "doorman", &variant(policy, round))?;
        operator.post(&format!("{path}/activate"), &json!({"digest": digest}))?.success()?;
        answers(version, "the activated version")?;
        operator.post(&format!("{path}/rollback"), &json!({}))?.success()?;
        answers(before, "the version before")?;
        operator.post(&format!("{path}/shadow"), &json!({"digest": digest}))?.success()?;
        operator.post(&format!("{path}/activate"), &json!({"digest": digest}))?.success()?;
        answers(version, "the version that was a shadow")?;
        changes += 4;
    }
    Ok(changes)
}

#[test]
fn no_call_is_lost_or_answered_by_neither_version_while_they_change() -> Result<()> {
    let (rate, seconds) = (number("DEPLOY_RATE", 500)?, number("DEPLOY_SECONDS", 8)?);
    ensure!(rate > 0 && seconds > 0, "DEPLOY_RATE and DEPLOY_SECONDS must be above 0");
    let server = Server::start()?;
    let visitor = server.member("visitor")?;
    let room = format!("{}/live/{}", server.base(), server.room("visitor", "A room")?);
    let (flv, hls, rtmp) = (format!("{room}.flv"), format!("{room}/index.m3u8"), server.addresses().rtmp);
    let operator = server.operator()?;
    let app = server.credentials()?["app"]["id"].clone();
    deploy(&operator, "doorman", &component("first")?)?;
    let bound = operator.post("/v1/bindings", &json!({"plugin": "doorman", "appId": app}))?.success()?;
    let binding = bound["id"].as_str().context("a binding without id")?;
    let (begin, next) = (Instant::now(), AtomicUsize::new(0));
    let until = begin + Duration::from_secs(seconds.into());
    let (counts, changes) = std::thread::scope(|scope| -> Result<(BTreeMap<String, usize>, u32)> {
        let callers: Vec<_> = (0..VIEWERS)
            .map(|_| {
                let (http, key, next, flv, hls) = (server.public(), &visitor.key, &next, &flv, &hls);
                scope.spawn(move || -> Result<BTreeMap<String, usize>> {
                    let mut counts = BTreeMap::new();
                    loop {
                        // A steady rate, or as many as the machine bears.
                        let due = begin + Duration::from_secs(1) * next.load(Ordering::Relaxed) as u32 / rate;
                        if due.max(Instant::now()) >= until {
                            return Ok(counts);
                        }
                        let call = next.fetch_add(1, Ordering::Relaxed);
                        std::thread::sleep(due.saturating_duration_since(Instant::now()));
                        let answer = match call {
                            call if call.is_multiple_of(PUBLISHES) => publish(rtmp, key),
                            call if call.is_multiple_of(2) => play(&http, &format!("{flv}?call={call}")),
                            call => play(&http, &format!("{hls}?call={call}")),
                        };
                        *counts.entry(answer.with_context(|| format!("call {call}"))?).or_default() += 1;
                    }
                })
            })
            .collect();
        let changed = change(&server, binding, &flv, until);
        let mut counts = BTreeMap::new();
        for caller in callers {
            for (version, count) in caller.join().map_err(|_| anyhow::anyhow!("a caller panicked"))?? {
                *counts.entry(version).or_default() += count;
            }
        }
        Ok((counts, changed?))
    })?;
    let calls = next.into_inner();
    let real = calls as f64 / begin.elapsed().as_secs_f64();
    println!("{calls} calls at {real:.0} a second (wanted: {rate}) during {changes} changes: {counts:?}");
    ensure!(counts.values().sum::<usize>() == calls, "answers are missing: {counts:?}");
    ensure!(counts.keys().eq(["first", "second"]), "neither version said {counts:?}");
    ensure!(changes > 0, "nothing was changed meanwhile");
    Ok(())
}
