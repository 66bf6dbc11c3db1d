//! The built-in source for objects in S3 buckets: `vod://s3/bucket/dir/film.mp4`. Which credentials open a bucket is found by the
//! buckets that they are limited to, and else by what they are for: a region of Amazon, or a store of their own. What names its
//! store itself, `vod://s3/https://…`, is not this plugin's.

#![cfg_attr(test, allow(clippy::unwrap_used))]

use flyloft_plugin::stores::{self, Named};
use flyloft_plugin::vod_source::{
    Addressing, ByteRange, Context, Error, FileInfo, ListRequest, Listing, Plan, Request, S3Object, VodSource, decoded,
    decoded_place, rest,
};

struct S3;

impl VodSource for S3 {
    fn open(_context: Context, request: Request) -> Result<Plan, Error> {
        let (bucket, key) = own(&request.uri)?;
        object(bucket, decoded(key)?)
    }

    fn stat(context: Context, request: Request) -> Result<Option<FileInfo>, Error> {
        S3::open(context, request).map(|_| None)
    }

    fn list(_context: Context, request: ListRequest) -> Result<Listing, Error> {
        let (bucket, prefix) = own(&request.uri)?;
        let directory = match decoded_place(prefix)? {
            whole if whole.is_empty() => whole,
            directory => directory + "/",
        };
        object(bucket, directory).map(Listing::Place)
    }

    fn read(_context: Context, _range: ByteRange) -> Result<Vec<u8>, Error> {
        Err(Error::Invalid("This source makes no bytes itself: the host reads its objects.".to_owned()))
    }
}

flyloft_plugin::export_vod_source!(S3);

/// The bucket and the key, still encoded, of a URI that is this plugin's.
fn own(uri: &str) -> Result<(&str, &str), Error> {
    let rest = rest(uri).and_then(|rest| rest.strip_prefix("s3/")).ok_or(Error::NotMine)?;
    let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
    if matches!(bucket.to_ascii_lowercase().as_str(), "http:" | "https:") {
        return Err(Error::NotMine);
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    if !(1..=255).contains(&bucket.len()) || !bucket.bytes().all(plain) || matches!(bucket, "." | "..") {
        let how = "The URI names no bucket: write vod://s3/bucket/dir/film.mp4, with a bucket of letters, digits, dots, hyphens and \
                   underscores.";
        return Err(Error::Invalid(how.to_owned()));
    }
    Ok((bucket, key))
}

fn object(bucket: &str, key: String) -> Result<Plan, Error> {
    let Named { name, zone, endpoint, .. } = credentials(bucket)?;
    Ok(Plan::S3(S3Object {
        bucket: bucket.to_owned(),
        key,
        // Stores of their own are reached by one name; Amazon's have one for each bucket, which must not have dots in it there.
        addressing: if endpoint.is_some() || bucket.contains('.') { Addressing::Path } else { Addressing::VirtualHost },
        endpoint,
        region: zone,
        credential: Some(name),
    }))
}

/// The credentials for a bucket: those that name it, else those that stand for all of a store.
fn credentials(bucket: &str) -> Result<Named, Error> {
    let all = stores::credentials();
    let naming: Vec<&Named> = all.iter().filter(|named| named.buckets.iter().any(|own| own == bucket)).collect();
    let whole = || all.iter().filter(|named| named.buckets.is_empty() && says_where(named)).collect();
    let fitting: Vec<&Named> = if naming.is_empty() { whole() } else { naming };
    match fitting.as_slice() {
        [one] => Ok((*one).clone()),
        [] => Err(Error::Denied(nothing_fits(bucket, &all))),
        [one, other, ..] => Err(Error::Denied(format!(
            "More than one of the server's credentials, {} and {}, could open the bucket {bucket}: name the bucket in the `buckets` of \
             one of them, or write the URI as vod://s3/https://host/{bucket}/….",
            one.name, other.name
        ))),
    }
}

fn nothing_fits(bucket: &str, all: &[Named]) -> String {
    if all.is_empty() {
        return "The server has no credentials for S3: set vod.credentials, for example [\"eu-central-1;key;secret\"]."
            .to_owned();
    }
    if all.iter().any(|named| says_where(named) && !named.buckets.is_empty()) {
        return format!("The bucket {bucket} is not granted: none of the server's credentials names it in its `buckets`.");
    }
    format!(
        "None of the server's credentials is for a region of Amazon or has an `endpoint`, so where the bucket {bucket} is can't be \
         told: write the URI as vod://s3/https://host/{bucket}/…."
    )
}

/// Whether credentials tell by themselves which store they are for.
fn says_where(named: &Named) -> bool {
    named.endpoint.is_some() || named.zone.as_deref().is_some_and(is_region)
}

/// Whether a zone looks like a region of Amazon: `eu-central-1`, `us-gov-west-1`.
fn is_region(zone: &str) -> bool {
    let parts: Vec<&str> = zone.split('-').collect();
    let [first, middle @ .., last] = parts.as_slice() else { return false };
    let word = |part: &str| part.len() > 2 && part.bytes().all(|byte| byte.is_ascii_lowercase());
    first.len() == 2
        && first.bytes().all(|byte| byte.is_ascii_lowercase())
        && !middle.is_empty()
        && middle.iter().all(|part| word(part))
        && !last.is_empty()
        && last.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use flyloft_plugin::testing;

    fn open(uri: &str) -> Result<Plan, Error> {
        S3::open(testing::context(), Request { uri: uri.into(), shared: true })
    }

    fn opened(uri: &str) -> S3Object {
        match open(uri) {
            Ok(Plan::S3(object)) => object,
            other => panic!("{uri}: {other:?}"),
        }
    }

    fn denied(uri: &str) -> String {
        match open(uri) {
            Err(Error::Denied(reason)) => reason,
            other => panic!("{uri}: {other:?}"),
        }
    }

    #[test]
    fn a_region_of_amazon_opens_all_its_buckets() {
        testing::config(&[("credentials", "ams3;ams3;;\neu-central-1;eu-central-1;;")]);
        let object = opened("vod://s3/bucket/dir/sample%20with%20spaces.mp4");
        assert_eq!((object.bucket.as_str(), object.key.as_str()), ("bucket", "dir/sample with spaces.mp4"));
        assert_eq!((object.endpoint, object.region.as_deref()), (None, Some("eu-central-1")));
        assert_eq!((object.credential.as_deref(), object.addressing), (Some("eu-central-1"), Addressing::VirtualHost));
        assert_eq!(opened("vod-live://s3/my.bucket/a.mp4").addressing, Addressing::Path);
    }

    #[test]
    fn a_store_of_its_own_is_named_by_its_endpoint() {
        testing::config(&[("credentials", "minio;;http://10.0.0.7:9000;")]);
        let object = opened("vod://s3/films/a.mp4");
        assert_eq!((object.endpoint.as_deref(), object.region), (Some("http://10.0.0.7:9000"), None));
        assert_eq!(object.addressing, Addressing::Path);
    }

    #[test]
    fn a_bucket_that_is_named_decides() {
        testing::config(&[("credentials", "a;eu-west-1;;films\nb;eu-west-2;;clips more\nc;us-east-1;;")]);
        assert_eq!(opened("vod://s3/more/a.mp4").credential.as_deref(), Some("b"));
        assert_eq!(opened("vod://s3/films/a.mp4").credential.as_deref(), Some("a"));
        assert_eq!(opened("vod://s3/others/a.mp4").credential.as_deref(), Some("c"));
        testing::config(&[("credentials", "a;eu-west-1;;films")]);
        assert!(denied("vod://s3/others/a.mp4").contains("The bucket others is not granted"));
    }

    #[test]
    fn what_is_missing_or_doubtful_is_said() {
        assert!(denied("vod://s3/b/a.mp4").contains("vod.credentials"));
        testing::config(&[("credentials", "a;eu-west-1;;\nb;eu-west-2;;")]);
        assert!(denied("vod://s3/b/a.mp4").contains("More than one"));
        testing::config(&[("credentials", "ams3;ams3;;")]);
        assert!(denied("vod://s3/b/a.mp4").contains("vod://s3/https://host/b/"));
    }

    #[test]
    fn wrong_uris_are_refused() {
        testing::config(&[("credentials", "eu-west-1;eu-west-1;;")]);
        for uri in [
            "vod://s3/",
            "vod://s3/bucket",
            "vod://s3/bucket/",
            "vod://s3/../key",
            "vod://s3/b%20c/key",
            "vod://s3/bucket/../other/key",
            "vod://s3/bucket/%2e%2e/key",
            "vod://s3/bucket//key",
            "vod://s3/bucket/a%00b",
            "vod://s3/bucket/a\\b",
        ] {
            assert!(matches!(open(uri), Err(Error::Invalid(_))), "{uri}: {:?}", open(uri));
        }
        for uri in
            ["vod://film.mp4", "vod://s3/https://host/bucket/key", "vod://s3/HTTP://host/b/k", "s3://bucket/key", "vod://s3"]
        {
            assert_eq!(open(uri), Err(Error::NotMine), "{uri}");
        }
    }

    #[test]
    fn regions_are_told_from_other_zones() {
        for region in ["eu-central-1", "us-gov-west-1", "ap-southeast-2", "me-south-1", "us-iso-east-10"] {
            assert!(is_region(region), "{region}");
        }
        for zone in ["ams3", "ru-1a", "ru-1", "nyc3", "eu-", "", "eu-central-1a", "EU-central-1"] {
            assert!(!is_region(zone), "{zone}");
        }
    }

    #[test]
    fn prefixes_are_listed_by_the_host() {
        testing::config(&[("credentials", "eu-west-1;eu-west-1;;")]);
        let list = |uri: &str| match S3::list(testing::context(), ListRequest { uri: uri.into(), cursor: None, limit: 10 }) {
            Ok(Listing::Place(Plan::S3(object))) => object.key,
            other => panic!("{uri}: {other:?}"),
        };
        assert_eq!((list("vod://s3/bucket").as_str(), list("vod://s3/bucket/").as_str()), ("", ""));
        assert_eq!(list("vod://s3/bucket/dir%20a/"), "dir a/");
        let stat = S3::stat(testing::context(), Request { uri: "vod://s3/bucket/a.mp4".into(), shared: false });
        assert_eq!(stat, Ok(None));
    }
}
