//! Snapshots: all plugins and bindings at one moment, with the chain of each App and room type made ready. A call keeps the
//! snapshot that it began with, so that a change never reaches into it.

use crate::api::{CallLimits, Interface};
use crate::binding::{BindingInfo, OnFailure, StoredBinding};
use crate::breaker::Breaker;
use crate::call::Caller;
use crate::grants::Grants;
use crate::model::RoomType;
use crate::plugin::Plugin;
use crate::shadow::{Runner, Shadow};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::Semaphore;
use wasmtime::Engine;

/// A binding that can be asked.
pub(crate) struct Live {
    pub(crate) stored: StoredBinding,
    pub(crate) interfaces: Vec<Interface>,
    pub(crate) plugin: Arc<Plugin>,
    pub(crate) grants: Arc<Grants>,
    pub(crate) caller: Caller,
    pub(crate) breaker: Arc<Breaker>,
    pub(crate) shadow: Option<Arc<Shadow>>,
}

impl Live {
    /// What a failure means for a question of `interface`.
    pub(crate) fn on_failure(&self, interface: Interface) -> OnFailure {
        self.stored.on_failure.unwrap_or_else(|| OnFailure::default_of(interface))
    }

    pub(crate) fn info(&self, now: Instant) -> BindingInfo {
        let stored = &self.stored;
        BindingInfo {
            id: stored.id.clone(),
            plugin: stored.plugin.clone(),
            interfaces: self.interfaces.clone(),
            app: stored.app.clone(),
            room_type: stored.room_type,
            position: stored.position,
            active: self.plugin.identity.digest.clone(),
            active_built_in: self.plugin.built_in,
            previous: stored.previous.clone(),
            shadow: self.shadow.as_ref().map(|shadow| shadow.plugin.identity.digest.clone()),
            grants: (*self.grants).clone(),
            limits: stored.limits,
            call_limits: self.caller.limits.clone(),
            on_failure: stored.on_failure,
            breaker_settings: stored.breaker,
            breaker: self.breaker.info(now),
            built_in: stored.is_built_in(),
            created_at: stored.created_at,
        }
    }
}

/// Bindings in the order in which they are asked.
pub(crate) type Chain = Vec<Arc<Live>>;

/// Chains by the type of the room that a call is about: none, and each type.
#[derive(Default)]
struct ByRoom([Chain; 3]);

impl ByRoom {
    const KINDS: [Option<RoomType>; 3] = [None, Some(RoomType::BroadcastRtmp), Some(RoomType::VideoConference)];

    fn new(bindings: &[&Arc<Live>]) -> ByRoom {
        ByRoom(Self::KINDS.map(|kind| {
            let serves = |binding: &&&Arc<Live>| binding.stored.room_type.is_none_or(|wanted| Some(wanted) == kind);
            bindings.iter().filter(serves).map(|binding| Arc::clone(binding)).collect()
        }))
    }

    fn of(&self, kind: Option<RoomType>) -> &[Arc<Live>] {
        let [none, broadcast, conference] = &self.0;
        match kind {
            None => none,
            Some(RoomType::BroadcastRtmp) => broadcast,
            Some(RoomType::VideoConference) => conference,
        }
    }
}

/// The chains of one interface.
#[derive(Default)]
struct Chains {
    /// Of Apps without bindings of their own.
    general: ByRoom,
    apps: HashMap<String, ByRoom>,
}

/// All plugins and bindings at one moment.
#[derive(Default)]
pub(crate) struct Snapshot {
    /// All versions by the plugin's name, the built-in one first, then in the order of their upload.
    pub(crate) plugins: BTreeMap<String, Vec<Arc<Plugin>>>,
    /// In the order in which they are asked.
    pub(crate) bindings: Chain,
    chains: HashMap<Interface, Chains>,
}

/// What bindings need of the runtime.
pub(crate) struct Ground {
    pub(crate) engine: Engine,
    pub(crate) limits: CallLimits,
    pub(crate) turns: Arc<Semaphore>,
    pub(crate) runner: Runner,
}

/// A version that a binding names and that its plugin does not have.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Missing {
    pub(crate) binding: String,
    pub(crate) version: String,
}

impl Snapshot {
    /// The snapshot for these plugins and bindings. Breakers and shadow versions that nothing has changed for go on from `before`.
    pub(crate) fn new(
        ground: &Ground,
        plugins: BTreeMap<String, Vec<Arc<Plugin>>>,
        stored: &[StoredBinding],
        before: &Snapshot,
    ) -> Result<Snapshot, Missing> {
        let mut snapshot = Snapshot { plugins, ..Snapshot::default() };
        for stored in stored {
            let live = snapshot.live(ground, stored, before.binding(&stored.id))?;
            snapshot.bindings.push(Arc::new(live));
        }
        let place =
            |live: &Live| (live.stored.is_built_in(), live.stored.position, live.stored.plugin.clone(), live.stored.created_at);
        snapshot.bindings.sort_by_key(|live| place(live));
        for interface in Interface::ALL {
            let serving: Vec<_> = snapshot.bindings.iter().filter(|live| live.interfaces.contains(&interface)).collect();
            let chain = |app: Option<&str>| {
                let in_scope = |live: &&Arc<Live>| live.stored.app.is_none() || live.stored.app.as_deref() == app;
                ByRoom::new(&serving.iter().copied().filter(in_scope).collect::<Vec<_>>())
            };
            let apps = serving.iter().filter_map(|live| live.stored.app.as_deref());
            let apps = apps.map(|app| (app.to_owned(), chain(Some(app)))).collect();
            let chains = Chains { general: chain(None), apps };
            snapshot.chains.insert(interface, chains);
        }
        Ok(snapshot)
    }

    fn live(&self, ground: &Ground, stored: &StoredBinding, before: Option<&Arc<Live>>) -> Result<Live, Missing> {
        let version = |version: &str| {
            let missing = || Missing { binding: stored.id.clone(), version: version.to_owned() };
            self.version(&stored.plugin, version).cloned().ok_or_else(missing)
        };
        let plugin = version(&stored.active)?;
        let grants: Arc<Grants> = Arc::new((&stored.grants).into());
        let limits = stored.limits.apply(&ground.limits);
        let caller =
            |turns: &Arc<Semaphore>| Caller { engine: ground.engine.clone(), limits: limits.clone(), turns: Arc::clone(turns) };
        let before = before.filter(|before| Arc::ptr_eq(&before.plugin, &plugin));
        // A new version or new settings start with a clean slate: it may be what was wrong.
        let breaker = before.filter(|before| unchanged(&before.stored, stored));
        let breaker = breaker.map_or_else(|| Arc::new(Breaker::new(stored.breaker)), |before| Arc::clone(&before.breaker));
        let shadow = match &stored.shadow {
            None => None,
            Some(digest) => {
                let kept = before.filter(|before| unchanged(&before.stored, stored) && before.stored.shadow == stored.shadow);
                match kept.and_then(|before| before.shadow.clone()) {
                    Some(shadow) => Some(shadow),
                    None => {
                        let plugin_apart = version(digest)?.apart();
                        // Turns of its own, so that a slow shadow version takes none from live calls.
                        let caller = caller(&Arc::new(Semaphore::new(1)));
                        let active = &plugin.identity.digest;
                        Some(Arc::new(Shadow::new(plugin_apart, active, caller, Arc::clone(&grants), ground.runner.clone())))
                    }
                }
            }
        };
        let interfaces = match stored.interfaces.as_slice() {
            [] => plugin.serves.clone(),
            some => some.to_vec(),
        };
        Ok(Live { stored: stored.clone(), interfaces, caller: caller(&ground.turns), plugin, grants, breaker, shadow })
    }

    /// A version by its digest, or [`crate::binding::BUILT_IN`].
    pub(crate) fn version(&self, plugin: &str, version: &str) -> Option<&Arc<Plugin>> {
        let built_in = version == crate::binding::BUILT_IN;
        let is =
            |found: &&Arc<Plugin>| if built_in { found.built_in } else { !found.built_in && found.identity.digest == version };
        self.plugins.get(plugin)?.iter().find(is)
    }

    pub(crate) fn binding(&self, id: &str) -> Option<&Arc<Live>> {
        self.bindings.iter().find(|live| live.stored.id == id)
    }

    /// The bindings to be asked about something.
    pub(crate) fn chain(&self, interface: Interface, app: &str, room: Option<RoomType>) -> &[Arc<Live>] {
        let Some(chains) = self.chains.get(&interface) else { return &[] };
        let own = if chains.apps.is_empty() { None } else { chains.apps.get(app) };
        own.unwrap_or(&chains.general).of(room)
    }
}

/// Whether a binding's calls are made as before.
fn unchanged(before: &StoredBinding, after: &StoredBinding) -> bool {
    before.active == after.active
        && before.grants == after.grants
        && before.limits == after.limits
        && before.breaker == after.breaker
}
