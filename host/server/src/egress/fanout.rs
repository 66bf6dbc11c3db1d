//! Writes one stream to many viewers on plain TCP: RTMP players and HTTP-FLV over HTTP/1.1.
//!
//! A few shards (one for each core) share the viewers. For each batch of frames a shard builds the list of shared buffers once and
//! hands it to every socket in one vectored, non-blocking write. A viewer is a socket and a place in the ring: whoever can't take
//! the batch is left behind, catches up from the ring by itself, and skips to a key frame when it is too far behind.

use std::io::IoSlice;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use flyloft_media::hub::{Cursor, Entry, From, Read, Stream};
use flyloft_media::{MediaKind, WallClock};
use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc};

use super::Format;
use super::link::Link;
use super::seat::{Progress, Seat};
use crate::clock;
use crate::live::ViewerGuard;

/// Entries that are read from the ring at a time.
const BATCH: usize = 256;
/// How often a viewer with unsent bytes is tried again while no frame comes.
const RETRY: Duration = Duration::from_millis(20);
/// How often a shard looks for viewers that left while nothing else happens.
const HOUSEKEEPING: Duration = Duration::from_secs(1);
/// Viewers that may wait to be seated in one shard.
const INTAKE: usize = 256;
/// With so many viewers in a shard two pictures leave in one write: what a write costs beside its bytes is most of all.
const CROWD: usize = 50;

/// In the order of the enumeration.
const FORMATS: [Format; 3] = [Format::Rtmp, Format::Flv, Format::FlvChunks];

#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How long sound waits for the next picture, so that both leave in one write; in a crowd the first of two pictures, too.
    pub coalesce: Duration,
    /// Microseconds of media after which a viewer skips to the latest key frame.
    pub max_lag: i64,
    /// A viewer that takes nothing for so long, while there is something, is let go.
    pub stall_timeout: Duration,
}

/// All plain TCP viewers of one stream.
#[derive(Debug)]
pub struct Fanout {
    stream: Arc<Stream>,
    settings: Settings,
    shards: Vec<Shard>,
    next: AtomicUsize,
}

#[derive(Debug, Default)]
struct Shard {
    intake: Mutex<Option<mpsc::Sender<Seat>>>,
    wake: Arc<Notify>,
}

/// The stream's shard ended while the viewer came.
#[derive(Debug, thiserror::Error)]
#[error("the stream ended")]
pub struct Ended;

impl Fanout {
    pub fn new(stream: Arc<Stream>, settings: Settings) -> Self {
        let count = std::thread::available_parallelism().map_or(1, usize::from);
        let shards = (0..count).map(|_| Shard::default()).collect();
        Self { stream, settings, shards, next: AtomicUsize::new(0) }
    }

    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Seats a viewer: `prelude` is written first, then the stream from its latest key frame. The viewer stays until the link is
    /// closed by either side.
    pub async fn attach(
        &self,
        socket: TcpStream,
        format: Format,
        prelude: Vec<Bytes>,
        guard: ViewerGuard,
    ) -> Result<Arc<Link>, Ended> {
        let shard = &self.shards[self.next.fetch_add(1, Ordering::Relaxed) % self.shards.len()];
        let link = Arc::new(Link::new(socket, Arc::clone(&shard.wake)));
        let seat = Seat::new(Arc::clone(&link), format, prelude, self.stream.cursor(From::KeyFrame), guard);
        let intake = {
            let mut intake = shard.intake.lock();
            match &*intake {
                Some(sender) if !sender.is_closed() => sender.clone(),
                _ => {
                    let (sender, receiver) = mpsc::channel(INTAKE);
                    tokio::spawn(run(Arc::clone(&self.stream), self.settings, receiver, Arc::clone(&shard.wake)));
                    intake.insert(sender).clone()
                }
            }
        };
        intake.send(seat).await.map_err(|_| Ended)?;
        Ok(link)
    }
}

/// Entries that are written to all viewers in step, as bytes of one format.
pub(super) struct Batch {
    pub entries: Vec<Arc<Entry>>,
    /// The place in the ring before the first entry and after the last.
    pub start: u64,
    pub end: u64,
    /// Generation of the tracks before the first entry.
    pub generation: Option<u64>,
    /// Made when the first viewer of the format needs them, and then the same for all.
    buffers: [Option<Vec<Bytes>>; FORMATS.len()],
}

impl Batch {
    fn after(cursor: &Cursor, generation: Option<u64>) -> Self {
        Self { entries: Vec::new(), start: cursor.position(), end: cursor.position(), generation, buffers: Default::default() }
    }

    /// True when there was nothing more and the stream has ended.
    fn fill(&mut self, stream: &Stream, cursor: &mut Cursor) -> bool {
        let before = cursor.skipped();
        let read = stream.read(cursor, &mut self.entries, BATCH);
        if cursor.skipped() != before {
            // The shard itself was too slow for the ring. What it holds would leave a gap: everybody goes on by themselves.
            self.entries.clear();
            self.start = cursor.position();
        }
        self.end = cursor.position();
        read == Read::Ended && self.entries.is_empty()
    }

    /// How long this batch may wait for a picture, with so many viewers.
    fn patience(&self, stream: &Stream, settings: &Settings, viewers: usize) -> Option<Duration> {
        let first = self.entries.first()?;
        let wanted = if viewers < CROWD { 1 } else { 2 };
        let pictures = self.entries.iter().filter(|entry| entry.frame.kind() == MediaKind::Video);
        if pictures.take(wanted).count() == wanted
            || settings.coalesce.is_zero()
            || !first.tracks.has_video()
            || stream.is_ended()
        {
            return None;
        }
        let age = Duration::from_micros(clock::wall().micros_since(first.arrived).max(0).unsigned_abs());
        settings.coalesce.checked_sub(age).filter(|rest| !rest.is_zero())
    }

    fn buffers(&mut self, format: Format) -> &[Bytes] {
        let (entries, mut generation) = (&self.entries, self.generation);
        self.buffers[format as usize].get_or_insert_with(|| {
            let buffers = entries.iter().map(|entry| {
                let now = Some(entry.tracks.generation());
                let changed = generation.is_some() && generation != now;
                generation = now;
                let message = format.message(entry);
                if changed { Bytes::from([&format.header(entry)[..], &message[..]].concat()) } else { message.clone() }
            });
            buffers.collect()
        })
    }
}

async fn run(stream: Arc<Stream>, settings: Settings, mut intake: mpsc::Receiver<Seat>, wake: Arc<Notify>) {
    let mut seats: Vec<Seat> = Vec::new();
    let mut cursor = stream.cursor(From::Next);
    let mut generation = None;
    let mut batch = Batch::after(&cursor, generation);
    let mut scratch = Vec::new();
    loop {
        if seats.is_empty() {
            match tokio::time::timeout(HOUSEKEEPING, intake.recv()).await {
                Ok(Some(seat)) => seats.push(seat),
                Ok(None) => return,
                Err(_) if stream.is_ended() => return,
                Err(_) => continue,
            }
            cursor.advance_to(stream.cursor(From::Next).position());
            generation = None;
            batch = Batch::after(&cursor, generation);
        }
        let listener = stream.listen();
        while let Ok(seat) = intake.try_recv() {
            seats.push(seat);
        }
        let ended = batch.fill(&stream, &mut cursor);
        if let Some(rest) = batch.patience(&stream, &settings, seats.len()) {
            let _ = tokio::time::timeout(rest, listener).await;
            continue;
        }
        let picture = batch.entries.iter().find(|entry| entry.frame.kind() == MediaKind::Video).map(|entry| entry.arrived);
        generation = batch.entries.last().map_or(generation, |entry| Some(entry.tracks.generation()));
        let waiting = write_round(&stream, &settings, &mut seats, &mut batch, &mut scratch);
        observe(picture, seats.len());
        if ended && !waiting {
            return;
        }
        let full = batch.entries.len() >= BATCH;
        batch = Batch::after(&cursor, generation);
        if full {
            tokio::task::yield_now().await;
            continue;
        }
        tokio::select! {
            () = listener => {}
            () = wake.notified() => {}
            () = tokio::time::sleep(if waiting { RETRY } else { HOUSEKEEPING }) => {}
            Some(seat) = intake.recv() => seats.push(seat),
        }
    }
}

/// Gives every viewer what it can take. True when somebody has bytes left that its socket did not take.
fn write_round(
    stream: &Stream,
    settings: &Settings,
    seats: &mut Vec<Seat>,
    batch: &mut Batch,
    scratch: &mut Vec<Arc<Entry>>,
) -> bool {
    let now = Instant::now();
    let mut waiting = false;
    let shared = FORMATS.map(|format| match seats.iter().any(|seat| seat.format == format) {
        true => batch.buffers(format).to_vec(),
        false => Vec::new(),
    });
    let slices = shared.each_ref().map(|buffers| buffers.iter().map(|buffer| IoSlice::new(buffer)).collect::<Vec<_>>());
    seats.retain_mut(|seat| {
        let format = seat.format as usize;
        let progress = match seat.is_in_step(batch, stream) {
            true => seat.write_shared(batch, &shared[format], &slices[format], now),
            false => seat.catch_up(stream, batch.end, settings.max_lag, scratch, now),
        };
        match progress {
            Progress::Done => true,
            Progress::Blocked => {
                waiting = true;
                let stays = now.duration_since(seat.last_progress()) < settings.stall_timeout;
                if !stays {
                    seat.abort();
                }
                stays
            }
            Progress::Closed => false,
        }
    });
    waiting
}

fn observe(picture: Option<WallClock>, viewers: usize) {
    if let Some(arrived) = picture
        && viewers > 0
    {
        let seconds = clock::wall().micros_since(arrived) as f64 / 1e6;
        metrics::histogram!("flyloft_egress_latency_seconds").record(seconds);
    }
}
