//! `flyloft plugin check`: what a component is, and whether a server would accept it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Instant, SystemTime};

use anyhow::Result;
use flyloft_plugins::{Grants, Interface, Trial};

use super::show::{self, Paint};
use super::{Check, Limits};

/// Compiled components that are kept.
const CACHED: usize = 24;

pub fn run(options: &Check) -> Result<ExitCode> {
    let component = super::read_component(&options.file)?;
    let size = component.len() as u64;
    let started = Instant::now();
    let loaded = super::block_on(Trial::load(component, &options.limits.runtime(), Grants::default()))?;
    let paint = Paint::stdout();
    let trial = match loaded {
        Ok(trial) => trial,
        Err(rejected) => {
            if options.json {
                println!("{}", serde_json::json!({"accepted": false, "size": size, "reason": rejected.to_string()}));
            } else {
                println!("{}  {}", paint.strong(&options.file.display().to_string()), show::size(size));
                println!("  {}  {rejected}", paint.bad("not accepted"));
            }
            return Ok(ExitCode::FAILURE);
        }
    };
    prune_cache();
    let inspection = trial.inspection();
    if options.json {
        let mut shown = serde_json::to_value(inspection)?;
        shown["accepted"] = true.into();
        println!("{}", serde_json::to_string_pretty(&shown)?);
        return Ok(ExitCode::SUCCESS);
    }
    println!("{}  {}", paint.strong(&options.file.display().to_string()), show::size(inspection.size));
    println!("  digest    {}", inspection.digest);
    let answers: Vec<&str> = inspection.interfaces.iter().copied().map(Interface::export).collect();
    println!("  answers   {}", answers.join("\n            "));
    let imports = if inspection.imports.is_empty() { "nothing".to_owned() } else { inspection.imports.join("\n            ") };
    println!("  imports   {imports}");
    println!("  loaded    in {:.2} s", started.elapsed().as_secs_f64());
    println!("  {}  a server with this contract takes it", paint.good("accepted"));
    Ok(ExitCode::SUCCESS)
}

/// Loads a component to be asked; says why not if it is not accepted.
pub async fn load(path: &Path, limits: Limits) -> Result<Option<Trial>> {
    match Trial::load(super::read_component(path)?, &limits.runtime(), Grants::default()).await {
        Ok(trial) => {
            prune_cache();
            Ok(Some(trial))
        }
        Err(rejected) => {
            eprintln!("{} is not accepted: {rejected}", path.display());
            Ok(None)
        }
    }
}

/// Deletes the compiled components that were made longest ago. What can't be deleted stays.
fn prune_cache() {
    let Some(directory) = super::cache() else { return };
    let entries = std::fs::read_dir(directory.join("compiled")).into_iter().flatten().flatten();
    let mut files: Vec<(SystemTime, PathBuf)> =
        entries.filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path()))).collect();
    files.sort();
    let surplus = files.len().saturating_sub(CACHED);
    for (_, path) in files.iter().take(surplus) {
        let _ = std::fs::remove_file(path);
    }
}
