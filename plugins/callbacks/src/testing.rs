//! Actions for the tests of these plugins.

use flyloft_plugin::policy::{Action, Decision, PlayRequest, Protocol, PublishRequest, PushOutRequest};
use flyloft_plugin::testing;

/// The owner publishes "stream-1".
pub fn publish() -> Action {
    Action::Publish(PublishRequest {
        connection: testing::connection(Protocol::Rtmp),
        member: testing::member("owner"),
        room: None,
        stream: "stream-1".into(),
    })
}

/// Somebody plays "stream-1".
pub fn play() -> Action {
    Action::Play(PlayRequest {
        connection: testing::connection(Protocol::Hls),
        room: None,
        owner: testing::member("owner"),
        stream: "stream-1".into(),
        token: None,
        viewers: 0,
    })
}

/// What no callback is made of.
pub fn push_out() -> Action {
    Action::PushOut(PushOutRequest { room: None, stream: "stream-1".into(), target: "rtmp://a.example".into() })
}

/// The code of a refusal.
///
/// # Panics
/// When it is none.
pub fn denied(decision: Decision) -> String {
    match decision {
        Decision::Deny(denial) => denial.code,
        other => panic!("no refusal: {other:?}"),
    }
}
