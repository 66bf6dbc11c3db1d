//! A policy: publishing is allowed at set times of the week, and ends with them.

mod week;

use flyloft_plugin::config;
use flyloft_plugin::policy::{Action, Context, Decision, Grant, Limits, Policy, abstain, deny};

struct Schedule;

impl Policy for Schedule {
    fn decide(context: Context, action: Action) -> Decision {
        match action {
            Action::Publish(_) => {
                decide(context.now, config::get("open").as_deref().unwrap_or_default(), config::get("utc-offset").as_deref())
            }
            _ => abstain(),
        }
    }
}

fn decide(now: u64, open: &str, offset: Option<&str>) -> Decision {
    let rest = week::offset(offset.unwrap_or("+00:00")).and_then(|offset| week::rest(now, open, offset));
    match rest {
        Ok(Some(rest)) => {
            // The host ends the publish when its time is over.
            let limits = Limits { max_duration: Some(rest), ..Limits::default() };
            Decision::Allow(Grant { limits, ..Grant::default() })
        }
        Ok(None) => deny("closed", format!("Publishing is possible at these times: {open}. Try again then.")),
        Err(mistake) => deny("bad-schedule", format!("The schedule cannot be read: {mistake}. Tell the operator.")),
    }
}

flyloft_plugin::export_policy!(Schedule);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_hour_grants_its_rest() {
        // 2027-01-15, a Friday, 08:00.
        let Decision::Allow(grant) = decide(1_800_000_000_000, "fri 07:00-09:30", None) else { panic!("denied") };
        assert_eq!(grant.limits.max_duration, Some(90 * 60_000));
    }

    #[test]
    fn a_closed_hour_and_a_mistake_are_denied() {
        let code = |open| match decide(1_800_000_000_000, open, None) {
            Decision::Deny(denial) => denial.code,
            other => panic!("not denied: {other:?}"),
        };
        assert_eq!(code("mon-thu 07:00-09:30"), "closed");
        assert_eq!(code("fridays"), "bad-schedule");
    }
}
