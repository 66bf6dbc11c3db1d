//! The files of the decision log: numbered segments of lines, each with its length before it. The newest is written; when it is
//! full or old it is closed, and the oldest are deleted when all together are too large or too old.
//!
//! A line is eight hexadecimal digits (the length of what follows the space), a space, JSON and a line feed. What a crash left
//! unfinished at the end of the newest segment is cut off when the log is opened.

use crate::storage::{private_dir, private_file};
use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Bytes of one line; a longer one is not kept.
pub(crate) const MAX_LINE: usize = 4 << 20;
/// Digits and space before a line's JSON.
const PREFIX: usize = 9;
/// The log is cut into this many parts, so that deleting one part keeps most of it.
const PARTS: u64 = 16;
const SMALLEST_SEGMENT: u64 = 16 << 10;
const LARGEST_SEGMENT: u64 = 4 << 20;

/// How much of the log is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecisionLimits {
    /// Bytes of all segments together; 0 switches the log off.
    pub max_bytes: u64,
    /// Older decisions are deleted, by the hour or better.
    pub max_age: Duration,
}

impl Default for DecisionLimits {
    fn default() -> Self {
        DecisionLimits { max_bytes: 256 << 20, max_age: Duration::from_secs(7 * 24 * 60 * 60) }
    }
}

/// The segments, by the one thread that writes them.
pub(crate) struct Segments {
    dir: PathBuf,
    limits: DecisionLimits,
    /// Oldest first; the last one is written.
    closed: VecDeque<Segment>,
    current: Option<Current>,
    next: u64,
}

struct Segment {
    first: u64,
    bytes: u64,
    /// When its last line was written, in milliseconds since the Unix epoch.
    last_at: u64,
}

struct Current {
    file: File,
    segment: Segment,
    first_at: u64,
    /// Lines that are not written yet.
    pending: Vec<u8>,
}

impl Segments {
    /// Opens the log, making it if it is missing.
    pub(crate) fn open(dir: &Path, limits: DecisionLimits) -> io::Result<Segments> {
        private_dir(dir)?;
        let mut closed = VecDeque::new();
        for first in numbers(dir)? {
            let metadata = fs::metadata(path(dir, first))?;
            closed.push_back(Segment { first, bytes: metadata.len(), last_at: modified(&metadata) });
        }
        let mut next = 1;
        if let Some(newest) = closed.back_mut() {
            let path = path(dir, newest.first);
            let bytes = read(&path)?;
            let (mut whole, mut count) = (0, 0);
            for line in lines(&bytes) {
                whole += (PREFIX + line.len() + 1) as u64;
                count += 1;
            }
            if whole < bytes.len() as u64 {
                tracing::warn!(
                    file = %path.display(), kept = whole, bytes = bytes.len(),
                    "the decision log ends with something unfinished, which is cut off"
                );
                OpenOptions::new().write(true).open(&path)?.set_len(whole)?;
                newest.bytes = whole;
            }
            next = newest.first.saturating_add(count);
            if count == 0 {
                // The next segment gets its number.
                fs::remove_file(&path)?;
                closed.pop_back();
            }
        }
        Ok(Segments { dir: dir.to_owned(), limits, closed, current: None, next: next.max(1) })
    }

    /// The number that the next line gets.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// Adds a line of JSON, at the time `now` in milliseconds since the Unix epoch. [`Segments::flush`] makes it readable.
    pub(crate) fn push(&mut self, json: &[u8], now: u64) -> io::Result<()> {
        if json.len() > MAX_LINE || json.contains(&b'\n') {
            return Err(io::Error::other(format!("a line of {} bytes can't be kept", json.len())));
        }
        let size = (self.limits.max_bytes / PARTS).clamp(SMALLEST_SEGMENT, LARGEST_SEGMENT);
        let age = millis(self.limits.max_age) / PARTS;
        let full = |current: &Current| current.segment.bytes >= size || now.saturating_sub(current.first_at) > age;
        if self.current.as_ref().is_some_and(full) {
            self.rotate()?;
        }
        let current = match &mut self.current {
            Some(current) => current,
            none => {
                let file = private_file(&path(&self.dir, self.next))?;
                let segment = Segment { first: self.next, bytes: 0, last_at: now };
                none.insert(Current { file, segment, first_at: now, pending: Vec::new() })
            }
        };
        write!(current.pending, "{:08x} ", json.len())?;
        current.pending.extend_from_slice(json);
        current.pending.push(b'\n');
        current.segment.bytes += (PREFIX + json.len() + 1) as u64;
        current.segment.last_at = now;
        self.next += 1;
        Ok(())
    }

    /// Writes what was pushed, for readers of the files. It is not forced to the disk: a crash of the machine may lose the last
    /// moments of the log.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        let Some(current) = &mut self.current else { return Ok(()) };
        let written = current.file.write_all(&current.pending);
        current.pending.clear();
        if written.is_err() {
            // What is in the file may end anywhere now, so the next line begins a new one.
            self.close();
        }
        written
    }

    fn rotate(&mut self) -> io::Result<()> {
        let flushed = self.flush();
        self.close();
        flushed
    }

    fn close(&mut self) {
        if let Some(current) = self.current.take() {
            self.closed.push_back(current.segment);
        }
    }

    /// Deletes what is too old at `now`, and the oldest while all is too large.
    pub(crate) fn prune(&mut self, now: u64) {
        let age = millis(self.limits.max_age);
        let mut total: u64 = self.closed.iter().map(|segment| segment.bytes).sum();
        let current = self.current.as_ref().map_or(0, |current| current.segment.bytes);
        while let Some(oldest) = self.closed.front() {
            if total + current <= self.limits.max_bytes && now.saturating_sub(oldest.last_at) <= age {
                return;
            }
            let path = path(&self.dir, oldest.first);
            if let Err(error) = fs::remove_file(&path)
                && error.kind() != io::ErrorKind::NotFound
            {
                tracing::warn!(file = %path.display(), %error, "an old part of the decision log can't be deleted");
            }
            total -= oldest.bytes;
            self.closed.pop_front();
        }
    }
}

/// The numbers of the segments' first lines, oldest first.
pub(crate) fn numbers(dir: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        let number: Option<u64> = name.to_str().and_then(|name| name.strip_suffix(".log")).and_then(|stem| stem.parse().ok());
        numbers.extend(number);
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// The file of the segment that begins with this line.
pub(crate) fn path(dir: &Path, first: u64) -> PathBuf {
    dir.join(format!("{first:020}.log"))
}

/// A whole segment.
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // A segment is closed by the line that fills it.
    let limit = LARGEST_SEGMENT + (MAX_LINE + PREFIX + 1) as u64;
    File::open(path)?.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The whole lines at the start of a segment, without their lengths. Ends at the first that is not whole.
pub(crate) fn lines(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (prefix, rest) = bytes.split_at_checked(PREFIX)?;
        let digits = std::str::from_utf8(prefix.strip_suffix(b" ")?).ok()?;
        // from_str_radix would take a sign, too.
        let plain = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        let length = usize::from_str_radix(digits, 16).ok().filter(|length| plain && *length <= MAX_LINE)?;
        let (line, rest) = rest.split_at_checked(length)?;
        let rest = rest.strip_prefix(b"\n")?;
        bytes = rest;
        Some(line)
    })
}

pub(crate) fn modified(metadata: &fs::Metadata) -> u64 {
    let since = metadata.modified().ok().and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
    since.map_or(0, millis)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMITS: DecisionLimits = DecisionLimits { max_bytes: 1 << 20, max_age: Duration::from_secs(1600) };

    fn all(dir: &Path) -> Vec<String> {
        let mut found = Vec::new();
        for first in numbers(dir).unwrap() {
            let bytes = read(&path(dir, first)).unwrap();
            found.extend(lines(&bytes).map(|line| String::from_utf8(line.to_vec()).unwrap()));
        }
        found
    }

    fn write(dir: &Path, texts: impl IntoIterator<Item = String>) {
        let mut segments = Segments::open(dir, LIMITS).unwrap();
        for text in texts {
            segments.push(text.as_bytes(), 1000).unwrap();
        }
        segments.flush().unwrap();
    }

    #[test]
    fn lines_come_back_in_order_and_numbers_go_on_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), (0..10).map(|n| format!("{{\"n\":{n}}}")));
        assert_eq!(Segments::open(dir.path(), LIMITS).unwrap().next(), 11);
        write(dir.path(), (10..20).map(|n| format!("{{\"n\":{n}}}")));
        let expected: Vec<String> = (0..20).map(|n| format!("{{\"n\":{n}}}")).collect();
        assert_eq!(all(dir.path()), expected);
    }

    #[test]
    fn the_oldest_go_when_the_log_is_too_large() {
        let dir = tempfile::tempdir().unwrap();
        let mut segments = Segments::open(dir.path(), LIMITS).unwrap();
        let text = "x".repeat(1000);
        for n in 0..5_000 {
            segments.push(format!("{n} {text}").as_bytes(), 1000).unwrap();
            segments.flush().unwrap();
            segments.prune(1000);
            let size: u64 = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum();
            assert!(size <= LIMITS.max_bytes + 2000, "{size}");
        }
        let kept = all(dir.path());
        assert!(kept.len() > 900, "{}", kept.len());
        assert!(kept.last().unwrap().starts_with("4999 "));
        let numbers: Vec<u32> = kept.iter().map(|line| line.split(' ').next().unwrap().parse().unwrap()).collect();
        assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1));
    }

    #[test]
    fn the_oldest_go_when_they_are_too_old() {
        let dir = tempfile::tempdir().unwrap();
        let mut segments = Segments::open(dir.path(), LIMITS).unwrap();
        // A line each minute for an hour, with 1600 s kept in parts of 100 s.
        for minute in 0..60_u64 {
            segments.push(minute.to_string().as_bytes(), minute * 60_000).unwrap();
            segments.flush().unwrap();
            segments.prune(minute * 60_000);
        }
        let kept: Vec<u64> = all(dir.path()).iter().map(|line| line.parse().unwrap()).collect();
        assert!(kept.contains(&33) && kept.last() == Some(&59), "{kept:?}");
        assert!(kept[0] >= 59 - 27 - 2, "{kept:?}");
        segments.prune(u64::MAX);
        assert_eq!(numbers(dir.path()).unwrap().len(), 1, "the one that is written stays");
    }

    #[test]
    fn what_is_no_line_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let mut segments = Segments::open(dir.path(), LIMITS).unwrap();
        assert!(segments.push(b"two\nlines", 0).is_err());
        assert!(segments.push(&vec![b'x'; MAX_LINE + 1], 0).is_err());
        assert_eq!(segments.next(), 1);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_torn_end_costs_what_was_torn_only(texts in proptest::collection::vec("[a-z]{0,40}", 1..20), cut in any::<prop::sample::Index>(), junk in "[0-9a-f \n]{0,20}") {
            let dir = tempfile::tempdir().unwrap();
            write(dir.path(), texts.clone());
            let file = path(dir.path(), 1);
            let mut bytes = fs::read(&file).unwrap();
            bytes.truncate(cut.index(bytes.len() + 1));
            let whole = lines(&bytes).count();
            prop_assert!(texts.iter().map(String::as_bytes).zip(lines(&bytes)).all(|(text, line)| text == line));
            bytes.extend_from_slice(junk.as_bytes());
            let kept = lines(&bytes).count();
            prop_assert!(kept >= whole);
            let kept: Vec<Vec<u8>> = lines(&bytes).map(<[u8]>::to_vec).collect();
            fs::write(&file, &bytes).unwrap();
            write(dir.path(), ["after".to_owned()]);
            let mut expected = kept;
            expected.push(b"after".to_vec());
            let found: Vec<Vec<u8>> = all(dir.path()).into_iter().map(String::into_bytes).collect();
            prop_assert_eq!(found, expected);
        }

        #[test]
        fn no_bytes_make_it_fail(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let total: usize = lines(&bytes).map(|line| line.len() + PREFIX + 1).sum();
            prop_assert!(total <= bytes.len());
        }
    }
}
