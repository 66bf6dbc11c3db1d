//! A viewer that stops reading costs nobody else anything.

use crate::show::Show;
use anyhow::{Result, ensure};
use flyloft_tests::clip::Clip;
use flyloft_tests::process::open_files;
use flyloft_tests::rtmp::Client;
use flyloft_tests::wait_for;
use flyloft_tests::watch::Watch;
use socket2::{Domain, Socket, Type};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// More than the server's own buffers of one stream, and far less than what the sleepers would have got by then.
const GROWTH: u64 = 48 << 20;
/// What a sleeper may find in its buffers when it wakes up. One that gets more is still connected.
const LEFTOVERS: u64 = 32 << 20;

#[test]
fn a_viewer_that_stops_reading_grows_no_memory_delays_nobody_and_is_disconnected() -> Result<()> {
    let clip = Clip::load()?;
    let settings = [("live.ring_bytes", "8388608"), ("egress.max_lag_ms", "2000"), ("egress.stall_timeout_ms", "12000")];
    let mut show = Show::start(&clip, &settings)?;
    let awake = Watch::start(show.flv()?)?;
    awake.advance(60)?;
    let files = open_files(show.server.pid())?;
    let mut sleepers = Vec::new();
    for index in 0..40 {
        sleepers.push(if index % 2 == 0 { rtmp_sleeper(&show)? } else { flv_sleeper(&show)? });
    }
    let before = show.server.usage()?.rss;
    awake.advance(300)?;
    let after = show.server.usage()?.rss;
    ensure!(after < before + GROWTH, "memory grew from {before} to {after} bytes while 40 viewers slept");
    // Looked at from the server's side: reading from a sleeper would wake it.
    wait_for("the sleepers are disconnected", Duration::from_secs(60), || {
        (open_files(show.server.pid()).ok()? <= files).then_some(())
    })?;
    for sleeper in &mut sleepers {
        sleeper.set_read_timeout(Some(Duration::from_secs(10)))?;
        let end = std::io::copy(&mut sleeper.take(LEFTOVERS), &mut std::io::sink());
        let timeout = |error: &std::io::Error| matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
        let open = end.as_ref().map_or_else(timeout, |read| *read == LEFTOVERS);
        ensure!(!open, "the connection of a disconnected viewer is still open: {end:?}");
    }
    show.finish()?;
    let seen = awake.end(Duration::from_secs(30))?;
    ensure!(seen.errors.is_empty(), "the viewer that was awake saw faults: {}", seen.errors);
    // The publisher was interrupted: of its last group some pictures that are shown earlier were never sent.
    let whole = &seen.video[..seen.video.len().saturating_sub(4)];
    let hole = whole.windows(2).find(|pair| pair[1].time - pair[0].time > 0.050);
    ensure!(hole.is_none(), "the viewer that was awake missed pictures at {hole:?}");
    Ok(())
}

fn rtmp_sleeper(show: &Show) -> Result<TcpStream> {
    let mut client = Client::connect(show.server.addresses().rtmp, "live")?;
    let (_, status) = client.play(&show.room)?;
    ensure!(status.code == "NetStream.Play.Start", "{status:?}");
    Ok(client.socket)
}

fn flv_sleeper(show: &Show) -> Result<TcpStream> {
    let address = show.server.addresses().http;
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_recv_buffer_size(16 << 10)?;
    socket.connect(&address.into())?;
    let mut socket = TcpStream::from(socket);
    socket.set_read_timeout(Some(Duration::from_secs(10)))?;
    write!(socket, "GET /live/{}.flv HTTP/1.1\r\nHost: {address}\r\n\r\n", show.room)?;
    let mut head = [0; 12];
    socket.read_exact(&mut head)?;
    ensure!(head.ends_with(b"200"), "{}", String::from_utf8_lossy(&head));
    Ok(socket)
}
