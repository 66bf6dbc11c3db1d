//! What the host keeps for one sandbox while it lives: its memory account and, once the guest asks for them, its WASI, its
//! log and its way out.

use crate::call::Caller;
use crate::grants::Grants;
use crate::imports::{KeyValue, Outgoing};
use crate::logs::{GuestLog, Lines};
use crate::plugin::Identity;
use std::sync::Arc;
use std::time::Instant;
use wasmtime::component::ResourceTable;
use wasmtime::{ResourceLimiter, Store};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

/// Handles (streams, pollables, clocks) that a guest may hold at one time.
const MAX_HANDLES: usize = 256;
/// Bytes of the headers of one request or response.
const MAX_HEADERS: usize = 32 << 10;
/// Entries of all tables of a component.
pub(crate) const MAX_TABLE_ENTRIES: usize = 100_000;

/// The host's side of one call.
pub(crate) struct Sandbox {
    pub(crate) account: Account,
    identity: Arc<Identity>,
    grants: Arc<Grants>,
    key_values: Arc<dyn KeyValue>,
    call: String,
    log_lines: u32,
    outgoing_requests: u32,
    outgoing_body: usize,
    /// When the call ends, whatever it is waiting for.
    until: Instant,
    // Most plugins never ask the system for anything, so it is made at the first question.
    system: Option<Box<System>>,
}

struct System {
    wasi: WasiCtx,
    table: ResourceTable,
    log: GuestLog,
    // Made at the first request.
    http: Option<Box<(WasiHttpCtx, Outgoing)>>,
}

impl Sandbox {
    /// A store for one call of a plugin that began at `started`, with all its limits set.
    pub(crate) fn store(
        caller: &Caller,
        started: Instant,
        identity: &Arc<Identity>,
        grants: &Arc<Grants>,
        call: &str,
    ) -> Store<Sandbox> {
        let limits = &caller.limits;
        let sandbox = Sandbox {
            account: Account { limit: limits.memory, used: 0, tables: 0, peak: 0, refused: false },
            identity: Arc::clone(identity),
            grants: Arc::clone(grants),
            key_values: Arc::clone(&caller.key_values),
            call: call.to_owned(),
            log_lines: limits.log_lines,
            outgoing_requests: limits.outgoing_requests,
            outgoing_body: limits.outgoing_body,
            until: started + limits.deadline,
            system: None,
        };
        let mut store = Store::new(&caller.engine, sandbox);
        store.limiter(|sandbox| &mut sandbox.account);
        // Not a limit but a yield: the executor's other tasks run, and the caller looks at the deadline.
        store.set_epoch_deadline(1);
        store.epoch_deadline_async_yield_and_update(1);
        store.set_hostcall_fuel(limits.transfer);
        store.set_max_component_handles(MAX_HANDLES);
        store
    }

    /// What the operator has granted to the plugin.
    pub(crate) fn grants(&self) -> &Arc<Grants> {
        &self.grants
    }

    /// What `wasi:keyvalue` keeps.
    pub(crate) fn key_values(&self) -> &Arc<dyn KeyValue> {
        &self.key_values
    }

    /// What the guest holds handles of.
    pub(crate) fn table(&mut self) -> &mut ResourceTable {
        &mut self.system().table
    }

    /// The log of this call.
    pub(crate) fn log(&mut self) -> &GuestLog {
        &self.system().log
    }

    fn system(&mut self) -> &mut System {
        let (identity, grants, call, lines) = (&self.identity, &self.grants, &self.call, self.log_lines);
        self.system.get_or_insert_with(|| {
            let log = GuestLog::new(Arc::clone(identity), grants, call.clone(), lines);
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
            Box::new(System { wasi, table, log, http: None })
        })
    }

    /// The host of a request that is not answered yet.
    pub(crate) fn waiting_for(&self) -> Option<&str> {
        let (_, outgoing) = self.system.as_ref()?.http.as_deref()?;
        outgoing.waiting_for()
    }

    /// The last lines that the guest wrote to its standard error, where a panic leaves its message.
    pub(crate) fn last_words(&self) -> Option<String> {
        self.system.as_ref().and_then(|system| system.log.last_words())
    }
}

impl WasiView for Sandbox {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let system = self.system();
        WasiCtxView { ctx: &mut system.wasi, table: &mut system.table }
    }
}

impl WasiHttpView for Sandbox {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        let (requests, body, until) = (self.outgoing_requests, self.outgoing_body, self.until);
        let grants = Arc::clone(&self.grants);
        let System { table, log, http, .. } = self.system();
        let (ctx, hooks) = &mut **http.get_or_insert_with(|| {
            let mut ctx = WasiHttpCtx::new();
            ctx.set_field_size_limit(MAX_HEADERS);
            Box::new((ctx, Outgoing::new(grants, log.clone(), requests, body, until)))
        });
        WasiHttpCtxView { ctx, table, hooks }
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

    fn table_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.refused = true;
        Ok(())
    }
}
