//! Write plugins for the Flyloft live-video server: a type, one function, one macro. What a plugin may use of the world outside
//! is in [`config`], [`key_value`], [`http`], [`log`] and [`stores`]; [`testing`] stands for it in native tests.
//! `plugins/README.md` shows how to build and upload one.
//!
//! ```
//! use flyloft_plugin::policy::{Action, Context, Decision, Policy, abstain, deny};
//!
//! struct NoPushOut;
//!
//! impl Policy for NoPushOut {
//!     fn decide(_context: Context, action: Action) -> Decision {
//!         match action {
//!             Action::PushOut(_) => deny("no-push-out", "This server does not send streams to other servers."),
//!             _ => abstain(),
//!         }
//!     }
//! }
//!
//! flyloft_plugin::export_policy!(NoPushOut);
//! # fn main() {}
//! ```

#![cfg_attr(test, allow(clippy::unwrap_used))]

// The generated code names this crate by its path, also from within it.
extern crate self as flyloft_plugin;

pub mod config;
pub mod http;
mod imports;
pub mod key_value;
pub mod log;
pub mod output_mode;
pub mod policy;
pub mod stores;
#[cfg(not(target_family = "wasm"))]
pub mod testing;
pub mod vod_source;
pub mod webhook;

pub use output_mode::bindings::export_output_mode;
pub use policy::bindings::export_policy;
/// The records that all interfaces share.
pub use policy::bindings::flyloft::plugin::types;
pub use vod_source::bindings::export_vod_source;
pub use webhook::bindings::export_webhook;

#[doc(hidden)]
pub use wit_bindgen::rt as wit_runtime;
