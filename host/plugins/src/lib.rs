//! The plugin runtime of Flyloft: asks sandboxed WebAssembly components who may do what, which outputs a stream gets,
//! whom to tell of an event, and where the bytes of a VOD file are. Every call runs in a fresh sandbox with a deadline and a memory limit, and costs microseconds.
//!
//! The built-in rules are such components too; the host has no other copy of them. An uploaded component replaces a
//! built-in one by taking its name, or stands in front of it under a name of its own.
//!
//! | interface | nobody has an opinion | a plugin fails |
//! |---|---|---|
//! | `room-policy` | denied, code `no-opinion` | [`Fault`]: the action is refused |
//! | `output-mode` | [`model::OutputModeAnswer::Abstain`]: the App's default | the rest of the chain is asked; when it has no answer either, [`Fault`]: the App's default |
//! | `webhook`, planning | nothing is sent | [`Fault`]: it is asked again later |
//! | `webhook`, after an attempt | | [`Fault`]: the delivery is tried again |
//! | `vod-source` | [`model::SourceError::NotMine`]: there is no such source | [`Fault`]: the URI can't be opened |

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod api;
mod asking;
mod call;
mod counters;
mod engine;
mod error;
mod grants;
mod imports;
mod logs;
pub mod model;
pub mod outbound;
mod permits;
mod plugin;
mod question;
mod registry;
mod sandbox;
mod storage;
mod trial;

pub use api::{CallLimits, Config, Counters, Decided, Faults, Inspection, Interface, PluginInfo};
pub use error::{Fault, FaultKind, OpenError, Rejected, RemoveError};
pub use grants::{Grants, Secret};
pub use imports::{KeyValue, KeyValueAnswer, KeyValueError, MemoryKeyValue, Versioned};
pub use trial::{Trial, TrialError};

use bytes::Bytes;
use model::{Action, Context, Decision, Denial, OutputModeAnswer, OutputModeRequest};
use plugin::Plugin;
use question::{OutputModeQuestion, PolicyQuestion, Question};
use registry::Registry;
use std::sync::Arc;
use std::time::Instant;

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
    /// A [`Fault`] of the first plugin that fails: the action is to be refused.
    pub async fn decide(&self, context: &Context, action: &Action) -> Result<Decided<Decision>, Fault> {
        let started = Instant::now();
        let chains = self.0.chains();
        let _permit = self.permit(&chains.policy, context).await?;
        let mut last = None;
        for plugin in &chains.policy {
            let answer = self.ask::<PolicyQuestion>(plugin, context, action).await?;
            if !PolicyQuestion::abstains(&answer) {
                return Ok(decided(answer, plugin, started));
            }
            last = Some(plugin);
        }
        let reason = "No plugin decides about this. Upload a room-policy plugin that does.".to_owned();
        let denial = Decision::Deny(Denial { code: "no-opinion".to_owned(), reason });
        last.map(|plugin| decided(denial, plugin, started)).ok_or_else(|| no_plugin(Interface::RoomPolicy, context))
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
        let started = Instant::now();
        let chains = self.0.chains();
        let _permit = self.permit(&chains.output_mode, context).await?;
        let (mut last, mut fault) = (None, None);
        for plugin in &chains.output_mode {
            match self.ask::<OutputModeQuestion>(plugin, context, request).await {
                Ok(answer) if !OutputModeQuestion::abstains(&answer) => {
                    return Ok(decided(answer, plugin, started));
                }
                Ok(_) => last = Some(plugin),
                Err(failed) => fault = fault.or(Some(failed)),
            }
        }
        match (fault, last) {
            (Some(fault), _) => Err(fault),
            (None, Some(plugin)) => Ok(decided(OutputModeAnswer::Abstain, plugin, started)),
            (None, None) => Err(no_plugin(Interface::OutputMode, context)),
        }
    }

    /// Adds a plugin or replaces the one of that name: checked, compiled, stored, and live at the next call. Calls
    /// under way finish on the old one. Under a built-in plugin's name (`room-policy`, `output-mode`) it replaces that;
    /// under another name it is asked before the built-in ones, for all interfaces that it exports.
    ///
    /// # Errors
    /// [`Rejected`] says what the component lacks; nothing was changed then.
    pub async fn put(&self, name: &str, component: Bytes) -> Result<PluginInfo, Rejected> {
        self.put_with(name, component, Grants::default()).await
    }

    /// As [`Plugins::put`], with what the plugin is granted until the server stops.
    ///
    /// # Errors
    /// As [`Plugins::put`].
    pub async fn put_with(&self, name: &str, component: Bytes, grants: Grants) -> Result<PluginInfo, Rejected> {
        let (registry, name) = (Arc::clone(&self.0), name.to_owned());
        whole(async move { registry.put(&name, component, grants).await }).await
    }

    /// Takes an uploaded plugin away; under a built-in plugin's name the built-in one is back at the next call.
    ///
    /// # Errors
    /// When there is none of that name, or it is built in, or the change can't be stored.
    pub async fn remove(&self, name: &str) -> Result<(), RemoveError> {
        let (registry, name) = (Arc::clone(&self.0), name.to_owned());
        whole(async move { registry.remove(&name).await }).await
    }

    /// All plugins, by name.
    pub fn list(&self) -> Vec<PluginInfo> {
        self.0.list()
    }

    /// One plugin.
    pub fn get(&self, name: &str) -> Option<PluginInfo> {
        self.0.get(name)
    }

    async fn permit<'a>(&'a self, chain: &[Arc<Plugin>], context: &Context) -> Result<tokio::sync::SemaphorePermit<'a>, Fault> {
        self.0.permits.acquire().await.map_err(|waiting| {
            let kind = FaultKind::Overloaded { waiting };
            match chain.first() {
                Some(plugin) => {
                    plugin.tally.fault(&kind);
                    fault(plugin, context, kind)
                }
                None => Fault { plugin: String::new(), digest: String::new(), call: context.call_id.clone(), kind },
            }
        })
    }

    async fn ask<Q: Question>(&self, plugin: &Plugin, context: &Context, ask: &Q::Ask) -> Result<Q::Answer, Fault> {
        self.ask_with::<Q>(plugin, &plugin.grants, context, ask).await
    }

    async fn ask_with<Q: Question>(
        &self,
        plugin: &Plugin,
        grants: &Arc<Grants>,
        context: &Context,
        ask: &Q::Ask,
    ) -> Result<Q::Answer, Fault> {
        call::ask::<Q>(&self.0.caller, plugin, grants, context, ask).await.map_err(|kind| fault(plugin, context, kind))
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

fn decided<T>(answer: T, plugin: &Plugin, started: Instant) -> Decided<T> {
    let identity = &plugin.identity;
    let decided = Decided { answer, plugin: identity.name.clone(), digest: identity.digest.clone(), duration: started.elapsed() };
    tracing::debug!(plugin = decided.plugin, micros = decided.duration.as_micros() as u64, "plugin answered");
    decided
}

fn fault(plugin: &Plugin, context: &Context, kind: FaultKind) -> Fault {
    let identity = &plugin.identity;
    tracing::warn!(
        plugin = identity.name,
        digest = identity.digest,
        call = context.call_id,
        fault = kind.name(),
        "plugin failed: {kind}"
    );
    Fault { plugin: identity.name.clone(), digest: identity.digest.clone(), call: context.call_id.clone(), kind }
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
