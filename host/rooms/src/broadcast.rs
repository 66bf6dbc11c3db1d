//! A stream key and the room that shows it move together: one function for everything that touches both.

use crate::{Conflict, KeyInput, RoomInput, StreamKeyState, VideoRoomState};

/// A member's stream key with the room it is about: the one to be started or ended, else the member's live or paused one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broadcast {
    pub key: StreamKeyState,
    pub room: Option<VideoRoomState>,
}

/// What happens to a broadcast.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Trigger {
    /// The policy let a publisher in.
    PublishAccepted,
    /// The first output of the publish can be watched.
    Viewable,
    /// The publisher left, was sent away, sent nothing for too long, or is gone because the server was restarted.
    PublishEnded,
    Start,
    /// Ends a paused broadcast.
    End,
    /// Ends a broadcast whether or not its publisher is there.
    ForcedEnd,
}

/// What has to be done besides keeping the new states.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// Send the publisher away and end the stream for its viewers.
    pub end_stream: bool,
    /// Give the member a new stream key: the old one must not work any more.
    pub replace_key: bool,
}

/// The states after a trigger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    pub after: Broadcast,
    pub effects: Effects,
}

impl Broadcast {
    /// The states after `trigger`, or what is in the way.
    pub fn apply(self, trigger: Trigger) -> Result<Step, Conflict> {
        let Broadcast { key, room } = self;
        let (after, effects) = match trigger {
            Trigger::PublishAccepted => (Broadcast { key: key.next(KeyInput::PublishAccepted)?, room }, Effects::default()),
            Trigger::Viewable => {
                let key = key.next(KeyInput::Viewable)?;
                let room = room.filter(|_| key.is_live()).map(|room| room.next(RoomInput::StreamViewable)).transpose()?.or(room);
                (Broadcast { key, room }, Effects::default())
            }
            Trigger::PublishEnded => {
                let key = key.next(KeyInput::PublishEnded)?;
                // A publisher that came back and left before anything could be watched finds its room still paused.
                let room = match room {
                    Some(VideoRoomState::Live) => Some(VideoRoomState::Live.next(RoomInput::StreamStopped)?),
                    room => room,
                };
                (Broadcast { key, room }, Effects::default())
            }
            Trigger::Start => {
                let room = room.map(|room| room.next(RoomInput::Start)).transpose()?;
                (Broadcast { key: key.next(KeyInput::RoomStarted)?, room }, Effects::default())
            }
            Trigger::End => {
                let room = room.map(|room| room.next(RoomInput::End)).transpose()?;
                let key = key.next(KeyInput::RoomEnded)?;
                (Broadcast { key, room }, Effects { end_stream: true, replace_key: false })
            }
            Trigger::ForcedEnd => {
                let room = room.map(|room| room.next(RoomInput::End)).transpose()?;
                let key = key.next(KeyInput::RoomForceEnded)?;
                (Broadcast { key, room }, Effects { end_stream: true, replace_key: true })
            }
        };
        Ok(Step { after, effects })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TRIGGERS: [Trigger; 6] =
        [Trigger::PublishAccepted, Trigger::Viewable, Trigger::PublishEnded, Trigger::Start, Trigger::End, Trigger::ForcedEnd];

    /// Which states of a key and of its member's current room can stand side by side.
    fn is_consistent(key: StreamKeyState, live_room: Option<VideoRoomState>) -> bool {
        use StreamKeyState as S;
        match live_room {
            None => matches!(key, S::Inactive | S::ActivePrep | S::Active),
            Some(VideoRoomState::Live) => key == S::ActiveLive,
            Some(VideoRoomState::LiveInactive) => matches!(key, S::InactiveLive | S::ActiveLivePrep),
            Some(_) => false,
        }
    }

    fn walk(steps: &[(Trigger, StreamKeyState, Option<VideoRoomState>)]) {
        let mut now = Broadcast { key: StreamKeyState::Inactive, room: Some(VideoRoomState::Scheduled) };
        for (trigger, key, room) in steps {
            now = now.apply(*trigger).unwrap().after;
            assert_eq!(now, Broadcast { key: *key, room: *room }, "{trigger:?}");
        }
    }

    #[test]
    fn the_life_of_a_broadcast() {
        use StreamKeyState as S;
        use VideoRoomState as R;
        walk(&[
            (Trigger::PublishAccepted, S::ActivePrep, Some(R::Scheduled)),
            (Trigger::Viewable, S::Active, Some(R::Scheduled)),
            (Trigger::Start, S::ActiveLive, Some(R::Live)),
            (Trigger::PublishEnded, S::InactiveLive, Some(R::LiveInactive)),
            (Trigger::PublishAccepted, S::ActiveLivePrep, Some(R::LiveInactive)),
            (Trigger::PublishEnded, S::InactiveLive, Some(R::LiveInactive)),
            (Trigger::PublishAccepted, S::ActiveLivePrep, Some(R::LiveInactive)),
            (Trigger::Viewable, S::ActiveLive, Some(R::Live)),
            (Trigger::PublishEnded, S::InactiveLive, Some(R::LiveInactive)),
            (Trigger::End, S::Inactive, Some(R::Ended)),
        ]);
    }

    #[test]
    fn the_end_says_what_else_is_to_be_done() {
        let live = Broadcast { key: StreamKeyState::ActiveLive, room: Some(VideoRoomState::Live) };
        assert_eq!(live.apply(Trigger::ForcedEnd).unwrap().effects, Effects { end_stream: true, replace_key: true });
        assert_eq!(live.apply(Trigger::End).unwrap_err().code, crate::ConflictCode::StillPublishing);
        let paused = Broadcast { key: StreamKeyState::InactiveLive, room: Some(VideoRoomState::LiveInactive) };
        assert_eq!(paused.apply(Trigger::End).unwrap().effects, Effects { end_stream: true, replace_key: false });
        assert_eq!(paused.apply(Trigger::ForcedEnd).unwrap().effects, Effects { end_stream: true, replace_key: true });
    }

    #[test]
    fn an_ended_room_is_named_before_the_key() {
        let over = Broadcast { key: StreamKeyState::Inactive, room: Some(VideoRoomState::Ended) };
        assert_eq!(over.apply(Trigger::Start).unwrap_err().code, crate::ConflictCode::Over);
    }

    proptest! {
        /// A member with several rooms and any order of triggers, as the service would apply them.
        #[test]
        fn any_sequence_keeps_the_member_consistent(steps in prop::collection::vec((0..TRIGGERS.len(), 0..3usize), 0..80)) {
            let mut key = StreamKeyState::Inactive;
            let mut rooms = [VideoRoomState::Scheduled; 3];
            for (trigger, chosen) in steps {
                let trigger = TRIGGERS[trigger];
                let live = rooms.iter().position(|room| room.is_live());
                let about = match trigger {
                    Trigger::Start | Trigger::End | Trigger::ForcedEnd => Some(chosen),
                    _ => live,
                };
                let before = rooms;
                let Ok(step) = (Broadcast { key, room: about.map(|index| rooms[index]) }).apply(trigger) else { continue };
                key = step.after.key;
                if let (Some(index), Some(room)) = (about, step.after.room) {
                    rooms[index] = room;
                }
                let live: Vec<_> = rooms.iter().copied().filter(|room| room.is_live()).collect();
                prop_assert!(live.len() <= 1, "{rooms:?}");
                prop_assert!(is_consistent(key, live.first().copied()), "{key} {rooms:?}");
                for (before, after) in before.iter().zip(rooms) {
                    prop_assert!(*before != VideoRoomState::Ended || after == VideoRoomState::Ended);
                    prop_assert!(!before.is_live() || after != VideoRoomState::Scheduled);
                }
                prop_assert_eq!(step.effects.replace_key, trigger == Trigger::ForcedEnd);
                let ends = matches!(trigger, Trigger::End | Trigger::ForcedEnd);
                prop_assert_eq!(step.effects.end_stream, ends);
                prop_assert!(!ends || key == StreamKeyState::Inactive);
            }
        }
    }
}
