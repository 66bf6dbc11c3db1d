//! As `before`, with other answers for some of the roles `guest-1`, `guest-2`, …: every seventh is denied, the tenth has another limit,
//! the twentieth one more label, the thirtieth a label of another value and no limit of its duration, and the fortieth traps.

use flyloft_plugin::policy::{Action, Context, Decision, Grant, Limits, Pair, Policy, abstain, deny};

struct After;

impl Policy for After {
    fn decide(_context: Context, action: Action) -> Decision {
        let Action::IssueToken(request) = action else { return abstain() };
        let number: u32 = request.role.strip_prefix("guest-").and_then(|number| number.parse().ok()).unwrap_or(0);
        let mut limits = Limits { max_viewers: Some(100), max_duration: Some(3_600_000), ..Limits::default() };
        let mut labels = vec![Pair { name: "tier".into(), value: "silver".into() }];
        match number {
            10 => limits.max_viewers = Some(50),
            20 => labels.push(Pair { name: "trial".into(), value: "yes".into() }),
            30 => {
                "gold".clone_into(&mut labels[0].value);
                limits.max_duration = None;
            }
            40 => panic!("the fortieth is not expected"),
            _ if number > 0 && number % 7 == 0 => return deny("seventh", "Every seventh guest has to wait."),
            _ => {}
        }
        Decision::Allow(Grant { limits, labels, ..Grant::default() })
    }
}

flyloft_plugin::export_policy!(After);
