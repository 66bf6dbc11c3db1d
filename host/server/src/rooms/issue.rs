//! Issuing tokens: for members (the client API) and for rooms (watching and joining).

use std::time::Duration;

use flyloft_plugins::model::{Action, IssueTokenRequest};
use flyloft_rooms::App;

use super::rules::{self, Asker};
use super::token::{self, Claims, FOR_API, FOR_ROOM, ISSUED_FOR, IssuedToken, MAX_TOKEN_LIFE, RoomTokenRequest};
use super::{Actor, Error, Rooms, now};
use crate::store::Store;

/// The role of a room token whose maker does not say.
const AUDIENCE: &str = "audience";
/// Claims that have a meaning of their own (RFC 7519, section 4.1, and ours).
const RESERVED: [&str; 10] = ["iss", "sub", "aud", "exp", "nbf", "iat", "jti", "room", "role", "permissions"];

impl Rooms {
    /// A token with which a member calls the client API, when the policy allows it. For the server API and the operator.
    pub async fn issue_member_token(
        &self,
        actor: &Actor,
        asker: &Asker,
        member: &str,
        lifetime: Option<Duration>,
    ) -> Result<IssuedToken, Error> {
        let (member, app) = {
            let mut reading = self.store.read().await?;
            let member = self.visible_member(&mut reading, actor, member).await?;
            let app = self.visible_app(&mut reading, actor, member.app_id.as_str()).await?;
            (member, app)
        };
        let request = IssueTokenRequest {
            connection: asker.connection(),
            room: None,
            caller: actor.caller(),
            by: actor.model_member(),
            subject: Some(rules::member(&member)),
            role: "member".into(),
            permissions: Vec::new(),
        };
        rules::ask(&*self.rules, &rules::context(&app), &Action::IssueToken(request)).await?;
        issue(&app, lifetime, Claims { aud: FOR_API.into(), sub: Some(member.id.into_string()), ..Claims::default() })
    }

    /// A token for one room, when the policy allows it.
    pub async fn issue_room_token(
        &self,
        actor: &Actor,
        asker: &Asker,
        room: &str,
        wanted: RoomTokenRequest,
    ) -> Result<IssuedToken, Error> {
        if let Some(name) = wanted.claims.keys().find(|name| RESERVED.contains(&name.as_str())) {
            let reason = format!("the claim {name} is set by the server: give yours another name");
            return Err(Error::Invalid { field: "claims", reason });
        }
        let (room, owner, app, subject) = {
            let mut reading = self.store.read().await?;
            let (room, owner) = self.visible_room(&mut reading, actor, room).await?;
            let app = self.visible_app(&mut reading, actor, room.app_id.as_str()).await?;
            let subject = match &wanted.app_user_id {
                None => None,
                Some(id) => {
                    let missing = || Error::Invalid {
                        field: "appUserId",
                        reason: "the App has no member with this appUserId: leave it out for a token that names nobody".into(),
                    };
                    Some(Store::member_by_user(&mut reading, &app.id, id).await?.ok_or_else(missing)?)
                }
            };
            (room, owner, app, subject)
        };
        let role = wanted.role.unwrap_or_else(|| AUDIENCE.to_owned());
        let request = IssueTokenRequest {
            connection: asker.connection(),
            room: Some(rules::room(&room, &owner)),
            caller: actor.caller(),
            by: actor.model_member(),
            subject: subject.as_ref().map(rules::member),
            role: role.clone(),
            permissions: wanted.permissions.clone(),
        };
        let grant = rules::ask(&*self.rules, &rules::context(&app), &Action::IssueToken(request)).await?;
        let claims = Claims {
            aud: FOR_ROOM.into(),
            sub: subject.map(|member| member.id.into_string()),
            room: Some(room.id.into_string()),
            // The policy may lower what was asked for, or raise it.
            role: Some(grant.role.unwrap_or(role)),
            permissions: if grant.permissions.is_empty() { wanted.permissions } else { grant.permissions },
            other: wanted.claims,
            ..Claims::default()
        };
        issue(&app, wanted.lifetime, claims)
    }
}

fn issue(app: &App, lifetime: Option<Duration>, claims: Claims) -> Result<IssuedToken, Error> {
    let lifetime = lifetime.unwrap_or(ISSUED_FOR).min(MAX_TOKEN_LIFE);
    let iat = now().div_euclid(1000);
    let exp = iat.saturating_add(i64::try_from(lifetime.as_secs()).unwrap_or(i64::MAX));
    let claims = Claims { iss: app.id.to_string(), iat, exp, ..claims };
    Ok(IssuedToken { token: token::sign(app, &claims)?, expires_at: exp.saturating_mul(1000) })
}
