//! What the end-to-end tests and the load generator share: a server process, real clients, and measuring.
//! Everything here blocks; a test is a plain thread that waits for conditions.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod clip;
pub mod compare;
pub mod contract;
pub mod guests;
pub mod http;
pub mod process;
pub mod proxy;
pub mod push;
pub mod rtmp;
pub mod s3;
pub mod server;
pub mod watch;

use anyhow::{Result, bail};
use std::time::{Duration, Instant};

/// Long enough for anything that should happen soon, even on a busy machine; a test that waits this long has failed.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Asks `condition` again and again until it gives a value; an error that says `what` was waited for after `limit`.
pub fn wait_for<T>(what: &str, limit: Duration, mut condition: impl FnMut() -> Option<T>) -> Result<T> {
    let end = Instant::now() + limit;
    loop {
        if let Some(value) = condition() {
            return Ok(value);
        }
        if Instant::now() >= end {
            bail!("waited {} s in vain until {what}", limit.as_secs());
        }
        std::thread::sleep(Duration::from_millis(40));
    }
}

/// [`wait_for`] with a condition that is only true or false, and [`PATIENCE`].
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) -> Result<()> {
    wait_for(what, PATIENCE, || condition().then_some(()))
}
