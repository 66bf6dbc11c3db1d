//! A policy that denies every publish with the code "both", and an output mode that always answers RTMP.

use flyloft_plugin::output_mode::{Answer, OutputMode, OutputModes, Outputs, Request};
use flyloft_plugin::policy::{Action, Context, Decision, Policy, abstain, deny};

struct Both;

impl Policy for Both {
    fn decide(_context: Context, action: Action) -> Decision {
        match action {
            Action::Publish(_) => deny("both", "Nobody may publish here."),
            _ => abstain(),
        }
    }
}

impl OutputModes for Both {
    fn resolve(_context: Context, _request: Request) -> Answer {
        Answer::UseOutputs(Outputs { mode: OutputMode::Rtmp, transcoding_profile: None })
    }
}

flyloft_plugin::export_policy!(Both);
flyloft_plugin::export_output_mode!(Both);
