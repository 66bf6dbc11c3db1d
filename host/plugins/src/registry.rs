//! Which plugins there are and in which order they are asked; how they come and go while the server runs.

use crate::api::{Config, Inspection, Interface, PluginInfo};
use crate::call::Caller;
use crate::error::{OpenError, Rejected, RemoveError};
use crate::grants::Grants;
use crate::imports::KeyValue;
use crate::plugin::{Loaded, Plugin, check_kind, check_name, compile, digest, load};
use crate::sandbox::Sandbox;
use crate::storage::{Entry, Index, Storage, StorageError};
use crate::{engine, imports, permits::Permits};
use arc_swap::ArcSwap;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::{Mutex, Semaphore};
use wasmtime::Engine;
use wasmtime::component::Linker;

/// The built-in plugins, compiled from `plugins/` by the build script.
const BUILT_IN: [(Interface, &[u8]); 3] = [
    (Interface::RoomPolicy, include_bytes!(concat!(env!("OUT_DIR"), "/room-policy.wasm"))),
    (Interface::OutputMode, include_bytes!(concat!(env!("OUT_DIR"), "/output-mode.wasm"))),
    (Interface::Webhook, include_bytes!(concat!(env!("OUT_DIR"), "/webhook.wasm"))),
];

/// A snapshot of the plugins. A call keeps the one that it began with.
pub(crate) struct Chains {
    pub(crate) policy: Vec<Arc<Plugin>>,
    pub(crate) output_mode: Vec<Arc<Plugin>>,
    pub(crate) webhook: Vec<Arc<Plugin>>,
    pub(crate) vod_source: Vec<Arc<Plugin>>,
    all: BTreeMap<String, Arc<Plugin>>,
}

impl Chains {
    /// In the order of their names, and the built-in plugin or its replacement last.
    fn new(all: BTreeMap<String, Arc<Plugin>>) -> Chains {
        let chain = |interface: Interface| {
            let serving = all.values().filter(|plugin| plugin.serves.contains(&interface));
            let (last, first): (Vec<_>, Vec<_>) = serving.cloned().partition(|plugin| plugin.identity.name == interface.name());
            first.into_iter().chain(last).collect()
        };
        Chains {
            policy: chain(Interface::RoomPolicy),
            output_mode: chain(Interface::OutputMode),
            webhook: chain(Interface::Webhook),
            vod_source: chain(Interface::VodSource),
            all,
        }
    }
}

/// Everything that the clones of [`crate::Plugins`] share.
pub(crate) struct Registry {
    pub(crate) caller: Caller,
    pub(crate) permits: Permits,
    chains: ArcSwap<Chains>,
    built_in: Vec<Arc<Plugin>>,
    loader: Loader,
    /// What is uploaded; held while that changes, so that changes come one after another.
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

impl Registry {
    /// Loads the built-in plugins and those that were uploaded earlier.
    pub(crate) async fn open(config: Config, key_values: Arc<dyn KeyValue>) -> Result<Registry, OpenError> {
        let loader = Loader::new(config)?;
        let now = SystemTime::now();
        let mut built_in = Vec::new();
        for (interface, bytes) in BUILT_IN {
            let name = interface.name();
            let failed = |source| OpenError::BuiltIn { name, source: Box::new(source) };
            let loaded = loader.load(Bytes::from_static(bytes)).await.map_err(failed)?;
            built_in.push(Arc::new(Plugin::new(name, loaded, Arc::default(), true, now).map_err(failed)?));
        }
        let mut all: BTreeMap<String, Arc<Plugin>> =
            built_in.iter().map(|plugin| (plugin.identity.name.clone(), Arc::clone(plugin))).collect();
        let mut index = Index::default();
        if let Some(storage) = &loader.storage {
            index = storage.index()?;
            for (name, entry) in &index.plugins {
                let failed = |source| OpenError::Stored {
                    name: name.clone(),
                    digest: entry.digest.clone(),
                    index: storage.index_path(),
                    source: Box::new(source),
                };
                let bytes = storage.read_component(&entry.digest, loader.config.max_component_size).map_err(rejected);
                let loaded = loader.load(bytes.map_err(failed)?.into()).await.map_err(failed)?;
                let uploaded_at = SystemTime::UNIX_EPOCH + Duration::from_millis(entry.uploaded_at);
                let plugin = Plugin::new(name, loaded, Arc::default(), false, uploaded_at).map_err(failed)?;
                all.insert(name.clone(), Arc::new(plugin));
            }
            storage.prune(&used(&all, &built_in));
        }
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Ok(Registry {
            caller: Caller {
                engine: loader.linker.engine().clone(),
                limits: loader.config.limits.clone(),
                turns: Arc::new(Semaphore::new((cores / 2).max(1))),
                key_values,
            },
            permits: Permits::new(loader.config.max_concurrent_calls, loader.config.max_waiting_calls),
            chains: ArcSwap::from_pointee(Chains::new(all)),
            built_in,
            loader,
            index: Mutex::new(index),
        })
    }

    /// The plugins as they are now.
    pub(crate) fn chains(&self) -> Arc<Chains> {
        self.chains.load_full()
    }

    pub(crate) fn list(&self) -> Vec<PluginInfo> {
        self.chains.load().all.values().map(|plugin| plugin.info()).collect()
    }

    pub(crate) fn get(&self, name: &str) -> Option<PluginInfo> {
        self.chains.load().all.get(name).map(|plugin| plugin.info())
    }

    /// Adds or replaces a plugin.
    pub(crate) async fn put(&self, name: &str, component: Bytes, grants: Grants) -> Result<PluginInfo, Rejected> {
        check_name(name)?;
        check_size(&self.loader.config, &component)?;
        let mut index = self.index.lock().await;
        let limit = self.loader.config.max_plugins;
        if index.plugins.len() >= limit && !index.plugins.contains_key(name) {
            return Err(Rejected::TooMany { limit });
        }
        let loaded = self.loader.load(component.clone()).await?;
        // Milliseconds, as the index keeps it, so that a restart does not change it.
        let uploaded_at = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis();
        let uploaded_at = u64::try_from(uploaded_at).unwrap_or(u64::MAX);
        let loaded_at = SystemTime::UNIX_EPOCH + Duration::from_millis(uploaded_at);
        let plugin = Arc::new(Plugin::new(name, loaded, Arc::new(grants), false, loaded_at)?);
        let digest = plugin.identity.digest.clone();
        let mut changed = index.clone();
        changed.plugins.insert(name.to_owned(), Entry { digest: digest.clone(), uploaded_at });
        self.store(Some((digest, component)), &changed).await.map_err(rejected)?;
        *index = changed;
        let info = plugin.info();
        let mut all = self.chains().all.clone();
        all.insert(name.to_owned(), plugin);
        self.swap(all).await;
        tracing::info!(plugin = name, digest = info.component.digest, "plugin uploaded");
        Ok(info)
    }

    /// Takes an uploaded plugin away.
    pub(crate) async fn remove(&self, name: &str) -> Result<(), RemoveError> {
        let mut index = self.index.lock().await;
        let built_in = self.built_in.iter().find(|plugin| plugin.identity.name == name);
        let mut changed = index.clone();
        if changed.plugins.remove(name).is_none() {
            return Err(match built_in {
                Some(_) => RemoveError::BuiltIn { name: name.to_owned() },
                None => RemoveError::NotFound { name: name.chars().take(80).collect() },
            });
        }
        let stored = self.store(None, &changed).await;
        stored.map_err(|StorageError { path, reason }| RemoveError::Storage { path, reason })?;
        *index = changed;
        let mut all = self.chains().all.clone();
        match built_in {
            Some(plugin) => all.insert(name.to_owned(), Arc::clone(plugin)),
            None => all.remove(name),
        };
        self.swap(all).await;
        tracing::info!(plugin = name, "plugin removed");
        Ok(())
    }

    async fn store(&self, component: Option<(String, Bytes)>, index: &Index) -> Result<(), StorageError> {
        let Some(storage) = self.loader.storage.clone() else {
            return Ok(());
        };
        let index = index.clone();
        blocking(move || {
            if let Some((digest, bytes)) = component {
                storage.write_component(&digest, &bytes)?;
            }
            storage.write_index(&index)
        })
        .await
    }

    async fn swap(&self, all: BTreeMap<String, Arc<Plugin>>) {
        let used = used(&all, &self.built_in);
        self.chains.store(Arc::new(Chains::new(all)));
        if let Some(storage) = self.loader.storage.clone() {
            blocking(move || storage.prune(&used)).await;
        }
    }
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

fn used(all: &BTreeMap<String, Arc<Plugin>>, built_in: &[Arc<Plugin>]) -> Vec<String> {
    all.values().chain(built_in).map(|plugin| plugin.identity.digest.clone()).collect()
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
