//! Who may create, start and end rooms, and who may issue tokens for them.

use flyloft_plugin::policy::{Caller, Decision, IssueTokenRequest, Member, RoomRequest, allow, deny};

/// The role that a member may give to others.
const AUDIENCE: &str = "audience";

pub(crate) fn manage(request: &RoomRequest, verb: &str) -> Decision {
    let owns = is(request.member.as_ref(), &request.room.owner);
    if request.caller != Caller::Member || owns {
        return allow();
    }
    deny("not-owner", format!("Only the room's owner may {verb} it. Sign in as its owner, or use the App's secret."))
}

pub(crate) fn issue_token(request: &IssueTokenRequest) -> Decision {
    if request.caller != Caller::Member {
        return allow();
    }
    let Some(room) = &request.room else {
        return deny("room-needed", "A member's token must be for one room. Name a room that the member owns.");
    };
    if !is(request.by.as_ref(), &room.owner) {
        return deny(
            "not-owner",
            "Only the room's owner may issue tokens for it. Sign in as its owner, or use the App's secret.",
        );
    }
    let for_oneself = request.subject.as_ref().is_some_and(|subject| is(request.by.as_ref(), subject));
    if for_oneself || (request.role == AUDIENCE && request.permissions.is_empty()) {
        return allow();
    }
    deny(
        "role-not-granted",
        "A member may issue tokens to others for the role \"audience\" without permissions only. Use the App's secret for more.",
    )
}

fn is(member: Option<&Member>, other: &Member) -> bool {
    member.is_some_and(|member| member.id == other.id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::denied;
    use flyloft_plugin::policy::{AccessLevel, Protocol, RoomState};
    use flyloft_plugin::testing;

    fn run(caller: Caller, member: Option<&str>) -> Decision {
        let request = RoomRequest {
            connection: testing::connection(Protocol::Rest),
            room: testing::room(RoomState::Scheduled, AccessLevel::Public),
            caller,
            member: member.map(testing::member),
            forced: false,
        };
        manage(&request, "start")
    }

    #[test]
    fn the_server_the_operator_and_the_owner_run_a_room() {
        assert_eq!(run(Caller::Server, None), allow());
        assert_eq!(run(Caller::Operator, None), allow());
        assert_eq!(run(Caller::Member, Some("owner")), allow());
        assert_eq!(denied(run(Caller::Member, Some("guest"))), "not-owner");
        assert_eq!(denied(run(Caller::Member, None)), "not-owner");
    }

    fn issue(caller: Caller, room: bool, by: Option<&str>, subject: Option<&str>, role: &str, may: &[&str]) -> Decision {
        issue_token(&IssueTokenRequest {
            connection: testing::connection(Protocol::Rest),
            room: room.then(|| testing::room(RoomState::Live, AccessLevel::Private)),
            caller,
            by: by.map(testing::member),
            subject: subject.map(testing::member),
            role: role.into(),
            permissions: may.iter().map(|&p| p.to_owned()).collect(),
        })
    }

    #[test]
    fn the_server_and_the_operator_issue_any_token() {
        assert_eq!(issue(Caller::Server, false, None, Some("guest"), "owner", &["promote"]), allow());
        assert_eq!(issue(Caller::Operator, true, None, None, "member", &[]), allow());
    }

    #[test]
    fn a_member_issues_tokens_for_an_own_room_only() {
        assert_eq!(denied(issue(Caller::Member, true, Some("guest"), None, "audience", &[])), "not-owner");
        assert_eq!(denied(issue(Caller::Member, true, None, None, "audience", &[])), "not-owner");
        assert_eq!(denied(issue(Caller::Member, false, Some("owner"), None, "audience", &[])), "room-needed");
    }

    #[test]
    fn a_member_raises_nobody_else_above_the_audience() {
        assert_eq!(issue(Caller::Member, true, Some("owner"), None, "audience", &[]), allow());
        assert_eq!(issue(Caller::Member, true, Some("owner"), Some("guest"), "audience", &[]), allow());
        assert_eq!(issue(Caller::Member, true, Some("owner"), Some("owner"), "owner", &["promote"]), allow());
        let code = |subject, role, may: &[&str]| denied(issue(Caller::Member, true, Some("owner"), subject, role, may));
        assert_eq!(code(Some("guest"), "member", &[]), "role-not-granted");
        assert_eq!(code(None, "member", &[]), "role-not-granted");
        assert_eq!(code(Some("guest"), "audience", &["promote"]), "role-not-granted");
    }
}
