//! A policy that hands out no room tokens and says that it is the first version.

use flyloft_plugin::policy::{Action, Context, Decision, Policy, abstain, deny};

struct First;

impl Policy for First {
    fn decide(_context: Context, action: Action) -> Decision {
        match action {
            Action::IssueToken(_) => deny("first", "No tokens, says the first version."),
            _ => abstain(),
        }
    }
}

flyloft_plugin::export_policy!(First);
