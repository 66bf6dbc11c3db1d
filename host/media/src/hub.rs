//! Where frames meet: a [`Stream`] takes them from one [`Publisher`] and offers them to any number of readers.
//!
//! The frames lie in one bounded ring. A reader is a [`Cursor`] into it: it costs nothing but its place, it can't slow anybody
//! down, and when it falls behind the ring it goes on at the next frame where decoding may start.

mod ring;

use std::sync::Arc;
use std::sync::OnceLock;

use bytes::Bytes;
use event_listener::{Event, EventListener};
use parking_lot::{Mutex, RwLock};

use crate::frame::Frame;
use crate::time::{Timestamp, WallClock};
use crate::timeline::{Placement, Timeline};
use crate::track::{Track, TrackId, Tracks};

use ring::Ring;
pub use ring::RingLimits;

/// A frame in the ring, with all that any output needs to know of the moment it belongs to.
#[derive(Debug)]
pub struct Entry {
    /// Rises by one for each frame of the stream.
    pub seq: u64,
    /// Rises by one each time a publisher takes over: what follows does not continue what came before.
    pub epoch: u32,
    /// The tracks as they were when the frame came. Compare with [`Arc::ptr_eq`] or [`Tracks::generation`] to see a change.
    pub tracks: Arc<Tracks>,
    pub frame: Frame,
    /// When the host received it.
    pub arrived: WallClock,
    memo: [OnceLock<Bytes>; 6],
}

/// Serialized forms that are the same for every viewer and are therefore made once for each entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    FlvTag,
    /// All that an FLV player must be given before this entry, when it starts here or the tracks have changed.
    FlvHeader,
    RtmpMessage,
    /// The same for an RTMP player.
    RtmpHeader,
    /// The FLV tag as a chunk of HTTP/1.1.
    FlvTagChunk,
    FlvHeaderChunk,
}

impl Entry {
    /// The form `wire` of this entry, made by `make` for the first one who asks.
    pub fn memo(&self, wire: Wire, make: impl FnOnce() -> Bytes) -> &Bytes {
        self.memo[wire as usize].get_or_init(make)
    }

    /// A player can start here: a key frame of the picture, or any frame when there is no picture.
    pub fn is_join_point(&self) -> bool {
        self.frame.keyframe && (self.frame.kind() == crate::MediaKind::Video || !self.tracks.has_video())
    }
}

/// Where a reader starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// At the latest place where decoding may start: the picture is there at once, as old as the GOP.
    KeyFrame,
    /// At the next such place that comes: the lowest latency.
    Next,
    /// At the oldest such place in the ring.
    Oldest,
}

/// A reader's place in a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    next: u64,
    /// Frames are passed over until one where decoding may start.
    seeking: bool,
    skipped: u64,
}

impl Cursor {
    /// Frames that this reader lost because it was too slow.
    pub const fn skipped(&self) -> u64 {
        self.skipped
    }

    /// The sequence number of the entry that is read next.
    pub const fn position(&self) -> u64 {
        self.next
    }

    /// Takes everything before `seq` as read, by this reader or by another one that read for it.
    pub const fn advance_to(&mut self, seq: u64) {
        self.next = seq;
        self.seeking = false;
    }
}

/// What [`Stream::read`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// This many entries were appended.
    Entries(usize),
    /// Nothing new yet: wait for [`Stream::listen`].
    Empty,
    /// The stream has ended and everything was read.
    Ended,
}

/// Counters of a stream since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    pub frames: u64,
    pub bytes: u64,
    pub key_frames: u64,
    /// Frames where a player could start.
    pub join_points: u64,
    /// Frames whose encoder clock jumped or stood still.
    pub repaired: u64,
    pub epoch: u32,
    pub head: Option<Timestamp>,
    pub last_arrival: Option<WallClock>,
    pub ring_frames: usize,
    pub ring_bytes: usize,
}

/// A live stream. It outlives its publishers, so that one that returns continues it.
#[derive(Debug)]
pub struct Stream {
    name: String,
    state: RwLock<State>,
    changed: Event,
    timeline: Mutex<Option<Timeline>>,
}

#[derive(Debug)]
struct State {
    ring: Ring,
    tracks: Arc<Tracks>,
    stats: Stats,
    publishing: bool,
    ended: bool,
}

/// Why a publisher was not admitted by the hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    #[error("the stream has a publisher already: stop that one first, or use another stream key")]
    Busy,
    #[error("the stream has ended: open a new one")]
    Ended,
}

impl Stream {
    pub fn new(name: impl Into<String>, limits: RingLimits) -> Arc<Self> {
        Arc::new(Self {
            name: name.into(),
            state: RwLock::new(State {
                ring: Ring::new(limits),
                tracks: Arc::default(),
                stats: Stats::default(),
                publishing: false,
                ended: false,
            }),
            changed: Event::new(),
            timeline: Mutex::new(Some(Timeline::default())),
        })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Takes the stream's one publisher's place. The tracks start empty, the timeline goes on after the last frame.
    pub fn publish(self: &Arc<Self>, now: WallClock) -> Result<Publisher, PublishError> {
        let mut state = self.state.write();
        if state.ended {
            return Err(PublishError::Ended);
        }
        let mut timeline = self.timeline.lock().take().ok_or(PublishError::Busy)?;
        if state.stats.frames > 0 {
            state.stats.epoch += 1;
            state.tracks = Arc::new(state.tracks.cleared());
            timeline.resume(now);
        }
        state.publishing = true;
        Ok(Publisher { stream: Arc::clone(self), timeline })
    }

    pub fn is_publishing(&self) -> bool {
        self.state.read().publishing
    }

    pub fn is_ended(&self) -> bool {
        self.state.read().ended
    }

    /// No frame will come any more. Readers get what is left and then [`Read::Ended`].
    pub fn end(&self) {
        self.state.write().ended = true;
        self.changed.notify(usize::MAX);
    }

    pub fn tracks(&self) -> Arc<Tracks> {
        Arc::clone(&self.state.read().tracks)
    }

    pub fn stats(&self) -> Stats {
        let state = self.state.read();
        Stats { ring_frames: state.ring.len(), ring_bytes: state.ring.bytes(), ..state.stats }
    }

    pub fn cursor(&self, from: From) -> Cursor {
        let state = self.state.read();
        let next = match from {
            From::KeyFrame => state.ring.latest_join_point().unwrap_or(state.ring.end()),
            From::Next => state.ring.end(),
            From::Oldest => state.ring.start(),
        };
        Cursor { next, seeking: true, skipped: 0 }
    }

    /// Appends up to `max` entries at `cursor` to `out` and moves it on. Takes a lock for as long as the pointers are copied.
    pub fn read(&self, cursor: &mut Cursor, out: &mut Vec<Arc<Entry>>, max: usize) -> Read {
        let state = self.state.read();
        if cursor.next < state.ring.start() {
            let resume = state.ring.first_join_point_at_or_after(state.ring.start()).unwrap_or(state.ring.end());
            cursor.skipped += resume - cursor.next;
            cursor.next = resume;
            cursor.seeking = true;
        }
        if cursor.seeking {
            match state.ring.first_join_point_at_or_after(cursor.next) {
                Some(seq) => {
                    cursor.next = seq;
                    cursor.seeking = false;
                }
                None => cursor.next = cursor.next.max(state.ring.end()),
            }
        }
        let before = out.len();
        out.extend(state.ring.from(cursor.next).take(max).cloned());
        let count = out.len() - before;
        cursor.next += count as u64;
        match count {
            0 if state.ended => Read::Ended,
            0 => Read::Empty,
            count => Read::Entries(count),
        }
    }

    /// Passes over everything up to the latest place where decoding may start, if that is ahead of `cursor`.
    pub fn skip_to_latest(&self, cursor: &mut Cursor) {
        let state = self.state.read();
        if let Some(seq) = state.ring.latest_join_point().filter(|&seq| seq > cursor.next) {
            cursor.skipped += seq - cursor.next;
            cursor.next = seq;
        }
    }

    /// How far `cursor` is behind the latest frame, in microseconds of media.
    pub fn lag(&self, cursor: &Cursor) -> i64 {
        let state = self.state.read();
        let next = state.ring.from(cursor.next.max(state.ring.start())).next();
        match (next, state.stats.head) {
            (Some(next), Some(head)) => head.micros_since(next.frame.dts),
            _ => 0,
        }
    }

    /// Resolves at the next [`Publisher::flush`] or [`Stream::end`]. Listen first, then read, then wait: nothing is missed.
    pub fn listen(&self) -> EventListener {
        self.changed.listen()
    }
}

/// A frame as a protocol delivers it, before its time is repaired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawFrame {
    pub track: TrackId,
    /// The encoder's decode time in microseconds.
    pub dts: i64,
    /// `pts - dts` in microseconds; negative values count as 0.
    pub composition_offset: i64,
    /// The period in microseconds at which `dts` starts again at 0, if it does.
    pub wrap: Option<i64>,
    pub keyframe: bool,
    pub payload: Bytes,
}

/// A frame was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PushError {
    #[error("a frame came for track {0:?} before its codec configuration: it is dropped")]
    NoTrack(TrackId),
    #[error("the stream has ended")]
    Ended,
}

/// The right to put frames into a stream. Dropping it leaves the stream open for the next publisher.
#[derive(Debug)]
pub struct Publisher {
    stream: Arc<Stream>,
    timeline: Timeline,
}

impl Publisher {
    pub const fn stream(&self) -> &Arc<Stream> {
        &self.stream
    }

    /// Adds a track or replaces its configuration. True when that changed something.
    pub fn set_track(&mut self, track: Track) -> bool {
        let mut state = self.stream.state.write();
        let Some(tracks) = state.tracks.with(track) else { return false };
        state.tracks = Arc::new(tracks);
        true
    }

    /// Puts a frame into the ring. Readers see it after [`Publisher::flush`] at the latest.
    pub fn push(&mut self, raw: RawFrame, now: WallClock) -> Result<Placement, PushError> {
        let mut state = self.stream.state.write();
        if state.ended {
            return Err(PushError::Ended);
        }
        let codec = state.tracks.get(raw.track).ok_or(PushError::NoTrack(raw.track))?.codec;
        let (dts, placement) = self.timeline.place(raw.track, raw.dts, raw.wrap, now);
        let frame = Frame {
            track: raw.track,
            codec,
            dts,
            pts: dts.offset(raw.composition_offset.max(0)),
            keyframe: raw.keyframe,
            payload: raw.payload,
        };
        state.stats.frames += 1;
        state.stats.bytes += frame.payload.len() as u64;
        state.stats.key_frames += u64::from(frame.keyframe && frame.kind() == crate::MediaKind::Video);
        state.stats.repaired += u64::from(placement != Placement::Continues);
        state.stats.head = self.timeline.head();
        state.stats.last_arrival = Some(now);
        let (epoch, tracks) = (state.stats.epoch, Arc::clone(&state.tracks));
        let joins = state.ring.push(|seq| Entry { seq, epoch, tracks, frame, arrived: now, memo: Default::default() });
        state.stats.join_points += u64::from(joins);
        Ok(placement)
    }

    /// Wakes the readers: once for each batch of input, not for each frame.
    pub fn flush(&self) {
        self.stream.changed.notify(usize::MAX);
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.stream.state.write().publishing = false;
        *self.stream.timeline.lock() = Some(std::mem::take(&mut self.timeline));
        self.flush();
    }
}

#[cfg(test)]
mod tests;
