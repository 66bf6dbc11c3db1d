//! What happened, for those who follow along. An event is kept together with the change that it tells of.

use serde::{Deserialize, Serialize};

use crate::{AppId, EventId, MemberId, Millis, OutputMode, RoomId, StreamKeyState, VideoRoomState};

/// An event. Its JSON carries what CloudEvents 1.0 calls `id`, `type`, `time` and `subject`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// The place in the order of all events, rising; with gaps for those who may not see all of them.
    pub seq: i64,
    pub id: EventId,
    pub app_id: AppId,
    pub member_id: MemberId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room_id: Option<RoomId>,
    pub at: Millis,
    #[serde(flatten)]
    pub body: EventBody,
}

/// Why a stream key was replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Replaced {
    /// Somebody asked for it.
    Rotated,
    /// A room was ended by force.
    ForcedEnd,
}

/// Why a video post was deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Deleted {
    /// Somebody asked for it.
    Requested,
    /// It was kept for as long as the server keeps posts.
    Expired,
    /// Newer posts needed the room.
    SpaceLimit,
}

/// The kinds of events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all_fields = "camelCase")]
pub enum EventBody {
    #[serde(rename = "member.created")]
    MemberCreated,
    #[serde(rename = "streamKey.stateChanged")]
    StreamKeyStateChanged {
        from: StreamKeyState,
        to: StreamKeyState,
        /// The outputs of the publish under way.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        mode: Option<OutputMode>,
        /// Why a publish ended.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        /// What the policy gave the stream, name and value.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        labels: Vec<(String, String)>,
    },
    #[serde(rename = "streamKey.replaced")]
    StreamKeyReplaced { reason: Replaced },
    #[serde(rename = "videoRoom.created")]
    RoomCreated,
    /// Names the properties that were changed.
    #[serde(rename = "videoRoom.updated")]
    RoomUpdated { changed: Vec<String> },
    #[serde(rename = "videoRoom.live")]
    RoomLive {
        from: VideoRoomState,
        to: VideoRoomState,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        mode: Option<OutputMode>,
    },
    #[serde(rename = "videoRoom.inactive")]
    RoomInactive { from: VideoRoomState, to: VideoRoomState },
    #[serde(rename = "videoRoom.ended")]
    RoomEnded { from: VideoRoomState, to: VideoRoomState, forced: bool },
    #[serde(rename = "videoRoom.archiving")]
    RoomArchiving { from: VideoRoomState, to: VideoRoomState },
    #[serde(rename = "videoRoom.archived")]
    RoomArchived { from: VideoRoomState, to: VideoRoomState, video_post_id: String },
    #[serde(rename = "videoRoom.archiveFailed")]
    RoomArchiveFailed { from: VideoRoomState, to: VideoRoomState, reason: String },
    #[serde(rename = "recording.started")]
    RecordingStarted { video_post_id: String },
    /// The recording ended before its time; the stream goes on.
    #[serde(rename = "recording.stopped")]
    RecordingStopped { video_post_id: String, reason: String },
    #[serde(rename = "videoPost.ready")]
    PostReady { video_post_id: String, duration_ms: i64, size_bytes: i64 },
    #[serde(rename = "videoPost.failed")]
    PostFailed { video_post_id: String, reason: String },
    #[serde(rename = "videoPost.deleted")]
    PostDeleted { video_post_id: String, reason: Deleted },
}

impl EventBody {
    /// The words of all kinds.
    pub const KINDS: [&str; 16] = [
        "member.created",
        "streamKey.stateChanged",
        "streamKey.replaced",
        "videoRoom.created",
        "videoRoom.updated",
        "videoRoom.live",
        "videoRoom.inactive",
        "videoRoom.ended",
        "videoRoom.archiving",
        "videoRoom.archived",
        "videoRoom.archiveFailed",
        "recording.started",
        "recording.stopped",
        "videoPost.ready",
        "videoPost.failed",
        "videoPost.deleted",
    ];

    /// The word of the kind, as it stands in `type`.
    pub fn kind(&self) -> &'static str {
        match self {
            EventBody::MemberCreated => "member.created",
            EventBody::StreamKeyStateChanged { .. } => "streamKey.stateChanged",
            EventBody::StreamKeyReplaced { .. } => "streamKey.replaced",
            EventBody::RoomCreated => "videoRoom.created",
            EventBody::RoomUpdated { .. } => "videoRoom.updated",
            EventBody::RoomLive { .. } => "videoRoom.live",
            EventBody::RoomInactive { .. } => "videoRoom.inactive",
            EventBody::RoomEnded { .. } => "videoRoom.ended",
            EventBody::RoomArchiving { .. } => "videoRoom.archiving",
            EventBody::RoomArchived { .. } => "videoRoom.archived",
            EventBody::RoomArchiveFailed { .. } => "videoRoom.archiveFailed",
            EventBody::RecordingStarted { .. } => "recording.started",
            EventBody::RecordingStopped { .. } => "recording.stopped",
            EventBody::PostReady { .. } => "videoPost.ready",
            EventBody::PostFailed { .. } => "videoPost.failed",
            EventBody::PostDeleted { .. } => "videoPost.deleted",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn events_are_flat_json_and_read_back() {
        let event = Event {
            seq: 7,
            id: EventId::new("e"),
            app_id: AppId::new("a"),
            member_id: MemberId::new("m"),
            room_id: Some(RoomId::new("r")),
            at: 1_700_000_000_000,
            body: EventBody::RoomLive {
                from: VideoRoomState::Scheduled,
                to: VideoRoomState::Live,
                mode: Some(OutputMode::RtmpCmaf),
            },
        };
        let value = serde_json::to_value(&event).unwrap();
        assert_eq!(
            value,
            json!({
                "seq": 7, "id": "e", "appId": "a", "memberId": "m", "roomId": "r", "at": 1_700_000_000_000_i64,
                "type": "videoRoom.live", "from": "SCHEDULED", "to": "LIVE", "mode": "RTMP_CMAF",
            })
        );
        assert_eq!(serde_json::from_value::<Event>(value).unwrap(), event);
    }

    #[test]
    fn the_kind_is_the_type_in_json() {
        let (from, to) = (VideoRoomState::Archiving, VideoRoomState::Archived);
        let bodies = [
            EventBody::MemberCreated,
            EventBody::StreamKeyReplaced { reason: Replaced::ForcedEnd },
            EventBody::RoomUpdated { changed: vec!["title".into()] },
            EventBody::RoomInactive { from, to },
            EventBody::RoomEnded { from, to, forced: true },
            EventBody::RoomArchiving { from, to },
            EventBody::RoomArchived { from, to, video_post_id: "p".into() },
            EventBody::RoomArchiveFailed { from, to, reason: "full disk".into() },
            EventBody::RecordingStarted { video_post_id: "p".into() },
            EventBody::RecordingStopped { video_post_id: "p".into(), reason: "full disk".into() },
            EventBody::PostReady { video_post_id: "p".into(), duration_ms: 1, size_bytes: 2 },
            EventBody::PostFailed { video_post_id: "p".into(), reason: "full disk".into() },
            EventBody::PostDeleted { video_post_id: "p".into(), reason: Deleted::Expired },
            EventBody::RoomCreated,
            EventBody::RoomLive { from, to, mode: None },
            EventBody::StreamKeyStateChanged {
                from: StreamKeyState::Inactive,
                to: StreamKeyState::ActivePrep,
                mode: None,
                reason: None,
                labels: vec![],
            },
        ];
        let mut kinds: Vec<_> = bodies.iter().map(EventBody::kind).collect();
        for body in bodies {
            assert_eq!(serde_json::to_value(&body).unwrap()["type"], body.kind());
        }
        let mut all = EventBody::KINDS;
        kinds.sort();
        all.sort();
        assert_eq!(kinds, all);
    }
}
