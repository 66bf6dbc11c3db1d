//! A policy: only the members on a list may publish.

use flyloft_plugin::config;
use flyloft_plugin::policy::{Action, Context, Decision, Policy, abstain, allow, deny};

struct AllowList;

impl Policy for AllowList {
    fn decide(_context: Context, action: Action) -> Decision {
        match action {
            Action::Publish(request) => decide(config::get("publishers").as_deref(), &request.member.app_user_id),
            // Everything else is left to the server's own rules.
            _ => abstain(),
        }
    }
}

/// `publishers` are the `appUserId`s of those who may publish, with commas, spaces or line ends between them.
fn decide(publishers: Option<&str>, id: &str) -> Decision {
    let Some(publishers) = publishers else {
        return deny("no-list", "Nobody may publish: the list is missing. Set \"publishers\" in this plugin's configuration.");
    };
    let listed = publishers.split([',', ' ', '\n', '\r', '\t']).filter(|one| !one.is_empty()).any(|one| one == id);
    if listed {
        allow()
    } else {
        deny("not-listed", format!("{id:?} is not on the list of publishers. Ask the studio to be added."))
    }
}

flyloft_plugin::export_policy!(AllowList);

#[cfg(test)]
mod tests {
    use super::*;

    fn code(decision: Decision) -> String {
        match decision {
            Decision::Deny(denial) => denial.code,
            other => panic!("not denied: {other:?}"),
        }
    }

    #[test]
    fn only_those_on_the_list_may_publish() {
        let list = Some("alice, bob\ncarol");
        for id in ["alice", "bob", "carol"] {
            assert_eq!(decide(list, id), allow());
        }
        for id in ["ali", "alice,", "", "mallory"] {
            assert_eq!(code(decide(list, id)), "not-listed");
        }
    }

    #[test]
    fn without_a_list_nobody_may() {
        assert_eq!(code(decide(None, "alice")), "no-list");
        assert_eq!(code(decide(Some(""), "alice")), "not-listed");
    }
}
