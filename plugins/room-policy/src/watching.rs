//! Who may watch a stream.

use flyloft_plugin::policy::{AccessLevel, Decision, PlayRequest, Room, RoomState, Token, allow, deny};

/// Roles that may watch a stream before or after its room shows it.
const PREVIEW_ROLES: [&str; 4] = ["preview", "owner", "operator", "moderator"];

pub(crate) fn play(request: &PlayRequest) -> Decision {
    let token = request.token.as_ref();
    let Some(room) = &request.room else {
        return if may_preview(token, &request.owner.id) {
            allow()
        } else {
            deny(
                "not-live",
                "This stream is not shown in a live room. Watch it when its room has started, or use a preview token.",
            )
        };
    };
    let what = match room.state {
        // An archived room is watched as its recording.
        RoomState::Live | RoomState::LiveInactive | RoomState::Archived => return enter(room, token),
        RoomState::Scheduled => "has not started yet. Come back when it has, or use a preview token",
        RoomState::Ended | RoomState::Archiving => "has ended. Its recording may become available later",
        RoomState::ArchiveFailed => "has ended. Its recording could not be made",
    };
    if room.state == RoomState::Scheduled && may_preview(token, &room.owner.id) && names_room(token, room) {
        return allow();
    }
    deny("not-live", format!("This room {what}."))
}

/// Whether somebody may watch a room that is live.
fn enter(room: &Room, token: Option<&Token>) -> Decision {
    if room.access == AccessLevel::Public {
        return allow();
    }
    match token {
        None => deny("token-needed", "This room is private. Open it with a signed URL or a room token."),
        Some(token) if admits(token, room) => allow(),
        Some(_) => deny("wrong-room", "This room is private and the token is for another room. Ask for one for this room."),
    }
}

/// Whether a token opens a private room: it is for this room, or it is for no room in particular and is its owner's.
pub(crate) fn admits(token: &Token, room: &Room) -> bool {
    match &token.room_id {
        Some(id) => *id == room.id,
        None => token.subject.as_ref() == Some(&room.owner.id),
    }
}

fn may_preview(token: Option<&Token>, owner: &str) -> bool {
    token.is_some_and(|token| {
        token.subject.as_deref() == Some(owner) || token.role.as_deref().is_some_and(|role| PREVIEW_ROLES.contains(&role))
    })
}

/// Whether a token is for this room or for no room in particular.
fn names_room(token: Option<&Token>, room: &Room) -> bool {
    token.is_some_and(|token| token.room_id.as_ref().is_none_or(|id| *id == room.id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::denied;
    use flyloft_plugin::policy::Protocol;
    use flyloft_plugin::testing;

    const NOT_LIVE: [RoomState; 4] = [RoomState::Scheduled, RoomState::Ended, RoomState::Archiving, RoomState::ArchiveFailed];

    fn ask(room: Option<(RoomState, AccessLevel)>, token: Option<Token>) -> Decision {
        play(&PlayRequest {
            connection: testing::connection(Protocol::Hls),
            room: room.map(|(state, access)| testing::room(state, access)),
            owner: testing::member("owner"),
            stream: "stream-1".into(),
            token,
            viewers: 3,
        })
    }

    fn token(subject: Option<&str>, room: Option<&str>, role: Option<&str>) -> Option<Token> {
        Some(Token {
            subject: subject.map(Into::into),
            room_id: room.map(Into::into),
            role: role.map(Into::into),
            ..testing::token()
        })
    }

    #[test]
    fn a_public_room_is_open_while_it_is_live() {
        assert_eq!(ask(Some((RoomState::Live, AccessLevel::Public)), None), allow());
        assert_eq!(ask(Some((RoomState::LiveInactive, AccessLevel::Public)), None), allow());
        assert_eq!(ask(Some((RoomState::Archived, AccessLevel::Public)), None), allow());
        for state in NOT_LIVE {
            assert_eq!(denied(ask(Some((state, AccessLevel::Public)), None)), "not-live", "{state:?}");
        }
    }

    #[test]
    fn a_private_room_needs_a_token_for_it() {
        assert_eq!(denied(ask(Some((RoomState::Archived, AccessLevel::Private)), None)), "token-needed");
        let room = Some((RoomState::Live, AccessLevel::Private));
        assert_eq!(denied(ask(room, None)), "token-needed");
        assert_eq!(ask(room, token(None, Some("room-1"), Some("audience"))), allow());
        assert_eq!(denied(ask(room, token(None, Some("room-2"), Some("audience")))), "wrong-room");
        assert_eq!(ask(room, token(Some("owner"), None, None)), allow());
        assert_eq!(denied(ask(room, token(Some("guest"), None, None))), "wrong-room");
        assert_eq!(denied(ask(room, token(Some("owner"), Some("room-2"), None))), "wrong-room");
    }

    #[test]
    fn a_private_room_that_is_over_stays_closed_with_a_token() {
        for state in [RoomState::Ended, RoomState::Archiving, RoomState::ArchiveFailed] {
            let room = Some((state, AccessLevel::Private));
            assert_eq!(denied(ask(room, token(Some("owner"), Some("room-1"), None))), "not-live", "{state:?}");
        }
    }

    #[test]
    fn a_stream_without_a_room_is_for_its_owner_and_for_previews() {
        assert_eq!(denied(ask(None, None)), "not-live");
        assert_eq!(denied(ask(None, token(Some("guest"), None, Some("audience")))), "not-live");
        assert_eq!(ask(None, token(Some("owner"), None, None)), allow());
        assert_eq!(ask(None, token(None, None, Some("preview"))), allow());
        assert_eq!(ask(None, token(None, None, Some("operator"))), allow());
    }

    #[test]
    fn a_room_that_has_not_started_can_be_previewed() {
        let room = Some((RoomState::Scheduled, AccessLevel::Public));
        assert_eq!(ask(room, token(Some("owner"), None, None)), allow());
        assert_eq!(ask(room, token(None, Some("room-1"), Some("preview"))), allow());
        assert_eq!(denied(ask(room, token(None, Some("room-2"), Some("preview")))), "not-live");
        assert_eq!(denied(ask(room, token(None, Some("room-1"), Some("audience")))), "not-live");
    }
}
