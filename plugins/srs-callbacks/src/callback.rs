//! The JSON that SRS sends with its HTTP callbacks, and what it makes of the answer.

use flyloft_plugin::http::Response;
use flyloft_plugin::policy::{Connection, Context, Pair, PlayRequest, PublishRequest};
use serde_json::{Value, json};
use std::fmt::Write;

/// One callback.
pub(crate) struct Call<'a> {
    action: &'static str,
    client_id: &'a str,
    connection: &'a Connection,
    stream: &'a str,
}

impl<'a> Call<'a> {
    pub(crate) fn publish(context: &'a Context, request: &'a PublishRequest) -> Call<'a> {
        let action = "on_publish";
        Call { action, client_id: &context.call_id, connection: &request.connection, stream: &request.stream }
    }

    pub(crate) fn play(context: &'a Context, request: &'a PlayRequest) -> Call<'a> {
        let action = "on_play";
        Call { action, client_id: &context.call_id, connection: &request.connection, stream: &request.stream }
    }

    pub(crate) fn json(&self, app: &str, vhost: &str) -> String {
        let mut call = json!({
            "server_id": "flyloft",
            "service_id": "flyloft",
            "action": self.action,
            "client_id": self.client_id,
            "ip": self.connection.remote_ip,
            "vhost": vhost,
            "app": app,
            "tcUrl": format!("rtmp://{vhost}/{app}"),
            "stream": self.stream,
            "param": param(&self.connection.parameters),
            "stream_url": format!("{vhost}/{app}/{}", self.stream),
            "stream_id": self.stream,
        });
        if self.action == "on_play" {
            call["pageUrl"] = Value::from("");
        }
        call.to_string()
    }
}

/// The query of the URL, with its question mark.
fn param(parameters: &[Pair]) -> String {
    let mut query = String::new();
    for Pair { name, value } in parameters {
        query.push(if query.is_empty() { '?' } else { '&' });
        encode(&mut query, name);
        query.push('=');
        encode(&mut query, value);
    }
    query
}

fn encode(query: &mut String, text: &str) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            query.push(byte as char);
        } else {
            // Writing to a String does not fail.
            let _ = write!(query, "%{byte:02X}");
        }
    }
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
    use flyloft_plugin::policy::Protocol;
    use flyloft_plugin::testing;

    #[test]
    fn a_publish_is_told_as_srs_tells_it() {
        let mut connection = testing::connection(Protocol::Rtmp);
        connection.parameters =
            vec![Pair { name: "token".into(), value: "a b&".into() }, Pair { name: "x".into(), value: String::new() }];
        let request = PublishRequest { connection, member: testing::member("owner"), room: None, stream: "s\"1".into() };
        let call = Call::publish(&testing::context(), &request).json("live", "__defaultVhost__");
        assert_eq!(
            serde_json::from_str::<Value>(&call).unwrap(),
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
