//! Plays the part of a disk or an object store: brings the ranges that the reader wants, and counts them.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use flyloft_media::TrackId;
use flyloft_media::mp4::{MAX_READ, Movie, Mp4Error, Next, Opening, Sample, Samples, Step};

pub struct Store {
    file: File,
    pub size: u64,
    pub reads: usize,
    pub bytes: u64,
    /// The most that opening and playing held.
    pub held: usize,
}

impl Store {
    pub fn open(path: &Path) -> Self {
        let file = File::open(path).unwrap();
        let size = file.metadata().unwrap().len();
        Self { file, size, reads: 0, bytes: 0, held: 0 }
    }

    fn read(&mut self, range: &Range<u64>) -> Vec<u8> {
        assert!(range.start < range.end && range.end <= self.size && range.end - range.start <= MAX_READ, "{range:?}");
        let mut bytes = vec![0; (range.end - range.start) as usize];
        self.file.read_exact_at(&mut bytes, range.start).unwrap();
        self.reads += 1;
        self.bytes += range.end - range.start;
        bytes
    }

    pub fn movie(&mut self) -> Result<Arc<Movie>, Mp4Error> {
        let mut opening = Opening::new(self.size);
        loop {
            match opening.step()? {
                Step::Want(range) => opening.supply(range.start, self.read(&range))?,
                Step::Ready(movie) => return Ok(movie),
            }
            self.held = self.held.max(opening.held());
        }
    }

    /// At most `count` samples of `tracks` from `start` on, in microseconds.
    pub fn samples(&mut self, movie: &Arc<Movie>, tracks: &[TrackId], start: i64, count: usize) -> Result<Vec<Sample>, Mp4Error> {
        let mut samples = Samples::new(Arc::clone(movie), tracks, start);
        let mut found = Vec::new();
        while found.len() < count {
            match samples.step()? {
                Next::Want(range) => samples.supply(range.start, self.read(&range))?,
                Next::Sample(sample) => found.push(sample),
                Next::End => break,
            }
            self.held = self.held.max(samples.held() + movie.held());
        }
        Ok(found)
    }
}

/// All samples of all tracks.
pub fn everything(path: &Path) -> (Arc<Movie>, Vec<Sample>) {
    let mut store = Store::open(path);
    let movie = store.movie().unwrap();
    let tracks: Vec<_> = movie.tracks().iter().map(|track| track.track.id).collect();
    let samples = store.samples(&movie, &tracks, 0, usize::MAX).unwrap();
    (movie, samples)
}
