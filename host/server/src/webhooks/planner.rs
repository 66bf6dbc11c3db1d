//! What the host asks of the one who knows an App's webhooks: which requests an event calls for, and what an attempt means. The host
//! signs, sends, waits and repeats.

use std::collections::BTreeMap;

use bytes::Bytes;
use flyloft_rooms::{App, Millis};
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

/// What an App has subscribed with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    pub id: String,
    pub app: App,
    pub urls: Vec<String>,
    pub config: BTreeMap<String, String>,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub id: String,
    /// For example `videoRoom.live`.
    pub kind: String,
    pub at: Millis,
    pub app_id: String,
    pub member_id: Option<String>,
    pub room_id: Option<String>,
    /// A JSON object.
    pub data: String,
}

/// A request to be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    pub method: String,
    pub url: String,
    pub headers: Vec<(String, String)>,
    #[serde(skip)]
    pub body: Bytes,
    /// Whether the host signs it.
    pub sign: bool,
    /// How long an attempt may take, in milliseconds. The host has a limit of its own.
    pub timeout_ms: u32,
    /// The name of the plugin that planned it, which judges its attempts.
    #[serde(default)]
    pub planned_by: String,
}

/// One try to deliver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Counted from 1.
    pub number: u32,
    pub outcome: Outcome,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// There was an answer.
    Status {
        code: u16,
        /// What the answer's `Retry-After` asks for, in milliseconds from now.
        retry_after: Option<u64>,
        /// The first bytes of its body.
        body_start: Bytes,
    },
    /// There was none.
    Transport { reason: String },
}

/// What becomes of a delivery after an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Done,
    /// Another attempt, after so many milliseconds or when the host thinks best.
    RetryAfter(Option<u64>),
    GiveUp {
        reason: String,
    },
}

/// Nothing could be planned. The event is kept, and planned again later.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the deliveries could not be planned: {reason}")]
pub struct PlanError {
    pub reason: String,
}

/// Plans deliveries and judges attempts.
pub trait Planner: Send + Sync {
    /// The requests that `event` calls for; none is an answer, too.
    fn plan<'a>(&'a self, subscription: &'a Subscription, event: &'a Event) -> BoxFuture<'a, Result<Vec<Delivery>, PlanError>>;

    /// What an attempt means.
    fn attempted<'a>(
        &'a self,
        subscription: &'a Subscription,
        event: &'a Event,
        delivery: &'a Delivery,
        attempt: &'a Attempt,
    ) -> BoxFuture<'a, Verdict>;
}
