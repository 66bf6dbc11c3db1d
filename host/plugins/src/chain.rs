//! Snapshots: all plugins and bindings at one moment, with the chain of each App and room type made ready. A call keeps the
//! snapshot that it began with, so that a change never reaches into it.

use crate::api::{CallLimits, Interface};
use crate::binding::{BindingInfo, OnFailure, StoredBinding};
use crate::breaker::Breaker;
use crate::call::Caller;
use crate::grants::Grants;
use crate::imports::{KeyValue, MemoryKeyValue};
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

/// The chains of one interface: which bindings are asked about an App and a room type, in their order.
struct Chains<T> {
    /// For Apps without bindings of their own.
    general: ByRoom<T>,
    apps: HashMap<String, ByRoom<T>>,
}

/// For calls about no room, and for each room type.
struct ByRoom<T> {
    none: Vec<T>,
    broadcast: Vec<T>,
    conference: Vec<T>,
}

impl<T: Clone> Chains<T> {
    /// The chains of bindings that are in the order in which they are asked.
    fn new(ordered: &[T], stored: impl Fn(&T) -> &StoredBinding) -> Chains<T> {
        let chain = |app: Option<&str>, room: Option<RoomType>| -> Vec<T> {
            ordered.iter().filter(|binding| stored(binding).concerns(app, room)).cloned().collect()
        };
        let by_room = |app: Option<&str>| ByRoom {
            none: chain(app, None),
            broadcast: chain(app, Some(RoomType::BroadcastRtmp)),
            conference: chain(app, Some(RoomType::VideoConference)),
        };
        let apps = ordered.iter().filter_map(|binding| stored(binding).app.as_deref());
        let apps = apps.map(|app| (app.to_owned(), by_room(Some(app)))).collect();
        Chains { general: by_room(None), apps }
    }

    fn of(&self, app: &str, room: Option<RoomType>) -> &[T] {
        let own = if self.apps.is_empty() { None } else { self.apps.get(app) };
        let chains = own.unwrap_or(&self.general);
        match room {
            None => &chains.none,
            Some(RoomType::BroadcastRtmp) => &chains.broadcast,
            Some(RoomType::VideoConference) => &chains.conference,
        }
    }
}

/// All plugins and bindings at one moment.
#[derive(Default)]
pub(crate) struct Snapshot {
    /// All versions by the plugin's name, the built-in one first, then in the order of their upload.
    pub(crate) plugins: BTreeMap<String, Vec<Arc<Plugin>>>,
    /// In the order in which they are asked.
    pub(crate) bindings: Vec<Arc<Live>>,
    chains: HashMap<Interface, Chains<Arc<Live>>>,
}

/// What bindings need of the runtime.
pub(crate) struct Ground {
    pub(crate) engine: Engine,
    pub(crate) limits: CallLimits,
    /// What the configuration grants built-in plugins, by their names.
    pub(crate) granted: BTreeMap<String, Grants>,
    pub(crate) turns: Arc<Semaphore>,
    pub(crate) key_values: Arc<dyn KeyValue>,
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
        snapshot.bindings.sort_by(|one, other| one.stored.place().cmp(&other.stored.place()));
        for interface in Interface::ALL {
            let serving = snapshot.bindings.iter().filter(|live| live.interfaces.contains(&interface));
            let serving: Vec<_> = serving.cloned().collect();
            snapshot.chains.insert(interface, Chains::new(&serving, |live| &live.stored));
        }
        Ok(snapshot)
    }

    fn live(&self, ground: &Ground, stored: &StoredBinding, before: Option<&Arc<Live>>) -> Result<Live, Missing> {
        let version = |version: &str| {
            let missing = || Missing { binding: stored.id.clone(), version: version.to_owned() };
            self.version(&stored.plugin, version).cloned().ok_or_else(missing)
        };
        let plugin = version(&stored.active)?;
        let mut grants = Grants::from(&stored.grants);
        if let Some(more) = ground.granted.get(&stored.plugin).filter(|_| stored.is_built_in()) {
            grants.extend(more);
        }
        grants.key_value_namespace = stored.id.clone();
        let grants = Arc::new(grants);
        let limits = stored.limits.apply(&ground.limits);
        let caller = |turns: &Arc<Semaphore>, key_values| Caller {
            engine: ground.engine.clone(),
            limits: limits.clone(),
            turns: Arc::clone(turns),
            key_values,
        };
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
                        // Nor does it write what the active version reads.
                        let caller = caller(&Arc::new(Semaphore::new(1)), Arc::new(MemoryKeyValue::default()));
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
        Ok(Live {
            stored: stored.clone(),
            interfaces,
            caller: caller(&ground.turns, Arc::clone(&ground.key_values)),
            plugin,
            grants,
            breaker,
            shadow,
        })
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
        self.chains.get(&interface).map_or(&[], |chains| chains.of(app, room))
    }
}

/// Whether a binding's calls are made as before.
fn unchanged(before: &StoredBinding, after: &StoredBinding) -> bool {
    before.active == after.active
        && before.grants == after.grants
        && before.limits == after.limits
        && before.breaker == after.breaker
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ROOMS: [Option<RoomType>; 3] = [None, Some(RoomType::BroadcastRtmp), Some(RoomType::VideoConference)];

    fn binding() -> impl Strategy<Value = StoredBinding> {
        let app = prop_oneof![Just(None), "[ab]".prop_map(Some)];
        let name = prop_oneof!["[xyz]", Just("room-policy".to_owned())];
        (name, app, 0_usize..3, -2_i32..3, any::<bool>(), 0_u64..3).prop_map(|(plugin, app, room, position, own, created_at)| {
            let id = if own { plugin.clone() } else { format!("{plugin}-1") };
            let plain = StoredBinding::plain(&id, &plugin, "sha256:1", false, created_at);
            StoredBinding { app, room_type: ROOMS[room], position, ..plain }
        })
    }

    proptest! {
        #[test]
        fn a_call_gets_the_bindings_of_its_app_and_room_in_their_order(mut all in proptest::collection::vec(binding(), 0..12), app in "[abc]", room in 0_usize..3) {
            all.sort_by(|one, other| one.place().cmp(&other.place()));
            let chains = Chains::new(&all, |binding| binding);
            let chain = chains.of(&app, ROOMS[room]);
            // Nothing that concerns the call is left out, and nothing else is in.
            let mine = |binding: &&StoredBinding| {
                (binding.app.is_none() || binding.app.as_ref() == Some(&app)) && (binding.room_type.is_none() || binding.room_type == ROOMS[room])
            };
            let expected: Vec<_> = all.iter().filter(mine).cloned().collect();
            prop_assert_eq!(chain, expected);
            for pair in chain.windows(2) {
                let last = |binding: &StoredBinding| binding.id == "room-policy";
                prop_assert!(!last(&pair[0]) || last(&pair[1]), "the built-in ones are last");
                if last(&pair[0]) == last(&pair[1]) {
                    prop_assert!(pair[0].position <= pair[1].position);
                    prop_assert!(pair[0].position < pair[1].position || pair[0].plugin <= pair[1].plugin);
                }
            }
        }
    }
}
