//! References to artifacts in registries: `oci://HOST/REPOSITORY:TAG`, `…@sha256:DIGEST`, or both.

use std::fmt;

use flyloft_plugins::outbound::Rules;

use super::{PullError, is_digest};

const SCHEME: &str = "oci://";
/// Bytes of a reference.
const MAX: usize = 1024;
/// Bytes of host and repository together (OCI Distribution Specification, "Pulling manifests").
const MAX_NAME: usize = 255;
/// Characters of a tag (same place).
const MAX_TAG: usize = 128;

/// Names an artifact in a registry. Where it has both a tag and a digest, the digest counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    host: String,
    repository: String,
    tag: Option<String>,
    digest: Option<String>,
}

impl Reference {
    /// Whether a text is meant as a reference and not as a file's name.
    pub fn is_meant(text: &str) -> bool {
        text.starts_with(SCHEME)
    }

    /// Reads a reference.
    ///
    /// # Errors
    /// [`PullError::Reference`] says which part is wrong.
    pub fn parse(text: &str) -> Result<Reference, PullError> {
        read(text).map_err(|reason| PullError::Reference { given: text.chars().take(200).collect(), reason })
    }

    /// The registry: a host, with a port where it is not the usual one.
    pub fn host(&self) -> &str {
        &self.host
    }

    pub fn repository(&self) -> &str {
        &self.repository
    }

    pub fn digest(&self) -> Option<&str> {
        self.digest.as_deref()
    }

    /// What the registry is asked for: the digest, else the tag.
    pub(super) fn wanted(&self) -> &str {
        self.digest.as_deref().or(self.tag.as_deref()).unwrap_or_default()
    }

    /// The same with this digest.
    pub(super) fn pinned(&self, digest: &str) -> Reference {
        Reference { digest: Some(digest.to_owned()), ..self.clone() }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}/{}", self.host, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        match &self.digest {
            Some(digest) => write!(f, "@{digest}"),
            None => Ok(()),
        }
    }
}

fn read(text: &str) -> Result<Reference, String> {
    if text.len() > MAX {
        return Err(format!("it has {} bytes and may have {MAX}", text.len()));
    }
    let rest = text.strip_prefix(SCHEME).ok_or_else(|| format!("it does not begin with {SCHEME}"))?;
    let (host, rest) = rest.split_once('/').ok_or("after the host a slash and the repository must follow")?;
    let (rest, digest) = match rest.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest)),
        None => (rest, None),
    };
    let (repository, tag) = match rest.split_once(':') {
        Some((repository, tag)) => (repository, Some(tag)),
        None => (rest, None),
    };
    Rules::from_hosts(&[host.to_owned()]).map_err(|reason| format!("the host {reason}"))?;
    if host.contains(['*', '/', '@']) || host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Err(format!("{host:?} is no host: it is written in lower case, such as ghcr.io or registry.example:5000"));
    }
    if host.len() + repository.len() > MAX_NAME {
        return Err(format!("host and repository have more than {MAX_NAME} bytes together"));
    }
    if !repository.split('/').all(is_part) {
        return Err(format!(
            "{repository:?} is no repository: its parts between slashes are lower-case letters and digits with . _ __ or - between them"
        ));
    }
    if tag.is_some_and(|tag| !is_tag(tag)) {
        return Err("the tag may have 128 letters, digits, and . _ - that do not begin it with . or -".to_owned());
    }
    if digest.is_some_and(|digest| !is_digest(digest)) {
        return Err("the digest after @ must be sha256: and 64 hexadecimal digits in lower case".to_owned());
    }
    if tag.is_none() && digest.is_none() {
        return Err("the tag or the digest is missing".to_owned());
    }
    let owned = |text: Option<&str>| text.map(str::to_owned);
    Ok(Reference { host: host.to_owned(), repository: repository.to_owned(), tag: owned(tag), digest: owned(digest) })
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*` (OCI Distribution Specification, "Pulling manifests").
fn is_part(part: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let mut separators = part.split(|c: char| c.is_ascii() && plain(c as u8)).filter(|between| !between.is_empty());
    let ends = part.bytes().next().is_some_and(plain) && part.bytes().next_back().is_some_and(plain);
    ends && separators.all(|between| matches!(between, "." | "_" | "__") || between.bytes().all(|byte| byte == b'-'))
}

/// `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}` (same place).
fn is_tag(tag: &str) -> bool {
    let first = tag.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    first && tag.len() <= MAX_TAG && tag.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DIGEST: &str = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

    #[test]
    fn references_are_read_and_written_alike() {
        for text in [
            "oci://ghcr.io/team/policies/geo-block:1.2".to_owned(),
            "oci://127.0.0.1:5000/p:latest".to_owned(),
            "oci://[::1]:5000/a__b/c.d/e--f:_X".to_owned(),
            format!("oci://registry.example:5000/p@{DIGEST}"),
            format!("oci://registry.example/p:1@{DIGEST}"),
        ] {
            assert_eq!(Reference::parse(&text).unwrap().to_string(), text);
        }
        let reference = Reference::parse("oci://registry.example:5000/team/geo-block:1.2").unwrap();
        let parts = (reference.host(), reference.repository(), reference.wanted());
        assert_eq!(parts, ("registry.example:5000", "team/geo-block", "1.2"));
        assert_eq!(reference.pinned(DIGEST).wanted(), DIGEST);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let error = |text: &str| Reference::parse(text).unwrap_err().to_string();
        for (text, part) in [
            ("docker://ghcr.io/p:1", "begin with oci://"),
            ("oci://ghcr.io", "repository"),
            ("oci:///p:1", "host"),
            ("oci://Ghcr.io/p:1", "lower case"),
            ("oci://*.example.com/p:1", "no host"),
            ("oci://user@ghcr.io/p:1", "host"),
            ("oci://10.0.0.0:x/p:1", "port"),
            ("oci://ghcr.io/Team/p:1", "no repository"),
            ("oci://ghcr.io/../p:1", "no repository"),
            ("oci://ghcr.io/a//p:1", "no repository"),
            ("oci://ghcr.io/p?x=1:1", "no repository"),
            ("oci://ghcr.io/p", "tag or the digest is missing"),
            ("oci://ghcr.io/p:", "tag"),
            ("oci://ghcr.io/p:-a", "tag"),
            ("oci://ghcr.io/p@sha256:12", "64 hexadecimal"),
            ("oci://ghcr.io/p@sha512:12", "sha256"),
        ] {
            assert!(error(text).contains(part), "{text}: {}", error(text));
        }
        assert!(error(&format!("oci://ghcr.io/{}:1", "a".repeat(300))).contains("255"));
        assert!(error(&format!("oci://ghcr.io/{}:1", "a".repeat(5000))).contains("1024"));
    }

    proptest! {
        #[test]
        fn what_is_read_is_safe_in_a_path(text in "oci://[a-z.:/@_\\-%?#]{0,40}") {
            if let Ok(reference) = Reference::parse(&text) {
                let path = format!("/v2/{}/manifests/{}", reference.repository(), reference.wanted());
                let uri: http::Uri = path.parse().unwrap();
                prop_assert_eq!(uri.path(), path.as_str());
                prop_assert!(path.split('/').skip(1).all(|part| !matches!(part, "" | "." | "..")));
            }
        }
    }
}
