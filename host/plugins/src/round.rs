//! One question on its way through its chain: it is let in, asked of one binding after another, logged, and handed to shadow
//! versions. All interfaces go this way.

use crate::api::Decided;
use crate::breaker::Report;
use crate::call;
use crate::case::{self, Asked, Case, Outcome, Settings};
use crate::chain::{Live, Snapshot};
use crate::decisions::Record;
use crate::error::{Fault, FaultKind};
use crate::model::Context;
use crate::permits::Permit;
use crate::question::Question;
use crate::registry::Registry;
use crate::weight::Weight;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

/// A question with what is known about it so far.
pub(crate) struct Round<'a, Q: Question> {
    registry: &'a Registry,
    context: &'a Context,
    settings: &'a Settings,
    ask: &'a Q::Ask,
    started: Instant,
    /// The question for those who keep it, made for the first of them.
    kept: Option<Arc<dyn Case>>,
}

impl<'a, Q: Asked> Round<'a, Q> {
    /// `settings` stand in front of what the plugin was configured with.
    pub(crate) fn new(registry: &'a Registry, context: &'a Context, settings: &'a Settings, ask: &'a Q::Ask) -> Round<'a, Q> {
        Round { registry, context, settings, ask, started: Instant::now(), kept: None }
    }

    /// The bindings to be asked.
    pub(crate) fn chain<'s>(&self, snapshot: &'s Snapshot) -> &'s [Arc<Live>] {
        snapshot.chain(Q::INTERFACE, &self.context.app.id, Q::room_type(self.ask))
    }

    /// Waits until there is room for a call. When there is none, the fault is the first binding's.
    pub(crate) async fn permit(&mut self, chain: &[Arc<Live>]) -> Result<Permit, Fault> {
        let crowd = match self.registry.permits.acquire(&self.context.app.id).await {
            Ok(permit) => return Ok(permit),
            Err(crowd) => crowd,
        };
        let kind = FaultKind::Overloaded { waiting: crowd.waiting, of_app: crowd.of_app };
        Err(match chain.first() {
            Some(binding) => {
                binding.plugin.tally.fault(&kind);
                self.record(binding, &Err(kind.clone()), self.started);
                fault(binding, self.context, kind)
            }
            None => Fault { plugin: String::new(), digest: String::new(), call: self.context.call_id.clone(), kind },
        })
    }

    /// Asks one binding, unless its breaker is open.
    pub(crate) async fn ask(&mut self, binding: &Arc<Live>) -> Result<Q::Answer, Fault> {
        let started = Instant::now();
        let grants = case::with_settings(&binding.grants, self.settings);
        let call = call::ask::<Q>(&binding.caller, &binding.plugin, &grants, self.context, self.ask);
        let answer = guarded(binding, call).await;
        if Q::KEPT
            && let Some(shadow) = &binding.shadow
            && !matches!(answer, Err(FaultKind::BreakerOpen { .. }))
        {
            let weight = self.weight(&answer);
            shadow.offer(self.keep(), outcome::<Q>(&answer), weight);
        }
        self.record(binding, &answer, started);
        answer.map_err(|kind| fault(binding, self.context, kind))
    }

    pub(crate) fn decided<T>(&self, answer: T, binding: &Live) -> Decided<T> {
        let (identity, duration) = (&binding.plugin.identity, self.started.elapsed());
        tracing::debug!(plugin = &*identity.name, micros = duration.as_micros() as u64, "plugin answered");
        Decided { answer, plugin: Arc::clone(&identity.name), digest: Arc::clone(&identity.digest), duration }
    }

    /// The question for those who keep it.
    fn keep(&mut self) -> Arc<dyn Case> {
        let (context, settings, ask) = (self.context, self.settings, self.ask);
        Arc::clone(self.kept.get_or_insert_with(|| case::keep::<Q>(context, settings, ask)))
    }

    /// About how many bytes it takes to keep the question with an answer.
    fn weight(&self, answer: &Result<Q::Answer, FaultKind>) -> usize {
        const REST: usize = 1 << 10;
        REST + self.ask.weight() + answer.as_ref().map_or(0, Weight::weight)
    }

    fn record(&mut self, binding: &Arc<Live>, answer: &Result<Q::Answer, FaultKind>, started: Instant) {
        let Some(log) = self.registry.log.as_ref().filter(|_| Q::KEPT) else { return };
        let weight = self.weight(answer);
        let record = Record {
            at: SystemTime::now(),
            took: started.elapsed(),
            binding: Arc::clone(binding),
            case: self.keep(),
            outcome: outcome::<Q>(answer),
        };
        log.record(record, weight);
    }
}

/// The answer for those who keep it.
fn outcome<Q: Asked>(answer: &Result<Q::Answer, FaultKind>) -> Outcome {
    match answer {
        Ok(answer) => Ok(Box::new(answer.clone())),
        Err(kind) => Err(kind.clone()),
    }
}

/// Makes a call unless the binding's breaker is open, and tells the breaker how it went.
async fn guarded<T>(binding: &Live, call: impl Future<Output = Result<T, FaultKind>>) -> Result<T, FaultKind> {
    match binding.breaker.admit(Instant::now()) {
        Ok(ticket) => {
            let answer = call.await;
            let report = match &answer {
                Ok(_) => Report::Answered,
                Err(FaultKind::Overloaded { .. }) => Report::Nothing,
                Err(_) => Report::Failed,
            };
            ticket.report(report, Instant::now());
            answer
        }
        Err(left) => {
            let kind = FaultKind::BreakerOpen { probe_in_ms: u64::try_from(left.as_millis()).unwrap_or(u64::MAX) };
            binding.plugin.tally.fault(&kind);
            Err(kind)
        }
    }
}

fn fault(binding: &Live, context: &Context, kind: FaultKind) -> Fault {
    let (identity, binding, call) = (&binding.plugin.identity, &binding.stored.id, &context.call_id);
    let (plugin, digest) = (&*identity.name, &*identity.digest);
    match kind {
        // Its failures were said one by one.
        FaultKind::BreakerOpen { .. } => tracing::debug!(plugin, digest, binding, call, "plugin not asked: {kind}"),
        _ => tracing::warn!(plugin, digest, binding, call, fault = kind.name(), "plugin failed: {kind}"),
    }
    Fault { plugin: plugin.to_owned(), digest: digest.to_owned(), call: call.clone(), kind }
}
