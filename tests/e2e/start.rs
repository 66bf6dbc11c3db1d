//! Starting the server as a developer does.

use anyhow::{Context, Result, ensure};
use flyloft_tests::server::binary;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

/// `cargo run` starts a program with the variables that its build script set for the compiler. The server takes every variable
/// that begins with `FLYLOFT_` for a setting, so none of them may.
#[test]
fn the_server_starts_with_what_cargo_run_gives_it() -> Result<()> {
    let binary = binary()?;
    let build = binary.parent().context("the server's binary has no directory")?.join("build");
    let output = newest_output(&build)?;
    let text = fs::read_to_string(&output).with_context(|| format!("reading {}", output.display()))?;
    let variables: Vec<(&str, &str)> = text
        .lines()
        .filter_map(|line| line.strip_prefix("cargo::rustc-env=").or_else(|| line.strip_prefix("cargo:rustc-env=")))
        .filter_map(|variable| variable.split_once('='))
        .collect();
    ensure!(!variables.is_empty(), "{} sets no variables: the test looks at the wrong file", output.display());
    let home = tempfile::tempdir()?;
    let mut command = Command::new(&binary);
    command.args(["config", "check"]).current_dir(home.path());
    for (key, _) in std::env::vars_os().filter(|(key, _)| key.to_string_lossy().starts_with("FLYLOFT_")) {
        command.env_remove(key);
    }
    let started = command.envs(variables.iter().copied()).output()?;
    ensure!(started.status.success(), "with {variables:?}: {}", String::from_utf8_lossy(&started.stderr));
    Ok(())
}

/// What the build script of the package `flyloft` printed last.
fn newest_output(build: &Path) -> Result<PathBuf> {
    let mut found: Option<(SystemTime, PathBuf)> = None;
    for entry in
        fs::read_dir(build).with_context(|| format!("reading {}: E2E_SERVER must lie where cargo built it", build.display()))?
    {
        let entry = entry?;
        let name = entry.file_name().into_string().unwrap_or_default();
        let own = name.strip_prefix("flyloft-").is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let output = entry.path().join("output");
        let Some(modified) = fs::metadata(&output).ok().filter(|_| own).and_then(|metadata| metadata.modified().ok()) else {
            continue;
        };
        if found.as_ref().is_none_or(|(newest, _)| *newest < modified) {
            found = Some((modified, output));
        }
    }
    Ok(found.with_context(|| format!("no build script of the server has run in {}", build.display()))?.1)
}
