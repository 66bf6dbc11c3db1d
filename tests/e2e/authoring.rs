//! A plugin from nothing: `flyloft plugin new`, `build`, `check` and `test` in each language, and every example.

use anyhow::{Context, Result, ensure};
use flyloft_tests::server::{binary, cache};
use serde_json::Value;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// What a language's tools put into a project, and what is kept from one run to the next.
const KEPT: [&str; 4] = ["node_modules", "package-lock.json", ".venv", "target"];

/// A call is given more time than on a server: the machine is busy with other tests.
pub const PATIENT: [&str; 2] = ["--deadline-ms", "10000"];

/// A project that nobody else builds meanwhile.
struct Project {
    directory: PathBuf,
    component: String,
    _lock: File,
}

impl Project {
    /// The files of `source` in a directory of the tests' cache, with what the language's tools have put there earlier.
    fn copy_of(source: &Path, name: &str) -> Result<Project> {
        let project = Project::at(home()?.join(name), name)?;
        fs::create_dir_all(&project.directory)?;
        remove_others(&project.directory, source)?;
        copy(source, &project.directory)?;
        Ok(project)
    }

    fn at(directory: PathBuf, name: &str) -> Result<Project> {
        let home = home()?;
        let lock = File::create(home.join(format!("{name}.lock")))?;
        lock.lock().context("waiting for another test with the same project")?;
        let component = home.join(format!("{name}.wasm")).to_str().context("the cache's path is not UTF-8")?.to_owned();
        Ok(Project { directory, component, _lock: lock })
    }

    /// What `flyloft plugin new` makes. All projects of a language have the same directory one after another, so that they share what
    /// the language's tools put there.
    fn new(language: &str, interface: &str) -> Result<Project> {
        let name = format!("new-{language}");
        let home = tempfile::tempdir()?;
        let made = flyloft(home.path(), &["plugin", "new", "--lang", language, "--interface", interface, &name])?;
        succeeded(&made)?;
        Project::copy_of(&home.path().join(&name), &name)
    }

    fn example(name: &str) -> Result<Project> {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/plugins").join(name);
        // Those in Rust find the SDK by its place.
        if source.join("Cargo.toml").is_file() {
            return Project::at(source, name);
        }
        let project = Project::copy_of(&source, name)?;
        // The build puts there the contract that it comes with.
        match fs::remove_dir_all(project.directory.join("wit/deps")) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error).context("removing an old contract"),
            _ => Ok(project),
        }
    }

    /// The project's own tests pass, which its language runs without Flyloft.
    fn tests_pass(&self, program: &str, arguments: &[&str]) -> Result<()> {
        succeeded(&run(Path::new(program), &self.directory, arguments)?)
    }

    fn flyloft(&self, arguments: &[&str]) -> Result<Output> {
        flyloft(&self.directory, arguments)
    }

    /// Builds the project, lets `check` look at the component, and asks it the project's cases.
    fn works(&self, interfaces: &[&str], imports: &[&str]) -> Result<()> {
        let component = self.component.as_str();
        let built = self.flyloft(&["plugin", "build", "--output", component])?;
        succeeded(&built)?;
        ensure!(text(&built).contains(component), "{}", text(&built));
        let checked = self.flyloft(&["plugin", "check", "--json", component])?;
        succeeded(&checked)?;
        let checked: Value = serde_json::from_slice(&checked.stdout)?;
        ensure!(checked["accepted"] == true && checked["interfaces"] == serde_json::json!(interfaces), "{checked}");
        let found = checked["imports"].to_string();
        ensure!(imports.iter().all(|import| found.contains(import)), "{checked}");
        let tested = self.flyloft(&[&["plugin", "test", component][..], &PATIENT].concat())?;
        succeeded(&tested)?;
        ensure!(text(&tested).contains(" passed") && !text(&tested).contains("failed"), "{}", text(&tested));
        Ok(())
    }
}

fn home() -> Result<PathBuf> {
    let home = cache()?.join("authoring");
    fs::create_dir_all(&home)?;
    Ok(home)
}

/// Runs the `flyloft` command as a user does.
pub fn flyloft(directory: &Path, arguments: &[&str]) -> Result<Output> {
    run(&binary()?, directory, arguments)
}

fn run(program: &Path, directory: &Path, arguments: &[&str]) -> Result<Output> {
    let mut command = author(program)?;
    command.args(arguments).current_dir(directory);
    command.output().with_context(|| format!("running {} {}", program.display(), arguments.join(" ")))
}

/// A program as an author runs it, apart from the caches.
pub fn author(program: &Path) -> Result<Command> {
    let mut command = Command::new(program);
    // What the tests' own build was told must not reach that of a plugin.
    for (key, _) in std::env::vars_os() {
        let name = key.to_string_lossy();
        let cargo = name.starts_with("CARGO") && name != "CARGO_HOME";
        if cargo || name.starts_with("RUSTFLAGS") || name.starts_with("FLYLOFT_") || name == "VIRTUAL_ENV" {
            command.env_remove(&key);
        }
    }
    let home = home()?;
    command.env("XDG_CACHE_HOME", home.join("compiled")).env("CARGO_TARGET_DIR", home.join("target"));
    Ok(command)
}

pub fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

pub fn succeeded(output: &Output) -> Result<()> {
    ensure!(output.status.success(), "{}\n{}", output.status, text(output));
    Ok(())
}

/// Deletes what is neither in `source` nor worth keeping.
fn remove_others(directory: &Path, source: &Path) -> Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        if KEPT.iter().any(|kept| name == *kept) {
            continue;
        }
        match (entry.file_type()?.is_dir(), source.join(&name).is_dir()) {
            (true, true) => remove_others(&entry.path(), &source.join(&name))?,
            (true, false) => fs::remove_dir_all(entry.path())?,
            (false, _) if source.join(&name).is_file() => {}
            (false, _) => fs::remove_file(entry.path())?,
        }
    }
    Ok(())
}

/// Copies what has changed, so that the tools see that the rest has not.
fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).with_context(|| format!("reading {}", from.display()))? {
        let entry = entry?;
        let (entry, name) = (entry.path(), entry.file_name());
        // Of a project in the repository, where somebody may have built it.
        if KEPT.iter().any(|kept| name == *kept) || name == "__pycache__" {
            continue;
        }
        let target = to.join(&name);
        if entry.is_dir() {
            copy(&entry, &target)?;
        } else if entry.extension().is_none_or(|extension| extension != "wasm")
            && fs::read(&entry)? != fs::read(&target).unwrap_or_default()
        {
            fs::copy(&entry, &target)?;
        }
    }
    Ok(())
}

#[test]
fn a_rust_project_builds_and_passes_as_it_is() -> Result<()> {
    for interface in ["output-mode", "webhook", "vod-source"] {
        let project = Project::new("rust", interface)?;
        project.works(&[interface], &[])?;
        project.tests_pass("cargo", &["test", "--quiet"])?;
    }
    let project = Project::new("rust", "room-policy")?;
    project.works(&["room-policy"], &[])?;
    project.tests_pass("cargo", &["test", "--quiet"])?;
    let component = project.component.as_str();
    // Without names it builds the project itself and takes its cases.
    let tested = project.flyloft(&[&["plugin", "test"][..], &PATIENT].concat())?;
    succeeded(&tested)?;
    ensure!(text(&tested).contains("3 passed"), "{}", text(&tested));

    // A wrong answer is shown field by field, and written if that is asked for.
    let wrong = r#"{"cases": [{"name": "wrong", "input": {"publish": {}}, "expect": {"deny": {"code": "banned"}}}]}"#;
    let cases = project.directory.join("cases/wrong.json");
    fs::write(&cases, wrong)?;
    let test =
        |more: &[&str]| project.flyloft(&[&["plugin", "test", component, "cases/wrong.json"], &PATIENT[..], more].concat());
    let failed = test(&[])?;
    ensure!(failed.status.code() == Some(1), "{}", text(&failed));
    for part in ["✗ wrong", "deny.code", r#"expected  "banned""#, r#"got       "not-in-the-team""#, "1 failed"] {
        ensure!(text(&failed).contains(part), "{part} is missing in:\n{}", text(&failed));
    }
    succeeded(&test(&["--update"])?)?;
    ensure!(fs::read_to_string(&cases)?.contains("not-in-the-team"), "the answer was not written");
    succeeded(&test(&[])?)?;

    // What is wrong with a question is named.
    fs::write(&cases, r#"{"cases": [{"name": "n", "input": {"publish": {"stream": 7}}, "expect": "allow"}]}"#)?;
    let failed = test(&[])?;
    ensure!(failed.status.code() == Some(1) && text(&failed).contains("publish.stream"), "{}", text(&failed));

    // What is no component is refused with its reason.
    fs::write(project.directory.join("broken.wasm"), b"\0asm\x01\0\0\0")?;
    let refused = project.flyloft(&["plugin", "check", "broken.wasm"])?;
    ensure!(refused.status.code() == Some(1) && text(&refused).contains("core module"), "{}", text(&refused));
    Ok(())
}

#[test]
fn a_javascript_project_builds_and_passes_as_it_is() -> Result<()> {
    for interface in ["room-policy", "output-mode", "webhook", "vod-source"] {
        let project = Project::new("js", interface)?;
        project.tests_pass("node", &["--test"])?;
        project.works(&[interface], &[])?;
    }
    Ok(())
}

#[test]
fn a_python_project_builds_and_passes_as_it_is() -> Result<()> {
    // The guide makes the fourth; a build takes long.
    for interface in ["output-mode", "webhook", "vod-source"] {
        let project = Project::new("python", interface)?;
        project.tests_pass("python3", &["-m", "unittest", "discover", "-s", "tests"])?;
        project.works(&[interface], &[])?;
    }
    Ok(())
}

#[test]
fn the_examples_in_rust_pass_their_cases() -> Result<()> {
    for name in ["allow-list", "schedule", "jitsi-jwt"] {
        example(name, &["room-policy"], "wasi:config/store")?;
    }
    example("http-backend", &["room-policy"], "wasi:http/outgoing-handler")?;
    example("stream-quota", &["room-policy", "webhook"], "wasi:keyvalue/atomics")
}

#[test]
fn the_examples_in_javascript_pass_their_cases() -> Result<()> {
    example("mode-by-hour", &["output-mode"], "wasi:config/store")?;
    example("discord-webhook", &["webhook"], "wasi:config/store")?;
    example("lesson-archive", &["vod-source"], "wasi:config/store")
}

#[test]
fn the_examples_in_python_pass_their_cases() -> Result<()> {
    example("ip-deny-list", &["room-policy"], "wasi:config/store")
}

fn example(name: &str, interfaces: &[&str], import: &str) -> Result<()> {
    Project::example(name)?.works(interfaces, &[import]).with_context(|| name.to_owned())
}

#[test]
fn a_project_is_not_written_over_another() -> Result<()> {
    let home = tempfile::tempdir()?;
    let new = || flyloft(home.path(), &["plugin", "new", "--lang", "js", "my-plugin"]);
    succeeded(&new()?)?;
    let again = new()?;
    ensure!(again.status.code() == Some(1) && text(&again).contains("not empty"), "{}", text(&again));
    Ok(())
}

#[test]
fn a_missing_tool_is_named_with_where_to_get_it() -> Result<()> {
    for (language, remedy) in [("rust", "https://rustup.rs"), ("js", "https://nodejs.org"), ("python", "python3-venv")] {
        let home = tempfile::tempdir()?;
        succeeded(&flyloft(home.path(), &["plugin", "new", "--lang", language, "my-plugin"])?)?;
        let mut build = author(&binary()?)?;
        let built = build.args(["plugin", "build", "my-plugin"]).current_dir(home.path()).env("PATH", home.path()).output()?;
        ensure!(built.status.code() == Some(1) && text(&built).contains(remedy), "{language}: {}", text(&built));
    }
    Ok(())
}
