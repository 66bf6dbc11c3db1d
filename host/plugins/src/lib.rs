//! The plugin runtime of Flyloft: asks sandboxed WebAssembly components who may do what, which outputs a stream gets,
//! whom to tell of an event, and where the bytes of a VOD file are. Every call runs in a fresh sandbox with a deadline and a memory limit, and costs microseconds.
//!
//! The built-in rules are such components too; the host has no other copy of them. A plugin is a name with versions; a
//! [binding](BindingInfo) says for which App, room type and interfaces one of its versions is asked, in which place of the chain, with
//! which grants and limits, and what it means when it fails:
//!
//! | interface | nobody has an opinion | `deny` | `allow` | `next` |
//! |---|---|---|---|---|
//! | `room-policy` | denied, code `no-opinion` | [`Fault`]: the action is refused (the default) | allowed, without limits | the rest of the chain is asked; when it has no answer either, [`Fault`] |
//! | `output-mode` | [`model::OutputModeAnswer::Abstain`]: the App's default | refused | as `next` | the rest of the chain is asked; when it has no answer either, [`Fault`]: the App's default (the default) |
//! | `webhook`, planning | nothing is sent | [`Fault`]: it is asked again later | as `deny` | the rest of the chain is asked |
//! | `webhook`, after an attempt | | [`Fault`]: the delivery is tried again | as `deny` | as `deny` |
//! | `vod-source` | [`model::SourceError::NotMine`]: there is no such source | [`Fault`]: the URI can't be opened | as `deny` | the rest of the chain is asked |
//!
//! A plugin that keeps failing is left alone for a while by its binding's breaker; each call that is not made then counts as failed.
//! Each App has a share of the sandboxes, so that plugins of one that wait for slow backends leave room for the others.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod api;
mod asking;
mod binding;
mod breaker;
mod call;
mod case;
mod chain;
mod compare;
mod counters;
mod decisions;
mod engine;
mod error;
mod grants;
mod imports;
mod logbook;
mod logs;
pub mod model;
pub mod outbound;
mod permits;
mod plugin;
mod question;
mod redaction;
mod registry;
mod round;
mod sandbox;
mod shadow;
mod storage;
mod trial;
mod turns;
mod weight;

pub use api::{CallLimits, Config, Counters, Decided, Faults, Inspection, Interface, PluginInfo, VersionInfo};
pub use binding::{BUILT_IN, BindingChange, BindingInfo, BindingLimits, NewBinding, OnFailure};
pub use breaker::{BreakerInfo, BreakerSettings, BreakerState};
pub use compare::{Difference, answer_kind, differences};
pub use decisions::{DecisionFilter, DecisionLimits, DecisionPage, LoggedDecision, LoggedFault};
pub use error::{BindError, Fault, FaultKind, OpenError, Rejected, RemoveError};
pub use grants::{Grants, Secret};
pub use imports::{KeyValue, KeyValueAnswer, KeyValueError, MAX_KEYS, MemoryKeyValue, Versioned};
pub use logbook::LogLine;
pub use shadow::{ShadowAnswer, ShadowExample, ShadowReport};
pub use trial::{Trial, TrialError};

use bytes::Bytes;
use case::NO_SETTINGS;
use model::{Action, Context, Decision, Denial, Grant, OutputModeAnswer, OutputModeRequest};
use question::{OutputModeQuestion, PolicyQuestion, Question};
use registry::Registry;
use round::Round;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::watch;

/// The loaded plugins. Cheap to clone; all clones are the same set.
///
/// Its async methods need a tokio runtime with timers.
#[derive(Clone)]
pub struct Plugins(Arc<Registry>);

impl Plugins {
    /// Loads the built-in plugins and those that were uploaded earlier. Blocks while it does, for some milliseconds
    /// when they are in the cache; can be called inside and outside of a tokio runtime.
    ///
    /// # Errors
    /// When the engine can't be set up, the directory can't be used, or an uploaded plugin can't be loaded any more:
    /// then going on without it would silently loosen the rules.
    pub fn open(config: Config) -> Result<Plugins, OpenError> {
        Plugins::open_with(config, Arc::new(MemoryKeyValue::default()))
    }

    /// As [`Plugins::open`], with what keeps the values of `wasi:keyvalue`.
    ///
    /// # Errors
    /// As [`Plugins::open`].
    pub fn open_with(config: Config, key_values: Arc<dyn KeyValue>) -> Result<Plugins, OpenError> {
        let failed = |reason: String| OpenError::Engine { reason };
        // On a thread of its own, because a runtime can't be entered twice on one.
        let opening = std::thread::Builder::new().name("plugins-open".into()).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
            runtime.map_err(|error| failed(error.to_string()))?.block_on(Registry::open(config, key_values))
        });
        let opening = opening.map_err(|error| failed(error.to_string()))?;
        match opening.join() {
            Ok(registry) => Ok(Plugins(Arc::new(registry?))),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    /// Asks the `room-policy` chain until a plugin has an opinion. Never answers [`Decision::Abstain`].
    ///
    /// # Errors
    /// A [`Fault`] that stands, as the table of this crate says: the action is to be refused.
    pub async fn decide(&self, context: &Context, action: &Action) -> Result<Decided<Decision>, Fault> {
        let snapshot = self.0.snapshot();
        let mut round = Round::<PolicyQuestion>::new(&self.0, context, &NO_SETTINGS, action);
        let chain = round.chain(&snapshot);
        let _permit = round.permit(chain).await?;
        let (mut last, mut fault) = (None, None);
        for binding in chain {
            match round.ask(binding).await {
                Ok(answer) if !PolicyQuestion::abstains(&answer) => return Ok(round.decided(answer, binding)),
                Ok(_) => last = Some(binding),
                Err(failed) => match binding.on_failure(Interface::RoomPolicy) {
                    OnFailure::Deny => return Err(failed),
                    OnFailure::Allow => return Ok(round.decided(Decision::Allow(Grant::default()), binding)),
                    OnFailure::Next => fault = fault.or(Some(failed)),
                },
            }
        }
        let reason = "No plugin decides about this. Upload a room-policy plugin that does.".to_owned();
        let denial = Decision::Deny(Denial { code: "no-opinion".to_owned(), reason });
        match (fault, last) {
            (Some(fault), _) => Err(fault),
            (None, Some(binding)) => Ok(round.decided(denial, binding)),
            (None, None) => Err(no_plugin(Interface::RoomPolicy, context)),
        }
    }

    /// Asks the `output-mode` chain until a plugin has an opinion. [`OutputModeAnswer::Abstain`] says that none has,
    /// and that the App's default is to be used.
    ///
    /// # Errors
    /// The first [`Fault`], when a plugin failed and none had an answer: the App's default is to be used.
    pub async fn resolve_output_mode(
        &self,
        context: &Context,
        request: &OutputModeRequest,
    ) -> Result<Decided<OutputModeAnswer>, Fault> {
        let snapshot = self.0.snapshot();
        let mut round = Round::<OutputModeQuestion>::new(&self.0, context, &NO_SETTINGS, request);
        let chain = round.chain(&snapshot);
        let _permit = round.permit(chain).await?;
        let (mut last, mut fault) = (None, None);
        for binding in chain {
            match round.ask(binding).await {
                Ok(answer) if !OutputModeQuestion::abstains(&answer) => return Ok(round.decided(answer, binding)),
                Ok(_) => last = Some(binding),
                Err(failed) => match binding.on_failure(Interface::OutputMode) {
                    OnFailure::Deny => {
                        let reason = "The rule for the outputs failed, so this was refused. Try again; the operator finds the reason in the server's log.";
                        return Ok(round.decided(OutputModeAnswer::Refuse(reason.to_owned()), binding));
                    }
                    OnFailure::Allow | OnFailure::Next => fault = fault.or(Some(failed)),
                },
            }
        }
        match (fault, last) {
            (Some(fault), _) => Err(fault),
            (None, Some(binding)) => Ok(round.decided(OutputModeAnswer::Abstain, binding)),
            (None, None) => Err(no_plugin(Interface::OutputMode, context)),
        }
    }

    /// The short way to a running plugin: [`Plugins::deploy`], and the new version is the active one at the next call in all
    /// bindings of the plugin. A plugin without any is bound to all Apps, for all interfaces that it exports, before the built-in
    /// plugins. Under a built-in plugin's name (`room-policy`, `output-mode`) it replaces that. Calls under way finish on the old
    /// version.
    ///
    /// # Errors
    /// [`Rejected`] says what the component lacks; nothing was changed then.
    pub async fn put(&self, name: &str, component: Bytes) -> Result<PluginInfo, Rejected> {
        let (registry, name) = (Arc::clone(&self.0), name.to_owned());
        whole(async move { registry.put(&name, component).await }).await
    }

    /// Adds a version to a plugin, or a new plugin: checked, compiled and stored, and not asked before it is bound or activated.
    /// The same component again is the same version. Of the versions that no binding uses, the oldest are forgotten when there
    /// are more than ten.
    ///
    /// # Errors
    /// [`Rejected`] says what the component lacks; nothing was changed then.
    pub async fn deploy(&self, name: &str, component: Bytes) -> Result<VersionInfo, Rejected> {
        let (registry, name) = (Arc::clone(&self.0), name.to_owned());
        whole(async move { registry.deploy(&name, component, None).await }).await
    }

    /// As [`Plugins::deploy`], for a component that was pulled from somewhere. A version that is there already keeps what it had.
    ///
    /// # Errors
    /// As [`Plugins::deploy`].
    pub async fn deploy_pulled(&self, name: &str, component: Bytes, reference: String) -> Result<VersionInfo, Rejected> {
        let (registry, name) = (Arc::clone(&self.0), name.to_owned());
        whole(async move { registry.deploy(&name, component, Some(reference)).await }).await
    }

    /// Takes all uploaded versions of a plugin away, and the binding that [`Plugins::put`] made. Under a built-in plugin's name
    /// the built-in version is back at the next call.
    ///
    /// # Errors
    /// When there is none of that name, or it is built in, or another binding uses it, or the change can't be stored.
    pub async fn remove(&self, name: &str) -> Result<(), RemoveError> {
        let (registry, name) = (Arc::clone(&self.0), name.to_owned());
        whole(async move { registry.remove(&name).await }).await
    }

    /// The versions of a plugin, the newest first. None when there is no plugin of that name.
    pub fn versions(&self, name: &str) -> Option<Vec<VersionInfo>> {
        self.0.versions(name)
    }

    /// All bindings in the order in which they are asked.
    pub fn bindings(&self) -> Vec<BindingInfo> {
        self.0.bindings()
    }

    /// One binding.
    ///
    /// # Errors
    /// [`BindError::NotFound`].
    pub fn binding(&self, id: &str) -> Result<BindingInfo, BindError> {
        Ok(self.0.binding(id)?.info(Instant::now()))
    }

    /// Has a plugin asked, from the next call on.
    ///
    /// # Errors
    /// [`BindError`] says what is missing or out of range; nothing was changed then.
    pub async fn bind(&self, new: NewBinding) -> Result<BindingInfo, BindError> {
        let registry = Arc::clone(&self.0);
        whole(async move { registry.bind(new).await }).await
    }

    /// Changes a binding, from the next call on.
    ///
    /// # Errors
    /// As [`Plugins::bind`].
    pub async fn change(&self, id: &str, change: BindingChange) -> Result<BindingInfo, BindError> {
        let (registry, id) = (Arc::clone(&self.0), id.to_owned());
        whole(async move { registry.change(&id, change).await }).await
    }

    /// Removes a binding: its plugin is not asked for it any more.
    ///
    /// # Errors
    /// When there is none, or it is a built-in plugin's own.
    pub async fn unbind(&self, id: &str) -> Result<(), BindError> {
        let (registry, id) = (Arc::clone(&self.0), id.to_owned());
        whole(async move { registry.unbind(&id).await }).await
    }

    /// Makes another version of the plugin the active one, at the next call: by its digest, the first eight or more digits of that,
    /// or [`BUILT_IN`]. Calls under way finish on the old one.
    ///
    /// # Errors
    /// When there is no such binding or version, or the version lacks an interface that the binding asks for.
    pub async fn activate(&self, id: &str, version: &str) -> Result<BindingInfo, BindError> {
        let (registry, id, version) = (Arc::clone(&self.0), id.to_owned(), version.to_owned());
        whole(async move { registry.activate(&id, &version).await }).await
    }

    /// Has another version see what the active one is asked, without acting on its answers; None ends that. Naming the version that is
    /// the shadow already goes on with it.
    ///
    /// # Errors
    /// As [`Plugins::activate`].
    pub async fn set_shadow(&self, id: &str, version: Option<&str>) -> Result<BindingInfo, BindError> {
        let (registry, id, version) = (Arc::clone(&self.0), id.to_owned(), version.map(str::to_owned));
        whole(async move { registry.set_shadow(&id, version.as_deref()).await }).await
    }

    /// What the shadow version of a binding would have done otherwise so far.
    ///
    /// # Errors
    /// When there is no such binding, or it has no shadow version.
    pub fn shadow_report(&self, id: &str) -> Result<ShadowReport, BindError> {
        let binding = self.0.binding(id)?;
        binding.shadow.as_ref().map(|shadow| shadow.report()).ok_or_else(|| BindError::NoShadow { id: id.to_owned() })
    }

    /// Makes the version that was active before the active one, at the next call.
    ///
    /// # Errors
    /// When there is no such binding, or it has had one version only.
    pub async fn roll_back(&self, id: &str) -> Result<BindingInfo, BindError> {
        let (registry, id) = (Arc::clone(&self.0), id.to_owned());
        whole(async move { registry.roll_back(&id).await }).await
    }

    /// Decisions from before the id `before` (None: from the newest on), newest first, at most `limit`. Empty when no log is kept.
    ///
    /// # Errors
    /// When the log can't be read.
    pub async fn decisions(&self, filter: DecisionFilter, before: Option<u64>, limit: usize) -> std::io::Result<DecisionPage> {
        let registry = Arc::clone(&self.0);
        let query =
            move || registry.log.as_ref().map_or_else(|| Ok(DecisionPage::default()), |log| log.query(&filter, before, limit));
        tokio::task::spawn_blocking(query).await.map_err(std::io::Error::other)?
    }

    /// Decisions that are not in the log, because there were too many at a time or they could not be written.
    pub fn decisions_dropped(&self) -> u64 {
        self.0.log.as_ref().map_or(0, |log| log.dropped())
    }

    /// Waits until the decisions so far are in the log's files, for two seconds at most. For the end of the server.
    pub async fn flush(&self) {
        let registry = Arc::clone(&self.0);
        let flush = move || registry.log.iter().for_each(|log| log.flush());
        // It fails only when the runtime ends, too.
        let _ = tokio::task::spawn_blocking(flush).await;
    }

    /// The last 200 lines of a plugin, of all its versions, after the line `after` (0: all), oldest first. None when there is no plugin
    /// of that name.
    pub fn log_lines(&self, name: &str, after: u64) -> Option<Vec<LogLine>> {
        Some(self.0.logbook(name)?.after(after))
    }

    /// The `seq` of a plugin's newest log line, as it changes. It ends when the plugin is removed.
    pub fn latest_log_line(&self, name: &str) -> Option<watch::Receiver<u64>> {
        Some(self.0.logbook(name)?.latest())
    }

    /// All plugins, by name.
    pub fn list(&self) -> Vec<PluginInfo> {
        self.0.list()
    }

    /// One plugin.
    pub fn get(&self, name: &str) -> Option<PluginInfo> {
        self.0.get(name)
    }
}

/// Loads a component as [`Plugins::put`] does, without keeping it: would it be accepted, and what does it ask for?
///
/// # Errors
/// [`Rejected`], as for an upload.
pub async fn check(config: &Config, component: Bytes) -> Result<Inspection, Rejected> {
    registry::check(config, component).await
}

/// Runs a change to its end also when the caller goes away in the middle of it.
async fn whole<T: Send + 'static>(change: impl Future<Output = T> + Send + 'static) -> T {
    match tokio::spawn(change).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// A chain without plugins; the built-in ones are always there, so it does not happen.
fn no_plugin(interface: Interface, context: &Context) -> Fault {
    let reason = format!("no plugin serves {}", interface.name());
    Fault {
        plugin: interface.name().to_owned(),
        digest: String::new(),
        call: context.call_id.clone(),
        kind: FaultKind::Incompatible { reason },
    }
}
