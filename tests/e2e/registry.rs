//! Components that the server pulls from an OCI registry.

use anyhow::{Context, Result, ensure};
use flyloft_tests::guests::component;
use flyloft_tests::registry::{Blob, Registry, USER, WASM, WASM_CONFIG, sha256};
use flyloft_tests::server::{Server, binary};
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, Output};

/// A server that knows `registries`, each given by its host and its settings as TOML.
fn server(directory: &Path, registries: &[(&str, &str)]) -> Result<Server> {
    let config = directory.join("flyloft.toml");
    let tables = registries.iter().map(|(host, settings)| format!("[plugins.registries.\"{host}\"]\n{settings}\n"));
    std::fs::write(&config, tables.collect::<String>())?;
    Server::with(&[("config", config.to_str().context("the path is not UTF-8")?)])
}

fn pull(server: &Server, reference: &str) -> Result<flyloft_tests::http::Response> {
    server.operator()?.post("/v1/plugins/pulled/versions", &json!({ "reference": reference }))
}

/// The reference is refused with this code and a text that has these words; nothing was kept.
fn refused(server: &Server, reference: &str, status: u16, code: &str, words: &[&str]) -> Result<()> {
    let problem = pull(server, reference)?.problem(status).with_context(|| reference.to_owned())?;
    let detail = problem["detail"].as_str().unwrap_or_default();
    ensure!(problem["code"] == code && words.iter().all(|word| detail.contains(word)), "{reference}: {problem}");
    let kept = server.operator()?.get("/v1/plugins/pulled")?.status;
    ensure!(kept == 404, "{reference}: something was kept");
    Ok(())
}

fn flyloft(server: &Server, arguments: &[&str]) -> Result<Output> {
    Command::new(binary()?).args(arguments).arg("--data").arg(server.data()).output().context("running flyloft")
}

#[test]
fn a_component_is_pulled_by_its_tag_and_its_digest_and_keeps_its_reference() -> Result<()> {
    let (home, registry) = (tempfile::tempdir()?, Registry::open()?);
    let mut server = server(home.path(), &[(&registry.host, "plain_http = true")])?;
    let (first, second) = (component("first")?, component("second")?);
    let tagged = registry.component("team/policies", "1.0", &first)?;
    let other = registry.component("team/policies", "2.0", &second)?;

    let version = pull(&server, &registry.reference("team/policies:1.0"))?.success()?;
    let reference = registry.reference(&format!("team/policies:1.0@{tagged}"));
    ensure!(version["digest"] == sha256(&first) && version["reference"] == reference, "{version}");
    let version = pull(&server, &registry.reference(&format!("team/policies@{other}")))?.success()?;
    ensure!(version["digest"] == sha256(&second), "{version}");

    // The command deploys and binds it, under the repository's name.
    let deployed = flyloft(&server, &["plugin", "deploy", &registry.reference("team/policies:2.0"), "--json"])?;
    ensure!(deployed.status.success(), "{}", String::from_utf8_lossy(&deployed.stderr));
    let bound: Value = serde_json::from_slice(&deployed.stdout)?;
    ensure!(bound["plugin"] == "policies" && bound["active"] == sha256(&second), "{bound}");
    let member = server.member("alice")?;
    let token = |server: &Server| server.api()?.post(&format!("/v1/members/{}/tokens", member.id), &json!({}));
    let code = token(&server)?.problem(403)?["code"].clone();
    ensure!(code == "second", "the pulled policy is not asked: {code}");

    server.kill()?;
    server.restart()?;
    ensure!(token(&server)?.problem(403)?["code"] == "second", "after a restart");
    let versions = server.operator()?.get("/v1/plugins/pulled/versions")?.success()?;
    ensure!(versions["items"][1]["reference"] == reference, "{versions}");
    let listed = flyloft(&server, &["plugin", "list"])?;
    ensure!(String::from_utf8_lossy(&listed.stdout).contains(&reference), "{}", String::from_utf8_lossy(&listed.stdout));

    // What was uploaded as a file has no reference.
    let uploaded = server.operator()?.request("POST", "/v1/plugins/mine/versions", &[("content-type", WASM)], Some(&first))?;
    ensure!(uploaded.success()?["reference"].is_null(), "{uploaded:?}");
    Ok(())
}

#[test]
fn what_is_no_sound_component_is_refused_with_the_reason() -> Result<()> {
    let (home, registry) = (tempfile::tempdir()?, Registry::open()?);
    let server = server(home.path(), &[(&registry.host, "plain_http = true")])?;
    let policy = component("first")?;
    let reference = |name: &str| registry.reference(name);
    registry.component("policy", "1", &policy)?;

    refused(&server, &reference("policy:2"), 422, "artifact-not-found", &["policy:2", "tag"])?;
    refused(&server, &reference("nothing:1"), 422, "artifact-not-found", &["nothing:1"])?;
    let absent = format!("policy@{}", sha256(b"absent"));
    refused(&server, &reference(&absent), 422, "artifact-not-found", &["policy@sha256:"])?;
    refused(&server, "oci://policy", 422, "invalid", &["reference", "oci://HOST/REPOSITORY:TAG"])?;
    refused(&server, &reference("policy"), 422, "invalid", &["tag or the digest is missing"])?;

    // An image, and a text file.
    let config = registry.blob("odd", "application/vnd.oci.image.config.v1+json", b"{}")?;
    let tar = registry.blob("odd", "application/vnd.oci.image.layer.v1.tar+gzip", b"tar")?;
    registry.manifest("odd", "image", &config, &[tar])?;
    refused(&server, &reference("odd:image"), 422, "artifact-type", &["tar+gzip", "application/wasm"])?;
    let text = registry.blob("odd", "text/plain", b"hello")?;
    registry.manifest("odd", "text", &config, std::slice::from_ref(&text))?;
    refused(&server, &reference("odd:text"), 422, "artifact-type", &["text/plain"])?;
    // The right type, and no component.
    let wasm = registry.blob("odd", WASM, b"hello, this is no component")?;
    let wasm_config = registry.blob("odd", WASM_CONFIG, b"{}")?;
    registry.manifest("odd", "lie", &wasm_config, &[wasm])?;
    refused(&server, &reference("odd:lie"), 422, "plugin-rejected", &["68, 65, 6c, 6c"])?;

    // More than a component may have, as it says or as it turns out.
    let large = Blob { size: (64 << 20) + 1, ..registry.blob("large", WASM, &policy)? };
    let config = registry.blob("large", WASM_CONFIG, b"{}")?;
    registry.manifest("large", "said", &config, std::slice::from_ref(&large))?;
    refused(&server, &reference("large:said"), 422, "artifact-too-large", &["67108865", "67108864"])?;
    registry.manifest("large", "unsaid", &config, &[Blob { size: 1000, ..large }])?;
    refused(&server, &reference("large:unsaid"), 502, "registry-unavailable", &["more than the 1000 bytes"])?;

    // Bytes that changed in the registry's storage.
    let file = registry.file(&sha256(&policy))?;
    let mut damaged = policy.clone();
    *damaged.last_mut().context("the policy is empty")? ^= 1;
    std::fs::write(file, damaged)?;
    refused(&server, &reference("policy:1"), 422, "artifact-damaged", &["the component", &sha256(&policy)])?;

    // The same component, whole again, is taken.
    std::fs::write(registry.file(&sha256(&policy))?, &policy)?;
    pull(&server, &reference("policy:1"))?.success()?;
    Ok(())
}

#[test]
fn a_closed_registry_wants_the_credentials_of_the_configuration() -> Result<()> {
    let (home, registry) = (tempfile::tempdir()?, Registry::closed()?);
    registry.component("policy", "1", &component("first")?)?;
    let reference = registry.reference("policy:1");
    let password = home.path().join("password");
    let credentials = format!("plain_http = true\nusername = \"{}\"\npassword_file = \"{}\"", USER.0, password.display());
    {
        let server = server(home.path(), &[(&registry.host, "plain_http = true")])?;
        refused(&server, &reference, 422, "registry-closed", &["password_file", &registry.host])?;
    }
    let server = server(home.path(), &[(&registry.host, &credentials)])?;
    refused(&server, &reference, 500, "registry-password", &["password"])?;
    std::fs::write(&password, "wrong")?;
    refused(&server, &reference, 422, "registry-closed", &["username and the password"])?;
    // The file is read at each pull.
    std::fs::write(&password, format!("{}\n", USER.1))?;
    let version = pull(&server, &reference)?.success()?;
    ensure!(!version.to_string().contains(USER.1) && !server.log().contains(USER.1), "the password is shown");
    Ok(())
}

#[test]
fn a_private_registry_is_reached_only_if_the_configuration_names_it() -> Result<()> {
    let (home, registry) = (tempfile::tempdir()?, Registry::open()?);
    registry.component("policy", "1", &component("first")?)?;
    let reference = registry.reference("policy:1");
    {
        let server = server(home.path(), &[])?;
        refused(&server, &reference, 422, "registry-closed", &["allow_networks", &registry.host])?;
        let port = registry.host.rsplit(':').next().context("no port")?;
        let named = format!("oci://localhost:{port}/policy:1");
        refused(&server, &named, 422, "registry-closed", &["allow_networks"])?;
    }
    // Without plain_http only a secure connection will do.
    let server = server(home.path(), &[(&registry.host, "")])?;
    refused(&server, &reference, 502, "registry-unavailable", &["secure connection"])
}
