//! The section `[vod]`: where VOD files come from.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use flyloft_plugins::Secret;
use flyloft_plugins::outbound::Rules;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use toml::Value;

use super::Channel;

/// Credentials that there may be; each is granted to a plugin by its name, and a binding takes so many.
const MAX_CREDENTIALS: usize = 64;
const MAX_NAME: usize = 64;
const MAX_BUCKETS: usize = 64;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Vod {
    /// Where the files of `vod://film.mp4` are; empty is `media` in the data directory.
    pub media_dir: PathBuf,
    /// What opens buckets in object stores.
    pub credentials: Vec<Credential>,
    /// Private addresses and networks that files may be read from, for example `10.0.0.0/8`; without them only public ones are, and the
    /// addresses that stand in the `endpoint` of credentials.
    pub allow_networks: Vec<String>,
    /// What is kept of files in stores, for all who read them.
    pub cache_bytes: usize,
    /// A store that sends nothing for this long has failed.
    pub give_up_ms: u64,
    /// How much of a stream is read ahead.
    pub buffer_ms: u64,
    /// Whether a stream begins again at its end, where the request does not say.
    #[serde(rename = "loop")]
    pub looped: bool,
    /// A stream that nobody watches is ended after this; 0 is never.
    pub stream_timeout_ms: u64,
    /// Streams at a time, those included that wait for their time or for a viewer.
    pub max_streams: usize,
    /// The id of the App of the channels, and of what the operator starts by `/rest-api`; empty is the one that was made first.
    pub app: String,
    /// Streams that are started by who wants to watch.
    pub channels: Vec<Channel>,
}

/// What opens buckets in an object store: a table, or the text `zone;key;secret`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Credential {
    /// What plugins call it.
    pub name: String,
    /// The region of Amazon, or what the store has in its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// The only place where it may be used, for example `https://store.example.com`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// The only buckets that it may be used for; empty for all.
    pub buckets: Vec<String>,
    /// The access key's public half.
    pub key: String,
    #[serde(flatten)]
    pub secret: SecretFrom,
}

/// Where the secret half of an access key is.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SecretFrom {
    #[serde(rename = "secret", serialize_with = "hidden")]
    Text(Secret),
    /// In a file, which is read when the server starts.
    #[serde(rename = "secret_file")]
    File(PathBuf),
}

fn hidden<S: serde::Serializer>(_secret: &Secret, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str("…")
}

impl Default for Vod {
    fn default() -> Self {
        Self {
            media_dir: PathBuf::new(),
            credentials: Vec::new(),
            allow_networks: Vec::new(),
            cache_bytes: 64 << 20,
            give_up_ms: 60_000,
            buffer_ms: 10_000,
            looped: false,
            stream_timeout_ms: 30_000,
            max_streams: 1_000,
            app: String::new(),
            channels: Vec::new(),
        }
    }
}

impl Vod {
    pub(super) fn check(&self) -> Result<()> {
        for (key, value, low, high) in [
            ("vod.cache_bytes", self.cache_bytes as u64, 8 << 20, 1 << 36),
            ("vod.give_up_ms", self.give_up_ms, 1_000, 86_400_000),
            ("vod.buffer_ms", self.buffer_ms, 500, 600_000),
            ("vod.stream_timeout_ms", self.stream_timeout_ms, 0, 365 * 86_400_000),
            ("vod.max_streams", self.max_streams as u64, 1, 100_000),
        ] {
            if !(low..=high).contains(&value) {
                bail!("{key} = {value} is out of range: it may be {low} to {high}");
            }
        }
        for (index, channel) in self.channels.iter().enumerate() {
            channel.configured(self.looped).with_context(|| format!("vod.channels[{index}]"))?;
            if self.channels.iter().take(index).any(|other| other.name == channel.name) {
                bail!("vod.channels[{index}]: there are two channels with the name {:?}: choose another one", channel.name);
            }
        }
        if let Err(reason) = Rules::public().with_networks(&self.allow_networks) {
            bail!("vod.allow_networks: {reason}");
        }
        if self.credentials.len() > MAX_CREDENTIALS {
            bail!("vod.credentials has {} entries and may have {MAX_CREDENTIALS}", self.credentials.len());
        }
        for (index, credential) in self.credentials.iter().enumerate() {
            credential.check().with_context(|| format!("vod.credentials[{index}]"))?;
            if self.credentials.iter().take(index).any(|other| other.name == credential.name) {
                bail!(
                    "vod.credentials[{index}]: there are two with the name {:?}: give them names of their own, as in \
                     {{ name = \"…\", zone = \"…\", key = \"…\", secret = \"…\" }}",
                    credential.name
                );
            }
        }
        Ok(())
    }
}

/// A credential as it stands in the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: Option<String>,
    #[serde(alias = "region")]
    zone: Option<String>,
    endpoint: Option<String>,
    #[serde(default)]
    buckets: Vec<String>,
    key: String,
    secret: Option<String>,
    secret_file: Option<PathBuf>,
}

impl<'de> Deserialize<'de> for Credential {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (place, read) = match Value::deserialize(deserializer)? {
            Value::String(text) => ("a credential in vod.credentials", Credential::from_text(&text)),
            Value::Table(table) => {
                // Its value would stand in the error.
                let is_text = |key| table.get(key).is_none_or(Value::is_str);
                let read = if is_text("secret") { Credential::from_table(table) } else { Err("secret must be a string".into()) };
                ("a table in vod.credentials", read)
            }
            other => ("vod.credentials", Err(format!("an entry is a table or a string, not a {}", other.type_str()))),
        };
        read.map_err(|reason| D::Error::custom(format!("{place}: {reason}")))
    }
}

impl Credential {
    /// Reads `zone;key;secret`. Its name is the zone.
    fn from_text(text: &str) -> Result<Self, String> {
        // The text holds a secret: no part of it may stand in an error.
        match text.split(';').map(str::trim).collect::<Vec<_>>().as_slice() {
            [zone, key, secret] => Ok(Self {
                name: (*zone).to_owned(),
                zone: Some((*zone).to_owned()),
                endpoint: None,
                buckets: Vec::new(),
                key: (*key).to_owned(),
                secret: SecretFrom::Text(Secret::new(*secret)),
            }),
            parts => Err(format!("it has {} parts between semicolons and must have three: \"zone;key;secret\"", parts.len())),
        }
    }

    fn from_table(table: toml::Table) -> Result<Self, String> {
        let entry: Entry = Value::Table(table).try_into().map_err(|error: toml::de::Error| error.message().to_owned())?;
        let Entry { name, zone, endpoint, buckets, key, secret, secret_file } = entry;
        let secret = match (secret, secret_file) {
            (Some(secret), None) => SecretFrom::Text(Secret::new(secret)),
            (None, Some(file)) => SecretFrom::File(file),
            _ => return Err("either secret or secret_file must be set".into()),
        };
        let name = name.or_else(|| zone.clone()).ok_or("name must be set, or zone, which is the name then")?;
        let endpoint = endpoint.map(|endpoint| endpoint.trim_end_matches('/').to_owned());
        Ok(Self { name, zone, endpoint, buckets, key, secret })
    }

    fn check(&self) -> Result<()> {
        let word = |text: &str| {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
            (1..=MAX_NAME).contains(&text.len()) && text.bytes().all(plain)
        };
        for (field, text) in [("name", Some(&self.name)), ("zone", self.zone.as_ref())] {
            if let Some(text) = text
                && !word(text)
            {
                bail!("{field} must have 1 to {MAX_NAME} letters, digits, dots, hyphens and underscores");
            }
        }
        if self.zone.is_none() && self.endpoint.is_none() {
            bail!("zone or endpoint must be set, to tell which store it is for");
        }
        if let Some(endpoint) = &self.endpoint {
            let uri: http::Uri = endpoint.parse().ok().context("endpoint is no URL: write it as https://store.example.com")?;
            let plain = matches!(uri.scheme_str(), Some("http" | "https")) && uri.path() == "/" && uri.query().is_none();
            if !plain || uri.authority().is_none_or(|authority| authority.as_str().contains(['@', ';'])) {
                bail!("endpoint has only a scheme, a host and a port: write it as https://store.example.com");
            }
        }
        let bucket = |bucket: &String| word(bucket) && bucket != "." && bucket != "..";
        if self.buckets.len() > MAX_BUCKETS || !self.buckets.iter().all(bucket) {
            bail!("buckets may have {MAX_BUCKETS} names of letters, digits, dots, hyphens and underscores");
        }
        if self.key.is_empty() || self.key.chars().any(|char| char.is_control() || char.is_whitespace()) {
            bail!("key must be set, and have no spaces");
        }
        if matches!(&self.secret, SecretFrom::Text(secret) if secret.reveal().is_empty()) {
            bail!("secret is empty");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn load(toml: &str) -> Result<Vod> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), toml).unwrap();
        Ok(Config::load(file.path(), true, std::iter::empty(), &[])?.vod)
    }

    fn error(toml: &str) -> String {
        let error = load(toml).unwrap_err();
        assert!(!format!("{error:#} {error:?}").contains("hunter2"), "{error:?}");
        format!("{error:#}")
    }

    #[test]
    fn credentials_are_tables_or_text() {
        let table = "[[vod.credentials]]\nname = 'minio'\nendpoint = 'http://10.0.0.7:9000/'\nbuckets = ['films']\nkey = 'k'\n\
                     secret = 'hunter2'\n[[vod.credentials]]\nregion = 'ru-1a'\nkey = 'k'\nsecret_file = '/run/secret'\n";
        let vod = load(table).unwrap();
        assert_eq!(vod.credentials[0].endpoint.as_deref(), Some("http://10.0.0.7:9000"));
        assert_eq!(vod.credentials[0].secret, SecretFrom::Text(Secret::new("hunter2")));
        assert_eq!((vod.credentials[1].name.as_str(), vod.credentials[1].zone.as_deref()), ("ru-1a", Some("ru-1a")));
        assert_eq!(vod.credentials[1].secret, SecretFrom::File("/run/secret".into()));
        let vod = load("[vod]\ncredentials = ['ams3;key;hun/ter+2=']\n").unwrap();
        assert_eq!((vod.credentials[0].name.as_str(), vod.credentials[0].key.as_str()), ("ams3", "key"));
        assert_eq!(vod.credentials[0].secret, SecretFrom::Text(Secret::new("hun/ter+2=")));
    }

    #[test]
    fn the_environment_takes_text() {
        let variables = [("FLYLOFT_VOD_CREDENTIALS".to_owned(), "ams3;k;s, eu-central-1;l;t".to_owned())];
        let config = Config::load("/nonexistent/flyloft.toml".as_ref(), false, variables.into_iter(), &[]).unwrap();
        let names: Vec<&str> = config.vod.credentials.iter().map(|credential| credential.name.as_str()).collect();
        assert_eq!(names, ["ams3", "eu-central-1"]);
    }

    #[test]
    fn errors_name_the_field_and_never_the_secret() {
        let entry = |fields: &str| error(&format!("[[vod.credentials]]\n{fields}\n"));
        assert!(error("[vod]\ncredentials = ['ams3;hunter2']").contains("zone;key;secret"));
        assert!(error("[vod]\ncredentials = [';k;hunter2']").contains("name must have"));
        assert!(error("[vod]\ncredentials = ['a;k;hunter2', 'a;l;hunter2']").contains("two with the name \"a\""));
        assert!(error("[vod]\ncredentials = [7]").contains("a table or a string"));
        assert!(entry("zone = 'a'\nkey = 'k'\nsecret = 'hunter2'\nsecert = 'x'").contains("secert"));
        assert!(entry("zone = 'a'\nkey = 'k'\nsecret = ['hunter2']").contains("secret must be a string"));
        assert!(entry("zone = 'a'\nkey = 'k'").contains("either secret or secret_file"));
        assert!(entry("name = 'a'\nkey = 'k'\nsecret = 'hunter2'").contains("zone or endpoint"));
        assert!(entry("zone = 'a;b'\nkey = 'k'\nsecret = 'hunter2'").contains("name must have"));
        assert!(entry("zone = 'a'\nkey = 'k'\nsecret = 'hunter2'\nendpoint = 'https://h/path'").contains("endpoint"));
        assert!(entry("zone = 'a'\nkey = 'k'\nsecret = 'hunter2'\nendpoint = 'https://u@h'").contains("endpoint"));
        assert!(entry("zone = 'a'\nkey = 'k'\nsecret = 'hunter2'\nbuckets = ['a b']").contains("buckets"));
        assert!(error("[vod]\ncache_bytes = 1").contains("vod.cache_bytes"));
        assert!(error("[vod]\nallow_networks = ['x']").contains("vod.allow_networks"));
    }

    #[test]
    fn what_is_printed_has_no_secret() {
        let vod = load("[vod]\ncredentials = ['ams3;key;hunter2']\n").unwrap();
        let printed = format!("{} {vod:?}", toml::to_string_pretty(&vod).unwrap());
        assert!(printed.contains("ams3") && printed.contains('…') && !printed.contains("hunter2"), "{printed}");
    }
}
