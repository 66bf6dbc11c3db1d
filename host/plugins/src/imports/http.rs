//! `wasi:http/outgoing-handler`: requests to hosts that the operator has granted, a few for each call, each ended with it.
//! They go out through [`crate::outbound`], which judges the address that is connected to.

use crate::grants::Grants;
use crate::logs::GuestLog;
use crate::outbound::{self, Client, Limits, Rules};
use crate::sandbox::Sandbox;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use std::future::{Future, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};
use wasmtime::component::Linker;
use wasmtime_wasi_http::p2::bindings::LinkOptions;
use wasmtime_wasi_http::p2::bindings::http::{outgoing_handler, types};
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttp, WasiHttpHooks, WasiHttpView};

/// Bytes that a guest may write into a body at a time: the host holds so many of each request, also of one that is never sent.
const WRITE_SIZE: usize = 64 << 10;
/// How much later than its call a request would end by itself.
const AFTER_THE_CALL: Duration = Duration::from_secs(1);

/// What one call may still send.
pub(crate) struct Outgoing {
    grants: Arc<Grants>,
    log: GuestLog,
    requests: u32,
    limit: u32,
    /// Bytes of a body.
    body: usize,
    /// When the call ends.
    until: Instant,
    sent: Vec<Sent>,
}

/// A request that was sent.
struct Sent {
    host: String,
    over: Arc<AtomicBool>,
}

type Answer = Result<(Response<WasiBody>, Box<dyn Future<Output = Result<(), Error>> + Send>), Error>;

impl Outgoing {
    /// Lets a call send `requests` requests with bodies of up to `body` bytes each, until its end.
    pub(crate) fn new(grants: Arc<Grants>, log: GuestLog, requests: u32, body: usize, until: Instant) -> Outgoing {
        Outgoing { grants, log, requests, limit: requests, body, until, sent: Vec::new() }
    }

    /// The host of the first request that is not over yet.
    pub(crate) fn waiting_for(&self) -> Option<&str> {
        Some(&self.sent.iter().find(|sent| !sent.over.load(Relaxed))?.host)
    }

    /// Counts a request and finds the way that it may take.
    fn admit(&mut self) -> Result<Client, Error> {
        let Some(left) = self.requests.checked_sub(1) else {
            let reason = format!("the call has made {} HTTP requests, which is all that it may", self.limit);
            return Err(refused(&self.log, &reason, Error::ConnectionLimitReached));
        };
        self.requests = left;
        // Parsing the few hosts costs nothing beside a connection, and only calls that make one pay for it.
        match Rules::from_hosts(&self.grants.hosts) {
            Ok(rules) => Ok(Client::new(rules)),
            Err(reason) => {
                let reason = format!("the granted hosts can't be used: {reason}");
                Err(refused(&self.log, &reason, Error::ConfigurationError))
            }
        }
    }
}

/// Tells the author in the plugin's log what the codes of `wasi:http` have no words for.
fn refused(log: &GuestLog, reason: &str, error: Error) -> Error {
    log.message(tracing::Level::WARN, "wasi:http", reason);
    error
}

impl WasiHttpHooks for Outgoing {
    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _body_error: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Answer> + Send> {
        let client = match self.admit() {
            Ok(client) => client,
            Err(error) => return Box::new(ready(Err(error))),
        };
        let exchange = Exchange { client, log: self.log.clone(), body: self.body, deadline: self.deadline(options) };
        let over = Arc::<AtomicBool>::default();
        let host = request.uri().authority().map(ToString::to_string).unwrap_or_default();
        self.sent.push(Sent { host, over: Arc::clone(&over) });
        Box::new(async move {
            let answer = exchange.run(request).await;
            over.store(true, Relaxed);
            answer
        })
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        WRITE_SIZE
    }
}

impl Outgoing {
    /// What is left of the call, or less if the guest wants to wait less. The answer is read as a whole before the guest
    /// sees its beginning, so the guest's time for the first byte is one for all of them. The end of the call comes first, and
    /// ends the request with it.
    fn deadline(&self, options: Option<RequestOptions>) -> Duration {
        let left = self.until.saturating_duration_since(Instant::now()) + AFTER_THE_CALL;
        let wanted = options.and_then(|options| {
            let first = options.first_byte_timeout?;
            Some(first.saturating_add(options.connect_timeout.unwrap_or_default()))
        });
        wanted.map_or(left, |wanted| wanted.min(left))
    }
}

/// One request and its answer.
struct Exchange {
    client: Client,
    log: GuestLog,
    body: usize,
    deadline: Duration,
}

impl Exchange {
    async fn run(self, request: Request<WasiBody>) -> Answer {
        let started = Instant::now();
        let (parts, body) = request.into_parts();
        // The host is judged before the guest's body is waited for.
        self.client.check(&parts.uri).map_err(|error| self.failed(error))?;
        let body = match tokio::time::timeout(self.deadline, Limited::new(body, self.body).collect()).await {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(error)) if error.is::<LengthLimitError>() => {
                let reason = format!("the body of the request has more than {} bytes", self.body);
                return Err(refused(&self.log, &reason, Error::HttpRequestBodySize(Some(self.body as u64))));
            }
            Ok(Err(error)) => return Err(Error::InternalError(Some(error.to_string()))),
            Err(_) => return Err(Error::ConnectionWriteTimeout),
        };
        let limits = Limits { deadline: self.deadline.saturating_sub(started.elapsed()), max_body: self.body };
        let answer = self.client.send(Request::from_parts(parts, body), limits).await;
        let answer: Response<Bytes> = answer.map_err(|error| self.failed(error))?;
        let answer = answer.map(|body| Full::new(body).map_err(|never| match never {}).boxed_unsync());
        Ok((answer, Box::new(ready(Ok(())))))
    }

    fn failed(&self, error: outbound::Error) -> Error {
        use outbound::Error as Outbound;
        let code = match &error {
            Outbound::Request { .. } => Error::HttpRequestUriInvalid,
            Outbound::Refused { .. } => Error::HttpRequestDenied,
            Outbound::Resolve { .. } => Error::DestinationNotFound,
            Outbound::Connect { .. } => Error::ConnectionRefused,
            Outbound::Tls { .. } => Error::TlsProtocolError,
            Outbound::Deadline { .. } => Error::HttpResponseTimeout,
            Outbound::TooLarge { limit, .. } => Error::HttpResponseBodySize(Some(*limit as u64)),
            Outbound::Protocol { .. } => Error::HttpProtocolError,
        };
        refused(&self.log, &error.to_string(), code)
    }
}

pub(super) fn add_to_linker(linker: &mut Linker<Sandbox>) -> wasmtime::Result<()> {
    outgoing_handler::add_to_linker::<Sandbox, WasiHttp>(linker, Sandbox::http)?;
    types::add_to_linker::<Sandbox, WasiHttp>(linker, &(&LinkOptions::default()).into(), Sandbox::http)
}
