//! An output mode that always answers CMAF, whatever was asked for.

use flyloft_plugin::output_mode::{Answer, Context, OutputMode, OutputModes, Outputs, Request};

struct OnlyCmaf;

impl OutputModes for OnlyCmaf {
    fn resolve(_context: Context, _request: Request) -> Answer {
        Answer::UseOutputs(Outputs { mode: OutputMode::Cmaf, transcoding_profile: None })
    }
}

flyloft_plugin::export_output_mode!(OnlyCmaf);
