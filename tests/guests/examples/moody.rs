//! A policy that treats a publisher as its `appUserId` says: it loops, allocates, traps, refuses, or allows.

use flyloft_plugin::policy::{Action, Context, Decision, Policy, allow, deny};
use std::hint::black_box;

struct Moody;

impl Policy for Moody {
    fn decide(_context: Context, action: Action) -> Decision {
        let Action::Publish(request) = action else { return allow() };
        match request.member.app_user_id.as_str() {
            "loop" => loop {
                black_box(0);
            },
            "bomb" => {
                let blocks: Vec<Vec<u8>> = (0..4).map(|_| black_box(vec![1; 1 << 30])).collect();
                deny("allocated", format!("Got {} gigabytes.", blocks.len()))
            }
            "trap" => std::process::abort(),
            "banned" => deny("banned", "You are on the list of the people who may not."),
            _ => allow(),
        }
    }
}

flyloft_plugin::export_policy!(Moody);
