//! ffmpeg judges what the generator makes; the real-time part is tested by waiting for what must come.

use std::fs;
use std::path::Path;
use std::process::Command;

use flyloft_media::hub::{Cursor, Entry, From, Read};
use flyloft_media::{Codec, MediaKind};

use super::*;

const BASE: WallClock = WallClock::from_unix_micros(1_800_000_000 * SECOND);
const SMALL: Format = Format { width: 320, height: 180, fps: 15 };

/// Coded pictures and sound with their times, and the same as files that ffmpeg reads.
struct Made {
    frames: Vec<RawFrame>,
    directory: tempfile::TempDir,
}

impl Made {
    /// Pictures `first` to `last` without the ones that `skip` names.
    fn new(format: Format, first: u64, last: u64, skip: impl Fn(u64) -> bool) -> Self {
        let mut generator = Generator::new(format, "Demo room", BASE, first).unwrap();
        let frames: Vec<_> =
            (first..=last).filter(|&number| !skip(number)).flat_map(|number| generator.advance(number, false).unwrap()).collect();
        let directory = tempfile::tempdir().unwrap();
        let (mut video, mut audio) = (Vec::new(), Vec::new());
        let avcc = generator.tracks().find(|track| track.codec == Codec::H264).unwrap().config.clone();
        let (sps, pps) = parameter_sets(&avcc);
        for frame in &frames {
            if frame.track == TrackId::VIDEO {
                if frame.keyframe {
                    for set in [&sps, &pps] {
                        video.extend_from_slice(&[0, 0, 0, 1]);
                        video.extend_from_slice(set);
                    }
                }
                let mut rest = &frame.payload[..];
                while let Some((length, after)) = rest.split_first_chunk::<4>() {
                    let (nal, after) = after.split_at(u32::from_be_bytes(*length) as usize);
                    video.extend_from_slice(&[0, 0, 0, 1]);
                    video.extend_from_slice(nal);
                    rest = after;
                }
            } else {
                audio.extend_from_slice(&syom::wrap_adts_au(&frame.payload, SAMPLE_RATE, 2).unwrap());
            }
        }
        fs::write(directory.path().join("video.h264"), video).unwrap();
        fs::write(directory.path().join("audio.aac"), audio).unwrap();
        Self { frames, directory }
    }

    fn of(&self, track: TrackId) -> Vec<&RawFrame> {
        self.frames.iter().filter(|frame| frame.track == track).collect()
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.directory.path().join(name)
    }

    /// What ffmpeg makes of a file; it must not complain about anything.
    fn decoded(&self, name: &str, format: Format, output: &[&str]) -> Vec<u8> {
        let rate = format.fps.to_string();
        let input: &[&str] = if name == "video.h264" { &["-r", &rate] } else { &[] };
        run(Command::new("ffmpeg")
            .args(["-v", "warning", "-xerror"])
            .args(input)
            .arg("-i")
            .arg(self.path(name))
            .args(output)
            .arg("-"))
    }
}

fn parameter_sets(avcc: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let length = usize::from(u16::from_be_bytes([avcc[6], avcc[7]]));
    (avcc[8..8 + length].to_vec(), avcc[8 + length + 3..].to_vec())
}

fn run(command: &mut Command) -> Vec<u8> {
    let output = command.output().expect("these tests need ffmpeg and ffprobe");
    let said = String::from_utf8_lossy(&output.stderr);
    // Raw AAC has no duration: FFmpeg says that it guesses one, and nothing here asks for it.
    let faults: Vec<_> = said.lines().filter(|line| !line.trim().is_empty() && !line.contains("Estimating duration")).collect();
    assert!(output.status.success() && faults.is_empty(), "{said}");
    output.stdout
}

fn probe(path: &Path, entries: &str) -> String {
    let output = run(Command::new("ffprobe")
        .args(["-v", "warning", "-count_frames", "-show_entries", entries, "-of", "default=noprint_wrappers=1"])
        .arg(path));
    String::from_utf8(output).unwrap()
}

#[test]
fn ffmpeg_decodes_every_picture_and_the_clock_runs() {
    let format = Format::default();
    let made = Made::new(format, 50, 139, |_| false);
    let said = probe(&made.path("video.h264"), "stream=codec_name,profile,width,height,color_space,has_b_frames,nb_read_frames");
    for expected in [
        "codec_name=h264",
        "profile=Constrained Baseline",
        "width=1280",
        "height=720",
        "has_b_frames=0",
        "color_space=bt709",
        "nb_read_frames=90",
    ] {
        assert!(said.contains(expected), "{expected} is missing: {said}");
    }
    let keyframes: Vec<_> =
        (50_u64..).zip(made.of(TrackId::VIDEO)).filter(|(_, frame)| frame.keyframe).map(|(number, _)| number).collect();
    assert_eq!(keyframes, [50, 60, 120], "the first one, then every two seconds");
    // The last two digits of the clock.
    let region = "crop=120:80:860:298";
    let clock = made.decoded("video.h264", format, &["-vf", region, "-pix_fmt", "gray", "-f", "rawvideo"]);
    let pictures: Vec<_> = clock.chunks_exact(120 * 80).collect();
    assert_eq!(pictures.len(), 90);
    for pair in pictures.windows(2) {
        let changed = pair[0].iter().zip(pair[1]).filter(|(a, b)| a.abs_diff(**b) > 60).count();
        assert!(changed > 100, "the clock stands still: {changed} pixels changed");
    }
    let bits: usize = made.of(TrackId::VIDEO).iter().map(|frame| frame.payload.len() * 8).sum();
    assert!((600_000..9_000_000).contains(&bits), "{bits} bits in three seconds");
}

/// Flash and bell are looked for in what ffmpeg decodes, at the times that the frames were given.
#[test]
fn flash_and_bell_are_heard_and_seen_together_at_each_full_second() {
    let format = Format { width: 640, height: 360, fps: 30 };
    let made = Made::new(format, 20, 135, |_| false);
    let lamp = made.decoded("video.h264", format, &["-vf", "crop=16:16:81:109", "-pix_fmt", "gray", "-f", "rawvideo"]);
    let bright: Vec<bool> =
        lamp.chunks_exact(256).map(|picture| picture.iter().map(|&value| u32::from(value)).sum::<u32>() / 256 > 190).collect();
    let flashes: Vec<i64> =
        (1..bright.len()).filter(|&at| bright[at] && !bright[at - 1]).map(|at| made.of(TrackId::VIDEO)[at].dts).collect();
    assert_eq!(flashes, [SECOND, 2 * SECOND, 3 * SECOND, 4 * SECOND]);

    let sound = made.decoded("audio.aac", format, &["-ac", "1", "-f", "f32le"]);
    let sound: Vec<f32> = sound.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    assert_eq!(sound.len(), made.of(TrackId::AUDIO).len() * FRAME);
    let start = made.of(TrackId::AUDIO)[0].dts;
    let time = |sample: usize| start + i64::try_from(sample).unwrap() * SECOND / i64::from(SAMPLE_RATE);
    let mut bells = Vec::new();
    // The first unit has no unit before it to overlap with.
    for (sample, value) in sound.iter().enumerate().skip(FRAME) {
        if value.abs() > 0.1 && bells.last().is_none_or(|last| time(sample) - last > SECOND / 2) {
            bells.push(time(sample));
        }
    }
    assert_eq!(bells.len(), flashes.len(), "{bells:?}");
    for (flash, bell) in flashes.iter().zip(&bells) {
        assert!((bell - flash).abs() < 5_000, "the flash is at {flash}, the bell at {bell}");
    }
}

#[test]
fn times_rise_and_sound_stays_with_the_picture() {
    let made = Made::new(SMALL, 7, 100, |_| false);
    let mut last = i64::MIN;
    for frame in &made.frames {
        assert!(frame.dts >= last, "frames must come in the order of their times");
        last = frame.dts;
    }
    for (number, frame) in (7..).zip(made.of(TrackId::VIDEO)) {
        assert_eq!(frame.dts, number * SECOND / 15);
    }
    let sound = made.of(TrackId::AUDIO);
    assert!(sound.windows(2).all(|pair| (21_333..=21_334).contains(&(pair[1].dts - pair[0].dts))));
    assert!((sound[0].dts - made.of(TrackId::VIDEO)[0].dts).abs() < 21_334);
    assert!((last - sound.last().unwrap().dts) < 21_334);
}

#[test]
fn left_out_pictures_leave_the_sound_whole_and_a_long_stall_leaves_a_gap() {
    let short = Made::new(SMALL, 0, 60, |number| (20..40).contains(&number));
    assert_eq!(short.of(TrackId::VIDEO).len(), 41);
    assert!(short.of(TrackId::AUDIO).windows(2).all(|pair| pair[1].dts - pair[0].dts < 21_335));
    let keyframes: Vec<_> = short.of(TrackId::VIDEO).iter().filter(|frame| frame.keyframe).map(|frame| frame.dts).collect();
    assert_eq!(keyframes, [0, 40 * SECOND / 15, 4 * SECOND], "the key frame that was left out comes with the next picture");

    let long = Made::new(SMALL, 0, 900, |number| (10..890).contains(&number));
    assert!(long.of(TrackId::AUDIO).len() < 120, "an hour of sound must not be made at once");
    assert_eq!(probe(&long.path("audio.aac"), "stream=channels"), "channels=2\n");
}

#[test]
fn numbers_and_times_agree_for_ever() {
    for fps in [15, 25, 30, 60] {
        let format = Format { fps, ..SMALL };
        for number in [0, 1, 29, 30, 1_000_000_007, 5_000_000_000] {
            let time = picture_time(format, number);
            assert!([number, number.saturating_sub(1)].contains(&due(format, time)));
            assert_eq!(due(format, time + 1), number);
        }
        assert_eq!(picture_time(format, u64::from(fps) * 86_400 * 365), 86_400 * 365 * SECOND);
    }
    assert_eq!(unit_time(SAMPLE_RATE.into()), 1024 * SECOND);
    assert_eq!(unit_at(unit_time(46_875) + 1), 46_875);
}

/// Reads from `cursor` until `enough`, or fails after a time that no machine needs.
async fn read_until(stream: &Stream, cursor: &mut Cursor, enough: impl Fn(&[Arc<Entry>]) -> bool) -> Vec<Arc<Entry>> {
    let mut entries = Vec::new();
    let reading = async {
        while !enough(&entries) {
            let changed = stream.listen();
            match stream.read(cursor, &mut entries, 64) {
                Read::Ended => panic!("the stream ended after {} frames", entries.len()),
                Read::Empty => changed.await,
                Read::Entries(_) => {}
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), reading).await.expect("the source makes nothing");
    entries
}

#[tokio::test(flavor = "multi_thread")]
async fn the_source_runs_in_real_time_and_ends_when_told() {
    let source = Arc::new(Source::new(SMALL, "Demo room").unwrap());
    let cancel = CancellationToken::new();
    let running = tokio::spawn({
        let (source, cancel) = (Arc::clone(&source), cancel.clone());
        async move { source.run(cancel).await }
    });
    let videos = |entries: &[Arc<Entry>]| entries.iter().filter(|entry| entry.frame.kind() == MediaKind::Video).count();
    let mut cursor = source.stream().cursor(From::Oldest);
    let entries = read_until(source.stream(), &mut cursor, |entries| videos(entries) >= 6).await;
    assert!(entries[0].frame.keyframe && entries[0].frame.kind() == MediaKind::Video);
    assert_eq!(entries[0].tracks.iter().count(), 2);
    for entry in entries.iter().filter(|entry| entry.frame.kind() == MediaKind::Video) {
        // A picture comes at its own time, not before, by the same clock.
        let first = &entries[0];
        let ahead = entry.frame.dts.micros_since(first.frame.dts) - entry.arrived.micros_since(first.arrived);
        assert!(ahead < 1_000_000, "a picture came {ahead} microseconds early");
    }
    let mut next = source.stream().cursor(From::Next);
    source.request_keyframe();
    let joined = read_until(source.stream(), &mut next, |entries| !entries.is_empty()).await;
    assert!(joined[0].frame.keyframe);
    cancel.cancel();
    running.await.unwrap().unwrap();
    assert!(source.stream().is_ended() && !source.stream().is_publishing());
}

#[tokio::test]
async fn a_source_that_is_cancelled_at_once_ends() {
    let source = Source::new(SMALL, "").unwrap();
    let cancel = CancellationToken::new();
    cancel.cancel();
    source.run(cancel).await.unwrap();
    assert!(source.stream().is_ended());
}
