//! The conversation with the backend: one JSON question, one JSON answer.

use flyloft_plugin::policy::{Action, Context, Decision, Grant, Limits, Pair, deny};
use serde::{Deserialize, Serialize};

/// What the backend is asked.
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Question<'a> {
    call_id: &'a str,
    app_id: &'a str,
    /// "publish" or "play".
    action: &'static str,
    /// The member whose stream it is.
    app_user_id: &'a str,
    stream: &'a str,
    room_id: Option<&'a str>,
    remote_ip: &'a str,
    parameters: Vec<(&'a str, &'a str)>,
}

/// What it answers.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    allow: bool,
    /// For a refusal: lower-case words joined by hyphens.
    code: Option<String>,
    reason: Option<String>,
    /// Bits per second.
    max_bitrate: Option<u64>,
    /// Milliseconds.
    max_duration: Option<u64>,
    record: Option<bool>,
}

/// The question about an action; None for actions that the backend is not asked about.
pub fn question<'a>(context: &'a Context, action: &'a Action) -> Option<Question<'a>> {
    let (action, connection, member, stream, room) = match action {
        Action::Publish(request) => ("publish", &request.connection, &request.member, &request.stream, &request.room),
        Action::Play(request) => ("play", &request.connection, &request.owner, &request.stream, &request.room),
        _ => return None,
    };
    Some(Question {
        call_id: &context.call_id,
        app_id: &context.app.id,
        action,
        app_user_id: &member.app_user_id,
        stream,
        room_id: room.as_ref().map(|room| room.id.as_str()),
        remote_ip: &connection.remote_ip,
        parameters: connection.parameters.iter().map(|Pair { name, value }| (name.as_str(), value.as_str())).collect(),
    })
}

/// The decision that an answer means. Whatever is no clear yes is a no.
pub fn decision(status: u16, body: &[u8]) -> Decision {
    if status != 200 {
        return deny("backend-failed", format!("The backend answered with status {status}. Try again later."));
    }
    let Ok(answer) = serde_json::from_slice::<Answer>(body) else {
        return deny("backend-failed", "The backend's answer cannot be read. Try again later.");
    };
    if !answer.allow {
        let reason = answer.reason.unwrap_or_else(|| "The backend does not allow this.".to_owned());
        return deny(answer.code.as_deref().unwrap_or("refused"), reason);
    }
    let limits = Limits { max_bitrate: answer.max_bitrate, max_duration: answer.max_duration, ..Limits::default() };
    Decision::Allow(Grant { limits, record: answer.record, ..Grant::default() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use flyloft_plugin::policy::{Protocol, PublishRequest, PushOutRequest, allow};
    use flyloft_plugin::testing;

    #[test]
    fn the_backend_is_told_what_it_needs() {
        let request = PublishRequest {
            connection: testing::connection(Protocol::Rtmp),
            member: testing::member("1"),
            room: None,
            stream: "stream-1".into(),
        };
        let (context, action) = (testing::context(), Action::Publish(request));
        let asked = serde_json::to_value(question(&context, &action)).unwrap();
        assert_eq!(asked["action"], "publish");
        assert_eq!(asked["appUserId"], "user-1");
        assert_eq!(asked["remoteIp"], "192.0.2.7");
        let other = Action::PushOut(PushOutRequest { room: None, stream: "s".into(), target: "rtmp://live.example".into() });
        assert!(question(&context, &other).is_none());
    }

    #[test]
    fn only_a_clear_yes_is_a_yes() {
        assert_eq!(decision(200, br#"{"allow": true}"#), allow());
        let Decision::Allow(grant) = decision(200, br#"{"allow": true, "maxBitrate": 3000000, "record": true}"#) else {
            panic!("denied")
        };
        assert_eq!((grant.limits.max_bitrate, grant.record), (Some(3_000_000), Some(true)));
        let code = |status, body: &[u8]| match decision(status, body) {
            Decision::Deny(denial) => denial.code,
            other => panic!("not denied: {other:?}"),
        };
        assert_eq!(code(200, br#"{"allow": false, "code": "banned", "reason": "You are banned."}"#), "banned");
        assert_eq!(code(200, br#"{"allow": false}"#), "refused");
        for (status, body) in [(204, &b""[..]), (500, b"{\"allow\": true}"), (200, b""), (200, b"{\"allow\": 1}")] {
            assert_eq!(code(status, body), "backend-failed");
        }
    }
}
