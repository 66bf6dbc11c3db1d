//! What handlers take from a request: the caller, JSON bodies, queries. Each refuses what it can't use with a problem.

use std::net::{IpAddr, Ipv4Addr};

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, StatusCode, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};

use super::problem::Problem;
use super::{Api, Peer};
use crate::rooms::{Actor, Asker, Bases, Given, Once};

/// Bytes of a JSON body.
const MAX_JSON: usize = 64 * 1024;
/// Bytes of an idempotency key.
const MAX_KEY: usize = 255;

/// The recognised caller.
pub struct Auth(pub Actor);

impl Auth {
    /// For calls that a member may not make.
    pub fn not_member(&self) -> Result<(), Problem> {
        match self.0 {
            Actor::Member { .. } => Err(Problem::forbidden("a member may not do this: use the App's key and secret")),
            _ => Ok(()),
        }
    }

    /// A member calls itself `me`.
    pub fn member_id<'a>(&'a self, id: &'a str) -> &'a str {
        match (id, self.0.member()) {
            ("me", Some(member)) => member.id.as_str(),
            _ => id,
        }
    }
}

impl FromRequestParts<Api> for Auth {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        let wanted = || {
            let detail = "say who you are: the App's key and secret by HTTP Basic or as \"Bearer KEY:SECRET\", a member's token or the operator token as \"Bearer TOKEN\"";
            Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", detail)
        };
        let given = parts.headers.get(header::AUTHORIZATION).ok_or_else(wanted)?.to_str().map_err(|_| wanted())?;
        let (scheme, rest) = given.split_once(' ').ok_or_else(wanted)?;
        let rest = rest.trim();
        if scheme.eq_ignore_ascii_case("bearer") && !rest.is_empty() {
            return Ok(Self(api.rooms.authenticate(Given::Bearer(rest)).await?));
        }
        if !scheme.eq_ignore_ascii_case("basic") {
            return Err(wanted());
        }
        let decoded = BASE64_STANDARD.decode(rest).ok().and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(wanted)?;
        let (key, secret) = decoded.split_once(':').ok_or_else(wanted)?;
        Ok(Self(api.rooms.authenticate(Given::Basic { key, secret }).await?))
    }
}

/// The operator. Recognised before a body is read.
pub struct Operator(pub Auth);

impl FromRequestParts<Api> for Operator {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        let auth = Auth::from_request_parts(parts, api).await?;
        match auth.0 {
            Actor::Operator => Ok(Self(auth)),
            _ => Err(Problem::forbidden("only the operator may do this: use the operator token as the Bearer token")),
        }
    }
}

/// Where the request came from, and under which name it reached the server.
pub struct From {
    pub asker: Asker,
    pub bases: Bases,
}

impl FromRequestParts<Api> for From {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        let peer = parts.extensions.get::<Peer>();
        let remote = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.address.ip());
        let text = |name| parts.headers.get(name).and_then(|value| value.to_str().ok());
        let host = parts.uri.authority().map(|authority| authority.as_str()).or_else(|| text(header::HOST));
        let bases = api.rooms.bases(host, peer.is_some_and(|peer| peer.tls));
        Ok(Self { asker: Asker { remote, user_agent: text(header::USER_AGENT).map(str::to_owned) }, bases })
    }
}

/// The query, with unknown parameters refused by its type.
pub struct Parameters<T>(pub T);

impl<T: DeserializeOwned> FromRequestParts<Api> for Parameters<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Api) -> Result<Self, Problem> {
        let Query(query) = Query::<T>::try_from_uri(&parts.uri).map_err(|rejection| {
            let text = rejection.body_text();
            let detail = text.rsplit_once("deserialize query string: ").map_or(text.as_str(), |(_, detail)| detail).to_owned();
            match between(&detail, "unknown field `").or_else(|| detail.split_once(": ").map(|(name, _)| name)) {
                Some(field) => Problem::invalid(field.to_owned(), detail.clone()),
                None => Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", detail),
            }
        })?;
        Ok(Self(query))
    }
}

/// A JSON body. An absent one reads as `{}`.
pub struct Json<T> {
    pub body: T,
    once: Option<(String, String)>,
}

impl<T> Json<T> {
    /// The `Idempotency-Key` of the request, ready for a create that is done once.
    pub fn once<M>(&self, auth: &Auth, render: impl Fn(&M) -> (u16, String) + Send + Sync + 'static) -> Option<Once<M>> {
        let (key, request_hash) = self.once.clone()?;
        Some(Once { caller: auth.0.id(), key, request_hash, render: Box::new(render) })
    }
}

impl<T: DeserializeOwned> FromRequest<Api> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &Api) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let key = idempotency_key(&parts.headers)?;
        let bytes = collect(body, MAX_JSON).await?;
        if !bytes.is_empty() && !is_json(&parts.headers) {
            let detail = "the body must be JSON: send it with Content-Type: application/json";
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", detail));
        }
        let once = key.map(|key| (key, digest(&parts, &bytes)));
        let body = parse(if bytes.is_empty() { b"{}" } else { &bytes })?;
        Ok(Self { body, once })
    }
}

fn digest(parts: &Parts, body: &[u8]) -> String {
    let mut hasher = Sha256::new();
    hasher.update(parts.method.as_str());
    hasher.update(" ");
    hasher.update(parts.uri.path());
    hasher.update("\n");
    hasher.update(body);
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    // A list would be taken for the properties in their order.
    if bytes.trim_ascii_start().starts_with(b"[") {
        return Err(Problem::invalid("body", "it must be a JSON object, not a list"));
    }
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let parsed = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = error.path().to_string();
        json_problem(error.into_inner(), &path)
    })?;
    reader.end().map_err(|error| json_problem(error, "."))?;
    Ok(parsed)
}

fn json_problem(error: serde_json::Error, path: &str) -> Problem {
    let position = Some((error.line(), error.column()));
    if !error.is_data() {
        let detail = format!("the body is not valid JSON: {error}");
        return Problem { position, ..Problem::new(StatusCode::BAD_REQUEST, "json-syntax", detail) };
    }
    let text = error.to_string();
    // The position follows by itself.
    let detail = text.rsplit_once(" at line ").map_or(text.as_str(), |(detail, _)| detail);
    let named = ["unknown field `", "missing field `"].iter().find_map(|start| between(detail, start));
    let field = match (path, named) {
        (".", Some(named)) => named.to_owned(),
        (".", None) => "body".to_owned(),
        (path, Some(named)) if path != named && !path.ends_with(&format!(".{named}")) => format!("{path}.{named}"),
        (path, _) => path.to_owned(),
    };
    Problem { position, ..Problem::invalid(field, detail.to_owned()) }
}

fn between<'a>(text: &'a str, start: &str) -> Option<&'a str> {
    text.split_once(start)?.1.split_once('`').map(|(name, _)| name)
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(kind) = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()) else { return false };
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json"))
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    let valid = value.to_str().ok().filter(|key| !key.is_empty() && key.len() <= MAX_KEY);
    match valid {
        Some(key) => Ok(Some(key.to_owned())),
        None => Err(Problem::invalid("Idempotency-Key", format!("it must be 1 to {MAX_KEY} visible ASCII characters"))),
    }
}

/// Reads a body of up to `limit` bytes.
pub async fn collect(body: Body, limit: usize) -> Result<Bytes, Problem> {
    match Limited::new(body, limit).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", format!("the body may have {limit} bytes")))
        }
        Err(_) => {
            Err(Problem::new(StatusCode::BAD_REQUEST, "body-incomplete", "the body could not be read to its end: send it again"))
        }
    }
}

/// An uploaded WebAssembly component of up to `LIMIT` bytes.
pub struct Component<const LIMIT: usize>(pub Bytes);

impl<const LIMIT: usize> FromRequest<Api> for Component<LIMIT> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &Api) -> Result<Self, Problem> {
        let told = |problem: Problem| match problem.status {
            StatusCode::PAYLOAD_TOO_LARGE => Problem {
                detail: format!("a component may have {LIMIT} bytes: strip it (`strip = true`, `opt-level = \"s\"`)"),
                ..problem
            },
            _ => problem,
        };
        Ok(Self(collect(request.into_body(), LIMIT).await.map_err(told)?))
    }
}

/// An uploaded component, or JSON if the body says that it is that.
pub enum ComponentOrJson<T, const LIMIT: usize> {
    Component(Bytes),
    Json(T),
}

impl<T: DeserializeOwned, const LIMIT: usize> FromRequest<Api> for ComponentOrJson<T, LIMIT> {
    type Rejection = Problem;

    async fn from_request(request: Request, api: &Api) -> Result<Self, Problem> {
        match is_json(request.headers()) {
            true => Ok(Self::Json(parse(&collect(request.into_body(), MAX_JSON).await?)?)),
            false => Ok(Self::Component(Component::<LIMIT>::from_request(request, api).await?.0)),
        }
    }
}

/// The one part of the path that varies.
pub struct Id(pub String);

impl FromRequestParts<Api> for Id {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Api) -> Result<Self, Problem> {
        use axum::RequestPartsExt as _;
        match parts.extract::<axum::extract::Path<String>>().await {
            Ok(axum::extract::Path(id)) => Ok(Self(id)),
            Err(_) => Err(Problem::not_found("the id in the address can't be read: it must be UTF-8, percent-encoded")),
        }
    }
}

/// The two parts of the path that vary.
pub struct Ids(pub String, pub String);

impl FromRequestParts<Api> for Ids {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Api) -> Result<Self, Problem> {
        use axum::RequestPartsExt as _;
        match parts.extract::<axum::extract::Path<(String, String)>>().await {
            Ok(axum::extract::Path((first, second))) => Ok(Self(first, second)),
            Err(_) => Err(Problem::not_found("the ids in the address can't be read: they must be UTF-8, percent-encoded")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields, rename_all = "camelCase")]
    #[expect(dead_code, reason = "only read by the parser")]
    struct Outer {
        title: String,
        inner: Option<Inner>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only read by the parser")]
    struct Inner {
        count: u8,
    }

    fn problem(text: &str) -> (u16, String, Option<(usize, usize)>) {
        let problem = parse::<Outer>(text.as_bytes()).unwrap_err();
        (problem.status.as_u16(), problem.errors.first().map_or("", |error| &error.field).to_owned(), problem.position)
    }

    #[test]
    fn json_errors_name_the_field_or_the_position() {
        assert_eq!(problem("{\"title\": \"a\",\n  }"), (400, String::new(), Some((2, 3))));
        assert_eq!(problem("{\"title\": \"a\"} {}").0, 400);
        assert_eq!(problem("{\"title\": 5}").1, "title");
        assert_eq!(problem("{}").1, "title");
        assert_eq!(problem(" [\"a\"]"), (422, "body".to_owned(), None));
        assert_eq!(problem("7").0, 422);
        assert_eq!(problem("{\"title\":\"a\",\"titel\":1}").1, "titel");
        assert_eq!(problem("{\"title\":\"a\",\"inner\":{\"count\":300}}").1, "inner.count");
        assert_eq!(problem("{\"title\":\"a\",\"inner\":{\"coun\":3}}").1, "inner.coun");
        assert_eq!(problem(&"{\"inner\":".repeat(10_000)).0, 422);
    }
}
