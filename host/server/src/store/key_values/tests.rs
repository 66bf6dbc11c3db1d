//! The store of plugins, beside the one in memory that says how it is to behave.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

use flyloft_plugins::MemoryKeyValue;
use proptest::prelude::*;

use super::*;

const QUOTA: u64 = 1 << 20;

async fn open(directory: &Path) -> KeyValues {
    KeyValues::open(directory).await.unwrap()
}

async fn value(store: &dyn KeyValue, namespace: &str, key: &str) -> Option<Bytes> {
    store.get(namespace, key).await.unwrap().map(|found| found.value)
}

#[tokio::test]
async fn values_are_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    {
        let store = open(dir.path()).await;
        store.set("a", "key", "one".into(), QUOTA).await.unwrap();
        assert_eq!(store.increment("a", "n", 41, QUOTA).await, Ok(41));
        store.close().await;
        assert!(matches!(store.get("a", "key").await, Err(KeyValueError::Unavailable(_))));
    }
    let store = open(dir.path()).await;
    assert_eq!(value(&store, "a", "key").await, Some("one".into()));
    assert_eq!(value(&store, "b", "key").await, None);
    assert_eq!(store.increment("a", "n", 1, QUOTA).await, Ok(42));
    let mode = std::fs::metadata(dir.path().join(FILE)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_at_one_time_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(open(dir.path()).await);
    let calls: Vec<_> = (0..500)
        .map(|_| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                store.increment("a", "n", 1, QUOTA).await.unwrap();
                loop {
                    let found = store.get("a", "text").await.unwrap();
                    let (old, version) = found.map_or((Bytes::new(), 0), |found| (found.value, found.version));
                    let longer = [&old[..], b"x"].concat().into();
                    if store.swap("a", "text", version, longer, QUOTA).await.unwrap() {
                        return;
                    }
                }
            })
        })
        .collect();
    for call in calls {
        call.await.unwrap();
    }
    assert_eq!(store.increment("a", "n", 0, QUOTA).await, Ok(500));
    assert_eq!(value(&*store, "a", "text").await.map(|text| text.len()), Some(500));
}

#[tokio::test]
async fn what_is_not_retained_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    for namespace in ["a", "b", "c"] {
        store.set(namespace, "key", "value".into(), 8).await.unwrap();
    }
    store.retain(&["b", "none"]).await.unwrap();
    assert_eq!((value(&store, "a", "key").await, value(&store, "b", "key").await), (None, Some("value".into())));
    // The quota begins anew.
    store.set("a", "key", "other".into(), 8).await.unwrap();
    assert_eq!(store.set("b", "k", "v".into(), 8).await, Err(KeyValueError::Quota { quota: 8 }));
}

#[tokio::test]
async fn keys_are_limited_in_number() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(open(dir.path()).await);
    let mut calls = tokio::task::JoinSet::new();
    for key in 0..MAX_KEYS {
        let store = Arc::clone(&store);
        calls.spawn(async move { store.set("a", &key.to_string(), Bytes::new(), u64::MAX).await });
    }
    while let Some(set) = calls.join_next().await {
        set.unwrap().unwrap();
    }
    assert_eq!(store.set("a", "more", Bytes::new(), u64::MAX).await, Err(KeyValueError::TooManyKeys { limit: MAX_KEYS }));
    assert_eq!(store.set("a", "7", "again".into(), u64::MAX).await, Ok(()));
    store.delete("a", "8").await.unwrap();
    assert_eq!(store.set("a", "more", Bytes::new(), u64::MAX).await, Ok(()));
}

#[derive(Clone, Debug)]
enum Step {
    Get,
    Set(Vec<u8>, u64),
    Swap { stale: bool, value: Vec<u8> },
    Delete,
    Increment(i64),
    Keys(Option<String>, usize),
    Retain(Vec<&'static str>),
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof!["[a-c]", Just("\0".to_owned()), Just("ä%_".to_owned())]
}

fn step() -> impl Strategy<Value = Step> {
    let value =
        || prop_oneof![proptest::collection::vec(any::<u8>(), 0..20), (-5_i64..5).prop_map(|n| n.to_string().into_bytes())];
    prop_oneof![
        Just(Step::Get),
        (value(), 0_u64..60).prop_map(|(value, quota)| Step::Set(value, quota)),
        (any::<bool>(), value()).prop_map(|(stale, value)| Step::Swap { stale, value }),
        Just(Step::Delete),
        prop_oneof![-9_i64..9, Just(i64::MAX), Just(i64::MIN)].prop_map(Step::Increment),
        (proptest::option::of(key()), 0_usize..4).prop_map(|(after, limit)| Step::Keys(after, limit)),
        prop_oneof![Just(vec!["x"]), Just(vec!["x", "y"]), Just(vec![])].prop_map(Step::Retain),
    ]
}

/// What a store answers to a step, as text.
async fn taken(store: &dyn KeyValue, namespace: &str, key: &str, step: &Step) -> String {
    match step {
        Step::Get => format!("{:?}", store.get(namespace, key).await),
        Step::Set(value, quota) => format!("{:?}", store.set(namespace, key, value.clone().into(), *quota).await),
        Step::Swap { stale, value } => {
            let version = store.get(namespace, key).await.unwrap().map_or(0, |found| found.version);
            let version = if *stale { version + 1 } else { version };
            format!("{:?}", store.swap(namespace, key, version, value.clone().into(), 50).await)
        }
        Step::Delete => format!("{:?}", store.delete(namespace, key).await),
        Step::Increment(delta) => format!("{:?}", store.increment(namespace, key, *delta, 50).await),
        Step::Keys(after, limit) => format!("{:?}", store.keys(namespace, after.as_deref(), *limit).await),
        Step::Retain(namespaces) => format!("{:?}", store.retain(namespaces).await),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn it_behaves_as_the_store_in_memory(steps in proptest::collection::vec((prop_oneof![Just("x"), Just("y")], key(), step()), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let dir = tempfile::tempdir().unwrap();
            let (kept, model) = (open(dir.path()).await, MemoryKeyValue::default());
            for (namespace, key, step) in &steps {
                let (found, expected) = (taken(&kept, namespace, key, step).await, taken(&model, namespace, key, step).await);
                prop_assert_eq!(found, expected, "{:?} in {} of {:?}", step, namespace, key);
            }
            Ok(())
        })?;
    }
}
