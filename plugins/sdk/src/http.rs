//! HTTP requests to hosts that the operator has granted (`wasi:http`). Redirects are not followed, and a call may make few
//! requests and must leave time for them within its deadline.

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// For example "GET".
    pub method: String,
    /// With the scheme `http` or `https`.
    pub url: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Request {
    /// A request without headers and body.
    pub fn new(method: &str, url: impl Into<String>) -> Request {
        Request { method: method.to_owned(), url: url.into(), headers: Vec::new(), body: Vec::new() }
    }

    /// Adds a header.
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Request {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// Sets the body and the header that tells its type.
    pub fn body(self, media_type: &str, body: impl Into<Vec<u8>>) -> Request {
        Request { body: body.into(), ..self.header("content-type", media_type) }
    }
}

/// An answer, whatever its status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    /// The first header of this name, in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }
}

/// Why there is no answer, in words. The server's log has the details.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error(pub String);

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

/// Sends a request and waits for the whole answer.
///
/// # Errors
/// When the host is not granted, can't be reached, or does not answer in time.
pub fn send(request: Request) -> Result<Response, Error> {
    system::send(request)
}

/// A URL as `wasi:http` wants it.
#[cfg_attr(not(target_family = "wasm"), allow(dead_code))]
struct Parts<'a> {
    secure: bool,
    authority: &'a str,
    path: String,
}

#[cfg_attr(not(target_family = "wasm"), allow(dead_code))]
fn split(url: &str) -> Result<Parts<'_>, Error> {
    let (scheme, rest) = url.split_once("://").ok_or_else(|| Error(format!("{url:?} is no URL")))?;
    let secure = match scheme {
        "http" => false,
        "https" => true,
        _ => return Err(Error(format!("{url:?} does not begin with http:// or https://"))),
    };
    let rest = rest.split('#').next().unwrap_or_default();
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    Ok(Parts { secure, authority, path })
}

#[cfg(target_family = "wasm")]
mod system {
    use super::{Error, Request, Response, split};
    use crate::imports::bindings::wasi::http::outgoing_handler::handle;
    use crate::imports::bindings::wasi::http::types::{
        ErrorCode, Fields, IncomingResponse, Method, OutgoingBody, OutgoingRequest, Scheme,
    };
    use crate::imports::bindings::wasi::io::streams::StreamError;

    /// What `blocking-write-and-flush` takes at a time.
    const WRITE: usize = 4096;
    const READ: u64 = 64 << 10;

    pub(super) fn send(request: Request) -> Result<Response, Error> {
        let url = split(&request.url)?;
        let headers: Vec<(String, Vec<u8>)> =
            request.headers.iter().map(|(name, value)| (name.clone(), value.clone().into_bytes())).collect();
        let headers = Fields::from_list(&headers).map_err(|error| Error(format!("the headers can't be sent: {error}")))?;
        let out = OutgoingRequest::new(headers);
        let scheme = if url.secure { Scheme::Https } else { Scheme::Http };
        let set = out.set_method(&method(&request.method)).is_ok()
            && out.set_scheme(Some(&scheme)).is_ok()
            && out.set_authority(Some(url.authority)).is_ok()
            && out.set_path_with_query(Some(&url.path)).is_ok();
        if !set {
            return Err(Error(format!("{} {:?} can't be sent", request.method, request.url)));
        }
        let body = out.body().map_err(|()| Error("the request has no body".to_owned()))?;
        let answer = handle(out, None).map_err(failed)?;
        // A request that is refused has nobody who takes its body; why, the answer tells.
        if write(&body, &request.body) {
            let _ = OutgoingBody::finish(body, None);
        }
        answer.subscribe().block();
        let answer = answer.get().and_then(Result::ok);
        let answer = answer.ok_or_else(|| Error("there is no answer".to_owned()))?.map_err(failed)?;
        read(&answer)
    }

    fn write(body: &OutgoingBody, bytes: &[u8]) -> bool {
        let Ok(stream) = body.write() else {
            return false;
        };
        bytes.chunks(WRITE).all(|chunk| stream.blocking_write_and_flush(chunk).is_ok())
    }

    fn read(answer: &IncomingResponse) -> Result<Response, Error> {
        let headers = answer.headers().entries();
        let headers = headers.into_iter().map(|(name, value)| (name, String::from_utf8_lossy(&value).into_owned())).collect();
        let incoming = answer.consume().map_err(|()| Error("the answer has no body".to_owned()))?;
        let stream = incoming.stream().map_err(|()| Error("the answer has no body".to_owned()))?;
        let mut body = Vec::new();
        loop {
            match stream.blocking_read(READ) {
                Ok(bytes) => body.extend_from_slice(&bytes),
                Err(StreamError::Closed) => break,
                Err(StreamError::LastOperationFailed(error)) => return Err(Error(error.to_debug_string())),
            }
        }
        Ok(Response { status: answer.status(), headers, body })
    }

    fn method(name: &str) -> Method {
        match name {
            "GET" => Method::Get,
            "HEAD" => Method::Head,
            "POST" => Method::Post,
            "PUT" => Method::Put,
            "DELETE" => Method::Delete,
            "OPTIONS" => Method::Options,
            "PATCH" => Method::Patch,
            other => Method::Other(other.to_owned()),
        }
    }

    fn failed(code: ErrorCode) -> Error {
        Error(match code {
            ErrorCode::HttpRequestDenied => "the host is not granted to this plugin".to_owned(),
            ErrorCode::ConnectionLimitReached => "the call has made all the requests that it may".to_owned(),
            ErrorCode::HttpResponseTimeout => "there was no answer in time".to_owned(),
            ErrorCode::HttpResponseBodySize(_) => "the answer is too large".to_owned(),
            ErrorCode::HttpRequestBodySize(_) => "the request is too large".to_owned(),
            ErrorCode::DestinationNotFound => "the host can't be found".to_owned(),
            ErrorCode::ConnectionRefused => "the host can't be reached".to_owned(),
            other => format!("{other:?}"),
        })
    }
}

#[cfg(not(target_family = "wasm"))]
mod system {
    use super::{Error, Request, Response};
    use crate::imports::native::host;

    pub(super) fn send(request: Request) -> Result<Response, Error> {
        match host(|host| host.http.clone()) {
            Some(answer) => answer(request),
            None => Err(Error("no host is granted; call testing::http first".to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        let parts = |url| split(url).map(|parts| (parts.secure, parts.authority.to_owned(), parts.path)).unwrap();
        assert_eq!(parts("http://a.example"), (false, "a.example".into(), "/".into()));
        assert_eq!(parts("https://a.example:8443/x/y?z=1#part"), (true, "a.example:8443".into(), "/x/y?z=1".into()));
        assert_eq!(parts("http://[::1]:80?q"), (false, "[::1]:80".into(), "/?q".into()));
        for bad in ["", "a.example", "ftp://a.example", "HTTP//x"] {
            assert!(split(bad).is_err(), "{bad:?}");
        }
    }
}
