//! A policy that hands out no room tokens, lets nobody watch and no visitor publish, and says that it is the second version.

use flyloft_plugin::policy::{Action, Context, Decision, Policy, abstain, deny};

struct Second;

impl Policy for Second {
    fn decide(_context: Context, action: Action) -> Decision {
        match action {
            Action::Publish(request) if request.member.app_user_id != "visitor" => abstain(),
            Action::Publish(_) | Action::Play(_) | Action::IssueToken(_) => deny("second", "Not today, says the second version."),
            _ => abstain(),
        }
    }
}

flyloft_plugin::export_policy!(Second);
