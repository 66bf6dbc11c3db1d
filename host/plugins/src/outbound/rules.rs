//! Which hosts may be asked: what a URL names, which addresses are private, and what an operator has granted.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Characters of a host name (RFC 1035, section 3.1).
const MAX_NAME: usize = 253;
/// Characters between two dots.
const MAX_LABEL: usize = 63;

/// What may be asked. Whatever a name resolves to is judged address by address, and one that may not be asked spoils the name.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    any_public: bool,
    names: Vec<NameRule>,
    networks: Vec<Network>,
}

#[derive(Clone, Debug)]
struct NameRule {
    /// In lower case, without a dot at its end.
    name: String,
    /// Stands for everything below the name, and not for the name itself.
    wildcard: bool,
    port: Option<u16>,
}

#[derive(Clone, Debug)]
struct Network {
    address: IpAddr,
    prefix: u8,
    port: Option<u16>,
}

impl Rules {
    /// Only what is named: `name`, `*.name` (everything below it), an address, or a network such as `10.0.0.0/8`; names and addresses
    /// also with `:port`, without which any port is meant. Only an address or network entry opens what is private: a name that
    /// resolves to private addresses needs one for them, beside its own.
    ///
    /// # Errors
    /// Says which entry can't be understood, and how it is written.
    pub fn from_hosts(hosts: &[String]) -> Result<Rules, String> {
        Rules::default().with_hosts(hosts)
    }

    /// Every host that is not private.
    pub fn public() -> Rules {
        Rules { any_public: true, ..Rules::default() }
    }

    /// Beside the others these addresses and networks, private or not.
    ///
    /// # Errors
    /// As [`Rules::from_hosts`]; names are none.
    pub fn with_networks(mut self, networks: &[String]) -> Result<Rules, String> {
        for entry in networks {
            let network = parse_network(entry).map_err(|reason| format!("{entry:?} names no network: {reason}"))?;
            self.networks.push(network.ok_or_else(|| {
                format!("{entry:?} names no network: write an address or a network such as 10.0.0.0/8 or fd00::/8")
            })?);
        }
        Ok(self)
    }

    /// Beside the others these hosts, as [`Rules::from_hosts`] takes them.
    ///
    /// # Errors
    /// As [`Rules::from_hosts`].
    pub fn with_hosts(mut self, hosts: &[String]) -> Result<Rules, String> {
        for entry in hosts {
            self.add(entry).map_err(|reason| format!("{entry:?} names no host: {reason}"))?;
        }
        Ok(self)
    }

    fn add(&mut self, entry: &str) -> Result<(), String> {
        if let Some(network) = parse_network(entry)? {
            self.networks.push(network);
            return Ok(());
        }
        let (wildcard, rest) = match entry.strip_prefix("*.") {
            Some(rest) => (true, rest),
            None => (false, entry),
        };
        let (host, port) = split_port(rest)?;
        match parse_host(host)? {
            Host::Name(name) => self.names.push(NameRule { name, wildcard, port }),
            Host::Address(_) if wildcard => return Err("a wildcard stands before a name, not before an address".into()),
            Host::Address(address) => self.networks.push(Network { prefix: width(address), address: judged(address), port }),
        }
        Ok(())
    }

    /// Whether `host` may be asked at all, before anything is resolved, so that nobody learns by resolving.
    pub(super) fn check_host(&self, host: &Host, port: u16) -> Result<(), String> {
        match host {
            Host::Address(address) => self.check_address(host, port, *address),
            Host::Name(_) if self.any_public || self.names_host(host, port) => Ok(()),
            Host::Name(_) => Err("it is not among the granted hosts".into()),
        }
    }

    /// Whether `address`, to which `host` was resolved, may be asked.
    pub(super) fn check_address(&self, host: &Host, port: u16, address: IpAddr) -> Result<(), String> {
        let address = judged(address);
        if self.networks.iter().any(|network| network.contains(address, port)) {
            return Ok(());
        }
        let private = special(address);
        match (private, host) {
            (Some(kind), Host::Name(_)) => {
                Err(format!("it resolves to {kind}, which is reached only when the address or its network is granted"))
            }
            (Some(kind), Host::Address(_)) => Err(format!("it is {kind}, which is reached only when it is granted")),
            (None, _) if self.any_public || self.names_host(host, port) => Ok(()),
            (None, _) => Err("it is not among the granted hosts".into()),
        }
    }

    fn names_host(&self, host: &Host, port: u16) -> bool {
        let Host::Name(name) = host else { return false };
        self.names.iter().any(|rule| {
            let matches = match rule.wildcard {
                true => name.strip_suffix(rule.name.as_str()).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.')),
                false => *name == rule.name,
            };
            matches && rule.port.is_none_or(|own| own == port)
        })
    }
}

impl Network {
    fn contains(&self, address: IpAddr, port: u16) -> bool {
        let same = match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => same_bits(own.to_bits().into(), other.to_bits().into(), 32, self.prefix),
            (IpAddr::V6(own), IpAddr::V6(other)) => same_bits(own.to_bits(), other.to_bits(), 128, self.prefix),
            _ => false,
        };
        same && self.port.is_none_or(|own| own == port)
    }
}

/// Whether the first `prefix` of `width` bits are the same.
fn same_bits(one: u128, other: u128, width: u8, prefix: u8) -> bool {
    prefix == 0 || (one ^ other).checked_shr(u32::from(width.saturating_sub(prefix))).unwrap_or(0) == 0
}

fn width(address: IpAddr) -> u8 {
    // An IPv4 address in IPv6 clothes is granted as the IPv4 address.
    if judged(address).is_ipv4() { 32 } else { 128 }
}

/// `address/prefix`, or a bare IPv6 address, which the colons would make look like a port. `None` is something else.
fn parse_network(entry: &str) -> Result<Option<Network>, String> {
    let Some((address, prefix)) = entry.split_once('/') else {
        return Ok(entry.parse::<IpAddr>().ok().map(|address| Network {
            prefix: width(address),
            address: judged(address),
            port: None,
        }));
    };
    let how = || "write a network as 10.0.0.0/8 or fd00::/8".to_owned();
    let address: IpAddr = address.parse().map_err(|_| how())?;
    let digits = !prefix.is_empty() && prefix.bytes().all(|byte| byte.is_ascii_digit());
    let prefix: u8 = prefix.parse().ok().filter(|_| digits).ok_or_else(how)?;
    if judged(address) != address {
        return Err("it holds an IPv4 address in an IPv6 one: write the IPv4 network".into());
    }
    if prefix > width(address) {
        return Err(format!("the number after the slash may be 0 to {}", width(address)));
    }
    Ok(Some(Network { address, prefix, port: None }))
}

/// What stands between `//` and the path of a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Host {
    /// In lower case, without a dot at its end.
    Name(String),
    Address(IpAddr),
}

/// Splits `host` or `host:port`; an IPv6 address stands in brackets.
pub(super) fn split_port(text: &str) -> Result<(&str, Option<u16>), String> {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.find(']')) {
        Some(end) => {
            let (host, rest) = text.split_at(end + 2);
            match rest.strip_prefix(':') {
                Some(port) => (host, Some(port)),
                None if rest.is_empty() => (host, None),
                None => return Err("after the bracket only :port may follow".into()),
            }
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let Some(port) = port else { return Ok((host, None)) };
    let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    match port.parse::<u16>() {
        Ok(port) if digits && port > 0 => Ok((host, Some(port))),
        _ => Err(format!("{port:?} is no port: it may be 1 to 65535")),
    }
}

/// Reads a host strictly: other programs also take `0x7f.1` or `2130706433` for an address, and this one takes them for nothing.
pub(super) fn parse_host(text: &str) -> Result<Host, String> {
    if let Some(inner) = text.strip_prefix('[') {
        let address = inner.strip_suffix(']').and_then(|inner| inner.parse::<Ipv6Addr>().ok());
        return address
            .map(|address| Host::Address(IpAddr::V6(address)))
            .ok_or_else(|| format!("{text:?} is no IPv6 address in brackets; zones such as %eth0 are not taken"));
    }
    let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    if name.is_empty() {
        return Err("the host is missing".into());
    }
    if let Ok(address) = name.parse::<Ipv4Addr>() {
        return Ok(Host::Address(IpAddr::V4(address)));
    }
    // The WHATWG URL standard takes a host whose last label is a number for an IPv4 address.
    let last = name.rsplit('.').next().unwrap_or_default();
    let hexadecimal = last.strip_prefix("0x").is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
    if hexadecimal || last.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("it looks like an address, and is none: write it as four decimal numbers, without leading zeros".into());
    }
    if name.len() > MAX_NAME {
        return Err(format!("the name has {} characters and may have {MAX_NAME}", name.len()));
    }
    for label in name.split('.') {
        let fits = (1..=MAX_LABEL).contains(&label.len()) && !label.starts_with('-') && !label.ends_with('-');
        if !fits || !label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')) {
            return Err(format!("{label:?} is no part of a host name; other scripts are written in Punycode (xn--…)"));
        }
    }
    Ok(Host::Name(name))
}

/// The address that a packet to `address` ends up at: the IPv4 address in an IPv6 one that only wraps it.
fn judged(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    let segments = v6.segments();
    let last = |bits: u128| Some(Ipv4Addr::from_bits((bits & 0xffff_ffff) as u32));
    let bits = v6.to_bits();
    let inner = match segments {
        // ::a.b.c.d, the deprecated "compatible" form; :: and ::1 are addresses of their own (RFC 4291, section 2.5).
        [0, 0, 0, 0, 0, 0, high, low] if high != 0 || low > 1 => last(bits),
        // ::ffff:a.b.c.d (RFC 4291, section 2.5.5.2) and ::ffff:0:a.b.c.d (RFC 2765).
        [0, 0, 0, 0, 0, 0xffff, ..] | [0, 0, 0, 0, 0xffff, 0, ..] => last(bits),
        // NAT64 (RFC 6052).
        [0x64, 0xff9b, 0, 0, 0, 0, ..] => last(bits),
        // 6to4 (RFC 3056).
        [0x2002, ..] => last(bits >> 80),
        _ => None,
    };
    inner.map_or(address, IpAddr::V4)
}

/// What `address` is when it is not an address on the public Internet (the special-purpose registries of IANA, RFC 6890).
fn special(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(address) => special_v4(address),
        IpAddr::V6(address) => special_v6(address),
    }
}

fn special_v4(address: Ipv4Addr) -> Option<&'static str> {
    Some(match address.octets() {
        [0, ..] => "an address of this network (0.0.0.0/8)",
        [127, ..] => "a loopback address",
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => "a private address",
        [100, 64..=127, ..] => "a shared address of carrier-grade NAT",
        [169, 254, 169, 254] => "the metadata service of a cloud",
        [169, 254, ..] => "a link-local address",
        [192, 0, 0, _] => "an address for protocol assignments",
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => "an address for documentation",
        [192, 88, 99, _] => "an address of 6to4 relays",
        [198, 18 | 19, ..] => "an address for benchmarks",
        [224..=239, ..] => "a multicast address",
        [255, 255, 255, 255] => "the broadcast address",
        [240..=255, ..] => "a reserved address",
        _ => return None,
    })
}

fn special_v6(address: Ipv6Addr) -> Option<&'static str> {
    Some(match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => "the unspecified address",
        [0, 0, 0, 0, 0, 0, 0, 1] => "a loopback address",
        [0xfc00..=0xfdff, ..] => "a unique local address",
        [0xfe80..=0xfebf, ..] => "a link-local address",
        [0xfec0..=0xfeff, ..] => "a site-local address",
        [0xff00..=0xffff, ..] => "a multicast address",
        [0x64, 0xff9b, ..] => "an address of a local NAT64",
        [0x2001, 0xdb8, ..] | [0x3fff, 0..=0x0fff, ..] => "an address for documentation",
        // Teredo, ORCHID, benchmarks and the like (RFC 2928).
        [0x2001, 0..=0x01ff, ..] => "an address for protocol assignments",
        // Everything else that is global unicast lies here (RFC 4291, section 2.5.4).
        [0x2000..=0x3fff, ..] => return None,
        _ => "a reserved address",
    })
}
