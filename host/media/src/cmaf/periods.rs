//! Watches the pace of the segments and divides the stream into periods that DASH players can address.

use std::time::Duration;

use super::window::Period;
use crate::time::Timestamp;

/// So many segments in step make a pace out of irregular ones.
const STEPS_TO_TRUST: u32 = 4;
/// One segment out of step, as where a file begins again, starts a period and keeps the pace; another one within so many
/// segments ends it.
const SLIPS_APART: u64 = 5;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pace {
    /// Fewer than two segments were completed, or three when the first is an odd one.
    Unknown,
    Regular {
        micros: i64,
        /// The number that the latest segment out of step had.
        slipped: Option<u64>,
    },
    /// So many of the last segments were as long as the first of them, in microseconds.
    Irregular { alike: u32, length: i64 },
}

const IRREGULAR: Pace = Pace::Irregular { alike: 0, length: 0 };

#[derive(Debug)]
pub struct Periods {
    list: Vec<Period>,
    next_id: u64,
    pace: Pace,
    /// Starts of the first segments, while the pace is unknown.
    starts: Vec<Timestamp>,
    /// Start of the latest segment, unless a discontinuity follows it.
    latest: Option<Timestamp>,
    /// What is added to the timeline to get to the MPD's: changes at discontinuities.
    delta: i64,
}

/// The length of two segments with these starts that are as long as each other.
fn even(first: Timestamp, second: Timestamp, third: Timestamp) -> Option<i64> {
    let micros = third.micros_since(first) / 2;
    let off = (second.micros_since(first) - micros).abs();
    (off <= micros / 10 && micros > 0).then_some(micros)
}

impl Periods {
    pub const fn new() -> Self {
        Self { list: Vec::new(), next_id: 0, pace: Pace::Unknown, starts: Vec::new(), latest: None, delta: 0 }
    }

    /// A discontinuity: what follows lies `wanted` microseconds from the timeline, or later, so that nothing overlaps `end`, the end
    /// of what came before. Returns the distance that was chosen.
    pub fn discontinuity(&mut self, first_msn: u64, start: Timestamp, wanted: i64, end: Option<Timestamp>) -> i64 {
        let earliest = end.map_or(i64::MIN, |end| end.as_micros().saturating_add(self.delta).saturating_sub(start.as_micros()));
        self.delta = wanted.max(earliest);
        self.starts.clear();
        self.latest = None;
        self.push(first_msn, start);
        self.delta
    }

    fn push(&mut self, first_msn: u64, start: Timestamp) {
        let regular = match self.pace {
            Pace::Regular { micros, .. } => Some(Duration::from_micros(micros.unsigned_abs())),
            Pace::Unknown | Pace::Irregular { .. } => None,
        };
        let offset = start.as_micros().saturating_add(self.delta).max(0);
        self.list.push(Period { id: self.next_id, first_msn, start, offset, regular });
        self.next_id += 1;
    }

    /// A segment of the leading rendition starts.
    pub fn opened(&mut self, msn: u64, start: Timestamp) {
        let Some(period) = self.list.last_mut() else { return };
        let count = msn.saturating_sub(period.first_msn) as i64;
        let since = start.micros_since(period.start);
        let length = self.latest.replace(start).map(|latest| start.micros_since(latest));
        match self.pace {
            Pace::Unknown => {
                self.starts.push(start);
                match *self.starts.as_slice() {
                    [first, second, third] => {
                        if let Some(micros) = even(first, second, third) {
                            self.pace = Pace::Regular { micros, slipped: None };
                            period.regular = Some(Duration::from_micros(micros.unsigned_abs()));
                        }
                    }
                    // The first segment may be an odd one, as encoders begin: the period begins behind it then.
                    [_, second, third, fourth] => match even(second, third, fourth) {
                        Some(micros) => {
                            self.pace = Pace::Regular { micros, slipped: None };
                            period.offset += second.micros_since(period.start);
                            (period.start, period.first_msn) = (second, msn - 2);
                            period.regular = Some(Duration::from_micros(micros.unsigned_abs()));
                        }
                        None => self.pace = IRREGULAR,
                    },
                    _ => {}
                }
            }
            // Players compute numbers from the pace: it may be off by half a segment (ISO/IEC 23009-1, section 5.3.9.2.2).
            Pace::Regular { micros, slipped } if (since - count * micros).abs() > micros / 4 => {
                let average = since / count.max(1);
                let drifted = count > 4 && (average - micros).abs() <= micros / 20;
                self.pace = if drifted {
                    Pace::Regular { micros: average, slipped }
                } else if slipped.is_some_and(|slipped| msn <= slipped + SLIPS_APART) {
                    IRREGULAR
                } else {
                    Pace::Regular { micros, slipped: Some(msn) }
                };
                self.push(msn, start);
            }
            Pace::Regular { .. } => {}
            Pace::Irregular { alike, length: first } => {
                let Some(length) = length else { return };
                let (alike, first) =
                    if alike > 0 && (length - first).abs() <= first / 10 { (alike + 1, first) } else { (1, length) };
                if alike >= STEPS_TO_TRUST && first > 0 {
                    self.pace = Pace::Regular { micros: first, slipped: None };
                    self.push(msn, start);
                } else {
                    self.pace = Pace::Irregular { alike, length: first };
                }
            }
        }
    }

    /// Nothing will come any more: an unknown pace stays unknown, and all segments are complete.
    pub fn finish(&mut self) {
        if self.pace == Pace::Unknown {
            self.pace = IRREGULAR;
        }
    }

    /// Forgets the periods whose segments have all left the playlist.
    pub fn trim(&mut self, first_listed: u64) {
        let used = self.list.iter().rposition(|period| period.first_msn <= first_listed).unwrap_or(0);
        self.list.drain(..used);
    }

    /// What may be shown to players.
    pub fn known(&self) -> &[Period] {
        if self.pace == Pace::Unknown { &[] } else { &self.list }
    }
}
