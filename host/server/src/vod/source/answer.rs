//! What the answers of stores and HTTP servers to requests for ranges have in common.

use std::ops::Range;
use std::time::Duration;

use aws_smithy_types::body::SdkBody;
use aws_smithy_types::byte_stream::ByteStream;
use bytes::Bytes;

use super::error::{Failure, ReadError};
use super::net;

/// Which content an object had when it was opened.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Version {
    /// Bytes.
    pub(super) size: u64,
    /// The entity tag, or what the store has in its place.
    pub(super) tag: Option<String>,
}

/// The value of a `Range` field.
pub(super) fn range(range: &Range<u64>) -> String {
    format!("bytes={}-{}", range.start, range.end.saturating_sub(1))
}

/// The size of the whole, by the `Content-Range` of an answer to a request for its first byte.
pub(super) fn total(what: &str, content_range: Option<&str>) -> Result<u64, Failure> {
    match content_range.map(parse) {
        None => Err(no_ranges(what)),
        Some(Some((_, total))) => Ok(total),
        Some(None) => Err(Failure::invalid(format!("{what}: its server does not say how long it is (Content-Range)"))),
    }
}

/// Sees to it that an answer is about the range that was asked for and about the same content. Gives the bytes that its body must have.
pub(super) fn agrees(
    what: &str,
    asked: &Range<u64>,
    version: &Version,
    content_range: Option<&str>,
    tag: Option<&str>,
) -> Result<u64, Failure> {
    let Some(content_range) = content_range else { return Err(no_ranges(what)) };
    if let (Some(own), Some(tag)) = (&version.tag, tag)
        && own != tag
    {
        return Err(changed(what));
    }
    match parse(content_range) {
        Some((_, total)) if total != version.size => Err(changed(what)),
        Some((given, _)) if given.start == asked.start && given.end <= asked.end => Ok(given.end - given.start),
        _ => Err(Failure::passing(format!("{what}: its server sent other bytes than were asked for"))),
    }
}

/// Takes a body apart as it comes: `length` bytes at most. A body that ends early is no error here.
pub(super) async fn drain(body: SdkBody, length: u64, patience: Duration, mut take: impl FnMut(Bytes)) -> Result<(), Failure> {
    let mut body = ByteStream::new(body);
    let mut left = length;
    loop {
        // After the last byte once more, so that the connection is seen to be free for the next request.
        let piece = tokio::time::timeout(patience, body.next()).await.map_err(|_| silent(patience))?;
        match piece {
            None => return Ok(()),
            Some(Ok(bytes)) if bytes.len() as u64 > left => {
                return Err(Failure::passing("the answer has more bytes than it says"));
            }
            Some(Ok(bytes)) => {
                left -= bytes.len() as u64;
                take(bytes);
            }
            Some(Err(_)) if left == 0 => return Ok(()),
            Some(Err(error)) => return Err(net::failure(&error)),
        }
    }
}

/// Nothing came for too long.
pub(super) fn silent(patience: Duration) -> Failure {
    Failure::passing(format!("no answer within {:.0} s", patience.as_secs_f32()))
}

/// Whether another request may be answered better (RFC 9110, section 15; RFC 6585, section 4).
pub(super) fn passes(status: u16) -> bool {
    matches!(status, 408 | 425 | 429 | 500..=599)
}

/// A failure that passes, with the seconds of a `Retry-After` field.
pub(super) fn passing(reason: String, retry_after: Option<&str>) -> Failure {
    Failure::Passing { reason, after: retry_after.and_then(|text| text.trim().parse().ok()).map(Duration::from_secs) }
}

pub(super) fn no_ranges(what: &str) -> Failure {
    Failure::invalid(format!(
        "{what}: its server does not answer requests for ranges (Range), so it can't be played from there: put it on a server that \
         does, into an S3-compatible store, or into the media directory"
    ))
}

/// The range that was asked for lies behind the end.
pub(super) fn out_of_range(what: &str, content_range: Option<&str>) -> Failure {
    match content_range.map(str::trim) {
        Some("bytes */0") | None => Failure::invalid(format!("{what} is empty")),
        Some(_) => changed(what),
    }
}

fn changed(what: &str) -> Failure {
    Failure::Lasting(ReadError::Changed { what: what.to_owned() })
}

/// `bytes 0-99/1000` (RFC 9110, section 14.4).
fn parse(content_range: &str) -> Option<(Range<u64>, u64)> {
    let (range, total) = content_range.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<u64>().ok()).flatten();
    let (first, last, total) = (number(first)?, number(last)?, number(total)?);
    (first <= last && last < total).then(|| (first..last + 1, total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_ranges_are_read_strictly() {
        assert_eq!(parse("bytes 0-99/1000"), Some((0..100, 1000)));
        assert_eq!(parse("bytes 5-5/6"), Some((5..6, 6)));
        for bad in
            ["", "0-99/1000", "bytes 0-99/*", "bytes */1000", "bytes 9-5/10", "bytes 0-10/10", "bytes +0-1/2", "bytes 0-1/-2"]
        {
            assert_eq!(parse(bad), None, "{bad}");
        }
        assert_eq!(parse("bytes 0-18446744073709551615/18446744073709551615"), None);
        assert_eq!(range(&(5..10)), "bytes=5-9");
    }

    #[test]
    fn an_answer_must_fit_the_question() {
        let version = Version { size: 1000, tag: Some("\"a\"".into()) };
        let agree = |content_range, tag| agrees("x", &(10..20), &version, content_range, tag);
        assert_eq!(agree(Some("bytes 10-19/1000"), Some("\"a\"")), Ok(10));
        assert_eq!(agree(Some("bytes 10-14/1000"), None), Ok(5));
        let changed = Err(Failure::Lasting(ReadError::Changed { what: "x".into() }));
        assert_eq!(agree(Some("bytes 10-19/1001"), Some("\"a\"")), changed);
        assert_eq!(agree(Some("bytes 10-19/1000"), Some("\"b\"")), changed);
        assert!(matches!(agree(Some("bytes 0-9/1000"), None), Err(Failure::Passing { .. })));
        assert!(matches!(agree(Some("bytes 10-20/1000"), None), Err(Failure::Passing { .. })));
        assert!(matches!(agree(None, None), Err(Failure::Lasting(ReadError::Invalid { .. }))));
    }

    #[tokio::test]
    async fn a_body_is_no_longer_than_it_says() {
        let patience = Duration::from_secs(1);
        let drained = async |length| {
            let mut taken = Vec::new();
            let done = drain(SdkBody::from("0123456789"), length, patience, |bytes| taken.extend(bytes)).await;
            (done, taken)
        };
        assert_eq!(drained(10).await, (Ok(()), b"0123456789".to_vec()));
        assert_eq!(drained(11).await.0, Ok(()));
        assert!(matches!(drained(9).await, (Err(Failure::Passing { .. }), taken) if taken.is_empty()));
    }
}
