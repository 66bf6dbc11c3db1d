//! One attempt: the planned request is signed and sent, and the answer is put into words.

use std::time::{Duration, Instant};

use flyloft_plugins::outbound::Limits;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Request, Response, Uri};

use super::planner::{Delivery, Outcome};
use super::{Webhooks, sign};
use crate::rooms::now;
use crate::store::Webhook;

/// Bytes of an answer's body that are kept for the planner.
const BODY_START: usize = 4 * 1024;
/// Header fields that are the host's.
const OWN: &str = "webhook-";
const USER_AGENT: HeaderValue = HeaderValue::from_static(concat!("Flyloft/", env!("CARGO_PKG_VERSION")));

impl Webhooks {
    /// Sends a delivery once. `id` is the same in every attempt.
    pub(super) async fn attempt(&self, webhook: &Webhook, id: &str, delivery: &Delivery) -> Outcome {
        let request = match request(webhook, id, delivery, now() / 1000) {
            Ok(request) => request,
            Err(reason) => return Outcome::Transport { reason },
        };
        let deadline = Duration::from_millis(delivery.timeout_ms.into()).clamp(Duration::from_millis(1), self.settings.timeout);
        let started = Instant::now();
        let answer = self.transport.send(request, Limits { deadline, max_body: BODY_START }).await;
        metrics::histogram!("flyloft_webhook_attempt_seconds").record(started.elapsed().as_secs_f64());
        let outcome = match answer {
            Ok(answer) => Outcome::Status {
                code: answer.status().as_u16(),
                retry_after: retry_after(&answer, now()),
                body_start: answer.into_body(),
            },
            Err(error) => Outcome::Transport { reason: error.to_string() },
        };
        metrics::counter!("flyloft_webhook_attempts_total", "outcome" => word(&outcome)).increment(1);
        outcome
    }
}

fn word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Transport { .. } => "transport",
        Outcome::Status { code: 200..=299, .. } => "2xx",
        Outcome::Status { code: 300..=399, .. } => "3xx",
        Outcome::Status { code: 400..=499, .. } => "4xx",
        Outcome::Status { .. } => "other",
    }
}

fn request(webhook: &Webhook, id: &str, delivery: &Delivery, timestamp: i64) -> Result<Request<bytes::Bytes>, String> {
    let uri: Uri = delivery.url.parse().map_err(|error| format!("the URL {:?} can't be used: {error}", delivery.url))?;
    let method =
        http::Method::from_bytes(delivery.method.as_bytes()).map_err(|_| format!("{:?} is no method", delivery.method))?;
    let mut headers = HeaderMap::new();
    headers.insert(header::USER_AGENT, USER_AGENT);
    for (name, value) in &delivery.headers {
        let parsed = HeaderName::try_from(name).ok().zip(HeaderValue::try_from(value).ok());
        let (name, value) = parsed.ok_or_else(|| format!("the header field {name:?} can't be sent"))?;
        if !name.as_str().starts_with(OWN) {
            headers.insert(name, value);
        }
    }
    let id = format!("msg_{id}");
    let mut own = |name: &'static str, value: String| {
        let value = HeaderValue::try_from(value).map_err(|error| error.to_string())?;
        headers.insert(HeaderName::from_static(name), value);
        Ok::<_, String>(())
    };
    if delivery.sign {
        let secrets = [Some(&webhook.secret), webhook.old_secret.as_ref()].into_iter().flatten();
        own("webhook-signature", sign::signatures(secrets, &id, timestamp, &delivery.body))?;
    }
    own("webhook-id", id)?;
    own("webhook-timestamp", timestamp.to_string())?;
    let mut request = Request::new(delivery.body.clone());
    (*request.uri_mut(), *request.method_mut(), *request.headers_mut()) = (uri, method, headers);
    Ok(request)
}

/// `Retry-After` (RFC 9110, section 10.2.3), in seconds or as a date, as milliseconds from `now`.
fn retry_after(answer: &Response<bytes::Bytes>, now: i64) -> Option<u64> {
    let text = answer.headers().get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(seconds.saturating_mul(1000));
    }
    let date = jiff::fmt::rfc2822::parse(text).ok()?;
    u64::try_from(date.timestamp().as_millisecond().saturating_sub(now).max(0)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use flyloft_rooms::{AppId, Secret};

    fn webhook() -> Webhook {
        Webhook {
            id: "w".into(),
            app_id: AppId::new("a"),
            description: None,
            urls: vec![],
            config: Default::default(),
            kinds: None,
            enabled: true,
            secret: Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
            old_secret: None,
            created_at: 0,
            updated_at: 0,
        }
    }

    fn delivery() -> Delivery {
        Delivery {
            method: "POST".into(),
            url: "https://hooks.example/x".into(),
            headers: vec![("Webhook-Id".into(), "forged".into()), ("X-Mine".into(), "kept".into())],
            body: Bytes::from_static(b"{}"),
            sign: true,
            timeout_ms: 1,
            planned_by: String::new(),
        }
    }

    #[test]
    fn the_host_s_own_fields_are_the_host_s() {
        let built = request(&webhook(), "7", &delivery(), 1_614_265_330).unwrap();
        let field = |name: &str| built.headers()[name].to_str().unwrap();
        assert_eq!((field("webhook-id"), field("webhook-timestamp"), field("x-mine")), ("msg_7", "1614265330", "kept"));
        assert_eq!(field("webhook-signature"), sign::signatures([&webhook().secret], "msg_7", 1_614_265_330, b"{}"));
        assert!(field("user-agent").starts_with("Flyloft/"));
        let rotating = Webhook { old_secret: Some(Secret::new("whsec_AAAA")), ..webhook() };
        let built = request(&rotating, "7", &delivery(), 1).unwrap();
        assert_eq!(built.headers()["webhook-signature"].to_str().unwrap().split(' ').count(), 2);
        let plain = request(&webhook(), "7", &Delivery { sign: false, ..delivery() }, 1).unwrap();
        assert!(!plain.headers().contains_key("webhook-signature") && plain.headers().contains_key("webhook-id"));
    }

    #[test]
    fn what_can_t_be_sent_is_named() {
        for (delivery, part) in [
            (Delivery { url: "https://a b/".into(), ..delivery() }, "a b"),
            (Delivery { method: "GET /".into(), ..delivery() }, "GET /"),
            (Delivery { headers: vec![("x y".into(), "z".into())], ..delivery() }, "x y"),
            (Delivery { headers: vec![("x-y".into(), "a\r\nb: c".into())], ..delivery() }, "x-y"),
        ] {
            assert!(request(&webhook(), "7", &delivery, 1).unwrap_err().contains(part), "{part}");
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let after = |value: &'static str| {
            let mut answer = Response::new(Bytes::new());
            answer.headers_mut().insert("retry-after", HeaderValue::from_static(value));
            retry_after(&answer, 1_445_412_400_000)
        };
        assert_eq!(after("120"), Some(120_000));
        assert_eq!(after("Wed, 21 Oct 2015 07:28:00 GMT"), Some(80_000));
        assert_eq!(after("Wed, 21 Oct 2014 07:28:00 GMT").or(Some(0)), Some(0));
        assert_eq!(after("soon"), None);
        assert_eq!(after("-5"), None);
        assert_eq!(retry_after(&Response::new(Bytes::new()), 0), None);
    }
}
