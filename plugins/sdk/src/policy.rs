//! The `room-policy` interface: who may do what.

/// What `wit/0.1.0/room-policy.wit` says, as Rust.
#[allow(missing_docs, clippy::all)]
pub mod bindings {
    wit_bindgen::generate!({
        path: "../../wit/0.1.0",
        world: "policy-plugin",
        additional_derives: [PartialEq],
        generate_unused_types: true,
        pub_export_macro: true,
        export_macro_name: "export_policy",
        default_bindings_module: "flyloft_plugin::policy::bindings",
        runtime_path: "flyloft_plugin::wit_runtime",
    });
}

/// Implemented by a plugin that decides who may do what; made known with [`crate::export_policy`].
pub use bindings::exports::flyloft::plugin::room_policy::Guest as Policy;
pub use bindings::exports::flyloft::plugin::room_policy::{
    Action, Caller, Connection, Context, Decision, Denial, Grant, IssueTokenRequest, JoinRequest, Limits, Member, Pair,
    PlayRequest, PublishRequest, PushOutRequest, RoleChangeRequest, Room, RoomRequest, Token,
};
pub use bindings::flyloft::plugin::types::{AccessLevel, App, Protocol, RoomState, RoomType};

impl Default for Limits {
    /// No limits but the host's own.
    fn default() -> Self {
        Limits { max_bitrate: None, max_duration: None, max_viewers: None, max_width: None, max_height: None }
    }
}

impl Default for Grant {
    /// The role that was asked for, no permissions, no limits but the host's own, recording as the room says.
    fn default() -> Self {
        Grant { role: None, permissions: Vec::new(), limits: Limits::default(), record: None, labels: Vec::new() }
    }
}

/// Allows the action as it was asked for.
pub fn allow() -> Decision {
    Decision::Allow(Grant::default())
}

/// Refuses the action. The code is for programs (lower-case words joined by hyphens), the reason is for people: a
/// sentence that says what was refused, why, and what to do about it.
pub fn deny(code: &str, reason: impl Into<String>) -> Decision {
    Decision::Deny(Denial { code: code.to_owned(), reason: reason.into() })
}

/// Leaves the decision to the next plugin in the chain.
pub fn abstain() -> Decision {
    Decision::Abstain
}
