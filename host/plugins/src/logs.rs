//! Lines that guests write to their standard output and error become log events of the server (target `plugin`),
//! shortened, made harmless, limited in number, and without the secrets that the plugin was granted.

use crate::case::NO_SETTINGS;
use crate::decisions::unix_millis;
use crate::grants::Grants;
use crate::logbook::LogLine;
use crate::plugin::Identity;
use crate::redaction::Redaction;
use bytes::Bytes;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;
use tracing::Level;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

/// Bytes of a line that are logged.
const MAX_LINE: usize = 1024;
/// Bytes of a context that are logged.
const MAX_CONTEXT: usize = 64;
/// Lines of all calls of a plugin that are logged in a second.
const LINES_PER_SECOND: u32 = 100;
/// Bytes that a guest may write at a time.
const WRITE_SIZE: usize = 64 << 10;

/// How many lines a plugin has written in the current second; shared by all its calls.
#[derive(Debug, Default)]
pub(crate) struct LogRate {
    // The second in the upper half, the lines in it in the lower.
    window: AtomicU64,
    dropped: AtomicU64,
}

impl LogRate {
    /// Whether one more line may be logged in `second`.
    fn admit(&self, second: u32) -> bool {
        let update = |window: u64| {
            let lines = if (window >> 32) as u32 == second { window as u32 } else { 0 };
            (lines < LINES_PER_SECOND).then(|| u64::from(second) << 32 | u64::from(lines + 1))
        };
        self.window.fetch_update(Ordering::Relaxed, Ordering::Relaxed, update).is_ok()
    }

    fn drop_line(&self) -> u64 {
        self.dropped.fetch_add(1, Ordering::Relaxed)
    }

    /// Lines that were not logged.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

/// The log of one call; the standard output and error of the guest share it.
#[derive(Clone)]
pub(crate) struct GuestLog(Arc<Shared>);

struct Shared {
    identity: Arc<Identity>,
    call: String,
    hidden: Redaction,
    state: Mutex<State>,
}

struct State {
    lines_left: u32,
    /// The last two lines on stderr: where a panic was, and what it said.
    last_words: [String; 2],
}

impl GuestLog {
    /// A log for `lines` lines, of a plugin with these grants.
    pub(crate) fn new(identity: Arc<Identity>, grants: &Grants, call: String, lines: u32) -> GuestLog {
        GuestLog(Arc::new(Shared {
            identity,
            call,
            hidden: Redaction::new(grants, &NO_SETTINGS),
            state: Mutex::new(State { lines_left: lines, last_words: Default::default() }),
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn last_words(&self) -> Option<String> {
        let words = self.state().last_words.join(" ");
        let words = words.trim();
        (!words.is_empty()).then(|| words.to_owned())
    }

    /// A line with a level and a context, which groups lines that belong together.
    pub(crate) fn message(&self, level: Level, context: &str, message: &str) {
        if !self.admit() {
            return;
        }
        let (context, message) = (self.shown(context, MAX_CONTEXT), self.shown(message, MAX_LINE));
        let (plugin, call) = (&self.0.identity.name, &self.0.call);
        // The macro wants the level as a constant.
        macro_rules! log {
            ($level:expr) => {
                tracing::event!(target: "plugin", $level, %plugin, %call, context, "{message}")
            };
        }
        match level {
            Level::TRACE => log!(Level::TRACE),
            Level::DEBUG => log!(Level::DEBUG),
            Level::INFO => log!(Level::INFO),
            Level::WARN => log!(Level::WARN),
            Level::ERROR => log!(Level::ERROR),
        }
        let text = if context.is_empty() { message } else { format!("{context}: {message}") };
        self.keep(level_name(level), &text);
    }

    /// At most so many bytes of a text, in one line, without secrets: a part of one is one, too, so it is shortened last.
    fn shown(&self, text: &str, most: usize) -> String {
        let clean = self.0.hidden.text(text);
        shortened(clean.as_deref().unwrap_or(text), most)
    }

    /// A line of which at most [`GuestLog::longest_line`] bytes and one more are there.
    fn shown_line(&self, line: &[u8]) -> String {
        let hidden = &self.0.hidden;
        let text = String::from_utf8_lossy(line);
        let mut clean = hidden.text(&text).unwrap_or_else(|| text.into_owned());
        if line.len() > self.longest_line() {
            // It may end with the beginning of a secret.
            clean.truncate(clean.floor_char_boundary(clean.len().saturating_sub(hidden.longest())));
        }
        shortened(&clean, MAX_LINE)
    }

    /// Bytes of a line that may be needed to know all that is hidden of it.
    fn longest_line(&self) -> usize {
        MAX_LINE + self.0.hidden.longest()
    }

    /// Puts a line where the operator can look at it.
    fn keep(&self, stream: &'static str, text: &str) {
        let identity = &self.0.identity;
        identity.logbook.add(LogLine {
            seq: 0,
            time: unix_millis(SystemTime::now()),
            digest: identity.digest.to_string(),
            call: self.0.call.clone(),
            stream,
            text: text.to_owned(),
        });
    }

    /// Whether one more line may be logged; counts it among the dropped ones if not.
    fn admit(&self) -> bool {
        let identity = &self.0.identity;
        let mut state = self.state();
        let left = state.lines_left;
        state.lines_left = left.saturating_sub(1);
        if left > 0 && identity.log_rate.admit(second()) {
            return true;
        }
        // Said once for each thousand, or a chatty plugin would fill the log with complaints about itself.
        let before = identity.log_rate.drop_line();
        if before.is_multiple_of(1000) {
            tracing::warn!(
                target: "plugin", plugin = %identity.name, call = %self.0.call, dropped = before + 1,
                "the plugin writes too many log lines; some are dropped"
            );
        }
        false
    }

    fn line(&self, stream: &'static str, line: &[u8]) {
        let line = self.shown_line(line);
        if line.is_empty() {
            return;
        }
        if self.admit() {
            tracing::info!(target: "plugin", plugin = %self.0.identity.name, call = %self.0.call, stream, "{line}");
            self.keep(stream, &line);
        }
        // A Rust guest ends its last words with advice that does not apply here.
        if stream == "stderr" && !line.starts_with("note: run with `RUST_BACKTRACE") {
            let mut state = self.state();
            state.last_words.swap(0, 1);
            state.last_words[1] = line;
        }
    }
}

fn level_name(level: Level) -> &'static str {
    match level {
        Level::TRACE => "trace",
        Level::DEBUG => "debug",
        Level::INFO => "info",
        Level::WARN => "warn",
        Level::ERROR => "error",
    }
}

/// Seconds on a clock that does not go back.
fn second() -> u32 {
    static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    // The first second is 1, so that it is not the window of a fresh rate.
    START.get_or_init(std::time::Instant::now).elapsed().as_secs() as u32 + 1
}

/// A guest's bytes as one line of text without control characters.
fn harmless(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    let mut clean = String::with_capacity(text.len());
    for c in text.trim_end().chars() {
        if c.is_control() { clean.extend(c.escape_default()) } else { clean.push(c) }
    }
    clean
}

/// At most so many bytes of a text, in one line.
fn shortened(text: &str, most: usize) -> String {
    match text.len() <= most {
        true => harmless(text.as_bytes()),
        false => harmless(text.as_bytes().get(..most).unwrap_or_default()) + "...",
    }
}

/// The guest's end of the log: cuts what it writes into lines.
pub(crate) struct Lines {
    log: GuestLog,
    stream: &'static str,
}

impl Lines {
    pub(crate) fn new(log: GuestLog, stream: &'static str) -> Lines {
        Lines { log, stream }
    }
}

impl IsTerminal for Lines {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Lines {
    fn async_stream(&self) -> Box<dyn tokio::io::AsyncWrite + Send + Sync> {
        Box::new(tokio::io::sink())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(LineStream { log: self.log.clone(), stream: self.stream, line: Vec::new() })
    }
}

struct LineStream {
    log: GuestLog,
    stream: &'static str,
    line: Vec<u8>,
}

impl LineStream {
    fn end_line(&mut self) {
        self.log.line(self.stream, &self.line);
        self.line.clear();
    }
}

impl OutputStream for LineStream {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        let mut pieces = bytes.split(|&byte| byte == b'\n').peekable();
        while let Some(piece) = pieces.next() {
            // One byte more than is shown tells that the line goes on.
            let kept = piece.len().min((self.log.longest_line() + 1).saturating_sub(self.line.len()));
            self.line.extend_from_slice(piece.get(..kept).unwrap_or_default());
            if pieces.peek().is_some() {
                self.end_line();
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_SIZE)
    }
}

// What the guest left without a line break is logged when the sandbox goes.
impl Drop for LineStream {
    fn drop(&mut self) {
        if !self.line.is_empty() {
            self.end_line();
        }
    }
}

impl Pollable for LineStream {
    fn ready<'a, 'b>(&'a mut self) -> Pin<Box<dyn Future<Output = ()> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(std::future::ready(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_and_broken_text_are_made_visible() {
        assert_eq!(harmless(b"a\x1b[31mb\rc\td\xff\n"), "a\\u{1b}[31mb\\rc\\td\u{fffd}");
    }

    #[test]
    fn a_plugin_has_so_many_lines_a_second() {
        let rate = LogRate::default();
        assert_eq!((0..500).filter(|_| rate.admit(1)).count() as u32, LINES_PER_SECOND);
        assert!(rate.admit(2));
        assert_eq!((0..500).filter(|_| rate.admit(2)).count() as u32, LINES_PER_SECOND - 1);
    }

    fn log(grants: &Grants) -> GuestLog {
        GuestLog::new(Arc::new(Identity::new("test", "sha256:0")), grants, "call-1".into(), 10)
    }

    #[test]
    fn no_line_has_a_secret_or_the_beginning_of_one() {
        let secrets = [("key".to_owned(), crate::Secret::new("hunter2-hunter2"))].into();
        let log = log(&Grants { secrets, ..Grants::default() });
        let mut stream = LineStream { log: log.clone(), stream: "stderr", line: Vec::new() };
        // The secret begins before the end of what is shown and ends behind it.
        stream.write(format!("{}hunter2-hun", "x".repeat(MAX_LINE - 5)).into()).unwrap();
        stream
            .write(Bytes::from_static(
                b"ter2 and more
hunter2-hunter2\n",
            ))
            .unwrap();
        // Redacted, the line is so short that its end would be seen, where the last secret is cut off.
        stream.write("hunter2-hunter2".repeat(200).into()).unwrap();
        drop(stream);
        log.message(Level::WARN, "hunter2-hunter2", &"hunter2-hunter2 ".repeat(100));
        let lines = log.0.identity.logbook.after(0);
        assert_eq!(lines.len(), 4);
        assert!(lines.iter().all(|line| !line.text.contains("hunter")), "{lines:?}");
        assert!(log.last_words().is_some_and(|words| !words.contains("hunter") && words.contains("[secret]")));
    }

    #[test]
    fn writes_are_cut_into_lines_of_limited_length() {
        let log = log(&Grants::default());
        let mut stream = LineStream { log: log.clone(), stream: "stderr", line: Vec::new() };
        stream.write(Bytes::from_static(b"one\ntw")).unwrap();
        assert_eq!(log.last_words().as_deref(), Some("one"));
        stream.write(Bytes::from_static(b"o\n")).unwrap();
        assert_eq!(log.last_words().as_deref(), Some("one two"));
        stream.write(vec![b'x'; 5000].into()).unwrap();
        stream.write(vec![b'x'; 5000].into()).unwrap();
        assert!(stream.line.len() <= MAX_LINE + 1);
        drop(stream);
        assert_eq!(log.last_words().map(|line| line.len()), Some("two ".len() + MAX_LINE + 3));
    }
}
