//! One call: a fresh sandbox, the question, the answer, and what went wrong if there is none.

use crate::api::{CallLimits, Interface};
use crate::error::FaultKind;
use crate::grants::Grants;
use crate::imports::{KeyValue, MemoryKeyValue};
use crate::plugin::{Identity, Loaded, Plugin};
use crate::question::{
    AttemptedQuestion, DeliverQuestion, ListQuestion, OpenQuestion, OutputModeQuestion, PolicyQuestion, Question, ReadQuestion,
    StatQuestion,
};
use crate::sandbox::Sandbox;
use crate::turns::{self, Turns};
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};
use wasmtime::component::{Instance, ResourceTableError, TypedFunc};
use wasmtime::{Engine, PoolConcurrencyLimitError, Store, Trap, WasmBacktrace};
use wasmtime_wasi::I32Exit;

/// What a component may take to start when it is loaded; a busy machine must not refuse a good one.
const LOAD_DEADLINE: Duration = Duration::from_secs(1);
/// A call that took longer lets other tasks run before its answer goes on.
const LONG_POLL: Duration = Duration::from_micros(200);
/// Frames of the same function at the top of a backtrace that tell a runaway recursion.
const RECURSION_FRAMES: usize = 8;

/// What calls need of the runtime.
pub(crate) struct Caller {
    pub(crate) engine: Engine,
    pub(crate) limits: CallLimits,
    /// What calls of this binding that take long or fail have to wait for.
    pub(crate) turns: Turns,
    /// What `wasi:keyvalue` keeps, for all plugins.
    pub(crate) key_values: Arc<dyn KeyValue>,
}

/// Asks one plugin.
pub(crate) async fn ask<Q: Question>(
    caller: &Caller,
    plugin: &Plugin,
    grants: &Arc<Grants>,
    context: &crate::model::Context,
    question: &Q::Ask,
) -> Result<Q::Answer, FaultKind> {
    let started = Instant::now();
    let mut store = Sandbox::store(caller, started, &plugin.identity, grants, &context.call_id);
    let params = Q::params(context, question);
    let result = within_deadline(caller, started, run::<Q>(&mut store, &plugin.loaded, params)).await;
    let result = match result {
        Some(Ok(answer)) => Q::check(question, &answer, grants).map(|()| answer),
        Some(Err(failure)) => Err(explain(failure, &store, &caller.limits)),
        None => Err(late(&store, &caller.limits)),
    };
    // Neither of these says that the plugin takes more than its share.
    if !matches!(result, Err(FaultKind::Overloaded { .. } | FaultKind::Waiting { .. })) {
        caller.turns.report(result.is_ok());
    }
    let took = started.elapsed();
    plugin.tally.call(took, store.data().account.peak as u64);
    if let Err(kind) = &result {
        plugin.tally.fault(kind);
    }
    drop(store);
    if took >= LONG_POLL {
        // A call mostly ends in its first poll: a task that makes one after another would keep all others from this thread.
        tokio::task::yield_now().await;
    }
    result
}

/// Where a call failed.
enum Failure {
    Start(wasmtime::Error),
    Call(wasmtime::Error),
}

async fn run<Q: Question>(store: &mut Store<Sandbox>, loaded: &Loaded, params: Q::Params<'_>) -> Result<Q::Answer, Failure> {
    let instance = loaded.pre.instantiate_async(&mut *store).await.map_err(Failure::Start)?;
    let function = Q::entry(&loaded.entries)
        .and_then(|entry| instance.get_func(&mut *store, entry))
        .ok_or_else(|| Failure::Start(wasmtime::Error::msg("the function is missing")))?;
    // SAFETY: `rehearse` has checked this function of this component against these types when it was loaded.
    let function = unsafe { TypedFunc::<Q::Params<'_>, (Q::Answer,)>::new_unchecked(function) };
    let (answer,) = function.call_async(&mut *store, params).await.map_err(Failure::Call)?;
    Ok(answer)
}

/// Why a component that was linked can't be used.
pub(crate) enum Rehearsal {
    Types { interface: Interface, reason: String },
    Start(FaultKind),
}

/// Instantiates a component as a call does and checks the types of its functions.
pub(crate) async fn rehearse(loaded: &Loaded, engine: &Engine, limits: &CallLimits) -> Result<(), Rehearsal> {
    let identity = Arc::new(Identity::new("(being loaded)", &loaded.inspection.digest));
    let limits = CallLimits { deadline: limits.deadline.max(LOAD_DEADLINE), ..limits.clone() };
    let key_values = Arc::new(MemoryKeyValue::default());
    let caller = Caller { engine: engine.clone(), limits, turns: Turns::new(&turns::Shared::new(1)), key_values };
    let (limits, started) = (&caller.limits, Instant::now());
    let mut store = Sandbox::store(&caller, started, &identity, &Arc::default(), "load");
    let start = async { loaded.pre.instantiate_async(&mut store).await.map_err(Failure::Start) };
    let instance = match within_deadline(&caller, started, start).await {
        Some(Ok(instance)) => instance,
        Some(Err(failure)) => return Err(Rehearsal::Start(explain(failure, &store, limits))),
        None => return Err(Rehearsal::Start(deadline(limits))),
    };
    check_types::<PolicyQuestion>(&mut store, loaded, &instance)?;
    check_types::<OutputModeQuestion>(&mut store, loaded, &instance)?;
    check_types::<DeliverQuestion>(&mut store, loaded, &instance)?;
    check_types::<AttemptedQuestion>(&mut store, loaded, &instance)?;
    check_types::<OpenQuestion>(&mut store, loaded, &instance)?;
    check_types::<StatQuestion>(&mut store, loaded, &instance)?;
    check_types::<ListQuestion>(&mut store, loaded, &instance)?;
    check_types::<ReadQuestion>(&mut store, loaded, &instance)
}

fn check_types<Q: Question>(store: &mut Store<Sandbox>, loaded: &Loaded, instance: &Instance) -> Result<(), Rehearsal> {
    let failed = |reason| Err(Rehearsal::Types { interface: Q::INTERFACE, reason });
    if !loaded.inspection.interfaces.contains(&Q::INTERFACE) {
        return Ok(());
    }
    let Some(function) = Q::entry(&loaded.entries).and_then(|entry| instance.get_func(&mut *store, entry)) else {
        return failed(format!("it has no function named {:?}", Q::FUNCTION));
    };
    match function.typed::<Q::Params<'_>, (Q::Answer,)>(&*store) {
        Ok(_) => Ok(()),
        Err(error) => failed(format!("{}: {error:#}", Q::FUNCTION)),
    }
}

/// Runs a call to its end or to its deadline, when it answers None. Nearly all calls end within their first poll and
/// so need no timer.
async fn within_deadline<T>(caller: &Caller, started: Instant, call: impl Future<Output = T> + Send) -> Option<T> {
    let mut call = pin!(call);
    let mut paced = caller.turns.pace(call.as_mut());
    let result = match std::future::poll_fn(|task| Poll::Ready(pin!(&mut paced).poll(task))).await {
        Poll::Ready(result) => Some(result),
        Poll::Pending => tokio::time::timeout_at((started + caller.limits.deadline).into(), &mut paced).await.ok(),
    };
    if paced.took_long() {
        caller.turns.report(false);
    }
    result
}

/// Why a call was not over at its deadline.
fn late(store: &Store<Sandbox>, limits: &CallLimits) -> FaultKind {
    match (store.data().waiting_for(), deadline(limits)) {
        (Some(host), FaultKind::Deadline { ms }) => FaultKind::Waiting { ms, host: host.to_owned() },
        (_, late) => late,
    }
}

fn deadline(limits: &CallLimits) -> FaultKind {
    FaultKind::Deadline { ms: u64::try_from(limits.deadline.as_millis()).unwrap_or(u64::MAX) }
}

/// Says in an author's terms why a call failed.
fn explain(failure: Failure, store: &Store<Sandbox>, limits: &CallLimits) -> FaultKind {
    let sandbox = store.data();
    let (error, starting) = match failure {
        Failure::Start(error) => (error, true),
        Failure::Call(error) => (error, false),
    };
    if let Some(exit) = error.downcast_ref::<I32Exit>() {
        return FaultKind::Guest { message: format!("it ended itself with exit code {} instead of answering", exit.0) };
    }
    if error.downcast_ref::<PoolConcurrencyLimitError>().is_some() {
        return FaultKind::Overloaded { waiting: 0, of_app: false };
    }
    if sandbox.account.refused {
        return FaultKind::Memory { limit: sandbox.account.limit() };
    }
    if let Some(&trap) = error.downcast_ref::<Trap>() {
        return match trap {
            Trap::Interrupt => deadline(limits),
            trap => FaultKind::Trap { reason: trap_reason(trap, &error, sandbox) },
        };
    }
    if error.downcast_ref::<ResourceTableError>().is_some() {
        let reason = "it holds too many handles (requests, streams, swaps) at a time; drop those that it no longer needs";
        return FaultKind::Trap { reason: reason.to_owned() };
    }
    let reason = format!("{error:#}");
    if reason.contains("too much data is being copied") {
        let problem = format!("is larger than the {} bytes that a call may hand out at a time", limits.transfer);
        return FaultKind::InvalidAnswer { field: "the answer (or what it gave to one of its imports)".to_owned(), problem };
    }
    if starting {
        return FaultKind::Incompatible { reason };
    }
    FaultKind::InvalidAnswer { field: "the answer".to_owned(), problem: format!("can't be read: {reason}") }
}

fn trap_reason(trap: Trap, error: &wasmtime::Error, sandbox: &Sandbox) -> String {
    let recursed = error.downcast_ref::<WasmBacktrace>().is_some_and(recursed);
    let reason = match trap {
        Trap::StackOverflow => "its stack overflowed; look for a recursion that does not end".to_owned(),
        // A component's own stack lies at the start of its memory, so it overflows into nothing.
        Trap::MemoryOutOfBounds if recursed => {
            "its stack overflowed; look for a recursion that does not end, or link with a larger stack (-zstack-size)"
                .to_owned()
        }
        Trap::MemoryOutOfBounds => {
            "it reached outside its memory: a stack overflow (a deep recursion or a large value on the stack), or a fault in unsafe code".to_owned()
        }
        Trap::UnreachableCodeReached => "it panicked or aborted".to_owned(),
        trap => format!("it trapped: {trap}"),
    };
    match sandbox.last_words() {
        Some(words) => format!("{reason}; its last words on stderr were: {words}"),
        None => reason,
    }
}

/// Whether the innermost frames are mostly the same function calling itself.
fn recursed(backtrace: &WasmBacktrace) -> bool {
    let frames: Vec<u32> = backtrace.frames().iter().map(|frame| frame.func_index()).collect();
    frames.iter().any(|function| frames.iter().filter(|other| *other == function).count() >= RECURSION_FRAMES)
}
