//! The first stage: walks through the files ahead of the player, reads what it needs of them, and puts the frames on one timeline.

use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use flyloft_media::mp4::{Movie, Next, Opening, Sample, Samples, Step};
use flyloft_media::splice::{PassTrack, Piece as Place, Splicer};
use flyloft_media::{MediaKind, Track, TrackId};
use flyloft_plugins::model::Context;

use super::Failure;
use super::buffer::{Buffer, End, Piece, Timed};
use super::source::{Source, Sources};
use super::spec::{Item, Spec};

/// What is taken from the file at a time: as much media in microseconds, as many bytes, as many frames, whichever is reached first.
const BATCH_SPAN: i64 = 1_000_000;
const BATCH_BYTES: u64 = 1 << 20;
const BATCH_FRAMES: usize = 1_024;
/// Frames of a batch that lie this close together are read at once, up to so many bytes.
const GAP: u64 = 16 << 10;
const READ_BYTES: u64 = 1 << 20;
/// A larger frame is none.
const MAX_FRAME: u64 = 16 << 20;
/// A file that plays for less than this, in microseconds, is no film.
const MIN_PASS: i64 = 10_000;

/// Opens the files of a stream.
#[derive(Clone)]
pub struct Opener {
    pub sources: Sources,
    /// In whose name.
    pub context: Context,
    pub shared: bool,
}

/// A file whose index was read.
#[derive(Clone)]
pub struct Opened {
    pub source: Source,
    movie: Arc<Movie>,
    /// What is played of it.
    pub tracks: Arc<Vec<Track>>,
}

impl Opener {
    pub async fn open(&self, uri: &str) -> Result<Opened, Failure> {
        let source = self.sources.open(&self.context, uri, self.shared).await?;
        let mut opening = Opening::new(source.size());
        let movie = loop {
            match opening.step().map_err(|error| unplayable(uri, error))? {
                Step::Want(range) => {
                    let bytes = source.read(range.clone()).await?;
                    opening.supply(range.start, bytes).map_err(|error| unplayable(uri, error))?;
                }
                Step::Ready(movie) => break movie,
            }
        };
        let tracks = movie.default_tracks();
        let tracks = tracks.into_iter().filter_map(|id| movie.track(id)).map(|track| track.track.clone()).collect();
        Ok(Opened { source, movie, tracks: Arc::new(tracks) })
    }
}

fn unplayable(uri: &str, error: impl std::fmt::Display) -> Failure {
    Failure::Unplayable { reason: format!("{uri}: {error}") }
}

impl Opened {
    pub fn has(&self, kind: MediaKind) -> bool {
        self.tracks.iter().any(|track| track.kind() == kind)
    }

    fn ids(&self) -> Vec<TrackId> {
        self.tracks.iter().map(|track| track.id).collect()
    }

    fn pass_tracks(&self) -> Vec<PassTrack> {
        let pass_track = |track: &Track| PassTrack {
            id: track.id,
            kind: track.kind(),
            frame_length: track.audio().and_then(|audio| Some((audio.samples_per_frame?, audio.sample_rate))),
            end: self.movie.track(track.id).and_then(|track| track.duration).filter(|end| *end > 0),
        };
        self.tracks.iter().map(pass_track).collect()
    }
}

/// Reads the files of `spec` into `buffer`, the first of which is `first`, until the last one has ended.
pub async fn run(opener: Opener, spec: Arc<Spec>, first: Opened, buffer: Arc<Buffer>, on_open: impl Fn(&Opened) + Send) {
    let mut reader = Reader { opener, buffer, splicer: Splicer::default(), on_open };
    let end = reader.list(&spec, first).await;
    reader.buffer.finish(end);
}

struct Reader<F> {
    opener: Opener,
    buffer: Arc<Buffer>,
    splicer: Splicer,
    on_open: F,
}

impl<F: Fn(&Opened) + Send> Reader<F> {
    async fn list(&mut self, spec: &Spec, first: Opened) -> End {
        let mut opened = Some(first);
        loop {
            for (index, item) in spec.items.iter().enumerate() {
                let mut file = match opened.take() {
                    Some(file) => file,
                    None => self.open(item).await?,
                };
                self.play(index, item, &mut file).await?;
                if item.looped {
                    loop {
                        self.play(index, item, &mut file).await?;
                    }
                }
                // The only one is at hand when the list begins again.
                opened = (spec.items.len() == 1).then_some(file);
            }
            if !spec.looped {
                return Ok(());
            }
        }
    }

    async fn open(&self, item: &Item) -> Result<Opened, Failure> {
        let file = self.opener.open(&item.uri).await?;
        (self.on_open)(&file);
        Ok(file)
    }

    /// One pass. When the file is replaced by another meanwhile, that one is played from its begin.
    async fn play(&mut self, index: usize, item: &Item, file: &mut Opened) -> End {
        loop {
            let before = self.splicer.end();
            match self.pass(index, item, file).await {
                // What changes all the time is never played.
                Err(Failure::Changed { reason }) if self.splicer.end() > before => {
                    self.buffer.put([Piece::Note(format!("{reason}; the new one is played from its beginning"))]);
                    *file = self.open(item).await?;
                }
                ended => return ended,
            }
        }
    }

    async fn pass(&mut self, index: usize, item: &Item, file: &Opened) -> End {
        let start = i64::try_from(item.start_offset_ms.saturating_mul(1_000)).unwrap_or(i64::MAX);
        let mut samples = Samples::new(Arc::clone(&file.movie), &file.ids(), start);
        let before = self.splicer.end();
        let mut has_begun = false;
        loop {
            self.buffer.room().await;
            let (batch, is_last) = batch(&item.uri, &mut samples, &file.source).await?;
            if !has_begun && !batch.is_empty() {
                has_begun = true;
                let places: Vec<Place> = batch.iter().map(place).collect();
                self.splicer.begin(&file.pass_tracks(), presented_from(start, file, &batch), &places);
                let pass = Piece::Pass { item: index, base: self.splicer.base(), tracks: Arc::clone(&file.tracks) };
                self.buffer.put([pass]);
            }
            let payloads = fetch(&item.uri, &file.source, &batch).await?;
            let splicer = &mut self.splicer;
            self.buffer.put(batch.iter().zip(payloads).filter_map(|(sample, payload)| {
                let placed = splicer.place(&place(sample))?;
                let (track, keyframe) = (sample.track, sample.keyframe);
                Some(Piece::Frame(Timed { track, dts: placed.dts, pts: placed.pts, keyframe, payload }))
            }));
            if is_last {
                break;
            }
        }
        if self.splicer.end().saturating_sub(before) < MIN_PASS {
            let reason =
                if start > 0 { "there is nothing to play after its start offset" } else { "there is nothing to play in it" };
            return Err(unplayable(&item.uri, reason));
        }
        Ok(())
    }
}

fn place(sample: &Sample) -> Place {
    Place { track: sample.track, dts: sample.dts, pts: sample.pts, duration: sample.duration }
}

/// The presentation time that a pass begins with: that of the key frame where the file is entered.
fn presented_from(start: i64, file: &Opened, batch: &[Sample]) -> i64 {
    if start <= 0 {
        return 0;
    }
    let kind = if file.has(MediaKind::Video) { MediaKind::Video } else { MediaKind::Audio };
    let leads = |sample: &&Sample| file.tracks.iter().any(|track| track.id == sample.track && track.kind() == kind);
    batch.iter().find(leads).or(batch.first()).map_or(0, |sample| sample.pts)
}

/// The next frames of a file, and whether they are the last ones.
async fn batch(uri: &str, samples: &mut Samples, source: &Source) -> Result<(Vec<Sample>, bool), Failure> {
    let mut batch: Vec<Sample> = Vec::new();
    let mut bytes = 0;
    loop {
        match samples.step().map_err(|error| unplayable(uri, error))? {
            Next::Want(range) => {
                let bytes = source.read(range.clone()).await?;
                samples.supply(range.start, bytes).map_err(|error| unplayable(uri, error))?;
            }
            Next::Sample(sample) => {
                let size = sample.range.end.saturating_sub(sample.range.start);
                if size > MAX_FRAME {
                    let reason = format!("the frame at byte {} has {size} bytes and may have {MAX_FRAME}", sample.range.start);
                    return Err(unplayable(uri, reason));
                }
                bytes += size;
                let first = batch.first().map_or(sample.dts, |first| first.dts);
                let is_full = sample.dts.saturating_sub(first) >= BATCH_SPAN || bytes >= BATCH_BYTES;
                batch.push(sample);
                if is_full || batch.len() >= BATCH_FRAMES {
                    return Ok((batch, false));
                }
            }
            Next::End => return Ok((batch, true)),
        }
    }
}

/// The bytes of the frames, in their order. Neighbours are read at once and share their memory.
async fn fetch(uri: &str, source: &Source, batch: &[Sample]) -> Result<Vec<Bytes>, Failure> {
    let mut order: Vec<usize> = (0..batch.len()).collect();
    let range = |index: usize| batch.get(index).map_or(0..0, |sample| sample.range.clone());
    order.sort_by_key(|&index| range(index).start);
    let mut payloads = vec![Bytes::new(); batch.len()];
    let mut rest = order.as_slice();
    while let Some(&first) = rest.first() {
        let mut whole = range(first);
        let together = rest.iter().take_while(|&&index| {
            let next = range(index);
            let end = whole.end.max(next.end);
            let near = next.start <= whole.end.saturating_add(GAP) && end.saturating_sub(whole.start) <= READ_BYTES;
            if near {
                whole.end = end;
            }
            near
        });
        let count = together.count().max(1);
        let (now, later) = rest.split_at(count.min(rest.len()));
        rest = later;
        let bytes = read(source, whole.clone()).await?;
        for &index in now {
            let own = range(index);
            let from = usize::try_from(own.start.saturating_sub(whole.start)).unwrap_or(usize::MAX);
            let to = usize::try_from(own.end.saturating_sub(whole.start)).unwrap_or(usize::MAX);
            if from > to || to > bytes.len() {
                return Err(unplayable(uri, format!("the frame at byte {} could not be read whole", own.start)));
            }
            if let Some(payload) = payloads.get_mut(index) {
                *payload = bytes.slice(from..to);
            }
        }
    }
    Ok(payloads)
}

/// A range of any length.
async fn read(source: &Source, range: Range<u64>) -> Result<Bytes, Failure> {
    if range.end.saturating_sub(range.start) <= READ_BYTES {
        return Ok(source.read(range).await?);
    }
    let mut whole = BytesMut::new();
    let mut at = range.start;
    while at < range.end {
        let to = range.end.min(at.saturating_add(READ_BYTES));
        whole.extend_from_slice(&source.read(at..to).await?);
        at = to;
    }
    Ok(whole.freeze())
}
