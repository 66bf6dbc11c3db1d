//! Hostile and odd plugins for tests, compiled from `plugins/test-guests`; each is a component's bytes.

/// A policy that misbehaves as the name of the stream in a publish request says: see `plugins/test-guests/examples/hostile.rs`.
pub const HOSTILE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/hostile.wasm"));

/// An output mode that always answers CMAF.
pub const ALWAYS_CMAF: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/always-cmaf.wasm"));

/// A policy and an output mode that never have an opinion.
pub const ABSTAIN: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/abstain.wasm"));

/// A policy that denies every publish with the code "both", and an output mode that always answers RTMP.
pub const BOTH: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/both.wasm"));
