//! The `webhook` interface: what other systems are told of an event.

/// What `wit/0.1.0/webhook.wit` says, as Rust.
#[allow(missing_docs, clippy::all)]
pub mod bindings {
    wit_bindgen::generate!({
        path: "../../wit/0.1.0",
        world: "webhook-plugin",
        with: { "flyloft:plugin/types@0.1.0": crate::policy::bindings::flyloft::plugin::types },
        additional_derives: [PartialEq],
        pub_export_macro: true,
        export_macro_name: "export_webhook",
        default_bindings_module: "flyloft_plugin::webhook::bindings",
        runtime_path: "flyloft_plugin::wit_runtime",
    });
}

pub use crate::policy::{Context, Pair};
/// Implemented by a plugin that tells other systems of events; made known with [`crate::export_webhook`].
pub use bindings::exports::flyloft::plugin::webhook::Guest as Webhook;
pub use bindings::exports::flyloft::plugin::webhook::{Answer, Attempt, Delivery, Event, Method, Outcome, Response, Verdict};

/// A signed `POST` of a body.
pub fn post(url: impl Into<String>, media_type: &str, body: impl Into<Vec<u8>>) -> Delivery {
    let content_type = Pair { name: "content-type".to_owned(), value: media_type.to_owned() };
    Delivery { method: Method::Post, url: url.into(), headers: vec![content_type], body: body.into(), sign: true, timeout: None }
}

/// The usual verdict on an attempt: 2xx is done; 410 says that the receiver is gone for good; 429 and 503 say when to come
/// back; everything else is tried again as the host thinks fit.
pub fn by_status(attempt: &Attempt) -> Verdict {
    match &attempt.outcome {
        Outcome::Response(response) => match response.status {
            200..=299 => Verdict::Done,
            410 => Verdict::GiveUp("The receiver answered 410 Gone.".to_owned()),
            429 | 503 => Verdict::RetryAfter(response.retry_after.map(|after| after.min(LONGEST))),
            _ => Verdict::RetryAfter(None),
        },
        Outcome::Failed(_) => Verdict::RetryAfter(None),
    }
}

/// The longest time that a verdict may name, in milliseconds: three days.
const LONGEST: u64 = 3 * 24 * 60 * 60 * 1000;
