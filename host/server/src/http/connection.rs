//! Serves one HTTP connection: HTTP/1.1 and HTTP/2, plain and TLS.
//!
//! A handler on a plain HTTP/1.1 connection may take the socket away ([`Takeover`]): that is how an HTTP-FLV viewer moves to the
//! fan-out, where it costs one vectored write for each picture and no task of its own.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

/// What a client may take to send the head of a request.
const HEADER_TIMEOUT: Duration = Duration::from_secs(15);
/// What requests under way may take when the server stops.
const GRACE: Duration = Duration::from_secs(5);
/// What a client may go on sending, and for how long, after the answer that ends the connection.
const MAX_DRAINED: usize = 64 << 20;
const DRAIN: Duration = Duration::from_secs(2);
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The client's address, as a request extension.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    pub address: SocketAddr,
    pub tls: bool,
}

/// Lets a handler take the socket of its connection, as a request extension.
#[derive(Clone, Debug)]
pub struct Takeover(Arc<Mutex<Option<oneshot::Sender<TcpStream>>>>);

impl Takeover {
    /// Ends HTTP on this connection: the receiver gets the socket. The handler must not answer any more, so it should wait for ever.
    /// `None` when somebody has it already.
    pub fn take(&self) -> Option<oneshot::Receiver<TcpStream>> {
        let (sender, receiver) = oneshot::channel();
        let mut slot = self.0.lock();
        slot.is_none().then(|| *slot = Some(sender))?;
        Some(receiver)
    }
}

async fn answer(
    router: Router,
    peer: Peer,
    takeover: Option<Takeover>,
    request: Request<Incoming>,
) -> Result<axum::response::Response, Infallible> {
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(peer);
    if let Some(takeover) = takeover {
        request.extensions_mut().insert(takeover);
    }
    router.oneshot(request).await
}

/// Serves a connection that is not encrypted.
pub async fn serve_plain(socket: TcpStream, address: SocketAddr, router: Router, stop: CancellationToken) {
    let _ = socket.set_nodelay(true);
    let peer = Peer { address, tls: false };
    match tokio::time::timeout(HEADER_TIMEOUT, is_http2(&socket)).await {
        Ok(Ok(true)) => serve_http2(socket, peer, router, stop).await,
        Ok(Ok(false)) => serve_http1(socket, peer, router, stop).await,
        Ok(Err(_)) | Err(_) => {}
    }
}

/// Serves a connection after its TLS handshake. `http2` is what ALPN chose.
pub async fn serve_tls<S>(socket: S, address: SocketAddr, http2: bool, router: Router, stop: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let peer = Peer { address, tls: true };
    if http2 {
        serve_http2(socket, peer, router, stop).await;
        return;
    }
    let service = service_fn(move |request| answer(router.clone(), peer, None, request));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(socket), service);
    let mut connection = pin!(connection);
    tokio::select! {
        _ = connection.as_mut() => return,
        () = stop.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    let _ = tokio::time::timeout(GRACE, connection).await;
}

/// Looks at the first bytes without taking them.
async fn is_http2(socket: &TcpStream) -> std::io::Result<bool> {
    let mut start = [0; PREFACE.len()];
    loop {
        let count = socket.peek(&mut start).await?;
        if count == 0 || start[..count] != PREFACE[..count] {
            return Ok(false);
        }
        if count == PREFACE.len() {
            return Ok(true);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn serve_http2<S>(socket: S, peer: Peer, router: Router, stop: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request| answer(router.clone(), peer, None, request));
    let connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(Duration::from_secs(20))
        .max_concurrent_streams(128)
        .serve_connection(TokioIo::new(socket), service);
    let mut connection = pin!(connection);
    tokio::select! {
        _ = connection.as_mut() => return,
        () = stop.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    let _ = tokio::time::timeout(GRACE, connection).await;
}

async fn serve_http1(socket: TcpStream, peer: Peer, router: Router, stop: CancellationToken) {
    let takeover = Takeover(Arc::default());
    let service = {
        let takeover = takeover.clone();
        service_fn(move |request| Box::pin(answer(router.clone(), peer, Some(takeover.clone()), request)))
    };
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(socket), service);
    let mut stopping = pin!(stop.cancelled());
    let mut is_stopping = false;
    let deadline = tokio::time::sleep(Duration::from_secs(u64::from(u32::MAX)));
    let mut deadline = pin!(deadline);
    let taken = poll_fn(|context| {
        if !is_stopping && stopping.as_mut().poll(context).is_ready() {
            is_stopping = true;
            std::pin::Pin::new(&mut connection).graceful_shutdown();
            deadline.as_mut().reset(tokio::time::Instant::now() + GRACE);
        }
        if deadline.as_mut().poll(context).is_ready() {
            return Poll::Ready(None);
        }
        // The handler asks for the socket while it is polled from here, so the answer is known when the poll returns.
        let polled = connection.poll_without_shutdown(context);
        if let Some(sender) = takeover.0.lock().take() {
            return Poll::Ready(Some(sender));
        }
        polled.map(|_| None)
    })
    .await;
    match taken {
        Some(sender) => {
            let socket = connection.into_parts().io.into_inner();
            let _ = sender.send(socket);
        }
        None => close(connection.into_parts().io.into_inner()).await,
    }
}

/// Closes without losing the last answer: a socket that is closed while the client still sends is reset, and the client may never
/// read why its request was refused.
async fn close(mut socket: TcpStream) {
    let drain = async {
        socket.shutdown().await?;
        let mut rest = vec![0; 16 << 10];
        let mut drained = 0;
        while drained < MAX_DRAINED {
            match socket.read(&mut rest).await? {
                0 => break,
                count => drained += count,
            }
        }
        std::io::Result::Ok(())
    };
    let _ = tokio::time::timeout(DRAIN, drain).await;
}
