//! Stores whose host names tell where they are.

/// What the name of a store's host says.
#[derive(Debug, PartialEq, Eq)]
pub struct Place<'a> {
    /// The store's own name, without the bucket.
    pub host: &'a str,
    /// The bucket, where it stands before the store's name.
    pub bucket: Option<&'a str>,
    /// The region or zone.
    pub zone: Option<&'a str>,
}

/// How a store builds its names: `[bucket.][prefix.]zone.suffix`.
const STORES: [(&str, &str); 8] = [
    ("", "digitaloceanspaces.com"),
    ("", "linodeobjects.com"),
    ("s3", "amazonaws.com"),
    ("s3", "amazonaws.com.cn"),
    ("s3", "backblazeb2.com"),
    ("s3", "scw.cloud"),
    ("s3", "storage.selcloud.ru"),
    ("s3", "wasabisys.com"),
];

/// Selectel's first name, which does not tell the zone.
const SELECTEL: (&str, &str) = ("s3.selcdn.ru", "ru-1a");

/// Finds out what the name of a host says. None when it is no known store's.
pub fn find(host: &str) -> Option<Place<'_>> {
    if host.eq_ignore_ascii_case(SELECTEL.0) {
        return Some(Place { host, bucket: None, zone: Some(SELECTEL.1) });
    }
    STORES.iter().find_map(|(prefix, suffix)| {
        let front = before(host, suffix)?;
        let (front, zone) = front.rsplit_once('.').unwrap_or(("", front));
        let bucket = match prefix {
            &"" => front,
            prefix if front.eq_ignore_ascii_case(prefix) => "",
            prefix => before(front, prefix)?,
        };
        if zone.is_empty() {
            return None;
        }
        let own = if bucket.is_empty() { host } else { host.get(bucket.len() + 1..)? };
        Some(Place { host: own, bucket: (!bucket.is_empty()).then_some(bucket), zone: Some(zone) })
    })
}

/// What stands before `.end`.
fn before<'a>(name: &'a str, end: &str) -> Option<&'a str> {
    let at = name.len().checked_sub(end.len() + 1)?;
    let (front, rest) = (name.get(..at)?, name.get(at..)?);
    let fits = rest.strip_prefix('.').is_some_and(|rest| rest.eq_ignore_ascii_case(end));
    (!front.is_empty() && fits).then_some(front)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(host: &str) -> Option<(&str, Option<&str>, Option<&str>)> {
        find(host).map(|place| (place.host, place.bucket, place.zone))
    }

    #[test]
    fn zones_and_buckets_are_found() {
        for (host, own, bucket, zone) in [
            ("ams3.digitaloceanspaces.com", "ams3.digitaloceanspaces.com", None, "ams3"),
            ("my.space.ams3.digitaloceanspaces.com", "ams3.digitaloceanspaces.com", Some("my.space"), "ams3"),
            ("s3.eu-central-1.amazonaws.com", "s3.eu-central-1.amazonaws.com", None, "eu-central-1"),
            ("films.s3.eu-central-1.amazonaws.com", "s3.eu-central-1.amazonaws.com", Some("films"), "eu-central-1"),
            ("s3.cn-north-1.amazonaws.com.cn", "s3.cn-north-1.amazonaws.com.cn", None, "cn-north-1"),
            ("s3.ru-1.storage.selcloud.ru", "s3.ru-1.storage.selcloud.ru", None, "ru-1"),
            ("S3.selcdn.ru", "S3.selcdn.ru", None, "ru-1a"),
            ("films.s3.eu-west-2.wasabisys.com", "s3.eu-west-2.wasabisys.com", Some("films"), "eu-west-2"),
        ] {
            assert_eq!(place(host), Some((own, bucket, Some(zone))), "{host}");
        }
    }

    #[test]
    fn other_names_say_nothing() {
        for host in
            ["", "digitaloceanspaces.com", ".digitaloceanspaces.com", "example.com", "amazonaws.com", "s3.amazonaws.com.evil"]
        {
            assert_eq!(place(host), None, "{host}");
        }
        assert_eq!(place("evildigitaloceanspaces.com"), None);
        assert_eq!(place("xs3.selcdn.ru"), None);
        assert_eq!(place("eu-central-1.amazonaws.com"), None);
    }
}
