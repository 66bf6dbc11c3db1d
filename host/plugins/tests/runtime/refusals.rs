//! What is not accepted as a plugin, and what its author is told.

use crate::requests::*;
use flyloft_plugins::{Config, FaultKind, Rejected};
use flyloft_test_guests::ALWAYS_CMAF;

/// A component that exports an instance under `export`, with a function `decide` that takes and gives nothing.
fn component(export: &str, module: &str, imports: &str) -> Vec<u8> {
    wat::parse_str(format!(
        "(component
           {imports}
           (core module $m {module} (func (export \"f\")))
           (core instance $i (instantiate $m))
           (func $f (canon lift (core func $i \"f\")))
           (instance $instance (export \"decide\" (func $f)))
           (export \"{export}\" (instance $instance)))"
    ))
    .unwrap()
}

const POLICY: &str = "flyloft:plugin/room-policy@0.1.0";

async fn refusal(name: &str, component: Vec<u8>) -> Rejected {
    let plugins = plugins();
    let before = plugins.list();
    let rejected = plugins.put(name, component.into()).await.unwrap_err();
    assert_eq!(plugins.list(), before, "a refusal changed something");
    assert!(verdict(&plugins, publish("stream-1")).await.is_ok());
    rejected
}

#[tokio::test]
async fn what_is_no_component() {
    for (bytes, expected) in [
        (Vec::new(), "empty"),
        (wat::parse_str("(module)").unwrap(), "core module"),
        (b"(component)".to_vec(), "text"),
        (b"#!/bin/sh\nexit\n".to_vec(), "begins with [23, 21, 2f, 62]"),
    ] {
        let rejected = refusal("room-policy", bytes).await;
        assert!(matches!(rejected, Rejected::NotAComponent { .. }), "{rejected}");
        assert!(rejected.to_string().contains(expected), "{rejected}");
    }
}

#[tokio::test]
async fn a_damaged_component() {
    let mut cut = ALWAYS_CMAF.to_vec();
    cut.truncate(ALWAYS_CMAF.len() / 2);
    let rejected = refusal("output-mode", cut).await;
    assert!(matches!(rejected, Rejected::Invalid { .. }), "{rejected}");
    let mut garbage = b"\0asm\x0d\0\x01\0".to_vec();
    garbage.extend((0..5000_u32).map(|n| (n * 7919 / 8) as u8));
    assert!(matches!(refusal("room-policy", garbage).await, Rejected::Invalid { .. }));
}

#[tokio::test]
async fn an_import_that_there_is_not() {
    let imports = "(import \"acme:db/query@1.0.0\" (instance)) (import \"wasi:nn/inference@0.2.0\" (instance))
                   (import \"wasi:clocks/wall-clock@0.3.0\" (instance))";
    let rejected = refusal("room-policy", component(POLICY, "", imports)).await;
    let Rejected::Imports { names, .. } = &rejected else { panic!("{rejected}") };
    assert_eq!(names, &["acme:db/query@1.0.0", "wasi:nn/inference@0.2.0", "wasi:clocks/wall-clock@0.3.0"]);
    for offered in
        ["wasi:random", "wasi:http/outgoing-handler", "wasi:config/store@0.2.0-rc.1", "wasi:keyvalue/store", "wasi:logging"]
    {
        assert!(rejected.to_string().contains(offered), "{offered} in {rejected}");
    }
}

#[tokio::test]
async fn an_import_in_another_draft() {
    for name in ["wasi:keyvalue/store@0.2.0-draft", "wasi:config/store@0.2.0-draft", "wasi:http/incoming-handler@0.2.3"] {
        let rejected = refusal("room-policy", component(POLICY, "", &format!("(import \"{name}\" (instance))"))).await;
        let Rejected::Imports { names, .. } = &rejected else { panic!("{rejected}") };
        assert_eq!(names, &[name]);
    }
}

#[tokio::test]
async fn an_import_with_other_types() {
    let imports = "(import \"wasi:random/random@0.2.3\" (instance (export \"roll-dice\" (func))))";
    let rejected = refusal("room-policy", component(POLICY, "", imports)).await;
    assert!(matches!(rejected, Rejected::Types { .. }), "{rejected}");
    assert!(rejected.to_string().contains("roll-dice"), "{rejected}");
}

#[tokio::test]
async fn no_interface_of_ours() {
    let rejected = refusal("room-policy", component("acme:app/thing@1.0.0", "", "")).await;
    assert!(matches!(rejected, Rejected::NoInterface { .. }), "{rejected}");
    let served = ["flyloft:plugin/output-mode@0.1.0", "flyloft:plugin/webhook@0.1.0", "flyloft:plugin/vod-source@0.1.0"];
    for part in served.into_iter().chain([POLICY, "acme:app/thing@1.0.0"]) {
        assert!(rejected.to_string().contains(part), "{rejected}");
    }
    let nothing = refusal("room-policy", wat::parse_str("(component)").unwrap()).await;
    assert!(nothing.to_string().contains("exports nothing"), "{nothing}");
}

#[tokio::test]
async fn a_version_that_is_not_served() {
    for version in ["0.2.0", "1.0.0"] {
        let export = format!("flyloft:plugin/room-policy@{version}");
        let rejected = refusal("room-policy", component(&export, "", "")).await;
        let Rejected::Version { found, .. } = &rejected else { panic!("{rejected}") };
        assert_eq!(found, &export);
        assert!(rejected.to_string().contains(POLICY), "{rejected}");
    }
}

#[tokio::test]
async fn an_interface_that_does_not_exist() {
    let rejected = refusal("x", component("flyloft:plugin/mind-reader@0.1.0", "", "")).await;
    assert!(matches!(&rejected, Rejected::Version { found, .. } if found.contains("mind-reader")), "{rejected}");
}

#[tokio::test]
async fn functions_with_other_types() {
    let rejected = refusal("room-policy", component(POLICY, "", "")).await;
    let Rejected::Types { interface, reason } = &rejected else { panic!("{rejected}") };
    assert_eq!(interface, POLICY);
    assert!(reason.starts_with("decide"), "{reason}");
}

#[tokio::test]
async fn a_built_in_name_for_another_interface() {
    let rejected = refusal("room-policy", ALWAYS_CMAF.to_vec()).await;
    assert!(matches!(rejected, Rejected::WrongInterface { .. }), "{rejected}");
    assert!(rejected.to_string().contains(POLICY), "{rejected}");
}

#[tokio::test]
async fn a_start_that_does_not_end_or_traps() {
    let endless = component(POLICY, "(func $start (loop (br 0))) (start $start)", "");
    let rejected = refusal("room-policy", endless).await;
    assert!(matches!(rejected, Rejected::Start { kind: FaultKind::Deadline { ms: 1000 } }), "{rejected}");
    let trapping = component(POLICY, "(func $start unreachable) (start $start)", "");
    let rejected = refusal("room-policy", trapping).await;
    assert!(matches!(rejected, Rejected::Start { kind: FaultKind::Trap { .. } }), "{rejected}");
}

#[tokio::test]
async fn a_start_that_bombs_its_tables() {
    // Grows a table until it is told no, and traps then.
    let bomb = "(table $t 1 funcref)
                (func $start (loop (br_if 0 (i32.ne (table.grow $t (ref.null func) (i32.const 1000)) (i32.const -1)))) unreachable)
                (start $start)";
    let rejected = refusal("room-policy", component(POLICY, bomb, "")).await;
    assert!(matches!(rejected, Rejected::Start { kind: FaultKind::Memory { .. } }), "{rejected}");
}

#[tokio::test]
async fn more_memory_tables_or_instances_than_a_plugin_has() {
    // 2,000 pages are 125 MiB.
    let memory = refusal("room-policy", component(POLICY, "(memory 2000)", "")).await;
    assert!(matches!(memory, Rejected::Needs { .. }), "{memory}");
    let table = refusal("room-policy", component(POLICY, "(table 10000000 funcref)", "")).await;
    assert!(matches!(table, Rejected::Needs { .. }), "{table}");
    let instances = "(core module $n (memory 1)) ".to_owned() + &"(core instance (instantiate $n)) ".repeat(100);
    let instances = refusal("room-policy", component(POLICY, "", &instances)).await;
    assert!(matches!(instances, Rejected::Needs { .. }), "{instances}");
}

#[tokio::test]
async fn a_name_that_can_not_be_used() {
    for name in ["", "Room-Policy", "../../etc/passwd", "a b"] {
        let rejected = refusal(name, ALWAYS_CMAF.to_vec()).await;
        assert!(matches!(rejected, Rejected::Name { .. }), "{rejected}");
    }
}

#[tokio::test]
async fn a_component_that_is_too_large_and_one_too_many() {
    let config = Config { max_component_size: ALWAYS_CMAF.len() - 1, ..config() };
    let plugins = flyloft_plugins::Plugins::open(config).unwrap();
    let rejected = plugins.put("output-mode", ALWAYS_CMAF.into()).await.unwrap_err();
    assert!(matches!(rejected, Rejected::TooLarge { .. }), "{rejected}");
    let config = Config { max_plugins: 1, ..crate::requests::config() };
    let plugins = flyloft_plugins::Plugins::open(config).unwrap();
    plugins.put("first", ALWAYS_CMAF.into()).await.unwrap();
    plugins.put("first", ALWAYS_CMAF.into()).await.unwrap();
    let rejected = plugins.put("second", ALWAYS_CMAF.into()).await.unwrap_err();
    assert!(matches!(rejected, Rejected::TooMany { limit: 1 }), "{rejected}");
}

#[tokio::test]
async fn a_check_says_what_an_upload_would() {
    let inspection = flyloft_plugins::check(&config(), ALWAYS_CMAF.into()).await.unwrap();
    assert_eq!(inspection.interfaces, [flyloft_plugins::Interface::OutputMode]);
    assert_eq!(inspection.size, ALWAYS_CMAF.len() as u64);
    let rejected = flyloft_plugins::check(&config(), component(POLICY, "", "").into()).await.unwrap_err();
    assert!(matches!(rejected, Rejected::Types { .. }), "{rejected}");
}
