//! Byte ranges (RFC 9110, section 14).

#[derive(Debug, PartialEq, Eq)]
pub enum Requested {
    /// From the first offset up to, not including, the second.
    Bytes(u64, u64),
    Unsatisfiable,
    /// Not a single byte range: the whole is sent (section 14.2).
    Ignored,
}

/// What a `Range` header asks of `total` bytes.
pub fn parse(range: &str, total: u64) -> Requested {
    let Some((first, last)) = range.strip_prefix("bytes=").and_then(|range| range.split_once('-')) else {
        return Requested::Ignored;
    };
    let (start, end) = match (first.trim().parse::<u64>(), last.trim().parse::<u64>()) {
        (Ok(first), Ok(last)) if last >= first => (first, last.saturating_add(1).min(total)),
        (Ok(first), Err(_)) if last.trim().is_empty() => (first, total),
        (Err(_), Ok(suffix)) if first.trim().is_empty() => (total.saturating_sub(suffix), total),
        _ => return Requested::Ignored,
    };
    if start < end { Requested::Bytes(start, end) } else { Requested::Unsatisfiable }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        assert_eq!(parse("bytes=0-4", 10), Requested::Bytes(0, 5));
        assert_eq!(parse("bytes=5-", 10), Requested::Bytes(5, 10));
        assert_eq!(parse("bytes=-3", 10), Requested::Bytes(7, 10));
        assert_eq!(parse("bytes=5-99", 10), Requested::Bytes(5, 10));
        assert_eq!(parse("bytes=10-", 10), Requested::Unsatisfiable);
        assert_eq!(parse("bytes=0-1,3-4", 10), Requested::Ignored);
        assert_eq!(parse("items=0-1", 10), Requested::Ignored);
    }
}
