//! What a guest gets of settings, of the store and of the log; `outgoing` has its requests.

use crate::logged::logged;
use crate::requests::*;
use flyloft_plugins::{BindingChange, Config, Grants, NewBinding, Plugins, Secret};
use flyloft_test_guests::REACH;

async fn told(plugins: &Plugins, order: &str) -> String {
    reason(plugins, publish(order)).await
}

fn store(quota: u64) -> Grants {
    Grants { key_value_quota: quota, key_value_namespace: "binding-1".into(), ..Grants::default() }
}

#[tokio::test]
async fn settings_and_secrets_are_what_was_granted() {
    let grants = Grants {
        config: [("limit".to_owned(), "7".to_owned())].into(),
        secrets: [("key".to_owned(), Secret::new("hunter2"))].into(),
        ..Grants::default()
    };
    let plugins = granted(REACH, grants).await;
    assert_eq!(told(&plugins, "config limit").await, "Some(\"7\")");
    assert_eq!(told(&plugins, "config key").await, "Some(\"hunter2\")");
    assert_eq!(told(&plugins, "config other").await, "None");
}

#[tokio::test]
async fn without_grants_there_is_nothing() {
    let plugins = granted(REACH, Grants::default()).await;
    assert_eq!(told(&plugins, "config limit").await, "None");
    assert_eq!(told(&plugins, "keep get key").await, "failed: this plugin has no store; grant it a quota");
}

#[tokio::test]
async fn values_outlive_the_call() {
    let plugins = granted(REACH, store(1 << 20)).await;
    assert_eq!(told(&plugins, "keep get key").await, "None");
    assert_eq!(told(&plugins, "keep set key value").await, "set");
    assert_eq!(told(&plugins, "keep get key").await, "Some(\"value\")");
    assert_eq!(told(&plugins, "keep append key +more").await, "10 bytes");
    assert_eq!(told(&plugins, "keep get key").await, "Some(\"value+more\")");
    assert_eq!(told(&plugins, "keep delete key").await, "deleted");
    assert_eq!(told(&plugins, "keep get key").await, "None");
}

#[tokio::test]
async fn a_binding_has_values_of_its_own() {
    let plugins = Plugins::open(config()).unwrap();
    plugins.deploy("keeper", REACH.into()).await.unwrap();
    let new = NewBinding { plugin: "keeper".into(), grants: store(1 << 20), ..NewBinding::default() };
    let first = plugins.bind(new.clone()).await.unwrap();
    assert_eq!(told(&plugins, "keep set key first").await, "set");
    plugins.bind(NewBinding { position: -1, ..new }).await.unwrap();
    assert_eq!(told(&plugins, "keep get key").await, "None", "the second binding is asked");
    assert_eq!(told(&plugins, "keep set key second").await, "set");
    plugins.change(&first.id, BindingChange { position: Some(-2), ..BindingChange::default() }).await.unwrap();
    assert_eq!(told(&plugins, "keep get key").await, "Some(\"first\")");
}

#[tokio::test]
async fn the_quota_ends_what_a_plugin_keeps() {
    let plugins = granted(REACH, store(10_000)).await;
    let flooded = told(&plugins, "keep flood").await;
    assert!(flooded.contains("may have 10000 bytes"), "{flooded}");
    let keys = told(&plugins, "keep keys").await;
    assert!(keys.starts_with("9 "), "{keys}");
    assert!(told(&plugins, "keep set more value").await.starts_with("set"));
    assert_eq!(told(&plugins, "keep delete 0").await, "deleted");
}

#[tokio::test]
async fn keys_and_values_are_limited() {
    let plugins = granted(REACH, store(1 << 24)).await;
    assert_eq!(told(&plugins, "keep large 65536").await, "set");
    assert!(told(&plugins, "keep large 65537").await.contains("at most 65536 are allowed"));
    assert_eq!(told(&plugins, "keep long-key 256").await, "None");
    assert!(told(&plugins, "keep long-key 257").await.contains("1 to 256 are allowed"));
    assert!(told(&plugins, "keep long-key 0").await.contains("1 to 256 are allowed"));
    // More than a call may hand out at a time costs the call.
    let fault = fault(&plugins, publish("keep large 8000000")).await;
    assert_eq!(fault.name(), "invalid-answer", "{fault}");
}

#[tokio::test]
async fn many_keys_come_in_pages() {
    let plugins = granted(REACH, store(1 << 20)).await;
    assert_eq!(told(&plugins, "keep fill key- 600").await, "filled");
    assert_eq!(told(&plugins, "keep keys").await, "600 Some(\"key-0\")");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn increments_and_swaps_at_one_time_are_not_lost() {
    let plugins = granted(REACH, store(1 << 20)).await;
    let calls: Vec<_> = (0..100)
        .flat_map(|_| ["keep increment n", "keep append text x"])
        .map(|order| {
            let plugins = plugins.clone();
            tokio::spawn(async move { told(&plugins, order).await })
        })
        .collect();
    for call in calls {
        call.await.unwrap();
    }
    assert_eq!(told(&plugins, "keep increment n").await, "101");
    assert_eq!(told(&plugins, "keep append text x").await, "101 bytes");
}

#[tokio::test]
async fn what_is_no_number_is_not_incremented() {
    let plugins = granted(REACH, store(1 << 20)).await;
    assert_eq!(told(&plugins, "keep set n many").await, "set");
    assert!(told(&plugins, "keep increment n").await.contains("is not a number"));
}

#[tokio::test]
async fn log_lines_have_a_level_and_are_harmless() {
    let plugins = granted(REACH, Grants::default()).await;
    for (level, shown) in [("debug", "DEBUG"), ("info", "INFO"), ("warn", "WARN"), ("error", "ERROR")] {
        let log = logged(async { assert_eq!(told(&plugins, &format!("log {level} 1")).await, "spoken") }).await;
        let line = log.lines().find(|line| line.contains("line 0\\n")).unwrap_or_else(|| panic!("no line in {log}"));
        for part in [shown, "plugin: ", "plugin=granted", "call=call-7", "of \\u{1b}[31mmany"] {
            assert!(line.contains(part), "{part} in {line}");
        }
    }
}

#[tokio::test]
async fn a_log_line_is_shortened() {
    let plugins = granted(REACH, Grants::default()).await;
    let log = logged(async { assert_eq!(told(&plugins, "log critical 1").await, "spoken") }).await;
    let line = log.lines().find(|line| line.contains("xxx")).unwrap();
    assert!(line.contains("ERROR") && line.len() < 1500, "{} bytes", line.len());
}

#[tokio::test]
async fn thousands_of_log_lines_are_dropped_and_counted() {
    let config = Config {
        limits: flyloft_plugins::CallLimits { deadline: std::time::Duration::from_secs(60), ..config().limits },
        ..config()
    };
    let plugins = granted_with(config, REACH, Grants::default()).await;
    let log = logged(async { assert_eq!(told(&plugins, "log info 5000").await, "spoken") }).await;
    assert_eq!(log.lines().filter(|line| line.contains("of \\u{1b}[31mmany")).count(), 64);
    assert!(log.contains("too many log lines"), "{log}");
    assert_eq!(plugins.get("granted").unwrap().counters.dropped_log_lines, 5_000 - 64);
}
