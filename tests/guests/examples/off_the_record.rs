//! A policy that records nobody, and those whose `appUserId` is `star` always.

use flyloft_plugin::policy::{Action, Context, Decision, Grant, Policy, abstain};

struct OffTheRecord;

impl Policy for OffTheRecord {
    fn decide(_context: Context, action: Action) -> Decision {
        match action {
            Action::Publish(request) => {
                let record = Some(request.member.app_user_id == "star");
                Decision::Allow(Grant { record, ..Grant::default() })
            }
            _ => abstain(),
        }
    }
}

flyloft_plugin::export_policy!(OffTheRecord);
