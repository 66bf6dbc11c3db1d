//! What tests with real clients share: clips made by ffmpeg, packets as ffprobe sees them, and frames in a stream.
#![allow(dead_code, reason = "each test binary uses a part")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use bytes::Bytes;
use flyloft_media::flv::{Demuxer, FlvEvent, Media};
use flyloft_media::hub::{Entry, From, Publisher, RawFrame, RingLimits, Stream};
use flyloft_media::{AudioInfo, Codec, MediaInfo, MediaKind, Track, TrackId, VideoInfo, WallClock};

/// A directory that goes away with the test.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("flyloft-media-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn path(&self, file: &str) -> PathBuf {
        self.0.join(file)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Runs a program to its end; its output if it succeeded and complained about nothing.
pub fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && complaints.trim().is_empty(), "{program} {arguments:?}: {}\n{complaints}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Three seconds of H.264 with B-frames and AAC.
pub fn clip(path: &Path) {
    let video = "testsrc2=size=320x180:rate=25";
    let audio = "sine=frequency=440:sample_rate=44100";
    let mut arguments = vec!["-v", "error", "-f", "lavfi", "-i", video, "-f", "lavfi", "-i", audio, "-t", "3"];
    arguments.extend(["-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p", "-bf", "2", "-g", "25"]);
    arguments.extend(["-c:a", "aac", "-ac", "2", "-y", text(path)]);
    run("ffmpeg", &arguments);
}

/// A packet as ffprobe sees it, times in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    pub kind: MediaKind,
    pub pts: i64,
    pub dts: i64,
    pub size: usize,
    pub keyframe: bool,
}

pub fn packets(path: &Path) -> Vec<Packet> {
    let entries = "packet=codec_type,pts_time,dts_time,size,flags";
    let listing = run("ffprobe", &["-v", "error", "-show_entries", entries, "-of", "compact=p=0", text(path)]);
    let millis = |text: &str| (text.parse::<f64>().unwrap() * 1000.0).round() as i64;
    listing
        .lines()
        .filter(|line| !line.is_empty())
        .map(|line| {
            let field = |name: &str| {
                let start = format!("{name}=");
                line.split('|').find_map(|part| part.strip_prefix(&start)).unwrap_or_else(|| panic!("{name} in {line}"))
            };
            Packet {
                kind: if field("codec_type") == "video" { MediaKind::Video } else { MediaKind::Audio },
                pts: millis(field("pts_time")),
                dts: millis(field("dts_time")),
                size: field("size").parse().unwrap(),
                keyframe: field("flags").starts_with('K'),
            }
        })
        .collect()
}

/// The packets of one kind, with times from the first video packet's decode time on.
pub fn rebased(packets: &[Packet], kind: MediaKind) -> Vec<Packet> {
    let origin = packets.iter().find(|packet| packet.kind == MediaKind::Video).unwrap_or(&packets[0]).dts;
    let moved = |packet: &Packet| Packet { pts: packet.pts - origin, dts: packet.dts - origin, ..packet.clone() };
    packets.iter().filter(|packet| packet.kind == kind).map(moved).collect()
}

pub fn packet(frame: &RawFrame) -> Packet {
    Packet {
        kind: if frame.track.0.is_multiple_of(2) { MediaKind::Video } else { MediaKind::Audio },
        pts: (frame.dts + frame.composition_offset) / 1000,
        dts: frame.dts / 1000,
        size: frame.payload.len(),
        keyframe: frame.keyframe,
    }
}

pub fn demux(bytes: &[u8]) -> Vec<FlvEvent> {
    let mut demuxer = Demuxer::new();
    demuxer.handle_input(bytes).unwrap();
    std::iter::from_fn(|| demuxer.poll_event()).collect()
}

pub fn media(events: &[FlvEvent]) -> Vec<Media> {
    events
        .iter()
        .filter_map(|event| match event {
            FlvEvent::Media(media) => Some(media.clone()),
            _ => None,
        })
        .collect()
}

/// A track as outputs need it: what a decoder would read out of the configuration is made up.
pub fn track(id: TrackId, codec: Codec, config: Bytes) -> Track {
    let info = match codec.kind() {
        MediaKind::Video => {
            MediaInfo::Video(VideoInfo { width: 320, height: 180, frame_rate: Some((25, 1)), nal_length_size: 4 })
        }
        MediaKind::Audio => MediaInfo::Audio(AudioInfo { sample_rate: 44_100, channels: 2, samples_per_frame: Some(1024) }),
    };
    Track { id, codec, config, info, codecs: String::new() }
}

pub fn apply(publisher: &mut Publisher, media: Media) {
    match media {
        Media::Track { id, codec, config } => {
            publisher.set_track(track(id, codec, config));
        }
        Media::Frame(frame) => {
            let now = WallClock::from_unix_micros(frame.dts);
            publisher.push(frame, now).unwrap();
        }
        Media::Unsupported(unsupported) => panic!("{unsupported}"),
    }
}

/// The frames in a stream, as outputs get them.
pub fn entries(media: Vec<Media>) -> Vec<Arc<Entry>> {
    let stream = Stream::new("test", RingLimits::default());
    let mut publisher = stream.publish(WallClock::from_unix_micros(0)).unwrap();
    for media in media {
        apply(&mut publisher, media);
    }
    let mut out = Vec::new();
    stream.read(&mut stream.cursor(From::Oldest), &mut out, usize::MAX);
    out
}
