//! The media model of Flyloft and every format it speaks, sans-IO: bytes in, frames and bytes out, time as an argument.
//!
//! Everything that makes media is a [`hub::Publisher`], everything that takes it reads a [`hub::Stream`] with a cursor.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod cmaf;
pub mod codec;
pub mod dash;
pub mod flv;
pub mod frame;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzz;
pub mod hls;
pub mod hub;
pub mod mp4;
pub mod pace;
pub mod recording;
pub mod rtmp;
pub mod splice;
pub mod time;
pub mod timeline;
pub mod track;

pub use frame::Frame;
pub use time::{Timestamp, WallClock};
pub use track::{AudioInfo, Codec, MediaInfo, MediaKind, Track, TrackId, Tracks, VideoInfo};
