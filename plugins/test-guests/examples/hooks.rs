//! A webhook that answers oddly, as the kind of the event says, and judges attempts as their number says.

use flyloft_plugin::webhook::{Answer, Attempt, Context, Delivery, Event, Method, Pair, Verdict, Webhook, post};

struct Hooks;

impl Webhook for Hooks {
    fn deliver(context: Context, event: Event) -> Answer {
        let good = post("https://a.example/hook", "text/plain", format!("{} {:?} {}", event.id, event.room_id, context.app.id));
        let header = |name: &str| {
            let headers = vec![Pair { name: name.to_owned(), value: "x".to_owned() }];
            Answer::Deliver(vec![Delivery { headers, ..good.clone() }])
        };
        match event.kind.as_str() {
            "abstain" => Answer::Abstain,
            "nobody" => Answer::Deliver(Vec::new()),
            "two" => {
                Answer::Deliver(vec![good.clone(), Delivery { method: Method::Put, sign: false, timeout: Some(500), ..good }])
            }
            "too-many" => Answer::Deliver(vec![good; 17]),
            "too-large" => Answer::Deliver(vec![Delivery { body: vec![b'x'; 8 << 20], ..good }]),
            "file" => Answer::Deliver(vec![Delivery { url: "file:///etc/passwd".to_owned(), ..good }]),
            "hop-by-hop" => header("Transfer-Encoding"),
            "signature" => header("Webhook-Signature"),
            "line-break" => header("a\r\nb"),
            "panic" => panic!("no webhook today"),
            _ => Answer::Deliver(vec![good]),
        }
    }

    fn attempted(_context: Context, _event: Event, delivery: Delivery, attempt: Attempt) -> Verdict {
        match attempt.number {
            1 => Verdict::RetryAfter(None),
            2 => Verdict::RetryAfter(Some(2_000)),
            3 => Verdict::GiveUp(format!("{} is gone: {:?}", delivery.url, attempt.outcome)),
            4 => Verdict::RetryAfter(Some(u64::MAX)),
            _ => Verdict::Done,
        }
    }
}

flyloft_plugin::export_webhook!(Hooks);
