//! What is known of a stream's tracks: codec, decoder configuration, and what was read from it.

use std::fmt;

use bytes::Bytes;

/// Number of a track in its stream. The first video track is [`TrackId::VIDEO`], the first audio track [`TrackId::AUDIO`];
/// further ones keep the parity: even for video, odd for audio.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrackId(pub u8);

impl TrackId {
    pub const VIDEO: Self = Self(0);
    pub const AUDIO: Self = Self(1);
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MediaKind {
    Video,
    Audio,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Codec {
    H264,
    Hevc,
    Av1,
    Aac,
    Opus,
    Mp3,
}

impl Codec {
    pub const fn kind(self) -> MediaKind {
        match self {
            Self::H264 | Self::Hevc | Self::Av1 => MediaKind::Video,
            Self::Aac | Self::Opus | Self::Mp3 => MediaKind::Audio,
        }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::H264 => "H.264",
            Self::Hevc => "HEVC",
            Self::Av1 => "AV1",
            Self::Aac => "AAC",
            Self::Opus => "Opus",
            Self::Mp3 => "MP3",
        })
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct VideoInfo {
    /// Picture size after cropping, in pixels.
    pub width: u32,
    pub height: u32,
    /// Frames per second as a fraction, where the configuration says so.
    pub frame_rate: Option<(u32, u32)>,
    /// Bytes of each NAL unit's length field; 0 for codecs without NAL units.
    pub nal_length_size: u8,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AudioInfo {
    /// Samples per second of the decoded sound (for HE-AAC the doubled rate).
    pub sample_rate: u32,
    pub channels: u16,
    /// Samples per frame at `sample_rate`, where it is constant: 1024 for AAC-LC, 2048 for HE-AAC, 1152 for MP3.
    pub samples_per_frame: Option<u32>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum MediaInfo {
    Video(VideoInfo),
    Audio(AudioInfo),
}

/// A track and its decoder configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Track {
    pub id: TrackId,
    pub codec: Codec,
    /// The decoder configuration record without a box header: avcC, hvcC or av1C content, AudioSpecificConfig, or the content of
    /// a dOps box; empty for MP3.
    pub config: Bytes,
    pub info: MediaInfo,
    /// The `codecs` parameter of RFC 6381, for example `avc1.64001f`.
    pub codecs: String,
}

impl Track {
    pub const fn kind(&self) -> MediaKind {
        self.codec.kind()
    }

    pub const fn video(&self) -> Option<&VideoInfo> {
        match &self.info {
            MediaInfo::Video(video) => Some(video),
            MediaInfo::Audio(_) => None,
        }
    }

    pub const fn audio(&self) -> Option<&AudioInfo> {
        match &self.info {
            MediaInfo::Audio(audio) => Some(audio),
            MediaInfo::Video(_) => None,
        }
    }
}

/// All tracks of a stream at one moment, ordered by id. Immutable: a change makes a new value with the next generation.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tracks {
    generation: u64,
    list: Vec<Track>,
}

impl Tracks {
    /// Counts the changes since the stream was made.
    pub const fn generation(&self) -> u64 {
        self.generation
    }

    pub fn iter(&self) -> impl Iterator<Item = &Track> {
        self.list.iter()
    }

    pub fn get(&self, id: TrackId) -> Option<&Track> {
        self.list.iter().find(|track| track.id == id)
    }

    pub fn first(&self, kind: MediaKind) -> Option<&Track> {
        self.list.iter().find(|track| track.kind() == kind)
    }

    pub fn has_video(&self) -> bool {
        self.first(MediaKind::Video).is_some()
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The tracks with `track` put in, or `None` when that changes nothing.
    pub fn with(&self, track: Track) -> Option<Self> {
        if self.get(track.id) == Some(&track) {
            return None;
        }
        let mut list: Vec<_> = self.list.iter().filter(|old| old.id != track.id).cloned().collect();
        let at = list.partition_point(|old| old.id < track.id);
        list.insert(at, track);
        Some(Self { generation: self.generation + 1, list })
    }

    /// No tracks, as the next generation.
    pub const fn cleared(&self) -> Self {
        Self { generation: self.generation + 1, list: Vec::new() }
    }
}
