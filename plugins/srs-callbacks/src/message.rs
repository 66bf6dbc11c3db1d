//! The JSON that SRS sends with its HTTP callbacks, and what it makes of the answer.

use flyloft_callbacks::{Call, Encoding, Kind};
use flyloft_plugin::http::Response;
use flyloft_plugin::policy::Pair;
use serde_json::{Value, json};

/// A callback.
pub(crate) fn message(call: &Call<'_>, app: &str, vhost: &str) -> String {
    let stream = call.stream;
    let mut message = json!({
        "server_id": "flyloft",
        "service_id": "flyloft",
        "action": call.kind.name(),
        "client_id": call.client_id,
        "ip": call.connection.remote_ip,
        "vhost": vhost,
        "app": app,
        "tcUrl": format!("rtmp://{vhost}/{app}"),
        "stream": stream,
        "param": param(&call.connection.parameters),
        "stream_url": format!("{vhost}/{app}/{stream}"),
        "stream_id": stream,
    });
    if call.kind == Kind::Play {
        message["pageUrl"] = Value::from("");
    }
    message.to_string()
}

/// The query of the URL, with its question mark.
fn param(parameters: &[Pair]) -> String {
    let mut query = String::new();
    for Pair { name, value } in parameters {
        query.push(if query.is_empty() { '?' } else { '&' });
        Encoding::Query.pair(&mut query, name, value);
    }
    query
}

/// Whether an answer allows: status 200, and 0 as the body or as `code` in it.
pub(crate) fn allows(response: &Response) -> bool {
    if response.status != 200 {
        return false;
    }
    match serde_json::from_slice::<Value>(&response.body) {
        Ok(Value::Number(code)) => code.as_i64() == Some(0),
        Ok(Value::Object(object)) => object.get("code").and_then(Value::as_i64) == Some(0),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flyloft_callbacks::testing::publish;
    use flyloft_plugin::policy::Action;
    use flyloft_plugin::testing;

    #[test]
    fn a_publish_is_told_as_srs_tells_it() {
        let Action::Publish(mut request) = publish() else { panic!("no publish") };
        request.connection.parameters =
            vec![Pair { name: "token".into(), value: "a b&".into() }, Pair { name: "x".into(), value: String::new() }];
        request.stream = "s\"1".into();
        let (context, action) = (testing::context(), Action::Publish(request));
        let told = message(&Call::of(&context, &action).unwrap(), "live", "__defaultVhost__");
        assert_eq!(
            serde_json::from_str::<Value>(&told).unwrap(),
            json!({
                "server_id": "flyloft", "service_id": "flyloft", "action": "on_publish", "client_id": "call-1",
                "ip": "192.0.2.7", "vhost": "__defaultVhost__", "app": "live", "tcUrl": "rtmp://__defaultVhost__/live",
                "stream": "s\"1", "param": "?token=a%20b%26&x=", "stream_url": "__defaultVhost__/live/s\"1", "stream_id": "s\"1",
            })
        );
    }

    #[test]
    fn zero_allows() {
        let says = |status, body: &str| allows(&Response { status, headers: Vec::new(), body: body.into() });
        for body in ["0", " 0\n", "{\"code\":0}", "{\"code\": 0, \"data\": null}"] {
            assert!(says(200, body), "{body}");
        }
        for body in ["", "1", "-1", "00", "\"0\"", "{}", "{\"code\":\"0\"}", "{\"code\":100}", "[0]", "ok"] {
            assert!(!says(200, body), "{body}");
        }
        assert!(!says(201, "0") && !says(500, "0"));
    }
}
