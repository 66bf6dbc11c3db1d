//! How long an honest App's calls take while every other App has a hostile plugin: `cargo bench -p flyloft-plugins --bench beside`,
//! and beside each of them alone with `-- --each`.
//!
//! Questions of the honest App come from outside of the executor at a steady rate, as they do from sockets, and are timed from
//! there to the answer. Each hostile App asks its plugin again as soon as it has an answer, a few times at once. First alone,
//! then beside them with the breaker as it is by default, then with one that never opens: the first is what a server with such
//! Apps lives with, the second what the sandboxes and the turns alone hold back.

#![allow(clippy::unwrap_used)]

use flyloft_plugins::model::*;
use flyloft_plugins::{BreakerSettings, Config, Grants, NewBinding, Plugins};
use flyloft_test_guests::{ABSTAIN, HOSTILE, REACH};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc;
use std::time::{Duration, Instant};

const MEASURE: Duration = Duration::from_secs(3);
/// Questions of the honest App in a second.
const RATE: u32 = 500;
/// Calls that each hostile App has under way at a time.
const AT_ONCE: usize = 2;
const ORDERS: [&str; 17] = [
    "loop",
    "sleep",
    "allocate-4g",
    "allocate-slowly",
    "trap",
    "panic",
    "recurse",
    "exit",
    "huge-reason",
    "huge-labels",
    "many-permissions",
    "not-utf8",
    "spam",
    "spam-forever",
    "keep flood",
    "log critical 5000",
    "http GET",
];

fn context(app: &str) -> Context {
    Context {
        call_id: "0197a3c4-5b6d-7e8f-9a0b-1c2d3e4f5a6b".into(),
        now: 1_800_000_000_000,
        app: App { id: app.into(), name: "Example".into(), output_mode: None },
    }
}

fn publish(stream: &str) -> Action {
    let member = Member { id: "mem_4h8s1q".into(), app_user_id: "user-1024".into(), name: None };
    let connection = Connection {
        protocol: Protocol::Rtmp,
        remote_ip: "192.0.2.7".into(),
        user_agent: Some("Lavf/61.1.100".into()),
        parameters: vec![],
    };
    Action::Publish(PublishRequest { connection, member, room: None, stream: stream.into() })
}

/// A server that takes requests and never ends its answers.
fn slow_loris() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            std::thread::spawn(move || {
                let _ = stream.read(&mut [0; 1024]);
                while stream.write_all(b"H").is_ok() {
                    std::thread::sleep(Duration::from_millis(10));
                }
            });
        }
    });
    url
}

/// Asks for the honest App and gives how long each answer took.
fn honest(runtime: &tokio::runtime::Runtime, plugins: &Plugins) -> Vec<Duration> {
    let questions = RATE * u32::try_from(MEASURE.as_secs()).unwrap();
    let (sender, answers) = mpsc::channel();
    let begin = Instant::now();
    for number in 0..questions {
        std::thread::sleep((begin + number * Duration::from_secs(1) / RATE).saturating_duration_since(Instant::now()));
        let (plugins, sender, asked) = (plugins.clone(), sender.clone(), Instant::now());
        runtime.spawn(async move {
            let answer = plugins.decide(&context("app-honest"), &publish("stream")).await;
            let _ = sender.send((asked.elapsed(), answer.is_ok()));
        });
    }
    drop(sender);
    let taken: Vec<_> = answers.iter().collect();
    assert_eq!(taken.len(), questions as usize, "answers are missing");
    assert!(taken.iter().all(|(_, answered)| *answered), "an honest call failed");
    taken.into_iter().map(|(took, _)| took).collect()
}

/// Processor time of this process.
fn processor_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a timespec that lives through the call.
    assert_eq!(unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) }, 0);
    Duration::new(time.tv_sec.try_into().unwrap(), time.tv_nsec.try_into().unwrap())
}

fn print(name: &str, mut durations: Vec<Duration>, hostile: u64, cores: f64) {
    durations.sort_unstable();
    let micros = |permille: usize| durations[(durations.len() - 1) * permille / 1000].as_nanos() as f64 / 1000.0;
    println!(
        "{name:<42} p50 {:>8.1} us   p99 {:>8.1} us   p99.9 {:>8.1} us   {hostile:>6} hostile calls   {cores:.2} cores",
        micros(500),
        micros(990),
        micros(999),
    );
}

/// A fresh runtime with one hostile App for each order.
fn beside(runtime: &tokio::runtime::Runtime, name: &str, orders: &[String], breaker: BreakerSettings) {
    let plugins = Plugins::open(Config::default()).unwrap();
    runtime.block_on(async {
        for (name, component) in [("hostile", HOSTILE), ("reach", REACH), ("honest", ABSTAIN)] {
            plugins.deploy(name, component.into()).await.unwrap();
        }
        let grants = Grants { hosts: vec!["127.0.0.1".into()], key_value_quota: 100_000, ..Grants::default() };
        let bound = |plugin: &str, app: &str| NewBinding {
            plugin: plugin.into(),
            app: Some(app.into()),
            grants: grants.clone(),
            breaker,
            ..NewBinding::default()
        };
        plugins.bind(bound("honest", "app-honest")).await.unwrap();
        for (index, order) in orders.iter().enumerate() {
            let plugin = if order.contains(' ') { "reach" } else { "hostile" };
            plugins.bind(bound(plugin, &format!("app-{index}"))).await.unwrap();
        }
    });
    let (done, calls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let callers: Vec<_> = orders
        .iter()
        .enumerate()
        .flat_map(|hostile| std::iter::repeat_n(hostile, AT_ONCE))
        .map(|(index, order)| {
            let (plugins, done, calls) = (plugins.clone(), Arc::clone(&done), Arc::clone(&calls));
            let (context, action) = (context(&format!("app-{index}")), publish(order));
            runtime.spawn(async move {
                while !done.load(Relaxed) {
                    let asked = Instant::now();
                    let _ = plugins.decide(&context, &action).await;
                    calls.fetch_add(1, Relaxed);
                    // Where the breaker is open a real caller would have to come back over a socket.
                    if asked.elapsed() < Duration::from_millis(1) {
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                }
            })
        })
        .collect();
    if !orders.is_empty() {
        // The first failures of all of them at once are no steady state.
        std::thread::sleep(Duration::from_secs(3));
    }
    calls.store(0, Relaxed);
    let (begin, used) = (Instant::now(), processor_time());
    let taken = honest(runtime, &plugins);
    let cores = (processor_time() - used).as_secs_f64() / begin.elapsed().as_secs_f64();
    let hostile = calls.load(Relaxed);
    done.store(true, Relaxed);
    runtime.block_on(async {
        for caller in callers {
            caller.await.unwrap();
        }
    });
    print(name, taken, hostile, cores);
    let counters = plugins.get("honest").unwrap().counters;
    assert_eq!(counters.faults.total(), 0);
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let url = slow_loris();
    let orders: Vec<String> =
        ORDERS.iter().map(|&order| if order == "http GET" { format!("{order} {url}") } else { order.to_owned() }).collect();
    let never = BreakerSettings { failures: 1_000_000, ..BreakerSettings::default() };
    println!("{} hostile Apps, {AT_ONCE} calls of each at once; {RATE} honest questions a second", orders.len());
    beside(&runtime, "alone", &[], BreakerSettings::default());
    beside(&runtime, "beside them, breakers as by default", &orders, BreakerSettings::default());
    beside(&runtime, "beside them, breakers that never open", &orders, never);
    // Which of them it is.
    for order in orders.iter().filter(|_| std::env::args().any(|argument| argument == "--each")) {
        let name = format!("beside {:?}, no breaker", order.chars().take(18).collect::<String>());
        beside(&runtime, &name, std::slice::from_ref(order), never);
    }
    beside(&runtime, "alone again", &[], BreakerSettings::default());
}
