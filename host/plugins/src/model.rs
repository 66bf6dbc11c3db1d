//! What the host asks a plugin and what a plugin answers: the records of `wit/0.1.0` as Rust types, in WIT order.
//! They are lowered into the guest and lifted out of it directly, and serialise to JSON for logs and test cases.
//!
//! All times are milliseconds since the Unix epoch, bit rates are bits per second and durations are milliseconds.

mod bytes_text;
mod vod_source;
mod webhook;

pub use vod_source::*;
pub use webhook::*;

use serde::{Deserialize, Serialize};
use wasmtime::component::{ComponentType, Lift, Lower};

/// A name with a value: a URL parameter, a label, a claim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ComponentType, Lift, Lower)]
#[component(record)]
#[serde(rename_all = "camelCase")]
pub struct Pair {
    pub name: String,
    pub value: String,
}

/// The tenant that the call belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ComponentType, Lower)]
#[component(record)]
#[serde(rename_all = "camelCase")]
pub struct App {
    pub id: String,
    pub name: String,
    /// The App's default output mode, if it has one.
    #[component(name = "output-mode")]
    pub output_mode: Option<OutputMode>,
}

/// Who acts, or whose stream it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ComponentType, Lower)]
#[component(record)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    pub id: String,
    /// The caller's own id for this member, unique in the App.
    #[component(name = "app-user-id")]
    pub app_user_id: String,
    pub name: Option<String>,
}

/// What kind of room it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ComponentType, Lower)]
#[component(enum)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum RoomType {
    #[component(name = "broadcast-rtmp")]
    BroadcastRtmp,
    #[component(name = "video-conference")]
    VideoConference,
}

/// Where a room is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ComponentType, Lower)]
#[component(enum)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum RoomState {
    #[component(name = "scheduled")]
    Scheduled,
    #[component(name = "live")]
    Live,
    #[component(name = "live-inactive")]
    LiveInactive,
    #[component(name = "ended")]
    Ended,
    #[component(name = "archiving")]
    Archiving,
    #[component(name = "archived")]
    Archived,
    #[component(name = "archive-failed")]
    ArchiveFailed,
}

/// Who may watch a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ComponentType, Lower)]
#[component(enum)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum AccessLevel {
    /// Anyone with the URL.
    #[component(name = "public")]
    Public,
    /// Only with a signed URL or a room token.
    #[component(name = "private")]
    Private,
}

/// A video room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ComponentType, Lower)]
#[component(record)]
#[serde(rename_all = "camelCase")]
pub struct Room {
    pub id: String,
    pub kind: RoomType,
    pub state: RoomState,
    pub access: AccessLevel,
    pub owner: Member,
    pub title: Option<String>,
}

/// By which protocol a request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ComponentType, Lower)]
#[component(enum)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum Protocol {
    #[component(name = "rtmp")]
    Rtmp,
    #[component(name = "rtmps")]
    Rtmps,
    #[component(name = "http-flv")]
    HttpFlv,
    #[component(name = "hls")]
    Hls,
    #[component(name = "dash")]
    Dash,
    #[component(name = "whip")]
    Whip,
    #[component(name = "whep")]
    Whep,
    #[component(name = "rest")]
    Rest,
    #[component(name = "internal")]
    Internal,
}

/// Where a request came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ComponentType, Lower)]
#[component(record)]
#[serde(rename_all = "camelCase")]
pub struct Connection {
    pub protocol: Protocol,
    /// IPv4 or IPv6 address in text form, without a port.
    #[component(name = "remote-ip")]
    pub remote_ip: String,
    #[component(name = "user-agent")]
    pub user_agent: Option<String>,
    /// The parameters of the URL, decoded, in their order, without the ones that are secret.
    pub parameters: Vec<Pair>,
}

/// A token whose signature, audience and expiry the host has already checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ComponentType, Lower)]
#[component(record)]
#[serde(rename_all = "camelCase")]
pub struct Token {
    /// The member's id, if the token names one.
    pub subject: Option<String>,
    /// The room that the token is for, if it is for one only.
    #[component(name = "room-id")]
    pub room_id: Option<String>,
    /// For example "audience", "member", "owner".
    pub role: Option<String>,
    pub permissions: Vec<String>,
    /// Every other claim, values as JSON text.
    pub claims: Vec<Pair>,
}

/// The outputs that a stream gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ComponentType, Lift, Lower)]
#[component(enum)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum OutputMode {
    /// RTMP and HTTP-FLV.
    #[component(name = "rtmp")]
    Rtmp,
    /// HLS and MPEG-DASH.
    #[component(name = "cmaf")]
    Cmaf,
    /// All four.
    #[component(name = "rtmp-cmaf")]
    RtmpCmaf,
}

/// What every call carries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ComponentType, Lower)]
#[component(record)]
#[serde(rename_all = "camelCase")]
pub struct Context {
    /// Unique for each call; the same id stands in the host's log.
    #[component(name = "call-id")]
    pub call_id: String,
    /// The time of the call.
    pub now: u64,
    pub app: App,
}

/// A broadcaster wants to send media with a stream key that the host has recognised.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ComponentType, Lower)]
#[component(record)]
#[serde(rename_all = "camelCase")]
pub struct PublishRequest {
    pub connection: Connection,
    /// Whose stream key it is.
    pub member: Member,
    /// The member's room that is live or paused, if there is one.
    pub room: Option<Room>,
    /// The public name of the stream.
    pub stream: String,
}

/// A viewer wants to watch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ComponentType, Lower)]
#[component(record)]
#[serde(rename_all = "camelCase")]
pub struct PlayRequest {
    pub connection: Connection,
    /// The room that is watched. None when a stream is played by its own name while no room shows it.
    pub room: Option<Room>,
    /// Whose stream it is.
    pub owner: Member,
    pub stream: String,
    pub token: Option<Token>,
    /// How many viewers the stream has already.
    pub viewers: u32,
}

/// Somebody wants to enter a conference room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ComponentType, Lower)]
#[component(record)]
#[serde(rename_all = "camelCase")]
pub struct JoinRequest {
    pub connection: Connection,
    pub room: Room,
    pub member: Option<Member>,
    pub token: Option<Token>,
    /// The role that is asked for, for example "member" or "audience".
    pub role: String,
}

/// Somebody in a room wants to change another one's role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ComponentType, Lower)]
#[component(record)]
#[serde(rename_all = "camelCase")]
pub struct RoleChangeRequest {
    pub room: Room,
    /// Who asks.
    pub by: Member,
    #[component(name = "by-permissions")]
    pub by_permissions: Vec<String>,
    /// Whose role is to change.
    pub target: Member,
    /// The role that is asked for.
    pub role: String,
}

/// Who makes a REST call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ComponentType, Lower)]
#[component(enum)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum Caller {
    /// The App's key and secret.
    #[component(name = "server")]
    Server,
    /// A member's own token.
    #[component(name = "member")]
    Member,
    /// The operator of the server.
    #[component(name = "operator")]
    Operator,
}

/// A room is to be created, started or ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ComponentType, Lower)]
#[component(record)]
#[serde(rename_all = "camelCase")]
pub struct RoomRequest {
    pub connection: Connection,
    pub room: Room,
    pub caller: Caller,
    /// The member who calls, when `caller` is [`Caller::Member`].
    pub member: Option<Member>,
    /// For [`Action::End`]: the broadcast is ended while it streams.
    pub forced: bool,
}

/// A stream is to be sent to another server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ComponentType, Lower)]
#[component(record)]
#[serde(rename_all = "camelCase")]
pub struct PushOutRequest {
    pub room: Option<Room>,
    pub stream: String,
    /// Scheme and host of the target; never its key.
    pub target: String,
}

/// Somebody asks for a room token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ComponentType, Lower)]
#[component(record)]
#[serde(rename_all = "camelCase")]
pub struct IssueTokenRequest {
    pub connection: Connection,
    /// The room that the token is for. None when it is for all rooms of the App.
    pub room: Option<Room>,
    pub caller: Caller,
    /// The member who calls, when `caller` is [`Caller::Member`].
    pub by: Option<Member>,
    /// The member whom the token will name. None for a token that names nobody.
    pub subject: Option<Member>,
    /// The role that the token will carry, for example "audience".
    pub role: String,
    /// The permissions that the token will carry.
    pub permissions: Vec<String>,
}

/// What somebody wants to do: the question of `room-policy`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ComponentType, Lower)]
#[component(variant)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    #[component(name = "publish")]
    Publish(PublishRequest),
    #[component(name = "play")]
    Play(PlayRequest),
    #[component(name = "join")]
    Join(JoinRequest),
    #[component(name = "promote")]
    Promote(RoleChangeRequest),
    #[component(name = "demote")]
    Demote(RoleChangeRequest),
    #[component(name = "create")]
    Create(RoomRequest),
    #[component(name = "start")]
    Start(RoomRequest),
    #[component(name = "end")]
    End(RoomRequest),
    #[component(name = "push-out")]
    PushOut(PushOutRequest),
    #[component(name = "issue-token")]
    IssueToken(IssueTokenRequest),
}

impl Action {
    /// The action's name as it stands in the WIT file, for logs and metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Action::Publish(_) => "publish",
            Action::Play(_) => "play",
            Action::Join(_) => "join",
            Action::Promote(_) => "promote",
            Action::Demote(_) => "demote",
            Action::Create(_) => "create",
            Action::Start(_) => "start",
            Action::End(_) => "end",
            Action::PushOut(_) => "push-out",
            Action::IssueToken(_) => "issue-token",
        }
    }
}

/// Limits that the host enforces. None means the host's own setting.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ComponentType, Lift)]
#[component(record)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// Bits per second, measured over ten seconds.
    #[component(name = "max-bitrate")]
    pub max_bitrate: Option<u64>,
    /// Milliseconds from the start of the publish or the play.
    #[component(name = "max-duration")]
    pub max_duration: Option<u64>,
    #[component(name = "max-viewers")]
    pub max_viewers: Option<u32>,
    /// Pixels.
    #[component(name = "max-width")]
    pub max_width: Option<u32>,
    /// Pixels.
    #[component(name = "max-height")]
    pub max_height: Option<u32>,
}

/// What an allowed action may do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ComponentType, Lift)]
#[component(record)]
#[serde(rename_all = "camelCase")]
pub struct Grant {
    /// None leaves the role that was asked for.
    pub role: Option<String>,
    pub permissions: Vec<String>,
    pub limits: Limits,
    /// Whether the stream is recorded. None leaves it to the room.
    pub record: Option<bool>,
    /// Kept with the stream or the session and shown in events, logs and metrics.
    /// At most 16, names up to 64 bytes and values up to 256; the host has checked that.
    pub labels: Vec<Pair>,
}

/// Why an action is refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ComponentType, Lift)]
#[component(record)]
#[serde(rename_all = "camelCase")]
pub struct Denial {
    /// For a program: lower-case words joined by hyphens, for example "not-live".
    pub code: String,
    /// For a person: what was refused, why, and what to do about it. The encoder or player shows it.
    pub reason: String,
}

/// The answer of `room-policy`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ComponentType, Lift)]
#[component(variant)]
#[serde(rename_all = "kebab-case")]
pub enum Decision {
    #[component(name = "allow")]
    Allow(Grant),
    #[component(name = "deny")]
    Deny(Denial),
    /// No opinion: the next plugin in the chain is asked. [`crate::Plugins::decide`] never returns it.
    #[component(name = "abstain")]
    Abstain,
}

/// The question of `output-mode`: which outputs does a stream get whose publish was allowed?
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ComponentType, Lower)]
#[component(record)]
#[serde(rename_all = "camelCase")]
pub struct OutputModeRequest {
    pub connection: Connection,
    pub member: Member,
    pub room: Option<Room>,
    pub stream: String,
    /// The `mode` parameter of the publish URL as it was sent, if there was one. It may be anything.
    #[component(name = "url-mode")]
    pub url_mode: Option<String>,
    /// The mode set on the stream key.
    #[component(name = "key-mode")]
    pub key_mode: Option<OutputMode>,
    /// The transcoding profile set on the stream key, else the App's.
    #[component(name = "transcoding-profile")]
    pub transcoding_profile: Option<String>,
}

/// Which outputs a stream gets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ComponentType, Lift)]
#[component(record)]
#[serde(rename_all = "camelCase")]
pub struct Outputs {
    pub mode: OutputMode,
    /// None means no transcoding.
    #[component(name = "transcoding-profile")]
    pub transcoding_profile: Option<String>,
}

/// The answer of `output-mode`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ComponentType, Lift)]
#[component(variant)]
#[serde(rename_all = "kebab-case")]
pub enum OutputModeAnswer {
    /// The stream gets these outputs.
    #[component(name = "use-outputs")]
    UseOutputs(Outputs),
    /// The publish is refused with this reason, which the encoder shows.
    #[component(name = "refuse")]
    Refuse(String),
    /// No opinion: the next plugin in the chain was asked too, and now the App's default is to be used.
    #[component(name = "abstain")]
    Abstain,
}
