//! Sources through the built-in plugins, from a real S3 server behind a proxy that misbehaves as told, from HTTP servers, from disk.

mod faults;
mod local;
mod stores;

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use flyloft_plugins::model::App;
use flyloft_plugins::{Secret, outbound};
use flyloft_tests::proxy::Proxy;
use flyloft_tests::s3::{self, Store};
use futures_util::future::BoxFuture;

use super::*;
use crate::config::{Credential, SecretFrom, Vod};

/// Every name is this machine.
struct Loopback;

impl outbound::Resolver for Loopback {
    fn resolve<'a>(&'a self, _name: &'a str) -> BoxFuture<'a, std::io::Result<Vec<IpAddr>>> {
        Box::pin(async { Ok(vec![IpAddr::V4(Ipv4Addr::LOCALHOST)]) })
    }
}

/// A store, a proxy before it, and sources that reach it through the proxy.
struct World {
    store: Store,
    proxy: Proxy,
    sources: Sources,
    data: tempfile::TempDir,
}

fn credential(name: &str, endpoint: Option<String>) -> Credential {
    Credential {
        name: name.into(),
        zone: Some("eu-west-1".into()),
        endpoint,
        buckets: Vec::new(),
        key: s3::KEY.into(),
        secret: SecretFrom::Text(Secret::new(s3::SECRET)),
    }
}

impl World {
    /// With credentials for the store, which has the bucket `films`.
    fn new() -> Self {
        Self::with(|proxy| Vod { credentials: vec![credential("store", Some(proxy.endpoint()))], ..settings() })
    }

    /// As [`World::new`], with less patience for one attempt and for all of them.
    fn impatient(stall: Duration, give_up: Duration) -> Self {
        let mut world = Self::new();
        if let Some(shared) = Arc::get_mut(&mut world.sources.0) {
            shared.limits = Limits { stall, give_up };
        }
        world
    }

    fn with(config: impl FnOnce(&Proxy) -> Vod) -> Self {
        let store = Store::start(&["films", "secrets"]).unwrap();
        let proxy = Proxy::start(store.address()).unwrap();
        let data = tempfile::tempdir().unwrap();
        let sources = sources(&config(&proxy), data.path());
        Self { store, proxy, sources, data }
    }

    async fn open(&self, uri: &str) -> Result<Source, OpenError> {
        self.sources.open(&context(), uri, true).await
    }

    /// Puts a film of so many bytes and opens it.
    async fn film(&self, length: usize) -> (Source, Vec<u8>) {
        let content = s3::pattern(length).unwrap();
        self.store.put("films", "a.mp4", content.clone()).unwrap();
        (self.open("vod-live://s3/films/a.mp4").await.unwrap(), content)
    }
}

/// With a small cache.
fn settings() -> Vod {
    Vod { cache_bytes: 8 << 20, ..Vod::default() }
}

fn sources(config: &Vod, data: &Path) -> Sources {
    let mut plugin_config = flyloft_plugins::Config { granted: grants(config), ..Default::default() };
    plugin_config.limits.deadline = Duration::from_secs(5);
    let plugins = Plugins::open(plugin_config).unwrap();
    Sources::with(config, data, plugins, Arc::new(Loopback), STALL).unwrap()
}

fn context() -> Context {
    let app = App { id: "app-1".into(), name: "Test".into(), output_mode: None };
    Context { call_id: "call-1".into(), now: 1_800_000_000_000, app }
}

/// Reads all of it in pieces of this length.
async fn read_all(source: &Source, piece: u64) -> Result<Vec<u8>, ReadError> {
    let mut whole = Vec::new();
    while (whole.len() as u64) < source.size() {
        let at = whole.len() as u64;
        let bytes = source.read(at..at + piece).await?;
        assert!(!bytes.is_empty() && bytes.len() as u64 <= piece);
        whole.extend_from_slice(&bytes);
    }
    Ok(whole)
}

fn denied<T: std::fmt::Debug>(result: Result<T, OpenError>) -> String {
    match result {
        Err(OpenError::Denied { reason }) => reason,
        other => panic!("not denied: {other:?}"),
    }
}

fn invalid<T: std::fmt::Debug>(result: Result<T, OpenError>) -> String {
    match result {
        Err(OpenError::Invalid { reason }) => reason,
        other => panic!("not invalid: {other:?}"),
    }
}
