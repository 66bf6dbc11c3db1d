//! Video posts: what a recorded broadcast becomes.

use crate::{AppId, MemberId, Millis, PostId, RoomId};

crate::words! {
    /// Where a video post is in its life.
    PostState, "post state" {
        /// The broadcast is live or paused; what comes is kept.
        Recording = "RECORDING",
        /// The broadcast is over, its file is being made.
        Processing = "PROCESSING",
        /// It can be watched.
        Ready = "READY",
        /// Its file could not be made; the recording is kept.
        Failed = "FAILED",
    }
}

/// What happens to a video post.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PostInput {
    /// The recording is over, or its file is to be made once more.
    ArchivingBegan,
    ArchiveReady,
    ArchivingFailed,
}

/// From, input, to.
const VIDEO_POST: &[(PostState, PostInput, PostState)] = &[
    (PostState::Recording, PostInput::ArchivingBegan, PostState::Processing),
    (PostState::Processing, PostInput::ArchiveReady, PostState::Ready),
    (PostState::Processing, PostInput::ArchivingFailed, PostState::Failed),
    (PostState::Failed, PostInput::ArchivingBegan, PostState::Processing),
];

impl PostState {
    /// The state after `input`, none where that is not possible.
    pub fn next(self, input: PostInput) -> Option<Self> {
        VIDEO_POST.iter().find(|(from, on, _)| (*from, *on) == (self, input)).map(|(_, _, to)| *to)
    }

    /// Whether its files are still being made.
    pub fn is_under_way(self) -> bool {
        matches!(self, PostState::Recording | PostState::Processing)
    }
}

/// A recorded broadcast.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VideoPost {
    pub id: PostId,
    pub app_id: AppId,
    pub owner_id: MemberId,
    /// None when the stream was recorded without a room.
    pub room_id: Option<RoomId>,
    pub state: PostState,
    /// An unguessable word in the addresses of its segments.
    pub stamp: String,
    pub title: Option<String>,
    pub description: Option<String>,
    pub duration: Option<Millis>,
    pub bytes: Option<i64>,
    /// Of the picture, in pixels.
    pub size: Option<(u32, u32)>,
    /// The `codecs` parameters of RFC 6381, joined by commas.
    pub codecs: Option<String>,
    /// Why it could not be made.
    pub failure: Option<String>,
    /// What of the broadcast is missing in it, and why.
    pub missing: Option<String>,
    pub created_at: Millis,
    pub updated_at: Millis,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pair_of_the_video_post() {
        use PostState as S;
        let inputs = [PostInput::ArchivingBegan, PostInput::ArchiveReady, PostInput::ArchivingFailed];
        let rows = [
            (S::Recording, [Some(S::Processing), None, None]),
            (S::Processing, [None, Some(S::Ready), Some(S::Failed)]),
            (S::Ready, [None, None, None]),
            (S::Failed, [Some(S::Processing), None, None]),
        ];
        assert_eq!(rows.map(|(state, _)| state), S::ALL);
        for (state, answers) in rows {
            assert_eq!(inputs.map(|input| state.next(input)), answers, "{state}");
            assert_eq!(state.as_str().parse(), Ok(state));
        }
    }
}
