//! Recording, sans-IO: a live stream becomes fragmented MP4 that survives a crash, and that becomes one file to keep.
//!
//! While a stream is live, a [`Muxer`] makes *parts*: files of `ftyp`, `moov` and many short fragments, of which each holds one
//! track. Whatever is cut off at the end of a part costs its last fragment and nothing else. A part goes on over a returning
//! publisher; another one begins when the tracks change.
//!
//! At the end [`finish`] copies the parts into one file with bounded memory, however long it is:
//!
//! ```text
//! ftyp  moov  mdat { moof mdat, moof mdat, … }  uuid
//!       └ sample tables of everything          └ where each fragment lies
//! ```
//!
//! To a player of MP4 this is an ordinary file with `moov` first, because what is inside an `mdat` is only what the tables point to.
//! The fragments inside, made anew so that each track has one for each segment, are the segments of HLS and DASH: they are served
//! out of the same file ([`hls`], [`dash`]), so that nothing is stored twice and nothing is repackaged when it is played.
//!
//! Holes in time are closed: while no publisher was there, and where the recorder was too slow, the recording goes on with what came
//! next, as viewers would rather see it. Within what one publisher sends, its times are kept.

mod cutter;
pub mod dash;
mod finisher;
pub mod hls;
mod index;
mod muxer;
mod reader;
mod tables;

use std::io;

pub use finisher::{FinishError, Finished, finish};
pub use index::{Index, IndexError, Period, Segment, Span, TAIL};
pub use muxer::{Fragment, Muxer, Output};
pub use reader::first_sample;

/// Bytes that can be read anywhere: a file.
pub trait Source {
    /// How many bytes there are.
    fn size(&self) -> u64;

    /// Fills `buffer` from `offset` on. An end before that is an error of the kind `UnexpectedEof`.
    fn read(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;
}

/// A place that can be written anywhere: a file.
pub trait Sink {
    fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;
}

/// The number of a track in all files that are made here.
fn track_number(id: crate::TrackId) -> u32 {
    u32::from(id.0) + 1
}
