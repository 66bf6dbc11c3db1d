//! A policy that asks an HTTP backend who may publish and watch.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod backend;

use flyloft_plugin::config;
use flyloft_plugin::http::{self, Request};
use flyloft_plugin::policy::{Action, Context, Decision, Policy, abstain, deny};

struct HttpBackend;

impl Policy for HttpBackend {
    fn decide(context: Context, action: Action) -> Decision {
        match backend::question(&context, &action) {
            Some(question) => ask(&question).unwrap_or_else(|error| {
                flyloft_plugin::log::error(&error);
                deny("backend-failed", "The backend cannot be asked. Try again later.")
            }),
            None => abstain(),
        }
    }
}

fn ask(question: &backend::Question<'_>) -> Result<Decision, String> {
    let url = config::required("backend-url")?;
    let body = serde_json::to_vec(question).map_err(|error| error.to_string())?;
    let mut request = Request::new("POST", url).body("application/json", body);
    if let Some(token) = config::get("backend-token") {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let response = http::send(request).map_err(|error| error.to_string())?;
    Ok(backend::decision(response.status, &response.body))
}

flyloft_plugin::export_policy!(HttpBackend);

#[cfg(test)]
mod tests {
    use super::*;
    use flyloft_plugin::http::{Error, Response};
    use flyloft_plugin::policy::{Protocol, PublishRequest, PushOutRequest, allow};
    use flyloft_plugin::testing;

    fn publish() -> Decision {
        let request = PublishRequest {
            connection: testing::connection(Protocol::Rtmp),
            member: testing::member("1"),
            room: None,
            stream: "stream-1".into(),
        };
        HttpBackend::decide(testing::context(), Action::Publish(request))
    }

    #[test]
    fn the_backend_is_asked_with_its_token() {
        testing::config(&[("backend-url", "https://backend.example/rules"), ("backend-token", "t-1")]);
        testing::http(|request| {
            assert_eq!((request.method.as_str(), request.url.as_str()), ("POST", "https://backend.example/rules"));
            assert!(request.headers.contains(&("authorization".into(), "Bearer t-1".into())));
            assert!(String::from_utf8_lossy(&request.body).contains("\"appUserId\":\"user-1\""));
            Ok(Response { status: 200, headers: Vec::new(), body: b"{\"allow\": true}".to_vec() })
        });
        assert_eq!(publish(), allow());
    }

    #[test]
    fn a_backend_that_fails_is_a_no() {
        let failed = || matches!(publish(), Decision::Deny(denial) if denial.code == "backend-failed");
        assert!(failed(), "without an address");
        testing::config(&[("backend-url", "https://backend.example/rules")]);
        testing::http(|_| Err(Error("the host can't be reached".into())));
        assert!(failed(), "unreachable");
        assert!(testing::logged().iter().any(|line| line.contains("reached")));
    }

    #[test]
    fn everything_else_is_left_to_the_next_plugin() {
        let push = PushOutRequest { room: None, stream: "s".into(), target: "rtmp://live.example".into() };
        assert_eq!(HttpBackend::decide(testing::context(), Action::PushOut(push)), abstain());
    }
}
