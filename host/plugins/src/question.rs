//! The questions that plugins are asked, one per interface: which function, which types, which answers are valid.

mod checks;
mod vod_source;
mod webhook;

pub(crate) use vod_source::{ListQuestion, OpenQuestion, ReadQuestion, StatQuestion};
pub(crate) use webhook::{AttemptedQuestion, DeliverQuestion};

use crate::api::Interface;
use crate::error::FaultKind;
use crate::grants::Grants;
use crate::model::{Action, Context, Decision, Grant, OutputModeAnswer, OutputModeRequest, Pair};
use crate::plugin::Entries;
use checks::{code, count, invalid, text};
use wasmtime::component::{ComponentExportIndex, ComponentNamedList, ComponentType, Lift, Lower};

/// A question of the contract.
pub(crate) trait Question {
    type Ask: Sync;
    /// The parameters of the function, borrowed from the context and the question.
    type Params<'a>: ComponentNamedList + Lower + Send + Sync;
    type Answer: Lift + ComponentType + Send + Sync + 'static;
    const INTERFACE: Interface;
    const FUNCTION: &'static str;

    /// Where the question's function is in a component that answers it.
    fn entry(entries: &Entries) -> Option<&ComponentExportIndex>;

    fn params<'a>(context: &'a Context, ask: &'a Self::Ask) -> Self::Params<'a>;

    /// Checks an answer against the contract's limits and the plugin's grants; strings and lists are otherwise as long as
    /// the guest likes.
    fn check(ask: &Self::Ask, answer: &Self::Answer, grants: &Grants) -> Result<(), FaultKind>;

    /// Whether the plugin has no opinion.
    fn abstains(answer: &Self::Answer) -> bool;
}

/// May somebody do something?
pub(crate) struct PolicyQuestion;

impl Question for PolicyQuestion {
    type Ask = Action;
    type Params<'a> = (&'a Context, &'a Action);
    type Answer = Decision;
    const INTERFACE: Interface = Interface::RoomPolicy;
    const FUNCTION: &'static str = "decide";

    fn entry(entries: &Entries) -> Option<&ComponentExportIndex> {
        entries.decide.as_ref()
    }

    fn params<'a>(context: &'a Context, ask: &'a Action) -> Self::Params<'a> {
        (context, ask)
    }

    fn check(_ask: &Action, answer: &Decision, _grants: &Grants) -> Result<(), FaultKind> {
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
                grant.labels.iter().try_for_each(label)?;
                consistent(grant)
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
    type Params<'a> = (&'a Context, &'a OutputModeRequest);
    type Answer = OutputModeAnswer;
    const INTERFACE: Interface = Interface::OutputMode;
    const FUNCTION: &'static str = "resolve";

    fn entry(entries: &Entries) -> Option<&ComponentExportIndex> {
        entries.resolve.as_ref()
    }

    fn params<'a>(context: &'a Context, ask: &'a OutputModeRequest) -> Self::Params<'a> {
        (context, ask)
    }

    fn check(_ask: &OutputModeRequest, answer: &OutputModeAnswer, _grants: &Grants) -> Result<(), FaultKind> {
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

/// Whether a grant grants something: what contradicts itself can't be enforced as it was meant.
fn consistent(grant: &Grant) -> Result<(), FaultKind> {
    for (index, label) in grant.labels.iter().enumerate() {
        if grant.labels.iter().take(index).any(|before| before.name == label.name) {
            return invalid("allow.labels", format!("has the name {:?} twice, and a name has one value", label.name));
        }
    }
    // A stream that nobody may watch can still be recorded, so `max-viewers` may be 0.
    let limits = &grant.limits;
    for (field, limit) in [
        ("allow.limits.max-bitrate", limits.max_bitrate),
        ("allow.limits.max-duration", limits.max_duration),
        ("allow.limits.max-width", limits.max_width.map(u64::from)),
        ("allow.limits.max-height", limits.max_height.map(u64::from)),
    ] {
        if limit == Some(0) {
            return invalid(field, "is 0, which allows nothing: deny instead, or leave the limit out".to_owned());
        }
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
    use crate::model::{Connection, Denial, Member, OutputMode, Outputs, Protocol, PushOutRequest};

    fn action() -> Action {
        Action::PushOut(PushOutRequest { room: None, stream: "s".into(), target: "rtmp://a.example".into() })
    }

    fn request() -> OutputModeRequest {
        let remote_ip = "192.0.2.7".into();
        OutputModeRequest {
            connection: Connection { protocol: Protocol::Rtmp, remote_ip, user_agent: None, parameters: vec![] },
            member: Member { id: "m".into(), app_user_id: "u".into(), name: None },
            room: None,
            stream: "s".into(),
            url_mode: None,
            key_mode: None,
            transcoding_profile: None,
        }
    }

    fn field<Q: Question>(ask: Q::Ask, answer: Q::Answer) -> Option<String> {
        match Q::check(&ask, &answer, &Grants::default()) {
            Ok(()) => None,
            Err(FaultKind::InvalidAnswer { field, .. }) => Some(field),
            Err(other) => panic!("{other}"),
        }
    }

    fn grant(change: impl FnOnce(&mut Grant)) -> Option<String> {
        let mut grant = Grant::default();
        change(&mut grant);
        field::<PolicyQuestion>(action(), Decision::Allow(grant))
    }

    fn pair(name: usize, value: usize) -> Pair {
        Pair { name: "n".repeat(name), value: "v".repeat(value) }
    }

    #[test]
    fn a_grant_is_limited() {
        assert_eq!(grant(|_| ()), None);
        let labels = |count: usize| (1..=count).map(|name| pair(48 + name, 256)).collect::<Vec<_>>();
        assert_eq!(grant(|g| g.labels = labels(16)), None);
        assert_eq!(grant(|g| g.labels = labels(17)).as_deref(), Some("allow.labels"));
        assert_eq!(grant(|g| g.labels = vec![pair(1, 1), pair(2, 1), pair(1, 2)]).as_deref(), Some("allow.labels"));
        assert_eq!(grant(|g| g.limits.max_duration = Some(0)).as_deref(), Some("allow.limits.max-duration"));
        assert_eq!(grant(|g| g.limits.max_height = Some(0)).as_deref(), Some("allow.limits.max-height"));
        assert_eq!(grant(|g| (g.limits.max_viewers, g.limits.max_bitrate) = (Some(0), Some(1))), None);
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
            field::<PolicyQuestion>(action(), Decision::Deny(Denial { code: code.into(), reason: reason.into() }))
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
        let refuse = |reason: String| field::<OutputModeQuestion>(request(), OutputModeAnswer::Refuse(reason));
        assert_eq!(refuse("Not known.".into()), None);
        assert_eq!(refuse("x".repeat(1025)).as_deref(), Some("refuse"));
        let outputs = Outputs { mode: OutputMode::Cmaf, transcoding_profile: Some(String::new()) };
        assert_eq!(
            field::<OutputModeQuestion>(request(), OutputModeAnswer::UseOutputs(outputs)).as_deref(),
            Some("use-outputs.transcoding-profile")
        );
    }
}
