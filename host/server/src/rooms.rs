//! The service that transports and the REST API ask: it recognises who comes, asks the plugins, moves stream keys and rooms
//! through their states, and keeps every change with its events before it answers.

mod access;
mod error;
mod issue;
mod manage;
mod members;
mod once;
mod play;
mod posts;
mod publish;
pub(crate) mod rules;
mod step;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod token;
mod urls;

use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use flyloft_plugins::Plugins;
use flyloft_plugins::model::{Context, Limits, Pair, Protocol};
use flyloft_rooms::{App, AppId, Event, EventId, Millis, Secret};
use serde::Serialize;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use access::{Actor, Given};
pub use error::{Error, Refusal};
pub use flyloft_rooms::{OutputMode, StreamName};
pub use manage::{NewRoom, RoomChange, RoomView};
pub use members::{AppChange, AppCreated, KeyChange, KeyView, MemberChange, NewApp, NewMember};
pub use once::{Once, Outcome};
pub(crate) use once::{keep, replayed};
pub use play::OwnStream;
pub use posts::{Archived, PostView, Wanted};
pub use rules::{Asker, Rules};
pub use token::{ISSUED_FOR, IssuedToken, MAX_TOKEN_LIFE, RoomTokenRequest};
pub use urls::{Bases, PostUrls, RoomUrls};

pub use crate::store::{EventFilter, Page, RoomFilter, StoredAnswer};
use crate::store::{Retention, Store, StoreError};

/// A viewer wants to watch.
#[derive(Clone, Debug)]
pub struct PlayAttempt<'a> {
    /// A room's id or a stream's name.
    pub name: &'a str,
    /// A room token or a member's token.
    pub token: Option<&'a str>,
    pub protocol: Protocol,
    pub remote: SocketAddr,
    pub user_agent: Option<&'a str>,
    /// The parameters of the URL, decoded, without the token.
    pub parameters: &'a [(String, String)],
}

/// What a viewer may watch, and within which limits.
#[derive(Clone, Debug)]
pub struct PlayGrant {
    pub stream: StreamName,
    pub room_id: Option<String>,
    pub limits: Limits,
    pub labels: Vec<Pair>,
}

/// A broadcaster wants to publish.
#[derive(Clone, Debug)]
pub struct PublishAttempt<'a> {
    pub stream_key: &'a str,
    /// The parameters of the URL, decoded.
    pub parameters: &'a [(String, String)],
    pub protocol: Protocol,
    pub remote: SocketAddr,
    pub user_agent: Option<&'a str>,
}

/// A publish that may begin. Its end must be reported with [`Rooms::publish_ended`].
#[derive(Clone, Debug)]
pub struct Admitted {
    pub publish_id: String,
    pub stream: StreamName,
    pub app_id: String,
    pub member_id: String,
    /// The member's room that is live or paused.
    pub room_id: Option<String>,
    pub mode: OutputMode,
    pub limits: Limits,
    pub labels: Vec<Pair>,
    /// Whether the policy wants the stream recorded; none leaves it open.
    pub record: Option<bool>,
}

/// What the service needs of the live streams.
pub trait LiveControl: Send + Sync {
    /// Sends the publisher away (if there is one) and ends the stream: its viewers get the end.
    fn end_stream(&self, stream: &StreamName, reason: &str);
    /// Who watches now.
    fn viewers(&self, stream: &StreamName) -> u32;
}

/// Addresses that the service tells others.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// The base of the HTTP URLs, without a slash at its end; none takes the host of each request.
    pub http_url: Option<String>,
    /// The base of the RTMP URLs, for example `rtmp://ingest.example.com`; none takes the host of each request.
    pub rtmp_url: Option<String>,
    pub rtmp_port: u16,
    /// How much of the past the event feed and the list of events have.
    pub retention: Retention,
    /// Whether rooms are recorded about which neither the policy nor the room says anything.
    pub record: bool,
}

/// What a first start makes. The secrets are kept as hashes only, so they can't be shown again.
#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Credentials {
    pub operator_token: String,
    pub app: AppCredentials,
}

/// The credentials of the first App.
#[derive(Clone, Serialize)]
pub struct AppCredentials {
    pub id: String,
    pub key: String,
    pub secret: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Credentials").field("app_id", &self.app.id).field("app_key", &self.app.key).finish_non_exhaustive()
    }
}

/// The rooms service.
pub struct Rooms {
    store: Store,
    rules: Arc<dyn Rules>,
    live: Arc<dyn LiveControl>,
    config: Config,
    changes: TaskTracker,
    feeds_end: CancellationToken,
}

impl Rooms {
    /// Opens the database in `data_dir`. Publishes that were under way when the server ended, ended with it: keys and rooms are
    /// moved accordingly before this returns.
    pub async fn open(
        data_dir: &Path,
        plugins: Plugins,
        live: Arc<dyn LiveControl>,
        config: Config,
    ) -> anyhow::Result<Arc<Self>> {
        Self::open_with(data_dir, Arc::new(plugins), live, config).await
    }

    /// As [`Rooms::open`], with any rules.
    pub async fn open_with(
        data_dir: &Path,
        rules: Arc<dyn Rules>,
        live: Arc<dyn LiveControl>,
        config: Config,
    ) -> anyhow::Result<Arc<Self>> {
        let store = Store::open(data_dir, config.retention).await?;
        let rooms =
            Arc::new(Self { store, rules, live, config, changes: TaskTracker::new(), feeds_end: CancellationToken::new() });
        rooms.recover().await.context("cannot bring the rooms back to a state without publishers")?;
        Ok(rooms)
    }

    /// On the first start makes an operator token and an App with its credentials; on any other, nothing.
    pub async fn bootstrap(&self) -> anyhow::Result<Option<Credentials>> {
        let mut tx = self.store.write().await?;
        if Store::operator_exists(tx.connection()).await? {
            return Ok(None);
        }
        let now = now();
        let (operator_token, app_secret) = (token::operator_token()?, token::app_secret()?);
        let app = new_app("default".into(), None, None, now)?;
        tx.add_operator(&token::hash(&operator_token), now).await?;
        tx.add_app(&app, &token::hash(&app_secret)).await?;
        tx.commit().await?;
        let app = AppCredentials { id: app.id.into_string(), key: app.key, secret: app_secret };
        Ok(Some(Credentials { operator_token, app }))
    }

    /// Waits for the changes under way and closes the database.
    pub async fn close(&self) {
        self.changes.close();
        self.changes.wait().await;
        self.store.close().await;
    }

    /// Events after `seq`, oldest first.
    pub async fn events(&self, filter: &EventFilter, seq: i64, limit: u32) -> Result<Vec<Event>, StoreError> {
        Store::events(&mut *self.store.read().await?, filter, seq, limit).await
    }

    /// Whether events after `seq` were removed already because they were too old.
    pub async fn events_missed(&self, seq: i64) -> Result<bool, StoreError> {
        let oldest = Store::oldest_event(&mut *self.store.read().await?).await?;
        Ok(oldest.is_some_and(|oldest| seq + 1 < oldest))
    }

    /// The `seq` of the newest event, as it changes.
    pub fn latest_event(&self) -> watch::Receiver<i64> {
        self.store.latest()
    }

    /// Ends the event feeds, so that their connections can close. Clients come again with their `Last-Event-ID`.
    pub fn end_feeds(&self) {
        self.feeds_end.cancel();
    }

    /// Ends when the event feeds are to end.
    pub fn feeds_end(&self) -> CancellationToken {
        self.feeds_end.clone()
    }

    /// Who watches a room now: nobody, unless it is live or paused.
    pub fn room_viewers(&self, view: &RoomView) -> u32 {
        if view.room.state.is_live() { self.live.viewers(&view.owner.stream_name) } else { 0 }
    }

    /// What plugins are told about a call that is made for `app`.
    pub(crate) fn plugin_context(&self, app: &App) -> Context {
        rules::context(app)
    }

    /// The database, for what is kept there beside rooms.
    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// Runs a change to its end, even when the one who asked goes away in the middle of it: what was committed must also be
    /// announced and acted on.
    pub(crate) async fn run<T: Send + 'static>(&self, change: impl Future<Output = T> + Send + 'static) -> T {
        match self.changes.spawn(change).await {
            Ok(done) => done,
            Err(failed) => match failed.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime is shutting down and drops this future, too.
                Err(_) => std::future::pending().await,
            },
        }
    }
}

fn new_app(
    name: String,
    output_mode: Option<OutputMode>,
    transcoding_profile: Option<String>,
    now: Millis,
) -> Result<App, Error> {
    Ok(App {
        id: AppId::new(new_id()),
        name,
        key: token::app_key()?,
        signing_secret: Secret::new(token::signing_secret()?),
        output_mode,
        transcoding_profile,
        record: None,
        created_at: now,
        updated_at: now,
    })
}

/// A new identifier; later ones sort after earlier ones.
pub(crate) fn new_id() -> String {
    uuid::Uuid::now_v7().to_string()
}

fn new_event_id() -> EventId {
    EventId::new(new_id())
}

/// Milliseconds since the Unix epoch.
pub(crate) fn now() -> Millis {
    jiff::Timestamp::now().as_millisecond()
}
