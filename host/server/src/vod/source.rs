//! Where the bytes of VOD files come from. A plugin says where a URI leads; the bytes are read here: from the media directory, from
//! HTTP servers and object stores by ranges, or from the plugin itself. What stores fail at passes or lasts: what passes is tried
//! again until it succeeds or the time for it is over.

mod answer;
mod cache;
mod credentials;
mod error;
mod file;
mod http;
mod net;
mod object;
mod own;
mod retry;
mod s3;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use flyloft_plugins::Plugins;
use flyloft_plugins::model::{Context, SourceError, SourcePlan, SourceRequest};
use flyloft_plugins::outbound::{self, Resolver, Rules, SystemResolver};
use parking_lot::Mutex;

use crate::config;
use answer::Version;
use cache::{BLOCK, Cache};
pub use credentials::grants;
use error::shown;
pub use error::{OpenError, ReadError};
use file::LocalFile;
use net::Net;
use object::{Object, Remote};
use retry::{Limits, Watch};
pub use retry::{State, Stats};

/// Bytes of a URI.
const MAX_URI: usize = 2048;
/// Bytes that may be asked for at a time.
pub const MAX_READ: u64 = 16 << 20;
/// How long one attempt may go without a byte.
const STALL: Duration = Duration::from_secs(10);

/// Opens sources. Cheap to clone; all clones share their connections and what they keep of objects.
#[derive(Clone)]
pub struct Sources(Arc<Shared>);

struct Shared {
    plugins: Plugins,
    media: Arc<Path>,
    keyring: credentials::Keyring,
    net: Net,
    cache: Arc<Cache>,
    limits: Limits,
    /// Those that are open, by where they are and which content they have.
    objects: Mutex<HashMap<(String, Version), Weak<Object>>>,
    ids: AtomicU64,
}

impl Sources {
    /// With the settings of `[vod]`. The media directory, where it is not set, is `media` in `data` and is made.
    ///
    /// # Errors
    /// When the directory can't be made, or a credential's secret can't be read.
    pub fn new(config: &config::Vod, data: &Path, plugins: Plugins) -> anyhow::Result<Self> {
        Self::with(config, data, plugins, Arc::new(SystemResolver), STALL)
    }

    fn with(
        config: &config::Vod,
        data: &Path,
        plugins: Plugins,
        resolver: Arc<dyn Resolver>,
        stall: Duration,
    ) -> anyhow::Result<Self> {
        let media = match config.media_dir.as_os_str().is_empty() {
            true => {
                let media: PathBuf = data.join("media");
                std::fs::create_dir_all(&media)
                    .with_context(|| format!("cannot make the media directory {}", media.display()))?;
                media
            }
            false => config.media_dir.clone(),
        };
        let rules = Rules::public().with_networks(&config.allow_networks);
        let rules = rules.and_then(|rules| rules.with_hosts(&credentials::addresses(config)));
        let rules = rules.map_err(|reason| anyhow::anyhow!("vod: {reason}"))?;
        Ok(Self(Arc::new(Shared {
            plugins,
            media: media.into(),
            keyring: credentials::Keyring::open(config)?,
            net: Net::new(outbound::Client::with(rules, resolver, None)),
            cache: Arc::new(Cache::new(config.cache_bytes)),
            limits: Limits { stall, give_up: Duration::from_millis(config.give_up_ms) },
            objects: Mutex::default(),
            ids: AtomicU64::default(),
        })))
    }

    /// Opens what a URI names. `shared` says whether it makes a live stream that many share (`vod-live:`).
    ///
    /// # Errors
    /// [`OpenError`]; a store that fails is tried again for some seconds.
    pub async fn open(&self, context: &Context, uri: &str, shared: bool) -> Result<Source, OpenError> {
        check(uri)?;
        let ask = SourceRequest { uri: uri.to_owned(), shared };
        let decided = self.0.plugins.open_source(context, &ask).await.map_err(|fault| OpenError::Unavailable {
            reason: format!("the plugin {} failed to say where {} is: {}", fault.plugin, shown(uri), fault.kind),
        })?;
        let plan = decided.answer.map_err(|error| match error {
            SourceError::NotMine => OpenError::Invalid {
                reason: format!(
                    "no plugin knows {}: write vod://film.mp4, vod-live://film.mp4 or vod://s3/bucket/film.mp4",
                    shown(uri)
                ),
            },
            SourceError::NotFound(_) => OpenError::NotFound { what: shown(uri) },
            SourceError::Denied(reason) => OpenError::Denied { reason: shown(&reason) },
            SourceError::Invalid(reason) => OpenError::Invalid { reason: shown(&reason) },
            SourceError::Unavailable(reason) => OpenError::Unavailable { reason: shown(&reason) },
        })?;
        self.read_by(plan, decided.plugin, context).await
    }

    /// Opens what a plugin's plan names.
    async fn read_by(&self, plan: SourcePlan, plugin: Arc<str>, context: &Context) -> Result<Source, OpenError> {
        // Of two Apps the same words can name different bytes where a plugin makes them itself.
        let identity = match &plan {
            SourcePlan::Own(_) => format!("{}\n{plugin}\n{plan:?}", context.app.id),
            _ => format!("{plan:?}"),
        };
        let net = || self.0.net.clone();
        let remote = match plan {
            SourcePlan::File(file) => {
                let file = LocalFile::open(Arc::clone(&self.0.media), file.path).await?;
                return Ok(Source(Kind::File(file, Arc::default())));
            }
            SourcePlan::Http(http) => Remote::Http(Box::new(http::HttpObject::new(net(), http)?)),
            SourcePlan::S3(object) => {
                let key = self.0.keyring.of(&object)?;
                Remote::S3(s3::StoredObject::new(net(), object, key.as_deref())?)
            }
            SourcePlan::Own(own) => Remote::Own(own::OwnObject::new(self.0.plugins.clone(), plugin, context.clone(), own)),
        };
        let watch = Watch::default();
        let version = remote.look(self.0.limits, &watch).await?;
        if version.size == 0 {
            return Err(OpenError::Invalid { reason: format!("{} is empty", remote.what()) });
        }
        Ok(Source(Kind::Object(self.0.object(identity, remote, version, watch), Mutex::default())))
    }
}

impl Shared {
    /// The object with this content, which may be open already.
    fn object(&self, identity: String, remote: Remote, version: Version, watch: Watch) -> Arc<Object> {
        let mut objects = self.objects.lock();
        objects.retain(|_, object| object.strong_count() > 0);
        let key = (identity, version);
        if let Some(object) = objects.get(&key).and_then(Weak::upgrade).filter(|object| !object.is_changed()) {
            return object;
        }
        let id = self.ids.fetch_add(1, Ordering::Relaxed);
        let object = Arc::new(Object::new(id, remote, key.1.clone(), Arc::clone(&self.cache), self.limits, watch));
        objects.insert(key, Arc::downgrade(&object));
        object
    }
}

/// What is looked at before a plugin is asked: it must not see what a user may have put into a URI to log in with.
fn check(uri: &str) -> Result<(), OpenError> {
    let invalid = |reason: &str| Err(OpenError::Invalid { reason: reason.to_owned() });
    if uri.len() > MAX_URI {
        return Err(OpenError::Invalid { reason: format!("the URI has {} bytes and may have {MAX_URI}", uri.len()) });
    }
    if uri.chars().any(char::is_control) {
        return invalid("the URI has a control character");
    }
    // What follows `vod://` itself is the name of a file, and may have an @.
    let own = uri.split_once("://").is_some_and(|(scheme, _)| matches!(scheme, "vod" | "vod-live"));
    let mut authorities = uri.split("://").skip(if own { 2 } else { 1 }).filter_map(|rest| rest.split('/').next());
    if authorities.any(|authority| authority.contains('@')) {
        return invalid("the URI has a user and a password: name credentials in vod.credentials instead");
    }
    Ok(())
}

/// An open source. Clones and others that opened the same object share what was read of it.
pub struct Source(Kind);

enum Kind {
    File(LocalFile, Arc<Watch>),
    /// With the block that was read last, so that reading on does not depend on what others do to the cache.
    Object(Arc<Object>, Mutex<Option<(u64, Bytes)>>),
}

impl Clone for Source {
    fn clone(&self) -> Self {
        Self(match &self.0 {
            Kind::File(file, watch) => Kind::File(file.clone(), Arc::clone(watch)),
            Kind::Object(object, _) => Kind::Object(Arc::clone(object), Mutex::default()),
        })
    }
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Source").field("what", &self.describe()).field("size", &self.size()).finish()
    }
}

impl Source {
    /// Bytes, as they were when it was opened.
    pub fn size(&self) -> u64 {
        match &self.0 {
            Kind::File(file, _) => file.size,
            Kind::Object(object, _) => object.size(),
        }
    }

    /// What it is, for people; without secrets.
    pub fn describe(&self) -> &str {
        match &self.0 {
            Kind::File(file, _) => file.what(),
            Kind::Object(object, _) => object.what(),
        }
    }

    /// Reads a range, or as much of it as lies in the file. It waits for as long as a store is tried again; [`Source::stats`] says so
    /// meanwhile.
    ///
    /// # Errors
    /// [`ReadError`]. After [`ReadError::Unavailable`] another call tries again.
    pub async fn read(&self, range: Range<u64>) -> Result<Bytes, ReadError> {
        let range = range.start..range.end.min(self.size());
        let length = range.end.saturating_sub(range.start);
        if length == 0 {
            return Ok(Bytes::new());
        }
        if length > MAX_READ {
            let reason = format!("{} bytes of {} were asked for, and {MAX_READ} can be at a time", length, self.describe());
            return Err(ReadError::Invalid { reason });
        }
        let (object, latest) = match &self.0 {
            Kind::File(file, watch) => {
                watch.requested();
                let bytes = file.read(range).await?;
                watch.received(bytes.len(), file.what());
                return Ok(bytes);
            }
            Kind::Object(object, latest) => (object, latest),
        };
        let (first, last) = (range.start / BLOCK, (range.end - 1) / BLOCK);
        let kept = latest.lock().clone().filter(|(number, _)| *number == first);
        let mut blocks = Vec::new();
        let mut next = first;
        if let Some((_, block)) = kept {
            blocks.push(block);
            next += 1;
        }
        if next <= last {
            blocks.extend(object.blocks(next, last).await?);
            *latest.lock() = blocks.last().map(|block| (last, block.clone()));
        }
        // It fits: it is no more than MAX_READ.
        Ok(object::cut(&blocks, range.start - first * BLOCK, usize::try_from(length).unwrap_or(usize::MAX)))
    }

    /// How reading went so far, for all who read the same object.
    pub fn stats(&self) -> Stats {
        match &self.0 {
            Kind::File(_, watch) => watch.stats(),
            Kind::Object(object, _) => object.watch.stats(),
        }
    }
}
