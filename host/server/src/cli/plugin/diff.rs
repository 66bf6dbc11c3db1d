//! Compares an answer with the expected one, field by field.

use serde_json::Value;

/// A place where an answer is not as expected.
#[derive(Debug, PartialEq, Eq)]
pub struct Difference {
    /// Where, for example `deny.code` or `allow.labels[0].name`; empty for the whole answer.
    pub path: String,
    /// None when nothing is expected there.
    pub expected: Option<String>,
    /// None when there is nothing.
    pub got: Option<String>,
}

/// How an answer differs. Unless `exact`, only the fields that are expected are looked at, and the name of a variant
/// alone (`"allow"`) stands for it with whatever it holds.
pub fn differences(expected: &Value, got: &Value, exact: bool) -> Vec<Difference> {
    let mut found = Vec::new();
    compare(expected, got, exact, "", &mut found);
    found
}

fn compare(expected: &Value, got: &Value, exact: bool, path: &str, found: &mut Vec<Difference>) {
    match (expected, got) {
        (Value::String(variant), Value::Object(have)) if !exact && have.len() == 1 && have.contains_key(variant) => {}
        // Another variant: its fields say nothing about those of the expected one.
        (Value::Object(want), Value::Object(have)) if path.is_empty() && !want.keys().any(|name| have.contains_key(name)) => {
            if !want.is_empty() || exact && !have.is_empty() {
                found.push(difference(path, Some(expected), Some(got)));
            }
        }
        (Value::Object(want), Value::Object(have)) => {
            for (name, expected) in want {
                match have.get(name) {
                    Some(got) => compare(expected, got, exact, &join(path, name), found),
                    None => found.push(difference(&join(path, name), Some(expected), None)),
                }
            }
            let surplus = have.iter().filter(|(name, _)| exact && !want.contains_key(*name));
            found.extend(surplus.map(|(name, got)| difference(&join(path, name), None, Some(got))));
        }
        (Value::Array(want), Value::Array(have)) => {
            for index in 0..want.len().max(have.len()) {
                let path = format!("{path}[{index}]");
                match (want.get(index), have.get(index)) {
                    (Some(expected), Some(got)) => compare(expected, got, exact, &path, found),
                    (expected, got) => found.push(difference(&path, expected, got)),
                }
            }
        }
        (expected, got) if expected == got => {}
        _ => found.push(difference(path, Some(expected), Some(got))),
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

fn difference(path: &str, expected: Option<&Value>, got: Option<&Value>) -> Difference {
    Difference { path: path.to_owned(), expected: expected.map(Value::to_string), got: got.map(Value::to_string) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn denied() -> Value {
        json!({"deny": {"code": "not-listed", "reason": "You are not on the list."}})
    }

    fn paths(expected: Value, got: Value, exact: bool) -> Vec<String> {
        differences(&expected, &got, exact).into_iter().map(|one| one.path).collect()
    }

    #[test]
    fn only_what_is_expected_is_compared() {
        assert!(paths(json!({"deny": {"code": "not-listed"}}), denied(), false).is_empty());
        assert!(paths(json!("deny"), denied(), false).is_empty());
        assert!(paths(json!({"Err": "deny"}), json!({"Err": denied()}), false).is_empty());
        assert!(paths(json!({}), denied(), false).is_empty());
        assert_eq!(paths(json!({"deny": {"code": "other"}}), denied(), false), ["deny.code"]);
        assert_eq!(paths(json!({"deny": {"cod": "not-listed"}}), denied(), false), ["deny.cod"]);
    }

    #[test]
    fn an_exact_answer_has_nothing_more() {
        assert!(paths(denied(), denied(), true).is_empty());
        assert_eq!(paths(json!({"deny": {"code": "not-listed"}}), denied(), true), ["deny.reason"]);
        assert_eq!(paths(json!("deny"), denied(), true), [""]);
        assert_eq!(paths(json!({}), denied(), true), [""]);
    }

    #[test]
    fn another_variant_is_one_difference() {
        let found = differences(&json!({"allow": {}}), &denied(), false);
        let expected =
            Difference { path: String::new(), expected: Some(r#"{"allow":{}}"#.into()), got: Some(denied().to_string()) };
        assert_eq!(found, [expected]);
        assert_eq!(paths(json!("abstain"), denied(), false), [""]);
        assert_eq!(paths(denied(), json!("abstain"), false), [""]);
    }

    #[test]
    fn lists_are_compared_to_their_ends() {
        let got = json!({"allow": {"permissions": ["a", "b"]}});
        assert!(paths(json!({"allow": {"permissions": ["a", "b"]}}), got.clone(), false).is_empty());
        assert_eq!(paths(json!({"allow": {"permissions": ["a"]}}), got.clone(), false), ["allow.permissions[1]"]);
        assert_eq!(paths(json!({"allow": {"permissions": ["a", "c", "d"]}}), got, false).len(), 2);
    }
}
