//! One component asked directly, outside of every chain: to try a plugin before it is deployed, and to ask a version what
//! it would have answered to recorded questions. Questions and answers are JSON, in the serde form of [`crate::model`].

use crate::api::{CallLimits, Config, Inspection, Interface};
use crate::call::{self, Caller};
use crate::case::with_settings;
use crate::error::{FaultKind, Rejected};
use crate::grants::Grants;
use crate::imports::MemoryKeyValue;
use crate::model::Context;
use crate::plugin::Plugin;
use crate::question::{
    AttemptedQuestion, DeliverQuestion, ListQuestion, OpenQuestion, OutputModeQuestion, PolicyQuestion, Question, ReadQuestion,
    StatQuestion,
};
use crate::redaction::Redaction;
use crate::registry;
use crate::turns::{self, Turns};
use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;
use wasmtime::Engine;

/// Fields of a message's list that are shown.
const SHOWN_FIELDS: usize = 16;

/// A component that is loaded to be tried, with a key-value store of its own that is empty at first.
pub struct Trial {
    plugin: Arc<Plugin>,
    caller: Caller,
    grants: Arc<Grants>,
}

/// Why a trial has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrialError {
    /// The component does not export the interface.
    #[error("the component does not export {}; it exports {}", interface.export(), exported.iter().map(|one| one.name()).collect::<Vec<_>>().join(", "))]
    NotExported { interface: Interface, exported: Vec<Interface> },
    /// The input is not a question of the interface.
    #[error("the input at {path}: {reason}")]
    Input {
        /// Where in the input, for example `publish.member.id`; `.` is the whole of it.
        path: String,
        reason: String,
    },
    /// The plugin was asked and failed.
    #[error("{0}")]
    Fault(FaultKind),
    /// The answer can't be written as JSON, which does not happen with the types of the contract.
    #[error("the answer can't be shown: {0}")]
    Output(String),
}

impl Trial {
    /// Loads a component as an upload would, in an engine of its own. Its calls get the limits of `config` and `grants`.
    /// With a `data_dir` it takes the compiled module from the cache there, or puts it there.
    ///
    /// # Errors
    /// [`Rejected`], as for an upload.
    pub async fn load(component: Bytes, config: &Config, grants: Grants) -> Result<Trial, Rejected> {
        let config = Config { max_concurrent_calls: 1, ..config.clone() };
        let (loaded, engine) = registry::load_alone(&config, component).await?;
        let plugin = Plugin::new("trial", loaded, false, SystemTime::now(), Arc::default())?;
        Ok(Trial::of(Arc::new(plugin), engine, config.limits, grants))
    }

    /// The same component with other grants and an empty store.
    pub fn granting(&self, grants: Grants) -> Trial {
        Trial::of(Arc::clone(&self.plugin), self.caller.engine.clone(), self.caller.limits.clone(), grants)
    }

    fn of(plugin: Arc<Plugin>, engine: Engine, limits: CallLimits, grants: Grants) -> Trial {
        let (turns, key_values) = (Turns::new(&turns::Shared::new(1)), Arc::new(MemoryKeyValue::default()));
        Trial { plugin, caller: Caller { engine, limits, turns, key_values }, grants: Arc::new(grants) }
    }

    /// What the component is.
    pub fn inspection(&self) -> &Inspection {
        &self.plugin.loaded.inspection
    }

    /// Asks the component one question. For an interface with several functions the input names the function that is asked,
    /// as in `{"deliver": {…}}` or `{"open": {…}}`.
    ///
    /// # Errors
    /// When the component does not export the interface, the input is no question of it (a field that is missing, of
    /// another type, or not known), or the plugin fails.
    pub async fn ask(&self, interface: Interface, context: &Context, input: Value) -> Result<Value, TrialError> {
        let exported = &self.inspection().interfaces;
        if !exported.contains(&interface) {
            return Err(TrialError::NotExported { interface, exported: exported.clone() });
        }
        match interface {
            Interface::RoomPolicy => return self.question::<PolicyQuestion>(context, "", input).await,
            Interface::OutputMode => return self.question::<OutputModeQuestion>(context, "", input).await,
            Interface::Webhook | Interface::VodSource => {}
        }
        let (function, input) = function(interface, input)?;
        match (interface, function.as_str()) {
            (Interface::Webhook, "deliver") => self.question::<DeliverQuestion>(context, &function, input).await,
            (Interface::Webhook, "attempted") => self.question::<AttemptedQuestion>(context, &function, input).await,
            (Interface::VodSource, "open") => self.question::<OpenQuestion>(context, &function, input).await,
            (Interface::VodSource, "stat") => self.question::<StatQuestion>(context, &function, input).await,
            (Interface::VodSource, "list") => self.question::<ListQuestion>(context, &function, input).await,
            (Interface::VodSource, "read") => self.question::<ReadQuestion>(context, &function, input).await,
            _ => Err(no_function(interface)),
        }
    }

    /// Asks a question of the decision log again, with the settings that its call had. The answer is as the log would have it, without
    /// what it does not show, so that both can be compared.
    ///
    /// # Errors
    /// As [`Trial::ask`].
    pub async fn ask_again(
        &self,
        interface: Interface,
        context: &Context,
        settings: &BTreeMap<String, String>,
        input: Value,
    ) -> Result<Value, TrialError> {
        let grants = with_settings(&self.grants, settings);
        let mut answer = self.with_grants(grants).ask(interface, context, input).await?;
        Redaction::new(&self.grants, settings).value(&mut answer);
        Ok(answer)
    }

    /// The same with other grants and the same store.
    fn with_grants(&self, grants: Arc<Grants>) -> Trial {
        let Caller { engine, limits, key_values, .. } = &self.caller;
        let (engine, limits, key_values) = (engine.clone(), limits.clone(), Arc::clone(key_values));
        let turns = Turns::new(&turns::Shared::new(1));
        Trial { plugin: Arc::clone(&self.plugin), caller: Caller { engine, limits, turns, key_values }, grants }
    }

    async fn question<Q>(&self, context: &Context, function: &str, input: Value) -> Result<Value, TrialError>
    where
        Q: Question,
        Q::Ask: Serialize + DeserializeOwned,
        Q::Answer: Serialize,
    {
        let question = read::<Q::Ask>(&input).map_err(|error| error.below(function))?;
        let answer = call::ask::<Q>(&self.caller, &self.plugin, &self.grants, context, &question).await;
        serde_json::to_value(answer.map_err(TrialError::Fault)?).map_err(|error| TrialError::Output(error.to_string()))
    }
}

impl TrialError {
    /// The same with the place named from further above.
    fn below(self, above: &str) -> TrialError {
        match self {
            TrialError::Input { path, reason } if !above.is_empty() => {
                let path = if path == "." { above.to_owned() } else { format!("{above}.{path}") };
                TrialError::Input { path, reason }
            }
            other => other,
        }
    }
}

/// The function that is asked, and its question.
fn function(interface: Interface, input: Value) -> Result<(String, Value), TrialError> {
    match input {
        Value::Object(input) if input.len() == 1 => input.into_iter().next().ok_or_else(|| no_function(interface)),
        _ => Err(no_function(interface)),
    }
}

fn no_function(interface: Interface) -> TrialError {
    let functions = match interface {
        Interface::Webhook => "deliver, attempted",
        Interface::VodSource => "open, stat, list, read",
        Interface::RoomPolicy | Interface::OutputMode => "one only",
    };
    let reason = format!("it must name one function of {}: {functions}", interface.name());
    TrialError::Input { path: ".".to_owned(), reason }
}

/// Reads a question strictly: a field that is not known is more likely misspelled than meant for nobody.
fn read<T: Serialize + DeserializeOwned>(input: &Value) -> Result<T, TrialError> {
    let question: T = serde_path_to_error::deserialize(input)
        .map_err(|error| TrialError::Input { path: error.path().to_string(), reason: error.inner().to_string() })?;
    let understood = serde_json::to_value(&question).map_err(|error| TrialError::Output(error.to_string()))?;
    match unknown(input, &understood, &mut Vec::new()) {
        None => Ok(question),
        Some((path, mut known)) => {
            let more = known.len().saturating_sub(SHOWN_FIELDS);
            known.truncate(SHOWN_FIELDS);
            if more > 0 {
                known.push(format!("{more} more"));
            }
            Err(TrialError::Input { path, reason: format!("there is no such field; there are {}", known.join(", ")) })
        }
    }
}

/// The first field of `input` that did not come back, with the fields that are there.
fn unknown(input: &Value, understood: &Value, path: &mut Vec<String>) -> Option<(String, Vec<String>)> {
    match (input, understood) {
        (Value::Object(input), Value::Object(understood)) => input.iter().find_map(|(name, value)| {
            path.push(name.clone());
            let found = match understood.get(name) {
                Some(known) => unknown(value, known, path),
                None => Some((path.join("."), understood.keys().cloned().collect())),
            };
            path.pop();
            found
        }),
        (Value::Array(input), Value::Array(understood)) => {
            input.iter().zip(understood).enumerate().find_map(|(index, (value, known))| {
                path.push(format!("[{index}]"));
                let found = unknown(value, known, path);
                path.pop();
                found
            })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Action;
    use serde_json::json;

    fn push_out() -> Value {
        json!({"push-out": {"room": null, "stream": "s", "target": "rtmp://a.example"}})
    }

    fn fails(input: &Value) -> (String, String) {
        match read::<Action>(input) {
            Err(TrialError::Input { path, reason }) => (path, reason),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_good_question_is_read() {
        assert!(matches!(read::<Action>(&push_out()), Ok(Action::PushOut(_))));
    }

    #[test]
    fn what_is_wrong_with_a_question_is_named_with_its_place() {
        let mut wrong = push_out();
        wrong["push-out"]["stream"] = json!(7);
        let (path, reason) = fails(&wrong);
        assert_eq!(path, "push-out.stream");
        assert!(reason.contains("expected a string"), "{reason}");

        let mut misspelled = push_out();
        misspelled["push-out"]["targte"] = json!("x");
        let (path, reason) = fails(&misspelled);
        assert_eq!(path, "push-out.targte");
        assert!(reason.contains("room, stream, target"), "{reason}");

        let (_, reason) = fails(&json!({"publsh": {}}));
        assert!(reason.contains("publish"), "{reason}");
    }

    #[test]
    fn a_misspelled_field_is_found_in_a_list() {
        let understood = json!({"a": [{"name": "x", "value": "y"}]});
        let input = json!({"a": [{"name": "x", "value": "y", "vlaue": 1}]});
        let found = unknown(&input, &understood, &mut Vec::new());
        assert_eq!(found, Some(("a.[0].vlaue".to_owned(), vec!["name".to_owned(), "value".to_owned()])));
    }
}
