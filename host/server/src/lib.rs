//! The Flyloft server: sockets, storage, the REST API and the command line, around the media, rooms and plugins crates.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod api;
pub mod rooms;
pub mod store;
