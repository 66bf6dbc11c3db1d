//! The server's answers in words.

use std::io::Write as _;

use anyhow::Result;
use serde_json::Value;

use super::Target;

/// Digits of a digest that are shown, and that are enough to name a version.
const DIGITS: usize = 12;

/// Prints an answer as JSON or in words.
pub fn print(target: &Target, answer: &Value, words: impl FnOnce(&Value) -> String) -> Result<()> {
    let text = if target.json { answer.to_string() } else { words(answer) };
    match writeln!(std::io::stdout(), "{}", text.trim_end()) {
        // Whoever reads has seen enough.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("-")
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn joined(value: &Value) -> String {
    items(value).map(text).collect::<Vec<_>>().join(", ")
}

/// The beginning of a digest.
pub fn short(digest: &str) -> &str {
    let digits = digest.strip_prefix("sha256:").unwrap_or(digest);
    digits.get(..DIGITS).unwrap_or(digits)
}

pub fn deployed(name: &str, version: &Value) -> String {
    let digest = short(text(&version["digest"]));
    format!(
        "{name} has the version {digest} ({}). It is not asked yet: bind, activate or shadow it.",
        joined(&version["interfaces"])
    )
}

pub fn binding(binding: &Value) -> String {
    let mut line = format!(
        "{}: {} {} answers {}",
        text(&binding["id"]),
        text(&binding["plugin"]),
        short(text(&binding["active"])),
        joined(&binding["interfaces"])
    );
    match binding["appId"].as_str() {
        Some(app) => line.push_str(&format!(" for the App {app}")),
        None => line.push_str(" for all Apps"),
    }
    if let Some(kind) = binding["roomType"].as_str() {
        line.push_str(&format!(" and rooms of type {kind}"));
    }
    if let Some(shadow) = binding["shadow"].as_str() {
        line.push_str(&format!(", shadowed by {}", short(shadow)));
    }
    if let Some(previous) = binding["previous"].as_str() {
        line.push_str(&format!(", before it {}", short(previous)));
    }
    if binding["breaker"]["state"] != "closed" {
        line.push_str(&format!(", BREAKER {}", text(&binding["breaker"]["state"]).to_uppercase()));
    }
    line
}

pub fn list(all: &Value) -> String {
    let mut out = String::from("Plugins:\n");
    for plugin in items(&all["plugins"]) {
        out.push_str(&format!("  {}\n", text(&plugin["name"])));
        for version in items(&plugin["versions"]) {
            let origin = if version["builtIn"] == true { "built-in".to_owned() } else { text(&version["uploadedAt"]).to_owned() };
            let active = match joined(&version["activeIn"]) {
                none if none.is_empty() => String::new(),
                bindings => format!("  active in {bindings}"),
            };
            let digest = short(text(&version["digest"]));
            out.push_str(&format!("    {digest}  {origin}  {}{active}\n", joined(&version["interfaces"])));
            if let Some(reference) = version["reference"].as_str() {
                out.push_str(&format!("      from {reference}\n"));
            }
        }
    }
    out.push_str("Bindings, in the order in which they are asked:\n");
    for bound in items(&all["bindings"]) {
        out.push_str(&format!("  {}\n", binding(bound)));
    }
    out
}

pub fn stats(stats: &Value) -> String {
    let mut out = String::new();
    for version in items(&stats["versions"]) {
        let counters = &version["counters"];
        out.push_str(&format!(
            "{}  {} calls, p50 {} µs, p99 {} µs, at most {} KiB of memory\n",
            short(text(&version["digest"])),
            number(&counters["calls"]),
            number(&counters["p50Micros"]),
            number(&counters["p99Micros"]),
            number(&counters["maxMemory"]) / 1024,
        ));
        let faults = counters["faults"].as_object().into_iter().flatten().filter(|(_, count)| number(count) > 0);
        for (kind, count) in faults {
            out.push_str(&format!("  {count} failed: {kind}\n"));
        }
    }
    for binding in items(&stats["bindings"]) {
        let breaker = &binding["breaker"];
        out.push_str(&format!(
            "{}: breaker {}, opened {} times\n",
            text(&binding["id"]),
            text(&breaker["state"]),
            number(&breaker["opened"])
        ));
        if let Some(shadow) = binding.get("shadow") {
            out.push_str(&format!("  {}\n", counts(shadow)));
        }
    }
    out
}

fn counts(shadow: &Value) -> String {
    format!(
        "shadow {}: {} same, {} different, {} failed, {} not asked",
        short(text(&shadow["digest"])),
        number(&shadow["same"]),
        number(&shadow["different"]),
        number(&shadow["failed"]),
        number(&shadow["dropped"])
    )
}

pub fn shadow(report: &Value) -> String {
    let mut out = format!("{}\n", counts(&report["counts"]));
    for (field, count) in report["fields"].as_object().into_iter().flatten() {
        let field = if field.is_empty() { "another kind of answer" } else { field };
        out.push_str(&format!("  {count} times: {field}\n"));
    }
    for example in items(&report["examples"]) {
        let (context, input) = (&example["context"], &example["input"]);
        out.push_str(&format!("{}  call {}  {input}\n", text(&example["at"]), text(&context["callId"])));
        out.push_str(&format!("  active: {}\n  shadow: {}\n", answer(&example["active"]), answer(&example["shadow"])));
    }
    out
}

fn answer(answer: &Value) -> String {
    match (answer.get("output"), answer.get("fault")) {
        (Some(output), _) => output.to_string(),
        (None, Some(fault)) => format!("failed ({}): {}", text(&fault["kind"]), text(&fault["reason"])),
        (None, None) => "-".to_owned(),
    }
}

pub fn log_line(line: &Value) -> String {
    format!("{} {} {}: {}", text(&line["at"]), text(&line["call"]), text(&line["stream"]), text(&line["text"]))
}
