//! What both ends of an RTMP connection do alike: handshake, chunks, acknowledgements, pings.

use std::collections::VecDeque;

use bytes::Bytes;

use super::chunk::{ChunkReader, Envelope, INITIAL_CHUNK_SIZE, Message, MessageWriter, ReaderLimits, kind};
use super::handshake::Handshake;
use super::{OUT_CHUNK_SIZE, SessionConfig, SessionError};
use crate::flv::amf0::{self, Value};
use crate::flv::reader::Reader;

/// Chunk streams of what this side sends. Video and audio have their own, so that neither's headers disturb the other's.
pub(super) mod chunk_stream {
    pub const CONTROL: u8 = 2;
    pub const COMMAND: u8 = 3;
    pub const AUDIO: u8 = 4;
    pub const DATA: u8 = 5;
    pub const VIDEO: u8 = 6;
}

/// User control events (RTMP 1.0, section 7.1.7).
pub(super) mod user_control {
    pub const STREAM_BEGIN: u16 = 0;
    pub const STREAM_EOF: u16 = 1;
    pub const PING_REQUEST: u16 = 6;
    pub const PING_RESPONSE: u16 = 7;
}

#[derive(Debug)]
pub(super) struct Connection {
    handshake: Option<Handshake>,
    reader: ChunkReader,
    writer: MessageWriter,
    output: VecDeque<Bytes>,
    /// Bytes of the whole connection so far, and how many of them the peer was told of.
    received: u64,
    acknowledged: u64,
    /// After so many bytes the peer wants to be told.
    window: u32,
    /// The window that was announced to the peer.
    own_window: u32,
}

impl Connection {
    pub fn server(config: &SessionConfig) -> Self {
        Self::new(Handshake::server(), config)
    }

    pub fn client(config: &SessionConfig) -> Result<Self, SessionError> {
        let (handshake, hello) = Handshake::client()?;
        let mut connection = Self::new(handshake, config);
        connection.output.push_back(hello.into());
        Ok(connection)
    }

    fn new(handshake: Handshake, config: &SessionConfig) -> Self {
        let limits = ReaderLimits {
            chunk_streams: config.max_chunk_streams,
            media: config.max_message,
            command: config.max_command,
            buffered: config.max_buffered,
        };
        Self {
            handshake: Some(handshake),
            reader: ChunkReader::new(limits),
            writer: MessageWriter { chunk_size: INITIAL_CHUNK_SIZE },
            output: VecDeque::new(),
            received: 0,
            acknowledged: 0,
            window: config.window,
            own_window: 0,
        }
    }

    pub const fn set_wants_media(&mut self, wants: bool) {
        self.reader.set_wants_media(wants);
    }

    pub const fn is_established(&self) -> bool {
        self.handshake.is_none()
    }

    pub fn poll_output(&mut self) -> Option<Bytes> {
        self.output.pop_front()
    }

    pub fn push_output(&mut self, bytes: Bytes) {
        self.output.push_back(bytes);
    }

    /// Counts bytes that came from the socket, and acknowledges them when the peer's window is full (RTMP 1.0, section 5.4.3).
    pub fn count(&mut self, bytes: usize) {
        self.received += bytes as u64;
        let unacknowledged = self.received - self.acknowledged;
        if self.is_established() && self.window > 0 && unacknowledged >= u64::from(self.window) {
            self.acknowledged = self.received;
            // The sequence number is 32 bits long and starts again.
            self.control(kind::ACKNOWLEDGEMENT, &(self.received as u32).to_be_bytes());
        }
    }

    /// Takes bytes off `input` up to the end of the next message that is not about the connection itself.
    pub fn next(&mut self, input: &mut &[u8]) -> Result<Option<Message>, SessionError> {
        if let Some(handshake) = &mut self.handshake {
            if input.is_empty() {
                return Ok(None);
            }
            let (answer, done) = handshake.step(input)?;
            if !answer.is_empty() {
                self.output.push_back(answer.into());
            }
            if !done {
                return Ok(None);
            }
            self.handshake = None;
        }
        while let Some(message) = self.reader.next(input)? {
            if !self.follow(&message) {
                return Ok(Some(message));
            }
        }
        Ok(None)
    }

    /// Answers what is about the connection. True when there is nothing more to the message. Short ones are passed over.
    fn follow(&mut self, message: &Message) -> bool {
        let mut reader = Reader::new(&message.payload);
        match message.kind {
            kind::WINDOW_ACKNOWLEDGEMENT_SIZE => {
                if let Some(window) = reader.u32() {
                    self.window = window;
                }
            }
            // The peer limits what is on its way to it (5.4.5). The answer is our window, when it is not the peer's value yet.
            kind::SET_PEER_BANDWIDTH => {
                if let Some(window) = reader.u32().filter(|&window| window != self.own_window) {
                    self.announce_window(window);
                }
            }
            kind::USER_CONTROL => {
                if let (Some(user_control::PING_REQUEST), Some(time)) = (reader.u16(), reader.u32()) {
                    self.user_control(user_control::PING_RESPONSE, time);
                }
            }
            kind::ACKNOWLEDGEMENT => {}
            _ => return false,
        }
        true
    }

    pub fn announce_window(&mut self, window: u32) {
        self.own_window = window;
        self.control(kind::WINDOW_ACKNOWLEDGEMENT_SIZE, &window.to_be_bytes());
    }

    /// Limits what the peer sends before it hears from us; type 2, dynamic (RTMP 1.0, section 5.4.5).
    pub fn limit_peer(&mut self, window: u32) {
        let [a, b, c, d] = window.to_be_bytes();
        self.control(kind::SET_PEER_BANDWIDTH, &[a, b, c, d, 2]);
    }

    /// From here on chunks are as long as those of the shared media.
    pub fn raise_chunk_size(&mut self) {
        self.control(kind::SET_CHUNK_SIZE, &(OUT_CHUNK_SIZE as u32).to_be_bytes());
        self.writer.chunk_size = OUT_CHUNK_SIZE;
    }

    pub fn user_control(&mut self, event: u16, value: u32) {
        let ([a, b], [c, d, e, f]) = (event.to_be_bytes(), value.to_be_bytes());
        self.control(kind::USER_CONTROL, &[a, b, c, d, e, f]);
    }

    fn control(&mut self, kind: u8, payload: &[u8]) {
        self.send(chunk_stream::CONTROL, kind, 0, payload);
    }

    pub fn command(&mut self, stream_id: u32, values: &[Value]) {
        self.send(chunk_stream::COMMAND, kind::COMMAND, stream_id, &amf0::write(values));
    }

    pub fn data(&mut self, stream_id: u32, values: &[Value]) {
        self.send(chunk_stream::DATA, kind::DATA, stream_id, &amf0::write(values));
    }

    fn send(&mut self, chunk_stream: u8, kind: u8, stream_id: u32, payload: &[u8]) {
        let mut out = Vec::new();
        self.writer.write(&mut out, Envelope { chunk_stream, timestamp: 0, kind, stream_id }, &[payload]);
        self.output.push_back(out.into());
    }
}

/// A command: its name, its transaction and what follows. `None` when the name is missing.
pub(super) struct Command {
    pub name: String,
    /// 0: no answer is wanted.
    pub transaction: f64,
    /// The command object and the arguments behind it.
    pub arguments: Vec<Value>,
}

impl Command {
    /// Reads a command message of AMF0, or of AMF3, which begins with a zero byte and goes on in AMF0.
    pub fn read(message: &Message) -> Result<Self, SessionError> {
        let body = match (message.kind, message.payload.split_first()) {
            (kind::COMMAND_AMF3, Some((0, rest))) => rest,
            _ => &message.payload,
        };
        let mut values = amf0::read(body).map_err(SessionError::Command)?.into_iter();
        let Some(Value::String(name)) = values.next() else { return Err(SessionError::CommandName) };
        let transaction = values.next().and_then(|value| value.as_number()).filter(|number| number.is_finite()).unwrap_or(0.0);
        Ok(Self { name, transaction, arguments: values.collect() })
    }

    /// Argument `index` behind the command object.
    pub fn argument(&self, index: usize) -> Option<&Value> {
        self.arguments.get(index + 1)
    }

    pub fn text(&self, index: usize) -> &str {
        self.argument(index).and_then(Value::as_str).unwrap_or_default()
    }
}
