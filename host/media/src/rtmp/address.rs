//! Where to publish: an `rtmp://` or `rtmps://` URL taken apart.

/// An RTMP URL: scheme, host, port, application and stream name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// The connection is encrypted (`rtmps`).
    pub tls: bool,
    /// Without the brackets of an IPv6 address.
    pub host: String,
    pub port: u16,
    pub app: String,
    /// The stream name or key with its parameters, as it stands in the URL.
    pub name: String,
}

/// A URL that is no RTMP address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    #[error("the URL begins with neither rtmp:// nor rtmps://: write rtmp://host/application/name")]
    Scheme,
    #[error("the URL has no host: write rtmp://host/application/name")]
    Host,
    #[error("{0:?} is no port: write a number from 1 to 65535")]
    Port(String),
    #[error("the URL names no stream: write rtmp://host/application/name")]
    Name,
}

impl Address {
    /// The application is what stands before the last slash of the path, the name what stands behind it.
    pub fn parse(url: &str) -> Result<Self, AddressError> {
        let (tls, rest) = match url.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("rtmp") => (false, rest),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("rtmps") => (true, rest),
            _ => return Err(AddressError::Scheme),
        };
        let (authority, path) = rest.split_once('/').ok_or(AddressError::Name)?;
        let host_and_port = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        let (host, port) = match host_and_port.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, rest)) => (host, rest.strip_prefix(':')),
            None => host_and_port.split_once(':').map_or((host_and_port, None), |(host, port)| (host, Some(port))),
        };
        if host.is_empty() {
            return Err(AddressError::Host);
        }
        let port = match port {
            None => {
                if tls {
                    443
                } else {
                    1935
                }
            }
            Some(text) => text.parse().ok().filter(|&port| port != 0).ok_or_else(|| AddressError::Port(text.to_owned()))?,
        };
        let end = path.find('?').unwrap_or(path.len());
        let (path, query) = path.split_at(end);
        let path = path.trim_end_matches('/');
        let (app, name) = path.rsplit_once('/').unwrap_or(("", path));
        if name.is_empty() {
            return Err(AddressError::Name);
        }
        Ok(Self { tls, host: host.to_owned(), port, app: app.to_owned(), name: format!("{name}{query}") })
    }

    /// The URL of the application, as `connect` tells it. A default port is left out: some servers compare the text.
    pub fn tc_url(&self) -> String {
        let Self { tls, host, port, app, .. } = self;
        let (scheme, default) = if *tls { ("rtmps", 443) } else { ("rtmp", 1935) };
        let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        match *port == default {
            true => format!("{scheme}://{host}/{app}"),
            false => format!("{scheme}://{host}:{port}/{app}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(url: &str) -> (bool, String, u16, String, String, String) {
        let address = Address::parse(url).unwrap();
        let tc_url = address.tc_url();
        (address.tls, address.host, address.port, address.app, address.name, tc_url)
    }

    #[test]
    fn urls_are_taken_apart() {
        let whole = |tls, host: &str, port, app: &str, name: &str, tc_url: &str| {
            (tls, host.to_owned(), port, app.to_owned(), name.to_owned(), tc_url.to_owned())
        };
        assert_eq!(parts("rtmp://h/live/KEY"), whole(false, "h", 1935, "live", "KEY", "rtmp://h/live"));
        assert_eq!(parts("rtmps://h/live2/a/KEY?x=1/2"), whole(true, "h", 443, "live2/a", "KEY?x=1/2", "rtmps://h/live2/a"));
        assert_eq!(parts("RTMP://u:p@[::1]:99/live/KEY/"), whole(false, "::1", 99, "live", "KEY", "rtmp://[::1]:99/live"));
        assert_eq!(parts("rtmp://h:1936/KEY"), whole(false, "h", 1936, "", "KEY", "rtmp://h:1936/"));
    }

    #[test]
    fn what_is_missing_is_named() {
        assert_eq!(Address::parse("http://h/live/KEY"), Err(AddressError::Scheme));
        assert_eq!(Address::parse("rtmp:///live/KEY"), Err(AddressError::Host));
        assert_eq!(Address::parse("rtmp://h:x/live/KEY"), Err(AddressError::Port("x".into())));
        assert_eq!(Address::parse("rtmp://h:0/live/KEY"), Err(AddressError::Port("0".into())));
        assert_eq!(Address::parse("rtmp://h"), Err(AddressError::Name));
        assert_eq!(
            Address::parse("rtmp://h/live/"),
            Ok(Address { tls: false, host: "h".into(), port: 1935, app: "".into(), name: "live".into() })
        );
        assert_eq!(Address::parse("rtmp://h/?x"), Err(AddressError::Name));
    }
}
