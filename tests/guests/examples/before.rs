//! A policy that allows every room token, with limits and labels; `after` is its next version.

use flyloft_plugin::policy::{Action, Context, Decision, Grant, Limits, Pair, Policy, abstain};

struct Before;

impl Policy for Before {
    fn decide(_context: Context, action: Action) -> Decision {
        let Action::IssueToken(_) = action else { return abstain() };
        let limits = Limits { max_viewers: Some(100), max_duration: Some(3_600_000), ..Limits::default() };
        let labels = vec![Pair { name: "tier".into(), value: "silver".into() }];
        Decision::Allow(Grant { limits, labels, ..Grant::default() })
    }
}

flyloft_plugin::export_policy!(Before);
