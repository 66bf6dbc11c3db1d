//! The way out: an HTTP client for requests that plugins and webhooks ask for. A request reaches only what its rules grant, judged by
//! the addresses that the host's name resolves to, and costs no more time and memory than its limits say.

mod rules;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::pin::{Pin, pin};
use std::sync::{Arc, LazyLock, OnceLock};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Response, Uri, uri};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body as _, Incoming};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_rustls::TlsConnector;

use rules::Host;
pub use rules::Rules;

/// Bytes of the head of a response.
const MAX_HEAD: usize = 32 * 1024;
/// Header fields of a request and of a response.
const MAX_HEADERS: usize = 100;
/// Bytes of a URL.
const MAX_URL: usize = 8 * 1024;
/// Addresses of one name that are looked at; a name with more is refused.
const MAX_ADDRESSES: usize = 64;
/// Names that are resolved at a time. The system's resolver holds a thread for as long as it waits.
const MAX_LOOKUPS: usize = 32;

/// Header fields that belong to the connection, which is the host's.
const OF_THE_CONNECTION: [&str; 12] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// What one exchange may cost.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// From the resolving of the name to the last byte of the answer.
    pub deadline: Duration,
    /// Bytes of the answer's body.
    pub max_body: usize,
}

/// Why there is no answer. Each names the host; none tells an address that a name resolved to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The request is none that can be sent.
    #[error("the request can't be sent: {reason}")]
    Request { reason: String },
    /// The rules do not let it out.
    #[error("{host} may not be asked: {reason}")]
    Refused { host: String, reason: String },
    #[error("{host} can't be resolved: {reason}")]
    Resolve { host: String, reason: String },
    #[error("{host} can't be reached: {reason}")]
    Connect { host: String, reason: String },
    #[error("there is no secure connection to {host}: {reason}")]
    Tls { host: String, reason: String },
    #[error("{host} gave no whole answer within {ms} ms")]
    Deadline { host: String, ms: u64 },
    #[error("the answer of {host} has more than {limit} bytes")]
    TooLarge { host: String, limit: usize },
    #[error("{host} gave no valid answer: {reason}")]
    Protocol { host: String, reason: String },
}

/// Finds the addresses of a name.
pub trait Resolver: Send + Sync {
    fn resolve<'a>(&'a self, name: &'a str) -> Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send + 'a>>;
}

/// The resolver of the operating system.
#[derive(Debug, Default)]
pub struct SystemResolver;

impl Resolver for SystemResolver {
    fn resolve<'a>(&'a self, name: &'a str) -> Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send + 'a>> {
        static LOOKUPS: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(MAX_LOOKUPS)));
        Box::pin(async move {
            let permit = Arc::clone(&LOOKUPS).acquire_owned().await.map_err(io::Error::other)?;
            let name = name.to_owned();
            let lookup = tokio::task::spawn_blocking(move || {
                // Held by the thread, which goes on when nobody waits any more.
                let _permit = permit;
                let found = (name.as_str(), 0).to_socket_addrs()?;
                Ok(found.map(|address| address.ip()).collect())
            });
            lookup.await.map_err(io::Error::other)?
        })
    }
}

/// What a connection needs to be.
pub trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Duplex for T {}

/// A connection, plain or with TLS.
pub type Socket = Box<dyn Duplex>;

/// An HTTP/1.1 client that reaches only what its rules grant. It makes a connection for every request, to an address that was checked,
/// and follows no redirects. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    rules: Arc<Rules>,
    resolver: Arc<dyn Resolver>,
    tls: Option<Arc<ClientConfig>>,
}

/// What becomes of an answer whose body is longer than it may be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum TooLong {
    Fails,
    IsCut,
}

/// A request's host, taken apart.
struct Target {
    /// As errors name it: `host` or `host:port`.
    shown: String,
    host: Host,
    port: u16,
    secure: bool,
}

impl Client {
    /// Resolves with the operating system, and trusts the certificate authorities that it trusts.
    pub fn new(rules: Rules) -> Client {
        Client::with(rules, Arc::new(SystemResolver), None)
    }

    /// With another resolver, and other certificate authorities where `tls` is given.
    pub fn with(rules: Rules, resolver: Arc<dyn Resolver>, tls: Option<Arc<ClientConfig>>) -> Client {
        Client { rules: Arc::new(rules), resolver, tls }
    }

    /// Whether a request to `uri` could be sent, as far as can be told without resolving its name.
    ///
    /// # Errors
    /// [`Error::Request`] or [`Error::Refused`], as [`Client::send`] would give it.
    pub fn check(&self, uri: &Uri) -> Result<(), Error> {
        let target = Target::of(uri)?;
        self.rules.check_host(&target.host, target.port).map_err(|reason| target.refused(reason))
    }

    /// Sends a request and reads the whole answer, whatever its status. `Host`, `Content-Length` and the other fields that belong to the
    /// connection are set here; the request's own are left out.
    ///
    /// # Errors
    /// When the request is not let out, or there is no whole answer within the limits.
    pub async fn send(&self, request: Request<Bytes>, limits: Limits) -> Result<Response<Bytes>, Error> {
        self.send_within(request, limits, TooLong::Fails).await
    }

    /// As [`Client::send`], for those who want the status: of a body that is too long, the beginning is returned.
    ///
    /// # Errors
    /// As [`Client::send`], without [`Error::TooLarge`].
    pub async fn send_and_cut(&self, request: Request<Bytes>, limits: Limits) -> Result<Response<Bytes>, Error> {
        self.send_within(request, limits, TooLong::IsCut).await
    }

    async fn send_within(&self, request: Request<Bytes>, limits: Limits, long: TooLong) -> Result<Response<Bytes>, Error> {
        let target = Target::of(request.uri())?;
        self.rules.check_host(&target.host, target.port).map_err(|reason| target.refused(reason))?;
        let request = prepared(request)?;
        let ms = u64::try_from(limits.deadline.as_millis()).unwrap_or(u64::MAX);
        match tokio::time::timeout(limits.deadline, self.exchange(&target, request, limits, long)).await {
            Ok(answer) => answer,
            Err(_) => Err(Error::Deadline { host: target.shown, ms }),
        }
    }

    async fn exchange(
        &self,
        target: &Target,
        request: Request<Full<Bytes>>,
        limits: Limits,
        long: TooLong,
    ) -> Result<Response<Bytes>, Error> {
        let socket = self.socket(target, limits.deadline).await?;
        talk(target, socket, request, limits.max_body, long).await
    }

    /// Connects to the host of `uri`, for callers with an HTTP client of their own: to an address that was checked, and with TLS where
    /// the scheme is `https`. What is sent there must be meant for that host.
    ///
    /// # Errors
    /// As [`Client::send`], for what comes before the request.
    pub async fn connect(&self, uri: &Uri, deadline: Duration) -> Result<Socket, Error> {
        let target = Target::of(uri)?;
        self.rules.check_host(&target.host, target.port).map_err(|reason| target.refused(reason))?;
        let ms = u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX);
        match tokio::time::timeout(deadline, self.socket(&target, deadline)).await {
            Ok(connected) => connected,
            Err(_) => Err(Error::Connect { host: target.shown, reason: format!("there was no connection within {ms} ms") }),
        }
    }

    async fn socket(&self, target: &Target, deadline: Duration) -> Result<Socket, Error> {
        let started = Instant::now();
        let addresses = self.addresses(target).await?;
        let socket = connect(target, &addresses, deadline.saturating_sub(started.elapsed())).await?;
        if !target.secure {
            return Ok(Box::new(socket));
        }
        let failed = |reason: String| Error::Tls { host: target.shown.clone(), reason };
        let config = match &self.tls {
            Some(config) => Arc::clone(config),
            None => platform_tls().map_err(failed)?,
        };
        let name = match &target.host {
            Host::Name(name) => ServerName::try_from(name.clone()).map_err(|error| failed(error.to_string()))?,
            Host::Address(address) => ServerName::from(*address),
        };
        let socket = TlsConnector::from(config).connect(name, socket).await.map_err(|error| failed(error.to_string()))?;
        Ok(Box::new(socket))
    }

    /// Resolves once; every address must be allowed, and only these are connected to.
    async fn addresses(&self, target: &Target) -> Result<Vec<IpAddr>, Error> {
        let found = match &target.host {
            Host::Address(address) => vec![*address],
            Host::Name(name) => {
                let failed = |reason: String| Error::Resolve { host: target.shown.clone(), reason };
                let found = self.resolver.resolve(name).await.map_err(|error| failed(error.to_string()))?;
                if found.is_empty() {
                    return Err(failed("the name has no address".into()));
                }
                if found.len() > MAX_ADDRESSES {
                    return Err(failed(format!("the name has {} addresses and may have {MAX_ADDRESSES}", found.len())));
                }
                found
            }
        };
        for address in &found {
            let checked = self.rules.check_address(&target.host, target.port, *address);
            checked.map_err(|reason| target.refused(reason))?;
        }
        Ok(found)
    }
}

impl Target {
    fn of(uri: &Uri) -> Result<Target, Error> {
        let bad = |reason: String| Error::Request { reason };
        let secure = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(bad("its URL must begin with http:// or https://".into())),
        };
        let authority = uri.authority().map(uri::Authority::as_str).unwrap_or_default();
        if authority.contains('@') {
            return Err(bad("its URL has a user or a password before the host: send them in a header".into()));
        }
        let length = authority.len() + uri.path_and_query().map_or(0, |path| path.as_str().len());
        if length > MAX_URL {
            return Err(bad(format!("its URL has {length} bytes and may have {MAX_URL}")));
        }
        let (host, port) = rules::split_port(authority).map_err(|reason| bad(format!("the host of its URL: {reason}")))?;
        let parsed = rules::parse_host(host).map_err(|reason| bad(format!("the host of its URL, {host:?}: {reason}")))?;
        let port = port.unwrap_or(if secure { 443 } else { 80 });
        Ok(Target { shown: authority.to_ascii_lowercase(), host: parsed, port, secure })
    }

    fn refused(&self, reason: String) -> Error {
        Error::Refused { host: self.shown.clone(), reason }
    }
}

/// The request as it goes on the wire: the path alone, and the host's own fields for the connection.
fn prepared(request: Request<Bytes>) -> Result<Request<Full<Bytes>>, Error> {
    let bad = |reason: String| Error::Request { reason };
    let (parts, body) = request.into_parts();
    if parts.method == Method::CONNECT {
        return Err(bad("the method CONNECT is not for requests".into()));
    }
    let mut headers: HeaderMap = parts.headers;
    for name in OF_THE_CONNECTION {
        headers.remove(HeaderName::from_static(name));
    }
    if headers.len() > MAX_HEADERS {
        return Err(bad(format!("it has {} header fields and may have {MAX_HEADERS}", headers.len())));
    }
    let size: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if size > MAX_HEAD {
        return Err(bad(format!("its header fields have {size} bytes and may have {MAX_HEAD}")));
    }
    let authority = parts.uri.authority().map(uri::Authority::as_str).unwrap_or_default();
    headers.insert(header::HOST, HeaderValue::from_str(authority).map_err(|error| bad(error.to_string()))?);
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    let path = parts.uri.path_and_query().map_or("/", uri::PathAndQuery::as_str);
    let mut prepared = Request::builder()
        .method(parts.method)
        .uri(if path.starts_with('/') { path.to_owned() } else { format!("/{path}") })
        .body(Full::new(body))
        .map_err(|error| bad(error.to_string()))?;
    *prepared.headers_mut() = headers;
    Ok(prepared)
}

/// Tries one address after the other; each may take its part of the time that is left.
async fn connect(target: &Target, addresses: &[IpAddr], mut left: Duration) -> Result<TcpStream, Error> {
    let mut reason = String::new();
    for (index, address) in addresses.iter().enumerate() {
        let started = Instant::now();
        let part = left / u32::try_from(addresses.len() - index).unwrap_or(u32::MAX).max(1);
        match tokio::time::timeout(part, TcpStream::connect(SocketAddr::new(*address, target.port))).await {
            Ok(Ok(socket)) => {
                let _ = socket.set_nodelay(true);
                return Ok(socket);
            }
            Ok(Err(error)) => reason = error.to_string(),
            Err(_) => reason = "it does not answer".into(),
        }
        left = left.saturating_sub(started.elapsed());
    }
    Err(Error::Connect { host: target.shown.clone(), reason })
}

/// One request and its answer. The connection is driven here, so that it ends when nobody waits any more.
async fn talk(
    target: &Target,
    socket: Socket,
    request: Request<Full<Bytes>>,
    max_body: usize,
    long: TooLong,
) -> Result<Response<Bytes>, Error> {
    let failed = |error: hyper::Error| Error::Protocol { host: target.shown.clone(), reason: explained(&error) };
    let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
        .max_buf_size(MAX_HEAD)
        .max_headers(MAX_HEADERS)
        .handshake(TokioIo::new(socket))
        .await
        .map_err(failed)?;
    let mut exchange = pin!(async {
        let (parts, body) = sender.send_request(request).await.map_err(failed)?.into_parts();
        Ok(Response::from_parts(parts, collect(target, body, max_body, long).await?))
    });
    tokio::select! {
        answer = &mut exchange => answer,
        // The connection can be over before the last of the body was taken from it. Its error shows in the exchange.
        _ = connection => exchange.await,
    }
}

async fn collect(target: &Target, mut body: Incoming, limit: usize, long: TooLong) -> Result<Bytes, Error> {
    let too_large = || Error::TooLarge { host: target.shown.clone(), limit };
    if body.size_hint().lower() > limit as u64 && long == TooLong::Fails {
        return Err(too_large());
    }
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Error::Protocol { host: target.shown.clone(), reason: explained(&error) })?;
        let Ok(data) = frame.into_data() else { continue };
        let room = limit.saturating_sub(whole.len());
        whole.extend_from_slice(&data[..data.len().min(room)]);
        if data.len() > room {
            match long {
                TooLong::Fails => return Err(too_large()),
                TooLong::IsCut => break,
            }
        }
    }
    Ok(whole.freeze())
}

/// What hyper says, with the causes that it keeps apart.
fn explained(error: &hyper::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

/// The platform's certificate authorities, read once.
fn platform_tls() -> Result<Arc<ClientConfig>, String> {
    static CONFIG: OnceLock<Result<Arc<ClientConfig>, String>> = OnceLock::new();
    CONFIG.get_or_init(|| trusting(rustls_native_certs::load_native_certs().certs)).clone()
}

/// A TLS configuration that trusts `authorities`.
fn trusting(authorities: Vec<rustls_pki_types::CertificateDer<'static>>) -> Result<Arc<ClientConfig>, String> {
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(authorities);
    if added == 0 {
        let what = "this system has no certificate authorities: install ca-certificates, or name a PEM file in SSL_CERT_FILE";
        return Err(what.into());
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
