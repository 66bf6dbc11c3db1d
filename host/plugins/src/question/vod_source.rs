//! The questions of `vod-source`: where are the bytes, what is known of them, what else is there, and the bytes themselves.

use super::Question;
use super::checks::{count, headers, invalid, text, url};
use crate::api::Interface;
use crate::error::FaultKind;
use crate::grants::Grants;
use crate::model::{ByteRange, Context, FileInfo, ListRequest, Listing, SourceError, SourcePlan, SourceRequest};
use crate::plugin::Entries;
use wasmtime::component::ComponentExportIndex;

/// Bytes of a path or key.
const MAX_PATH: usize = 1024;
/// Bytes of a URI in a listing.
const MAX_URI: usize = 2048;
/// Bytes of a handle.
const MAX_HANDLE: usize = 4096;

/// Where are the bytes of a URI?
pub(crate) struct OpenQuestion;

impl Question for OpenQuestion {
    type Ask = SourceRequest;
    type Params<'a> = (&'a Context, &'a SourceRequest);
    type Answer = Result<SourcePlan, SourceError>;
    const INTERFACE: Interface = Interface::VodSource;
    const FUNCTION: &'static str = "open";

    fn entry(entries: &Entries) -> Option<&ComponentExportIndex> {
        entries.open.as_ref()
    }

    fn params<'a>(context: &'a Context, ask: &'a SourceRequest) -> Self::Params<'a> {
        (context, ask)
    }

    fn check(_ask: &SourceRequest, answer: &Self::Answer, grants: &Grants) -> Result<(), FaultKind> {
        match answer {
            Ok(answer) => plan("open", answer, grants, Wanted::File),
            Err(failed) => error("open", failed),
        }
    }

    fn abstains(answer: &Self::Answer) -> bool {
        *answer == Err(SourceError::NotMine)
    }
}

/// What is known about a URI?
pub(crate) struct StatQuestion;

impl Question for StatQuestion {
    type Ask = SourceRequest;
    type Params<'a> = (&'a Context, &'a SourceRequest);
    type Answer = Result<Option<FileInfo>, SourceError>;
    const INTERFACE: Interface = Interface::VodSource;
    const FUNCTION: &'static str = "stat";

    fn entry(entries: &Entries) -> Option<&ComponentExportIndex> {
        entries.stat.as_ref()
    }

    fn params<'a>(context: &'a Context, ask: &'a SourceRequest) -> Self::Params<'a> {
        (context, ask)
    }

    fn check(_ask: &SourceRequest, answer: &Self::Answer, _grants: &Grants) -> Result<(), FaultKind> {
        match answer {
            Ok(None) => Ok(()),
            Ok(Some(known)) => stat("stat", known),
            Err(failed) => error("stat", failed),
        }
    }

    fn abstains(answer: &Self::Answer) -> bool {
        *answer == Err(SourceError::NotMine)
    }
}

/// What is there below a URI?
pub(crate) struct ListQuestion;

impl Question for ListQuestion {
    type Ask = ListRequest;
    type Params<'a> = (&'a Context, &'a ListRequest);
    type Answer = Result<Listing, SourceError>;
    const INTERFACE: Interface = Interface::VodSource;
    const FUNCTION: &'static str = "list";

    fn entry(entries: &Entries) -> Option<&ComponentExportIndex> {
        entries.list.as_ref()
    }

    fn params<'a>(context: &'a Context, ask: &'a ListRequest) -> Self::Params<'a> {
        (context, ask)
    }

    fn check(ask: &ListRequest, answer: &Self::Answer, grants: &Grants) -> Result<(), FaultKind> {
        match answer {
            Ok(Listing::Place(place)) => plan("list.place", place, grants, Wanted::Place),
            Ok(Listing::Entries(page)) => {
                count("list.entries", page.entries.len(), ask.limit.min(ListRequest::MAX_ENTRIES) as usize)?;
                if let Some(cursor) = &page.cursor {
                    text("list.cursor", cursor, 1, 1024)?;
                }
                page.entries.iter().try_for_each(|entry| {
                    text("list.entries.uri", &entry.uri, 1, MAX_URI)?;
                    stat("list.entries.info", &entry.info)
                })
            }
            Err(failed) => error("list", failed),
        }
    }

    fn abstains(answer: &Self::Answer) -> bool {
        *answer == Err(SourceError::NotMine)
    }
}

/// A piece of the plugin's own bytes.
pub(crate) struct ReadQuestion;

impl Question for ReadQuestion {
    type Ask = ByteRange;
    type Params<'a> = (&'a Context, &'a ByteRange);
    type Answer = Result<Vec<u8>, SourceError>;
    const INTERFACE: Interface = Interface::VodSource;
    const FUNCTION: &'static str = "read";

    fn entry(entries: &Entries) -> Option<&ComponentExportIndex> {
        entries.read.as_ref()
    }

    fn params<'a>(context: &'a Context, ask: &'a ByteRange) -> Self::Params<'a> {
        (context, ask)
    }

    fn check(ask: &ByteRange, answer: &Self::Answer, _grants: &Grants) -> Result<(), FaultKind> {
        match answer {
            Ok(bytes) if bytes.len() > ask.length as usize => {
                invalid("read", format!("has {} bytes, and {} were asked for", bytes.len(), ask.length))
            }
            Ok(_) => Ok(()),
            Err(failed) => error("read", failed),
        }
    }

    fn abstains(_answer: &Self::Answer) -> bool {
        false
    }
}

/// What a plan is for.
#[derive(Clone, Copy, PartialEq)]
enum Wanted {
    File,
    /// Something to be listed; a whole bucket or the media directory itself will do.
    Place,
}

fn plan(field: &str, plan: &SourcePlan, grants: &Grants, wanted: Wanted) -> Result<(), FaultKind> {
    let least = if wanted == Wanted::Place { 0 } else { 1 };
    match plan {
        SourcePlan::File(file) => {
            let field = format!("{field}.file.path");
            text(&field, &file.path, least, MAX_PATH)?;
            let odd = |part: &str| part.is_empty() || part == "." || part == ".." || part.contains('\\');
            if !file.path.is_empty() && file.path.split('/').any(odd) {
                return invalid(&field, "is not a relative path of plain names (no \"..\", no empty part, no backslash)".into());
            }
            Ok(())
        }
        SourcePlan::Http(_) if wanted == Wanted::Place => {
            invalid(&format!("{field}.http"), "can't be listed by the host; list it in the plugin".into())
        }
        SourcePlan::Http(http) => {
            url(&format!("{field}.http.url"), &http.url)?;
            headers(&format!("{field}.http.headers"), &http.headers, |name| name == "range" || name == "if-range")
        }
        SourcePlan::S3(s3) => {
            bucket(&format!("{field}.s3.bucket"), &s3.bucket)?;
            text(&format!("{field}.s3.key"), &s3.key, least, MAX_PATH)?;
            if let Some(endpoint) = &s3.endpoint {
                let field = format!("{field}.s3.endpoint");
                let uri = url(&field, endpoint)?;
                if uri.path() != "/" || uri.query().is_some() {
                    return invalid(&field, "has a path; only the scheme and the host are allowed".into());
                }
            }
            if let Some(region) = &s3.region {
                text(&format!("{field}.s3.region"), region, 1, 64)?;
            }
            match &s3.credential {
                Some(name) if !grants.credentials.contains(name) => {
                    let shown: String = name.chars().take(64).collect();
                    let problem =
                        format!("is {shown:?}, which is not granted to this plugin; add it to the binding's credentials");
                    invalid(&format!("{field}.s3.credential"), problem)
                }
                _ => Ok(()),
            }
        }
        SourcePlan::Own(_) if wanted == Wanted::Place => {
            invalid(&format!("{field}.own"), "can't be listed by the host; list it in the plugin".into())
        }
        SourcePlan::Own(own) => text(&format!("{field}.own.handle"), &own.handle, 1, MAX_HANDLE),
    }
}

/// A bucket stands in a host's name or in a path, so it is more than a text.
fn bucket(field: &str, bucket: &str) -> Result<(), FaultKind> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    if (1..=255).contains(&bucket.len()) && bucket.bytes().all(plain) && !matches!(bucket, "." | "..") {
        return Ok(());
    }
    invalid(field, "is no name of a bucket: 1 to 255 letters, digits, dots, hyphens and underscores".into())
}

fn stat(field: &str, stat: &FileInfo) -> Result<(), FaultKind> {
    match &stat.media_type {
        Some(media_type) => text(&format!("{field}.media-type"), media_type, 1, 128),
        None => Ok(()),
    }
}

fn error(field: &str, error: &SourceError) -> Result<(), FaultKind> {
    let (kind, reason) = match error {
        SourceError::NotMine => return Ok(()),
        SourceError::NotFound(reason) => ("not-found", reason),
        SourceError::Denied(reason) => ("denied", reason),
        SourceError::Invalid(reason) => ("invalid", reason),
        SourceError::Unavailable(reason) => ("unavailable", reason),
    };
    text(&format!("{field}.{kind}"), reason, 1, 1024)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Addressing, HttpSource, ListEntry, ListPage, LocalFile, OwnBytes, S3Object};

    fn opened(plan: SourcePlan) -> Option<String> {
        let ask = SourceRequest { uri: "vod://x".into(), shared: false };
        let grants = Grants { credentials: vec!["spaces".into()], ..Grants::default() };
        field(OpenQuestion::check(&ask, &Ok(plan), &grants))
    }

    fn field(checked: Result<(), FaultKind>) -> Option<String> {
        match checked {
            Ok(()) => None,
            Err(FaultKind::InvalidAnswer { field, .. }) => Some(field),
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn a_path_stays_below_the_media_directory() {
        let file = |path: &str| opened(SourcePlan::File(LocalFile { path: path.into() }));
        for good in ["a.mp4", "dir/a file.mp4", "ä/..b", ".hidden"] {
            assert_eq!(file(good), None, "{good}");
        }
        for bad in ["", "/etc/passwd", "..", "a/../../b", "a//b", "./a", "a/", "a\\..\\b", "a\0b", &"x".repeat(1025)] {
            assert_eq!(file(bad).as_deref(), Some("open.file.path"), "{bad:?}");
        }
    }

    #[test]
    fn an_object_names_granted_credentials() {
        let object = |change: fn(&mut S3Object)| {
            let mut object = S3Object {
                bucket: "space".into(),
                key: "dir/key one.mp4".into(),
                endpoint: Some("https://ams3.digitaloceanspaces.com".into()),
                region: None,
                addressing: Addressing::VirtualHost,
                credential: Some("spaces".into()),
            };
            change(&mut object);
            opened(SourcePlan::S3(object))
        };
        assert_eq!(object(|_| ()), None);
        assert_eq!(object(|o| o.credential = None), None);
        assert_eq!(object(|o| o.credential = Some("other".into())).as_deref(), Some("open.s3.credential"));
        assert_eq!(object(|o| o.bucket = "a/b".into()).as_deref(), Some("open.s3.bucket"));
        assert_eq!(object(|o| o.bucket = "a@b".into()).as_deref(), Some("open.s3.bucket"));
        assert_eq!(object(|o| o.key = String::new()).as_deref(), Some("open.s3.key"));
        assert_eq!(object(|o| o.endpoint = Some("https://x.example/path".into())).as_deref(), Some("open.s3.endpoint"));
        assert_eq!(object(|o| o.endpoint = Some("x.example".into())).as_deref(), Some("open.s3.endpoint"));
    }

    #[test]
    fn ranges_and_bytes_are_the_hosts() {
        let http = |name: &str| {
            let headers = vec![crate::model::Pair { name: name.into(), value: "x".into() }];
            opened(SourcePlan::Http(HttpSource { url: "https://a.example/v.mp4".into(), headers }))
        };
        assert_eq!(http("authorization"), None);
        assert_eq!(http("Range").as_deref(), Some("open.http.headers.range"));
        let own = |handle: &str| opened(SourcePlan::Own(OwnBytes { handle: handle.into(), size: 1 << 40 }));
        assert_eq!((own("a"), own("").as_deref()), (None, Some("open.own.handle")));
        let range = ByteRange { handle: "a".into(), offset: 0, length: 4 };
        let read = |bytes: usize| field(ReadQuestion::check(&range, &Ok(vec![0; bytes]), &Grants::default()));
        assert_eq!((read(4), read(0), read(5).as_deref()), (None, None, Some("read")));
    }

    #[test]
    fn a_page_is_no_longer_than_asked_for() {
        let ask = ListRequest { uri: "vod://".into(), cursor: None, limit: 2 };
        let list = |answer| field(ListQuestion::check(&ask, &Ok(answer), &Grants::default()));
        let entry = ListEntry { uri: "vod://a.mp4".into(), info: FileInfo::default() };
        let page = |entries| Listing::Entries(ListPage { entries, cursor: None });
        assert_eq!(list(page(vec![entry.clone(); 2])), None);
        assert_eq!(list(page(vec![entry; 3])).as_deref(), Some("list.entries"));
        assert_eq!(list(Listing::Place(SourcePlan::File(LocalFile { path: String::new() }))), None);
        let own = SourcePlan::Own(OwnBytes { handle: "a".into(), size: 1 });
        assert_eq!(list(Listing::Place(own)).as_deref(), Some("list.place.own"));
    }

    #[test]
    fn an_error_says_why() {
        let ask = SourceRequest { uri: "vod://x".into(), shared: false };
        let failed = |error| field(OpenQuestion::check(&ask, &Err(error), &Grants::default()));
        assert_eq!(failed(SourceError::NotMine), None);
        assert_eq!(failed(SourceError::NotFound("File not found.".into())), None);
        assert_eq!(failed(SourceError::Denied(String::new())).as_deref(), Some("open.denied"));
    }
}
