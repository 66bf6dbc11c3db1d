//! Input with which a stranger could end other servers' processes or sessions.

use proptest::prelude::*;

use super::*;

#[test]
fn chunks_of_two_messages_may_interleave() {
    let mut client = Client::publishing();
    client.say(&bytes(kind::VIDEO, 1, 0, &[0x17, 0, 0, 0, 0, 1]));
    let video = bytes(kind::VIDEO, 1, 40, &[&[0x27, 1, 0, 0, 0][..], &[1; 295]].concat());
    let data =
        bytes(kind::DATA, 1, 40, &amf0::write(&["onMetaData".into(), amf0::object([("a", "x".repeat(250).as_str().into())])]));
    // Chunks: 12 + 128, 1 + 128, the rest.
    let mixed = [&video[..140], &data[..140], &video[140..269], &data[140..269], &video[269..], &data[269..]].concat();
    client.say(&mixed);
    assert!(matches!(client.events()[..], [Event::Track { .. }, Event::Frame(_), Event::Metadata(_)]));
}

#[test]
fn commands_may_have_any_number_of_values() {
    let names = [
        "connect",
        "createStream",
        "publish",
        "play",
        "releaseStream",
        "FCPublish",
        "FCUnpublish",
        "deleteStream",
        "closeStream",
        "pause",
        "seek",
        "getStreamLength",
        "_checkbw",
        "onStatus",
        "nonsense",
        "",
    ];
    let odd = [Null, 1.0.into(), f64::NAN.into(), true.into(), "x".into(), Value::Object(vec![]), Value::StrictArray(vec![])];
    for name in names {
        for value in &odd {
            for count in 0..6 {
                let mut client = if name == "connect" { Client::new() } else { Client::connected() };
                let values: Vec<Value> = [name.into()].into_iter().chain(std::iter::repeat_n(value.clone(), count)).collect();
                client.say(&command_bytes(1, &values));
            }
        }
    }
    for values in [&[][..], &[Null], &[1.0.into(), "connect".into()]] {
        assert_eq!(Client::new().session.handle_input(&command_bytes(0, values)), Err(SessionError::CommandName));
    }
}

#[test]
fn metadata_may_be_anything() {
    let mut client = Client::publishing();
    let bodies = [
        vec![],
        vec!["@setDataFrame".into()],
        vec!["@setDataFrame".into(), "onMetaData".into()],
        vec!["@setDataFrame".into(), 1.0.into(), Null],
        vec!["onTextData".into(), Null],
        vec![Null],
    ];
    for values in bodies {
        client.say(&bytes(kind::DATA, 1, 0, &amf0::write(&values)));
    }
    client.say(&bytes(kind::DATA, 1, 0, &[0x02, 0xff]));
    client.say(&bytes(kind::DATA_AMF3, 1, 0, &[0, 0x11]));
    assert_eq!(client.events(), []);
    let many: Vec<_> = (0..1000).map(|i| (format!("{i}{}", "n".repeat(1000)), Value::from("v".repeat(40).as_str()))).collect();
    client.say(&bytes(kind::DATA, 1, 0, &amf0::write(&["onMetaData".into(), Value::EcmaArray(many[..40].to_vec())])));
    let [Event::Metadata(metadata)] = &client.events()[..] else { panic!("no metadata") };
    assert!(metadata.entries.iter().all(|(name, _)| name.len() == 256));
    client.say(&bytes(kind::DATA, 1, 0, &amf0::write(&["onMetaData".into(), Value::EcmaArray(many)])));
    assert_eq!(client.events(), [], "longer than a command may be");
}

#[test]
fn ten_thousand_objects_in_each_other() {
    let mut body = amf0::write(&["connect".into(), 1.0.into()]);
    body.extend([0x03, 0, 1, b'a'].repeat(10_000));
    let result = Client::new().session.handle_input(&bytes(kind::COMMAND, 0, 0, &body));
    assert!(matches!(result, Err(SessionError::Command(amf0::Amf0Error::Depth { .. }))), "{result:?}");
    let mut client = Client::publishing();
    let mut body = amf0::write(&["onMetaData".into()]);
    body.extend([0x03, 0, 1, b'a'].repeat(10_000));
    client.say(&bytes(kind::DATA, 1, 0, &body));
    assert_eq!(client.events(), []);
}

#[test]
fn dates_long_strings_and_bytes_that_are_no_utf_8() {
    let mut client = Client::new();
    let mut body = amf0::write(&["connect".into(), 1.0.into()]);
    body.extend([0x03, 0, 3, b'a', b'p', b'p', 0x02, 0, 3, b'l', 0xff, b'v']);
    body.extend([0, 1, b'd', 0x0b, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    body.extend([0, 5, b't', b'c', b'U', b'r', b'l', 0x0c, 0, 0, 0, 1, b'u', 0, 0, 9]);
    client.say(&bytes(kind::COMMAND, 0, 0, &body));
    let [Event::Connected(connected)] = &client.events()[..] else { panic!("not connected") };
    assert_eq!((connected.app.as_str(), connected.tc_url.as_deref()), ("l\u{fffd}v", Some("u")));
}

#[test]
fn control_messages_of_any_kind_and_length() {
    let mut client = Client::publishing();
    for event in 0..=40 {
        for length in [2, 3, 6, 10] {
            let body: Vec<u8> = [0, event].into_iter().chain([1; 8]).take(length).collect();
            client.say(&bytes(kind::USER_CONTROL, 0, 0, &body));
        }
    }
    for kind in [kind::ABORT, kind::ACKNOWLEDGEMENT, kind::WINDOW_ACKNOWLEDGEMENT_SIZE, kind::SET_PEER_BANDWIDTH] {
        for length in 0..4 {
            client.say(&bytes(kind, 0, 0, &vec![0xff; length]));
        }
    }
    for kind in 23..=255 {
        client.say(&bytes(kind, 0, 0, b"what?"));
    }
    client.say(&bytes(kind::VIDEO, 1, 0, &[0x17, 0, 0, 0, 0, 1]));
    assert_eq!(client.events().len(), 1, "the session goes on");
}

#[test]
fn a_chunk_size_of_0() {
    let mut client = Client::connected();
    let result = client.session.handle_input(&bytes(kind::SET_CHUNK_SIZE, 0, 0, &[0; 4]));
    assert_eq!(result, Err(SessionError::Chunk(ChunkError::ChunkSize)));
}

#[test]
fn a_message_over_the_limit() {
    let mut client = Client::publishing();
    let header = [6, 0, 0, 0, 0xff, 0xff, 0xff, kind::VIDEO, 1, 0, 0, 0];
    let result = client.session.handle_input(&header);
    let expected = ChunkError::Length { kind: kind::VIDEO, id: 6, length: 0xff_ffff, max: 8 << 20 };
    assert_eq!(result, Err(SessionError::Chunk(expected)));
}

fn fragment() -> impl Strategy<Value = Vec<u8>> {
    let value = prop_oneof![
        Just(Null),
        any::<f64>().prop_map(Value::Number),
        any::<bool>().prop_map(Value::Boolean),
        "[a-z]{0,5}".prop_map(Value::String),
    ];
    let name =
        prop::sample::select(vec!["createStream", "publish", "play", "deleteStream", "FCUnpublish", "pause", "closeStream"]);
    let values = (name, proptest::collection::vec(value, 0..5));
    let command = values.prop_map(|(name, values)| [&["createStream".into()][..0], &[name.into()], &values].concat());
    prop_oneof![
        3 => (0_u32..3, command).prop_map(|(stream_id, values)| command_bytes(stream_id, &values)),
        2 => (any::<u32>(), proptest::collection::vec(any::<u8>(), 0..300))
            .prop_map(|(time, body)| bytes(kind::VIDEO, 1, time, &body)),
        1 => (0_u8..25, proptest::collection::vec(any::<u8>(), 0..60)).prop_map(|(kind, body)| bytes(kind, 1, 0, &body)),
        1 => proptest::collection::vec(any::<u8>(), 0..20),
    ]
}

proptest! {
    #[test]
    fn any_conversation_ends_in_events_or_an_error(fragments in proptest::collection::vec(fragment(), 0..40)) {
        let mut client = Client::connected();
        for fragment in fragments {
            if client.session.handle_input(&fragment).is_err() {
                break;
            }
            for event in client.events() {
                match event {
                    Event::PublishRequested(request) => client.session.accept(request.id),
                    Event::PlayRequested(request) => client.session.reject(request.id, "NetStream.Play.Failed", "no"),
                    _ => {}
                }
            }
            client.messages();
        }
    }
}
