//! What the OpenAPI document says beside the routes: texts, credentials, shared schemas.

use std::collections::BTreeMap;

use flyloft_rooms::{AccessLevel, OutputMode, PostState, RoomType, StreamKeyState, VideoRoomState};
use serde_json::Value;
use utoipa::openapi::schema::{ObjectBuilder, Schema, SchemaType, Type};
use utoipa::openapi::security::{Http, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{ContentBuilder, Object, OpenApi, Ref, RefOr, Response, ResponseBuilder};
use utoipa::{IntoResponses, OpenApi as _};

use super::problem::{FieldError, ProblemJson};
use crate::store::QueuedState;
use crate::vod::State;

/// The credentials' names in the document.
pub const SERVER: &str = "serverApi";
const SERVER_BEARER: &str = "serverApiBearer";
pub const MEMBER: &str = "clientApi";
pub const OPERATOR: &str = "operatorApi";

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Flyloft",
        description = "Live video rooms: apps, members, stream keys, video rooms, tokens, events, webhooks and plugins.\n\nThree kinds of callers: the **server API** is an App's backend with the App's key and secret; the **client API** is a member with its own token, who is the owner of what it makes and sees what is its own; the **operator API** is whoever runs the server, with the operator token, who names the App by `appId` where one is meant.\n\nEvery error is a problem (RFC 9457) that names what was wrong. Lists come in pages: give a page's `nextCursor` as `cursor` for the next one. Creates take an `Idempotency-Key`: for 24 hours the same request with the same key is done once and gets the same answer.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    tags(
        (name = "Apps", description = "Tenants: defaults and credentials"),
        (name = "Members", description = "People and devices of an App, and their stream keys"),
        (name = "Video rooms", description = "Broadcasts from their announcement to their end"),
        (name = "Video posts", description = "Recorded broadcasts"),
        (name = "Events", description = "What happened, live and from the past"),
        (name = "Webhooks", description = "Events delivered to an App's backends, signed and in order"),
        (name = "VOD", description = "Recorded files that are played as live streams, once, in a loop, at a time or on demand"),
        (name = "VOD, /rest-api", description = "The same with the calls that other servers have: POST with JSON, HTTP Basic with the App's key and secret or the operator token as the Bearer token"),
        (name = "Plugins", description = "The rules of the server: WebAssembly components, replaced while it runs"),
        (name = "Public", description = "What the watch page shows, without credentials")
    ),
    components(schemas(ProblemJson, FieldError))
)]
struct Document;

/// The document without the routes.
pub fn document() -> OpenApi {
    let mut document = Document::openapi();
    let components = document.components.get_or_insert_default();
    let bearer =
        |text: &str| SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(text)).build());
    let mut basic = Http::new(HttpAuthScheme::Basic);
    basic.description = Some("Server API: the App's key as the user, its secret as the password".into());
    components.add_security_scheme(SERVER, SecurityScheme::Http(basic));
    components.add_security_scheme(SERVER_BEARER, bearer("Server API: the App's key and secret, as KEY:SECRET"));
    let mut member = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT");
    member = member.description(Some("Client API: a member's token, made with POST /v1/members/{memberId}/tokens"));
    components.add_security_scheme(MEMBER, SecurityScheme::Http(member.build()));
    components.add_security_scheme(OPERATOR, bearer("Operator API: the token that the first start made"));
    document
}

/// The errors that every call can give.
pub struct Problems;

impl IntoResponses for Problems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
        let response = ResponseBuilder::new().description("What was wrong").content("application/problem+json", content).build();
        BTreeMap::from([("default".to_owned(), RefOr::T(response))])
    }
}

fn words(values: impl IntoIterator<Item = &'static str>) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(SchemaType::Type(Type::String)).enum_values(Some(values))
}

pub fn optional_output_mode() -> Object {
    let values = OutputMode::ALL.iter().map(|word| Value::from(word.as_str())).chain([Value::Null]);
    let what = "`RTMP`: RTMP and HTTP-FLV; `CMAF`: HLS and MPEG-DASH; `RTMP_CMAF`: all four";
    let kind = SchemaType::from_iter([Type::String, Type::Null]);
    ObjectBuilder::new().schema_type(kind).enum_values(Some(values)).description(Some(what)).into()
}

pub fn room_type() -> Object {
    let what = "`VIDEO_CONFERENCE` is known, but refused by this version";
    words(RoomType::ALL.iter().map(|word| word.as_str())).description(Some(what)).into()
}

pub fn optional_room_type() -> Object {
    let values = RoomType::ALL.iter().map(|word| Value::from(word.as_str())).chain([Value::Null]);
    let kind = SchemaType::from_iter([Type::String, Type::Null]);
    ObjectBuilder::new().schema_type(kind).enum_values(Some(values)).into()
}

pub fn access_level() -> Object {
    let what = "`PUBLIC`: anyone with the address may watch; `PRIVATE`: only with a room token";
    words(AccessLevel::ALL.iter().map(|word| word.as_str())).description(Some(what)).into()
}

pub fn key_state() -> Object {
    words(StreamKeyState::ALL.iter().map(|word| word.as_str())).into()
}

pub fn room_state() -> Object {
    words(VideoRoomState::ALL.iter().map(|word| word.as_str())).into()
}

pub fn vod_state() -> Object {
    words(State::ALL.iter().map(|word| word.as_str())).into()
}

pub fn post_state() -> Object {
    let what = "`RECORDING`: the broadcast is live or paused; `PROCESSING`: its file is being made; `READY`: it can be watched; `FAILED`: the file could not be made, the recording is kept";
    words(PostState::ALL.iter().map(|word| word.as_str())).description(Some(what)).into()
}

pub fn delivery_state() -> Object {
    words(QueuedState::ALL.iter().map(|word| word.as_str())).into()
}

/// Any JSON object.
pub fn any_object() -> Schema {
    ObjectBuilder::new()
        .schema_type(SchemaType::Type(Type::Object))
        .additional_properties(Some(utoipa::openapi::schema::AdditionalProperties::FreeForm(true)))
        .into()
}
