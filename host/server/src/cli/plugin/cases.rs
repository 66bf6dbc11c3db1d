//! Case files: questions with the answers that are expected, as JSON.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, bail};
use flyloft_plugins::model::Context;
use flyloft_plugins::{Grants, Interface, Secret};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::sample;

/// A case file as it is written. Names are checked, because a misspelled one would silently mean nothing.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct File<'a> {
    /// Which interface is asked; needed only when the component exports several.
    interface: Option<String>,
    #[serde(default)]
    config: BTreeMap<String, String>,
    #[serde(default)]
    secrets: BTreeMap<String, String>,
    /// Hosts that the plugin may ask by HTTP.
    #[serde(default)]
    hosts: Vec<String>,
    #[serde(default)]
    key_value_quota: u64,
    /// Names of object-store credentials that the plugin may name.
    #[serde(default)]
    credentials: Vec<String>,
    /// What the context of all cases has in common.
    context: Option<Value>,
    #[serde(borrow)]
    cases: Vec<Written<'a>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Written<'a> {
    name: String,
    context: Option<Value>,
    #[serde(borrow)]
    input: &'a RawValue,
    /// The answer, or as much of it as matters.
    #[serde(borrow)]
    expect: Option<&'a RawValue>,
    /// The kind of failure that is expected instead of an answer, for example "deadline".
    fault: Option<String>,
    /// Whether the answer must have nothing beside what is expected.
    #[serde(default)]
    exact: bool,
}

/// A case file.
pub struct Cases {
    path: PathBuf,
    text: String,
    pub interface: Option<Interface>,
    pub grants: Grants,
    pub cases: Vec<Case>,
}

/// One question.
pub struct Case {
    pub name: String,
    pub context: Context,
    /// What the file says; [`sample::complete`] makes a whole question of it.
    pub input: Value,
    pub expect: Option<Value>,
    pub fault: Option<String>,
    pub exact: bool,
    /// Where in the text the answer is, or where it goes: behind the input.
    place: Place,
}

#[derive(Clone, Copy)]
enum Place {
    Expected { start: usize, end: usize },
    Behind { input_end: usize },
}

impl Cases {
    /// Reads a case file.
    ///
    /// # Errors
    /// When it can't be read or is not a case file, with line and column.
    pub fn read(path: &Path) -> Result<Cases> {
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read the cases {}", path.display()))?;
        Cases::parse(path, text).with_context(|| path.display().to_string())
    }

    fn parse(path: &Path, text: String) -> Result<Cases> {
        let file: File<'_> = serde_json::from_str(&text)?;
        let interface = file.interface.as_deref().map(interface).transpose()?;
        let common = match file.context {
            Some(given @ Value::Object(_)) => sample::over(sample::context(), given),
            Some(_) => bail!("context must be an object"),
            None => sample::context(),
        };
        let cases = file.cases.iter().map(|written| case(&text, &common, written));
        let cases = cases.collect::<Result<Vec<_>>>()?;
        let grants = Grants {
            config: file.config,
            secrets: file.secrets.into_iter().map(|(name, value)| (name, Secret::new(value))).collect(),
            hosts: file.hosts,
            key_value_quota: file.key_value_quota,
            credentials: file.credentials,
            ..Grants::default()
        };
        Ok(Cases { path: path.to_owned(), interface, grants, cases, text })
    }

    /// Writes the file again with new answers, by the numbers of their cases; everything else stays as it is.
    ///
    /// # Errors
    /// When the file can't be written.
    pub fn write(&self, answers: &BTreeMap<usize, Value>) -> Result<()> {
        let text = self.updated(answers)?;
        std::fs::write(&self.path, text).with_context(|| format!("cannot write the cases {}", self.path.display()))
    }

    fn updated(&self, answers: &BTreeMap<usize, Value>) -> Result<String> {
        let mut text = self.text.clone();
        // From the end, so that the places before stay where they are.
        for (&index, answer) in answers.iter().rev() {
            let Some(case) = self.cases.get(index) else { continue };
            let (start, end) = match case.place {
                Place::Expected { start, end } => (start, end),
                Place::Behind { input_end } => (input_end, input_end),
            };
            let line = text.get(..start).and_then(|before| before.rsplit('\n').next()).unwrap_or_default();
            let indent: String = line.chars().take_while(|c| *c == ' ' || *c == '\t').collect();
            let answer = serde_json::to_string_pretty(answer)?.replace('\n', &format!("\n{indent}"));
            let answer = match case.place {
                Place::Expected { .. } => answer,
                Place::Behind { .. } => format!(",\n{indent}\"expect\": {answer}"),
            };
            text.replace_range(start..end, &answer);
        }
        Ok(text)
    }
}

fn interface(name: &str) -> Result<Interface> {
    Interface::ALL.into_iter().find(|interface| interface.name() == name).ok_or_else(|| {
        let names: Vec<&str> = Interface::ALL.into_iter().map(Interface::name).collect();
        anyhow!("interface: {name:?} is none; there are {}", names.join(", "))
    })
}

fn case(text: &str, common: &Value, written: &Written<'_>) -> Result<Case> {
    let name = &written.name;
    let span = |raw: &RawValue| {
        let start = (raw.get().as_ptr() as usize).saturating_sub(text.as_ptr() as usize);
        (start, start + raw.get().len())
    };
    if written.expect.is_some() && written.fault.is_some() {
        bail!("case {name:?}: it expects both an answer and a fault; leave one of them out");
    }
    let mut context = match &written.context {
        Some(given @ Value::Object(_)) => sample::over(common.clone(), given.clone()),
        Some(_) => bail!("case {name:?}: context must be an object"),
        None => common.clone(),
    };
    if let Some(time) = context.get("now").and_then(Value::as_str) {
        let now = time.parse::<jiff::Timestamp>();
        let now = now.with_context(|| format!("case {name:?}: context.now {time:?} is no time such as 2027-01-15T19:30:00Z"))?;
        context["now"] = now.as_millisecond().into();
    }
    let context = serde_path_to_error::deserialize(&context).with_context(|| format!("case {name:?}: context"))?;
    let place = match written.expect {
        Some(expect) => {
            let (start, end) = span(expect);
            Place::Expected { start, end }
        }
        None => Place::Behind { input_end: span(written.input).1 },
    };
    Ok(Case {
        name: name.clone(),
        context,
        input: serde_json::from_str(written.input.get())?,
        expect: written.expect.map(|expect| serde_json::from_str(expect.get())).transpose()?,
        fault: written.fault.clone(),
        exact: written.exact,
        place,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const TEXT: &str = r#"{
  "config": {"hosts": "alice"},
  "context": {"now": "2027-01-15T19:30:00Z"},
  "cases": [
    {
      "name": "one",
      "input": {"publish": {}},
      "expect": "allow"
    },
    {
      "name": "two",
      "context": {"now": 5},
      "input": {"publish": {}}
    }
  ]
}
"#;

    fn parse(text: &str) -> Result<Cases> {
        Cases::parse(Path::new("cases.json"), text.to_owned())
    }

    #[test]
    fn a_file_is_read() {
        let file = parse(TEXT).unwrap();
        assert_eq!(file.grants.config["hosts"], "alice");
        assert_eq!(file.cases[0].context.now, 1_800_041_400_000);
        assert_eq!(file.cases[0].expect, Some(json!("allow")));
        assert_eq!((file.cases[1].context.now, file.cases[1].expect.clone()), (5, None));
    }

    #[test]
    fn an_update_changes_the_answers_and_nothing_else() {
        let file = parse(TEXT).unwrap();
        assert_eq!(file.updated(&BTreeMap::new()).unwrap(), TEXT);
        let answers = BTreeMap::from([(0, json!({"deny": {"code": "no"}})), (1, json!("abstain"))]);
        let text = file.updated(&answers).unwrap();
        let expected =
            TEXT.replace("\"allow\"", "{\n        \"deny\": {\n          \"code\": \"no\"\n        }\n      }").replace(
                "\"input\": {\"publish\": {}}\n    }\n  ]",
                "\"input\": {\"publish\": {}},\n      \"expect\": \"abstain\"\n    }\n  ]",
            );
        assert_eq!(text, expected);
        let again = parse(&text).unwrap();
        assert_eq!(again.cases[1].expect, Some(json!("abstain")));
    }

    #[test]
    fn mistakes_are_named() {
        let message = |text: &str| format!("{:#}", parse(text).err().unwrap());
        assert!(message("{\n \"cases\": [],\n \"confg\": {}}").contains("confg"));
        assert!(message(r#"{"interface": "room", "cases": []}"#).contains("room-policy"));
        let case = |fields: &str| message(&format!(r#"{{"cases": [{{"name": "n", "input": {{}}, {fields}}}]}}"#));
        assert!(case(r#""expect": "allow", "fault": "trap""#).contains("both"));
        assert!(case(r#""context": {"now": "tomorrow"}"#).contains("tomorrow"));
        assert!(case(r#""context": {"now": true}"#).contains("now"));
        assert!(case(r#""expct": "allow""#).contains("expct"));
    }
}
