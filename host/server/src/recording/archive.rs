//! From the parts of a recording to the file of a post.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::Path;

use flyloft_media::recording::{Finished, Sink, Source, finish};
use tokio_util::sync::CancellationToken;

use super::part::{free_space, numbers};

struct Stored {
    file: File,
    size: u64,
    stop: CancellationToken,
}

impl Source for Stored {
    fn size(&self) -> u64 {
        self.size
    }

    fn read(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        if self.stop.is_cancelled() {
            return Err(io::Error::other("the server is shutting down"));
        }
        self.file.read_exact_at(buffer, offset)
    }
}

struct Target(File);

impl Sink for Target {
    fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }
}

/// Makes `target` of what lies in `parts`, in one step: it is there whole or not at all. `min_free` bytes of the disk stay free. The
/// reason if it can't be made; `stop` breaks it off.
pub fn make(parts: &Path, posts: &Path, target: &Path, min_free: u64, stop: &CancellationToken) -> Result<Finished, String> {
    let found = match numbers(parts) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(format!("the recording can't be read: {error}")),
    };
    let mut needed = 0;
    let mut open = |path: &Path| {
        let file = File::open(path)?;
        let size = file.metadata()?.len();
        needed += size;
        io::Result::Ok(Box::new(Stored { file, size, stop: stop.clone() }) as Box<dyn Source>)
    };
    let sources = found.iter().map(|(_, path)| open(path)).collect::<io::Result<Vec<_>>>();
    let sources = sources.map_err(|error| format!("the recording can't be read: {error}"))?;
    let free = free_space(posts).map_err(|error| format!("the disk's free space can't be found out: {error}"))?;
    if needed > 0 && free.saturating_sub(min_free) < needed {
        return Err(format!(
            "the disk has too little room: the video post needs about {needed} bytes beside the {min_free} of recording.min_free_bytes"
        ));
    }
    let cannot = |error: io::Error| format!("the file of the video post can't be written: {error}");
    DirBuilder::new().recursive(true).mode(0o700).create(posts).map_err(cannot)?;
    let under_way = target.with_extension("mp4.part");
    let options = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&under_way);
    let mut sink = Target(options.map_err(cannot)?);
    let made = finish(sources, &mut sink).map_err(|error| error.to_string()).and_then(|made| {
        let keep = || {
            sink.0.sync_all()?;
            std::fs::rename(&under_way, target)?;
            File::open(posts)?.sync_all()
        };
        keep().map_err(cannot).map(|()| made)
    });
    if made.is_err() {
        // What is left of it is written over by the next attempt, if it can't be removed now.
        let _ = std::fs::remove_file(&under_way);
    }
    made
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_broken_off_or_refused_leaves_nothing_behind() {
        let directory = tempfile::tempdir().unwrap();
        let (parts, posts) = (directory.path().join("parts"), directory.path().join("posts"));
        let target = posts.join("post.mp4");
        let stop = CancellationToken::new();
        let make = |min_free| make(&parts, &posts, &target, min_free, &stop).unwrap_err();
        assert!(make(0).contains("nothing was recorded"));
        std::fs::create_dir(&parts).unwrap();
        std::fs::write(parts.join("00000.mp4"), b"\0\0\0\x08ftyp").unwrap();
        assert!(make(0).contains("nothing was recorded"));
        assert!(make(u64::MAX).contains("too little room"));
        stop.cancel();
        assert!(make(0).contains("shutting down"));
        assert_eq!(std::fs::read_dir(&posts).unwrap().count(), 0);
    }
}
