//! Plugins that come and go while calls are under way.

use crate::requests::*;
use flyloft_plugins::model::*;
use flyloft_plugins::{Interface, Plugins, RemoveError};
use flyloft_test_guests::{ABSTAIN, ALWAYS_CMAF, BOTH, HOSTILE};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

async fn mode(plugins: &Plugins) -> (OutputMode, String) {
    let decided = plugins.resolve_output_mode(&context(), &output_request(Some("RTMP"), None)).await.unwrap();
    match decided.answer {
        OutputModeAnswer::UseOutputs(outputs) => (outputs.mode, decided.plugin.to_string()),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_replacement_answers_from_the_next_call_and_goes_again() {
    let plugins = plugins();
    let built_in = plugins.get("output-mode").unwrap();
    assert_eq!(mode(&plugins).await, (OutputMode::Rtmp, "output-mode".into()));
    let info = plugins.put("output-mode", ALWAYS_CMAF.into()).await.unwrap();
    assert!(!info.built_in);
    assert_ne!(info.component.digest, built_in.component.digest);
    assert_eq!(mode(&plugins).await, (OutputMode::Cmaf, "output-mode".into()));
    assert_eq!(plugins.list().len(), 6);
    plugins.remove("output-mode").await.unwrap();
    assert_eq!(mode(&plugins).await, (OutputMode::Rtmp, "output-mode".into()));
    assert!(plugins.get("output-mode").unwrap().built_in);
}

#[tokio::test]
async fn only_what_was_uploaded_can_be_removed() {
    let plugins = plugins();
    assert!(matches!(plugins.remove("room-policy").await, Err(RemoveError::BuiltIn { .. })));
    assert!(matches!(plugins.remove("nobody").await, Err(RemoveError::NotFound { .. })));
}

#[tokio::test]
async fn other_names_stand_before_the_built_in_ones_in_their_order() {
    let plugins = plugins();
    let info = plugins.put("zebra", BOTH.into()).await.unwrap();
    assert_eq!(info.serves, [Interface::RoomPolicy, Interface::OutputMode]);
    assert_eq!(mode(&plugins).await, (OutputMode::Rtmp, "zebra".into()));
    assert_eq!(verdict(&plugins, publish("s")).await, Err("both".into()));
    plugins.put("ant", ALWAYS_CMAF.into()).await.unwrap();
    assert_eq!(mode(&plugins).await, (OutputMode::Cmaf, "ant".into()));
    // What it has no opinion about goes on to the built-in policy.
    let request = PushOutRequest { room: None, stream: "s".into(), target: "rtmp://live.example".into() };
    let decided = plugins.decide(&context(), &Action::PushOut(request)).await.unwrap();
    assert_eq!(&*decided.plugin, "room-policy");
    plugins.remove("ant").await.unwrap();
    plugins.remove("zebra").await.unwrap();
    assert_eq!(mode(&plugins).await, (OutputMode::Rtmp, "output-mode".into()));
}

#[tokio::test]
async fn under_a_built_in_name_only_that_interface_is_asked() {
    let plugins = plugins();
    let info = plugins.put("room-policy", BOTH.into()).await.unwrap();
    assert_eq!(info.serves, [Interface::RoomPolicy]);
    assert_eq!(info.component.interfaces, [Interface::RoomPolicy, Interface::OutputMode]);
    let decided = plugins.resolve_output_mode(&context(), &output_request(None, None)).await.unwrap();
    assert_eq!(&*decided.plugin, "output-mode");
}

#[tokio::test]
async fn when_nobody_has_an_opinion_the_answer_says_so() {
    let plugins = plugins();
    plugins.put("room-policy", ABSTAIN.into()).await.unwrap();
    plugins.put("output-mode", ABSTAIN.into()).await.unwrap();
    let decided = plugins.decide(&context(), &publish("s")).await.unwrap();
    assert_eq!(&*decided.plugin, "room-policy");
    assert!(matches!(&decided.answer, Decision::Deny(denial) if denial.code == "no-opinion"), "{decided:?}");
    let decided = plugins.resolve_output_mode(&context(), &output_request(Some("RTMP"), None)).await.unwrap();
    assert_eq!(decided.answer, OutputModeAnswer::Abstain);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_is_lost_while_plugins_are_replaced() {
    let plugins = plugins();
    let done = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> = (0..4)
        .map(|_| {
            let (plugins, done) = (plugins.clone(), Arc::clone(&done));
            tokio::spawn(async move {
                let (mut old, mut new) = (0_u64, 0_u64);
                while !done.load(Ordering::Relaxed) {
                    match mode(&plugins).await.0 {
                        OutputMode::Rtmp => old += 1,
                        OutputMode::Cmaf => new += 1,
                        OutputMode::RtmpCmaf => panic!("neither the old nor the new answer"),
                    }
                }
                (old, new)
            })
        })
        .collect();
    for _ in 0..10 {
        let info = plugins.put("output-mode", ALWAYS_CMAF.into()).await.unwrap();
        // Its counters begin at zero, so calls on it show there.
        while plugins.get("output-mode").unwrap().counters.calls < 50 {
            tokio::task::yield_now().await;
        }
        assert_eq!(plugins.get("output-mode").unwrap().component, info.component);
        plugins.remove("output-mode").await.unwrap();
        let before = plugins.get("output-mode").unwrap().counters.calls;
        while plugins.get("output-mode").unwrap().counters.calls < before + 50 {
            tokio::task::yield_now().await;
        }
    }
    done.store(true, Ordering::Relaxed);
    let (mut old, mut new) = (0, 0);
    for caller in callers {
        let counts = caller.await.unwrap();
        (old, new) = (old + counts.0, new + counts.1);
    }
    assert!(old >= 500 && new >= 500, "{old} {new}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_under_way_finishes_on_the_plugin_that_it_began_with() {
    let mut config = config();
    config.limits.deadline = std::time::Duration::from_secs(20);
    let plugins = Plugins::open(config).unwrap();
    plugins.put("room-policy", HOSTILE.into()).await.unwrap();
    let old = plugins.get("room-policy").unwrap().component.digest;
    let call = tokio::spawn({
        let plugins = plugins.clone();
        async move { plugins.decide(&context(), &publish("slow")).await }
    });
    // The call takes its snapshot in its first poll; give it the chance to have it.
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    let replaced = plugins.put("room-policy", BOTH.into()).await.unwrap();
    let decided = call.await.unwrap().unwrap();
    let allowed = matches!(decided.answer, Decision::Allow(_));
    assert!((*decided.digest == *old && allowed) || (*decided.digest == *replaced.component.digest && !allowed));
    assert_eq!(verdict(&plugins, publish("slow")).await, Err("both".into()));
}
