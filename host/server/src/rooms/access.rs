//! Who calls the REST API, and what of it all they may see.

use flyloft_plugins::model::Caller;
use flyloft_rooms::{AccessLevel, App, AppId, Member, MemberId, RoomId, VideoRoom};
use http::StatusCode;
use sqlx::SqliteConnection;
use subtle::ConstantTimeEq as _;

use super::{Error, Refusal, Rooms, rules, token};
use crate::store::Store;

/// What a caller gave to be recognised by.
#[derive(Clone, Copy)]
pub enum Given<'a> {
    /// An App's key and secret.
    Basic { key: &'a str, secret: &'a str },
    /// The operator token, an App's `key:secret`, or a member's token.
    Bearer(&'a str),
}

/// A recognised caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Actor {
    /// The operator of the server.
    Operator,
    /// The backend of an App.
    Server(App),
    /// A member with its own token.
    Member { app: App, member: Member },
}

impl Actor {
    /// A name that is unique to this caller.
    pub fn id(&self) -> String {
        match self {
            Actor::Operator => "operator".to_owned(),
            Actor::Server(app) => format!("app:{}", app.id),
            Actor::Member { member, .. } => format!("member:{}", member.id),
        }
    }

    /// The App that the caller is confined to.
    pub fn app(&self) -> Option<&App> {
        match self {
            Actor::Operator => None,
            Actor::Server(app) | Actor::Member { app, .. } => Some(app),
        }
    }

    /// The member who calls.
    pub fn member(&self) -> Option<&Member> {
        match self {
            Actor::Member { member, .. } => Some(member),
            Actor::Operator | Actor::Server(_) => None,
        }
    }

    pub(super) fn caller(&self) -> Caller {
        match self {
            Actor::Operator => Caller::Operator,
            Actor::Server(_) => Caller::Server,
            Actor::Member { .. } => Caller::Member,
        }
    }

    pub(super) fn model_member(&self) -> Option<flyloft_plugins::model::Member> {
        self.member().map(rules::member)
    }

    fn sees_app(&self, id: &AppId) -> bool {
        self.app().is_none_or(|app| app.id == *id)
    }
}

impl Rooms {
    /// Recognises a caller.
    pub async fn authenticate(&self, given: Given<'_>) -> Result<Actor, Refusal> {
        match given {
            Given::Basic { key, secret } => self.server(key, secret).await,
            Given::Bearer(text) if text.starts_with("op_") => {
                let known = Store::is_operator(&mut *self.store.read().await?, &token::hash(text)).await?;
                known.then_some(Actor::Operator).ok_or_else(|| unauthorized("the operator token is not right"))
            }
            Given::Bearer(text) => match text.split_once(':') {
                Some((key, secret)) => self.server(key, secret).await,
                None => self.member_of_token(text).await,
            },
        }
    }

    async fn server(&self, key: &str, secret: &str) -> Result<Actor, Refusal> {
        let found = Store::credential(&mut *self.store.read().await?, key).await?;
        match found {
            Some(found) if bool::from(found.secret_hash.as_bytes().ct_eq(token::hash(secret).as_bytes())) => {
                Ok(Actor::Server(found.app))
            }
            _ => Err(unauthorized("the App key or its secret is not right")),
        }
    }

    async fn member_of_token(&self, text: &str) -> Result<Actor, Refusal> {
        let unknown = || unauthorized("the token is none that this server issued");
        let signer = token::signer(text).ok_or_else(unknown)?;
        let mut reading = self.store.read().await?;
        let app = Store::app(&mut reading, &AppId::new(signer)).await?.ok_or_else(unknown)?;
        let claims = token::verify(&app, text, &[token::FOR_API])?;
        let id = MemberId::new(claims.sub.unwrap_or_default());
        let member = Store::member(&mut reading, &id).await?.filter(|member| member.app_id == app.id).ok_or_else(unknown)?;
        Ok(Actor::Member { app, member })
    }

    /// The App that a call is about: the caller's own, or the one that the operator names.
    pub(crate) async fn app_for(&self, c: &mut SqliteConnection, actor: &Actor, named: Option<&str>) -> Result<App, Error> {
        let invalid = |reason: &str| Error::Invalid { field: "appId", reason: reason.into() };
        match (actor.app(), named) {
            (Some(own), Some(named)) if own.id.as_str() != named => {
                Err(invalid("these credentials are for another App: leave appId out"))
            }
            (Some(own), _) => Ok(own.clone()),
            (None, None) => Err(invalid("the operator must say which App is meant: give its id as appId")),
            (None, Some(named)) => {
                Store::app(c, &AppId::new(named)).await?.ok_or_else(|| invalid("there is no App with this id"))
            }
        }
    }

    /// An App that the caller may see.
    pub(super) async fn visible_app(&self, c: &mut SqliteConnection, actor: &Actor, id: &str) -> Result<App, Error> {
        let id = AppId::new(id);
        let found = if actor.sees_app(&id) { Store::app(c, &id).await? } else { None };
        found.ok_or_else(|| Error::NotFound { what: "App", id: id.into_string() })
    }

    /// A member that the caller may see: for a member, only itself.
    pub(super) async fn visible_member(&self, c: &mut SqliteConnection, actor: &Actor, id: &str) -> Result<Member, Error> {
        let found = Store::member(c, &MemberId::new(id)).await?.filter(|found| match actor.member() {
            Some(own) => own.id == found.id,
            None => actor.sees_app(&found.app_id),
        });
        found.ok_or_else(|| Error::NotFound { what: "member", id: shown(id) })
    }

    /// A room that the caller may see with its owner: for a member, its own and the public ones of its App.
    pub(super) async fn visible_room(
        &self,
        c: &mut SqliteConnection,
        actor: &Actor,
        id: &str,
    ) -> Result<(VideoRoom, Member), Error> {
        let missing = || Error::NotFound { what: "video room", id: shown(id) };
        let room = Store::room(c, &RoomId::new(id)).await?.filter(|room| actor.sees_app(&room.app_id)).ok_or_else(missing)?;
        if actor.member().is_some_and(|own| own.id != room.owner_id) && room.access != AccessLevel::Public {
            return Err(missing());
        }
        let owner = Store::member(c, &room.owner_id).await?.ok_or_else(missing)?;
        Ok((room, owner))
    }
}

fn unauthorized(reason: &str) -> Refusal {
    Refusal::new(StatusCode::UNAUTHORIZED, "unauthorized", reason)
}

/// A stranger's id as it is repeated in an error.
fn shown(id: &str) -> String {
    id.chars().take(64).collect()
}
