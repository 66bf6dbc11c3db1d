//! A policy that misbehaves when a room token is wanted, as its setting `misdeed` says, and has no opinion else.

use flyloft_plugin::key_value::Store;
use flyloft_plugin::policy::{Action, Context, Decision, Grant, Pair, Policy, abstain, deny};
use flyloft_plugin::{config, http, log};
use std::hint::black_box;

struct Rogue;

impl Policy for Rogue {
    fn decide(_context: Context, action: Action) -> Decision {
        match action {
            Action::IssueToken(_) => misbehave(&config::get("misdeed").unwrap_or_default()),
            _ => abstain(),
        }
    }
}

flyloft_plugin::export_policy!(Rogue);

fn misbehave(misdeed: &str) -> Decision {
    match misdeed {
        "loop" => loop {
            black_box(0);
        },
        "memory" => {
            let mut blocks: Vec<Vec<u8>> = Vec::new();
            loop {
                blocks.push(black_box(vec![1; 1 << 20]));
            }
        }
        "recursion" => deny("recursed", down(black_box(1)).to_string()),
        "trap" => std::process::abort(),
        "panic" => panic!("no tokens today"),
        "exit" => std::process::exit(1),
        "long-text" => deny("long", "x".repeat(8 << 20)),
        "long-list" => {
            let label = Pair { name: "n".into(), value: "v".into() };
            Decision::Allow(Grant { labels: vec![label; 100_000], ..Grant::default() })
        }
        // SAFETY: none; that what is said to be text is not is the point.
        "not-text" => deny("bytes", unsafe { String::from_utf8_unchecked(vec![0xff, 0xfe]) }),
        "no-code" => deny("Not A Code!", ""),
        "log" => {
            for line in 0..5_000 {
                log::error(format!("line {line}"));
            }
            panic!("out of words")
        }
        "store" => match Store::open() {
            Ok(store) => match (0_u64..).try_for_each(|key| store.set(&key.to_string(), [b'x'; 4096])) {
                Ok(()) => abstain(),
                Err(error) => deny("store", error.to_string()),
            },
            Err(error) => deny("store", error.to_string()),
        },
        // A server that answers slowly, one that was not granted.
        url => match http::send(http::Request::new("GET", url)) {
            Ok(answer) => deny("answered", format!("It answered {}.", answer.status)),
            Err(error) => deny("not-answered", error.to_string()),
        },
    }
}

#[allow(unconditional_recursion)]
fn down(depth: u64) -> u64 {
    let frame = black_box([depth; 16]);
    black_box(down(frame[1] + 1)) + frame[2]
}
