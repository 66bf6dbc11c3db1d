//! CMAF: one segmenter makes fragmented MP4 for HLS and DASH alike, sans-IO. Frames go in, an immutable [`Window`] comes out.
//!
//! The fragments keep the stream's own timeline: a track's decode times are the hub's, in the track's time scale, with positive
//! composition offsets and no edit list, so that the distance between picture and sound is the publisher's in every player.

pub(crate) mod boxes;
pub(crate) mod fragment;
pub(crate) mod init;
mod lane;
mod path;
mod periods;
mod run;
mod segmenter;
mod shelf;
pub(crate) mod sound;
mod store;
mod window;

use std::time::Duration;

pub use init::segment as init_segment;
pub(crate) use path::name as rendition_name;
pub use path::{Resource, parse_path};
pub use segmenter::Segmenter;
pub use window::{Availability, Content, Init, Lookup, Part, Period, RenditionWindow, Segment, Window};

/// How a stream is cut, and how much of it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmenterConfig {
    /// An unguessable word of letters and digits in all media URIs of this stream.
    pub stamp: String,
    /// A segment ends at the first key frame after about this much.
    pub segment_target: Duration,
    /// No part is longer, unless a single frame is. The default holds ten frames at 30 a second.
    pub part_target: Duration,
    /// Segments in a playlist, more where the target duration asks for it.
    pub window: usize,
    /// Segments that stay available after they have left the playlist.
    pub grace: usize,
    /// Bytes of media kept for each rendition. The oldest go first, the latest two segments stay.
    pub max_bytes: usize,
    /// A part is closed when it has this many bytes.
    pub max_part_bytes: usize,
}

impl SegmenterConfig {
    /// The defaults: segments of two seconds, parts of a third, twenty seconds in the playlist.
    pub fn new(stamp: impl Into<String>) -> Self {
        Self {
            stamp: stamp.into(),
            segment_target: Duration::from_secs(2),
            part_target: Duration::from_millis(334),
            window: 10,
            grace: 11,
            max_bytes: 128 << 20,
            max_part_bytes: 8 << 20,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
