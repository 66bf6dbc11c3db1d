//! A question with its context, kept after the call: for the decision log, which writes it down, and for a shadow version,
//! which is asked it again. Which interface it belongs to is forgotten, so that both treat all alike.

use crate::api::Interface;
use crate::call::{self, Caller};
use crate::error::FaultKind;
use crate::grants::Grants;
use crate::model::{Action, Context, RoomType};
use crate::plugin::Plugin;
use crate::question::{OutputModeQuestion, PolicyQuestion, Question};
use serde::Serialize;
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// A question that can be kept.
pub(crate) trait Asked: Question<Ask: Clone + Serialize + Send + 'static, Answer: Clone + Serialize> + 'static {
    /// The type of the room that it is about, if it is about one.
    fn room_type(ask: &Self::Ask) -> Option<RoomType>;
}

impl Asked for PolicyQuestion {
    fn room_type(ask: &Action) -> Option<RoomType> {
        let room = match ask {
            Action::Publish(request) => request.room.as_ref(),
            Action::Play(request) => request.room.as_ref(),
            Action::Join(request) => Some(&request.room),
            Action::Promote(request) | Action::Demote(request) => Some(&request.room),
            Action::Create(request) | Action::Start(request) | Action::End(request) => Some(&request.room),
            Action::PushOut(request) => request.room.as_ref(),
            Action::IssueToken(request) => request.room.as_ref(),
        };
        room.map(|room| room.kind)
    }
}

impl Asked for OutputModeQuestion {
    fn room_type(ask: &Self::Ask) -> Option<RoomType> {
        ask.room.as_ref().map(|room| room.kind)
    }
}

/// A question of any interface.
pub(crate) trait Case: Send + Sync {
    fn interface(&self) -> Interface;

    /// The function of the interface that is called.
    fn function(&self) -> &'static str;

    fn context(&self) -> &Context;

    /// The question as JSON; None only if it can't be written as JSON.
    fn input(&self) -> Option<Box<RawValue>>;

    /// Asks a plugin the question.
    fn ask<'a>(&'a self, caller: &'a Caller, plugin: &'a Plugin, grants: &'a Arc<Grants>) -> Asking<'a>;
}

/// The answer as JSON.
pub(crate) type Asking<'a> = Pin<Box<dyn Future<Output = Result<Value, FaultKind>> + Send + 'a>>;

/// An answer of any interface.
pub(crate) trait Answer: Send + Sync {
    fn json(&self) -> Value;
}

impl<T: Serialize + Send + Sync> Answer for T {
    fn json(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }
}

/// What came of a question: an answer, or what went wrong.
pub(crate) type Outcome = Result<Box<dyn Answer>, FaultKind>;

/// Keeps a question.
pub(crate) fn keep<Q: Asked>(context: &Context, ask: &Q::Ask) -> Arc<dyn Case> {
    Arc::new(Kept::<Q> { context: context.clone(), ask: ask.clone() })
}

struct Kept<Q: Asked> {
    context: Context,
    ask: Q::Ask,
}

impl<Q: Asked> Case for Kept<Q> {
    fn interface(&self) -> Interface {
        Q::INTERFACE
    }

    fn function(&self) -> &'static str {
        Q::FUNCTION
    }

    fn context(&self) -> &Context {
        &self.context
    }

    fn input(&self) -> Option<Box<RawValue>> {
        to_raw_value(&self.ask).ok()
    }

    fn ask<'a>(&'a self, caller: &'a Caller, plugin: &'a Plugin, grants: &'a Arc<Grants>) -> Asking<'a> {
        Box::pin(async move { Ok(call::ask::<Q>(caller, plugin, grants, &self.context, &self.ask).await?.json()) })
    }
}

/// Puts `[secret]` where an answer has the text of a secret that its plugin was granted.
pub(crate) fn redact(value: &mut Value, grants: &Grants) {
    if grants.secrets.is_empty() {
        return;
    }
    match value {
        Value::String(text) => {
            if let Some(clean) = redacted(text, grants) {
                *text = clean;
            }
        }
        Value::Array(values) => values.iter_mut().for_each(|value| redact(value, grants)),
        Value::Object(fields) => fields.values_mut().for_each(|value| redact(value, grants)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The text without the secrets that it has; None when it has none.
pub(crate) fn redacted(text: &str, grants: &Grants) -> Option<String> {
    let secrets = grants.secrets.values().map(crate::Secret::reveal);
    let found: Vec<&str> = secrets.filter(|secret| !secret.is_empty() && text.contains(secret)).collect();
    (!found.is_empty()).then(|| found.iter().fold(text.to_owned(), |text, secret| text.replace(secret, "[secret]")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Secret;
    use serde_json::json;

    #[test]
    fn secrets_are_taken_out_of_answers() {
        let mut grants = Grants::default();
        let mut answer = json!({"deny": {"code": "no", "reason": "The key hunter2 is wrong, hunter2!"}});
        let before = answer.clone();
        redact(&mut answer, &grants);
        assert_eq!(answer, before);
        grants.secrets.insert("key".into(), Secret::new("hunter2"));
        grants.secrets.insert("unset".into(), Secret::new(""));
        redact(&mut answer, &grants);
        assert_eq!(answer["deny"]["reason"], "The key [secret] is wrong, [secret]!");
    }
}
