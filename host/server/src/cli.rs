//! The command line.

pub mod plugin;
pub mod remote;

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::{Args, Parser, Subcommand};

use crate::config::{Config, LogFormat};

/// Self-hosted live-video room server whose rules are WebAssembly plugins.
///
/// Broadcasters push RTMP, viewers watch by RTMP, HTTP-FLV, HLS and MPEG-DASH, backends drive rooms by REST, and sandboxed
/// components that you can replace while the server runs decide who may do what.
#[derive(Debug, Parser)]
#[command(
    name = "flyloft",
    version,
    after_help = "Try `flyloft demo` first: it starts everything with a test picture and prints where to watch."
)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the server.
    ///
    /// The first start makes an operator token and an App with key and secret, prints them, and keeps them in
    /// DATA/credentials.json.
    Serve(Options),
    /// Run the server with a live test picture in a room of its own, and print where to watch and how to push your own stream.
    Demo(Options),
    /// Look at the configuration.
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Write, build and try plugins, deploy them to a running server, and look at what they do there.
    ///
    /// `flyloft plugin new --lang rust my-policy` makes a project that builds as it is.
    Plugin {
        #[command(subcommand)]
        command: plugin::PluginCommand,
    },
    /// Print the version and what it was built with.
    Version,
}

#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Check the configuration and print every setting with the value in force.
    ///
    /// Settings come from the file, then FLYLOFT_* environment variables (http.listen is FLYLOFT_HTTP_LISTEN), then flags; the
    /// later wins. What is printed is a valid flyloft.toml.
    Check(Options),
}

#[derive(Clone, Debug, Args)]
pub struct Options {
    /// Configuration file [default: flyloft.toml, if there is one].
    #[arg(long, value_name = "FILE", env = "FLYLOFT_CONFIG")]
    pub config: Option<PathBuf>,
    /// Directory for everything that must survive a restart [default: ./data; a temporary one for `demo`].
    #[arg(long, value_name = "DIR")]
    pub data: Option<String>,
    /// Address for HTTP [default: 0.0.0.0:8080]. Port 0 takes a free one; DATA/addresses.json says which.
    #[arg(long, value_name = "IP:PORT")]
    pub http: Option<String>,
    /// Address for HTTPS with HTTP/2 [default: off].
    #[arg(long, value_name = "IP:PORT")]
    pub https: Option<String>,
    /// Address for RTMP [default: 0.0.0.0:1935].
    #[arg(long, value_name = "IP:PORT")]
    pub rtmp: Option<String>,
    /// Address for RTMPS [default: off].
    #[arg(long, value_name = "IP:PORT")]
    pub rtmps: Option<String>,
    /// What to log, for example `debug` or `flyloft=debug,info` [default: info].
    #[arg(long, value_name = "FILTER")]
    pub log: Option<String>,
    /// How to log [default: pretty].
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
}

impl Options {
    pub fn load(&self) -> Result<Config> {
        let format = self.log_format.map(|format| match format {
            LogFormat::Pretty => "pretty".to_owned(),
            LogFormat::Json => "json".to_owned(),
        });
        let flags = [
            ("data", self.data.clone()),
            ("http.listen", self.http.clone()),
            ("http.tls_listen", self.https.clone()),
            ("rtmp.listen", self.rtmp.clone()),
            ("rtmp.tls_listen", self.rtmps.clone()),
            ("log.level", self.log.clone()),
            ("log.format", format),
        ];
        let file = self.config.clone().unwrap_or_else(|| PathBuf::from("flyloft.toml"));
        Config::load(&file, self.config.is_some(), std::env::vars(), &flags)
    }
}

/// Prints the settings in force as TOML.
pub fn check(options: &Options) -> Result<()> {
    let config = options.load()?;
    print!("{}", toml::to_string_pretty(&config).context("the configuration cannot be written as TOML")?);
    eprintln!("The configuration is valid.");
    Ok(())
}
