//! Subscriptions and their outbox as the REST API manages them.

use std::collections::BTreeMap;
use std::sync::Arc;

use flyloft_rooms::Secret;
use sqlx::SqliteConnection;

use super::dispatch::webhook_app;
use super::planner::{Attempt, Outcome, Subscription, Verdict};
use super::{Webhooks, event, sign};
use crate::rooms::{Actor, Error, Once, Outcome as Made, Page, keep, new_id, now, replayed};
use crate::store::{Queued, QueuedState, Store, Webhook};

/// Subscriptions of one App.
const MAX_PER_APP: i64 = 100;

/// A subscription to be made.
#[derive(Clone, Debug)]
pub struct NewWebhook {
    /// Which App, for the operator.
    pub app_id: Option<String>,
    pub description: Option<String>,
    pub urls: Vec<String>,
    pub config: BTreeMap<String, String>,
    pub kinds: Option<Vec<String>>,
    pub enabled: bool,
}

/// What is to change; what is none stays.
#[derive(Clone, Debug, Default)]
pub struct WebhookChange {
    pub description: Option<Option<String>>,
    pub urls: Option<Vec<String>>,
    pub config: Option<BTreeMap<String, String>>,
    pub kinds: Option<Option<Vec<String>>>,
    pub enabled: Option<bool>,
}

/// What became of a test delivery.
#[derive(Clone, Debug)]
pub struct Tested {
    pub url: String,
    pub outcome: Outcome,
    pub verdict: Verdict,
}

impl Webhooks {
    /// Whether a request to `url` could be made, as far as can be told without resolving names.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check_url(&self, url: &str) -> Result<(), String> {
        let uri: http::Uri = url.parse().map_err(|error| format!("it is no URL: {error}"))?;
        self.transport.check(&uri).map_err(|error| error.to_string())
    }

    /// Makes a subscription. Its secret is for the first answer only.
    pub async fn create(
        self: &Arc<Self>,
        actor: &Actor,
        new: NewWebhook,
        once: Option<Once<Webhook>>,
    ) -> Result<Made<Webhook>, Error> {
        let (this, actor) = (Arc::clone(self), actor.clone());
        self.rooms
            .run(async move {
                let mut tx = this.rooms.store().write().await?;
                if let Some(answer) = replayed(tx.connection(), once.as_ref()).await? {
                    return Ok(Made::Replayed(answer));
                }
                let app = this.rooms.app_for(tx.connection(), &actor, new.app_id.as_deref()).await?;
                if Store::webhooks_of_app(tx.connection(), &app.id).await? >= MAX_PER_APP {
                    let reason = format!("the App has {MAX_PER_APP} webhooks, and may have no more: delete one first");
                    return Err(Error::Busy { code: "too-many-webhooks", reason });
                }
                let now = now();
                let webhook = Webhook {
                    id: new_id(),
                    app_id: app.id,
                    description: new.description,
                    urls: new.urls,
                    config: new.config,
                    kinds: new.kinds,
                    enabled: new.enabled,
                    secret: sign::new_secret()?,
                    old_secret: None,
                    created_at: now,
                    updated_at: now,
                };
                tx.add_webhook(&webhook).await?;
                keep(&mut tx, once.as_ref(), &webhook).await?;
                tx.commit().await?;
                Ok(Made::Done(webhook))
            })
            .await
    }

    /// The subscriptions that the caller may see, newest first. `app` confines the operator's list.
    pub async fn list(&self, actor: &Actor, app: Option<&str>, page: Page<'_>) -> Result<Vec<Webhook>, Error> {
        let mut reading = self.rooms.store().read().await?;
        let app = match (actor, app) {
            (Actor::Operator, None) => None,
            (actor, named) => Some(self.rooms.app_for(&mut reading, actor, named).await?.id),
        };
        Ok(Store::webhooks(&mut reading, app.as_ref(), page).await?)
    }

    pub async fn get(&self, actor: &Actor, id: &str) -> Result<Webhook, Error> {
        visible(&mut *self.rooms.store().read().await?, actor, id).await
    }

    /// Changes a subscription. What is in the outbox already is planned and sent by the new one, as far as it was not planned yet.
    pub async fn update(self: &Arc<Self>, actor: &Actor, id: &str, change: WebhookChange) -> Result<Webhook, Error> {
        self.change(actor, id, move |webhook| {
            fn set<T>(value: &mut T, new: Option<T>) {
                if let Some(new) = new {
                    *value = new;
                }
            }
            set(&mut webhook.description, change.description);
            set(&mut webhook.urls, change.urls);
            set(&mut webhook.config, change.config);
            set(&mut webhook.kinds, change.kinds);
            set(&mut webhook.enabled, change.enabled);
            if webhook.urls.is_empty() && webhook.config.is_empty() {
                let reason = "give at least one URL, or the config of a plugin that knows where to send".into();
                return Err(Error::Invalid { field: "urls", reason });
            }
            Ok(())
        })
        .await
    }

    /// Makes a new secret. The one before goes on signing, too, until it is retired.
    pub async fn rotate_secret(self: &Arc<Self>, actor: &Actor, id: &str) -> Result<Webhook, Error> {
        let new: Secret = sign::new_secret()?;
        self.change(actor, id, move |webhook| {
            webhook.old_secret = Some(std::mem::replace(&mut webhook.secret, new));
            Ok(())
        })
        .await
    }

    /// The secret before the last rotation signs no more.
    pub async fn retire_secret(self: &Arc<Self>, actor: &Actor, id: &str) -> Result<Webhook, Error> {
        self.change(actor, id, |webhook| {
            webhook.old_secret = None;
            Ok(())
        })
        .await
    }

    async fn change(
        self: &Arc<Self>,
        actor: &Actor,
        id: &str,
        change: impl FnOnce(&mut Webhook) -> Result<(), Error> + Send + 'static,
    ) -> Result<Webhook, Error> {
        let (this, actor, id) = (Arc::clone(self), actor.clone(), id.to_owned());
        self.rooms
            .run(async move {
                let mut tx = this.rooms.store().write().await?;
                let mut webhook = visible(tx.connection(), &actor, &id).await?;
                change(&mut webhook)?;
                webhook.updated_at = now();
                tx.update_webhook(&webhook).await?;
                tx.commit().await?;
                Ok(webhook)
            })
            .await
    }

    /// Removes a subscription with everything that was not delivered yet.
    pub async fn delete(self: &Arc<Self>, actor: &Actor, id: &str) -> Result<(), Error> {
        let (this, actor, id) = (Arc::clone(self), actor.clone(), id.to_owned());
        self.rooms
            .run(async move {
                let mut tx = this.rooms.store().write().await?;
                let webhook = visible(tx.connection(), &actor, &id).await?;
                tx.delete_webhook(&webhook.id).await?;
                Ok(tx.commit().await?)
            })
            .await
    }

    /// What was not delivered yet, newest first.
    pub async fn deliveries(
        &self,
        actor: &Actor,
        id: &str,
        state: Option<QueuedState>,
        page: Page<'_>,
    ) -> Result<Vec<Queued>, Error> {
        let mut reading = self.rooms.store().read().await?;
        let webhook = visible(&mut reading, actor, id).await?;
        Ok(Store::deliveries(&mut reading, &webhook.id, state, page).await?)
    }

    /// Delivers again what was given up, or at once what waits.
    pub async fn redeliver(self: &Arc<Self>, actor: &Actor, id: &str, delivery: &str) -> Result<Queued, Error> {
        let (this, actor, id, delivery) = (Arc::clone(self), actor.clone(), id.to_owned(), delivery.to_owned());
        self.rooms
            .run(async move {
                let mut tx = this.rooms.store().write().await?;
                let webhook = visible(tx.connection(), &actor, &id).await?;
                let missing = || Error::NotFound { what: "delivery of this webhook", id: shown(&delivery) };
                let found = Store::delivery(tx.connection(), &webhook.id, &delivery).await?.ok_or_else(missing)?;
                tx.redeliver(&webhook.app_id, &found, now()).await?;
                let changed = Store::delivery(tx.connection(), &webhook.id, &delivery).await?.ok_or_else(missing)?;
                tx.commit().await?;
                Ok(changed)
            })
            .await
    }

    /// Delivers again everything that was given up. Returns how many deliveries that are.
    pub async fn redeliver_dead(self: &Arc<Self>, actor: &Actor, id: &str) -> Result<u64, Error> {
        let (this, actor, id) = (Arc::clone(self), actor.clone(), id.to_owned());
        self.rooms
            .run(async move {
                let mut tx = this.rooms.store().write().await?;
                let webhook = visible(tx.connection(), &actor, &id).await?;
                let count = tx.redeliver_dead(&webhook, now()).await?;
                tx.commit().await?;
                Ok(count)
            })
            .await
    }

    /// Sends a test event at once, past the outbox, one attempt for each delivery that is planned for it.
    pub async fn test(&self, actor: &Actor, id: &str) -> Result<Vec<Tested>, Error> {
        let webhook = self.get(actor, id).await?;
        let Ok(_permit) = self.tests.try_acquire() else {
            let reason = "other tests are under way: try again in some seconds".into();
            return Err(Error::Busy { code: "busy", reason });
        };
        let app = webhook_app(&mut *self.rooms.store().read().await?, &webhook).await?;
        let (subscription, event) = (Subscription::new(&webhook, app), event::test_event(&webhook, new_id(), now()));
        let planned = self.planner.plan(&subscription, &event).await;
        let planned = planned.map_err(|error| Error::Busy { code: "plan-failed", reason: error.to_string() })?;
        let mut tested = Vec::with_capacity(planned.len());
        for delivery in planned {
            let attempt = Attempt { number: 1, outcome: self.attempt(&webhook, &new_id(), &delivery).await };
            let verdict = self.planner.attempted(&subscription, &event, &delivery, &attempt).await;
            tested.push(Tested { url: delivery.url, outcome: attempt.outcome, verdict });
        }
        Ok(tested)
    }
}

async fn visible(c: &mut SqliteConnection, actor: &Actor, id: &str) -> Result<Webhook, Error> {
    let found = Store::webhook(c, id).await?.filter(|found| match actor {
        Actor::Operator => true,
        Actor::Server(app) => app.id == found.app_id,
        Actor::Member { .. } => false,
    });
    found.ok_or_else(|| Error::NotFound { what: "webhook", id: shown(id) })
}

/// A stranger's id as it is repeated in an error.
fn shown(id: &str) -> String {
    id.chars().take(64).collect()
}
