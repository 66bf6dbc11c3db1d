//! A small HTTP client for tests: every status is an answer, bodies are raw bytes, and streams can be read as they come.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::time::Duration;

/// Credentials of a request.
#[derive(Clone, Debug)]
pub enum Auth {
    None,
    Basic(String, String),
    Bearer(String),
}

/// One base URL with one set of credentials.
#[derive(Clone, Debug)]
pub struct Http {
    agent: ureq::Agent,
    base: String,
    auth: Auth,
}

/// A complete answer.
#[derive(Clone, Debug)]
pub struct Response {
    pub status: u16,
    headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    /// The first header of that name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// A header that a test cannot do without.
    pub fn need(&self, name: &str) -> Result<&str> {
        self.header(name).with_context(|| format!("no header {name} in {self:?}"))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.body).with_context(|| format!("not JSON: {}", self.text()))
    }

    /// The JSON of an answer with a 2xx status; other statuses become an error that shows the body.
    pub fn success(&self) -> Result<Value> {
        ensure!((200..300).contains(&self.status), "status {}: {}", self.status, self.text());
        if self.body.is_empty() { Ok(Value::Null) } else { self.json() }
    }

    /// The problem details of an answer that must have this status (RFC 9457).
    pub fn problem(&self, status: u16) -> Result<Value> {
        ensure!(self.status == status, "expected status {status}, got {}: {}", self.status, self.text());
        let kind = self.need("content-type")?;
        ensure!(kind.starts_with("application/problem+json"), "an error of type {kind}: {}", self.text());
        let problem = self.json()?;
        ensure!(problem["status"] == status, "the problem's own status differs from {status}: {problem}");
        for field in ["type", "title", "detail"] {
            ensure!(problem[field].as_str().is_some_and(|text| !text.is_empty()), "no {field} in {problem}");
        }
        Ok(problem)
    }
}

impl Http {
    /// `base` like `http://127.0.0.1:8080`.
    pub fn new(base: &str, auth: Auth) -> Http {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_connect(Some(Duration::from_secs(10)))
            .timeout_recv_response(Some(Duration::from_secs(20)))
            .timeout_recv_body(Some(Duration::from_secs(60)))
            .build();
        Http { agent: config.into(), base: base.trim_end_matches('/').to_owned(), auth }
    }

    pub fn with(&self, auth: Auth) -> Http {
        Http { auth, ..self.clone() }
    }

    pub fn get(&self, path: &str) -> Result<Response> {
        self.request("GET", path, &[], None)
    }

    pub fn post(&self, path: &str, body: &Value) -> Result<Response> {
        self.json("POST", path, body)
    }

    pub fn put(&self, path: &str, body: &Value) -> Result<Response> {
        self.json("PUT", path, body)
    }

    pub fn patch(&self, path: &str, body: &Value) -> Result<Response> {
        self.json("PATCH", path, body)
    }

    pub fn delete(&self, path: &str) -> Result<Response> {
        self.request("DELETE", path, &[], None)
    }

    fn json(&self, method: &str, path: &str, body: &Value) -> Result<Response> {
        self.request(method, path, &[("content-type", "application/json")], Some(body.to_string().as_bytes()))
    }

    /// Any request; `path` may also be a whole URL.
    pub fn request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Option<&[u8]>) -> Result<Response> {
        let mut response = self.open(method, path, headers, body)?;
        let mut bytes = Vec::new();
        response.body_mut().as_reader().take(256 << 20).read_to_end(&mut bytes).with_context(|| format!("reading {path}"))?;
        Ok(Response { status: response.status().as_u16(), headers: headers_of(&response), body: bytes })
    }

    /// Sends a request and returns when the head of the response is there; the body is read by the caller.
    pub fn stream(&self, path: &str, headers: &[(&str, &str)]) -> Result<(Response, Box<dyn Read + Send>)> {
        let response = self.open("GET", path, headers, None)?;
        let head = Response { status: response.status().as_u16(), headers: headers_of(&response), body: Vec::new() };
        Ok((head, Box::new(response.into_body().into_with_config().limit(u64::MAX).reader())))
    }

    fn open(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&[u8]>,
    ) -> Result<ureq::http::Response<ureq::Body>> {
        let url = if path.contains("://") { path.to_owned() } else { format!("{}{path}", self.base) };
        let mut request = ureq::http::Request::builder().method(method).uri(&url);
        match &self.auth {
            Auth::None => {}
            Auth::Basic(user, password) => {
                request = request.header("authorization", format!("Basic {}", base64(&format!("{user}:{password}"))));
            }
            Auth::Bearer(token) => request = request.header("authorization", format!("Bearer {token}")),
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let what = || format!("{method} {url}");
        match body {
            Some(body) => self.agent.run(request.body(body)?).with_context(what),
            None => self.agent.run(request.body(())?).with_context(what),
        }
    }

    /// Opens a feed of server-sent events.
    pub fn events(&self, path: &str, last_id: Option<&str>) -> Result<EventStream> {
        let mut headers = vec![("accept", "text/event-stream")];
        headers.extend(last_id.map(|id| ("last-event-id", id)));
        let (head, body) = self.stream(path, &headers)?;
        ensure!(head.status == 200, "{path}: status {}", head.status);
        let kind = head.need("content-type")?;
        ensure!(kind.starts_with("text/event-stream"), "{path} is of type {kind}");
        Ok(EventStream { lines: BufReader::new(body) })
    }
}

fn headers_of<T>(response: &ureq::http::Response<T>) -> Vec<(String, String)> {
    let pair = |(name, value): (&ureq::http::HeaderName, &ureq::http::HeaderValue)| {
        (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    response.headers().iter().map(pair).collect()
}

/// One server-sent event (HTML standard, section 9.2).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Event {
    pub id: String,
    pub name: String,
    pub data: String,
}

/// Reads a feed event by event.
pub struct EventStream {
    lines: BufReader<Box<dyn Read + Send>>,
}

impl EventStream {
    /// The next event that has data; comments are skipped. An error at the end of the feed.
    pub fn event(&mut self) -> Result<Event> {
        let mut event = Event::default();
        let mut line = String::new();
        loop {
            line.clear();
            ensure!(self.lines.read_line(&mut line)? > 0, "the event feed has ended");
            let text = line.trim_end_matches(['\r', '\n']);
            if text.is_empty() {
                if !event.data.is_empty() {
                    return Ok(event);
                }
                event = Event::default();
                continue;
            }
            let (field, value) = text.split_once(':').unwrap_or((text, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "id" => event.id = value.to_owned(),
                "event" => event.name = value.to_owned(),
                "data" if event.data.is_empty() => event.data = value.to_owned(),
                "data" => event.data = format!("{}\n{value}", event.data),
                _ => {}
            }
        }
    }
}

/// Base64 with padding (RFC 4648, section 4).
fn base64(text: &str) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for group in text.as_bytes().chunks(3) {
        let bits = group.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        for index in 0..4 {
            let digit = ALPHABET[(bits >> (18 - 6 * index)) as usize & 63];
            out.push(if index <= group.len() { char::from(digit) } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_pads() {
        for (text, coded) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")] {
            assert_eq!(base64(text), coded);
        }
    }

    #[test]
    fn events_are_taken_from_a_feed() {
        let feed = ": hello\n\nid: 7\nevent: videoRoom.live\ndata: {\"a\":1}\n\nid: 8\r\ndata: x\r\ndata: y\r\n\r\n";
        let body: Box<dyn Read + Send> = Box::new(feed.as_bytes());
        let mut events = EventStream { lines: BufReader::new(body) };
        let first = events.event().unwrap();
        assert_eq!((first.id.as_str(), first.name.as_str(), first.data.as_str()), ("7", "videoRoom.live", "{\"a\":1}"));
        assert_eq!(events.event().unwrap().data, "x\ny");
        assert!(events.event().is_err());
    }
}
