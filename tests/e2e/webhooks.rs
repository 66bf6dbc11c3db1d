//! Webhooks through the worst: a receiver that fails, hangs and is killed, and a server that is killed. Every event arrives, in the order
//! of its room, with a signature that the official library accepts.

use anyhow::{Context, Result, ensure};
use flyloft_tests::contract::room_body;
use flyloft_tests::process::{Signal, signal};
use flyloft_tests::server::Server;
use flyloft_tests::{PATIENCE, wait_for};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const ROOMS: usize = 24;
const WRITERS: usize = 4;
/// How often both sides are killed; the receiver is also killed alone now and then.
const CRASHES: usize = 6;

/// Chance that can be repeated: SplitMix64 (Steele, Lea and Flood 2014).
struct Dice(u64);

impl Dice {
    /// With the seed of `WEBHOOK_SEED`, or of the clock.
    fn new() -> Result<Dice> {
        let seed = match std::env::var("WEBHOOK_SEED") {
            Ok(seed) => seed.parse().context("WEBHOOK_SEED must be a number")?,
            Err(_) => std::time::UNIX_EPOCH.elapsed()?.as_millis() as u64,
        };
        println!("WEBHOOK_SEED={seed} kills at the same moments again");
        Ok(Dice(seed))
    }

    /// A number below `sides`.
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % sides.max(1) as u64) as usize
    }
}

/// The receiver's process. What it took is in a file that outlives it.
struct Receiver {
    directory: tempfile::TempDir,
    port: u16,
    child: Child,
}

impl Receiver {
    fn start(trouble: u32) -> Result<Receiver> {
        let directory = tempfile::tempdir()?;
        std::fs::write(directory.path().join("log"), "")?;
        std::fs::write(directory.path().join("secret"), "")?;
        let (child, port) = launch(directory.path(), 0, trouble)?;
        Ok(Receiver { directory, port, child })
    }

    fn set_secret(&self, webhook: &Value) -> Result<()> {
        let secret = webhook["secret"].as_str().with_context(|| format!("no secret in {webhook}"))?;
        Ok(std::fs::write(self.directory.path().join("secret"), secret)?)
    }

    fn kill(&mut self) -> Result<()> {
        signal(self.child.id(), Signal::Kill)?;
        self.child.wait().context("waiting for the killed receiver")?;
        Ok(())
    }

    fn restart(&mut self, trouble: u32) -> Result<()> {
        (self.child, _) = launch(self.directory.path(), self.port, trouble)?;
        Ok(())
    }

    fn log(&self) -> PathBuf {
        self.directory.path().join("log")
    }

    /// What it has taken so far, in order.
    fn taken(&self) -> Result<Vec<Value>> {
        let text = std::fs::read_to_string(self.log())?;
        // The last line of a killed receiver may be cut off; it was not answered then.
        let lines: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let refused: Vec<_> = lines.iter().filter(|line| line["refused"].is_string()).collect();
        ensure!(refused.is_empty(), "signatures were refused: {refused:?}");
        Ok(lines)
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn launch(directory: &Path, port: u16, trouble: u32) -> Result<(Child, u16)> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/webhook-receiver/receive.mjs");
    let mut child = Command::new("node")
        .args([script, "--port", &port.to_string(), "--trouble", &trouble.to_string(), "--log"])
        .arg(directory.join("log"))
        .arg("--secret-file")
        .arg(directory.join("secret"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("starting node")?;
    let mut line = String::new();
    let output = child.stdout.take().context("no standard output")?;
    BufReader::new(output).read_line(&mut line)?;
    let port = line
        .trim()
        .parse()
        .with_context(|| format!("the receiver said {line:?}; what it needs is installed by `npm ci` in tests/webhook-receiver"));
    Ok((child, port?))
}

fn server() -> Result<Server> {
    Server::with(&[
        ("webhooks.allow_networks", "127.0.0.0/8"),
        ("webhooks.timeout_ms", "1000"),
        ("webhooks.first_retry_ms", "50"),
        ("webhooks.longest_retry_ms", "1000"),
    ])
}

fn subscribe(server: &Server, receiver: &Receiver) -> Result<Value> {
    let body = json!({"urls": [format!("http://127.0.0.1:{}/hook", receiver.port)]});
    let webhook = server.api()?.post("/v1/webhooks", &body)?.success()?;
    receiver.set_secret(&webhook)?;
    Ok(webhook)
}

/// Waits until the server has nothing left to deliver.
fn drained(server: &Server, webhook: &Value, limit: Duration) -> Result<()> {
    let (api, id) = (server.api()?, webhook["id"].as_str().context("no id")?);
    let left = || {
        let found = api.get(&format!("/v1/webhooks/{id}/deliveries")).ok()?.success().ok()?;
        Some(found["items"].as_array()?.len())
    };
    wait_for("everything is delivered", limit, || (left()? == 0).then_some(()))
        .with_context(|| format!("{:?} deliveries are left; the end of the log:\n{}", left(), tail(&server.log())))?;
    let depth = || -> Option<f64> {
        let text = server.public().get("/metrics").ok()?.text();
        text.lines().find_map(|line| line.strip_prefix("flyloft_webhook_outbox_depth "))?.parse().ok()
    };
    wait_for("the metrics show an empty outbox", PATIENCE, || (depth()? == 0.0).then_some(()))
}

fn tail(log: &str) -> String {
    let lines: Vec<_> = log.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}

/// Changes rooms until the server does not answer any more or `wanted` changes were acknowledged in all.
fn write(
    server: &Server,
    rooms: &[String],
    round: usize,
    wanted: usize,
    done: &Arc<AtomicUsize>,
) -> Result<Vec<std::thread::JoinHandle<()>>> {
    (0..WRITERS)
        .map(|writer| {
            let own: Vec<_> = rooms.iter().skip(writer).step_by(WRITERS).cloned().collect();
            let (api, done) = (server.api()?, Arc::clone(done));
            Ok(std::thread::spawn(move || {
                for step in 0.. {
                    for room in &own {
                        if done.load(Ordering::Relaxed) >= wanted {
                            return;
                        }
                        let title = json!({"title": format!("{round}.{step}")});
                        let Ok(answer) = api.patch(&format!("/v1/video-rooms/{room}"), &title) else { return };
                        if answer.status != 200 {
                            return;
                        }
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }))
        })
        .collect()
}

/// All committed events were taken, each room's in its order, and each under one id.
fn check(server: &Server, receiver: &Receiver) -> Result<usize> {
    let taken = receiver.taken()?;
    let (mut first, mut known, mut messages) = (BTreeMap::<String, Vec<i64>>::new(), HashSet::new(), HashMap::new());
    for line in &taken {
        let (id, message) = (line["id"].to_string(), line["message"].to_string());
        ensure!(*messages.entry(id.clone()).or_insert_with(|| message.clone()) == message, "{id} came under two ids");
        if known.insert(id) {
            let seq = line["seq"].as_i64().with_context(|| format!("no seq in {line}"))?;
            first.entry(line["room"].to_string()).or_default().push(seq);
        }
    }
    let mut expected = BTreeMap::<String, Vec<i64>>::new();
    let events = server.events()?;
    for event in &events {
        let seq = event["seq"].as_i64().with_context(|| format!("no seq in {event}"))?;
        expected.entry(event["roomId"].to_string()).or_default().push(seq);
    }
    for (room, order) in &expected {
        let got = first.get(room).with_context(|| format!("nothing of {room} arrived"))?;
        ensure!(got == order, "{room}: {got:?} arrived, {order:?} happened");
    }
    ensure!(first.len() == expected.len(), "something arrived that did not happen");
    println!("{} events, {} deliveries taken", events.len(), taken.len());
    Ok(events.len())
}

#[test]
fn every_event_arrives_in_order_though_both_sides_are_killed() -> Result<()> {
    let wanted: usize = match std::env::var("WEBHOOK_EVENTS") {
        Ok(count) => count.parse().context("WEBHOOK_EVENTS must be a number")?,
        Err(_) => 1_200,
    };
    let mut server = server()?;
    let mut receiver = Receiver::start(10)?;
    let webhook = subscribe(&server, &receiver)?;
    server.member("ada")?;
    let rooms = (0..ROOMS).map(|index| server.room("ada", &format!("Room {index}"))).collect::<Result<Vec<_>>>()?;
    let (done, mut dice) = (Arc::new(AtomicUsize::new(0)), Dice::new()?);
    let changed =
        |goal: usize| wait_for("some rooms were changed", PATIENCE * 10, || (done.load(Ordering::Relaxed) >= goal).then_some(()));
    let part = wanted / (CRASHES + 1);
    for round in 0..=CRASHES {
        let last = round == CRASHES;
        let writers = write(&server, &rooms, round, if last { wanted } else { usize::MAX }, &done)?;
        if dice.roll(2) == 0 {
            changed(part * round + dice.roll(part / 2))?;
            receiver.kill()?;
            std::thread::sleep(Duration::from_millis(dice.roll(300) as u64));
            receiver.restart(10)?;
        }
        changed(if last { wanted } else { part * round + part / 2 + dice.roll(part / 2) })?;
        if !last {
            let server_first = dice.roll(2) == 0;
            if server_first {
                server.kill()?;
            }
            receiver.kill()?;
            std::thread::sleep(Duration::from_millis(dice.roll(300) as u64));
            if !server_first {
                server.kill()?;
            }
        }
        for writer in writers {
            writer.join().map_err(|_| anyhow::anyhow!("a writer panicked"))?;
        }
        if round < CRASHES {
            server.restart()?;
            receiver.restart(10)?;
        }
    }
    // What is left has to be delivered through the receiver's troubles, too.
    drained(&server, &webhook, PATIENCE * 20)?;
    let events = check(&server, &receiver)?;
    ensure!(events >= wanted, "only {events} events");
    Ok(())
}

#[test]
fn what_is_private_is_not_reached_without_a_grant() -> Result<()> {
    let mut receiver = Receiver::start(0)?;
    let server = Server::start()?;
    let api = server.api()?;
    for host in ["127.0.0.1", "[::ffff:127.0.0.1]", "2130706433", "0x7f.1", "0177.0.0.1", "127.1"] {
        let body = json!({"urls": [format!("http://{host}:{}/", receiver.port)]});
        ensure!(api.post("/v1/webhooks", &body)?.status == 422, "{host} was taken");
    }
    // A name is judged by what it resolves to when something is sent there.
    let body = json!({"urls": [format!("http://localhost:{}/", receiver.port)]});
    let webhook = api.post("/v1/webhooks", &body)?.success()?;
    let path = format!("/v1/webhooks/{}", webhook["id"].as_str().context("no id")?);
    let tested = api.post(&format!("{path}/test"), &json!({}))?.success()?;
    let error = tested["deliveries"][0]["error"].as_str().with_context(|| format!("no error in {tested}"))?;
    ensure!(error.contains("localhost") && error.contains("loopback"), "{error}");
    server.member("ada")?;
    let waiting = wait_for("the delivery was tried", PATIENCE, || {
        let found = api.get(&format!("{path}/deliveries?state=waiting")).ok()?.success().ok()?;
        found["items"].as_array()?.first().cloned()
    })?;
    ensure!(waiting["lastError"].as_str().is_some_and(|error| error.contains("loopback")), "{waiting}");
    ensure!(receiver.taken()?.is_empty(), "it was reached");
    receiver.kill()
}

#[test]
fn a_rotated_secret_is_taken_by_those_who_know_either() -> Result<()> {
    let (server, receiver) = (server()?, Receiver::start(0)?);
    let api = server.api()?;
    let webhook = subscribe(&server, &receiver)?;
    let path = format!("/v1/webhooks/{}", webhook["id"].as_str().context("no id")?);
    let taken = |count: usize| wait_for("it was taken", PATIENCE, || (receiver.taken().ok()?.len() == count).then_some(()));
    server.member("ada")?;
    taken(1)?;
    let rotated = api.post(&format!("{path}/rotate-secret"), &json!({}))?.success()?;
    api.post("/v1/video-rooms", &room_body("ada", "With the old one"))?.success()?;
    taken(2)?;
    receiver.set_secret(&rotated)?;
    api.post("/v1/video-rooms", &room_body("ada", "With the new one"))?.success()?;
    taken(3)?;
    api.post(&format!("{path}/retire-secret"), &json!({}))?.success()?;
    api.post("/v1/video-rooms", &room_body("ada", "With the new one alone"))?.success()?;
    taken(4)?;
    let events = server.events()?;
    ensure!(events.len() == 4, "{events:?}");
    Ok(())
}
