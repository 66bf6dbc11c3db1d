//! What plugins keep by `wasi:keyvalue`: a SQLite database of its own, so that they never wait for the rooms nor the rooms for them.
//!
//! One thread has the database. It takes all that waits, does it in one transaction, and then answers, so that many calls share
//! the cost of one commit. A commit is not forced to the disk: what was answered survives the end of the server, also by `kill -9`, and
//! after a power failure the last second may be missing, never a part of a transaction. That is why a call is not held up by the
//! disk: its deadline is 50 ms by default, which a disk may take to confirm a write.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use flyloft_plugins::{KeyValue, KeyValueAnswer, KeyValueError, MAX_KEYS, Versioned};
use sqlx::sqlite::SqliteSynchronous;
use sqlx::{Connection as _, Row as _, SqliteConnection};
use tokio::sync::{mpsc, oneshot};

use super::{StoreError, database};

#[cfg(test)]
mod tests;

/// The database in the data directory.
pub const FILE: &str = "plugin-values.db";
/// Calls that wait for the database; more wait for their turn to wait.
const QUEUE: usize = 256;
/// What one transaction may do.
const BATCH: usize = 64;
/// How long after a write the disk has it, when nothing more comes.
const SETTLE: Duration = Duration::from_secs(1);
/// Writes after which the disk is made to have them although more come. With the largest values they are 32 MiB.
const MAX_UNSETTLED: usize = 512;

/// Keeps the values of plugins.
#[derive(Debug)]
pub struct KeyValues {
    jobs: mpsc::Sender<Job>,
}

#[derive(Debug)]
struct Job {
    work: Work,
    answer: oneshot::Sender<Result<Done, KeyValueError>>,
}

#[derive(Debug)]
enum Work {
    Get { namespace: String, key: String },
    Set { namespace: String, key: String, value: Bytes, quota: u64 },
    Swap { namespace: String, key: String, version: u64, value: Bytes, quota: u64 },
    Delete { namespace: String, key: String },
    Increment { namespace: String, key: String, delta: i64, quota: u64 },
    Keys { namespace: String, after: String, limit: usize },
    Retain { namespaces: Vec<String> },
    Close,
}

impl Work {
    fn writes(&self) -> bool {
        !matches!(self, Work::Get { .. } | Work::Keys { .. } | Work::Close)
    }
}

#[derive(Debug)]
enum Done {
    Found(Option<Versioned>),
    Changed,
    Swapped(bool),
    Sum(i64),
    Keys(Vec<String>),
}

impl KeyValues {
    /// Opens the database in `directory`, making it and bringing it to this version's form where needed.
    ///
    /// # Errors
    /// When it can't be opened, or comes from a newer version.
    pub async fn open(directory: &Path) -> Result<KeyValues, StoreError> {
        let path = directory.join(FILE);
        let options = database(&path)?.synchronous(SqliteSynchronous::Normal).pragma("wal_autocheckpoint", "0");
        let open = |source| StoreError::Open { path: path.clone(), source };
        let mut connection = SqliteConnection::connect_with(&options).await.map_err(open)?;
        let migrated = sqlx::migrate!("./migrations/key_values").run(&mut connection).await;
        migrated.map_err(|source| StoreError::Migrate { path: path.clone(), source })?;
        let (jobs, waiting) = mpsc::channel(QUEUE);
        let failed = |error| open(sqlx::Error::Io(error));
        // A thread and a runtime of its own: plugins are opened and asked on others, some of which end before the server does.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().map_err(failed)?;
        let keeper = Keeper { connection, unsettled: 0 };
        std::thread::Builder::new()
            .name("plugin-values".into())
            .spawn(move || runtime.block_on(keeper.run(waiting)))
            .map_err(failed)?;
        Ok(KeyValues { jobs })
    }

    /// Waits for what is under way and closes the database; nothing can be kept after that.
    pub async fn close(&self) {
        // It fails only when it is closed already.
        let _ = self.ask(Work::Close).await;
    }

    async fn ask(&self, work: Work) -> Result<Done, KeyValueError> {
        let closed = || KeyValueError::Unavailable("it is closed, as the server is shutting down".to_owned());
        let (answer, done) = oneshot::channel();
        self.jobs.send(Job { work, answer }).await.map_err(|_| closed())?;
        done.await.map_err(|_| closed())?
    }

    fn answer<T>(&self, work: Work, wanted: impl FnOnce(Done) -> Option<T> + Send + 'static) -> KeyValueAnswer<'_, T> {
        Box::pin(async move {
            let done = self.ask(work).await?;
            wanted(done).ok_or_else(|| KeyValueError::Unavailable("it answered something else".to_owned()))
        })
    }
}

impl KeyValue for KeyValues {
    fn get<'a>(&'a self, namespace: &'a str, key: &'a str) -> KeyValueAnswer<'a, Option<Versioned>> {
        let work = Work::Get { namespace: namespace.to_owned(), key: key.to_owned() };
        self.answer(work, |done| if let Done::Found(found) = done { Some(found) } else { None })
    }

    fn set<'a>(&'a self, namespace: &'a str, key: &'a str, value: Bytes, quota: u64) -> KeyValueAnswer<'a, ()> {
        self.answer(Work::Set { namespace: namespace.to_owned(), key: key.to_owned(), value, quota }, changed)
    }

    fn swap<'a>(&'a self, namespace: &'a str, key: &'a str, version: u64, value: Bytes, quota: u64) -> KeyValueAnswer<'a, bool> {
        let work = Work::Swap { namespace: namespace.to_owned(), key: key.to_owned(), version, value, quota };
        self.answer(work, |done| if let Done::Swapped(swapped) = done { Some(swapped) } else { None })
    }

    fn delete<'a>(&'a self, namespace: &'a str, key: &'a str) -> KeyValueAnswer<'a, ()> {
        self.answer(Work::Delete { namespace: namespace.to_owned(), key: key.to_owned() }, changed)
    }

    fn increment<'a>(&'a self, namespace: &'a str, key: &'a str, delta: i64, quota: u64) -> KeyValueAnswer<'a, i64> {
        let work = Work::Increment { namespace: namespace.to_owned(), key: key.to_owned(), delta, quota };
        self.answer(work, |done| if let Done::Sum(sum) = done { Some(sum) } else { None })
    }

    fn keys<'a>(&'a self, namespace: &'a str, after: Option<&'a str>, limit: usize) -> KeyValueAnswer<'a, Vec<String>> {
        let after = after.unwrap_or_default().to_owned();
        let work = Work::Keys { namespace: namespace.to_owned(), after, limit };
        self.answer(work, |done| if let Done::Keys(keys) = done { Some(keys) } else { None })
    }

    fn retain<'a>(&'a self, namespaces: &'a [&'a str]) -> KeyValueAnswer<'a, ()> {
        let namespaces = namespaces.iter().map(|namespace| (*namespace).to_owned()).collect();
        self.answer(Work::Retain { namespaces }, changed)
    }
}

fn changed(done: Done) -> Option<()> {
    matches!(done, Done::Changed).then_some(())
}

/// The one that has the database.
struct Keeper {
    connection: SqliteConnection,
    /// Writes that the disk may not have yet.
    unsettled: usize,
}

impl Keeper {
    async fn run(mut self, mut waiting: mpsc::Receiver<Job>) {
        let mut jobs = Vec::with_capacity(BATCH);
        loop {
            let received = match self.unsettled {
                0 => Ok(waiting.recv_many(&mut jobs, BATCH).await),
                _ => tokio::time::timeout(SETTLE, waiting.recv_many(&mut jobs, BATCH)).await,
            };
            match received {
                Ok(0) => break,
                Ok(_) => {}
                Err(_) => {
                    self.settle().await;
                    continue;
                }
            }
            if jobs.iter().any(|job| matches!(job.work, Work::Close)) {
                waiting.close();
            }
            let done = self.transaction(&jobs).await;
            for (job, done) in jobs.drain(..).zip(done) {
                // Whoever asked may have gone.
                let _ = job.answer.send(done);
            }
            if self.unsettled >= MAX_UNSETTLED {
                self.settle().await;
            }
        }
        if let Err(error) = self.connection.close().await {
            tracing::warn!(%error, "the plugins' values could not be closed");
        }
    }

    /// Does all jobs, or none of them when the database fails. What a plugin did wrong is its own answer and changes nothing.
    async fn transaction(&mut self, jobs: &[Job]) -> Vec<Result<Done, KeyValueError>> {
        let writes = jobs.iter().filter(|job| job.work.writes()).count();
        self.unsettled += writes;
        match self.try_transaction(jobs, writes > 0).await {
            Ok(done) => done,
            Err(error) => {
                tracing::error!(%error, "the plugins' values can't be kept: is the disk full?");
                let error = KeyValueError::Unavailable(
                    "its database failed; the operator finds the reason in the server's log".to_owned(),
                );
                jobs.iter().map(|_| Err(error.clone())).collect()
            }
        }
    }

    async fn try_transaction(&mut self, jobs: &[Job], writes: bool) -> Result<Vec<Result<Done, KeyValueError>>, sqlx::Error> {
        let mut all = Vec::with_capacity(jobs.len());
        if !writes {
            for job in jobs {
                all.push(perform(&mut self.connection, &job.work).await?);
            }
            return Ok(all);
        }
        // Dropped without a commit, it is undone.
        let mut transaction = self.connection.begin_with("BEGIN IMMEDIATE").await?;
        for job in jobs {
            all.push(perform(&mut transaction, &job.work).await?);
        }
        transaction.commit().await?;
        Ok(all)
    }

    /// Makes the disk have what was written.
    async fn settle(&mut self) {
        self.unsettled = 0;
        if let Err(error) = sqlx::query("PRAGMA wal_checkpoint(PASSIVE)").execute(&mut self.connection).await {
            tracing::warn!(%error, "the plugins' values could not be written to their place; they are kept in the journal");
        }
    }
}

type Performed = Result<Result<Done, KeyValueError>, sqlx::Error>;

async fn perform(c: &mut SqliteConnection, work: &Work) -> Performed {
    match work {
        Work::Get { namespace, key } => {
            let found = sqlx::query("SELECT value, version FROM entries WHERE namespace = $1 AND key = $2")
                .bind(namespace.as_str())
                .bind(key.as_bytes())
                .fetch_optional(c)
                .await?;
            let versioned = |row: sqlx::sqlite::SqliteRow| -> Result<Versioned, sqlx::Error> {
                Ok(Versioned { value: row.try_get::<Vec<u8>, _>(0)?.into(), version: unsigned(row.try_get(1)?) })
            };
            Ok(Ok(Done::Found(found.map(versioned).transpose()?)))
        }
        Work::Set { namespace, key, value, quota } => {
            let place = Place::of(c, namespace, key).await?;
            Ok(place.put(c, value, *quota).await?.map(|()| Done::Changed))
        }
        Work::Swap { namespace, key, version, value, quota } => {
            let place = Place::of(c, namespace, key).await?;
            if place.version() != *version {
                return Ok(Ok(Done::Swapped(false)));
            }
            Ok(place.put(c, value, *quota).await?.map(|()| Done::Swapped(true)))
        }
        Work::Increment { namespace, key, delta, quota } => {
            let place = Place::of(c, namespace, key).await?;
            let sum = match &place.old {
                None => Ok(*delta),
                Some(old) => sum(key, &old.value, *delta),
            };
            match sum {
                Ok(sum) => Ok(place.put(c, sum.to_string().as_bytes(), *quota).await?.map(|()| Done::Sum(sum))),
                Err(error) => Ok(Err(error)),
            }
        }
        Work::Delete { namespace, key } => {
            Place::of(c, namespace, key).await?.clear(c).await?;
            Ok(Ok(Done::Changed))
        }
        Work::Keys { namespace, after, limit } => {
            let keys: Vec<Vec<u8>> =
                sqlx::query_scalar("SELECT key FROM entries WHERE namespace = $1 AND key > $2 ORDER BY key LIMIT $3")
                    .bind(namespace.as_str())
                    .bind(after.as_bytes())
                    .bind(i64::try_from(*limit).unwrap_or(i64::MAX))
                    .fetch_all(c)
                    .await?;
            let keys: Result<_, _> = keys.into_iter().map(String::from_utf8).collect();
            Ok(Ok(Done::Keys(keys.map_err(|error| sqlx::Error::Decode(Box::new(error)))?)))
        }
        Work::Retain { namespaces } => {
            let all: Vec<String> = sqlx::query_scalar("SELECT namespace FROM namespaces").fetch_all(&mut *c).await?;
            for namespace in all.iter().filter(|namespace| !namespaces.contains(namespace)) {
                sqlx::query("DELETE FROM entries WHERE namespace = $1").bind(namespace.as_str()).execute(&mut *c).await?;
                sqlx::query("DELETE FROM namespaces WHERE namespace = $1").bind(namespace.as_str()).execute(&mut *c).await?;
            }
            Ok(Ok(Done::Changed))
        }
        Work::Close => Ok(Ok(Done::Changed)),
    }
}

fn sum(key: &str, value: &[u8], delta: i64) -> Result<i64, KeyValueError> {
    let number = std::str::from_utf8(value).ok().and_then(|text| text.parse::<i64>().ok());
    let number = number.ok_or_else(|| KeyValueError::NotANumber { key: key.to_owned() })?;
    number.checked_add(delta).ok_or_else(|| KeyValueError::Overflow { key: key.to_owned() })
}

/// A key in its namespace, as both are now.
struct Place<'a> {
    namespace: &'a str,
    key: &'a str,
    /// Of the namespace.
    bytes: u64,
    entries: u64,
    latest: u64,
    old: Option<Versioned>,
}

impl<'a> Place<'a> {
    async fn of(c: &mut SqliteConnection, namespace: &'a str, key: &'a str) -> Result<Place<'a>, sqlx::Error> {
        let row = sqlx::query(
            "SELECT n.bytes, n.entries, n.version, e.value, e.version FROM namespaces n \
             LEFT JOIN entries e ON e.namespace = n.namespace AND e.key = $2 WHERE n.namespace = $1",
        )
        .bind(namespace)
        .bind(key.as_bytes())
        .fetch_optional(c)
        .await?;
        let Some(row) = row else { return Ok(Place { namespace, key, bytes: 0, entries: 0, latest: 0, old: None }) };
        let version: Option<i64> = row.try_get(4)?;
        let old = match version {
            Some(version) => Some(Versioned { value: row.try_get::<Vec<u8>, _>(3)?.into(), version: unsigned(version) }),
            None => None,
        };
        let [bytes, entries, latest] = [row.try_get(0)?, row.try_get(1)?, row.try_get(2)?].map(unsigned);
        Ok(Place { namespace, key, bytes, entries, latest, old })
    }

    fn version(&self) -> u64 {
        self.old.as_ref().map_or(0, |old| old.version)
    }

    /// Bytes that a value takes here.
    fn size(&self, value: &[u8]) -> u64 {
        (self.key.len() + value.len()) as u64
    }

    fn old_size(&self) -> u64 {
        self.old.as_ref().map_or(0, |old| self.size(&old.value))
    }

    async fn put(&self, c: &mut SqliteConnection, value: &[u8], quota: u64) -> Result<Result<(), KeyValueError>, sqlx::Error> {
        let bytes = self.bytes.saturating_sub(self.old_size()) + self.size(value);
        // What is over a quota that was lowered may still shrink.
        if bytes > quota && bytes > self.bytes {
            return Ok(Err(KeyValueError::Quota { quota }));
        }
        let entries = self.entries + u64::from(self.old.is_none());
        if self.old.is_none() && entries > MAX_KEYS as u64 {
            return Ok(Err(KeyValueError::TooManyKeys { limit: MAX_KEYS }));
        }
        let version = self.latest + 1;
        sqlx::query(
            "INSERT INTO entries (namespace, key, value, version) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (namespace, key) DO UPDATE SET value = excluded.value, version = excluded.version",
        )
        .bind(self.namespace)
        .bind(self.key.as_bytes())
        .bind(value)
        .bind(signed(version))
        .execute(&mut *c)
        .await?;
        self.count(c, bytes, entries, version).await?;
        Ok(Ok(()))
    }

    async fn clear(&self, c: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        if self.old.is_none() {
            return Ok(());
        }
        sqlx::query("DELETE FROM entries WHERE namespace = $1 AND key = $2")
            .bind(self.namespace)
            .bind(self.key.as_bytes())
            .execute(&mut *c)
            .await?;
        self.count(c, self.bytes.saturating_sub(self.old_size()), self.entries.saturating_sub(1), self.latest).await
    }

    async fn count(&self, c: &mut SqliteConnection, bytes: u64, entries: u64, version: u64) -> Result<(), sqlx::Error> {
        sqlx::query(
            "INSERT INTO namespaces (namespace, bytes, entries, version) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (namespace) DO UPDATE SET bytes = excluded.bytes, entries = excluded.entries, version = excluded.version",
        )
        .bind(self.namespace)
        .bind(signed(bytes))
        .bind(signed(entries))
        .bind(signed(version))
        .execute(c)
        .await?;
        Ok(())
    }
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
