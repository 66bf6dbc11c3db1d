//! Bindings: for whom a plugin is asked, in which order and version, what its failures mean, and what is kept.

use crate::requests::*;
use flyloft_plugins::model::*;
use flyloft_plugins::{
    BUILT_IN, BindError, BindingChange, BindingInfo, BindingLimits, BreakerSettings, BreakerState, Config, FaultKind, Grants,
    Interface, NewBinding, OnFailure, Plugins, Rejected, RemoveError, Secret,
};
use flyloft_test_guests::{ABSTAIN, ALWAYS_CMAF, BOTH, HOSTILE};
use std::time::Duration;

fn of(plugin: &str) -> NewBinding {
    NewBinding { plugin: plugin.into(), ..NewBinding::default() }
}

async fn bind(plugins: &Plugins, new: NewBinding) -> BindingInfo {
    plugins.bind(new).await.unwrap()
}

/// A hostile policy in front of the built-in one.
async fn hostile(plugins: &Plugins, on_failure: Option<OnFailure>) -> BindingInfo {
    plugins.deploy("hostile", HOSTILE.into()).await.unwrap();
    bind(plugins, NewBinding { on_failure, ..of("hostile") }).await
}

fn in_app(app: &str) -> Context {
    Context { app: App { id: app.into(), ..context().app }, ..context() }
}

/// Which plugin decides about a publish.
async fn decider(plugins: &Plugins, context: &Context, room: Option<RoomType>) -> String {
    let Action::Publish(mut request) = publish("s") else { unreachable!() };
    request.room = room.map(|kind| Room { kind, ..self::room(RoomState::Live, AccessLevel::Public) });
    plugins.decide(context, &Action::Publish(request)).await.unwrap().plugin
}

#[tokio::test]
async fn what_is_deployed_is_not_asked_before_it_is_bound() {
    let plugins = plugins();
    let version = plugins.deploy("front", BOTH.into()).await.unwrap();
    assert_eq!(version.active_in, [""; 0]);
    assert_eq!(verdict(&plugins, publish("s")).await, Ok(Grant::default()));
    let bound = bind(&plugins, of("front")).await;
    assert_eq!(
        (&bound.active, &bound.interfaces[..]),
        (&version.component.digest, &[Interface::RoomPolicy, Interface::OutputMode][..])
    );
    assert_eq!(verdict(&plugins, publish("s")).await, Err("both".into()));
    assert_eq!(plugins.versions("front").unwrap()[0].active_in, std::slice::from_ref(&bound.id));
    plugins.unbind(&bound.id).await.unwrap();
    assert_eq!(verdict(&plugins, publish("s")).await, Ok(Grant::default()));
}

#[tokio::test]
async fn a_binding_is_for_its_app_its_room_type_and_its_interfaces_only() {
    let plugins = plugins();
    plugins.deploy("front", BOTH.into()).await.unwrap();
    let (interfaces, room_type) = (vec![Interface::RoomPolicy], Some(RoomType::VideoConference));
    bind(&plugins, NewBinding { app: Some("app-2".into()), room_type, interfaces, ..of("front") }).await;
    let conference = Some(RoomType::VideoConference);
    assert_eq!(decider(&plugins, &in_app("app-2"), conference).await, "front");
    assert_eq!(decider(&plugins, &in_app("app-2"), Some(RoomType::BroadcastRtmp)).await, "room-policy");
    assert_eq!(decider(&plugins, &in_app("app-2"), None).await, "room-policy");
    assert_eq!(decider(&plugins, &in_app("app-1"), conference).await, "room-policy");
    let decided = plugins.resolve_output_mode(&in_app("app-2"), &output_request(None, None)).await.unwrap();
    assert_eq!(decided.plugin, "output-mode");
}

#[tokio::test]
async fn lower_positions_are_asked_first_and_the_built_in_ones_last() {
    let plugins = plugins();
    for name in ["ant", "bee", "cat"] {
        plugins.deploy(name, BOTH.into()).await.unwrap();
    }
    let cat = bind(&plugins, NewBinding { position: 7, ..of("cat") }).await;
    bind(&plugins, NewBinding { position: 3, app: Some("app-1".into()), ..of("bee") }).await;
    bind(&plugins, NewBinding { position: 3, ..of("ant") }).await;
    let order = |plugins: &Plugins| plugins.bindings().into_iter().map(|bound| bound.plugin).collect::<Vec<_>>();
    assert_eq!(order(&plugins), ["ant", "bee", "cat", "local", "output-mode", "room-policy", "s3", "spaces", "webhook"]);
    let first = |plugins: &Plugins| {
        let plugins = plugins.clone();
        async move { decider(&plugins, &context(), None).await }
    };
    assert_eq!(first(&plugins).await, "ant");
    plugins.change(&cat.id, BindingChange { position: Some(-1), ..BindingChange::default() }).await.unwrap();
    assert_eq!(order(&plugins), ["cat", "ant", "bee", "local", "output-mode", "room-policy", "s3", "spaces", "webhook"]);
    assert_eq!(first(&plugins).await, "cat");
    let built_in = BindingChange { position: Some(-9), ..BindingChange::default() };
    plugins.change("room-policy", built_in).await.unwrap();
    assert_eq!(first(&plugins).await, "cat");
}

#[tokio::test]
async fn versions_are_activated_and_rolled_back() {
    let plugins = plugins();
    let first = plugins.deploy("mode", BOTH.into()).await.unwrap().component.digest;
    let second = plugins.deploy("mode", ALWAYS_CMAF.into()).await.unwrap().component.digest;
    let new = NewBinding { version: Some(first.clone()), interfaces: vec![Interface::OutputMode], ..of("mode") };
    let id = bind(&plugins, new).await.id;
    let mode = async || match plugins.resolve_output_mode(&context(), &output_request(None, None)).await.unwrap().answer {
        OutputModeAnswer::UseOutputs(outputs) => outputs.mode,
        other => panic!("{other:?}"),
    };
    assert_eq!(mode().await, OutputMode::Rtmp);
    assert!(matches!(plugins.roll_back(&id).await, Err(BindError::NoPrevious { .. })));
    let active = plugins.activate(&id, &second["sha256:".len()..][..8]).await.unwrap();
    assert_eq!((active.active, active.previous), (second.clone(), Some(first.clone())));
    assert_eq!(mode().await, OutputMode::Cmaf);
    assert_eq!(plugins.roll_back(&id).await.unwrap().active, first);
    assert_eq!(mode().await, OutputMode::Rtmp);
    assert!(matches!(plugins.activate(&id, &second[..12]).await, Err(BindError::NoVersion { .. })), "too few digits");
    assert!(matches!(plugins.activate(&id, BUILT_IN).await, Err(BindError::NoVersion { .. })));

    plugins.put("output-mode", ALWAYS_CMAF.into()).await.unwrap();
    plugins.unbind(&id).await.unwrap();
    assert_eq!(mode().await, OutputMode::Cmaf);
    let back = plugins.roll_back("output-mode").await.unwrap();
    assert!(back.active_built_in && back.previous == Some(second));
    let asked_for = plugins.resolve_output_mode(&context(), &output_request(Some("RTMP"), None)).await.unwrap();
    assert!(matches!(asked_for.answer, OutputModeAnswer::UseOutputs(outputs) if outputs.mode == OutputMode::Rtmp));
}

#[tokio::test]
async fn a_version_must_have_what_its_binding_asks_for() {
    let plugins = plugins();
    plugins.deploy("mode", BOTH.into()).await.unwrap();
    let cmaf = plugins.deploy("mode", ALWAYS_CMAF.into()).await.unwrap().component.digest;
    let newest = bind(&plugins, of("mode")).await;
    assert_eq!((&newest.active, &newest.interfaces[..]), (&cmaf, &[Interface::OutputMode][..]));
    let both = plugins.versions("mode").unwrap()[1].component.digest.clone();
    let interfaces = vec![Interface::RoomPolicy, Interface::OutputMode];
    let bound = bind(&plugins, NewBinding { version: Some(both), interfaces: interfaces.clone(), ..of("mode") }).await;
    for refused in [plugins.activate(&bound.id, &cmaf).await, plugins.set_shadow(&bound.id, Some(&cmaf)).await] {
        assert!(matches!(refused, Err(BindError::Invalid { field: "interfaces", .. })), "{refused:?}");
    }
    let change = BindingChange { interfaces: Some(interfaces), ..BindingChange::default() };
    assert!(matches!(plugins.change(&newest.id, change).await, Err(BindError::Invalid { field: "interfaces", .. })));
    // The short way would leave one of the bindings without what it asks for.
    assert!(
        matches!(plugins.put("mode", ALWAYS_CMAF.into()).await, Err(Rejected::Binding { binding, .. }) if binding == bound.id)
    );
}

#[tokio::test]
async fn what_is_in_use_stays() {
    let plugins = plugins();
    plugins.put("front", BOTH.into()).await.unwrap();
    let bound = bind(&plugins, of("front")).await;
    assert!(matches!(plugins.remove("front").await, Err(RemoveError::Bound { bindings, .. }) if bindings == [bound.id.clone()]));
    plugins.unbind(&bound.id).await.unwrap();
    plugins.remove("front").await.unwrap();
    assert!(plugins.bindings().iter().all(|bound| bound.built_in));
    assert!(matches!(plugins.unbind("room-policy").await, Err(BindError::BuiltIn { .. })));
    assert!(matches!(plugins.unbind(&bound.id).await, Err(BindError::NotFound { .. })));
}

#[tokio::test]
async fn ids_of_bindings_do_not_come_again() {
    let plugins = plugins();
    plugins.put("front", BOTH.into()).await.unwrap();
    let first = plugins.bindings()[0].id.clone();
    plugins.remove("front").await.unwrap();
    plugins.put("front", BOTH.into()).await.unwrap();
    assert_ne!(plugins.bindings()[0].id, first);
}

#[tokio::test]
async fn old_versions_that_nothing_uses_make_room() {
    let plugins = plugins();
    let first = plugins.put("front", BOTH.into()).await.unwrap().component.digest;
    // A custom section at the end makes another component of the same code.
    for number in 0..12_u8 {
        let mut bytes = BOTH.to_vec();
        bytes.extend_from_slice(&[0, 3, 1, b'n', number]);
        plugins.deploy("front", bytes.into()).await.unwrap();
    }
    let versions = plugins.versions("front").unwrap();
    assert_eq!(versions.len(), 10);
    assert_eq!(versions.last().unwrap().component.digest, first, "the active one stays");
}

#[tokio::test]
async fn a_failure_means_what_its_binding_says() {
    for (on_failure, expected) in [
        (None, "fault"),
        (Some(OnFailure::Deny), "fault"),
        (Some(OnFailure::Allow), "hostile"),
        (Some(OnFailure::Next), "room-policy"),
    ] {
        let plugins = plugins();
        hostile(&plugins, on_failure).await;
        let decided = plugins.decide(&context(), &publish("trap")).await;
        match (expected, decided) {
            ("fault", Err(fault)) => assert!(matches!(fault.kind, FaultKind::Trap { .. })),
            (plugin, Ok(decided)) => {
                assert_eq!(
                    (decided.plugin.as_str(), decided.answer),
                    (plugin, Decision::Allow(Grant::default())),
                    "{on_failure:?}"
                );
            }
            (_, Err(fault)) => panic!("{on_failure:?}: {fault}"),
        }
        assert_eq!(decider(&plugins, &context(), None).await, "hostile", "a healthy call is not touched");
    }
}

#[tokio::test]
async fn when_all_fail_or_abstain_the_failure_stands() {
    let plugins = plugins();
    hostile(&plugins, Some(OnFailure::Next)).await;
    plugins.put("room-policy", ABSTAIN.into()).await.unwrap();
    assert!(matches!(fault(&plugins, publish("trap")).await, FaultKind::Trap { .. }));
    // No failure, no opinion.
    plugins.unbind(&plugins.bindings()[0].id).await.unwrap();
    assert_eq!(verdict(&plugins, publish("trap")).await, Err("no-opinion".into()));
}

#[tokio::test]
async fn limits_are_the_bindings_own() {
    let plugins = plugins();
    let limits = |deadline_ms, memory| BindingLimits { deadline_ms, memory, ..BindingLimits::default() };
    let id = hostile(&plugins, None).await.id;
    let set =
        async |limits| plugins.change(&id, BindingChange { limits: Some(limits), ..BindingChange::default() }).await.map(drop);
    set(limits(Some(20), None)).await.unwrap();
    assert_eq!(fault(&plugins, publish("loop")).await, FaultKind::Deadline { ms: 20 });
    set(limits(None, Some(8 << 20))).await.unwrap();
    assert_eq!(fault(&plugins, publish("allocate-slowly")).await, FaultKind::Memory { limit: 8 << 20 });
    assert!(matches!(set(limits(Some(1), None)).await, Err(BindError::Invalid { field: "limits.deadlineMs", .. })));
    assert!(matches!(set(limits(None, Some(1 << 30))).await, Err(BindError::Invalid { field: "limits.memory", .. })));
}

async fn trip(plugins: &Plugins, times: usize) {
    for _ in 0..times {
        let _ = plugins.decide(&context(), &publish("trap")).await;
    }
}

#[tokio::test]
async fn a_plugin_that_keeps_failing_is_left_alone_and_probed() {
    let plugins = plugins();
    let id = hostile(&plugins, Some(OnFailure::Next)).await.id;
    let breaker =
        |back_off_ms| BindingChange { breaker: Some(BreakerSettings { failures: 3, back_off_ms }), ..BindingChange::default() };
    plugins.change(&id, breaker(3_600_000)).await.unwrap();
    trip(&plugins, 3).await;
    let calls = || plugins.get("hostile").unwrap().counters.calls;
    assert_eq!((calls(), plugins.binding(&id).unwrap().breaker.state), (3, BreakerState::Open));
    // What its failure means holds at once, and it is not called.
    assert_eq!(decider(&plugins, &context(), None).await, "room-policy");
    let counters = plugins.get("hostile").unwrap().counters;
    assert_eq!((counters.calls, counters.faults.breaker_open, counters.faults.trap), (3, 1, 3));
    let deny = BindingChange { on_failure: Some(Some(OnFailure::Deny)), ..BindingChange::default() };
    plugins.change(&id, deny).await.unwrap();
    assert!(
        matches!(fault(&plugins, publish("healthy")).await, FaultKind::BreakerOpen { probe_in_ms } if probe_in_ms > 3_000_000)
    );

    // New settings begin anew.
    plugins.change(&id, breaker(100)).await.unwrap();
    assert_eq!(plugins.binding(&id).unwrap().breaker.state, BreakerState::Closed);
    trip(&plugins, 3).await;
    let opened = plugins.binding(&id).unwrap().breaker.opened;
    assert_eq!(opened, 1);
    loop {
        match plugins.decide(&context(), &publish("healthy")).await {
            Ok(decided) => break assert_eq!(decided.plugin, "hostile"),
            Err(fault) => assert!(matches!(fault.kind, FaultKind::BreakerOpen { .. }), "{fault}"),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let info = plugins.binding(&id).unwrap().breaker;
    assert_eq!((info.state, info.failures, info.opened), (BreakerState::Closed, 0, 1));
}

#[tokio::test]
async fn a_breaker_is_its_bindings_own() {
    let plugins = plugins();
    plugins.deploy("hostile", HOSTILE.into()).await.unwrap();
    let breaker = BreakerSettings { failures: 1, back_off_ms: 3_600_000 };
    for app in ["app-1", "app-2"] {
        bind(&plugins, NewBinding { app: Some(app.into()), breaker, ..of("hostile") }).await;
    }
    trip(&plugins, 1).await;
    assert!(plugins.decide(&context(), &publish("healthy")).await.is_err());
    assert_eq!(decider(&plugins, &in_app("app-2"), None).await, "hostile");
}

#[tokio::test]
async fn bindings_survive_a_restart_with_their_secrets_in_a_private_file() {
    let dir = tempfile::tempdir().unwrap();
    let config = || Config { data_dir: Some(dir.path().to_owned()), ..config() };
    let plugins = Plugins::open(config()).unwrap();
    let first = plugins.deploy("front", BOTH.into()).await.unwrap().component.digest;
    let second = plugins.deploy("front", ABSTAIN.into()).await.unwrap().component.digest;
    let grants = Grants {
        config: [("a".to_owned(), "b".to_owned())].into(),
        secrets: [("key".to_owned(), Secret::new("hunter2"))].into(),
        hosts: vec!["auth.example".into()],
        key_value_quota: 1024,
        credentials: vec!["archive".into()],
        ..Grants::default()
    };
    let new = NewBinding {
        version: Some(first.clone()),
        app: Some("app-1".into()),
        room_type: Some(RoomType::BroadcastRtmp),
        position: -3,
        grants,
        limits: BindingLimits { deadline_ms: Some(250), ..BindingLimits::default() },
        on_failure: Some(OnFailure::Allow),
        breaker: BreakerSettings { failures: 5, back_off_ms: 500 },
        ..of("front")
    };
    let id = bind(&plugins, new).await.id;
    plugins.activate(&id, &second).await.unwrap();
    plugins.set_shadow(&id, Some(&first)).await.unwrap();
    let (before, versions) = (plugins.bindings(), plugins.versions("front"));
    assert!(!format!("{before:?}").contains("hunter2"));
    drop(plugins);
    let plugins = Plugins::open(config()).unwrap();
    assert_eq!(plugins.bindings(), before);
    assert_eq!(plugins.versions("front"), versions);
    assert_eq!(before[0].grants.secrets["key"].reveal(), "hunter2");
    assert_eq!(plugins.roll_back(&id).await.unwrap().active, first);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(dir.path().join("plugins.json")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}

#[tokio::test]
async fn the_last_lines_of_a_plugin_are_kept_for_all_its_versions() {
    let plugins = plugins();
    let first = plugins.put("hostile", HOSTILE.into()).await.unwrap().component.digest;
    assert!(verdict(&plugins, publish("log")).await.is_ok());
    let mut bytes = HOSTILE.to_vec();
    bytes.extend_from_slice(&[0, 2, 1, b'n']);
    let second = plugins.put("hostile", bytes.into()).await.unwrap().component.digest;
    assert!(verdict(&plugins, publish("log")).await.is_ok());
    let lines = plugins.log_lines("hostile", 0).unwrap();
    let seen: Vec<_> = lines.iter().map(|line| (line.seq, &line.digest, line.stream)).collect();
    assert_eq!(seen, [(1, &first, "stdout"), (2, &first, "stderr"), (3, &second, "stdout"), (4, &second, "stderr")]);
    assert_eq!((lines[0].text.as_str(), lines[0].call.as_str()), ("a line on stdout", "call-7"));
    assert_eq!(plugins.log_lines("hostile", 3).unwrap().len(), 1);
    assert_eq!(*plugins.latest_log_line("hostile").unwrap().borrow(), 4);
    assert_eq!(plugins.log_lines("nobody", 0), None);
}
