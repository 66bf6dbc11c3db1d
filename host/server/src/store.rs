//! Storage: one SQLite database in the data directory. Reads go side by side, writes one after the other, and a write that was
//! acknowledged survives a crash and a power failure. What plugins keep lies in a second one.

mod key_values;
mod outbox;
mod posts;
mod query;
mod row;
#[cfg(test)]
mod tests;
mod vod;
mod write;

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use flyloft_rooms::Millis;
use sqlx::pool::PoolConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Sqlite, SqliteConnection, SqlitePool, Transaction};
use tokio::sync::{Notify, watch};

pub use key_values::KeyValues;
pub use outbox::{DueLane, Lane, Planned, Progress, Queued, QueuedState, Webhook};
pub use posts::PostFilter;
pub use query::{Credential, EventFilter, Page, RoomFilter, StoredAnswer};
pub use vod::{VodFate, VodRow};

/// The database in the data directory.
pub const FILE: &str = "flyloft.db";
/// How long somebody else's lock on the database is waited for.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
const READERS: u32 = 4;
/// Old events are looked for at every so many new ones.
const PRUNE_EVERY: i64 = 256;
/// How long an answer is kept for its idempotency key.
pub const IDEMPOTENCY: Duration = Duration::from_secs(24 * 60 * 60);

/// What went wrong with the database.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("the database {} can't be opened: {source}; check that the directory is writable and the disk is not full", path.display())]
    Open { path: PathBuf, source: sqlx::Error },
    #[error("the database {} can't be brought to this version: {source}; it may come from a newer Flyloft", path.display())]
    Migrate { path: PathBuf, source: sqlx::migrate::MigrateError },
    #[error("the database failed: {0}")]
    Database(#[from] sqlx::Error),
    #[error("the database holds something that can't be understood: {column} is {value:?}")]
    Corrupt { column: &'static str, value: String },
}

/// How many events are kept. Older ones are removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    pub events: i64,
    pub age: Duration,
}

impl Default for Retention {
    fn default() -> Self {
        Self { events: 1_000_000, age: Duration::from_secs(30 * 24 * 60 * 60) }
    }
}

/// The database.
#[derive(Debug)]
pub struct Store {
    readers: SqlitePool,
    /// One connection, so that writes wait for each other here and not in the database.
    writer: SqlitePool,
    latest: watch::Sender<i64>,
    /// Told when something in the outbox may be due.
    outbox: Arc<Notify>,
    outbox_depth: AtomicI64,
    retention: Retention,
}

/// A write: everything or nothing. Dropping it undoes it.
pub struct Tx<'a> {
    store: &'a Store,
    inner: Transaction<'static, Sqlite>,
    latest: Option<i64>,
    /// Deliveries that it adds to the outbox, less those that it takes out.
    outbox_change: i64,
    wakes_outbox: bool,
}

impl Store {
    /// Opens the database in `directory`, making it and bringing it to this version's form where needed.
    pub async fn open(directory: &Path, retention: Retention) -> Result<Self, StoreError> {
        let path = directory.join(FILE);
        let open = |source| StoreError::Open { path: path.clone(), source };
        let options = database(&path)?.synchronous(SqliteSynchronous::Full).foreign_keys(true);
        let writer = SqlitePoolOptions::new().max_connections(1).connect_with(options.clone()).await.map_err(open)?;
        sqlx::migrate!("./migrations").run(&writer).await.map_err(|source| StoreError::Migrate { path: path.clone(), source })?;
        let readers = SqlitePoolOptions::new().max_connections(READERS).connect_with(options).await.map_err(open)?;
        let latest: i64 = sqlx::query_scalar("SELECT COALESCE(MAX(seq), 0) FROM events").fetch_one(&writer).await?;
        let outbox_depth = AtomicI64::new(Self::outbox_depth(&mut *writer.acquire().await?).await?);
        let (latest, outbox) = (watch::Sender::new(latest), Arc::new(Notify::new()));
        Ok(Self { readers, writer, latest, outbox, outbox_depth, retention })
    }

    /// A connection for the functions that read.
    pub async fn read(&self) -> Result<PoolConnection<Sqlite>, StoreError> {
        Ok(self.readers.acquire().await?)
    }

    /// Begins a write, after those before it have ended.
    pub async fn write(&self) -> Result<Tx<'_>, StoreError> {
        let inner = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        Ok(Tx { store: self, inner, latest: None, outbox_change: 0, wakes_outbox: false })
    }

    /// The `seq` of the newest committed event, as it changes.
    pub fn latest(&self) -> watch::Receiver<i64> {
        self.latest.subscribe()
    }

    /// Told when something in the outbox may be due.
    pub fn outbox(&self) -> Arc<Notify> {
        Arc::clone(&self.outbox)
    }

    /// How many deliveries are pending or waiting, as of the last commit.
    pub fn depth(&self) -> i64 {
        self.outbox_depth.load(Ordering::Relaxed)
    }

    /// Waits for what is under way and closes the database.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

impl Tx<'_> {
    /// The connection, for the functions that read.
    pub fn connection(&mut self) -> &mut SqliteConnection {
        &mut self.inner
    }

    /// Makes the write last. When this returns, it is on the disk.
    pub async fn commit(self) -> Result<(), StoreError> {
        self.inner.commit().await?;
        if let Some(seq) = self.latest {
            self.store.latest.send_if_modified(|latest| {
                let newer = seq > *latest;
                *latest = seq.max(*latest);
                newer
            });
        }
        self.store.outbox_depth.fetch_add(self.outbox_change, Ordering::Relaxed);
        if self.wakes_outbox {
            self.store.outbox.notify_one();
        }
        Ok(())
    }
}

/// How a database is opened; its file is made if it is missing.
fn database(path: &Path) -> Result<SqliteConnectOptions, StoreError> {
    let make = || {
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory)?;
        }
        // It holds secrets, so only its owner may read it. SQLite gives its other files the same mode.
        OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path)
    };
    make().map_err(|error| StoreError::Open { path: path.to_owned(), source: sqlx::Error::Io(error) })?;
    Ok(SqliteConnectOptions::new().filename(path).journal_mode(SqliteJournalMode::Wal).busy_timeout(BUSY_TIMEOUT))
}

fn millis(duration: Duration) -> Millis {
    Millis::try_from(duration.as_millis()).unwrap_or(Millis::MAX)
}
