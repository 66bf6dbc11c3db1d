//! A blocking RTMP connection for tests: handshake, connect, publish, play, and raw access to every message.

use super::{ChunkReader, HANDSHAKE, Message, amf, chunk, hello, kind};
use anyhow::{Context, Result, bail, ensure};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// What the server answered to `publish` or `play` (the information object of `onStatus`).
#[derive(Clone, Debug, PartialEq)]
pub struct Status {
    /// `status` or `error`.
    pub level: String,
    /// For example `NetStream.Publish.Start`.
    pub code: String,
    pub description: String,
}

/// One connection. Every read has a timeout, so that a test against a dead server ends.
pub struct Client {
    pub socket: TcpStream,
    reader: ChunkReader,
    chunk_size: usize,
    transaction: f64,
}

impl Client {
    /// Connects and shakes hands (simple handshake).
    pub fn handshake(address: SocketAddr) -> Result<Client> {
        let mut socket = TcpStream::connect(address).with_context(|| format!("connecting to {address}"))?;
        socket.set_read_timeout(Some(Duration::from_secs(10)))?;
        socket.set_write_timeout(Some(Duration::from_secs(10)))?;
        socket.set_nodelay(true)?;
        socket.write_all(&hello())?;
        let mut answer = vec![0; 1 + 2 * HANDSHAKE];
        socket.read_exact(&mut answer).context("reading S0, S1 and S2")?;
        ensure!(answer[0] == 3, "S0 says version {}", answer[0]);
        socket.write_all(&answer[1..1 + HANDSHAKE])?;
        Ok(Client { socket, reader: ChunkReader::default(), chunk_size: 128, transaction: 0.0 })
    }

    /// Handshake and `connect` to the application `app`.
    pub fn connect(address: SocketAddr, app: &str) -> Result<Client> {
        let mut client = Client::handshake(address)?;
        client.set_chunk_size(60_000)?;
        let arguments = amf::Value::object(&[
            ("app", amf::Value::text(app)),
            ("type", amf::Value::text("nonprivate")),
            ("flashVer", amf::Value::text("FMLE/3.0 (compatible; flyloft-tests)")),
            ("tcUrl", amf::Value::text(&format!("rtmp://{address}/{app}"))),
        ]);
        client.call("connect", &[arguments])?;
        Ok(client)
    }

    /// Tells the server our chunk size and uses it from then on.
    pub fn set_chunk_size(&mut self, size: u32) -> Result<()> {
        self.send(2, kind::SET_CHUNK_SIZE, 0, 0, &size.to_be_bytes())?;
        self.chunk_size = size as usize;
        Ok(())
    }

    /// Sends a command and returns the values of its `_result`; an `_error` becomes an error with its text.
    pub fn call(&mut self, name: &str, arguments: &[amf::Value]) -> Result<Vec<amf::Value>> {
        self.transaction += 1.0;
        let mut values = vec![amf::Value::text(name), amf::Value::Number(self.transaction)];
        values.extend_from_slice(arguments);
        self.send(3, kind::COMMAND_AMF0, 0, 0, &amf::encode(&values))?;
        loop {
            let values = self.command()?;
            let (answer, transaction) = (values.first().and_then(amf::Value::as_str), values.get(1).and_then(amf::Value::as_f64));
            match answer {
                Some("_result") if transaction == Some(self.transaction) => return Ok(values),
                Some("_error") => bail!("{name} was answered with _error: {values:?}"),
                _ => {}
            }
        }
    }

    /// `createStream`; the id of the message stream.
    pub fn create_stream(&mut self) -> Result<u32> {
        let values = self.call("createStream", &[amf::Value::Null])?;
        let id = values.last().and_then(amf::Value::as_f64).context("createStream was answered without a stream id")?;
        Ok(id as u32)
    }

    /// `createStream` and `publish`; the first `onStatus` of the stream.
    pub fn publish(&mut self, key: &str) -> Result<(u32, Status)> {
        let stream = self.create_stream()?;
        self.start("publish", stream, &[amf::Value::text(key), amf::Value::text("live")])
    }

    /// `createStream` and `play`; the first `onStatus` that is not `NetStream.Play.Reset`.
    pub fn play(&mut self, name: &str) -> Result<(u32, Status)> {
        let stream = self.create_stream()?;
        self.start("play", stream, &[amf::Value::text(name), amf::Value::Number(-2.0)])
    }

    /// Ends a publish in an orderly way, as encoders do when their user stops.
    pub fn unpublish(&mut self, stream: u32) -> Result<()> {
        let values =
            [amf::Value::text("deleteStream"), amf::Value::Number(0.0), amf::Value::Null, amf::Value::Number(f64::from(stream))];
        self.send(3, kind::COMMAND_AMF0, 0, 0, &amf::encode(&values))
    }

    fn start(&mut self, command: &str, stream: u32, arguments: &[amf::Value]) -> Result<(u32, Status)> {
        self.transaction += 1.0;
        let mut values = vec![amf::Value::text(command), amf::Value::Number(self.transaction), amf::Value::Null];
        values.extend_from_slice(arguments);
        self.send(8, kind::COMMAND_AMF0, stream, 0, &amf::encode(&values))?;
        loop {
            let status = self.status()?;
            if status.code != "NetStream.Play.Reset" {
                return Ok((stream, status));
            }
        }
    }

    /// The next `onStatus`; other messages before it are dropped.
    pub fn status(&mut self) -> Result<Status> {
        loop {
            let values = self.command()?;
            if values.first().and_then(amf::Value::as_str) == Some("onStatus") {
                let info = values.last().context("onStatus without an information object")?;
                let field = |name| info.get(name).and_then(amf::Value::as_str).unwrap_or_default().to_owned();
                return Ok(Status { level: field("level"), code: field("code"), description: field("description") });
            }
        }
    }

    /// The values of the next AMF0 command.
    pub fn command(&mut self) -> Result<Vec<amf::Value>> {
        loop {
            let message = self.message()?;
            if message.kind == kind::COMMAND_AMF0 {
                return Ok(amf::decode(&message.payload));
            }
        }
    }

    /// The next message of any kind; an error when the connection ends or nothing comes for ten seconds.
    pub fn message(&mut self) -> Result<Message> {
        let mut scratch = [0; 16 << 10];
        loop {
            if let Some(message) = self.reader.next()? {
                return Ok(message);
            }
            let count = self.socket.read(&mut scratch).context("reading from the server")?;
            ensure!(count > 0, "the server closed the connection");
            self.reader.push(&scratch[..count]);
        }
    }

    /// Sends one message as chunks of the agreed size.
    pub fn send(&mut self, chunk_stream: u32, kind: u8, stream_id: u32, timestamp: u32, payload: &[u8]) -> Result<()> {
        let message = Message { chunk_stream, timestamp, kind, stream_id, payload: payload.to_vec() };
        let mut bytes = Vec::with_capacity(payload.len() + 64);
        chunk::write(&mut bytes, &message, self.chunk_size);
        self.socket.write_all(&bytes).context("writing to the server")
    }
}
