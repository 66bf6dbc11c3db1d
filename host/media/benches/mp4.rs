//! What it costs to open a movie and to walk through its samples: `cargo bench -p flyloft-media --bench mp4`.
#![allow(clippy::unwrap_used)]

#[path = "../tests/support/long_movie.rs"]
#[allow(dead_code)]
mod long_movie;

use std::ops::Range;
use std::sync::Arc;

use divan::Bencher;
use divan::counter::ItemsCount;
use flyloft_media::mp4::{Movie, Next, Opening, Samples, Step};
use long_movie::{LongMovie, long_movie};

fn main() {
    divan::main();
}

/// A million samples and some: four hours and ten minutes.
fn million() -> LongMovie {
    let movie = long_movie(15_000, 10_000);
    assert!(movie.pictures.len() as u64 + movie.sounds > 1_000_000);
    movie
}

impl LongMovie {
    fn read(&self, range: &Range<u64>) -> Vec<u8> {
        let byte = |at: u64| match at.checked_sub(self.media_end) {
            Some(at) => self.moov[at as usize],
            None => self.front.get(at as usize).copied().unwrap_or(0),
        };
        match range.start.checked_sub(self.media_end) {
            Some(start) => self.moov[start as usize..(range.end - self.media_end) as usize].to_vec(),
            None => range.clone().map(byte).collect(),
        }
    }

    fn open(&self) -> Arc<Movie> {
        let mut opening = Opening::new(self.media_end + self.moov.len() as u64);
        loop {
            match opening.step().unwrap() {
                Step::Want(range) => opening.supply(range.start, self.read(&range)).unwrap(),
                Step::Ready(movie) => return movie,
            }
        }
    }

    fn walk(&self, movie: &Arc<Movie>, start: i64, count: usize) -> usize {
        let mut samples = Samples::new(Arc::clone(movie), &movie.default_tracks(), start);
        let mut found = 0;
        while found < count {
            match samples.step().unwrap() {
                Next::Want(range) => samples.supply(range.start, self.read(&range)).unwrap(),
                Next::Sample(sample) => {
                    divan::black_box(sample);
                    found += 1;
                }
                Next::End => break,
            }
        }
        found
    }
}

#[divan::bench]
fn open(bencher: Bencher<'_, '_>) {
    let movie = million();
    bencher.bench_local(|| movie.open());
}

/// The first seek to the last hour goes along the tables.
#[divan::bench]
fn open_and_seek(bencher: Bencher<'_, '_>) {
    let movie = million();
    bencher.bench_local(|| movie.walk(&movie.open(), 11_400_000_000, 1));
}

/// Later ones know places to start from.
#[divan::bench]
fn seek_again(bencher: Bencher<'_, '_>) {
    let movie = million();
    let opened = movie.open();
    bencher.bench_local(|| movie.walk(&opened, 11_400_000_000, 1));
}

#[divan::bench]
fn walk(bencher: Bencher<'_, '_>) {
    let movie = million();
    let opened = movie.open();
    bencher.counter(ItemsCount::new(100_000_usize)).bench_local(|| movie.walk(&opened, 0, 100_000));
}
