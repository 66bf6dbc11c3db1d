//! Which plugins there are and where they are bound; how both change while the server runs. The index is the truth: a change
//! is stored first, and then a snapshot of what is stored takes the place of the one before.

use crate::api::{CallLimits, Config, Inspection, Interface, PluginInfo, VersionInfo};
use crate::binding::{BUILT_IN, BindingChange, BindingInfo, NewBinding, StoredBinding, invalid};
use crate::chain::{Ground, Live, Missing, Snapshot};
use crate::decisions::{DecisionLog, unix_millis};
use crate::error::{BindError, OpenError, Rejected, RemoveError};
use crate::imports::KeyValue;
use crate::logbook::Logbook;
use crate::plugin::{Loaded, Plugin, check_kind, check_name, compile, digest, load};
use crate::sandbox::Sandbox;
use crate::shadow::Runner;
use crate::storage::{Entry, Index, Storage, StorageError};
use crate::{engine, imports, permits::Permits};
use arc_swap::ArcSwap;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::{Mutex, Semaphore};
use wasmtime::Engine;
use wasmtime::component::Linker;

/// The built-in plugins, compiled from `plugins/` by the build script.
const BUILT_INS: [(&str, &[u8]); Interface::BUILT_IN.len()] = [
    ("room-policy", include_bytes!(concat!(env!("OUT_DIR"), "/room-policy.wasm"))),
    ("output-mode", include_bytes!(concat!(env!("OUT_DIR"), "/output-mode.wasm"))),
    ("webhook", include_bytes!(concat!(env!("OUT_DIR"), "/webhook.wasm"))),
    ("local", include_bytes!(concat!(env!("OUT_DIR"), "/local.wasm"))),
    ("s3", include_bytes!(concat!(env!("OUT_DIR"), "/s3.wasm"))),
    ("spaces", include_bytes!(concat!(env!("OUT_DIR"), "/spaces.wasm"))),
];

/// Uploaded versions of a plugin that are kept; the oldest that no binding uses makes room.
const MAX_VERSIONS: usize = 10;
/// Bindings beside those of the built-in plugins.
const MAX_BINDINGS: usize = 256;
/// Digits of a digest that are enough to name a version, when they name only one.
const MIN_DIGITS: usize = 8;

/// Everything that the clones of [`crate::Plugins`] share.
pub(crate) struct Registry {
    pub(crate) permits: Permits,
    pub(crate) log: Option<DecisionLog>,
    snapshot: ArcSwap<Snapshot>,
    ground: Ground,
    loader: Loader,
    /// What is stored; held while that changes, so that changes come one after another.
    index: Mutex<Index>,
}

/// Makes plugins of bytes.
struct Loader {
    config: Config,
    linker: Linker<Sandbox>,
    storage: Option<Arc<Storage>>,
}

impl Loader {
    fn new(config: Config) -> Result<Loader, OpenError> {
        let engine = engine::engine(&config)?;
        let linker = imports::linker(&engine).map_err(|error| OpenError::Engine { reason: format!("{error:#}") })?;
        let storage = match &config.data_dir {
            Some(dir) => Some(Arc::new(Storage::open(dir, engine::compatibility(&engine))?)),
            None => None,
        };
        Ok(Loader { config, linker, storage })
    }

    /// Compiles a component, or takes it from the cache, and tries it.
    async fn load(&self, bytes: Bytes) -> Result<Loaded, Rejected> {
        check_kind(&bytes)?;
        let (digest, size) = (digest(&bytes), bytes.len());
        let (engine, storage) = (self.linker.engine().clone(), self.storage.clone());
        let of = digest.clone();
        let compiling = tokio::task::spawn_blocking(move || {
            if let Some(component) = storage.as_ref().and_then(|storage| storage.compiled_component(&engine, &of)) {
                return Ok(component);
            }
            let component = compile(&engine, &bytes)?;
            if let Some(storage) = storage {
                storage.write_compiled(&of, &component);
            }
            Ok(component)
        });
        let component = match compiling.await {
            Ok(compiled) => compiled?,
            Err(error) => {
                return Err(Rejected::Invalid { reason: format!("the compiler failed on it: {error}") });
            }
        };
        load(component, &self.linker, &self.config.limits, digest, size).await
    }
}

type Versions = BTreeMap<String, Vec<Arc<Plugin>>>;

/// A change that is to be stored and made.
struct Change {
    index: Index,
    upload: Option<(Bytes, Arc<Plugin>)>,
}

impl Registry {
    /// Loads the built-in plugins and those that were uploaded earlier.
    pub(crate) async fn open(config: Config, key_values: Arc<dyn KeyValue>) -> Result<Registry, OpenError> {
        let loader = Loader::new(config)?;
        let now = SystemTime::now();
        let mut plugins = Versions::new();
        for (name, bytes) in BUILT_INS {
            let failed = |source| OpenError::BuiltIn { name, source: Box::new(source) };
            let loaded = loader.load(Bytes::from_static(bytes)).await.map_err(failed)?;
            let plugin = Plugin::new(name, loaded, true, now, Arc::default()).map_err(failed)?;
            plugins.insert(name.to_owned(), vec![Arc::new(plugin)]);
        }
        let mut index = Index::default();
        if let Some(storage) = &loader.storage {
            index = storage.index()?;
            for (name, entry) in index.plugins.iter().flat_map(|(name, entries)| entries.iter().map(move |entry| (name, entry))) {
                let failed = |source| OpenError::Stored {
                    name: name.clone(),
                    digest: entry.digest.clone(),
                    index: storage.index_path(),
                    source: Box::new(source),
                };
                let bytes = storage.read_component(&entry.digest, loader.config.max_component_size).map_err(rejected);
                let loaded = loader.load(bytes.map_err(failed)?.into()).await.map_err(failed)?;
                let uploaded_at = SystemTime::UNIX_EPOCH + Duration::from_millis(entry.uploaded_at);
                let versions = plugins.entry(name.clone()).or_default();
                let plugin = Plugin::new(name, loaded, false, uploaded_at, logbook(versions)).map_err(failed)?;
                versions.push(Arc::new(plugin));
            }
        }
        index.complete(unix_millis(now));
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let ground = Ground {
            engine: loader.linker.engine().clone(),
            limits: loader.config.limits.clone(),
            granted: loader.config.granted.clone(),
            turns: Arc::new(Semaphore::new((cores / 2).max(1))),
            key_values,
            runner: Runner::default(),
        };
        let snapshot = Snapshot::new(&ground, plugins, &index.bindings, &Snapshot::default());
        let snapshot = snapshot.map_err(|Missing { binding, version }| {
            let index = loader.storage.as_ref().map(|storage| storage.index_path()).unwrap_or_default();
            OpenError::Binding { binding, version, index }
        })?;
        if let Some(storage) = &loader.storage {
            storage.prune(&used(&snapshot));
        }
        let limits = loader.config.decisions;
        let log = match &loader.config.data_dir {
            Some(dir) if limits.max_bytes > 0 => {
                let path = dir.join("decisions");
                let opened = DecisionLog::open(&path, limits);
                Some(opened.map_err(|error| OpenError::Decisions { path, reason: error.to_string() })?)
            }
            _ => None,
        };
        Ok(Registry {
            permits: Permits::new(loader.config.max_concurrent_calls, loader.config.max_waiting_calls),
            log,
            snapshot: ArcSwap::from_pointee(snapshot),
            ground,
            loader,
            index: Mutex::new(index),
        })
    }

    /// The plugins and bindings as they are now.
    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    pub(crate) fn list(&self) -> Vec<PluginInfo> {
        let snapshot = self.snapshot();
        snapshot.plugins.keys().filter_map(|name| shown(&snapshot, name)).map(|plugin| plugin.info()).collect()
    }

    pub(crate) fn get(&self, name: &str) -> Option<PluginInfo> {
        Some(shown(&self.snapshot(), name)?.info())
    }

    /// The versions of a plugin, the newest first; none when there is no such plugin.
    pub(crate) fn versions(&self, name: &str) -> Option<Vec<VersionInfo>> {
        let snapshot = self.snapshot();
        let versions = snapshot.plugins.get(name)?;
        Some(versions.iter().rev().map(|version| version_info(&snapshot, version)).collect())
    }

    pub(crate) fn logbook(&self, name: &str) -> Option<Arc<Logbook>> {
        Some(logbook(self.snapshot().plugins.get(name)?))
    }

    /// Checks, compiles and keeps a version without binding it.
    pub(crate) async fn deploy(&self, name: &str, component: Bytes) -> Result<VersionInfo, Rejected> {
        let mut index = self.index.lock().await;
        let digest = self.add(&mut index, name, component, false).await?;
        let snapshot = self.snapshot();
        let version = snapshot.version(name, &digest).ok_or_else(|| gone(&digest))?;
        Ok(version_info(&snapshot, version))
    }

    /// Keeps a version and makes it the active one of all bindings of its plugin; a plugin without any is bound to all Apps.
    pub(crate) async fn put(&self, name: &str, component: Bytes) -> Result<PluginInfo, Rejected> {
        let mut index = self.index.lock().await;
        let digest = self.add(&mut index, name, component, true).await?;
        let snapshot = self.snapshot();
        let version = snapshot.version(name, &digest).ok_or_else(|| gone(&digest))?;
        Ok(version.info())
    }

    async fn add(&self, index: &mut Index, name: &str, component: Bytes, activate: bool) -> Result<String, Rejected> {
        check_name(name)?;
        check_size(&self.loader.config, &component)?;
        let limit = self.loader.config.max_plugins;
        if index.plugins.len() >= limit && !index.plugins.contains_key(name) {
            return Err(Rejected::TooMany { limit });
        }
        let digest = digest(&component);
        let now = unix_millis(SystemTime::now());
        let mut change = Change { index: index.clone(), upload: None };
        let snapshot = self.snapshot();
        let plugin = match snapshot.version(name, &digest) {
            Some(known) => Arc::clone(known),
            None => {
                let loaded = self.loader.load(component.clone()).await?;
                // Milliseconds, as the index keeps it, so that a restart does not change it.
                let uploaded_at = SystemTime::UNIX_EPOCH + Duration::from_millis(now);
                let book = snapshot.plugins.get(name).map(|versions| logbook(versions)).unwrap_or_default();
                let plugin = Arc::new(Plugin::new(name, loaded, false, uploaded_at, book)?);
                let versions = change.index.plugins.entry(name.to_owned()).or_default();
                versions.push(Entry { digest: digest.clone(), uploaded_at: now });
                change.upload = Some((component, Arc::clone(&plugin)));
                plugin
            }
        };
        if activate {
            let mut bound = change.index.bindings.iter_mut().filter(|binding| binding.plugin == name).peekable();
            if bound.peek().is_none() {
                change.index.bind_plainly(name, &digest, now);
            } else {
                for binding in bound {
                    let refused = |(interface, _): (Interface, _)| Rejected::Binding {
                        binding: binding.id.clone(),
                        interface: interface.name(),
                    };
                    serves(&plugin, &binding.interfaces).map_err(refused)?;
                    binding.activate(digest.clone());
                }
            }
        }
        make_room(&mut change.index, name, &digest);
        if change.index != *index {
            self.commit(index, change).await.map_err(rejected)?;
            tracing::info!(plugin = name, digest, "plugin deployed");
        }
        Ok(digest)
    }

    /// Takes all uploaded versions of a plugin away, and the binding that [`Registry::put`] made; a built-in plugin's own binding
    /// goes back to the built-in version.
    pub(crate) async fn remove(&self, name: &str) -> Result<(), RemoveError> {
        let mut index = self.index.lock().await;
        let mut change = Change { index: index.clone(), upload: None };
        let built_in = Interface::built_in(name).is_some();
        if change.index.plugins.remove(name).is_none() {
            return Err(match built_in {
                true => RemoveError::BuiltIn { name: name.to_owned() },
                false => RemoveError::NotFound { name: name.chars().take(80).collect() },
            });
        }
        let bindings = &mut change.index.bindings;
        let uploaded = |version: &str| version != BUILT_IN;
        let in_use = |binding: &&StoredBinding| {
            let versions = [Some(&binding.active), binding.shadow.as_ref()];
            binding.plugin == name && !binding.implied && versions.into_iter().flatten().any(|version| uploaded(version))
        };
        let bound: Vec<String> = bindings.iter().filter(in_use).map(|binding| binding.id.clone()).collect();
        if !bound.is_empty() {
            return Err(RemoveError::Bound { name: name.to_owned(), bindings: bound });
        }
        bindings.retain(|binding| binding.plugin != name || built_in);
        for binding in bindings.iter_mut().filter(|binding| binding.plugin == name) {
            BUILT_IN.clone_into(&mut binding.active);
            (binding.previous, binding.shadow) = (None, None);
        }
        let stored = self.commit(&mut index, change).await;
        stored.map_err(|StorageError { path, reason }| RemoveError::Storage { path, reason })?;
        tracing::info!(plugin = name, "plugin removed");
        Ok(())
    }

    pub(crate) fn bindings(&self) -> Vec<BindingInfo> {
        let now = Instant::now();
        self.snapshot().bindings.iter().map(|live| live.info(now)).collect()
    }

    pub(crate) fn binding(&self, id: &str) -> Result<Arc<Live>, BindError> {
        self.snapshot().binding(id).cloned().ok_or_else(|| no_binding(id))
    }

    pub(crate) async fn bind(&self, new: NewBinding) -> Result<BindingInfo, BindError> {
        let mut index = self.index.lock().await;
        if index.bindings.len() >= MAX_BINDINGS + Interface::BUILT_IN.len() {
            return Err(BindError::TooMany { limit: MAX_BINDINGS });
        }
        let snapshot = self.snapshot();
        let name = &new.plugin;
        let versions = snapshot.plugins.get(name).ok_or_else(|| BindError::NoPlugin { name: name.chars().take(80).collect() })?;
        let (active, version) = match (&new.version, versions.last()) {
            (Some(version), _) => resolve(&snapshot, name, version)?,
            (None, Some(newest)) => (key(newest), newest),
            (None, None) => return Err(BindError::NoPlugin { name: name.clone() }),
        };
        check_serves(version, &new.interfaces)?;
        let mut changed = index.clone();
        let id = changed.new_binding_id(name);
        let binding = StoredBinding {
            interfaces: new.interfaces,
            app: new.app,
            room_type: new.room_type,
            position: new.position,
            grants: (&new.grants).into(),
            limits: new.limits,
            on_failure: new.on_failure,
            breaker: new.breaker,
            ..StoredBinding::plain(&id, name, &active, false, unix_millis(SystemTime::now()))
        };
        binding.check(self.limits())?;
        tracing::info!(binding = id, plugin = name, version = active, app = binding.app, "plugin bound");
        changed.bindings.push(binding);
        self.rebind(&mut index, changed, &id).await
    }

    pub(crate) async fn unbind(&self, id: &str) -> Result<(), BindError> {
        let mut index = self.index.lock().await;
        let mut changed = index.clone();
        let at = changed.bindings.iter().position(|binding| binding.id == id).ok_or_else(|| no_binding(id))?;
        if changed.bindings[at].is_built_in() {
            return Err(BindError::BuiltIn { id: id.to_owned() });
        }
        changed.bindings.remove(at);
        self.commit(&mut index, Change { index: changed, upload: None }).await.map_err(unstored)?;
        tracing::info!(binding = id, "binding removed");
        Ok(())
    }

    pub(crate) async fn change(&self, id: &str, change: BindingChange) -> Result<BindingInfo, BindError> {
        let limits = self.limits().clone();
        self.edit(id, move |snapshot, binding| {
            binding.change(change);
            for version in [Some(&binding.active), binding.shadow.as_ref()].into_iter().flatten() {
                if let Some(version) = snapshot.version(&binding.plugin, version) {
                    check_serves(version, &binding.interfaces)?;
                }
            }
            binding.check(&limits)
        })
        .await
    }

    pub(crate) async fn activate(&self, id: &str, version: &str) -> Result<BindingInfo, BindError> {
        self.edit(id, |snapshot, binding| {
            let (version, plugin) = resolve(snapshot, &binding.plugin, version)?;
            check_serves(plugin, &binding.interfaces)?;
            binding.activate(version);
            Ok(())
        })
        .await
    }

    pub(crate) async fn set_shadow(&self, id: &str, version: Option<&str>) -> Result<BindingInfo, BindError> {
        self.edit(id, |snapshot, binding| {
            let shadow = version.map(|version| {
                let (version, plugin) = resolve(snapshot, &binding.plugin, version)?;
                check_serves(plugin, &binding.interfaces)?;
                if version == binding.active {
                    return Err(invalid("digest", "this version is the active one: deploy another one to shadow it".to_owned()));
                }
                Ok(version)
            });
            binding.shadow = shadow.transpose()?;
            Ok(())
        })
        .await
    }

    pub(crate) async fn roll_back(&self, id: &str) -> Result<BindingInfo, BindError> {
        self.edit(id, |snapshot, binding| {
            let no_previous = || BindError::NoPrevious { id: binding.id.clone() };
            let previous = binding.previous.clone().ok_or_else(no_previous)?;
            let plugin = snapshot.version(&binding.plugin, &previous).ok_or_else(no_previous)?;
            check_serves(plugin, &binding.interfaces)?;
            binding.activate(previous);
            Ok(())
        })
        .await
    }

    async fn edit(
        &self,
        id: &str,
        edit: impl FnOnce(&Snapshot, &mut StoredBinding) -> Result<(), BindError>,
    ) -> Result<BindingInfo, BindError> {
        let mut index = self.index.lock().await;
        let mut changed = index.clone();
        let binding = changed.bindings.iter_mut().find(|binding| binding.id == id).ok_or_else(|| no_binding(id))?;
        edit(&self.snapshot(), binding)?;
        tracing::info!(binding = id, active = binding.active, shadow = binding.shadow, "binding changed");
        self.rebind(&mut index, changed, id).await
    }

    async fn rebind(&self, index: &mut Index, changed: Index, id: &str) -> Result<BindingInfo, BindError> {
        if changed != *index {
            self.commit(index, Change { index: changed, upload: None }).await.map_err(unstored)?;
        }
        Ok(self.binding(id)?.info(Instant::now()))
    }

    fn limits(&self) -> &CallLimits {
        &self.ground.limits
    }

    /// Stores a change and makes it.
    async fn commit(&self, index: &mut Index, change: Change) -> Result<(), StorageError> {
        let Change { index: changed, upload } = change;
        let before = self.snapshot();
        let uploaded = upload.as_ref().map(|(_, plugin)| Arc::clone(plugin));
        let plugins = kept(&before, &changed, uploaded.as_ref());
        let snapshot = Snapshot::new(&self.ground, plugins, &changed.bindings, &before);
        let snapshot = snapshot.map_err(|Missing { binding, version }| StorageError {
            path: self.loader.storage.as_ref().map(|storage| storage.index_path()).unwrap_or_default(),
            reason: format!("the binding {binding} would name the version {version}, which is not there"),
        })?;
        let used = used(&snapshot);
        let storage = self.loader.storage.clone();
        if let Some(storage) = storage.clone() {
            let stored = changed.clone();
            let write = move || {
                if let Some((bytes, plugin)) = upload {
                    storage.write_component(&plugin.identity.digest, &bytes)?;
                }
                storage.write_index(&stored)
            };
            blocking(write).await?;
        }
        *index = changed;
        self.snapshot.store(Arc::new(snapshot));
        if let Some(storage) = storage {
            blocking(move || storage.prune(&used)).await;
        }
        Ok(())
    }
}

/// The built-in versions and those of the index.
fn kept(before: &Snapshot, index: &Index, uploaded: Option<&Arc<Plugin>>) -> Versions {
    let mut plugins = Versions::new();
    for (name, versions) in &before.plugins {
        let built_in: Vec<_> = versions.iter().filter(|version| version.built_in).cloned().collect();
        if !built_in.is_empty() {
            plugins.insert(name.clone(), built_in);
        }
    }
    for (name, entries) in &index.plugins {
        let versions = entries.iter().filter_map(|entry| {
            let known = before.version(name, &entry.digest);
            known.or_else(|| uploaded.filter(|plugin| plugin.identity.digest == entry.digest)).cloned()
        });
        plugins.entry(name.clone()).or_default().extend(versions);
    }
    plugins
}

/// Forgets the oldest versions of a plugin that no binding uses, when it has too many.
fn make_room(index: &mut Index, name: &str, newest: &str) {
    let Some(versions) = index.plugins.get_mut(name) else { return };
    let in_use = |digest: &str| digest == newest || index.bindings.iter().any(|bound| bound.plugin == name && bound.uses(digest));
    while versions.len() > MAX_VERSIONS {
        let Some(oldest) = versions.iter().position(|entry| !in_use(&entry.digest)) else { return };
        versions.remove(oldest);
    }
}

/// The version that stands for a plugin: the active one of the binding that it has by itself, else of its first binding, else the
/// newest.
fn shown<'a>(snapshot: &'a Snapshot, name: &str) -> Option<&'a Arc<Plugin>> {
    let bound = || snapshot.bindings.iter().filter(|live| live.stored.plugin == name);
    let first = bound().find(|live| live.stored.implied).or_else(|| bound().next());
    first.map(|live| &live.plugin).or_else(|| snapshot.plugins.get(name)?.last())
}

fn version_info(snapshot: &Snapshot, version: &Arc<Plugin>) -> VersionInfo {
    let info = version.info();
    let ids = |is: &dyn Fn(&Live) -> bool| {
        let bindings = snapshot.bindings.iter().filter(|live| live.stored.plugin == info.name && is(live));
        bindings.map(|live| live.stored.id.clone()).collect()
    };
    let name = key(version);
    VersionInfo {
        active_in: ids(&|live| live.stored.active == name),
        shadow_in: ids(&|live| live.stored.shadow.as_ref() == Some(&name)),
        component: info.component,
        built_in: info.built_in,
        uploaded_at: info.loaded_at,
        counters: info.counters,
    }
}

/// How bindings name a version.
fn key(version: &Plugin) -> String {
    if version.built_in { BUILT_IN.to_owned() } else { version.identity.digest.clone() }
}

/// Finds a version by its digest, the beginning of its digest, or [`BUILT_IN`].
fn resolve<'a>(snapshot: &'a Snapshot, plugin: &str, version: &str) -> Result<(String, &'a Arc<Plugin>), BindError> {
    if let Some(found) = snapshot.version(plugin, version) {
        return Ok((key(found), found));
    }
    let versions = snapshot.plugins.get(plugin).map(Vec::as_slice).unwrap_or_default();
    let digits = version.strip_prefix("sha256:").unwrap_or(version);
    let fits = |found: &&Arc<Plugin>| found.identity.digest.strip_prefix("sha256:").is_some_and(|all| all.starts_with(digits));
    let mut found = versions.iter().filter(fits);
    match (found.next(), found.next()) {
        (Some(found), None) if digits.len() >= MIN_DIGITS => Ok((key(found), found)),
        _ => Err(BindError::NoVersion {
            plugin: plugin.to_owned(),
            version: version.chars().take(80).collect(),
            known: versions.iter().map(|version| key(version)).collect(),
        }),
    }
}

/// Whether a version may be asked for all of these interfaces; else the first that it can't, and what it can.
fn serves(version: &Plugin, interfaces: &[Interface]) -> Result<(), (Interface, Vec<&'static str>)> {
    let missing = interfaces.iter().find(|interface| !version.serves.contains(interface));
    missing.map_or(Ok(()), |missing| Err((*missing, version.serves.iter().map(|interface| interface.name()).collect())))
}

fn check_serves(version: &Plugin, interfaces: &[Interface]) -> Result<(), BindError> {
    serves(version, interfaces).map_err(|(missing, serves)| {
        let digest = &version.identity.digest;
        invalid(
            "interfaces",
            format!("the version {digest} can't be asked for {}, only for {}", missing.name(), serves.join(", ")),
        )
    })
}

fn logbook(versions: &[Arc<Plugin>]) -> Arc<Logbook> {
    versions.first().map(|version| Arc::clone(&version.identity.logbook)).unwrap_or_default()
}

fn no_binding(id: &str) -> BindError {
    BindError::NotFound { id: id.chars().take(80).collect() }
}

/// A version that was stored and is not there; the index is held, so it does not happen.
fn gone(digest: &str) -> Rejected {
    Rejected::Invalid { reason: format!("the version {digest} is gone") }
}

/// Loads a component as an upload would, in an engine of its own.
pub(crate) async fn check(config: &Config, component: Bytes) -> Result<Inspection, Rejected> {
    let config = Config { data_dir: None, max_concurrent_calls: 1, ..config.clone() };
    Ok(load_alone(&config, component).await?.0.inspection)
}

/// Loads a component as an upload would, outside of any registry. Also answers the engine that it was made with.
pub(crate) async fn load_alone(config: &Config, component: Bytes) -> Result<(Loaded, Engine), Rejected> {
    check_size(config, &component)?;
    let loader = Loader::new(config.clone()).map_err(|error| Rejected::Needs { reason: error.to_string() })?;
    let loaded = loader.load(component).await?;
    Ok((loaded, loader.linker.engine().clone()))
}

fn check_size(config: &Config, component: &[u8]) -> Result<(), Rejected> {
    let (size, limit) = (component.len(), config.max_component_size);
    if size > limit { Err(Rejected::TooLarge { size, limit }) } else { Ok(()) }
}

fn rejected(StorageError { path, reason }: StorageError) -> Rejected {
    Rejected::Storage { path, reason }
}

fn unstored(StorageError { path, reason }: StorageError) -> BindError {
    BindError::Storage { path, reason }
}

fn used(snapshot: &Snapshot) -> Vec<String> {
    snapshot.plugins.values().flatten().map(|plugin| plugin.identity.digest.clone()).collect()
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
