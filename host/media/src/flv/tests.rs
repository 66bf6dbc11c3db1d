use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::hub::{Entry, From, RawFrame, RingLimits, Stream};
use crate::track::{AudioInfo, Codec, MediaInfo, MediaKind, Track, TrackId, VideoInfo};
use crate::{Timestamp, WallClock};

/// A file that ffmpeg 9 made, and what ffmpeg itself reads from it.
struct Golden {
    name: &'static str,
    hex: &'static str,
    listing: &'static str,
    /// In the order of ffmpeg's streams.
    tracks: &'static [(TrackId, Codec)],
}

macro_rules! golden {
    ($name:literal, $tracks:expr) => {
        Golden {
            name: $name,
            hex: include_str!(concat!("golden/", $name, ".hex")),
            listing: include_str!(concat!("golden/", $name, ".framecrc")),
            tracks: &$tracks,
        }
    };
}

const GOLDEN: [Golden; 4] = [
    golden!("hevc_aac", [(TrackId::VIDEO, Codec::Hevc), (TrackId::AUDIO, Codec::Aac)]),
    golden!("av1_opus", [(TrackId::VIDEO, Codec::Av1), (TrackId::AUDIO, Codec::Opus)]),
    golden!("h264_mp3", [(TrackId::VIDEO, Codec::H264), (TrackId::AUDIO, Codec::Mp3)]),
    golden!(
        "multitrack",
        [(TrackId(0), Codec::H264), (TrackId(2), Codec::H264), (TrackId(1), Codec::Aac), (TrackId(3), Codec::Opus)]
    ),
];

impl Golden {
    fn bytes(&self) -> Vec<u8> {
        let digits: Vec<u8> = self.hex.chars().filter_map(|c| c.to_digit(16)).map(|digit| digit as u8).collect();
        digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
    }
}

/// As FFmpeg computes it, from 0.
fn adler32(bytes: &[u8]) -> u32 {
    let (a, b) = bytes.iter().fold((0, 0), |(a, b), &byte| {
        let a = (a + u32::from(byte)) % 65_521;
        (a, (b + a) % 65_521)
    });
    b << 16 | a
}

fn demux<'a>(chunks: impl Iterator<Item = &'a [u8]>) -> Result<Vec<FlvEvent>, FlvError> {
    let mut demuxer = Demuxer::new();
    let mut events = Vec::new();
    for chunk in chunks {
        demuxer.handle_input(chunk)?;
        events.extend(std::iter::from_fn(|| demuxer.poll_event()));
    }
    Ok(events)
}

fn media(events: Vec<FlvEvent>) -> Vec<Media> {
    events.into_iter().filter_map(|event| if let FlvEvent::Media(media) = event { Some(media) } else { None }).collect()
}

#[test]
fn files_of_ffmpeg_are_read_as_ffmpeg_reads_them() {
    for golden in &GOLDEN {
        let name = golden.name;
        let media = media(demux([&golden.bytes()[..]].into_iter()).unwrap());
        let stream = |id| golden.tracks.iter().position(|(track, _)| *track == id).unwrap();
        let mut listed: Vec<_> = golden.listing.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect();
        let mut read = Vec::new();
        for media in media {
            match media {
                Media::Track { id, codec, config } => {
                    assert!(golden.tracks.contains(&(id, codec)), "{name}: {id:?} {codec}");
                    let extradata = if codec == Codec::Opus { audio::opus_head(&config).unwrap() } else { config.to_vec() };
                    let line = format!("#extradata {}: {:8}, {:#010x}", stream(id), extradata.len(), adler32(&extradata));
                    assert!(extradata.is_empty() || golden.listing.contains(&line), "{name}: {line}");
                }
                Media::Frame(frame) => {
                    let (dts, pts) = (frame.dts / 1000, (frame.dts + frame.composition_offset) / 1000);
                    let flags = if frame.keyframe { "" } else { ", F=0x0" };
                    // FFmpeg's packets of AV1 have the temporal delimiter, which frames do without.
                    let is_av1 = golden.tracks.contains(&(frame.track, Codec::Av1));
                    let payload = [if is_av1 { &[0x12, 0][..] } else { &[] }, &frame.payload].concat();
                    let (size, sum) = (payload.len(), adler32(&payload));
                    read.push(format!("{}, {dts}, {pts}, {size}, {sum:#010x}{flags}", stream(frame.track)));
                }
                Media::Unsupported(unsupported) => panic!("{name}: {unsupported}"),
            }
        }
        // Without blanks and duration; ffmpeg sorts what has the same time in its own way.
        for line in &mut listed {
            let fields: Vec<_> = line.split(',').map(str::trim).collect();
            *line = [&fields[..3], &fields[4..]].concat().join(", ");
        }
        listed.sort();
        read.sort();
        assert_eq!(read, listed, "{name}");
    }
}

#[test]
fn any_split_of_a_file_gives_the_same_events() {
    for golden in &GOLDEN {
        let bytes = golden.bytes();
        let expected = demux([&bytes[..]].into_iter()).unwrap();
        for size in [1, 2, 3, 10, 1000] {
            assert!(demux(bytes.chunks(size)).unwrap() == expected, "{} by {size}", golden.name);
        }
        // The headers, metadata, configurations and the first frame, cut once at every byte.
        for at in 0..bytes.len().min(1500) {
            let (before, after) = bytes.split_at(at);
            assert!(demux([before, after].into_iter()).unwrap() == expected, "{} cut at {at}", golden.name);
        }
    }
}

fn track(id: TrackId, codec: Codec, config: Bytes) -> Track {
    let info = match codec.kind() {
        MediaKind::Video => {
            MediaInfo::Video(VideoInfo { width: 64, height: 48, frame_rate: Some((30_000, 1001)), nal_length_size: 4 })
        }
        MediaKind::Audio => MediaInfo::Audio(AudioInfo { sample_rate: 44_100, channels: 2, samples_per_frame: None }),
    };
    Track { id, codec, config, info, codecs: String::new() }
}

fn entries(media: &[Media]) -> Vec<Arc<Entry>> {
    let stream = Stream::new("test", RingLimits::default());
    let mut publisher = stream.publish(WallClock::default()).unwrap();
    for media in media {
        match media.clone() {
            Media::Track { id, codec, config } => _ = publisher.set_track(track(id, codec, config)),
            Media::Frame(frame) => {
                let now = WallClock::from_unix_micros(frame.dts);
                publisher.push(frame, now).unwrap();
            }
            Media::Unsupported(unsupported) => panic!("{unsupported}"),
        }
    }
    let mut out = Vec::new();
    let mut cursor = stream.cursor(From::Oldest);
    cursor.advance_to(0);
    stream.read(&mut cursor, &mut out, usize::MAX);
    out
}

/// What a viewer of all entries gets.
fn written(entries: &[Arc<Entry>]) -> Vec<u8> {
    let last = entries.last().unwrap();
    let mut out = [file_header(&last.tracks), header(last).clone()].concat();
    for entry in entries {
        out.extend_from_slice(tag(entry));
    }
    out
}

#[test]
fn what_is_written_is_read_again() {
    for golden in &GOLDEN {
        let source = media(demux([&golden.bytes()[..]].into_iter()).unwrap());
        let entries = entries(&source);
        let events = demux([&written(&entries)[..]].into_iter()).unwrap();
        assert_eq!(events[0], FlvEvent::Header { has_audio: true, has_video: true });
        let FlvEvent::Metadata(metadata) = &events[1] else { panic!("{:?}", events[1]) };
        assert_eq!(metadata.get("width"), Some(&64.0.into()));
        let first = |id: TrackId| id == TrackId::VIDEO || id == TrackId::AUDIO;
        let configs = |media: &[Media]| {
            let mut configs: Vec<_> = media
                .iter()
                .filter_map(|media| match media {
                    Media::Track { id, codec, config } if first(*id) => Some((*id, *codec, config.clone())),
                    _ => None,
                })
                .collect();
            configs.sort_by_key(|(id, ..)| *id);
            configs
        };
        // The hub counts from another origin, and keeps what lies between the frames.
        let frames = |frames: Vec<(TrackId, i64, i64, bool, Bytes)>| {
            let origin = frames[0].1;
            let moved =
                frames.into_iter().map(move |(id, dts, offset, keyframe, payload)| (id, dts - origin, offset, keyframe, payload));
            moved.collect::<Vec<_>>()
        };
        let of_media = |media: &[Media]| {
            let fields = |frame: &RawFrame| {
                (frame.track, frame.dts / 1000, frame.composition_offset / 1000, frame.keyframe, frame.payload.clone())
            };
            let list = media.iter().filter_map(|media| match media {
                Media::Frame(frame) if first(frame.track) => Some(fields(frame)),
                _ => None,
            });
            frames(list.collect())
        };
        let again = media(events);
        assert_eq!(configs(&again), configs(&source), "{}", golden.name);
        assert!(of_media(&again) == of_media(&source), "{}", golden.name);
    }
}

fn one(codec: Codec, dts: Timestamp, composition_offset: i64, keyframe: bool) -> Arc<Entry> {
    let id = if codec.kind() == MediaKind::Video { TrackId::VIDEO } else { TrackId::AUDIO };
    let config = Bytes::from_static(if codec == Codec::Opus { &[0, 2, 1, 2, 0, 0, 0xbb, 0x80, 0, 3, 0] } else { b"conf" });
    let media = [
        Media::Track { id, codec, config: if codec == Codec::Mp3 { Bytes::new() } else { config } },
        Media::Frame(RawFrame {
            track: id,
            dts: 0,
            composition_offset,
            wrap: None,
            keyframe,
            payload: Bytes::from_static(b"data"),
        }),
    ];
    let mut entry = Arc::into_inner(entries(&media).remove(0)).unwrap();
    entry.frame.pts = dts.offset(entry.frame.composition_offset());
    entry.frame.dts = dts;
    Arc::new(entry)
}

#[test]
fn tags_and_their_fields() {
    let at = Timestamp::from_millis(0x0102_0304);
    let body = |codec, offset, keyframe| tag(&one(codec, at, offset, keyframe))[11..].to_vec();
    let trailed = |body: &[u8]| [body, b"data", &(11 + body.len() as u32 + 4).to_be_bytes()].concat();
    assert_eq!(tag(&one(Codec::H264, at, 0, true))[..11], [9, 0, 0, 9, 2, 3, 4, 1, 0, 0, 0]);
    assert_eq!(body(Codec::H264, 80_000, true), trailed(&[0x17, 1, 0, 0, 80]));
    assert_eq!(body(Codec::H264, 0, false), trailed(&[0x27, 1, 0, 0, 0]));
    assert_eq!(body(Codec::Hevc, 80_000, true), trailed(b"\x91hvc1\0\0\x50"));
    assert_eq!(body(Codec::Hevc, 0, false), trailed(b"\xa3hvc1"));
    assert_eq!(body(Codec::Av1, 0, true), trailed(b"\x91av01"));
    assert_eq!(body(Codec::Aac, 0, true), trailed(&[0xaf, 1]));
    assert_eq!(body(Codec::Mp3, 0, true), trailed(&[0x2f]));
    assert_eq!(body(Codec::Opus, 0, true), trailed(b"\x91Opus"));
    let wrapped = one(Codec::Aac, Timestamp::from_millis((1 << 32) + 5), 0, true);
    assert_eq!(tag(&wrapped)[4..8], [0, 0, 5, 0]);
}

#[test]
fn composition_times_add_up_to_the_presentation_time() {
    // 40.9 ms after 0.9 ms is 41 ms after 0 ms for those who count in milliseconds.
    let entry = one(Codec::H264, Timestamp::from_micros(900), 40_300, true);
    assert_eq!(tag(&entry)[13..16], [0, 0, 41]);
    let entry = one(Codec::H264, Timestamp::from_micros(0), i64::MAX, true);
    assert_eq!(tag(&entry)[13..16], [0x7f, 0xff, 0xff]);
}

#[test]
fn headers_describe_the_tracks() {
    let read = |codec| {
        let entry = one(codec, Timestamp::from_millis(7), 0, true);
        let tags = tags(header(&entry)).collect::<Vec<_>>();
        assert!(tags[1..].iter().all(|tag| tag.timestamp == 7));
        assert_eq!(tags[0].timestamp, 0);
        let values = amf0::read(&tags[0].body).unwrap();
        (Metadata::from_values(&values).unwrap(), tags.get(1).map(|tag| tag.body.to_vec()), file_header(&entry.tracks))
    };
    let (metadata, sequence, file) = read(Codec::Hevc);
    assert_eq!(metadata.get("videocodecid"), Some(&f64::from(0x6876_6331).into()));
    assert_eq!(metadata.get("framerate"), Some(&(30_000.0 / 1001.0).into()));
    assert_eq!(metadata.get("audiocodecid"), None);
    assert_eq!(sequence.as_deref(), Some(&b"\x90hvc1conf"[..]));
    assert_eq!(file[..], [b'F', b'L', b'V', 1, 1, 0, 0, 0, 9, 0, 0, 0, 0]);
    let (metadata, sequence, file) = read(Codec::Opus);
    assert_eq!(metadata.get("stereo"), Some(&true.into()));
    assert_eq!(sequence.as_deref(), Some(&b"\x90OpusOpusHead\x01\x02\x02\x01\x80\xbb\0\0\x03\0\0"[..]));
    assert_eq!(file[4], 4);
    let (metadata, sequence, _) = read(Codec::Mp3);
    assert_eq!((metadata.get("audiocodecid"), sequence), (Some(&2.0.into()), None));
}

#[test]
fn further_tracks_have_no_tags() {
    let source = media(demux([&GOLDEN[3].bytes()[..]].into_iter()).unwrap());
    let entries = entries(&source);
    let (carried, others): (Vec<_>, Vec<_>) = entries.iter().partition(|entry| entry.frame.track.0 < 2);
    assert!(!others.is_empty() && others.iter().all(|entry| tag(entry).is_empty()));
    assert!(carried.iter().all(|entry| !tag(entry).is_empty()));
}

/// What a reader makes of the bodies, in short.
fn read_bodies(bodies: &[(u8, &[u8])]) -> Vec<String> {
    let mut reader = TagReader::default();
    let mut out = Vec::new();
    let mut push = |media| {
        out.push(match media {
            Media::Track { id, codec, config } => format!("{} {codec} {}", id.0, config.escape_ascii()),
            Media::Frame(frame) => {
                let key = if frame.keyframe { " key" } else { "" };
                format!("{} +{}{key} {}", frame.track.0, frame.composition_offset / 1000, frame.payload.escape_ascii())
            }
            Media::Unsupported(unsupported) => unsupported.to_string(),
        });
    };
    for (kind, body) in bodies {
        let body = Bytes::copy_from_slice(body);
        match *kind {
            kind::VIDEO => reader.video(0, &body, &mut push),
            _ => reader.audio(0, &body, &mut push),
        }
    }
    out
}

fn video(bodies: &[&[u8]]) -> Vec<String> {
    read_bodies(&bodies.iter().map(|body| (kind::VIDEO, *body)).collect::<Vec<_>>())
}

fn audio_of(bodies: &[&[u8]]) -> Vec<String> {
    read_bodies(&bodies.iter().map(|body| (kind::AUDIO, *body)).collect::<Vec<_>>())
}

#[test]
fn legacy_video() {
    let start: &[u8] = b"\x17\0\0\0\0C";
    assert_eq!(video(&[start, b"\x17\x01\0\0\x28K", b"\x27\x01\xff\xff\xf6P"]), ["0 H.264 C", "0 +40 key K", "0 +-10 P"]);
    assert_eq!(video(&[start, b"\x37\x01\0\0\0D", b"\x47\x01\0\0\0G"]), ["0 H.264 C", "0 +0 D", "0 +0 key G"]);
    assert_eq!(video(&[b"\x1c\0\0\0\0C", b"\x1c\x01\0\0\x28K"]), ["0 HEVC C", "0 +40 key K"]);
    let nothing: [&[u8]; 8] =
        [b"", b"\x17", b"\x17\x01", b"\x17\x01\0\0", b"\x17\x01\0\0\0", b"\x17\x02\0\0\0", b"\x57\0", b"\x17\0\0\0\0"];
    assert_eq!(video(&nothing), [""; 0]);
    assert_eq!(video(&[b"\x17\x01\0\0\0K"]), [""; 0], "no picture before its configuration");
}

#[test]
fn enhanced_video() {
    assert_eq!(video(&[b"\x90hvc1C", b"\x91hvc1\0\0\x28K", b"\xa3hvc1P"]), ["0 HEVC C", "0 +40 key K", "0 +0 P"]);
    assert_eq!(video(&[b"\x90avc1C", b"\x91avc1\0\0\x28K", b"\x92avc1"]), ["0 H.264 C", "0 +40 key K"]);
    assert_eq!(video(&[b"\x90av01C", b"\x91av01\x12\0K", b"\xa1av01P"]), ["0 AV1 C", "0 +0 key K", "0 +0 P"]);
    let nothing: [&[u8]; 6] = [b"\x90", b"\x90hvc", b"\x90hvc1", b"\x94hvc1meta", b"\x91hvc1\0\0", b"\xd1hvc1\0"];
    assert_eq!(video(&nothing), [""; 0]);
}

#[test]
fn modifiers_are_passed_over() {
    // Three bytes of nanoseconds; then 256 bytes whose size takes two more bytes.
    assert_eq!(video(&[b"\x97\x02\0\0\x05\x00hvc1C"]), ["0 HEVC C"]);
    let long = [&b"\x97\xff\0\xff"[..], &[0; 256], b"\x00hvc1C"].concat();
    assert_eq!(video(&[&long]), ["0 HEVC C"]);
    assert_eq!(video(&[b"\x97\x02\0\0\x05\x07\x00x\x00hvc1C"]), ["0 HEVC C"]);
    assert_eq!(video(&[b"\x97", b"\x97\x05\0", b"\x97\xff\xff\xff"]), [""; 0]);
    assert_eq!(audio_of(&[b"\x97\x02\0\0\x05\x00mp4aC"]), ["1 AAC C"]);
}

#[test]
fn many_tracks_in_one_tag() {
    assert_eq!(video(&[b"\x96\x00hvc1\x03C"]), ["6 HEVC C"]);
    assert_eq!(video(&[b"\x96\x10hvc1\x00\0\0\x01A\x01\0\0\x02BB"]), ["0 HEVC A", "2 HEVC BB"]);
    assert_eq!(video(&[b"\x96\x20hvc1\x00\0\0\x01Aav01\x01\0\0\x01B"]), ["0 HEVC A", "2 AV1 B"]);
    assert_eq!(audio_of(&[b"\x95\x20mp4a\x00\0\0\x01A.mp3\x01\0\0\x01B"]), ["1 AAC A"], "MP3 has no configuration");
    assert_eq!(audio_of(&[b"\x95\x01.mp3\x01B"]), ["3 MP3 ", "3 +0 key B"]);
    assert_eq!(video(&[b"\x96\x10hvc1\x00\0\0\x01A\x01\0\0\x09BB"]), ["0 HEVC A"], "what is whole");
    assert_eq!(video(&[b"\x96\x00hvc1\x80C", b"\x96", b"\x96\x00hv", b"\x96\x00hvc1"]), [""; 0]);
}

#[test]
fn legacy_and_enhanced_audio() {
    assert_eq!(audio_of(&[b"\xaf\x00\x12\x10", b"\xaf\x01F"]), ["1 AAC \\x12\\x10", "1 +0 key F"]);
    assert_eq!(audio_of(&[b"\x2fF", b"\xe2G"]), ["1 MP3 ", "1 +0 key F", "1 +0 key G"]);
    assert_eq!(audio_of(&[b"\x90mp4aC", b"\x91mp4aF", b"\x92mp4a", b"\x94mp4a\0\x02"]), ["1 AAC C", "1 +0 key F"]);
    let head = b"\x90OpusOpusHead\x01\x02\x38\x01\x80\xbb\0\0\0\0\0";
    let config = "1 Opus \\x00\\x02\\x018\\x00\\x00\\xbb\\x80\\x00\\x00\\x00";
    assert_eq!(audio_of(&[head, b"\x91OpusF"]), [config, "1 +0 key F"]);
    let implied = "1 Opus \\x00\\x02\\x00\\x00\\x00\\x00\\xbb\\x80\\x00\\x00\\x00";
    assert_eq!(audio_of(&[b"\x91OpusF"]), [implied, "1 +0 key F"]);
    let nothing: [&[u8]; 7] = [b"", b"\xaf", b"\xaf\x00", b"\xaf\x01", b"\x2f", b"\x90OpusOpusHead\x01", b"\xaf\x01F"];
    assert_eq!(audio_of(&nothing), [""; 0]);
}

#[test]
fn opus_with_a_channel_mapping_goes_both_ways() {
    let head = b"OpusHead\x01\x06\x38\x01\x80\xbb\0\0\xfe\xff\x01\x04\x02\0\x04\x01\x02\x03\x05";
    let bodies = [&b"\x90Opus"[..], head].concat();
    let mut config = None;
    TagReader::default().audio(0, &bodies.into(), |media| {
        if let Media::Track { config: c, .. } = media {
            config = Some(c)
        }
    });
    let config = config.unwrap();
    assert_eq!(config[..11], [0, 6, 1, 0x38, 0, 0, 0xbb, 0x80, 0xff, 0xfe, 1]);
    assert_eq!(audio::opus_head(&config).unwrap(), head);
    assert_eq!(audio::opus_head(&config[..12]), None);
}

#[test]
fn what_is_not_supported_is_named_once() {
    let message = |codec: &str, track: u8| {
        format!("track {track} is coded as {codec}, which is not supported: send H.264, HEVC or AV1 with AAC, Opus or MP3")
    };
    assert_eq!(video(&[b"\x14\0\0", b"\x24\0\0", b"\x90vp09\0"]), [message("VP6", 0)]);
    assert_eq!(video(&[b"\x90vp\xff9\0"]), [message("vp\\xff9", 0)]);
    assert_eq!(audio_of(&[b"\xb2\0\0", b"\xb2\0\0", b"\xb0"]), [message("Speex", 1)]);
    assert_eq!(audio_of(&[b"\x90fLaC\0"]), [message("fLaC", 1)]);
    // A codec that changes is another track state: it may become supported and back.
    let changing = video(&[b"\x14\0\0", b"\x90hvc1C", b"\x24\0\0", b"\x91hvc1\0\0\0K"]);
    assert_eq!(changing, [message("VP6", 0), "0 HEVC C".into(), message("VP6", 0)]);
}

#[test]
fn files_that_are_damaged() {
    let at_once = |bytes: &[u8]| demux([bytes].into_iter());
    assert_eq!(at_once(b"RIFFxxxxx"), Err(FlvError::Signature));
    assert_eq!(at_once(b"FLV\x01\x05\0\0\0\x08"), Err(FlvError::Offset { offset: 8 }));
    assert_eq!(at_once(b"FLV\x01\x05\xff\0\0\0"), Err(FlvError::Offset { offset: 0xff00_0000 }));
    let long = [&b"FLV\x01\x05\0\0\0\x0bxx\0\0\0\0"[..], b"\x09\xff\xff\xff\0\0\0\0\0\0\0"].concat();
    assert_eq!(at_once(&long), Err(FlvError::Length { at: 15, length: 0xff_ffff }));
    let mut demuxer = Demuxer::new();
    demuxer.handle_input(b"RIFFxxxxx").unwrap_err();
    assert_eq!(demuxer.handle_input(b"FLV"), Err(FlvError::Signature), "it stays over");
    // Encrypted tags and unknown kinds are passed over; metadata that can't be read too.
    let odd = [
        &b"FLV\x01\x05\0\0\0\x09\0\0\0\0"[..],
        b"\x29\0\0\x01\0\0\0\0\0\0\0\x17\0\0\0\x0c",
        b"\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\x0b",
    ];
    let odd = [&odd.concat()[..], b"\x12\0\0\x02\0\0\0\0\0\0\0\x02\xff\0\0\0\x0d"].concat();
    assert_eq!(at_once(&odd).unwrap().len(), 1);
}

proptest! {
    #[test]
    fn any_body_is_read(bodies in proptest::collection::vec((prop::bool::ANY, body()), 0..20)) {
        let mut reader = TagReader::default();
        let mut configured = std::collections::BTreeSet::new();
        for (is_video, body) in bodies {
            let body = Bytes::from(body);
            let mut frames = Vec::new();
            let push = |media| frames.push(media);
            if is_video { reader.video(0, &body, push) } else { reader.audio(0, &body, push) }
            for media in frames {
                match media {
                    Media::Track { id, codec, .. } => {
                        prop_assert_eq!(id.0 % 2 == 0, codec.kind() == MediaKind::Video);
                        configured.insert(id);
                    }
                    Media::Frame(frame) => {
                        prop_assert!(configured.contains(&frame.track));
                        prop_assert!(!frame.payload.is_empty() && frame.payload.len() < body.len());
                    }
                    Media::Unsupported(_) => {}
                }
            }
        }
    }

    #[test]
    fn damaged_files_end_in_events_or_an_error(
        which in 0..GOLDEN.len(),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
        size in 1_usize..5000,
    ) {
        let mut bytes = GOLDEN[which].bytes();
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let whole = demux([&bytes[..]].into_iter());
        let split = demux(bytes.chunks(size));
        prop_assert!(whole == split);
    }
}

/// Bytes that get far.
fn body() -> impl Strategy<Value = Vec<u8>> {
    let first =
        prop_oneof![Just(0x17_u8), Just(0x27), Just(0x1c), Just(0xaf), Just(0x2f), (0x90_u8..0x98), (0xa0_u8..0xa8), any::<u8>()];
    let four_cc = prop::sample::select(vec![&b"hvc1"[..], b"av01", b"avc1", b"Opus", b"mp4a", b".mp3", b"", b"\0"]);
    let rest = proptest::collection::vec(prop_oneof![0_u8..4, any::<u8>()], 0..40);
    (first, proptest::collection::vec(0_u8..3, 0..2), four_cc, rest)
        .prop_map(|(first, types, four_cc, rest)| [&[first][..], &types, four_cc, &rest].concat())
}
