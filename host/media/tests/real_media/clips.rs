//! Clips made by ffmpeg, taken apart into frames as a publisher would send them.

use std::path::Path;
use std::process::{Command, Stdio};

use bytes::Bytes;
use flyloft_media::hub::RawFrame;
use flyloft_media::{Codec, TrackId, codec};
use mp4_atom::{Header, Moof, ReadAtom, ReadFrom};

/// The tracks of a clip and its frames in the order of the file.
pub struct Clip {
    pub tracks: Vec<(TrackId, Codec, Bytes)>,
    pub frames: Vec<RawFrame>,
}

impl Clip {
    pub fn count(&self, id: TrackId) -> usize {
        self.frames.iter().filter(|frame| frame.track == id).count()
    }

    /// Presentation time of the first frame of a track in microseconds.
    pub fn start(&self, id: TrackId) -> i64 {
        let times = self.frames.iter().filter(|frame| frame.track == id).map(|frame| frame.dts + frame.composition_offset);
        times.min().unwrap()
    }
}

/// Runs ffmpeg with `arguments` and gives what it wrote to `output`, a name without a path.
pub fn ffmpeg(directory: &Path, arguments: &str, output: &str) -> Vec<u8> {
    let path = directory.join(output);
    let made = Command::new("ffmpeg")
        .args(["-hide_banner", "-nostdin", "-v", "error", "-y"])
        .args(arguments.split_whitespace())
        .arg(&path)
        .stderr(Stdio::piped())
        .output()
        .expect("ffmpeg is needed for these tests: install it");
    assert!(made.status.success(), "ffmpeg {arguments}: {}", String::from_utf8_lossy(&made.stderr));
    std::fs::read(path).unwrap()
}

/// Moving pictures and a tone, encoded with `codecs`.
pub fn source(seconds: u32, rate: &str) -> String {
    format!(
        "-f lavfi -i testsrc2=size=320x180:rate={rate}:duration={seconds} -f lavfi -i sine=frequency=440:sample_rate=48000:duration={seconds}"
    )
}

fn be(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |value, &byte| value << 8 | u32::from(byte))
}

/// FLV with H.264 and AAC or MP3, milliseconds as RTMP has them.
pub fn flv(data: &[u8]) -> Clip {
    let mut clip = Clip { tracks: Vec::new(), frames: Vec::new() };
    let mut at = 13;
    while at + 11 <= data.len() {
        let size = be(&data[at + 1..at + 4]) as usize;
        let millis = be(&data[at + 4..at + 7]) | u32::from(data[at + 7]) << 24;
        let body = &data[at + 11..at + 11 + size];
        let frame = |track, composition: i32, keyframe, payload: &[u8]| RawFrame {
            track,
            dts: i64::from(millis) * 1000,
            composition_offset: i64::from(composition) * 1000,
            wrap: None,
            keyframe,
            payload: Bytes::copy_from_slice(payload),
        };
        match (data[at], body) {
            (9, [_, 0, _, _, _, config @ ..]) => {
                clip.tracks.push((TrackId::VIDEO, Codec::H264, Bytes::copy_from_slice(config)));
            }
            (9, [kind, 1, c0, c1, c2, payload @ ..]) => {
                let composition = (be(&[*c0, *c1, *c2]) << 8) as i32 >> 8;
                clip.frames.push(frame(TrackId::VIDEO, composition, kind >> 4 == 1, payload));
            }
            (8, [kind, 0, config @ ..]) if kind >> 4 == 10 => {
                clip.tracks.push((TrackId::AUDIO, Codec::Aac, Bytes::copy_from_slice(config)));
            }
            (8, [kind, 1, payload @ ..]) if kind >> 4 == 10 => clip.frames.push(frame(TrackId::AUDIO, 0, true, payload)),
            (8, [kind, payload @ ..]) if kind >> 4 == 2 => {
                if !clip.tracks.iter().any(|track| track.1 == Codec::Mp3) {
                    clip.tracks.push((TrackId::AUDIO, Codec::Mp3, Bytes::copy_from_slice(payload)));
                }
                clip.frames.push(frame(TrackId::AUDIO, 0, true, payload));
            }
            _ => {}
        }
        at += 11 + size + 4;
    }
    clip
}

/// The content of the first box on `path`.
fn find<'a>(data: &'a [u8], path: &[(&[u8; 4], usize)]) -> Option<&'a [u8]> {
    let Some(((kind, skip), rest)) = path.split_first() else { return Some(data) };
    let mut at = 0;
    while at + 8 <= data.len() {
        let size = be(&data[at..at + 4]) as usize;
        if &data[at + 4..at + 8] == *kind
            && let Some(found) = find(&data[at + 8 + skip..at + size], rest)
        {
            return Some(found);
        }
        at += size;
    }
    None
}

/// Fragmented MP4 as ffmpeg writes it with `empty_moov+default_base_moof`: one video track and perhaps one audio track.
pub fn mp4(data: &[u8]) -> Clip {
    let mut clip = Clip { tracks: Vec::new(), frames: Vec::new() };
    let mut timescales = Vec::new();
    let moov = find(data, &[(b"moov", 0)]).unwrap();
    let mut rest = moov;
    while rest.len() >= 8 {
        let size = be(&rest[..4]) as usize;
        if &rest[4..8] == b"trak" {
            let trak = &rest[8..size];
            let number = be(&find(trak, &[(b"tkhd", 0)]).unwrap()[12..16]);
            let timescale = be(&find(trak, &[(b"mdia", 0), (b"mdhd", 0)]).unwrap()[12..16]);
            let stsd = find(trak, &[(b"mdia", 0), (b"minf", 0), (b"stbl", 0), (b"stsd", 8)]).unwrap();
            let known: [(&[u8; 4], usize, &[u8; 4], Codec); 4] = [
                (b"avc1", 78, b"avcC", Codec::H264),
                (b"hvc1", 78, b"hvcC", Codec::Hevc),
                (b"av01", 78, b"av1C", Codec::Av1),
                (b"Opus", 28, b"dOps", Codec::Opus),
            ];
            let (codec, config) = known
                .iter()
                .find_map(|(entry, skip, config, codec)| Some((*codec, find(stsd, &[(entry, *skip), (config, 0)])?)))
                .expect("a codec that the tests know");
            let id = if codec.kind() == flyloft_media::MediaKind::Video { TrackId::VIDEO } else { TrackId::AUDIO };
            clip.tracks.push((id, codec, Bytes::copy_from_slice(config)));
            timescales.push((number, id, i64::from(timescale)));
        }
        rest = &rest[size..];
    }
    let mut at = 0;
    while at + 8 <= data.len() {
        let size = be(&data[at..at + 4]) as usize;
        if &data[at + 4..at + 8] == b"moof" {
            let mut cursor = std::io::Cursor::new(&data[at..at + size]);
            let header = Header::read_from(&mut cursor).unwrap();
            let moof = Moof::read_atom(&header, &mut cursor).unwrap();
            let base = at;
            for traf in &moof.traf {
                let &(_, id, scale) = timescales.iter().find(|track| track.0 == traf.tfhd.track_id).unwrap();
                let mut dts = traf.tfdt.as_ref().unwrap().base_media_decode_time as i64;
                for trun in &traf.trun {
                    let mut offset = base + trun.data_offset.unwrap() as usize;
                    for (i, entry) in trun.samples.iter().enumerate() {
                        let size = entry.size.or(traf.tfhd.default_sample_size).unwrap() as usize;
                        let first = if i == 0 { None } else { traf.tfhd.default_sample_flags };
                        let flags = entry.flags.or(first).unwrap_or(if i == 0 { 0x0200_0000 } else { 0x0101_0000 });
                        clip.frames.push(RawFrame {
                            track: id,
                            dts: dts * 1_000_000 / scale,
                            composition_offset: entry.cts.unwrap_or(0) * 1_000_000 / scale,
                            wrap: None,
                            keyframe: id == TrackId::AUDIO || flags & 0x1_0000 == 0,
                            payload: Bytes::copy_from_slice(&data[offset..offset + size]),
                        });
                        offset += size;
                        dts += i64::from(entry.duration.or(traf.tfhd.default_sample_duration).unwrap());
                    }
                }
            }
        }
        at += size;
    }
    clip.frames.sort_by_key(|frame| frame.dts);
    clip
}

pub fn track(of: &(TrackId, Codec, Bytes)) -> flyloft_media::Track {
    codec::track(of.0, of.1, of.2.clone()).unwrap()
}
