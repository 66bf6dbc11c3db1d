//! The WebAssembly engine: how sandboxes are pooled and how time is measured inside them.

use crate::api::Config;
use crate::error::OpenError;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;
use wasmtime::{Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

/// How often running guests are interrupted so that other tasks get their turn: what these may have to wait for where all threads
/// are busy. Each tick wakes one thread for an instant, also where nobody calls anything.
const TICK: Duration = Duration::from_millis(2);

/// What a component written in another language may consist of; a Rust plugin needs one memory and four instances.
const CORE_INSTANCES_PER_COMPONENT: u32 = 64;
const MEMORIES_PER_COMPONENT: u32 = 8;
const TABLES_PER_COMPONENT: u32 = 32;

/// Memory of a pooled sandbox that is cleaned in place instead of being given back to the kernel, in bytes. Giving it
/// back costs more than a whole call, and more still when two threads do it.
const KEEP_RESIDENT: usize = 256 << 10;

/// Sets up the engine for `config` and starts the thread that lets time pass in it; the thread ends with the engine.
pub(crate) fn engine(config: &Config) -> Result<Engine, OpenError> {
    let calls = config.max_concurrent_calls.clamp(1, 10_000);
    // One more for the component that is being loaded, and some for shadow versions.
    let sandboxes = calls + 1 + crate::shadow::CONCURRENT;
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
