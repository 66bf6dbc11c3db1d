//! Policies written by hand in WebAssembly text: faults that no compiler's guest would show, because they lie below its language.

use crate::apps::{bind_to, in_app};
use crate::requests::*;
use flyloft_plugins::{FaultKind, Grants, Plugins};
use wit_component::{ComponentEncoder, StringEncoding};
use wit_parser::Resolve;

/// The contract's own world and one that also reads settings.
const WORLDS: &str = "package test:by-hand;
    world policy { include flyloft:plugin/policy-plugin@0.1.0; }
    world policy-with-settings { include flyloft:plugin/policy-plugin@0.1.0; import wasi:config/store@0.2.0-rc.1; }";

const CONTRACT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../wit/0.1.0");
const DECIDE: &str = "flyloft:plugin/room-policy@0.1.0#decide";

/// What is at fixed addresses in a policy's memory; everything below 4096 is its own, what the host puts there comes after.
///
/// An answer of `decide` is `[kind: u8 @0][payload @8]`, and a denial's payload is two texts, each a pointer and a length
/// (Canonical ABI, "Flattening" and "Storing").
const MEMORY: &str = r#"
    (memory (export "memory") 2)
    (global $next (mut i32) (i32.const 4096))
    (data (i32.const 64) "by-hand")
    (data (i32.const 128) "Written by hand.")
    ;; At 512 lies a good denial.
    (data (i32.const 512) "\01\00\00\00\00\00\00\00\40\00\00\00\07\00\00\00\80\00\00\00\10\00\00\00")"#;

/// Room for what the host hands over, without end within the memory.
const REALLOC: &str = r#"
    (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (local $at i32)
        (local.set $at (global.get $next))
        (global.set $next (i32.and (i32.add (i32.add (local.get $at) (local.get 3)) (i32.const 7)) (i32.const -8)))
        (local.get $at))"#;

/// A policy of these parts.
struct Policy {
    world: &'static str,
    /// Before everything else of the module.
    imports: &'static str,
    /// What runs for `decide`; it leaves the address of the answer.
    decide: String,
    realloc: &'static str,
    /// Functions, tables and data.
    more: String,
}

impl Policy {
    fn deciding(decide: &str) -> Policy {
        Policy { world: "policy", imports: "", decide: decide.to_owned(), realloc: REALLOC, more: String::new() }
    }

    /// A policy that denies everything, with something beside it.
    fn with(more: &str) -> Policy {
        Policy { more: more.to_owned(), ..Policy::deciding("(i32.const 512)") }
    }

    /// A policy whose answer is these bytes.
    fn answering(answer: &[u8]) -> Policy {
        let answer: String = answer.iter().map(|byte| format!("\\{byte:02x}")).collect();
        let more = format!("(data (i32.const 1024) \"{answer}\")");
        Policy { more, ..Policy::deciding("(i32.const 1024)") }
    }

    fn component(&self) -> Vec<u8> {
        let Policy { world, imports, decide, realloc, more } = self;
        let mut module = wat::parse_str(format!(
            "(module {imports} {MEMORY} {realloc} {more} (func (export \"{DECIDE}\") (param i32) (result i32) {decide}))"
        ))
        .unwrap();
        let mut resolve = Resolve::default();
        resolve.push_dir(CONTRACT).unwrap();
        let package = resolve.push_str("by-hand.wit", WORLDS).unwrap();
        let world = resolve.select_world(&[package], Some(world)).unwrap();
        wit_component::embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
        ComponentEncoder::default().validate(true).module(&module).unwrap().encode().unwrap()
    }

    async fn bound(&self, grants: Grants) -> Plugins {
        let plugins = plugins();
        plugins.deploy("by-hand", self.component().into()).await.unwrap();
        bind_to(&plugins, "by-hand", "app-1", grants).await;
        plugins
    }

    /// The fault of a call; a call of another App is answered after it.
    async fn fault(&self, grants: Grants) -> FaultKind {
        let plugins = self.bound(grants).await;
        let kind = fault(&plugins, publish("stream")).await;
        let honest = plugins.decide(&in_app("app-2"), &publish("stream")).await.unwrap();
        assert_eq!(&*honest.plugin, "room-policy");
        kind
    }

    async fn reason(&self) -> String {
        match self.fault(Grants::default()).await {
            FaultKind::Trap { reason } => reason,
            other => panic!("{other:?}"),
        }
    }
}

/// A policy that denies everything.
pub fn healthy() -> Vec<u8> {
    Policy::with("").component()
}

#[tokio::test]
async fn a_policy_by_hand_is_asked_like_any_other() {
    let plugins = Policy::with("").bound(Grants::default()).await;
    assert_eq!(reason(&plugins, publish("stream")).await, "Written by hand.");
}

#[tokio::test]
async fn tables_that_grow_without_end_are_told_no() {
    let bomb = Policy {
        more: "(table $t 1 funcref)".into(),
        ..Policy::deciding(
            "(loop $more (br_if $more (i32.ne (table.grow $t (ref.null func) (i32.const 1000)) (i32.const -1)))) unreachable",
        )
    };
    let kind = bomb.fault(Grants::default()).await;
    assert!(matches!(kind, FaultKind::Memory { .. }) && kind.to_string().contains("table"), "{kind}");
}

#[tokio::test]
async fn memory_that_grows_without_end_is_told_no() {
    let bomb = "(loop $more (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) unreachable";
    let kind = Policy::deciding(bomb).fault(Grants::default()).await;
    assert!(matches!(kind, FaultKind::Memory { .. }) && kind.to_string().contains("limits.memory"), "{kind}");
    // Whoever asks again and again, whatever the answer, is no better than a loop.
    let stubborn = "(loop $more (drop (memory.grow (i32.const 1000))) (br $more)) unreachable";
    assert!(matches!(Policy::deciding(stubborn).fault(Grants::default()).await, FaultKind::Deadline { .. }));
}

#[tokio::test]
async fn a_recursion_without_a_stack_of_its_own_is_named() {
    let recursion = Policy {
        more: "(func $down (param i64) (result i64) (i64.add (local.get 0) (call $down (i64.add (local.get 0) (i64.const 1)))))"
            .into(),
        ..Policy::deciding("(drop (call $down (i64.const 0))) (i32.const 512)")
    };
    let reason = recursion.reason().await;
    assert!(reason.contains("stack overflowed") && reason.contains("recursion"), "{reason}");
}

#[tokio::test]
async fn other_traps_are_named() {
    let divided = Policy::deciding("(i32.div_s (i32.const 1) (i32.const 0))").reason().await;
    assert!(divided.contains("divide by zero"), "{divided}");
    let outside = Policy::deciding("(i32.load (i32.const -4))").reason().await;
    assert!(outside.contains("outside its memory"), "{outside}");
    let called = Policy { more: "(table 1 funcref)".into(), ..Policy::deciding("(call_indirect (result i32) (i32.const 7))") };
    let called = called.reason().await;
    assert!(called.contains("table") && called.contains("bounds"), "{called}");
}

#[tokio::test]
async fn what_runs_after_the_answer_has_the_same_deadline() {
    let after = |body: &str| Policy::with(&format!("(func (export \"cabi_post_{DECIDE}\") (param i32) {body})"));
    let kind = after("(loop $more (br $more))").fault(Grants::default()).await;
    assert!(matches!(kind, FaultKind::Deadline { .. }), "{kind}");
    let reason = after("unreachable").reason().await;
    assert!(reason.contains("panicked or aborted"), "{reason}");
}

#[tokio::test]
async fn an_allocator_that_lies_is_found_out() {
    let realloc = |body: &'static str| Policy { realloc: body, ..Policy::with("") };
    for (what, lie) in [
        ("outside", r#"(func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const -16))"#),
        ("at the edge", r#"(func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 131064))"#),
        ("not aligned", r#"(func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 4097))"#),
    ] {
        let kind = realloc(lie).fault(Grants::default()).await;
        let text = kind.to_string();
        assert!(matches!(kind, FaultKind::InvalidAnswer { .. } | FaultKind::Trap { .. }), "{what}: {kind:?}");
        assert!(text.contains("realloc") || text.contains("pointer"), "{what}: {text}");
    }
    let traps = realloc(r#"(func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) unreachable)"#);
    assert!(traps.reason().await.contains("panicked or aborted"));
    let endless = realloc(r#"(func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (loop (br 0)) unreachable)"#);
    assert!(matches!(endless.fault(Grants::default()).await, FaultKind::Deadline { .. }));
    let grows = realloc(
        r#"(func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
            (loop $more (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) unreachable)"#,
    );
    assert!(matches!(grows.fault(Grants::default()).await, FaultKind::Memory { .. }));
}

/// A number as it lies in memory.
fn word(number: u32) -> [u8; 4] {
    number.to_le_bytes()
}

/// An answer that allows, with one word of it set; all else is zero, which is a grant without anything.
fn grant(at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut answer = vec![0; 104];
    answer[at..at + bytes.len()].copy_from_slice(bytes);
    answer
}

#[tokio::test]
async fn answers_that_no_type_allows_are_not_believed() {
    let denial = |code: [u32; 2], reason: [u32; 2]| {
        let words = [1, 0, code[0], code[1], reason[0], reason[1]];
        words.into_iter().flat_map(word).collect::<Vec<u8>>()
    };
    let good = [[64, 7], [128, 16]];
    let permissions = |list: [u32; 2]| grant(8 + 12, &[word(list[0]), word(list[1])].concat());
    for (what, answer) in [
        ("a kind that there is not", [3, 0, 0, 0].to_vec()),
        ("the last kind that a byte can be", [255, 0, 0, 0].to_vec()),
        ("a text outside the memory", denial([0x7fff_0000, 7], good[1])),
        ("a text that ends outside the memory", denial(good[0], [131_000, 1000])),
        ("a text longer than any memory", denial(good[0], [128, u32::MAX])),
        ("a text whose end wraps round", denial([u32::MAX, u32::MAX], good[1])),
        ("a list of four billion entries", permissions([512, u32::MAX])),
        ("a list that ends outside the memory", permissions([512, 20_000])),
        ("a list that is not aligned", permissions([513, 1])),
        ("an option that is neither", grant(8, &[2])),
        ("a limit that is neither there nor not", grant(8 + 24, &[9])),
    ] {
        let kind = Policy::answering(&answer).fault(Grants::default()).await;
        let FaultKind::InvalidAnswer { field, problem } = &kind else { panic!("{what}: {kind:?}") };
        assert!(field.starts_with("the answer") && !problem.is_empty(), "{what}: {field} {problem}");
    }
    // A grant of zeros is one, or the cases above would prove nothing.
    let plugins = Policy::answering(&grant(0, &[0])).bound(Grants::default()).await;
    assert_eq!(verdict(&plugins, publish("stream")).await, Ok(Default::default()));
}

#[tokio::test]
async fn an_answer_that_contradicts_itself_names_the_field() {
    // After the answer lie two labels of the same name: pointers and lengths of a name and a value.
    let twice = [grant(8 + 84, &[word(1024 + 104), word(2)].concat()), [64, 7, 128, 16, 64, 7, 128, 15].map(word).concat()];
    for (what, answer, expected) in [
        ("no bits at all", grant(8 + 24, &[1]), "allow.limits.max-bitrate"),
        ("no time at all", grant(8 + 40, &[1]), "allow.limits.max-duration"),
        ("no width at all", grant(8 + 64, &[1]), "allow.limits.max-width"),
        ("one label with two values", twice.concat(), "allow.labels"),
    ] {
        let kind = Policy::answering(&answer).fault(Grants::default()).await;
        let FaultKind::InvalidAnswer { field, problem } = &kind else { panic!("{what}: {kind:?}") };
        assert!(field == expected && !problem.is_empty(), "{what}: {field} {problem}");
    }
}

#[tokio::test]
async fn an_answer_that_lies_nowhere_is_not_believed() {
    for address in ["(i32.const 513)", "(i32.const -8)", "(i32.const 131064)", "(i32.const 2147483640)"] {
        let kind = Policy::deciding(address).fault(Grants::default()).await;
        assert!(matches!(kind, FaultKind::InvalidAnswer { .. }), "{address}: {kind:?}");
    }
}

/// Starts well where it is granted nothing, as when it is uploaded, and badly where it has a setting.
fn starting(badly: &str) -> Policy {
    Policy {
        world: "policy-with-settings",
        imports: r#"(import "wasi:config/store@0.2.0-rc.1" "get" (func $get (param i32 i32 i32)))"#,
        // An ok result with a some in it is 0 at the address of the answer and 1 four bytes after it.
        more: format!(
            r#"(table $t 1 funcref)
               (func (export "_initialize")
                   (call $get (i32.const 64) (i32.const 7) (i32.const 256))
                   (if (i32.and (i32.eqz (i32.load8_u (i32.const 256))) (i32.load8_u (i32.const 260))) (then {badly})))"#
        ),
        ..Policy::with("")
    }
}

fn setting() -> Grants {
    Grants { config: [("by-hand".to_owned(), "x".to_owned())].into(), ..Grants::default() }
}

#[tokio::test]
async fn a_start_that_goes_wrong_later_than_at_the_upload_costs_its_call() {
    let endless = starting("(loop $more (br $more))");
    let plugins = endless.bound(Grants::default()).await;
    assert_eq!(verdict(&plugins, publish("stream")).await, Err("by-hand".into()), "without the setting it is well");
    assert!(matches!(endless.fault(setting()).await, FaultKind::Deadline { .. }));
    let traps = starting("unreachable").fault(setting()).await.to_string();
    assert!(traps.contains("panicked or aborted"), "{traps}");
    let memory = starting("(loop $more (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) unreachable");
    assert!(matches!(memory.fault(setting()).await, FaultKind::Memory { .. }));
    let tables = starting(
        "(loop $more (br_if $more (i32.ne (table.grow $t (ref.null func) (i32.const 1000)) (i32.const -1)))) unreachable",
    );
    assert!(matches!(tables.fault(setting()).await, FaultKind::Memory { .. }));
}
