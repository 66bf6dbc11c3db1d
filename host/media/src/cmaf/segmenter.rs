//! From the hub's entries to windows: waits for the tracks, starts and ends the stretches between discontinuities.

use std::sync::Arc;

use super::SegmenterConfig;
use super::run::{Beginning, Run, SOUND_MAY_OVERHANG, StandIns};
use super::store::Store;
use super::window::Window;
use crate::hub::Entry;
use crate::time::{Timestamp, WallClock};
use crate::track::{MediaKind, Track};

/// Media time in microseconds for a second track to appear before the first one starts alone.
const WAIT_FOR_TRACKS: i64 = 1_000_000;
/// The same where a picture was announced and its key frame is to come.
const WAIT_FOR_KEY_FRAME: i64 = 5_000_000;
const MAX_WAITING_ENTRIES: usize = 2048;
const MAX_WAITING_BYTES: usize = 32 << 20;
/// What lies there becomes a part when nothing has come for this many microseconds.
const FLUSH_AFTER: i64 = 1_000_000;

/// Cuts one stream into CMAF segments and parts. It has one video and one audio rendition, of the first track of each kind.
///
/// - Segments start on key frames, at the first one after about the target duration. A key frame interval that the target
///   duration does not allow is cut in between, and the segment and its parts are not marked independent.
/// - A returning publisher, a changed configuration, a track that appears later and a hole longer than a segment make a
///   discontinuity. Shorter holes are filled with silence or the last key frame.
/// - A frame of video is held until the next one tells its duration.
#[derive(Debug)]
pub struct Segmenter {
    store: Store,
    state: State,
    /// From the stretch before, while none is running.
    stand_ins: StandIns,
    epoch: Option<u32>,
    last_arrival: Option<WallClock>,
    flushed: bool,
    window: Arc<Window>,
    /// Revision of the store that `window` shows.
    published: u64,
}

#[derive(Debug)]
enum State {
    /// Frames from which the tracks are to be seen. The first frame of video among them is a key frame.
    Waiting(Vec<Arc<Entry>>),
    /// `late` are frames of a sound track that came or changed later: it starts at the next key frame.
    Running {
        run: Box<Run>,
        late: Vec<Arc<Entry>>,
    },
    Ended,
}

impl Segmenter {
    pub fn new(config: SegmenterConfig) -> Self {
        let store = Store::new(config);
        let window = Arc::new(store.window(false));
        Self {
            store,
            state: State::Waiting(Vec::new()),
            stand_ins: StandIns::default(),
            epoch: None,
            last_arrival: None,
            flushed: false,
            window,
            published: 0,
        }
    }

    /// The latest snapshot.
    pub fn window(&self) -> Arc<Window> {
        Arc::clone(&self.window)
    }

    /// Takes the stream's next frame. True when there is a new window.
    pub fn push(&mut self, entry: &Arc<Entry>) -> bool {
        if matches!(self.state, State::Ended) {
            return false;
        }
        self.last_arrival = Some(entry.arrived);
        self.flushed = false;
        if self.epoch.replace(entry.epoch).is_some_and(|epoch| epoch != entry.epoch) {
            self.end_run(Vec::new());
        }
        let track = entry.tracks.first(entry.frame.kind()).filter(|track| track.id == entry.frame.track);
        if let Some(track) = track {
            self.take(entry, track);
        }
        self.publish()
    }

    /// To be called now and then, at least once a second: brings out what lies there when frames stop coming. True when there
    /// is a new window.
    pub fn tick(&mut self, now: WallClock) -> bool {
        let idle = self.last_arrival.is_some_and(|last| now.micros_since(last) > FLUSH_AFTER);
        if idle && !self.flushed {
            self.flushed = true;
            if let State::Running { run, .. } = &mut self.state {
                run.flush(&mut self.store);
            }
        }
        self.publish()
    }

    /// The stream has ended: completes the last segments and marks the window as ended.
    pub fn finish(&mut self) {
        if matches!(self.state, State::Ended) {
            return;
        }
        self.start_run();
        self.end_run(Vec::new());
        self.state = State::Ended;
        self.store.periods.finish();
        self.publish();
    }

    fn publish(&mut self) -> bool {
        let ended = matches!(self.state, State::Ended);
        let revision = self.store.revision();
        if revision == self.published && ended == self.window.ended {
            return false;
        }
        self.published = revision;
        self.window = Arc::new(self.store.window(ended));
        true
    }

    fn take(&mut self, entry: &Arc<Entry>, track: &Track) {
        let frame = &entry.frame;
        match &mut self.state {
            State::Ended => {}
            State::Waiting(entries) => {
                let has_picture = entries.iter().any(|entry| entry.frame.kind() == MediaKind::Video);
                if frame.kind() == MediaKind::Audio || frame.keyframe || has_picture {
                    entries.push(Arc::clone(entry));
                }
                if self.enough_is_known(entry) {
                    self.start_run();
                }
            }
            State::Running { run, late } => {
                let known = match frame.kind() {
                    MediaKind::Video => run.video.as_ref().map(|video| &video.track),
                    MediaKind::Audio => run.audio.as_ref().map(|audio| &audio.track),
                };
                let fits = known == Some(track);
                if fits && run.is_broken_off_by(frame, &self.store) {
                    let first = if frame.keyframe { vec![Arc::clone(entry)] } else { Vec::new() };
                    self.end_run(first);
                } else if frame.kind() == MediaKind::Video {
                    if frame.keyframe && (!fits || !late.is_empty()) {
                        let mut first = std::mem::take(late);
                        first.push(Arc::clone(entry));
                        self.end_run(first);
                        if self.enough_is_known(entry) {
                            self.start_run();
                        }
                    } else if fits {
                        run.push(entry, &mut self.store);
                    }
                } else if fits {
                    run.push(entry, &mut self.store);
                } else if run.video.is_some() {
                    keep_latest(late, entry);
                } else {
                    self.end_run(vec![Arc::clone(entry)]);
                }
            }
        }
    }

    /// Both kinds of track have come, or the second one has been waited for.
    fn enough_is_known(&self, latest: &Entry) -> bool {
        let State::Waiting(entries) = &self.state else { return false };
        let (video, audio) = (first_picture(entries), first_sound(entries));
        if video.is_some() && audio.is_some() {
            return true;
        }
        let span = |entry: &Arc<Entry>| (entry.frame.dts.micros_since(latest.frame.dts)).abs();
        let waited = entries.iter().map(span).max().unwrap_or(0);
        let patience = if video.is_none() && latest.tracks.has_video() { WAIT_FOR_KEY_FRAME } else { WAIT_FOR_TRACKS };
        let bytes: usize = entries.iter().map(|entry| entry.frame.payload.len()).sum();
        waited >= patience || entries.len() >= MAX_WAITING_ENTRIES || bytes >= MAX_WAITING_BYTES
    }

    /// Starts with the frames that have been waited with.
    fn start_run(&mut self) {
        let State::Waiting(entries) = &mut self.state else { return };
        let entries = std::mem::take(entries);
        let (video, audio) = (first_picture(&entries), first_sound(&entries));
        if video.is_none() && audio.is_none() {
            return;
        }
        let begin = |entry: &'_ Arc<Entry>| Some((entry.tracks.get(entry.frame.track)?.clone(), entry.frame.clone()));
        let (video, audio) = (video.and_then(begin), audio.and_then(begin));
        let zero = entries.iter().map(|entry| entry.arrived.unix_micros().saturating_sub(entry.frame.dts.as_micros())).min();
        let zero = WallClock::from_unix_micros(zero.unwrap_or_default());
        let stand_ins = std::mem::take(&mut self.stand_ins);
        let run = Run::start(Beginning { video, audio, zero, stand_ins }, &mut self.store);
        self.state = State::Running { run: Box::new(run), late: Vec::new() };
        let from = first_picture(&entries).map(sound_from);
        let wanted =
            |entry: &&Arc<Entry>| entry.frame.kind() == MediaKind::Video || from.is_none_or(|from| entry.frame.pts >= from);
        for entry in entries.iter().filter(wanted) {
            if let Some(track) = entry.tracks.get(entry.frame.track) {
                self.take(entry, track);
            }
        }
    }

    /// Ends the stretch and waits for the next one, of which `first` has come already.
    fn end_run(&mut self, first: Vec<Arc<Entry>>) {
        if let State::Running { run, .. } = std::mem::replace(&mut self.state, State::Waiting(first)) {
            self.stand_ins = run.finish(&mut self.store);
        }
    }
}

fn first_picture(entries: &[Arc<Entry>]) -> Option<&Arc<Entry>> {
    entries.iter().find(|entry| entry.frame.kind() == MediaKind::Video)
}

/// Sound from well before the picture would be heard over nothing.
fn sound_from(picture: &Arc<Entry>) -> Timestamp {
    picture.frame.pts.offset(-SOUND_MAY_OVERHANG)
}

/// The first sound that is of use with the picture, if there is one.
fn first_sound(entries: &[Arc<Entry>]) -> Option<&Arc<Entry>> {
    let from = first_picture(entries).map(sound_from);
    let mut sounds = entries.iter().filter(|entry| entry.frame.kind() == MediaKind::Audio);
    sounds.find(|entry| from.is_none_or(|from| entry.frame.pts >= from))
}

/// Keeps the last second of a track that can't start yet.
fn keep_latest(late: &mut Vec<Arc<Entry>>, entry: &Arc<Entry>) {
    late.retain(|old| entry.frame.dts.micros_since(old.frame.dts) <= WAIT_FOR_TRACKS);
    if late.len() < MAX_WAITING_ENTRIES {
        late.push(Arc::clone(entry));
    }
}
