//! What differs between two answers, field by field: for shadow versions and for replays.

use serde::Serialize;
use serde_json::Value;

/// Differences of one pair of answers that are listed; a plugin may answer with long lists.
const MAX_DIFFERENCES: usize = 64;

/// One field in which two answers differ.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// The path of the field, such as `allow.limits.maxBitrate` or `allow.labels[2].value`; empty when the answers are of different
    /// kinds altogether.
    pub field: String,
    /// Absent when only the other answer has the field.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
}

/// The fields in which `after` differs from `before`; none when the answers are the same. At most 64 are listed.
pub fn differences(before: &Value, after: &Value) -> Vec<Difference> {
    let mut found = Vec::new();
    // An answer of another kind has other fields: listing them all would hide that.
    if variant(before) != variant(after) {
        found.push(Difference { field: String::new(), before: Some(before.clone()), after: Some(after.clone()) });
    } else {
        compare(String::new(), Some(before), Some(after), &mut found);
    }
    found
}

/// Which kind of answer it is: the name of a variant, with or without a payload.
fn variant(answer: &Value) -> Option<&str> {
    match answer {
        Value::String(name) => Some(name),
        Value::Object(fields) if fields.len() == 1 => fields.keys().next().map(String::as_str),
        _ => None,
    }
}

/// What kind of answer it is, for people and for lists: the name of its variant, `ok` or the kind of the error for a result, and `answer`
/// for everything else.
pub fn answer_kind(answer: &Value) -> &str {
    match (variant(answer), answer.get("Err")) {
        (Some("Ok"), _) => "ok",
        (_, Some(error)) => variant(error).unwrap_or("error"),
        (Some(kind), None) => kind,
        (None, None) => "answer",
    }
}

fn compare(path: String, before: Option<&Value>, after: Option<&Value>, found: &mut Vec<Difference>) {
    if found.len() >= MAX_DIFFERENCES || before == after {
        return;
    }
    match (before, after) {
        (Some(Value::Object(left)), Some(Value::Object(right))) => {
            let only_right = right.keys().filter(|key| !left.contains_key(*key));
            for key in left.keys().chain(only_right) {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                compare(path, left.get(key), right.get(key), found);
            }
        }
        (Some(Value::Array(left)), Some(Value::Array(right))) => {
            for index in 0..left.len().max(right.len()) {
                compare(format!("{path}[{index}]"), left.get(index), right.get(index), found);
            }
        }
        (before, after) => found.push(Difference { field: path, before: before.cloned(), after: after.cloned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn fields(before: Value, after: Value) -> Vec<String> {
        differences(&before, &after).into_iter().map(|difference| difference.field).collect()
    }

    #[test]
    fn the_fields_that_differ_are_named() {
        let before = json!({"allow": {"role": "member", "limits": {"maxBitrate": 5, "maxViewers": null}, "labels": [{"name": "a", "value": "1"}]}});
        let after = json!({"allow": {"role": "member", "limits": {"maxBitrate": 6, "maxViewers": null}, "labels": [{"name": "a", "value": "2"}, {"name": "b", "value": "3"}]}});
        assert_eq!(fields(before.clone(), after), ["allow.labels[0].value", "allow.labels[1]", "allow.limits.maxBitrate"]);
        assert_eq!(fields(before.clone(), before), [""; 0]);
    }

    #[test]
    fn answers_of_different_kinds_differ_as_a_whole() {
        let (allow, deny) = (json!({"allow": {"role": null}}), json!({"deny": {"code": "no"}}));
        assert_eq!(fields(allow.clone(), deny.clone()), [""]);
        assert_eq!(fields(allow, json!("abstain")), [""]);
        let other = json!({"deny": {"code": "no", "reason": "Why."}});
        assert_eq!(fields(deny, other), ["deny.reason"]);
    }

    #[test]
    fn answers_have_kinds() {
        let kind = |answer: Value| answer_kind(&answer).to_owned();
        assert_eq!(kind(json!({"deny": {"code": "no"}})), "deny");
        assert_eq!(kind(json!("abstain")), "abstain");
        assert_eq!(kind(json!({"Ok": {"file": {"path": "a.mp4"}}})), "ok");
        assert_eq!(kind(json!({"Err": "not-mine"})), "not-mine");
        assert_eq!(kind(json!({"Err": {"denied": "Why."}})), "denied");
        assert_eq!(kind(json!([1])), "answer");
    }

    #[test]
    fn a_flood_of_differences_is_cut() {
        let list = |value: u32| json!((0..10_000).map(|_| value).collect::<Vec<_>>());
        assert_eq!(fields(list(1), list(2)).len(), MAX_DIFFERENCES);
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![Just(Value::Null), any::<bool>().prop_map(Value::from), (0_u8..4).prop_map(Value::from)];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::btree_map("[a-d]", inner, 0..4)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn no_difference_means_the_same(before in value(), after in value()) {
            prop_assert_eq!(differences(&before, &after).is_empty(), before == after);
            let (there, back) = (differences(&before, &after), differences(&after, &before));
            let mut left: Vec<_> = there.into_iter().map(|difference| difference.field).collect();
            let mut right: Vec<_> = back.into_iter().map(|difference| difference.field).collect();
            left.sort();
            right.sort();
            prop_assert_eq!(left, right);
        }
    }
}
