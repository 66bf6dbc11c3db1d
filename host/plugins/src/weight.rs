//! About how many bytes questions and answers hold, so that the queues of those who keep them are bounded by bytes. Counted is what a
//! stranger or a plugin can make long.

use crate::model::{
    Action, AttemptedRequest, ByteRange, Connection, Decision, Delivery, FileInfo, ListEntry, ListRequest, Listing, Outcome,
    OutputModeAnswer, OutputModeRequest, Pair, SourceError, SourcePlan, SourceRequest, Token, Verdict, WebhookAnswer,
    WebhookEvent,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

pub(crate) trait Weight {
    fn weight(&self) -> usize;
}

impl Weight for String {
    fn weight(&self) -> usize {
        self.len()
    }
}

impl<T: Weight> Weight for Option<T> {
    fn weight(&self) -> usize {
        self.as_ref().map_or(0, T::weight)
    }
}

impl<T: Weight> Weight for [T] {
    fn weight(&self) -> usize {
        size_of_val(self) + self.iter().map(T::weight).sum::<usize>()
    }
}

impl Weight for Pair {
    fn weight(&self) -> usize {
        self.name.len() + self.value.len()
    }
}

impl Weight for Connection {
    fn weight(&self) -> usize {
        self.user_agent.weight() + self.parameters.weight()
    }
}

impl Weight for Token {
    fn weight(&self) -> usize {
        self.permissions.weight() + self.claims.weight()
    }
}

impl Weight for Action {
    fn weight(&self) -> usize {
        match self {
            Action::Publish(request) => request.connection.weight(),
            Action::Play(request) => request.connection.weight() + request.token.weight(),
            Action::Join(request) => request.connection.weight() + request.token.weight(),
            Action::Promote(request) | Action::Demote(request) => request.by_permissions.weight(),
            Action::Create(request) | Action::Start(request) | Action::End(request) => request.connection.weight(),
            Action::PushOut(request) => request.target.len(),
            Action::IssueToken(request) => request.connection.weight() + request.permissions.weight(),
        }
    }
}

impl Weight for Decision {
    fn weight(&self) -> usize {
        match self {
            Decision::Allow(grant) => grant.permissions.weight() + grant.labels.weight(),
            Decision::Deny(denial) => denial.reason.len(),
            Decision::Abstain => 0,
        }
    }
}

impl Weight for OutputModeRequest {
    fn weight(&self) -> usize {
        self.connection.weight() + self.url_mode.weight()
    }
}

impl Weight for OutputModeAnswer {
    fn weight(&self) -> usize {
        match self {
            OutputModeAnswer::Refuse(reason) => reason.len(),
            OutputModeAnswer::UseOutputs(outputs) => outputs.transcoding_profile.weight(),
            OutputModeAnswer::Abstain => 0,
        }
    }
}

impl Weight for WebhookEvent {
    fn weight(&self) -> usize {
        self.data.len()
    }
}

impl Weight for Delivery {
    fn weight(&self) -> usize {
        self.url.len() + self.headers.weight() + self.body.len()
    }
}

impl Weight for WebhookAnswer {
    fn weight(&self) -> usize {
        match self {
            WebhookAnswer::Deliver(deliveries) => deliveries.weight(),
            WebhookAnswer::Abstain => 0,
        }
    }
}

impl Weight for Outcome {
    fn weight(&self) -> usize {
        match self {
            Outcome::Response(response) => response.body.len(),
            Outcome::Failed(reason) => reason.len(),
        }
    }
}

impl Weight for SourcePlan {
    fn weight(&self) -> usize {
        match self {
            SourcePlan::File(file) => file.path.len(),
            SourcePlan::Http(http) => http.url.len() + http.headers.weight(),
            SourcePlan::S3(s3) => s3.bucket.len() + s3.key.len() + s3.endpoint.weight(),
            SourcePlan::Own(own) => own.handle.len(),
        }
    }
}

impl Weight for AttemptedRequest {
    fn weight(&self) -> usize {
        self.event.weight() + self.delivery.weight() + self.attempt.outcome.weight()
    }
}

impl Weight for Verdict {
    fn weight(&self) -> usize {
        match self {
            Verdict::GiveUp(reason) => reason.len(),
            Verdict::Done | Verdict::RetryAfter(_) => 0,
        }
    }
}

impl Weight for SourceRequest {
    fn weight(&self) -> usize {
        self.uri.len()
    }
}

impl Weight for ListRequest {
    fn weight(&self) -> usize {
        self.uri.len() + self.cursor.weight()
    }
}

impl Weight for ByteRange {
    fn weight(&self) -> usize {
        self.handle.len()
    }
}

impl Weight for Vec<u8> {
    fn weight(&self) -> usize {
        self.len()
    }
}

impl Weight for FileInfo {
    fn weight(&self) -> usize {
        self.media_type.weight()
    }
}

impl Weight for ListEntry {
    fn weight(&self) -> usize {
        self.uri.len() + self.info.weight()
    }
}

impl Weight for Listing {
    fn weight(&self) -> usize {
        match self {
            Listing::Place(plan) => plan.weight(),
            Listing::Entries(page) => page.entries.weight(),
        }
    }
}

/// The texts of errors have a kibibyte at most.
impl<T: Weight> Weight for Result<T, SourceError> {
    fn weight(&self) -> usize {
        self.as_ref().map_or(0, T::weight)
    }
}

/// Bytes that may wait at a time.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    used: Arc<AtomicUsize>,
    most: usize,
}

/// A part of a budget, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    used: Arc<AtomicUsize>,
    bytes: usize,
}

impl Budget {
    pub(crate) fn new(most: usize) -> Budget {
        Budget { used: Arc::default(), most }
    }

    /// None when not so much is left.
    pub(crate) fn take(&self, bytes: usize) -> Option<Share> {
        let share = Share { used: Arc::clone(&self.used), bytes };
        let before = self.used.fetch_add(bytes, Relaxed);
        // Else the share goes back as it is dropped.
        (before.saturating_add(bytes) <= self.most).then_some(share)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.used.fetch_sub(self.bytes, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_given_back() {
        let budget = Budget::new(100);
        let first = budget.take(60).unwrap();
        assert!(budget.take(41).is_none());
        let second = budget.take(40).unwrap();
        assert!(budget.take(1).is_none());
        drop((first, second));
        assert!(budget.take(100).is_some());
    }
}
