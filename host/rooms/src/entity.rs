//! The things that are kept: apps, members, their stream keys and video rooms.

use crate::{AppId, MemberId, Millis, OutputMode, PublishId, RoomId, Secret, StreamKeyState, StreamName, VideoRoomState};

crate::words! {
    /// What kind of video room it is.
    RoomType, "room type" {
        /// One broadcaster pushes RTMP, many watch.
        BroadcastRtmp = "BROADCAST_RTMP",
        /// People meet by WebRTC.
        VideoConference = "VIDEO_CONFERENCE",
    }
}

crate::words! {
    /// Who may watch a room.
    AccessLevel, "access level" {
        /// Anyone with the URL.
        Public = "PUBLIC",
        /// Only with a room token.
        Private = "PRIVATE",
    }
}

/// A tenant. Its API secret is not here: the store keeps only a hash of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct App {
    pub id: AppId,
    pub name: String,
    /// The public half of the API credentials.
    pub key: String,
    /// Signs and checks the App's member and room tokens.
    pub signing_secret: Secret,
    /// For streams whose URL and key name none.
    pub output_mode: Option<OutputMode>,
    pub transcoding_profile: Option<String>,
    /// Whether rooms are recorded that say nothing themselves; none leaves it to the server's setting.
    pub record: Option<bool>,
    pub created_at: Millis,
    pub updated_at: Millis,
}

/// A person or device of an App.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub id: MemberId,
    pub app_id: AppId,
    /// The App's own id for this member, unique in the App.
    pub app_user_id: String,
    pub name: Option<String>,
    pub stream_name: StreamName,
    pub created_at: Millis,
    pub updated_at: Millis,
}

/// A member's right to publish, and what its stream does now. Every member has exactly one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamKey {
    pub member_id: MemberId,
    pub secret: Secret,
    pub state: StreamKeyState,
    /// Comes before the App's mode and after `?mode=` of the publish URL.
    pub output_mode: Option<OutputMode>,
    pub transcoding_profile: Option<String>,
    /// The publish under way.
    pub publish_id: Option<PublishId>,
    /// What the publish under way was given.
    pub publish_mode: Option<OutputMode>,
    /// When the secret was made.
    pub secret_at: Millis,
    pub updated_at: Millis,
}

/// A room in which a member's stream is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VideoRoom {
    pub id: RoomId,
    pub app_id: AppId,
    pub owner_id: MemberId,
    pub kind: RoomType,
    pub state: VideoRoomState,
    pub access: AccessLevel,
    pub title: Option<String>,
    pub description: Option<String>,
    /// For display only.
    pub scheduled_at: Option<Millis>,
    /// What the stream is shown in, since the room was started.
    pub mode: Option<OutputMode>,
    /// Whether it is recorded; none leaves it to the server's setting.
    pub record: Option<bool>,
    /// What the policy said about that when the room was started; it comes before `record`.
    pub record_granted: Option<bool>,
    pub video_post_id: Option<String>,
    /// Why archiving failed.
    pub failure: Option<String>,
    pub created_at: Millis,
    pub updated_at: Millis,
    pub started_at: Option<Millis>,
    pub ended_at: Option<Millis>,
}
