//! Watches the pace of the segments and divides the stream into periods that DASH players can address.

use std::time::Duration;

use super::window::Period;
use crate::time::Timestamp;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pace {
    /// Fewer than two segments were completed.
    Unknown,
    Regular(i64),
    Irregular,
}

#[derive(Debug)]
pub struct Periods {
    list: Vec<Period>,
    next_id: u64,
    pace: Pace,
    /// Starts of the first segments, while the pace is unknown.
    starts: Vec<Timestamp>,
    /// What is added to the timeline to get to the MPD's: changes at discontinuities.
    delta: i64,
}

impl Periods {
    pub const fn new() -> Self {
        Self { list: Vec::new(), next_id: 0, pace: Pace::Unknown, starts: Vec::new(), delta: 0 }
    }

    /// A discontinuity: what follows lies `wanted` microseconds from the timeline, or later, so that nothing overlaps `end`, the end
    /// of what came before. Returns the distance that was chosen.
    pub fn discontinuity(&mut self, first_msn: u64, start: Timestamp, wanted: i64, end: Option<Timestamp>) -> i64 {
        let earliest = end.map_or(i64::MIN, |end| end.as_micros().saturating_add(self.delta).saturating_sub(start.as_micros()));
        self.delta = wanted.max(earliest);
        self.starts.clear();
        self.push(first_msn, start);
        self.delta
    }

    fn push(&mut self, first_msn: u64, start: Timestamp) {
        let regular = match self.pace {
            Pace::Regular(pace) => Some(Duration::from_micros(pace.unsigned_abs())),
            Pace::Unknown | Pace::Irregular => None,
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
        match self.pace {
            Pace::Irregular => {}
            Pace::Unknown => {
                self.starts.push(start);
                if let &[first, second, third] = self.starts.as_slice() {
                    let pace = third.micros_since(first) / 2;
                    let off = (second.micros_since(first) - pace).abs();
                    if off <= pace / 10 && pace > 0 {
                        self.pace = Pace::Regular(pace);
                        period.regular = Some(Duration::from_micros(pace.unsigned_abs()));
                    } else {
                        self.pace = Pace::Irregular;
                    }
                }
            }
            // Players compute numbers from the pace: it may be off by half a segment (ISO/IEC 23009-1, section 5.3.9.2.2).
            Pace::Regular(pace) if (since - count * pace).abs() > pace / 4 => {
                let average = since / count.max(1);
                let drifted = count > 4 && (average - pace).abs() <= pace / 20;
                self.pace = if drifted { Pace::Regular(average) } else { Pace::Irregular };
                self.push(msn, start);
            }
            Pace::Regular(_) => {}
        }
    }

    /// Nothing will come any more: an unknown pace stays unknown, and all segments are complete.
    pub fn finish(&mut self) {
        if self.pace == Pace::Unknown {
            self.pace = Pace::Irregular;
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
