//! The server's side of an RTMP connection: bytes in, requests and media out.

mod commands;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use bytes::Bytes;

use super::chunk::{Message, kind};
use super::connection::{Command, Connection, user_control};
use super::name::StreamName;
use super::{SessionConfig, SessionError};
use crate::flv::amf0::{self, Value};
use crate::flv::{self, Media, Metadata, TagReader, Unsupported};
use crate::hub::RawFrame;
use crate::track::{Codec, TrackId};

/// Message streams that a client may have open. Every known client has one.
const MAX_STREAMS: u32 = 8;
/// The message stream that shared media is sent on: see [`super::message`].
pub(super) const PLAY_STREAM: u32 = 1;

/// Names one request to publish or play in its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RequestId(u64);

/// What the client said of itself in `connect`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Connected {
    pub app: String,
    pub tc_url: Option<String>,
    pub flash_version: Option<String>,
    /// Codecs of enhanced RTMP that the client says it knows, as fourCC.
    pub four_ccs: Vec<String>,
    /// `capsEx` of enhanced RTMP v2.
    pub capabilities: u32,
}

/// What a publisher wants to become of its stream. A live server does the same for all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PublishKind {
    #[default]
    Live,
    Record,
    Append,
}

/// A client asks whether it may publish. Answer with [`ServerSession::accept`] or [`ServerSession::reject`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishRequest {
    pub id: RequestId,
    pub app: String,
    /// The stream key; empty when the client sent none.
    pub name: String,
    /// What stood behind `?`, decoded.
    pub parameters: Vec<(String, String)>,
    pub kind: PublishKind,
}

/// A client asks whether it may play. Answer with [`ServerSession::accept`] or [`ServerSession::reject`].
#[derive(Clone, Debug, PartialEq)]
pub struct PlayRequest {
    pub id: RequestId,
    pub app: String,
    pub name: String,
    pub parameters: Vec<(String, String)>,
    /// As sent: -2 live or recorded, -1 live only, from 0 on a place in a recording.
    pub start: f64,
    /// As sent: -1 to the end.
    pub duration: f64,
    /// The client wants what it played before to end.
    pub reset: bool,
}

/// What a client did. Media comes only from an accepted publisher.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    Connected(Connected),
    PublishRequested(PublishRequest),
    PlayRequested(PlayRequest),
    /// A decoder configuration, as [`crate::Track::config`] has it.
    Track {
        id: TrackId,
        codec: Codec,
        config: Bytes,
    },
    Frame(RawFrame),
    Metadata(Metadata),
    /// A track that can't be carried is passed over. Comes once for each such track.
    Unsupported(Unsupported),
    PublishFinished,
    PlayFinished,
    Paused(bool),
}

/// One client's connection. Feed it with [`Self::handle_input`], then take all events and all output.
#[derive(Debug)]
pub struct ServerSession {
    config: SessionConfig,
    connection: Connection,
    events: VecDeque<Event>,
    connected: Option<Connected>,
    /// Bit n is set when message stream n exists.
    streams: u32,
    activity: Activity,
    requests: u64,
    /// Input that came while a request waits for its answer.
    held: Vec<u8>,
    /// What went wrong in held input, for the next [`Self::handle_input`] to tell.
    failed: Option<SessionError>,
}

/// What the client does on its message stream.
#[derive(Debug, Default)]
enum Activity {
    #[default]
    Idle,
    Asking(Request),
    Publishing {
        stream_id: u32,
        reader: Box<TagReader>,
    },
    Playing {
        stream_id: u32,
        name: String,
    },
}

#[derive(Debug)]
struct Request {
    id: RequestId,
    stream_id: u32,
    name: String,
    what: Asked,
}

#[derive(Clone, Copy, Debug)]
enum Asked {
    Publish,
    Play { reset: bool },
}

impl ServerSession {
    pub fn new(config: SessionConfig) -> Self {
        Self {
            config,
            connection: Connection::server(&config),
            events: VecDeque::new(),
            connected: None,
            streams: 0,
            activity: Activity::Idle,
            requests: 0,
            held: Vec::new(),
            failed: None,
        }
    }

    /// Takes what came from the socket, in any split. While a request waits for its answer the input is kept, up to a limit:
    /// better not to read from the socket then. An error ends the session: send the output that is left, and close.
    pub fn handle_input(&mut self, bytes: &[u8]) -> Result<(), SessionError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        self.connection.count(bytes.len());
        let result = if matches!(self.activity, Activity::Asking(_)) { self.hold(bytes) } else { self.process(bytes) };
        if let Err(error) = &result {
            self.failed = Some(error.clone());
        }
        result
    }

    /// Bytes for the socket, in this order.
    pub fn poll_output(&mut self) -> Option<Bytes> {
        self.connection.poll_output()
    }

    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Lets the request go on. Does nothing if `id` is not the one that waits.
    ///
    /// A player gets its answers by [`Self::poll_output`], and after them [`super::header`] and [`super::message`] of the stream.
    pub fn accept(&mut self, id: RequestId) {
        let Some(request) = self.take_request(id) else { return };
        match request.what {
            Asked::Publish => self.start_publish(request),
            Asked::Play { reset } => self.start_play(request, reset),
        }
        self.release();
    }

    /// Refuses the request, with a code like `NetStream.Publish.BadName` or `NetStream.Play.StreamNotFound` and a reason for
    /// people. Close the connection after the output is sent. Does nothing if `id` is not the one that waits.
    pub fn reject(&mut self, id: RequestId, code: &str, description: &str) {
        let Some(request) = self.take_request(id) else { return };
        self.status(request.stream_id, "error", code, description);
        self.release();
    }

    /// Tells a player that the stream is over.
    pub fn end_play(&mut self) {
        if let Activity::Playing { stream_id, name } = &self.activity {
            let (stream_id, description) = (*stream_id, format!("{name} is over."));
            self.connection.user_control(user_control::STREAM_EOF, stream_id);
            self.status(stream_id, "status", "NetStream.Play.UnpublishNotify", &description);
            self.activity = Activity::Idle;
        }
    }

    /// Tells a publisher that the server has ended its stream, and why. Close the connection after the output is sent.
    pub fn end_publish(&mut self, code: &str, description: &str) {
        if let Activity::Publishing { stream_id, .. } = self.activity {
            self.connection.set_wants_media(false);
            self.activity = Activity::Idle;
            self.status(stream_id, "error", code, description);
        }
    }

    /// Asks the client for a sign of life; its answer is input like any other. `time` is in milliseconds of any clock.
    pub fn ping(&mut self, time: u32) {
        if self.connection.is_established() {
            self.connection.user_control(user_control::PING_REQUEST, time);
        }
    }

    fn take_request(&mut self, id: RequestId) -> Option<Request> {
        match std::mem::take(&mut self.activity) {
            Activity::Asking(request) if request.id == id => Some(request),
            other => {
                self.activity = other;
                None
            }
        }
    }

    fn hold(&mut self, bytes: &[u8]) -> Result<(), SessionError> {
        if self.held.len() + bytes.len() > self.config.max_held {
            return Err(SessionError::Held { max: self.config.max_held });
        }
        self.held.extend_from_slice(bytes);
        Ok(())
    }

    /// Goes on with the input that was kept.
    fn release(&mut self) {
        let held = std::mem::take(&mut self.held);
        if self.failed.is_none() {
            self.failed = self.process(&held).err();
        }
    }

    fn process(&mut self, mut input: &[u8]) -> Result<(), SessionError> {
        while let Some(message) = self.connection.next(&mut input)? {
            self.handle(&message)?;
            if matches!(self.activity, Activity::Asking(_)) {
                return self.hold(input);
            }
        }
        Ok(())
    }

    fn handle(&mut self, message: &Message) -> Result<(), SessionError> {
        match message.kind {
            kind::COMMAND | kind::COMMAND_AMF3 => {
                let command = Command::read(message)?;
                self.command(message.stream_id, &command)?;
            }
            kind::DATA | kind::DATA_AMF3 => self.data(message),
            kind::AUDIO | kind::VIDEO => self.media(message.kind, message.timestamp, &message.payload),
            kind::AGGREGATE => self.aggregate(message),
            _ => {}
        }
        Ok(())
    }

    fn media(&mut self, kind: u8, timestamp: u32, body: &Bytes) {
        let Activity::Publishing { reader, .. } = &mut self.activity else { return };
        let events = &mut self.events;
        let push = |media| events.push_back(media_event(media));
        match kind {
            kind::AUDIO => reader.audio(timestamp, body, push),
            kind::VIDEO => reader.video(timestamp, body, push),
            _ => {}
        }
    }

    /// Tags with FLV headers in one message (RTMP 1.0, section 7.1.6). Their times count from the first one's.
    fn aggregate(&mut self, message: &Message) {
        let mut first = None;
        for tag in flv::tags(&message.payload) {
            let origin = *first.get_or_insert(tag.timestamp);
            let timestamp = message.timestamp.wrapping_add(tag.timestamp.wrapping_sub(origin));
            self.media(tag.kind, timestamp, &tag.body);
        }
    }

    /// Stream metadata. What can't be read is passed over, because nothing depends on it.
    fn data(&mut self, message: &Message) {
        if !matches!(self.activity, Activity::Publishing { .. }) {
            return;
        }
        let body = match (message.kind, message.payload.split_first()) {
            (kind::DATA_AMF3, Some((0, rest))) => rest,
            _ => &message.payload,
        };
        if let Some(metadata) = amf0::read(body).ok().and_then(|values| Metadata::from_values(&values)) {
            self.events.push_back(Event::Metadata(metadata));
        }
    }

    fn start_publish(&mut self, request: Request) {
        let Request { stream_id, name, .. } = request;
        self.connection.set_wants_media(true);
        self.connection.user_control(user_control::STREAM_BEGIN, stream_id);
        self.status(stream_id, "status", "NetStream.Publish.Start", &format!("Publishing {}.", amf0::clip(&name, 256)));
        self.activity = Activity::Publishing { stream_id, reader: Box::default() };
    }

    fn start_play(&mut self, request: Request, reset: bool) {
        let Request { stream_id, name, .. } = request;
        let shown = amf0::clip(&name, 256).to_owned();
        self.connection.user_control(user_control::STREAM_BEGIN, stream_id);
        if reset {
            self.status(stream_id, "status", "NetStream.Play.Reset", &format!("Playing and resetting {shown}."));
        }
        self.status(stream_id, "status", "NetStream.Play.Start", &format!("Started playing {shown}."));
        let access = [Value::from("|RtmpSampleAccess"), Value::Boolean(true), Value::Boolean(true)];
        self.connection.data(stream_id, &access);
        let start = amf0::object([("code", "NetStream.Data.Start".into())]);
        self.connection.data(stream_id, &[Value::from("onStatus"), start]);
        self.activity = Activity::Playing { stream_id, name };
    }

    /// Answers on a message stream (RTMP 1.0, section 7.2.2).
    fn status(&mut self, stream_id: u32, level: &str, code: &str, description: &str) {
        let description = amf0::clip(description, 1024);
        let info = amf0::object([("level", level.into()), ("code", code.into()), ("description", description.into())]);
        self.connection.command(stream_id, &[Value::from("onStatus"), Value::Number(0.0), Value::Null, info]);
    }

    fn request(&mut self, stream_id: u32, what: Asked, stream_name: &str) -> (RequestId, StreamName) {
        let connected = self.connected.as_ref();
        let app = connected.map(|connected| connected.app.as_str()).unwrap_or_default();
        let tc_url = connected.and_then(|connected| connected.tc_url.as_deref()).unwrap_or_default();
        let resolved = StreamName::resolve(app, tc_url, stream_name);
        self.requests += 1;
        let id = RequestId(self.requests);
        self.activity = Activity::Asking(Request { id, stream_id, name: resolved.name.clone(), what });
        (id, resolved)
    }
}

fn media_event(media: Media) -> Event {
    match media {
        Media::Track { id, codec, config } => Event::Track { id, codec, config },
        Media::Frame(frame) => Event::Frame(frame),
        Media::Unsupported(unsupported) => Event::Unsupported(unsupported),
    }
}
