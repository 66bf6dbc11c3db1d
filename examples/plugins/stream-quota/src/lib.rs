//! A policy and a webhook in one component: at most so many streams of an App at a time. A publish takes a place in the plugin's
//! store; the event of its end gives it back, and so does the end of the time that a stream may last.

use flyloft_plugin::config;
use flyloft_plugin::key_value::{Error, Store};
use flyloft_plugin::policy::{Action, Context, Decision, Grant, Limits, Policy, abstain, deny};
use flyloft_plugin::webhook::{Answer, Attempt, Delivery, Event, Verdict, Webhook};

/// The key of the places that are taken: a line for each, with the time at which it is free again and the member's id.
const PLACES: &str = "places";
const HOUR: u64 = 3_600_000;
const DEFAULT_HOURS: u64 = 12;
/// Places that fit into a value of the store.
const MOST: usize = 500;

struct StreamQuota;

impl Policy for StreamQuota {
    fn decide(context: Context, action: Action) -> Decision {
        match action {
            Action::Publish(request) => publish(&context, &request.member.id)
                .unwrap_or_else(|mistake| deny("quota-unknown", format!("The number of streams cannot be checked: {mistake}."))),
            _ => abstain(),
        }
    }
}

fn publish(context: &Context, member: &str) -> Result<Decision, String> {
    let most = config::parsed::<usize>("max-streams")?.ok_or("the setting \"max-streams\" is missing")?.min(MOST);
    let lasts = config::parsed::<u64>("max-hours")?.unwrap_or(DEFAULT_HOURS).clamp(1, 1000) * HOUR;
    let taken = take(&context.app.id, member, context.now, lasts, most).map_err(|error| error.to_string())?;
    if !taken {
        return Ok(deny(
            "too-many-streams",
            format!("{most} streams are live, which is the most. Try again when one has ended."),
        ));
    }
    let limits = Limits { max_duration: Some(lasts), ..Limits::default() };
    Ok(Decision::Allow(Grant { limits, ..Grant::default() }))
}

/// Takes a place, or keeps the one that the member has. Answers whether there was one.
fn take(app: &str, member: &str, now: u64, lasts: u64, most: usize) -> Result<bool, Error> {
    let mut free = false;
    Store::open()?.update(&key(app), |value| {
        let mut places = read(value, now, member);
        free = places.len() < most;
        if free {
            places.push((now.saturating_add(lasts), member.to_owned()));
        }
        free.then(|| write(&places))
    })?;
    Ok(free)
}

impl Webhook for StreamQuota {
    fn deliver(context: Context, event: Event) -> Answer {
        if event.kind == "streamKey.stateChanged"
            && let Some(member) = &event.member_id
            && serde_json::from_str::<serde_json::Value>(&event.data).is_ok_and(|data| data["to"] == "INACTIVE")
        {
            let given_back = Store::open()
                .and_then(|store| store.update(&key(&event.app_id), |value| Some(write(&read(value, context.now, member)))));
            if let Err(error) = given_back {
                flyloft_plugin::log::warn(format!("the place of {member} stays taken until its time is over: {error}"));
            }
        }
        // Who is told is for the next plugin.
        Answer::Abstain
    }

    fn attempted(_context: Context, _event: Event, _delivery: Delivery, attempt: Attempt) -> Verdict {
        flyloft_plugin::webhook::by_status(&attempt)
    }
}

fn key(app: &str) -> String {
    format!("{PLACES}/{app}")
}

/// The places that are still taken at a time, without the one of a member.
fn read(value: Option<&[u8]>, now: u64, without: &str) -> Vec<(u64, String)> {
    let text = value.map(String::from_utf8_lossy).unwrap_or_default();
    let places = text.lines().filter_map(|line| {
        let (until, member) = line.split_once(' ')?;
        Some((until.parse().ok()?, member.to_owned()))
    });
    places.filter(|(until, member)| *until > now && member != without).collect()
}

fn write(places: &[(u64, String)]) -> Vec<u8> {
    let lines: Vec<String> = places.iter().map(|(until, member)| format!("{until} {member}")).collect();
    lines.join("\n").into_bytes()
}

flyloft_plugin::export_policy!(StreamQuota);
flyloft_plugin::export_webhook!(StreamQuota);

#[cfg(test)]
mod tests {
    use super::*;
    use flyloft_plugin::policy::{Protocol, PublishRequest};
    use flyloft_plugin::testing;

    fn publish(member: &str, hour: u64) -> Result<u64, String> {
        let mut context = testing::context();
        context.now += hour * HOUR;
        let request = PublishRequest {
            connection: testing::connection(Protocol::Rtmp),
            member: testing::member(member),
            room: None,
            stream: "stream-1".into(),
        };
        match StreamQuota::decide(context, Action::Publish(request)) {
            Decision::Allow(grant) => Ok(grant.limits.max_duration.unwrap_or(0)),
            Decision::Deny(denial) => Err(denial.code),
            Decision::Abstain => panic!("no opinion"),
        }
    }

    fn state(member: &str, to: &str) {
        let mut event = testing::event("streamKey.stateChanged");
        event.member_id = Some(member.into());
        event.data = format!("{{\"to\": \"{to}\"}}");
        assert_eq!(StreamQuota::deliver(testing::context(), event), Answer::Abstain);
    }

    fn full() -> Result<u64, String> {
        Err("too-many-streams".into())
    }

    #[test]
    fn a_place_is_free_again_when_its_stream_has_ended() {
        testing::config(&[("max-streams", "2"), ("max-hours", "3")]);
        testing::key_value(&[]);
        assert_eq!(publish("a", 0), Ok(3 * HOUR));
        assert_eq!(publish("b", 0), Ok(3 * HOUR));
        assert_eq!(publish("c", 0), full());
        // Who is live already keeps the place.
        assert_eq!(publish("a", 1), Ok(3 * HOUR));
        state("b", "ACTIVE");
        assert_eq!(publish("c", 1), full());
        state("b", "INACTIVE");
        assert_eq!(publish("c", 1), Ok(3 * HOUR));
    }

    #[test]
    fn a_place_is_free_again_when_its_time_is_over() {
        testing::config(&[("max-streams", "1"), ("max-hours", "3")]);
        testing::key_value(&[]);
        assert!(publish("a", 0).is_ok());
        assert_eq!(publish("b", 2), full());
        assert!(publish("b", 3).is_ok());
    }

    #[test]
    fn without_a_limit_or_a_store_nobody_may() {
        testing::config(&[]);
        assert_eq!(publish("a", 0), Err("quota-unknown".into()));
        testing::config(&[("max-streams", "1")]);
        assert_eq!(publish("a", 0), Err("quota-unknown".into()));
        testing::config(&[("max-streams", "many")]);
        assert_eq!(publish("a", 0), Err("quota-unknown".into()));
    }
}
