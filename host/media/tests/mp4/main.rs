//! MP4, QuickTime and fragmented MP4 by ffmpeg, read and compared with what ffprobe sees, packet by packet.
#![allow(clippy::unwrap_used)]

mod judge;
mod large;
#[path = "../support/long_movie.rs"]
mod long_movie;
mod reading;
mod seeking;

use std::path::Path;
use std::sync::Arc;

use flyloft_media::mp4::{Movie, Mp4Error, Sample};
use flyloft_media::{Codec, TrackId};
use judge::{H264, Packet, make, packets};
use reading::{Store, everything};

/// Our samples of a track as ffprobe would list them.
fn listed(samples: &[Sample], track: TrackId) -> Vec<Packet> {
    let packet = |sample: &Sample| Packet {
        dts: sample.dts,
        pts: sample.pts,
        position: sample.range.start,
        size: sample.range.end - sample.range.start,
        keyframe: sample.keyframe,
    };
    samples.iter().filter(|sample| sample.track == track).map(packet).collect()
}

/// Every packet of every track is the one that ffprobe sees, with times to the microsecond, and decode times rise over all tracks.
fn agrees(path: &Path) -> (Arc<Movie>, Vec<Sample>) {
    agrees_with(path, 0)
}

/// The same where ffprobe has the picture `late` microseconds later.
fn agrees_with(path: &Path, late: i64) -> (Arc<Movie>, Vec<Sample>) {
    let (movie, samples) = everything(path);
    assert!(samples.is_sorted_by_key(|sample| sample.dts), "the order of decode times");
    for track in movie.tracks() {
        // ffmpeg numbers the tracks that it writes from 1.
        let expected = packets(path, track.number as usize - 1);
        let ours = listed(&samples, track.track.id);
        assert!(!expected.is_empty());
        for (index, (ours, expected)) in ours.iter().zip(&expected).enumerate() {
            let late = if track.track.id == VIDEO { late } else { 0 };
            let near = |ours: i64, expected: i64| (ours + late - expected).abs() <= 1;
            let same = near(ours.dts, expected.dts) && near(ours.pts, expected.pts);
            let rest = (ours.position, ours.size, ours.keyframe) == (expected.position, expected.size, expected.keyframe);
            assert!(same && rest, "packet {index} of track {}: {ours:?}, ffprobe has {expected:?}", track.number);
        }
        assert_eq!(ours.len(), expected.len(), "track {}", track.number);
    }
    (movie, samples)
}

fn codecs(movie: &Movie) -> Vec<(TrackId, Codec)> {
    movie.tracks().iter().map(|track| (track.track.id, track.track.codec)).collect()
}

fn check(arguments: &str, name: &str, expected: &[(TrackId, Codec)]) -> (Arc<Movie>, Vec<Sample>) {
    let directory = tempfile::tempdir().unwrap();
    let (movie, samples) = agrees(&make(directory.path(), arguments, name));
    assert_eq!(codecs(&movie), expected, "{arguments}");
    (movie, samples)
}

const VIDEO: TrackId = TrackId::VIDEO;
const AUDIO: TrackId = TrackId::AUDIO;
const USUAL: [(TrackId, Codec); 2] = [(VIDEO, Codec::H264), (AUDIO, Codec::Aac)];

#[test]
fn index_in_front_or_behind_with_b_frames_and_an_edit_list() {
    for flags in ["-movflags +faststart", ""] {
        let (movie, samples) = check(&format!("{H264} -c:a aac {flags}"), "clip.mp4", &USUAL);
        let first = samples.iter().find(|sample| sample.track == VIDEO).unwrap();
        assert_eq!((first.dts, first.pts), (-80_000, 0), "the edit list takes the reordering delay back");
        let sound = samples.iter().find(|sample| sample.track == AUDIO).unwrap();
        assert_eq!(sound.pts, -21_333, "the priming of AAC lies before the start");
        assert_eq!(movie.duration(), Some(3_000_000));
        assert_eq!(movie.tracks()[0].duration, Some(3_000_000));
        assert!(!movie.is_fragmented() && movie.left_out().is_empty());
        let video = movie.tracks()[0].track.video().unwrap();
        assert_eq!((video.width, video.height), (160, 90));
    }
}

#[test]
fn negative_composition_offsets() {
    let (_, samples) = check(&format!("{H264} -c:a aac -movflags +negative_cts_offsets"), "clip.mp4", &USUAL);
    assert!(samples.iter().all(|sample| sample.dts <= sample.pts));
    check(&format!("{H264} -c:a aac -use_editlist 0"), "clip.mp4", &USUAL);
}

#[test]
fn quicktime() {
    check(&format!("{H264} -c:a aac"), "clip.mov", &USUAL);
    let directory = tempfile::tempdir().unwrap();
    let (movie, _) = agrees(&make(directory.path(), &format!("{H264} -c:a pcm_s16le"), "clip.mov"));
    assert_eq!(codecs(&movie), [(VIDEO, Codec::H264)]);
    assert_eq!(movie.left_out()[0].codec, "sowt");
    assert_eq!(movie.left_out()[0].reason, "the codec is not supported");
}

#[test]
fn codecs_of_pictures() {
    let hevc = "-c:v libx265 -preset ultrafast -x265-params log-level=none:bframes=2:keyint=25";
    let (movie, _) = check(&format!("{hevc} -tag:v hvc1 -c:a aac"), "clip.mp4", &[(VIDEO, Codec::Hevc), (AUDIO, Codec::Aac)]);
    assert!(movie.tracks()[0].track.codecs.starts_with("hvc1."));
    check(&format!("{hevc} -c:a aac"), "clip.mp4", &[(VIDEO, Codec::Hevc), (AUDIO, Codec::Aac)]);
    let av1 = "-c:v libaom-av1 -cpu-used 8 -usage realtime -g 25";
    check(&format!("{av1} -c:a libopus"), "clip.mp4", &[(VIDEO, Codec::Av1), (AUDIO, Codec::Opus)]);
}

#[test]
fn codecs_of_sound() {
    let (movie, _) =
        check(&format!("{H264} -c:a libmp3lame -ar 44100"), "clip.mp4", &[(VIDEO, Codec::H264), (AUDIO, Codec::Mp3)]);
    assert_eq!(movie.tracks()[1].track.audio().unwrap().sample_rate, 44_100);
    check(&format!("{H264} -c:a libmp3lame -ar 48000"), "clip.mov", &[(VIDEO, Codec::H264), (AUDIO, Codec::Mp3)]);
    check("-map 1:a -c:a libopus", "clip.mp4", &[(AUDIO, Codec::Opus)]);
    check("-map 1:a -c:a aac -ar 44100 -ac 2", "clip.m4a", &[(AUDIO, Codec::Aac)]);
}

#[test]
fn picture_alone_and_frames_of_different_length() {
    check(&format!("-map 0:v {H264}"), "clip.mp4", &[(VIDEO, Codec::H264)]);
    let uneven = "-vf settb=1/90000,setpts=N*2700+N*N*20 -vsync passthrough -enc_time_base 1:90000";
    let (_, samples) = check(&format!("{uneven} {H264} -c:a aac"), "clip.mp4", &USUAL);
    let mut times: Vec<_> = samples.iter().filter(|sample| sample.track == VIDEO).map(|sample| sample.pts).collect();
    times.sort_unstable();
    let steps: std::collections::BTreeSet<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(steps.len() > 10, "the frame rate varies: {steps:?}");
}

#[test]
fn several_sounds_and_the_one_that_plays_by_default() {
    let sounds = "-map 0:v -map 1:a -map 1:a -map 1:a -c:a aac -metadata:s:a:0 language=deu -metadata:s:a:1 language=eng";
    let (movie, _) = check(
        &format!("{H264} {sounds} -disposition:a:0 0 -disposition:a:1 default"),
        "clip.mp4",
        &[(VIDEO, Codec::H264), (TrackId(3), Codec::Aac), (AUDIO, Codec::Aac), (TrackId(5), Codec::Aac)],
    );
    let languages: Vec<_> = movie.tracks().iter().map(|track| (track.language.as_str(), track.enabled)).collect();
    assert_eq!(languages, [("und", true), ("deu", false), ("eng", true), ("und", false)]);
    assert_eq!(movie.default_tracks(), [VIDEO, AUDIO]);
}

#[test]
fn a_track_that_begins_later() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("late.mp4");
    let source =
        "-f lavfi -i testsrc2=size=160x90:rate=25:duration=3 -itsoffset 0.7 -f lavfi -i sine=sample_rate=48000:duration=2";
    judge::run(&format!("{source} {H264} -c:a aac"), &path);
    let (_, samples) = agrees(&path);
    let sound = samples.iter().find(|sample| sample.track == AUDIO).unwrap();
    // The movie's time scale has milliseconds.
    assert!((677_000..=679_000).contains(&sound.pts), "{sound:?}");
}

#[test]
fn fragments() {
    for flags in [
        "+frag_keyframe+empty_moov+default_base_moof",
        "+frag_keyframe+empty_moov",
        "+frag_keyframe+delay_moov+default_base_moof",
        "+frag_keyframe+empty_moov+separate_moof",
        "+dash+frag_keyframe",
        "+dash+global_sidx+frag_keyframe",
        "+frag_keyframe",
    ] {
        let (movie, _) = check(&format!("{H264} -c:a aac -movflags {flags}"), "clip.mp4", &USUAL);
        assert!(movie.is_fragmented(), "{flags}");
    }
    check(
        &format!("{H264} -c:a libopus -movflags +empty_moov -frag_duration 300000"),
        "clip.mp4",
        &[USUAL[0], (AUDIO, Codec::Opus)],
    );
    // CMAF has negative composition offsets, which ffprobe takes for a delay when they come in fragments.
    let directory = tempfile::tempdir().unwrap();
    agrees_with(&make(directory.path(), &format!("{H264} -c:a aac -movflags +cmaf"), "clip.mp4"), 40_000);
}

/// What can't be played says why and what to do.
#[test]
fn refusals() {
    let directory = tempfile::tempdir().unwrap();
    let opened = |path: &Path| Store::open(path).movie().map(|_| ()).unwrap_err();
    let path = make(directory.path(), "-c:v mpeg4 -c:a pcm_s16le", "old.mov");
    let Mp4Error::NothingPlayable { tracks } = opened(&path) else { panic!("nothing can be played") };
    assert_eq!(tracks, "track 1 is mp4v: the codec is not supported; track 2 is sowt: the codec is not supported");

    // Data that begins where that of another track ends.
    let flags = "-movflags +frag_keyframe+empty_moov+omit_tfhd_offset";
    let mut store = Store::open(&make(directory.path(), &format!("{H264} -c:a aac {flags}"), "follows.mp4"));
    let movie = store.movie().unwrap();
    let error = store.samples(&movie, &movie.default_tracks(), 0, 1).unwrap_err();
    assert!(matches!(&error, Mp4Error::Invalid { path, .. } if path.ends_with("/traf[1]/tfhd")), "{error}");

    let path = make(directory.path(), &format!("{H264} -c:a aac"), "whole.mp4");
    let whole = std::fs::read(&path).unwrap();
    let cut = directory.path().join("cut.mp4");
    std::fs::write(&cut, &whole[..whole.len() / 2]).unwrap();
    let Mp4Error::Truncated { size, needed } = opened(&cut) else { panic!("the index is missing") };
    assert!(size == whole.len() as u64 / 2 && needed > size && needed < whole.len() as u64);
    let moov = whole.windows(4).position(|bytes| bytes == b"moov").unwrap() - 4;
    std::fs::write(&cut, &whole[..moov]).unwrap();
    let error = opened(&cut);
    assert_eq!(error, Mp4Error::NoMovie { size: moov as u64, fragments: false });
    assert!(error.to_string().contains("ffmpeg -i bad.mp4 -c copy -movflags +faststart good.mp4"), "{error}");
    std::fs::write(&cut, b"RIFF\0\0\0\0WAVEfmt ").unwrap();
    assert_eq!(opened(&cut), Mp4Error::NotMp4);
    std::fs::write(&cut, b"").unwrap();
    assert_eq!(opened(&cut), Mp4Error::NotMp4);

    // With the index in front, what is there is played, and the end says where the file stops.
    let path = make(directory.path(), &format!("{H264} -c:a aac -movflags +faststart"), "front.mp4");
    let whole = std::fs::read(&path).unwrap();
    let size = whole.len() as u64 * 3 / 4;
    std::fs::write(&cut, &whole[..size as usize]).unwrap();
    let mut store = Store::open(&cut);
    let movie = store.movie().unwrap();
    let error = store.samples(&movie, &movie.default_tracks(), 0, usize::MAX).unwrap_err();
    assert!(matches!(error, Mp4Error::Truncated { size: at, needed } if at == size && needed > size), "{error}");
    assert_eq!(store.samples(&movie, &movie.default_tracks(), 0, 50).unwrap().len(), 50);
}
