//! `[[vod.channels]]`: recorded files that are always there, and are played when somebody wants to watch.

use anyhow::{Result, bail};
use flyloft_rooms::{AccessLevel, OutputMode};
use serde::{Deserialize, Serialize};

use crate::vod::{Configured, Item, Spec, check_name};

/// A channel: a name and one file, or a playlist.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Channel {
    /// A part of the addresses where it is watched.
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub playlist: Vec<Entry>,
    /// All of it begins again at its end; `vod.loop` where it is left out.
    #[serde(default, rename = "loop", skip_serializing_if = "Option::is_none")]
    pub looped: Option<bool>,
    /// `RTMP_CMAF` where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<OutputMode>,
    /// `PUBLIC` where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_level: Option<AccessLevel>,
    /// Instead of `vod.stream_timeout_ms`; 0 plays on for ever once somebody has watched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream_timeout_ms: Option<u64>,
}

/// A file of a playlist.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    pub uri: String,
    #[serde(default, rename = "loop")]
    pub looped: bool,
    #[serde(default)]
    pub start_offset_ms: u64,
}

impl Channel {
    /// What is to be played.
    ///
    /// # Errors
    /// Says which field can't be used.
    pub fn configured(&self, default_loop: bool) -> Result<Configured> {
        let items: Vec<Item> = match (&self.uri, self.playlist.as_slice()) {
            (Some(uri), []) => vec![Item { uri: uri.clone(), looped: false, start_offset_ms: 0 }],
            (None, entries @ [_, ..]) => {
                let item =
                    |entry: &Entry| Item { uri: entry.uri.clone(), looped: entry.looped, start_offset_ms: entry.start_offset_ms };
                entries.iter().map(item).collect()
            }
            _ => bail!("either uri or playlist must be set"),
        };
        let spec = Spec {
            items,
            looped: self.looped.unwrap_or(default_loop),
            mode: self.mode.unwrap_or(OutputMode::RtmpCmaf),
            access: self.access_level.unwrap_or(AccessLevel::Public),
            start_at: None,
            end_at: None,
            on_demand: true,
            room_id: None,
            viewer_timeout_ms: self.stream_timeout_ms,
        };
        for checked in [check_name("name", &self.name), spec.check()] {
            if let Err(wrong) = checked {
                bail!("{}: {}", wrong.field, wrong.reason);
            }
        }
        Ok(Configured { name: self.name.clone(), spec })
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    fn error(toml: &str) -> String {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), toml).unwrap();
        format!("{:#}", Config::load(file.path(), true, std::iter::empty(), &[]).unwrap_err())
    }

    #[test]
    fn channels_name_what_is_wrong_with_them() {
        let channel = |fields: &str| error(&format!("[[vod.channels]]\n{fields}\n"));
        assert!(channel("name = 'a/b'\nuri = 'vod-live://x'").contains("vod.channels[0]: name:"));
        assert!(channel("name = 'a'").contains("either uri or playlist"));
        assert!(channel("name = 'a'\nuri = 'x.mp4'").contains("vod.channels[0]: uri:"));
        assert!(channel("name = 'a'\nuri = 'vod://x'").contains("onDemand"));
        assert!(channel("name = 'a'\nuri = 'vod-live://x'\nlop = true").contains("lop"));
        let twice = "[[vod.channels]]\nname = 'a'\nuri = 'vod-live://x'\n".repeat(2);
        assert!(error(&twice).contains("two channels with the name \"a\""));
    }
}
