//! The way to stores: HTTP/1.1 over connections that are kept for the next request, made only to addresses that the rules of
//! [`flyloft_plugins::outbound`] let through.

use std::error::Error as StdError;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use aws_smithy_runtime_api::client::connector_metadata::ConnectorMetadata;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use flyloft_plugins::outbound;
use http::{Request, Response, Uri};
use hyper::body::Incoming;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};

use super::error::Failure;
use crate::vod::source::error::ReadError;

/// From the resolving of a name to the end of the TLS handshake.
const CONNECT: Duration = Duration::from_secs(10);
/// How long a connection is kept for the next request.
const IDLE: Duration = Duration::from_secs(20);
/// Connections that are kept for one host.
const MAX_IDLE: usize = 32;
/// Bytes of the head of an answer, and what is read at a time.
const MAX_HEAD: usize = 64 * 1024;

/// An HTTP client. Cheap to clone; all clones share their connections.
#[derive(Clone, Debug)]
pub(super) struct Net(legacy::Client<Connector, SdkBody>);

impl Net {
    pub(super) fn new(client: outbound::Client) -> Self {
        let client = legacy::Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(MAX_IDLE)
            .pool_timer(TokioTimer::new())
            .http1_max_buf_size(MAX_HEAD)
            .build(Connector(client));
        Self(client)
    }

    /// Sends a request and waits for the head of its answer.
    pub(super) async fn send(&self, request: Request<SdkBody>) -> Result<Response<Incoming>, legacy::Error> {
        self.0.request(request).await
    }
}

/// What a request that got no answer means: who may not be asked at all is not asked again.
pub(super) fn failure(error: &(dyn StdError + 'static)) -> Failure {
    let mut text = error.to_string();
    let mut cause = Some(error);
    while let Some(error) = cause {
        match error.downcast_ref::<outbound::Error>() {
            Some(error @ outbound::Error::Refused { .. }) => {
                let reason = format!("{error}; the operator grants it with vod.allow_networks");
                return Failure::Lasting(ReadError::Denied { reason });
            }
            Some(error @ outbound::Error::Request { .. }) => return Failure::invalid(error.to_string()),
            Some(error) => return Failure::passing(error.to_string()),
            None => {}
        }
        text = error.to_string();
        cause = error.source();
    }
    // The innermost one says what happened: "connection reset by peer".
    Failure::passing(super::error::shown(&text))
}

/// Makes connections for hyper.
#[derive(Clone)]
struct Connector(outbound::Client);

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Connector")
    }
}

impl tower::Service<Uri> for Connector {
    type Response = Link;
    type Error = outbound::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Link, outbound::Error>> + Send>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), outbound::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let client = self.0.clone();
        Box::pin(async move { Ok(Link(TokioIo::new(client.connect(&uri, CONNECT).await?))) })
    }
}

/// A connection as hyper wants it.
struct Link(TokioIo<outbound::Socket>);

impl Connection for Link {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Read for Link {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: ReadBufCursor<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl Write for Link {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

/// The same client for Amazon's SDK.
impl HttpConnector for Net {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let net = self.clone();
        HttpConnectorFuture::new(async move {
            let request = request.try_into_http1x().map_err(|error| ConnectorError::user(error.into()))?;
            let answer = net.send(request).await.map_err(|error| ConnectorError::io(error.into()))?;
            HttpResponse::try_from(answer.map(SdkBody::from_body_1_x)).map_err(|error| ConnectorError::other(error.into(), None))
        })
    }
}

impl HttpClient for Net {
    fn http_connector(&self, _settings: &HttpConnectorSettings, _components: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }

    fn connector_metadata(&self) -> Option<ConnectorMetadata> {
        None
    }
}
