//! Streams of recorded files as the REST APIs manage them.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use flyloft_rooms::{App, AppId, Millis, OutputMode};
use http::StatusCode;

use super::channel::{Channel, Progress, State};
use super::spec::Spec;
use super::supervisor::Ready;
use super::{Failure, Vod};
use crate::rooms::{Actor, Error, Once, Outcome, Page, Refusal, keep, new_id, now, replayed};
use crate::store::{Store, VodFate, VodRow};

/// How long whoever starts a stream waits for its file to be opened.
const START: Duration = Duration::from_secs(20);
/// How long whoever ends a stream waits for it.
const END: Duration = Duration::from_secs(10);

/// A stream to be made. Checked already.
#[derive(Clone, Debug)]
pub struct NewVod {
    pub name: String,
    pub spec: Spec,
    /// None for that of the App.
    pub mode: Option<OutputMode>,
}

/// A stream as it is shown.
#[derive(Clone, Debug)]
pub struct VodView {
    pub id: String,
    pub app_id: AppId,
    pub name: String,
    pub spec: Arc<Spec>,
    pub is_configured: bool,
    pub state: State,
    /// Why it is over, or was when it was last started.
    pub reason: Option<String>,
    /// None for one that was over before the server was started.
    pub progress: Option<Progress>,
    pub created_at: Millis,
    pub updated_at: Millis,
}

/// Which streams are meant; what is none does not matter.
#[derive(Clone, Copy, Debug, Default)]
pub struct VodFilter<'a> {
    pub app: Option<&'a AppId>,
    pub name: Option<&'a str>,
    pub uri: Option<&'a str>,
}

impl From<&Channel> for VodView {
    fn from(channel: &Channel) -> Self {
        Self {
            id: channel.id.clone(),
            app_id: channel.app_id.clone(),
            name: channel.name.clone(),
            spec: Arc::clone(&channel.spec),
            is_configured: channel.is_configured,
            state: channel.state(),
            reason: channel.reason(),
            progress: Some(channel.progress()),
            created_at: channel.created_at,
            updated_at: channel.updated_at(),
        }
    }
}

/// A name that is taken for a stream in the making.
struct Seat<'a> {
    vod: &'a Vod,
    channel: Option<Arc<Channel>>,
}

impl Seat<'_> {
    fn keep(mut self) {
        self.channel = None;
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        if let Some(channel) = self.channel.take() {
            self.vod.forget(&channel);
        }
    }
}

impl Vod {
    /// Takes the name of `channel`.
    fn reserve(&self, channel: &Arc<Channel>) -> Result<Seat<'_>, Error> {
        let mut channels = self.channels.lock();
        if channels.contains_key(&channel.name) {
            return Err(taken(&channel.name));
        }
        let max = self.settings.max_streams;
        if channels.len() >= max {
            let reason =
                format!("there are {max} streams of recorded files, and may be no more (vod.max_streams): end one first");
            return Err(Error::Busy { code: "too-many-streams", reason });
        }
        channels.insert(channel.name.clone(), Arc::clone(channel));
        Ok(Seat { vod: self, channel: Some(Arc::clone(channel)) })
    }

    /// Makes a stream. One that starts at once is playing when this returns, or its file can't be played.
    pub async fn create(self: &Arc<Self>, app: App, new: NewVod, once: Option<Once<VodView>>) -> Result<Outcome<VodView>, Error> {
        let this = Arc::clone(self);
        self.rooms.run(async move { this.make(app, new, once).await }).await
    }

    async fn make(self: &Arc<Self>, app: App, new: NewVod, once: Option<Once<VodView>>) -> Result<Outcome<VodView>, Error> {
        {
            let mut reading = self.rooms.store().read().await?;
            if let Some(answer) = replayed(&mut reading, once.as_ref()).await? {
                return Ok(Outcome::Replayed(answer));
            }
            if Store::is_taken(&mut reading, &new.name).await? {
                return Err(taken(&new.name));
            }
        }
        let now = now();
        // One viewer is served by RTMP or HTTP-FLV.
        let mode = if new.spec.is_shared() { new.mode.unwrap_or_else(|| Vod::default_mode(&app)) } else { OutputMode::Rtmp };
        let spec = Spec { mode, ..new.spec };
        let row = VodRow {
            id: new_id(),
            app_id: app.id,
            name: new.name,
            spec: serde_json::to_string(&spec).unwrap_or_default(),
            fate: VodFate::Kept,
            reason: None,
            created_at: now,
            updated_at: now,
        };
        let channel = Arc::new(Channel::new(&row, spec, false));
        let seat = self.reserve(&channel)?;
        let ready = match channel.state() {
            State::Starting => Some(self.first_start(&channel).await?),
            _ => None,
        };
        let kept = self.keep(&channel, &row, once).await;
        if !matches!(kept, Ok(Outcome::Done(_))) {
            if let Some(ready) = ready {
                ready.publishing.finish("the stream was not started").await;
                if channel.spec.room_id.is_none() {
                    self.door.live.end(&channel.name, "the stream was not started");
                }
            }
            return kept;
        }
        seat.keep();
        self.launch(channel, ready);
        kept
    }

    async fn keep(&self, channel: &Channel, row: &VodRow, once: Option<Once<VodView>>) -> Result<Outcome<VodView>, Error> {
        let view = VodView::from(channel);
        let mut tx = self.rooms.store().write().await?;
        if let Some(answer) = replayed(tx.connection(), once.as_ref()).await? {
            return Ok(Outcome::Replayed(answer));
        }
        tx.add_vod_stream(row).await?;
        keep(&mut tx, once.as_ref(), &view).await?;
        tx.commit().await?;
        Ok(Outcome::Done(view))
    }

    async fn first_start(&self, channel: &Channel) -> Result<Ready, Error> {
        let started = tokio::select! {
            started = tokio::time::timeout(START, self.prepare(channel)) => started,
            () = self.stop.cancelled() => {
                let refusal = Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "shutting-down", "the server is shutting down");
                return Err(refusal.into());
            }
        };
        let late = || {
            let why = channel.source_trouble().map(|why| format!(": {why}")).unwrap_or_default();
            Failure::Unavailable { reason: format!("the file could not be opened within {} s{why}", START.as_secs()) }
        };
        let ready = started.unwrap_or_else(|_| Err(late()));
        ready.map_err(|failure| {
            tracing::info!(stream = channel.name, reason = %failure, "a recorded file can't be played");
            failure.refusal().into()
        })
    }

    /// Streams that are being played, oldest first.
    pub fn playing(&self, filter: VodFilter<'_>) -> Vec<Arc<Channel>> {
        let is_meant = |channel: &Arc<Channel>| {
            let first = channel.spec.items.first().map(|item| item.uri.as_str());
            filter.app.is_none_or(|app| channel.app_id == *app)
                && filter.name.is_none_or(|name| channel.name == name)
                && filter.uri.is_none_or(|uri| first == Some(uri))
                && (channel.state().is_on() || channel.state() == State::Starting)
        };
        let mut found: Vec<_> = self.channels.lock().values().filter(|channel| is_meant(channel)).cloned().collect();
        // One that is still being opened is none yet.
        found.retain(|channel| {
            let progress = channel.progress();
            progress.has_audio || progress.has_video
        });
        found.sort_by(|one, other| one.id.cmp(&other.id));
        found
    }

    /// Ends streams, and waits until they are over.
    pub async fn terminate(&self, channels: &[Arc<Channel>], reason: &str) {
        for channel in channels {
            channel.end(reason);
        }
        let all = async {
            for channel in channels {
                channel.is_over().await;
            }
        };
        if tokio::time::timeout(END, all).await.is_err() {
            tracing::warn!("some streams of recorded files did not end in time");
        }
    }

    /// The App that a call of the native API is about.
    pub async fn app_for(&self, actor: &Actor, named: Option<&str>) -> Result<App, Error> {
        self.rooms.app_for(&mut *self.rooms.store().read().await?, actor, named).await
    }

    /// Streams that the caller may see, newest first, with those that have been over for not too long.
    pub async fn list(&self, actor: &Actor, app: Option<&str>, page: Page<'_>) -> Result<Vec<VodView>, Error> {
        let mut reading = self.rooms.store().read().await?;
        let app = match (actor, app) {
            (Actor::Operator, None) => None,
            (actor, named) => Some(self.rooms.app_for(&mut reading, actor, named).await?.id),
        };
        let rows = Store::vod_streams(&mut reading, app.as_ref(), page).await?;
        let mut views = rows.into_iter().map(|row| self.view(row)).collect::<Result<Vec<_>, _>>()?;
        {
            let channels = self.channels.lock();
            let configured = channels.values().filter(|channel| channel.is_configured);
            let configured = configured.filter(|channel| app.as_ref().is_none_or(|app| channel.app_id == *app));
            let configured = configured.filter(|channel| page.after.is_none_or(|after| channel.id.as_str() < after));
            views.extend(configured.map(|channel| VodView::from(&**channel)));
        }
        views.sort_by(|one, other| other.id.cmp(&one.id));
        views.truncate(usize::try_from(page.limit).unwrap_or(usize::MAX));
        Ok(views)
    }

    fn by_id(&self, id: &str) -> Option<Arc<Channel>> {
        self.channels.lock().values().find(|channel| channel.id == id).cloned()
    }

    fn view(&self, row: VodRow) -> Result<VodView, Error> {
        if let Some(channel) = self.by_id(&row.id) {
            return Ok(VodView::from(&*channel));
        }
        let spec = serde_json::from_str(&row.spec);
        let spec = spec.map_err(|_| crate::store::StoreError::Corrupt { column: "spec", value: row.spec.clone() })?;
        Ok(VodView {
            id: row.id,
            app_id: row.app_id,
            name: row.name,
            spec: Arc::new(spec),
            is_configured: false,
            state: row.fate.into(),
            reason: row.reason,
            progress: None,
            created_at: row.created_at,
            updated_at: row.updated_at,
        })
    }

    pub async fn get(&self, actor: &Actor, id: &str) -> Result<VodView, Error> {
        let missing = || Error::NotFound { what: "stream of recorded files", id: id.chars().take(64).collect() };
        let sees = |app: &AppId| actor.app().is_none_or(|own| own.id == *app);
        let found = match self.by_id(id) {
            Some(channel) => Some(VodView::from(&*channel)),
            None => match Store::vod_stream(&mut *self.rooms.store().read().await?, id).await? {
                Some(row) => Some(self.view(row)?),
                None => None,
            },
        };
        found.filter(|view| sees(&view.app_id)).ok_or_else(missing)
    }

    /// Ends a stream, and forgets it.
    pub async fn delete(self: &Arc<Self>, actor: &Actor, id: &str) -> Result<(), Error> {
        let view = self.get(actor, id).await?;
        if view.is_configured {
            let reason = "this stream stands in the server's configuration: take it out of vod.channels".into();
            return Err(Error::Busy { code: "configured", reason });
        }
        let this = Arc::clone(self);
        self.rooms
            .run(async move {
                if let Some(channel) = this.by_id(&view.id) {
                    this.terminate(&[channel], "it was deleted").await;
                }
                let mut tx = this.rooms.store().write().await?;
                tx.delete_vod_stream(&view.id).await?;
                Ok(tx.commit().await?)
            })
            .await
    }

    /// Plays what was to be played when the server ended.
    pub(super) async fn restore(self: &Arc<Self>) -> anyhow::Result<()> {
        let rows = Store::kept_vod_streams(&mut *self.rooms.store().read().await?).await?;
        for row in rows {
            match serde_json::from_str::<Spec>(&row.spec) {
                Ok(spec) => {
                    let channel = Arc::new(Channel::new(&row, spec, false));
                    self.channels.lock().insert(channel.name.clone(), Arc::clone(&channel));
                    tracing::info!(stream = channel.name, "a stream of recorded files goes on after a restart");
                    self.launch(channel, None);
                }
                Err(error) => {
                    tracing::error!(stream = row.name, %error, "a stored stream can't be read: it is over");
                    let mut tx = self.rooms.store().write().await?;
                    tx.end_vod_stream(&row.id, VodFate::Failed, &format!("it can't be read: {error}"), now()).await?;
                    tx.commit().await?;
                }
            }
        }
        Ok(())
    }

    /// Adds the streams of the configuration.
    pub(super) async fn add_configured(self: &Arc<Self>) -> anyhow::Result<()> {
        if self.settings.channels.is_empty() {
            return Ok(());
        }
        let app = self.default_app().await.context("vod.channels belong to vod.app")?;
        for configured in &self.settings.channels {
            let now = now();
            let row = VodRow {
                id: new_id(),
                app_id: app.id.clone(),
                name: configured.name.clone(),
                spec: String::new(),
                fate: VodFate::Kept,
                reason: None,
                created_at: now,
                updated_at: now,
            };
            let channel = Arc::new(Channel::new(&row, configured.spec.clone(), true));
            let seat = self.reserve(&channel).with_context(|| format!("vod.channels: {}", configured.name))?;
            seat.keep();
            self.launch(channel, None);
        }
        Ok(())
    }
}

fn taken(name: &str) -> Error {
    let reason = format!("there is a stream with the name {name} already: end it first, or choose another name");
    Error::Taken { field: "name", reason }
}
