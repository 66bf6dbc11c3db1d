//! The questions that plugins are asked, one per interface: which function, which types, which answers are valid.

use crate::api::Interface;
use crate::error::FaultKind;
use crate::model::{Action, Context, Decision, OutputModeAnswer, OutputModeRequest, Pair};
use crate::plugin::Loaded;
use wasmtime::component::{ComponentExportIndex, ComponentType, Lift, Lower};

/// A question of the contract.
pub(crate) trait Question {
    type Ask: Lower + ComponentType + Sync;
    type Answer: Lift + ComponentType + Send + Sync + 'static;
    const INTERFACE: Interface;
    const FUNCTION: &'static str;

    /// Where the question's function is in a component that answers it.
    fn entry(loaded: &Loaded) -> Option<&ComponentExportIndex>;

    /// Checks an answer against the contract's limits; strings and lists are otherwise as long as the guest likes.
    fn check(answer: &Self::Answer) -> Result<(), FaultKind>;

    /// Whether the plugin has no opinion.
    fn abstains(answer: &Self::Answer) -> bool;
}

/// May somebody do something?
pub(crate) struct PolicyQuestion;

impl Question for PolicyQuestion {
    type Ask = Action;
    type Answer = Decision;
    const INTERFACE: Interface = Interface::RoomPolicy;
    const FUNCTION: &'static str = "decide";

    fn entry(loaded: &Loaded) -> Option<&ComponentExportIndex> {
        loaded.policy.as_ref()
    }

    fn check(answer: &Decision) -> Result<(), FaultKind> {
        match answer {
            Decision::Abstain => Ok(()),
            Decision::Deny(denial) => {
                code("deny.code", &denial.code)?;
                text("deny.reason", &denial.reason, 1, 1024)
            }
            Decision::Allow(grant) => {
                if let Some(role) = &grant.role {
                    text("allow.role", role, 1, 64)?;
                }
                count("allow.permissions", grant.permissions.len(), 64)?;
                for permission in &grant.permissions {
                    text("allow.permissions", permission, 1, 64)?;
                }
                count("allow.labels", grant.labels.len(), 16)?;
                grant.labels.iter().try_for_each(label)
            }
        }
    }

    fn abstains(answer: &Decision) -> bool {
        *answer == Decision::Abstain
    }
}

/// Which outputs does a stream get?
pub(crate) struct OutputModeQuestion;

impl Question for OutputModeQuestion {
    type Ask = OutputModeRequest;
    type Answer = OutputModeAnswer;
    const INTERFACE: Interface = Interface::OutputMode;
    const FUNCTION: &'static str = "resolve";

    fn entry(loaded: &Loaded) -> Option<&ComponentExportIndex> {
        loaded.output_mode.as_ref()
    }

    fn check(answer: &OutputModeAnswer) -> Result<(), FaultKind> {
        match answer {
            OutputModeAnswer::Abstain => Ok(()),
            OutputModeAnswer::Refuse(reason) => text("refuse", reason, 1, 1024),
            OutputModeAnswer::UseOutputs(outputs) => match &outputs.transcoding_profile {
                Some(profile) => text("use-outputs.transcoding-profile", profile, 1, 128),
                None => Ok(()),
            },
        }
    }

    fn abstains(answer: &OutputModeAnswer) -> bool {
        *answer == OutputModeAnswer::Abstain
    }
}

/// The parameters of the question's function, borrowed.
pub(crate) type Params<'a, Q> = (&'a Context, &'a <Q as Question>::Ask);

fn invalid(field: &str, problem: String) -> Result<(), FaultKind> {
    Err(FaultKind::InvalidAnswer { field: field.to_owned(), problem })
}

/// Text that goes into logs, protocols and pages: of limited length, without control characters.
fn text(field: &str, text: &str, least: usize, most: usize) -> Result<(), FaultKind> {
    if text.len() < least || text.len() > most {
        return invalid(field, format!("has {} bytes, and {least} to {most} are allowed", text.len()));
    }
    match text.char_indices().find(|(_, c)| c.is_control()) {
        Some((at, c)) => invalid(field, format!("has the control character {:?} at byte {at}", c)),
        None => Ok(()),
    }
}

fn code(field: &str, code: &str) -> Result<(), FaultKind> {
    text(field, code, 1, 64)?;
    let word = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    if code.split('-').all(word) {
        return Ok(());
    }
    invalid(field, format!("is {code:?}, and lower-case words joined by hyphens are allowed, such as \"not-live\""))
}

fn count(field: &str, count: usize, most: usize) -> Result<(), FaultKind> {
    if count > most {
        return invalid(field, format!("has {count} entries, and at most {most} are allowed"));
    }
    Ok(())
}

fn label(label: &Pair) -> Result<(), FaultKind> {
    text("allow.labels.name", &label.name, 1, 64)?;
    text("allow.labels.value", &label.value, 0, 256)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Denial, Grant, OutputMode, Outputs};

    fn field<Q: Question>(answer: Q::Answer) -> Option<String> {
        match Q::check(&answer) {
            Ok(()) => None,
            Err(FaultKind::InvalidAnswer { field, .. }) => Some(field),
            Err(other) => panic!("{other}"),
        }
    }

    fn grant(change: impl FnOnce(&mut Grant)) -> Option<String> {
        let mut grant = Grant::default();
        change(&mut grant);
        field::<PolicyQuestion>(Decision::Allow(grant))
    }

    fn pair(name: usize, value: usize) -> Pair {
        Pair { name: "n".repeat(name), value: "v".repeat(value) }
    }

    #[test]
    fn a_grant_is_limited() {
        assert_eq!(grant(|_| ()), None);
        assert_eq!(grant(|g| g.labels = vec![pair(64, 256); 16]), None);
        assert_eq!(grant(|g| g.labels = vec![pair(1, 1); 17]).as_deref(), Some("allow.labels"));
        assert_eq!(grant(|g| g.labels = vec![pair(65, 1)]).as_deref(), Some("allow.labels.name"));
        assert_eq!(grant(|g| g.labels = vec![pair(0, 1)]).as_deref(), Some("allow.labels.name"));
        assert_eq!(grant(|g| g.labels = vec![pair(1, 257)]).as_deref(), Some("allow.labels.value"));
        assert_eq!(grant(|g| g.role = Some("r".repeat(65))).as_deref(), Some("allow.role"));
        assert_eq!(grant(|g| g.role = Some("a\nb".into())).as_deref(), Some("allow.role"));
        assert_eq!(grant(|g| g.permissions = vec!["p".into(); 65]).as_deref(), Some("allow.permissions"));
        assert_eq!(grant(|g| g.permissions = vec![String::new()]).as_deref(), Some("allow.permissions"));
    }

    #[test]
    fn a_denial_has_a_code_and_a_reason() {
        let denial = |code: &str, reason: &str| {
            field::<PolicyQuestion>(Decision::Deny(Denial { code: code.into(), reason: reason.into() }))
        };
        assert_eq!(denial("not-live", "The room is not live."), None);
        for code in ["", "Not-live", "not live", "-live", "not--live", &"x".repeat(65)] {
            assert_eq!(denial(code, "Why.").as_deref(), Some("deny.code"), "{code:?}");
        }
        for reason in ["", "a\r\nb", &"x".repeat(1025)] {
            assert_eq!(denial("no", reason).as_deref(), Some("deny.reason"), "{reason:?}");
        }
    }

    #[test]
    fn an_output_mode_answer_is_limited() {
        let refuse = |reason: String| field::<OutputModeQuestion>(OutputModeAnswer::Refuse(reason));
        assert_eq!(refuse("Not known.".into()), None);
        assert_eq!(refuse("x".repeat(1025)).as_deref(), Some("refuse"));
        let outputs = Outputs { mode: OutputMode::Cmaf, transcoding_profile: Some(String::new()) };
        assert_eq!(
            field::<OutputModeQuestion>(OutputModeAnswer::UseOutputs(outputs)).as_deref(),
            Some("use-outputs.transcoding-profile")
        );
    }
}
