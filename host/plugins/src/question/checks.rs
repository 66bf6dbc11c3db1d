//! What texts, lists, URLs and headers in answers may be.

use crate::error::FaultKind;
use crate::model::Pair;
use http::{HeaderName, HeaderValue, Uri};

/// Bytes of a URL.
const MAX_URL: usize = 2048;
const MAX_HEADERS: usize = 32;
/// Bytes of a header's value.
const MAX_HEADER_VALUE: usize = 8192;
/// Headers that belong to the connection or to the host that makes it.
const OF_THE_HOST: [&str; 13] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

pub(super) fn invalid(field: &str, problem: String) -> Result<(), FaultKind> {
    Err(FaultKind::InvalidAnswer { field: field.to_owned(), problem })
}

/// Text that goes into logs, protocols and pages: of limited length, without control characters.
pub(super) fn text(field: &str, text: &str, least: usize, most: usize) -> Result<(), FaultKind> {
    if text.len() < least || text.len() > most {
        return invalid(field, format!("has {} bytes, and {least} to {most} are allowed", text.len()));
    }
    match text.char_indices().find(|(_, c)| c.is_control()) {
        Some((at, c)) => invalid(field, format!("has the control character {:?} at byte {at}", c)),
        None => Ok(()),
    }
}

pub(super) fn code(field: &str, code: &str) -> Result<(), FaultKind> {
    text(field, code, 1, 64)?;
    let word = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    if code.split('-').all(word) {
        return Ok(());
    }
    invalid(field, format!("is {code:?}, and lower-case words joined by hyphens are allowed, such as \"not-live\""))
}

pub(super) fn count(field: &str, count: usize, most: usize) -> Result<(), FaultKind> {
    if count > most {
        return invalid(field, format!("has {count} entries, and at most {most} are allowed"));
    }
    Ok(())
}

/// An address that the host may be asked to connect to; whether it may is for the one that connects to judge.
pub(super) fn url(field: &str, url: &str) -> Result<Uri, FaultKind> {
    text(field, url, 1, MAX_URL)?;
    let problem = |problem: &str| FaultKind::InvalidAnswer { field: field.to_owned(), problem: problem.to_owned() };
    let uri: Uri = url.parse().map_err(|error| problem(&format!("is not a URL: {error}")))?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err(problem("does not begin with http:// or https://"));
    }
    let authority = uri.authority().ok_or_else(|| problem("has no host"))?;
    if authority.host().is_empty() {
        return Err(problem("has no host"));
    }
    if authority.as_str().contains('@') {
        return Err(problem("has a user or a password before the host; send them in a header"));
    }
    if url.contains('#') {
        return Err(problem("has a fragment (#), which is never sent"));
    }
    Ok(uri)
}

/// Headers of a request that the host makes; `reserved` tells names that it sets besides those of the connection.
pub(super) fn headers(field: &str, headers: &[Pair], reserved: impl Fn(&str) -> bool) -> Result<(), FaultKind> {
    count(field, headers.len(), MAX_HEADERS)?;
    headers.iter().try_for_each(|Pair { name, value }| {
        let Ok(parsed) = HeaderName::from_bytes(name.as_bytes()) else {
            let shown: String = name.chars().take(64).collect();
            return invalid(field, format!("has the name {shown:?}, which is no name of a header"));
        };
        let (name, field) = (parsed.as_str(), format!("{field}.{}", parsed.as_str()));
        if OF_THE_HOST.contains(&name) || reserved(name) {
            return invalid(&field, "is set by the host; leave it out".to_owned());
        }
        if value.len() > MAX_HEADER_VALUE {
            return invalid(&field, format!("has {} bytes, and at most {MAX_HEADER_VALUE} are allowed", value.len()));
        }
        // The type of headers allows bytes above ASCII, which receivers read as they like.
        match HeaderValue::from_str(value) {
            Ok(_) if value.is_ascii() => Ok(()),
            _ => invalid(&field, "has characters other than visible ASCII, spaces and tabs".to_owned()),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_plain_http() {
        for good in ["http://a.example", "https://a.example:8443/x?y=%20", "http://[::1]/", "http://127.0.0.1/a"] {
            assert!(url("url", good).is_ok(), "{good}");
        }
        let long = format!("http://a.example/{}", "x".repeat(MAX_URL));
        for bad in [
            "",
            "a.example/x",
            "/x",
            "ftp://a.example/",
            "file:///etc/passwd",
            "http://",
            "http:///x",
            "http://user:secret@a.example/",
            "http://user@a.example/",
            "http://a.example/#part",
            "http://a.example/a b",
            "http://a.example/\r\nx: y",
            "http://a.example/\u{7f}",
            &long,
        ] {
            assert!(url("url", bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn headers_of_the_connection_are_the_hosts() {
        let check = |name: &str, value: &str| {
            let pair = Pair { name: name.into(), value: value.into() };
            headers("headers", &[pair], |name| name.starts_with("webhook-")).is_ok()
        };
        assert!(check("X-Api-Key", "abc"));
        assert!(check("authorization", "Bearer x"));
        assert!(check("x", &"v".repeat(MAX_HEADER_VALUE)));
        assert!(!check("x", &"v".repeat(MAX_HEADER_VALUE + 1)));
        for name in ["Host", "CONNECTION", "transfer-encoding", "Webhook-Signature", "webhook-id", "", "a b", "a\r\nb", "ä"] {
            assert!(!check(name, "x"), "{name:?}");
        }
        for value in ["a\r\nx: y", "\0", "ä"] {
            assert!(!check("x", value), "{value:?}");
        }
        let many = vec![Pair { name: "x".into(), value: "y".into() }; MAX_HEADERS + 1];
        assert!(headers("headers", &many, |_| false).is_err());
    }
}
