//! A policy that hands out no room tokens, lets nobody watch and no visitor publish, and says that it is the first version.

use flyloft_plugin::policy::{Action, Context, Decision, Policy, abstain, deny};

struct First;

impl Policy for First {
    fn decide(_context: Context, action: Action) -> Decision {
        match action {
            Action::Publish(request) if request.member.app_user_id != "visitor" => abstain(),
            Action::Publish(_) | Action::Play(_) | Action::IssueToken(_) => deny("first", "Not today, says the first version."),
            _ => abstain(),
        }
    }
}

flyloft_plugin::export_policy!(First);
