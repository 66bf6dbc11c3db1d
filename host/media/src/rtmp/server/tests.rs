mod hostile;

use super::*;
use crate::rtmp::chunk::{ChunkError, ChunkReader, ReaderLimits};
use crate::rtmp::handshake::{Handshake, HandshakeError};
use crate::rtmp::testing;
use Value::Null;

/// A client that says what it is told to, and reads the answers.
struct Client {
    session: ServerSession,
    reader: ChunkReader,
    /// Bytes it has said, handshake included.
    sent: u64,
}

const LIMITS: ReaderLimits = ReaderLimits { chunk_streams: 64, media: 8 << 20, command: 64 << 10, buffered: 16 << 20 };

fn bytes(kind: u8, stream_id: u32, timestamp: u32, payload: &[u8]) -> Vec<u8> {
    testing::write(kind, timestamp, stream_id, payload)
}

fn command_bytes(stream_id: u32, values: &[Value]) -> Vec<u8> {
    testing::command(stream_id, values)
}

fn shake_hands(session: &mut ServerSession) {
    let (mut handshake, hello) = Handshake::client().unwrap();
    session.handle_input(&hello).unwrap();
    let answer = std::iter::from_fn(|| session.poll_output()).collect::<Vec<_>>().concat();
    let mut input = &answer[..];
    let (reply, done) = handshake.step(&mut input).unwrap();
    assert!(done && input.is_empty());
    session.handle_input(&reply).unwrap();
}

fn connect_command(app: &str, more: &[(&str, Value)]) -> Vec<u8> {
    let mut members = vec![
        ("app".to_owned(), app.into()),
        ("flashVer".to_owned(), "test".into()),
        ("tcUrl".to_owned(), format!("rtmp://h/{app}").as_str().into()),
    ];
    members.extend(more.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
    command_bytes(0, &["connect".into(), 1.0.into(), Value::Object(members)])
}

impl Client {
    /// After the handshake.
    fn new() -> Self {
        Self::with(SessionConfig::default())
    }

    fn with(config: SessionConfig) -> Self {
        let mut session = ServerSession::new(config);
        shake_hands(&mut session);
        let mut reader = ChunkReader::new(LIMITS);
        reader.set_wants_media(true);
        Self { session, reader, sent: 1 + 2 * 1536 }
    }

    /// After `connect` and `createStream`.
    fn connected() -> Self {
        let mut client = Self::new();
        client.say(&connect_command("live", &[]));
        client.say(&command_bytes(0, &["createStream".into(), 2.0.into(), Null]));
        assert_eq!(client.answers().last().unwrap().1, ["_result".into(), 2.0.into(), Null, 1.0.into()]);
        assert!(matches!(client.events()[..], [Event::Connected(_)]));
        client
    }

    /// After a `publish` that was accepted.
    fn publishing() -> Self {
        let mut client = Self::connected();
        client.say(&command_bytes(1, &["publish".into(), 3.0.into(), Null, "KEY".into(), "live".into()]));
        let [Event::PublishRequested(request)] = &client.events()[..] else { panic!("no request") };
        client.session.accept(request.id);
        client.answers();
        client
    }

    fn playing() -> Self {
        let mut client = Self::connected();
        client.say(&command_bytes(1, &["play".into(), 0.0.into(), Null, "KEY".into()]));
        let [Event::PlayRequested(request)] = &client.events()[..] else { panic!("no request") };
        client.session.accept(request.id);
        client.answers();
        client
    }

    fn say(&mut self, bytes: &[u8]) {
        self.sent += bytes.len() as u64;
        self.session.handle_input(bytes).unwrap();
    }

    fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.session.poll_event()).collect()
    }

    fn messages(&mut self) -> Vec<Message> {
        let output = std::iter::from_fn(|| self.session.poll_output()).collect::<Vec<_>>().concat();
        let mut input = &output[..];
        std::iter::from_fn(|| self.reader.next(&mut input).unwrap()).collect()
    }

    /// Commands and data of the server, with their message streams.
    fn answers(&mut self) -> Vec<(u32, Vec<Value>)> {
        let commands = self.messages().into_iter().filter(|message| matches!(message.kind, kind::COMMAND | kind::DATA));
        commands.map(|message| (message.stream_id, amf0::read(&message.payload).unwrap())).collect()
    }

    /// Level and code of each `onStatus` with its message stream.
    fn statuses(&mut self) -> Vec<(u32, String, String)> {
        let statuses = self.answers().into_iter().filter(|(_, values)| values[0] == "onStatus".into() && values.len() == 4);
        let text = |info: &Value, name| info.get(name).and_then(Value::as_str).unwrap().to_owned();
        statuses.map(|(stream_id, values)| (stream_id, text(&values[3], "level"), text(&values[3], "code"))).collect()
    }
}

fn status(stream_id: u32, level: &str, code: &str) -> (u32, String, String) {
    (stream_id, level.to_owned(), code.to_owned())
}

#[test]
fn other_protocols_are_told_from_the_first_byte() {
    let mut session = ServerSession::new(SessionConfig::default());
    let error = session.handle_input(b"GET / HTTP/1.1\r\n\r\n").unwrap_err();
    assert_eq!(error, SessionError::Handshake(HandshakeError::Version(b'G')));
    assert_eq!(session.handle_input(b"more"), Err(error), "it stays over");
    assert_eq!(session.poll_output(), None);
}

#[test]
fn a_plain_handshake_is_echoed() {
    let mut session = ServerSession::new(SessionConfig::default());
    let hello: Vec<u8> = [3].into_iter().chain((0..1536).map(|i| i as u8)).collect();
    for byte in &hello {
        session.handle_input(std::slice::from_ref(byte)).unwrap();
    }
    let answer = std::iter::from_fn(|| session.poll_output()).collect::<Vec<_>>().concat();
    assert_eq!(answer.len(), 1 + 1536 + 1536);
    assert_eq!(answer[0], 3);
    assert_eq!(answer[1537..], hello[1..]);
    session.handle_input(&answer[1..1537]).unwrap();
    session.handle_input(&connect_command("live", &[])).unwrap();
    assert!(matches!(session.poll_event(), Some(Event::Connected(_))));
}

#[test]
fn connect_is_answered_with_windows_and_success() {
    let mut client = Client::new();
    client.say(&connect_command("live", &[]));
    let messages = client.messages();
    let kinds: Vec<_> = messages.iter().map(|message| message.kind).collect();
    // The reader of these answers follows the chunk size by itself.
    assert_eq!(kinds, [kind::WINDOW_ACKNOWLEDGEMENT_SIZE, kind::SET_PEER_BANDWIDTH, kind::COMMAND]);
    assert_eq!(messages[0].payload[..], 2_500_000_u32.to_be_bytes());
    let values = amf0::read(&messages[2].payload).unwrap();
    assert_eq!(values[..2], ["_result".into(), 1.0.into()]);
    assert_eq!(values[3].get("code"), Some(&"NetConnection.Connect.Success".into()));
    assert_eq!(values[2].get("fourCcList"), None);
    let expected = Connected {
        app: "live".into(),
        tc_url: Some("rtmp://h/live".into()),
        flash_version: Some("test".into()),
        ..Connected::default()
    };
    assert_eq!(client.events(), [Event::Connected(expected)]);
    assert_eq!(client.session.handle_input(&connect_command("live", &[])), Err(SessionError::ConnectedTwice));
}

#[test]
fn enhanced_rtmp_is_negotiated() {
    let mut client = Client::new();
    let four_ccs = Value::StrictArray(vec!["hvc1".into(), "av01".into(), 3.0.into()]);
    client.say(&connect_command("live", &[("fourCcList", four_ccs), ("capsEx", 2.0.into())]));
    let values = client.answers().remove(0).1;
    let Some(Value::StrictArray(list)) = values[2].get("fourCcList") else { panic!("{values:?}") };
    assert!(list.contains(&"hvc1".into()) && list.contains(&"av01".into()) && list.contains(&"Opus".into()));
    assert_eq!(values[2].get("videoFourCcInfoMap").and_then(|map| map.get("hvc1")), Some(&4.0.into()));
    assert_eq!(values[2].get("capsEx"), Some(&6.0.into()));
    let [Event::Connected(connected)] = &client.events()[..] else { panic!("not connected") };
    assert_eq!((&connected.four_ccs[..], connected.capabilities), (&["hvc1".to_owned(), "av01".to_owned()][..], 2));
}

#[test]
fn publishing_is_asked_for_and_accepted() {
    let mut client = Client::connected();
    for (name, transaction) in [("releaseStream", 3.0), ("FCPublish", 4.0)] {
        client.say(&command_bytes(0, &[name.into(), transaction.into(), Null, "KEY".into()]));
    }
    let answers = client.answers();
    assert_eq!(answers[0].1, ["_result".into(), 3.0.into(), Null, Value::Undefined]);
    assert_eq!(answers[1].1, ["_result".into(), 4.0.into(), Null, Value::Undefined]);
    assert_eq!(answers[2].1[0], "onFCPublish".into());
    client.say(&command_bytes(1, &["publish".into(), 5.0.into(), Null, "KEY?mode=CMAF".into(), "append".into()]));
    let [Event::PublishRequested(request)] = &client.events()[..] else { panic!("no request") };
    assert_eq!((request.app.as_str(), request.name.as_str(), request.kind), ("live", "KEY", PublishKind::Append));
    assert_eq!(request.parameters, [("mode".to_owned(), "CMAF".to_owned())]);
    assert_eq!(client.statuses(), []);
    client.session.accept(request.id);
    assert_eq!(client.statuses(), [status(1, "status", "NetStream.Publish.Start")]);
    client.session.accept(request.id);
    client.session.reject(request.id, "NetStream.Publish.BadName", "late");
    assert_eq!(client.statuses(), [], "a request is answered once");
}

#[test]
fn a_refused_publish_is_an_error_on_its_own_stream() {
    let mut client = Client::connected();
    client.say(&command_bytes(0, &["createStream".into(), 3.0.into(), Null]));
    client.answers();
    client.say(&command_bytes(2, &["publish".into(), 5.0.into(), Null, "wrong".into()]));
    let [Event::PublishRequested(request)] = &client.events()[..] else { panic!("no request") };
    client.session.reject(request.id, "NetStream.Publish.BadName", "no such key");
    let answers = client.answers();
    let [(2, values)] = &answers[..] else { panic!("{answers:?}") };
    assert_eq!(values[..3], ["onStatus".into(), 0.0.into(), Null]);
    let expected = [("level", "error"), ("code", "NetStream.Publish.BadName"), ("description", "no such key")];
    assert_eq!(values[3], amf0::object(expected.map(|(name, value)| (name, value.into()))));
}

#[test]
fn what_cannot_be_begun_is_refused_with_a_reason() {
    let mut client = Client::connected();
    let publish = |stream_id| command_bytes(stream_id, &["publish".into(), 5.0.into(), Null, "KEY".into()]);
    for stream_id in [0, 2, 33, u32::MAX] {
        client.say(&publish(stream_id));
        assert_eq!(client.statuses(), [status(stream_id, "error", "NetStream.Publish.Failed")]);
    }
    client.say(&command_bytes(0, &["createStream".into(), 3.0.into(), Null]));
    client.answers();
    client.say(&command_bytes(2, &["play".into(), 0.0.into(), Null, "KEY".into()]));
    assert_eq!(client.statuses(), [status(2, "error", "NetStream.Play.Failed")]);
    assert_eq!(client.events(), []);
    let mut client = Client::publishing();
    client.say(&publish(1));
    assert_eq!(client.statuses(), [status(1, "error", "NetStream.Publish.Failed")]);
    let mut client = Client::new();
    assert_eq!(client.session.handle_input(&publish(1)), Err(SessionError::NotConnected("publish".into())));
}

#[test]
fn message_streams_are_counted_and_reused() {
    let mut client = Client::connected();
    let create = command_bytes(0, &["createStream".into(), 3.0.into(), Null]);
    for id in 2..=8 {
        client.say(&create);
        assert_eq!(client.answers()[0].1[3], f64::from(id).into());
    }
    client.say(&create);
    assert_eq!(client.answers()[0].1[0], "_error".into());
    for id in [-1.0, 1e300, f64::NAN, 0.0, 32.0, 1.0] {
        client.say(&command_bytes(0, &["deleteStream".into(), 0.0.into(), Null, id.into()]));
    }
    client.say(&create);
    assert_eq!(client.answers()[0].1[3], 1.0.into());
}

#[test]
fn frames_and_metadata_of_a_publisher() {
    let mut client = Client::publishing();
    let metadata = amf0::object([("width", 320.0.into()), ("made", Value::Date(1e12)), ("encoder", "test".into())]);
    client.say(&bytes(kind::DATA, 1, 0, &amf0::write(&["@setDataFrame".into(), "onMetaData".into(), metadata])));
    client.say(&bytes(kind::VIDEO, 1, 0, &[0x17, 0, 0, 0, 0, 1, 2, 3]));
    client.say(&bytes(kind::VIDEO, 1, 40, &[0x27, 1, 0, 0, 80, 9, 9]));
    client.say(&bytes(kind::VIDEO, 1, 80, &[0x17, 2, 0, 0, 0]));
    client.say(&bytes(kind::VIDEO, 1, 80, &[]));
    let events = client.events();
    let [Event::Metadata(metadata), Event::Track { id, codec, config }, Event::Frame(frame)] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!(metadata.entries, [("width".to_owned(), 320.0.into()), ("encoder".to_owned(), "test".into())]);
    assert_eq!((*id, *codec, &config[..]), (TrackId::VIDEO, Codec::H264, &[1, 2, 3][..]));
    assert_eq!((frame.dts, frame.composition_offset, frame.keyframe, &frame.payload[..]), (40_000, 80_000, false, &[9, 9][..]));
}

#[test]
fn tags_in_an_aggregate_count_from_its_time() {
    let mut client = Client::publishing();
    client.say(&bytes(kind::VIDEO, 1, 0, &[0x17, 0, 0, 0, 0, 1]));
    let mut payload = Vec::new();
    for time in [5000_u32, 5040] {
        let body = [0x27, 1, 0, 0, 0, 7];
        payload.extend([9, 0, 0, body.len() as u8]);
        payload.extend(&time.to_be_bytes()[1..]);
        payload.extend([0, 0, 0, 0]);
        payload.extend(body);
        payload.extend([0, 0, 0, 17]);
    }
    payload.extend([9, 0xff, 0xff, 0xff, 0]);
    client.say(&bytes(kind::AGGREGATE, 1, 1000, &payload));
    let times: Vec<_> = client
        .events()
        .into_iter()
        .filter_map(|event| if let Event::Frame(frame) = event { Some(frame.dts) } else { None })
        .collect();
    assert_eq!(times, [1_000_000, 1_040_000]);
}

#[test]
fn commands_of_amf3_begin_with_a_zero() {
    let mut client = Client::connected();
    let body = [&[0][..], &amf0::write(&["publish".into(), 5.0.into(), Null, "KEY".into()])].concat();
    client.say(&bytes(kind::COMMAND_AMF3, 1, 0, &body));
    assert!(matches!(client.events()[..], [Event::PublishRequested(_)]));
}

#[test]
fn what_a_publisher_sends_too_early_waits_for_the_answer() {
    let mut client = Client::connected();
    let config = bytes(kind::VIDEO, 1, 0, &[0x17, 0, 0, 0, 0, 1]);
    client.say(&config);
    let publish = command_bytes(1, &["publish".into(), 5.0.into(), Null, "KEY".into()]);
    client.say(&[&publish[..], &config, &config[..5]].concat());
    let [Event::PublishRequested(request)] = &client.events()[..] else { panic!("no request") };
    client.say(&config[5..]);
    assert_eq!(client.events(), []);
    client.session.accept(request.id);
    assert!(matches!(client.events()[..], [Event::Track { .. }, Event::Track { .. }]));
}

#[test]
fn what_waits_is_limited() {
    let mut client = Client::with(SessionConfig { max_held: 1000, ..SessionConfig::default() });
    client.say(&connect_command("live", &[]));
    client.say(&command_bytes(0, &["createStream".into(), 2.0.into(), Null]));
    client.say(&command_bytes(1, &["publish".into(), 5.0.into(), Null, "KEY".into()]));
    client.say(&[0; 1000]);
    assert_eq!(client.session.handle_input(&[0]), Err(SessionError::Held { max: 1000 }));
}

#[test]
fn an_error_in_what_waited_is_told_at_the_next_input() {
    let mut client = Client::connected();
    let publish = command_bytes(1, &["publish".into(), 5.0.into(), Null, "KEY".into()]);
    client.say(&[&publish[..], &bytes(kind::SET_CHUNK_SIZE, 0, 0, &[0; 4])].concat());
    let [.., Event::PublishRequested(request)] = &client.events()[..] else { panic!("no request") };
    client.session.accept(request.id);
    assert_eq!(client.session.handle_input(&[]), Err(SessionError::Chunk(ChunkError::ChunkSize)));
}

#[test]
fn a_publisher_may_leave_in_three_ways() {
    let leave = [
        command_bytes(0, &["FCUnpublish".into(), 6.0.into(), Null, "KEY".into()]),
        command_bytes(0, &["deleteStream".into(), 0.0.into(), Null, 1.0.into()]),
        command_bytes(1, &["closeStream".into(), 0.0.into(), Null]),
    ];
    for leave in leave {
        let mut client = Client::publishing();
        client.say(&leave);
        assert_eq!(client.events(), [Event::PublishFinished]);
        assert_eq!(client.statuses(), [status(1, "status", "NetStream.Unpublish.Success")]);
        client.say(&leave);
        client.say(&bytes(kind::VIDEO, 1, 0, &[0x17, 0, 0, 0, 0, 1]));
        assert_eq!(client.events(), []);
    }
}

#[test]
fn the_server_may_end_a_publisher() {
    let mut client = Client::publishing();
    client.session.end_publish("NetStream.Publish.Failed", "the room was ended");
    assert_eq!(client.statuses(), [status(1, "error", "NetStream.Publish.Failed")]);
    client.say(&bytes(kind::VIDEO, 1, 0, &[0x17, 0, 0, 0, 0, 1]));
    assert_eq!(client.events(), []);
}

#[test]
fn playing_is_asked_for_and_accepted() {
    let mut client = Client::connected();
    let arguments = ["play".into(), 0.0.into(), Null, "KEY?token=x".into(), (-1.0).into()];
    client.say(&command_bytes(1, &arguments));
    let [Event::PlayRequested(request)] = &client.events()[..] else { panic!("no request") };
    assert_eq!((request.name.as_str(), request.start, request.duration, request.reset), ("KEY", -1.0, -1.0, true));
    client.session.accept(request.id);
    let messages = client.messages();
    assert_eq!(messages[0].payload[..], [0, 0, 0, 0, 0, 1], "the stream begins");
    let codes = messages[1..].iter().map(|message| {
        assert_eq!(message.stream_id, PLAY_STREAM);
        let values = amf0::read(&message.payload).unwrap();
        let code = values.last().and_then(|info| info.get("code")).cloned();
        code.unwrap_or_else(|| values[0].clone())
    });
    let expected = ["NetStream.Play.Reset", "NetStream.Play.Start", "|RtmpSampleAccess", "NetStream.Data.Start"];
    assert_eq!(codes.collect::<Vec<_>>(), expected.map(Value::from));
}

#[test]
fn a_player_pauses_seeks_and_leaves() {
    let mut client = Client::playing();
    client.say(&command_bytes(1, &["pause".into(), 0.0.into(), Null, true.into(), 100.0.into()]));
    client.say(&command_bytes(1, &["pause".into(), 0.0.into(), Null, false.into(), 100.0.into()]));
    client.say(&command_bytes(1, &["seek".into(), 0.0.into(), Null, 100.0.into()]));
    assert_eq!(client.events(), [Event::Paused(true), Event::Paused(false)]);
    let codes = ["NetStream.Pause.Notify", "NetStream.Unpause.Notify", "NetStream.Seek.Failed"];
    assert_eq!(client.statuses(), codes.map(|code| status(1, "status", code)));
    client.say(&command_bytes(0, &["deleteStream".into(), 0.0.into(), Null, 1.0.into()]));
    assert_eq!(client.events(), [Event::PlayFinished]);
}

#[test]
fn a_player_is_told_of_the_end() {
    let mut client = Client::playing();
    client.session.end_play();
    client.session.end_play();
    let messages = client.messages();
    assert_eq!(messages.len(), 2);
    assert_eq!(messages[0].payload[..], [0, 1, 0, 0, 0, 1], "the stream is at its end");
    let values = amf0::read(&messages[1].payload).unwrap();
    assert_eq!(values[3].get("code"), Some(&"NetStream.Play.UnpublishNotify".into()));
}

#[test]
fn small_commands_have_small_answers() {
    let mut client = Client::connected();
    let ask = |name: &str, transaction: f64| command_bytes(0, &[name.into(), transaction.into(), Null, "KEY".into()]);
    client.say(&ask("getStreamLength", 7.0));
    client.say(&ask("_checkbw", 8.0));
    client.say(&ask("FCSubscribe", 9.0));
    client.say(&ask("nonsense", 10.0));
    client.say(&ask("nonsense", 0.0));
    client.say(&ask("_result", 11.0));
    let answers = client.answers();
    let heads: Vec<_> = answers.iter().map(|(_, values)| values[..2].to_vec()).collect();
    let head = |name: &str, transaction: f64| vec![Value::from(name), transaction.into()];
    let expected =
        [head("_result", 7.0), head("_result", 8.0), head("_result", 9.0), head("onFCSubscribe", 0.0), head("_error", 10.0)];
    assert_eq!(heads, expected);
}

#[test]
fn acknowledgements_tell_the_total() {
    let mut client = Client::publishing();
    client.messages();
    client.say(&bytes(kind::WINDOW_ACKNOWLEDGEMENT_SIZE, 0, 0, &1000_u32.to_be_bytes()));
    client.messages();
    let mut acknowledged = 0;
    for _ in 0..4 {
        client.say(&bytes(kind::VIDEO, 1, 0, &[0; 600]));
        for message in client.messages() {
            assert_eq!(message.kind, kind::ACKNOWLEDGEMENT);
            assert_eq!(message.payload[..], (client.sent as u32).to_be_bytes());
            acknowledged += 1;
        }
    }
    assert_eq!(acknowledged, 2, "every second message fills the window");
}

#[test]
fn a_peer_bandwidth_is_answered_once_and_pings_each_time() {
    let mut client = Client::connected();
    let bandwidth = bytes(kind::SET_PEER_BANDWIDTH, 0, 0, &[0, 1, 0, 0, 2]);
    client.say(&bandwidth);
    client.say(&bandwidth);
    let messages = client.messages();
    assert_eq!(messages.len(), 1);
    assert_eq!((messages[0].kind, &messages[0].payload[..]), (kind::WINDOW_ACKNOWLEDGEMENT_SIZE, &[0, 1, 0, 0][..]));
    for time in [1, 2] {
        client.say(&bytes(kind::USER_CONTROL, 0, 0, &[0, 6, 0, 0, 0, time]));
        assert_eq!(client.messages()[0].payload[..], [0, 7, 0, 0, 0, time]);
    }
    client.session.ping(258);
    assert_eq!(client.messages()[0].payload[..], [0, 6, 0, 0, 1, 2]);
}
