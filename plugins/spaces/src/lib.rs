//! The built-in source for objects of S3-compatible stores that the URI names itself: `vod://s3/https://host/bucket/dir/film.mp4`, as
//! with DigitalOcean Spaces and Selectel. Credentials are found by the store: by their endpoint, or, at stores that are known, by
//! the zone in the host's name. Where there are none for it, it is asked without.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod providers;

use flyloft_plugin::stores::{self, Named};
use flyloft_plugin::vod_source::{
    Addressing, ByteRange, Context, Error, FileInfo, ListRequest, Listing, Plan, Request, S3Object, VodSource, decoded,
    decoded_place, rest,
};
use providers::Place;

struct Spaces;

impl VodSource for Spaces {
    fn open(_context: Context, request: Request) -> Result<Plan, Error> {
        let address = Address::of(&request.uri)?;
        let key = decoded(address.key)?;
        address.object(key)
    }

    fn stat(context: Context, request: Request) -> Result<Option<FileInfo>, Error> {
        Spaces::open(context, request).map(|_| None)
    }

    fn list(_context: Context, request: ListRequest) -> Result<Listing, Error> {
        let address = Address::of(&request.uri)?;
        let directory = match decoded_place(address.key)? {
            whole if whole.is_empty() => whole,
            directory => directory + "/",
        };
        address.object(directory).map(Listing::Place)
    }

    fn read(_context: Context, _range: ByteRange) -> Result<Vec<u8>, Error> {
        Err(Error::Invalid("This source makes no bytes itself: the host reads its objects.".to_owned()))
    }
}

flyloft_plugin::export_vod_source!(Spaces);

/// A URI of this plugin, taken apart.
struct Address<'a> {
    /// Scheme, host and port of the store, in lower case.
    endpoint: String,
    zone: Option<String>,
    addressing: Addressing,
    bucket: &'a str,
    /// Still encoded.
    key: &'a str,
}

impl<'a> Address<'a> {
    fn of(uri: &'a str) -> Result<Address<'a>, Error> {
        let url = rest(uri).and_then(|rest| rest.strip_prefix("s3/")).ok_or(Error::NotMine)?;
        let (scheme, rest) = url.split_once("://").ok_or(Error::NotMine)?;
        let scheme = scheme.to_ascii_lowercase();
        if !matches!(scheme.as_str(), "http" | "https") {
            return Err(Error::NotMine);
        }
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (host, port) = split_port(authority)?;
        if path.contains(['?', '#']) {
            return wrong(
                "has a query or a fragment: leave it away, and write ? as %3F and # as %23 where they are part of a name",
            );
        }
        let provider = providers::find(host);
        let named = provider.as_ref().and_then(|place| place.bucket);
        let (addressing, bucket, key) = match named {
            // The bucket stands in the host's name.
            Some(bucket) => (Addressing::VirtualHost, bucket, path),
            None => {
                let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
                (Addressing::Path, bucket, key)
            }
        };
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
        if !(1..=255).contains(&bucket.len()) || !bucket.bytes().all(plain) || matches!(bucket, "." | "..") {
            return wrong("names no bucket: write vod://s3/https://host/bucket/dir/film.mp4");
        }
        let store = provider.as_ref().map_or(host, |place| place.host);
        let port = port.map(|port| format!(":{port}")).unwrap_or_default();
        let zone = provider.as_ref().and_then(|place: &Place<'_>| place.zone).map(str::to_ascii_lowercase);
        Ok(Address { endpoint: format!("{scheme}://{}{port}", store.to_ascii_lowercase()), zone, addressing, bucket, key })
    }

    fn object(self, key: String) -> Result<Plan, Error> {
        let credentials = self.credentials()?;
        let (credential, zone) = credentials.map_or((None, None), |named| (Some(named.name), named.zone));
        Ok(Plan::S3(S3Object {
            bucket: self.bucket.to_owned(),
            key,
            endpoint: Some(self.endpoint),
            region: zone.or(self.zone),
            addressing: self.addressing,
            credential,
        }))
    }

    /// The first credentials for the store that open the bucket. None when the server has none for the store.
    fn credentials(&self) -> Result<Option<Named>, Error> {
        let all = stores::credentials();
        let fitting: Vec<&Named> = all.iter().filter(|named| self.is_for(named)).collect();
        if let Some(named) = fitting.iter().find(|named| named.opens(self.bucket)) {
            return Ok(Some((*named).clone()));
        }
        match fitting.first() {
            None => Ok(None),
            Some(named) => Err(Error::Denied(format!(
                "The bucket {} is not granted: the server's credentials {} do not name it in their `buckets`.",
                self.bucket, named.name
            ))),
        }
    }

    /// Whether credentials are for this store. Their zone counts only where the host's name is a known store's: nobody else
    /// is to see requests that are signed with them.
    fn is_for(&self, named: &Named) -> bool {
        match (&named.endpoint, &named.zone, &self.zone) {
            (Some(endpoint), _, _) => canonical(endpoint) == canonical(&self.endpoint),
            (None, Some(own), Some(zone)) => own.eq_ignore_ascii_case(zone),
            _ => false,
        }
    }
}

/// An endpoint without what says nothing: capitals, the port of its scheme, a slash at its end.
fn canonical(endpoint: &str) -> String {
    let endpoint = endpoint.trim_end_matches('/').to_ascii_lowercase();
    let port = if endpoint.starts_with("https:") { ":443" } else { ":80" };
    endpoint.strip_suffix(port).map(str::to_owned).unwrap_or(endpoint)
}

/// Splits `host` or `host:port`; an IPv6 address stands in brackets.
fn split_port(authority: &str) -> Result<(&str, Option<u16>), Error> {
    if authority.contains('@') {
        return wrong("has a user or a password: name credentials in the server's vod.credentials instead");
    }
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (authority, None),
    };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':' | b'[' | b']');
    if host.is_empty() || host.len() > 253 || !host.bytes().all(plain) {
        return wrong("names no host: write vod://s3/https://host/bucket/dir/film.mp4");
    }
    match port.map(str::parse::<u16>).transpose() {
        Ok(port) if port != Some(0) => Ok((host, port)),
        _ => wrong("has a port that is none: it may be 1 to 65535"),
    }
}

fn wrong<T>(what: &str) -> Result<T, Error> {
    Err(Error::Invalid(format!("The store's address in the URI {what}.")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use flyloft_plugin::testing;

    fn open(url: &str) -> Result<Plan, Error> {
        Spaces::open(testing::context(), Request { uri: format!("vod-live://s3/{url}"), shared: true })
    }

    fn opened(url: &str) -> S3Object {
        match open(url) {
            Ok(Plan::S3(object)) => object,
            other => panic!("{url}: {other:?}"),
        }
    }

    #[test]
    fn spaces_of_digital_ocean() {
        testing::config(&[("credentials", "ams3;ams3;;\nnyc3;nyc3;;")]);
        let object = opened("https://ams3.digitaloceanspaces.com/myspace/folder/a%20file.mp4");
        assert_eq!((object.bucket.as_str(), object.key.as_str()), ("myspace", "folder/a file.mp4"));
        assert_eq!(object.endpoint.as_deref(), Some("https://ams3.digitaloceanspaces.com"));
        assert_eq!((object.region.as_deref(), object.credential.as_deref()), (Some("ams3"), Some("ams3")));
        assert_eq!(object.addressing, Addressing::Path);
        let object = opened("https://myspace.NYC3.digitaloceanspaces.com/folder/file.mp4");
        assert_eq!((object.bucket.as_str(), object.key.as_str()), ("myspace", "folder/file.mp4"));
        assert_eq!(object.endpoint.as_deref(), Some("https://nyc3.digitaloceanspaces.com"));
        assert_eq!((object.addressing, object.credential.as_deref()), (Addressing::VirtualHost, Some("nyc3")));
    }

    #[test]
    fn selectel_and_amazon() {
        testing::config(&[("credentials", "ru-1a;ru-1a;;\neu-central-1;eu-central-1;;")]);
        let object = opened("https://s3.selcdn.ru/mystorage/file.mp4");
        assert_eq!((object.region.as_deref(), object.credential.as_deref()), (Some("ru-1a"), Some("ru-1a")));
        let object = opened("https://s3.eu-central-1.amazonaws.com/bucket/file.mp4");
        assert_eq!(object.credential.as_deref(), Some("eu-central-1"));
    }

    #[test]
    fn a_store_of_ones_own_is_known_by_its_endpoint() {
        testing::config(&[("credentials", "minio;eu;http://Store.example:9000/;films\nother;;https://o.example;")]);
        let object = opened("http://store.example:9000/films/a.mp4");
        assert_eq!((object.region.as_deref(), object.credential.as_deref()), (Some("eu"), Some("minio")));
        assert_eq!(opened("https://o.example:443/b/a.mp4").credential.as_deref(), Some("other"));
        assert_eq!(opened("http://o.example/b/a.mp4").credential, None);
        match open("http://store.example:9000/secrets/a.mp4") {
            Err(Error::Denied(reason)) => assert!(reason.contains("bucket secrets is not granted"), "{reason}"),
            other => panic!("{other:?}"),
        }
        assert_eq!(opened("http://[::1]:9000/b/a.mp4").endpoint.as_deref(), Some("http://[::1]:9000"));
    }

    #[test]
    fn strangers_get_no_signed_requests() {
        testing::config(&[("credentials", "ams3;ams3;;\nru-1a;ru-1a;;")]);
        for host in ["ams3.evil.example", "ams3.digitaloceanspaces.com.evil.example", "digitaloceanspaces.com", "xs3.selcdn.ru"] {
            assert_eq!(opened(&format!("https://{host}/b/a.mp4")).credential, None, "{host}");
        }
    }

    #[test]
    fn wrong_uris_are_refused() {
        for url in [
            "https://",
            "https://host",
            "https://host/bucket",
            "https://host/bucket/",
            "https://host/../key",
            "https://host/bucket/../other/key",
            "https://host/bucket/%2e%2e/key",
            "https://host/bucket//key",
            "https://host/bucket/a%00b",
            "https://host/bucket/a\\b",
            "https://host/bucket/a.mp4?X-Amz-Signature=1",
            "https://user:password@host/bucket/a.mp4",
            "https://host:0/bucket/a.mp4",
            "https://host:x/bucket/a.mp4",
            "https://ho st/bucket/a.mp4",
        ] {
            assert!(matches!(open(url), Err(Error::Invalid(_))), "{url}: {:?}", open(url));
        }
        for url in ["bucket/key.mp4", "ftp://host/b/k", "https:/host/b/k"] {
            assert_eq!(open(url), Err(Error::NotMine), "{url}");
        }
        let foreign = Request { uri: "vod://film.mp4".into(), shared: false };
        assert_eq!(Spaces::open(testing::context(), foreign), Err(Error::NotMine));
    }

    #[test]
    fn prefixes_are_listed_by_the_host() {
        let ask = ListRequest { uri: "vod://s3/https://o.example/b/dir/".into(), cursor: None, limit: 10 };
        match Spaces::list(testing::context(), ask) {
            Ok(Listing::Place(Plan::S3(object))) => assert_eq!((object.bucket.as_str(), object.key.as_str()), ("b", "dir/")),
            other => panic!("{other:?}"),
        }
    }
}
