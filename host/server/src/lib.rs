//! The Flyloft server: sockets, storage, the REST API and the command line, around the media, rooms and plugins crates.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod api;
pub mod cli;
mod clock;
pub mod config;
pub mod demo;
mod egress;
pub mod files;
pub mod http;
mod ingest;
mod limits;
mod live;
mod oci;
mod recording;
pub mod rooms;
mod secret;
pub mod server;
pub mod store;
mod thumbnail;
mod tls;
pub mod vod;
pub mod webhooks;
