//! The dispatcher: gives lanes their turns, woken by commits, by the ends of turns and by the next due time. The outbox in the database
//! is the truth; what is kept here is only what is under way.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use flyloft_rooms::{App, Millis};
use sqlx::SqliteConnection;
use tokio::task::{Id, JoinSet};
use tokio_util::sync::CancellationToken;

use super::Webhooks;
use super::journey::{Journey, State};
use super::planner::{self, Attempt, Delivery, Outcome, Subscription, Verdict};
use crate::rooms::now;
use crate::store::{DueLane, Lane, Planned, Progress, Queued, QueuedState, Store, StoreError, Webhook};

/// How long nothing is tried after the database has failed.
const AFTER_FAULT: Duration = Duration::from_secs(1);
/// The longest sleep while something waits: the wall clock may be set, or the machine suspended.
const LOOK_AGAIN: Duration = Duration::from_secs(60);
/// Characters of an error that are kept.
const MAX_ERROR: usize = 500;
/// How long attempts under way may go on when the server stops. What is broken off is sent again.
const STOPPING: Duration = Duration::from_secs(2);

/// What is under way.
#[derive(Default)]
struct Turns {
    tasks: JoinSet<Result<(), StoreError>>,
    lanes: HashMap<Id, DueLane>,
}

impl Turns {
    fn of_app(&self, app: &str) -> usize {
        self.lanes.values().filter(|due| due.app_id == app).count()
    }

    /// The next turn that ends, with whether it could do its work. Waits for ever when there is none.
    async fn ended(&mut self) -> bool {
        let (id, done) = match self.tasks.join_next_with_id().await {
            Some(Ok((id, Ok(())))) => (id, true),
            Some(Ok((id, Err(error)))) => {
                tracing::error!(%error, "a webhook delivery could not be kept: trying again");
                (id, false)
            }
            Some(Err(error)) => {
                tracing::error!(%error, "a webhook delivery broke off: trying again");
                (error.id(), false)
            }
            None => return std::future::pending().await,
        };
        self.lanes.remove(&id);
        done
    }
}

impl Webhooks {
    /// Delivers until `stop`.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let outbox = self.rooms.store().outbox();
        let mut turns = Turns::default();
        describe_metrics();
        loop {
            metrics::gauge!("flyloft_webhook_outbox_depth").set(self.rooms.store().depth() as f64);
            let wait = match self.give_turns(&mut turns).await {
                Ok(next) => {
                    next.map(|next| Duration::from_millis(u64::try_from(next.saturating_sub(now())).unwrap_or(0)).min(LOOK_AGAIN))
                }
                Err(error) => {
                    tracing::error!(%error, "the webhooks' outbox can't be read: trying again");
                    tokio::select! {
                        () = stop.cancelled() => break,
                        () = tokio::time::sleep(AFTER_FAULT) => continue,
                    }
                }
            };
            let due = async {
                match wait {
                    Some(wait) => tokio::time::sleep(wait).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => break,
                () = outbox.notified() => {}
                () = due => {}
                done = turns.ended() => if !done {
                    tokio::time::sleep(AFTER_FAULT).await;
                }
            }
        }
        let finish = async { while turns.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(STOPPING, finish).await.is_err() {
            tracing::info!(
                attempts = turns.tasks.len(),
                "webhook attempts were broken off; they are made again at the next start"
            );
        }
    }

    /// Gives turns to lanes that are due, as many as may be under way. Returns when the next one is due that is not due now.
    async fn give_turns(self: &Arc<Self>, turns: &mut Turns) -> Result<Option<Millis>, StoreError> {
        let most = self.settings.max_in_flight;
        let mut full: Vec<String> = Vec::new();
        // One moment for both questions: what is not due in the first one must show in the second.
        let now = now();
        while turns.lanes.len() < most {
            for due in turns.lanes.values() {
                if !full.contains(&due.app_id) && turns.of_app(&due.app_id) >= self.settings.max_in_flight_per_app {
                    full.push(due.app_id.clone());
                }
            }
            // Lanes under way are due, too, and would take up the whole answer.
            let limit = u32::try_from(most.saturating_add(1)).unwrap_or(u32::MAX);
            let found = Store::due_lanes(&mut *self.rooms.store().read().await?, now, &full, limit).await?;
            let whole = found.len() <= most;
            let mut given = false;
            for due in found {
                let busy = turns.lanes.values().any(|other| other.lane == due.lane);
                if busy || turns.lanes.len() >= most || turns.of_app(&due.app_id) >= self.settings.max_in_flight_per_app {
                    continue;
                }
                let (this, lane) = (Arc::clone(self), due.lane.clone());
                let task = turns.tasks.spawn(async move { this.turn(&lane).await });
                turns.lanes.insert(task.id(), due);
                given = true;
            }
            if whole || !given {
                break;
            }
        }
        Store::next_turn(&mut *self.rooms.store().read().await?, now).await
    }

    /// One turn of a lane: one attempt at its first delivery that is due.
    async fn turn(&self, lane: &Lane) -> Result<(), StoreError> {
        let started = now();
        let (webhook, app, head) = {
            let mut reading = self.rooms.store().read().await?;
            let webhook = Store::webhook(&mut reading, &lane.webhook_id).await?.filter(|webhook| webhook.enabled);
            let Some(webhook) = webhook else { return Ok(()) };
            let app = webhook_app(&mut reading, &webhook).await?;
            (webhook, app, Store::head(&mut reading, lane, started).await?)
        };
        let Some(head) = head else { return self.end_turn(lane, None, &[]).await };
        let (subscription, event) = (Subscription::new(&webhook, app), planner::Event::from(&head.event));
        let mut journey = journey(&head.progress);
        let Some(number) = journey.begin(started) else { return self.end_turn(lane, None, &[]).await };

        let (delivery, fresh) = match &head.planned {
            Some(planned) => (delivery(planned), None),
            None => match self.planner.plan(&subscription, &event).await {
                Ok(plan) if plan.is_empty() => {
                    journey.end(now(), &Verdict::Done, &self.settings.retry, 0.0);
                    return self.end_turn(lane, Some((&head, &journey, None)), &[]).await;
                }
                Ok(plan) => match plan.iter().map(planned).collect::<Result<Vec<_>, _>>() {
                    Ok(all) if all.len() > 1 => {
                        // The others must not be forgotten when the first one was delivered.
                        self.keep_plan(&head, &all).await?;
                        (Ok(plan[0].clone()), None)
                    }
                    Ok(mut all) => (Ok(plan[0].clone()), all.pop()),
                    Err(reason) => (Err(reason), None),
                },
                Err(error) => (Err(error.to_string()), None),
            },
        };
        let (outcome, verdict) = match &delivery {
            Ok(delivery) => {
                let outcome = self.attempt(&webhook, &head.id, delivery).await;
                let attempt = Attempt { number, outcome };
                let verdict = self.planner.attempted(&subscription, &event, delivery, &attempt).await;
                (attempt.outcome, verdict)
            }
            Err(reason) => (Outcome::Transport { reason: reason.clone() }, Verdict::RetryAfter(None)),
        };
        journey.end(now(), &verdict, &self.settings.retry, roll());
        report(&webhook, &head, &journey, &outcome);
        self.end_turn(lane, Some((&head, &journey, Some(&outcome))), fresh.as_slice()).await
    }

    async fn keep_plan(&self, head: &Queued, plan: &[Planned]) -> Result<(), StoreError> {
        let mut tx = self.rooms.store().write().await?;
        tx.plan_delivery(head, plan, now()).await?;
        tx.commit().await
    }

    /// Keeps what became of the attempt in one write with the lane's next turn. `fresh` is a plan that is not kept yet.
    async fn end_turn(
        &self,
        lane: &Lane,
        ended: Option<(&Queued, &Journey, Option<&Outcome>)>,
        fresh: &[Planned],
    ) -> Result<(), StoreError> {
        let now = now();
        let mut tx = self.rooms.store().write().await?;
        if let Some((head, journey, outcome)) = ended {
            match progress(journey, outcome, now) {
                None => tx.remove_delivery(&head.id).await?,
                Some(progress) => {
                    if !fresh.is_empty() {
                        tx.plan_delivery(head, fresh, now).await?;
                    }
                    tx.update_delivery(&head.id, &progress, now).await?;
                    if progress.state == QueuedState::Dead {
                        let keep = Millis::try_from(self.settings.keep_dead.as_millis()).unwrap_or(Millis::MAX);
                        tx.prune_dead(now.saturating_sub(keep)).await?;
                    }
                }
            }
        }
        tx.end_turn(lane, now).await?;
        tx.commit().await
    }
}

/// The App that a webhook belongs to; the database lets none go that has one.
pub(super) async fn webhook_app(c: &mut SqliteConnection, webhook: &Webhook) -> Result<App, StoreError> {
    let missing = || StoreError::Corrupt { column: "app_id", value: webhook.app_id.as_str().to_owned() };
    Store::app(c, &webhook.app_id).await?.ok_or_else(missing)
}

fn describe_metrics() {
    metrics::describe_counter!("flyloft_webhook_attempts_total", "Attempts at webhook deliveries, by what was answered");
    metrics::describe_counter!("flyloft_webhook_results_total", "Attempts at webhook deliveries, by what became of the delivery");
    metrics::describe_gauge!("flyloft_webhook_outbox_depth", "Webhook deliveries that are pending or waiting");
    metrics::describe_histogram!("flyloft_webhook_attempt_seconds", "How long attempts at webhook deliveries took");
}

/// A chance from 0 up to 1. Where the system has none, everybody waits for the same time.
fn roll() -> f64 {
    getrandom::u32().map_or(0.5, |bits| f64::from(bits) / f64::from(u32::MAX))
}

fn planned(delivery: &Delivery) -> Result<Planned, String> {
    let request = serde_json::to_string(delivery).map_err(|error| error.to_string())?;
    Ok(Planned { request, body: delivery.body.to_vec() })
}

fn delivery(planned: &Planned) -> Result<Delivery, String> {
    let delivery: Delivery =
        serde_json::from_str(&planned.request).map_err(|error| format!("its plan can't be read: {error}"))?;
    Ok(Delivery { body: Bytes::from(planned.body.clone()), ..delivery })
}

fn journey(progress: &Progress) -> Journey {
    let state = match progress.state {
        QueuedState::Pending => State::Pending,
        QueuedState::Waiting => State::Waiting { until: progress.next_at },
        QueuedState::Dead => State::Dead { reason: progress.last_error.clone().unwrap_or_default() },
    };
    Journey { state, attempts: progress.attempts, since: progress.since }
}

/// What is kept of a delivery; nothing when it was made.
fn progress(journey: &Journey, outcome: Option<&Outcome>, now: Millis) -> Option<Progress> {
    let (state, next_at) = match &journey.state {
        State::Done => return None,
        State::Waiting { until } => (QueuedState::Waiting, *until),
        State::Dead { .. } => (QueuedState::Dead, now),
        State::Pending | State::Sending => (QueuedState::Pending, now),
    };
    let (last_status, said) = match outcome {
        Some(Outcome::Status { code, .. }) => (Some(*code), None),
        Some(Outcome::Transport { reason }) => (None, Some(reason.as_str())),
        None => (None, None),
    };
    let why = match &journey.state {
        State::Dead { reason } => Some(reason.as_str()),
        _ => None,
    };
    let error = [why, said].into_iter().flatten().collect::<Vec<_>>().join(": ");
    let last_error = (!error.is_empty()).then(|| error.chars().take(MAX_ERROR).collect());
    Some(Progress { state, attempts: journey.attempts, since: journey.since, next_at, last_status, last_error })
}

/// Counts and logs an attempt. URLs can hold secrets and are not logged.
fn report(webhook: &Webhook, head: &Queued, journey: &Journey, outcome: &Outcome) {
    let said = match outcome {
        Outcome::Status { code, .. } => format!("status {code}"),
        Outcome::Transport { reason } => reason.clone(),
    };
    let (webhook, delivery, attempts) = (&webhook.id, &head.id, journey.attempts);
    let result = match &journey.state {
        State::Done => {
            tracing::debug!(webhook, delivery, attempts, event = %head.event.id, "webhook delivered");
            "done"
        }
        State::Dead { reason } => {
            tracing::warn!(webhook, delivery, attempts, event = %head.event.id, reason, said, "webhook given up");
            "dead"
        }
        _ => {
            tracing::info!(webhook, delivery, attempts, event = %head.event.id, said, "webhook not delivered: trying again");
            "retry"
        }
    };
    metrics::counter!("flyloft_webhook_results_total", "result" => result).increment(1);
}
