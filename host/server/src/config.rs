//! Configuration: defaults, then `flyloft.toml`, then `FLYLOFT_*` environment variables, then flags, in rising priority.
//!
//! Every key has an environment variable of the same name: `http.listen` is `FLYLOFT_HTTP_LISTEN`. An unknown key or variable is an
//! error that names the nearest known one.

mod channels;
mod vod;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use crate::oci::Registry;
use crate::store::Retention;
pub use channels::{Channel, Entry};
pub use vod::{Credential, SecretFrom, Vod};

/// Environment variables that start with `FLYLOFT_` and are not keys of the file.
const OTHER_VARIABLES: [&str; 5] =
    ["FLYLOFT_CONFIG", "FLYLOFT_PREBUILT_PLUGINS", "FLYLOFT_SERVER", "FLYLOFT_TOKEN", "FLYLOFT_WEB_OUT"];

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// Where everything that must survive a restart is kept.
    pub data: PathBuf,
    pub http: Http,
    pub rtmp: Rtmp,
    pub tls: Tls,
    pub live: Live,
    pub cmaf: Cmaf,
    pub egress: Egress,
    pub events: Events,
    pub plugins: Plugins,
    pub webhooks: Webhooks,
    pub vod: Vod,
    pub recording: Recording,
    pub log: Log,
}

/// Addresses as `host:port`; an empty one switches the listener off.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Http {
    pub listen: String,
    /// HTTPS with HTTP/2.
    pub tls_listen: String,
    /// What viewers type, for example `https://video.example.com`; empty takes the `Host` of each request.
    pub public_url: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Rtmp {
    pub listen: String,
    /// RTMPS.
    pub tls_listen: String,
    /// For example `rtmp://ingest.example.com`; empty is made from the HTTP host and the RTMP port.
    pub public_url: String,
    pub max_connections: u32,
}

/// PEM files; both empty means a self-signed certificate, for development only.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tls {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Live {
    /// How long a stream waits for its publisher to return before it ends.
    pub reconnect_timeout_ms: u64,
    /// A publisher that sends nothing for this long is disconnected.
    pub stall_timeout_ms: u64,
    /// What a stream keeps for those who join or fall behind.
    pub ring_bytes: usize,
    pub ring_ms: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Cmaf {
    pub segment_ms: u64,
    pub part_ms: u64,
    /// Segments in the playlist.
    pub window: usize,
}

/// What the feed and the list of events can still tell; older events are removed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Events {
    pub keep: i64,
    pub keep_days: u32,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Egress {
    /// How long sound may wait for the next picture, so that both leave in one write to each viewer. With more than a hundred viewers
    /// the first of two pictures waits for the second likewise. 0 sends all at once, and costs two to four times the CPU time.
    pub coalesce_ms: u64,
    /// A viewer that is this far behind goes on at the next key frame.
    pub max_lag_ms: u64,
    /// A viewer that takes nothing at all for this long is disconnected.
    pub stall_timeout_ms: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Plugins {
    pub deadline_ms: u64,
    pub memory_bytes: usize,
    /// Component files that replace a built-in plugin or stand before it: `room-policy = "my-policy.wasm"`.
    pub components: Table,
    /// OCI registries by host (`ghcr.io`, `registry.example:5000`), where one needs credentials or is not public.
    pub registries: BTreeMap<String, Registry>,
    pub decisions: Decisions,
}

/// The log of what plugins were asked and what they answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Decisions {
    /// The oldest are deleted when there is more; 0 keeps no log.
    pub max_bytes: u64,
    pub max_age_hours: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Webhooks {
    /// Private addresses and networks that webhooks may reach, for example `10.0.0.0/8`; without them only public ones are.
    pub allow_networks: Vec<String>,
    /// How long one attempt may take.
    pub timeout_ms: u64,
    /// The time to the second attempt; it doubles with each further one, up to the longest.
    pub first_retry_ms: u64,
    pub longest_retry_ms: u64,
    /// After this a delivery that always failed is given up.
    pub give_up_ms: u64,
    /// How long deliveries that were given up are kept.
    pub keep_dead_days: u64,
    /// Attempts at a time, in all and for one App.
    pub max_in_flight: usize,
    pub max_in_flight_per_app: usize,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Recording {
    /// Whether rooms are recorded about which neither the policy nor the room says anything.
    pub default: bool,
    /// How much of a recording a power failure may cost.
    pub sync_ms: u64,
    /// Recording stops when the disk has less than this.
    pub min_free_bytes: u64,
    /// Video posts are deleted after this; 0 keeps them.
    pub keep_days: u32,
    /// The oldest video posts are deleted when all together are larger; 0 is no limit.
    pub max_bytes: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Log {
    /// A `tracing` filter: `info`, `flyloft=debug,info`.
    pub level: String,
    pub format: LogFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Pretty,
    Json,
}

impl Default for Http {
    fn default() -> Self {
        Self { listen: "0.0.0.0:8080".into(), tls_listen: String::new(), public_url: String::new() }
    }
}

impl Default for Rtmp {
    fn default() -> Self {
        Self { listen: "0.0.0.0:1935".into(), tls_listen: String::new(), public_url: String::new(), max_connections: 20_000 }
    }
}

impl Default for Live {
    fn default() -> Self {
        Self { reconnect_timeout_ms: 30_000, stall_timeout_ms: 15_000, ring_bytes: 32 << 20, ring_ms: 10_000 }
    }
}

impl Default for Cmaf {
    fn default() -> Self {
        Self { segment_ms: 2_000, part_ms: 334, window: 10 }
    }
}

impl Default for Events {
    fn default() -> Self {
        let Retention { events, age } = Retention::default();
        Self { keep: events, keep_days: (age.as_secs() / (24 * 60 * 60)) as u32 }
    }
}

impl Default for Egress {
    fn default() -> Self {
        Self { coalesce_ms: 50, max_lag_ms: 5_000, stall_timeout_ms: 20_000 }
    }
}

impl Default for Plugins {
    fn default() -> Self {
        Self {
            deadline_ms: 50,
            memory_bytes: 64 << 20,
            components: Table::new(),
            registries: BTreeMap::new(),
            decisions: Decisions::default(),
        }
    }
}

impl Default for Decisions {
    fn default() -> Self {
        Self { max_bytes: 256 << 20, max_age_hours: 7 * 24 }
    }
}

impl Default for Webhooks {
    fn default() -> Self {
        Self {
            allow_networks: Vec::new(),
            timeout_ms: 15_000,
            first_retry_ms: 5_000,
            longest_retry_ms: 12 * 60 * 60 * 1_000,
            give_up_ms: 3 * 24 * 60 * 60 * 1_000,
            keep_dead_days: 30,
            max_in_flight: 64,
            max_in_flight_per_app: 16,
        }
    }
}

impl Default for Recording {
    fn default() -> Self {
        Self { default: false, sync_ms: 2_000, min_free_bytes: 1 << 30, keep_days: 0, max_bytes: 0 }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { level: "info".into(), format: LogFormat::Pretty }
    }
}

impl Config {
    /// Reads `file` (which need not exist when `required` is false), lays `variables` over it and then `flags`, each a key path
    /// such as `http.listen` with its value.
    pub fn load(
        file: &Path,
        required: bool,
        variables: impl Iterator<Item = (String, String)>,
        flags: &[(&str, Option<String>)],
    ) -> Result<Self> {
        let known = Table::try_from(Self::default()).context("the default configuration cannot be written as TOML")?;
        let mut table = match std::fs::read_to_string(file) {
            Ok(text) => {
                let table: Table = text.parse().with_context(|| format!("{} is not valid TOML", file.display()))?;
                check_keys(&table, &known, "").with_context(|| format!("in {}", file.display()))?;
                table
            }
            Err(error) if !required && error.kind() == std::io::ErrorKind::NotFound => Table::new(),
            Err(error) => return Err(error).with_context(|| format!("cannot read the configuration {}", file.display())),
        };
        let mut paths = Vec::new();
        leaves(&known, "", &mut paths);
        for (name, value) in variables.filter(|(name, _)| name.starts_with("FLYLOFT_")) {
            if OTHER_VARIABLES.contains(&name.as_str()) {
                continue;
            }
            let Some(path) = paths.iter().find(|path| variable(path) == name) else {
                let names: Vec<_> = paths.iter().map(|path| variable(path)).collect();
                bail!("the environment variable {name} is no setting{}", suggestion(&name, names.iter().map(String::as_str)));
            };
            set(&mut table, &known, path, value).with_context(|| format!("in the environment variable {name}"))?;
        }
        for (path, value) in flags {
            if let Some(value) = value {
                set(&mut table, &known, path, value.clone()).with_context(|| format!("in the flag for {path}"))?;
            }
        }
        let config: Self = Value::Table(table).try_into().context("the configuration has a value of the wrong kind")?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<()> {
        for (key, address) in [
            ("http.listen", &self.http.listen),
            ("http.tls_listen", &self.http.tls_listen),
            ("rtmp.listen", &self.rtmp.listen),
            ("rtmp.tls_listen", &self.rtmp.tls_listen),
        ] {
            if !address.is_empty() && address.parse::<SocketAddr>().is_err() {
                bail!("{key} = {address:?} is not an address: write IP:PORT, for example 0.0.0.0:8080 or [::]:8080");
            }
        }
        if self.tls.certificate.as_os_str().is_empty() != self.tls.key.as_os_str().is_empty() {
            bail!("tls.certificate and tls.key belong together: set both, or neither for a self-signed certificate");
        }
        for (key, value, low, high) in [
            ("cmaf.segment_ms", self.cmaf.segment_ms, 500, 20_000),
            ("cmaf.part_ms", self.cmaf.part_ms, 50, self.cmaf.segment_ms),
            ("cmaf.window", self.cmaf.window as u64, 3, 10_000),
            ("live.reconnect_timeout_ms", self.live.reconnect_timeout_ms, 0, 86_400_000),
            ("live.stall_timeout_ms", self.live.stall_timeout_ms, 100, 86_400_000),
            ("live.ring_bytes", self.live.ring_bytes as u64, 1 << 20, 1 << 32),
            ("live.ring_ms", self.live.ring_ms, 1_000, 600_000),
            ("egress.coalesce_ms", self.egress.coalesce_ms, 0, 1_000),
            ("egress.max_lag_ms", self.egress.max_lag_ms, 500, 60_000),
            ("egress.stall_timeout_ms", self.egress.stall_timeout_ms, 1_000, 600_000),
            ("events.keep", self.events.keep.max(0).unsigned_abs(), 1_000, 1_000_000_000),
            ("events.keep_days", self.events.keep_days.into(), 1, 36_500),
            ("plugins.deadline_ms", self.plugins.deadline_ms, 5, 60_000),
            ("plugins.memory_bytes", self.plugins.memory_bytes as u64, 1 << 20, 1 << 32),
            ("plugins.decisions.max_bytes", self.plugins.decisions.max_bytes, 0, 1 << 40),
            ("plugins.decisions.max_age_hours", self.plugins.decisions.max_age_hours, 1, 87_600),
            ("webhooks.timeout_ms", self.webhooks.timeout_ms, 100, 300_000),
            ("webhooks.first_retry_ms", self.webhooks.first_retry_ms, 10, 86_400_000),
            ("webhooks.longest_retry_ms", self.webhooks.longest_retry_ms, self.webhooks.first_retry_ms, 7 * 86_400_000),
            ("webhooks.give_up_ms", self.webhooks.give_up_ms, 0, 365 * 86_400_000),
            ("webhooks.keep_dead_days", self.webhooks.keep_dead_days, 1, 3_650),
            ("webhooks.max_in_flight", self.webhooks.max_in_flight as u64, 1, 10_000),
            ("recording.sync_ms", self.recording.sync_ms, 0, 600_000),
            ("recording.min_free_bytes", self.recording.min_free_bytes, 0, 1 << 60),
            ("recording.keep_days", self.recording.keep_days.into(), 0, 36_500),
            ("recording.max_bytes", self.recording.max_bytes, 0, 1 << 60),
            ("webhooks.max_in_flight_per_app", self.webhooks.max_in_flight_per_app as u64, 1, 10_000),
        ] {
            if !(low..=high).contains(&value) {
                bail!("{key} = {value} is out of range: it may be {low} to {high}");
            }
        }
        if let Err(reason) = flyloft_plugins::outbound::Rules::public().with_networks(&self.webhooks.allow_networks) {
            bail!("webhooks.allow_networks: {reason}");
        }
        self.vod.check()?;
        for (name, file) in &self.plugins.components {
            if !file.is_str() {
                bail!("plugins.components.{name} must be the path of a component file");
            }
        }
        for (host, registry) in &self.plugins.registries {
            if let Err(reason) = registry.check(host) {
                bail!("plugins.registries.{host:?}: {reason}");
            }
        }
        Ok(())
    }

    /// The component files named in the configuration, by plugin name.
    pub fn components(&self) -> impl Iterator<Item = (&str, &str)> {
        self.plugins.components.iter().filter_map(|(name, file)| Some((name.as_str(), file.as_str()?)))
    }
}

fn variable(path: &str) -> String {
    format!("FLYLOFT_{}", path.replace('.', "_").to_uppercase())
}

/// Keys whose table the operator names freely.
fn is_open(path: &str) -> bool {
    matches!(path, "plugins.components" | "plugins.registries")
}

fn join(prefix: &str, key: &str) -> String {
    if prefix.is_empty() { key.to_owned() } else { format!("{prefix}.{key}") }
}

fn leaves(table: &Table, prefix: &str, out: &mut Vec<String>) {
    for (key, value) in table {
        let path = join(prefix, key);
        match value {
            Value::Table(_) if is_open(&path) => {}
            Value::Table(inner) => leaves(inner, &path, out),
            _ => out.push(path),
        }
    }
}

fn check_keys(table: &Table, known: &Table, prefix: &str) -> Result<()> {
    for (key, value) in table {
        let path = join(prefix, key);
        match (known.get(key), value) {
            (None, _) => bail!("{path} is no setting{}", suggestion(key, known.keys().map(String::as_str))),
            (Some(Value::Table(_)), Value::Table(_)) if is_open(&path) => {}
            (Some(Value::Table(known)), Value::Table(inner)) => check_keys(inner, known, &path)?,
            (Some(known), value) if known.type_str() != value.type_str() => {
                bail!("{path} must be a {}, not a {}", known.type_str(), value.type_str());
            }
            _ => {}
        }
    }
    Ok(())
}

fn suggestion<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    known
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
        .min()
        .filter(|(distance, _)| *distance <= name.len() / 2)
        .map_or_else(|| ": see `flyloft config check --help`".to_owned(), |(_, candidate)| format!(": did you mean {candidate}?"))
}

/// Sets the key `path` to `text`, read as the kind of value that the default has.
fn set(table: &mut Table, known: &Table, path: &str, text: String) -> Result<()> {
    let (Some(key), rest) = (path.split('.').next(), path.split_once('.').map(|(_, rest)| rest)) else { return Ok(()) };
    match (known.get(key), rest) {
        (Some(Value::Table(known)), Some(rest)) => {
            let inner = table.entry(key).or_insert_with(|| Value::Table(Table::new()));
            let Value::Table(inner) = inner else { bail!("{key} must be a table") };
            set(inner, known, rest, text)
        }
        (Some(known), None) => {
            let value = match known {
                Value::Integer(_) => {
                    Value::Integer(text.parse().with_context(|| format!("{path}: {text:?} is no whole number"))?)
                }
                Value::Boolean(_) => {
                    Value::Boolean(text.parse().with_context(|| format!("{path}: {text:?} is not true or false"))?)
                }
                // A list is written with commas.
                Value::Array(_) => {
                    let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
                    Value::Array(items.map(|item| Value::String(item.to_owned())).collect())
                }
                _ => Value::String(text),
            };
            table.insert(key.to_owned(), value);
            Ok(())
        }
        _ => bail!("{path} is no setting"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(toml: &str, variables: &[(&str, &str)], flags: &[(&str, Option<String>)]) -> Result<Config> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), toml).unwrap();
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Config::load(file.path(), true, variables, flags)
    }

    fn error(toml: &str, variables: &[(&str, &str)]) -> String {
        format!("{:#}", load(toml, variables, &[]).unwrap_err())
    }

    #[test]
    fn later_sources_win() {
        let toml = "[http]\nlisten = '127.0.0.1:1'\n[rtmp]\nlisten = '127.0.0.1:2'\n[cmaf]\nwindow = 5\n";
        let flags = [("rtmp.listen", Some("127.0.0.1:4".to_owned())), ("log.level", None)];
        let config = load(toml, &[("FLYLOFT_RTMP_LISTEN", "127.0.0.1:3"), ("FLYLOFT_CMAF_PART_MS", "500")], &flags).unwrap();
        assert_eq!(config.http.listen, "127.0.0.1:1");
        assert_eq!(config.rtmp.listen, "127.0.0.1:4");
        assert_eq!((config.cmaf.window, config.cmaf.part_ms, config.cmaf.segment_ms), (5, 500, 2_000));
    }

    #[test]
    fn unknown_names_get_a_suggestion() {
        assert!(error("[http]\nlistne = 'x'", &[]).contains("http.listne is no setting: did you mean listen?"));
        assert!(error("[cmfa]\nwindow = 5", &[]).contains("did you mean cmaf?"));
        assert!(error("", &[("FLYLOFT_HTTP_LISTN", "x")]).contains("did you mean FLYLOFT_HTTP_LISTEN?"));
    }

    #[test]
    fn wrong_values_name_their_key() {
        assert!(error("[cmaf]\nwindow = 'many'", &[]).contains("cmaf.window must be a integer, not a string"));
        assert!(error("", &[("FLYLOFT_CMAF_WINDOW", "many")]).contains("FLYLOFT_CMAF_WINDOW"));
        assert!(error("[http]\nlisten = 'localhost'", &[]).contains("http.listen"));
        assert!(error("[cmaf]\npart_ms = 5000", &[]).contains("cmaf.part_ms = 5000 is out of range"));
        assert!(error("[tls]\nkey = 'k.pem'", &[]).contains("belong together"));
    }

    #[test]
    fn lists_are_written_with_commas_in_the_environment() {
        let config = load("", &[("FLYLOFT_WEBHOOKS_ALLOW_NETWORKS", "127.0.0.0/8, fd00::/8")], &[]).unwrap();
        assert_eq!(config.webhooks.allow_networks, ["127.0.0.0/8", "fd00::/8"]);
        assert!(error("", &[("FLYLOFT_WEBHOOKS_ALLOW_NETWORKS", "10.0.0.0/33")]).contains("webhooks.allow_networks"));
        assert!(error("[webhooks]\nallow_networks = ['localhost']", &[]).contains("webhooks.allow_networks"));
    }

    #[test]
    fn components_are_named_freely() {
        let config = load("[plugins.components]\nroom-policy = 'a.wasm'\n", &[], &[]).unwrap();
        assert_eq!(config.components().collect::<Vec<_>>(), [("room-policy", "a.wasm")]);
    }

    #[test]
    fn registries_are_named_by_their_hosts() {
        let file = "[plugins.registries.\"registry.example:5000\"]\nusername = 'ci'\npassword_file = '/run/secrets/registry'\n";
        let config = load(file, &[], &[]).unwrap();
        let registry = &config.plugins.registries["registry.example:5000"];
        assert_eq!((registry.username.as_str(), registry.plain_http), ("ci", false));
        let error = |text: &str| format!("{:#}", load(text, &[], &[]).unwrap_err());
        assert!(error("[plugins.registries.'ghcr.io']\nusername = 'ci'\n").contains("password_file"));
        assert!(error("[plugins.registries.'ghcr.io']\npasword_file = 'x'\n").contains("pasword_file"));
        assert!(error("[plugins.registries.'https://ghcr.io']\n").contains("plugins.registries"));
        assert!(error("[plugins.registries.'*.ghcr.io']\n").contains("one host"));
        assert!(error("[plugins.registries.'ghcr.io']\nallow_networks = ['intern']\n").contains("intern"));
    }

    #[test]
    fn the_example_shows_every_default() {
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/flyloft.toml");
        assert_eq!(Config::load(&example, true, std::iter::empty(), &[]).unwrap(), Config::default());
        let shown: Table = std::fs::read_to_string(example).unwrap().parse().unwrap();
        let (mut named, mut known) = (Vec::new(), Vec::new());
        leaves(&shown, "", &mut named);
        leaves(&Table::try_from(Config::default()).unwrap(), "", &mut known);
        assert_eq!(named, known);
    }

    #[test]
    fn without_a_file_the_defaults_hold() {
        let config = Config::load(Path::new("/nonexistent/flyloft.toml"), false, std::iter::empty(), &[]).unwrap();
        assert_eq!(config, Config::default());
    }
}
