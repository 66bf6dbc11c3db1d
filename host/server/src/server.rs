//! Puts the parts together and runs them until the server is told to stop.

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use axum::Router;
use flyloft_media::cmaf::SegmenterConfig;
use flyloft_media::hub::RingLimits;
use flyloft_plugins::{DecisionLimits, Plugins};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::api::{self, ApiState};
use crate::config::Config;
use crate::egress::fanout;
use crate::http::access::Access;
use crate::http::{self, Health, Metrics, Posts, Site, Thumbnails, connection};
use crate::ingest::{Door, rtmp};
use crate::live::{self, Live};
use crate::oci::Registries;
use crate::recording::{self, Library, Recordings};
use crate::rooms::{self, Credentials, LiveControl, Rooms, StreamName};
use crate::store::{KeyValues, Retention};
use crate::tls;
use crate::vod::source::Sources;
use crate::vod::{self, Vod};
use crate::webhooks::Webhooks;

/// Connections that the kernel may hold while the server is busy.
const BACKLOG: u32 = 4096;
/// How long a TLS handshake may take.
const TLS_TIMEOUT: Duration = Duration::from_secs(10);
/// HTTP connections at a time.
const MAX_HTTP_CONNECTIONS: usize = 50_000;
/// How long players of HLS and DASH have to fetch the end of the playlist when the server stops.
const LAST_PLAYLISTS: Duration = Duration::from_millis(1_500);
/// How long everything else may take to finish.
const SHUTDOWN: Duration = Duration::from_secs(8);

/// A server that answers.
pub struct Server {
    pub rooms: Arc<Rooms>,
    pub addresses: Addresses,
    /// Made by the first start.
    pub credentials: Option<Credentials>,
    data: PathBuf,
    live: Arc<Live>,
    vod: Arc<Vod>,
    plugins: Plugins,
    key_values: Arc<KeyValues>,
    health: Arc<Health>,
    stop: CancellationToken,
    tasks: TaskTracker,
    _lock: File,
}

/// Where the server listens, by `http`, `https`, `rtmp` and `rtmps`.
#[derive(Clone, Debug, Default)]
pub struct Addresses(BTreeMap<&'static str, SocketAddr>);

impl Addresses {
    pub fn get(&self, name: &str) -> Option<SocketAddr> {
        self.0.get(name).copied()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&'static str, SocketAddr)> + '_ {
        self.0.iter().map(|(name, address)| (*name, *address))
    }
}

impl LiveControl for LiveStreams {
    fn end_stream(&self, stream: &StreamName, reason: &str) {
        self.0.end(stream.as_str(), reason);
    }

    fn viewers(&self, stream: &StreamName) -> u32 {
        self.0.get(stream.as_str()).map_or(0, |live| live.viewers.count())
    }
}

struct LiveStreams(Arc<Live>);

impl Server {
    pub async fn start(config: &Config, data: &Path) -> Result<Self> {
        std::fs::create_dir_all(data).with_context(|| format!("cannot make the data directory {}", data.display()))?;
        let lock = lock(data)?;
        let live = Live::new(live_settings(config));
        let key_values = Arc::new(KeyValues::open(data).await.context("cannot open what plugins keep")?);
        let plugins = open_plugins(config, data, Arc::clone(&key_values)).await?;
        let listeners = Listeners::bind(config)?;
        let rooms_config = rooms::Config {
            http_url: non_empty(&config.http.public_url),
            rtmp_url: non_empty(&config.rtmp.public_url),
            rtmp_port: listeners.rtmp.as_ref().map(|(_, address)| address.port()).unwrap_or(1935),
            retention: Retention {
                events: config.events.keep,
                age: Duration::from_secs(u64::from(config.events.keep_days) * 24 * 60 * 60),
            },
            record: config.recording.default,
        };
        let control = Arc::new(LiveStreams(Arc::clone(&live)));
        let rooms = Rooms::open(data, plugins.clone(), control, rooms_config).await.context("cannot open the rooms")?;
        let credentials = rooms.bootstrap().await.context("cannot make the first credentials")?;
        if let Some(credentials) = &credentials {
            let json = serde_json::to_vec_pretty(credentials)?;
            crate::files::write_private(&data.join("credentials.json"), &json)?;
        }
        let metrics = Metrics::install(Arc::clone(&live), plugins.clone()).context("cannot install the metrics recorder")?;
        let health = Arc::new(Health::default());
        let door = Door {
            rooms: Arc::clone(&rooms),
            live: Arc::clone(&live),
            stall_timeout: Duration::from_millis(config.live.stall_timeout_ms),
        };
        let sources = Sources::new(&config.vod, data, plugins.clone())?;
        let vod = Vod::open(Arc::clone(&rooms), door.clone(), sources, vod_settings(config)?).await?;
        let access = Arc::new(Access::new(Arc::clone(&live), Arc::clone(&rooms), Arc::clone(&vod)));
        let library = Library::new(data);
        let posts = Posts::new(Arc::clone(&access), Arc::clone(&rooms), library.clone());
        let thumbnails = Thumbnails::new(Arc::clone(&access));
        let site = Arc::new(Site { access: Arc::clone(&access), posts, thumbnails, health: Arc::clone(&health), metrics });
        let webhooks = Webhooks::new(Arc::clone(&rooms), Arc::new(plugins.clone()), &config.webhooks)?;
        let state = ApiState {
            rooms: Arc::clone(&rooms),
            plugins: plugins.clone(),
            registries: Arc::new(Registries::new(config.plugins.registries.clone())),
            webhooks: Arc::clone(&webhooks),
            vod: Arc::clone(&vod),
        };
        let router = http::router(site, api::router(state));
        let rtmp = rtmp::Service { door, access, max_lag: max_lag(config) };
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        tasks.spawn(webhooks.run(stop.clone()));
        let recordings = Recordings::new(Arc::clone(&rooms), Arc::clone(&live), library, recording_settings(config));
        tasks.spawn(recordings.run(stop.clone()));
        let addresses = listeners.addresses();
        listeners.run(config, data, router, rtmp, &stop, &tasks)?;
        let json: BTreeMap<_, _> = addresses.iter().map(|(name, address)| (name, address.to_string())).collect();
        crate::files::write_private(&data.join("addresses.json"), &serde_json::to_vec(&json)?)?;
        for (name, address) in addresses.iter() {
            tracing::info!(%address, "{name} listens");
        }
        health.set_ready(true);
        let data = data.to_owned();
        Ok(Self { rooms, addresses, credentials, data, live, vod, plugins, key_values, health, stop, tasks, _lock: lock })
    }

    /// Takes no more work, ends the streams, lets viewers get their end, and waits for what is under way.
    pub async fn shut_down(self) {
        tracing::info!("shutting down");
        self.health.set_ready(false);
        self.vod.begin_shut_down();
        let streams = self.live.all();
        for live in &streams {
            self.live.end(live.name(), "the server is shutting down");
        }
        if streams.iter().any(|live| live.outputs.cmaf && live.viewers.count() > 0) {
            tokio::time::sleep(LAST_PLAYLISTS).await;
        }
        self.rooms.end_feeds();
        self.stop.cancel();
        self.tasks.close();
        if tokio::time::timeout(SHUTDOWN, self.tasks.wait()).await.is_err() {
            tracing::warn!(connections = self.tasks.len(), "some connections did not end in time");
        }
        if tokio::time::timeout(SHUTDOWN, self.vod.shut_down()).await.is_err() {
            tracing::warn!("some streams of recorded files did not end in time");
        }
        self.rooms.close().await;
        self.plugins.flush().await;
        self.key_values.close().await;
        let _ = std::fs::remove_file(self.data.join("addresses.json"));
    }
}

/// Only one server may use a data directory.
fn lock(data: &Path) -> Result<File> {
    let path = data.join("lock");
    let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            bail!("another Flyloft uses {}: stop it first, or give this one another directory with --data", data.display())
        }
        Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("cannot lock {}", path.display())),
    }
}

async fn open_plugins(config: &Config, data: &Path, key_values: Arc<KeyValues>) -> Result<Plugins> {
    let mut plugin_config = flyloft_plugins::Config { data_dir: Some(data.join("plugins")), ..Default::default() };
    plugin_config.limits.deadline = Duration::from_millis(config.plugins.deadline_ms);
    plugin_config.limits.memory = config.plugins.memory_bytes;
    plugin_config.decisions = DecisionLimits {
        max_bytes: config.plugins.decisions.max_bytes,
        max_age: Duration::from_secs(config.plugins.decisions.max_age_hours * 3600),
    };
    plugin_config.granted = crate::vod::source::grants(&config.vod);
    let plugins = Plugins::open_with(plugin_config, key_values).context("cannot start the plugin runtime")?;
    for (name, file) in config.components() {
        let component = std::fs::read(file).with_context(|| format!("plugins.components.{name}: cannot read {file}"))?;
        let info = plugins.put(name, component.into()).await.with_context(|| format!("plugins.components.{name}: {file}"))?;
        tracing::info!(plugin = name, digest = info.component.digest, "plugin loaded from the configuration");
    }
    Ok(plugins)
}

fn vod_settings(config: &Config) -> Result<vod::Settings> {
    let vod = &config.vod;
    let channels = vod.channels.iter().map(|channel| channel.configured(vod.looped));
    Ok(vod::Settings {
        buffer: Duration::from_millis(vod.buffer_ms),
        looped: vod.looped,
        viewer_timeout: Some(Duration::from_millis(vod.stream_timeout_ms)).filter(|timeout| !timeout.is_zero()),
        max_streams: vod.max_streams,
        app: non_empty(&vod.app),
        channels: channels.collect::<Result<_>>()?,
    })
}

fn recording_settings(config: &Config) -> recording::Settings {
    let config = &config.recording;
    recording::Settings {
        sync: Duration::from_millis(config.sync_ms),
        min_free: config.min_free_bytes,
        keep: (config.keep_days > 0).then(|| Duration::from_secs(u64::from(config.keep_days) * 24 * 60 * 60)),
        max_bytes: (config.max_bytes > 0).then_some(config.max_bytes),
    }
}

fn non_empty(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.trim_end_matches('/').to_owned())
}

fn max_lag(config: &Config) -> i64 {
    i64::try_from(config.egress.max_lag_ms).unwrap_or(i64::MAX / 1000) * 1000
}

fn live_settings(config: &Config) -> live::Settings {
    let millis = Duration::from_millis;
    live::Settings {
        ring: RingLimits {
            max_bytes: config.live.ring_bytes,
            max_age: i64::try_from(config.live.ring_ms).unwrap_or(i64::MAX / 1000) * 1000,
            ..RingLimits::default()
        },
        segmenter: SegmenterConfig {
            segment_target: millis(config.cmaf.segment_ms),
            part_target: millis(config.cmaf.part_ms),
            window: config.cmaf.window,
            ..SegmenterConfig::new("")
        },
        fanout: fanout::Settings {
            coalesce: millis(config.egress.coalesce_ms),
            max_lag: max_lag(config),
            stall_timeout: millis(config.egress.stall_timeout_ms),
        },
        reconnect_timeout: millis(config.live.reconnect_timeout_ms),
    }
}

type Bound = (TcpListener, SocketAddr);

struct Listeners {
    http: Option<Bound>,
    https: Option<Bound>,
    rtmp: Option<Bound>,
    rtmps: Option<Bound>,
}

impl Listeners {
    fn bind(config: &Config) -> Result<Self> {
        Ok(Self {
            http: bind("http.listen", &config.http.listen)?,
            https: bind("http.tls_listen", &config.http.tls_listen)?,
            rtmp: bind("rtmp.listen", &config.rtmp.listen)?,
            rtmps: bind("rtmp.tls_listen", &config.rtmp.tls_listen)?,
        })
    }

    fn addresses(&self) -> Addresses {
        let all = [("http", &self.http), ("https", &self.https), ("rtmp", &self.rtmp), ("rtmps", &self.rtmps)];
        Addresses(all.into_iter().filter_map(|(name, bound)| Some((name, bound.as_ref()?.1))).collect())
    }

    fn run(
        self,
        config: &Config,
        data: &Path,
        router: Router,
        rtmp: rtmp::Service,
        stop: &CancellationToken,
        tasks: &TaskTracker,
    ) -> Result<()> {
        let acceptor = |protocols: &[&[u8]]| -> Result<TlsAcceptor> {
            Ok(tls::server_config(tls::load(&config.tls, data)?, protocols)?.into())
        };
        let rtmp_seats = Arc::new(Semaphore::new(config.rtmp.max_connections as usize));
        let http_seats = Arc::new(Semaphore::new(MAX_HTTP_CONNECTIONS));
        if let Some((listener, _)) = self.http {
            let router = router.clone();
            accept(listener, Arc::clone(&http_seats), stop, tasks, move |socket, remote, stop| {
                connection::serve_plain(socket, remote, router.clone(), stop)
            });
        }
        if let Some((listener, _)) = self.https {
            let acceptor = acceptor(&[b"h2", b"http/1.1"])?;
            accept(listener, http_seats, stop, tasks, move |socket, remote, stop| {
                let (acceptor, router) = (acceptor.clone(), router.clone());
                async move {
                    let Some(socket) = tls_accept(&acceptor, socket, remote).await else { return };
                    let http2 = socket.get_ref().1.alpn_protocol() == Some(b"h2");
                    connection::serve_tls(socket, remote, http2, router, stop).await;
                }
            });
        }
        if let Some((listener, _)) = self.rtmp {
            let rtmp = rtmp.clone();
            accept(listener, Arc::clone(&rtmp_seats), stop, tasks, move |socket, remote, stop| {
                let rtmp = rtmp.clone();
                async move { report(remote, rtmp::serve_plain(socket, remote, rtmp, stop).await) }
            });
        }
        if let Some((listener, _)) = self.rtmps {
            let acceptor = acceptor(&[])?;
            accept(listener, rtmp_seats, stop, tasks, move |socket, remote, stop| {
                let (acceptor, rtmp) = (acceptor.clone(), rtmp.clone());
                async move {
                    let Some(socket) = tls_accept(&acceptor, socket, remote).await else { return };
                    report(remote, rtmp::serve_tls(socket, remote, rtmp, stop).await);
                }
            });
        }
        Ok(())
    }
}

fn report(remote: SocketAddr, served: Result<()>) {
    if let Err(error) = served {
        tracing::info!(%remote, error = format!("{error:#}"), "RTMP connection ended with an error");
    }
}

fn bind(key: &str, address: &str) -> Result<Option<Bound>> {
    if address.is_empty() {
        return Ok(None);
    }
    let address: SocketAddr = address.parse().with_context(|| format!("{key}: {address:?} is not an address"))?;
    let listen = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        let listener = socket.listen(BACKLOG)?;
        let address = listener.local_addr()?;
        std::io::Result::Ok((listener, address))
    };
    let bound = listen().with_context(|| format!("{key}: cannot listen on {address}; is another server running there?"))?;
    Ok(Some(bound))
}

/// Accepts connections until the server stops; no more than `seats` at a time, the rest wait in the kernel.
fn accept<F, C>(listener: TcpListener, seats: Arc<Semaphore>, stop: &CancellationToken, tasks: &TaskTracker, serve: F)
where
    F: Fn(TcpStream, SocketAddr, CancellationToken) -> C + Send + Sync + 'static,
    C: Future<Output = ()> + Send + 'static,
{
    let (stop, tracker, serve) = (stop.clone(), tasks.clone(), Arc::new(serve));
    tasks.spawn(async move {
        loop {
            let Ok(seat) = Arc::clone(&seats).acquire_owned().await else { return };
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = stop.cancelled() => return,
            };
            match accepted {
                Ok((socket, remote)) => {
                    let (serve, stop) = (Arc::clone(&serve), stop.clone());
                    // Called inside: a future that is moved into another one takes its room twice.
                    tracker.spawn(async move {
                        serve(socket, remote, stop).await;
                        drop(seat);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection: too many open files? Trying again");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    });
}

async fn tls_accept(
    acceptor: &TlsAcceptor,
    socket: TcpStream,
    remote: SocketAddr,
) -> Option<tokio_rustls::server::TlsStream<TcpStream>> {
    let _ = socket.set_nodelay(true);
    match tokio::time::timeout(TLS_TIMEOUT, acceptor.accept(socket)).await {
        Ok(Ok(socket)) => Some(socket),
        Ok(Err(error)) => {
            tracing::debug!(%remote, %error, "TLS handshake failed");
            None
        }
        Err(_) => None,
    }
}
