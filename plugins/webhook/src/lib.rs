//! The built-in rule for webhooks: each event goes to each URL in the setting `urls` as a CloudEvent, signed. With the
//! setting `kinds` only events of those kinds go out.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod cloud_event;

use flyloft_plugin::config;
use flyloft_plugin::webhook::{Answer, Attempt, Context, Delivery, Event, Verdict, Webhook, by_status, post};

struct Default;

impl Webhook for Default {
    fn deliver(_context: Context, event: Event) -> Answer {
        let urls = config::list("urls");
        if urls.is_empty() {
            return Answer::Abstain;
        }
        let kinds = config::list("kinds");
        if !kinds.is_empty() && !kinds.iter().any(|kind| matches(kind, &event.kind)) {
            return Answer::Deliver(Vec::new());
        }
        let body = cloud_event::json(&event);
        Answer::Deliver(urls.into_iter().map(|url| post(url, cloud_event::MEDIA_TYPE, body.clone())).collect())
    }

    fn attempted(_context: Context, _event: Event, _delivery: Delivery, attempt: Attempt) -> Verdict {
        by_status(&attempt)
    }
}

flyloft_plugin::export_webhook!(Default);

/// Whether a kind is meant: by its name, or by its beginning, as in `videoRoom.*`.
fn matches(wanted: &str, kind: &str) -> bool {
    match wanted.strip_suffix('*') {
        Some(beginning) => kind.starts_with(beginning),
        None => kind == wanted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flyloft_plugin::testing;
    use flyloft_plugin::webhook::{Method, Outcome, Response};

    fn deliver(kind: &str) -> Vec<Delivery> {
        match Default::deliver(testing::context(), testing::event(kind)) {
            Answer::Deliver(deliveries) => deliveries,
            Answer::Abstain => panic!("no opinion"),
        }
    }

    #[test]
    fn each_url_gets_the_event() {
        testing::config(&[("urls", "https://a.example/hook, https://b.example\nhttp://c.example")]);
        let deliveries = deliver("videoRoom.live");
        let urls: Vec<&str> = deliveries.iter().map(|delivery| delivery.url.as_str()).collect();
        assert_eq!(urls, ["https://a.example/hook", "https://b.example", "http://c.example"]);
        for delivery in &deliveries {
            assert_eq!((delivery.method, delivery.sign, &delivery.body), (Method::Post, true, &deliveries[0].body));
            assert_eq!(delivery.headers[0].value, "application/cloudevents+json; charset=utf-8");
        }
    }

    #[test]
    fn without_urls_there_is_no_opinion() {
        assert_eq!(Default::deliver(testing::context(), testing::event("videoRoom.live")), Answer::Abstain);
        testing::config(&[("urls", " , \n")]);
        assert_eq!(Default::deliver(testing::context(), testing::event("videoRoom.live")), Answer::Abstain);
    }

    #[test]
    fn kinds_can_be_chosen() {
        testing::config(&[("urls", "https://a.example"), ("kinds", "videoRoom.*, member.created")]);
        assert_eq!(deliver("videoRoom.live").len(), 1);
        assert_eq!(deliver("member.created").len(), 1);
        assert_eq!(deliver("member.createdAgain").len(), 0);
        assert_eq!(deliver("streamKey.replaced").len(), 0);
    }

    fn verdict(attempt: Attempt) -> Verdict {
        let delivery = post("https://a.example", "text/plain", "x");
        Default::attempted(testing::context(), testing::event("videoRoom.live"), delivery, attempt)
    }

    #[test]
    fn the_status_decides() {
        for status in [200, 202, 204, 299] {
            assert_eq!(verdict(testing::attempt(status)), Verdict::Done, "{status}");
        }
        for status in [100, 301, 302, 400, 404, 408, 429, 500, 503] {
            assert_eq!(verdict(testing::attempt(status)), Verdict::RetryAfter(None), "{status}");
        }
        assert!(matches!(verdict(testing::attempt(410)), Verdict::GiveUp(_)));
    }

    #[test]
    fn a_receiver_says_when_to_come_back() {
        let after = |status, retry_after| {
            let response = Response { status, retry_after, body: Vec::new() };
            verdict(Attempt { number: 3, outcome: Outcome::Response(response) })
        };
        assert_eq!(after(429, Some(7_000)), Verdict::RetryAfter(Some(7_000)));
        assert_eq!(after(503, Some(7_000)), Verdict::RetryAfter(Some(7_000)));
        assert_eq!(after(500, Some(7_000)), Verdict::RetryAfter(None));
        assert_eq!(after(503, Some(u64::MAX)), Verdict::RetryAfter(Some(3 * 24 * 60 * 60 * 1000)));
        let failed = Outcome::Failed("connection refused".into());
        assert_eq!(verdict(Attempt { number: 1, outcome: failed }), Verdict::RetryAfter(None));
    }
}
