//! Bindings: which plugin is asked for whom, in which place of the chain, in which version, with which grants and limits,
//! and what it means when it fails.

use crate::api::{CallLimits, Interface};
use crate::breaker::{BreakerInfo, BreakerSettings};
use crate::error::BindError;
use crate::grants::{Grants, Secret};
use crate::model::RoomType;
use crate::outbound::Rules;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// The name of the version that came with the server, where digests name the uploaded ones.
pub const BUILT_IN: &str = "built-in";

/// Bytes of a binding's configuration and secrets, names included.
const MAX_CONFIG: usize = 64 << 10;
const MAX_NAME: usize = 128;
/// Hosts and credentials, each.
const MAX_LIST: usize = 64;
const MAX_ENTRY: usize = 255;
/// The longest that a call may run.
const MAX_DEADLINE_MS: u64 = 60_000;
const MIN_DEADLINE_MS: u64 = 5;
const MIN_MEMORY: usize = 1 << 20;
const TRANSFER: std::ops::RangeInclusive<usize> = 4 << 10..=16 << 20;
const MAX_OUTGOING_REQUESTS: u32 = 64;
const MAX_LOG_LINES: u32 = 10_000;
const MAX_KEY_VALUE_QUOTA: u64 = 64 << 20;

/// What it means when a plugin fails, or is not asked because it kept failing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnFailure {
    /// The action is refused.
    Deny,
    /// `room-policy`: allowed, without any limits. `output-mode`: as `next`.
    Allow,
    /// The next plugin of the chain is asked. When none of them has an answer, the failure stands: `room-policy` refuses,
    /// `output-mode` takes the App's default.
    Next,
}

impl OnFailure {
    /// As it stands in JSON.
    pub fn name(self) -> &'static str {
        match self {
            OnFailure::Deny => "deny",
            OnFailure::Allow => "allow",
            OnFailure::Next => "next",
        }
    }

    /// What an interface does when the binding does not say.
    pub(crate) fn default_of(interface: Interface) -> OnFailure {
        match interface {
            Interface::RoomPolicy | Interface::Webhook | Interface::VodSource => OnFailure::Deny,
            Interface::OutputMode => OnFailure::Next,
        }
    }
}

/// Limits of one binding's calls; what is none is as the server's settings say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct BindingLimits {
    /// Milliseconds, 5 to 60,000.
    pub deadline_ms: Option<u64>,
    /// Bytes, from 1 MiB to the server's setting.
    pub memory: Option<usize>,
    /// Bytes, 4 KiB to 16 MiB.
    pub transfer: Option<usize>,
    pub log_lines: Option<u32>,
    /// HTTP requests of one call, up to 64.
    pub outgoing_requests: Option<u32>,
    /// Bytes of the body of such a request and of its answer, up to 16 MiB.
    pub outgoing_body: Option<usize>,
}

impl BindingLimits {
    /// The limits of a call.
    pub(crate) fn apply(&self, defaults: &CallLimits) -> CallLimits {
        CallLimits {
            deadline: self.deadline_ms.map_or(defaults.deadline, Duration::from_millis),
            // The server's setting may have become smaller since.
            memory: self.memory.map_or(defaults.memory, |memory| memory.min(defaults.memory)),
            transfer: self.transfer.unwrap_or(defaults.transfer),
            log_lines: self.log_lines.unwrap_or(defaults.log_lines),
            outgoing_requests: self.outgoing_requests.unwrap_or(defaults.outgoing_requests),
            outgoing_body: self.outgoing_body.unwrap_or(defaults.outgoing_body),
        }
    }

    fn check(&self, defaults: &CallLimits) -> Result<(), BindError> {
        if let Some(deadline) = self.deadline_ms {
            range("limits.deadlineMs", deadline, MIN_DEADLINE_MS, MAX_DEADLINE_MS)?;
        }
        if let Some(memory) = self.memory {
            range("limits.memory", memory as u64, MIN_MEMORY as u64, defaults.memory as u64)?;
        }
        if let Some(transfer) = self.transfer {
            range("limits.transfer", transfer as u64, *TRANSFER.start() as u64, *TRANSFER.end() as u64)?;
        }
        range("limits.outgoingRequests", u64::from(self.outgoing_requests.unwrap_or(0)), 0, u64::from(MAX_OUTGOING_REQUESTS))?;
        range("limits.outgoingBody", self.outgoing_body.unwrap_or(0) as u64, 0, *TRANSFER.end() as u64)?;
        range("limits.logLines", u64::from(self.log_lines.unwrap_or(0)), 0, u64::from(MAX_LOG_LINES))
    }
}

/// A binding to be made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewBinding {
    /// The plugin's name.
    pub plugin: String,
    /// A digest of the plugin, or [`BUILT_IN`]; the one that was uploaded last when it is none.
    pub version: Option<String>,
    /// What it is asked for; empty for all that the active version exports.
    pub interfaces: Vec<Interface>,
    /// Only calls of the App with this id.
    pub app: Option<String>,
    /// Only calls about a room of this type.
    pub room_type: Option<RoomType>,
    /// Lower ones are asked first, those of the same number by their plugins' names; the built-in ones always come last.
    pub position: i32,
    pub grants: Grants,
    pub limits: BindingLimits,
    /// The interface's own default when it is none.
    pub on_failure: Option<OnFailure>,
    pub breaker: BreakerSettings,
}

/// A change of a binding; what is none stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BindingChange {
    pub interfaces: Option<Vec<Interface>>,
    pub position: Option<i32>,
    /// Takes the place of all that was configured.
    pub config: Option<BTreeMap<String, String>>,
    /// Each is set, or taken away when it is none; the others stay.
    pub secrets: BTreeMap<String, Option<Secret>>,
    pub hosts: Option<Vec<String>>,
    pub key_value_quota: Option<u64>,
    pub credentials: Option<Vec<String>>,
    pub limits: Option<BindingLimits>,
    pub on_failure: Option<Option<OnFailure>>,
    pub breaker: Option<BreakerSettings>,
}

/// A binding as it is now.
#[derive(Clone, Debug, PartialEq)]
pub struct BindingInfo {
    pub id: String,
    pub plugin: String,
    /// What it is asked for.
    pub interfaces: Vec<Interface>,
    pub app: Option<String>,
    pub room_type: Option<RoomType>,
    pub position: i32,
    /// The digest of the version that answers.
    pub active: String,
    /// Whether that is the version that came with the server.
    pub active_built_in: bool,
    /// What a rollback goes back to: a digest, or [`BUILT_IN`].
    pub previous: Option<String>,
    /// The digest of the shadow version.
    pub shadow: Option<String>,
    pub grants: Grants,
    /// What was set for this binding.
    pub limits: BindingLimits,
    /// What holds.
    pub call_limits: CallLimits,
    pub on_failure: Option<OnFailure>,
    pub breaker_settings: BreakerSettings,
    pub breaker: BreakerInfo,
    /// Whether it is a built-in plugin's own binding, which is last in its chain and can't be removed.
    pub built_in: bool,
    /// When it was made: milliseconds since the Unix epoch.
    pub created_at: u64,
}

/// A binding as the index keeps it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct StoredBinding {
    pub(crate) id: String,
    pub(crate) plugin: String,
    /// Empty for all that the active version serves.
    pub(crate) interfaces: Vec<Interface>,
    pub(crate) app: Option<String>,
    pub(crate) room_type: Option<RoomType>,
    pub(crate) position: i32,
    /// Versions are digests or [`BUILT_IN`].
    pub(crate) active: String,
    pub(crate) previous: Option<String>,
    pub(crate) shadow: Option<String>,
    pub(crate) grants: StoredGrants,
    pub(crate) limits: BindingLimits,
    pub(crate) on_failure: Option<OnFailure>,
    pub(crate) breaker: BreakerSettings,
    /// Made by [`crate::Plugins::put`], and removed with its plugin.
    pub(crate) implied: bool,
    pub(crate) created_at: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct StoredGrants {
    pub(crate) config: BTreeMap<String, String>,
    /// In the open, in a file that only its owner may read.
    pub(crate) secrets: BTreeMap<String, Plain>,
    pub(crate) hosts: Vec<String>,
    pub(crate) key_value_quota: u64,
    pub(crate) credentials: Vec<String>,
}

/// A secret as it is stored.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Plain(String);

impl std::fmt::Debug for Plain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl From<&Grants> for StoredGrants {
    fn from(grants: &Grants) -> StoredGrants {
        StoredGrants {
            config: grants.config.clone(),
            secrets: grants.secrets.iter().map(|(name, secret)| (name.clone(), Plain(secret.reveal().to_owned()))).collect(),
            hosts: grants.hosts.clone(),
            key_value_quota: grants.key_value_quota,
            credentials: grants.credentials.clone(),
        }
    }
}

impl From<&StoredGrants> for Grants {
    fn from(stored: &StoredGrants) -> Grants {
        Grants {
            config: stored.config.clone(),
            secrets: stored.secrets.iter().map(|(name, Plain(text))| (name.clone(), Secret::new(text))).collect(),
            hosts: stored.hosts.clone(),
            key_value_quota: stored.key_value_quota,
            // The binding's own id.
            key_value_namespace: String::new(),
            credentials: stored.credentials.clone(),
        }
    }
}

impl StoredBinding {
    /// A binding for all Apps without grants, as the built-in plugins and [`crate::Plugins::put`] have it.
    pub(crate) fn plain(id: &str, plugin: &str, active: &str, implied: bool, created_at: u64) -> StoredBinding {
        StoredBinding {
            id: id.to_owned(),
            plugin: plugin.to_owned(),
            interfaces: Vec::new(),
            app: None,
            room_type: None,
            position: 0,
            active: active.to_owned(),
            previous: None,
            shadow: None,
            grants: StoredGrants::default(),
            limits: BindingLimits::default(),
            on_failure: None,
            breaker: BreakerSettings::default(),
            implied,
            created_at,
        }
    }

    /// Whether it is a built-in plugin's own binding.
    pub(crate) fn is_built_in(&self) -> bool {
        self.id == self.plugin && Interface::built_in(&self.plugin).is_some()
    }

    /// What orders the bindings of a chain.
    pub(crate) fn place(&self) -> impl Ord + '_ {
        (self.is_built_in(), self.position, &self.plugin, self.created_at, &self.id)
    }

    /// Whether it is asked in a call about this App (none: any that has no binding of its own) and a room of this type, if it is
    /// about one.
    pub(crate) fn concerns(&self, app: Option<&str>, room: Option<RoomType>) -> bool {
        (self.app.is_none() || self.app.as_deref() == app) && (self.room_type.is_none() || self.room_type == room)
    }

    /// Whether a version must be kept for it.
    pub(crate) fn uses(&self, version: &str) -> bool {
        self.active == version || self.previous.as_deref() == Some(version) || self.shadow.as_deref() == Some(version)
    }

    /// Makes another version the active one. A shadow version that became the active one is no shadow any more.
    pub(crate) fn activate(&mut self, version: String) {
        if self.active == version {
            return;
        }
        if self.shadow.as_ref() == Some(&version) {
            self.shadow = None;
        }
        self.previous = Some(std::mem::replace(&mut self.active, version));
    }

    pub(crate) fn change(&mut self, change: BindingChange) {
        let BindingChange {
            interfaces,
            position,
            config,
            secrets,
            hosts,
            key_value_quota,
            credentials,
            limits,
            on_failure,
            breaker,
        } = change;
        set(&mut self.interfaces, interfaces);
        set(&mut self.position, position);
        set(&mut self.grants.config, config);
        for (name, secret) in secrets {
            match secret {
                Some(secret) => self.grants.secrets.insert(name, Plain(secret.reveal().to_owned())),
                None => self.grants.secrets.remove(&name),
            };
        }
        set(&mut self.grants.hosts, hosts);
        set(&mut self.grants.key_value_quota, key_value_quota);
        set(&mut self.grants.credentials, credentials);
        set(&mut self.limits, limits);
        set(&mut self.on_failure, on_failure);
        set(&mut self.breaker, breaker);
    }

    /// Checks what does not depend on the plugin.
    pub(crate) fn check(&self, defaults: &CallLimits) -> Result<(), BindError> {
        self.limits.check(defaults)?;
        range("breaker.failures", self.breaker.failures.into(), 1, 1_000_000)?;
        range("breaker.backOffMs", self.breaker.back_off_ms, 100, 3_600_000)?;
        let grants = &self.grants;
        let values = grants.config.iter().chain(grants.secrets.iter().map(|(name, Plain(text))| (name, text)));
        let mut size = 0;
        for (name, value) in values {
            if name.is_empty() || name.len() > MAX_NAME || name.chars().any(char::is_control) {
                return Err(invalid(
                    "config",
                    format!("the name {name:?} must have 1 to {MAX_NAME} bytes and no control characters"),
                ));
            }
            size += name.len() + value.len();
        }
        if size > MAX_CONFIG {
            return Err(invalid("config", format!("with the secrets it has {size} bytes, and {MAX_CONFIG} are allowed")));
        }
        if let Some(name) = grants.secrets.keys().find(|name| grants.config.contains_key(*name)) {
            return Err(invalid("secrets", format!("{name:?} is in config, too, and the plugin reads both by their names")));
        }
        for (field, list) in [("hosts", &grants.hosts), ("credentials", &grants.credentials)] {
            let wrong =
                list.iter().find(|entry| entry.is_empty() || entry.len() > MAX_ENTRY || entry.contains(char::is_whitespace));
            if let Some(entry) = wrong {
                return Err(invalid(field, format!("{entry:?} must have 1 to {MAX_ENTRY} bytes without spaces")));
            }
            if list.len() > MAX_LIST {
                return Err(invalid(field, format!("it has {} entries, and {MAX_LIST} are allowed", list.len())));
            }
        }
        Rules::from_hosts(&grants.hosts).map_err(|problem| invalid("hosts", problem))?;
        range("keyValueQuota", grants.key_value_quota, 0, MAX_KEY_VALUE_QUOTA)?;
        if self.app.as_ref().is_some_and(|app| app.is_empty() || app.len() > MAX_ENTRY) {
            return Err(invalid("appId", "it is no id of an App".to_owned()));
        }
        Ok(())
    }
}

fn set<T>(field: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *field = value;
    }
}

fn range(field: &'static str, value: u64, low: u64, high: u64) -> Result<(), BindError> {
    if (low..=high).contains(&value) {
        return Ok(());
    }
    Err(invalid(field, format!("it is {value} and may be {low} to {high}")))
}

pub(crate) fn invalid(field: &'static str, problem: String) -> BindError {
    BindError::Invalid { field, problem }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binding() -> StoredBinding {
        StoredBinding::plain("front-1", "front", "sha256:1", false, 0)
    }

    fn field(change: BindingChange) -> Option<&'static str> {
        let mut binding = binding();
        binding.change(change);
        match binding.check(&CallLimits::default()) {
            Ok(()) => None,
            Err(BindError::Invalid { field, .. }) => Some(field),
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn every_limit_is_checked_by_its_name() {
        let limits = |limits| field(BindingChange { limits: Some(limits), ..Default::default() });
        assert_eq!(limits(BindingLimits::default()), None);
        assert_eq!(limits(BindingLimits { deadline_ms: Some(4), ..Default::default() }), Some("limits.deadlineMs"));
        assert_eq!(limits(BindingLimits { memory: Some(1 << 40), ..Default::default() }), Some("limits.memory"));
        assert_eq!(limits(BindingLimits { transfer: Some(1), ..Default::default() }), Some("limits.transfer"));
        assert_eq!(limits(BindingLimits { log_lines: Some(10_001), ..Default::default() }), Some("limits.logLines"));
        let breaker = |failures, back_off_ms| {
            field(BindingChange { breaker: Some(BreakerSettings { failures, back_off_ms }), ..Default::default() })
        };
        assert_eq!((breaker(0, 1000), breaker(1, 1)), (Some("breaker.failures"), Some("breaker.backOffMs")));
        let config = |name: &str, value: String| {
            field(BindingChange { config: Some([(name.to_owned(), value)].into()), ..Default::default() })
        };
        assert_eq!(config("a", "x".repeat(1000)), None);
        assert_eq!((config("", String::new()), config("a", "x".repeat(70_000))), (Some("config"), Some("config")));
        let hosts = |host: &str| field(BindingChange { hosts: Some(vec![host.to_owned()]), ..Default::default() });
        assert_eq!((hosts("a.example:443"), hosts("a b")), (None, Some("hosts")));
        for wrong in ["https://a.example", "a.example:0x50", "10.0.0.0/33", "*.10.0.0.1", "a..example", "*"] {
            assert_eq!(hosts(wrong), Some("hosts"), "{wrong}");
        }
        assert_eq!((hosts("*.a.example"), hosts("[::1]:80"), hosts("10.0.0.0/8")), (None, None, None));
        assert_eq!(field(BindingChange { key_value_quota: Some(1 << 40), ..Default::default() }), Some("keyValueQuota"));
    }

    #[test]
    fn secrets_are_set_and_taken_away_one_by_one_and_never_shown() {
        let mut binding = binding();
        let secrets = |pairs: &[(&str, Option<&str>)]| BindingChange {
            secrets: pairs.iter().map(|(name, text)| ((*name).to_owned(), text.map(Secret::new))).collect(),
            ..Default::default()
        };
        binding.change(secrets(&[("a", Some("hunter2")), ("b", Some("hunter3"))]));
        binding.change(secrets(&[("a", None)]));
        assert_eq!(Grants::from(&binding.grants).secrets["b"].reveal(), "hunter3");
        assert_eq!(binding.grants.secrets.len(), 1);
        assert!(!format!("{binding:?}").contains("hunter"));
        binding.grants.config.insert("b".into(), "shown".into());
        assert!(matches!(binding.check(&CallLimits::default()), Err(BindError::Invalid { field: "secrets", .. })));
    }

    #[test]
    fn the_version_before_is_kept_for_a_rollback() {
        let mut binding = binding();
        binding.shadow = Some("sha256:2".into());
        binding.activate("sha256:2".into());
        assert_eq!((binding.shadow.as_deref(), binding.previous.as_deref()), (None, Some("sha256:1")));
        binding.activate("sha256:2".into());
        assert_eq!(binding.previous.as_deref(), Some("sha256:1"));
        assert!(binding.uses("sha256:1") && binding.uses("sha256:2") && !binding.uses("sha256:3"));
    }
}
