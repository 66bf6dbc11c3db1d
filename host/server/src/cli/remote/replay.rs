//! `flyloft plugin replay`: asks a component on this machine what the server's plugin was asked, and compares the answers.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use flyloft_plugins::model::Context;
use flyloft_plugins::{Config, Grants, Interface, Secret, Trial, TrialError, answer_kind, differences};
use jiff::Timestamp;
use serde_json::Value;

use super::client::Client;
use super::{Target, pair, plugin_name, read, secret, show};

/// Decisions of one request.
const PAGE: &str = "100";

#[derive(Debug, Args)]
pub struct Replay {
    /// The component to try.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// How far to go back, for example 30m, 1h or 7d.
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = duration)]
    pub since: Duration,
    /// Whose decisions [default: the file's name].
    #[arg(long, value_name = "NAME")]
    pub plugin: Option<String>,
    /// Only decisions about this App.
    #[arg(long, value_name = "APP")]
    pub app: Option<String>,
    /// Decisions that are replayed at most, the newest first.
    #[arg(long, default_value_t = 10_000)]
    pub limit: usize,
    /// Differences that are printed.
    #[arg(long, default_value_t = 20)]
    pub show: usize,
    /// A value of the plugin's configuration. May be repeated.
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    pub config: Vec<(String, String)>,
    /// A secret of the plugin's configuration; NAME alone takes the value from the environment variable NAME. May be repeated.
    #[arg(long, value_name = "NAME[=VALUE]", value_parser = secret)]
    pub secret: Vec<(String, String)>,
    /// How long a call may take.
    #[arg(long, value_name = "MS", default_value_t = 1000)]
    pub deadline_ms: u64,
    #[command(flatten)]
    pub target: Target,
}

/// What came of a replay.
#[derive(Debug, Default, PartialEq)]
struct Summary {
    same: u64,
    /// How often one kind of answer became another, or another one of the same kind.
    changes: BTreeMap<String, u64>,
    /// The plugin was not asked then, or is not asked for this interface.
    skipped: u64,
}

pub fn run(replay: &Replay) -> Result<()> {
    let plugin = plugin_name(replay.plugin.as_deref(), &replay.file)?;
    let component = read(&replay.file)?;
    let client = Client::new(&replay.target)?;
    let mut config = Config::default();
    config.limits.deadline = Duration::from_millis(replay.deadline_ms);
    let given: BTreeMap<String, String> = replay.config.iter().cloned().collect();
    let grants = Grants {
        config: given.clone(),
        secrets: replay.secret.iter().map(|(name, text)| (name.clone(), Secret::new(text))).collect(),
        ..Grants::default()
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let trial = runtime.block_on(Trial::load(component.into(), &config, grants));
    let trial = trial.with_context(|| format!("{} is not accepted", replay.file.display()))?;

    let since = (Timestamp::now() - replay.since).to_string();
    let mut query = vec![("plugin", plugin.as_str()), ("since", since.as_str()), ("limit", PAGE)];
    query.extend(replay.app.as_deref().map(|app| ("appId", app)));
    let (mut summary, mut seen, mut shown, mut cursor) = (Summary::default(), 0, 0, None::<String>);
    'pages: loop {
        let mut query = query.clone();
        query.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
        let page = client.get(&["v1", "decisions"], &query)?;
        for decision in page["items"].as_array().into_iter().flatten() {
            if seen >= replay.limit {
                break 'pages;
            }
            seen += 1;
            if let Some(change) = runtime.block_on(one(&trial, &given, decision, &mut summary))?
                && shown < replay.show
            {
                shown += 1;
                show::print(&replay.target, &change.json(decision), |_| change.text(decision))?;
            }
        }
        match page["nextCursor"].as_str() {
            Some(next) => cursor = Some(next.to_owned()),
            None => break,
        }
    }
    if seen == 0 {
        bail!("{plugin} decided nothing since {since}: name another plugin with --plugin, or go back further with --since");
    }
    show::print(&replay.target, &summary.json(), |_| summary.text())
}

/// A decision that would have been another.
struct Change {
    now: Result<Value, String>,
    fields: Vec<(String, String, String)>,
}

async fn one(
    trial: &Trial,
    config: &BTreeMap<String, String>,
    decision: &Value,
    summary: &mut Summary,
) -> Result<Option<Change>> {
    let interface = decision["interface"]
        .as_str()
        .and_then(Interface::of)
        .filter(|interface| trial.inspection().interfaces.contains(interface));
    let not_asked = matches!(decision["fault"]["kind"].as_str(), Some("breaker-open" | "overloaded"));
    let (Some(interface), false) = (interface, not_asked) else {
        summary.skipped += 1;
        return Ok(None);
    };
    let context: Context =
        serde_json::from_value(decision["context"].clone()).context("the server's log has a context that can't be read")?;
    // What is not shown of a webhook's settings can be given by --config.
    let mut settings: BTreeMap<String, String> = match decision.get("settings") {
        Some(settings) => serde_json::from_value(settings.clone()).context("the server's log has settings that can't be read")?,
        None => BTreeMap::new(),
    };
    settings.retain(|name, _| !config.contains_key(name));
    let now = match trial.ask_again(interface, &context, &settings, decision["input"].clone()).await {
        Ok(answer) => Ok(answer),
        Err(TrialError::Fault(fault)) => Err(format!("{}: {fault}", fault.name())),
        Err(error) => bail!("the decision {} can't be replayed: {error}", decision["id"]),
    };
    let before = decision.get("output");
    let fields = match (before, &now) {
        (Some(before), Ok(now)) => {
            let found = differences(before, now);
            if found.is_empty() {
                summary.same += 1;
                return Ok(None);
            }
            let text = |value: Option<Value>| value.map_or_else(|| "-".to_owned(), |value| value.to_string());
            found.into_iter().map(|found| (found.field, text(found.before), text(found.after))).collect()
        }
        (None, Err(_)) => {
            summary.same += 1;
            return Ok(None);
        }
        _ => Vec::new(),
    };
    let (was, is) = (decision["outcome"].as_str().unwrap_or("-"), kind(&now));
    let change = if was == is { format!("another {is}") } else { format!("{was} to {is}") };
    *summary.changes.entry(change).or_default() += 1;
    Ok(Some(Change { now, fields }))
}

/// The kind of an answer, as the server's log has it in `outcome`.
fn kind(answer: &Result<Value, String>) -> &str {
    answer.as_ref().map_or("fault", answer_kind)
}

impl Change {
    fn json(&self, decision: &Value) -> Value {
        let now = match &self.now {
            Ok(answer) => serde_json::json!({ "output": answer }),
            Err(reason) => serde_json::json!({ "fault": reason }),
        };
        serde_json::json!({ "decision": decision, "now": now })
    }

    fn text(&self, decision: &Value) -> String {
        let (at, id) = (decision["at"].as_str().unwrap_or("-"), &decision["id"]);
        let mut out = format!("{at}  decision {id}  {}: {}\n", decision["interface"].as_str().unwrap_or("-"), decision["input"]);
        if self.fields.is_empty() {
            let before = decision.get("output").unwrap_or(&decision["fault"]);
            let now = self.now.as_ref().map_or_else(String::clone, Value::to_string);
            out.push_str(&format!("  was {before}\n  is  {now}\n"));
        }
        for (field, before, now) in &self.fields {
            let field = if field.is_empty() { "the answer" } else { field };
            out.push_str(&format!("  {field}: was {before}, is {now}\n"));
        }
        out
    }
}

impl Summary {
    fn json(&self) -> Value {
        serde_json::json!({ "same": self.same, "changed": self.changed(), "changes": self.changes, "skipped": self.skipped })
    }

    fn changed(&self) -> u64 {
        self.changes.values().sum()
    }

    fn text(&self) -> String {
        let mut out =
            format!("{} decisions replayed: {} same, {} changed", self.same + self.changed(), self.same, self.changed());
        for (change, count) in &self.changes {
            out.push_str(&format!("\n  {count} times {change}"));
        }
        if self.skipped > 0 {
            out.push_str(&format!("\n{} skipped: the plugin was not asked then, or has not this interface", self.skipped));
        }
        out
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no duration: write it as 90s, 30m, 1h or 7d");
    let unit = text.chars().last().ok_or_else(wrong)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return Err(wrong()),
    };
    let count: u64 = text.strip_suffix(unit).and_then(|count| count.parse().ok()).ok_or_else(wrong)?;
    // A century is more than any log keeps.
    count.checked_mul(seconds).filter(|seconds| *seconds <= 3_155_760_000).map(Duration::from_secs).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read() {
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("2h"), Ok(Duration::from_secs(7_200)));
        for wrong in ["", "h", "1", "1w", "-1h", "1.5h", "99999999999999999999d", "1ä"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_summary_counts_each_kind_of_change() {
        let changes = BTreeMap::from([("allow to deny".to_owned(), 2), ("another deny".to_owned(), 1)]);
        let summary = Summary { same: 5, changes, skipped: 1 };
        let text = summary.text();
        assert!(text.starts_with("8 decisions replayed: 5 same, 3 changed\n  2 times allow to deny"), "{text}");
        assert_eq!(summary.json()["changed"], 3);
    }
}
