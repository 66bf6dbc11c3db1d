//! The plugins in `tests/guests`, compiled to components by the tests that upload them.

use anyhow::{Context, Result, ensure};
use std::fs::File;
use std::process::Command;

/// The bytes of a component: the name of an example in `tests/guests`.
pub fn component(name: &str) -> Result<Vec<u8>> {
    let cache = crate::server::cache()?;
    let target = cache.join("guests");
    let lock = File::create(cache.join("guests.lock"))?;
    lock.lock().context("waiting for another test that compiles plugins")?;
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // What the host's build was told must not reach the guests'.
    for (key, _) in std::env::vars_os() {
        let name = key.to_string_lossy();
        if name.starts_with("CARGO_") && name != "CARGO_HOME" || name.starts_with("RUSTFLAGS") || name == "RUSTDOCFLAGS" {
            command.env_remove(&key);
        }
    }
    let output = command
        .args(["build", "--quiet", "--locked", "--release", "--examples", "--target", "wasm32-wasip2", "--target-dir"])
        .arg(&target)
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/guests"))
        .output()
        .context("running cargo to compile the plugins")?;
    ensure!(output.status.success(), "the plugins do not compile:\n{}", String::from_utf8_lossy(&output.stderr));
    let path = target.join(format!("wasm32-wasip2/release/examples/{name}.wasm"));
    std::fs::read(&path).with_context(|| format!("reading {}", path.display()))
}
