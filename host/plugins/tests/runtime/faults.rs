//! Hostile plugins: each fault is named, costs its call only, and leaves nothing behind.

use crate::logged::logged;
use crate::requests::*;
use flyloft_plugins::model::{Decision, OutputModeAnswer};
use flyloft_plugins::{BindingChange, BreakerSettings, Config, FaultKind, Plugins};
use flyloft_test_guests::{HOSTILE, REALLOC};
use std::time::{Duration, Instant};

async fn hostile_with(config: Config) -> Plugins {
    let plugins = Plugins::open(config).unwrap();
    plugins.put("room-policy", HOSTILE.into()).await.unwrap();
    plugins
}

async fn hostile() -> Plugins {
    hostile_with(config()).await
}

/// Asks for one misbehaviour, then for a healthy answer.
async fn provoke(plugins: &Plugins, how: &str) -> FaultKind {
    let kind = fault(plugins, publish(how)).await;
    assert!(verdict(plugins, publish("healthy")).await.is_ok(), "no healthy call after {how}");
    kind
}

#[tokio::test]
async fn an_endless_loop_ends_at_the_deadline_and_blocks_nobody() {
    let mut config = config();
    config.limits.deadline = Duration::from_millis(60);
    let plugins = hostile_with(config).await;
    // The runtime has one thread: the other task runs only if the loop gives way.
    let looping = tokio::spawn({
        let plugins = plugins.clone();
        async move { fault(&plugins, publish("loop")).await }
    });
    let mut turns = 0;
    while !looping.is_finished() {
        tokio::task::yield_now().await;
        turns += 1;
    }
    assert_eq!(looping.await.unwrap(), FaultKind::Deadline { ms: 60 });
    // The first turn comes before the loop begins.
    assert!(turns >= 2, "{turns}");
    assert!(verdict(&plugins, publish("healthy")).await.is_ok());
    assert_eq!(plugins.get("room-policy").unwrap().counters.faults.deadline, 1);
}

#[tokio::test]
async fn a_guest_that_sleeps_ends_at_the_deadline() {
    let mut config = config();
    config.limits.deadline = Duration::from_millis(60);
    assert_eq!(provoke(&hostile_with(config).await, "sleep").await, FaultKind::Deadline { ms: 60 });
}

#[tokio::test]
async fn a_slow_call_within_its_deadline_gets_its_answer() {
    let mut config = config();
    config.limits.deadline = Duration::from_secs(20);
    assert!(verdict(&hostile_with(config).await, publish("slow")).await.is_ok());
}

#[tokio::test]
async fn an_allocator_without_end_ends_at_the_deadline() {
    let mut config = config();
    config.limits.deadline = Duration::from_millis(60);
    let plugins = Plugins::open(config).unwrap();
    plugins.put("room-policy", REALLOC.into()).await.unwrap();
    // The host asks the guest for room for this name before the guest's own code has begun.
    assert_eq!(fault(&plugins, publish(&"x".repeat(4242))).await, FaultKind::Deadline { ms: 60 });
    assert!(verdict(&plugins, publish(&"x".repeat(4241))).await.is_ok());
}

#[tokio::test]
async fn memory_is_limited_at_once_and_bit_by_bit() {
    let plugins = hostile().await;
    let limit = FaultKind::Memory { limit: 64 << 20 };
    assert_eq!(provoke(&plugins, "allocate-4g").await, limit);
    assert_eq!(provoke(&plugins, "allocate-slowly").await, limit);
    let counters = plugins.get("room-policy").unwrap().counters;
    assert_eq!(counters.faults.memory, 2);
    assert!((32 << 20..=64 << 20).contains(&counters.max_memory), "{}", counters.max_memory);
    // Being told no is not a fault as long as the guest copes with it.
    assert!(verdict(&plugins, publish("allocate-politely")).await.is_ok());
}

#[tokio::test]
async fn traps_say_what_happened() {
    let plugins = hostile().await;
    let reason = async |how: &str| match provoke(&plugins, how).await {
        FaultKind::Trap { reason } => reason,
        other => panic!("{how}: {other}"),
    };
    assert!(reason("trap").await.contains("panicked or aborted"));
    let panic = reason("panic").await;
    assert!(panic.contains("the answer is not forty-two"), "{panic}");
    let recursion = reason("recurse").await;
    assert!(recursion.contains("stack overflowed"), "{recursion}");
}

#[tokio::test]
async fn an_exit_is_the_guests_own_doing() {
    match provoke(&hostile().await, "exit").await {
        FaultKind::Guest { message } => assert!(message.contains("exit code 1"), "{message}"),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn answers_that_break_the_contract_name_the_field() {
    let plugins = hostile().await;
    for (how, expected) in [
        ("long-reason", "deny.reason"),
        ("control-characters", "deny.reason"),
        ("bad-code", "deny.code"),
        ("many-labels", "allow.labels"),
        ("huge-reason", "the answer"),
        ("huge-labels", "the answer"),
        ("many-permissions", "the answer"),
        ("not-utf8", "the answer"),
    ] {
        match provoke(&plugins, how).await {
            FaultKind::InvalidAnswer { field, problem } => {
                assert!(field.starts_with(expected), "{how}: {field} {problem}");
            }
            other => panic!("{how}: {other}"),
        }
    }
    assert_eq!(plugins.get("room-policy").unwrap().counters.faults.invalid_answer, 8);
}

#[tokio::test]
async fn nothing_is_kept_between_calls() {
    let plugins = hostile().await;
    for _ in 0..200 {
        assert_eq!(reason(&plugins, publish("count")).await, "1");
    }
}

#[tokio::test]
async fn a_guest_sees_nothing_of_the_machine() {
    assert_eq!(reason(&hostile().await, publish("look-around")).await, "0 0 false false 0");
}

#[tokio::test]
async fn a_guest_can_read_the_clock() {
    let seconds: u64 = reason(&hostile().await, publish("clock")).await.parse().unwrap();
    assert!(seconds > 1_700_000_000, "{seconds}");
}

#[tokio::test]
async fn log_lines_are_labelled_and_harmless() {
    let plugins = hostile().await;
    let log = logged(async { assert!(verdict(&plugins, publish("log")).await.is_ok()) }).await;
    let out = log.lines().find(|line| line.contains("a line on stdout")).unwrap();
    for part in ["plugin: ", "plugin=room-policy", "call=call-7", "stream=\"stdout\""] {
        assert!(out.contains(part), "{part} in {out}");
    }
    let err = log.lines().find(|line| line.contains("a line on \\u{1b}[31mstderr")).unwrap();
    assert!(err.contains("stream=\"stderr\""), "{err}");
}

#[tokio::test]
async fn a_log_spammer_is_cut_short() {
    let mut config = config();
    config.limits.deadline = Duration::from_secs(60);
    let plugins = hostile_with(config).await;
    let log = logged(async { assert!(verdict(&plugins, publish("spam")).await.is_ok()) }).await;
    let lines = log.lines().filter(|line| line.contains("stream=\"stderr\"")).count();
    assert_eq!(lines, 64);
    assert!(log.contains("too many log lines"), "{log}");
    assert_eq!(plugins.get("room-policy").unwrap().counters.dropped_log_lines, 5_000 - 64);
}

#[tokio::test]
async fn a_log_spammer_without_end_ends_at_the_deadline() {
    let mut config = config();
    config.limits.deadline = Duration::from_millis(100);
    assert_eq!(provoke(&hostile_with(config).await, "spam-forever").await, FaultKind::Deadline { ms: 100 });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_loops_at_a_time_leave_room_for_healthy_calls() {
    let mut config = config();
    config.limits.deadline = Duration::from_millis(200);
    config.max_concurrent_calls = 32;
    let plugins = hostile_with(config).await;
    // They fail at the same moment, which must not look like a plugin that is ill.
    let breaker = BreakerSettings { failures: 1000, ..BreakerSettings::default() };
    plugins.change("room-policy", BindingChange { breaker: Some(breaker), ..BindingChange::default() }).await.unwrap();
    let loops: Vec<_> = (0..24)
        .map(|_| {
            let plugins = plugins.clone();
            tokio::spawn(async move { fault(&plugins, publish("loop")).await })
        })
        .collect();
    let mut healthy = 0;
    while loops.iter().any(|running| !running.is_finished()) {
        assert!(verdict(&plugins, publish("healthy")).await.is_ok());
        healthy += 1;
        tokio::task::yield_now().await;
    }
    for running in loops {
        assert_eq!(running.await.unwrap(), FaultKind::Deadline { ms: 200 });
    }
    assert!(healthy > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_calls_than_may_wait_are_refused() {
    let mut config = config();
    config.limits.deadline = Duration::from_millis(100);
    config.max_concurrent_calls = 1;
    config.max_waiting_calls = 2;
    let plugins = hostile_with(config).await;
    let calls: Vec<_> = (0..12)
        .map(|_| {
            let plugins = plugins.clone();
            tokio::spawn(async move { fault(&plugins, publish("loop")).await })
        })
        .collect();
    let mut kinds = Vec::new();
    for call in calls {
        kinds.push(call.await.unwrap());
    }
    let late = kinds.iter().filter(|kind| matches!(kind, FaultKind::Deadline { ms: 100 })).count();
    let refused = kinds.iter().filter(|kind| matches!(kind, FaultKind::Overloaded { waiting: 2, .. })).count();
    assert_eq!(late + refused, 12, "{kinds:?}");
    assert!(late >= 3 && refused > 0, "{kinds:?}");
    assert!(verdict(&plugins, publish("healthy")).await.is_ok());
}

#[tokio::test]
async fn a_caller_that_goes_away_frees_its_sandbox() {
    let mut config = config();
    config.limits.deadline = Duration::from_secs(600);
    config.max_concurrent_calls = 1;
    let plugins = hostile_with(config).await;
    for _ in 0..20 {
        let call = plugins.decide(&context(), &publish("loop")).await_a_little().await;
        assert!(call.is_none());
        assert!(verdict(&plugins, publish("healthy")).await.is_ok());
    }

    impl<F: Future> Little for F {}
    trait Little: Future + Sized {
        async fn await_a_little(self) -> Option<Self::Output> {
            tokio::time::timeout(Duration::from_millis(12), self).await.ok()
        }
    }
}

/// Resident memory of this process in bytes.
#[cfg(target_os = "linux")]
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn memory_stays_flat_over_many_faults() {
    let mut config = config();
    config.limits.deadline = Duration::from_millis(20);
    let plugins = hostile_with(config).await;
    let round = async || {
        for how in ["allocate-4g", "allocate-slowly", "trap", "panic", "recurse", "huge-reason", "loop", "exit"] {
            fault(&plugins, publish(how)).await;
        }
        assert!(verdict(&plugins, publish("healthy")).await.is_ok());
    };
    for _ in 0..10 {
        round().await;
    }
    let before = resident();
    for _ in 0..40 {
        round().await;
    }
    let grown = resident().saturating_sub(before);
    assert!(grown < 16 << 20, "resident memory grew by {grown} bytes");
}

#[tokio::test]
async fn a_failing_output_mode_falls_through_to_the_next() {
    let plugins = plugins();
    // The hostile policy is no output mode, so it is never asked for one.
    plugins.put("hostile", HOSTILE.into()).await.unwrap();
    let decided = plugins.resolve_output_mode(&context(), &output_request(Some("CMAF"), None)).await.unwrap();
    assert_eq!(&*decided.plugin, "output-mode");
    assert!(matches!(decided.answer, OutputModeAnswer::UseOutputs(_)));
    // As a policy it stands before the built-in one, and its failure closes the door.
    assert!(matches!(fault(&plugins, publish("trap")).await, FaultKind::Trap { .. }));
    let decided = plugins.decide(&context(), &publish("healthy")).await.unwrap();
    assert_eq!((&*decided.plugin, matches!(decided.answer, Decision::Allow(_))), ("hostile", true));
}

#[tokio::test]
async fn faults_come_in_good_time() {
    // Not how fast, but that nothing waits for more than the deadline says, with room for a busy machine.
    let plugins = hostile().await;
    for how in ["allocate-4g", "trap", "recurse", "huge-reason", "loop"] {
        let start = Instant::now();
        provoke(&plugins, how).await;
        assert!(start.elapsed() < Duration::from_secs(30), "{how}");
    }
}
