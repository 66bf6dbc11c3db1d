//! A policy that misbehaves as the name of the stream in a publish request says; everything else it allows.

use flyloft_plugin::policy::{Action, Context, Decision, Grant, Pair, Policy, allow, deny};
use std::hint::black_box;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime};

struct Hostile;

impl Policy for Hostile {
    fn decide(_context: Context, action: Action) -> Decision {
        match action {
            Action::Publish(request) => misbehave(&request.stream),
            _ => allow(),
        }
    }
}

flyloft_plugin::export_policy!(Hostile);

static CALLS: AtomicU32 = AtomicU32::new(0);

fn misbehave(how: &str) -> Decision {
    match how {
        "loop" => endless(),
        "sleep" => {
            std::thread::sleep(Duration::from_secs(3600));
            allow()
        }
        // Just long enough to be interrupted a few times, and well within the deadline that its test sets.
        "slow" => {
            let start = Instant::now();
            while start.elapsed() < Duration::from_millis(30) {
                black_box(spin(1000));
            }
            allow()
        }
        // As much as a 32-bit address space can have; what is asked for must not be optimised away.
        "allocate-4g" => {
            let mut blocks = Vec::new();
            for _ in 0..4 {
                blocks.push(black_box(vec![1_u8; 1 << 30]));
            }
            deny("allocated", format!("Got {} blocks.", blocks.len()))
        }
        "allocate-slowly" => {
            let mut blocks: Vec<Vec<u8>> = Vec::new();
            loop {
                blocks.push(black_box(vec![1_u8; 1 << 20]));
            }
        }
        // Asks for too much, is told no, and goes on.
        "allocate-politely" => {
            let mut block: Vec<u8> = Vec::new();
            let reserved = block.try_reserve_exact(1 << 30);
            black_box(&mut block);
            match reserved {
                Ok(()) => deny("allocated", "Got a gigabyte."),
                Err(_) => allow(),
            }
        }
        "trap" => std::process::abort(),
        "panic" => panic!("the answer is not forty-two"),
        "recurse" => deny("recursed", format!("Down to {}.", recurse(black_box(u64::MAX)))),
        "exit" => std::process::exit(3),
        "huge-reason" => deny("huge", "x".repeat(16 << 20)),
        "long-reason" => deny("long", "x".repeat(4096)),
        "huge-labels" => {
            let label = Pair { name: "n".into(), value: "v".repeat(200) };
            Decision::Allow(Grant { labels: vec![label; 50_000], ..Grant::default() })
        }
        "many-labels" => {
            let label = Pair { name: "n".into(), value: "v".into() };
            Decision::Allow(Grant { labels: vec![label; 17], ..Grant::default() })
        }
        // SAFETY: none; that what is said to be text is not is the point.
        "not-utf8" => deny("bytes", unsafe { String::from_utf8_unchecked(vec![b'a', 0xff, 0xfe, b'b']) }),
        "many-permissions" => Decision::Allow(Grant { permissions: vec![String::new(); 100_000], ..Grant::default() }),
        "control-characters" => deny("control", "first\r\nsecond"),
        "bad-code" => deny("Not A Code", "A reason."),
        // Only a fresh instance counts from one.
        "count" => deny("count", format!("{}", CALLS.fetch_add(1, Ordering::Relaxed) + 1)),
        "log" => {
            println!("a line on stdout");
            eprint!("a line on \u{1b}[31mstderr");
            allow()
        }
        "spam" => {
            for line in 0..5_000 {
                eprintln!("line {line} {}", "x".repeat(100));
            }
            allow()
        }
        "spam-forever" => loop {
            eprintln!("{}", "x".repeat(100_000));
        },
        "look-around" => look_around(),
        "clock" => {
            let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
            deny("clock", format!("{since}"))
        }
        _ => allow(),
    }
}

fn endless() -> ! {
    let mut n = 0_u64;
    loop {
        n = black_box(n.wrapping_add(1));
    }
}

fn spin(turns: u32) -> u32 {
    (0..turns).fold(0, |sum, n| black_box(sum ^ n))
}

#[allow(unconditional_recursion)]
fn recurse(n: u64) -> u64 {
    let frame = black_box([n; 16]);
    black_box(recurse(frame[3] - 1)) + frame[7]
}

/// Says what it can see of the machine: nothing.
fn look_around() -> Decision {
    let variables = std::env::vars().count();
    let arguments = std::env::args().count();
    let root = std::fs::read_dir("/").is_ok() || std::fs::read_dir(".").is_ok();
    let file = std::fs::read("/etc/passwd").is_ok() || std::fs::write("/tmp/x", b"x").is_ok();
    let stdin = std::io::read_to_string(std::io::stdin()).unwrap_or_default().len();
    deny("looked", format!("{variables} {arguments} {root} {file} {stdin}"))
}
