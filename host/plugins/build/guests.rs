//! Compiles guest plugins for wasm32-wasip2 from a build script, with a cargo of its own.
//!
//! The guests are a workspace of their own, and their cargo gets its own target directory (`plugins` below the outer
//! one: with the outer one itself the two would wait for each other for ever, and one below OUT_DIR would be built again
//! for every profile) and an environment without what the outer cargo set for the host.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

const TARGET: &str = "wasm32-wasip2";

/// A directory with `*.wasm` files to use instead of compiling, for machines without the target.
const PREBUILT: &str = "FLYLOFT_PREBUILT_PLUGINS";

/// One component to be built.
pub struct Guest {
    /// The file that cargo makes, below `{target}/wasm32-wasip2/release/`, without `.wasm`.
    pub artifact: &'static str,
    /// The file's name in OUT_DIR, without `.wasm`.
    pub name: &'static str,
}

/// Builds `guests` out of the workspace `workspace` with `arguments` to `cargo build` and puts them into OUT_DIR.
/// `sources` are the directories and files, relative to the workspace, that they are made of.
pub fn build(workspace: &Path, arguments: &[&str], sources: &[&str], guests: &[Guest]) -> Result<(), String> {
    println!("cargo::rerun-if-env-changed={PREBUILT}");
    for source in sources {
        println!("cargo::rerun-if-changed={}", workspace.join(source).display());
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
    let built = match env::var_os(PREBUILT) {
        Some(dir) => {
            let dir = PathBuf::from(dir);
            println!("cargo::rerun-if-changed={}", dir.display());
            dir
        }
        None => compile(workspace, arguments, &out)?,
    };
    for guest in guests {
        let from = built.join(format!("{}.wasm", guest.artifact));
        // Prebuilt files lie flat in their directory.
        let flat = built.join(Path::new(&format!("{}.wasm", guest.artifact)).file_name().unwrap_or_default());
        let from = if from.exists() { from } else { flat };
        let to = out.join(format!("{}.wasm", guest.name));
        // A target directory that was copied with hard links shares this file with its origin, which must not change.
        match std::fs::remove_file(&to) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(format!("{} can't be replaced: {error}", to.display()));
            }
            _ => {}
        }
        std::fs::copy(&from, to)
            .map_err(|error| format!("the plugin {} can't be read from {}: {error}", guest.name, from.display()))?;
    }
    Ok(())
}

fn compile(workspace: &Path, arguments: &[&str], out: &Path) -> Result<PathBuf, String> {
    require_target()?;
    let target_dir = outer_target_dir(out)?.join("plugins");
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        // The workspace's .cargo/config.toml is looked for from here.
        .current_dir(workspace)
        .args(["build", "--release", "--locked", "--target", TARGET, "--target-dir"])
        .arg(&target_dir)
        .args(arguments);
    for (key, _) in env::vars_os() {
        if key.to_str().is_some_and(belongs_to_the_host) {
            cargo.env_remove(&key);
        }
    }
    let status = cargo.status().map_err(|error| format!("cargo can't be run for the plugins: {error}"))?;
    if !status.success() {
        return Err(format!("the plugins in {} did not compile; the compiler's messages are above", workspace.display()));
    }
    Ok(target_dir.join(TARGET).join("release"))
}

/// Variables by which the outer cargo tells about the host build.
fn belongs_to_the_host(key: &str) -> bool {
    const PREFIXES: [&str; 9] = [
        "CARGO_ENCODED_",
        "CARGO_PROFILE_",
        "CARGO_BUILD_",
        "CARGO_FEATURE_",
        "CARGO_CFG_",
        "CARGO_PKG_",
        "CARGO_MANIFEST_",
        "CARGO_TARGET_",
        "RUSTC",
    ];
    const NAMES: [&str; 9] =
        ["RUSTFLAGS", "OUT_DIR", "TARGET", "HOST", "PROFILE", "OPT_LEVEL", "DEBUG", "CARGO_INCREMENTAL", "CARGO_PRIMARY_PACKAGE"];
    NAMES.contains(&key) || PREFIXES.iter().any(|prefix| key.starts_with(prefix))
}

/// The target directory of the build that runs this script: the nearest directory above OUT_DIR that cargo has marked.
fn outer_target_dir(out: &Path) -> Result<PathBuf, String> {
    out.ancestors()
        .find(|dir| dir.join("CACHEDIR.TAG").is_file() || dir.join(".rustc_info.json").is_file())
        .map(Path::to_owned)
        .ok_or_else(|| format!("{} does not lie in a target directory of cargo", out.display()))
}

fn require_target() -> Result<(), String> {
    if has_target() {
        return Ok(());
    }
    // Quietly, and never a whole toolchain.
    let _ = Command::new("rustup").args(["target", "add", TARGET]).status();
    if has_target() {
        return Ok(());
    }
    Err(format!(
        "the plugins are compiled for {TARGET}, which this Rust toolchain lacks. Run `rustup target add {TARGET}`, or set \
         {PREBUILT} to a directory with compiled plugins"
    ))
}

fn has_target() -> bool {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).args(["--print", "target-libdir", "--target", TARGET]).output();
    output.is_ok_and(|output| output.status.success() && Path::new(String::from_utf8_lossy(&output.stdout).trim()).is_dir())
}
