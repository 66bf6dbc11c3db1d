//! `flyloft-load`: many RTMP, HTTP-FLV or HLS viewers of one stream from one thread, as cheap as they can be made,
//! because they share the machine with the server that they measure.

mod report;
mod track;
mod viewer;

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use flyloft_tests::process::{Usage, raise_open_files};
use mio::{Events, Interest, Poll, Token};
use report::Report;
use std::net::{SocketAddr, ToSocketAddrs};
use std::time::{Duration, Instant};
use viewer::{Protocol, Target, Viewer};

/// Opens many viewers of one stream and measures what the server delivers and what it costs.
#[derive(Parser)]
#[command(name = "flyloft-load", version)]
struct Options {
    /// The stream: rtmp://HOST[:PORT]/APP/NAME, http://HOST[:PORT]/PATH.flv, or .m3u8 for low-latency HLS
    url: String,
    /// How many viewers
    #[arg(long, default_value_t = 100)]
    viewers: usize,
    /// How long to measure once all of them play, in seconds
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// New connections per second
    #[arg(long, default_value_t = 200)]
    ramp: u32,
    /// Every how many viewers one parses all that it gets, to find skipped frames (0: none)
    #[arg(long, default_value_t = 50)]
    sample: usize,
    /// The server's process: its CPU time and memory, with all child processes, are reported
    #[arg(long)]
    server_pid: Option<u32>,
    /// Pause between rounds of reading, in milliseconds: fewer wake-ups cost both ends less; gaps are this exact
    #[arg(long, default_value_t = 4)]
    pause: u64,
    /// A name for this run in the report
    #[arg(long, default_value = "")]
    label: String,
    /// Print only the JSON line
    #[arg(long)]
    json: bool,
}

fn main() -> Result<()> {
    let options = Options::parse();
    ensure!(options.viewers > 0 && options.seconds > 0 && options.ramp > 0, "--viewers, --seconds and --ramp must be above 0");
    let files = raise_open_files()?;
    ensure!(
        files > options.viewers as u64 + 16,
        "this process may open {files} files only: raise `ulimit -Hn` above {}",
        options.viewers + 16
    );
    let report = run(&options)?;
    println!("{}", report.json());
    if !options.json {
        println!("{}", report.line());
    }
    Ok(())
}

/// Takes an RTMP or HTTP address apart, without any of the rarer parts of a URL.
fn target(url: &str) -> Result<Target> {
    let (protocol, rest, port) = if let Some(rest) = url.strip_prefix("rtmp://") {
        (Protocol::Rtmp, rest, 1935)
    } else if let Some(rest) = url.strip_prefix("http://") {
        let path = rest.split('?').next().unwrap_or_default();
        (if path.ends_with(".m3u8") { Protocol::Hls } else { Protocol::HttpFlv }, rest, 80)
    } else {
        bail!("{url}: expected rtmp://HOST/APP/NAME, http://HOST/PATH.flv or http://HOST/PATH.m3u8");
    };
    let (host, path) = rest.split_once('/').with_context(|| format!("{url}: a path is missing"))?;
    let authority = if host.contains(':') { host.to_owned() } else { format!("{host}:{port}") };
    let address: SocketAddr = authority
        .to_socket_addrs()
        .with_context(|| format!("{url}: looking up {authority}"))?
        .next()
        .with_context(|| format!("{url}: {authority} has no address"))?;
    let (app, name) = match protocol {
        Protocol::Rtmp => path.split_once('/').with_context(|| format!("{url}: expected /APP/NAME"))?,
        Protocol::HttpFlv | Protocol::Hls => ("", path),
    };
    Ok(Target { protocol, address, authority, app: app.to_owned(), name: name.to_owned() })
}

fn run(options: &Options) -> Result<Report> {
    let target = target(&options.url)?;
    let usage = || options.server_pid.map(Usage::of).transpose();
    let idle = usage()?;
    let mut poll = Poll::new().context("opening an event queue")?;
    let mut events = Events::with_capacity(4096);
    let mut scratch = vec![0u8; 256 << 10];
    let mut viewers: Vec<Viewer> = Vec::with_capacity(options.viewers);

    let begin = Instant::now();
    let patience = Duration::from_secs_f64(options.viewers as f64 / f64::from(options.ramp) + 20.0);
    loop {
        let due = (begin.elapsed().as_secs_f64() * f64::from(options.ramp)) as usize + 1;
        while viewers.len() < due.min(options.viewers) {
            let parses = options.sample > 0 && viewers.len().is_multiple_of(options.sample);
            let mut viewer = Viewer::connect(&target, parses)?;
            let token = Token(viewers.len());
            poll.registry().register(&mut viewer.socket, token, Interest::READABLE | Interest::WRITABLE)?;
            viewers.push(viewer);
        }
        turn(&mut poll, &mut events, &mut viewers, &target, &mut scratch, Duration::from_millis(2))?;
        let settled = viewers.iter().filter(|viewer| viewer.playing() || viewer.end.is_some()).count();
        if settled == options.viewers || begin.elapsed() > patience {
            break;
        }
    }
    let connected = viewers.iter().filter(|viewer| viewer.playing()).count();
    if connected == 0 {
        let reason = viewers.iter().find_map(|viewer| viewer.end.clone());
        bail!("{}: no viewer plays: {}", options.url, reason.unwrap_or_else(|| "no media came".into()));
    }

    let start = Instant::now();
    for viewer in &mut viewers {
        viewer.reset(start);
    }
    let (before, own_before) = (usage()?, Usage::of(std::process::id())?);
    let end = start + Duration::from_secs(options.seconds);
    while let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        std::thread::sleep(left.min(Duration::from_millis(options.pause)));
        turn(&mut poll, &mut events, &mut viewers, &target, &mut scratch, left)?;
    }
    let (after, own_after) = (usage()?, Usage::of(std::process::id())?);
    let finish = Instant::now();
    for viewer in &mut viewers {
        viewer.finish(finish);
    }
    Ok(Report {
        label: options.label.clone(),
        url: options.url.clone(),
        wanted: options.viewers,
        connected,
        window: finish - start,
        own_cpu: own_after.cpu.saturating_sub(own_before.cpu),
        server: idle.zip(before).zip(after),
        viewers,
    })
}

/// Waits for readiness once and lets every ready viewer read.
fn turn(
    poll: &mut Poll,
    events: &mut Events,
    viewers: &mut [Viewer],
    target: &Target,
    scratch: &mut [u8],
    timeout: Duration,
) -> Result<()> {
    match poll.poll(events, Some(timeout)) {
        Err(error) if error.kind() == std::io::ErrorKind::Interrupted => return Ok(()),
        other => other.context("waiting for sockets")?,
    }
    for event in events.iter() {
        if let Some(viewer) = viewers.get_mut(event.token().0) {
            viewer.ready(event, target, scratch);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn addresses_are_taken_apart() {
        let rtmp = target("rtmp://127.0.0.1:1999/live/room?token=x").unwrap();
        assert_eq!((rtmp.app.as_str(), rtmp.name.as_str()), ("live", "room?token=x"));
        assert_eq!(rtmp.address.port(), 1999);
        let flv = target("http://127.0.0.1/live/room.flv").unwrap();
        assert_eq!((flv.name.as_str(), flv.address.port(), flv.protocol), ("live/room.flv", 80, Protocol::HttpFlv));
        assert_eq!(target("http://127.0.0.1/live/room/index.m3u8?token=a.flv").unwrap().protocol, Protocol::Hls);
        assert!(target("rtmp://127.0.0.1/live").is_err());
        assert!(target("srt://127.0.0.1/live").is_err());
    }
}
