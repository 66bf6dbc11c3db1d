//! The rule "a live public room may be watched" as a `wasi:http` component, for `wasmtime serve` and the like.
//!
//! `POST` takes the question as JSON, as Flyloft's decision log has it, and answers with the decision; `GET` answers at once, which is
//! the least that such a host can do for a request.

use serde::{Deserialize, Serialize};
use wasip2::http::types::{Fields, IncomingRequest, Method, OutgoingBody, OutgoingResponse, ResponseOutparam};

/// What the rule reads of the question; the rest is skipped.
#[derive(Deserialize)]
struct Question {
    input: Input,
}

#[derive(Deserialize)]
struct Input {
    play: Play,
}

#[derive(Deserialize)]
struct Play {
    room: Option<Room>,
}

#[derive(Deserialize)]
struct Room {
    state: String,
    access: String,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Decision {
    Allow {},
    Deny { code: &'static str, reason: &'static str },
}

struct Handler;

wasip2::http::proxy::export!(Handler);

impl wasip2::exports::http::incoming_handler::Guest for Handler {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let decision = match request.method() {
            Method::Post => decide(&request),
            _ => Some(Decision::Allow {}),
        };
        let (status, body) = match decision.and_then(|decision| serde_json::to_vec(&decision).ok()) {
            Some(body) => (200, body),
            None => (400, b"null".to_vec()),
        };
        answer(out, status, &body);
    }
}

fn decide(request: &IncomingRequest) -> Option<Decision> {
    let body = request.consume().ok()?;
    let stream = body.stream().ok()?;
    let mut bytes = Vec::new();
    // It ends with an error that says that it is closed.
    while let Ok(more) = stream.blocking_read(64 << 10) {
        bytes.extend_from_slice(&more);
    }
    let question: Question = serde_json::from_slice(&bytes).ok()?;
    Some(match question.input.play.room {
        Some(room) if room.state == "live" && room.access == "public" => Decision::Allow {},
        Some(room) if room.state == "live" => Decision::Deny { code: "token-needed", reason: "This room is not public." },
        _ => Decision::Deny { code: "not-live", reason: "Nothing is live here." },
    })
}

fn answer(out: ResponseOutparam, status: u16, body: &[u8]) {
    let headers = Fields::new();
    // With a length the host need not send it in chunks.
    let _ = headers.set("content-length", &[body.len().to_string().into_bytes()]);
    let _ = headers.set("content-type", &[b"application/json".to_vec()]);
    let response = OutgoingResponse::new(headers);
    let _ = response.set_status_code(status);
    let Ok(outgoing) = response.body() else { return };
    ResponseOutparam::set(out, Ok(response));
    if let Ok(stream) = outgoing.write() {
        let _ = stream.blocking_write_and_flush(body);
    }
    let _ = OutgoingBody::finish(outgoing, None);
}
