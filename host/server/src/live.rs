//! The streams that are live now: who publishes, which outputs run, who watches.

mod segments;
mod viewers;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use flyloft_media::cmaf::{SegmenterConfig, Window};
use flyloft_media::hub::{PublishError, Publisher, RingLimits, Stream};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::egress::fanout::{self, Fanout};
use crate::http::playlists::Playlists;
pub use viewers::{TurnedAway, ViewerGuard, Viewers};

/// How long an ended stream stays for players that still read its last segments.
const LINGER: Duration = Duration::from_secs(30);

/// Which outputs a stream has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outputs {
    /// RTMP and HTTP-FLV.
    pub rtmp: bool,
    /// HLS and MPEG-DASH.
    pub cmaf: bool,
}

#[derive(Clone, Debug)]
pub struct Settings {
    pub ring: RingLimits,
    pub segmenter: SegmenterConfig,
    pub fanout: fanout::Settings,
    /// How long a stream waits for its publisher to return.
    pub reconnect_timeout: Duration,
}

/// All live streams by name.
#[derive(Debug)]
pub struct Live {
    settings: Settings,
    streams: Mutex<HashMap<String, Arc<LiveStream>>>,
    /// By the unguessable part of their segments' paths, which is what admits to them.
    stamps: Mutex<HashMap<String, Arc<LiveStream>>>,
}

#[derive(Debug)]
pub struct LiveStream {
    pub stream: Arc<Stream>,
    pub outputs: Outputs,
    pub stamp: String,
    pub fanout: Fanout,
    pub viewers: Arc<Viewers>,
    pub playlists: Playlists,
    window: Option<watch::Receiver<Arc<Window>>>,
    /// What the policy said about recording it, when it was published last.
    record: Mutex<Option<bool>>,
    publisher: Mutex<Option<Seat>>,
    publishes: AtomicU64,
    labels: Mutex<Vec<(String, String)>>,
}

/// A publisher's place in its stream.
#[derive(Clone, Debug)]
pub struct Seat {
    /// Says when the publisher must leave, and that it has left.
    pub disconnect: CancellationToken,
    reason: Arc<Mutex<Option<String>>>,
}

impl Seat {
    /// Sends the publisher away, unless it was told to leave before.
    pub fn dismiss(&self, reason: &str) {
        self.reason.lock().get_or_insert_with(|| reason.to_owned());
        self.disconnect.cancel();
    }
}

/// A publisher's hold on a live stream: frames go in through `publisher`, and `disconnect` says when it must leave.
#[derive(Debug)]
pub struct Hold {
    pub live: Arc<LiveStream>,
    pub publisher: Publisher,
    pub disconnect: CancellationToken,
    reason: Arc<Mutex<Option<String>>>,
}

impl Hold {
    /// Why the publisher was told to leave.
    pub fn reason(&self) -> Option<String> {
        self.reason.lock().clone()
    }

    /// The publisher's place, for those who may send it away.
    pub fn seat(&self) -> Seat {
        Seat { disconnect: self.disconnect.clone(), reason: Arc::clone(&self.reason) }
    }

    /// Leaves and takes the stream again at once, as one who returns: without tracks, and with a discontinuity for the players.
    pub fn again(self) -> Result<Self, PublishError> {
        let Self { live, publisher, disconnect, reason } = self;
        drop(publisher);
        let publisher = live.stream.publish(clock::wall())?;
        Ok(Self { live, publisher, disconnect, reason })
    }
}

impl LiveStream {
    pub fn name(&self) -> &str {
        self.stream.name()
    }

    /// The CMAF window as it changes; `None` when the stream has no CMAF outputs.
    pub fn window(&self) -> Option<watch::Receiver<Arc<Window>>> {
        self.window.clone()
    }

    /// What the policy has labelled the publish with.
    pub fn labels(&self) -> Vec<(String, String)> {
        self.labels.lock().clone()
    }

    /// Takes the place of the labels of the publish before.
    pub fn set_labels(&self, labels: Vec<(String, String)>) {
        *self.labels.lock() = labels;
    }

    /// What the policy said about recording the publish under way, or the last one.
    pub fn record(&self) -> Option<bool> {
        *self.record.lock()
    }

    pub fn set_record(&self, record: Option<bool>) {
        *self.record.lock() = record;
    }

    /// Resolves when an RTMP or FLV player could start; false when the stream ended before.
    pub async fn joinable(&self) -> bool {
        self.joinable_after(0).await
    }

    async fn joinable_after(&self, join_points: u64) -> bool {
        loop {
            let listener = self.stream.listen();
            if self.stream.stats().join_points > join_points {
                return true;
            }
            if self.stream.is_ended() {
                return false;
            }
            listener.await;
        }
    }

    /// Resolves when the first output of the publisher that began after `join_points` can be watched; false when the stream ended
    /// before.
    pub async fn viewable(&self, join_points: u64) -> bool {
        if !self.joinable_after(join_points).await {
            return false;
        }
        match self.window() {
            Some(mut window) if !self.outputs.rtmp => window.wait_for(|window| window.is_playable()).await.is_ok(),
            _ => true,
        }
    }

    fn disconnect_publisher(&self, reason: &str) {
        if let Some(seat) = &*self.publisher.lock() {
            seat.dismiss(reason);
        }
    }
}

impl Live {
    pub fn new(settings: Settings) -> Arc<Self> {
        Arc::new(Self { settings, streams: Mutex::default(), stamps: Mutex::default() })
    }

    pub fn get(&self, name: &str) -> Option<Arc<LiveStream>> {
        self.streams.lock().get(name).cloned()
    }

    pub fn by_stamp(&self, stamp: &str) -> Option<Arc<LiveStream>> {
        self.stamps.lock().get(stamp).cloned()
    }

    pub fn all(&self) -> Vec<Arc<LiveStream>> {
        self.streams.lock().values().cloned().collect()
    }

    /// Takes the publisher's place in the stream `name`: continues the one that waits for its publisher, or opens a new one.
    pub fn publish(self: &Arc<Self>, name: &str, outputs: Outputs) -> Result<Hold, PublishError> {
        let live = {
            let mut streams = self.streams.lock();
            match streams.get(name) {
                Some(live) if live.outputs == outputs && !live.stream.is_ended() => Arc::clone(live),
                other => {
                    if other.is_some_and(|live| live.stream.is_publishing()) {
                        return Err(PublishError::Busy);
                    }
                    if let Some(old) = other {
                        self.close(old);
                    }
                    let live = self.open(name, outputs);
                    streams.insert(name.to_owned(), Arc::clone(&live));
                    self.stamps.lock().insert(live.stamp.clone(), Arc::clone(&live));
                    live
                }
            }
        };
        let publisher = live.stream.publish(clock::wall())?;
        live.publishes.fetch_add(1, Ordering::Relaxed);
        let (disconnect, reason) = (CancellationToken::new(), Arc::default());
        *live.publisher.lock() = Some(Seat { disconnect: disconnect.clone(), reason: Arc::clone(&reason) });
        Ok(Hold { live, publisher, disconnect, reason })
    }

    fn open(&self, name: &str, outputs: Outputs) -> Arc<LiveStream> {
        let stream = Stream::new(name, self.settings.ring);
        let stamp = crate::secret::random_name();
        let window = outputs.cmaf.then(|| {
            segments::start(Arc::clone(&stream), SegmenterConfig { stamp: stamp.clone(), ..self.settings.segmenter.clone() })
        });
        Arc::new(LiveStream {
            fanout: Fanout::new(Arc::clone(&stream), self.settings.fanout),
            stream,
            outputs,
            stamp,
            viewers: Arc::default(),
            playlists: Playlists::default(),
            window,
            record: Mutex::default(),
            publisher: Mutex::default(),
            publishes: AtomicU64::new(0),
            labels: Mutex::default(),
        })
    }

    /// The publisher left. The stream waits for it to return, and ends when it stays away.
    pub fn release(self: &Arc<Self>, hold: Hold) {
        let Hold { live, publisher, .. } = hold;
        drop(publisher);
        live.publisher.lock().take();
        let (this, publishes) = (Arc::clone(self), live.publishes.load(Ordering::Relaxed));
        tokio::spawn(async move {
            tokio::time::sleep(this.settings.reconnect_timeout).await;
            if live.publishes.load(Ordering::Relaxed) == publishes && !live.stream.is_ended() {
                tracing::info!(stream = live.name(), "the publisher did not return in time: the stream ends");
                this.close(&live);
            }
        });
    }

    /// Ends the stream, and forgets it when its last players have had the time to finish.
    fn close(self: &Arc<Self>, live: &Arc<LiveStream>) {
        live.stream.end();
        let (this, live) = (Arc::clone(self), Arc::clone(live));
        tokio::spawn(async move {
            tokio::time::sleep(LINGER).await;
            this.stamps.lock().remove(&live.stamp);
            let mut streams = this.streams.lock();
            if streams.get(live.name()).is_some_and(|current| Arc::ptr_eq(current, &live)) {
                streams.remove(live.name());
            }
        });
    }

    /// Sends the publisher away, if there is one, and ends the stream.
    pub fn end(self: &Arc<Self>, name: &str, reason: &str) {
        if let Some(live) = self.get(name) {
            live.disconnect_publisher(reason);
            self.close(&live);
        }
    }
}
