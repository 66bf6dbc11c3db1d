//! A policy that reaches for what it may import, as the name of the stream in a publish request says, and tells what it got in the
//! reason of its denial; everything else it allows.

use flyloft_plugin::key_value::Store;
use flyloft_plugin::policy::{Action, Context, Decision, Policy, allow, deny};
use flyloft_plugin::{config, http, log};

struct Reach;

impl Policy for Reach {
    fn decide(_context: Context, action: Action) -> Decision {
        let Action::Publish(request) = action else {
            return allow();
        };
        let words: Vec<&str> = request.stream.split(' ').collect();
        let told = match words.as_slice() {
            ["config", name] => Ok(format!("{:?}", config::get(name))),
            ["log", level, lines] => Ok(speak(level, lines.parse().unwrap_or(0))),
            ["http", method, url] => fetch(method, url, 0),
            ["http-body", url, bytes] => fetch("POST", url, bytes.parse().unwrap_or(0)),
            ["http-many", url, times] => many(url, times.parse().unwrap_or(0)),
            ["keep", rest @ ..] => keep(rest),
            _ => return allow(),
        };
        let told = told.unwrap_or_else(|error| format!("failed: {error}"));
        deny("told", told.chars().take(900).collect::<String>())
    }
}

flyloft_plugin::export_policy!(Reach);

fn speak(level: &str, lines: u32) -> String {
    for line in 0..lines {
        let text = format!("line {line}\nof \u{1b}[31mmany");
        match level {
            "debug" => log::debug(text),
            "info" => log::info(text),
            "warn" => log::warn(text),
            "error" => log::error(text),
            _ => log::log(log::Level::Critical, &"context ".repeat(100), "x".repeat(100_000)),
        }
    }
    "spoken".to_owned()
}

fn fetch(method: &str, url: &str, bytes: usize) -> Result<String, String> {
    let request = http::Request::new(method, url).header("x-from", "guest");
    let request = if bytes > 0 { request.body("text/plain", vec![b'x'; bytes]) } else { request };
    let response = http::send(request).map_err(|error| error.to_string())?;
    let location = response.header("location").unwrap_or_default();
    Ok(format!("{} {location} {}", response.status, String::from_utf8_lossy(&response.body)))
}

fn many(url: &str, times: u32) -> Result<String, String> {
    let answers = (0..times).map(|_| fetch("GET", url, 0).map_or_else(|error| error, |answer| answer[..3].to_owned()));
    Ok(answers.collect::<Vec<_>>().join(", "))
}

fn keep(words: &[&str]) -> Result<String, String> {
    let store = Store::open().map_err(|error| error.to_string())?;
    let done = match words {
        ["set", key, value] => store.set(key, value).map(|()| "set".to_owned()),
        ["get", key] => {
            store.get(key).map(|value| format!("{:?}", value.map(|value| String::from_utf8_lossy(&value).into_owned())))
        }
        ["delete", key] => store.delete(key).map(|()| "deleted".to_owned()),
        ["increment", key] => store.increment(key, 1).map(|sum| sum.to_string()),
        ["append", key, text] => {
            let append = |old: Option<&[u8]>| Some([old.unwrap_or_default(), text.as_bytes()].concat());
            store.update(key, append).map(|value| format!("{} bytes", value.map_or(0, |value| value.len())))
        }
        ["fill", prefix, keys] => {
            let keys: u32 = keys.parse().unwrap_or(0);
            let filled = (0..keys).try_for_each(|key| store.set(&format!("{prefix}{key}"), "value"));
            filled.map(|()| "filled".to_owned())
        }
        ["keys"] => store.keys().map(|keys| format!("{} {:?}", keys.len(), keys.first())),
        ["large", bytes] => store.set("large", vec![b'x'; bytes.parse().unwrap_or(0)]).map(|()| "set".to_owned()),
        ["long-key", bytes] => store.get(&"k".repeat(bytes.parse().unwrap_or(0))).map(|value| format!("{value:?}")),
        // Writes until it is stopped.
        ["flood"] => (0_u64..).try_for_each(|key| store.set(&key.to_string(), [b'x'; 1024])).map(|()| String::new()),
        _ => return Err(format!("{words:?} is not known")),
    };
    done.map_err(|error| error.to_string())
}
