//! Recordings: follows the rooms' events, records what is to be recorded while it is live, and makes a video post of it.
//!
//! What is true stands in the database: events only say when to look. So a crash at any point is made good at the next start: what
//! was recorded is there up to the last fragment, an archive under way is made once more, and a room that may still go on keeps its
//! recording open for the next part.
//!
//! ```text
//! DATA/media/recordings/POST/00000.mp4 …   the parts, until the post is ready
//! DATA/media/posts/POST.mp4                the post
//! ```

mod archive;
mod part;
mod recorder;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use flyloft_media::hub::From;
use flyloft_rooms::{Event, EventBody, MemberId, PostId, PostState, RoomId, VideoPost};
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::live::{Live, LiveStream};
use crate::rooms::{Archived, EventFilter, Rooms};
use recorder::Outcome;

/// How often it is looked whether posts are too old.
const PRUNE_EVERY: Duration = Duration::from_secs(60 * 60);
const EVENTS: u32 = 256;
/// A recorder that failed is not started again at once by the events of the same moment.
const PAUSE: Duration = Duration::from_secs(10);

#[derive(Clone, Debug)]
pub struct Settings {
    /// How much of a recording a power failure may cost. A crash of the server alone costs the last fragment.
    pub sync: Duration,
    /// Recording stops when the disk has less than this.
    pub min_free: u64,
    /// Older posts are deleted.
    pub keep: Option<Duration>,
    /// The oldest posts are deleted when all together are larger.
    pub max_bytes: Option<u64>,
}

/// Where media files lie.
#[derive(Clone, Debug)]
pub struct Library {
    root: PathBuf,
}

impl Library {
    pub fn new(data: &Path) -> Self {
        Self { root: data.join("media") }
    }

    fn parts(&self, id: &PostId) -> PathBuf {
        self.root.join("recordings").join(id.as_str())
    }

    fn posts(&self) -> PathBuf {
        self.root.join("posts")
    }

    pub fn post(&self, id: &PostId) -> PathBuf {
        self.posts().join(format!("{id}.mp4"))
    }
}

pub struct Recordings {
    rooms: Arc<Rooms>,
    live: Arc<Live>,
    library: Library,
    settings: Settings,
    /// By the stream's name.
    active: Mutex<HashMap<String, Active>>,
    /// What was recorded last of a stream, so that nothing is recorded twice.
    seen: Mutex<HashMap<String, (Weak<LiveStream>, PostId)>>,
    /// When a stream's recorder failed.
    failed: Mutex<HashMap<String, Instant>>,
    /// Posts that are being archived.
    archiving: Mutex<HashSet<String>>,
    /// One archive at a time: the disk is for those who are live.
    turn: Semaphore,
    tasks: TaskTracker,
    /// Breaks off archives.
    stopping: CancellationToken,
}

/// A recorder at work.
struct Active {
    post: PostId,
    room: Option<RoomId>,
    stop: CancellationToken,
}

impl Recordings {
    pub fn new(rooms: Arc<Rooms>, live: Arc<Live>, library: Library, settings: Settings) -> Arc<Self> {
        Arc::new(Self {
            rooms,
            live,
            library,
            settings,
            active: Mutex::default(),
            seen: Mutex::default(),
            failed: Mutex::default(),
            archiving: Mutex::default(),
            turn: Semaphore::new(1),
            tasks: TaskTracker::new(),
            stopping: CancellationToken::new(),
        })
    }

    /// Works until `stop`, and then until what is being recorded lies on the disk. An archive under way is left for the next start.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut latest = self.rooms.latest_event();
        let mut seq = *latest.borrow_and_update();
        self.recover().await;
        let mut prune = tokio::time::interval(PRUNE_EVERY);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                _ = prune.tick() => self.prune().await,
                changed = latest.changed() => if changed.is_err() { break },
            }
            seq = self.follow(seq).await;
        }
        self.stopping.cancel();
        self.active.lock().values().for_each(|active| active.stop.cancel());
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Looks at what happened after `seq`; the newest that was seen.
    async fn follow(self: &Arc<Self>, mut seq: i64) -> i64 {
        loop {
            let events = match self.rooms.events(&EventFilter::default(), seq, EVENTS).await {
                Ok(events) => events,
                Err(error) => {
                    tracing::error!(%error, "cannot read what is to be recorded: trying again at the next event");
                    return seq;
                }
            };
            let Some(last) = events.last() else { return seq };
            seq = last.seq;
            for event in events {
                self.react(&event).await;
            }
        }
    }

    async fn react(self: &Arc<Self>, event: &Event) {
        match &event.body {
            EventBody::StreamKeyStateChanged { .. } | EventBody::RoomLive { .. } => self.reconcile(&event.member_id).await,
            EventBody::RoomEnded { .. } | EventBody::RoomArchiving { .. } => {
                self.reconcile(&event.member_id).await;
                let Some(room) = &event.room_id else { return };
                match self.rooms.post_of_room(room).await {
                    Ok(Some(post)) => self.settle(post).await,
                    Ok(None) => {}
                    Err(error) => tracing::error!(room = %room, %error, "cannot find the recording of an ended room"),
                }
            }
            EventBody::PostDeleted { video_post_id, .. } => self.remove(&PostId::new(video_post_id.as_str())).await,
            _ => {}
        }
    }

    /// Begins or stops recording a member's stream, as it is to be now.
    async fn reconcile(self: &Arc<Self>, member: &MemberId) {
        let granted = |stream: &str| self.live.get(stream).and_then(|live| live.record());
        let wanted = match self.rooms.recording_wanted(member, granted).await {
            Ok(Some(wanted)) => wanted,
            Ok(None) => return,
            Err(error) => {
                tracing::error!(%member, %error, "cannot find out whether a stream is to be recorded");
                return;
            }
        };
        let stream = wanted.stream.as_str();
        let running = {
            let mut active = self.active.lock();
            let fits = active.get(stream).map(|active| wanted.record && active.room == wanted.room);
            if fits == Some(false)
                && let Some(active) = active.remove(stream)
            {
                active.stop.cancel();
            }
            fits == Some(true)
        };
        if running || !wanted.record || self.failed.lock().get(stream).is_some_and(|at| at.elapsed() < PAUSE) {
            return;
        }
        let Some(live) = self.live.get(stream).filter(|live| !live.stream.is_ended()) else { return };
        match self.rooms.begin_recording(member, wanted.room.as_ref()).await {
            Ok(post) if post.state == PostState::Recording => self.begin(live, post),
            Ok(_) => {}
            Err(error) => tracing::error!(stream, %error, "cannot begin to record"),
        }
    }

    fn begin(self: &Arc<Self>, live: Arc<LiveStream>, post: VideoPost) {
        let name = live.name().to_owned();
        let directory = self.library.parts(&post.id);
        let before = {
            let mut seen = self.seen.lock();
            seen.retain(|_, (live, _)| live.strong_count() > 0);
            seen.insert(name.clone(), (Arc::downgrade(&live), post.id.clone()))
        };
        let from = match before {
            Some((seen, of)) if of == post.id && seen.ptr_eq(&Arc::downgrade(&live)) => From::Next,
            // The room was started while the stream was on: what came before that is not for it.
            _ if post.room_id.is_some() && !directory.exists() => From::KeyFrame,
            _ => From::Oldest,
        };
        let stop = CancellationToken::new();
        let active = Active { post: post.id.clone(), room: post.room_id.clone(), stop: stop.clone() };
        self.active.lock().insert(name.clone(), active);
        tracing::info!(stream = name, room = post.room_id.as_ref().map(RoomId::as_str), post = %post.id, "recording");
        let (this, settings) = (Arc::clone(self), self.settings.clone());
        self.tasks.spawn(async move {
            let outcome = recorder::record(&live.stream, from, directory, &settings, stop).await;
            // Held until here, so that the next recorder of the stream knows what this one had.
            drop(live);
            this.ended(&name, post, outcome).await;
        });
    }

    /// A recorder came to its end.
    async fn ended(self: &Arc<Self>, stream: &str, post: VideoPost, outcome: Outcome) {
        {
            let mut active = self.active.lock();
            if active.get(stream).is_some_and(|active| active.post == post.id) {
                active.remove(stream);
            }
        }
        let mut told = Ok(());
        if outcome.lost > 0 {
            let what = format!("{} frames were lost because the disk was too slow", outcome.lost);
            tracing::warn!(stream, post = %post.id, lost = outcome.lost, "the recorder fell behind");
            told = self.rooms.recording_lost(&post.id, &what, false).await;
        }
        if let Some(reason) = outcome.failure {
            {
                let mut failed = self.failed.lock();
                failed.retain(|_, at| at.elapsed() < PAUSE);
                failed.insert(stream.to_owned(), Instant::now());
            }
            tracing::warn!(stream, post = %post.id, reason, "recording stopped; the stream goes on");
            told = told.and(self.rooms.recording_lost(&post.id, &reason, true).await);
        } else {
            tracing::info!(stream, post = %post.id, "recording ended");
        }
        if let Err(error) = told {
            tracing::error!(post = %post.id, %error, "cannot keep what a recording lost");
        }
        self.settle(post).await;
    }

    /// Archives a recording, unless its room may still go on or somebody records for it.
    async fn settle(self: &Arc<Self>, post: VideoPost) {
        let is_recorded = self.active.lock().values().any(|active| active.post == post.id);
        match self.rooms.may_go_on(&post).await {
            Ok(true) => {}
            Ok(false) if is_recorded => {}
            Ok(false) => self.archive(post.id),
            Err(error) => tracing::error!(post = %post.id, %error, "cannot find out whether a recording is over"),
        }
    }

    fn archive(self: &Arc<Self>, id: PostId) {
        if self.tasks.is_closed() || !self.archiving.lock().insert(id.as_str().to_owned()) {
            return;
        }
        let this = Arc::clone(self);
        // Not among the tasks that are waited for: it may take long, and the next start makes it again.
        tokio::spawn(async move {
            if let Err(error) = this.make_post(&id).await {
                tracing::error!(post = %id, %error, "cannot keep what became of a recording: it is archived at the next start");
            }
            this.archiving.lock().remove(id.as_str());
            this.prune().await;
        });
    }

    async fn make_post(self: &Arc<Self>, id: &PostId) -> Result<(), crate::rooms::Error> {
        let Ok(_turn) = self.turn.acquire().await else { return Ok(()) };
        if !self.rooms.post_state(id).await?.is_some_and(PostState::is_under_way) {
            return Ok(());
        }
        self.rooms.archiving_began(id).await?;
        let (parts, posts, target) = (self.library.parts(id), self.library.posts(), self.library.post(id));
        let (min_free, stop) = (self.settings.min_free, self.stopping.clone());
        let made = tokio::task::spawn_blocking(move || archive::make(&parts, &posts, &target, min_free, &stop)).await;
        match made {
            Ok(Ok(made)) => {
                for (part, at) in &made.torn {
                    tracing::info!(post = %id, part, at, "a part of the recording was cut off here");
                }
                tracing::info!(post = %id, bytes = made.bytes, seconds = made.duration / 1_000_000, "archived");
                let archived = Archived {
                    duration: made.duration / 1000,
                    bytes: i64::try_from(made.bytes).unwrap_or(i64::MAX),
                    size: made.size,
                    codecs: made.codecs.join(","),
                };
                self.rooms.archived(id, archived).await?;
                delete(self.library.parts(id)).await;
            }
            Ok(Err(reason)) if self.stopping.is_cancelled() => {
                tracing::info!(post = %id, reason, "archiving broke off: it is done at the next start");
            }
            Ok(Err(reason)) => {
                tracing::error!(post = %id, reason, "archiving failed; the recording is kept");
                self.rooms.archiving_failed(id, &reason).await?;
            }
            Err(error) => {
                tracing::error!(post = %id, %error, "archiving broke off");
                self.rooms.archiving_failed(id, "a fault of the server: see its log").await?;
            }
        }
        Ok(())
    }

    /// Makes good what the last run of the server left.
    async fn recover(self: &Arc<Self>) {
        let posts = match self.rooms.unfinished_posts().await {
            Ok(posts) => posts,
            Err(error) => {
                tracing::error!(%error, "cannot look for recordings that were cut off");
                return;
            }
        };
        for post in posts {
            tracing::info!(post = %post.id, state = %post.state, "a recording was left unfinished by the last run");
            self.settle(post).await;
        }
    }

    /// Deletes posts that are too old or too many.
    async fn prune(self: &Arc<Self>) {
        let Settings { keep, max_bytes, .. } = self.settings;
        if keep.is_none() && max_bytes.is_none() {
            return;
        }
        let oldest =
            keep.map_or(i64::MIN, |keep| crate::rooms::now().saturating_sub(i64::try_from(keep.as_millis()).unwrap_or(i64::MAX)));
        let most = max_bytes.map_or(i64::MAX, |bytes| i64::try_from(bytes).unwrap_or(i64::MAX));
        loop {
            match self.rooms.prune_posts(oldest, most).await {
                Ok(0) => return,
                Ok(count) => tracing::info!(count, "video posts were deleted to keep within the limits"),
                Err(error) => {
                    tracing::error!(%error, "cannot delete old video posts");
                    return;
                }
            }
        }
    }

    async fn remove(&self, id: &PostId) {
        delete(self.library.post(id)).await;
        delete(self.library.parts(id)).await;
    }
}

/// Removes a file or a directory, if it is there.
async fn delete(path: PathBuf) {
    let removed = match tokio::fs::metadata(&path).await {
        Ok(found) if found.is_dir() => tokio::fs::remove_dir_all(&path).await,
        Ok(_) => tokio::fs::remove_file(&path).await,
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            tracing::warn!(path = %path.display(), %error, "cannot remove what is not needed any more");
        }
        _ => {}
    }
}
