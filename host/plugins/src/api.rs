//! The values that go in and out of [`crate::Plugins`]: its configuration, a decision with its origin, and what is
//! known about a loaded plugin.

use crate::decisions::DecisionLimits;
use crate::grants::Grants;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

/// What one call may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallLimits {
    /// From the start of the sandbox to the answer, on the wall clock.
    pub deadline: Duration,
    /// Linear memory in bytes, all memories of the component together.
    pub memory: usize,
    /// Bytes that one call may move out of the sandbox: its answer and its log lines.
    pub transfer: usize,
    /// Log lines that one call may write; what is more is counted and dropped.
    pub log_lines: u32,
    /// HTTP requests that one call may make. They end with the call, so its deadline has to leave time for them.
    pub outgoing_requests: u32,
    /// Bytes of the body of such a request, and of its answer.
    pub outgoing_body: usize,
}

impl Default for CallLimits {
    fn default() -> Self {
        CallLimits {
            deadline: Duration::from_millis(50),
            memory: 64 << 20,
            transfer: 1 << 20,
            log_lines: 64,
            outgoing_requests: 4,
            outgoing_body: 1 << 20,
        }
    }
}

/// How the runtime is set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Holds the uploaded components and the compiled-module cache; made if it is missing, readable by the owner
    /// only. None keeps everything in memory.
    pub data_dir: Option<PathBuf>,
    pub limits: CallLimits,
    /// Sandboxes that may exist at one time. Memory for them is reserved as address space, not used.
    pub max_concurrent_calls: u32,
    /// Calls that may wait for a sandbox; more are refused with [`crate::FaultKind::Overloaded`].
    pub max_waiting_calls: u32,
    /// Bytes of an uploaded component.
    pub max_component_size: usize,
    /// Plugins beside the built-in ones.
    pub max_plugins: usize,
    /// How much of the decision log is kept. Without a `data_dir` there is none.
    pub decisions: DecisionLimits,
    /// What the built-in plugins' own bindings are granted beside what is stored for them, by the plugins' names. It is not stored, and
    /// a setting that is stored stands before one of the same name.
    pub granted: BTreeMap<String, Grants>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            data_dir: None,
            limits: CallLimits::default(),
            max_concurrent_calls: 64,
            max_waiting_calls: 1024,
            max_component_size: 64 << 20,
            max_plugins: 64,
            decisions: DecisionLimits::default(),
            granted: BTreeMap::new(),
        }
    }
}

/// An answer and where it came from, for the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Decided<T> {
    pub answer: T,
    /// The plugin that answered; when all of them abstained, the last one that was asked.
    pub plugin: String,
    /// The digest of its component, `sha256:` and 64 hexadecimal digits.
    pub digest: String,
    /// From the question to the answer, all plugins of the chain together.
    pub duration: Duration,
}

/// An interface that a plugin can export.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Interface {
    RoomPolicy,
    OutputMode,
    Webhook,
    VodSource,
}

impl Interface {
    pub const ALL: [Interface; 4] = [Interface::RoomPolicy, Interface::OutputMode, Interface::Webhook, Interface::VodSource];

    /// The built-in plugins by their names, each with the one interface for which it is asked.
    pub(crate) const BUILT_IN: [(&str, Interface); 6] = [
        ("room-policy", Interface::RoomPolicy),
        ("output-mode", Interface::OutputMode),
        ("webhook", Interface::Webhook),
        ("local", Interface::VodSource),
        ("s3", Interface::VodSource),
        ("spaces", Interface::VodSource),
    ];

    /// The interface's short name.
    pub fn name(self) -> &'static str {
        match self {
            Interface::RoomPolicy => "room-policy",
            Interface::OutputMode => "output-mode",
            Interface::Webhook => "webhook",
            Interface::VodSource => "vod-source",
        }
    }

    /// The interface with this short name.
    pub fn of(name: &str) -> Option<Interface> {
        Interface::ALL.into_iter().find(|interface| interface.name() == name)
    }

    /// The interface for which there is a built-in plugin with this name.
    pub(crate) fn built_in(name: &str) -> Option<Interface> {
        Interface::BUILT_IN.into_iter().find(|(built_in, _)| *built_in == name).map(|(_, interface)| interface)
    }

    /// The full name as it stands in a component.
    pub fn export(self) -> &'static str {
        match self {
            Interface::RoomPolicy => "flyloft:plugin/room-policy@0.1.0",
            Interface::OutputMode => "flyloft:plugin/output-mode@0.1.0",
            Interface::Webhook => "flyloft:plugin/webhook@0.1.0",
            Interface::VodSource => "flyloft:plugin/vod-source@0.1.0",
        }
    }
}

/// What a component is, found by loading it as for a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Inspection {
    /// `sha256:` and 64 hexadecimal digits.
    pub digest: String,
    /// Bytes.
    pub size: u64,
    /// The interfaces that it exports and that this server asks.
    pub interfaces: Vec<Interface>,
    /// The full names of what it imports.
    pub imports: Vec<String>,
}

/// A loaded plugin.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PluginInfo {
    pub name: String,
    #[serde(flatten)]
    pub component: Inspection,
    /// Of the interfaces that it exports, those for which it is asked: under the name of a built-in plugin only
    /// that plugin's interface, under any other name all of them.
    pub serves: Vec<Interface>,
    /// Whether it came with the server.
    pub built_in: bool,
    /// When it was uploaded, or for a built-in plugin when the server started.
    #[serde(serialize_with = "unix_millis")]
    pub loaded_at: SystemTime,
    pub counters: Counters,
}

/// A version of a plugin.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VersionInfo {
    #[serde(flatten)]
    pub component: Inspection,
    /// Whether it came with the server.
    pub built_in: bool,
    /// When it was uploaded, or for a built-in one when the server started.
    #[serde(serialize_with = "unix_millis")]
    pub uploaded_at: SystemTime,
    /// The bindings in which it answers.
    pub active_in: Vec<String>,
    /// The bindings that it shadows.
    pub shadow_in: Vec<String>,
    pub counters: Counters,
}

/// What happened since the plugin was loaded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Counters {
    /// Calls that were started, failed ones included.
    pub calls: u64,
    pub faults: Faults,
    /// Median duration of a call in microseconds, to within an eighth. None before the first call.
    pub p50_micros: Option<u64>,
    /// The duration that 99 of 100 calls stay under, in microseconds, to within an eighth.
    pub p99_micros: Option<u64>,
    /// The most linear memory that a call had, in bytes.
    pub max_memory: u64,
    /// Log lines that were dropped because the plugin wrote too many.
    pub dropped_log_lines: u64,
}

/// Failed calls by kind; see [`crate::FaultKind`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Faults {
    pub guest: u64,
    pub trap: u64,
    pub deadline: u64,
    pub memory: u64,
    pub incompatible: u64,
    pub overloaded: u64,
    pub invalid_answer: u64,
    /// Calls for which the plugin was not asked, because it kept failing.
    pub breaker_open: u64,
}

impl Faults {
    /// All kinds together.
    pub fn total(&self) -> u64 {
        self.by_kind().iter().map(|(_, count)| count).sum()
    }

    /// The counts with the names of [`crate::FaultKind::NAMES`], for metrics.
    pub fn by_kind(&self) -> [(&'static str, u64); 8] {
        [
            ("guest", self.guest),
            ("trap", self.trap),
            ("deadline", self.deadline),
            ("memory", self.memory),
            ("incompatible", self.incompatible),
            ("overloaded", self.overloaded),
            ("invalid-answer", self.invalid_answer),
            ("breaker-open", self.breaker_open),
        ]
    }
}

fn unix_millis<S: serde::Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    let millis = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis();
    serializer.serialize_u64(u64::try_from(millis).unwrap_or(u64::MAX))
}
