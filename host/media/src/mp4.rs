//! Reads MP4, QuickTime and fragmented MP4, sans-IO: the reader says which range of the file it needs, the caller brings it from a
//! disk or an object store.
//!
//! The sample tables stay in the file. [`Opening`] notes where they lie; [`Samples`] holds a stretch of 16 KiB of each and remembers,
//! while it goes far for the first time, some places to start from. So a file of days opens with a few small reads, costs some hundred
//! KiB, and its first sample needs only the beginning of each table, even where the movie box has many megabytes.
//!
//! Sources: ISO/IEC 14496-12 (boxes), -14, -15, the AV1 and Opus bindings, and the QuickTime File Format Specification. Section numbers
//! are those of ISO/IEC 14496-12:2015.

mod boxes;
mod draft;
mod edit;
mod entry;
mod fragment;
mod lane;
mod movie;
mod open;
mod samples;
mod seek;
mod source;
mod table;
#[cfg(test)]
mod tests;

pub use movie::{LeftOut, Movie, MovieTrack};
pub use open::{Opening, Step};
pub use samples::{Next, Sample, Samples};
pub use source::MAX_READ;

/// Why a file can't be opened or played on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mp4Error {
    #[error("this is not an MP4 or QuickTime file: it does not begin with a box that such files begin with")]
    NotMp4,
    #[error("{}", no_movie(*size, *fragments))]
    NoMovie {
        /// Bytes in the file.
        size: u64,
        /// Whether there are fragments, as in media segments without their initialization segment.
        fragments: bool,
    },
    #[error("the file is truncated at byte {size} of at least {needed}: upload it again, or record it to its end")]
    Truncated { size: u64, needed: u64 },
    #[error("{path} at byte {offset}: {problem}")]
    Invalid { path: String, offset: u64, problem: String },
    #[error(
        "nothing in the file can be played ({tracks}): encode it as H.264 and AAC, for example ffmpeg -i bad.mp4 -c:v libx264 -c:a aac -movflags +faststart good.mp4"
    )]
    NothingPlayable {
        /// Each track with the reason.
        tracks: String,
    },
    /// The caller is to blame, not the file.
    #[error("{length} bytes from byte {offset} were supplied, which is not what was wanted")]
    Unasked { offset: u64, length: u64 },
}

fn no_movie(size: u64, fragments: bool) -> String {
    let what = if fragments {
        "these are media segments without their initialization segment"
    } else {
        "it was not finished, or cut off"
    };
    format!(
        "the file has no movie box (moov) in its {size} bytes: {what}; take the whole file, and write it with its index in front: \
         ffmpeg -i bad.mp4 -c copy -movflags +faststart good.mp4"
    )
}

impl Mp4Error {
    fn nothing_playable(left_out: &[LeftOut]) -> Self {
        let tracks = left_out.iter().take(8).map(|track| format!("track {} is {}: {}", track.number, track.codec, track.reason));
        let tracks = tracks.collect::<Vec<_>>().join("; ");
        Self::NothingPlayable { tracks: if tracks.is_empty() { "it has no tracks".to_owned() } else { tracks } }
    }
}
