//! A policy and an output mode that never have an opinion.

use flyloft_plugin::output_mode::{Answer, OutputModes, Request};
use flyloft_plugin::policy::{Action, Context, Decision, Policy, abstain};

struct Abstain;

impl Policy for Abstain {
    fn decide(_context: Context, _action: Action) -> Decision {
        abstain()
    }
}

impl OutputModes for Abstain {
    fn resolve(_context: Context, _request: Request) -> Answer {
        Answer::Abstain
    }
}

flyloft_plugin::export_policy!(Abstain);
flyloft_plugin::export_output_mode!(Abstain);
