//! The decision log: which binding was asked what, what it answered, and how long it took. Written by a thread of its own,
//! which calls hand their questions to without waiting; bounded by age and size. Secrets are not in it: [`crate::redaction`] takes
//! them out of questions and answers.

mod segments;

pub use segments::DecisionLimits;

use crate::api::Interface;
use crate::case::{Case, Outcome};
use crate::chain::Live;
use crate::compare::answer_kind;
use crate::error::FaultKind;
use crate::redaction::Redaction;
use crate::weight::{Budget, Share};
use segments::Segments;
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, SystemTime};

/// Decisions that wait for the writer; more are dropped and counted.
const QUEUE: usize = 8192;
/// Bytes of decisions that wait, about.
const QUEUE_BYTES: usize = 64 << 20;
/// How long the writer lets decisions gather, so that callers need not wake it for each.
const GATHER: Duration = Duration::from_millis(20);
/// How often an idle log is looked through for what is too old.
const IDLE: Duration = Duration::from_secs(600);
/// Bytes that one query looks through; it says where to go on.
const MAX_SCAN: usize = 32 << 20;
/// How long a query waits for decisions that are under way to the files.
const FLUSH: Duration = Duration::from_secs(2);

/// One call of a plugin, as the log has it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LoggedDecision {
    /// Rising.
    pub id: u64,
    /// When it was answered: milliseconds since the Unix epoch.
    pub time: u64,
    /// The App's id.
    pub app: String,
    pub interface: Interface,
    /// The function of the interface that was called, such as `decide`.
    pub function: String,
    /// The binding's id.
    pub binding: String,
    pub plugin: String,
    /// `sha256:` and 64 hexadecimal digits.
    pub digest: String,
    /// The kind of the answer, such as `allow`, `deny` or `abstain`; `fault` when there is none.
    pub outcome: String,
    /// The [`crate::model::Context`] of the call.
    pub context: Box<RawValue>,
    /// Settings of this call that stood in front of what the plugin was configured with: those of a webhook subscription.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub settings: BTreeMap<String, String>,
    /// The question, such as a [`crate::model::Action`]; of an interface with several functions below the function's name, as
    /// [`crate::Trial::ask`] takes it.
    pub input: Box<RawValue>,
    /// The answer, such as a [`crate::model::Decision`]; none after a fault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Box<RawValue>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<LoggedFault>,
    /// Microseconds from the question to the answer.
    pub micros: u64,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoggedFault {
    /// One of [`FaultKind::NAMES`].
    pub kind: String,
    pub reason: String,
}

impl LoggedFault {
    pub(crate) fn new(fault: &FaultKind, redaction: &Redaction) -> LoggedFault {
        let reason = fault.to_string();
        LoggedFault { kind: fault.name().to_owned(), reason: redaction.text(&reason).unwrap_or(reason) }
    }
}

/// Which decisions are wanted. The default wants all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DecisionFilter {
    /// The App's id.
    pub app: Option<String>,
    pub interface: Option<Interface>,
    pub plugin: Option<String>,
    pub binding: Option<String>,
    /// Milliseconds since the Unix epoch.
    pub since: Option<u64>,
    pub outcome: Option<String>,
}

impl DecisionFilter {
    fn wants(&self, decision: &LoggedDecision) -> bool {
        let is = |wanted: &Option<String>, found: &str| wanted.as_deref().is_none_or(|wanted| wanted == found);
        is(&self.app, &decision.app)
            && is(&self.plugin, &decision.plugin)
            && is(&self.binding, &decision.binding)
            && is(&self.outcome, &decision.outcome)
            && self.interface.is_none_or(|interface| interface == decision.interface)
            && self.since.is_none_or(|since| decision.time >= since)
    }
}

/// A part of the log.
#[derive(Clone, Debug, Default)]
pub struct DecisionPage {
    /// Newest first.
    pub items: Vec<LoggedDecision>,
    /// Ask for what lies before this id next. A page can be empty and yet have one, when little of much is wanted.
    pub next: Option<u64>,
}

/// A call for the log.
pub(crate) struct Record {
    pub(crate) at: SystemTime,
    pub(crate) took: Duration,
    pub(crate) binding: Arc<Live>,
    pub(crate) case: Arc<dyn Case>,
    pub(crate) outcome: Outcome,
}

impl Record {
    fn line(self, id: u64) -> Option<Vec<u8>> {
        let (context, plugin) = (self.case.context(), &self.binding.plugin.identity);
        let redaction = Redaction::new(&self.binding.grants, self.case.settings());
        let mut line = LoggedDecision {
            id,
            time: unix_millis(self.at),
            app: context.app.id.clone(),
            interface: self.case.interface(),
            function: self.case.function().to_owned(),
            binding: self.binding.stored.id.clone(),
            plugin: plugin.name.to_string(),
            digest: plugin.digest.to_string(),
            outcome: "fault".to_owned(),
            context: to_raw_value(context).ok()?,
            settings: redaction.settings(self.case.settings()),
            input: self.case.input(&redaction)?,
            output: None,
            fault: None,
            micros: u64::try_from(self.took.as_micros()).unwrap_or(u64::MAX),
        };
        match self.outcome {
            Ok(answer) => {
                let mut answer = answer.json();
                redaction.value(&mut answer);
                answer_kind(&answer).clone_into(&mut line.outcome);
                line.output = to_raw_value(&answer).ok();
            }
            Err(fault) => line.fault = Some(LoggedFault::new(&fault, &redaction)),
        }
        serde_json::to_vec(&line).ok()
    }
}

enum Message {
    /// With its part of the queue's bytes.
    Record(Record, Share),
    /// Answered when everything before it can be read.
    Flush(SyncSender<()>),
}

/// The log, as calls and queries see it. The writer ends when it is dropped.
#[derive(Debug)]
pub(crate) struct DecisionLog {
    dir: PathBuf,
    sender: SyncSender<Message>,
    waiting: Budget,
    dropped: Arc<AtomicU64>,
}

impl DecisionLog {
    /// Opens the log in `dir` and starts its writer.
    pub(crate) fn open(dir: &Path, limits: DecisionLimits) -> io::Result<DecisionLog> {
        let segments = Segments::open(dir, limits)?;
        let (sender, receiver) = sync_channel(QUEUE);
        let dropped = Arc::<AtomicU64>::default();
        let lost = Arc::clone(&dropped);
        std::thread::Builder::new().name("plugin-decisions".into()).spawn(move || write(segments, &receiver, &lost))?;
        Ok(DecisionLog { dir: dir.to_owned(), sender, waiting: Budget::new(QUEUE_BYTES), dropped })
    }

    /// Hands a decision of about `bytes` bytes to the writer. Does not wait.
    pub(crate) fn record(&self, record: Record, bytes: usize) {
        let sent = self.waiting.take(bytes).is_some_and(|share| self.sender.try_send(Message::Record(record, share)).is_ok());
        if !sent {
            self.dropped.fetch_add(1, Relaxed);
        }
    }

    /// Decisions that are not in the log, because there were too many or they could not be written.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }

    /// Blocks until what was recorded before is in the files, or for two seconds.
    pub(crate) fn flush(&self) {
        let (done, written) = sync_channel(1);
        if self.sender.send(Message::Flush(done)).is_ok() {
            let _ = written.recv_timeout(FLUSH);
        }
    }

    /// Decisions from before the id `before`, newest first. Blocks while it reads.
    pub(crate) fn query(&self, filter: &DecisionFilter, before: Option<u64>, limit: usize) -> io::Result<DecisionPage> {
        if before.is_none() {
            self.flush();
        }
        let before = before.unwrap_or(u64::MAX);
        let (mut page, mut scanned) = (DecisionPage::default(), 0);
        for first in segments::numbers(&self.dir)?.into_iter().rev().filter(|first| *first < before) {
            let path = segments::path(&self.dir, first);
            let read = segments::read(&path).and_then(|bytes| Ok((bytes, segments::modified(&path.metadata()?))));
            let (bytes, last_at) = match read {
                Ok(read) => read,
                // It became too old meanwhile, and so did all before it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(page),
                Err(error) => return Err(error),
            };
            if filter.since.is_some_and(|since| last_at < since) {
                return Ok(page);
            }
            let lines: Vec<&[u8]> = segments::lines(&bytes).collect();
            for line in lines.into_iter().rev() {
                // What another version wrote and this one can't read is left out.
                let Ok(decision) = serde_json::from_slice::<LoggedDecision>(line) else { continue };
                if decision.id >= before || !filter.wants(&decision) {
                    continue;
                }
                if page.items.len() >= limit {
                    page.next = page.items.last().map(|last| last.id);
                    return Ok(page);
                }
                page.items.push(decision);
            }
            scanned += bytes.len();
            if scanned > MAX_SCAN {
                page.next = Some(first);
                return Ok(page);
            }
        }
        Ok(page)
    }
}

fn write(mut segments: Segments, receiver: &Receiver<Message>, dropped: &AtomicU64) {
    let mut lost = 0_u64;
    loop {
        let first = match receiver.recv_timeout(IDLE) {
            Ok(message) => Some(message),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        if matches!(first, Some(Message::Record(..))) {
            std::thread::sleep(GATHER);
        }
        let mut waiting = Vec::new();
        for message in first.into_iter().chain(receiver.try_iter().take(QUEUE)) {
            match message {
                Message::Record(record, _share) => {
                    let at = unix_millis(record.at);
                    let pushed = match record.line(segments.next()) {
                        Some(line) => segments.push(&line, at),
                        None => Err(io::Error::other("a decision can't be written as JSON")),
                    };
                    note(pushed, &mut lost, dropped);
                }
                Message::Flush(done) => waiting.push(done),
            }
        }
        note(segments.flush(), &mut lost, dropped);
        segments.prune(unix_millis(SystemTime::now()));
        for done in waiting {
            let _ = done.try_send(());
        }
    }
}

fn note(written: io::Result<()>, lost: &mut u64, dropped: &AtomicU64) {
    if let Err(error) = written {
        dropped.fetch_add(1, Relaxed);
        // Said once for each thousand, or a full disk would fill the server's log.
        if lost.is_multiple_of(1000) {
            tracing::warn!(%error, lost = *lost + 1, "the decision log can't be written: is the disk full?");
        }
        *lost += 1;
    }
}

pub(crate) fn unix_millis(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
