//! Only the team may publish. Everything else is left to the next plugin.

use flyloft_plugin::policy::{Action, Context, Decision, Grant, Limits, Policy, abstain, deny};

struct Rule;

impl Policy for Rule {
    fn decide(_context: Context, action: Action) -> Decision {
        let Action::Publish(request) = action else {
            return abstain();
        };
        let id = request.member.app_user_id;
        if !id.starts_with("team-") {
            return deny("not-in-the-team", format!("{id} is not in the team. Ask the studio to be added."));
        }
        let limits = Limits { max_bitrate: Some(6_000_000), ..Limits::default() };
        Decision::Allow(Grant { limits, ..Grant::default() })
    }
}

flyloft_plugin::export_policy!(Rule);

#[cfg(test)]
mod tests {
    use super::*;
    use flyloft_plugin::policy::{Protocol, PublishRequest};
    use flyloft_plugin::testing;

    fn publish(app_user_id: &str) -> Decision {
        let mut member = testing::member("1");
        member.app_user_id = app_user_id.into();
        let connection = testing::connection(Protocol::Rtmp);
        let request = PublishRequest { connection, member, room: None, stream: "stream-1".into() };
        Rule::decide(testing::context(), Action::Publish(request))
    }

    #[test]
    fn only_the_team_may_publish() {
        assert!(matches!(publish("team-alice"), Decision::Allow(_)));
        assert!(matches!(publish("mallory"), Decision::Deny(denial) if denial.code == "not-in-the-team"));
    }
}
