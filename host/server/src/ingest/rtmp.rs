//! One RTMP or RTMPS connection: moves bytes between the socket and the session, and carries out what the session asks for.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use bytes::{Bytes, BytesMut};
use flyloft_media::rtmp::{Event, PlayRequest, PublishRequest, RequestId, ServerSession, SessionConfig};
use flyloft_plugins::model::Protocol;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::{Door, Publishing};
use crate::egress::Format;
use crate::egress::follower::Follower;
use crate::egress::link::Link;
use crate::http::access::{Access, Admission, Viewer};
use crate::rooms::{PublishAttempt, Refusal};

/// What a client may take to say whether it publishes or plays.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a player waits for a stream that begins.
const FIRST_PICTURE: Duration = Duration::from_secs(10);
/// How long the last bytes of a connection may take.
const GOODBYE: Duration = Duration::from_secs(2);
/// What is read at a time while only commands come, and when media does.
const COMMANDS_BUFFER: usize = 4 << 10;
const MEDIA_BUFFER: usize = 64 << 10;

/// What connections need of the server.
#[derive(Clone)]
pub struct Service {
    pub door: Door,
    pub access: Arc<Access>,
    pub max_lag: i64,
}

/// What a connection turned into.
enum Role {
    Publisher(Box<Publishing>),
    Player(Admission),
}

/// Serves a connection that is not encrypted. Its player moves to the fan-out.
pub async fn serve_plain(socket: TcpStream, remote: SocketAddr, service: Service, stop: CancellationToken) -> Result<()> {
    let _ = socket.set_nodelay(true);
    let mut connection = Connection::new(socket, remote, Protocol::Rtmp, service, stop);
    match connection.negotiate().await? {
        Some(Role::Publisher(publishing)) => connection.publish(publishing).await,
        Some(Role::Player(admission)) => connection.play_in_fanout(admission).await,
        None => Ok(()),
    }
}

/// Serves a connection after its TLS handshake.
pub async fn serve_tls<S>(socket: S, remote: SocketAddr, service: Service, stop: CancellationToken) -> Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut connection = Connection::new(socket, remote, Protocol::Rtmps, service, stop);
    match connection.negotiate().await? {
        Some(Role::Publisher(publishing)) => connection.publish(publishing).await,
        Some(Role::Player(admission)) => connection.play_here(admission).await,
        None => Ok(()),
    }
}

struct Connection<S> {
    socket: S,
    remote: SocketAddr,
    protocol: Protocol,
    service: Service,
    stop: CancellationToken,
    session: ServerSession,
    input: BytesMut,
    read_size: usize,
    flash_version: Option<String>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    fn new(socket: S, remote: SocketAddr, protocol: Protocol, service: Service, stop: CancellationToken) -> Self {
        Self {
            socket,
            remote,
            protocol,
            service,
            stop,
            session: ServerSession::new(SessionConfig::default()),
            input: BytesMut::new(),
            read_size: COMMANDS_BUFFER,
            flash_version: None,
        }
    }

    /// Reads once and hands it to the session. False at the end of the input.
    async fn receive(&mut self) -> Result<bool> {
        self.input.reserve(self.read_size);
        if self.socket.read_buf(&mut self.input).await.context("reading")? == 0 {
            return Ok(false);
        }
        let handled = self.session.handle_input(&self.input);
        self.input.clear();
        handled.context("the client broke the protocol")?;
        Ok(true)
    }

    async fn send(&mut self) -> Result<()> {
        while let Some(bytes) = self.session.poll_output() {
            self.socket.write_all(&bytes).await.context("writing")?;
        }
        self.socket.flush().await.context("writing")
    }

    /// Carries the session to the point where the client publishes or plays, and has asked whether it may.
    async fn negotiate(&mut self) -> Result<Option<Role>> {
        let stop = self.stop.clone();
        let deadline = tokio::time::sleep(HANDSHAKE_TIMEOUT);
        let mut deadline = std::pin::pin!(deadline);
        loop {
            while let Some(event) = self.session.poll_event() {
                match event {
                    Event::Connected(connected) => self.flash_version = connected.flash_version,
                    Event::PublishRequested(request) => return self.decide_publish(request).await,
                    Event::PlayRequested(request) => return self.decide_play(request).await,
                    _ => {}
                }
            }
            self.send().await?;
            tokio::select! {
                received = self.receive() => if !received? { return Ok(None) },
                () = stop.cancelled() => return Ok(None),
                () = deadline.as_mut() => bail!("the client neither published nor played within {HANDSHAKE_TIMEOUT:?}"),
            }
        }
    }

    async fn decide_publish(&mut self, request: PublishRequest) -> Result<Option<Role>> {
        let attempt = PublishAttempt {
            stream_key: &request.name,
            parameters: &request.parameters,
            protocol: self.protocol,
            remote: self.remote,
            user_agent: self.flash_version.as_deref(),
        };
        match self.service.door.clone().publish(attempt).await {
            Ok(publishing) => {
                self.session.accept(request.id);
                self.send().await?;
                Ok(Some(Role::Publisher(Box::new(publishing))))
            }
            Err(refusal) => {
                tracing::info!(remote = %self.remote, code = refusal.code, reason = refusal.reason, "publish refused");
                self.refuse(request.id, "NetStream.Publish.BadName", &refusal).await
            }
        }
    }

    async fn decide_play(&mut self, request: PlayRequest) -> Result<Option<Role>> {
        let mut viewer = Viewer {
            remote: self.remote,
            user_agent: self.flash_version.clone(),
            token: None,
            parameters: request.parameters.clone(),
            session: 0,
        };
        if let Some(at) = viewer.parameters.iter().position(|(name, _)| name == "token") {
            viewer.token = Some(viewer.parameters.remove(at).1);
        }
        let admission = match self.service.access.admit(&request.name, self.protocol, &viewer).await {
            Ok(admission) => admission,
            Err(refusal) => {
                tracing::info!(remote = %self.remote, code = refusal.code, reason = refusal.reason, "play refused");
                return self.refuse(request.id, "NetStream.Play.StreamNotFound", &refusal).await;
            }
        };
        let refusal = |code: &str, reason: &str| Refusal {
            status: http::StatusCode::NOT_FOUND,
            code: code.to_owned(),
            reason: reason.to_owned(),
        };
        if !admission.live.outputs.rtmp {
            let refusal = refusal("not-an-output", "this stream has no RTMP output: its output mode leaves it out");
            return self.refuse(request.id, "NetStream.Play.StreamNotFound", &refusal).await;
        }
        if !matches!(tokio::time::timeout(FIRST_PICTURE, admission.live.joinable()).await, Ok(true)) {
            let refusal = refusal("not-yet", "the stream has no picture yet: try again in a moment");
            return self.refuse(request.id, "NetStream.Play.StreamNotFound", &refusal).await;
        }
        if let Err(refusal) = admission.check_picture() {
            return self.refuse(request.id, "NetStream.Play.Failed", &refusal).await;
        }
        self.session.accept(request.id);
        Ok(Some(Role::Player(admission)))
    }

    async fn refuse(&mut self, id: RequestId, code: &str, refusal: &Refusal) -> Result<Option<Role>> {
        self.session.reject(id, code, &refusal.reason);
        self.send().await?;
        self.say_goodbye().await;
        Ok(None)
    }

    /// Leaves the client the time to read what was written: closing with unread input would reset the connection.
    async fn say_goodbye(&mut self) {
        let goodbye = async {
            let _ = self.socket.shutdown().await;
            let mut rest = [0; 4096];
            while matches!(self.socket.read(&mut rest).await, Ok(count) if count > 0) {}
        };
        let _ = tokio::time::timeout(GOODBYE, goodbye).await;
    }

    async fn publish(&mut self, mut publishing: Box<Publishing>) -> Result<()> {
        self.read_size = MEDIA_BUFFER;
        let ended = self.pump(&mut publishing).await;
        let reason = match &ended {
            Ok(reason) => reason.clone(),
            Err(error) => format!("{error:#}"),
        };
        publishing.finish(&reason).await;
        ended.map(drop)
    }

    /// Moves frames until the publisher leaves, and says why it did.
    async fn pump(&mut self, publishing: &mut Publishing) -> Result<String> {
        let disconnect = publishing.disconnect.clone();
        let stall = self.service.door.stall_timeout;
        loop {
            while let Some(event) = self.session.poll_event() {
                let refused = match event {
                    Event::Track { id, codec, config } => publishing.set_track(id, codec, config).err(),
                    Event::Frame(frame) => publishing.push(frame).err().map(|breach| breach.to_string()),
                    Event::PublishFinished => return Ok("the publisher stopped".to_owned()),
                    _ => None,
                };
                if let Some(reason) = refused {
                    publishing.flush();
                    self.session.end_publish("NetStream.Publish.Failed", &reason);
                    self.send().await?;
                    self.say_goodbye().await;
                    bail!(reason);
                }
            }
            publishing.flush();
            self.send().await?;
            tokio::select! {
                received = tokio::time::timeout(stall, self.receive()) => match received {
                    Ok(received) => if !received? { return Ok("the publisher closed the connection".to_owned()) },
                    Err(_) => return Ok(format!("the publisher sent nothing for {stall:?}")),
                },
                () = disconnect.cancelled() => {
                    let reason = publishing.reason().unwrap_or_else(|| "the server ended the broadcast".to_owned());
                    self.session.end_publish("NetStream.Unpublish.Success", &reason);
                    // A publisher that reads nothing must go, too.
                    let _ = tokio::time::timeout(GOODBYE, self.send()).await;
                    self.say_goodbye().await;
                    return Ok(reason);
                }
            }
        }
    }

    /// Plays on a connection that only this task can write to.
    async fn play_here(&mut self, admission: Admission) -> Result<()> {
        let Admission { live, grant } = admission;
        let Ok(_guard) = live.viewers.connect(grant.limits.max_viewers) else {
            bail!("the stream has all the viewers it may have")
        };
        tracing::info!(stream = live.name(), remote = %self.remote, "an RTMPS viewer joined");
        self.send().await?;
        let mut follower = Follower::new(Arc::clone(&live.stream), Format::Rtmp, self.service.max_lag);
        let expired = crate::http::expire(grant.limits.max_duration);
        let mut expired = std::pin::pin!(expired);
        let mut paused = false;
        let stop = self.stop.clone();
        loop {
            tokio::select! {
                buffers = follower.next(), if !paused => match buffers {
                    Some(buffers) => for buffer in buffers { self.socket.write_all(&buffer).await.context("writing")? },
                    None => break,
                },
                received = self.receive() => {
                    if !received? { return Ok(()) }
                    while let Some(event) = self.session.poll_event() {
                        match event {
                            Event::PlayFinished => return Ok(()),
                            Event::Paused(pause) => {
                                if paused && !pause { follower.resume_at_key_frame() }
                                paused = pause;
                            }
                            _ => {}
                        }
                    }
                    self.send().await?;
                }
                () = expired.as_mut() => break,
                () = stop.cancelled() => break,
            }
        }
        self.session.end_play();
        self.send().await?;
        self.say_goodbye().await;
        Ok(())
    }
}

impl Connection<TcpStream> {
    /// Hands the socket to the fan-out, which writes; this task goes on reading.
    async fn play_in_fanout(self, admission: Admission) -> Result<()> {
        let Self { socket, remote, mut session, stop, input, .. } = self;
        // What is left in a moved struct lives until the end of the function, and a thousand players have a thousand of these.
        drop(input);
        let Admission { live, grant } = admission;
        let Ok(guard) = live.viewers.connect(grant.limits.max_viewers) else {
            bail!("the stream has all the viewers it may have")
        };
        tracing::info!(stream = live.name(), %remote, "an RTMP viewer joined");
        let prelude = std::iter::from_fn(|| session.poll_output()).collect();
        let link = live.fanout.attach(socket, Format::Rtmp, prelude, guard).await?;
        let watched = tokio::select! {
            watched = listen_to_player(&link, &mut session) => watched,
            () = link.closed() => Ok(()),
            () = crate::http::expire(grant.limits.max_duration) => Ok(()),
            () = stop.cancelled() => Ok(()),
        };
        link.leave().await;
        session.end_play();
        let goodbye: Vec<Bytes> = std::iter::from_fn(|| session.poll_output()).collect();
        // Only after whole messages: a viewer that was cut off in the middle of one cannot read more.
        if !link.was_cut() {
            let _ = link.socket.try_write(&goodbye.concat());
        }
        watched
    }
}

/// Reads what a player says: acknowledgements, pauses, and that it leaves.
async fn listen_to_player(link: &Link, session: &mut ServerSession) -> Result<()> {
    loop {
        link.socket.readable().await.context("reading")?;
        match read_some(&link.socket, session) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error).context("the player broke off"),
        }
        while let Some(event) = session.poll_event() {
            match event {
                Event::PlayFinished => return Ok(()),
                Event::Paused(paused) => link.set_paused(paused),
                _ => {}
            }
        }
        while let Some(bytes) = session.poll_output() {
            if !link.send_control(bytes) {
                bail!("the player asks for more than it reads");
            }
        }
    }
}

/// Not async, so that the buffer does not live in the task of every player.
fn read_some(socket: &TcpStream, session: &mut ServerSession) -> std::io::Result<usize> {
    let mut buffer = [0; 4096];
    let count = socket.try_read(&mut buffer)?;
    let input = buffer.get(..count).unwrap_or_default();
    session.handle_input(input).map_err(|error| std::io::Error::new(std::io::ErrorKind::InvalidData, error))?;
    Ok(count)
}
