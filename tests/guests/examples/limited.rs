//! A policy that limits a publisher as its `appUserId` says, and a viewer as the parameters of its URL say: it has `most` viewers with
//! it, watches `for` so many milliseconds, and sees pictures `wide` so many pixels.

use flyloft_plugin::policy::{Action, Context, Decision, Grant, Limits, Pair, Policy, abstain};

struct Limited;

impl Policy for Limited {
    fn decide(_context: Context, action: Action) -> Decision {
        let limits = match &action {
            Action::Publish(request) => match request.member.app_user_id.as_str() {
                "brief" => Limits { max_duration: Some(1_500), ..Limits::default() },
                "few" => Limits { max_viewers: Some(2), ..Limits::default() },
                "small" => Limits { max_width: Some(64), max_height: Some(64), ..Limits::default() },
                "thin" => Limits { max_bitrate: Some(1_000), ..Limits::default() },
                _ => Limits::default(),
            },
            Action::Play(request) => {
                let number = |name: &str| {
                    let found = request.connection.parameters.iter().find(|parameter| parameter.name == name);
                    found.and_then(|parameter| parameter.value.parse().ok())
                };
                let (viewers, width) = (number("most").map(|most| most as u32), number("wide").map(|wide| wide as u32));
                Limits { max_duration: number("for"), max_viewers: viewers, max_width: width, ..Limits::default() }
            }
            _ => return abstain(),
        };
        let labels = vec![Pair { name: "tier".to_owned(), value: "\"gold\"".to_owned() }];
        Decision::Allow(Grant { limits, labels, ..Grant::default() })
    }
}

flyloft_plugin::export_policy!(Limited);
