//! What was read of objects in stores, in blocks, for all who read them. Bounded in all, with a half for one object at most; who was
//! longest not wanted goes first. A block that is on its way is waited for and not fetched twice.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::error::ReadError;

/// Bytes of a block; the last one of an object is shorter.
pub(super) const BLOCK: u64 = 256 * 1024;

/// None while it is on its way.
pub(super) type Arrival = Option<Result<Bytes, ReadError>>;
pub(super) type Promise = Arc<watch::Sender<Arrival>>;

/// The object, and the number of the block in it.
type Key = (u64, u64);

pub(super) struct Cache {
    max: usize,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    slots: HashMap<Key, Slot>,
    /// The blocks that are there, by when they were last wanted.
    order: BTreeMap<u64, Key>,
    clock: u64,
    bytes: usize,
    /// Bytes of each object.
    objects: HashMap<u64, usize>,
}

enum Slot {
    Ready { bytes: Bytes, used: u64 },
    Coming(Promise),
}

/// What became of a wish for a block.
pub(super) enum Found {
    Ready(Bytes),
    Coming(watch::Receiver<Arrival>),
    /// Nobody has this block, nor those after it: the caller is to fetch them, keep the promises and wait like others.
    Missing(Vec<Promise>, Vec<watch::Receiver<Arrival>>),
}

impl Cache {
    /// With room for so many bytes.
    pub(super) fn new(max: usize) -> Self {
        Self { max, inner: Mutex::default() }
    }

    /// Looks for a block. When it is missing, those up to `last` that are missing with it are the caller's.
    pub(super) fn find(&self, object: u64, block: u64, last: u64) -> Found {
        let mut inner = self.inner.lock();
        let inner = &mut *inner;
        inner.clock += 1;
        match inner.slots.get_mut(&(object, block)) {
            Some(Slot::Coming(promise)) => return Found::Coming(promise.subscribe()),
            Some(Slot::Ready { bytes, used }) => {
                inner.order.remove(used);
                *used = inner.clock;
                inner.order.insert(inner.clock, (object, block));
                return Found::Ready(bytes.clone());
            }
            None => {}
        }
        let (mut promises, mut receivers) = (Vec::new(), Vec::new());
        for block in block..=last.max(block) {
            if inner.slots.contains_key(&(object, block)) {
                break;
            }
            let (promise, receiver) = watch::channel(None);
            let promise = Arc::new(promise);
            inner.slots.insert((object, block), Slot::Coming(Arc::clone(&promise)));
            promises.push(promise);
            receivers.push(receiver);
        }
        Found::Missing(promises, receivers)
    }

    /// A block has come: for those who wait, and for those who come.
    pub(super) fn fill(&self, object: u64, block: u64, promise: &Promise, bytes: &Bytes) {
        {
            let mut inner = self.inner.lock();
            if inner.is_promised(object, block, promise) {
                inner.clock += 1;
                let used = inner.clock;
                inner.slots.insert((object, block), Slot::Ready { bytes: bytes.clone(), used });
                inner.order.insert(used, (object, block));
                inner.bytes += bytes.len();
                *inner.objects.entry(object).or_default() += bytes.len();
                inner.make_room(object, self.max);
            }
        }
        promise.send_replace(Some(Ok(bytes.clone())));
    }

    /// A block does not come: the next who wants it fetches it.
    pub(super) fn withdraw(&self, object: u64, block: u64, promise: &Promise) {
        let mut inner = self.inner.lock();
        if inner.is_promised(object, block, promise) {
            inner.slots.remove(&(object, block));
        }
    }

    /// Nobody reads this object any more.
    pub(super) fn forget(&self, object: u64) {
        let mut inner = self.inner.lock();
        let keys: Vec<Key> = inner.slots.keys().filter(|(owner, _)| *owner == object).copied().collect();
        for key in keys {
            inner.remove(key);
        }
    }

    /// Bytes that are kept.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.inner.lock().bytes
    }
}

impl Inner {
    fn is_promised(&self, object: u64, block: u64, promise: &Promise) -> bool {
        matches!(self.slots.get(&(object, block)), Some(Slot::Coming(own)) if Arc::ptr_eq(own, promise))
    }

    fn make_room(&mut self, object: u64, max: usize) {
        while self.objects.get(&object).is_some_and(|bytes| *bytes > max / 2) {
            let Some(key) = self.order.values().find(|(owner, _)| *owner == object).copied() else { break };
            self.remove(key);
        }
        while self.bytes > max {
            let Some(key) = self.order.values().next().copied() else { break };
            self.remove(key);
        }
    }

    fn remove(&mut self, key: Key) {
        if let Some(Slot::Ready { bytes, used }) = self.slots.remove(&key) {
            self.order.remove(&used);
            self.bytes = self.bytes.saturating_sub(bytes.len());
            if let Some(of_object) = self.objects.get_mut(&key.0) {
                *of_object = of_object.saturating_sub(bytes.len());
                if *of_object == 0 {
                    self.objects.remove(&key.0);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(cache: &Cache, object: u64, block: u64, last: u64) -> Vec<Promise> {
        match cache.find(object, block, last) {
            Found::Missing(promises, _) => promises,
            _ => panic!("{object}/{block} is there"),
        }
    }

    fn put(cache: &Cache, object: u64, block: u64, size: usize) {
        let promises = claim(cache, object, block, block);
        cache.fill(object, block, &promises[0], &vec![block as u8; size].into());
    }

    fn has(cache: &Cache, object: u64, block: u64) -> bool {
        match cache.find(object, block, block) {
            Found::Ready(_) => true,
            Found::Coming(_) => panic!("{object}/{block} is on its way"),
            Found::Missing(promises, _) => {
                cache.withdraw(object, block, &promises[0]);
                false
            }
        }
    }

    #[test]
    fn one_fetches_and_the_others_wait() {
        let cache = Cache::new(1000);
        let promises = claim(&cache, 1, 3, 5);
        assert_eq!(promises.len(), 3);
        let Found::Coming(waiting) = cache.find(1, 4, 9) else { panic!("not on its way") };
        assert!(waiting.borrow().is_none());
        cache.fill(1, 4, &promises[1], &Bytes::from_static(b"four"));
        assert_eq!(waiting.borrow().clone(), Some(Ok(Bytes::from_static(b"four"))));
        assert!(has(&cache, 1, 4));
        // A run ends where somebody else's begins.
        cache.withdraw(1, 3, &promises[0]);
        assert_eq!(claim(&cache, 1, 2, 9).len(), 2);
    }

    #[test]
    fn what_is_not_wanted_goes_first() {
        let cache = Cache::new(100);
        for object in 1..=10 {
            put(&cache, object, 0, 10);
        }
        assert!(has(&cache, 1, 0));
        put(&cache, 11, 0, 10);
        assert!(!has(&cache, 2, 0) && has(&cache, 1, 0) && has(&cache, 11, 0));
        assert_eq!(cache.bytes(), 100);
    }

    #[test]
    fn one_object_takes_half_at_most() {
        let cache = Cache::new(100);
        put(&cache, 1, 0, 10);
        for block in 0..20 {
            put(&cache, 2, block, 10);
        }
        assert!(has(&cache, 1, 0) && !has(&cache, 2, 14) && has(&cache, 2, 15) && has(&cache, 2, 19));
        cache.forget(2);
        assert!(!has(&cache, 2, 19));
        assert_eq!(cache.bytes(), 10);
    }

    #[test]
    fn an_old_promise_changes_nothing() {
        let cache = Cache::new(100);
        let old = claim(&cache, 1, 0, 0);
        cache.forget(1);
        let new = claim(&cache, 1, 0, 0);
        cache.fill(1, 0, &old[0], &Bytes::from_static(b"old"));
        cache.withdraw(1, 0, &old[0]);
        cache.fill(1, 0, &new[0], &Bytes::from_static(b"new"));
        assert!(matches!(cache.find(1, 0, 0), Found::Ready(bytes) if bytes == "new"));
    }
}
