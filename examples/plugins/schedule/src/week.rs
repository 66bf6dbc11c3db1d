//! Times of the week: "mon-fri 18:00-23:00, sat 20:00-02:00".

const MINUTE: u64 = 60_000;
const DAY: u64 = 24 * 60 * MINUTE;
const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// Minutes by which local time is ahead of UTC, of a text such as `+02:00`.
pub fn offset(text: &str) -> Result<i64, String> {
    let mistake = || format!("utc-offset {text:?} is no offset such as +02:00");
    let (sign, time) = match text.split_at_checked(1) {
        Some(("+", time)) => (1, time),
        Some(("-", time)) => (-1, time),
        _ => return Err(mistake()),
    };
    let minutes = time_of_day(time).ok_or_else(mistake)? / MINUTE;
    Ok(sign * i64::try_from(minutes).map_err(|_| mistake())?)
}

/// Milliseconds from `now` (since the Unix epoch) to the end of the span that it is in; None outside of all. A span that ends
/// before it begins ends on the next day.
pub fn rest(now: u64, spans: &str, offset: i64) -> Result<Option<u64>, String> {
    let local = now.saturating_add_signed(offset * MINUTE as i64);
    let (today, time) = (local / DAY, local % DAY);
    let mut longest = None;
    for text in spans.split(',').map(str::trim).filter(|text| !text.is_empty()) {
        let span = span(text).ok_or_else(|| format!("{text:?} is no span such as \"mon-fri 18:00-23:00\""))?;
        let end = if span.to <= span.from { span.to + DAY } else { span.to };
        let here = (span.has(today) && time >= span.from && time < end).then(|| end - time);
        // It may have begun yesterday.
        let still = (today > 0 && span.has(today - 1) && time + DAY < end).then(|| end - time - DAY);
        longest = longest.max(here).max(still);
    }
    Ok(longest)
}

struct Span {
    first: usize,
    last: usize,
    from: u64,
    to: u64,
}

impl Span {
    /// Whether it begins on a day, counted from the Unix epoch, which was a Thursday.
    fn has(&self, day: u64) -> bool {
        let day = ((day + 3) % 7) as usize;
        if self.first <= self.last { (self.first..=self.last).contains(&day) } else { day >= self.first || day <= self.last }
    }
}

fn span(text: &str) -> Option<Span> {
    let (days, times) = text.split_once(' ')?;
    let (first, last) = days.split_once('-').unwrap_or((days, days));
    let (from, to) = times.trim().split_once('-')?;
    let day = |name: &str| DAYS.iter().position(|day| *day == name);
    Some(Span { first: day(first)?, last: day(last)?, from: time_of_day(from)?, to: time_of_day(to)? })
}

/// Milliseconds since midnight, of a text from `00:00` to `24:00`.
fn time_of_day(text: &str) -> Option<u64> {
    let (hours, minutes) = text.split_once(':')?;
    let number =
        |text: &str| (text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse::<u64>().ok())?;
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    (minutes < 60 && hours * 60 + minutes <= 24 * 60).then_some((hours * 60 + minutes) * MINUTE)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Friday 2027-01-15, 08:00 UTC.
    const FRIDAY: u64 = 1_800_000_000_000;
    const HOUR: u64 = 60 * MINUTE;

    #[test]
    fn a_span_holds_its_beginning_and_not_its_end() {
        assert_eq!(rest(FRIDAY, "fri 08:00-09:00", 0), Ok(Some(HOUR)));
        assert_eq!(rest(FRIDAY, "fri 07:00-08:00", 0), Ok(None));
        assert_eq!(rest(FRIDAY, "mon-thu 08:00-09:00, sat-sun 08:00-09:00", 0), Ok(None));
        assert_eq!(rest(FRIDAY, "sat-fri 00:00-24:00", 0), Ok(Some(16 * HOUR)));
        assert_eq!(rest(FRIDAY, "", 0), Ok(None));
    }

    #[test]
    fn a_span_may_end_on_the_next_day() {
        assert_eq!(rest(FRIDAY, "thu 22:00-10:00", 0), Ok(Some(2 * HOUR)));
        assert_eq!(rest(FRIDAY, "fri 22:00-10:00", 0), Ok(None));
        assert_eq!(rest(FRIDAY + 15 * HOUR, "fri 22:00-10:00", 0), Ok(Some(11 * HOUR)));
        assert_eq!(rest(FRIDAY, "fri 08:00-08:00", 0), Ok(Some(24 * HOUR)));
    }

    #[test]
    fn of_several_spans_the_longest_rest_counts() {
        assert_eq!(rest(FRIDAY, "fri 07:00-09:00, fri 08:00-12:00, thu 20:00-08:30", 0), Ok(Some(4 * HOUR)));
    }

    #[test]
    fn the_time_is_local() {
        assert_eq!(rest(FRIDAY, "fri 10:00-11:00", 120), Ok(Some(HOUR)));
        assert_eq!(rest(FRIDAY, "thu 23:00-24:00", -9 * 60), Ok(Some(HOUR)));
        assert_eq!(offset("+05:30"), Ok(330));
        assert_eq!(offset("-09:00"), Ok(-540));
    }

    #[test]
    fn mistakes_are_named() {
        for text in ["fri", "fri 8:00-09:00", "fry 08:00-09:00", "fri 08:00-25:00", "fri 08:60-09:00", "fri 08:00"] {
            assert!(rest(FRIDAY, text, 0).is_err_and(|mistake| mistake.contains(text)), "{text}");
        }
        for text in ["", "02:00", "+2", "+ä0:00", "é"] {
            assert!(offset(text).is_err(), "{text}");
        }
    }
}
