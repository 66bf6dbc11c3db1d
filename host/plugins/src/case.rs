//! A question with its context, kept after the call: for the decision log, which writes it down, and for a shadow version,
//! which is asked it again. Which interface it belongs to is forgotten, so that both treat all alike.

use crate::api::Interface;
use crate::call::{self, Caller};
use crate::error::FaultKind;
use crate::grants::Grants;
use crate::model::{Action, Context, RoomType};
use crate::plugin::Plugin;
use crate::question::{
    AttemptedQuestion, DeliverQuestion, ListQuestion, OpenQuestion, OutputModeQuestion, PolicyQuestion, Question, ReadQuestion,
    StatQuestion,
};
use crate::redaction::Redaction;
use crate::weight::Weight;
use serde::Serialize;
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// Settings of one call, which stand in front of what the plugin was configured with.
pub(crate) type Settings = BTreeMap<String, String>;

/// For calls without.
pub(crate) static NO_SETTINGS: Settings = Settings::new();

/// A question that can be kept.
pub(crate) trait Asked:
    Question<Ask: Clone + Serialize + Weight + Send + 'static, Answer: Clone + Serialize + Weight> + 'static
{
    /// Whether it is logged and shadowed.
    const KEPT: bool = true;

    /// The type of the room that it is about, if it is about one.
    fn room_type(_ask: &Self::Ask) -> Option<RoomType> {
        None
    }
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

impl Asked for DeliverQuestion {}
impl Asked for AttemptedQuestion {}
impl Asked for OpenQuestion {}
impl Asked for StatQuestion {}
impl Asked for ListQuestion {}

/// The bytes of a film are no decision.
impl Asked for ReadQuestion {
    const KEPT: bool = false;
}

/// A question of any interface.
pub(crate) trait Case: Send + Sync {
    fn interface(&self) -> Interface;

    /// The function of the interface that is called.
    fn function(&self) -> &'static str;

    fn context(&self) -> &Context;

    fn settings(&self) -> &Settings;

    /// The question as JSON, without what is not shown: in the form in which [`crate::Trial`] is asked it. None only if it can't be
    /// written as JSON.
    fn input(&self, redaction: &Redaction) -> Option<Box<RawValue>>;

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
pub(crate) fn keep<Q: Asked>(context: &Context, settings: &Settings, ask: &Q::Ask) -> Arc<dyn Case> {
    Arc::new(Kept::<Q> { context: context.clone(), settings: settings.clone(), ask: ask.clone() })
}

struct Kept<Q: Asked> {
    context: Context,
    settings: Settings,
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

    fn settings(&self) -> &Settings {
        &self.settings
    }

    fn input(&self, redaction: &Redaction) -> Option<Box<RawValue>> {
        let mut input = serde_json::to_value(&self.ask).ok()?;
        redaction.value(&mut input);
        match Q::INTERFACE.has_functions() {
            true => to_raw_value(&BTreeMap::from([(Q::FUNCTION, input)])).ok(),
            false => to_raw_value(&input).ok(),
        }
    }

    fn ask<'a>(&'a self, caller: &'a Caller, plugin: &'a Plugin, grants: &'a Arc<Grants>) -> Asking<'a> {
        Box::pin(async move {
            let grants = with_settings(grants, &self.settings);
            Ok(call::ask::<Q>(caller, plugin, &grants, &self.context, &self.ask).await?.json())
        })
    }
}

/// What a plugin is granted, with these settings in front of its own.
pub(crate) fn with_settings(grants: &Arc<Grants>, settings: &Settings) -> Arc<Grants> {
    if settings.is_empty() {
        return Arc::clone(grants);
    }
    let mut grants = Grants::clone(grants);
    grants.config.extend(settings.iter().map(|(name, value)| (name.clone(), value.clone())));
    Arc::new(grants)
}
