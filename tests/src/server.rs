//! The server as a user starts it: the real binary with a data directory of its own, on ports that the system chooses.

use crate::process::{Signal, Usage, signal};
use crate::{PATIENCE, wait_for};
use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;

/// A running server. Dropping it kills the process and, when the test has failed, prints the end of the log.
pub struct Server {
    directory: tempfile::TempDir,
    settings: Vec<(String, String)>,
    child: Child,
    addresses: Addresses,
}

/// Where the server listens, as it says in `addresses.json`.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    pub http: SocketAddr,
    pub rtmp: SocketAddr,
    pub rtmps: SocketAddr,
    pub https: SocketAddr,
}

impl Server {
    pub fn start() -> Result<Server> {
        Server::with(&[])
    }

    /// Starts with settings by the names of the configuration file, for example `live.reconnect_timeout_ms`.
    pub fn with(settings: &[(&str, &str)]) -> Result<Server> {
        Server::run(&binary()?, settings)
    }

    /// Starts a certain binary.
    pub fn run(binary: &Path, settings: &[(&str, &str)]) -> Result<Server> {
        let directory = tempfile::tempdir().context("making a data directory")?;
        let mut all: Vec<(String, String)> = ["http.listen", "http.tls_listen", "rtmp.listen", "rtmp.tls_listen"]
            .map(|key| (key.to_owned(), "127.0.0.1:0".to_owned()))
            .into();
        all.extend(settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
        let (child, addresses) = launch(binary, directory.path(), &all)?;
        Ok(Server { directory, settings: all, child, addresses })
    }

    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// The base URL of HTTP.
    pub fn base(&self) -> String {
        format!("http://{}", self.addresses.http)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn usage(&self) -> Result<Usage> {
        Usage::of(self.pid())
    }

    /// The server's data directory.
    pub fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// All that the server has logged so far, over all restarts.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    /// The process is still there.
    pub fn alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// `kill -9`.
    pub fn kill(&mut self) -> Result<()> {
        signal(self.pid(), Signal::Kill)?;
        self.child.wait().context("waiting for the killed server")?;
        Ok(())
    }

    /// Asks the server to stop, and waits until it has.
    pub fn stop(&mut self) -> Result<ExitStatus> {
        signal(self.pid(), Signal::Terminate)?;
        let child = &mut self.child;
        wait_for("the server has stopped", PATIENCE, || child.try_wait().ok().flatten())
    }

    /// Starts again with the same data, after [`Server::kill`] or [`Server::stop`]; the ports are new ones.
    pub fn restart(&mut self) -> Result<()> {
        ensure!(!self.alive(), "the server still runs");
        (self.child, self.addresses) = launch(&binary()?, self.directory.path(), &self.settings)?;
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only when the process has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!("--- end of the server's log:\n{}", lines[lines.len().saturating_sub(60)..].join("\n"));
        }
    }
}

fn launch(binary: &Path, directory: &Path, settings: &[(String, String)]) -> Result<(Child, Addresses)> {
    let data = directory.join("data");
    let addresses_file = data.join("addresses.json");
    if let Err(error) = std::fs::remove_file(&addresses_file)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        return Err(error).context("removing the addresses of the last start");
    }
    let log = File::options().create(true).append(true).open(directory.join("log"))?;
    let mut command = Command::new(binary);
    command.arg("serve").arg("--data").arg(&data).current_dir(directory);
    for (key, _) in std::env::vars().filter(|(key, _)| key.starts_with("FLYLOFT_")) {
        command.env_remove(key);
    }
    for (key, value) in settings {
        command.env(format!("FLYLOFT_{}", key.replace('.', "_").to_uppercase()), value);
    }
    let mut child = command
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .with_context(|| format!("starting {}", binary.display()))?;
    let ready = wait_for("the server is ready", PATIENCE, || {
        if let Ok(Some(status)) = child.try_wait() {
            return Some(Err(anyhow::anyhow!("the server ended with {status} while it started")));
        }
        let text = std::fs::read_to_string(&addresses_file).ok()?;
        let addresses = parse(&serde_json::from_str(&text).ok()?).ok()?;
        let http = crate::http::Http::new(&format!("http://{}", addresses.http), crate::http::Auth::None);
        (http.get("/readyz").ok()?.status == 200).then_some(Ok(addresses))
    });
    match ready.and_then(|ready| ready) {
        Ok(addresses) => Ok((child, addresses)),
        Err(error) => {
            let _ = child.kill();
            let _ = child.wait();
            let log = std::fs::read_to_string(directory.join("log")).unwrap_or_default();
            Err(error).with_context(|| format!("its log:\n{log}"))
        }
    }
}

fn parse(value: &Value) -> Result<Addresses> {
    let address = |name: &str| -> Result<SocketAddr> {
        let text = value[name].as_str().with_context(|| format!("addresses.json has no {name}: {value}"))?;
        text.parse().with_context(|| format!("{name} in addresses.json is {text:?}"))
    };
    Ok(Addresses { http: address("http")?, rtmp: address("rtmp")?, rtmps: address("rtmps")?, https: address("https")? })
}

/// The directory of this build's outputs, for example `target/debug`.
fn build_directory() -> Result<PathBuf> {
    let own = std::env::current_exe().context("finding this program's own file")?;
    let directory = own.parent().context("this program has no directory")?;
    Ok(if directory.ends_with("deps") { directory.join("..").canonicalize()? } else { directory.to_owned() })
}

/// A directory for things that tests make once and keep; beside the build's outputs.
pub fn cache() -> Result<PathBuf> {
    let directory = build_directory()?.join("../tmp/flyloft-tests");
    std::fs::create_dir_all(&directory).with_context(|| format!("making {}", directory.display()))?;
    Ok(directory.canonicalize()?)
}

/// The server's binary: `E2E_SERVER`, or what cargo builds now in this test's own profile. With nextest, which runs
/// every test in a process of its own, it is built once in each run.
pub fn binary() -> Result<PathBuf> {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    if let Some(binary) = BINARY.get() {
        return Ok(binary.clone());
    }
    let binary = match std::env::var_os("E2E_SERVER") {
        Some(binary) => PathBuf::from(binary).canonicalize().context("E2E_SERVER must be the path of the server's binary")?,
        None => build()?,
    };
    Ok(BINARY.get_or_init(|| binary).clone())
}

fn build() -> Result<PathBuf> {
    let directory = build_directory()?;
    let binary = directory.join("flyloft");
    let stamp = cache()?.join("built");
    let lock = File::create(cache()?.join("build.lock"))?;
    lock.lock().context("waiting for another test that builds the server")?;
    let run = std::env::var("NEXTEST_RUN_ID").unwrap_or_default();
    if !run.is_empty() && std::fs::read_to_string(&stamp).is_ok_and(|built| built == run) && binary.exists() {
        return Ok(binary);
    }
    let profile = match directory.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(profile) => profile,
    };
    // The whole workspace, so that dependencies have the features with which the tests have built them already.
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["build", "--quiet", "--workspace", "--bin", "flyloft", "--profile", profile, "--target-dir"])
        .arg(directory.join(".."))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .context("running cargo to build the server")?;
    if !output.status.success() {
        bail!("the server does not build:\n{}", String::from_utf8_lossy(&output.stderr));
    }
    std::fs::write(&stamp, run)?;
    Ok(binary)
}
