//! Checks of values that people type, all of a request's errors at once; and times in answers.

use flyloft_rooms::Millis;
use jiff::Timestamp;
use serde::{Deserialize, Deserializer};

use super::problem::{FieldError, Problem};
use http::StatusCode;

/// Collects what is wrong with a request.
#[derive(Default)]
pub struct Checks(Vec<FieldError>);

impl Checks {
    pub fn fail(&mut self, field: &str, detail: impl Into<String>) {
        self.0.push(FieldError { field: field.to_owned(), detail: detail.into() });
    }

    /// One line of 1 to `max` characters.
    pub fn line(&mut self, field: &str, text: &str, max: usize) {
        self.length(field, text, max);
        if text.chars().any(char::is_control) {
            self.fail(field, "it may not have control characters or line breaks");
        }
    }

    /// Up to `max` characters, with line breaks.
    pub fn lines(&mut self, field: &str, text: &str, max: usize) {
        self.length(field, text, max);
        if text.chars().any(|character| character.is_control() && !matches!(character, '\n' | '\r' | '\t')) {
            self.fail(field, "it may not have control characters other than line breaks and tabs");
        }
    }

    fn length(&mut self, field: &str, text: &str, max: usize) {
        let count = text.chars().count();
        if count > max {
            self.fail(field, format!("it has {count} characters and may have {max}"));
        } else if text.trim().is_empty() {
            self.fail(field, "it is empty: give it a text, or leave it out");
        }
    }

    /// A time in ISO 8601 with an offset.
    pub fn time(&mut self, field: &str, text: &str) -> Option<Millis> {
        match text.parse::<Timestamp>() {
            Ok(time) => Some(time.as_millisecond()),
            Err(_) => {
                self.fail(
                    field,
                    "it is no time in ISO 8601 with an offset: write it as 2026-11-21T18:30:00Z or 2026-11-21T19:30:00+01:00",
                );
                None
            }
        }
    }

    pub fn finish(self) -> Result<(), Problem> {
        let Some(first) = self.0.first() else { return Ok(()) };
        let detail = format!("{}: {}", first.field, first.detail);
        Err(Problem { errors: self.0, ..Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", detail) })
    }
}

/// Tells `null`, which clears a property, from an absent one, which leaves it.
pub fn nullable<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// A time as answers show it: RFC 3339 in UTC with milliseconds.
pub fn time(at: Millis) -> String {
    Timestamp::from_millisecond(at).map_or_else(|_| String::new(), |time| format!("{time:.3}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_errors_are_reported_at_once() {
        let mut checks = Checks::default();
        checks.line("a", "fine", 4);
        checks.line("b", "too long", 4);
        checks.line("c", "two\nlines", 40);
        checks.lines("d", "two\nlines", 40);
        checks.line("e", " ", 40);
        assert_eq!(checks.time("f", "2026-11-21T19:30:00.5+01:00"), Some(1_795_285_800_500));
        assert_eq!(checks.time("g", "tomorrow"), None);
        assert_eq!(checks.time("h", "2026-11-21T19:30:00"), None);
        let fields: Vec<_> = checks.finish().unwrap_err().errors.into_iter().map(|error| error.field).collect();
        assert_eq!(fields, ["b", "c", "e", "g", "h"]);
    }

    #[test]
    fn times_are_shown_in_utc() {
        assert_eq!(time(1_795_285_800_500), "2026-11-21T18:30:00.500Z");
    }
}
