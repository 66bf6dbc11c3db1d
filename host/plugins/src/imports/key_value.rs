//! `wasi:keyvalue`: a small store that outlives a call, one for each namespace; what keeps it is behind [`KeyValue`].

use crate::grants::Grants;
use crate::sandbox::Sandbox;
use bytes::Bytes;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentType, Linker, Lower, Resource, ResourceType};

pub(super) const STORE: &str = "wasi:keyvalue/store@0.2.0-draft2";
pub(super) const ATOMICS: &str = "wasi:keyvalue/atomics@0.2.0-draft2";
pub(super) const BATCH: &str = "wasi:keyvalue/batch@0.2.0-draft2";

/// Bytes of a key.
const MAX_KEY: usize = 256;
/// Bytes of a value.
const MAX_VALUE: usize = 64 << 10;
/// Entries that one call of `wasi:keyvalue/batch` may name.
const MAX_BATCH: usize = 64;
/// Keys that one answer of `list-keys` has.
const PAGE: usize = 256;
/// The name of the one bucket; the empty name is it too.
const BUCKET: &str = "default";

/// What a [`KeyValue`] answers, at once or later.
pub type KeyValueAnswer<'a, T> = Pin<Box<dyn Future<Output = Result<T, KeyValueError>> + Send + 'a>>;

/// Keys of a namespace, so that many short ones do not cost more than the quota says.
pub const MAX_KEYS: usize = 10_000;

/// Keeps the values of `wasi:keyvalue`. Each namespace is a store of its own. Keys have up to 256 bytes and values up to
/// 64 KiB; that is checked already. `quota` is in bytes of keys and values together, of the namespace after the change; what is over a
/// quota that was lowered may still shrink. A namespace has up to [`MAX_KEYS`] keys.
///
/// What one call has written, calls that begin afterwards see.
pub trait KeyValue: fmt::Debug + Send + Sync {
    /// The value of a key and its version.
    fn get<'a>(&'a self, namespace: &'a str, key: &'a str) -> KeyValueAnswer<'a, Option<Versioned>>;

    /// Sets a value.
    fn set<'a>(&'a self, namespace: &'a str, key: &'a str, value: Bytes, quota: u64) -> KeyValueAnswer<'a, ()>;

    /// Sets a value if its version is still this one; 0 stands for no value. Answers whether it did.
    fn swap<'a>(&'a self, namespace: &'a str, key: &'a str, version: u64, value: Bytes, quota: u64) -> KeyValueAnswer<'a, bool>;

    /// Takes a value away, if there is one.
    fn delete<'a>(&'a self, namespace: &'a str, key: &'a str) -> KeyValueAnswer<'a, ()>;

    /// Adds to a number, which is kept as decimal text and is 0 when it is not there; atomically. Answers the sum.
    fn increment<'a>(&'a self, namespace: &'a str, key: &'a str, delta: i64, quota: u64) -> KeyValueAnswer<'a, i64>;

    /// Up to `limit` keys that come after `after`, in the order of their bytes.
    fn keys<'a>(&'a self, namespace: &'a str, after: Option<&'a str>, limit: usize) -> KeyValueAnswer<'a, Vec<String>>;

    /// Forgets all namespaces but these.
    fn retain<'a>(&'a self, namespaces: &'a [&'a str]) -> KeyValueAnswer<'a, ()>;
}

/// A value with what tells it from earlier and later ones of the same key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versioned {
    pub value: Bytes,
    /// Never 0, and never used again for this key.
    pub version: u64,
}

/// Why a store did not do what it was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyValueError {
    #[error("the store of this plugin may have {quota} bytes and would have more; delete something, or raise the quota")]
    Quota { quota: u64 },
    #[error("the store of this plugin has {limit} keys already; delete something")]
    TooManyKeys { limit: usize },
    #[error("the value of {key:?} is not a number, so it can't be incremented")]
    NotANumber { key: String },
    #[error("the number {key:?} can't be incremented any more")]
    Overflow { key: String },
    #[error("the store can't be reached: {0}")]
    Unavailable(String),
}

/// The bucket has nothing but its type: which store it is lies in the grants.
enum Bucket {}

/// A value as it was, to be compared when it is replaced.
pub(crate) struct Cas {
    key: String,
    found: Option<Versioned>,
}

#[derive(ComponentType, Lower)]
#[component(variant)]
enum Error {
    #[component(name = "no-such-store")]
    NoSuchStore,
    #[component(name = "access-denied")]
    AccessDenied,
    #[component(name = "other")]
    Other(String),
}

impl From<KeyValueError> for Error {
    fn from(error: KeyValueError) -> Error {
        Error::Other(error.to_string())
    }
}

#[derive(ComponentType, Lower)]
#[component(variant)]
enum CasError {
    #[component(name = "store-error")]
    Store(Error),
    #[component(name = "cas-failed")]
    Failed(Resource<Cas>),
}

#[derive(ComponentType, Lower)]
#[component(record)]
struct KeyResponse {
    keys: Vec<String>,
    cursor: Option<String>,
}

/// One call's way to its store.
struct Access {
    store: Arc<dyn KeyValue>,
    grants: Arc<Grants>,
}

impl Access {
    fn of(cx: &StoreContextMut<'_, Sandbox>) -> Access {
        Access { store: Arc::clone(cx.data().key_values()), grants: Arc::clone(cx.data().grants()) }
    }

    fn namespace(&self) -> &str {
        &self.grants.key_value_namespace
    }

    fn quota(&self) -> u64 {
        self.grants.key_value_quota
    }

    fn open(&self, name: &str) -> Result<Resource<Bucket>, Error> {
        match name {
            "" | BUCKET if self.quota() > 0 => Ok(Resource::new_own(0)),
            "" | BUCKET => Err(Error::AccessDenied),
            _ => Err(Error::NoSuchStore),
        }
    }

    async fn get(&self, key: &str) -> Result<Option<Versioned>, Error> {
        check_key(key)?;
        Ok(self.store.get(self.namespace(), key).await?)
    }

    async fn set(&self, key: &str, value: Vec<u8>) -> Result<(), Error> {
        check_key(key)?;
        check_value(&value)?;
        Ok(self.store.set(self.namespace(), key, value.into(), self.quota()).await?)
    }

    async fn delete(&self, key: &str) -> Result<(), Error> {
        check_key(key)?;
        Ok(self.store.delete(self.namespace(), key).await?)
    }

    async fn keys(&self, after: Option<String>) -> Result<KeyResponse, Error> {
        if let Some(after) = &after {
            check_key(after)?;
        }
        // One more than is shown tells whether there are more.
        let mut keys = self.store.keys(self.namespace(), after.as_deref(), PAGE + 1).await?;
        let more = keys.len() > PAGE;
        keys.truncate(PAGE);
        let cursor = if more { keys.last().cloned() } else { None };
        Ok(KeyResponse { keys, cursor })
    }

    async fn increment(&self, key: &str, delta: i64) -> Result<i64, Error> {
        check_key(key)?;
        Ok(self.store.increment(self.namespace(), key, delta, self.quota()).await?)
    }

    /// Replaces a value that is still as it was; if it is not, answers what it is now.
    async fn swap(&self, cas: Cas, value: Vec<u8>) -> Result<Option<Cas>, Error> {
        check_value(&value)?;
        let version = cas.found.map_or(0, |found| found.version);
        if self.store.swap(self.namespace(), &cas.key, version, value.into(), self.quota()).await? {
            return Ok(None);
        }
        let found = self.get(&cas.key).await?;
        Ok(Some(Cas { key: cas.key, found }))
    }

    async fn get_many(&self, keys: Vec<String>) -> Result<Vec<Option<Pair>>, Error> {
        check_batch(keys.len())?;
        let mut found = Vec::with_capacity(keys.len());
        for key in keys {
            let value = self.get(&key).await?;
            found.push(value.map(|value| (key, value.value.to_vec())));
        }
        Ok(found)
    }

    async fn set_many(&self, pairs: Vec<Pair>) -> Result<(), Error> {
        check_batch(pairs.len())?;
        for (key, value) in pairs {
            self.set(&key, value).await?;
        }
        Ok(())
    }

    async fn delete_many(&self, keys: Vec<String>) -> Result<(), Error> {
        check_batch(keys.len())?;
        for key in keys {
            self.delete(&key).await?;
        }
        Ok(())
    }
}

type Pair = (String, Vec<u8>);

fn check_key(key: &str) -> Result<(), Error> {
    if (1..=MAX_KEY).contains(&key.len()) {
        return Ok(());
    }
    Err(Error::Other(format!("the key has {} bytes, and 1 to {MAX_KEY} are allowed", key.len())))
}

fn check_value(value: &[u8]) -> Result<(), Error> {
    if value.len() <= MAX_VALUE {
        return Ok(());
    }
    Err(Error::Other(format!("the value has {} bytes, and at most {MAX_VALUE} are allowed", value.len())))
}

fn check_batch(entries: usize) -> Result<(), Error> {
    if entries <= MAX_BATCH {
        return Ok(());
    }
    Err(Error::Other(format!("the batch has {entries} entries, and at most {MAX_BATCH} are allowed")))
}

type Cx<'a> = StoreContextMut<'a, Sandbox>;

pub(super) fn add_to_linker(linker: &mut Linker<Sandbox>) -> wasmtime::Result<()> {
    store(linker)?;
    atomics(linker)?;
    batch(linker)
}

fn store(linker: &mut Linker<Sandbox>) -> wasmtime::Result<()> {
    let mut store = linker.instance(STORE)?;
    store.resource("bucket", ResourceType::host::<Bucket>(), |_, _| Ok(()))?;
    store.func_wrap("open", |cx: Cx<'_>, (name,): (String,)| Ok((Access::of(&cx).open(&name),)))?;
    store.func_wrap_async("[method]bucket.get", |cx: Cx<'_>, (_, key): (Resource<Bucket>, String)| {
        let access = Access::of(&cx);
        Box::new(async move { Ok((access.get(&key).await.map(|found| found.map(|found| found.value.to_vec())),)) })
    })?;
    store.func_wrap_async("[method]bucket.set", |cx: Cx<'_>, (_, key, value): (Resource<Bucket>, String, Vec<u8>)| {
        let access = Access::of(&cx);
        Box::new(async move { Ok((access.set(&key, value).await,)) })
    })?;
    store.func_wrap_async("[method]bucket.delete", |cx: Cx<'_>, (_, key): (Resource<Bucket>, String)| {
        let access = Access::of(&cx);
        Box::new(async move { Ok((access.delete(&key).await,)) })
    })?;
    store.func_wrap_async("[method]bucket.exists", |cx: Cx<'_>, (_, key): (Resource<Bucket>, String)| {
        let access = Access::of(&cx);
        Box::new(async move { Ok((access.get(&key).await.map(|found| found.is_some()),)) })
    })?;
    store.func_wrap_async("[method]bucket.list-keys", |cx: Cx<'_>, (_, cursor): (Resource<Bucket>, Option<String>)| {
        let access = Access::of(&cx);
        Box::new(async move { Ok((access.keys(cursor).await,)) })
    })
}

fn atomics(linker: &mut Linker<Sandbox>) -> wasmtime::Result<()> {
    let mut atomics = linker.instance(ATOMICS)?;
    atomics.resource("cas", ResourceType::host::<Cas>(), |mut cx, handle| {
        cx.data_mut().table().delete(Resource::<Cas>::new_own(handle))?;
        Ok(())
    })?;
    atomics.func_wrap_async("[static]cas.new", |mut cx: Cx<'_>, (_, key): (Resource<Bucket>, String)| {
        Box::new(async move {
            let made = match Access::of(&cx).get(&key).await {
                Ok(found) => Ok(cx.data_mut().table().push(Cas { key, found })?),
                Err(error) => Err(error),
            };
            Ok((made,))
        })
    })?;
    atomics.func_wrap("[method]cas.current", |mut cx: Cx<'_>, (cas,): (Resource<Cas>,)| {
        let found = cx.data_mut().table().get(&cas)?.found.as_ref();
        let value: Result<Option<Vec<u8>>, Error> = Ok(found.map(|found| found.value.to_vec()));
        Ok((value,))
    })?;
    atomics.func_wrap_async("increment", |cx: Cx<'_>, (_, key, delta): (Resource<Bucket>, String, i64)| {
        let access = Access::of(&cx);
        Box::new(async move { Ok((access.increment(&key, delta).await,)) })
    })?;
    atomics.func_wrap_async("swap", |mut cx: Cx<'_>, (cas, value): (Resource<Cas>, Vec<u8>)| {
        Box::new(async move {
            let cas = cx.data_mut().table().delete(cas)?;
            let swapped = match Access::of(&cx).swap(cas, value).await {
                Ok(None) => Ok(()),
                Ok(Some(now)) => Err(CasError::Failed(cx.data_mut().table().push(now)?)),
                Err(error) => Err(CasError::Store(error)),
            };
            Ok((swapped,))
        })
    })
}

fn batch(linker: &mut Linker<Sandbox>) -> wasmtime::Result<()> {
    let mut batch = linker.instance(BATCH)?;
    batch.func_wrap_async("get-many", |cx: Cx<'_>, (_, keys): (Resource<Bucket>, Vec<String>)| {
        let access = Access::of(&cx);
        Box::new(async move { Ok((access.get_many(keys).await,)) })
    })?;
    batch.func_wrap_async("set-many", |cx: Cx<'_>, (_, pairs): (Resource<Bucket>, Vec<Pair>)| {
        let access = Access::of(&cx);
        Box::new(async move { Ok((access.set_many(pairs).await,)) })
    })?;
    batch.func_wrap_async("delete-many", |cx: Cx<'_>, (_, keys): (Resource<Bucket>, Vec<String>)| {
        let access = Access::of(&cx);
        Box::new(async move { Ok((access.delete_many(keys).await,)) })
    })
}
