//! Asking the plugins: what they are told about a call, and what it means when one of them fails.

use std::net::IpAddr;

use flyloft_plugins::model::{
    self, Action, Connection, Context, Decision, Grant, OutputModeAnswer, OutputModeRequest, Pair, Protocol,
};
use flyloft_plugins::{Decided, Fault, Plugins};
use flyloft_rooms::{AccessLevel, App, Member, OutputMode, RoomType, VideoRoom, VideoRoomState};
use futures_util::future::BoxFuture;
use http::StatusCode;

use super::{Refusal, new_id, now};

/// Who decides. In the server these are the [`Plugins`].
pub trait Rules: Send + Sync {
    /// Whether an action is allowed; never answers [`Decision::Abstain`].
    fn decide<'a>(&'a self, context: &'a Context, action: &'a Action) -> BoxFuture<'a, Result<Decided<Decision>, Fault>>;

    /// Which outputs a stream gets.
    fn output_mode<'a>(
        &'a self,
        context: &'a Context,
        request: &'a OutputModeRequest,
    ) -> BoxFuture<'a, Result<Decided<OutputModeAnswer>, Fault>>;
}

impl Rules for Plugins {
    fn decide<'a>(&'a self, context: &'a Context, action: &'a Action) -> BoxFuture<'a, Result<Decided<Decision>, Fault>> {
        Box::pin(Plugins::decide(self, context, action))
    }

    fn output_mode<'a>(
        &'a self,
        context: &'a Context,
        request: &'a OutputModeRequest,
    ) -> BoxFuture<'a, Result<Decided<OutputModeAnswer>, Fault>> {
        Box::pin(self.resolve_output_mode(context, request))
    }
}

/// What a stream gets when neither a plugin nor the App says anything.
const DEFAULT_MODE: OutputMode = OutputMode::RtmpCmaf;

/// The HTTP statuses of the refusals that a policy gives; every other code is 403.
const DENIED: &[(&str, StatusCode)] =
    &[("token-needed", StatusCode::UNAUTHORIZED), ("not-live", StatusCode::NOT_FOUND), ("room-ended", StatusCode::NOT_FOUND)];

/// What a failed call means:
///
/// | interface | meaning |
/// |---|---|
/// | `room-policy` | refused, code `policy-fault` |
/// | `output-mode` | the App's mode, else [`DEFAULT_MODE`] |
mod when_failed {
    use super::*;

    pub(super) fn policy(fault: &Fault, action: &Action) -> Refusal {
        tracing::warn!(plugin = fault.plugin, digest = fault.digest, call = fault.call, action = action.name(), error = %fault, "policy failed");
        Refusal::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "policy-fault",
            "The policy of this server failed, so this was refused. Try again; the operator finds the reason in the server's log.",
        )
    }

    pub(super) fn output_mode(fault: &Fault, app: &App) -> OutputMode {
        let mode = app.output_mode.unwrap_or(DEFAULT_MODE);
        tracing::warn!(plugin = fault.plugin, digest = fault.digest, call = fault.call, %mode, error = %fault, "output mode failed: the default is used");
        mode
    }
}

/// Asks whether `action` is allowed.
pub(super) async fn ask(rules: &dyn Rules, context: &Context, action: &Action) -> Result<Grant, Refusal> {
    let decided = rules.decide(context, action).await.map_err(|fault| when_failed::policy(&fault, action))?;
    let micros = u64::try_from(decided.duration.as_micros()).unwrap_or(u64::MAX);
    let (plugin, digest, call) = (&*decided.plugin, &*decided.digest, &context.call_id);
    match decided.answer {
        Decision::Allow(grant) => {
            tracing::debug!(plugin, digest, call, action = action.name(), micros, "allowed");
            Ok(grant)
        }
        Decision::Deny(denial) => {
            tracing::info!(
                plugin,
                digest,
                call,
                action = action.name(),
                micros,
                code = denial.code,
                reason = denial.reason,
                "denied"
            );
            let status =
                DENIED.iter().find(|(code, _)| *code == denial.code).map_or(StatusCode::FORBIDDEN, |(_, status)| *status);
            Err(Refusal::new(status, denial.code, denial.reason))
        }
        Decision::Abstain => Err(Refusal::new(StatusCode::FORBIDDEN, "no-opinion", "No plugin decides about this.")),
    }
}

/// Asks which outputs a stream gets.
pub(super) async fn ask_mode(
    rules: &dyn Rules,
    context: &Context,
    app: &App,
    request: &OutputModeRequest,
) -> Result<OutputMode, Refusal> {
    match rules.output_mode(context, request).await {
        Ok(decided) => match decided.answer {
            OutputModeAnswer::UseOutputs(outputs) => {
                tracing::debug!(plugin = &*decided.plugin, digest = &*decided.digest, call = context.call_id, mode = ?outputs.mode, "output mode chosen");
                Ok(mode_from(outputs.mode))
            }
            OutputModeAnswer::Refuse(reason) => {
                Err(Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "output-mode-refused", reason))
            }
            OutputModeAnswer::Abstain => Ok(app.output_mode.unwrap_or(DEFAULT_MODE)),
        },
        Err(fault) => Ok(when_failed::output_mode(&fault, app)),
    }
}

pub(crate) fn context(app: &App) -> Context {
    Context {
        call_id: new_id(),
        now: u64::try_from(now()).unwrap_or(0),
        app: model::App { id: app.id.to_string(), name: app.name.clone(), output_mode: app.output_mode.map(mode_to) },
    }
}

/// Who makes a REST call.
#[derive(Clone, Debug)]
pub struct Asker {
    pub remote: IpAddr,
    pub user_agent: Option<String>,
}

impl Asker {
    pub(super) fn connection(&self) -> Connection {
        connection(Protocol::Rest, self.remote, self.user_agent.as_deref(), &[])
    }
}

/// Longest texts and lists from a stranger that a plugin is told.
const MAX_USER_AGENT: usize = 512;
const MAX_PARAMETERS: usize = 32;
const MAX_NAME: usize = 64;
// A token that is signed with an RSA key has more than 512.
const MAX_VALUE: usize = 2048;

/// Parameters that may carry a secret. They stay in the host.
const SECRET_PARAMETERS: [&str; 12] = [
    "token",
    "access_token",
    "auth",
    "authorization",
    "jwt",
    "key",
    "streamkey",
    "stream_key",
    "secret",
    "password",
    "pass",
    "signature",
];

pub(super) fn connection(
    protocol: Protocol,
    remote: IpAddr,
    user_agent: Option<&str>,
    parameters: &[(String, String)],
) -> Connection {
    let is_secret = |name: &str| SECRET_PARAMETERS.iter().any(|secret| secret.eq_ignore_ascii_case(name));
    let parameters = parameters
        .iter()
        .filter(|(name, _)| !is_secret(name))
        .take(MAX_PARAMETERS)
        .map(|(name, value)| Pair { name: clip(name, MAX_NAME), value: clip(value, MAX_VALUE) })
        .collect();
    // An IPv4 client of a socket for both versions is shown as the IPv4 address that it is.
    let remote_ip = remote.to_canonical().to_string();
    Connection { protocol, remote_ip, user_agent: user_agent.map(|agent| clip(agent, MAX_USER_AGENT)), parameters }
}

fn clip(text: &str, length: usize) -> String {
    text.chars().take(length).collect()
}

pub(super) fn member(member: &Member) -> model::Member {
    model::Member { id: member.id.to_string(), app_user_id: member.app_user_id.clone(), name: member.name.clone() }
}

pub(super) fn room(room: &VideoRoom, owner: &Member) -> model::Room {
    model::Room {
        id: room.id.to_string(),
        kind: match room.kind {
            RoomType::BroadcastRtmp => model::RoomType::BroadcastRtmp,
            RoomType::VideoConference => model::RoomType::VideoConference,
        },
        state: match room.state {
            VideoRoomState::Scheduled => model::RoomState::Scheduled,
            VideoRoomState::Live => model::RoomState::Live,
            VideoRoomState::LiveInactive => model::RoomState::LiveInactive,
            VideoRoomState::Ended => model::RoomState::Ended,
            VideoRoomState::Archiving => model::RoomState::Archiving,
            VideoRoomState::Archived => model::RoomState::Archived,
            VideoRoomState::ArchiveFailed => model::RoomState::ArchiveFailed,
        },
        access: access_to(room.access),
        owner: member(owner),
        title: room.title.clone(),
    }
}

pub(super) fn access_to(access: AccessLevel) -> model::AccessLevel {
    match access {
        AccessLevel::Public => model::AccessLevel::Public,
        AccessLevel::Private => model::AccessLevel::Private,
    }
}

pub(super) fn mode_to(mode: OutputMode) -> model::OutputMode {
    match mode {
        OutputMode::Rtmp => model::OutputMode::Rtmp,
        OutputMode::Cmaf => model::OutputMode::Cmaf,
        OutputMode::RtmpCmaf => model::OutputMode::RtmpCmaf,
    }
}

fn mode_from(mode: model::OutputMode) -> OutputMode {
    match mode {
        model::OutputMode::Rtmp => OutputMode::Rtmp,
        model::OutputMode::Cmaf => OutputMode::Cmaf,
        model::OutputMode::RtmpCmaf => OutputMode::RtmpCmaf,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_and_floods_stay_in_the_host() {
        let mut parameters = vec![("Token".to_owned(), "hush".to_owned()), ("mode".to_owned(), "CMAF".to_owned())];
        parameters.extend((0..100).map(|index| (format!("p{index}"), "x".repeat(10_000))));
        let told = connection(Protocol::Rtmp, "::ffff:10.1.2.3".parse().unwrap(), Some(&"a".repeat(9_999)), &parameters);
        assert_eq!(told.remote_ip, "10.1.2.3");
        assert_eq!(told.user_agent.unwrap().len(), MAX_USER_AGENT);
        assert_eq!(told.parameters.len(), MAX_PARAMETERS);
        assert_eq!(told.parameters[0], Pair { name: "mode".into(), value: "CMAF".into() });
        assert!(told.parameters.iter().all(|pair| pair.value.len() <= MAX_VALUE && !pair.value.contains("hush")));
    }
}
