//! Shadow versions: a version that is asked what the active one was asked, off the caller's path; its answers are compared
//! with the active one's and never acted on.

use crate::api::Counters;
use crate::call::Caller;
use crate::case::{Case, Outcome};
use crate::compare::{Difference, differences};
use crate::decisions::{LoggedFault, unix_millis};
use crate::error::FaultKind;
use crate::grants::Grants;
use crate::plugin::Plugin;
use crate::redaction::{REDACTED, Redaction};
use crate::weight::{Budget, Share};
use serde::Serialize;
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::SystemTime;
use tokio::sync::{Semaphore, mpsc};

/// Calls that wait for shadow versions; more are dropped and counted.
const QUEUE: usize = 1024;
/// Bytes of such calls, about.
const QUEUE_BYTES: usize = 32 << 20;
/// Shadow calls at a time. They have sandboxes of their own beside those of live calls.
pub(crate) const CONCURRENT: u32 = 4;
/// Examples that are kept.
const EXAMPLES: usize = 50;
/// Fields whose differences are counted one by one.
const FIELDS: usize = 100;

/// What a shadow version would have done otherwise.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ShadowReport {
    /// The digest of the shadow version.
    pub digest: String,
    /// The digest of the active version.
    pub active: String,
    /// When it began: milliseconds since the Unix epoch.
    pub since: u64,
    /// Calls that both answered alike.
    pub same: u64,
    /// Calls that they answered differently, or that only the shadow version answered.
    pub different: u64,
    /// Calls that the shadow version did not answer.
    pub failed: u64,
    /// Calls that it was not asked because too many waited.
    pub dropped: u64,
    /// How often each field differed; at most 100 fields.
    pub fields: BTreeMap<String, u64>,
    /// What its calls cost.
    pub counters: Counters,
    /// The last 50 calls that were different or failed, newest first.
    pub examples: Vec<ShadowExample>,
}

/// A call that the two versions answered differently.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ShadowExample {
    /// Milliseconds since the Unix epoch.
    pub time: u64,
    pub context: Box<RawValue>,
    pub input: Box<RawValue>,
    pub active: ShadowAnswer,
    pub shadow: ShadowAnswer,
    /// Empty when either of them failed.
    pub differences: Vec<Difference>,
}

/// An answer, or why there is none.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum ShadowAnswer {
    Output(Value),
    Fault(LoggedFault),
}

impl ShadowAnswer {
    fn new(answer: Result<Value, FaultKind>, redaction: &Redaction) -> ShadowAnswer {
        match answer {
            Ok(mut output) => {
                redaction.value(&mut output);
                ShadowAnswer::Output(output)
            }
            Err(fault) => ShadowAnswer::Fault(LoggedFault::new(&fault, redaction)),
        }
    }
}

/// A shadow version of one binding.
pub(crate) struct Shadow {
    pub(crate) plugin: Plugin,
    active: String,
    caller: Caller,
    grants: Arc<Grants>,
    runner: Runner,
    since: u64,
    same: AtomicU64,
    different: AtomicU64,
    failed: AtomicU64,
    dropped: AtomicU64,
    examples: Mutex<Examples>,
}

#[derive(Default)]
struct Examples {
    last: VecDeque<ShadowExample>,
    fields: BTreeMap<String, u64>,
}

impl Shadow {
    pub(crate) fn new(plugin: Plugin, active: &str, caller: Caller, grants: Arc<Grants>, runner: Runner) -> Shadow {
        Shadow {
            plugin,
            active: active.to_owned(),
            caller,
            grants,
            runner,
            since: unix_millis(SystemTime::now()),
            same: AtomicU64::new(0),
            different: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            examples: Mutex::default(),
        }
    }

    /// Has a question asked again, which with its answer has about `bytes` bytes. Does not wait.
    pub(crate) fn offer(self: &Arc<Self>, case: Arc<dyn Case>, active: Outcome, bytes: usize) {
        let share = self.runner.waiting.take(bytes);
        let job = share.map(|share| Job { shadow: Arc::clone(self), case, active, _share: share });
        if !job.is_some_and(|job| self.runner.run(job)) {
            self.dropped.fetch_add(1, Relaxed);
        }
    }

    fn note(&self, case: &dyn Case, active: Result<Value, FaultKind>, shadow: Result<Value, FaultKind>) {
        let found = match (&active, &shadow) {
            (_, Err(_)) => {
                self.failed.fetch_add(1, Relaxed);
                Vec::new()
            }
            (Ok(active), Ok(shadow)) if active == shadow => {
                self.same.fetch_add(1, Relaxed);
                return;
            }
            (Ok(active), Ok(shadow)) => {
                self.different.fetch_add(1, Relaxed);
                differences(active, shadow)
            }
            (Err(_), Ok(_)) => {
                self.different.fetch_add(1, Relaxed);
                Vec::new()
            }
        };
        let redaction = Redaction::new(&self.grants, case.settings());
        let (Ok(context), Some(input)) = (to_raw_value(case.context()), case.input(&redaction)) else { return };
        // The differences are of what the versions answered; what is shown of them has no secrets.
        let (active, shadow) = (ShadowAnswer::new(active, &redaction), ShadowAnswer::new(shadow, &redaction));
        let shown = match (&active, &shadow) {
            (ShadowAnswer::Output(active), ShadowAnswer::Output(shadow)) => differences(active, shadow),
            _ => Vec::new(),
        };
        let clean = |found: Difference| {
            // What differs only in what is not shown is still said to differ.
            shown.iter().find(|shown| shown.field == found.field).cloned().unwrap_or_else(|| Difference {
                before: found.before.map(|_| REDACTED.into()),
                after: found.after.map(|_| REDACTED.into()),
                field: found.field,
            })
        };
        let example = ShadowExample {
            time: unix_millis(SystemTime::now()),
            context,
            input,
            differences: found.into_iter().map(clean).collect(),
            active,
            shadow,
        };
        let mut examples = self.examples.lock().unwrap_or_else(PoisonError::into_inner);
        let Examples { last, fields } = &mut *examples;
        for difference in &example.differences {
            let room = fields.len() < FIELDS;
            match fields.get_mut(&difference.field) {
                Some(count) => *count += 1,
                None if room => {
                    fields.insert(difference.field.clone(), 1);
                }
                None => {}
            }
        }
        if last.len() >= EXAMPLES {
            last.pop_back();
        }
        last.push_front(example);
    }

    pub(crate) fn report(&self) -> ShadowReport {
        let examples = self.examples.lock().unwrap_or_else(PoisonError::into_inner);
        ShadowReport {
            digest: self.plugin.identity.digest.to_string(),
            active: self.active.clone(),
            since: self.since,
            same: self.same.load(Relaxed),
            different: self.different.load(Relaxed),
            failed: self.failed.load(Relaxed),
            dropped: self.dropped.load(Relaxed),
            fields: examples.fields.clone(),
            counters: self.plugin.info().counters,
            examples: examples.last.iter().cloned().collect(),
        }
    }
}

struct Job {
    shadow: Arc<Shadow>,
    case: Arc<dyn Case>,
    active: Outcome,
    _share: Share,
}

impl Job {
    async fn run(self) {
        let Job { shadow, case, active, _share } = self;
        let answer = case.ask(&shadow.caller, &shadow.plugin, &shadow.grants).await;
        shadow.note(&*case, active.map(|answer| answer.json()), answer);
    }
}

/// The thread on which shadow versions run; it begins with the first of them.
#[derive(Clone)]
pub(crate) struct Runner {
    jobs: Arc<OnceLock<Option<mpsc::Sender<Job>>>>,
    waiting: Budget,
}

impl Default for Runner {
    fn default() -> Self {
        Runner { jobs: Arc::default(), waiting: Budget::new(QUEUE_BYTES) }
    }
}

impl Runner {
    /// False when too many calls wait.
    fn run(&self, job: Job) -> bool {
        let sender = self.jobs.get_or_init(|| {
            let (sender, receiver) = mpsc::channel(QUEUE);
            let started = std::thread::Builder::new().name("plugin-shadows".into()).spawn(move || work(receiver));
            match started {
                Ok(_) => Some(sender),
                Err(error) => {
                    tracing::error!(%error, "shadow versions can't be run");
                    None
                }
            }
        });
        sender.as_ref().is_some_and(|sender| sender.try_send(job).is_ok())
    }
}

fn work(mut jobs: mpsc::Receiver<Job>) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "shadow versions can't be run");
            return;
        }
    };
    runtime.block_on(async {
        let permits = Arc::new(Semaphore::new(CONCURRENT as usize));
        while let Some(job) = jobs.recv().await {
            let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
            tokio::spawn(async move {
                job.run().await;
                drop(permit);
            });
        }
        // What was begun is finished.
        let _ = permits.acquire_many(CONCURRENT).await;
    });
}
