//! What is played, and how: checked once, and stored as JSON.

use flyloft_rooms::{AccessLevel, Millis, OutputMode};
use serde::{Deserialize, Serialize};

use crate::live::Outputs;

/// Entries of a playlist.
pub const MAX_ITEMS: usize = 1_000;
/// Bytes of a URI.
const MAX_URI: usize = 2_048;
/// Characters of a stream's name.
const MAX_NAME: usize = 128;
/// A stream that many share, and one for one viewer.
const SHARED: &str = "vod-live";
const PERSONAL: &str = "vod";

/// A file of a playlist.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Item {
    pub uri: String,
    /// It begins again at its end, and what follows in the list is never played.
    #[serde(rename = "loop")]
    pub looped: bool,
    /// Milliseconds of its presentation that are passed over; playing begins at the key frame before.
    pub start_offset_ms: u64,
}

/// A stream of recorded files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Spec {
    /// In the order in which they are played.
    pub items: Vec<Item>,
    /// The list begins again at its end.
    #[serde(rename = "loop")]
    pub looped: bool,
    pub mode: OutputMode,
    pub access: AccessLevel,
    /// When it is started; at once where there is none.
    pub start_at: Option<Millis>,
    pub end_at: Option<Millis>,
    /// It is started by whoever wants to watch.
    pub on_demand: bool,
    /// The room that shows it: it is published as the room's owner would, and has the room's addresses.
    #[serde(default)]
    pub room_id: Option<String>,
    /// How long it goes on without a viewer, in milliseconds; 0 for ever, none as the server is configured.
    pub viewer_timeout_ms: Option<u64>,
}

/// What of a request is wrong: the property, and the reason for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    pub field: String,
    pub reason: String,
}

impl Wrong {
    pub fn new(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { field: field.into(), reason: reason.into() }
    }
}

impl Spec {
    /// Whether any number of viewers may watch.
    pub fn is_shared(&self) -> bool {
        self.items.iter().all(|item| is_shared(&item.uri))
    }

    /// A stream for one viewer has no HLS and no MPEG-DASH.
    pub fn outputs(&self) -> Outputs {
        if !self.is_shared() {
            return Outputs { rtmp: true, cmaf: false };
        }
        Outputs { rtmp: self.mode.has_rtmp(), cmaf: self.mode.has_cmaf() }
    }

    pub fn check(&self) -> Result<(), Wrong> {
        if self.items.is_empty() {
            return Err(Wrong::new("playlist", "it has no entry: give at least one file"));
        }
        if self.items.len() > MAX_ITEMS {
            return Err(Wrong::new("playlist", format!("it has {} entries and may have {MAX_ITEMS}", self.items.len())));
        }
        for (index, item) in self.items.iter().enumerate() {
            let field = if self.items.len() == 1 { "uri".to_owned() } else { format!("playlist[{index}].uri") };
            check_uri(&item.uri).map_err(|reason| Wrong::new(&field, reason))?;
            if is_shared(&item.uri) != self.items.first().is_some_and(|first| is_shared(&first.uri)) {
                return Err(Wrong::new(field, "a playlist has either vod:// or vod-live:// in all of its entries"));
            }
        }
        if !self.is_shared() && self.on_demand {
            return Err(Wrong::new("onDemand", "a stream for one viewer (vod://) is not started on demand: write vod-live://"));
        }
        if self.room_id.is_some() && (self.on_demand || !self.is_shared()) {
            return Err(Wrong::new("roomId", "a room shows a stream that many share (vod-live://), and not one on demand"));
        }
        if self.on_demand && self.start_at.is_some() {
            return Err(Wrong::new(
                "startAt",
                "a stream that is started on demand has no time to start at: leave one of them out",
            ));
        }
        match (self.start_at, self.end_at) {
            (Some(start), Some(end)) if end <= start => Err(Wrong::new("endAt", "it is not after startAt")),
            _ => Ok(()),
        }
    }
}

/// Whether a URI makes a stream that many share. Schemes of plugins do.
fn is_shared(uri: &str) -> bool {
    uri.split_once("://").is_none_or(|(scheme, _)| !scheme.eq_ignore_ascii_case(PERSONAL))
}

fn check_uri(uri: &str) -> Result<(), String> {
    if uri.len() > MAX_URI {
        return Err(format!("it has {} bytes and may have {MAX_URI}", uri.len()));
    }
    if uri.chars().any(char::is_control) {
        return Err("it has control characters: write them percent-encoded".to_owned());
    }
    match uri.split_once("://") {
        Some((scheme, rest)) if is_scheme(scheme) && !rest.is_empty() => Ok(()),
        _ => Err(format!(
            "it is no address of a file: write {SHARED}://FILE for a stream that many share, or {PERSONAL}://FILE for one viewer"
        )),
    }
}

/// RFC 3986, section 3.1.
fn is_scheme(text: &str) -> bool {
    text.starts_with(|char: char| char.is_ascii_alphabetic())
        && text.chars().all(|char| char.is_ascii_alphanumeric() || matches!(char, '+' | '-' | '.'))
}

/// A stream's name is a part of its addresses.
pub fn check_name(field: &str, name: &str) -> Result<(), Wrong> {
    let plain = |char: char| char.is_ascii_alphanumeric() || matches!(char, '-' | '_' | '.' | '~');
    if name.is_empty() || name.len() > MAX_NAME || !name.chars().all(plain) || name.starts_with('.') {
        let reason = format!("it must have 1 to {MAX_NAME} letters (A to Z), digits, -, _, . or ~, and not begin with a dot");
        return Err(Wrong::new(field, reason));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) fn spec(uris: &[&str]) -> Spec {
        let item = |uri: &&str| Item { uri: (*uri).to_owned(), looped: false, start_offset_ms: 0 };
        Spec {
            items: uris.iter().map(item).collect(),
            looped: false,
            mode: OutputMode::RtmpCmaf,
            access: AccessLevel::Public,
            start_at: None,
            end_at: None,
            on_demand: false,
            room_id: None,
            viewer_timeout_ms: None,
        }
    }

    #[test]
    fn only_addresses_of_files_are_taken() {
        for good in ["vod://sample.mp4", "vod-live://s3/bucket/a%20b.mp4", "vod-live://s3/https://h/space/k.mp4", "mine://x"] {
            spec(&[good]).check().unwrap();
        }
        for bad in ["", "sample.mp4", "vod://", "://x", "1a://x", "vod-live://a\nb", "vod-live://a\0", &"x".repeat(3_000)] {
            assert_eq!(spec(&[bad]).check().unwrap_err().field, "uri", "{bad:?}");
        }
        assert_eq!(spec(&["vod-live://a", "vod://b"]).check().unwrap_err().field, "playlist[1].uri");
        assert_eq!(spec(&[]).check().unwrap_err().field, "playlist");
    }

    #[test]
    fn a_stream_for_one_viewer_has_no_hls() {
        assert_eq!(spec(&["vod://a"]).outputs(), Outputs { rtmp: true, cmaf: false });
        assert_eq!(spec(&["VOD://a"]).outputs(), Outputs { rtmp: true, cmaf: false });
        assert_eq!(spec(&["vod-live://a"]).outputs(), Outputs { rtmp: true, cmaf: true });
        let hls_only = Spec { mode: OutputMode::Cmaf, ..spec(&["vod-live://a"]) };
        assert_eq!(hls_only.outputs(), Outputs { rtmp: false, cmaf: true });
    }

    #[test]
    fn names_are_parts_of_addresses() {
        for good in ["test", "news-24.hd", "A_1~"] {
            check_name("name", good).unwrap();
        }
        for bad in ["", "..", ".x", "a/b", "a b", "ä", "a?b", &"x".repeat(129)] {
            assert_eq!(check_name("name", bad).unwrap_err().field, "name", "{bad:?}");
        }
    }

    #[test]
    fn times_and_demand_must_fit() {
        let live = spec(&["vod-live://a"]);
        assert_eq!(Spec { start_at: Some(5), end_at: Some(5), ..live.clone() }.check().unwrap_err().field, "endAt");
        assert_eq!(Spec { start_at: Some(5), on_demand: true, ..live }.check().unwrap_err().field, "startAt");
        let in_room = Spec { room_id: Some("r".into()), ..spec(&["vod-live://a"]) };
        in_room.check().unwrap();
        assert_eq!(Spec { on_demand: true, ..in_room }.check().unwrap_err().field, "roomId");
        assert_eq!(Spec { on_demand: true, ..spec(&["vod://a"]) }.check().unwrap_err().field, "onDemand");
    }

    #[test]
    fn what_is_stored_is_read_again() {
        let stored = serde_json::to_string(&spec(&["vod-live://a", "vod-live://b"])).unwrap();
        assert_eq!(serde_json::from_str::<Spec>(&stored).unwrap(), spec(&["vod-live://a", "vod-live://b"]));
    }
}
