//! What can go wrong: a call that failed ([`Fault`]), a component that is not accepted ([`Rejected`]) and a runtime
//! that can't start ([`OpenError`]). Each text says what to do next.

use std::path::PathBuf;

/// A call that gave no usable answer. It cost this call only; the next one starts in a fresh sandbox.
///
/// What it means for the caller: `room-policy` is closed (the action is refused), `output-mode` has already asked
/// the rest of its chain and the App's default is to be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("plugin {plugin} ({digest}) failed in call {call}: {kind}")]
pub struct Fault {
    /// The name of the plugin, for example `room-policy`.
    pub plugin: String,
    /// The digest of its component, `sha256:` and 64 hexadecimal digits.
    pub digest: String,
    /// The [`crate::model::Context::call_id`] of the call.
    pub call: String,
    pub kind: FaultKind,
}

/// The ways in which a call can fail.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FaultKind {
    /// The guest ended itself (`wasi:cli/exit`).
    #[error("{message}")]
    Guest { message: String },
    /// The guest's code trapped: a panic, an abort, a division by zero, a stack overflow and the like.
    #[error("{reason}")]
    Trap { reason: String },
    /// The call ran longer than [`crate::CallLimits::deadline`].
    #[error("no answer within {ms} ms, so the call was ended; look for an endless or slow loop in the plugin, or for a wait")]
    Deadline { ms: u64 },
    /// As [`FaultKind::Deadline`], and a request that the guest had sent was not answered yet.
    #[error(
        "no answer within {ms} ms, so the call was ended: it was still waiting for {host}; give that request a shorter timeout and answer without it, or give the binding a longer limits.deadlineMs"
    )]
    Waiting { ms: u64, host: String },
    /// The guest asked for more memory than [`crate::CallLimits::memory`], in bytes, or for more table entries than it may have.
    #[error(
        "it wanted more than a call may use, which is {limit} bytes of memory and {} table entries; look for what grows without end, or give the binding a higher limits.memory",
        crate::sandbox::MAX_TABLE_ENTRIES
    )]
    Memory { limit: u64 },
    /// The component does not fit the interface any more, or could not be instantiated.
    #[error("it does not fit this server: {reason}; build it again with the server's wit/ directory and upload it again")]
    Incompatible { reason: String },
    /// Too many calls are under way or waiting; the plugin was not asked.
    #[error("{waiting} plugin calls {}, so it was not asked; {}",
        if *of_app { "of this App are waiting for others of it to end" } else { "are waiting already" },
        if *of_app { "look for a plugin of the App that takes long, such as one that asks a slow backend" } else { "try again shortly" }
    )]
    Overloaded {
        waiting: u32,
        /// Whether it is the App that has too many, and not all Apps together.
        of_app: bool,
    },
    /// The answer breaks a limit of the contract.
    #[error("its answer is not valid: {field} {problem}")]
    InvalidAnswer { field: String, problem: String },
    /// It failed so often that its binding's breaker is open; the plugin was not asked.
    #[error("it kept failing and is left alone; a call probes it in {probe_in_ms} ms")]
    BreakerOpen { probe_in_ms: u64 },
}

impl FaultKind {
    /// The kinds' names in the order of [`FaultKind::index`], for metrics.
    pub const NAMES: [&'static str; 8] =
        ["guest", "trap", "deadline", "memory", "incompatible", "overloaded", "invalid-answer", "breaker-open"];

    /// The position of this kind in [`FaultKind::NAMES`].
    pub fn index(&self) -> usize {
        match self {
            FaultKind::Guest { .. } => 0,
            FaultKind::Trap { .. } => 1,
            FaultKind::Deadline { .. } | FaultKind::Waiting { .. } => 2,
            FaultKind::Memory { .. } => 3,
            FaultKind::Incompatible { .. } => 4,
            FaultKind::Overloaded { .. } => 5,
            FaultKind::InvalidAnswer { .. } => 6,
            FaultKind::BreakerOpen { .. } => 7,
        }
    }

    /// The kind's name, for logs and metrics.
    pub fn name(&self) -> &'static str {
        Self::NAMES[self.index()]
    }
}

/// Why a component is not accepted as a plugin. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum Rejected {
    #[error(
        "the plugin name {name:?} can't be used: 1 to 64 lower-case letters, digits and hyphens are allowed, beginning with a letter"
    )]
    Name { name: String },
    #[error(
        "the component has {size} bytes and at most {limit} are accepted; strip it (`strip = true`, `opt-level = \"s\"`) or raise the limit"
    )]
    TooLarge { size: usize, limit: usize },
    #[error("this is not a WebAssembly component: {found}; {remedy}")]
    NotAComponent { found: String, remedy: &'static str },
    #[error("the component is damaged or uses a feature that this server does not support: {reason}")]
    Invalid { reason: String },
    #[error(
        "the component imports what a plugin does not get: {}; a plugin may import {available}, and nothing else",
        names.join(", ")
    )]
    Imports { names: Vec<String>, available: &'static str },
    #[error("the component exports none of the interfaces that this server asks ({}); it exports {found}; build it against the server's wit/ directory", expected.join(", "))]
    NoInterface { expected: Vec<String>, found: String },
    #[error("the component exports {found}, which this server does not speak; build it against {expected}")]
    Version { found: String, expected: String },
    #[error(
        "a plugin named {name} replaces the built-in one, so it must export {expected}; upload it under another name to put it in front of the built-in one"
    )]
    WrongInterface { name: String, expected: String },
    #[error(
        "the component exports {interface}, but its types differ from the contract: {reason}; build it against the server's wit/ directory"
    )]
    Types { interface: String, reason: String },
    #[error("the component needs more than a plugin may have: {reason}")]
    Needs { reason: String },
    #[error(
        "the binding {binding} asks for {interface}, which the component can't be asked for; change the binding's interfaces, or deploy the component without activating it"
    )]
    Binding { binding: String, interface: &'static str },
    #[error("the component could not be started: {kind}")]
    Start { kind: FaultKind },
    #[error("{limit} plugins are loaded already; remove one first")]
    TooMany { limit: usize },
    #[error("the component could not be stored at {}: {reason}", path.display())]
    Storage { path: PathBuf, reason: String },
}

/// Why a plugin can't be removed.
#[derive(Debug, thiserror::Error)]
pub enum RemoveError {
    #[error("there is no plugin named {name:?}")]
    NotFound { name: String },
    #[error("{name} is the built-in plugin; replace it by uploading another one under its name")]
    BuiltIn { name: String },
    #[error("{name} is in use by {}: remove {} first", bindings.join(", "), if bindings.len() == 1 { "this binding" } else { "these bindings" })]
    Bound { name: String, bindings: Vec<String> },
    #[error("the removal could not be stored at {}: {reason}", path.display())]
    Storage { path: PathBuf, reason: String },
}

/// Why a binding can't be made or changed. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error("there is no binding {id:?}")]
    NotFound { id: String },
    #[error("there is no plugin named {name:?}: deploy it first")]
    NoPlugin { name: String },
    #[error("{plugin} has no version {version:?}; it has {}", known.join(", "))]
    NoVersion { plugin: String, version: String, known: Vec<String> },
    #[error("{field}: {problem}")]
    Invalid { field: &'static str, problem: String },
    #[error("{id} is the built-in plugin's own binding: it can't be removed, but another version can be activated in it")]
    BuiltIn { id: String },
    #[error("{id} has no version to go back to: it has had the same one since it was made")]
    NoPrevious { id: String },
    #[error("{id} has no shadow version: set one first")]
    NoShadow { id: String },
    #[error("there are {limit} bindings already; remove one first")]
    TooMany { limit: usize },
    #[error("the change could not be stored at {}: {reason}", path.display())]
    Storage { path: PathBuf, reason: String },
}

/// Why the runtime can't start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(
        "the WebAssembly engine can't be set up: {reason}; lower the number of concurrent calls or the memory of a call, or raise the process's limit of virtual memory"
    )]
    Engine { reason: String },
    #[error("the plugin directory {} can't be used: {reason}", path.display())]
    Directory { path: PathBuf, reason: String },
    #[error("{} can't be read: {reason}; repair it, or delete it to go back to the built-in plugins", path.display())]
    Index { path: PathBuf, reason: String },
    #[error("the stored plugin {name} ({digest}) can't be loaded: {source}; delete its entry in {} to go back to the built-in plugin", index.display())]
    Stored { name: String, digest: String, index: PathBuf, source: Box<Rejected> },
    #[error("the binding {binding} names the version {version}, which {} does not have; repair it, or delete it to go back to the built-in plugins", index.display())]
    Binding { binding: String, version: String, index: PathBuf },
    #[error("the decision log in {} can't be opened: {reason}", path.display())]
    Decisions { path: PathBuf, reason: String },
    #[error("the built-in plugin {name} can't be loaded: {source}; this is a fault of the build")]
    BuiltIn { name: &'static str, source: Box<Rejected> },
}
