use std::sync::Arc;

use bytes::Bytes;

use super::*;
use crate::cmaf;
use crate::codec;
use crate::track::{Codec, TrackId};

#[path = "../../tests/support/long_movie.rs"]
#[allow(dead_code, reason = "the large files need more of it")]
mod long_movie;
use long_movie::{AVCC, boxed, long_movie, words};

fn open(file: &[u8], size: u64) -> Result<Arc<Movie>, Mp4Error> {
    let mut opening = Opening::new(size);
    loop {
        match opening.step()? {
            Step::Want(range) => opening.supply(range.start, cut(file, &range))?,
            Step::Ready(movie) => return Ok(movie),
        }
    }
}

fn cut<'a>(file: &'a [u8], range: &std::ops::Range<u64>) -> &'a [u8] {
    let end = (range.end as usize).min(file.len());
    &file[(range.start as usize).min(end)..end]
}

fn play(file: &[u8]) -> Result<Vec<Sample>, Mp4Error> {
    let movie = open(file, file.len() as u64)?;
    let mut samples = Samples::new(movie.clone(), &movie.default_tracks(), 0);
    let mut found = Vec::new();
    loop {
        match samples.step()? {
            Next::Want(range) => samples.supply(range.start, cut(file, &range))?,
            Next::Sample(sample) => found.push(sample),
            Next::End => return Ok(found),
        }
    }
}

/// Four seconds of pictures and sound with their index behind.
fn whole() -> Vec<u8> {
    let movie = long_movie(4, 100);
    let media = vec![0; (movie.media_end as usize) - movie.front.len()];
    [movie.front, media, movie.moov].concat()
}

/// The content of the first box on `path`, with its offset.
fn place(file: &[u8], path: &str) -> usize {
    let (mut from, mut end) = (0, file.len());
    for kind in path.split('/') {
        let mut at = from;
        loop {
            let word = |at: usize| u32::from_be_bytes(file[at..at + 4].try_into().unwrap()) as usize;
            let size = if word(at) == 1 { word(at + 12) } else { word(at) };
            if &file[at + 4..at + 8] == kind.as_bytes() {
                (from, end) = (at + 8, at + size);
                break;
            }
            at += size;
            assert!(at < end, "{kind} of {path}");
        }
    }
    from
}

const STBL: &str = "moov/trak/mdia/minf/stbl";

/// The error after words at `skip` in the content of a box were replaced. It names the box by `named` and says what is wrong.
fn refused(path: &str, skip: i32, new: &[u32], named: &str, problem: &str) {
    let mut file = whole();
    let at = place(&file, path).checked_add_signed(skip as isize).unwrap();
    let new = words(new.iter().copied());
    file[at..at + new.len()].copy_from_slice(&new);
    let error = play(&file).unwrap_err();
    let Mp4Error::Invalid { path, offset, .. } = &error else { panic!("{path}: {error}") };
    assert_eq!(path, named, "{error}");
    assert!(error.to_string().contains(problem), "{error}");
    assert!((*offset as usize) <= file.len(), "{error}");
}

#[test]
fn the_movie_that_is_damaged_below_is_whole() {
    assert_eq!(play(&whole()).unwrap().len(), 100 + 4 * 48_000 / 1024);
}

#[test]
fn damage_is_named() {
    let stbl = |name: &str| (format!("{STBL}/{name}"), format!("moov/trak[0]/mdia/minf/stbl/{name}"));
    for (name, skip, new, problem) in [
        ("stsz", 8, &[u32::MAX][..], "it claims 4294967295 entries of 4 bytes, and has 400 bytes for them"),
        ("stts", 4, &[u32::MAX], "it claims 4294967295 entries"),
        ("co64", 4, &[1 << 30], "it claims 1073741824 entries of 8 bytes"),
        ("stts", 4, &[0], "it has no entries, and there are 100 samples"),
        ("stsc", 20, &[1], "its first_chunk is 1, allowed are rising numbers from 1"),
        ("stsc", 8, &[7], "its first_chunk is 7"),
        ("stsc", 12, &[0], "its samples_per_chunk is 0"),
        ("stsc", 16, &[2], "sample entry 2, which is missing"),
        ("stsc", 4, &[1], "its chunks hold 96 samples, and sample 96 is none of them"),
        ("stsz", -8, &[7], "its size of 7 bytes is smaller than its header"),
        ("stsz", -8, &[1 << 20], "its size of 1048576 bytes is larger than"),
        ("stsd", 4, &[5000], "its entry_count is 5000"),
        ("stsd", 8, &[1 << 16], "sample entry 0 (avc1) of 65536 bytes does not fit"),
    ] {
        let (path, named) = stbl(name);
        refused(&path, skip, new, &named, problem);
    }
    refused("moov/trak/mdia/mdhd", 20, &[0], "moov/trak[0]/mdia/mdhd", "its timescale is 0");
    refused("moov/trak/edts/elst", 12, &[-5_i32 as u32], "moov/trak[0]/edts/elst", "its media_time is -5");
    refused(STBL, -8, &[0x7fff_ffff], "moov/trak[0]/mdia/minf/stbl", "larger than");
    refused("moov/mvhd", -4, &[u32::from_be_bytes(*b"cmov")], "moov/cmov", "ffmpeg -i bad.mov -c copy");
}

#[test]
fn a_constant_size_with_a_count_beyond_all_bounds() {
    let mut file = whole();
    let at = place(&file, &format!("{STBL}/stsz"));
    file[at + 4..at + 12].copy_from_slice(&words([1, u32::MAX]));
    let error = play(&file).unwrap_err().to_string();
    assert!(error.contains("its chunks hold 100 samples, and sample 100 is none of them"), "{error}");
}

#[test]
fn chunks_behind_the_end_of_the_file() {
    let mut file = whole();
    let at = place(&file, &format!("{STBL}/co64"));
    file[at + 8..at + 16].copy_from_slice(&[0x7f; 8]);
    let size = file.len() as u64;
    assert_eq!(play(&file), Err(Mp4Error::Truncated { size, needed: 0x7f7f_7f7f_7f7f_7f7f + 100 }));
    file[at + 8..at + 16].copy_from_slice(&[0xff; 8]);
    assert_eq!(play(&file), Err(Mp4Error::Truncated { size, needed: u64::MAX }));
}

#[test]
fn a_file_that_is_shorter_than_it_was() {
    let file = whole();
    let short = &file[..file.len() - 100];
    let size = file.len() as u64;
    assert_eq!(open(short, size).unwrap_err(), Mp4Error::Truncated { size: size - 100, needed: size });
    let mut opening = Opening::new(size);
    assert_eq!(opening.supply(5, [0_u8]), Err(Mp4Error::Unasked { offset: 5, length: 1 }));
}

/// The initialization segment of a picture track, then what the test adds.
fn fragmented(boxes: &[Vec<u8>]) -> Vec<u8> {
    let track = codec::track(TrackId::VIDEO, Codec::H264, Bytes::from_static(AVCC)).unwrap();
    [cmaf::init_segment(&track).to_vec(), boxes.concat()].concat()
}

fn moof(tfhd: &[u32], tfdt: &[u32], trun: &[u32]) -> Vec<u8> {
    let part = |kind, content: &[u32]| boxed(kind, &words(content.iter().copied()));
    boxed(b"moof", &boxed(b"traf", &[part(b"tfhd", tfhd), part(b"tfdt", tfdt), part(b"trun", trun)].concat()))
}

/// Default base is the moof, with a default duration of 3,000 ticks and a default size of 4 bytes.
const TFHD: [u32; 4] = [0x2_0018, 1, 3_000, 4];

#[test]
fn runs_of_defaults() {
    let file = fragmented(&[moof(&TFHD, &[0, 9_000], &[1, 3, 0]), boxed(b"mdat", &[0; 12]), moof(&TFHD, &[0, 18_000], &[0, 1])]);
    let samples = play(&file).unwrap();
    assert_eq!(samples.iter().map(|sample| sample.pts).collect::<Vec<_>>(), [100_000, 133_333, 166_667, 200_000]);
    assert_eq!(samples.iter().map(|sample| sample.duration).collect::<Vec<_>>(), [33_333, 33_334, 33_333, 33_333]);
    let first = file.windows(4).position(|bytes| bytes == b"moof").unwrap() as u64 - 4;
    assert_eq!(samples[1].range, first + 4..first + 8);
}

#[test]
fn damaged_fragments_are_named() {
    for (tfhd, tfdt, trun, problem) in [
        (&TFHD[..], &[0, 0][..], &[0x100, u32::MAX, 1][..], "traf[0]/trun at byte"),
        (&TFHD, &[0, 0], &[0x100, 3, 1, 1], "its sample_count is 3, which does not fit into its 16 bytes"),
        (&TFHD, &[0x100_0000, u32::MAX, 0], &[0, 1], "its baseMediaDecodeTime is 18446744069414584320"),
        (&[0x2_0000, 1], &[0, 0], &[0, u32::MAX], "tell the size of its 4294967295 samples"),
        (&[0x2_001a, 1, 9, 3_000, 4], &[0, 0], &[0, 1], "it has sample entry 9"),
        (&TFHD, &[0, 0], &[1, 1, 0x8000_0000], "leads out of the file"),
        (&TFHD[..1], &[0, 0], &[0, 1], "it ends inside its fields"),
    ] {
        let error = play(&fragmented(&[moof(tfhd, tfdt, trun)])).unwrap_err();
        assert!(matches!(&error, Mp4Error::Invalid { path, .. } if path.starts_with("moof@")), "{error}");
        assert!(error.to_string().contains(problem), "{error}");
    }
}

/// Four thousand million samples out of a run of 20 bytes end where the file does.
#[test]
fn a_run_that_is_longer_than_the_file() {
    let file = fragmented(&[moof(&TFHD, &[0, 0], &[0, u32::MAX])]);
    let size = file.len() as u64;
    assert!(matches!(play(&file), Err(Mp4Error::Truncated { size: at, .. }) if at == size));
}

#[test]
fn boxes_that_lead_nowhere() {
    // A fragment whose size would lead back into itself, one that has none, and an index that points at itself.
    let error = play(&fragmented(&[words([4, u32::from_be_bytes(*b"moof"), 0, 0])])).unwrap_err().to_string();
    assert!(error.contains("moof at byte") && error.contains("smaller than its header"), "{error}");
    assert_eq!(play(&fragmented(&[words([0, u32::from_be_bytes(*b"free"), 0, 0])])), Ok(Vec::new()));
    let nested = (0..2000).fold(Vec::new(), |inside, _| boxed(b"trak", &inside));
    let file = [boxed(b"ftyp", b"isom"), boxed(b"moov", &nested)].concat();
    assert!(matches!(play(&file), Err(Mp4Error::NothingPlayable { .. })));
    assert_eq!(play(&boxed(b"moof", &[])), Err(Mp4Error::NoMovie { size: 8, fragments: true }));
}
