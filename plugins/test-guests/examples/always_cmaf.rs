//! An output mode that always answers CMAF.

use flyloft_plugin::output_mode::{Answer, Context, OutputMode, OutputModes, Outputs, Request};

struct AlwaysCmaf;

impl OutputModes for AlwaysCmaf {
    fn resolve(_context: Context, _request: Request) -> Answer {
        Answer::UseOutputs(Outputs { mode: OutputMode::Cmaf, transcoding_profile: None })
    }
}

flyloft_plugin::export_output_mode!(AlwaysCmaf);
