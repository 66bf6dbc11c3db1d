//! Asks backends that speak the HTTP callbacks of SRS (`on_publish`, `on_play`), so that they can stay as they are. The
//! settings `on_publish` and `on_play` are their URLs, with commas between them (what has none is left to the next plugin);
//! `app` and `vhost` are what they are told, "live" and "__defaultVhost__" unless set. Their hosts must be granted.
//!
//! As in SRS, a backend allows with status 200 and the code 0, either as the whole body or as `code` of a JSON object, and all of
//! them must. Everything else refuses, a backend that does not answer included.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod message;

use flyloft_callbacks::{Call, app};
use flyloft_plugin::policy::{Action, Context, Decision, Policy, abstain, allow, deny};
use flyloft_plugin::{config, log};
use message::{allows, message};

struct SrsCallbacks;

impl Policy for SrsCallbacks {
    fn decide(context: Context, action: Action) -> Decision {
        let Some(call) = Call::of(&context, &action) else {
            return abstain();
        };
        let urls = config::list(call.kind.name());
        if urls.is_empty() {
            return abstain();
        }
        let vhost = config::get("vhost").unwrap_or_else(|| "__defaultVhost__".to_owned());
        let message = message(&call, &app(), &vhost);
        for url in urls {
            match call.send(url, "application/json", message.clone()) {
                Ok(response) if allows(&response) => {}
                Ok(response) => {
                    log::info(format!("{}: refused with status {}", call.kind.name(), response.status));
                    return deny("refused-by-backend", "The server that decides about this refused it.");
                }
                Err(refusal) => return refusal,
            }
        }
        allow()
    }
}

flyloft_plugin::export_policy!(SrsCallbacks);

#[cfg(test)]
mod tests {
    use super::*;
    use flyloft_callbacks::testing::{denied, publish, push_out};
    use flyloft_plugin::http::{Error, Response};
    use flyloft_plugin::testing;

    /// The first backend always allows; this is what the second says.
    fn answering(status: u16, body: &'static str) -> Decision {
        testing::config(&[("on_publish", "http://one.example/,http://two.example/")]);
        testing::http(move |request| {
            let (status, body) = if request.url == "http://one.example/" { (200, "0") } else { (status, body) };
            Ok(Response { status, headers: Vec::new(), body: body.into() })
        });
        SrsCallbacks::decide(testing::context(), publish())
    }

    #[test]
    fn all_backends_must_allow() {
        assert_eq!(answering(200, "{\"code\": 0, \"msg\": \"OK\"}"), allow());
        assert_eq!(denied(answering(200, "{\"code\": 1}")), "refused-by-backend");
        assert_eq!(denied(answering(403, "0")), "refused-by-backend");
    }

    #[test]
    fn what_has_no_url_is_left_to_others() {
        assert_eq!(SrsCallbacks::decide(testing::context(), publish()), abstain());
        assert_eq!(SrsCallbacks::decide(testing::context(), push_out()), abstain());
    }

    #[test]
    fn a_backend_that_does_not_answer_refuses() {
        testing::config(&[("on_publish", "http://one.example/")]);
        testing::http(|_| Err(Error("the host can't be reached".into())));
        assert_eq!(denied(SrsCallbacks::decide(testing::context(), publish())), "backend-unavailable");
        assert_eq!(testing::logged(), ["on_publish: the host can't be reached"]);
    }
}
