//! Streams of recorded files: what must be played again after a restart, and why others are over.

use flyloft_rooms::{AppId, Millis};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, SqliteConnection};

use super::{Page, Store, StoreError, Tx};

type Result<T> = std::result::Result<T, StoreError>;

/// Streams that are over are forgotten after this.
const KEEP_OVER: Millis = 7 * 24 * 60 * 60 * 1000;

/// Whether a stream is to be played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VodFate {
    /// Now, at its time, or when somebody asks for it.
    Kept,
    Ended,
    Failed,
}

impl VodFate {
    pub const ALL: [VodFate; 3] = [VodFate::Kept, VodFate::Ended, VodFate::Failed];

    pub const fn as_str(self) -> &'static str {
        match self {
            VodFate::Kept => "KEPT",
            VodFate::Ended => "ENDED",
            VodFate::Failed => "FAILED",
        }
    }
}

/// A stream of recorded files as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VodRow {
    pub id: String,
    pub app_id: AppId,
    pub name: String,
    /// JSON.
    pub spec: String,
    pub fate: VodFate,
    pub reason: Option<String>,
    pub created_at: Millis,
    pub updated_at: Millis,
}

fn row(row: &SqliteRow) -> Result<VodRow> {
    let state: String = row.try_get("state")?;
    let fate = VodFate::ALL.into_iter().find(|fate| fate.as_str() == state);
    Ok(VodRow {
        id: row.try_get("id")?,
        app_id: AppId::new(row.try_get::<String, _>("app_id")?),
        name: row.try_get("name")?,
        spec: row.try_get("spec")?,
        fate: fate.ok_or(StoreError::Corrupt { column: "state", value: state })?,
        reason: row.try_get("reason")?,
        created_at: row.try_get("created_at")?,
        updated_at: row.try_get("updated_at")?,
    })
}

impl Store {
    /// Newest first.
    pub async fn vod_streams(c: &mut SqliteConnection, app: Option<&AppId>, page: Page<'_>) -> Result<Vec<VodRow>> {
        let found = sqlx::query(
            "SELECT * FROM vod_streams WHERE ($1 IS NULL OR app_id = $1) AND ($2 IS NULL OR id < $2) ORDER BY id DESC LIMIT $3",
        )
        .bind(app.map(|id| id.as_str().to_owned()))
        .bind(page.after.map(str::to_owned))
        .bind(page.limit);
        found.fetch_all(c).await?.iter().map(row).collect()
    }

    pub async fn vod_stream(c: &mut SqliteConnection, id: &str) -> Result<Option<VodRow>> {
        let found = sqlx::query("SELECT * FROM vod_streams WHERE id = $1").bind(id.to_owned()).fetch_optional(c).await?;
        found.as_ref().map(row).transpose()
    }

    /// Those that are to be played, oldest first.
    pub async fn kept_vod_streams(c: &mut SqliteConnection) -> Result<Vec<VodRow>> {
        let found = sqlx::query("SELECT * FROM vod_streams WHERE state = 'KEPT' ORDER BY id").fetch_all(c).await?;
        found.iter().map(row).collect()
    }

    /// Whether a member's stream, a stream key or a room has this name, so that no other stream may.
    pub async fn is_taken(c: &mut SqliteConnection, name: &str) -> Result<bool> {
        let found = sqlx::query(
            "SELECT 1 FROM members WHERE stream_name = $1 UNION ALL SELECT 1 FROM stream_keys WHERE secret = $1 \
             UNION ALL SELECT 1 FROM video_rooms WHERE id = $1 LIMIT 1",
        )
        .bind(name.to_owned());
        Ok(found.fetch_optional(c).await?.is_some())
    }
}

impl Tx<'_> {
    /// Adds a stream, and forgets those that have been over for long.
    pub async fn add_vod_stream(&mut self, new: &VodRow) -> Result<()> {
        sqlx::query("DELETE FROM vod_streams WHERE state IN ('ENDED', 'FAILED') AND updated_at < $1")
            .bind(new.created_at.saturating_sub(KEEP_OVER))
            .execute(self.connection())
            .await?;
        sqlx::query(
            "INSERT INTO vod_streams (id, app_id, name, spec, state, reason, created_at, updated_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(new.id.clone())
        .bind(new.app_id.as_str().to_owned())
        .bind(new.name.clone())
        .bind(new.spec.clone())
        .bind(new.fate.as_str())
        .bind(new.reason.clone())
        .bind(new.created_at)
        .bind(new.updated_at)
        .execute(self.connection())
        .await?;
        Ok(())
    }

    /// A stream is over.
    pub async fn end_vod_stream(&mut self, id: &str, fate: VodFate, reason: &str, now: Millis) -> Result<()> {
        sqlx::query("UPDATE vod_streams SET state = $2, reason = $3, updated_at = $4 WHERE id = $1")
            .bind(id.to_owned())
            .bind(fate.as_str())
            .bind(reason.to_owned())
            .bind(now)
            .execute(self.connection())
            .await?;
        Ok(())
    }

    pub async fn delete_vod_stream(&mut self, id: &str) -> Result<()> {
        sqlx::query("DELETE FROM vod_streams WHERE id = $1").bind(id.to_owned()).execute(self.connection()).await?;
        Ok(())
    }
}
