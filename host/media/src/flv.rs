//! FLV: reads files and the tag bodies that RTMP shares with them, and writes frames as tags that all viewers share.
//!
//! Sources: Adobe, "Video File Format Specification 10.1", annex E; Veovera, "Enhanced RTMP v2" for what has a fourCC.

pub mod amf0;
mod audio;
mod demuxer;
mod metadata;
mod output;
pub(crate) mod reader;
mod tag;
#[cfg(test)]
mod tests;
mod video;

pub use demuxer::{Demuxer, FlvError, FlvEvent};
pub use metadata::Metadata;
pub(crate) use output::{Preface, body, prefaces, timestamp};
pub use output::{file_header, header, tag};
pub(crate) use tag::tags;
pub use tag::{Media, TagReader, Unsupported};

/// Kinds of tags (annex E.4.1); RTMP has messages of the same numbers.
pub(crate) mod kind {
    pub const AUDIO: u8 = 8;
    pub const VIDEO: u8 = 9;
    pub const SCRIPT: u8 = 18;
}
