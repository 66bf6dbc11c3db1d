//! The one place where the server reads the wall clock for media.

use std::time::{SystemTime, UNIX_EPOCH};

use flyloft_media::WallClock;

pub fn wall() -> WallClock {
    let micros = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros());
    WallClock::from_unix_micros(i64::try_from(micros).unwrap_or(i64::MAX))
}
