//! Enforces the limits of a policy's grant on what a publisher sends. How long it may last, [`crate::ingest::Door`] sees to, as a publisher
//! that sends nothing must end, too; how many may watch, [`crate::live::Viewers`].

use flyloft_media::WallClock;
use flyloft_plugins::model::Limits;

/// Bit rates are measured over this long.
const WINDOW: i64 = 10_000_000;

#[derive(Debug)]
pub struct Enforcer {
    limits: Limits,
    window_start: Option<WallClock>,
    window_bytes: u64,
}

/// A limit was exceeded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Breach {
    #[error("the bit rate over ten seconds was {measured} bit/s and may be {limit}: lower it in the encoder")]
    Bitrate { measured: u64, limit: u64 },
    #[error("the broadcast has lasted as long as it may: {limit_ms} ms")]
    Duration { limit_ms: u64 },
    #[error("the picture is {width}x{height} and may be {max_width}x{max_height}: lower the resolution in the encoder")]
    Resolution { width: u32, height: u32, max_width: u32, max_height: u32 },
}

impl Enforcer {
    pub fn new(limits: &Limits) -> Self {
        Self { limits: limits.clone(), window_start: None, window_bytes: 0 }
    }

    pub fn picture(&self, width: u32, height: u32) -> Result<(), Breach> {
        let (max_width, max_height) = (self.limits.max_width.unwrap_or(u32::MAX), self.limits.max_height.unwrap_or(u32::MAX));
        if width > max_width || height > max_height {
            return Err(Breach::Resolution { width, height, max_width, max_height });
        }
        Ok(())
    }

    pub fn frame(&mut self, bytes: usize, now: WallClock) -> Result<(), Breach> {
        let Some(limit) = self.limits.max_bitrate else { return Ok(()) };
        let start = *self.window_start.get_or_insert(now);
        self.window_bytes += bytes as u64;
        let passed = now.micros_since(start);
        if passed >= WINDOW {
            let measured = (u128::from(self.window_bytes) * 8_000_000 / passed.unsigned_abs() as u128) as u64;
            self.window_start = Some(now);
            self.window_bytes = 0;
            if measured > limit {
                return Err(Breach::Bitrate { measured, limit });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn none() -> Limits {
        Limits { max_bitrate: None, max_duration: None, max_viewers: None, max_width: None, max_height: None }
    }

    #[test]
    fn a_bit_rate_over_ten_seconds_is_measured() {
        let mut enforcer = Enforcer::new(&Limits { max_bitrate: Some(1_000_000), ..none() });
        let at = |seconds: i64| WallClock::from_unix_micros(seconds * 1_000_000);
        for second in 0..10 {
            enforcer.frame(200_000, at(second)).unwrap();
        }
        assert_eq!(enforcer.frame(0, at(10)), Err(Breach::Bitrate { measured: 1_600_000, limit: 1_000_000 }));
        for second in 10..30 {
            enforcer.frame(100_000, at(second)).unwrap();
        }
    }

    #[test]
    fn a_picture_must_fit() {
        let enforcer = Enforcer::new(&Limits { max_width: Some(1280), max_height: Some(720), ..none() });
        enforcer.picture(1280, 720).unwrap();
        assert!(enforcer.picture(1920, 1080).unwrap_err().to_string().contains("1920x1080"));
    }
}
