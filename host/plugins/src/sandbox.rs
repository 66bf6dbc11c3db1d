//! What the host keeps for one sandbox while it lives: its memory account and, once the guest asks for it, its WASI.

use crate::api::CallLimits;
use crate::grants::Grants;
use crate::logs::{GuestLog, Lines};
use crate::plugin::Identity;
use std::sync::Arc;
use wasmtime::component::ResourceTable;
use wasmtime::{ResourceLimiter, Store};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

/// Handles (streams, pollables, clocks) that a guest may hold at one time.
const MAX_HANDLES: usize = 256;
/// Entries of all tables of a component.
const MAX_TABLE_ENTRIES: usize = 100_000;

/// The host's side of one call.
pub(crate) struct Sandbox {
    pub(crate) account: Account,
    identity: Arc<Identity>,
    #[expect(dead_code)]
    grants: Arc<Grants>,
    call: String,
    log_lines: u32,
    // Most plugins never ask the system for anything, so it is made at the first question.
    system: Option<Box<System>>,
}

struct System {
    wasi: WasiCtx,
    table: ResourceTable,
    log: GuestLog,
}

impl Sandbox {
    /// A store for one call of a plugin, with all its limits set.
    pub(crate) fn store(
        engine: &wasmtime::Engine,
        limits: &CallLimits,
        identity: &Arc<Identity>,
        grants: &Arc<Grants>,
        call: &str,
    ) -> Store<Sandbox> {
        let sandbox = Sandbox {
            account: Account { limit: limits.memory, used: 0, tables: 0, peak: 0, refused: false },
            identity: Arc::clone(identity),
            grants: Arc::clone(grants),
            call: call.to_owned(),
            log_lines: limits.log_lines,
            system: None,
        };
        let mut store = Store::new(engine, sandbox);
        store.limiter(|sandbox| &mut sandbox.account);
        // Not a limit but a yield: the executor's other tasks run, and the caller looks at the deadline.
        store.set_epoch_deadline(1);
        store.epoch_deadline_async_yield_and_update(1);
        store.set_hostcall_fuel(limits.transfer);
        store.set_max_component_handles(MAX_HANDLES);
        store
    }

    /// The last lines that the guest wrote to its standard error, where a panic leaves its message.
    pub(crate) fn last_words(&self) -> Option<String> {
        self.system.as_ref().and_then(|system| system.log.last_words())
    }
}

impl WasiView for Sandbox {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let (identity, call, lines) = (&self.identity, &self.call, self.log_lines);
        let system = self.system.get_or_insert_with(|| {
            let log = GuestLog::new(Arc::clone(identity), call.clone(), lines);
            let wasi = WasiCtx::builder()
                .stdout(Lines::new(log.clone(), "stdout"))
                .stderr(Lines::new(log.clone(), "stderr"))
                .allow_blocking_current_thread(false)
                .allow_tcp(false)
                .allow_udp(false)
                .allow_ip_name_lookup(false)
                .max_random_size(64 << 10)
                .build();
            let mut table = ResourceTable::new();
            table.set_max_capacity(MAX_HANDLES);
            Box::new(System { wasi, table, log })
        });
        WasiCtxView { ctx: &mut system.wasi, table: &mut system.table }
    }
}

/// How much memory a sandbox has and may have, in bytes.
pub(crate) struct Account {
    limit: usize,
    used: usize,
    tables: usize,
    /// The most that it had.
    pub(crate) peak: usize,
    /// Whether it asked for more than it may have. The guest was told no; what it makes of that is its own affair.
    pub(crate) refused: bool,
}

impl Account {
    pub(crate) fn limit(&self) -> u64 {
        self.limit as u64
    }
}

impl ResourceLimiter for Account {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let used = self.used.saturating_add(desired.saturating_sub(current));
        if used > self.limit {
            self.refused = true;
            return Ok(false);
        }
        self.used = used;
        self.peak = self.peak.max(used);
        Ok(true)
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.refused = true;
        Ok(())
    }

    fn table_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let tables = self.tables.saturating_add(desired.saturating_sub(current));
        if tables > MAX_TABLE_ENTRIES {
            self.refused = true;
            return Ok(false);
        }
        self.tables = tables;
        Ok(true)
    }
}
