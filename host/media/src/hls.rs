//! HLS and Low-Latency HLS playlists (RFC 8216bis) as pure functions of a [`Window`].

mod media;
mod multivariant;

use std::fmt::{self, Write};

use crate::time::WallClock;

pub use media::media;
pub use multivariant::multivariant;

/// The media type of playlists.
pub const CONTENT_TYPE: &str = "application/vnd.apple.mpegurl";

/// EXT-X-SKIP needs version 9.
const VERSION: u32 = 9;

/// Appends formatted text. Writing to a string cannot fail.
fn put(out: &mut String, text: fmt::Arguments<'_>) {
    let _ = out.write_fmt(text);
}

/// The query for child URIs, starting with `?`. Characters that could end an attribute or a line are left out.
pub(crate) fn suffix(query: &str) -> String {
    let query = query.trim_start_matches('?');
    if query.is_empty() {
        return String::new();
    }
    std::iter::once('?').chain(query.chars().filter(|c| c.is_ascii_graphic() && *c != '"')).collect()
}

/// ISO 8601 in UTC with milliseconds.
pub(crate) fn date_time(time: WallClock) -> String {
    let millis = time.unix_millis();
    let (days, in_day) = (millis.div_euclid(86_400_000), millis.rem_euclid(86_400_000));
    // Days to year, month and day: H. Hinnant, "chrono-compatible low-level date algorithms", civil_from_days.
    let z = days + 719_468;
    let (era, day_of_era) = (z.div_euclid(146_097), z.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute) = (in_day / 3_600_000, in_day / 60_000 % 60);
    let (second, milli) = (in_day / 1000 % 60, in_day % 1000);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
}

#[cfg(test)]
mod tests;
