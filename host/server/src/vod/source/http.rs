//! Files on HTTP servers, read by ranges (RFC 9110, section 14).

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use flyloft_plugins::model::HttpSource;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Request, Response, StatusCode, Uri};
use hyper::body::Incoming;

use super::answer::{self, Version};
use super::error::{Failure, OpenError, ReadError, shown};
use super::net::{self, Net};

/// A file on an HTTP server.
pub(super) struct HttpObject {
    net: Net,
    uri: Uri,
    headers: HeaderMap,
    /// For people.
    what: Arc<str>,
}

impl HttpObject {
    pub(super) fn new(net: Net, plan: HttpSource) -> Result<Self, OpenError> {
        let invalid = |what: &str| OpenError::Invalid { reason: format!("the plugin's plan has {what} that can't be sent") };
        let uri: Uri = plan.url.parse().map_err(|_| invalid("a URL"))?;
        let mut headers = HeaderMap::new();
        for pair in plan.headers {
            let name: HeaderName = pair.name.parse().map_err(|_| invalid("a header field"))?;
            headers.append(name, HeaderValue::from_str(&pair.value).map_err(|_| invalid("a header field"))?);
        }
        // Without the query, which often holds a signature or a token.
        let host = uri.authority().map(|authority| authority.as_str()).unwrap_or_default();
        let what = format!("{}://{host}{}", uri.scheme_str().unwrap_or_default(), shown(uri.path()));
        Ok(Self { net, uri, headers, what: what.into() })
    }

    pub(super) fn what(&self) -> &Arc<str> {
        &self.what
    }

    /// Finds out which file it is.
    pub(super) async fn look(&self, patience: Duration) -> Result<Version, Failure> {
        let answer = self.ask(&(0..1), None, patience).await?;
        let total = answer::total(&self.what, text(answer.headers(), header::CONTENT_RANGE))?;
        let tag = text(answer.headers(), header::ETAG).or_else(|| text(answer.headers(), header::LAST_MODIFIED));
        let version = Version { size: total, tag: tag.map(str::to_owned) };
        answer::drain(SdkBody::from_body_1_x(answer.into_body()), 1, patience, |_| {}).await?;
        Ok(version)
    }

    /// Reads a range of what it was when it was opened, and gives the bytes to `take` as they come; fewer than were asked for when the
    /// answer ends early.
    pub(super) async fn fetch(
        &self,
        range: Range<u64>,
        version: &Version,
        patience: Duration,
        take: impl FnMut(Bytes),
    ) -> Result<(), Failure> {
        let answer = self.ask(&range, Some(version), patience).await?;
        let headers = answer.headers();
        let own = if version.tag.as_deref().is_some_and(is_entity_tag) { header::ETAG } else { header::LAST_MODIFIED };
        let length = answer::agrees(&self.what, &range, version, text(headers, header::CONTENT_RANGE), text(headers, own))?;
        answer::drain(SdkBody::from_body_1_x(answer.into_body()), length, patience, take).await
    }

    async fn ask(
        &self,
        range: &Range<u64>,
        version: Option<&Version>,
        patience: Duration,
    ) -> Result<Response<Incoming>, Failure> {
        let mut request = Request::new(SdkBody::empty());
        *request.uri_mut() = self.uri.clone();
        let headers = request.headers_mut();
        *headers = self.headers.clone();
        let value = |text: String| HeaderValue::try_from(text).map_err(|error| Failure::invalid(error.to_string()));
        headers.insert(header::RANGE, value(answer::range(range))?);
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        headers.entry(header::USER_AGENT).or_insert(HeaderValue::from_static(concat!("flyloft/", env!("CARGO_PKG_VERSION"))));
        match version.and_then(|version| version.tag.as_deref()) {
            // A weak tag never matches (RFC 9110, section 13.1.1); it is compared with the answer's.
            Some(tag) if tag.starts_with("W/") => {}
            Some(tag) if is_entity_tag(tag) => {
                headers.insert(header::IF_MATCH, value(tag.to_owned())?);
            }
            Some(date) => {
                headers.insert(header::IF_UNMODIFIED_SINCE, value(date.to_owned())?);
            }
            None => {}
        }
        let sent = tokio::time::timeout(patience, self.net.send(request)).await;
        let answer = sent.map_err(|_| answer::silent(patience))?.map_err(|error| net::failure(&error))?;
        match answer.status() {
            StatusCode::PARTIAL_CONTENT => Ok(answer),
            status => Err(self.failed(status, answer.headers())),
        }
    }

    fn failed(&self, status: StatusCode, headers: &HeaderMap) -> Failure {
        let what = &self.what;
        let lasting = |error| Failure::Lasting(error);
        match status.as_u16() {
            200 => answer::no_ranges(what),
            404 | 410 => lasting(ReadError::NotFound { what: what.to_string() }),
            401 | 403 => lasting(ReadError::Denied { reason: format!("{what} may not be read: its server answers {status}") }),
            412 => lasting(ReadError::Changed { what: what.to_string() }),
            416 => answer::out_of_range(what, text(headers, header::CONTENT_RANGE)),
            300..=399 => {
                let place = text(headers, header::LOCATION).map(shown).unwrap_or_default();
                let place = place.split('?').next().unwrap_or_default();
                Failure::invalid(format!(
                    "{what} is at another place, {place:?}: have the plugin name that, as no redirect is followed"
                ))
            }
            status if answer::passes(status) => {
                answer::passing(format!("{what}: its server answers {status}"), text(headers, header::RETRY_AFTER))
            }
            status => Failure::invalid(format!("{what} can't be read: its server answers {status}")),
        }
    }
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

/// Whether it is an entity tag and not a date.
fn is_entity_tag(tag: &str) -> bool {
    tag.starts_with('"') || tag.starts_with("W/")
}
