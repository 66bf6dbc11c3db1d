//! Runtimes and made-up requests for the tests.

use flyloft_plugins::model::*;
use flyloft_plugins::{Config, Fault, FaultKind, Grants, Plugins};
use std::time::Duration;

/// A runtime with the built-in plugins only, that forgets everything.
pub fn plugins() -> Plugins {
    Plugins::open(config()).unwrap()
}

/// The default settings with a deadline that a busy test machine does not miss by itself.
pub fn config() -> Config {
    let mut config = Config::default();
    config.limits.deadline = Duration::from_millis(500);
    config
}

/// A runtime in which a component stands in front of the built-in plugins, with these grants.
pub async fn granted(component: &'static [u8], grants: Grants) -> Plugins {
    let mut config = config();
    // Time for other servers to answer.
    config.limits.deadline = Duration::from_secs(20);
    granted_with(config, component, grants).await
}

pub async fn granted_with(config: Config, component: &'static [u8], grants: Grants) -> Plugins {
    let plugins = Plugins::open(config).unwrap();
    plugins.put_with("granted", component.into(), grants).await.unwrap();
    plugins
}

pub fn context() -> Context {
    Context {
        call_id: "call-7".into(),
        now: 1_800_000_000_000,
        app: App { id: "app-1".into(), name: "Test".into(), output_mode: None },
    }
}

pub fn connection(protocol: Protocol) -> Connection {
    Connection {
        protocol,
        remote_ip: "192.0.2.7".into(),
        user_agent: Some("Lavf/61.1.100".into()),
        parameters: vec![Pair { name: "mode".into(), value: "CMAF".into() }],
    }
}

pub fn member(id: &str) -> Member {
    Member { id: id.into(), app_user_id: format!("user-{id}"), name: Some("Ä Name".into()) }
}

pub fn room(state: RoomState, access: AccessLevel) -> Room {
    Room {
        id: "room-1".into(),
        kind: RoomType::BroadcastRtmp,
        state,
        access,
        owner: member("owner"),
        title: Some("A title".into()),
    }
}

pub fn token(subject: Option<&str>, room: Option<&str>, role: Option<&str>) -> Token {
    Token {
        subject: subject.map(Into::into),
        room_id: room.map(Into::into),
        role: role.map(Into::into),
        permissions: vec!["promote".into()],
        claims: vec![Pair { name: "tier".into(), value: "\"gold\"".into() }],
    }
}

/// A publish of a stream; the hostile plugin takes its name as an order.
pub fn publish(stream: &str) -> Action {
    Action::Publish(PublishRequest {
        connection: connection(Protocol::Rtmp),
        member: member("owner"),
        room: Some(room(RoomState::Live, AccessLevel::Public)),
        stream: stream.into(),
    })
}

pub fn play(room: Option<Room>, token: Option<Token>) -> Action {
    Action::Play(PlayRequest {
        connection: connection(Protocol::Hls),
        room,
        owner: member("owner"),
        stream: "stream-1".into(),
        token,
        viewers: 3,
    })
}

pub fn output_request(url: Option<&str>, key: Option<OutputMode>) -> OutputModeRequest {
    OutputModeRequest {
        connection: connection(Protocol::Rtmp),
        member: member("owner"),
        room: None,
        stream: "stream-1".into(),
        url_mode: url.map(Into::into),
        key_mode: key,
        transcoding_profile: Some("720p".into()),
    }
}

/// Whether the action is allowed, or else with which code it is denied.
pub async fn verdict(plugins: &Plugins, action: Action) -> Result<Grant, String> {
    match plugins.decide(&context(), &action).await.unwrap().answer {
        Decision::Allow(grant) => Ok(grant),
        Decision::Deny(denial) => Err(denial.code),
        Decision::Abstain => panic!("decide answered abstain"),
    }
}

/// The reason with which the action is denied.
pub async fn reason(plugins: &Plugins, action: Action) -> String {
    match plugins.decide(&context(), &action).await.unwrap().answer {
        Decision::Deny(denial) => denial.reason,
        other => panic!("not denied: {other:?}"),
    }
}

/// The fault of an action; everything about it but its kind is checked here.
pub async fn fault(plugins: &Plugins, action: Action) -> FaultKind {
    let fault: Fault = plugins.decide(&context(), &action).await.unwrap_err();
    let info = plugins.get(&fault.plugin).unwrap();
    assert_eq!((fault.call.as_str(), &fault.digest), ("call-7", &info.component.digest));
    fault.kind
}
