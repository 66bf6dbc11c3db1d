//! What policies have in common that ask a backend by another server's HTTP callbacks: which actions are callbacks, how the
//! backend is asked, and how texts stand in forms and queries.

#[cfg(not(target_family = "wasm"))]
pub mod testing;

use flyloft_plugin::http::{self, Response};
use flyloft_plugin::policy::{Action, Connection, Context, Decision, deny};
use flyloft_plugin::{config, log};
use std::fmt::Write;

/// One callback.
pub struct Call<'a> {
    pub kind: Kind,
    /// Unique for each call.
    pub client_id: &'a str,
    pub connection: &'a Connection,
    pub stream: &'a str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Publish,
    Play,
}

impl Kind {
    /// The callback's name, which is also that of the setting with its URLs.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Publish => "on_publish",
            Kind::Play => "on_play",
        }
    }
}

impl<'a> Call<'a> {
    /// The callback that an action makes; None for actions that other servers do not know.
    pub fn of(context: &'a Context, action: &'a Action) -> Option<Call<'a>> {
        let (kind, connection, stream) = match action {
            Action::Publish(request) => (Kind::Publish, &request.connection, &request.stream),
            Action::Play(request) => (Kind::Play, &request.connection, &request.stream),
            _ => return None,
        };
        Some(Call { kind, client_id: &context.call_id, connection, stream })
    }

    /// Sends the callback to a backend.
    ///
    /// # Errors
    /// The refusal that it means when the backend does not answer.
    pub fn send(&self, url: String, media_type: &str, body: String) -> Result<Response, Decision> {
        http::send(http::Request::new("POST", url).body(media_type, body)).map_err(|error| {
            log::error(format!("{}: {error}", self.kind.name()));
            deny("backend-unavailable", "The server that decides about this does not answer. Try again later.")
        })
    }
}

/// What the backend is told as the application's name: the setting `app`, or "live".
pub fn app() -> String {
    config::get("app").unwrap_or_else(|| "live".to_owned())
}

/// How a text is percent-encoded.
#[derive(Clone, Copy, Debug)]
pub enum Encoding {
    /// `application/x-www-form-urlencoded` (URL standard, section 5.2).
    Form,
    /// Everything but the unreserved characters of RFC 3986, section 2.3.
    Query,
}

impl Encoding {
    /// Appends `name=value`.
    pub fn pair(self, text: &mut String, name: &str, value: &str) {
        self.encode(text, name);
        text.push('=');
        self.encode(text, value);
    }

    fn encode(self, out: &mut String, text: &str) {
        let plain: &[u8] = match self {
            Encoding::Form => b"*-._",
            Encoding::Query => b"-._~",
        };
        for byte in text.bytes() {
            match (self, byte) {
                (Encoding::Form, b' ') => out.push('+'),
                (_, byte) if byte.is_ascii_alphanumeric() || plain.contains(&byte) => out.push(byte as char),
                (_, byte) => {
                    // Writing to a String does not fail.
                    let _ = write!(out, "%{byte:02X}");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flyloft_plugin::http::Error;
    use flyloft_plugin::testing as host;

    #[test]
    fn publishing_and_playing_are_callbacks() {
        let context = host::context();
        for (action, kind) in [(testing::publish(), Kind::Publish), (testing::play(), Kind::Play)] {
            let call = Call::of(&context, &action).map(|call| (call.kind, call.client_id, call.stream));
            assert_eq!(call, Some((kind, "call-1", "stream-1")));
        }
        assert!(Call::of(&context, &testing::push_out()).is_none());
    }

    #[test]
    fn a_backend_that_does_not_answer_refuses() {
        host::http(|_| Err(Error("there was no answer in time".into())));
        let (context, action) = (host::context(), testing::play());
        let sent = Call::of(&context, &action).map(|call| call.send("http://a.example/".into(), "text/plain", String::new()));
        let refusal = sent.and_then(Result::err).map(testing::denied);
        assert_eq!(refusal.as_deref(), Some("backend-unavailable"));
        assert_eq!(host::logged(), ["on_play: there was no answer in time"]);
    }

    #[test]
    fn texts_are_encoded_as_their_place_wants_it() {
        let pair = |encoding: Encoding| {
            let mut text = String::new();
            encoding.pair(&mut text, "a b", "~*é&=");
            text
        };
        assert_eq!(pair(Encoding::Form), "a+b=%7E*%C3%A9%26%3D");
        assert_eq!(pair(Encoding::Query), "a%20b=~%2A%C3%A9%26%3D");
    }
}
