//! The ways of a stream to its viewers: many plain sockets at once, or one encrypted or multiplexed connection at a time.

pub mod fanout;
pub mod follower;
pub mod link;
mod seat;

use bytes::Bytes;
use flyloft_media::hub::Entry;
use flyloft_media::{flv, rtmp};

/// How frames are put into bytes. Both forms are made once for each frame and shared by all viewers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Rtmp,
    Flv,
}

impl Format {
    /// Empty for an entry that this format does not carry.
    pub fn message(self, entry: &Entry) -> &Bytes {
        match self {
            Self::Rtmp => rtmp::message(entry),
            Self::Flv => flv::tag(entry),
        }
    }

    /// The configuration of the tracks as of `entry`, which must come before it for a player that doesn't have it.
    pub fn header(self, entry: &Entry) -> &Bytes {
        match self {
            Self::Rtmp => rtmp::header(entry),
            Self::Flv => flv::header(entry),
        }
    }
}
