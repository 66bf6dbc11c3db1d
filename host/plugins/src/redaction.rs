//! What is taken out of questions, answers and log lines before anybody keeps or shows them.

use crate::case::Settings;
use crate::grants::Grants;
use http::Uri;
use serde_json::Value;
use std::collections::BTreeMap;

/// Stands for a secret that the plugin was granted.
const SECRET: &str = "[secret]";
/// Stands for everything else that is not shown.
pub(crate) const REDACTED: &str = "[redacted]";
/// Bytes of a setting, or of a line of a secret, that is too short to be a secret by itself.
const SHORT: usize = 8;
/// In names of headers and of parameters of URLs whose values are not shown.
const SENSITIVE: [&str; 9] = ["auth", "cookie", "credential", "key", "passw", "secret", "session", "sig", "token"];

/// What one call must not show: the secrets that its plugin is granted, the settings that came with the call, and by their names
/// what headers and URLs carry.
///
/// What stands for something is the same each time, and stays as it is when it is redacted again: so a question from the log, asked
/// again, has an answer that can be compared with the one in the log. The addresses among the settings keep their hosts, because plugins
/// plan requests to them; what follows is counted: `https://hooks.example/redacted-1`.
#[derive(Debug, Default)]
pub(crate) struct Redaction(Vec<(String, String)>);

impl Redaction {
    pub(crate) fn new(grants: &Grants, settings: &Settings) -> Redaction {
        let mut texts = Vec::new();
        for secret in grants.secrets.values().map(crate::Secret::reveal).filter(|secret| !secret.is_empty()) {
            texts.push((secret.to_owned(), SECRET.to_owned()));
            // The body of a delivery is often JSON.
            let json = Value::from(secret).to_string();
            let escaped = json.get(1..json.len().saturating_sub(1)).filter(|escaped| *escaped != secret);
            texts.extend(escaped.map(|escaped| (escaped.to_owned(), SECRET.to_owned())));
            // A key of several lines may be written line by line.
            let lines = secret.lines().map(str::trim).filter(|line| line.len() >= SHORT && *line != secret);
            texts.extend(lines.map(|line| (line.to_owned(), SECRET.to_owned())));
        }
        let mut urls = 0;
        for value in settings.values() {
            let parts = || value.split([' ', '\t', '\r', '\n', ',']).filter(|part| !part.is_empty());
            if !parts().any(is_url) {
                texts.extend((value.len() >= SHORT).then(|| (value.clone(), REDACTED.to_owned())));
                continue;
            }
            for part in parts() {
                match origin(part) {
                    Some(origin) => {
                        urls += 1;
                        texts.push((part.to_owned(), format!("{origin}/redacted-{urls}")));
                    }
                    None if !is_url(part) && part.len() >= SHORT => texts.push((part.to_owned(), REDACTED.to_owned())),
                    None => {}
                }
            }
        }
        // Where one is part of another, the whole goes first.
        texts.sort_by_key(|(text, _)| std::cmp::Reverse(text.len()));
        Redaction(texts)
    }

    /// The longest text that is taken out, in bytes.
    pub(crate) fn longest(&self) -> usize {
        self.0.first().map_or(0, |(text, _)| text.len())
    }

    /// The text without what is not shown; None when nothing of it is in it.
    pub(crate) fn text(&self, text: &str) -> Option<String> {
        let mut found = self.0.iter().filter(|(hidden, _)| text.contains(hidden.as_str())).peekable();
        found.peek()?;
        Some(found.fold(text.to_owned(), |text, (hidden, instead)| text.replace(hidden.as_str(), instead)))
    }

    /// Redacts all texts of a question or an answer.
    pub(crate) fn value(&self, value: &mut Value) {
        match value {
            Value::String(text) => {
                if let Some(clean) = self.text(text) {
                    *text = clean;
                }
            }
            Value::Array(values) => values.iter_mut().for_each(|value| self.value(value)),
            Value::Object(fields) => {
                for (name, value) in fields {
                    self.value(value);
                    match value {
                        Value::Array(headers) if name == "headers" => headers.iter_mut().for_each(header),
                        Value::String(url) if name == "url" => {
                            if let Some(clean) = query(url) {
                                *url = clean;
                            }
                        }
                        _ => {}
                    }
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// The settings as they are shown.
    pub(crate) fn settings(&self, settings: &Settings) -> BTreeMap<String, String> {
        let clean = |value: &String| self.text(value).unwrap_or_else(|| value.clone());
        settings.iter().map(|(name, value)| (name.clone(), clean(value))).collect()
    }
}

fn is_url(text: &str) -> bool {
    text.starts_with("https://") || text.starts_with("http://")
}

/// Scheme and host of a URL that has more than these.
fn origin(text: &str) -> Option<String> {
    let uri: Uri = text.parse().ok().filter(|_| is_url(text))?;
    let plain = matches!(uri.path(), "" | "/") && uri.query().is_none();
    (!plain).then(|| Some(format!("{}://{}", uri.scheme_str()?, uri.authority()?)))?
}

fn is_sensitive(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SENSITIVE.iter().any(|word| name.contains(word))
}

/// Redacts a header, given as its name and value, by its name.
fn header(header: &mut Value) {
    let sensitive = header.get("name").and_then(Value::as_str).is_some_and(is_sensitive);
    if let (true, Some(value)) = (sensitive, header.get_mut("value")) {
        *value = REDACTED.into();
    }
}

/// The URL without the values of parameters that are not shown; None when it has none of these.
fn query(url: &str) -> Option<String> {
    let (start, query) = url.split_once('?')?;
    let hides = |parameter: &str| parameter.split_once('=').is_some_and(|(name, _)| is_sensitive(name));
    if !query.split('&').any(hides) {
        return None;
    }
    let parameters = query.split('&').map(|parameter| match parameter.split_once('=') {
        Some((name, _)) if hides(parameter) => format!("{name}=redacted"),
        _ => parameter.to_owned(),
    });
    Some(format!("{start}?{}", parameters.collect::<Vec<_>>().join("&")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Secret;
    use serde_json::json;

    fn settings(pairs: &[(&str, &str)]) -> Settings {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn secrets(pairs: &[(&str, &str)]) -> Grants {
        let secrets = pairs.iter().map(|(name, text)| ((*name).to_owned(), Secret::new(*text))).collect();
        Grants { secrets, ..Grants::default() }
    }

    #[test]
    fn secrets_are_taken_out_of_answers() {
        let mut answer = json!({"deny": {"code": "no", "reason": "The key hunter2 is wrong, hunter2!"}});
        let before = answer.clone();
        Redaction::default().value(&mut answer);
        assert_eq!(answer, before);
        Redaction::new(&secrets(&[("key", "hunter2"), ("unset", "")]), &Settings::new()).value(&mut answer);
        assert_eq!(answer["deny"]["reason"], "The key [secret] is wrong, [secret]!");
    }

    #[test]
    fn a_secret_of_several_lines_is_found_line_by_line() {
        let redaction = Redaction::new(&secrets(&[("key", "-----BEGIN-----\nAbCdEfGhIj\nx\n")]), &Settings::new());
        assert_eq!(redaction.text("read AbCdEfGhIj and x").as_deref(), Some("read [secret] and x"));
        assert_eq!(redaction.text("x"), None);
    }

    #[test]
    fn a_secret_is_found_in_json_text() {
        let redaction = Redaction::new(&secrets(&[("key", "a\"b\\c")]), &Settings::new());
        let body = json!({"key": "a\"b\\c"}).to_string();
        assert_eq!(redaction.text(&body).as_deref(), Some("{\"key\":\"[secret]\"}"));
    }

    #[test]
    fn settings_are_hidden_and_their_addresses_keep_their_hosts() {
        let settings = settings(&[
            ("channel", "the-secret-channel"),
            ("count", "5"),
            ("urls", "https://a.example/T0/B0/XyZ, http://b.example:8080/\nhttps://c.example?x=1"),
        ]);
        let redaction = Redaction::new(&Grants::default(), &settings);
        let shown = redaction.settings(&settings);
        assert_eq!((shown["channel"].as_str(), shown["count"].as_str()), ("[redacted]", "5"));
        assert_eq!(shown["urls"], "https://a.example/redacted-1, http://b.example:8080/\nhttps://c.example/redacted-2");
        let mut plan = json!({"deliver": [{"url": "https://a.example/T0/B0/XyZ/more", "body": "to the-secret-channel"}]});
        redaction.value(&mut plan);
        assert_eq!(plan, json!({"deliver": [{"url": "https://a.example/redacted-1/more", "body": "to [redacted]"}]}));
        // Asked again with what is shown, all stays as it is.
        let again = Redaction::new(&Grants::default(), &shown);
        assert_eq!(again.settings(&shown), shown);
        let before = plan.clone();
        again.value(&mut plan);
        assert_eq!(plan, before);
    }

    #[test]
    fn headers_and_parameters_are_judged_by_their_names() {
        let mut plan = json!({"http": {
            "url": "https://a.example/v.mp4?part=1&X-Amz-Signature=abc&sig=d",
            "headers": [{"name": "Authorization", "value": "Bearer x"}, {"name": "accept", "value": "*/*"}],
        }});
        Redaction::default().value(&mut plan);
        let expected = json!({"http": {
            "url": "https://a.example/v.mp4?part=1&X-Amz-Signature=redacted&sig=redacted",
            "headers": [{"name": "Authorization", "value": "[redacted]"}, {"name": "accept", "value": "*/*"}],
        }});
        assert_eq!(plan, expected);
        // A parameter of a viewer's URL is no header.
        let mut question = json!({"publish": {"connection": {"parameters": [{"name": "mode", "value": "RTMP"}]}}});
        let before = question.clone();
        Redaction::default().value(&mut question);
        assert_eq!(question, before);
    }
}
