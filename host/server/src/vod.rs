//! Video on demand: recorded files that are played as live streams, from where they lie, while they are fetched.
//!
//! Each stream is two tasks: one reads ahead (`reader`), one lets every frame leave at its time (`player`). What is to be
//! played is stored, and played again after a restart.

mod buffer;
mod channel;
mod failure;
mod manage;
mod player;
mod reader;
pub mod source;
mod spec;
mod supervisor;
#[cfg(test)]
pub(crate) mod testing;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use flyloft_rooms::{App, AppId};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::ingest::Door;
use crate::rooms::{OutputMode, Rooms};
use crate::store::Store;
pub use channel::{Channel, Progress, State};
pub use failure::Failure;
pub use manage::{NewVod, VodFilter, VodView};
use source::Sources;
pub use spec::{Item, Spec, Wrong, check_name};

/// How the streams are played.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How much media is read ahead.
    pub buffer: Duration,
    /// Whether a stream begins again at its end, where the request does not say.
    pub looped: bool,
    /// A stream that nobody watches is ended after this; none for never.
    pub viewer_timeout: Option<Duration>,
    /// Streams at a time, those included that wait for their time or for a viewer.
    pub max_streams: usize,
    /// The App of calls that name none; none for the one that was made first.
    pub app: Option<String>,
    /// Streams that are always there.
    pub channels: Vec<Configured>,
}

/// A stream of the configuration: it is started by who wants to watch.
#[derive(Clone, Debug)]
pub struct Configured {
    pub name: String,
    pub spec: Spec,
}

/// All streams of recorded files.
pub struct Vod {
    rooms: Arc<Rooms>,
    door: Door,
    sources: Sources,
    settings: Settings,
    /// Those that are not over, by name.
    channels: Mutex<HashMap<String, Arc<Channel>>>,
    tasks: TaskTracker,
    stop: CancellationToken,
    /// What ends from now on is played again after the next start.
    is_stopping: AtomicBool,
}

impl Vod {
    /// Starts what was played when the server ended, and the streams of the configuration.
    pub async fn open(rooms: Arc<Rooms>, door: Door, sources: Sources, settings: Settings) -> Result<Arc<Self>> {
        let this = Arc::new(Self {
            rooms,
            door,
            sources,
            settings,
            channels: Mutex::default(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            is_stopping: AtomicBool::new(false),
        });
        this.restore().await.context("cannot read which recorded files are played")?;
        this.add_configured().await?;
        Ok(this)
    }

    /// The stream of this name, unless it is over.
    pub fn find(&self, name: &str) -> Option<Arc<Channel>> {
        // A room's stream has the room's name.
        self.channels.lock().get(name).filter(|channel| channel.spec.room_id.is_none()).cloned()
    }

    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The outputs of a stream for which none are asked.
    pub fn default_mode(app: &App) -> OutputMode {
        app.output_mode.unwrap_or(OutputMode::RtmpCmaf)
    }

    /// The App of calls that name none.
    pub async fn default_app(&self) -> Result<App, crate::rooms::Error> {
        let mut reading = self.rooms.store().read().await?;
        let missing = |id: &str| crate::rooms::Error::NotFound { what: "App", id: id.to_owned() };
        match &self.settings.app {
            Some(id) => Store::app(&mut reading, &AppId::new(id)).await?.ok_or_else(|| missing(id)),
            None => Store::first_app(&mut reading).await?.ok_or_else(|| missing("default")),
        }
    }

    /// To be called before the streams are ended because the server stops.
    pub fn begin_shut_down(&self) {
        self.is_stopping.store(true, Ordering::Relaxed);
    }

    /// Ends all streams, and waits for them.
    pub async fn shut_down(&self) {
        self.begin_shut_down();
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::Relaxed)
    }
}
