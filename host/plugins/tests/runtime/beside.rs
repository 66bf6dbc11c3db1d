//! Honest plugins beside hostile ones: each App has its own, and what one of them does is no other's trouble.

use crate::apps::{bind_to, in_app};
use crate::requests::*;
use flyloft_plugins::model::Decision;
use flyloft_plugins::{Config, Grants, Plugins};
use flyloft_test_guests::{ABSTAIN, HOSTILE, REACH};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// What hostile policies do when somebody publishes.
const MISDEEDS: [&str; 17] = [
    "loop",
    "sleep",
    "allocate-4g",
    "allocate-slowly",
    "trap",
    "panic",
    "recurse",
    "exit",
    "huge-reason",
    "long-reason",
    "huge-labels",
    "many-permissions",
    "not-utf8",
    "control-characters",
    "bad-code",
    "spam",
    "spam-forever",
];

/// What plugins do that have been granted something.
const ABUSES: [&str; 3] = ["keep flood", "keep large 8000000", "log critical 5000"];

/// A server that takes requests and answers with a byte now and then.
async fn slow_loris() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = [0; 1024];
                let mut sent = stream.read(&mut request).await.map(drop);
                while sent.is_ok() {
                    sent = stream.write_all(b"H").await;
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            });
        }
    });
    url
}

/// Two policies for honest Apps, and one hostile App for each misdeed; their names.
async fn town(config: Config, orders: &[String]) -> (Plugins, Vec<String>) {
    let plugins = Plugins::open(config).unwrap();
    for (name, component) in [("hostile", HOSTILE), ("reach", REACH), ("honest", ABSTAIN)] {
        plugins.deploy(name, component.into()).await.unwrap();
    }
    bind_to(&plugins, "honest", "app-honest", Grants::default()).await;
    let grants = Grants { hosts: vec!["127.0.0.1".into()], key_value_quota: 100_000, ..Grants::default() };
    let mut apps = Vec::new();
    for (index, order) in orders.iter().enumerate() {
        let app = format!("app-{index}");
        let plugin = if order.contains(' ') { "reach" } else { "hostile" };
        bind_to(&plugins, plugin, &app, grants.clone()).await;
        apps.push(app);
    }
    (plugins, apps)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_honest_call_is_answered_while_every_other_app_is_hostile() {
    let url = slow_loris().await;
    let orders: Vec<String> = MISDEEDS.into_iter().chain(ABUSES).map(str::to_owned).chain([format!("http GET {url}")]).collect();
    let mut config = config();
    config.limits.deadline = Duration::from_millis(40);
    let (plugins, apps) = town(config, &orders).await;
    let done = Arc::new(AtomicBool::new(false));
    let hostile: Vec<_> = apps
        .into_iter()
        .zip(orders)
        .map(|(app, order)| {
            let (plugins, done) = (plugins.clone(), Arc::clone(&done));
            tokio::spawn(async move {
                let mut calls = 0;
                while !done.load(Ordering::Relaxed) || calls < 3 {
                    // What comes of it is shown elsewhere.
                    let _ = plugins.decide(&in_app(&app), &publish(&order)).await;
                    calls += 1;
                }
                calls
            })
        })
        .collect();
    // One App has a plugin in front of the built-in one, the other has not.
    let honest = ["app-honest", "app-plain"].map(|app| {
        let plugins = plugins.clone();
        tokio::spawn(async move {
            for _ in 0..300 {
                let decided = plugins.decide(&in_app(app), &publish("stream")).await.unwrap();
                assert!(matches!(decided.answer, Decision::Allow(_)), "{decided:?}");
                tokio::task::yield_now().await;
            }
        })
    });
    for caller in honest {
        caller.await.unwrap();
    }
    done.store(true, Ordering::Relaxed);
    for caller in hostile {
        assert!(caller.await.unwrap() >= 3);
    }
    let honest = plugins.get("honest").unwrap().counters;
    assert_eq!((honest.calls, honest.faults.total()), (300, 0));
    assert_eq!(plugins.get("room-policy").unwrap().counters.faults.total(), 0);
}
