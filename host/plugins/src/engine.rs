//! The WebAssembly engine: how sandboxes are pooled, how time is measured inside them, and what they may import.

use crate::api::Config;
use crate::error::OpenError;
use crate::sandbox::Sandbox;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;
use wasmtime::component::{HasData, Linker, ResourceTable};
use wasmtime::{Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};
use wasmtime_wasi::WasiView;
use wasmtime_wasi::cli::{WasiCli, WasiCliView};
use wasmtime_wasi::clocks::{WasiClocks, WasiClocksView};
use wasmtime_wasi::filesystem::{WasiFilesystem, WasiFilesystemView};
use wasmtime_wasi::random::WasiRandom;
use wasmtime_wasi::sockets::{WasiSockets, WasiSocketsView};

/// How often running guests are interrupted so that other tasks get their turn.
const TICK: Duration = Duration::from_millis(5);

/// What a component written in another language may consist of; a Rust plugin needs one memory and four instances.
const CORE_INSTANCES_PER_COMPONENT: u32 = 64;
const MEMORIES_PER_COMPONENT: u32 = 8;
const TABLES_PER_COMPONENT: u32 = 32;

/// Memory of a pooled sandbox that is cleaned in place instead of being given back to the kernel, in bytes. Giving it
/// back costs more than a whole call, and more still when two threads do it.
const KEEP_RESIDENT: usize = 256 << 10;

/// The interfaces of WASI 0.2 that a component may import. Files and environment are there because standard libraries
/// ask for them, and are empty; so do those of Python for sockets, which are closed: there is no network.
pub(crate) const WASI: [&str; 28] = [
    "wasi:cli/environment",
    "wasi:cli/exit",
    "wasi:cli/stderr",
    "wasi:cli/stdin",
    "wasi:cli/stdout",
    "wasi:cli/terminal-input",
    "wasi:cli/terminal-output",
    "wasi:cli/terminal-stderr",
    "wasi:cli/terminal-stdin",
    "wasi:cli/terminal-stdout",
    "wasi:clocks/monotonic-clock",
    "wasi:clocks/wall-clock",
    "wasi:filesystem/preopens",
    "wasi:filesystem/types",
    "wasi:io/error",
    "wasi:io/poll",
    "wasi:io/streams",
    "wasi:random/insecure",
    "wasi:random/insecure-seed",
    "wasi:random/random",
    "wasi:sockets/instance-network",
    "wasi:sockets/ip-name-lookup",
    "wasi:sockets/network",
    "wasi:sockets/tcp",
    "wasi:sockets/tcp-create-socket",
    "wasi:sockets/udp",
    "wasi:sockets/udp-create-socket",
    // Types only.
    "flyloft:plugin/types",
];

/// The same in words, for messages.
pub(crate) const AVAILABLE: &str =
    "wasi:cli, wasi:clocks, wasi:filesystem (empty), wasi:io, wasi:random and wasi:sockets (closed)";

/// Sets up the engine for `config` and starts the thread that lets time pass in it; the thread ends with the engine.
pub(crate) fn engine(config: &Config) -> Result<Engine, OpenError> {
    let calls = config.max_concurrent_calls.clamp(1, 10_000);
    // One more for the component that is being loaded.
    let sandboxes = calls + 1;
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(sandboxes)
        .total_core_instances(sandboxes * CORE_INSTANCES_PER_COMPONENT)
        .total_memories(sandboxes * 2 + MEMORIES_PER_COMPONENT)
        .total_tables(sandboxes * 8 + TABLES_PER_COMPONENT)
        .total_stacks(sandboxes)
        .max_core_instances_per_component(CORE_INSTANCES_PER_COMPONENT)
        .max_memories_per_component(MEMORIES_PER_COMPONENT)
        .max_tables_per_component(TABLES_PER_COMPONENT)
        .max_memory_size(config.limits.memory.next_multiple_of(64 << 10))
        .linear_memory_keep_resident(KEEP_RESIDENT)
        .table_keep_resident(KEEP_RESIDENT)
        .pagemap_scan(Enabled::Auto);
    let mut engine = wasmtime::Config::new();
    engine
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool))
        .epoch_interruption(true)
        .memory_init_cow(true)
        // One core stays free for media while a component is compiled.
        .parallel_compilation(false)
        .wasm_backtrace_details(wasmtime::WasmBacktraceDetails::Disable);
    let failed = |reason: String| OpenError::Engine { reason };
    let engine = Engine::new(&engine).map_err(|error| failed(format!("{error:#}")))?;
    let weak = engine.weak();
    std::thread::Builder::new()
        .name("plugin-ticker".into())
        .spawn(move || {
            loop {
                std::thread::sleep(TICK);
                match weak.upgrade() {
                    Some(engine) => engine.increment_epoch(),
                    None => return,
                }
            }
        })
        .map_err(|error| failed(error.to_string()))?;
    Ok(engine)
}

/// Names the engine's settings and version, so that a compiled module of another engine is not mistaken for one of this.
pub(crate) fn compatibility(engine: &Engine) -> String {
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

struct Io;

impl HasData for Io {
    type Data<'a> = &'a mut ResourceTable;
}

/// Everything that a component can import; see [`WASI`].
pub(crate) fn linker(engine: &Engine) -> wasmtime::Result<Linker<Sandbox>> {
    use wasmtime_wasi::p2::bindings::{cli, clocks, filesystem, io, random, sockets};
    let mut linker = Linker::new(engine);
    let l = &mut linker;
    io::error::add_to_linker::<Sandbox, Io>(l, |t| t.ctx().table)?;
    io::poll::add_to_linker::<Sandbox, Io>(l, |t| t.ctx().table)?;
    io::streams::add_to_linker::<Sandbox, Io>(l, |t| t.ctx().table)?;
    clocks::wall_clock::add_to_linker::<Sandbox, WasiClocks>(l, Sandbox::clocks)?;
    clocks::monotonic_clock::add_to_linker::<Sandbox, WasiClocks>(l, Sandbox::clocks)?;
    random::random::add_to_linker::<Sandbox, WasiRandom>(l, |t| t.ctx().ctx.random())?;
    random::insecure::add_to_linker::<Sandbox, WasiRandom>(l, |t| t.ctx().ctx.random())?;
    random::insecure_seed::add_to_linker::<Sandbox, WasiRandom>(l, |t| t.ctx().ctx.random())?;
    filesystem::preopens::add_to_linker::<Sandbox, WasiFilesystem>(l, Sandbox::filesystem)?;
    filesystem::types::add_to_linker::<Sandbox, WasiFilesystem>(l, Sandbox::filesystem)?;
    cli::exit::add_to_linker::<Sandbox, WasiCli>(l, Sandbox::cli)?;
    cli::environment::add_to_linker::<Sandbox, WasiCli>(l, Sandbox::cli)?;
    cli::stdin::add_to_linker::<Sandbox, WasiCli>(l, Sandbox::cli)?;
    cli::stdout::add_to_linker::<Sandbox, WasiCli>(l, Sandbox::cli)?;
    cli::stderr::add_to_linker::<Sandbox, WasiCli>(l, Sandbox::cli)?;
    cli::terminal_input::add_to_linker::<Sandbox, WasiCli>(l, Sandbox::cli)?;
    cli::terminal_output::add_to_linker::<Sandbox, WasiCli>(l, Sandbox::cli)?;
    cli::terminal_stdin::add_to_linker::<Sandbox, WasiCli>(l, Sandbox::cli)?;
    cli::terminal_stdout::add_to_linker::<Sandbox, WasiCli>(l, Sandbox::cli)?;
    cli::terminal_stderr::add_to_linker::<Sandbox, WasiCli>(l, Sandbox::cli)?;
    sockets::instance_network::add_to_linker::<Sandbox, WasiSockets>(l, Sandbox::sockets)?;
    sockets::ip_name_lookup::add_to_linker::<Sandbox, WasiSockets>(l, Sandbox::sockets)?;
    sockets::network::add_to_linker::<Sandbox, WasiSockets>(l, &sockets::network::LinkOptions::default(), Sandbox::sockets)?;
    sockets::tcp::add_to_linker::<Sandbox, WasiSockets>(l, Sandbox::sockets)?;
    sockets::tcp_create_socket::add_to_linker::<Sandbox, WasiSockets>(l, Sandbox::sockets)?;
    sockets::udp::add_to_linker::<Sandbox, WasiSockets>(l, Sandbox::sockets)?;
    sockets::udp_create_socket::add_to_linker::<Sandbox, WasiSockets>(l, Sandbox::sockets)?;
    Ok(linker)
}
