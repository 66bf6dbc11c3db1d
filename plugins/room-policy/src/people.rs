//! Who may enter a conference room, and who may change another one's role in it.

use crate::watching::admits;
use flyloft_plugin::policy::{AccessLevel, Decision, Grant, JoinRequest, RoleChangeRequest, RoomState, allow, deny};

/// The role that only watches.
const AUDIENCE: &str = "audience";

pub(crate) fn join(request: &JoinRequest) -> Decision {
    let room = &request.room;
    if !matches!(room.state, RoomState::Scheduled | RoomState::Live | RoomState::LiveInactive) {
        return deny("room-ended", "This room has ended, so nobody can join it. Create a new room.");
    }
    let owner = request.member.as_ref().is_some_and(|member| member.id == room.owner.id);
    match &request.token {
        // A token for this room says as what its bearer comes; without a role, it is good for the audience.
        Some(token) if admits(token, room) => {
            let role = token.role.as_deref().unwrap_or(if owner { "owner" } else { AUDIENCE });
            if request.role == role || request.role == AUDIENCE || owner {
                Decision::Allow(Grant {
                    role: Some(request.role.clone()),
                    permissions: token.permissions.clone(),
                    ..Grant::default()
                })
            } else {
                deny(
                    "role-not-granted",
                    format!(
                        "The token does not let its bearer join as more than {role}. Ask for a token with the role that you need."
                    ),
                )
            }
        }
        _ if owner => allow(),
        _ if room.access == AccessLevel::Public && request.role == AUDIENCE => allow(),
        Some(_) => deny("wrong-room", "The token is for another room. Ask for one for this room."),
        None => deny("token-needed", "A room token is needed to join this room. Ask the room's owner for one."),
    }
}

pub(crate) fn change_role(request: &RoleChangeRequest, permission: &str) -> Decision {
    if request.by.id == request.room.owner.id || request.by_permissions.iter().any(|held| held == permission) {
        return allow();
    }
    deny(
        "permission-needed",
        format!("Only the room's owner and members with the permission \"{permission}\" may {permission} others."),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::denied;
    use flyloft_plugin::policy::{Protocol, Token};
    use flyloft_plugin::testing;

    fn ask(access: AccessLevel, member: Option<&str>, token: Option<Token>, role: &str) -> Decision {
        join(&JoinRequest {
            connection: testing::connection(Protocol::Whip),
            room: testing::room(RoomState::Live, access),
            member: member.map(testing::member),
            token,
            role: role.into(),
        })
    }

    fn token(room: &str, role: Option<&str>) -> Option<Token> {
        Some(Token {
            room_id: Some(room.into()),
            role: role.map(Into::into),
            permissions: vec!["promote".into()],
            ..testing::token()
        })
    }

    fn granted(role: &str) -> Decision {
        Decision::Allow(Grant { role: Some(role.into()), permissions: vec!["promote".into()], ..Grant::default() })
    }

    #[test]
    fn a_token_for_the_room_grants_its_role_and_permissions() {
        assert_eq!(ask(AccessLevel::Private, None, token("room-1", Some("member")), "member"), granted("member"));
        assert_eq!(ask(AccessLevel::Private, None, token("room-1", Some("member")), "audience"), granted("audience"));
        assert_eq!(ask(AccessLevel::Private, None, token("room-1", None), "audience"), granted("audience"));
        assert_eq!(denied(ask(AccessLevel::Private, None, token("room-1", None), "member")), "role-not-granted");
        let audience = token("room-1", Some("audience"));
        assert_eq!(denied(ask(AccessLevel::Public, None, audience, "owner")), "role-not-granted");
    }

    #[test]
    fn without_a_token_a_public_room_takes_audience_only() {
        assert_eq!(ask(AccessLevel::Public, None, None, "audience"), allow());
        assert_eq!(ask(AccessLevel::Public, None, token("room-2", None), "audience"), allow());
        assert_eq!(denied(ask(AccessLevel::Public, Some("guest"), None, "member")), "token-needed");
        assert_eq!(denied(ask(AccessLevel::Private, None, None, "audience")), "token-needed");
        assert_eq!(denied(ask(AccessLevel::Private, None, token("room-2", Some("member")), "member")), "wrong-room");
    }

    #[test]
    fn the_owner_enters_without_a_token() {
        assert_eq!(ask(AccessLevel::Private, Some("owner"), None, "owner"), allow());
    }

    #[test]
    fn nobody_joins_a_room_that_is_over() {
        let request = JoinRequest {
            connection: testing::connection(Protocol::Whip),
            room: testing::room(RoomState::Ended, AccessLevel::Public),
            member: Some(testing::member("owner")),
            token: token("room-1", Some("member")),
            role: "audience".into(),
        };
        assert_eq!(denied(join(&request)), "room-ended");
    }

    #[test]
    fn roles_are_changed_by_the_owner_and_by_those_who_may() {
        let ask = |by: &str, permissions: &[&str], permission| {
            let request = RoleChangeRequest {
                room: testing::room(RoomState::Live, AccessLevel::Public),
                by: testing::member(by),
                by_permissions: permissions.iter().map(|&p| p.to_owned()).collect(),
                target: testing::member("other"),
                role: "member".into(),
            };
            change_role(&request, permission)
        };
        assert_eq!(ask("owner", &[], "promote"), allow());
        assert_eq!(ask("guest", &["mute", "promote"], "promote"), allow());
        assert_eq!(ask("guest", &["demote"], "demote"), allow());
        assert_eq!(denied(ask("guest", &["demote"], "promote")), "permission-needed");
        assert_eq!(denied(ask("guest", &[], "demote")), "permission-needed");
    }
}
