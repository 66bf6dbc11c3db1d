//! An OCI registry as its maintainers ship it (Distribution, Debian's `docker-registry`), and pushing to it by its own protocol.

use crate::http::{Auth, Http, Response};
use crate::wait_for;
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// The type of a component in a registry.
pub const WASM: &str = "application/wasm";
/// The configuration of the CNCF's Wasm OCI artifact layout.
pub const WASM_CONFIG: &str = "application/vnd.wasm.config.v0+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// The name and the password that a closed registry knows.
pub const USER: (&str, &str) = ("ci", "open sesame");
/// [`USER`] as `htpasswd -B` writes it.
const HTPASSWD: &str = "ci:$2b$05$kAk.OJyh5o8h9bnwVMDTYe2rL..zAQFdW5F.17YUrRHznrlc2tKp.\n";

/// A running registry on a free port; it ends when it is dropped.
pub struct Registry {
    directory: tempfile::TempDir,
    child: Child,
    /// `127.0.0.1:PORT`
    pub host: String,
    http: Http,
}

/// What a manifest says of a blob.
#[derive(Clone, Debug)]
pub struct Blob {
    pub kind: String,
    pub digest: String,
    pub size: usize,
}

impl Registry {
    /// A registry for everybody.
    pub fn open() -> Result<Registry> {
        Registry::start(None)
    }

    /// A registry for [`USER`] alone.
    pub fn closed() -> Result<Registry> {
        Registry::start(Some(HTPASSWD))
    }

    fn start(htpasswd: Option<&str>) -> Result<Registry> {
        let directory = tempfile::tempdir()?;
        let mut settings = json!({
            "version": 0.1,
            "log": {"level": "info", "formatter": "json"},
            "storage": {"filesystem": {"rootdirectory": directory.path().join("storage")}},
            "http": {"addr": "127.0.0.1:0", "secret": "for tests only"},
        });
        if let Some(htpasswd) = htpasswd {
            let path = directory.path().join("htpasswd");
            std::fs::write(&path, htpasswd)?;
            settings["auth"] = json!({"htpasswd": {"realm": "test", "path": path}});
        }
        // JSON is YAML.
        let config = directory.path().join("config.yml");
        std::fs::write(&config, settings.to_string())?;
        let log = directory.path().join("log");
        let file = File::create(&log)?;
        let child = Command::new("docker-registry")
            .arg("serve")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .context("starting docker-registry: apt-get install docker-registry")?;
        let mut registry = Registry { directory, child, host: String::new(), http: Http::new("http://127.0.0.1", Auth::None) };
        let listens = wait_for("the registry listens", Duration::from_secs(20), || {
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            let (_, rest) = text.split_once("listening on ")?;
            rest.split(|c: char| c != '.' && c != ':' && !c.is_ascii_digit()).next().map(str::to_owned)
        });
        registry.host = listens.with_context(|| std::fs::read_to_string(&log).unwrap_or_default())?;
        let auth = match htpasswd {
            Some(_) => Auth::Basic(USER.0.to_owned(), USER.1.to_owned()),
            None => Auth::None,
        };
        registry.http = Http::new(&format!("http://{}", registry.host), auth);
        Ok(registry)
    }

    /// `oci://HOST/NAME`, with a tag or a digest behind it.
    pub fn reference(&self, name: &str) -> String {
        format!("oci://{}/{name}", self.host)
    }

    /// Pushes bytes.
    pub fn blob(&self, repository: &str, kind: &str, bytes: &[u8]) -> Result<Blob> {
        let digest = sha256(bytes);
        let begun = self.http.request("POST", &format!("/v2/{repository}/blobs/uploads/"), &[], Some(b""))?;
        ensure!(begun.status == 202, "{begun:?}");
        let place = begun.need("location")?;
        let joint = if place.contains('?') { '&' } else { '?' };
        let headers = [("content-type", "application/octet-stream")];
        let pushed = self.http.request("PUT", &format!("{place}{joint}digest={digest}"), &headers, Some(bytes))?;
        ensure!(pushed.status == 201, "{pushed:?}");
        Ok(Blob { kind: kind.to_owned(), digest, size: bytes.len() })
    }

    /// Pushes a manifest and answers its digest.
    pub fn manifest(&self, repository: &str, tag: &str, config: &Blob, layers: &[Blob]) -> Result<String> {
        let descriptor = |blob: &Blob| json!({"mediaType": blob.kind, "digest": blob.digest, "size": blob.size});
        let layers: Vec<Value> = layers.iter().map(descriptor).collect();
        let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": descriptor(config), "layers": layers});
        let bytes = manifest.to_string();
        let pushed = self.put_manifest(repository, tag, bytes.as_bytes())?;
        ensure!(pushed.status == 201, "{pushed:?}");
        Ok(sha256(bytes.as_bytes()))
    }

    fn put_manifest(&self, repository: &str, tag: &str, bytes: &[u8]) -> Result<Response> {
        self.http.request("PUT", &format!("/v2/{repository}/manifests/{tag}"), &[("content-type", MANIFEST)], Some(bytes))
    }

    /// Pushes a component as the CNCF's layout says, and answers the digest of its manifest.
    pub fn component(&self, repository: &str, tag: &str, component: &[u8]) -> Result<String> {
        let layer = self.blob(repository, WASM, component)?;
        let config =
            json!({"created": "2026-11-21T00:00:00Z", "architecture": "wasm", "os": "wasip2", "layerDigests": [layer.digest]});
        let config = self.blob(repository, WASM_CONFIG, config.to_string().as_bytes())?;
        self.manifest(repository, tag, &config, &[layer])
    }

    /// The file in which the registry keeps a blob.
    pub fn file(&self, digest: &str) -> Result<PathBuf> {
        let digits = digest.strip_prefix("sha256:").context("no digest of SHA-256")?;
        let start = digits.get(..2).context("the digest is too short")?;
        let path = self.directory.path().join("storage/docker/registry/v2/blobs/sha256").join(start).join(digits).join("data");
        ensure!(path.is_file(), "{} is not there", path.display());
        Ok(path)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `sha256:` and 64 hexadecimal digits.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold("sha256:".to_owned(), |text, byte| text + &format!("{byte:02x}"))
}
