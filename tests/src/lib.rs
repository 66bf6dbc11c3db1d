//! What the end-to-end tests and the load generator share: a server process, real clients, and measuring.
//! Everything here blocks; a test is a plain thread that waits for conditions.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod process;
pub mod rtmp;
