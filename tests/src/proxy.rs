//! A proxy before an HTTP server that misbehaves as told: it refuses, cuts off, resets, slows down, stalls, forges entity tags. For
//! requests and answers with a `Content-Length`, one after the other on a connection.

use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// What goes wrong. By default nothing does.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// Answers every so manieth request with 503 and the S3 code `SlowDown`; 0 none.
    pub refuse_every: u64,
    /// Ends the connection in an orderly way after so many bytes of the body of an answer.
    pub cut_after: Option<u64>,
    /// Resets the connection after so many bytes of the body of an answer.
    pub reset_after: Option<u64>,
    /// Cuts and resets strike only every so manieth answer; 0 and 1 each.
    pub strike_every: u64,
    /// Bytes of bodies in a second, on each connection.
    pub rate: Option<u64>,
    /// Waits so long before an answer.
    pub stall: Option<Duration>,
    /// Puts this in the place of each entity tag.
    pub entity_tag: Option<String>,
    /// Accepts connections, and ends them at once.
    pub gone: bool,
}

/// A running proxy; dropping it ends it.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    upstream: SocketAddr,
    faults: Mutex<Faults>,
    stop: AtomicBool,
    requests: AtomicU64,
    struck: AtomicU64,
    bytes: AtomicU64,
    /// The sockets of each connection, by its number.
    open: Mutex<BTreeMap<u64, [TcpStream; 2]>>,
}

impl Proxy {
    pub fn start(upstream: SocketAddr) -> Result<Proxy> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).context("a port for the proxy")?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            upstream,
            faults: Mutex::default(),
            stop: AtomicBool::default(),
            requests: AtomicU64::default(),
            struck: AtomicU64::default(),
            bytes: AtomicU64::default(),
            open: Mutex::default(),
        });
        let serving = Arc::clone(&shared);
        thread::spawn(move || {
            for (number, socket) in (0..).zip(listener.incoming().flatten()) {
                if serving.stop.load(Ordering::Relaxed) {
                    return;
                }
                let shared = Arc::clone(&serving);
                thread::spawn(move || {
                    // A connection that breaks is what this is for.
                    let _ = serve(&shared, number, socket);
                    locked(&shared.open).remove(&number);
                });
            }
        });
        Ok(Proxy { address, shared })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:PORT`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Misbehaves in this way from the next request on. When the server is to be gone, open connections end, too.
    pub fn set(&self, faults: Faults) {
        let gone = faults.gone;
        *locked(&self.shared.faults) = faults;
        if gone {
            for socket in locked(&self.shared.open).values().flatten() {
                let _ = socket.shutdown(Shutdown::Both);
            }
        }
    }

    /// Requests so far.
    pub fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::Relaxed)
    }

    /// Bytes of bodies that were sent on.
    pub fn bytes(&self) -> u64 {
        self.shared.bytes.load(Ordering::Relaxed)
    }

    /// Requests that were refused, and answers that were cut off or reset.
    pub fn struck(&self) -> u64 {
        self.shared.struck.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.set(Faults { gone: true, ..Faults::default() });
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn serve(shared: &Shared, number: u64, client: TcpStream) -> Result<()> {
    if locked(&shared.faults).gone {
        return Ok(());
    }
    client.set_nodelay(true)?;
    let upstream = TcpStream::connect(shared.upstream)?;
    upstream.set_nodelay(true)?;
    locked(&shared.open).insert(number, [client.try_clone()?, upstream.try_clone()?]);
    let (mut from_client, mut to_client) = (BufReader::new(client.try_clone()?), client);
    let (mut from_server, mut to_server) = (BufReader::new(upstream.try_clone()?), upstream);
    while let Some(request) = head(&mut from_client)? {
        let count = shared.requests.fetch_add(1, Ordering::Relaxed) + 1;
        let faults = locked(&shared.faults).clone();
        to_server.write_all(request.as_bytes())?;
        std::io::copy(&mut (&mut from_client).take(length(&request)), &mut to_server)?;
        let Some(answer) = head(&mut from_server)? else { return Ok(()) };
        let mut left = if request.starts_with("HEAD ") { 0 } else { length(&answer) };
        if let Some(stall) = faults.stall {
            thread::sleep(stall);
        }
        if faults.refuse_every > 0 && count.is_multiple_of(faults.refuse_every) {
            shared.struck.fetch_add(1, Ordering::Relaxed);
            std::io::copy(&mut (&mut from_server).take(left), &mut std::io::sink())?;
            let body = "<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>";
            write!(
                to_client,
                "HTTP/1.1 503 Slow Down\r\ncontent-type: application/xml\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            )?;
            continue;
        }
        to_client.write_all(forged(&answer, faults.entity_tag.as_deref()).as_bytes())?;
        let strikes = count.is_multiple_of(faults.strike_every.max(1));
        let broken = faults.cut_after.map(|at| (at, false)).or(faults.reset_after.map(|at| (at, true))).filter(|_| strikes);
        let (started, mut sent) = (Instant::now(), 0);
        let mut buffer = [0; 16 * 1024];
        while left > 0 {
            let want = left.min(broken.map_or(u64::MAX, |(at, _)| at.saturating_sub(sent))).min(buffer.len() as u64);
            if want == 0 {
                shared.struck.fetch_add(1, Ordering::Relaxed);
                if broken.is_some_and(|(_, reset)| reset) {
                    // Closing with an answer that nobody waits for any more sends a reset.
                    socket2::SockRef::from(&to_client).set_linger(Some(Duration::ZERO))?;
                } else {
                    to_client.shutdown(Shutdown::Both)?;
                }
                locked(&shared.open).remove(&number);
                return Ok(());
            }
            let count = from_server.read(&mut buffer[..usize::try_from(want)?])?;
            if count == 0 {
                return Ok(());
            }
            to_client.write_all(&buffer[..count])?;
            (sent, left) = (sent + count as u64, left - count as u64);
            shared.bytes.fetch_add(count as u64, Ordering::Relaxed);
            if let Some(rate) = locked(&shared.faults).rate {
                let due = Duration::from_secs_f64(sent as f64 / rate.max(1) as f64);
                thread::sleep(due.saturating_sub(started.elapsed()));
            }
        }
    }
    Ok(())
}

/// Reads up to the empty line. None when the connection has ended.
fn head(from: &mut impl BufRead) -> Result<Option<String>> {
    let mut head = String::new();
    loop {
        let before = head.len();
        if from.read_line(&mut head)? == 0 {
            return Ok(None);
        }
        if &head[before..] == "\r\n" {
            return Ok(Some(head));
        }
    }
}

fn length(head: &str) -> u64 {
    let fields = head.lines().filter_map(|line| line.split_once(':'));
    let mut lengths = fields.filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    lengths.next().and_then(|(_, value)| value.trim().parse().ok()).unwrap_or(0)
}

/// An answer's head with another entity tag.
fn forged(head: &str, entity_tag: Option<&str>) -> String {
    let Some(tag) = entity_tag else { return head.to_owned() };
    let line = |line: &str| match line.split_once(':') {
        Some((name, _)) if name.eq_ignore_ascii_case("etag") => format!("{name}: {tag}\r\n"),
        _ => format!("{line}\r\n"),
    };
    head.lines().map(line).collect()
}
