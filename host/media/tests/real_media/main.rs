//! Real encoders' streams through hub and segmenter, judged by ffmpeg: frame counts, durations, and the distance of picture and sound.
#![allow(clippy::unwrap_used)]

mod clips;
mod judge;

use std::path::Path;
use std::sync::Arc;

use clips::Clip;
use flyloft_media::cmaf::{Segmenter, SegmenterConfig, Window};
use flyloft_media::hub::{Cursor, From, Read, RingLimits, Stream};
use flyloft_media::{TrackId, WallClock};

const NOW: i64 = 1_790_000_000_000_000;

/// A stream with a segmenter behind it, on a clock of its own.
struct Bench {
    stream: Arc<Stream>,
    cursor: Cursor,
    segmenter: Segmenter,
    now: i64,
}

impl Bench {
    fn new() -> Self {
        let stream = Stream::new("test", RingLimits::default());
        let cursor = stream.cursor(From::Oldest);
        let config = SegmenterConfig { window: 1000, ..SegmenterConfig::new("stamp") };
        Self { stream, cursor, segmenter: Segmenter::new(config), now: NOW }
    }

    /// Publishes a clip at its own pace.
    fn publish(&mut self, clip: &Clip) {
        let mut publisher = self.stream.publish(WallClock::from_unix_micros(self.now)).unwrap();
        for track in &clip.tracks {
            publisher.set_track(clips::track(track));
        }
        let first = clip.frames[0].dts;
        let start = self.now;
        for frame in &clip.frames {
            self.now = start + frame.dts - first;
            publisher.push(frame.clone(), WallClock::from_unix_micros(self.now)).unwrap();
            let mut entries = Vec::new();
            while let Read::Entries(_) = self.stream.read(&mut self.cursor, &mut entries, 64) {}
            for entry in &entries {
                self.segmenter.push(entry);
            }
        }
    }

    fn finish(mut self) -> Arc<Window> {
        self.segmenter.finish();
        self.segmenter.window()
    }
}

fn through(clip: &Clip) -> Arc<Window> {
    let mut bench = Bench::new();
    bench.publish(clip);
    bench.finish()
}

fn assert_near(left: f64, right: f64, within: f64, what: &str) {
    assert!((left - right).abs() <= within, "{what}: {left} and {right} differ by more than {within}");
}

/// Everything that must hold for a clip without holes: each frame is there once, in sync, in files, HLS and DASH.
fn judge(clip: &Clip, window: &Window, directory: &Path) {
    judge::write(window, directory);
    let (video, audio) = (clip.count(TrackId::VIDEO), clip.count(TrackId::AUDIO));
    let mut inputs = ["index.m3u8", "manifest.mpd", "timeline.mpd"].map(|name| directory.join(name)).to_vec();
    let mut starts = Vec::new();
    for (name, kind, count) in [("video.mp4", "v", video), ("audio.mp4", "a", audio)] {
        if count > 0 {
            let file = directory.join(name);
            let times = judge::times(&file, kind);
            assert_eq!(times.len(), count, "{name}: {:?} of {:?}", &times[..3], &clip.frames[..3]);
            starts.push(times[0]);
            inputs.push(file);
        }
    }
    if let [video, audio] = starts[..] {
        let source = (clip.start(TrackId::AUDIO) - clip.start(TrackId::VIDEO)) as f64 / 1e6;
        assert_near(audio - video, source, 0.002, "sound after picture in the files");
    }
    for input in inputs {
        let name = input.file_name().unwrap().to_string_lossy().into_owned();
        // ffmpeg 5.1 asks for one number too many in a static manifest with numbers and says that it is not there.
        if name != "manifest.mpd" {
            judge::decodes(&input);
        }
        if !name.ends_with(".mp4") {
            let (v, a) = (judge::times(&input, "v"), judge::times(&input, "a"));
            assert_eq!((v.len(), a.len()), (video, audio), "{name}");
            if video > 0 && audio > 0 {
                let source = (clip.start(TrackId::AUDIO) - clip.start(TrackId::VIDEO)) as f64 / 1e6;
                assert_near(a[0] - v[0], source, 0.04, &format!("sound after picture in {name}"));
            }
        }
    }
}

fn encode(directory: &Path, source: &str, codecs: &str, name: &str) -> Clip {
    let data = clips::ffmpeg(directory, &format!("{source} {codecs}"), name);
    if name.ends_with(".flv") { clips::flv(&data) } else { clips::mp4(&data) }
}

const FRAGMENTED: &str = "-movflags delay_moov+default_base_moof+frag_keyframe -f mp4";

fn frames(window: &Window) -> Vec<u64> {
    window.video.iter().flat_map(|video| &video.segments).map(|segment| segment.frames).collect()
}

#[test]
fn h264_with_b_frames_and_aac() {
    let directory = tempfile::tempdir().unwrap();
    let clip = encode(directory.path(), &clips::source(11, "30"), "-c:v libx264 -g 60 -bf 3 -c:a aac", "clip.flv");
    assert!(clip.frames.iter().any(|frame| frame.composition_offset > 33_000), "the clip has B-frames");
    let window = through(&clip);
    judge(&clip, &window, directory.path());
    assert!(window.video.as_ref().unwrap().segments.iter().all(|segment| segment.independent()));
    assert_eq!(frames(&window), [60, 60, 60, 60, 60, 30]);
    assert_eq!(window.target_duration, 2);
    assert_eq!(judge::decoded_frames(&directory.path().join("index.m3u8"), "v"), 330);
    let video = window.video.as_ref().unwrap().latest_init().unwrap();
    assert_eq!(video.track.codecs, "avc1.64000d");
    assert_eq!(video.track.video().map(|info| (info.width, info.height, info.frame_rate)), Some((320, 180, Some((30, 1)))));
}

#[test]
fn key_frames_where_the_encoder_puts_them() {
    let directory = tempfile::tempdir().unwrap();
    let clip = encode(directory.path(), &clips::source(20, "25"), "-c:v libx264 -c:a aac", "clip.flv");
    let window = through(&clip);
    judge(&clip, &window, directory.path());
    let longest = f64::from(window.target_duration) + 0.5;
    for rendition in window.renditions() {
        assert!(rendition.segments.iter().all(|segment| segment.duration.as_secs_f64() < longest));
    }
}

#[test]
fn frame_rates_that_milliseconds_can_not_show() {
    for (rate, gop) in [("30000/1001", 60), ("60", 120), ("24", 48)] {
        let directory = tempfile::tempdir().unwrap();
        let codecs = format!("-c:v libx264 -preset veryfast -g {gop} -keyint_min {gop} -c:a aac -ar 44100");
        let clip = encode(directory.path(), &clips::source(7, rate), &codecs, "clip.flv");
        let window = through(&clip);
        judge(&clip, &window, directory.path());
        assert_eq!(frames(&window)[..3], [gop, gop, gop], "{rate}");
        assert!(window.periods.iter().all(|period| period.regular.is_some()), "{rate}");
    }
}

#[test]
fn hevc_and_opus() {
    let directory = tempfile::tempdir().unwrap();
    let codecs =
        format!("-c:v libx265 -x265-params keyint=50:min-keyint=50:log-level=none -tag:v hvc1 -c:a libopus {FRAGMENTED}");
    let clip = encode(directory.path(), &clips::source(5, "25"), &codecs, "clip.mp4");
    let window = through(&clip);
    judge(&clip, &window, directory.path());
    // x265's groups of pictures are open: a key frame comes before pictures that are shown before it.
    assert_eq!((frames(&window).len(), frames(&window).iter().sum()), (3, 125));
    assert!(window.video.as_ref().unwrap().segments.iter().all(|segment| segment.independent()));
    let codecs: Vec<_> = window.renditions().map(|rendition| rendition.latest_init().unwrap().track.codecs.clone()).collect();
    assert_eq!(codecs, ["hvc1.1.6.L60.90", "opus"]);
}

#[test]
fn av1_and_opus() {
    let directory = tempfile::tempdir().unwrap();
    let codecs = format!("-c:v libaom-av1 -cpu-used 8 -g 50 -keyint_min 50 -c:a libopus {FRAGMENTED}");
    let clip = encode(directory.path(), &clips::source(5, "25"), &codecs, "clip.mp4");
    let window = through(&clip);
    judge(&clip, &window, directory.path());
    let video = &window.video.as_ref().unwrap().latest_init().unwrap().track;
    assert_eq!(video.codecs, "av01.0.00M.08");
    assert_eq!(video.video().map(|info| (info.width, info.height)), Some((320, 180)));
}

#[test]
fn picture_alone_and_sound_alone() {
    let directory = tempfile::tempdir().unwrap();
    let clip = encode(directory.path(), &clips::source(5, "25"), "-map 0:v -c:v libx264 -g 50", "video.flv");
    judge(&clip, &through(&clip), directory.path());
    for codec in ["aac", "libmp3lame -ar 44100"] {
        let directory = tempfile::tempdir().unwrap();
        let clip = encode(directory.path(), &clips::source(7, "25"), &format!("-map 1:a -c:a {codec}"), "audio.flv");
        let window = through(&clip);
        judge(&clip, &window, directory.path());
        assert!(window.video.is_none());
        assert_eq!(window.audio.as_ref().unwrap().segments.len(), 4, "{codec}");
    }
}

/// A publisher that returns with the same encoder settings: the same initialization segment, one playlist that plays through.
#[test]
fn a_publisher_that_returns() {
    let directory = tempfile::tempdir().unwrap();
    let clip = encode(directory.path(), &clips::source(5, "25"), "-c:v libx264 -g 50 -c:a aac", "clip.flv");
    let mut bench = Bench::new();
    bench.publish(&clip);
    bench.now += 3_000_000;
    bench.publish(&clip);
    let window = bench.finish();
    judge::write(&window, directory.path());
    let input = directory.path().join("index.m3u8");
    judge::decodes(&input);
    assert_eq!(judge::times(&input, "v").len(), 2 * clip.count(TrackId::VIDEO));
    assert_eq!(judge::times(&input, "a").len(), 2 * clip.count(TrackId::AUDIO));
    assert_eq!(judge::decoded_frames(&input, "v"), 250);
}

/// A publisher that returns with another picture size: a discontinuity, a new initialization segment and a new period.
#[test]
fn a_publisher_that_returns_with_another_size() {
    let directory = tempfile::tempdir().unwrap();
    let first = encode(directory.path(), &clips::source(5, "25"), "-c:v libx264 -g 50 -c:a aac", "first.flv");
    let codecs = "-vf scale=640:360 -c:v libx264 -g 50 -c:a aac";
    let second = encode(directory.path(), &clips::source(5, "25"), codecs, "second.flv");
    let mut bench = Bench::new();
    bench.publish(&first);
    bench.now += 3_000_000;
    bench.publish(&second);
    let window = bench.finish();
    let (video, audio) = (window.video.as_ref().unwrap(), window.audio.as_ref().unwrap());
    assert_eq!((video.inits.len(), audio.inits.len()), (2, 1));
    assert_eq!(video.segments.iter().map(|segment| segment.discontinuity).collect::<Vec<_>>(), [0, 0, 0, 1, 1, 1]);
    assert_eq!(window.periods.len(), 2);
    // ffmpeg's HLS demuxer keeps the first initialization segment, so each stretch is judged by itself.
    for (discontinuity, clip) in [first, second].iter().enumerate() {
        let stretch: Vec<_> = video.segments.iter().filter(|segment| segment.discontinuity == discontinuity as u64).collect();
        let parts = stretch.iter().flat_map(|segment| &segment.parts).flat_map(|part| part.bytes.to_vec());
        let file = directory.path().join("stretch.mp4");
        std::fs::write(&file, stretch[0].init.bytes.iter().copied().chain(parts).collect::<Vec<_>>()).unwrap();
        judge::decodes(&file);
        assert_eq!(judge::times(&file, "v").len(), clip.count(TrackId::VIDEO));
    }
}

/// ffmpeg decodes the frames that stand in for missing sound, and they are silent.
#[test]
fn silence_is_silent() {
    let directory = tempfile::tempdir().unwrap();
    for (name, codec) in [
        ("mono", "aac -ac 1"),
        ("stereo", "aac -ac 2"),
        ("three", "aac -channel_layout 3.0"),
        ("four", "aac -channel_layout 4.0"),
        ("five", "aac -channel_layout 5.0"),
        ("six", "aac -channel_layout 5.1"),
        ("mp3", "libmp3lame -ar 44100"),
    ] {
        let directory = tempfile::tempdir_in(directory.path()).unwrap();
        let mut clip = encode(directory.path(), &clips::source(6, "25"), &format!("-c:v libx264 -g 50 -c:a {codec}"), "clip.flv");
        let (whole, hole) = (clip.count(TrackId::AUDIO), 1_500_000..4_500_000);
        clip.frames.retain(|frame| frame.track == TrackId::VIDEO || !hole.contains(&frame.dts));
        let window = through(&clip);
        judge::write(&window, directory.path());
        let audio = directory.path().join("audio.mp4");
        judge::decodes(&audio);
        let there = judge::times(&audio, "a").len();
        assert!(there.abs_diff(whole) <= 1, "{name}: {there} of {whole} frames");
        let loudness = judge::loudness(&audio, 2.0, 2.0);
        assert!(loudness < -80.0, "{name}: {loudness} dB where silence is expected");
        assert!(judge::loudness(&audio, 0.2, 1.0) > -40.0, "{name}: the tone is heard before");
    }
}
