//! The object-store credentials that a `vod-source` plugin may name, as its setting `credentials` tells of them: one in a line,
//! `name;zone;endpoint;buckets`, with spaces between the buckets. What they open stays with the host.

use crate::config;

/// What is known of credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// For [`crate::vod_source::S3Object::credential`].
    pub name: String,
    /// The region of Amazon, or what a store has in its place, for example "ams3".
    pub zone: Option<String>,
    /// The only place where they may be used, as scheme, host and port. None leaves that to the plugin.
    pub endpoint: Option<String>,
    /// The only buckets that they may be used for; empty for all.
    pub buckets: Vec<String>,
}

impl Named {
    /// Whether they may be used for this bucket.
    pub fn opens(&self, bucket: &str) -> bool {
        self.buckets.is_empty() || self.buckets.iter().any(|own| own == bucket)
    }
}

/// All credentials that the plugin may name, in the order of the host's configuration.
pub fn credentials() -> Vec<Named> {
    let text = config::get("credentials").unwrap_or_default();
    text.lines().filter_map(named).collect()
}

fn named(line: &str) -> Option<Named> {
    let mut fields = line.split(';').map(str::trim);
    let name = fields.next().filter(|name| !name.is_empty())?;
    let mut field = || fields.next().filter(|field| !field.is_empty()).map(str::to_owned);
    let (zone, endpoint, buckets) = (field(), field(), field());
    let buckets = buckets.unwrap_or_default().split_whitespace().map(str::to_owned).collect();
    Some(Named { name: name.to_owned(), zone, endpoint, buckets })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn credentials_are_read_from_the_setting() {
        assert!(credentials().is_empty());
        testing::config(&[("credentials", "ams3;ams3;;\n\nminio;;http://10.0.0.7:9000;films clips\nbare")]);
        let all = credentials();
        assert_eq!(all.len(), 3);
        assert_eq!((all[0].name.as_str(), all[0].zone.as_deref(), all[0].endpoint.as_deref()), ("ams3", Some("ams3"), None));
        assert_eq!((all[1].zone.as_deref(), all[1].endpoint.as_deref()), (None, Some("http://10.0.0.7:9000")));
        assert!(all[0].opens("any") && all[1].opens("clips") && !all[1].opens("other"));
        assert_eq!(all[2], Named { name: "bare".into(), zone: None, endpoint: None, buckets: vec![] });
    }
}
