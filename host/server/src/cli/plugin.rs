//! `flyloft plugin …`: writing, building and trying plugins on the author's machine. What talks to a server is [`remote`]'s.

mod build;
mod cases;
mod check;
mod diff;
mod new;
mod sample;
mod show;
mod test;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::{Args, Subcommand, ValueEnum};
use flyloft_plugins::{CallLimits, Config};

use super::remote::{self, RemoteCommand};

/// What new plugin projects are made of, as `build.rs` has found it.
mod embedded {
    include!(concat!(env!("OUT_DIR"), "/authoring.rs"));
}

#[derive(Debug, Subcommand)]
pub enum PluginCommand {
    /// Make a plugin project that builds as it is.
    New(New),
    /// Build the plugin project in this directory with its language's own tool.
    Build(Build),
    /// Say what a component is, and whether a server would accept it.
    Check(Check),
    /// Ask a component the questions of case files and compare its answers.
    ///
    /// Without a .wasm file the project in this directory is built first; without case files its cases/*.json are used.
    Test(Test),
    #[command(flatten)]
    Remote(Box<RemoteCommand>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Language {
    Rust,
    Js,
    Python,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// Who may publish, watch, join, run rooms.
    RoomPolicy,
    /// Which outputs a stream gets.
    OutputMode,
    /// What other systems are told of an event.
    Webhook,
    /// Where the bytes of VOD files come from.
    VodSource,
}

#[derive(Debug, Args)]
pub struct New {
    /// The directory to make; its last part is the plugin's name.
    #[arg(value_name = "NAME")]
    pub path: PathBuf,
    #[arg(long)]
    pub lang: Language,
    /// What the plugin decides.
    #[arg(long, default_value = "room-policy")]
    pub interface: Kind,
}

#[derive(Debug, Args)]
pub struct Build {
    /// The project's directory.
    #[arg(value_name = "DIR", default_value = ".")]
    pub directory: PathBuf,
    /// Where the component goes [default: NAME.wasm in the project].
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct Check {
    /// The component.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub limits: Limits,
}

#[derive(Debug, Args)]
pub struct Test {
    /// The component (.wasm) and the case files (.json).
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Write the answers into the case files where they differ or nothing is expected yet.
    #[arg(long)]
    pub update: bool,
    /// A value of the plugin's configuration, beside and before those in the case files.
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    pub config: Vec<(String, String)>,
    /// A secret of the plugin's configuration.
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    pub secret: Vec<(String, String)>,
    /// A host that the plugin may ask by HTTP.
    #[arg(long, value_name = "HOST")]
    pub allow_host: Vec<String>,
    #[command(flatten)]
    pub limits: Limits,
}

/// What a call may use.
#[derive(Clone, Copy, Debug, Args)]
pub struct Limits {
    /// Milliseconds that a call may take.
    #[arg(long, value_name = "MS", env = "FLYLOFT_PLUGINS_DEADLINE_MS", default_value_t = 50)]
    pub deadline_ms: u64,
    /// Bytes of memory that a call may have.
    #[arg(long, value_name = "BYTES", env = "FLYLOFT_PLUGINS_MEMORY_BYTES", default_value_t = 64 << 20)]
    pub memory_bytes: usize,
}

/// Runs a command. The exit code is 1 when a component is not accepted or a case fails.
pub fn run(command: PluginCommand) -> Result<ExitCode> {
    match command {
        PluginCommand::New(options) => new::run(&options).map(|()| ExitCode::SUCCESS),
        PluginCommand::Build(options) => build::run(&options).map(|_| ExitCode::SUCCESS),
        PluginCommand::Check(options) => check::run(&options),
        PluginCommand::Test(options) => test::run(&options),
        PluginCommand::Remote(command) => remote::run(*command).map(|()| ExitCode::SUCCESS),
    }
}

impl Limits {
    /// The runtime's configuration with these limits and the cache of compiled components, if the user has one.
    fn runtime(self) -> Config {
        let limits =
            CallLimits { deadline: Duration::from_millis(self.deadline_ms), memory: self.memory_bytes, ..CallLimits::default() };
        Config { data_dir: cache(), limits, ..Config::default() }
    }
}

/// Where compiled components are kept from one command to the next: components of JavaScript and Python take seconds to
/// compile. None when the system names no place for it.
fn cache() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = set("XDG_CACHE_HOME").or_else(|| Some(set("HOME")?.join(".cache")))?;
    std::fs::create_dir_all(&base).ok()?;
    Some(base.join("flyloft-plugins"))
}

/// Runs a future on a small runtime.
fn block_on<T>(future: impl Future<Output = T>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    Ok(runtime.context("cannot start the runtime")?.block_on(future))
}

fn read_component(path: &std::path::Path) -> Result<bytes::Bytes> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read the component {}", path.display()))?;
    Ok(bytes.into())
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("NAME=VALUE is expected, for example `hosts=alice,bob`".to_owned()),
    }
}
