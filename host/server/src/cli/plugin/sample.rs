//! Made-up questions. A case says what matters to it; the rest is taken from here.

use serde_json::{Map, Value, json};

/// What a call carries when a case says nothing about it. 2027-01-15, 08:00 UTC.
pub fn context() -> Value {
    json!({"callId": "case", "now": 1_800_000_000_000_u64, "app": {"id": "app-1", "name": "Test", "outputMode": null}})
}

/// The question that `given` is a part of. What is not known is left as it is, so that reading it says what is wrong.
pub fn complete(interface: &str, given: Value) -> Value {
    match (interface, given) {
        ("room-policy", Value::Object(given)) if given.len() == 1 => Value::Object(
            given.into_iter().map(|(action, given)| (action.clone(), over(action_sample(&action), given))).collect(),
        ),
        ("output-mode", given) => over(output_mode(), given),
        ("webhook" | "vod-source", Value::Object(given)) if given.len() == 1 => {
            let filled = given.into_iter().map(|(function, given)| (function.clone(), over(function_sample(&function), given)));
            Value::Object(filled.collect())
        }
        (_, given) => given,
    }
}

/// `given` laid over `sample`, field by field.
pub fn over(sample: Value, given: Value) -> Value {
    match (sample, given) {
        (Value::Object(mut sample), Value::Object(given)) => {
            for (name, given) in given {
                let base = match sample.remove(&name) {
                    // An optional part is given: what it leaves out must come from somewhere too.
                    Some(Value::Null) | None => optional(&name),
                    Some(base) => base,
                };
                sample.insert(name, over(base, given));
            }
            Value::Object(sample)
        }
        (_, given) => given,
    }
}

fn optional(name: &str) -> Value {
    match name {
        "room" => room(),
        "member" | "by" | "subject" => member("alice"),
        // What came of an attempt; its response may leave out what it has nothing of.
        "outcome" => json!({}),
        "response" => json!({"status": 200, "retryAfter": null, "body": ""}),
        "token" => json!({"subject": null, "roomId": null, "role": null, "permissions": [], "claims": []}),
        _ => Value::Null,
    }
}

fn action_sample(action: &str) -> Value {
    match action {
        "publish" => json!({"connection": connection("rtmp"), "member": member("alice"), "room": null, "stream": "stream-1"}),
        "play" => json!({
            "connection": connection("hls"), "room": room(), "owner": member("owner"), "stream": "stream-1", "token": null, "viewers": 0,
        }),
        "join" => json!({
            "connection": connection("rest"), "room": conference(), "member": member("alice"), "token": null, "role": "member",
        }),
        "promote" | "demote" => json!({
            "room": conference(), "by": member("owner"), "byPermissions": [], "target": member("alice"), "role": "member",
        }),
        "create" | "start" | "end" => json!({
            "connection": connection("rest"), "room": room(), "caller": "server", "member": null, "forced": false,
        }),
        "push-out" => json!({"room": room(), "stream": "stream-1", "target": "rtmp://live.example.com"}),
        "issue-token" => json!({
            "connection": connection("rest"), "room": room(), "caller": "server", "by": null, "subject": member("alice"),
            "role": "audience", "permissions": [],
        }),
        _ => Value::Object(Map::new()),
    }
}

/// The question of a function, for interfaces with several.
fn function_sample(function: &str) -> Value {
    match function {
        "deliver" => event(),
        "attempted" => json!({
            "event": event(),
            "delivery": {
                "method": "POST", "url": "https://receiver.example.com/", "headers": [], "body": "{}", "sign": true, "timeout": null,
            },
            "attempt": {"number": 1, "outcome": null},
        }),
        "open" | "stat" => json!({"shared": true}),
        "list" => json!({"cursor": null, "limit": 100}),
        "read" => json!({"offset": 0}),
        _ => Value::Object(Map::new()),
    }
}

fn event() -> Value {
    json!({
        "id": "event-1", "kind": "videoRoom.live", "time": 1_800_000_000_000_u64, "appId": "app-1", "roomId": "room-1",
        "memberId": "member-owner", "data": "{}",
    })
}

fn output_mode() -> Value {
    json!({
        "connection": connection("rtmp"), "member": member("alice"), "room": null, "stream": "stream-1", "urlMode": null,
        "keyMode": null, "transcodingProfile": null,
    })
}

fn connection(protocol: &str) -> Value {
    json!({"protocol": protocol, "remoteIp": "192.0.2.7", "userAgent": null, "parameters": []})
}

fn member(id: &str) -> Value {
    json!({"id": format!("member-{id}"), "appUserId": id, "name": null})
}

fn room() -> Value {
    json!({
        "id": "room-1", "kind": "broadcast-rtmp", "state": "live", "access": "public", "owner": member("owner"), "title": null,
    })
}

fn conference() -> Value {
    over(room(), json!({"kind": "video-conference"}))
}

#[cfg(test)]
mod tests {
    use super::*;
    use flyloft_plugins::model::{Action, Context, OutputModeRequest};

    #[test]
    fn every_sample_is_a_whole_question() {
        for action in ["publish", "play", "join", "promote", "demote", "create", "start", "end", "push-out", "issue-token"] {
            let sample = complete("room-policy", json!({action: {}}));
            let read: Action = serde_json::from_value(sample.clone()).unwrap_or_else(|error| panic!("{action}: {error}"));
            assert_eq!(serde_json::to_value(read).unwrap(), sample);
        }
        let sample = complete("output-mode", json!({}));
        let read: OutputModeRequest = serde_json::from_value(sample.clone()).unwrap();
        assert_eq!(serde_json::to_value(read).unwrap(), sample);
        let read: Context = serde_json::from_value(context()).unwrap();
        assert_eq!(serde_json::to_value(read).unwrap(), context());
    }

    #[test]
    fn what_is_given_wins_and_optional_parts_are_completed() {
        let given = json!({"publish": {"member": {"appUserId": "bob"}, "room": {"state": "ended"}}});
        let whole = complete("room-policy", given);
        assert_eq!(whole["publish"]["member"], json!({"id": "member-alice", "appUserId": "bob", "name": null}));
        assert_eq!(whole["publish"]["room"]["state"], "ended");
        assert_eq!(whole["publish"]["room"]["owner"]["appUserId"], "owner");
    }

    #[test]
    fn what_is_wrong_stays_to_be_found() {
        assert_eq!(complete("room-policy", json!({"publsh": {"x": 1}})), json!({"publsh": {"x": 1}}));
        assert_eq!(complete("room-policy", json!("publish")), json!("publish"));
        assert_eq!(complete("room-policy", json!({"publish": {"steam": "s"}}))["publish"]["steam"], "s");
    }
}
