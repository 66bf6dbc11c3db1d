//! `onMetaData`: what a publisher says of its stream, and what players are told of it.

use super::amf0::{self, Value};
use crate::track::{Codec, Tracks};

/// Entries that are kept of a publisher's metadata, and bytes of each name and text.
const MAX_ENTRIES: usize = 64;
const MAX_TEXT: usize = 256;

/// What a publisher says of its stream, for people to read: numbers, truth values and texts. Nothing is decided by it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metadata {
    pub entries: Vec<(String, Value)>,
}

impl Metadata {
    /// From the values of a data message or script tag: `["@setDataFrame",] "onMetaData", object`. `None` for any other.
    pub(crate) fn from_values(values: &[Value]) -> Option<Self> {
        let mut rest = values;
        if let [Value::String(name), behind @ ..] = values
            && name == "@setDataFrame"
        {
            rest = behind;
        }
        match rest {
            [Value::String(name), object, ..] if name == "onMetaData" => Some(Self::from_object(object)),
            _ => None,
        }
    }

    fn from_object(object: &Value) -> Self {
        let scalar = |value: &Value| match value {
            Value::Number(_) | Value::Boolean(_) => Some(value.clone()),
            Value::String(text) => Some(amf0::clip(text, MAX_TEXT).into()),
            _ => None,
        };
        let entries =
            object.members().iter().filter_map(|(name, value)| Some((amf0::clip(name, MAX_TEXT).to_owned(), scalar(value)?)));
        Self { entries: entries.take(MAX_ENTRIES).collect() }
    }

    pub fn get(&self, name: &str) -> Option<&Value> {
        self.entries.iter().find(|(entry, _)| entry == name).map(|(_, value)| value)
    }
}

/// The values of an `onMetaData` for a stream's first video and first audio track (annex E.5).
pub(super) fn describe(tracks: &Tracks) -> [Value; 2] {
    let mut members = Vec::new();
    let mut put = |name: &str, value: Value| members.push((name.to_owned(), value));
    if let Some((track, video)) = tracks.first(crate::MediaKind::Video).and_then(|track| Some((track, track.video()?))) {
        put("width", f64::from(video.width).into());
        put("height", f64::from(video.height).into());
        if let Some((frames, seconds)) = video.frame_rate.filter(|&(_, seconds)| seconds != 0) {
            put("framerate", (f64::from(frames) / f64::from(seconds)).into());
        }
        put("videocodecid", codec_id(track.codec).into());
    }
    if let Some((track, audio)) = tracks.first(crate::MediaKind::Audio).and_then(|track| Some((track, track.audio()?))) {
        put("audiocodecid", codec_id(track.codec).into());
        put("audiosamplerate", f64::from(audio.sample_rate).into());
        put("audiosamplesize", 16.0.into());
        put("stereo", (audio.channels == 2).into());
    }
    [Value::from("onMetaData"), Value::EcmaArray(members)]
}

/// The number of a legacy codec, or the fourCC as a number (Enhanced RTMP v2, "Metadata").
fn codec_id(codec: Codec) -> f64 {
    let four_cc = |name: &[u8; 4]| f64::from(u32::from_be_bytes(*name));
    match codec {
        Codec::H264 => 7.0,
        Codec::Hevc => four_cc(b"hvc1"),
        Codec::Av1 => four_cc(b"av01"),
        Codec::Aac => 10.0,
        Codec::Mp3 => 2.0,
        Codec::Opus => four_cc(b"Opus"),
    }
}
