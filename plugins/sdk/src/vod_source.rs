//! The `vod-source` interface: where the bytes of a VOD file come from.

/// What `wit/0.1.0/vod-source.wit` says, as Rust.
#[allow(missing_docs, clippy::all)]
pub mod bindings {
    wit_bindgen::generate!({
        path: "../../wit/0.1.0",
        world: "vod-source-plugin",
        with: { "flyloft:plugin/types@0.1.0": crate::policy::bindings::flyloft::plugin::types },
        additional_derives: [PartialEq],
        pub_export_macro: true,
        export_macro_name: "export_vod_source",
        default_bindings_module: "flyloft_plugin::vod_source::bindings",
        runtime_path: "flyloft_plugin::wit_runtime",
    });
}

pub use crate::policy::{Context, Pair};
/// Implemented by a plugin that knows where VOD files are; made known with [`crate::export_vod_source`].
pub use bindings::exports::flyloft::plugin::vod_source::Guest as VodSource;
pub use bindings::exports::flyloft::plugin::vod_source::{
    Addressing, ByteRange, Entry, Error, FileInfo, HttpSource, ListRequest, Listing, LocalFile, OwnBytes, Page, Plan, Request,
    S3Object,
};

/// What stands after the scheme of a VOD URI, `vod://` or `vod-live://`. None is another scheme.
pub fn rest(uri: &str) -> Option<&str> {
    let (scheme, rest) = uri.split_once("://")?;
    (scheme.eq_ignore_ascii_case("vod") || scheme.eq_ignore_ascii_case("vod-live")).then_some(rest)
}

/// Undoes the percent-encoding of a path or key (RFC 3986, section 2.1) and sees to it that it leads nowhere else: it must be parts
/// with "/" between them, none of them empty, "." or "..", without backslashes and control characters.
///
/// # Errors
/// [`Error::Invalid`], which says what is wrong and how it is written.
pub fn decoded(path: &str) -> Result<String, Error> {
    let path = percent_decoded(path)?;
    let wrong = |what: &str| Err(Error::Invalid(format!("The path of the URI {what}.")));
    if path.is_empty() {
        return wrong("is missing: name a file, as in vod://film.mp4");
    }
    if path.chars().any(char::is_control) {
        return wrong("has a control character");
    }
    if path.contains('\\') {
        return wrong("has a backslash: write \"/\" between its parts");
    }
    if path.starts_with('/') {
        return wrong("begins with \"/\", and absolute paths are refused: write it relative, as in vod://dir/film.mp4");
    }
    if path.split('/').any(|part| matches!(part, "." | "..")) {
        return wrong("has a part \".\" or \"..\", which are refused");
    }
    if path.split('/').any(str::is_empty) {
        return wrong("has an empty part: write one \"/\" between two parts, and none at the end");
    }
    Ok(path)
}

/// As [`decoded`], for a place that is to be listed: it may be empty, and a "/" at its end is left away.
///
/// # Errors
/// As [`decoded`].
pub fn decoded_place(path: &str) -> Result<String, Error> {
    match path.strip_suffix('/').unwrap_or(path) {
        "" => Ok(String::new()),
        place => decoded(place),
    }
}

fn percent_decoded(text: &str) -> Result<String, Error> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let digit = |byte: Option<u8>| char::from(byte.unwrap_or_default()).to_digit(16);
        match byte {
            b'%' => match (digit(rest.next()), digit(rest.next())) {
                // Two digits make a byte.
                (Some(high), Some(low)) => decoded.push((high * 16 + low) as u8),
                _ => {
                    let how = "The path of the URI has a \"%\" without two hexadecimal digits: write %25 for the sign itself.";
                    return Err(Error::Invalid(how.to_owned()));
                }
            },
            byte => decoded.push(byte),
        }
    }
    String::from_utf8(decoded).map_err(|_| Error::Invalid("The path of the URI is not UTF-8 when it is decoded.".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_schemes_are_known() {
        assert_eq!(rest("vod://a.mp4"), Some("a.mp4"));
        assert_eq!(rest("vod-live://s3/b/k"), Some("s3/b/k"));
        assert_eq!(rest("VOD-Live://a"), Some("a"));
        for other in ["rtmp://a", "vod:a", "vod", "", "://a", "vod-lives://a"] {
            assert_eq!(rest(other), None, "{other}");
        }
    }

    #[test]
    fn paths_are_decoded_once() {
        assert_eq!(decoded("dir/a%20b.mp4"), Ok("dir/a b.mp4".into()));
        assert_eq!(decoded("%D0%B6/ж+?#.mp4"), Ok("ж/ж+?#.mp4".into()));
        assert_eq!(decoded("100%25.mp4"), Ok("100%.mp4".into()));
        assert_eq!(decoded("%2520"), Ok("%20".into()));
        assert_eq!(decoded("..a/b..c/..."), Ok("..a/b..c/...".into()));
    }

    #[test]
    fn a_place_may_be_the_whole() {
        assert_eq!(decoded_place(""), Ok(String::new()));
        assert_eq!(decoded_place("a%20b/c/"), Ok("a b/c".into()));
        assert!(decoded_place("a//").is_err() && decoded_place("/a").is_err() && decoded_place("../").is_err());
    }

    #[test]
    fn what_leads_elsewhere_is_refused() {
        for (path, expected) in [
            ("", "is missing"),
            ("/etc/passwd", "begins with"),
            ("%2fetc/passwd", "begins with"),
            ("..", "\"..\""),
            ("a/../../b", "\"..\""),
            ("%2e%2e/b", "\"..\""),
            ("a/%2E%2e%2Fb", "\"..\""),
            ("./a", "\".\""),
            ("a//b", "empty part"),
            ("a/", "empty part"),
            ("a\\..\\b", "backslash"),
            ("a%5c..%5cb", "backslash"),
            ("a%00b", "control"),
            ("a\0b", "control"),
            ("a%0ab", "control"),
            ("100%", "%25"),
            ("%zz", "%25"),
            ("%+1", "%25"),
            ("%ff.mp4", "UTF-8"),
        ] {
            match decoded(path) {
                Err(Error::Invalid(reason)) => assert!(reason.contains(expected), "{path:?}: {reason}"),
                other => panic!("{path:?}: {other:?}"),
            }
        }
    }
}
