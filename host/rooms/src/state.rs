//! The two state machines, each as the table of its legal transitions. Everything that is not in a table is a [`Conflict`].

crate::words! {
    /// What a member's stream does.
    StreamKeyState, "stream key state" {
        /// Nothing is published.
        Inactive = "INACTIVE",
        /// A publisher was let in; nothing can be watched yet.
        ActivePrep = "ACTIVE_PREP",
        /// The stream can be watched, and a room can be started.
        Active = "ACTIVE",
        /// A room shows the stream.
        ActiveLive = "ACTIVE_LIVE",
        /// The publisher of a live room is away and may come back.
        InactiveLive = "INACTIVE_LIVE",
        /// The publisher of a live room is back; nothing can be watched yet.
        ActiveLivePrep = "ACTIVE_LIVE_PREP",
    }
}

crate::words! {
    /// Where a video room is in its life.
    VideoRoomState, "room state" {
        Scheduled = "SCHEDULED",
        Live = "LIVE",
        /// The broadcast is paused: its publisher is away and may come back.
        LiveInactive = "LIVE_INACTIVE",
        Ended = "ENDED",
        /// The video post is being made.
        Archiving = "ARCHIVING",
        Archived = "ARCHIVED",
        /// The video post could not be made; the recording is kept.
        ArchiveFailed = "ARCHIVE_FAILED",
    }
}

/// What happens to a stream key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyInput {
    /// The policy let a publisher in.
    PublishAccepted,
    /// The first output of the publish can be watched.
    Viewable,
    /// The publisher left, was sent away, or sent nothing for too long.
    PublishEnded,
    RoomStarted,
    RoomEnded,
    /// The room was ended whether or not the stream goes on.
    RoomForceEnded,
}

/// What happens to a video room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RoomInput {
    Start,
    StreamStopped,
    StreamViewable,
    End,
    ArchivingBegan,
    ArchiveReady,
    ArchivingFailed,
}

use KeyInput as K;
use StreamKeyState as S;

/// From, input, to.
const STREAM_KEY: &[(S, K, S)] = &[
    (S::Inactive, K::PublishAccepted, S::ActivePrep),
    (S::ActivePrep, K::Viewable, S::Active),
    (S::ActivePrep, K::PublishEnded, S::Inactive),
    (S::Active, K::PublishEnded, S::Inactive),
    (S::Active, K::RoomStarted, S::ActiveLive),
    (S::ActiveLive, K::PublishEnded, S::InactiveLive),
    (S::InactiveLive, K::PublishAccepted, S::ActiveLivePrep),
    (S::ActiveLivePrep, K::Viewable, S::ActiveLive),
    (S::ActiveLivePrep, K::PublishEnded, S::InactiveLive),
    (S::InactiveLive, K::RoomEnded, S::Inactive),
    (S::InactiveLive, K::RoomForceEnded, S::Inactive),
    (S::ActiveLive, K::RoomForceEnded, S::Inactive),
    (S::ActiveLivePrep, K::RoomForceEnded, S::Inactive),
];

use RoomInput as I;
use VideoRoomState as R;

/// From, input, to.
const VIDEO_ROOM: &[(R, I, R)] = &[
    (R::Scheduled, I::Start, R::Live),
    (R::Live, I::StreamStopped, R::LiveInactive),
    (R::LiveInactive, I::StreamViewable, R::Live),
    (R::Live, I::End, R::Ended),
    (R::LiveInactive, I::End, R::Ended),
    (R::Ended, I::ArchivingBegan, R::Archiving),
    (R::Archiving, I::ArchiveReady, R::Archived),
    (R::Archiving, I::ArchivingFailed, R::ArchiveFailed),
    (R::ArchiveFailed, I::ArchivingBegan, R::Archiving),
];

impl StreamKeyState {
    /// The state after `input`.
    pub fn next(self, input: KeyInput) -> Result<Self, Conflict> {
        STREAM_KEY
            .iter()
            .find(|(from, on, _)| (*from, *on) == (self, input))
            .map(|(_, _, to)| *to)
            .ok_or_else(|| Conflict { code: key_conflict(self, input), state: self.as_str() })
    }

    /// Whether a publisher is there.
    pub fn is_publishing(self) -> bool {
        matches!(self, S::ActivePrep | S::Active | S::ActiveLive | S::ActiveLivePrep)
    }

    /// Whether a room of the member is live or paused.
    pub fn is_live(self) -> bool {
        matches!(self, S::ActiveLive | S::InactiveLive | S::ActiveLivePrep)
    }
}

impl VideoRoomState {
    /// The state after `input`.
    pub fn next(self, input: RoomInput) -> Result<Self, Conflict> {
        VIDEO_ROOM
            .iter()
            .find(|(from, on, _)| (*from, *on) == (self, input))
            .map(|(_, _, to)| *to)
            .ok_or_else(|| Conflict { code: room_conflict(self, input), state: self.as_str() })
    }

    /// Whether the room is live or paused.
    pub fn is_live(self) -> bool {
        matches!(self, R::Live | R::LiveInactive)
    }
}

/// Something that is not possible in the state that the thing is in. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} (the state is {state})", code.explanation())]
pub struct Conflict {
    pub code: ConflictCode,
    /// The word of the state that was in the way.
    pub state: &'static str,
}

/// The kinds of conflicts, each with a name for programs and a sentence for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConflictCode {
    AlreadyPublishing,
    NotPublishing,
    NothingPublished,
    NotViewableYet,
    OtherRoomLive,
    StillPublishing,
    NotLive,
    AlreadyStarted,
    Over,
    NotStarted,
    OutOfOrder,
}

impl ConflictCode {
    /// Lower-case words joined by hyphens.
    pub fn name(self) -> &'static str {
        self.texts().0
    }

    /// What is in the way and what to do about it.
    pub fn explanation(self) -> &'static str {
        self.texts().1
    }

    fn texts(self) -> (&'static str, &'static str) {
        match self {
            Self::AlreadyPublishing => (
                "already-publishing",
                "somebody publishes with this stream key already: stop that encoder first, or replace the key",
            ),
            Self::NotPublishing => ("not-publishing", "nobody publishes with this stream key"),
            Self::NothingPublished => (
                "stream-inactive",
                "the owner's stream is not published: push it with the owner's stream key, then start the room",
            ),
            Self::NotViewableYet => (
                "stream-not-ready",
                "the owner's stream has just begun and can't be watched yet: start the room when its key is ACTIVE",
            ),
            Self::OtherRoomLive => (
                "other-room-live",
                "the owner has another room that is live or paused: end that one first, a member has one broadcast at a time",
            ),
            Self::StillPublishing => (
                "still-publishing",
                "the stream is still published: stop the encoder first, or end by force, which disconnects it and replaces the stream key",
            ),
            Self::NotLive => ("not-live", "no room of this member is live or paused"),
            Self::AlreadyStarted => ("already-started", "the room was started already"),
            Self::Over => ("room-ended", "the room has ended: create a new one, an ended broadcast can't be used again"),
            Self::NotStarted => ("room-not-started", "the room has not been started, so there is nothing to end"),
            Self::OutOfOrder => ("out-of-order", "this step does not follow from the room's state"),
        }
    }
}

fn key_conflict(state: StreamKeyState, input: KeyInput) -> ConflictCode {
    match input {
        K::PublishAccepted => ConflictCode::AlreadyPublishing,
        K::Viewable | K::PublishEnded => ConflictCode::NotPublishing,
        K::RoomStarted => match state {
            S::Inactive => ConflictCode::NothingPublished,
            S::ActivePrep => ConflictCode::NotViewableYet,
            _ => ConflictCode::OtherRoomLive,
        },
        K::RoomEnded if state.is_live() => ConflictCode::StillPublishing,
        K::RoomEnded | K::RoomForceEnded => ConflictCode::NotLive,
    }
}

fn room_conflict(state: VideoRoomState, input: RoomInput) -> ConflictCode {
    match (state, input) {
        (R::Live | R::LiveInactive, I::Start) => ConflictCode::AlreadyStarted,
        (R::Ended | R::Archiving | R::Archived | R::ArchiveFailed, I::Start | I::End) => ConflictCode::Over,
        (R::Scheduled, I::End) => ConflictCode::NotStarted,
        _ => ConflictCode::OutOfOrder,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY_INPUTS: [K; 6] =
        [K::PublishAccepted, K::Viewable, K::PublishEnded, K::RoomStarted, K::RoomEnded, K::RoomForceEnded];
    const ROOM_INPUTS: [I; 7] =
        [I::Start, I::StreamStopped, I::StreamViewable, I::End, I::ArchivingBegan, I::ArchiveReady, I::ArchivingFailed];

    /// Every pair, one line for each state, one column for each input: the state after it, or the conflict.
    #[test]
    fn every_pair_of_the_stream_key() {
        use ConflictCode as C;
        type Row = (S, [Result<S, C>; 6]);
        let rows: [Row; 6] = [
            (
                S::Inactive,
                [
                    Ok(S::ActivePrep),
                    Err(C::NotPublishing),
                    Err(C::NotPublishing),
                    Err(C::NothingPublished),
                    Err(C::NotLive),
                    Err(C::NotLive),
                ],
            ),
            (
                S::ActivePrep,
                [
                    Err(C::AlreadyPublishing),
                    Ok(S::Active),
                    Ok(S::Inactive),
                    Err(C::NotViewableYet),
                    Err(C::NotLive),
                    Err(C::NotLive),
                ],
            ),
            (
                S::Active,
                [
                    Err(C::AlreadyPublishing),
                    Err(C::NotPublishing),
                    Ok(S::Inactive),
                    Ok(S::ActiveLive),
                    Err(C::NotLive),
                    Err(C::NotLive),
                ],
            ),
            (
                S::ActiveLive,
                [
                    Err(C::AlreadyPublishing),
                    Err(C::NotPublishing),
                    Ok(S::InactiveLive),
                    Err(C::OtherRoomLive),
                    Err(C::StillPublishing),
                    Ok(S::Inactive),
                ],
            ),
            (
                S::InactiveLive,
                [
                    Ok(S::ActiveLivePrep),
                    Err(C::NotPublishing),
                    Err(C::NotPublishing),
                    Err(C::OtherRoomLive),
                    Ok(S::Inactive),
                    Ok(S::Inactive),
                ],
            ),
            (
                S::ActiveLivePrep,
                [
                    Err(C::AlreadyPublishing),
                    Ok(S::ActiveLive),
                    Ok(S::InactiveLive),
                    Err(C::OtherRoomLive),
                    Err(C::StillPublishing),
                    Ok(S::Inactive),
                ],
            ),
        ];
        assert_eq!(rows.iter().map(|row| row.0).collect::<Vec<_>>(), S::ALL);
        for (state, answers) in rows {
            for (input, expected) in KEY_INPUTS.into_iter().zip(answers) {
                assert_eq!(state.next(input).map_err(|conflict| conflict.code), expected, "{state} {input:?}");
            }
        }
    }

    #[test]
    fn every_pair_of_the_video_room() {
        use ConflictCode as C;
        type Row = (R, [Result<R, C>; 7]);
        const O: Result<R, C> = Err(C::OutOfOrder);
        let rows: [Row; 7] = [
            (R::Scheduled, [Ok(R::Live), O, O, Err(C::NotStarted), O, O, O]),
            (R::Live, [Err(C::AlreadyStarted), Ok(R::LiveInactive), O, Ok(R::Ended), O, O, O]),
            (R::LiveInactive, [Err(C::AlreadyStarted), O, Ok(R::Live), Ok(R::Ended), O, O, O]),
            (R::Ended, [Err(C::Over), O, O, Err(C::Over), Ok(R::Archiving), O, O]),
            (R::Archiving, [Err(C::Over), O, O, Err(C::Over), O, Ok(R::Archived), Ok(R::ArchiveFailed)]),
            (R::Archived, [Err(C::Over), O, O, Err(C::Over), O, O, O]),
            (R::ArchiveFailed, [Err(C::Over), O, O, Err(C::Over), Ok(R::Archiving), O, O]),
        ];
        assert_eq!(rows.iter().map(|row| row.0).collect::<Vec<_>>(), R::ALL);
        for (state, answers) in rows {
            for (input, expected) in ROOM_INPUTS.into_iter().zip(answers) {
                assert_eq!(state.next(input).map_err(|conflict| conflict.code), expected, "{state} {input:?}");
            }
        }
    }

    #[test]
    fn the_words_of_the_states_are_read_back() {
        for state in S::ALL {
            assert_eq!(state.as_str().parse(), Ok(*state));
        }
        for state in R::ALL {
            assert_eq!(state.as_str().parse(), Ok(*state));
            assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
        }
        assert!("active".parse::<S>().is_err());
    }

    #[test]
    fn a_conflict_says_what_to_do() {
        let conflict = S::Inactive.next(K::RoomStarted).unwrap_err();
        assert_eq!(conflict.code.name(), "stream-inactive");
        assert_eq!(
            conflict.to_string(),
            "the owner's stream is not published: push it with the owner's stream key, then start the room (the state is INACTIVE)"
        );
    }
}
