//! Made-up requests for a plugin's own tests, which run natively with `cargo test`: change the fields that matter. And what
//! stands for the host there: settings, a store, the log, other servers. Each test has its own.

use crate::http::{Error, Request, Response};
use crate::imports::native::host;
use crate::policy::{AccessLevel, App, Connection, Context, Member, Protocol, Room, RoomState, RoomType, Token};

/// A call for the App "app-1" that has no default output mode.
pub fn context() -> Context {
    Context {
        call_id: "call-1".into(),
        now: 1_800_000_000_000,
        app: App { id: "app-1".into(), name: "Test".into(), output_mode: None },
    }
}

/// A request from a documentation address.
pub fn connection(protocol: Protocol) -> Connection {
    Connection { protocol, remote_ip: "192.0.2.7".into(), user_agent: None, parameters: Vec::new() }
}

/// A member whose `app-user-id` is the id with "user-" before it.
pub fn member(id: &str) -> Member {
    Member { id: id.into(), app_user_id: format!("user-{id}"), name: None }
}

/// A broadcast room "room-1" of the member "owner".
pub fn room(state: RoomState, access: AccessLevel) -> Room {
    Room { id: "room-1".into(), kind: RoomType::BroadcastRtmp, state, access, owner: member("owner"), title: None }
}

/// A token that names nobody, is for no room and carries no role.
pub fn token() -> Token {
    Token { subject: None, room_id: None, role: None, permissions: Vec::new(), claims: Vec::new() }
}

/// An event of this kind in "room-1" of the member "owner", with no data.
pub fn event(kind: &str) -> crate::webhook::Event {
    crate::webhook::Event {
        id: "evt-1".into(),
        kind: kind.into(),
        time: 1_800_000_000_000,
        app_id: "app-1".into(),
        room_id: Some("room-1".into()),
        member_id: Some("owner".into()),
        data: "{}".into(),
    }
}

/// The first attempt at a delivery, answered with this status and an empty body.
pub fn attempt(status: u16) -> crate::webhook::Attempt {
    let response = crate::webhook::Response { status, retry_after: None, body: Vec::new() };
    crate::webhook::Attempt { number: 1, outcome: crate::webhook::Outcome::Response(response) }
}

/// Gives the plugin these settings instead of the ones that it had.
pub fn config(settings: &[(&str, &str)]) {
    let settings = settings.iter().map(|&(name, value)| (name.to_owned(), value.to_owned()));
    host(|host| host.config = settings.collect());
}

/// Gives the plugin a store with these values.
pub fn key_value(values: &[(&str, &str)]) {
    let values = values.iter().map(|&(key, value)| (key.to_owned(), value.as_bytes().to_vec()));
    host(|host| host.values = Some(values.collect()));
}

/// Lets `answer` stand for all other servers.
pub fn http(answer: impl Fn(Request) -> Result<Response, Error> + 'static) {
    host(|host| host.http = Some(std::rc::Rc::new(answer)));
}

/// The lines that the plugin has logged with [`crate::log`], without their levels.
pub fn logged() -> Vec<String> {
    host(|host| host.log.clone())
}
