//! A policy that hands out no room tokens and says that it is the second version.

use flyloft_plugin::policy::{Action, Context, Decision, Policy, abstain, deny};

struct Second;

impl Policy for Second {
    fn decide(_context: Context, action: Action) -> Decision {
        match action {
            Action::IssueToken(_) => deny("second", "No tokens, says the second version."),
            _ => abstain(),
        }
    }
}

flyloft_plugin::export_policy!(Second);
