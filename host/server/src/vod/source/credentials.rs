//! The credentials of object stores. Plugins name them; what they open is known here alone.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use flyloft_plugins::model::S3Object;
use flyloft_plugins::{Grants, Secret};

use super::error::OpenError;
use crate::config::{Credential, SecretFrom, Vod};

/// The built-in plugins that name credentials.
const NAMING: [&str; 2] = ["s3", "spaces"];
/// Bytes of a file with a secret.
const MAX_SECRET: u64 = 4096;

/// What the built-in plugins are granted: the names of the credentials, and what they need to choose between them.
pub fn grants(config: &Vod) -> BTreeMap<String, Grants> {
    let line = |credential: &Credential| {
        let Credential { name, zone, endpoint, buckets, .. } = credential;
        let (zone, endpoint) = (zone.as_deref().unwrap_or_default(), endpoint.as_deref().unwrap_or_default());
        format!("{name};{zone};{endpoint};{}", buckets.join(" "))
    };
    let lines: Vec<String> = config.credentials.iter().map(line).collect();
    let grants = Grants {
        config: [("credentials".to_owned(), lines.join("\n"))].into(),
        credentials: config.credentials.iter().map(|credential| credential.name.clone()).collect(),
        ..Grants::default()
    };
    NAMING.into_iter().map(|plugin| (plugin.to_owned(), grants.clone())).collect()
}

/// What signs requests to a store.
pub(super) struct Key {
    pub(super) zone: Option<String>,
    endpoint: Option<String>,
    buckets: Vec<String>,
    pub(super) key: String,
    pub(super) secret: Secret,
}

/// All credentials, by their names.
pub(super) struct Keyring(HashMap<String, Arc<Key>>);

impl Keyring {
    pub(super) fn open(config: &Vod) -> Result<Self> {
        let keys = config.credentials.iter().map(|credential| {
            let Credential { name, zone, endpoint, buckets, key, .. } = credential.clone();
            let secret = secret(&credential.secret).with_context(|| format!("vod.credentials: {name}"))?;
            Ok((name.clone(), Arc::new(Key { zone, endpoint, buckets, key, secret })))
        });
        Ok(Self(keys.collect::<Result<_>>()?))
    }

    /// Those that an object is to be read with, if they may be used for it. None asks without.
    pub(super) fn of(&self, object: &S3Object) -> Result<Option<Arc<Key>>, OpenError> {
        let Some(name) = &object.credential else { return Ok(None) };
        let denied = |reason| Err(OpenError::Denied { reason });
        let Some(key) = self.0.get(name) else {
            return denied(format!("the server has no credentials {name:?}: set them in vod.credentials"));
        };
        let bucket = &object.bucket;
        if !key.buckets.is_empty() && !key.buckets.contains(bucket) {
            return denied(format!("the bucket {bucket} is not granted: vod.credentials names others for {name}"));
        }
        if let Some(own) = &key.endpoint
            && object.endpoint.as_deref().map(canonical) != Some(canonical(own))
        {
            return denied(format!("the credentials {name} are only for {own}, and not for another store"));
        }
        Ok(Some(Arc::clone(key)))
    }
}

fn secret(from: &SecretFrom) -> Result<Secret> {
    let path = match from {
        SecretFrom::Text(secret) => return Ok(secret.clone()),
        SecretFrom::File(path) => path,
    };
    let failed = || format!("secret_file: {} can't be read", path.display());
    let size = std::fs::metadata(path).with_context(failed)?.len();
    if size > MAX_SECRET {
        bail!("secret_file: {} has {size} bytes, and a secret has {MAX_SECRET} at most", path.display());
    }
    let text = std::fs::read_to_string(path).with_context(failed)?;
    if text.trim().is_empty() {
        bail!("secret_file: {} is empty", path.display());
    }
    Ok(Secret::new(text.trim()))
}

/// An endpoint without what says nothing: capitals, the port of its scheme, a slash at its end.
fn canonical(endpoint: &str) -> String {
    let endpoint = endpoint.trim_end_matches('/').to_ascii_lowercase();
    let port = if endpoint.starts_with("https:") { ":443" } else { ":80" };
    endpoint.strip_suffix(port).map(str::to_owned).unwrap_or(endpoint)
}

/// The endpoints that are addresses: who names one means it, private or not.
pub(super) fn addresses(config: &Vod) -> Vec<String> {
    let endpoints = config.credentials.iter().filter_map(|credential| credential.endpoint.as_deref());
    let address = |endpoint: &str| {
        let uri: http::Uri = endpoint.parse().ok()?;
        let host = uri.host()?;
        host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().ok()?;
        let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 });
        Some(format!("{host}:{port}"))
    };
    endpoints.filter_map(address).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use flyloft_plugins::model::Addressing;

    fn credential(name: &str) -> Credential {
        Credential {
            name: name.into(),
            zone: Some("eu-west-1".into()),
            endpoint: None,
            buckets: Vec::new(),
            key: "AKIA".into(),
            secret: SecretFrom::Text(Secret::new("hunter2")),
        }
    }

    fn object(bucket: &str, endpoint: Option<&str>, credential: Option<&str>) -> S3Object {
        S3Object {
            bucket: bucket.into(),
            key: "k".into(),
            endpoint: endpoint.map(str::to_owned),
            region: None,
            addressing: Addressing::Path,
            credential: credential.map(str::to_owned),
        }
    }

    #[test]
    fn plugins_learn_names_and_no_secrets() {
        let credentials = vec![
            Credential { buckets: vec!["films".into(), "clips".into()], ..credential("a") },
            Credential { zone: None, endpoint: Some("http://[::1]:9000".into()), ..credential("b") },
        ];
        let config = Vod { credentials, ..Vod::default() };
        let granted = grants(&config);
        assert_eq!(granted.keys().collect::<Vec<_>>(), ["s3", "spaces"]);
        assert_eq!(granted["s3"].config["credentials"], "a;eu-west-1;;films clips\nb;;http://[::1]:9000;");
        assert_eq!(granted["s3"].credentials, ["a", "b"]);
        let told = format!("{granted:?}");
        assert!(!told.contains("hunter2") && !told.contains("AKIA"), "{told}");
        assert_eq!(addresses(&config), ["[::1]:9000"]);
    }

    #[test]
    fn credentials_are_used_only_where_they_may() {
        let credentials = vec![
            Credential { buckets: vec!["films".into()], ..credential("limited") },
            Credential { endpoint: Some("https://Store.example".into()), ..credential("own") },
        ];
        let keyring = Keyring::open(&Vod { credentials, ..Vod::default() }).unwrap();
        let of = |bucket, endpoint, name| keyring.of(&object(bucket, endpoint, name)).map(|key| key.is_some());
        assert_eq!(of("films", None, Some("limited")), Ok(true));
        assert_eq!(of("any", None, None), Ok(false));
        assert_eq!(of("any", Some("https://store.example:443"), Some("own")), Ok(true));
        let denied = |bucket, endpoint, name| match of(bucket, endpoint, Some(name)) {
            Err(OpenError::Denied { reason }) => reason,
            other => panic!("{other:?}"),
        };
        assert!(denied("other", None, "limited").contains("bucket other is not granted"));
        assert!(denied("any", Some("https://evil.example"), "own").contains("only for https://Store.example"));
        assert!(denied("any", None, "own").contains("only for"));
        assert!(denied("any", None, "nobody").contains("vod.credentials"));
    }

    #[test]
    fn a_secret_can_be_in_a_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        let open = || {
            let one = Credential { secret: SecretFrom::File(path.clone()), ..credential("a") };
            Keyring::open(&Vod { credentials: vec![one], ..Vod::default() }).map(|keyring| keyring.0["a"].secret.clone())
        };
        let error = |error: anyhow::Error| format!("{error:#}");
        assert!(error(open().unwrap_err()).contains("secret_file"));
        std::fs::write(&path, " \n").unwrap();
        assert!(error(open().unwrap_err()).contains("is empty"));
        std::fs::write(&path, "hunter2\n").unwrap();
        assert_eq!(open().unwrap().reveal(), "hunter2");
    }
}
