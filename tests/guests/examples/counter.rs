//! A policy that hands out no room tokens and counts in its store how often it was asked; the reason of its denial is the number.

use flyloft_plugin::key_value::Store;
use flyloft_plugin::policy::{Action, Context, Decision, Policy, abstain, deny};

struct Counter;

impl Policy for Counter {
    fn decide(context: Context, action: Action) -> Decision {
        let Action::IssueToken(_) = action else { return abstain() };
        let sum = Store::open().and_then(|store| store.increment(&context.app.id, 1));
        match sum {
            Ok(sum) => deny("counted", sum.to_string()),
            Err(error) => deny("not-counted", error.to_string()),
        }
    }
}

flyloft_plugin::export_policy!(Counter);
