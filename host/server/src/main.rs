//! The `flyloft` command.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Parser as _;
use flyloft::cli::{self, Cli, Command, ConfigCommand, Options};
use flyloft::config::{Config, Log, LogFormat};
use flyloft::demo;
use flyloft::server::Server;
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("flyloft: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Result<ExitCode> {
    match cli.command {
        Command::Serve(options) => start(&options, false)?,
        Command::Demo(options) => start(&options, true)?,
        Command::Config { command: ConfigCommand::Check(options) } => cli::check(&options)?,
        Command::Plugin { command } => return cli::plugin::run(command),
        Command::Version => {
            println!("flyloft {} ({})", env!("CARGO_PKG_VERSION"), env!("BUILT_FOR_TARGET"));
            println!("plugin contract flyloft:plugin@0.1.0");
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn start(options: &Options, is_demo: bool) -> Result<()> {
    let config = options.load()?;
    let quiet = is_demo && options.log.is_none() && config.log == Log::default();
    start_log(&config, quiet)?;
    raise_file_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start the runtime")?;
    let temporary;
    let data = match (config.data.as_os_str().is_empty(), is_demo) {
        (false, _) => config.data.clone(),
        (true, false) => PathBuf::from("data"),
        (true, true) => {
            temporary = tempfile::tempdir().context("cannot make a temporary data directory: name one with --data")?;
            temporary.path().to_owned()
        }
    };
    let served = runtime.block_on(serve(&config, &data, is_demo));
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    served
}

async fn serve(config: &Config, data: &Path, is_demo: bool) -> Result<()> {
    let mut stop = Stop::new()?;
    let server = Server::start(config, data).await?;
    if let Some(credentials) = &server.credentials
        && !is_demo
    {
        println!("Made an operator token and the App \"default\". They are in {}:", data.join("credentials.json").display());
        println!("{}", serde_json::to_string_pretty(credentials)?);
    }
    if is_demo {
        let demo = demo::room::start(&server, data).await?;
        demo.print();
        stop.wait().await;
        demo.stop().await;
    } else {
        stop.wait().await;
    }
    server.shut_down().await;
    Ok(())
}

/// The signals that end the server.
struct Stop {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Stop {
    fn new() -> Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn wait(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

fn start_log(config: &Config, quiet: bool) -> Result<()> {
    let level = if quiet { "warn" } else { config.log.level.as_str() };
    let filter = EnvFilter::try_new(level)
        .with_context(|| format!("log.level = {level:?} is no filter: try info or flyloft=debug,info"))?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match config.log.format {
        LogFormat::Pretty => log.init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
    Ok(())
}

/// A viewer is an open file: takes as many as the system allows.
fn raise_file_limit() {
    if let Err(error) = flyloft::files::raise_open_limit() {
        tracing::warn!(%error, "cannot raise the limit of open files: there may be too few for many viewers");
    }
}
