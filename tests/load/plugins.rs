//! `flyloft-bench-plugins`: what a decision costs over HTTP with Flyloft and with `wasmtime serve`, by turns, with the same client.
//!
//! The two are not the same thing, so each figure says what is in it. Flyloft reads a request, finds the room and its owner in its database, asks
//! the policy in a fresh sandbox, logs the decision and answers; `wasmtime serve` reads a request and runs a component in a
//! fresh sandbox, which parses the question and decides by the same rule. Server and client have a processor each.

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use flyloft_tests::contract::room_body;
use flyloft_tests::server::Server;
use serde_json::json;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The processor of the servers, and that of this program.
const SERVERS: &str = "0";
const CLIENT: &str = "1";
/// An answer that is longer than this is none of ours.
const MAX_ANSWER: usize = 64 << 10;

/// Compares a decision over HTTP with Flyloft and with wasmtime serve.
#[derive(Parser)]
#[command(name = "flyloft-bench-plugins", version)]
struct Options {
    /// The program wasmtime, built with `serve`
    #[arg(long)]
    wasmtime: PathBuf,
    /// The component of tests/load/guest
    #[arg(long)]
    component: PathBuf,
    /// How often each is measured, by turns
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// How long each measurement lasts, in seconds
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// Connections at a time where the rate is measured
    #[arg(long, default_value_t = 8)]
    connections: usize,
}

/// A kind of request to a server.
struct Contestant {
    name: &'static str,
    address: SocketAddr,
    request: Vec<u8>,
    status: u16,
}

/// Latencies in microseconds, and answers in a second.
struct Figures {
    p50: f64,
    p99: f64,
    rate: f64,
}

struct Wasmtime {
    child: Child,
    address: SocketAddr,
}

impl Wasmtime {
    fn start(options: &Options) -> Result<Wasmtime> {
        let mut child = Command::new("taskset")
            .args(["-c", SERVERS])
            .arg(&options.wasmtime)
            .args(["serve", "-Scli", "-Opooling-allocator=y", "--addr", "127.0.0.1:0"])
            .arg(&options.component)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("starting taskset and wasmtime")?;
        let mut lines = BufReader::new(child.stderr.take().context("no standard error")?);
        let mut line = String::new();
        lines.read_line(&mut line)?;
        let address = line.split("http://").nth(1).and_then(|rest| rest.trim().trim_end_matches('/').parse().ok());
        let Some(address) = address else {
            let _ = child.kill();
            let _ = child.wait();
            bail!("wasmtime did not say where it listens, but {line:?}");
        };
        // It goes on writing, and must not wait for us.
        std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
        Ok(Wasmtime { child, address })
    }
}

impl Drop for Wasmtime {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a request and reads the whole answer; its status.
fn ask(socket: &mut TcpStream, request: &[u8], buffer: &mut Vec<u8>) -> Result<u16> {
    socket.write_all(request)?;
    buffer.clear();
    let mut piece = [0; 4096];
    loop {
        let read = socket.read(&mut piece)?;
        ensure!(read > 0, "the connection was closed in the middle of an answer");
        buffer.extend_from_slice(&piece[..read]);
        ensure!(buffer.len() <= MAX_ANSWER, "an answer of more than {MAX_ANSWER} bytes");
        let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
        let head = std::str::from_utf8(&buffer[..end]).context("a head that is no text")?;
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            if name.eq_ignore_ascii_case("content-length") { value.trim().parse::<usize>().ok() } else { None }
        });
        let length = length.with_context(|| format!("an answer without a length: {head}"))?;
        if buffer.len() >= end + 4 + length {
            return head.split(' ').nth(1).and_then(|status| status.parse().ok()).context("no status");
        }
    }
}

fn connect(contestant: &Contestant) -> Result<TcpStream> {
    let socket = TcpStream::connect(contestant.address)?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(Duration::from_secs(10)))?;
    Ok(socket)
}

/// Asks on one connection again and again, and gives how long each answer took.
fn drive(contestant: &Contestant, time: Duration) -> Result<Vec<Duration>> {
    let (mut socket, mut buffer, mut taken) = (connect(contestant)?, Vec::new(), Vec::new());
    let begin = Instant::now();
    while begin.elapsed() < time {
        let asked = Instant::now();
        let status = ask(&mut socket, &contestant.request, &mut buffer).with_context(|| contestant.name)?;
        taken.push(asked.elapsed());
        ensure!(status == contestant.status, "{}: {}", contestant.name, String::from_utf8_lossy(&buffer));
    }
    Ok(taken)
}

/// One connection for the latencies, and then many for the rate.
fn measure(contestant: &Arc<Contestant>, options: &Options) -> Result<Figures> {
    let half = Duration::from_secs(options.seconds) / 2;
    let mut one = drive(contestant, half)?;
    one.sort_unstable();
    let micros = |percent: usize| one[(one.len() - 1) * percent / 100].as_nanos() as f64 / 1000.0;
    let many: Vec<_> = (0..options.connections)
        .map(|_| {
            let contestant = Arc::clone(contestant);
            std::thread::spawn(move || drive(&contestant, half))
        })
        .collect();
    let mut answers = 0;
    for thread in many {
        answers += thread.join().map_err(|_| anyhow::anyhow!("a client panicked"))??.len();
    }
    Ok(Figures { p50: micros(50), p99: micros(99), rate: answers as f64 / half.as_secs_f64() })
}

/// Moves all threads of a process to some processors.
fn pin(pid: u32, processors: &str) -> Result<()> {
    let output =
        Command::new("taskset").args(["-a", "-c", "-p", processors, &pid.to_string()]).output().context("running taskset")?;
    ensure!(output.status.success(), "taskset: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

fn request(method: &str, path: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: bench\r\nuser-agent: bench\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// The middle one of some figures.
fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

fn main() -> Result<()> {
    let options = Options::parse();
    ensure!(options.rounds > 0 && options.seconds > 0 && options.connections > 0, "the numbers must be above 0");
    let server = Server::start()?;
    server.member("ada")?;
    let room = server.api()?.post("/v1/video-rooms", &room_body("ada", "A room"))?.success()?;
    // A room that is not live: the policy refuses, so each request ends with its decision.
    let path = format!("/live/{}.flv", room["id"].as_str().context("a room without id")?);
    let wasmtime = Wasmtime::start(&options)?;
    pin(server.pid(), SERVERS)?;
    pin(std::process::id(), CLIENT)?;

    let decided = server.public().get(&path)?;
    let question = {
        let operator = server.operator()?;
        let decisions = operator.get("/v1/decisions?limit=1&interface=room-policy&outcome=deny")?.success()?;
        decisions["items"][0].clone()
    };
    ensure!(question["input"]["play"].is_object(), "the play was not decided: {question}");
    let body = json!({"context": question["context"], "input": question["input"]}).to_string();
    let contestants = [
        Contestant {
            name: "Flyloft: find the room, decide, log",
            address: server.addresses().http,
            request: request("GET", &path, b""),
            status: decided.status,
        },
        Contestant {
            name: "wasmtime serve: parse the question, decide",
            address: wasmtime.address,
            request: request("POST", "/", body.as_bytes()),
            status: 200,
        },
        Contestant {
            name: "wasmtime serve: answer at once",
            address: wasmtime.address,
            request: request("GET", "/", b""),
            status: 200,
        },
    ]
    .map(Arc::new);
    for contestant in &contestants {
        drive(contestant, Duration::from_millis(500))?;
    }
    let mut figures: Vec<Vec<Figures>> = contestants.iter().map(|_| Vec::new()).collect();
    for round in 0..options.rounds {
        for turn in 0..contestants.len() {
            // Whoever is first has the coolest processor, so everybody is first in turn.
            let turn = (turn + round) % contestants.len();
            figures[turn].push(measure(&contestants[turn], &options)?);
        }
    }
    println!("medians of {} rounds; a keep-alive connection for latencies, {} for the rate", options.rounds, options.connections);
    for (contestant, figures) in contestants.iter().zip(&figures) {
        let middle = |of: fn(&Figures) -> f64| median(figures.iter().map(of).collect());
        println!(
            "{:<44} p50 {:>7.1} us   p99 {:>7.1} us   {:>7.0} decisions/s on one processor",
            contestant.name,
            middle(|figures| figures.p50),
            middle(|figures| figures.p99),
            middle(|figures| figures.rate),
        );
    }
    Ok(())
}
