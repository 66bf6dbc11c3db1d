//! What survives a restart, and what a damaged disk does.

use crate::requests::*;
use flyloft_plugins::{Config, OpenError, Plugins};
use flyloft_test_guests::{ALWAYS_CMAF, BOTH};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

fn open(dir: &Path) -> Result<Plugins, OpenError> {
    Plugins::open(Config { data_dir: Some(dir.to_owned()), ..config() })
}

/// The compiled modules and when they were written.
fn compiled(dir: &Path) -> BTreeMap<PathBuf, SystemTime> {
    let entries = std::fs::read_dir(dir.join("compiled")).unwrap();
    entries
        .map(|entry| {
            let entry = entry.unwrap();
            (entry.path(), entry.metadata().unwrap().modified().unwrap())
        })
        .collect()
}

#[tokio::test]
async fn uploads_come_back_after_a_restart_without_compiling() {
    let dir = tempfile::tempdir().unwrap();
    let plugins = open(dir.path()).unwrap();
    let replaced = plugins.put("output-mode", ALWAYS_CMAF.into()).await.unwrap();
    let added = plugins.put("front", BOTH.into()).await.unwrap();
    drop(plugins);
    let before = compiled(dir.path());
    assert_eq!(before.len(), 8);
    let plugins = open(dir.path()).unwrap();
    assert_eq!(compiled(dir.path()), before);
    assert_eq!(plugins.get("output-mode"), Some(replaced));
    assert_eq!(plugins.get("front"), Some(added));
    assert_eq!(verdict(&plugins, publish("s")).await, Err("both".into()));
}

#[tokio::test]
async fn what_is_removed_stays_away_and_leaves_no_files() {
    let dir = tempfile::tempdir().unwrap();
    let plugins = open(dir.path()).unwrap();
    let before = compiled(dir.path());
    plugins.put("front", BOTH.into()).await.unwrap();
    plugins.remove("front").await.unwrap();
    drop(plugins);
    assert_eq!(compiled(dir.path()), before);
    assert_eq!(std::fs::read_dir(dir.path().join("components")).unwrap().count(), 0);
    assert_eq!(open(dir.path()).unwrap().get("front"), None);
}

#[tokio::test]
async fn damaged_compiled_modules_are_compiled_again() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()).unwrap());
    let files: Vec<PathBuf> = compiled(dir.path()).into_keys().collect();
    assert_eq!(files.len(), 6);
    let whole = std::fs::read(&files[0]).unwrap();
    let mut flipped = whole.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 0x40;
    for damaged in [flipped, whole[..whole.len() - 100].to_vec(), b"\x7fELF".to_vec(), Vec::new()] {
        std::fs::write(&files[0], &damaged).unwrap();
        let plugins = open(dir.path()).unwrap();
        assert!(verdict(&plugins, publish("s")).await.is_ok());
        assert!(plugins.resolve_output_mode(&context(), &output_request(None, None)).await.is_ok());
        assert_eq!(std::fs::read(&files[0]).unwrap().len(), whole.len());
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a_compiled_module_that_others_can_write_is_not_run() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()).unwrap());
    let file = compiled(dir.path()).into_keys().next().unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o666)).unwrap();
    assert!(verdict(&open(dir.path()).unwrap(), publish("s")).await.is_ok());
    // It was compiled again and written anew.
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn a_damaged_upload_stops_the_start_and_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let plugins = open(dir.path()).unwrap();
    plugins.put("front", BOTH.into()).await.unwrap();
    drop(plugins);
    let component = std::fs::read_dir(dir.path().join("components")).unwrap().next().unwrap().unwrap().path();
    std::fs::write(&component, b"damaged").unwrap();
    let error = open(dir.path()).err().unwrap();
    assert!(matches!(error, OpenError::Stored { .. }), "{error}");
    for part in ["front", "plugins.json", component.to_str().unwrap()] {
        assert!(error.to_string().contains(part), "{part} in {error}");
    }
    std::fs::write(dir.path().join("plugins.json"), b"{").unwrap();
    let error = open(dir.path()).err().unwrap();
    assert!(matches!(error, OpenError::Index { .. }), "{error}");
}

#[test]
fn a_directory_that_is_a_file_is_an_error_that_names_it() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, b"").unwrap();
    let error = open(&file).err().unwrap();
    assert!(matches!(error, OpenError::Directory { .. }), "{error}");
    assert!(error.to_string().contains(file.to_str().unwrap()), "{error}");
}
