//! The files of a recording under way.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use flyloft_media::recording::{Fragment, Output};

use super::Settings;

/// Payloads are small; they go to the system in pieces of about this.
const BUFFER: usize = 256 << 10;

/// Why recording can't go on.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    #[error("the disk has less than {0} bytes left, which is recording.min_free_bytes: recording stopped, make room for it")]
    Full(u64),
    #[error("the recording can't be written: {0}")]
    Io(#[from] io::Error),
}

/// Writes one part after the other. Everything here may wait for the disk.
///
/// What was written survives the end of this process at once, and a power failure after at most [`Settings::sync`].
#[derive(Debug)]
pub struct PartWriter {
    directory: PathBuf,
    sync_every: Duration,
    min_free: u64,
    part: Option<Part>,
}

#[derive(Debug)]
struct Part {
    file: File,
    /// Bytes of whole fragments.
    size: u64,
    synced: Instant,
    dirty: bool,
}

impl PartWriter {
    pub fn new(directory: PathBuf, settings: &Settings) -> Self {
        Self { directory, sync_every: settings.sync, min_free: settings.min_free, part: None }
    }

    pub fn write(&mut self, output: &Output) -> Result<(), WriteError> {
        self.check_space()?;
        match output {
            Output::Part(head) => {
                self.sync()?;
                let mut part = self.open()?;
                part.append(&Fragment { chunks: vec![head.clone()], bytes: head.len() })?;
                part.sync()?;
                File::open(&self.directory)?.sync_all()?;
                self.part = Some(part);
            }
            Output::Fragment(fragment) => {
                let Some(part) = &mut self.part else {
                    return Err(io::Error::other("a fragment came before its part").into());
                };
                part.append(fragment)?;
                if part.synced.elapsed() >= self.sync_every {
                    part.sync()?;
                }
            }
        }
        Ok(())
    }

    /// Makes everything so far last.
    pub fn sync(&mut self) -> Result<(), WriteError> {
        if let Some(part) = &mut self.part {
            part.sync()?;
        }
        Ok(())
    }

    fn check_space(&self) -> Result<(), WriteError> {
        if free_space(&self.directory)? < self.min_free { Err(WriteError::Full(self.min_free)) } else { Ok(()) }
    }

    /// A new file with the next number.
    fn open(&self) -> Result<Part, WriteError> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.directory)?;
        let next = numbers(&self.directory)?.last().map_or(0, |(last, _)| last + 1);
        let path = self.directory.join(format!("{next:05}.mp4"));
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        Ok(Part { file, size: 0, synced: Instant::now(), dirty: false })
    }
}

impl Part {
    fn append(&mut self, fragment: &Fragment) -> io::Result<()> {
        self.dirty = true;
        let write = |file: &mut File| {
            let mut out = BufWriter::with_capacity(BUFFER, file);
            fragment.chunks.iter().try_for_each(|chunk| out.write_all(chunk))?;
            out.flush()
        };
        if let Err(error) = write(&mut self.file) {
            // What is not whole is of no use; should this fail too, a reader leaves it out.
            let _ = self.file.set_len(self.size);
            return Err(error);
        }
        self.size += fragment.bytes as u64;
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.dirty) {
            self.file.sync_data()?;
        }
        self.synced = Instant::now();
        Ok(())
    }
}

/// Bytes that can still be written under `directory`, which need not be there yet.
pub fn free_space(directory: &Path) -> io::Result<u64> {
    // The nearest one above it is on the same disk.
    let existing = directory.ancestors().find(|directory| directory.exists()).unwrap_or(directory);
    let disk = rustix::fs::statvfs(existing)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// The parts in a directory by their numbers, in order.
pub fn numbers(directory: &Path) -> io::Result<Vec<(u32, PathBuf)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        let number = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok());
        if let Some(number) = number.filter(|_| path.extension().is_some_and(|extension| extension == "mp4")) {
            found.push((number, path));
        }
    }
    found.sort();
    Ok(found)
}
