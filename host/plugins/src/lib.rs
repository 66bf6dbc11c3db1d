//! The plugin runtime of Flyloft: asks sandboxed WebAssembly components who may do what and which outputs a stream
//! gets. Every call runs in a fresh sandbox with a deadline and a memory limit, and costs microseconds.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod api;
mod error;
pub mod model;

pub use api::{CallLimits, Config, Counters, Decided, Faults, Inspection, Interface, PluginInfo};
pub use error::{Fault, FaultKind, OpenError, Rejected, RemoveError};

use bytes::Bytes;
use model::{Action, Context, Decision, OutputModeAnswer, OutputModeRequest};
use std::sync::Arc;

/// The loaded plugins. Cheap to clone; all clones are the same set.
#[derive(Clone)]
pub struct Plugins(Arc<()>);

impl Plugins {
    /// Loads the built-in plugins and those that were uploaded earlier.
    pub fn open(_config: Config) -> Result<Plugins, OpenError> {
        unimplemented!()
    }

    /// Asks the `room-policy` chain. Never answers [`Decision::Abstain`]: when nobody has an opinion, the answer is
    /// a denial with the code `no-opinion`. A [`Fault`] means that the action is refused.
    pub async fn decide(
        &self,
        _context: &Context,
        _action: &Action,
    ) -> Result<Decided<Decision>, Fault> {
        unimplemented!()
    }

    /// Asks the `output-mode` chain. After [`OutputModeAnswer::Abstain`], and after a [`Fault`], the App's default is
    /// to be used.
    pub async fn resolve_output_mode(
        &self,
        _context: &Context,
        _request: &OutputModeRequest,
    ) -> Result<Decided<OutputModeAnswer>, Fault> {
        unimplemented!()
    }

    /// Adds a plugin or replaces the one of that name. It is live at the next call; calls under way finish on the old one.
    pub async fn put(&self, _name: &str, _component: Bytes) -> Result<PluginInfo, Rejected> {
        unimplemented!()
    }

    /// Takes an uploaded plugin away; under a built-in plugin's name the built-in one is back at the next call.
    pub async fn remove(&self, _name: &str) -> Result<(), RemoveError> {
        unimplemented!()
    }

    /// All plugins, by name.
    pub fn list(&self) -> Vec<PluginInfo> {
        unimplemented!()
    }

    /// One plugin.
    pub fn get(&self, _name: &str) -> Option<PluginInfo> {
        unimplemented!()
    }
}

/// Loads a component as an upload would, without keeping it.
pub async fn check(_config: &Config, _component: Bytes) -> Result<Inspection, Rejected> {
    unimplemented!()
}
