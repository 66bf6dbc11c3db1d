//! Radio streams get HLS and DASH only. Everything else is left to the next plugin.

use flyloft_plugin::output_mode::{Answer, Context, OutputMode, OutputModes, Outputs, Request};

struct Rule;

impl OutputModes for Rule {
    fn resolve(_context: Context, request: Request) -> Answer {
        // Who asks for something in the publish URL, shall have it.
        if request.url_mode.is_some() || !request.stream.starts_with("radio-") {
            return Answer::Abstain;
        }
        Answer::UseOutputs(Outputs { mode: OutputMode::Cmaf, transcoding_profile: None })
    }
}

flyloft_plugin::export_output_mode!(Rule);

#[cfg(test)]
mod tests {
    use super::*;
    use flyloft_plugin::policy::Protocol;
    use flyloft_plugin::testing;

    fn resolve(stream: &str, url_mode: Option<&str>) -> Answer {
        let request = Request {
            connection: testing::connection(Protocol::Rtmp),
            member: testing::member("1"),
            room: None,
            stream: stream.into(),
            url_mode: url_mode.map(Into::into),
            key_mode: None,
            transcoding_profile: None,
        };
        Rule::resolve(testing::context(), request)
    }

    #[test]
    fn radio_gets_cmaf_unless_the_url_says_otherwise() {
        assert!(matches!(resolve("radio-1", None), Answer::UseOutputs(outputs) if outputs.mode == OutputMode::Cmaf));
        assert_eq!(resolve("radio-1", Some("RTMP")), Answer::Abstain);
        assert_eq!(resolve("stage", None), Answer::Abstain);
    }
}
