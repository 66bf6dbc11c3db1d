//! Asks a backend that speaks the callbacks of nginx-rtmp (`on_publish`, `on_play`), so that it can stay as it is. The
//! settings `on_publish` and `on_play` are its URLs (what has none is left to the next plugin), and `app` is what it is
//! told as the application's name, "live" unless set. The backend's host must be granted.
//!
//! As in nginx-rtmp, 2xx allows and everything else refuses, a backend that does not answer included. A 3xx there renames the
//! stream, or relays it when `Location` begins with `rtmp://`. Streams have public names of their own here, so a new name
//! changes nothing: the action is allowed, and the name stands in the label `nginx-redirect`. A relay is refused.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod form;

use flyloft_callbacks::{Call, app};
use flyloft_plugin::policy::{Action, Context, Decision, Grant, Pair, Policy, abstain, allow, deny};
use flyloft_plugin::{config, http};

struct NginxCallbacks;

impl Policy for NginxCallbacks {
    fn decide(context: Context, action: Action) -> Decision {
        let Some(call) = Call::of(&context, &action) else {
            return abstain();
        };
        let Some(url) = config::get(call.kind.name()) else {
            return abstain();
        };
        let answer = call.send(url, "application/x-www-form-urlencoded", form::form(&call, &app()));
        answer.map_or_else(|refusal| refusal, |response| judge(&response))
    }
}

flyloft_plugin::export_policy!(NginxCallbacks);

/// Bytes of a label's value.
const MAX_LABEL: usize = 256;

fn judge(response: &http::Response) -> Decision {
    match response.status {
        200..=299 => allow(),
        300..=399 => match response.header("location") {
            Some(relay) if relay.starts_with("rtmp://") => deny(
                "relay-not-supported",
                "The server that decides about this wants the stream relayed to another server, which is not done here. Use a push.",
            ),
            Some(name) if name.len() <= MAX_LABEL && !name.chars().any(char::is_control) => {
                let label = Pair { name: "nginx-redirect".to_owned(), value: name.to_owned() };
                Decision::Allow(Grant { labels: vec![label], ..Grant::default() })
            }
            _ => allow(),
        },
        status => deny("refused-by-backend", format!("The server that decides about this refused it with status {status}.")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flyloft_callbacks::testing::{denied, play, publish, push_out};
    use flyloft_plugin::http::Response;
    use flyloft_plugin::testing;

    fn answering(status: u16, location: Option<&'static str>) -> Decision {
        testing::config(&[("on_publish", "http://backend.example/publish")]);
        testing::http(move |request| {
            assert_eq!((request.method.as_str(), request.url.as_str()), ("POST", "http://backend.example/publish"));
            let headers = location.map(|location| ("location".to_owned(), location.to_owned()));
            Ok(Response { status, headers: headers.into_iter().collect(), body: Vec::new() })
        });
        NginxCallbacks::decide(testing::context(), publish())
    }

    #[test]
    fn the_status_decides() {
        assert_eq!(answering(200, None), allow());
        assert_eq!(answering(204, None), allow());
        for status in [400, 403, 404, 500] {
            assert_eq!(denied(answering(status, None)), "refused-by-backend");
        }
    }

    #[test]
    fn a_new_name_is_a_label_and_a_relay_is_refused() {
        let Decision::Allow(grant) = answering(302, Some("public-name")) else { panic!("refused") };
        assert_eq!((grant.labels[0].name.as_str(), grant.labels[0].value.as_str()), ("nginx-redirect", "public-name"));
        assert_eq!(answering(302, None), allow());
        assert_eq!(denied(answering(302, Some("rtmp://192.0.2.1/live/x"))), "relay-not-supported");
    }

    #[test]
    fn what_has_no_url_is_left_to_others() {
        testing::config(&[("on_publish", "http://backend.example/publish")]);
        testing::http(|_| panic!("asked"));
        assert_eq!(NginxCallbacks::decide(testing::context(), play()), abstain());
        assert_eq!(NginxCallbacks::decide(testing::context(), push_out()), abstain());
    }
}
