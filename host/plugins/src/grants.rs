//! What an operator grants a plugin beyond computing. A plugin that is granted nothing reaches nothing.

use std::collections::BTreeMap;
use std::fmt;

/// Grants of one binding. The default grants nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants {
    /// What `wasi:config/store` answers, by name.
    pub config: BTreeMap<String, String>,
    /// What `wasi:config/store` answers beside `config`. Never written to logs, records or answers of the API.
    pub secrets: BTreeMap<String, Secret>,
    /// Hosts that `wasi:http` may ask: `name`, `name:port`, `*.name`, or an address or network (`10.0.0.0/8`), which alone reaches
    /// what is private.
    pub hosts: Vec<String>,
    /// Bytes of names and values that `wasi:keyvalue` may keep for this binding; 0 grants no store.
    pub key_value_quota: u64,
    /// Which part of the [`crate::KeyValue`] store is this binding's; no two bindings have the same unless they are to
    /// share it.
    pub key_value_namespace: String,
    /// Names of object-store credentials that plans of `vod-source` may name.
    pub credentials: Vec<String>,
}

impl Grants {
    /// Adds what others grant. Settings and secrets that are there already stay, and the larger quota holds.
    pub(crate) fn extend(&mut self, more: &Grants) {
        for (name, value) in &more.config {
            if !self.secrets.contains_key(name) {
                self.config.entry(name.clone()).or_insert_with(|| value.clone());
            }
        }
        for (name, secret) in &more.secrets {
            if !self.config.contains_key(name) {
                self.secrets.entry(name.clone()).or_insert_with(|| secret.clone());
            }
        }
        for (own, more) in [(&mut self.hosts, &more.hosts), (&mut self.credentials, &more.credentials)] {
            let missing: Vec<String> = more.iter().filter(|entry| !own.contains(entry)).cloned().collect();
            own.extend(missing);
        }
        self.key_value_quota = self.key_value_quota.max(more.key_value_quota);
    }
}

/// Text that is never shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// The text itself, for the one place that needs it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}
