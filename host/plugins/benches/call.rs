//! What a plugin call costs: `cargo bench -p flyloft-plugins`. Prints microseconds for a call in a fresh sandbox, through
//! the same path as in the server, at one and at two threads, without and with the decision log, and for an instance that is kept,
//! for comparison.

#![allow(clippy::unwrap_used)]

use flyloft_plugins::model::*;
use flyloft_plugins::{Config, Plugins};
use std::time::{Duration, Instant};
use wasmtime::component::{Component, Linker, ResourceTable};
use wasmtime::{Engine, Store};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

const WARM_UP: Duration = Duration::from_millis(500);
const MEASURE: Duration = Duration::from_secs(3);

fn context() -> Context {
    Context {
        call_id: "0197a3c4-5b6d-7e8f-9a0b-1c2d3e4f5a6b".into(),
        now: 1_800_000_000_000,
        app: App { id: "app_7f3k2m".into(), name: "Example".into(), output_mode: None },
    }
}

fn member() -> Member {
    Member { id: "mem_4h8s1q".into(), app_user_id: "user-1024".into(), name: None }
}

fn connection() -> Connection {
    Connection {
        protocol: Protocol::Hls,
        remote_ip: "192.0.2.7".into(),
        user_agent: Some("Mozilla/5.0 (X11; Linux x86_64)".into()),
        parameters: vec![],
    }
}

/// A viewer of a public live room: 13 strings.
fn play() -> Action {
    let room = Room {
        id: "room_9d2c5x".into(),
        kind: RoomType::BroadcastRtmp,
        state: RoomState::Live,
        access: AccessLevel::Public,
        owner: member(),
        title: Some("Friday show".into()),
    };
    Action::Play(PlayRequest {
        connection: connection(),
        room: Some(room),
        owner: member(),
        stream: "st_1a2b3c".into(),
        token: None,
        viewers: 12,
    })
}

/// A publish: 8 strings, 0 rooms.
fn publish() -> Action {
    let room = None;
    Action::Publish(PublishRequest { connection: connection(), member: member(), room, stream: "st_1a2b3c".into() })
}

/// Durations of calls for as long as the measurement lasts.
async fn measure(plugins: Plugins, action: Action) -> Vec<Duration> {
    let context = context();
    let begin = Instant::now();
    while begin.elapsed() < WARM_UP {
        plugins.decide(&context, &action).await.unwrap();
    }
    let mut durations = Vec::with_capacity(1 << 20);
    let begin = Instant::now();
    while begin.elapsed() < MEASURE {
        let start = Instant::now();
        plugins.decide(&context, &action).await.unwrap();
        durations.push(start.elapsed());
        if durations.len().is_multiple_of(1024) {
            tokio::task::yield_now().await;
        }
    }
    durations
}

fn fresh(plugins: &Plugins, name: &str, action: &Action, threads: usize) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_time().build().unwrap();
    let tasks: Vec<_> = (0..threads).map(|_| runtime.spawn(measure(plugins.clone(), action.clone()))).collect();
    let durations = runtime.block_on(async {
        let mut all = Vec::new();
        for task in tasks {
            all.extend(task.await.unwrap());
        }
        all
    });
    print(&format!("{name}, fresh instance, {threads} thread(s)"), durations);
}

fn print(name: &str, mut durations: Vec<Duration>) {
    durations.sort_unstable();
    let micros = |percent: usize| durations[(durations.len() - 1) * percent / 1000].as_nanos() as f64 / 1000.0;
    let rate = durations.len() as f64 / MEASURE.as_secs_f64();
    println!(
        "{name:<44} p50 {:>6.2} us   p99 {:>6.2} us   p99.9 {:>7.2} us   {rate:>9.0} calls/s",
        micros(500),
        micros(990),
        micros(999),
    );
}

struct State(WasiCtx, ResourceTable);

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.0, table: &mut self.1 }
    }
}

/// The same question to an instance that is kept: what isolation costs is the difference.
async fn kept(name: &str, action: &Action) {
    let engine = Engine::new(wasmtime::Config::new().epoch_interruption(true)).unwrap();
    let bytes = include_bytes!(concat!(env!("OUT_DIR"), "/room-policy.wasm"));
    let component = Component::from_binary(&engine, bytes).unwrap();
    let mut linker = Linker::new(&engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker).unwrap();
    let mut store = Store::new(&engine, State(WasiCtx::builder().build(), ResourceTable::new()));
    store.set_epoch_deadline(u64::MAX / 2);
    let instance = linker.instantiate_async(&mut store, &component).await.unwrap();
    let interface = component.get_export_index(None, "flyloft:plugin/room-policy@0.1.0").unwrap();
    let function = component.get_export_index(Some(&interface), "decide").unwrap();
    let decide = instance.get_typed_func::<(&Context, &Action), (Decision,)>(&mut store, function).unwrap();
    let context = context();
    let mut durations = Vec::with_capacity(1 << 22);
    let begin = Instant::now();
    while begin.elapsed() < MEASURE {
        let start = Instant::now();
        decide.call_async(&mut store, (&context, action)).await.unwrap();
        durations.push(start.elapsed());
    }
    print(&format!("{name}, kept instance, 1 thread"), durations);
}

fn main() {
    let plugins = Plugins::open(Config::default()).unwrap();
    for (name, action) in [("publish", publish()), ("play", play())] {
        fresh(&plugins, name, &action, 1);
        fresh(&plugins, name, &action, 2);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(kept(name, &action));
    }
    let dir = tempfile::tempdir().unwrap();
    let logged = Plugins::open(Config { data_dir: Some(dir.path().to_owned()), ..Config::default() }).unwrap();
    for (name, action) in [("publish", publish()), ("play", play())] {
        fresh(&logged, &format!("{name}, logged"), &action, 1);
        fresh(&logged, &format!("{name}, logged"), &action, 2);
    }
    println!("decisions that the log had no room for: {}", logged.decisions_dropped());
    let counters = plugins.get("room-policy").unwrap().counters;
    println!("counted by the server: {} calls, {} faults", counters.calls, counters.faults.total());
    assert_eq!(counters.faults.total(), 0);
}
