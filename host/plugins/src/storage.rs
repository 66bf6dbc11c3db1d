//! The plugin directory: uploaded components by digest, the index that says which name has which, and the cache of
//! compiled modules. Everything is written beside and renamed, so that a crash leaves the old or the new.

use crate::binding::{BUILT_IN, StoredBinding};
use crate::error::OpenError;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use wasmtime::Engine;
use wasmtime::component::Component;

/// Begins each file of the compiled-module cache; the digest of the rest follows.
const CACHE_MAGIC: &[u8; 16] = b"flyloft-cwasm-1\n";
/// The index is small; a larger one is not ours.
const MAX_INDEX: u64 = 64 << 20;

/// The plugin directory.
#[derive(Debug)]
pub(crate) struct Storage {
    dir: PathBuf,
    /// Tells the engines apart whose modules are in the cache.
    compatibility: String,
    /// Whether nobody else can put machine code into the cache.
    private: bool,
}

/// Which uploaded plugins there are, by name, and all bindings.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Index {
    /// Versions in the order of their upload.
    pub(crate) plugins: BTreeMap<String, Vec<Entry>>,
    #[serde(default)]
    pub(crate) bindings: Vec<StoredBinding>,
    /// How many bindings were ever made, for ids that don't come again.
    #[serde(default)]
    pub(crate) bindings_made: u64,
}

/// The index as it was before there were bindings: one version of each plugin, asked by all Apps.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FirstIndex {
    plugins: BTreeMap<String, Entry>,
}

impl From<FirstIndex> for Index {
    fn from(first: FirstIndex) -> Index {
        let mut index = Index::default();
        for (name, entry) in first.plugins {
            index.bind_plainly(&name, &entry.digest, entry.uploaded_at);
            index.plugins.insert(name, vec![entry]);
        }
        index
    }
}

impl Index {
    /// Has a plugin asked for all Apps: in its own binding if it replaces a built-in one, else in a new one.
    pub(crate) fn bind_plainly(&mut self, plugin: &str, version: &str, now: u64) {
        let id = match crate::Interface::built_in(plugin) {
            Some(_) => plugin.to_owned(),
            None => self.new_binding_id(plugin),
        };
        self.bindings.push(StoredBinding::plain(&id, plugin, version, true, now));
    }

    /// An id that no binding has had.
    pub(crate) fn new_binding_id(&mut self, plugin: &str) -> String {
        self.bindings_made += 1;
        format!("{plugin}-{}", self.bindings_made)
    }

    /// The bindings of the built-in plugins are always there.
    pub(crate) fn complete(&mut self, now: u64) {
        for (name, _) in crate::Interface::BUILT_IN {
            if !self.bindings.iter().any(|binding| binding.id == name) {
                self.bindings.push(StoredBinding::plain(name, name, BUILT_IN, true, now));
            }
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Entry {
    /// `sha256:` and 64 hexadecimal digits.
    pub(crate) digest: String,
    /// Milliseconds since the Unix epoch.
    pub(crate) uploaded_at: u64,
}

/// An error with the file that it is about.
pub(crate) struct StorageError {
    pub(crate) path: PathBuf,
    pub(crate) reason: String,
}

impl Storage {
    /// Opens the directory, making it if it is missing.
    pub(crate) fn open(dir: &Path, compatibility: String) -> Result<Storage, OpenError> {
        let failed = |path: &Path, error: io::Error| OpenError::Directory { path: path.to_owned(), reason: error.to_string() };
        let mut storage = Storage { dir: dir.to_owned(), compatibility, private: true };
        for dir in [storage.dir.clone(), storage.components(), storage.compiled()] {
            private_dir(&dir).map_err(|error| failed(&dir, error))?;
        }
        storage.private = is_private(&storage.dir) && is_private(&storage.compiled());
        if !storage.private {
            tracing::warn!(
                directory = %storage.dir.display(),
                "the plugin directory belongs to or can be written by others, so compiled plugins are not cached in it; \
                 make it yours with chown and chmod 700"
            );
        }
        Ok(storage)
    }

    fn components(&self) -> PathBuf {
        self.dir.join("components")
    }

    fn compiled(&self) -> PathBuf {
        self.dir.join("compiled")
    }

    pub(crate) fn index_path(&self) -> PathBuf {
        self.dir.join("plugins.json")
    }

    fn component_path(&self, digest: &str) -> PathBuf {
        self.components().join(format!("{}.wasm", plain(digest)))
    }

    fn compiled_path(&self, digest: &str) -> PathBuf {
        self.compiled().join(format!("{}-{}.cwasm", plain(digest), self.compatibility))
    }

    /// The index; an empty one when nothing was ever uploaded.
    pub(crate) fn index(&self) -> Result<Index, OpenError> {
        let path = self.index_path();
        let failed = |reason: String| OpenError::Index { path: path.clone(), reason };
        let bytes = match read_limited(&path, MAX_INDEX) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Index::default()),
            Err(error) => return Err(failed(error.to_string())),
        };
        let index = match serde_json::from_slice::<FirstIndex>(&bytes) {
            Ok(first) => first.into(),
            Err(_) => serde_json::from_slice::<Index>(&bytes).map_err(|error| failed(error.to_string()))?,
        };
        let is_digest = |entry: &Entry| {
            let digits = entry.digest.strip_prefix("sha256:").unwrap_or_default();
            digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
        };
        for (name, versions) in &index.plugins {
            if crate::plugin::check_name(name).is_err() || versions.is_empty() || !versions.iter().all(is_digest) {
                return Err(failed(format!("the entry {name:?} has a wrong name or digest")));
            }
        }
        Ok(index)
    }

    pub(crate) fn write_index(&self, index: &Index) -> Result<(), StorageError> {
        let path = self.index_path();
        let write = || -> io::Result<()> { write_atomic(&path, &[&serde_json::to_vec_pretty(index)?]) };
        write().map_err(|error| StorageError { path: path.clone(), reason: error.to_string() })
    }

    pub(crate) fn write_component(&self, digest: &str, bytes: &[u8]) -> Result<(), StorageError> {
        let path = self.component_path(digest);
        write_atomic(&path, &[bytes]).map_err(|error| StorageError { path, reason: error.to_string() })
    }

    /// An uploaded component; its digest has been checked.
    pub(crate) fn read_component(&self, digest: &str, limit: usize) -> Result<Vec<u8>, StorageError> {
        let path = self.component_path(digest);
        let failed = |reason: String| StorageError { path: path.clone(), reason };
        let bytes = read_limited(&path, limit as u64).map_err(|error| failed(error.to_string()))?;
        if crate::plugin::digest(&bytes) != digest {
            return Err(failed("the file is damaged: its digest is not the one in its name".to_owned()));
        }
        Ok(bytes)
    }

    /// Deletes components that no plugin uses, and modules of them or of other engines. What can't be deleted stays.
    pub(crate) fn prune(&self, used: &[String]) {
        let keep: Vec<&str> = used.iter().map(|digest| plain(digest)).collect();
        let suffix = format!("-{}.cwasm", self.compatibility);
        delete_others(&self.components(), |name| name.strip_suffix(".wasm").is_some_and(|stem| keep.contains(&stem)));
        delete_others(&self.compiled(), |name| name.strip_suffix(&suffix).is_some_and(|stem| keep.contains(&stem)));
    }

    /// A compiled module of this engine. None when there is none, when it is damaged, or when it is not surely ours.
    pub(crate) fn compiled_component(&self, engine: &Engine, digest: &str) -> Option<Component> {
        if !self.private {
            return None;
        }
        let path = self.compiled_path(digest);
        let bytes = read_own(&path).ok()?;
        let module = bytes.strip_prefix(CACHE_MAGIC).and_then(|rest| {
            let (sum, module) = rest.split_at_checked(32)?;
            (Sha256::digest(module)[..] == *sum).then_some(module)
        });
        let Some(module) = module else {
            tracing::warn!(file = %path.display(), "a compiled plugin is damaged and is compiled again");
            return None;
        };
        // SAFETY: the file lies in a directory that only this user can write, is this user's own, and is whole, so it
        // is what `Component::serialize` gave for this engine's settings. The engine checks its own version besides.
        match unsafe { Component::deserialize(engine, module) } {
            Ok(component) => Some(component),
            Err(error) => {
                tracing::warn!(file = %path.display(), %error, "a compiled plugin does not fit and is compiled again");
                None
            }
        }
    }

    /// Keeps a compiled module. A cache that can't be written costs time at the next start and nothing else.
    pub(crate) fn write_compiled(&self, digest: &str, component: &Component) {
        if !self.private {
            return;
        }
        let path = self.compiled_path(digest);
        let written = component.serialize().map_err(|error| error.to_string()).and_then(|module| {
            let sum = Sha256::digest(&module);
            write_atomic(&path, &[CACHE_MAGIC, &sum, &module]).map_err(|error| error.to_string())
        });
        if let Err(error) = written {
            tracing::warn!(file = %path.display(), %error, "a compiled plugin can't be cached");
        }
    }
}

fn plain(digest: &str) -> &str {
    digest.strip_prefix("sha256:").unwrap_or(digest)
}

fn delete_others(dir: &Path, keep: impl Fn(&str) -> bool) {
    let Ok(entries) = fs::read_dir(dir) else {
        return;
    };
    for entry in entries.flatten() {
        if !entry.file_name().to_str().is_some_and(&keep) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn read_limited(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::other(format!("the file is larger than {limit} bytes")));
    }
    Ok(bytes)
}

/// Writes a file beside `path`, makes sure of it on the disk, and renames it.
fn write_atomic(path: &Path, parts: &[&[u8]]) -> io::Result<()> {
    let dir = path.parent().ok_or_else(|| io::Error::other("the path has no directory"))?;
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or("file");
    // The caller writes one file at a time; what an earlier process left behind is overwritten.
    let beside = dir.join(format!("{name}.new"));
    let _ = fs::remove_file(&beside);
    let mut file = private_file(&beside)?;
    for part in parts {
        file.write_all(part)?;
    }
    file.sync_all()?;
    fs::rename(&beside, path)?;
    #[cfg(unix)]
    File::open(dir)?.sync_all()?;
    Ok(())
}

#[cfg(unix)]
pub(crate) fn private_file(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

#[cfg(not(unix))]
pub(crate) fn private_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).open(path)
}

#[cfg(unix)]
pub(crate) fn private_dir(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

#[cfg(not(unix))]
pub(crate) fn private_dir(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path)
}

/// Whether a file or directory is this user's and nobody else can write it.
#[cfg(unix)]
fn is_ours(metadata: &fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    // SAFETY: geteuid takes nothing, changes nothing and can't fail.
    let user = unsafe { libc::geteuid() };
    metadata.uid() == user && metadata.mode() & 0o022 == 0
}

#[cfg(not(unix))]
fn is_ours(_metadata: &fs::Metadata) -> bool {
    false
}

fn is_private(dir: &Path) -> bool {
    fs::symlink_metadata(dir).is_ok_and(|metadata| metadata.is_dir() && is_ours(&metadata))
}

/// Reads a file that is ours, looking at the opened file and not at its name.
fn read_own(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() || !is_ours(&metadata) {
        return Err(io::Error::other("the file is not ours"));
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::hex;

    fn storage(dir: &Path) -> Storage {
        Storage::open(dir, "0123456789abcdef".into()).unwrap()
    }

    fn digest(of: &[u8]) -> String {
        format!("sha256:{}", hex(&Sha256::digest(of)))
    }

    #[test]
    fn the_index_comes_back_as_it_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let mut index = Index::default();
        assert_eq!(storage(dir.path()).index().unwrap(), index);
        let entry = |of| Entry { digest: digest(of), uploaded_at: 7 };
        index.plugins.insert("room-policy".into(), vec![entry(b"a"), entry(b"b")]);
        index.complete(9);
        index.bind_plainly("front", &digest(b"c"), 9);
        storage(dir.path()).write_index(&index).unwrap_or_else(|error| panic!("{}", error.reason));
        assert_eq!(storage(dir.path()).index().unwrap(), index);
    }

    #[test]
    fn a_damaged_index_is_an_error_that_names_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let bad = [
            "",
            "[]",
            "{\"plugins\":{\"../x\":{\"digest\":\"sha256:00\",\"uploadedAt\":1}}}",
            "{\"plugins\":{\"x\":{\"digest\":\"sha256:../../../../etc/passwd\",\"uploadedAt\":1}}}",
        ];
        for text in bad {
            fs::write(dir.path().join("plugins.json"), text).unwrap();
            let error = storage(dir.path()).index().unwrap_err().to_string();
            assert!(error.contains("plugins.json"), "{error}");
        }
    }

    #[test]
    fn an_index_from_before_there_were_bindings_binds_its_plugins_to_all_apps() {
        let dir = tempfile::tempdir().unwrap();
        let (front, policy) = (digest(b"front"), digest(b"policy"));
        let text = format!(
            "{{\"plugins\":{{\"front\":{{\"digest\":\"{front}\",\"uploadedAt\":1}},\"room-policy\":{{\"digest\":\"{policy}\",\"uploadedAt\":2}}}}}}"
        );
        fs::write(dir.path().join("plugins.json"), text).unwrap();
        let mut index = storage(dir.path()).index().unwrap();
        index.complete(9);
        assert_eq!(index.plugins["front"], [Entry { digest: front.clone(), uploaded_at: 1 }]);
        let bound: Vec<_> = index.bindings.iter().map(|bound| (bound.id.as_str(), bound.active.as_str())).collect();
        assert_eq!(
            bound,
            [
                ("front-1", front.as_str()),
                ("room-policy", &policy),
                ("output-mode", BUILT_IN),
                ("webhook", BUILT_IN),
                ("local", BUILT_IN),
                ("s3", BUILT_IN),
                ("spaces", BUILT_IN)
            ]
        );
    }

    #[test]
    fn a_damaged_component_is_not_handed_out() {
        let dir = tempfile::tempdir().unwrap();
        let storage = storage(dir.path());
        let digest = digest(b"component");
        assert!(storage.write_component(&digest, b"component").is_ok());
        assert_eq!(storage.read_component(&digest, 100).ok().as_deref(), Some(b"component".as_slice()));
        assert!(storage.read_component(&digest, 5).is_err_and(|error| error.reason.contains("larger than 5")));
        fs::write(storage.component_path(&digest), b"computer!").unwrap();
        assert!(storage.read_component(&digest, 100).is_err_and(|error| error.reason.contains("damaged")));
    }

    #[test]
    fn what_is_not_used_is_pruned() {
        let dir = tempfile::tempdir().unwrap();
        let storage = storage(dir.path());
        let (kept, gone) = (digest(b"kept"), digest(b"gone"));
        for (digest, bytes) in [(&kept, b"kept"), (&gone, b"gone")] {
            assert!(storage.write_component(digest, bytes).is_ok());
        }
        fs::write(storage.compiled().join("other-engine.cwasm"), b"").unwrap();
        storage.prune(std::slice::from_ref(&kept));
        assert!(storage.component_path(&kept).exists());
        assert!(!storage.component_path(&gone).exists());
        assert_eq!(fs::read_dir(storage.compiled()).unwrap().count(), 0);
    }

    #[cfg(unix)]
    #[test]
    fn files_are_for_the_owner_only() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let storage = storage(&dir.path().join("plugins"));
        let digest = digest(b"x");
        assert!(storage.write_component(&digest, b"x").is_ok());
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&storage.dir), 0o700);
        assert_eq!(mode(&storage.component_path(&digest)), 0o600);
        fs::set_permissions(storage.compiled(), fs::Permissions::from_mode(0o777)).unwrap();
        assert!(!Storage::open(&storage.dir, "x".into()).unwrap().private);
    }
}
