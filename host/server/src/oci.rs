//! Pulls components from OCI registries, as the OCI Distribution Specification 1.1 and the CNCF's Wasm OCI artifact layout say.
//!
//! A registry is asked through [`flyloft_plugins::outbound`], so neither it nor what it redirects to can lead the server to private
//! addresses that the operator has not opened.

mod manifest;
mod reference;
mod session;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use flyloft_plugins::outbound;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;

pub use reference::Reference;
use session::Session;

/// Bytes of a manifest (OCI Distribution Specification, "Pushing Manifests", asks for at least as much).
const MAX_MANIFEST: usize = 4 << 20;
/// Bytes of a component, as for an upload.
pub const MAX_COMPONENT: usize = 64 << 20;
/// How long a pull may take, the wait for its turn included.
const TIMEOUT: Duration = Duration::from_secs(120);
/// Pulls at a time; each may hold a component in memory.
const MAX_PULLS: usize = 2;

/// How to get at an OCI registry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Registry {
    /// Empty asks without credentials.
    pub username: String,
    /// A file with the password or access token and nothing else; it is read at each pull.
    pub password_file: PathBuf,
    /// Whether it is asked by http and not by https.
    pub plain_http: bool,
    /// Private addresses and networks that it, and what it refers to, may be at. A host that is an address needs none for itself.
    pub allow_networks: Vec<String>,
}

impl Registry {
    /// Checks the settings of the registry at `host`.
    ///
    /// # Errors
    /// Says what is wrong, and how it is written.
    pub fn check(&self, host: &str) -> Result<(), String> {
        let Registry { username, password_file, allow_networks, .. } = self;
        if host.contains('*') || host.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err("the key must be one host in lower case, such as ghcr.io or registry.example:5000".to_owned());
        }
        if username.is_empty() != password_file.as_os_str().is_empty() {
            return Err("username and password_file belong together: set both, or neither to ask without credentials".to_owned());
        }
        // A Basic credential ends the user's name at the first colon (RFC 7617, section 2).
        if username.contains(|c: char| c == ':' || c.is_control()) {
            return Err("username may have no colon and no control characters".to_owned());
        }
        let rules = outbound::Rules::from_hosts(&[host.to_owned()])?;
        rules.with_networks(allow_networks).map(|_| ())
    }
}

/// The registries that the configuration knows, by their hosts, and the way to all others.
#[derive(Debug)]
pub struct Registries {
    known: BTreeMap<String, Registry>,
    turns: Semaphore,
}

/// A component from a registry.
#[derive(Debug)]
pub struct Pulled {
    pub component: Bytes,
    /// The reference with the digest of the manifest that it led to.
    pub reference: Reference,
}

/// Why a component could not be pulled. No text has credentials in it.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    #[error(
        "{given:?} is no reference to a component: {reason}. Write it as oci://HOST/REPOSITORY:TAG or \
         oci://HOST/REPOSITORY@sha256:DIGEST"
    )]
    Reference { given: String, reason: String },
    #[error("{reference} is not in the registry: look whether the repository has this tag or digest")]
    NotFound { reference: String },
    #[error("{host} does not let {reference} be read: {remedy}")]
    Unauthorized { host: String, reference: String, remedy: String },
    #[error(
        "{reference} holds no component: {reason}. It needs one layer of the type application/wasm; `oras push \
         HOST/REPOSITORY:TAG policy.wasm:application/wasm` makes such an artifact"
    )]
    WrongType { reference: String, reason: String },
    #[error("the component of {reference} has {size} bytes and may have {limit}")]
    TooLarge { reference: String, size: u64, limit: usize },
    #[error(
        "{what} of {reference} is damaged: its digest is {found} and should be {expected}. Push it again, and look after the \
         registry's storage"
    )]
    Damaged { what: &'static str, reference: String, expected: String, found: String },
    #[error("the registry {host} can't be used: {reason}")]
    Registry { host: String, reason: String },
    #[error(
        "the registry {host}: {error}. A private address or network is opened by allow_networks in [plugins.registries.{host:?}]"
    )]
    Closed { host: String, error: outbound::Error },
    #[error("the registry {host}: {error}")]
    Unreachable { host: String, error: outbound::Error },
    #[error("the password for the registry {host} can't be read from {}: {reason}", path.display())]
    Password { host: String, path: PathBuf, reason: String },
}

impl Default for Registries {
    fn default() -> Self {
        Self::new(BTreeMap::new())
    }
}

impl Registries {
    pub fn new(known: BTreeMap<String, Registry>) -> Self {
        Self { known, turns: Semaphore::new(MAX_PULLS) }
    }

    /// Pulls the component that a reference names. Nothing larger than [`MAX_COMPONENT`] is downloaded, and what is downloaded has the
    /// digests that were asked for.
    ///
    /// # Errors
    /// [`PullError`] says what is wrong and what to do about it.
    pub async fn pull(&self, reference: &Reference) -> Result<Pulled, PullError> {
        let late = |_| PullError::Registry {
            host: reference.host().to_owned(),
            reason: format!("{reference} was not there within {} s; try again", TIMEOUT.as_secs()),
        };
        tokio::time::timeout(TIMEOUT, self.pull_in_time(reference)).await.map_err(late)?
    }

    async fn pull_in_time(&self, reference: &Reference) -> Result<Pulled, PullError> {
        let closed = |error: tokio::sync::AcquireError| PullError::Registry {
            host: reference.host().to_owned(),
            reason: error.to_string(),
        };
        let _turn = self.turns.acquire().await.map_err(closed)?;
        let mut session = Session::new(reference, self.known.get(reference.host()))?;
        let answer = session.manifest(MAX_MANIFEST).await?;
        let found = digest(answer.body());
        let damaged = |expected: &str| PullError::Damaged {
            what: "the manifest",
            reference: reference.to_string(),
            expected: expected.to_owned(),
            found: found.clone(),
        };
        let said = answer.headers().get("docker-content-digest").and_then(|value| value.to_str().ok());
        let said = said.filter(|said| said.starts_with("sha256:"));
        for expected in [reference.digest(), said].into_iter().flatten() {
            if expected != found {
                return Err(damaged(expected));
            }
        }
        let wrong = |reason| PullError::WrongType { reference: reference.to_string(), reason };
        let layer = manifest::component_layer(answer.body()).map_err(wrong)?;
        let limit = usize::try_from(layer.size).ok().filter(|size| *size <= MAX_COMPONENT);
        let too_large = || PullError::TooLarge { reference: reference.to_string(), size: layer.size, limit: MAX_COMPONENT };
        let component = session.blob(&layer.digest, limit.ok_or_else(too_large)?).await?;
        let digest = digest(&component);
        if digest != layer.digest {
            return Err(PullError::Damaged {
                what: "the component",
                reference: reference.to_string(),
                expected: layer.digest,
                found: digest,
            });
        }
        let reference = reference.pinned(&found);
        tracing::info!(%reference, bytes = component.len(), "component pulled");
        Ok(Pulled { component, reference })
    }
}

/// `sha256:` and 64 hexadecimal digits.
fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold("sha256:".to_owned(), |text, byte| text + &format!("{byte:02x}"))
}

/// Whether a text is a digest as [`digest`] makes them.
fn is_digest(text: &str) -> bool {
    let digits = text.strip_prefix("sha256:").unwrap_or_default();
    digits.len() == 64 && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}
