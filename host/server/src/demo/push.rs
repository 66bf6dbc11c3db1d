//! Pushes a hub stream to an RTMP server over TCP, and connects again when the connection is lost.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use flyloft_media::hub::{From, Read, Stream};
use flyloft_media::rtmp::{Address, ClientEvent, ClientSession, SessionConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

/// How long the server may take from the connection to the permission to publish, and to take what is written.
const PATIENCE: Duration = Duration::from_secs(10);
const FIRST_WAIT: Duration = Duration::from_millis(250);
const LONGEST_WAIT: Duration = Duration::from_secs(8);
/// Frames that are read from the stream at a time.
const BATCH: usize = 64;

/// Pushes `stream` to `address` until `cancel` or until the stream ends. `ready` is called each time when the server wants media.
pub async fn run(stream: &Arc<Stream>, address: &Address, ready: impl Fn(), cancel: &CancellationToken) -> Result<()> {
    if address.tls {
        bail!("the demo pushes to rtmp:// addresses only, not to rtmps://");
    }
    let mut wait = FIRST_WAIT;
    loop {
        let mut accepted = false;
        let ready = || {
            accepted = true;
            ready();
        };
        let pushed = tokio::select! {
            () = cancel.cancelled() => return Ok(()),
            socket = connect(address) => match socket {
                Ok(socket) => publish(socket, stream, address, ready, cancel).await,
                Err(error) => Err(error),
            },
        };
        let Err(error) = pushed else { return Ok(()) };
        wait = if accepted { FIRST_WAIT } else { wait };
        tracing::warn!(host = address.host, port = address.port, "the demo's push stopped, next try in {wait:?}: {error:#}");
        tokio::select! {
            () = cancel.cancelled() => return Ok(()),
            () = tokio::time::sleep(wait) => {}
        }
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

async fn connect(address: &Address) -> Result<TcpStream> {
    let socket = timeout(PATIENCE, TcpStream::connect((address.host.as_str(), address.port)))
        .await
        .context("the server does not answer")?
        .context("cannot connect")?;
    socket.set_nodelay(true)?;
    Ok(socket)
}

/// One connection. Ends well when the stream has ended or on `cancel`.
async fn publish(
    mut socket: TcpStream,
    stream: &Arc<Stream>,
    address: &Address,
    mut ready: impl FnMut(),
    cancel: &CancellationToken,
) -> Result<()> {
    let mut session = ClientSession::new(address.clone(), SessionConfig::default())?;
    let mut input = vec![0; 16 << 10];
    let asked = Instant::now() + PATIENCE;
    while !accepted(&mut session)? {
        write(&mut socket, &mut session).await?;
        tokio::select! {
            () = cancel.cancelled() => return Ok(()),
            read = timeout_at(asked, socket.read(&mut input)) => {
                let length = read.context("the server does not say whether it takes the stream")??;
                receive(&mut session, input.get(..length))?;
            }
        }
    }
    ready();
    let mut cursor = stream.cursor(From::Next);
    let mut entries = Vec::new();
    loop {
        let changed = stream.listen();
        let read = stream.read(&mut cursor, &mut entries, BATCH);
        for entry in entries.drain(..) {
            session.send(&entry)?;
        }
        if read == Read::Ended || cancel.is_cancelled() {
            session.close();
            return write(&mut socket, &mut session).await;
        }
        write(&mut socket, &mut session).await?;
        if read != Read::Empty {
            continue;
        }
        tokio::select! {
            () = cancel.cancelled() => {}
            () = changed => {}
            read = socket.read(&mut input) => {
                receive(&mut session, input.get(..read?))?;
                accepted(&mut session)?;
            }
        }
    }
}

fn receive(session: &mut ClientSession, input: Option<&[u8]>) -> Result<()> {
    match input {
        None | Some([]) => bail!("the server closed the connection"),
        Some(bytes) => Ok(session.handle_input(bytes)?),
    }
}

/// Whether the server has taken the stream; an error when it does not want it or does not want it any more.
fn accepted(session: &mut ClientSession) -> Result<bool> {
    let mut ready = false;
    while let Some(event) = session.poll_event() {
        match event {
            ClientEvent::Ready => ready = true,
            ClientEvent::Rejected { code, description } => bail!("the server refused the stream: {code} {description}"),
            ClientEvent::Closed { code, description } => bail!("the server ended the stream: {code} {description}"),
        }
    }
    Ok(ready)
}

async fn write(socket: &mut TcpStream, session: &mut ClientSession) -> Result<()> {
    while let Some(bytes) = session.poll_output() {
        timeout(PATIENCE, socket.write_all(&bytes)).await.context("the server takes no more data")??;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
