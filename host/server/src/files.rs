//! Small files that only the server's user may read.

use std::io::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result};

/// Writes `path` in one step, readable by its owner only.
pub fn write_private(path: &Path, content: &[u8]) -> Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let write = || {
        let mut file = tempfile::NamedTempFile::new_in(directory)?;
        file.write_all(content)?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        std::io::Result::Ok(())
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

/// Raises the soft limit of open files to the hard one and returns it.
pub fn raise_open_limit() -> std::io::Result<u64> {
    rlimit::increase_nofile_limit(u64::MAX)
}
