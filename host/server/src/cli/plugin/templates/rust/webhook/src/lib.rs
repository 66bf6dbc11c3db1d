//! Tells in words when a room goes live. Everything else is left to the next plugin.

use flyloft_plugin::config;
use flyloft_plugin::webhook::{Answer, Attempt, Context, Delivery, Event, Verdict, Webhook, by_status, post};

struct Rule;

impl Webhook for Rule {
    fn deliver(_context: Context, event: Event) -> Answer {
        let (Some(room), "videoRoom.live") = (event.room_id, event.kind.as_str()) else {
            return Answer::Abstain;
        };
        let text = format!("Room {room} is live.");
        // The addresses of the App's webhook.
        let urls = config::list("urls").into_iter();
        Answer::Deliver(urls.map(|url| post(url, "text/plain; charset=utf-8", text.clone())).collect())
    }

    fn attempted(_context: Context, _event: Event, _delivery: Delivery, attempt: Attempt) -> Verdict {
        by_status(&attempt)
    }
}

flyloft_plugin::export_webhook!(Rule);

#[cfg(test)]
mod tests {
    use super::*;
    use flyloft_plugin::testing;

    #[test]
    fn a_room_that_goes_live_is_told_to_each_address() {
        testing::config(&[("urls", "https://a.example\nhttps://b.example")]);
        let Answer::Deliver(deliveries) = Rule::deliver(testing::context(), testing::event("videoRoom.live")) else {
            panic!("no opinion");
        };
        assert_eq!(deliveries.len(), 2);
        assert_eq!(deliveries[1].url, "https://b.example");
        assert_eq!(deliveries[1].body, b"Room room-1 is live.");
    }

    #[test]
    fn everything_else_is_left_to_the_next_plugin() {
        assert_eq!(Rule::deliver(testing::context(), testing::event("member.created")), Answer::Abstain);
    }
}
