//! The runtime with real components: the built-in ones, hostile ones, and ones that come and go.

#![allow(clippy::unwrap_used)]

mod apps;
mod beside;
mod bindings;
mod built_in;
mod by_hand;
mod cache;
mod damaged;
mod deploy;
mod events;
mod faults;
mod imports;
mod logged;
mod outgoing;
mod records;
mod refusals;
mod requests;
mod sources;
mod ways_out;
