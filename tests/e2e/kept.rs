//! What plugins keep by `wasi:keyvalue` outlives the server, however it ends.

use anyhow::{Context, Result, ensure};
use flyloft_tests::guests::component;
use flyloft_tests::http::Http;
use flyloft_tests::rtmp::Client;
use flyloft_tests::server::Server;
use serde_json::{Value, json};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

fn bind(server: &Server, plugin: &str, guest: &str, more: Value) -> Result<String> {
    let operator = server.operator()?;
    let path = format!("/v1/plugins/{plugin}/versions");
    operator.request("POST", &path, &[], Some(&component(guest)?))?.success()?;
    let mut new = json!({"plugin": plugin, "keyValueQuota": 65536});
    for (name, value) in more.as_object().into_iter().flatten() {
        new[name] = value.clone();
    }
    let bound = operator.post("/v1/bindings", &new)?.success()?;
    Ok(bound["id"].as_str().context("a binding without an id")?.to_owned())
}

#[test]
fn a_quota_of_streams_counts_on_after_a_crash() -> Result<()> {
    let mut server = Server::start()?;
    let id = bind(&server, "quota", "stream_quota", json!({"config": {"max-streams": "1"}}))?;
    let (ada, eve) = (server.member("ada")?, server.member("eve")?);
    let publish = |server: &Server, key: &str| -> Result<(Client, String)> {
        let mut client = Client::connect(server.addresses().rtmp, "live")?;
        let status = client.publish(key)?.1;
        Ok((client, format!("{} {}", status.code, status.description)))
    };
    let (_held, status) = publish(&server, &ada.key)?;
    ensure!(status.starts_with("NetStream.Publish.Start"), "{status}");
    let full = publish(&server, &eve.key)?.1;
    ensure!(full.contains("1 streams are live"), "{full}");

    server.kill()?;
    server.restart()?;
    let full = publish(&server, &eve.key)?.1;
    ensure!(full.contains("1 streams are live"), "the place is forgotten after a crash: {full}");
    let (held, status) = publish(&server, &ada.key)?;
    ensure!(status.starts_with("NetStream.Publish.Start"), "who has a place keeps it: {status}");
    drop(held);

    // What was kept goes with its binding.
    let operator = server.operator()?;
    operator.delete(&format!("/v1/bindings/{id}"))?.success()?;
    bind(&server, "quota", "stream_quota", json!({"config": {"max-streams": "1"}}))?;
    let status = publish(&server, &eve.key)?.1;
    ensure!(status.starts_with("NetStream.Publish.Start"), "a new binding has what another one kept: {status}");
    Ok(())
}

/// Asks for a room token, which counts. None when the server is not there.
fn count(api: &Http, room: &str) -> Result<Option<u64>> {
    let Ok(answer) = api.post(&format!("/v1/video-rooms/{room}/tokens"), &json!({"role": "audience"})) else { return Ok(None) };
    let problem = answer.problem(403)?;
    ensure!(problem["code"] == "counted", "{problem}");
    let sum = problem["detail"].as_str().and_then(|sum| sum.parse().ok());
    sum.map(Some).with_context(|| format!("no number in {problem}"))
}

#[test]
fn no_count_that_was_told_is_lost_by_a_crash() -> Result<()> {
    const CALLERS: usize = 4;
    let mut server = Server::start()?;
    bind(&server, "counter", "counter", json!({}))?;
    server.member("ada")?;
    let room = server.room("ada", "A room")?;
    let mut told = Vec::new();
    for round in 0..3 {
        let (api, done, seen) = (server.api()?, AtomicBool::new(false), Mutex::new(Vec::new()));
        std::thread::scope(|scope| -> Result<()> {
            let callers: Vec<_> = (0..CALLERS)
                .map(|_| {
                    scope.spawn(|| -> Result<()> {
                        while !done.load(Ordering::Relaxed) {
                            let Some(sum) = count(&api, &room)? else { break };
                            seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(sum);
                        }
                        Ok(())
                    })
                })
                .collect();
            let begun = || seen.lock().is_ok_and(|seen| seen.len() >= 200);
            let waited = flyloft_tests::wait_until("calls were counted", begun);
            let killed = server.kill();
            done.store(true, Ordering::Relaxed);
            for caller in callers {
                caller.join().map_err(|_| anyhow::anyhow!("a caller panicked"))??;
            }
            waited.and(killed)
        })?;
        let seen = seen.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        told.extend(seen);
        server.restart()?;
        let highest = told.iter().max().copied().unwrap_or(0);
        let next = count(&server.api()?, &room)?.context("the server is not there")?;
        // Calls that were under way may have been counted and not told.
        let most = highest + CALLERS as u64 + 1;
        ensure!(next > highest && next <= most, "round {round}: {next} comes after {highest}");
        told.push(next);
    }
    told.sort_unstable();
    let before = told.len();
    told.dedup();
    ensure!(told.len() == before, "a number was told twice");
    Ok(())
}
