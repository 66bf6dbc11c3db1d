//! Webhook subscriptions and their outbox: what is to be delivered is written together with the event, and is the truth about it
//! until it was delivered.

use std::collections::BTreeMap;

use flyloft_rooms::{AppId, Event, Millis, Secret};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, SqliteConnection};

use super::{Page, Store, StoreError, Tx};

type Result<T> = std::result::Result<T, StoreError>;

/// What an App wants to be told, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    pub id: String,
    pub app_id: AppId,
    pub description: Option<String>,
    pub urls: Vec<String>,
    /// For the plugin that plans the deliveries.
    pub config: BTreeMap<String, String>,
    /// None is every kind of event.
    pub kinds: Option<Vec<String>>,
    pub enabled: bool,
    pub secret: Secret,
    /// Signs as well, until it is retired.
    pub old_secret: Option<Secret>,
    pub created_at: Millis,
    pub updated_at: Millis,
}

/// The states of a delivery that is kept. One under way stays as it was before, so that it is sent again after a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueuedState {
    Pending,
    Waiting,
    Dead,
}

impl QueuedState {
    pub const ALL: [QueuedState; 3] = [QueuedState::Pending, QueuedState::Waiting, QueuedState::Dead];

    pub fn as_str(self) -> &'static str {
        match self {
            QueuedState::Pending => "pending",
            QueuedState::Waiting => "waiting",
            QueuedState::Dead => "dead",
        }
    }
}

/// How far a delivery has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    pub state: QueuedState,
    /// Attempts that have ended.
    pub attempts: u32,
    /// From when on the time is counted after which it is given up.
    pub since: Millis,
    /// Not before this.
    pub next_at: Millis,
    pub last_status: Option<u16>,
    pub last_error: Option<String>,
}

/// The request of a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// JSON that the one who plans understands.
    pub request: String,
    pub body: Vec<u8>,
}

/// A delivery in the outbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queued {
    pub id: String,
    pub webhook_id: String,
    pub lane: String,
    pub position: i64,
    pub event: Event,
    pub planned: Option<Planned>,
    pub progress: Progress,
    pub created_at: Millis,
    pub updated_at: Millis,
}

/// Events that are delivered one after the other: those of one room to one subscription.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Lane {
    pub webhook_id: String,
    pub name: String,
}

/// A lane whose turn it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DueLane {
    pub lane: Lane,
    pub app_id: String,
}

fn json<T: serde::Serialize>(value: &T) -> Result<String> {
    Ok(serde_json::to_string(value).map_err(|error| sqlx::Error::Encode(Box::new(error)))?)
}

fn parsed<T: serde::de::DeserializeOwned>(row: &SqliteRow, column: &'static str) -> Result<T> {
    let value: String = row.try_get(column)?;
    serde_json::from_str(&value).map_err(|_| StoreError::Corrupt { column, value })
}

fn webhook(row: &SqliteRow) -> Result<Webhook> {
    let kinds: Option<String> = row.try_get("kinds")?;
    Ok(Webhook {
        id: row.try_get("id")?,
        app_id: AppId::new(row.try_get::<String, _>("app_id")?),
        description: row.try_get("description")?,
        urls: parsed(row, "urls")?,
        config: parsed(row, "config")?,
        kinds: kinds.map(|_| parsed(row, "kinds")).transpose()?,
        enabled: row.try_get::<i64, _>("enabled")? != 0,
        secret: Secret::new(row.try_get::<String, _>("secret")?),
        old_secret: row.try_get::<Option<String>, _>("old_secret")?.map(Secret::new),
        created_at: row.try_get("created_at")?,
        updated_at: row.try_get("updated_at")?,
    })
}

fn queued(row: &SqliteRow) -> Result<Queued> {
    let word: String = row.try_get("state")?;
    let state = QueuedState::ALL.into_iter().find(|state| state.as_str() == word);
    let request: Option<String> = row.try_get("request")?;
    let body: Option<Vec<u8>> = row.try_get("body")?;
    Ok(Queued {
        id: row.try_get("id")?,
        webhook_id: row.try_get("webhook_id")?,
        lane: row.try_get("lane")?,
        position: row.try_get("position")?,
        event: parsed(row, "event")?,
        planned: request.map(|request| Planned { request, body: body.unwrap_or_default() }),
        progress: Progress {
            state: state.ok_or(StoreError::Corrupt { column: "state", value: word })?,
            attempts: row.try_get("attempts")?,
            since: row.try_get("since")?,
            next_at: row.try_get("next_at")?,
            last_status: row.try_get("last_status")?,
            last_error: row.try_get("last_error")?,
        },
        created_at: row.try_get("created_at")?,
        updated_at: row.try_get("updated_at")?,
    })
}

impl Store {
    pub async fn webhook(c: &mut SqliteConnection, id: &str) -> Result<Option<Webhook>> {
        let found = sqlx::query("SELECT * FROM webhooks WHERE id = $1").bind(id.to_owned()).fetch_optional(c).await?;
        found.as_ref().map(webhook).transpose()
    }

    /// Newest first.
    pub async fn webhooks(c: &mut SqliteConnection, app: Option<&AppId>, page: Page<'_>) -> Result<Vec<Webhook>> {
        let found = sqlx::query(
            "SELECT * FROM webhooks WHERE ($1 IS NULL OR app_id = $1) AND ($2 IS NULL OR id < $2) ORDER BY id DESC LIMIT $3",
        )
        .bind(app.map(|id| id.as_str().to_owned()))
        .bind(page.after.map(str::to_owned))
        .bind(page.limit);
        found.fetch_all(c).await?.iter().map(webhook).collect()
    }

    pub async fn webhooks_of_app(c: &mut SqliteConnection, app: &AppId) -> Result<i64> {
        let count = sqlx::query_scalar("SELECT COUNT(*) FROM webhooks WHERE app_id = $1").bind(app.as_str().to_owned());
        Ok(count.fetch_one(c).await?)
    }

    pub async fn delivery(c: &mut SqliteConnection, webhook: &str, id: &str) -> Result<Option<Queued>> {
        let found = sqlx::query("SELECT * FROM webhook_deliveries WHERE webhook_id = $1 AND id = $2")
            .bind(webhook.to_owned())
            .bind(id.to_owned())
            .fetch_optional(c)
            .await?;
        found.as_ref().map(queued).transpose()
    }

    /// What was not delivered yet, newest first.
    pub async fn deliveries(
        c: &mut SqliteConnection,
        webhook: &str,
        state: Option<QueuedState>,
        page: Page<'_>,
    ) -> Result<Vec<Queued>> {
        let found = sqlx::query(
            "SELECT * FROM webhook_deliveries WHERE webhook_id = $1 AND ($2 IS NULL OR state = $2) AND ($3 IS NULL OR id < $3) \
             ORDER BY id DESC LIMIT $4",
        )
        .bind(webhook.to_owned())
        .bind(state.map(QueuedState::as_str))
        .bind(page.after.map(str::to_owned))
        .bind(page.limit);
        found.fetch_all(c).await?.iter().map(queued).collect()
    }

    /// Deliveries that are pending or waiting.
    pub async fn outbox_depth(c: &mut SqliteConnection) -> Result<i64> {
        Ok(sqlx::query_scalar("SELECT COUNT(*) FROM webhook_deliveries WHERE state <> 'dead'").fetch_one(c).await?)
    }

    /// Up to `limit` lanes whose turn has come, without those of the Apps in `without`. Apps take turns; within one, who waits longest
    /// comes first. Of very many, only those that wait longest are looked at.
    pub async fn due_lanes(c: &mut SqliteConnection, now: Millis, without: &[String], limit: u32) -> Result<Vec<DueLane>> {
        let found = sqlx::query(
            "SELECT webhook_id, lane, app_id FROM (\
             SELECT webhook_id, lane, app_id, next_at, ROW_NUMBER() OVER (PARTITION BY app_id ORDER BY next_at) AS turn FROM (\
             SELECT l.webhook_id, l.lane, l.app_id, l.next_at FROM webhook_lanes l JOIN webhooks w ON w.id = l.webhook_id \
             WHERE l.next_at <= $1 AND w.enabled = 1 AND $2 NOT LIKE '%,' || l.app_id || ',%' \
             ORDER BY l.next_at LIMIT 4096) AS longest) AS turns ORDER BY turn, next_at LIMIT $3",
        )
        .bind(now)
        .bind(format!(",{},", without.join(",")))
        .bind(limit)
        .fetch_all(c)
        .await?;
        let due = |row: &SqliteRow| {
            let lane = Lane { webhook_id: row.try_get("webhook_id")?, name: row.try_get("lane")? };
            Ok(DueLane { lane, app_id: row.try_get("app_id")? })
        };
        found.iter().map(due).collect()
    }

    /// When the next turn of a lane comes whose turn has not come at `now`.
    pub async fn next_turn(c: &mut SqliteConnection, now: Millis) -> Result<Option<Millis>> {
        let next = sqlx::query_scalar(
            "SELECT MIN(l.next_at) FROM webhook_lanes l JOIN webhooks w ON w.id = l.webhook_id WHERE l.next_at > $1 AND w.enabled = 1",
        );
        Ok(next.bind(now).fetch_one(c).await?)
    }

    /// The delivery that a lane is to make now: of its oldest event, the first that is not to wait longer.
    pub async fn head(c: &mut SqliteConnection, lane: &Lane, now: Millis) -> Result<Option<Queued>> {
        let found = sqlx::query(
            "SELECT * FROM webhook_deliveries WHERE webhook_id = $1 AND lane = $2 AND state <> 'dead' AND next_at <= $3 AND seq = \
             (SELECT MIN(seq) FROM webhook_deliveries WHERE webhook_id = $1 AND lane = $2 AND state <> 'dead') \
             ORDER BY position LIMIT 1",
        )
        .bind(lane.webhook_id.clone())
        .bind(lane.name.clone())
        .bind(now)
        .fetch_optional(c)
        .await?;
        found.as_ref().map(queued).transpose()
    }
}

impl Tx<'_> {
    pub async fn add_webhook(&mut self, webhook: &Webhook) -> Result<()> {
        sqlx::query(
            "INSERT INTO webhooks (id, app_id, description, urls, config, kinds, enabled, secret, old_secret, created_at, updated_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        )
        .bind(webhook.id.clone())
        .bind(webhook.app_id.as_str().to_owned())
        .bind(webhook.description.clone())
        .bind(json(&webhook.urls)?)
        .bind(json(&webhook.config)?)
        .bind(webhook.kinds.as_ref().map(json).transpose()?)
        .bind(i64::from(webhook.enabled))
        .bind(webhook.secret.expose().to_owned())
        .bind(webhook.old_secret.as_ref().map(|secret| secret.expose().to_owned()))
        .bind(webhook.created_at)
        .bind(webhook.updated_at)
        .execute(self.connection())
        .await?;
        Ok(())
    }

    /// Keeps everything but the App and the time of its making.
    pub async fn update_webhook(&mut self, webhook: &Webhook) -> Result<()> {
        sqlx::query(
            "UPDATE webhooks SET description = $2, urls = $3, config = $4, kinds = $5, enabled = $6, secret = $7, old_secret = $8, \
             updated_at = $9 WHERE id = $1",
        )
        .bind(webhook.id.clone())
        .bind(webhook.description.clone())
        .bind(json(&webhook.urls)?)
        .bind(json(&webhook.config)?)
        .bind(webhook.kinds.as_ref().map(json).transpose()?)
        .bind(i64::from(webhook.enabled))
        .bind(webhook.secret.expose().to_owned())
        .bind(webhook.old_secret.as_ref().map(|secret| secret.expose().to_owned()))
        .bind(webhook.updated_at)
        .execute(self.connection())
        .await?;
        self.wakes_outbox = true;
        Ok(())
    }

    /// Removes a subscription with what was not delivered yet.
    pub async fn delete_webhook(&mut self, id: &str) -> Result<()> {
        let waiting: i64 =
            sqlx::query_scalar("SELECT COUNT(*) FROM webhook_deliveries WHERE webhook_id = $1 AND state <> 'dead'")
                .bind(id.to_owned())
                .fetch_one(self.connection())
                .await?;
        sqlx::query("DELETE FROM webhooks WHERE id = $1").bind(id.to_owned()).execute(self.connection()).await?;
        self.outbox_change -= waiting;
        Ok(())
    }

    /// Puts an event into the outbox, once for each subscription of its App that wants it.
    pub(super) async fn enqueue(&mut self, event: &Event) -> Result<()> {
        let wanted = format!("%\"{}\"%", event.body.kind());
        let found: Vec<String> =
            sqlx::query_scalar("SELECT id FROM webhooks WHERE app_id = $1 AND enabled = 1 AND (kinds IS NULL OR kinds LIKE $2)")
                .bind(event.app_id.as_str().to_owned())
                .bind(wanted)
                .fetch_all(self.connection())
                .await?;
        let lane = event.room_id.as_ref().map_or(event.member_id.as_str(), |room| room.as_str());
        for webhook_id in found {
            let lane = Lane { webhook_id, name: lane.to_owned() };
            self.add_delivery(&lane, event, 0, None, event.at).await?;
            self.open_lane(&lane, event.app_id.as_str(), event.at, false).await?;
        }
        Ok(())
    }

    async fn add_delivery(
        &mut self,
        lane: &Lane,
        event: &Event,
        position: i64,
        planned: Option<&Planned>,
        now: Millis,
    ) -> Result<()> {
        sqlx::query(
            "INSERT INTO webhook_deliveries (id, webhook_id, lane, seq, position, event, request, body, state, attempts, since, next_at, \
             created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'pending', 0, $9, $9, $9, $9)",
        )
        .bind(uuid::Uuid::now_v7().to_string())
        .bind(lane.webhook_id.clone())
        .bind(lane.name.clone())
        .bind(event.seq)
        .bind(position)
        .bind(json(event)?)
        .bind(planned.map(|planned| planned.request.clone()))
        .bind(planned.map(|planned| planned.body.clone()))
        .bind(now)
        .execute(self.connection())
        .await?;
        self.outbox_change += 1;
        self.wakes_outbox = true;
        Ok(())
    }

    /// Gives a lane a turn at `now`; one that has a later turn keeps it unless it is `hurried`.
    async fn open_lane(&mut self, lane: &Lane, app: &str, now: Millis, hurried: bool) -> Result<()> {
        let statement = match hurried {
            true => {
                "INSERT INTO webhook_lanes (webhook_id, lane, app_id, next_at) VALUES ($1, $2, $3, $4) \
                 ON CONFLICT (webhook_id, lane) DO UPDATE SET next_at = excluded.next_at"
            }
            false => {
                "INSERT INTO webhook_lanes (webhook_id, lane, app_id, next_at) VALUES ($1, $2, $3, $4) \
                 ON CONFLICT (webhook_id, lane) DO NOTHING"
            }
        };
        sqlx::query(statement)
            .bind(lane.webhook_id.clone())
            .bind(lane.name.clone())
            .bind(app.to_owned())
            .bind(now)
            .execute(self.connection())
            .await?;
        Ok(())
    }

    /// Keeps what was planned for a delivery: the first request is its own, more are put behind it.
    pub async fn plan_delivery(&mut self, own: &Queued, planned: &[Planned], now: Millis) -> Result<()> {
        let Some((first, more)) = planned.split_first() else { return self.remove_delivery(&own.id).await };
        let changed = sqlx::query("UPDATE webhook_deliveries SET request = $2, body = $3 WHERE id = $1")
            .bind(own.id.clone())
            .bind(first.request.clone())
            .bind(first.body.clone())
            .execute(self.connection())
            .await?;
        // The subscription may have been deleted meanwhile.
        if changed.rows_affected() == 0 {
            return Ok(());
        }
        let lane = Lane { webhook_id: own.webhook_id.clone(), name: own.lane.clone() };
        for (position, planned) in (own.position + 1..).zip(more) {
            self.add_delivery(&lane, &own.event, position, Some(planned), now).await?;
        }
        Ok(())
    }

    /// Removes a delivery that was made.
    pub async fn remove_delivery(&mut self, id: &str) -> Result<()> {
        let removed = sqlx::query("DELETE FROM webhook_deliveries WHERE id = $1 AND state <> 'dead'").bind(id.to_owned());
        let removed = removed.execute(self.connection()).await?.rows_affected();
        self.outbox_change -= i64::try_from(removed).unwrap_or(0);
        Ok(())
    }

    /// Keeps how far a delivery has come.
    pub async fn update_delivery(&mut self, id: &str, progress: &Progress, now: Millis) -> Result<()> {
        let changed = sqlx::query(
            "UPDATE webhook_deliveries SET state = $2, attempts = $3, since = $4, next_at = $5, last_status = $6, last_error = $7, \
             updated_at = $8 WHERE id = $1 AND state <> 'dead'",
        )
        .bind(id.to_owned())
        .bind(progress.state.as_str())
        .bind(progress.attempts)
        .bind(progress.since)
        .bind(progress.next_at)
        .bind(progress.last_status)
        .bind(progress.last_error.clone())
        .bind(now)
        .execute(self.connection())
        .await?;
        if progress.state == QueuedState::Dead {
            self.outbox_change -= i64::try_from(changed.rows_affected()).unwrap_or(0);
        }
        Ok(())
    }

    /// Sets a lane's next turn by what is left in it, at `now` at the earliest, so that it comes after those that wait already. A lane
    /// with nothing left is removed.
    pub async fn end_turn(&mut self, lane: &Lane, now: Millis) -> Result<()> {
        let next: Option<Millis> = sqlx::query_scalar(
            "SELECT MIN(next_at) FROM webhook_deliveries WHERE webhook_id = $1 AND lane = $2 AND state <> 'dead' AND seq = \
             (SELECT MIN(seq) FROM webhook_deliveries WHERE webhook_id = $1 AND lane = $2 AND state <> 'dead')",
        )
        .bind(lane.webhook_id.clone())
        .bind(lane.name.clone())
        .fetch_one(self.connection())
        .await?;
        let ended = match next {
            Some(next) => sqlx::query("UPDATE webhook_lanes SET next_at = $3 WHERE webhook_id = $1 AND lane = $2")
                .bind(lane.webhook_id.clone())
                .bind(lane.name.clone())
                .bind(next.max(now)),
            None => sqlx::query("DELETE FROM webhook_lanes WHERE webhook_id = $1 AND lane = $2")
                .bind(lane.webhook_id.clone())
                .bind(lane.name.clone()),
        };
        ended.execute(self.connection()).await?;
        Ok(())
    }

    /// Makes a delivery due at `now`, with all the time that a new one has.
    pub async fn redeliver(&mut self, app: &AppId, delivery: &Queued, now: Millis) -> Result<()> {
        let changed = sqlx::query(
            "UPDATE webhook_deliveries SET state = 'pending', attempts = 0, since = $2, next_at = $2, updated_at = $2 WHERE id = $1",
        )
        .bind(delivery.id.clone())
        .bind(now)
        .execute(self.connection())
        .await?;
        if changed.rows_affected() == 0 {
            return Ok(());
        }
        if delivery.progress.state == QueuedState::Dead {
            self.outbox_change += 1;
        }
        self.wakes_outbox = true;
        let lane = Lane { webhook_id: delivery.webhook_id.clone(), name: delivery.lane.clone() };
        self.open_lane(&lane, app.as_str(), now, true).await
    }

    /// [`Tx::redeliver`] for all that a subscription has given up. Returns how many.
    pub async fn redeliver_dead(&mut self, webhook: &Webhook, now: Millis) -> Result<u64> {
        sqlx::query(
            "INSERT INTO webhook_lanes (webhook_id, lane, app_id, next_at) \
             SELECT DISTINCT webhook_id, lane, $2, $3 FROM webhook_deliveries WHERE webhook_id = $1 AND state = 'dead' \
             ON CONFLICT (webhook_id, lane) DO UPDATE SET next_at = excluded.next_at",
        )
        .bind(webhook.id.clone())
        .bind(webhook.app_id.as_str().to_owned())
        .bind(now)
        .execute(self.connection())
        .await?;
        let changed = sqlx::query(
            "UPDATE webhook_deliveries SET state = 'pending', attempts = 0, since = $2, next_at = $2, updated_at = $2 \
             WHERE webhook_id = $1 AND state = 'dead'",
        )
        .bind(webhook.id.clone())
        .bind(now)
        .execute(self.connection())
        .await?
        .rows_affected();
        self.outbox_change += i64::try_from(changed).unwrap_or(0);
        self.wakes_outbox = true;
        Ok(changed)
    }

    /// Forgets what was given up before `before`.
    pub async fn prune_dead(&mut self, before: Millis) -> Result<()> {
        sqlx::query("DELETE FROM webhook_deliveries WHERE state = 'dead' AND updated_at < $1")
            .bind(before)
            .execute(self.connection())
            .await?;
        Ok(())
    }
}
