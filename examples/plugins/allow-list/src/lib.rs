//! A policy: only the members on a list may publish, and guests of the house only in the evening.

use flyloft_plugin::policy::{Action, Context, Decision, Grant, Limits, Policy, abstain, deny};

/// The `appUserId`s of those who may publish at any time.
const HOSTS: [&str; 2] = ["alice", "bob"];

/// Whoever's `appUserId` begins like this may publish in the evening, with at most 3 Mbit/s and for two hours.
const GUEST_PREFIX: &str = "guest-";
const EVENING_UTC: std::ops::Range<u64> = 18..23;

struct AllowList;

impl Policy for AllowList {
    fn decide(context: Context, action: Action) -> Decision {
        let Action::Publish(request) = action else {
            // Everything else is left to the server's own rules.
            return abstain();
        };
        let id = request.member.app_user_id.as_str();
        if HOSTS.contains(&id) {
            return Decision::Allow(Grant::default());
        }
        if !id.starts_with(GUEST_PREFIX) {
            return deny("not-listed", format!("\"{id}\" is not on the list of hosts. Ask the studio to be added."));
        }
        let hour = context.now / 3_600_000 % 24;
        if !EVENING_UTC.contains(&hour) {
            return deny("too-early", "Guests may publish from 18:00 to 23:00 UTC. Try again then.");
        }
        let limits = Limits { max_bitrate: Some(3_000_000), max_duration: Some(2 * 60 * 60 * 1000), ..Limits::default() };
        Decision::Allow(Grant { limits, ..Grant::default() })
    }
}

flyloft_plugin::export_policy!(AllowList);

#[cfg(test)]
mod tests {
    use super::*;
    use flyloft_plugin::policy::{Protocol, PublishRequest, PushOutRequest};
    use flyloft_plugin::testing;

    fn publish(app_user_id: &str, hour: u64) -> Decision {
        let mut context = testing::context();
        context.now = hour * 3_600_000;
        let mut member = testing::member("1");
        member.app_user_id = app_user_id.into();
        let connection = testing::connection(Protocol::Rtmp);
        AllowList::decide(context, Action::Publish(PublishRequest { connection, member, room: None, stream: "stream-1".into() }))
    }

    fn code(decision: Decision) -> String {
        match decision {
            Decision::Deny(denial) => denial.code,
            other => panic!("not denied: {other:?}"),
        }
    }

    #[test]
    fn hosts_publish_at_any_time() {
        assert_eq!(publish("alice", 3), Decision::Allow(Grant::default()));
        assert_eq!(code(publish("mallory", 20)), "not-listed");
    }

    #[test]
    fn guests_publish_in_the_evening_within_limits() {
        assert_eq!(code(publish("guest-7", 17)), "too-early");
        assert_eq!(code(publish("guest-7", 23)), "too-early");
        let Decision::Allow(grant) = publish("guest-7", 18) else { panic!("denied") };
        assert_eq!(grant.limits.max_bitrate, Some(3_000_000));
    }

    #[test]
    fn everything_else_is_left_to_the_server() {
        let push = PushOutRequest { room: None, stream: "s".into(), target: "rtmp://live.example".into() };
        assert_eq!(AllowList::decide(testing::context(), Action::PushOut(push)), Decision::Abstain);
    }
}
