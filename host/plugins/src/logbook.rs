//! The last log lines of a plugin, all its versions together, for those who ask for them and for those who follow.

use serde::Serialize;
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use tokio::sync::watch;

/// Lines that are kept.
const LINES: usize = 200;

/// A line that a plugin wrote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LogLine {
    /// Rising by one for each line of the plugin since the server started.
    pub seq: u64,
    /// Milliseconds since the Unix epoch.
    pub time: u64,
    /// The digest of the version that wrote it.
    pub digest: String,
    /// The [`crate::model::Context::call_id`] of the call that wrote it.
    pub call: String,
    /// Where the plugin wrote it, such as `stdout` or `stderr`.
    pub stream: &'static str,
    pub text: String,
}

#[derive(Debug)]
pub(crate) struct Logbook {
    lines: Mutex<VecDeque<LogLine>>,
    latest: watch::Sender<u64>,
}

impl Default for Logbook {
    fn default() -> Self {
        Logbook { lines: Mutex::default(), latest: watch::Sender::new(0) }
    }
}

impl Logbook {
    /// Adds a line; its `seq` is set here.
    pub(crate) fn add(&self, mut line: LogLine) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let seq = lines.back().map_or(0, |last| last.seq) + 1;
        line.seq = seq;
        if lines.len() >= LINES {
            lines.pop_front();
        }
        lines.push_back(line);
        drop(lines);
        // Two threads may come here in either order.
        self.latest.send_if_modified(|latest| {
            let newer = seq > *latest;
            *latest = seq.max(*latest);
            newer
        });
    }

    /// The kept lines after `seq`, oldest first.
    pub(crate) fn after(&self, seq: u64) -> Vec<LogLine> {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().filter(|line| line.seq > seq).cloned().collect()
    }

    /// The `seq` of the newest line, as it changes.
    pub(crate) fn latest(&self) -> watch::Receiver<u64> {
        self.latest.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_last_lines_are_kept_and_followers_are_told() {
        let book = Logbook::default();
        let mut latest = book.latest();
        for n in 0..LINES + 50 {
            let text = n.to_string();
            book.add(LogLine { seq: 0, time: 0, digest: String::new(), call: String::new(), stream: "stdout", text });
        }
        latest.changed().await.unwrap();
        assert_eq!(*latest.borrow(), LINES as u64 + 50);
        let lines = book.after(0);
        assert_eq!((lines.len(), lines[0].text.as_str(), lines[0].seq), (LINES, "50", 51));
        assert_eq!(book.after(LINES as u64 + 49).len(), 1);
    }
}
