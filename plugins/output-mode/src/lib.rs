//! The built-in rule for a stream's outputs: `?mode=` of the publish URL, then the stream key's mode, then the App's,
//! then all of them. A `?mode=` that is not known is refused, so that nobody streams for hours into the wrong output.

use flyloft_plugin::output_mode::{Answer, Context, OutputMode, OutputModes, Outputs, Request};

struct Default;

impl OutputModes for Default {
    fn resolve(context: Context, request: Request) -> Answer {
        let mode = match request.url_mode {
            Some(text) => match parse(&text) {
                Some(mode) => mode,
                None => return Answer::Refuse(refusal(&text)),
            },
            None => request.key_mode.or(context.app.output_mode).unwrap_or(OutputMode::RtmpCmaf),
        };
        Answer::UseOutputs(Outputs { mode, transcoding_profile: request.transcoding_profile })
    }
}

flyloft_plugin::export_output_mode!(Default);

fn parse(text: &str) -> Option<OutputMode> {
    [("RTMP", OutputMode::Rtmp), ("CMAF", OutputMode::Cmaf), ("RTMP_CMAF", OutputMode::RtmpCmaf)]
        .into_iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(text))
        .map(|(_, mode)| mode)
}

/// Longest part of a stranger's value that is repeated in a reason.
const SHOWN_CHARS: usize = 32;

fn refusal(text: &str) -> String {
    if text.is_empty() {
        return "The publish URL has an empty ?mode=. Use ?mode=RTMP, ?mode=CMAF or ?mode=RTMP_CMAF, or leave it out.".to_owned();
    }
    let mut shown: String =
        text.chars().take(SHOWN_CHARS).map(|c| if c.is_ascii_graphic() && c != '"' || c == ' ' { c } else { '?' }).collect();
    if text.chars().nth(SHOWN_CHARS).is_some() {
        shown.push_str("...");
    }
    format!(
        "The publish URL's ?mode= is \"{shown}\", which is not known. Use ?mode=RTMP, ?mode=CMAF or ?mode=RTMP_CMAF, or leave it out."
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use flyloft_plugin::policy::Protocol;
    use flyloft_plugin::testing;

    fn resolve(url: Option<&str>, key: Option<OutputMode>, app: Option<OutputMode>) -> Answer {
        let mut context = testing::context();
        context.app.output_mode = app;
        let request = Request {
            connection: testing::connection(Protocol::Rtmp),
            member: testing::member("owner"),
            room: None,
            stream: "stream-1".into(),
            url_mode: url.map(str::to_owned),
            key_mode: key,
            transcoding_profile: Some("720p".into()),
        };
        Default::resolve(context, request)
    }

    fn outputs(mode: OutputMode) -> Answer {
        Answer::UseOutputs(Outputs { mode, transcoding_profile: Some("720p".into()) })
    }

    #[test]
    fn the_first_of_url_key_and_app_that_is_set_wins() {
        use OutputMode::{Cmaf, Rtmp, RtmpCmaf};
        let modes = [None, Some(Rtmp), Some(Cmaf), Some(RtmpCmaf)];
        let name = |mode| match mode {
            Rtmp => "RTMP",
            Cmaf => "CMAF",
            RtmpCmaf => "RTMP_CMAF",
        };
        for url in modes {
            for key in modes {
                for app in modes {
                    let expected = url.or(key).or(app).unwrap_or(RtmpCmaf);
                    assert_eq!(resolve(url.map(name), key, app), outputs(expected), "{url:?} {key:?} {app:?}");
                }
            }
        }
    }

    #[test]
    fn letter_case_does_not_matter() {
        assert_eq!(resolve(Some("rtmp_Cmaf"), Some(OutputMode::Rtmp), None), outputs(OutputMode::RtmpCmaf));
        assert_eq!(resolve(Some("cmaf"), None, None), outputs(OutputMode::Cmaf));
    }

    #[test]
    fn an_unknown_mode_is_refused_whatever_the_key_says() {
        for text in ["HLS", "RTMP ", "RTMP,CMAF", "RTMP-CMAF", ""] {
            let Answer::Refuse(reason) = resolve(Some(text), Some(OutputMode::Cmaf), Some(OutputMode::Cmaf)) else {
                panic!("{text:?} was accepted");
            };
            assert!(reason.contains(text), "{reason}");
            assert!(reason.contains("?mode=RTMP, ?mode=CMAF or ?mode=RTMP_CMAF"), "{reason}");
        }
    }

    #[test]
    fn a_strangers_value_is_shortened_and_made_harmless() {
        let Answer::Refuse(reason) = resolve(Some(&format!("\r\n\u{1b}[31m\"é{}", "x".repeat(5000))), None, None) else {
            panic!("accepted");
        };
        assert!(reason.len() < 250, "{reason}");
        assert!(reason.contains("\"???[31m??xxx"), "{reason}");
        assert!(reason.contains("xxx...\""), "{reason}");
        assert!(reason.chars().all(|c| !c.is_control()), "{reason}");
    }
}
