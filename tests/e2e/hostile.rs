//! Bytes that nobody should send to the RTMP port. Each costs its own connection at most: a broadcast that runs
//! meanwhile goes on for its viewer without a missing frame.

use crate::show::{Show, cast};
use anyhow::{Context, Result, ensure};
use flyloft_tests::clip::{Clip, Tag, tags};
use flyloft_tests::compare::compare;
use flyloft_tests::rtmp::{Client, Message, amf, chunk, hello, kind};
use flyloft_tests::server::Server;
use flyloft_tests::watch::{Watch, decode};
use flyloft_tests::{PATIENCE, wait_for};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

fn message(kind: u8, payload: Vec<u8>) -> Message {
    Message { chunk_stream: 3, timestamp: 0, kind, stream_id: 0, payload }
}

fn written(message: &Message) -> Vec<u8> {
    let mut bytes = Vec::new();
    chunk::write(&mut bytes, message, 128);
    bytes
}

fn command(values: &[amf::Value]) -> Vec<u8> {
    written(&message(kind::COMMAND_AMF0, amf::encode(values)))
}

/// A first chunk that announces `length` bytes, and what may follow.
fn announced(length: u32, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    chunk::header(&mut bytes, &message(kind::VIDEO, Vec::new()));
    bytes[4..7].copy_from_slice(&length.to_be_bytes()[1..]);
    bytes.extend_from_slice(body);
    bytes
}

fn deep_object() -> Vec<u8> {
    let mut payload = amf::encode(&[amf::Value::text("connect"), amf::Value::Number(1.0)]);
    for _ in 0..10_000 {
        payload.extend_from_slice(&[3, 0, 1, b'a']);
    }
    written(&message(kind::COMMAND_AMF0, payload))
}

/// What is sent after a good handshake, by a name for the report.
fn after_handshake() -> Vec<(&'static str, Vec<u8>)> {
    let text = amf::Value::text;
    let mut date = amf::encode(&[text("connect"), amf::Value::Number(1.0)]);
    date.push(11);
    date.extend_from_slice(&[0; 10]);
    let mut long_list = amf::encode(&[text("connect"), amf::Value::Number(1.0)]);
    long_list.extend_from_slice(&[10, 0xff, 0xff, 0xff, 0xff]);
    let mut long_name = amf::encode(&[text("connect"), amf::Value::Number(1.0)]);
    long_name.extend_from_slice(&[3, 0xff, 0xff, b'a']);
    vec![
        ("zeros", vec![0; 4096]),
        ("ones", vec![0xff; 4096]),
        ("continuation without a first chunk", vec![0xc3; 512]),
        ("objects 10,000 deep", deep_object()),
        ("a list of 4 billion values", written(&message(kind::COMMAND_AMF0, long_list))),
        ("a field name longer than the message", written(&message(kind::COMMAND_AMF0, long_name))),
        ("a date in a command", written(&message(kind::COMMAND_AMF0, date))),
        ("an empty command", written(&message(kind::COMMAND_AMF0, Vec::new()))),
        ("a command that is only a name", command(&[text("connect")])),
        ("a command whose name is a number", command(&[amf::Value::Number(1.0), text("connect")])),
        ("an unknown command", command(&[text("selfDestruct"), amf::Value::Number(1.0), amf::Value::Null])),
        ("publish before connect", command(&[text("publish"), amf::Value::Number(1.0), amf::Value::Null, text("x")])),
        ("play before connect", command(&[text("play"), amf::Value::Number(1.0), amf::Value::Null, text("x")])),
        ("metadata alone", written(&message(kind::DATA_AMF0, amf::encode(&[text("@setDataFrame")])))),
        ("user control 26", written(&message(kind::USER_CONTROL, vec![0, 26, 0, 0, 0, 0]))),
        ("a cut user control", written(&message(kind::USER_CONTROL, vec![0]))),
        ("chunk size 0", written(&message(kind::SET_CHUNK_SIZE, vec![0; 4]))),
        ("chunk size with its top bit", written(&message(kind::SET_CHUNK_SIZE, vec![0xff; 4]))),
        ("a cut chunk size", written(&message(kind::SET_CHUNK_SIZE, vec![1]))),
        ("an abort of nothing", written(&message(2, vec![0, 0, 0, 9]))),
        ("an acknowledgement window of 0", written(&message(kind::WINDOW_ACK_SIZE, vec![0; 4]))),
        ("a message of 16 MiB that never comes", announced(0xff_ffff, &[0; 128])),
        ("a length that changes in the middle", [announced(1000, &[0; 128]), announced(10, &[0; 10])].concat()),
        ("video before publish", written(&message(kind::VIDEO, vec![0x17, 1, 0, 0, 0, 9, 9, 9]))),
        ("an aggregate that lies about its parts", written(&message(22, vec![9, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0]))),
        ("every message type", (0..=255).flat_map(|kind| written(&message(kind, vec![kind; 32]))).collect()),
    ]
}

/// Codec configurations and frames that are broken, sent by a publisher with a good key.
fn broken_media() -> Vec<(&'static str, u8, Vec<u8>)> {
    vec![
        ("an empty picture", kind::VIDEO, vec![]),
        ("half a picture header", kind::VIDEO, vec![0x17]),
        ("an empty AVC configuration", kind::VIDEO, vec![0x17, 0, 0, 0, 0]),
        ("an AVC configuration that lies", kind::VIDEO, vec![0x17, 0, 0, 0, 0, 1, 100, 0, 31, 0xff, 0xe1, 0xff, 0xff, 0x67]),
        ("an AVC configuration of zeros", kind::VIDEO, [&[0x17, 0, 0, 0, 0][..], &[0; 64]].concat()),
        ("a picture without configuration", kind::VIDEO, vec![0x27, 1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 1]),
        ("an unknown codec", kind::VIDEO, vec![0x1f, 1, 2, 3]),
        ("an unknown fourCC", kind::VIDEO, [&[0x90][..], b"zzzz", &[1, 2, 3]].concat()),
        ("a cut fourCC", kind::VIDEO, vec![0x90, b'h', b'v']),
        ("an HEVC configuration that lies", kind::VIDEO, [&[0x90][..], b"hvc1", &[1; 22], &[0xff; 8]].concat()),
        ("an AV1 configuration that lies", kind::VIDEO, [&[0x90][..], b"av01", &[0x81, 0xff, 0xff, 0xff, 0x0a, 0xff]].concat()),
        ("an empty AAC configuration", kind::AUDIO, vec![0xaf, 0]),
        ("an AAC configuration of ones", kind::AUDIO, vec![0xaf, 0, 0xff, 0xff, 0xff, 0xff]),
        ("an unknown sound format", kind::AUDIO, vec![0xe0, 1, 2]),
        ("empty sound", kind::AUDIO, vec![]),
    ]
}

/// Sends `bytes` on a fresh connection, with or without a handshake before, and reads until the server is done with it
/// or goes on as if nothing had been.
fn attack(address: SocketAddr, handshake: bool, bytes: &[u8]) -> Result<()> {
    let mut socket = if handshake { Client::handshake(address)?.socket } else { TcpStream::connect(address)? };
    socket.set_read_timeout(Some(Duration::from_millis(200)))?;
    // The server may close while we still write; that is an answer too.
    let _ = socket.write_all(bytes);
    let mut answer = [0; 4096];
    loop {
        match socket.read(&mut answer) {
            Ok(0) | Err(_) => return Ok(()),
            Ok(_) => {}
        }
    }
}

#[test]
fn garbage_of_every_kind_disturbs_nobody() -> Result<()> {
    let clip = Clip::h264()?;
    let mut show = Show::start(&clip, &[])?;
    let viewer = Watch::start(show.flv()?)?;
    viewer.advance(30)?;
    let address = show.server.addresses().rtmp;
    let before = show.server.usage()?.rss;
    for (what, bytes) in [
        ("nothing", Vec::new()),
        ("HTTP", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec()),
        ("TLS", vec![0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3]),
        ("noise", (0..8192u32).map(|index| (index.wrapping_mul(2_654_435_761) >> 13) as u8).collect()),
        ("half a handshake", hello()[..700].to_vec()),
        ("encrypted RTMP", [&[6][..], &[7; 1536]].concat()),
    ] {
        attack(address, false, &bytes).context(what)?;
        ensure!(show.server.alive(), "the server died of {what}");
    }
    for (what, bytes) in after_handshake() {
        attack(address, true, &bytes).context(what)?;
        ensure!(show.server.alive(), "the server died of {what}");
    }
    let victim = show.server.member("victim")?;
    for (what, kind, payload) in broken_media() {
        let mut client = Client::connect(address, "live").context(what)?;
        let (stream, status) = client.publish(&victim.key).context(what)?;
        ensure!(status.code == "NetStream.Publish.Start", "{what}: {status:?}");
        // The server may close the connection at any of these.
        for index in 0..3 {
            let _ = client.send(4, kind, stream, index * 20, &payload);
        }
        let _ = client.unpublish(stream);
        drop(client);
        ensure!(show.server.alive(), "the server died of {what}");
        show.server.wait_key_state(&victim, "INACTIVE").context(what)?;
    }
    let after = show.server.usage()?.rss;
    ensure!(after < before + (64 << 20), "memory grew from {before} to {after} bytes");
    viewer.advance(30)?;
    show.finish()?;
    let seen = viewer.end(PATIENCE)?;
    ensure!(seen.errors.is_empty(), "{}", seen.errors);
    // The publisher was interrupted: of its last group some pictures that are shown earlier were never sent.
    let whole = &seen.video[..seen.video.len().saturating_sub(4)];
    let hole = whole.windows(2).find(|pair| pair[1].time - pair[0].time > 0.050);
    ensure!(hole.is_none(), "the viewer missed pictures at {hole:?}");
    let log = show.server.log();
    ensure!(!log.contains("panicked"), "something panicked");
    Ok(())
}

#[test]
fn a_handshake_that_never_ends_is_given_up() -> Result<()> {
    let server = Server::start()?;
    let mut sockets = Vec::new();
    for length in [0, 1, 700, 1537] {
        let mut socket = TcpStream::connect(server.addresses().rtmp)?;
        socket.write_all(&hello()[..length])?;
        socket.set_read_timeout(Some(Duration::from_secs(60)))?;
        sockets.push((length, socket));
    }
    for (length, mut socket) in sockets {
        let end = std::io::copy(&mut socket, &mut std::io::sink());
        let timeout = |error: &std::io::Error| matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
        ensure!(!end.as_ref().is_err_and(timeout), "a handshake that stops after {length} bytes is never given up");
    }
    Ok(())
}

/// Chunks of picture and sound take turns, which is legal and which no common encoder does.
fn interleaved(stream: u32, picture: &Tag, sound: &Tag, size: usize) -> Vec<u8> {
    let of = |chunk_stream, tag: &Tag| Message {
        chunk_stream,
        timestamp: tag.timestamp,
        kind: tag.kind,
        stream_id: stream,
        payload: tag.payload.clone(),
    };
    let messages = [of(4, picture), of(5, sound)];
    let mut bodies = messages.each_ref().map(|message| message.payload.chunks(size));
    let mut bytes = Vec::new();
    let mut begun = [false; 2];
    loop {
        let mut any = false;
        for (index, message) in messages.iter().enumerate() {
            let Some(body) = bodies[index].next() else { continue };
            match std::mem::replace(&mut begun[index], true) {
                false => chunk::header(&mut bytes, message),
                true => chunk::continuation(&mut bytes, message),
            }
            bytes.extend_from_slice(body);
            any = true;
        }
        if !any {
            return bytes;
        }
    }
}

#[test]
fn interleaved_chunks_are_put_together() -> Result<()> {
    const CHUNK: usize = 128;
    let clip = Clip::h264()?;
    let source = decode(&clip.ffmpeg, &clip.path)?;
    let server = Server::start()?;
    let (member, room) = cast(&server, "ada")?;
    let all = tags(&clip.flv()?)?;
    let (address, key) = (server.addresses().rtmp, member.key.clone());
    let publisher = std::thread::spawn(move || -> Result<()> {
        let mut client = Client::connect(address, "live")?;
        let (stream, _) = client.publish(&key)?;
        client.set_chunk_size(CHUNK as u32)?;
        let begin = std::time::Instant::now();
        let mut pictures = all.iter().filter(|tag| tag.kind == kind::VIDEO).peekable();
        for sound in all.iter().filter(|tag| tag.kind == kind::AUDIO) {
            let due = begin + Duration::from_millis(u64::from(sound.timestamp));
            std::thread::sleep(due.saturating_duration_since(std::time::Instant::now()));
            let mut due = Vec::new();
            while let Some(picture) = pictures.next_if(|picture| picture.timestamp <= sound.timestamp) {
                due.push(picture);
            }
            match due.split_last() {
                None => client.send(5, sound.kind, stream, sound.timestamp, &sound.payload)?,
                Some((last, before)) => {
                    for picture in before {
                        client.send(4, picture.kind, stream, picture.timestamp, &picture.payload)?;
                    }
                    client.socket.write_all(&interleaved(stream, last, sound, CHUNK))?;
                }
            }
        }
        for picture in pictures {
            client.send(4, picture.kind, stream, picture.timestamp, &picture.payload)?;
        }
        client.unpublish(stream)
    });
    let urls = server.go_live(&member, &room)?;
    let viewer = Watch::start(urls.flv.as_deref().context("no httpFlv URL")?)?;
    wait_for("the publisher has sent everything", PATIENCE, || publisher.is_finished().then_some(()))?;
    publisher.join().map_err(|_| anyhow::anyhow!("the publisher panicked"))??;
    server.wait_room_state(&room, "LIVE_INACTIVE")?;
    server.end_room(&room, false)?.success()?;
    let seen = viewer.end(PATIENCE)?;
    ensure!(seen.errors.is_empty(), "{}", seen.errors);
    let found = compare(&source, &seen)?;
    let (first, count) = found.video.context("no pictures")?;
    ensure!(first + count == source.video.len(), "{found:?}");
    Ok(())
}
