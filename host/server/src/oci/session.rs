//! The requests of one pull: authentication as the registry asks for it, and redirects of blobs.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use flyloft_plugins::outbound::{self, Client, Limits, Rules};
use form_urlencoded::Serializer;
use http::header::{self, HeaderMap, HeaderValue};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Request, Response, StatusCode, Uri};
use serde::Deserialize;
use tokio::io::AsyncReadExt as _;

use super::manifest::ACCEPTED;
use super::{PullError, Reference, Registry};

/// How long one exchange may take.
const TIMEOUT: Duration = Duration::from_secs(90);
/// Redirects that are followed for one blob.
const MAX_REDIRECTS: usize = 5;
/// Bytes of the answer of a token service, and of a password.
const MAX_TOKEN: usize = 64 << 10;

/// One pull from one registry.
pub(super) struct Session<'a> {
    reference: &'a Reference,
    registry: Option<&'a Registry>,
    scheme: Scheme,
    authority: Authority,
    /// Reaches the registry itself, also at a private address if the configuration names it.
    own: Client,
    /// Reaches whatever the registry refers to.
    others: Client,
    authorization: Option<HeaderValue>,
}

/// What a token service answers (Distribution's token specification).
#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

/// How a registry wants to be told who asks.
enum Challenge {
    Basic,
    Bearer { realm: String, service: Option<String> },
}

impl<'a> Session<'a> {
    pub(super) fn new(reference: &'a Reference, registry: Option<&'a Registry>) -> Result<Self, PullError> {
        let host = reference.host();
        let unusable = |reason: String| PullError::Registry { host: host.to_owned(), reason };
        let networks = registry.map(|registry| registry.allow_networks.as_slice()).unwrap_or_default();
        let public = || Rules::public().with_networks(networks).map_err(unusable);
        let own = match registry {
            Some(_) => Rules::from_hosts(&[&[host.to_owned()], networks].concat()).map_err(unusable)?,
            None => public()?,
        };
        let authority = api_host(host).parse().map_err(|error: http::uri::InvalidUri| unusable(error.to_string()))?;
        let plain = registry.is_some_and(|registry| registry.plain_http);
        Ok(Self {
            reference,
            registry,
            scheme: if plain { Scheme::HTTP } else { Scheme::HTTPS },
            authority,
            own: Client::new(own),
            others: Client::new(public()?),
            authorization: None,
        })
    }

    pub(super) async fn manifest(&mut self, limit: usize) -> Result<Response<Bytes>, PullError> {
        let path = format!("/v2/{}/manifests/{}", self.reference.repository(), self.reference.wanted());
        self.get(&path, ACCEPTED, limit).await
    }

    pub(super) async fn blob(&mut self, digest: &str, limit: usize) -> Result<Bytes, PullError> {
        let path = format!("/v2/{}/blobs/{digest}", self.reference.repository());
        Ok(self.get(&path, "application/octet-stream, */*", limit).await?.into_body())
    }

    async fn get(&mut self, path: &str, accept: &'static str, limit: usize) -> Result<Response<Bytes>, PullError> {
        let start = self.uri(path)?;
        let mut answer = self.follow(start.clone(), accept, limit).await?;
        if answer.status() == StatusCode::UNAUTHORIZED && self.authorization.is_none() {
            self.authorize(answer.headers()).await?;
            answer = self.follow(start, accept, limit).await?;
        }
        match answer.status() {
            StatusCode::OK => Ok(answer),
            StatusCode::NOT_FOUND => Err(PullError::NotFound { reference: self.reference.to_string() }),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(self.unauthorized()),
            status => Err(self.unusable(format!("it answers {status} when it is asked for {path}"))),
        }
    }

    /// Asks for `uri`, and for what it is redirected to. Only the registry itself learns who asks.
    async fn follow(&self, start: Uri, accept: &'static str, limit: usize) -> Result<Response<Bytes>, PullError> {
        let mut uri = start;
        for _ in 0..=MAX_REDIRECTS {
            let mut headers = HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(accept))]);
            if let Some(authorization) = self.authorization.clone().filter(|_| self.is_own(&uri)) {
                headers.insert(header::AUTHORIZATION, authorization);
            }
            let answer = self.send(&uri, headers, limit).await?;
            if !answer.status().is_redirection() {
                return Ok(answer);
            }
            let location = answer.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
            uri = self.redirected(&uri, location.ok_or_else(|| self.unusable("it redirects to nowhere".to_owned()))?)?;
        }
        Err(self.unusable(format!("it redirects more than {MAX_REDIRECTS} times")))
    }

    fn redirected(&self, from: &Uri, location: &str) -> Result<Uri, PullError> {
        let wrong = || self.unusable(format!("it redirects to {:?}", location.chars().take(200).collect::<String>()));
        if location.starts_with('/') && !location.starts_with("//") {
            let mut parts = from.clone().into_parts();
            parts.path_and_query = Some(location.parse::<PathAndQuery>().map_err(|_| wrong())?);
            return Uri::from_parts(parts).map_err(|_| wrong());
        }
        let to: Uri = location.parse().map_err(|_| wrong())?;
        let secure = to.scheme() == Some(&Scheme::HTTPS) || to.scheme() == Some(&Scheme::HTTP) && self.is_plain();
        if secure { Ok(to) } else { Err(wrong()) }
    }

    /// Gets what the registry's challenge (RFC 9110, section 11.6.1) asks for.
    async fn authorize(&mut self, headers: &HeaderMap) -> Result<(), PullError> {
        let basic = self.basic().await?;
        self.authorization = Some(match challenge(headers) {
            Some(Challenge::Basic) => basic.ok_or_else(|| self.unauthorized())?,
            Some(Challenge::Bearer { realm, service }) => self.token(&realm, service.as_deref(), basic).await?,
            None => return Err(self.unauthorized()),
        });
        Ok(())
    }

    async fn token(&self, realm: &str, service: Option<&str>, basic: Option<HeaderValue>) -> Result<HeaderValue, PullError> {
        let wrong =
            |what: &str| self.unusable(format!("its token service {:?} {what}", realm.chars().take(200).collect::<String>()));
        let scope = format!("repository:{}:pull", self.reference.repository());
        let uri: Uri = token_url(realm, service, &scope).parse().map_err(|_| wrong("has no valid URL"))?;
        // Credentials go there: in the clear only to the registry that is marked for it.
        if uri.scheme() != Some(&Scheme::HTTPS) && !(self.is_plain() && self.is_own(&uri)) {
            return Err(wrong("is not reached by https"));
        }
        let headers = basic.map(|basic| (header::AUTHORIZATION, basic)).into_iter().collect();
        let answer = self.send(&uri, headers, MAX_TOKEN).await?;
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => return Err(self.unauthorized()),
            status => return Err(wrong(&format!("answers {status}"))),
        }
        let token: Token = serde_json::from_slice(answer.body()).map_err(|_| wrong("answers with no token"))?;
        let token = token.token.or(token.access_token).ok_or_else(|| wrong("answers with no token"))?;
        sensitive(&format!("Bearer {token}")).ok_or_else(|| wrong("answers with no token"))
    }

    /// The credentials of the configuration. The password is read each time, so that it can be changed.
    async fn basic(&self) -> Result<Option<HeaderValue>, PullError> {
        let Some(registry) = self.registry.filter(|registry| !registry.username.is_empty()) else { return Ok(None) };
        let failed = |reason: String| PullError::Password {
            host: self.reference.host().to_owned(),
            path: registry.password_file.clone(),
            reason,
        };
        let file = tokio::fs::File::open(&registry.password_file).await.map_err(|error| failed(error.to_string()))?;
        let mut password = String::new();
        let read = file.take(MAX_TOKEN as u64).read_to_string(&mut password).await;
        read.map_err(|error| failed(error.to_string()))?;
        let password = password.trim_end_matches(['\r', '\n']);
        let encoded = BASE64_STANDARD.encode(format!("{}:{password}", registry.username));
        Ok(sensitive(&format!("Basic {encoded}")))
    }

    async fn send(&self, uri: &Uri, headers: HeaderMap, limit: usize) -> Result<Response<Bytes>, PullError> {
        let mut request = Request::new(Bytes::new());
        *request.uri_mut() = uri.clone();
        *request.headers_mut() = headers;
        let client = if self.is_own(uri) { &self.own } else { &self.others };
        // The body of an error may be longer than what was asked for.
        let answer = client.send_and_cut(request, Limits { deadline: TIMEOUT, max_body: limit.saturating_add(1) }).await;
        let answer = answer.map_err(|error| {
            let host = self.reference.host().to_owned();
            match error {
                error @ outbound::Error::Refused { .. } => PullError::Closed { host, error },
                error => PullError::Unreachable { host, error },
            }
        })?;
        if answer.status() == StatusCode::OK && answer.body().len() > limit {
            return Err(self.unusable(format!("it sends more than the {limit} bytes that were expected")));
        }
        Ok(answer)
    }

    fn uri(&self, path: &str) -> Result<Uri, PullError> {
        let uri = Uri::builder().scheme(self.scheme.clone()).authority(self.authority.clone()).path_and_query(path);
        uri.build().map_err(|error| self.unusable(error.to_string()))
    }

    fn is_own(&self, uri: &Uri) -> bool {
        uri.scheme() == Some(&self.scheme) && uri.authority() == Some(&self.authority)
    }

    fn is_plain(&self) -> bool {
        self.scheme == Scheme::HTTP
    }

    fn unusable(&self, reason: String) -> PullError {
        PullError::Registry { host: self.reference.host().to_owned(), reason }
    }

    fn unauthorized(&self) -> PullError {
        let host = self.reference.host().to_owned();
        let remedy = match self.registry.is_some_and(|registry| !registry.username.is_empty()) {
            true => {
                format!("look whether the username and the password in [plugins.registries.{host:?}] are right and may pull it")
            }
            false => format!("set username and password_file in [plugins.registries.{host:?}], or look whether it exists"),
        };
        PullError::Unauthorized { host, reference: self.reference.to_string(), remedy }
    }
}

fn token_url(realm: &str, service: Option<&str>, scope: &str) -> String {
    let joint = if realm.contains('?') { '&' } else { '?' };
    let mut query = Serializer::new(String::new());
    query.extend_pairs(service.map(|service| ("service", service))).append_pair("scope", scope);
    format!("{realm}{joint}{}", query.finish())
}

/// Where the registry of this name is asked: Docker Hub's API has a name of its own.
fn api_host(host: &str) -> &str {
    if host == "docker.io" { "registry-1.docker.io" } else { host }
}

/// A header value that no log shows.
fn sensitive(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// The first challenge that can be met.
fn challenge(headers: &HeaderMap) -> Option<Challenge> {
    let texts = headers.get_all(header::WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
    let challenges = texts.flat_map(|text| http_auth::parse_challenges(text).unwrap_or_default());
    let mut known = challenges.filter_map(|challenge| {
        let parameter = |name: &str| {
            let mut found = challenge.params.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
            found.next().map(|(_, value)| value.to_unescaped())
        };
        if challenge.scheme.eq_ignore_ascii_case("bearer") {
            return Some(Challenge::Bearer { realm: parameter("realm")?, service: parameter("service") });
        }
        challenge.scheme.eq_ignore_ascii_case("basic").then_some(Challenge::Basic)
    });
    known.next()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_challenge_is_read_or_left(text in "(Bearer |Basic )?[ -~]{0,60}", more in "[a-z\",= \\\\]{0,30}") {
            let headers = [text, more].map(|text| (header::WWW_AUTHENTICATE, HeaderValue::from_str(&text).unwrap()));
            let _ = challenge(&headers.into_iter().collect());
        }
    }
}
