//! A [`KeyValue`] that keeps everything in memory and forgets it when the server stops.

use super::key_value::{KeyValue, KeyValueAnswer, KeyValueError, MAX_KEYS, Versioned};
use bytes::Bytes;
use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::{Mutex, PoisonError};

/// Keeps values in memory, up to 10,000 of a namespace.
#[derive(Debug, Default)]
pub struct MemoryKeyValue(Mutex<HashMap<String, Namespace>>);

#[derive(Debug, Default)]
struct Namespace {
    values: BTreeMap<String, Versioned>,
    /// Of keys and values.
    bytes: u64,
    version: u64,
}

impl Namespace {
    fn version(&self, key: &str) -> u64 {
        self.values.get(key).map_or(0, |found| found.version)
    }

    fn set(&mut self, key: &str, value: Bytes, quota: u64) -> Result<(), KeyValueError> {
        let old = self.values.get(key).map_or(0, |old| size(key, &old.value));
        let bytes = self.bytes - old + size(key, &value);
        // What is over a quota that was lowered may still shrink.
        if bytes > quota && bytes > self.bytes {
            return Err(KeyValueError::Quota { quota });
        }
        if self.values.len() >= MAX_KEYS && !self.values.contains_key(key) {
            return Err(KeyValueError::TooManyKeys { limit: MAX_KEYS });
        }
        self.bytes = bytes;
        self.version += 1;
        self.values.insert(key.to_owned(), Versioned { value, version: self.version });
        Ok(())
    }

    fn delete(&mut self, key: &str) {
        if let Some(old) = self.values.remove(key) {
            self.bytes -= size(key, &old.value);
        }
    }

    fn increment(&mut self, key: &str, delta: i64, quota: u64) -> Result<i64, KeyValueError> {
        let number = match self.values.get(key) {
            None => 0,
            Some(found) => {
                let number = std::str::from_utf8(&found.value).ok().and_then(|text| text.parse::<i64>().ok());
                number.ok_or_else(|| KeyValueError::NotANumber { key: key.to_owned() })?
            }
        };
        let sum = number.checked_add(delta).ok_or_else(|| KeyValueError::Overflow { key: key.to_owned() })?;
        self.set(key, sum.to_string().into(), quota)?;
        Ok(sum)
    }
}

fn size(key: &str, value: &[u8]) -> u64 {
    (key.len() + value.len()) as u64
}

impl MemoryKeyValue {
    fn within<T>(&self, namespace: &str, work: impl FnOnce(&mut Namespace) -> T) -> T {
        let mut namespaces = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match namespaces.get_mut(namespace) {
            Some(found) => work(found),
            None => work(namespaces.entry(namespace.to_owned()).or_default()),
        }
    }

    fn answer<T: Send + 'static>(
        &self,
        namespace: &str,
        work: impl FnOnce(&mut Namespace) -> Result<T, KeyValueError>,
    ) -> KeyValueAnswer<'_, T> {
        Box::pin(std::future::ready(self.within(namespace, work)))
    }
}

impl KeyValue for MemoryKeyValue {
    fn get<'a>(&'a self, namespace: &'a str, key: &'a str) -> KeyValueAnswer<'a, Option<Versioned>> {
        self.answer(namespace, |namespace| Ok(namespace.values.get(key).cloned()))
    }

    fn set<'a>(&'a self, namespace: &'a str, key: &'a str, value: Bytes, quota: u64) -> KeyValueAnswer<'a, ()> {
        self.answer(namespace, |namespace| namespace.set(key, value, quota))
    }

    fn swap<'a>(&'a self, namespace: &'a str, key: &'a str, version: u64, value: Bytes, quota: u64) -> KeyValueAnswer<'a, bool> {
        self.answer(namespace, |namespace| {
            let same = namespace.version(key) == version;
            if same { namespace.set(key, value, quota).map(|()| true) } else { Ok(false) }
        })
    }

    fn delete<'a>(&'a self, namespace: &'a str, key: &'a str) -> KeyValueAnswer<'a, ()> {
        self.answer(namespace, |namespace| {
            namespace.delete(key);
            Ok(())
        })
    }

    fn increment<'a>(&'a self, namespace: &'a str, key: &'a str, delta: i64, quota: u64) -> KeyValueAnswer<'a, i64> {
        self.answer(namespace, |namespace| namespace.increment(key, delta, quota))
    }

    fn keys<'a>(&'a self, namespace: &'a str, after: Option<&'a str>, limit: usize) -> KeyValueAnswer<'a, Vec<String>> {
        self.answer(namespace, |namespace| {
            let from = after.map_or(Bound::Unbounded, Bound::Excluded);
            let range = namespace.values.range::<str, _>((from, Bound::Unbounded));
            Ok(range.take(limit).map(|(key, _)| key.clone()).collect())
        })
    }

    fn retain<'a>(&'a self, namespaces: &'a [&'a str]) -> KeyValueAnswer<'a, ()> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|namespace, _| namespaces.contains(&namespace.as_str()));
        Box::pin(std::future::ready(Ok(())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUOTA: u64 = 100;

    async fn value(store: &MemoryKeyValue, namespace: &str, key: &str) -> Option<String> {
        let found = store.get(namespace, key).await.unwrap();
        found.map(|found| String::from_utf8(found.value.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn namespaces_do_not_see_each_other() {
        let store = MemoryKeyValue::default();
        store.set("a", "key", "one".into(), QUOTA).await.unwrap();
        store.set("b", "key", "two".into(), QUOTA).await.unwrap();
        assert_eq!(value(&store, "a", "key").await.as_deref(), Some("one"));
        store.delete("a", "key").await.unwrap();
        assert_eq!((value(&store, "a", "key").await, value(&store, "b", "key").await.as_deref()), (None, Some("two")));
        assert_eq!(store.keys("b", None, 10).await.unwrap(), ["key"]);
    }

    #[tokio::test]
    async fn the_quota_counts_keys_and_values_and_is_given_back() {
        let store = MemoryKeyValue::default();
        let set = async |key: &str, bytes: usize| store.set("a", key, vec![b'x'; bytes].into(), QUOTA).await;
        set("k", 99).await.unwrap();
        assert_eq!(set("l", 0).await, Err(KeyValueError::Quota { quota: QUOTA }));
        set("k", 50).await.unwrap();
        set("l", 48).await.unwrap();
        store.delete("a", "k").await.unwrap();
        set("m", 50).await.unwrap();
        // A quota that is lowered below what is there lets it shrink and not grow.
        assert!(store.set("a", "m", "y".into(), 10).await.is_ok());
        assert!(store.set("a", "m", "yy".into(), 10).await.is_err());
    }

    #[tokio::test]
    async fn keys_are_limited_in_number() {
        let store = MemoryKeyValue::default();
        for key in 0..MAX_KEYS {
            store.set("a", &key.to_string(), Bytes::new(), u64::MAX).await.unwrap();
        }
        assert_eq!(store.set("a", "more", Bytes::new(), u64::MAX).await, Err(KeyValueError::TooManyKeys { limit: MAX_KEYS }));
        assert!(store.set("a", "7", "again".into(), u64::MAX).await.is_ok());
    }

    #[tokio::test]
    async fn numbers_are_text_and_do_not_overflow() {
        let store = MemoryKeyValue::default();
        assert_eq!(store.increment("a", "n", 5, QUOTA).await, Ok(5));
        assert_eq!(store.increment("a", "n", -7, QUOTA).await, Ok(-2));
        assert_eq!(value(&store, "a", "n").await.as_deref(), Some("-2"));
        store.set("a", "n", i64::MAX.to_string().into(), QUOTA).await.unwrap();
        assert_eq!(store.increment("a", "n", 1, QUOTA).await, Err(KeyValueError::Overflow { key: "n".into() }));
        store.set("a", "n", "many".into(), QUOTA).await.unwrap();
        assert_eq!(store.increment("a", "n", 1, QUOTA).await, Err(KeyValueError::NotANumber { key: "n".into() }));
    }

    #[tokio::test]
    async fn a_swap_notices_every_change() {
        let store = MemoryKeyValue::default();
        assert_eq!(store.swap("a", "k", 0, "one".into(), QUOTA).await, Ok(true));
        assert_eq!(store.swap("a", "k", 0, "two".into(), QUOTA).await, Ok(false));
        let first = store.get("a", "k").await.unwrap().unwrap();
        // Away and back again is a change too.
        store.delete("a", "k").await.unwrap();
        store.set("a", "k", "one".into(), QUOTA).await.unwrap();
        assert_eq!(store.swap("a", "k", first.version, "two".into(), QUOTA).await, Ok(false));
        let now = store.get("a", "k").await.unwrap().unwrap();
        assert_eq!(store.swap("a", "k", now.version, "two".into(), QUOTA).await, Ok(true));
    }

    #[tokio::test]
    async fn keys_come_in_pages() {
        let store = MemoryKeyValue::default();
        for key in ["c", "a", "b"] {
            store.set("a", key, Bytes::new(), QUOTA).await.unwrap();
        }
        assert_eq!(store.keys("a", None, 2).await.unwrap(), ["a", "b"]);
        assert_eq!(store.keys("a", Some("b"), 2).await.unwrap(), ["c"]);
    }
}
