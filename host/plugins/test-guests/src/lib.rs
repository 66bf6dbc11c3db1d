//! Hostile and odd plugins for tests, compiled from `plugins/test-guests`, and shipped ones that are not embedded; each is a
//! component's bytes.

/// A policy that misbehaves as the name of the stream in a publish request says: see `plugins/test-guests/examples/hostile.rs`.
pub const HOSTILE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/hostile.wasm"));

/// An output mode that always answers CMAF.
pub const ALWAYS_CMAF: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/always-cmaf.wasm"));

/// A policy and an output mode that never have an opinion.
pub const ABSTAIN: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/abstain.wasm"));

/// A policy that denies every publish with the code "both", and an output mode that always answers RTMP.
pub const BOTH: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/both.wasm"));

/// A policy that reaches for its imports as the name of the stream in a publish request says: see `plugins/test-guests/examples/reach.rs`.
pub const REACH: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/reach.wasm"));

/// A webhook that answers as the kind of the event says: see `plugins/test-guests/examples/hooks.rs`.
pub const HOOKS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/hooks.wasm"));

/// A source of VOD files with a scheme of its own: see `plugins/test-guests/examples/sources.rs`.
pub const SOURCES: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/sources.wasm"));

/// A policy whose allocator never answers when a text of 4,242 bytes is put into it.
pub const REALLOC: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/realloc.wasm"));

/// The policy of `plugins/nginx-callbacks`.
pub const NGINX_CALLBACKS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/nginx-callbacks.wasm"));

/// The policy of `plugins/srs-callbacks`.
pub const SRS_CALLBACKS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/srs-callbacks.wasm"));
