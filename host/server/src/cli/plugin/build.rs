//! `flyloft plugin build`: runs the tool of a project's language, after fetching it where the language has a place for that.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::{Build, new, show};

const TARGET: &str = "wasm32-wasip2";

/// Builds the project and answers where the component is.
pub fn run(options: &Build) -> Result<PathBuf> {
    let directory = &options.directory;
    let started = Instant::now();
    let has = |file: &str| directory.join(file).is_file();
    let built = if has("Cargo.toml") {
        rust(directory)?
    } else if has("package.json") {
        javascript(directory)?
    } else if has("requirements.txt") {
        python(directory)?
    } else {
        bail!(
            "{} is no plugin project: there is neither a Cargo.toml nor a package.json nor a requirements.txt. Make one with `flyloft plugin new`",
            directory.display()
        );
    };
    let here = directory == Path::new(".");
    let default = || if here { PathBuf::new() } else { directory.clone() }.join(format!("{}.wasm", built.name));
    let output = options.output.clone().unwrap_or_else(default);
    // A file that is copied onto itself is empty afterwards.
    let same = built.file.canonicalize().ok().is_some_and(|file| output.canonicalize().is_ok_and(|output| output == file));
    if !same {
        std::fs::copy(&built.file, &output)
            .with_context(|| format!("cannot copy {} to {}", built.file.display(), output.display()))?;
    }
    let size = std::fs::metadata(&output).with_context(|| format!("cannot read {}", output.display()))?.len();
    eprintln!("Built {}, {}, in {:.1} s", output.display(), show::size(size), started.elapsed().as_secs_f64());
    Ok(output)
}

struct Built {
    name: String,
    file: PathBuf,
}

fn rust(directory: &Path) -> Result<Built> {
    let libraries = Command::new("rustc").args(["--print", "target-libdir", "--target", TARGET]).current_dir(directory).output();
    let libraries = libraries.context("cannot run rustc: install Rust from https://rustup.rs")?;
    ensure!(
        libraries.status.success() && Path::new(String::from_utf8_lossy(&libraries.stdout).trim()).is_dir(),
        "this Rust toolchain cannot compile for {TARGET}: run `rustup target add {TARGET}`"
    );
    step("cargo build --release");
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--release", "--target", TARGET, "--message-format=json-render-diagnostics"]);
    let output = cargo
        .current_dir(directory)
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run cargo: install Rust from https://rustup.rs")?;
    ensure!(output.status.success(), "the plugin does not compile; what is wrong stands above");
    let manifest = directory.join("Cargo.toml").canonicalize()?;
    let built = output.stdout.split(|&byte| byte == b'\n').find_map(|line| artifact(line, &manifest));
    built.context("cargo made no component: Cargo.toml needs `[lib] crate-type = [\"cdylib\"]`")
}

/// What a line of cargo's messages says about a component of the package.
fn artifact(line: &[u8], manifest: &Path) -> Option<Built> {
    let message: Value = serde_json::from_slice(line).ok()?;
    if message["reason"] != "compiler-artifact" || Path::new(message["manifest_path"].as_str()?) != manifest {
        return None;
    }
    let mut files = message["filenames"].as_array()?.iter().filter_map(Value::as_str);
    let file = files.find(|file| file.ends_with(".wasm"))?;
    Some(Built { name: message["target"]["name"].as_str()?.replace('_', "-"), file: PathBuf::from(file) })
}

fn javascript(directory: &Path) -> Result<Built> {
    let package = directory.join("package.json");
    let text = std::fs::read_to_string(&package).with_context(|| format!("cannot read {}", package.display()))?;
    let manifest: Value = serde_json::from_str(&text).with_context(|| package.display().to_string())?;
    let name = manifest["name"].as_str().and_then(|name| name.rsplit('/').next()).context("package.json has no name")?;
    let entry = manifest["main"].as_str().unwrap_or("src/plugin.js");
    let tool = directory.join("node_modules/.bin/componentize-qjs");
    if !tool.exists() || newer(&package, &directory.join("node_modules/.package-lock.json")) {
        // It keeps to package-lock.json as `npm ci` does, and takes up what package.json has more.
        step("npm install");
        let mut npm = Command::new("npm");
        npm.args(["install", "--no-audit", "--no-fund", "--loglevel=error"]).current_dir(directory);
        finish(npm, "npm", "install Node.js 20 or newer from https://nodejs.org")?;
        ensure!(
            tool.exists(),
            "componentize-qjs is not among the dependencies: run `npm install --save-dev componentize-qjs@0.4.5`"
        );
    }
    contract(directory)?;
    let file = format!("{name}.wasm");
    step("componentize-qjs");
    let mut componentize = Command::new(Path::new("node_modules/.bin/componentize-qjs"));
    // Without the async ABI of WASI 0.3, which the contract does not use.
    componentize.args(["--sync", "--wit", "wit", "--world", "plugin", "--js", entry, "--output", &file]);
    finish_in(componentize, directory, "componentize-qjs", "delete node_modules and build again")?;
    Ok(Built { name: name.to_owned(), file: directory.join(file) })
}

fn python(directory: &Path) -> Result<Built> {
    let place = directory.canonicalize()?;
    let name = place.file_name().and_then(|name| name.to_str()).context("the directory has no name")?.to_owned();
    let requirements = std::fs::read_to_string(directory.join("requirements.txt")).context("cannot read requirements.txt")?;
    let installed = directory.join(".venv/requirements.installed");
    if std::fs::read_to_string(&installed).ok().as_ref() != Some(&requirements) {
        const PYTHON: &str =
            "install Python 3.10 or newer with its venv module (on Debian and Ubuntu: apt-get install python3-venv)";
        step("python3 -m venv .venv");
        let mut venv = Command::new("python3");
        venv.args(["-m", "venv", ".venv"]);
        finish_in(venv, directory, "python3", PYTHON)?;
        step("pip install -r requirements.txt");
        let mut pip = Command::new(Path::new(".venv/bin/python"));
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", "requirements.txt"]);
        finish_in(pip, directory, "pip", PYTHON)?;
        std::fs::write(&installed, &requirements).with_context(|| format!("cannot write {}", installed.display()))?;
    }
    contract(directory)?;
    let file = format!("{name}.wasm");
    step("componentize-py");
    let mut componentize = Command::new(Path::new(".venv/bin/componentize-py"));
    componentize.args(["-d", "wit", "-w", "plugin", "componentize", "plugin", "-p", "src", "-o", &file]);
    finish_in(
        componentize,
        directory,
        "componentize-py",
        "name componentize-py==0.25.1 in requirements.txt, delete .venv, and build again",
    )?;
    Ok(Built { name, file: directory.join(file) })
}

fn step(what: &str) {
    eprintln!("… {what}");
}

/// Puts the contract where the project's world finds it, unless there is one: a project keeps the version that it began with.
fn contract(directory: &Path) -> Result<()> {
    if directory.join("wit/deps/flyloft-plugin").is_dir() {
        return Ok(());
    }
    new::contract().try_for_each(|(path, text)| new::write(&directory.join(path), text))
}

/// Whether a file was changed after another one, or the other one is missing.
fn newer(file: &Path, other: &Path) -> bool {
    let changed = |path: &Path| std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    match (changed(file), changed(other)) {
        (Some(file), Some(other)) => file > other,
        _ => true,
    }
}

fn finish_in(mut command: Command, directory: &Path, name: &str, remedy: &str) -> Result<()> {
    // A relative program is looked up before the directory is changed, on some systems.
    let program = Path::new(command.get_program());
    if program.components().count() > 1 {
        let mut absolute = Command::new(directory.canonicalize()?.join(program));
        absolute.args(command.get_args());
        command = absolute;
    }
    command.current_dir(directory);
    finish(command, name, remedy)
}

/// Runs a tool whose messages go to the terminal. `remedy` says what to do when it can't be run.
fn finish(mut command: Command, name: &str, remedy: &str) -> Result<()> {
    let status = command.stdin(Stdio::null()).stdout(std::io::stderr()).status();
    let status = status.with_context(|| format!("cannot run {name}: {remedy}"))?;
    ensure!(status.success(), "{name} failed ({status}); what is wrong stands above");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_package_s_component_is_taken() {
        let line = |manifest: &str, file: &str| {
            serde_json::json!({
                "reason": "compiler-artifact", "manifest_path": manifest, "target": {"name": "my_policy"}, "filenames": [file],
            })
            .to_string()
        };
        let found = |line: &str| artifact(line.as_bytes(), Path::new("/p/Cargo.toml")).map(|built| (built.name, built.file));
        assert_eq!(found(&line("/p/Cargo.toml", "/t/my_policy.wasm")), Some(("my-policy".into(), "/t/my_policy.wasm".into())));
        assert_eq!(found(&line("/sdk/Cargo.toml", "/t/sdk.wasm")), None);
        assert_eq!(found(&line("/p/Cargo.toml", "/t/libmy_policy.rlib")), None);
        assert_eq!(found("no JSON"), None);
    }

    #[test]
    fn what_is_no_project_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let error = run(&Build { directory: directory.path().to_owned(), output: None }).unwrap_err().to_string();
        assert!(error.contains("plugin new"), "{error}");
    }
}
