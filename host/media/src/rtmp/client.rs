//! The client's side of an RTMP connection that publishes: bytes in, progress and media out.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use bytes::Bytes;

use super::address::Address;
use super::chunk::{Message, kind};
use super::connection::{Command, Connection};
use super::{SessionConfig, SessionError, output};
use crate::flv::amf0::{self, Value};
use crate::hub::Entry;

/// Numbers of the commands that want an answer.
mod transaction {
    pub const CONNECT: f64 = 1.0;
    pub const RELEASE_STREAM: f64 = 2.0;
    pub const FC_PUBLISH: f64 = 3.0;
    pub const CREATE_STREAM: f64 = 4.0;
    pub const PUBLISH: f64 = 5.0;
    pub const FC_UNPUBLISH: f64 = 6.0;
    pub const DELETE_STREAM: f64 = 7.0;
}

/// What the server made of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientEvent {
    /// The server takes media now.
    Ready,
    /// The server does not, for example `NetStream.Publish.BadName`; the description is for people.
    Rejected { code: String, description: String },
    /// The server ended a stream that it took.
    Closed { code: String, description: String },
}

/// Frames can't be sent now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the server has not accepted the stream: wait for the event Ready before sending")]
pub struct NotReady;

/// One connection that publishes one stream. Feed it with [`Self::handle_input`], then take all events and all output.
#[derive(Debug)]
pub struct ClientSession {
    address: Address,
    connection: Connection,
    events: VecDeque<ClientEvent>,
    progress: Progress,
    /// Of the tracks whose configuration was sent.
    generation: Option<u64>,
    /// `@setDataFrame` as AMF0, which makes the server keep the metadata for its players.
    metadata_prefix: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    Handshake,
    Connecting,
    CreatingStream,
    Asking { stream_id: u32 },
    Publishing { stream_id: u32 },
    Over,
}

impl ClientSession {
    /// A session that publishes to `address`. The first bytes to send are there at once.
    pub fn new(address: Address, config: SessionConfig) -> Result<Self, SessionError> {
        Ok(Self {
            address,
            connection: Connection::client(&config)?,
            events: VecDeque::new(),
            progress: Progress::Handshake,
            generation: None,
            metadata_prefix: amf0::write(&["@setDataFrame".into()]),
        })
    }

    /// Takes what came from the socket, in any split. An error ends the session: close the connection.
    pub fn handle_input(&mut self, bytes: &[u8]) -> Result<(), SessionError> {
        self.connection.count(bytes.len());
        let mut input = bytes;
        loop {
            let message = self.connection.next(&mut input)?;
            if self.progress == Progress::Handshake && self.connection.is_established() {
                self.connect();
            }
            let Some(message) = message else { return Ok(()) };
            if matches!(message.kind, kind::COMMAND | kind::COMMAND_AMF3) {
                self.command(&message)?;
            }
        }
    }

    /// Bytes for the socket, in this order.
    pub fn poll_output(&mut self) -> Option<Bytes> {
        self.connection.poll_output()
    }

    pub fn poll_event(&mut self) -> Option<ClientEvent> {
        self.events.pop_front()
    }

    /// Puts a frame into the output, behind the configuration of its tracks where that is new. Take the output before the next
    /// frame: it waits in memory. Frames of tracks that RTMP players do not get are passed over.
    pub fn send(&mut self, entry: &Entry) -> Result<(), NotReady> {
        let Progress::Publishing { stream_id } = self.progress else { return Err(NotReady) };
        if self.generation != Some(entry.tracks.generation()) {
            self.generation = Some(entry.tracks.generation());
            let header = output::header_messages(entry, stream_id, &self.metadata_prefix);
            self.connection.push_output(header);
        }
        let message = output::shared_message(entry, stream_id);
        if !message.is_empty() {
            self.connection.push_output(message);
        }
        Ok(())
    }

    /// Ends the stream in good order. Close the connection after the output is sent.
    pub fn close(&mut self) {
        if let Progress::Publishing { stream_id } | Progress::Asking { stream_id } = self.progress {
            let name = Value::from(self.address.name.as_str());
            self.connection.command(0, &["FCUnpublish".into(), transaction::FC_UNPUBLISH.into(), Value::Null, name]);
            let id = f64::from(stream_id);
            self.connection.command(0, &["deleteStream".into(), transaction::DELETE_STREAM.into(), Value::Null, id.into()]);
        }
        self.progress = Progress::Over;
    }

    fn connect(&mut self) {
        self.connection.raise_chunk_size();
        let four_ccs = ["avc1", "hvc1", "av01", "mp4a", "Opus", ".mp3"].map(Value::from).to_vec();
        let object = amf0::object([
            ("app", self.address.app.as_str().into()),
            ("type", "nonprivate".into()),
            ("flashVer", "FMLE/3.0 (compatible; Flyloft)".into()),
            ("tcUrl", self.address.tc_url().as_str().into()),
            ("fourCcList", Value::StrictArray(four_ccs)),
            ("capsEx", 0.0.into()),
        ]);
        self.connection.command(0, &["connect".into(), transaction::CONNECT.into(), object]);
        self.progress = Progress::Connecting;
    }

    fn command(&mut self, message: &Message) -> Result<(), SessionError> {
        let command = Command::read(message)?;
        match (command.name.as_str(), self.progress) {
            ("_result", Progress::Connecting) if command.transaction == transaction::CONNECT => self.create_stream(),
            ("_result", Progress::CreatingStream) if command.transaction == transaction::CREATE_STREAM => {
                self.publish(command.argument(0).and_then(Value::as_number).unwrap_or(1.0) as u32);
            }
            // Servers that don't know releaseStream and FCPublish say so; nothing depends on these.
            ("_error", Progress::Connecting) if command.transaction == transaction::CONNECT => self.refused(&command),
            ("_error", Progress::CreatingStream) if command.transaction == transaction::CREATE_STREAM => self.refused(&command),
            ("_error", Progress::Asking { .. }) if command.transaction == transaction::PUBLISH => self.refused(&command),
            ("onStatus", progress) => self.status(progress, &command),
            ("close", progress) if progress != Progress::Over => self.refused(&command),
            _ => {}
        }
        Ok(())
    }

    fn create_stream(&mut self) {
        let name = || Value::from(self.address.name.as_str());
        let commands = [
            vec!["releaseStream".into(), transaction::RELEASE_STREAM.into(), Value::Null, name()],
            vec!["FCPublish".into(), transaction::FC_PUBLISH.into(), Value::Null, name()],
            vec!["createStream".into(), transaction::CREATE_STREAM.into(), Value::Null],
        ];
        for command in &commands {
            self.connection.command(0, command);
        }
        self.progress = Progress::CreatingStream;
    }

    fn publish(&mut self, stream_id: u32) {
        let name = Value::from(self.address.name.as_str());
        self.connection.command(stream_id, &["publish".into(), transaction::PUBLISH.into(), Value::Null, name, "live".into()]);
        self.progress = Progress::Asking { stream_id };
    }

    fn status(&mut self, progress: Progress, command: &Command) {
        let info = command.argument(0).unwrap_or(&Value::Null);
        let text = |name| info.get(name).and_then(Value::as_str).unwrap_or_default();
        match (progress, text("level"), text("code")) {
            (Progress::Asking { stream_id }, _, "NetStream.Publish.Start") => {
                self.progress = Progress::Publishing { stream_id };
                self.events.push_back(ClientEvent::Ready);
            }
            (Progress::Over, ..) => {}
            (_, "error", _) | (Progress::Publishing { .. }, _, "NetStream.Unpublish.Success") => self.refused(command),
            _ => {}
        }
    }

    /// The server wants no more: before it took the stream, or after.
    fn refused(&mut self, command: &Command) {
        let info = command.argument(0).unwrap_or(&Value::Null);
        let text = |name| amf0::clip(info.get(name).and_then(Value::as_str).unwrap_or_default(), 1024).to_owned();
        let (code, description) = (text("code"), text("description"));
        self.events.push_back(match self.progress {
            Progress::Publishing { .. } => ClientEvent::Closed { code, description },
            _ => ClientEvent::Rejected { code, description },
        });
        self.progress = Progress::Over;
    }
}
