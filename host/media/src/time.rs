//! Times with their units: a position on a stream's own timeline, and the wall clock that the caller passes in.

use std::ops::{Add, Sub};
use std::time::Duration;

/// A position on a stream's timeline in microseconds. The timeline never wraps and never jumps: see [`crate::timeline`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    pub const ZERO: Self = Self(0);

    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    pub const fn from_millis(millis: i64) -> Self {
        Self(millis.saturating_mul(1000))
    }

    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// Milliseconds, rounded down.
    pub const fn as_millis(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// The same position in units of `1/timescale` seconds, rounded to the nearest unit.
    pub const fn to_timescale(self, timescale: u32) -> i64 {
        let scaled = self.0 as i128 * timescale as i128 + 500_000;
        scaled.div_euclid(1_000_000) as i64
    }

    /// A position given in units of `1/timescale` seconds, rounded to the nearest microsecond. A `timescale` of 0 counts as 1.
    pub const fn from_timescale(value: i64, timescale: u32) -> Self {
        let timescale = if timescale == 0 { 1 } else { timescale as i128 };
        let scaled = value as i128 * 1_000_000 + timescale / 2;
        Self(scaled.div_euclid(timescale) as i64)
    }

    /// `self - earlier` in microseconds; negative when `earlier` is later.
    pub const fn micros_since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    pub const fn offset(self, micros: i64) -> Self {
        Self(self.0.saturating_add(micros))
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        self.offset(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX))
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Self;

    fn sub(self, duration: Duration) -> Self {
        self.offset(i64::try_from(duration.as_micros()).map_or(i64::MIN, |micros| -micros))
    }
}

/// Wall-clock time in microseconds since the Unix epoch, read by the caller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WallClock(i64);

impl WallClock {
    pub const fn from_unix_micros(micros: i64) -> Self {
        Self(micros)
    }

    pub const fn unix_micros(self) -> i64 {
        self.0
    }

    pub const fn unix_millis(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// Microseconds since `earlier`; negative when the clock was set back.
    pub const fn micros_since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timescales_round_to_the_nearest_unit() {
        assert_eq!(Timestamp::from_micros(33_333).to_timescale(90_000), 3_000);
        assert_eq!(Timestamp::from_micros(21_333).to_timescale(48_000), 1_024);
        assert_eq!(Timestamp::from_micros(-33_333).to_timescale(90_000), -3_000);
        assert_eq!(Timestamp::from_timescale(1_024, 48_000).as_micros(), 21_333);
        assert_eq!(Timestamp::from_timescale(7, 0).as_micros(), 7_000_000);
    }

    #[test]
    fn milliseconds_round_down() {
        assert_eq!(Timestamp::from_micros(1_999).as_millis(), 1);
        assert_eq!(Timestamp::from_micros(-1).as_millis(), -1);
    }
}
