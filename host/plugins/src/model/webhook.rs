//! The records of `wit/0.1.0/webhook.wit`.

use super::{Pair, bytes_text};
use serde::{Deserialize, Serialize};
use wasmtime::component::{ComponentType, Lift, Lower};

/// Something that has happened: the question of `webhook`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ComponentType, Lower)]
#[component(record)]
#[serde(rename_all = "camelCase")]
pub struct WebhookEvent {
    /// Unique; the same at every attempt.
    pub id: String,
    /// For example "videoRoom.live".
    pub kind: String,
    /// When it happened.
    pub time: u64,
    #[component(name = "app-id")]
    pub app_id: String,
    #[component(name = "room-id")]
    pub room_id: Option<String>,
    #[component(name = "member-id")]
    pub member_id: Option<String>,
    /// What else is known, as the text of a JSON object.
    pub data: String,
}

/// The method of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ComponentType, Lift, Lower)]
#[component(enum)]
#[serde(rename_all = "UPPERCASE")]
#[repr(u8)]
pub enum DeliveryMethod {
    #[component(name = "get")]
    Get,
    #[component(name = "post")]
    Post,
    #[component(name = "put")]
    Put,
    #[component(name = "patch")]
    Patch,
    #[component(name = "delete")]
    Delete,
}

impl DeliveryMethod {
    /// As it stands in a request.
    pub fn name(self) -> &'static str {
        match self {
            DeliveryMethod::Get => "GET",
            DeliveryMethod::Post => "POST",
            DeliveryMethod::Put => "PUT",
            DeliveryMethod::Patch => "PATCH",
            DeliveryMethod::Delete => "DELETE",
        }
    }
}

/// One HTTP request to be made. The host has checked it against the limits of the contract, but not its address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ComponentType, Lift, Lower)]
#[component(record)]
#[serde(rename_all = "camelCase")]
pub struct Delivery {
    pub method: DeliveryMethod,
    /// `http` or `https`, without user, password and fragment.
    pub url: String,
    /// None of the connection, no `host`, `content-length` and `webhook-` headers.
    pub headers: Vec<Pair>,
    #[serde(with = "bytes_text")]
    pub body: Vec<u8>,
    /// Whether the host signs it as Standard Webhooks says.
    pub sign: bool,
    /// Milliseconds that the receiver has for its answer. None means the host's own setting.
    pub timeout: Option<u32>,
}

/// The answer of `webhook`'s `deliver`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ComponentType, Lift)]
#[component(variant)]
#[serde(rename_all = "kebab-case")]
pub enum WebhookAnswer {
    /// These requests are to be made; none at all means that nobody is to be told.
    #[component(name = "deliver")]
    Deliver(Vec<Delivery>),
    /// No opinion: the next plugin in the chain is asked.
    #[component(name = "abstain")]
    Abstain,
}

/// A receiver's answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ComponentType, Lower)]
#[component(record)]
#[serde(rename_all = "camelCase")]
pub struct ReceiverResponse {
    pub status: u16,
    /// Milliseconds from now, from the `Retry-After` header.
    #[component(name = "retry-after")]
    pub retry_after: Option<u64>,
    /// The beginning of the body, up to [`ReceiverResponse::MAX_BODY`] bytes.
    #[serde(with = "bytes_text")]
    pub body: Vec<u8>,
}

impl ReceiverResponse {
    /// Bytes of a body that a plugin is shown.
    pub const MAX_BODY: usize = 4096;
}

/// What came of an attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ComponentType, Lower)]
#[component(variant)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    #[component(name = "response")]
    Response(ReceiverResponse),
    /// There was no answer; the text says why.
    #[component(name = "failed")]
    Failed(String),
}

/// A delivery that was tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ComponentType, Lower)]
#[component(record)]
#[serde(rename_all = "camelCase")]
pub struct Attempt {
    /// 1 for the first.
    pub number: u32,
    pub outcome: Outcome,
}

/// The question of `webhook`'s `attempted`: is this delivery done?
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AttemptedRequest {
    pub event: WebhookEvent,
    pub delivery: Delivery,
    pub attempt: Attempt,
}

/// The answer of `webhook`'s `attempted`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ComponentType, Lift)]
#[component(variant)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The receiver has it.
    #[component(name = "done")]
    Done,
    /// Try again after so many milliseconds; None leaves the time to the host.
    #[component(name = "retry-after")]
    RetryAfter(Option<u64>),
    /// It makes no sense to try again.
    #[component(name = "give-up")]
    GiveUp(String),
}
