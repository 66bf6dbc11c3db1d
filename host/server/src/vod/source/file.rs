//! Files below the media directory. The operating system keeps what was read, so nothing is kept here.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;

use super::error::{OpenError, ReadError};

/// An open file, as it was when it was opened.
#[derive(Clone)]
pub(super) struct LocalFile {
    file: Arc<File>,
    pub(super) size: u64,
    /// Seconds and nanoseconds since 1970.
    modified: (i64, i64),
    /// For people.
    what: Arc<str>,
}

impl LocalFile {
    /// Opens `path`, relative and with "/" between its parts, below `directory`.
    pub(super) async fn open(directory: Arc<Path>, path: String) -> Result<Self, OpenError> {
        check(&path)?;
        let opening = tokio::task::spawn_blocking(move || Self::open_now(&directory, &path));
        opening.await.unwrap_or_else(|error| Err(OpenError::Unavailable { reason: format!("a file can't be opened: {error}") }))
    }

    fn open_now(directory: &Path, path: &str) -> Result<Self, OpenError> {
        let what: Arc<str> = format!("{path:?} in the media directory").into();
        let unavailable = |error: io::Error| OpenError::Unavailable { reason: format!("{what} can't be opened: {error}") };
        let directory = rustix::fs::openat(CWD, directory, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
        let directory = directory.map_err(|error| match error {
            Errno::NOENT | Errno::NOTDIR => OpenError::NotFound { what: "the media directory itself is not there".into() },
            error => unavailable(error.into()),
        })?;
        let file: File = beneath(&directory, path).map_err(|error| match error {
            Errno::NOENT | Errno::NOTDIR => OpenError::NotFound { what: what.to_string() },
            Errno::XDEV | Errno::LOOP => {
                OpenError::Denied { reason: format!("{what} is a link that leads out of it, which is refused") }
            }
            Errno::ACCESS | Errno::PERM => {
                OpenError::Denied { reason: format!("{what} may not be read by the server: change its permissions") }
            }
            Errno::NAMETOOLONG => OpenError::NotFound { what: format!("{what}: the name is too long") },
            error => unavailable(error.into()),
        })?;
        let known = file.metadata().map_err(unavailable)?;
        if !known.is_file() {
            return Err(OpenError::Invalid { reason: format!("{what} is no file") });
        }
        let (size, modified) = (known.len(), (known.mtime(), known.mtime_nsec()));
        Ok(Self { file: Arc::new(file), size, modified, what })
    }

    pub(super) fn what(&self) -> &str {
        &self.what
    }

    /// Reads a range that lies in the file.
    pub(super) async fn read(&self, range: Range<u64>) -> Result<Bytes, ReadError> {
        let this = self.clone();
        let reading = tokio::task::spawn_blocking(move || this.read_now(range));
        let failed = |error| ReadError::Unavailable { reason: format!("{} can't be read: {error}", self.what) };
        reading.await.unwrap_or_else(|error| Err(failed(error)))
    }

    fn read_now(&self, range: Range<u64>) -> Result<Bytes, ReadError> {
        let failed = |error: io::Error| ReadError::Unavailable { reason: format!("{} can't be read: {error}", self.what) };
        let length = usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(usize::MAX);
        let mut bytes = vec![0; length];
        let mut filled = 0;
        while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            let at = range.start + filled as u64;
            match self.file.read_at(rest, at) {
                Ok(0) => return Err(ReadError::Truncated { what: self.what.to_string(), at, size: self.size }),
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(failed(error)),
            }
        }
        // Looked at afterwards: what was written before the read shows by then.
        let known = self.file.metadata().map_err(failed)?;
        if (known.len(), (known.mtime(), known.mtime_nsec())) != (self.size, self.modified) {
            return Err(ReadError::Changed { what: self.what.to_string() });
        }
        Ok(bytes.into())
    }
}

/// What a plugin's plan must not have. The plugin runtime has checked it; the file system is worth a second look.
fn check(path: &str) -> Result<(), OpenError> {
    let wrong = |part: &str| matches!(part, "" | "." | "..");
    if path.chars().any(char::is_control) || path.contains('\\') || path.split('/').any(wrong) {
        let reason = "the path of a file must be relative parts with \"/\" between them, without \"..\", backslashes and control characters";
        return Err(OpenError::Invalid { reason: reason.into() });
    }
    Ok(())
}

/// Not waiting: a pipe would have the thread wait for its writer.
const READ: OFlags = OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK).union(OFlags::NOCTTY);

/// Opens what lies below a directory, wherever links on the way point.
#[cfg(target_os = "linux")]
fn beneath(directory: &OwnedFd, path: &str) -> Result<File, Errno> {
    use rustix::fs::ResolveFlags;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    match rustix::fs::openat2(directory, path, READ, Mode::empty(), resolve) {
        // Kernels before 5.6 do not have it, and old container runtimes forbid it.
        Err(Errno::NOSYS | Errno::PERM) => without_links(directory, path),
        // A rename on the way; it says so rather than to guess.
        Err(Errno::AGAIN) => rustix::fs::openat2(directory, path, READ, Mode::empty(), resolve).map(File::from),
        opened => opened.map(File::from),
    }
}

#[cfg(not(target_os = "linux"))]
fn beneath(directory: &OwnedFd, path: &str) -> Result<File, Errno> {
    without_links(directory, path)
}

/// Opens part by part and follows no link at all.
fn without_links(directory: &OwnedFd, path: &str) -> Result<File, Errno> {
    let (directories, name) = path.rsplit_once('/').map_or((None, path), |(directories, name)| (Some(directories), name));
    let mut place = directory.try_clone().map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    for part in directories.into_iter().flat_map(|directories| directories.split('/')) {
        let next = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::RDONLY | OFlags::CLOEXEC;
        place = rustix::fs::openat(&place, part, next, Mode::empty())?;
    }
    rustix::fs::openat(&place, name, READ | OFlags::NOFOLLOW, Mode::empty()).map(File::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn part_by_part_no_link_is_followed() {
        let outside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("secret"), "x").unwrap();
        let media = tempfile::tempdir().unwrap();
        std::fs::create_dir(media.path().join("dir")).unwrap();
        std::fs::write(media.path().join("dir/film"), "film").unwrap();
        std::os::unix::fs::symlink(outside.path().join("secret"), media.path().join("link")).unwrap();
        std::os::unix::fs::symlink(outside.path(), media.path().join("place")).unwrap();
        let directory = OwnedFd::from(File::open(media.path()).unwrap());
        assert!(without_links(&directory, "dir/film").is_ok());
        assert_eq!(without_links(&directory, "link").unwrap_err(), Errno::LOOP);
        assert!(matches!(without_links(&directory, "place/secret").unwrap_err(), Errno::LOOP | Errno::NOTDIR));
        assert_eq!(without_links(&directory, "dir/none").unwrap_err(), Errno::NOENT);
    }
}
