//! One viewer: connects, asks for the stream, and then counts what comes. Most viewers do not even copy the bytes out
//! of the kernel; the ones that parse follow every frame.

use crate::track::Track;
use anyhow::{Context, Result, bail};
use flyloft_tests::rtmp::{ChunkReader, HANDSHAKE, Message, amf, chunk, hello, kind};
use mio::event::Event;
use mio::net::TcpStream;
use socket2::SockRef;
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

mod flv;
mod hls;
mod response;

/// How the stream is fetched.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Protocol {
    Rtmp,
    HttpFlv,
    /// Low-latency HLS with blocking reload.
    Hls,
}

/// The stream that all viewers ask for.
pub struct Target {
    pub protocol: Protocol,
    pub address: SocketAddr,
    /// Host and port as in the URL.
    pub authority: String,
    /// The RTMP application; empty for HTTP.
    pub app: String,
    /// The RTMP stream name, or the HTTP path without its leading slash.
    pub name: String,
}

#[derive(Debug, PartialEq)]
enum Phase {
    Connecting,
    /// Bytes of S0, S1 and S2 that are still to come.
    Handshake(usize),
    /// RTMP commands or the HTTP head.
    Asking,
    Playing,
}

enum Parser {
    Rtmp(Box<ChunkReader>),
    Flv(Box<flv::Reader>),
    Hls(Box<hls::Session>),
}

/// One connection and what was measured on it.
pub struct Viewer {
    pub socket: TcpStream,
    phase: Phase,
    /// Follows every frame, instead of only counting bytes.
    parses: bool,
    parser: Option<Parser>,
    echo: Vec<u8>,
    unsent: Vec<u8>,
    ack_window: u32,
    total: u32,
    acknowledged: u32,
    last_read: Instant,
    /// Bytes since the last reset.
    pub bytes: u64,
    /// The longest time without a byte since the last reset.
    pub longest_gap: Duration,
    /// Gaps of more than a second since the last reset.
    pub stalls: u64,
    pub video: Track,
    pub audio: Track,
    /// Why it plays no more.
    pub end: Option<String>,
}

/// A gap between reads that a person would notice with a small player buffer.
const STALL: Duration = Duration::from_secs(1);

impl Viewer {
    /// Starts to connect.
    pub fn connect(target: &Target, parses: bool) -> Result<Viewer> {
        let socket = TcpStream::connect(target.address).with_context(|| format!("connecting to {}", target.address))?;
        Ok(Viewer {
            socket,
            phase: Phase::Connecting,
            parses,
            parser: None,
            echo: Vec::new(),
            unsent: Vec::new(),
            ack_window: 0,
            total: 0,
            acknowledged: 0,
            last_read: Instant::now(),
            bytes: 0,
            longest_gap: Duration::ZERO,
            stalls: 0,
            video: Track::default(),
            audio: Track::default(),
            end: None,
        })
    }

    /// Media comes, and the connection is open.
    pub fn playing(&self) -> bool {
        self.phase == Phase::Playing && self.bytes > 0 && self.end.is_none()
    }

    pub fn parses(&self) -> bool {
        self.parses
    }

    /// Begins the measured window at `now`.
    pub fn reset(&mut self, now: Instant) {
        self.bytes = 0;
        self.longest_gap = Duration::ZERO;
        self.stalls = 0;
        self.last_read = now;
        self.video.reset();
        self.audio.reset();
    }

    /// Ends the window: silence until now is a gap too.
    pub fn finish(&mut self, now: Instant) {
        if self.end.is_none() {
            self.gap(now);
        }
    }

    fn gap(&mut self, now: Instant) {
        let gap = now.saturating_duration_since(self.last_read);
        self.longest_gap = self.longest_gap.max(gap);
        self.stalls += u64::from(gap > STALL);
        self.last_read = now;
    }

    /// Does what the socket is ready for.
    pub fn ready(&mut self, event: &Event, target: &Target, scratch: &mut [u8]) {
        if self.end.is_some() {
            return;
        }
        if let Err(error) = self.advance(event, target, scratch) {
            self.end = Some(format!("{error:#}"));
        }
    }

    fn advance(&mut self, event: &Event, target: &Target, scratch: &mut [u8]) -> Result<()> {
        if self.phase == Phase::Connecting && event.is_writable() {
            if let Some(error) = self.socket.take_error()? {
                return Err(error).context("connecting");
            }
            self.socket.set_nodelay(true)?;
            match target.protocol {
                Protocol::Rtmp => {
                    self.phase = Phase::Handshake(1 + 2 * HANDSHAKE);
                    self.parser = Some(Parser::Rtmp(Box::default()));
                    self.send(&hello())?;
                }
                Protocol::HttpFlv => {
                    self.phase = Phase::Asking;
                    self.parser = Some(Parser::Flv(Box::default()));
                    self.get(&format!("/{}", target.name), target)?;
                }
                Protocol::Hls => {
                    self.phase = Phase::Asking;
                    let path = format!("/{}", target.name);
                    self.parser = Some(Parser::Hls(Box::new(hls::Session::new(&path))));
                    self.get(&path, target)?;
                }
            }
        }
        if event.is_writable() && !self.unsent.is_empty() {
            self.send(&[])?;
        }
        while event.is_readable() || event.is_read_closed() {
            let (count, full) = match self.receive(scratch) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                other => other.context("reading")?,
            };
            if count == 0 {
                bail!("the server closed the connection");
            }
            self.received(count, target, scratch)?;
            // A short read has emptied the socket, and readiness is edge-triggered: no need to ask once more.
            if !full && !event.is_read_closed() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Reads once; also says if there may be more to read at once.
    fn receive(&mut self, scratch: &mut [u8]) -> std::io::Result<(usize, bool)> {
        if self.parser.is_some() {
            let count = (&self.socket).read(scratch)?;
            return Ok((count, count == scratch.len()));
        }
        // With MSG_TRUNC, Linux counts and drops the bytes of a TCP stream without copying them.
        let mut nowhere = [std::mem::MaybeUninit::<u8>::uninit(); DROP_AT_ONCE];
        let count = SockRef::from(&self.socket).recv_with_flags(&mut nowhere, libc::MSG_TRUNC)?;
        Ok((count, count == DROP_AT_ONCE))
    }

    fn received(&mut self, count: usize, target: &Target, scratch: &[u8]) -> Result<()> {
        self.gap(Instant::now());
        self.bytes += count as u64;
        self.total = self.total.wrapping_add(count as u32);
        match self.parser.as_mut() {
            None => {}
            Some(Parser::Rtmp(_)) => self.rtmp(scratch.get(..count).unwrap_or_default(), target)?,
            Some(Parser::Flv(reader)) => {
                reader.push(scratch.get(..count).unwrap_or_default())?;
                while let Some(tag) = reader.next()? {
                    self.phase = Phase::Playing;
                    match tag.kind {
                        kind::VIDEO if !tag.config => self.video.frame(tag.timestamp),
                        kind::AUDIO if !tag.config => self.audio.frame(tag.timestamp),
                        _ => {}
                    }
                }
                if self.phase == Phase::Playing && !self.parses {
                    self.parser = None;
                }
            }
            Some(Parser::Hls(session)) => {
                let (next, media) = session.push(scratch.get(..count).unwrap_or_default())?;
                if media {
                    self.phase = Phase::Playing;
                }
                if let Some(path) = next {
                    self.get(&path, target)?;
                }
            }
        }
        if self.ack_window > 0 && self.total.wrapping_sub(self.acknowledged) > self.ack_window / 2 {
            self.acknowledged = self.total;
            self.message(2, kind::ACKNOWLEDGEMENT, 0, &self.total.to_be_bytes())?;
        }
        Ok(())
    }

    fn get(&mut self, path: &str, target: &Target) -> Result<()> {
        let host = &target.authority;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: flyloft-load\r\nAccept: */*\r\n\r\n");
        self.send(request.as_bytes())
    }

    fn rtmp(&mut self, mut bytes: &[u8], target: &Target) -> Result<()> {
        if let Phase::Handshake(left) = self.phase {
            let (hand, rest) = bytes.split_at(left.min(bytes.len()));
            self.echo.extend_from_slice(hand);
            bytes = rest;
            self.phase = Phase::Handshake(left - hand.len());
            if left > hand.len() {
                return Ok(());
            }
            let echo = std::mem::take(&mut self.echo);
            self.send(echo.get(1..1 + HANDSHAKE).unwrap_or_default())?;
            self.phase = Phase::Asking;
            let connect = amf::Value::object(&[
                ("app", amf::Value::text(&target.app)),
                ("flashVer", amf::Value::text("LNX 9,0,124,2")),
                ("tcUrl", amf::Value::text(&format!("rtmp://{}/{}", target.authority, target.app))),
                ("fpad", amf::Value::Boolean(false)),
                ("capabilities", amf::Value::Number(15.0)),
                ("audioCodecs", amf::Value::Number(4071.0)),
                ("videoCodecs", amf::Value::Number(252.0)),
                ("videoFunction", amf::Value::Number(1.0)),
            ]);
            self.command(3, 0, &[amf::Value::text("connect"), amf::Value::Number(1.0), connect])?;
        }
        if let Some(Parser::Rtmp(reader)) = &mut self.parser {
            reader.push(bytes);
        }
        loop {
            let Some(Parser::Rtmp(reader)) = &mut self.parser else { return Ok(()) };
            let Some(message) = reader.next()? else { return Ok(()) };
            self.rtmp_message(&message, target)?;
        }
    }

    fn rtmp_message(&mut self, message: &Message, target: &Target) -> Result<()> {
        match message.kind {
            kind::WINDOW_ACK_SIZE => {
                self.ack_window = message.payload.first_chunk::<4>().map_or(0, |size| u32::from_be_bytes(*size));
            }
            kind::USER_CONTROL if message.payload.starts_with(&[0, 6]) => {
                // Ping request: the answer has the same time in it.
                let mut answer = message.payload.clone();
                if let Some(byte) = answer.get_mut(1) {
                    *byte = 7;
                }
                self.message(2, kind::USER_CONTROL, 0, &answer)?;
            }
            kind::COMMAND_AMF0 => self.rtmp_answer(&amf::decode(&message.payload), target)?,
            kind::VIDEO | kind::AUDIO => {
                self.phase = Phase::Playing;
                let config = flv::is_config(message.kind, &message.payload);
                match (message.kind, config) {
                    (kind::VIDEO, false) => self.video.frame(message.timestamp),
                    (kind::AUDIO, false) => self.audio.frame(message.timestamp),
                    _ => {}
                }
                if !self.parses {
                    self.parser = None;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn rtmp_answer(&mut self, values: &[amf::Value], target: &Target) -> Result<()> {
        let transaction = values.get(1).and_then(amf::Value::as_f64).unwrap_or_default();
        match values.first().and_then(amf::Value::as_str) {
            Some("_result") if transaction == 1.0 => {
                let values = [amf::Value::text("createStream"), amf::Value::Number(2.0), amf::Value::Null];
                self.command(3, 0, &values)
            }
            Some("_result") if transaction == 2.0 => {
                let stream = values.last().and_then(amf::Value::as_f64).unwrap_or(1.0) as u32;
                let values = [
                    amf::Value::text("play"),
                    amf::Value::Number(0.0),
                    amf::Value::Null,
                    amf::Value::text(&target.name),
                    amf::Value::Number(-2.0),
                ];
                self.command(8, stream, &values)
            }
            Some("_error") => bail!("refused: {values:?}"),
            Some("onStatus") => {
                let info = values.last();
                let field = |name| info.and_then(|info| info.get(name)).and_then(amf::Value::as_str).unwrap_or_default();
                if field("level") == "error" {
                    bail!("refused: {} {}", field("code"), field("description"));
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn command(&mut self, chunk_stream: u32, stream_id: u32, values: &[amf::Value]) -> Result<()> {
        self.message(chunk_stream, kind::COMMAND_AMF0, stream_id, &amf::encode(values))
    }

    fn message(&mut self, chunk_stream: u32, kind: u8, stream_id: u32, payload: &[u8]) -> Result<()> {
        let message = Message { chunk_stream, timestamp: 0, kind, stream_id, payload: payload.to_vec() };
        let mut bytes = Vec::new();
        chunk::write(&mut bytes, &message, 128);
        self.send(&bytes)
    }

    /// Sends what was left over, then `bytes`; keeps what the socket does not take now.
    fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.unsent.extend_from_slice(bytes);
        while !self.unsent.is_empty() {
            match (&self.socket).write(&self.unsent) {
                Ok(count) => drop(self.unsent.drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error).context("writing"),
            }
        }
        if self.unsent.is_empty() {
            self.unsent = Vec::new();
        }
        Ok(())
    }
}

/// The most that a viewer that only counts drops with one call.
const DROP_AT_ONCE: usize = 256 << 10;
