//! Apps, members and their stream keys, as the REST API manages them.

use std::sync::Arc;

use flyloft_rooms::{
    App, AppId, EventBody, Member, MemberId, OutputMode, Replaced, Secret, StreamKey, StreamKeyState, StreamName,
};

use super::once::{self, Once, Outcome};
use super::{Actor, Error, Page, Rooms, new_app, new_event_id, new_id, now, token};
use crate::store::Store;

/// An App to be made.
#[derive(Clone, Debug)]
pub struct NewApp {
    pub name: String,
    pub output_mode: Option<OutputMode>,
    pub transcoding_profile: Option<String>,
    pub record: Option<bool>,
}

/// A new App, or one with a new secret. The secret can't be shown again.
pub struct AppCreated {
    pub app: App,
    pub secret: Secret,
}

/// What is to change; what is none stays.
#[derive(Clone, Debug, Default)]
pub struct AppChange {
    pub name: Option<String>,
    pub output_mode: Option<Option<OutputMode>>,
    pub transcoding_profile: Option<Option<String>>,
    pub record: Option<Option<bool>>,
}

/// A member to be made.
#[derive(Clone, Debug)]
pub struct NewMember {
    /// Which App, for the operator.
    pub app_id: Option<String>,
    pub app_user_id: String,
    pub name: Option<String>,
}

/// What is to change; what is none stays.
#[derive(Clone, Debug, Default)]
pub struct MemberChange {
    pub name: Option<Option<String>>,
}

/// A stream key with the member that owns it.
#[derive(Clone, Debug)]
pub struct KeyView {
    pub key: StreamKey,
    pub member: Member,
}

/// What is to change; what is none stays.
#[derive(Clone, Debug, Default)]
pub struct KeyChange {
    pub output_mode: Option<Option<OutputMode>>,
    pub transcoding_profile: Option<Option<String>>,
}

/// Things that must not be there for a key to be a member's.
fn keyless(member: &MemberId) -> Error {
    Error::NotFound { what: "stream key of a member", id: member.to_string() }
}

impl Rooms {
    /// Makes an App. Its secret is in the first answer only, not in a repeated one.
    pub async fn create_app(self: &Arc<Self>, new: NewApp, once: Option<Once<AppCreated>>) -> Result<Outcome<AppCreated>, Error> {
        let this = Arc::clone(self);
        self.run(async move {
            let mut tx = this.store.write().await?;
            if let Some(answer) = once::replayed(tx.connection(), once.as_ref()).await? {
                return Ok(Outcome::Replayed(answer));
            }
            let app = App { record: new.record, ..new_app(new.name, new.output_mode, new.transcoding_profile, now())? };
            let created = AppCreated { app, secret: Secret::new(token::app_secret()?) };
            tx.add_app(&created.app, &token::hash(created.secret.expose())).await?;
            once::keep(&mut tx, once.as_ref(), &created).await?;
            tx.commit().await?;
            Ok(Outcome::Done(created))
        })
        .await
    }

    /// The Apps that the caller may see, newest first.
    pub async fn apps(&self, actor: &Actor, page: Page<'_>) -> Result<Vec<App>, Error> {
        match actor.app() {
            Some(own) => Ok(if page.after.is_none() { vec![own.clone()] } else { Vec::new() }),
            None => Ok(Store::apps(&mut *self.store.read().await?, page).await?),
        }
    }

    pub async fn app(&self, actor: &Actor, id: &str) -> Result<App, Error> {
        self.visible_app(&mut *self.store.read().await?, actor, id).await
    }

    pub async fn update_app(self: &Arc<Self>, actor: &Actor, id: &str, change: AppChange) -> Result<App, Error> {
        let (this, actor, id) = (Arc::clone(self), actor.clone(), id.to_owned());
        self.run(async move {
            let mut tx = this.store.write().await?;
            let mut app = this.visible_app(tx.connection(), &actor, &id).await?;
            set(&mut app.name, change.name);
            set(&mut app.output_mode, change.output_mode);
            set(&mut app.transcoding_profile, change.transcoding_profile);
            set(&mut app.record, change.record);
            app.updated_at = now();
            tx.update_app(&app).await?;
            tx.commit().await?;
            Ok(app)
        })
        .await
    }

    /// Gives an App a new API secret; the old one does not work any more.
    pub async fn rotate_app_secret(self: &Arc<Self>, actor: &Actor, id: &str) -> Result<AppCreated, Error> {
        let (this, actor, id) = (Arc::clone(self), actor.clone(), id.to_owned());
        self.run(async move {
            let mut tx = this.store.write().await?;
            let app = this.visible_app(tx.connection(), &actor, &id).await?;
            let secret = Secret::new(token::app_secret()?);
            tx.set_app_secret(&app.id, &token::hash(secret.expose()), now()).await?;
            tx.commit().await?;
            Ok(AppCreated { app, secret })
        })
        .await
    }

    /// Makes a member with a stream key.
    pub async fn create_member(
        self: &Arc<Self>,
        actor: &Actor,
        new: NewMember,
        once: Option<Once<Member>>,
    ) -> Result<Outcome<Member>, Error> {
        let (this, actor) = (Arc::clone(self), actor.clone());
        self.run(async move {
            let mut tx = this.store.write().await?;
            if let Some(answer) = once::replayed(tx.connection(), once.as_ref()).await? {
                return Ok(Outcome::Replayed(answer));
            }
            let app = this.app_for(tx.connection(), &actor, new.app_id.as_deref()).await?;
            if Store::member_by_user(tx.connection(), &app.id, &new.app_user_id).await?.is_some() {
                let reason = "the App has a member with this appUserId already: use that one, or take another id".into();
                return Err(Error::Taken { field: "appUserId", reason });
            }
            let now = now();
            let member = Member {
                id: MemberId::new(new_id()),
                app_id: app.id,
                app_user_id: new.app_user_id,
                name: new.name,
                stream_name: StreamName::new(token::stream_name()?),
                created_at: now,
                updated_at: now,
            };
            let key = StreamKey {
                member_id: member.id.clone(),
                secret: Secret::new(token::stream_key()?),
                state: StreamKeyState::Inactive,
                output_mode: None,
                transcoding_profile: None,
                publish_id: None,
                publish_mode: None,
                secret_at: now,
                updated_at: now,
            };
            tx.add_member(&member, &key).await?;
            tx.record(new_event_id(), now, &member, None, EventBody::MemberCreated).await?;
            once::keep(&mut tx, once.as_ref(), &member).await?;
            tx.commit().await?;
            Ok(Outcome::Done(member))
        })
        .await
    }

    /// The members that the caller may see, newest first. `app` confines the operator's list.
    pub async fn members(
        &self,
        actor: &Actor,
        app: Option<&str>,
        app_user_id: Option<&str>,
        page: Page<'_>,
    ) -> Result<Vec<Member>, Error> {
        let mut reading = self.store.read().await?;
        if let Some(own) = actor.member() {
            let own = app_user_id.is_none_or(|id| id == own.app_user_id) && page.after.is_none();
            return Ok(actor.member().filter(|_| own).cloned().into_iter().collect());
        }
        let app: Option<AppId> = match (actor, app) {
            (Actor::Operator, None) if app_user_id.is_none() => None,
            (actor, named) => Some(self.app_for(&mut reading, actor, named).await?.id),
        };
        match (&app, app_user_id) {
            (Some(app), Some(id)) => {
                let found = Store::member_by_user(&mut reading, app, id).await?;
                Ok(found.filter(|_| page.after.is_none()).into_iter().collect())
            }
            (app, _) => Ok(Store::members(&mut reading, app.as_ref(), page).await?),
        }
    }

    pub async fn member(&self, actor: &Actor, id: &str) -> Result<Member, Error> {
        self.visible_member(&mut *self.store.read().await?, actor, id).await
    }

    pub async fn update_member(self: &Arc<Self>, actor: &Actor, id: &str, change: MemberChange) -> Result<Member, Error> {
        let (this, actor, id) = (Arc::clone(self), actor.clone(), id.to_owned());
        self.run(async move {
            let mut tx = this.store.write().await?;
            let mut member = this.visible_member(tx.connection(), &actor, &id).await?;
            set(&mut member.name, change.name);
            member.updated_at = now();
            tx.update_member(&member).await?;
            tx.commit().await?;
            Ok(member)
        })
        .await
    }

    /// The stream key of a member.
    pub async fn stream_key(&self, actor: &Actor, member: &str) -> Result<KeyView, Error> {
        let mut reading = self.store.read().await?;
        let member = self.visible_member(&mut reading, actor, member).await?;
        let key = Store::stream_key(&mut reading, &member.id).await?.ok_or_else(|| keyless(&member.id))?;
        Ok(KeyView { key, member })
    }

    /// Changes what the next publish gets.
    pub async fn update_stream_key(self: &Arc<Self>, actor: &Actor, member: &str, change: KeyChange) -> Result<KeyView, Error> {
        let (this, actor, id) = (Arc::clone(self), actor.clone(), member.to_owned());
        self.run(async move {
            let mut tx = this.store.write().await?;
            let member = this.visible_member(tx.connection(), &actor, &id).await?;
            let mut key = Store::stream_key(tx.connection(), &member.id).await?.ok_or_else(|| keyless(&member.id))?;
            set(&mut key.output_mode, change.output_mode);
            set(&mut key.transcoding_profile, change.transcoding_profile);
            key.updated_at = now();
            tx.update_stream_key(&key).await?;
            tx.commit().await?;
            Ok(KeyView { key, member })
        })
        .await
    }

    /// Replaces the secret. While somebody publishes with it, that needs `disconnect`, which sends the publisher away.
    pub async fn rotate_stream_key(self: &Arc<Self>, actor: &Actor, member: &str, disconnect: bool) -> Result<KeyView, Error> {
        let (this, actor, id) = (Arc::clone(self), actor.clone(), member.to_owned());
        self.run(async move {
            let mut tx = this.store.write().await?;
            let member = this.visible_member(tx.connection(), &actor, &id).await?;
            let mut key = Store::stream_key(tx.connection(), &member.id).await?.ok_or_else(|| keyless(&member.id))?;
            let publishing = key.state.is_publishing();
            if publishing && !disconnect {
                let reason = format!(
                    "somebody publishes with this stream key (the state is {}): stop the encoder first, or send {{\"disconnect\": true}} to send it away",
                    key.state
                );
                return Err(Error::Busy { code: "still-publishing", reason });
            }
            let now = now();
            (key.secret, key.secret_at, key.updated_at) = (Secret::new(token::stream_key()?), now, now);
            tx.update_stream_key(&key).await?;
            let room = Store::live_room(tx.connection(), &member.id).await?;
            let replaced = EventBody::StreamKeyReplaced { reason: Replaced::Rotated };
            tx.record(new_event_id(), now, &member, room.as_ref().map(|room| &room.id), replaced).await?;
            tx.commit().await?;
            if publishing {
                this.live.end_stream(&member.stream_name, "the stream key was replaced");
            }
            Ok(KeyView { key, member })
        })
        .await
    }
}

pub(super) fn set<T>(field: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *field = value;
    }
}
