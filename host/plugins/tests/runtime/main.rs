//! The runtime with real components: the built-in ones, hostile ones, and ones that come and go.

#![allow(clippy::unwrap_used)]

mod built_in;
mod cache;
mod deploy;
mod events;
mod faults;
mod imports;
mod logged;
mod outgoing;
mod refusals;
mod requests;
mod sources;
