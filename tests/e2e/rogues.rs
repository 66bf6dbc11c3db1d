//! Plugins that mean harm, each in an App of its own: what becomes of their calls, what their authors are told, and that no other App
//! notices.

use crate::plugins::{deploy, verdict};
use anyhow::{Context, Result, ensure};
use flyloft_tests::guests::component;
use flyloft_tests::http::Http;
use flyloft_tests::server::Server;
use flyloft_tests::{PATIENCE, wait_for};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// What the plugin does, how that is counted (`deny` is an answer), and what its author reads about it.
const MISDEEDS: [(&str, &str, &str); 15] = [
    ("loop", "deadline", "look for an endless or slow loop"),
    ("memory", "memory", "look for what grows without end"),
    ("recursion", "trap", "look for a recursion that does not end"),
    ("trap", "trap", "it panicked or aborted"),
    ("panic", "trap", "no tokens today"),
    ("exit", "guest", "it ended itself with exit code 1"),
    ("long-text", "invalid-answer", "the answer (or what it gave to one of its imports) is larger than"),
    ("long-list", "invalid-answer", "the answer"),
    ("not-text", "invalid-answer", "the answer can't be read"),
    ("no-code", "invalid-answer", "deny.code is \"Not A Code!\""),
    ("log", "trap", "out of words"),
    ("store", "deny", "may have 100000 bytes"),
    ("http://127.0.0.2:9/", "deny", "the host is not granted to this plugin"),
    ("http://[::ffff:127.0.0.2]:9/", "deny", "the host is not granted to this plugin"),
    // The address of the slow server takes the place of this.
    ("slow", "deadline", "it was still waiting for 127.0.0.1:"),
];

/// How often each caller comes to each rogue App.
const ROUNDS: usize = 2;
const CALLERS: usize = 6;

/// Takes requests and never ends its answers.
fn slow_loris() -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("http://{}/", listener.local_addr()?);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            std::thread::spawn(move || {
                let _ = stream.read(&mut [0; 1024]);
                while stream.write_all(b"H").is_ok() {
                    std::thread::sleep(Duration::from_millis(20));
                }
            });
        }
    });
    Ok(url)
}

/// Wants a token in a rogue App, where nobody gets one: the answer is no, or that the policy failed.
fn token(operator: &Http, room: &str) -> Result<()> {
    let answer = operator.post(&format!("/v1/video-rooms/{room}/tokens"), &json!({"role": "audience"}))?;
    ensure!([403, 503].contains(&answer.status), "status {}: {}", answer.status, answer.text());
    answer.problem(answer.status)?;
    Ok(())
}

/// Counts down when it is dropped, also when its thread fails.
struct Leave<'a>(&'a AtomicUsize);

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An App with a rogue plugin in front: its room and the binding.
fn rogue(operator: &Http, misdeed: &str) -> Result<(String, String)> {
    let app = operator.post("/v1/apps", &json!({"name": "rogue"}))?.success()?;
    let owner = json!({"appUserId": "mallory", "appId": app["id"]});
    operator.post("/v1/members", &owner)?.success()?;
    let room = operator.post("/v1/video-rooms", &owner)?.success()?;
    let binding = json!({
        "plugin": "rogue", "appId": app["id"], "config": {"misdeed": misdeed}, "hosts": ["127.0.0.1"],
        "keyValueQuota": 100_000, "limits": {"deadlineMs": 100}, "breaker": {"failures": 1_000_000},
    });
    let binding = operator.post("/v1/bindings", &binding)?.success()?;
    let id = |value: &Value| Ok::<_, anyhow::Error>(value["id"].as_str().context("no id")?.to_owned());
    Ok((id(&room)?, id(&binding)?))
}

#[test]
fn no_honest_call_is_lost_while_every_other_app_is_rogue() -> Result<()> {
    let server = Server::start()?;
    let (operator, api) = (server.operator()?, server.api()?);
    server.member("ada")?;
    let honest = server.room("ada", "An honest room")?;
    deploy(&operator, "rogue", &component("rogue")?)?;
    let slow = slow_loris()?;
    let apps = MISDEEDS
        .iter()
        .map(|(misdeed, outcome, told)| {
            let (room, binding) = rogue(&operator, if *misdeed == "slow" { &slow } else { misdeed })?;
            Ok((*misdeed, *outcome, *told, room, binding))
        })
        .collect::<Result<Vec<_>>>()?;
    ensure!(verdict(&api, &honest)? == "allowed", "alone");
    let before = server.usage()?.rss;
    let left = AtomicUsize::new(CALLERS);
    std::thread::scope(|scope| -> Result<()> {
        let callers: Vec<_> = (0..CALLERS)
            .map(|caller| {
                let (apps, operator, left) = (&apps, &operator, &left);
                scope.spawn(move || -> Result<()> {
                    let _leave = Leave(left);
                    for call in 0..ROUNDS * apps.len() {
                        // Each begins elsewhere.
                        let (misdeed, _, _, room, _) = &apps[(caller * 5 + call) % apps.len()];
                        token(operator, room).with_context(|| (*misdeed).to_owned())?;
                    }
                    Ok(())
                })
            })
            .collect();
        let mut calls = 0;
        while left.load(Ordering::Relaxed) > 0 {
            let verdict = verdict(&api, &honest).with_context(|| format!("honest call {calls}"))?;
            ensure!(verdict == "allowed", "honest call {calls}: {verdict}");
            calls += 1;
        }
        println!("{calls} honest calls beside {} rogue ones", CALLERS * ROUNDS * apps.len());
        for caller in callers {
            caller.join().map_err(|_| anyhow::anyhow!("a caller panicked"))??;
        }
        Ok(())
    })?;
    let after = server.usage()?.rss;
    ensure!(after < before + (160 << 20), "memory grew from {before} to {after} bytes");
    for (misdeed, outcome, told, room, binding) in &apps {
        // With time enough on a busy machine for what is no matter of time.
        operator.patch(&format!("/v1/bindings/{binding}"), &json!({"limits": {"deadlineMs": 1500}}))?.success()?;
        token(&operator, room)?;
        let found = operator.get(&format!("/v1/decisions?binding={binding}&limit=5"))?.success()?;
        let decision = &found["items"][0];
        let (kind, reason) = match decision["outcome"].as_str() {
            Some("fault") => (&decision["fault"]["kind"], &decision["fault"]["reason"]),
            _ => (&decision["outcome"], &decision["output"]["deny"]["reason"]),
        };
        ensure!(kind == outcome, "{misdeed}: {decision}");
        ensure!(reason.as_str().is_some_and(|reason| reason.contains(told)), "{misdeed}: {reason} does not say {told:?}");
    }
    // The plugin's own panics are in the log, too.
    let log = server.log();
    let panic = log.lines().find(|line| line.contains("panicked at") && !line.contains("rogue.rs"));
    ensure!(panic.is_none(), "the server panicked: {panic:?}");
    Ok(())
}

#[test]
fn a_rogue_plugin_is_left_alone_after_a_while_and_others_go_on() -> Result<()> {
    let server = Server::start()?;
    let (operator, api) = (server.operator()?, server.api()?);
    server.member("ada")?;
    let honest = server.room("ada", "An honest room")?;
    deploy(&operator, "rogue", &component("rogue")?)?;
    let (room, binding) = rogue(&operator, "loop")?;
    let path = format!("/v1/bindings/{binding}");
    operator.patch(&path, &json!({"breaker": {"failures": 5, "backOffMs": 600_000}}))?.success()?;
    wait_for("the breaker is open", PATIENCE, || {
        let answer = operator.post(&format!("/v1/video-rooms/{room}/tokens"), &json!({"role": "audience"})).ok()?;
        answer.problem(503).ok()?;
        let state = operator.get(&path).ok()?.success().ok()?;
        (state["breaker"]["state"] == "open").then_some(())
    })?;
    let answer = operator.post(&format!("/v1/video-rooms/{room}/tokens"), &json!({"role": "audience"}))?;
    answer.problem(503)?;
    ensure!(verdict(&api, &honest)? == "allowed", "another App");
    let metrics = server.public().get("/metrics")?.text();
    ensure!(metrics.lines().any(|line| line.contains("breaker") && line.contains(&binding)), "no metric shows the breaker");
    Ok(())
}

/// Begins an upload of a component and gives the answer, which may come before all of it was sent.
fn upload(server: &Server, framing: &str, body: impl Fn(&mut TcpStream) -> std::io::Result<()>) -> Result<String> {
    let token = server.credentials()?["operatorToken"].as_str().context("no operator token")?.to_owned();
    let mut socket = TcpStream::connect(server.addresses().http)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    let head = format!(
        "POST /v1/plugins/large/versions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\ncontent-type: application/wasm\r\n\
         connection: close\r\n{framing}\r\n\r\n"
    );
    socket.write_all(head.as_bytes())?;
    // The server may refuse before it has read everything.
    let _ = body(&mut socket);
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer);
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[test]
fn a_component_of_a_hundred_megabytes_is_refused_and_costs_little() -> Result<()> {
    const SIZE: usize = 100 << 20;
    let server = Server::start()?;
    let api = server.api()?;
    server.member("ada")?;
    let honest = server.room("ada", "An honest room")?;
    let before = server.usage()?.rss;
    let piece = vec![0; 1 << 20];
    let told = upload(&server, &format!("content-length: {SIZE}"), |socket| {
        (0..SIZE / piece.len()).try_for_each(|_| socket.write_all(&piece))
    })?;
    let untold = upload(&server, "transfer-encoding: chunked", |socket| {
        for _ in 0..SIZE / piece.len() {
            socket.write_all(format!("{:x}\r\n", piece.len()).as_bytes())?;
            socket.write_all(&piece)?;
            socket.write_all(b"\r\n")?;
        }
        socket.write_all(b"0\r\n\r\n")
    })?;
    for answer in [told, untold] {
        ensure!(answer.starts_with("HTTP/1.1 413 "), "{answer:?}");
        ensure!(answer.contains("67108864") && answer.contains("strip"), "it does not say what to do: {answer:?}");
    }
    ensure!(verdict(&api, &honest)? == "allowed", "an honest call after it");
    let after = server.usage()?.rss;
    ensure!(after < before + (96 << 20), "memory grew from {before} to {after} bytes");
    Ok(())
}
