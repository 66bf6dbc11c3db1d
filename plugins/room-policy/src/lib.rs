//! The built-in rules for who may do what. Publishing rests on the stream key, watching on the room's state and access
//! level, running a room on owning it, and changing roles on the permission to.

mod people;
mod rooms;
mod watching;

use flyloft_plugin::policy::{Action, Context, Decision, Policy, allow};

struct Default;

impl Policy for Default {
    fn decide(_context: Context, action: Action) -> Decision {
        match action {
            // The host has recognised the stream key, which is the right to publish.
            Action::Publish(_) => allow(),
            Action::Play(request) => watching::play(&request),
            Action::Join(request) => people::join(&request),
            Action::Promote(request) => people::change_role(&request, "promote"),
            Action::Demote(request) => people::change_role(&request, "demote"),
            Action::Create(request) => rooms::manage(&request, "create"),
            Action::Start(request) => rooms::manage(&request, "start"),
            Action::End(request) => rooms::manage(&request, "end"),
            // Only the server API and the operator can ask for it.
            Action::PushOut(_) => allow(),
            Action::IssueToken(request) => rooms::issue_token(&request),
        }
    }
}

flyloft_plugin::export_policy!(Default);

#[cfg(test)]
fn denied(decision: Decision) -> String {
    match decision {
        Decision::Deny(denial) => {
            assert!(denial.reason.ends_with('.') && denial.reason.contains(' '), "no sentence: {}", denial.reason);
            denial.code
        }
        other => panic!("not denied: {other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flyloft_plugin::policy::{Protocol, PublishRequest, PushOutRequest};
    use flyloft_plugin::testing;

    #[test]
    fn a_recognised_key_may_publish() {
        let request = PublishRequest {
            connection: testing::connection(Protocol::Rtmp),
            member: testing::member("owner"),
            room: None,
            stream: "stream-1".into(),
        };
        assert_eq!(Default::decide(testing::context(), Action::Publish(request)), allow());
    }

    #[test]
    fn streams_may_be_pushed_out() {
        let request = PushOutRequest { room: None, stream: "stream-1".into(), target: "rtmp://a.rtmp.youtube.com".into() };
        assert_eq!(Default::decide(testing::context(), Action::PushOut(request)), allow());
    }
}
