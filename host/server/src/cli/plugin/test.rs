//! `flyloft plugin test`: asks a component the questions of case files and compares the answers.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use flyloft_plugins::{FaultKind, Grants, Secret, Trial, TrialError};
use serde_json::Value;

use super::cases::{Case, Cases};
use super::diff::{Difference, differences};
use super::show::Paint;
use super::{Test, build, check, sample};

pub fn run(options: &Test) -> Result<ExitCode> {
    let (components, mut files): (Vec<_>, Vec<_>) =
        options.files.iter().cloned().partition(|file| file.extension().is_some_and(|extension| extension == "wasm"));
    let component = match components.as_slice() {
        [] => build::run(&super::Build { directory: PathBuf::from("."), output: None })?,
        [component] => component.clone(),
        _ => bail!("one component is tested at a time, and {} are given", components.len()),
    };
    if files.is_empty() {
        files = case_files(Path::new("cases"))?;
    }
    let files = files.iter().map(|file| Ok((file, Cases::read(file)?))).collect::<Result<Vec<_>>>()?;
    log_of_plugins();
    super::block_on(async {
        let Some(trial) = check::load(&component, options.limits).await? else {
            return Ok(ExitCode::FAILURE);
        };
        let (paint, mut total) = (Paint::stdout(), Count::default());
        for (path, cases) in &files {
            println!("{}", paint.strong(&path.display().to_string()));
            let trial = trial.granting(grants(options, &cases.grants));
            total.add(file(&trial, cases, options.update, paint).await.with_context(|| path.display().to_string())?);
        }
        println!("{}", total.line(paint));
        Ok(if total.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    })?
}

/// The `*.json` files of a directory, by name.
fn case_files(directory: &Path) -> Result<Vec<PathBuf>> {
    let none = || format!("there are no case files in {}; name some, or write one there", directory.display());
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).with_context(none)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            files.push(path);
        }
    }
    if files.is_empty() {
        bail!(none());
    }
    files.sort();
    Ok(files)
}

/// What the command line grants, and what the file does; the file's value of a name wins.
fn grants(options: &Test, file: &Grants) -> Grants {
    let mut grants = file.clone();
    for (name, value) in &options.config {
        grants.config.entry(name.clone()).or_insert_with(|| value.clone());
    }
    for (name, value) in &options.secret {
        grants.secrets.entry(name.clone()).or_insert_with(|| Secret::new(value.clone()));
    }
    grants.hosts.extend(options.allow_host.iter().cloned());
    grants
}

#[derive(Default)]
struct Count {
    passed: usize,
    failed: usize,
    written: usize,
}

impl Count {
    fn add(&mut self, other: Count) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.written += other.written;
    }

    fn line(&self, paint: Paint) -> String {
        let mut parts = vec![paint.good(&format!("{} passed", self.passed))];
        if self.written > 0 {
            parts.push(format!("{} written", self.written));
        }
        if self.failed > 0 {
            parts.push(paint.bad(&format!("{} failed", self.failed)));
        }
        parts.join(", ")
    }
}

/// What became of a case.
enum Outcome {
    Passed,
    /// With the answer that could be expected instead.
    Failed(Vec<String>, Option<Value>),
}

async fn file(trial: &Trial, file: &Cases, update: bool, paint: Paint) -> Result<Count> {
    let interface = match (file.interface, trial.inspection().interfaces.as_slice()) {
        (Some(interface), _) => interface,
        (None, [interface]) => *interface,
        (None, several) => {
            let names: Vec<&str> = several.iter().map(|one| one.name()).collect();
            bail!("the component exports {}: say which is asked, as in \"interface\": \"{}\"", names.join(" and "), names[0]);
        }
    };
    let (mut count, mut answers) = (Count::default(), BTreeMap::new());
    for (index, case) in file.cases.iter().enumerate() {
        let started = Instant::now();
        let result = trial.ask(interface, &case.context, sample::complete(interface.name(), case.input.clone())).await;
        let time = paint.faint(&format!("{:.2} ms", started.elapsed().as_secs_f64() * 1000.0));
        match judge(case, result, paint) {
            Outcome::Passed => {
                count.passed += 1;
                println!("  {} {} {time}", paint.good("✓"), case.name);
            }
            Outcome::Failed(_, Some(answer)) if update => {
                count.written += 1;
                println!("  {} {} {time}", paint.strong("+"), case.name);
                answers.insert(index, answer);
            }
            Outcome::Failed(why, _) => {
                count.failed += 1;
                println!("  {} {} {time}", paint.bad("✗"), case.name);
                why.iter().for_each(|line| println!("      {line}"));
            }
        }
    }
    if !answers.is_empty() {
        file.write(&answers)?;
    }
    Ok(count)
}

fn judge(case: &Case, result: Result<Value, TrialError>, paint: Paint) -> Outcome {
    let answer = match result {
        Ok(answer) => answer,
        Err(TrialError::Fault(kind)) if case.fault.as_deref() == Some(kind.name()) => return Outcome::Passed,
        Err(error) => {
            let label = match &error {
                TrialError::Fault(kind) => format!("the plugin failed ({}): ", kind.name()),
                _ => String::new(),
            };
            return Outcome::Failed(vec![paint.bad(&format!("{label}{error}"))], None);
        }
    };
    if let Some(fault) = &case.fault {
        let kinds = FaultKind::NAMES;
        let hint = if kinds.contains(&fault.as_str()) { String::new() } else { format!(" (there are {})", kinds.join(", ")) };
        let lines = vec![format!("- expected  the failure {fault}{hint}"), format!("+ got       {answer}")];
        return Outcome::Failed(lines, None);
    }
    let Some(expected) = &case.expect else {
        let lines = vec![format!("nothing is expected yet; the answer is {answer}"), "write it with --update".to_owned()];
        return Outcome::Failed(lines, Some(answer));
    };
    let found = differences(expected, &answer, case.exact);
    if found.is_empty() { Outcome::Passed } else { Outcome::Failed(lines(&found, paint), Some(answer)) }
}

fn lines(found: &[Difference], paint: Paint) -> Vec<String> {
    let nothing = || "nothing".to_owned();
    found
        .iter()
        .flat_map(|one| {
            let path = if one.path.is_empty() { "the answer" } else { &one.path };
            [
                paint.strong(path),
                paint.bad(&format!("- expected  {}", one.expected.clone().unwrap_or_else(nothing))),
                paint.good(&format!("+ got       {}", one.got.clone().unwrap_or_else(nothing))),
            ]
        })
        .collect()
}

/// Shows the plugin's log lines between the cases.
fn log_of_plugins() {
    let log = tracing_subscriber::fmt().with_env_filter("off,plugin=trace").without_time().with_ansi(false);
    // Only a second start fails, and then there is a log already.
    let _ = log.with_writer(std::io::stderr).try_init();
}
