//! A policy: who has a Jitsi token that allows live streaming may publish. The token is a parameter of the publish URL.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod jwt;

use flyloft_plugin::config;
use flyloft_plugin::policy::{Action, Context, Decision, Grant, Pair, Policy, abstain, deny};
use serde_json::Value;

/// The parameter of the publish URL that carries the token. The server keeps parameters named `jwt` or `token` to itself.
const PARAMETER: &str = "jitsi";
/// Bytes of a label's value.
const MAX_LABEL: usize = 256;

/// What the operator has set.
#[derive(Default)]
struct Settings {
    shared_key: Option<String>,
    jwks: Option<String>,
    issuer: Option<String>,
    audience: Option<String>,
}

struct JitsiJwt;

impl Policy for JitsiJwt {
    fn decide(context: Context, action: Action) -> Decision {
        let Action::Publish(request) = action else {
            return abstain();
        };
        let settings = Settings {
            shared_key: config::get("shared-key"),
            jwks: config::get("jwks"),
            issuer: config::get("issuer"),
            audience: config::get("audience"),
        };
        decide(&settings, &request.connection.parameters, context.now)
    }
}

fn decide(settings: &Settings, parameters: &[Pair], now: u64) -> Decision {
    let Some(token) = parameters.iter().find(|parameter| parameter.name == PARAMETER) else {
        return deny("token-missing", format!("Add the Jitsi token to the publish URL: ?{PARAMETER}=TOKEN."));
    };
    let keys = jwt::Keys { shared: settings.shared_key.as_deref(), jwks: settings.jwks.as_deref() };
    let claims = match jwt::verify(&token.value, &keys, now / 1000) {
        Ok(claims) => claims,
        Err(problem) => return deny("token-not-valid", format!("The Jitsi token is not accepted: {problem}.")),
    };
    if settings.issuer.as_ref().is_some_and(|issuer| claims["iss"] != **issuer) {
        return deny("token-not-valid", "The Jitsi token is from another issuer.");
    }
    if settings.audience.as_ref().is_some_and(|audience| !is_for(&claims["aud"], audience)) {
        return deny("token-not-valid", "The Jitsi token is for another audience.");
    }
    // Jitsi writes booleans both ways.
    let feature = &claims["context"]["features"]["livestreaming"];
    if !(feature == &Value::Bool(true) || feature == "true") {
        return deny(
            "livestreaming-not-allowed",
            "The Jitsi token does not allow live streaming. Ask for one with that feature.",
        );
    }
    let user = claims["context"]["user"]["id"].as_str().filter(|id| !id.is_empty() && id.len() <= MAX_LABEL);
    let user = user.filter(|id| !id.chars().any(char::is_control));
    let labels = user.map(|id| Pair { name: "jitsi-user".into(), value: id.into() }).into_iter().collect();
    Decision::Allow(Grant { labels, ..Grant::default() })
}

/// The audience is one text or several.
fn is_for(claim: &Value, audience: &str) -> bool {
    claim == audience || claim.as_array().is_some_and(|all| all.iter().any(|one| one == audience))
}

flyloft_plugin::export_policy!(JitsiJwt);

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const NOW: u64 = 1_800_000_000;

    fn ask(claims: &Value, settings: Settings) -> Decision {
        let settings = Settings { shared_key: Some("a shared key".into()), ..settings };
        let token = jwt::tests::sign_hs256(claims, "a shared key");
        decide(&settings, &[Pair { name: PARAMETER.into(), value: token }], NOW * 1000)
    }

    fn claims() -> Value {
        json!({
            "iss": "meet", "aud": ["jitsi", "other"], "exp": NOW + 60, "room": "*",
            "context": {"features": {"livestreaming": "true"}, "user": {"id": "u-1"}},
        })
    }

    fn code(decision: Decision) -> String {
        match decision {
            Decision::Deny(denial) => denial.code,
            other => panic!("not denied: {other:?}"),
        }
    }

    #[test]
    fn the_feature_decides() {
        let Decision::Allow(grant) = ask(&claims(), Settings::default()) else { panic!("denied") };
        assert_eq!((grant.labels[0].name.as_str(), grant.labels[0].value.as_str()), ("jitsi-user", "u-1"));
        let mut other = claims();
        other["context"]["features"]["livestreaming"] = true.into();
        assert!(matches!(ask(&other, Settings::default()), Decision::Allow(_)));
        for feature in [json!(false), json!("false"), json!(1), Value::Null] {
            other["context"]["features"]["livestreaming"] = feature;
            assert_eq!(code(ask(&other, Settings::default())), "livestreaming-not-allowed");
        }
        assert_eq!(code(ask(&json!({"exp": NOW + 60}), Settings::default())), "livestreaming-not-allowed");
    }

    #[test]
    fn issuer_and_audience_must_fit_if_they_are_set() {
        let with = |issuer: &str, audience: &str| Settings {
            issuer: Some(issuer.into()),
            audience: Some(audience.into()),
            ..Settings::default()
        };
        assert!(matches!(ask(&claims(), with("meet", "jitsi")), Decision::Allow(_)));
        assert_eq!(code(ask(&claims(), with("meat", "jitsi"))), "token-not-valid");
        assert_eq!(code(ask(&claims(), with("meet", "jits"))), "token-not-valid");
    }

    #[test]
    fn a_token_is_needed() {
        assert_eq!(code(decide(&Settings::default(), &[], NOW * 1000)), "token-missing");
    }
}
