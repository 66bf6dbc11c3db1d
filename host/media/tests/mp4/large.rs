//! Files beyond 4 GiB: sparse, so that they cost nothing.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use flyloft_media::TrackId;

use crate::judge::{H264, make};
use crate::long_movie::{GOP, TICKS, long_movie};
use crate::reading::Store;
use crate::{USUAL, agrees, codecs};

const HOUR: i64 = 3_600_000_000;

/// Twelve hours in more than 50 GiB, with an index of 29 MB behind the media.
#[test]
fn fifty_gibibytes() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("long.mp4");
    let movie = long_movie(12 * 3600, 50_000);
    assert!(movie.moov.len() > 25 << 20 && movie.media_end > 50 << 30);
    let file = File::create(&path).unwrap();
    file.write_all_at(&movie.front, 0).unwrap();
    file.write_all_at(&movie.moov, movie.media_end).unwrap();

    let mut store = Store::open(&path);
    let opened = store.movie().unwrap();
    assert_eq!(opened.duration(), Some(12 * HOUR));
    assert!(store.reads < 24 && store.bytes < 512 << 10, "{} reads, {} bytes to open", store.reads, store.bytes);
    assert!(opened.held() < 16 << 10, "{} bytes held by the movie", opened.held());

    let tracks = opened.default_tracks();
    let pictures = |samples: &[flyloft_media::mp4::Sample], first: u64, what: &str| {
        for (n, sample) in (first..).zip(samples.iter().filter(|sample| sample.track == TrackId::VIDEO)) {
            // Each second picture comes a tick early; the edit list takes one picture's time away.
            let ticks = n * u64::from(TICKS) - n % 2;
            let offset = if n % 3 == 0 { 3 * TICKS } else { 0 };
            let micros = |ticks: i64| ((ticks - i64::from(TICKS)) as f64 * 1e6 / 12_800.0).round() as i64;
            let (place, size) = movie.pictures[n as usize];
            assert_eq!(sample.range, place..place + u64::from(size), "picture {n}, {what}");
            assert_eq!(sample.pts, micros((ticks + u64::from(offset)) as i64), "picture {n}, {what}");
            assert_eq!(sample.keyframe, n % GOP == 0, "picture {n}, {what}");
        }
    };
    let (reads, bytes) = (store.reads, store.bytes);
    let samples = store.samples(&opened, &tracks, 0, 1).unwrap();
    pictures(&samples, 0, "at the start");
    assert!(store.reads - reads < 16 && store.bytes - bytes < 256 << 10, "{} reads to start", store.reads - reads);

    // The sync sample at or before hour 9.
    let start = 9 * HOUR;
    let first = (start as u64 / 40_000 - 2) / GOP * GOP;
    let mut far = [0, 0];
    for bytes in &mut far {
        let before = store.bytes;
        pictures(&store.samples(&opened, &tracks, start, 1).unwrap(), first, "at hour 9");
        *bytes = store.bytes - before;
    }
    assert!(far[0] < 32 << 20 && far[1] < 2 << 20, "{far:?} bytes to reach hour 9 for the first and for the second time");
    let before = store.bytes;
    let samples = store.samples(&opened, &tracks, start, 30_000).unwrap();
    pictures(&samples, first, "after hour 9");
    assert!(store.bytes - before < 4 << 20);
    let sound = samples.iter().find(|sample| sample.track == TrackId::AUDIO).unwrap();
    let picture = samples.iter().find(|sample| sample.track == TrackId::VIDEO).unwrap();
    assert!((0..21_334).contains(&(picture.pts - sound.pts)), "{picture:?} {sound:?}");

    let end = store.samples(&opened, &tracks, 12 * HOUR - 1_000_000, usize::MAX).unwrap();
    let sounds: Vec<_> = end.iter().filter(|sample| sample.track == TrackId::AUDIO).collect();
    assert_eq!(sounds.len() as u64, movie.sounds - (sounds[0].pts as u64 * 48 / 1000).div_ceil(1024));
    assert!(store.held < 4 << 20, "{} bytes held at most", store.held);
}

/// ffmpeg's file with 5 GiB put before its media, so that offsets need 64 bits.
#[test]
fn offsets_of_64_bits() {
    let directory = tempfile::tempdir().unwrap();
    let path = make(directory.path(), &format!("{H264} -c:a aac"), "small.mp4");
    let data = std::fs::read(&path).unwrap();
    let moov = data.windows(4).position(|bytes| bytes == b"moov").unwrap() - 4;
    let gap = 5_u64 << 30;
    let path = directory.path().join("large.mp4");
    widen(&path, &data, moov, gap);
    let (movie, samples) = agrees(&path);
    assert_eq!(codecs(&movie), USUAL);
    assert!(samples.iter().all(|sample| sample.range.start > gap));
}

fn widen(path: &Path, data: &[u8], moov: usize, gap: u64) {
    let file = File::create(path).unwrap();
    let ftyp = u32::from_be_bytes(data[..4].try_into().unwrap()) as usize;
    file.write_all_at(&data[..ftyp], 0).unwrap();
    // One box that holds the gap and everything from behind ftyp to moov.
    let mdat = (gap + (moov - ftyp) as u64).to_be_bytes();
    file.write_all_at(&[&1_u32.to_be_bytes()[..], b"mdat", &mdat].concat(), ftyp as u64).unwrap();
    file.write_all_at(&data[ftyp..moov], ftyp as u64 + gap).unwrap();
    file.write_all_at(&wide_boxes(&data[moov..], gap), moov as u64 + gap).unwrap();
}

/// The boxes with each stco made a co64, `gap` bytes further.
fn wide_boxes(mut boxes: &[u8], gap: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while boxes.len() >= 8 {
        let (this, rest) = boxes.split_at(u32::from_be_bytes(boxes[..4].try_into().unwrap()) as usize);
        let (kind, content) = match &this[4..8] {
            kind @ (b"moov" | b"trak" | b"mdia" | b"minf" | b"stbl") => (kind, wide_boxes(&this[8..], gap)),
            b"stco" => {
                let wide = |offset: &[u8]| (u64::from(u32::from_be_bytes(offset.try_into().unwrap())) + gap).to_be_bytes();
                (&b"co64"[..], [&this[8..16], &this[16..].chunks(4).flat_map(wide).collect::<Vec<_>>()].concat())
            }
            kind => (kind, this[8..].to_vec()),
        };
        out.extend([&(content.len() as u32 + 8).to_be_bytes()[..], kind, &content].concat());
        boxes = rest;
    }
    out
}
