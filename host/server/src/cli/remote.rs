//! `flyloft plugin …` over the REST API of a running server: deploying, binding, activating, looking.

mod client;
mod replay;
mod show;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use crate::oci::Reference;
use client::Client;

#[derive(Debug, Subcommand)]
pub enum RemoteCommand {
    /// Deploy a component, from a file or an OCI registry, to a running server: it answers the next call.
    ///
    /// The component becomes a new version of the plugin. Where the plugin is bound for the same App, that version is activated; where it
    /// is not, it is bound, in front of the built-in plugin. With --no-activate it is only kept, for `shadow` or `activate`.
    Deploy(Deploy),
    /// List plugins, their versions and where they are bound.
    List(Target),
    /// Have a plugin asked for an App, or for all.
    Bind(Bind),
    /// Take a binding away.
    Unbind(One),
    /// Make another version of a binding's plugin the active one.
    Activate(Versioned),
    /// Have a version see live calls without acting on its answers; without a version, show how it compares.
    Shadow(Shadow),
    /// Go back to the version that was active before.
    Rollback(One),
    /// Delete a plugin with all its versions.
    Delete(Named),
    /// Print what a plugin has written last.
    Logs(Logs),
    /// Print calls, failures, durations and memory of a plugin's versions.
    Stats(Named),
    /// Ask a component what the server's plugin was asked, here and now, and print what would have changed.
    Replay(replay::Replay),
}

/// Which server, and as whom.
#[derive(Clone, Debug, Args)]
pub struct Target {
    /// The server, for example `https://video.example.com`.
    #[arg(long, value_name = "URL", env = "FLYLOFT_SERVER")]
    pub server: Option<String>,
    /// The operator token.
    #[arg(long, value_name = "TOKEN", env = "FLYLOFT_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// The data directory of a server on this machine: tells where it listens and its first token, where --server or --token is missing.
    #[arg(long, value_name = "DIR", env = "FLYLOFT_DATA", default_value = "data")]
    pub data: PathBuf,
    /// Print the server's answer as JSON.
    #[arg(long)]
    pub json: bool,
}

/// What a plugin is granted, and what its failure means.
#[derive(Clone, Debug, Default, Args)]
pub struct Settings {
    /// A value of the plugin's configuration. May be repeated.
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    pub config: Vec<(String, String)>,
    /// A secret of the plugin's configuration; NAME alone takes the value from the environment variable NAME. May be repeated.
    #[arg(long, value_name = "NAME[=VALUE]", value_parser = secret)]
    pub secret: Vec<(String, String)>,
    /// A host that the plugin may ask by HTTP. May be repeated.
    #[arg(long, value_name = "HOST")]
    pub allow_host: Vec<String>,
    /// Bytes that the plugin may keep.
    #[arg(long, value_name = "BYTES")]
    pub key_value_quota: Option<u64>,
    /// How long a call may take.
    #[arg(long, value_name = "MS")]
    pub deadline_ms: Option<u64>,
    /// What a failed call means.
    #[arg(long, value_parser = ["deny", "allow", "next"])]
    pub on_failure: Option<String>,
}

#[derive(Debug, Args)]
pub struct Deploy {
    /// The component: a file, or a reference by which the server pulls it from an OCI registry, as in
    /// oci://ghcr.io/team/policy:1.2 or oci://ghcr.io/team/policy@sha256:….
    #[arg(value_name = "FILE|REFERENCE")]
    pub component: PathBuf,
    /// The plugin's name [default: the name of the file or the repository].
    #[arg(long)]
    pub name: Option<String>,
    /// Only for the App with this id.
    #[arg(long, value_name = "APP")]
    pub app: Option<String>,
    /// Only keep the version.
    #[arg(long, conflicts_with_all = ["app", "config", "secret", "allow_host", "key_value_quota", "deadline_ms", "on_failure"])]
    pub no_activate: bool,
    #[command(flatten)]
    pub settings: Settings,
    #[command(flatten)]
    pub target: Target,
}

#[derive(Debug, Args)]
pub struct Bind {
    /// The plugin's name.
    pub name: String,
    /// The version: a digest or its first eight digits [default: the newest].
    #[arg(long, value_name = "DIGEST")]
    pub version: Option<String>,
    /// Only for the App with this id.
    #[arg(long, value_name = "APP")]
    pub app: Option<String>,
    /// Only for this interface. May be repeated.
    #[arg(long, value_name = "INTERFACE")]
    pub interface: Vec<String>,
    /// Only for calls about rooms of this type.
    #[arg(long, value_name = "TYPE")]
    pub room_type: Option<String>,
    /// Lower ones are asked first.
    #[arg(long, default_value_t = 0, allow_negative_numbers = true)]
    pub position: i32,
    #[command(flatten)]
    pub settings: Settings,
    #[command(flatten)]
    pub target: Target,
}

#[derive(Debug, Args)]
pub struct One {
    /// The binding's id, or the name of a plugin that has one binding.
    pub binding: String,
    #[command(flatten)]
    pub target: Target,
}

#[derive(Debug, Args)]
pub struct Versioned {
    /// The binding's id, or the name of a plugin that has one binding.
    pub binding: String,
    /// A digest, its first eight digits, or `built-in`.
    pub version: String,
    #[command(flatten)]
    pub target: Target,
}

#[derive(Debug, Args)]
pub struct Shadow {
    /// The binding's id, or the name of a plugin that has one binding.
    pub binding: String,
    /// A digest, its first eight digits, or `built-in`.
    pub version: Option<String>,
    /// End the shadow version.
    #[arg(long, conflicts_with = "version")]
    pub stop: bool,
    #[command(flatten)]
    pub target: Target,
}

#[derive(Debug, Args)]
pub struct Named {
    /// The plugin's name.
    pub name: String,
    #[command(flatten)]
    pub target: Target,
}

#[derive(Debug, Args)]
pub struct Logs {
    /// The plugin's name.
    pub name: String,
    /// Go on with what it writes from now on.
    #[arg(long, short)]
    pub follow: bool,
    #[command(flatten)]
    pub target: Target,
}

/// Runs a command.
pub fn run(command: RemoteCommand) -> Result<()> {
    match command {
        RemoteCommand::Deploy(deploy) => self::deploy(&deploy),
        RemoteCommand::List(target) => list(&target),
        RemoteCommand::Bind(bind) => self::bind(&bind),
        RemoteCommand::Unbind(One { binding, target }) => {
            let client = Client::new(&target)?;
            let id = client.binding_id(&binding)?;
            client.delete(&["v1", "bindings", &id])?;
            println!("{id} is removed.");
            Ok(())
        }
        RemoteCommand::Activate(Versioned { binding, version, target }) => {
            let client = Client::new(&target)?;
            let id = client.binding_id(&binding)?;
            let bound = client.post(&["v1", "bindings", &id, "activate"], &json!({ "digest": version }))?;
            show::print(&target, &bound, show::binding)
        }
        RemoteCommand::Shadow(shadow) => self::shadow(&shadow),
        RemoteCommand::Rollback(One { binding, target }) => {
            let client = Client::new(&target)?;
            let id = client.binding_id(&binding)?;
            let bound = client.post(&["v1", "bindings", &id, "rollback"], &json!({}))?;
            show::print(&target, &bound, show::binding)
        }
        RemoteCommand::Delete(Named { name, target }) => {
            Client::new(&target)?.delete(&["v1", "plugins", &name])?;
            println!("{name} is deleted.");
            Ok(())
        }
        RemoteCommand::Logs(logs) => self::logs(&logs),
        RemoteCommand::Stats(Named { name, target }) => {
            let stats = Client::new(&target)?.get(&["v1", "plugins", &name, "stats"], &[])?;
            show::print(&target, &stats, show::stats)
        }
        RemoteCommand::Replay(replay) => replay::run(&replay),
    }
}

fn deploy(deploy: &Deploy) -> Result<()> {
    let reference = deploy.component.to_str().filter(|text| Reference::is_meant(text)).map(Reference::parse).transpose()?;
    // A repository has no ending that its name would be without.
    let repository = reference.as_ref().map(|reference| PathBuf::from(format!("{}.wasm", reference.repository())));
    let name = plugin_name(deploy.name.as_deref(), repository.as_ref().unwrap_or(&deploy.component))?;
    let client = Client::new(&deploy.target)?;
    let path = ["v1", "plugins", &name, "versions"];
    let version = match &reference {
        Some(reference) => client.post(&path, &json!({ "reference": reference.to_string() }))?,
        None => client.upload(&path, &read(&deploy.component)?)?,
    };
    if deploy.no_activate {
        return show::print(&deploy.target, &version, |version| show::deployed(&name, version));
    }
    let digest = &version["digest"];
    let bindings = client.get(&["v1", "bindings"], &[])?;
    let app = deploy.app.as_deref();
    let here = |binding: &&Value| binding["plugin"] == name && binding["appId"].as_str() == app;
    let bound = match bindings["items"].as_array().into_iter().flatten().find(here) {
        Some(binding) => {
            let id = binding["id"].as_str().context("the server shows a binding without an id")?;
            let change = deploy.settings.json();
            if !change.is_empty() {
                client.patch(&["v1", "bindings", id], &Value::Object(change))?;
            }
            client.post(&["v1", "bindings", id, "activate"], &json!({ "digest": digest }))?
        }
        None => {
            let mut new = deploy.settings.json();
            new.insert("plugin".into(), json!(name));
            new.insert("digest".into(), digest.clone());
            new.insert("appId".into(), json!(app));
            client.post(&["v1", "bindings"], &Value::Object(new))?
        }
    };
    show::print(&deploy.target, &bound, show::binding)
}

fn list(target: &Target) -> Result<()> {
    let client = Client::new(target)?;
    let plugins = client.get(&["v1", "plugins"], &[])?;
    let mut all = Vec::new();
    for plugin in plugins["items"].as_array().into_iter().flatten() {
        let name = plugin["name"].as_str().unwrap_or_default();
        let versions = client.get(&["v1", "plugins", name, "versions"], &[])?;
        all.push(json!({ "name": name, "versions": versions["items"] }));
    }
    let bindings = client.get(&["v1", "bindings"], &[])?;
    show::print(target, &json!({ "plugins": all, "bindings": bindings["items"] }), show::list)
}

fn bind(bind: &Bind) -> Result<()> {
    let mut new = bind.settings.json();
    new.insert("plugin".into(), json!(bind.name));
    new.insert("digest".into(), json!(bind.version));
    new.insert("appId".into(), json!(bind.app));
    new.insert("interfaces".into(), json!(bind.interface));
    new.insert("roomType".into(), json!(bind.room_type));
    new.insert("position".into(), json!(bind.position));
    let bound = Client::new(&bind.target)?.post(&["v1", "bindings"], &Value::Object(new))?;
    show::print(&bind.target, &bound, show::binding)
}

fn shadow(shadow: &Shadow) -> Result<()> {
    let client = Client::new(&shadow.target)?;
    let id = client.binding_id(&shadow.binding)?;
    let path = ["v1", "bindings", &id, "shadow"];
    match &shadow.version {
        Some(version) => show::print(&shadow.target, &client.post(&path, &json!({ "digest": version }))?, show::binding),
        None if shadow.stop => show::print(&shadow.target, &client.delete(&path)?, show::binding),
        None => show::print(&shadow.target, &client.get(&path, &[])?, show::shadow),
    }
}

fn logs(logs: &Logs) -> Result<()> {
    let client = Client::new(&logs.target)?;
    let path = ["v1", "plugins", &logs.name, "logs"];
    let line = |line: &Value| show::print(&logs.target, line, show::log_line);
    if logs.follow {
        return client.follow(&path, line);
    }
    let lines = client.get(&path, &[])?;
    lines["items"].as_array().into_iter().flatten().try_for_each(line)
}

impl Settings {
    /// The properties of a binding that were given.
    fn json(&self) -> Map<String, Value> {
        let mut json = Map::new();
        let object = |pairs: &[(String, String)]| -> Value {
            pairs.iter().map(|(name, value)| (name.clone(), Value::from(value.clone()))).collect::<Map<_, _>>().into()
        };
        if !self.config.is_empty() {
            json.insert("config".into(), object(&self.config));
        }
        if !self.secret.is_empty() {
            json.insert("secrets".into(), object(&self.secret));
        }
        if !self.allow_host.is_empty() {
            json.insert("hosts".into(), json!(self.allow_host));
        }
        if let Some(quota) = self.key_value_quota {
            json.insert("keyValueQuota".into(), json!(quota));
        }
        if let Some(deadline) = self.deadline_ms {
            json.insert("limits".into(), json!({ "deadlineMs": deadline }));
        }
        if let Some(on_failure) = &self.on_failure {
            json.insert("onFailure".into(), json!(on_failure));
        }
        json
    }
}

/// The name that was given, or the file's name as a plugin's name.
fn plugin_name(given: Option<&str>, file: &Path) -> Result<String> {
    if let Some(name) = given {
        return Ok(name.to_owned());
    }
    let stem = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let name = stem.to_ascii_lowercase().replace(['_', '.', ' '], "-");
    if name.is_empty() {
        bail!("{} gives no name for the plugin: name it with --name", file.display());
    }
    Ok(name)
}

fn read(file: &Path) -> Result<Vec<u8>> {
    std::fs::read(file).with_context(|| format!("cannot read the component {}", file.display()))
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write it as NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

fn secret(text: &str) -> Result<(String, String), String> {
    if text.contains('=') {
        return pair(text);
    }
    let value =
        std::env::var(text).map_err(|_| format!("the environment variable {text} is not set; set it, or write NAME=VALUE"))?;
    Ok((text.to_owned(), value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_gives_its_plugin_a_name() {
        let name = |file: &str| plugin_name(None, Path::new(file)).ok();
        assert_eq!(name("target/wasm32-wasip2/release/my_policy.wasm").as_deref(), Some("my-policy"));
        assert_eq!(name("Geo Block.wasm").as_deref(), Some("geo-block"));
        assert_eq!(name("/"), None);
        assert_eq!(plugin_name(Some("x"), Path::new("a.wasm")).unwrap(), "x");
    }

    #[test]
    fn only_what_is_given_is_changed() {
        assert!(Settings::default().json().is_empty());
        let settings = Settings {
            config: vec![("a".into(), "1=2".into())],
            secret: vec![("key".into(), "hush".into())],
            on_failure: Some("next".into()),
            ..Settings::default()
        };
        let expected = json!({ "config": { "a": "1=2" }, "secrets": { "key": "hush" }, "onFailure": "next" });
        assert_eq!(Value::Object(settings.json()), expected);
    }

    #[test]
    fn settings_are_read_as_name_and_value() {
        assert_eq!(pair("a=b=c").unwrap(), ("a".into(), "b=c".into()));
        assert!(pair("a").is_err());
        assert!(secret("FLYLOFT_NO_SUCH_VARIABLE").unwrap_err().contains("FLYLOFT_NO_SUCH_VARIABLE"));
    }
}
