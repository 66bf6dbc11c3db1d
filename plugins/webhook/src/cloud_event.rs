//! An event as a CloudEvent 1.0 in the structured mode of its JSON format.

use flyloft_plugin::webhook::Event;
use std::fmt::Write;

pub(crate) const MEDIA_TYPE: &str = "application/cloudevents+json; charset=utf-8";

/// The CloudEvent. `source` is the App and `subject` the room or else the member.
pub(crate) fn json(event: &Event) -> String {
    let mut json = String::with_capacity(512 + event.data.len());
    json.push_str("{\"specversion\":\"1.0\"");
    member(&mut json, "id", &event.id);
    member(&mut json, "source", &format!("/apps/{}", segment(&event.app_id)));
    member(&mut json, "type", &event.kind);
    member(&mut json, "time", &rfc3339(event.time));
    let subject = match (&event.room_id, &event.member_id) {
        (Some(room), _) => Some(format!("rooms/{}", segment(room))),
        (None, Some(member)) => Some(format!("members/{}", segment(member))),
        (None, None) => None,
    };
    if let Some(subject) = subject {
        member(&mut json, "subject", &subject);
    }
    member(&mut json, "datacontenttype", "application/json");
    // The host gives the text of a JSON object.
    json.push_str(",\"data\":");
    json.push_str(&event.data);
    json.push('}');
    json
}

fn member(json: &mut String, name: &str, value: &str) {
    json.push_str(",\"");
    json.push_str(name);
    json.push_str("\":\"");
    for c in value.chars() {
        match c {
            '"' => json.push_str("\\\""),
            '\\' => json.push_str("\\\\"),
            c if (c as u32) < 0x20 => {
                // Writing to a String does not fail.
                let _ = write!(json, "\\u{:04x}", c as u32);
            }
            c => json.push(c),
        }
    }
    json.push('"');
}

/// A part of a path, percent-encoded.
fn segment(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            encoded.push(byte as char);
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

/// Milliseconds since the Unix epoch as RFC 3339 has them, in UTC.
fn rfc3339(millis: u64) -> String {
    let (seconds, millis) = (millis / 1000, millis % 1000);
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{millis:03}Z", second / 3600, second / 60 % 60, second % 60)
}

/// The date of a day since the Unix epoch, by the Gregorian calendar. Years are counted from March, so that the leap day is
/// the last of its year.
fn civil(days: u64) -> (u64, u64, u64) {
    const DAYS_OF_400_YEARS: u64 = 146_097;
    // From 0000-03-01.
    let days = days + 719_468;
    let (era, day) = (days / DAYS_OF_400_YEARS, days % DAYS_OF_400_YEARS);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let (month, later) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era * 400 + year + later, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use flyloft_plugin::testing;

    #[test]
    fn an_event_has_the_attributes_of_a_cloud_event() {
        let mut event = testing::event("videoRoom.live");
        event.data = "{\"from\":\"SCHEDULED\"}".into();
        assert_eq!(
            json(&event),
            "{\"specversion\":\"1.0\",\"id\":\"evt-1\",\"source\":\"/apps/app-1\",\"type\":\"videoRoom.live\",\
             \"time\":\"2027-01-15T08:00:00.000Z\",\"subject\":\"rooms/room-1\",\
             \"datacontenttype\":\"application/json\",\"data\":{\"from\":\"SCHEDULED\"}}"
        );
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        let mut event = testing::event("member.created");
        event.room_id = None;
        let with_member = json(&event);
        assert!(with_member.contains("\"subject\":\"members/owner\""), "{with_member}");
        event.member_id = None;
        let bare = json(&event);
        assert!(!bare.contains("subject"), "{bare}");
    }

    #[test]
    fn texts_are_escaped() {
        let mut event = testing::event("a\"b\\c\n\u{1}é");
        event.app_id = "a/b c".into();
        let json = json(&event);
        assert!(json.contains("\"type\":\"a\\\"b\\\\c\\u000a\\u0001é\""), "{json}");
        assert!(json.contains("\"source\":\"/apps/a%2Fb%20c\""), "{json}");
    }

    #[test]
    fn times_follow_the_calendar() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (951_868_800_000, "2000-03-01T00:00:00.000Z"),
            (1_709_164_800_000, "2024-02-29T00:00:00.000Z"),
            (1_735_689_599_000, "2024-12-31T23:59:59.000Z"),
            (1_735_689_600_000, "2025-01-01T00:00:00.000Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(rfc3339(millis), text);
        }
    }
}
