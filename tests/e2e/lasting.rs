//! What was built for a published contract keeps working, and a published contract stays as it is.

use crate::authoring::{PATIENT, flyloft, succeeded, text};
use anyhow::{Context, Result, ensure};
use flyloft_tests::clip::Clip;
use flyloft_tests::guests::component;
use flyloft_tests::push::Push;
use flyloft_tests::registry::sha256;
use flyloft_tests::server::Server;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The digest of each published version: of its files in the order of their names, each after a line with its name and size.
const PUBLISHED: [(&str, &str); 1] = [("0.1.0", "sha256:c7e6643bffe930d89a9db491170b3a9777b891fdf2fe65483dbb48e949152183")];

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The files below a directory by their names.
fn files(root: &Path, directory: &Path, found: &mut BTreeMap<String, Vec<u8>>) -> Result<()> {
    for entry in fs::read_dir(directory).with_context(|| format!("reading {}", directory.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            files(root, &path, found)?;
        } else {
            let name = path.strip_prefix(root)?.to_str().context("a name is not UTF-8")?.to_owned();
            found.insert(name, fs::read(&path)?);
        }
    }
    Ok(())
}

fn digest(directory: &Path) -> Result<String> {
    let mut found = BTreeMap::new();
    files(directory, directory, &mut found)?;
    let mut all = Vec::new();
    for (name, bytes) in &found {
        all.extend_from_slice(format!("{name} {}\n", bytes.len()).as_bytes());
        all.extend_from_slice(bytes);
    }
    Ok(sha256(&all))
}

#[test]
fn a_published_contract_is_never_edited() -> Result<()> {
    let wit = repository().join("wit");
    for entry in fs::read_dir(&wit)? {
        let entry = entry?;
        let version = entry.file_name().into_string().map_err(|name| anyhow::anyhow!("{name:?} is not UTF-8"))?;
        if !entry.path().is_dir() {
            continue;
        }
        let found = digest(&entry.path())?;
        let published = PUBLISHED.iter().find(|(published, _)| *published == version);
        let (_, published) =
            published.with_context(|| format!("wit/{version} is not among the published versions; its digest is {found}"))?;
        ensure!(
            found == *published,
            "wit/{version} is published and has changed to {found}: undo that, and put what is new into a directory of its own"
        );
    }
    // The component that is kept was made from the same files.
    let kept = repository().join("tests/guests/first-contract/wit");
    ensure!(digest(&kept)? == PUBLISHED[0].1, "{} is not the first contract any more", kept.display());
    Ok(())
}

#[test]
fn a_component_of_the_first_contract_answers_for_all_interfaces() -> Result<()> {
    let home = tempfile::tempdir()?;
    fs::write(home.path().join("first.wasm"), component("first_contract")?)?;
    let checked = flyloft(home.path(), &["plugin", "check", "--json", "first.wasm"])?;
    succeeded(&checked)?;
    let checked: Value = serde_json::from_slice(&checked.stdout)?;
    ensure!(checked["interfaces"] == json!(["room-policy", "output-mode", "webhook", "vod-source"]), "{checked}");
    let imports = checked["imports"].to_string();
    for import in
        ["config/store", "keyvalue/store", "keyvalue/atomics", "keyvalue/batch", "logging/logging", "http/outgoing-handler"]
    {
        ensure!(imports.contains(&format!("wasi:{import}@")), "{import} is not imported: {imports}");
    }
    let cases = repository().join("tests/guests/first-contract/cases");
    let mut arguments = vec!["plugin".to_owned(), "test".to_owned(), "first.wasm".to_owned()];
    for interface in ["room-policy", "output-mode", "webhook", "vod-source"] {
        arguments.push(cases.join(format!("{interface}.json")).to_str().context("UTF-8")?.to_owned());
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).chain(PATIENT).collect();
    let tested = flyloft(home.path(), &arguments)?;
    succeeded(&tested)?;
    ensure!(text(&tested).contains("32 passed") && !text(&tested).contains("failed"), "{}", text(&tested));
    Ok(())
}

#[test]
fn a_component_of_the_first_contract_decides_on_a_server() -> Result<()> {
    let mut server = Server::with(&[("plugins.deadline_ms", "10000")])?;
    server.put_plugin("first-contract", &component("first_contract")?)?.success()?;
    let member = server.member("ada")?;
    let room = server.room("ada", "A room")?;
    let token = |server: &Server, room: &str| -> Result<Value> {
        let path = format!("/v1/video-rooms/{room}/tokens");
        Ok(server.api()?.post(&path, &json!({"role": "audience"}))?.problem(403)?["code"].clone())
    };
    ensure!(token(&server, &room)? == "first-contract", "the policy");
    server.kill()?;
    server.restart()?;
    ensure!(token(&server, &room)? == "first-contract", "the policy after a restart");
    let _push = Push::looped(&Clip::h264()?, &format!("{}?mode=cmaf-only", server.push_url(&member)))?;
    let urls = server.go_live(&member, &room)?;
    ensure!(urls.rtmp.is_none() && urls.hls.is_some(), "the output mode: {urls:?}");
    Ok(())
}
