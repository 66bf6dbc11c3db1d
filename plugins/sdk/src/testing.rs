//! Made-up requests for a plugin's own tests, which run natively with `cargo test`. Change the fields that matter.

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
