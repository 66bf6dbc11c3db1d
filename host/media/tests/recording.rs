//! Recordings of real encoders' streams, judged by ffmpeg: every packet is there, at its time, in the file, HLS and DASH.
#![allow(clippy::unwrap_used)]

#[path = "support/mod.rs"]
mod support;

use std::io;
use std::path::Path;
use std::sync::Arc;

use flyloft_media::flv::Media;
use flyloft_media::hub::{Cursor, Entry, From, RawFrame, Read, RingLimits, Stream};
use flyloft_media::recording::{Finished, Index, Muxer, Output, Sink, Source, TAIL, dash, finish, hls};
use flyloft_media::{MediaKind, TrackId, WallClock};
use support::{Packet, Scratch, apply, clip, demux, media, packets, rebased, run, text};

struct Memory(Vec<u8>);

impl Source for Memory {
    fn size(&self) -> u64 {
        self.0.len() as u64
    }

    fn read(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let from = offset as usize;
        let bytes = self.0.get(from..from + buffer.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(bytes);
        Ok(())
    }
}

impl Sink for Memory {
    fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let end = offset as usize + bytes.len();
        if self.0.len() < end {
            self.0.resize(end, 0);
        }
        self.0[offset as usize..end].copy_from_slice(bytes);
        Ok(())
    }
}

/// A stream with a recorder behind it, on a clock of its own.
struct Rig {
    stream: Arc<Stream>,
    cursor: Cursor,
    muxer: Muxer,
    now: i64,
    parts: Vec<Vec<u8>>,
    /// Sizes that the last part had in between.
    whole: Vec<usize>,
}

impl Rig {
    fn new() -> Self {
        let stream = Stream::new("test", RingLimits::default());
        let cursor = stream.cursor(From::Oldest);
        Self { stream, cursor, muxer: Muxer::default(), now: 1_790_000_000_000_000, parts: Vec::new(), whole: Vec::new() }
    }

    fn publish(&mut self, flv: &Path) {
        self.feed(media(&demux(&std::fs::read(flv).unwrap())));
    }

    fn feed(&mut self, all: Vec<Media>) {
        let mut publisher = self.stream.publish(WallClock::from_unix_micros(self.now)).unwrap();
        for media in all {
            apply(&mut publisher, media);
            let mut entries: Vec<Arc<Entry>> = Vec::new();
            while let Read::Entries(_) = self.stream.read(&mut self.cursor, &mut entries, 64) {}
            let mut out = Vec::new();
            entries.iter().for_each(|entry| self.muxer.push(entry, &mut out));
            self.keep(out);
        }
    }

    fn keep(&mut self, outputs: Vec<Output>) {
        for output in outputs {
            match output {
                Output::Part(bytes) => {
                    self.parts.push(bytes.to_vec());
                    self.whole.clear();
                }
                Output::Fragment(fragment) => {
                    let part = self.parts.last_mut().unwrap();
                    fragment.chunks.iter().for_each(|chunk| part.extend_from_slice(chunk));
                }
            }
            self.whole.push(self.parts.last().unwrap().len());
        }
    }

    fn flush(&mut self) {
        let mut out = Vec::new();
        self.muxer.flush(&mut out);
        self.keep(out);
    }

    fn end(mut self) -> Vec<Vec<u8>> {
        self.flush();
        self.parts
    }
}

fn finished(parts: &[Vec<u8>]) -> (Vec<u8>, Finished) {
    let parts: Vec<Box<dyn Source>> = parts.iter().map(|part| Box::new(Memory(part.clone())) as Box<dyn Source>).collect();
    let mut sink = Memory(Vec::new());
    let finished = finish(parts, &mut sink).unwrap();
    assert_eq!(sink.0.len() as u64, finished.bytes);
    (sink.0, finished)
}

fn index(file: &[u8]) -> Index {
    let tail: [u8; TAIL as usize] = *file.last_chunk().unwrap();
    let length = Index::length(tail, file.len() as u64).unwrap() as usize;
    Index::decode(&file[file.len() - length..], file.len() as u64).unwrap()
}

/// Everything that a server would answer, as files.
fn lay_out(file: &[u8], directory: &Path) {
    let index = index(file);
    std::fs::create_dir_all(directory.join("stamp")).unwrap();
    std::fs::write(directory.join("index.m3u8"), hls::multivariant(&index, "")).unwrap();
    std::fs::write(directory.join("manifest.mpd"), dash::mpd(&index, "stamp")).unwrap();
    for kind in [MediaKind::Video, MediaKind::Audio] {
        let name = hls::name(kind);
        let Some(playlist) = hls::media(&index, kind, "stamp") else { continue };
        std::fs::write(directory.join(format!("{name}.m3u8")), playlist).unwrap();
        for (number, period) in index.periods.iter().enumerate() {
            let Some(init) = period.init(kind) else { continue };
            std::fs::write(directory.join(format!("stamp/{name}-init-{number}.mp4")), init).unwrap();
        }
        for (number, (_, span)) in index.spans(kind).enumerate() {
            let bytes = &file[span.offset as usize..][..span.size as usize];
            std::fs::write(directory.join(format!("stamp/{name}-{number}.m4s")), bytes).unwrap();
        }
    }
}

/// Checksums of all decoded frames.
fn decoded(input: &Path, kind: &str) -> Vec<String> {
    let arguments = ["-v", "error", "-i", text(input), "-map", kind, "-fps_mode", "passthrough", "-f", "framemd5", "-"];
    let listing = run("ffmpeg", &arguments);
    listing.lines().filter(|line| !line.starts_with('#')).map(|line| line.rsplit(',').next().unwrap().trim().to_owned()).collect()
}

fn assert_close(found: &[Packet], expected: &[Packet]) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert_eq!((found.size, found.keyframe), (expected.size, expected.keyframe));
        // FLV has whole milliseconds.
        assert!((found.pts - expected.pts).abs() <= 2, "{found:?} {expected:?}");
    }
}

fn flv(scratch: &Scratch) -> std::path::PathBuf {
    let (mp4, flv) = (scratch.path("clip.mp4"), scratch.path("clip.flv"));
    clip(&mp4);
    run("ffmpeg", &["-v", "error", "-i", text(&mp4), "-c", "copy", "-flvflags", "no_duration_filesize", "-y", text(&flv)]);
    flv
}

#[test]
fn what_was_pushed_is_what_is_kept() {
    let scratch = Scratch::new("recording-equal");
    let flv = flv(&scratch);
    let mut rig = Rig::new();
    rig.publish(&flv);
    let parts = rig.end();
    assert_eq!(parts.len(), 1);
    let part = scratch.path("part.mp4");
    std::fs::write(&part, &parts[0]).unwrap();
    let (bytes, finished) = finished(&parts);
    let file = scratch.path("post.mp4");
    std::fs::write(&file, &bytes).unwrap();
    let source = packets(&flv);
    for kind in [MediaKind::Video, MediaKind::Audio] {
        assert_close(&rebased(&packets(&file), kind), &rebased(&source, kind));
    }
    for kind in ["0:v", "0:a"] {
        let expected = decoded(&flv, kind);
        assert_eq!(decoded(&file, kind), expected, "{kind}");
        assert_eq!(decoded(&part, kind), expected, "{kind} of the part itself");
    }
    assert!((finished.duration - 3_000_000).abs() < 100_000, "{finished:?}");
    assert_eq!((finished.size, finished.torn.len()), (Some((320, 180)), 0));
    let duration = run("ffprobe", &["-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0", text(&file)]);
    assert!((duration.trim().parse::<f64>().unwrap() - 3.0).abs() < 0.1, "{duration}");
    // moov is in front.
    assert_eq!(&bytes[4..8], b"ftyp");
    let ftyp = u32::from_be_bytes(bytes[..4].try_into().unwrap()) as usize;
    assert_eq!(&bytes[ftyp + 4..ftyp + 8], b"moov");

    let directory = scratch.path("web");
    lay_out(&bytes, &directory);
    for manifest in ["index.m3u8", "manifest.mpd"] {
        let manifest = directory.join(manifest);
        for kind in ["0:v", "0:a"] {
            assert_eq!(decoded(&manifest, kind), decoded(&flv, kind), "{kind} of {}", manifest.display());
        }
    }
}

#[test]
fn a_returning_publisher_goes_on_in_the_same_part() {
    let scratch = Scratch::new("recording-return");
    let flv = flv(&scratch);
    let mut rig = Rig::new();
    rig.publish(&flv);
    rig.now += 20_000_000;
    rig.publish(&flv);
    let parts = rig.end();
    assert_eq!(parts.len(), 1);
    let (bytes, finished) = finished(&parts);
    let file = scratch.path("post.mp4");
    std::fs::write(&file, &bytes).unwrap();
    let (once, twice) = (decoded(&flv, "0:v"), decoded(&file, "0:v"));
    assert_eq!(twice, [once.clone(), once].concat());
    assert!((finished.duration - 6_000_000).abs() < 200_000, "the absence is left out: {finished:?}");
    let times: Vec<_> =
        packets(&file).into_iter().filter(|packet| packet.kind == MediaKind::Video).map(|packet| packet.dts).collect();
    assert!(times.windows(2).all(|pair| (1..=120).contains(&(pair[1] - pair[0]))), "{times:?}");
}

#[test]
fn parts_with_other_pictures_become_one_file() {
    let scratch = Scratch::new("recording-parts");
    let flv = flv(&scratch);
    let small = scratch.path("small.flv");
    let source =
        ["-v", "error", "-f", "lavfi", "-i", "testsrc2=size=160x120:rate=25", "-f", "lavfi", "-i", "sine=sample_rate=48000"];
    let codecs = ["-t", "2", "-c:v", "libx264", "-pix_fmt", "yuv420p", "-g", "25", "-c:a", "aac", "-y", text(&small)];
    run("ffmpeg", &[&source[..], &codecs[..]].concat());
    let mut rig = Rig::new();
    rig.publish(&flv);
    rig.publish(&small);
    rig.publish(&flv);
    let parts = rig.end();
    assert_eq!(parts.len(), 3);
    let (bytes, finished) = finished(&parts);
    assert!((finished.duration - 8_000_000).abs() < 300_000, "{finished:?}");
    let index = index(&bytes);
    assert_eq!(index.periods.len(), 3);
    let playlist = hls::media(&index, MediaKind::Video, "stamp").unwrap();
    assert_eq!(playlist.matches("#EXT-X-DISCONTINUITY").count(), 2, "{playlist}");
    assert_eq!(dash::mpd(&index, "stamp").matches("<Period").count(), 3);
    // FFmpeg reads one period of a manifest only, and one initialization segment of a playlist: each stretch is judged by itself.
    let sources = [&flv, &small, &flv].map(|source| decoded(source, "0:v"));
    for (number, source) in sources.iter().enumerate() {
        let mut stretch = index.periods[number].init(MediaKind::Video).unwrap().to_vec();
        for span in index.segments.iter().filter(|segment| segment.period as usize == number).filter_map(|segment| segment.video)
        {
            stretch.extend_from_slice(&bytes[span.offset as usize..][..span.size as usize]);
        }
        let file = scratch.path("stretch.mp4");
        std::fs::write(&file, stretch).unwrap();
        assert_eq!(decoded(&file, "0:v"), *source, "stretch {number}");
    }
    let expected = sources.concat().len();
    let file = scratch.path("post.mp4");
    std::fs::write(&file, &bytes).unwrap();
    assert_eq!(packets(&file).iter().filter(|packet| packet.kind == MediaKind::Video).count(), expected);
}

#[test]
fn a_part_that_is_cut_anywhere_loses_its_last_fragment_only() {
    let scratch = Scratch::new("recording-torn");
    let flv = flv(&scratch);
    let mut rig = Rig::new();
    rig.publish(&flv);
    rig.flush();
    let whole = rig.whole.clone();
    let part = rig.parts.pop().unwrap();
    assert!(whole.len() > 3, "several fragments: {whole:?}");
    let all = decoded(&flv, "0:v");
    for (number, cut) in [(1, whole[2] - 1), (2, whole[2]), (2, whole[2] + 30), (2, whole[3] - 1)] {
        let torn = part[..cut].to_vec();
        let (bytes, made) = finished(&[torn]);
        let file = scratch.path("torn.mp4");
        std::fs::write(&file, &bytes).unwrap();
        let seen = decoded(&file, "0:v");
        assert!(all.starts_with(&seen) && seen.len() >= number * 25 - 1, "cut at {cut}: {} pictures", seen.len());
        assert_eq!(made.torn.is_empty(), cut == whole[2], "{made:?}");
    }
    let nothing = finish(vec![Box::new(Memory(part[..whole[0]].to_vec()))], &mut Memory(Vec::new()));
    assert!(nothing.is_err());
}

#[test]
fn damage_makes_errors_and_no_panic() {
    let scratch = Scratch::new("recording-damage");
    let mut rig = Rig::new();
    rig.publish(&flv(&scratch));
    let part = rig.end().pop().unwrap();
    let mut seed = 7_u64;
    let mut random = |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize % below
    };
    for _ in 0..400 {
        let mut damaged = part.clone();
        for _ in 0..1 + random(8) {
            let at = random(damaged.len().min(6000));
            damaged[at] = [0, 0xff, 0x7f, random(256) as u8][random(4)];
        }
        let mut sink = Memory(Vec::new());
        if let Ok(made) = finish(vec![Box::new(Memory(damaged))], &mut sink) {
            assert!(made.bytes <= part.len() as u64 * 4);
            index(&sink.0);
        }
    }
    let (file, _) = finished(&[part]);
    let good = file.len() - Index::length(*file.last_chunk().unwrap(), file.len() as u64).unwrap() as usize;
    for _ in 0..2000 {
        let mut tail = file[good..].to_vec();
        let at = random(tail.len());
        tail[at] = random(256) as u8;
        let _ = Index::decode(&tail, file.len() as u64);
    }
}

#[test]
fn a_picture_that_stops_does_not_hold_up_the_sound() {
    let scratch = Scratch::new("recording-stops");
    let flv = flv(&scratch);
    let mut rig = Rig::new();
    let all = media(&demux(&std::fs::read(&flv).unwrap()));
    let sounds: Vec<_> = all
        .iter()
        .filter_map(|media| match media {
            Media::Frame(frame) if frame.track == TrackId::AUDIO => Some(frame.clone()),
            _ => None,
        })
        .collect();
    let last = sounds.last().unwrap().clone();
    // Sound goes on for five minutes, and then the picture comes back.
    let more =
        (1..13_000).map(|number| Media::Frame(RawFrame { dts: last.dts + number * 1_024_000_000 / 44_100, ..last.clone() }));
    let later = all.iter().filter_map(|media| match media {
        Media::Frame(frame) => Some(Media::Frame(RawFrame { dts: frame.dts + 310_000_000, ..frame.clone() })),
        _ => None,
    });
    let long: Vec<_> = all.iter().cloned().chain(more).chain(later).collect();
    let sound = long.iter().filter(|media| matches!(media, Media::Frame(frame) if frame.track == TrackId::AUDIO)).count();
    rig.feed(long);
    let (bytes, made) = finished(&rig.end());
    let file = scratch.path("post.mp4");
    std::fs::write(&file, &bytes).unwrap();
    let found = packets(&file);
    assert_eq!(found.iter().filter(|packet| packet.kind == MediaKind::Audio).count(), sound);
    assert_eq!(found.iter().filter(|packet| packet.kind == MediaKind::Video).count(), 150);
    assert!((made.duration - 313_000_000).abs() < 500_000, "{made:?}");
    let index = index(&bytes);
    let longest = index.spans(MediaKind::Audio).map(|(_, span)| span.duration / 44_100).max().unwrap();
    assert!(longest <= 41 && index.spans(MediaKind::Audio).count() > index.spans(MediaKind::Video).count(), "{longest} s");
    assert!(hls::media(&index, MediaKind::Video, "stamp").unwrap().contains("#EXT-X-GAP"));
    // Each picture is where it was beside the sound.
    let times: Vec<_> = found.iter().filter(|packet| packet.kind == MediaKind::Video).map(|packet| packet.dts).collect();
    assert!((times[75] - times[0] - 310_000).abs() <= 2, "{} {}", times[0], times[75]);
}

#[test]
fn sound_alone_is_kept() {
    let scratch = Scratch::new("recording-sound");
    let flv = scratch.path("sound.flv");
    let arguments = ["-v", "error", "-f", "lavfi", "-i", "sine=sample_rate=44100", "-t", "9", "-c:a", "aac", "-y", text(&flv)];
    run("ffmpeg", &arguments);
    let mut rig = Rig::new();
    rig.publish(&flv);
    let (bytes, _) = finished(&rig.end());
    let file = scratch.path("post.mp4");
    std::fs::write(&file, &bytes).unwrap();
    assert_eq!(decoded(&file, "0:a"), decoded(&flv, "0:a"));
    assert_eq!(index(&bytes).segments.len(), 3);
    assert!(index(&bytes).segments.iter().all(|segment| segment.video.is_none()));
    assert_eq!(index(&bytes).periods[0].audio.as_ref().unwrap().id, TrackId::AUDIO);
}
