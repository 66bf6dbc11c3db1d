use proptest::prelude::*;

use super::*;

const LIMITS: ReaderLimits = ReaderLimits { chunk_streams: 4, media: 100_000, command: 1000, buffered: 200_000 };

fn reader() -> ChunkReader {
    let mut reader = ChunkReader::new(LIMITS);
    reader.set_wants_media(true);
    reader
}

fn read_with(reader: &mut ChunkReader, mut input: &[u8]) -> Result<Vec<Message>, ChunkError> {
    let mut messages = Vec::new();
    while let Some(message) = reader.next(&mut input)? {
        messages.push(message);
    }
    assert!(input.is_empty(), "everything is taken");
    Ok(messages)
}

/// Reads `input` at once, byte by byte, and cut at every place: always the same.
fn read(input: &[u8]) -> Result<Vec<Message>, ChunkError> {
    let whole = read_with(&mut reader(), input);
    let chunked = |chunks: &mut dyn Iterator<Item = &[u8]>| {
        let mut reader = reader();
        let mut messages = Vec::new();
        for chunk in chunks {
            messages.extend(read_with(&mut reader, chunk)?);
        }
        Ok(messages)
    };
    assert_eq!(chunked(&mut input.chunks(1)), whole, "byte by byte");
    for at in 0..input.len() {
        let (before, after) = input.split_at(at);
        assert_eq!(chunked(&mut [before, after].into_iter()), whole, "cut at byte {at}");
    }
    whole
}

/// Format 0.
fn full(id: u8, time: u32, length: u32, kind: u8, stream_id: u32) -> Vec<u8> {
    let mut out = vec![id];
    out.extend(&time.to_be_bytes()[1..]);
    out.extend(&length.to_be_bytes()[1..]);
    out.push(kind);
    out.extend(stream_id.to_le_bytes());
    out
}

fn message(timestamp: u32, payload: &[u8]) -> Message {
    Message { timestamp, kind: kind::VIDEO, stream_id: 1, payload: Bytes::copy_from_slice(payload) }
}

fn set_chunk_size(size: u32) -> Vec<u8> {
    [full(2, 0, 4, kind::SET_CHUNK_SIZE, 0), size.to_be_bytes().to_vec()].concat()
}

/// A payload that looks like neither a header nor a timestamp.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|i| 0x80 | (i % 101) as u8).collect()
}

#[test]
fn every_header_format_and_chunk_stream_id() {
    let input = [
        &full(6, 1000, 2, kind::VIDEO, 1)[..],
        b"ab",
        &[0x46, 0, 0, 40, 0, 0, 3, kind::VIDEO],
        b"cde",
        &[0x86, 0, 0, 20],
        b"fgh",
        &[0xc6],
        b"ijk",
        // Chunk streams of two and of three bytes: 64 + 10, and 64 + 1 + 2 * 256.
        &[0x00, 10],
        &full(0, 5, 1, kind::VIDEO, 1)[1..],
        b"x",
        &[0x01, 1, 2],
        &full(0, 6, 1, kind::VIDEO, 1)[1..],
        b"y",
        &[0xc1, 1, 2],
        b"z",
    ]
    .concat();
    let expected = [
        message(1000, b"ab"),
        message(1040, b"cde"),
        message(1060, b"fgh"),
        message(1080, b"ijk"),
        message(5, b"x"),
        message(6, b"y"),
        message(12, b"z"),
    ];
    assert_eq!(read(&input).unwrap(), expected);
}

#[test]
fn chunks_of_two_messages_may_interleave() {
    let (video, audio) = (pattern(300), pattern(200));
    let input = [
        &full(6, 10, 300, kind::VIDEO, 1)[..],
        &video[..128],
        &full(4, 11, 200, kind::VIDEO, 1),
        &audio[..128],
        &[0xc6],
        &video[128..256],
        &[0xc4],
        &audio[128..],
        &[0xc6],
        &video[256..],
    ]
    .concat();
    assert_eq!(read(&input).unwrap(), [message(11, &audio), message(10, &video)]);
}

#[test]
fn an_extended_timestamp_is_repeated_on_format_3() {
    let payload = pattern(300);
    for time in [0x00ff_ffff_u32, 0x0100_0000, 0xffff_fff0] {
        let time_bytes = time.to_be_bytes();
        let mut input = full(6, 0xff_ffff, 300, kind::VIDEO, 1);
        for (i, chunk) in payload.chunks(128).enumerate() {
            if i > 0 {
                input.push(0xc6);
            }
            input.extend(time_bytes);
            input.extend(chunk);
        }
        assert_eq!(read(&input).unwrap(), [message(time, &payload)]);
    }
}

#[test]
fn an_extended_timestamp_may_be_missing_on_format_3() {
    let payload = pattern(300);
    let mut input = full(6, 0xff_ffff, 300, kind::VIDEO, 1);
    input.extend(0x0123_4567_u32.to_be_bytes());
    for (i, chunk) in payload.chunks(128).enumerate() {
        if i > 0 {
            input.push(0xc6);
        }
        input.extend(chunk);
    }
    assert_eq!(read(&input).unwrap(), [message(0x0123_4567, &payload)]);
}

#[test]
fn payload_that_begins_like_the_extended_timestamp_is_payload() {
    // The second chunk has fewer bytes than a timestamp, and they are the first ones of it.
    let mut payload = pattern(128);
    payload.extend([0x01, 0x23]);
    let mut input = full(6, 0xff_ffff, 130, kind::VIDEO, 1);
    input.extend(0x0123_4567_u32.to_be_bytes());
    input.extend(&payload[..128]);
    input.push(0xc6);
    input.extend(&payload[128..]);
    input.extend(full(4, 7, 1, kind::VIDEO, 1));
    input.extend(b"x");
    assert_eq!(read(&input).unwrap(), [message(0x0123_4567, &payload), message(7, b"x")]);
}

#[test]
fn a_step_may_be_extended_even_if_it_is_small() {
    let payload = pattern(200);
    let mut input = full(6, 1000, 200, kind::VIDEO, 1);
    input.extend(&payload[..128]);
    input.push(0xc6);
    input.extend(&payload[128..]);
    // Format 1 and 2 with steps of 40 ms and of 2^24 ms in the 32-bit field; then format 3 begins a message with the same step.
    for (header, step) in [(&[0x46, 0xff, 0xff, 0xff, 0, 0, 200, kind::VIDEO][..], 40_u32), (&[0x86, 0xff, 0xff, 0xff], 1 << 24)]
    {
        input.extend(header);
        input.extend(step.to_be_bytes());
        input.extend(&payload[..128]);
        input.push(0xc6);
        input.extend(step.to_be_bytes());
        input.extend(&payload[128..]);
    }
    input.push(0xc6);
    input.extend((1_u32 << 24).to_be_bytes());
    input.extend(&payload[..128]);
    input.push(0xc6);
    input.extend(&payload[128..]);
    let times = [1000, 1040, 1040 + (1 << 24), 1040 + (2 << 24)];
    assert_eq!(read(&input).unwrap(), times.map(|time| message(time, &payload)));
}

#[test]
fn timestamps_wrap() {
    let input = [&full(6, 0xff_ffff, 1, kind::VIDEO, 1)[..], &[0xff; 4], b"a", &[0x86, 0, 0, 2], b"b"].concat();
    assert_eq!(read(&input).unwrap(), [message(u32::MAX, b"a"), message(1, b"b")]);
}

#[test]
fn chunk_sizes_from_1_to_beyond_any_message() {
    let payload = pattern(5);
    let bytewise = payload.iter().enumerate().flat_map(|(i, &byte)| if i == 0 { vec![byte] } else { vec![0xc6, byte] });
    let header = full(6, 1, 5, kind::VIDEO, 1);
    let input = [set_chunk_size(1), header, bytewise.collect()].concat();
    // The message that sets the size still has the old one.
    assert_eq!(read(&input).unwrap(), [message(1, &payload)]);
    let payload = pattern(70_000);
    for size in [70_000, 0xff_ffff, 0x7fff_ffff] {
        let input = [&set_chunk_size(size)[..], &full(6, 1, 70_000, kind::VIDEO, 1), &payload].concat();
        assert_eq!(read_with(&mut reader(), &input).unwrap(), [message(1, &payload)]);
    }
    assert_eq!(read(&set_chunk_size(0)), Err(ChunkError::ChunkSize));
    assert_eq!(read(&set_chunk_size(0x8000_0000)), Err(ChunkError::ChunkSize));
}

#[test]
fn an_aborted_message_is_forgotten() {
    let payload = pattern(200);
    let abort = |id: u32| [full(2, 0, 4, kind::ABORT, 0), id.to_be_bytes().to_vec()].concat();
    let begun = [&full(6, 1, 200, kind::VIDEO, 1)[..], &payload[..128]].concat();
    let whole = [&full(6, 2, 3, kind::VIDEO, 1)[..], b"new"].concat();
    let input = [&begun[..], &abort(6), &abort(99), &whole].concat();
    assert_eq!(read(&input).unwrap(), [message(2, b"new")]);
    // Without the abort message: another length says that another message begins.
    assert_eq!(read(&[begun, whole].concat()).unwrap(), [message(2, b"new")]);
}

#[test]
fn full_headers_in_the_middle_of_a_message_go_on_with_it() {
    let payload = pattern(300);
    let header = full(6, 9, 300, kind::VIDEO, 1);
    let input = [&header[..], &payload[..128], &header, &payload[128..256], &header, &payload[256..]].concat();
    assert_eq!(read(&input).unwrap(), [message(9, &payload)]);
}

#[test]
fn what_no_one_wants_is_passed_over_to_the_byte() {
    let payload = pattern(100_001);
    let mut reader = ChunkReader::new(LIMITS);
    let input = [
        &set_chunk_size(200_000)[..],
        // Media before anyone publishes, of any size; metadata and shared objects.
        &full(6, 1, 100_001, kind::VIDEO, 1),
        &payload,
        &full(5, 1, 3, kind::DATA, 1),
        b"abc",
        &full(5, 1, 3, 19, 1),
        b"abc",
        &full(3, 0, 2, kind::COMMAND, 0),
        b"hi",
    ]
    .concat();
    let messages = read_with(&mut reader, &input).unwrap();
    assert_eq!(messages, [Message { timestamp: 0, kind: kind::COMMAND, stream_id: 0, payload: Bytes::from_static(b"hi") }]);
}

#[test]
fn limits_are_told_by_name() {
    let too_long = |kind, length| [full(6, 0, length, kind, 1), vec![0]].concat();
    let error = |kind, length: u32, max| Err(ChunkError::Length { kind, id: 6, length: length as usize, max });
    assert_eq!(read(&too_long(kind::VIDEO, 100_001)), error(kind::VIDEO, 100_001, 100_000));
    assert_eq!(read(&too_long(kind::AUDIO, 0xff_ffff)), error(kind::AUDIO, 0xff_ffff, 100_000));
    assert_eq!(read(&too_long(kind::COMMAND, 1001)), error(kind::COMMAND, 1001, 1000));
    assert_eq!(read(&too_long(kind::USER_CONTROL, 65)), error(kind::USER_CONTROL, 65, 64));
    assert_eq!(read(&[0xc6]), Err(ChunkError::NoHeader { format: 3, id: 6 }));
    assert_eq!(read(&[0x86]), Err(ChunkError::NoHeader { format: 2, id: 6 }));
    let many: Vec<u8> = (3..9).flat_map(|id| [full(id, 0, 1, kind::VIDEO, 1), vec![0]].concat()).collect();
    assert_eq!(read(&many), Err(ChunkError::Streams { max: 4 }));
    let begun: Vec<u8> = (3..6).flat_map(|id| [full(id, 0, 90_000, kind::VIDEO, 1), vec![0; 128]].concat()).collect();
    assert_eq!(read(&begun), Err(ChunkError::Buffered { max: 200_000 }));
}

#[test]
fn a_length_alone_costs_no_memory() {
    let mut reader = ChunkReader::new(ReaderLimits { media: 8 << 20, buffered: 16 << 20, ..LIMITS });
    reader.set_wants_media(true);
    let begun = [full(6, 0, 8 << 20, kind::VIDEO, 1), vec![0; 128]].concat();
    assert_eq!(read_with(&mut reader, &begun), Ok(vec![]));
    assert!((128..=16 << 10).contains(&reader.allocated()), "{} bytes are set aside", reader.allocated());
}

fn outgoing() -> impl Strategy<Value = (Message, u8)> {
    let time = prop_oneof![any::<u32>(), 0_u32..100_000, Just(0xff_ffff), Just(0xff_fffe)];
    let payload = proptest::collection::vec(any::<u8>(), 0..700);
    (time, 0_u32..3, payload, 3_u8..6).prop_map(|(timestamp, stream_id, payload, chunk_stream)| {
        (Message { timestamp, kind: kind::VIDEO, stream_id, payload: payload.into() }, chunk_stream)
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(messages in proptest::collection::vec(outgoing(), 1..8), chunk_size in 1_usize..400) {
        let mut input = set_chunk_size(chunk_size as u32);
        let mut size = input.len();
        let writer = MessageWriter { chunk_size };
        for (message, chunk_stream) in &messages {
            let Message { timestamp, kind, stream_id, .. } = *message;
            let (left, right) = message.payload.split_at(message.payload.len() / 3);
            writer.write(&mut input, Envelope { chunk_stream: *chunk_stream, timestamp, kind, stream_id }, &[left, &[], right]);
            size += writer.size(timestamp, message.payload.len());
        }
        prop_assert_eq!(input.len(), size);
        let expected: Vec<_> = messages.into_iter().map(|(message, _)| message).collect();
        prop_assert_eq!(&read_with(&mut reader(), &input).unwrap(), &expected);
        let mut reader = reader();
        let bytewise = input.chunks(1).map(|byte| read_with(&mut reader, byte).unwrap());
        prop_assert_eq!(bytewise.flatten().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn any_bytes_are_read_the_same_in_any_split(input in hostile(), cut in any::<prop::sample::Index>()) {
        let at = cut.index(input.len() + 1);
        let whole = read_with(&mut reader(), &input);
        let mut reader = reader();
        let parts = read_with(&mut reader, &input[..at]).and_then(|mut first| {
            first.extend(read_with(&mut reader, &input[at..])?);
            Ok(first)
        });
        prop_assert_eq!(parts, whole);
    }
}

/// Bytes that get far: short headers, few chunk streams, small lengths.
fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![4 => 0_u8..8, 2 => Just(0xc4_u8), 1 => Just(0x84_u8), 1 => Just(0x44_u8), 1 => Just(0xff_u8), 1 => any::<u8>()];
    proptest::collection::vec(byte, 0..400)
}
