//! The names of a stream's playlists and media, as they stand in URIs relative to the multivariant playlist.

use crate::track::MediaKind;

/// What a path below a stream's address names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resource {
    /// `index.m3u8`
    Multivariant,
    /// `video.m3u8`, `audio.m3u8`
    Media(MediaKind),
    /// `manifest.mpd`
    Mpd,
    /// `timeline.mpd`
    TimelineMpd,
    /// `{stamp}/video/init-{version}.mp4`
    Init { stamp: String, kind: MediaKind, version: u32 },
    /// `{stamp}/video/{msn}.m4s`
    Segment { stamp: String, kind: MediaKind, msn: u64 },
    /// `{stamp}/video/{msn}.{part}.m4s`
    Part { stamp: String, kind: MediaKind, msn: u64, part: u64 },
}

/// Reads a path below a stream's address, without query and leading slash.
pub fn parse_path(path: &str) -> Option<Resource> {
    match path {
        "index.m3u8" => return Some(Resource::Multivariant),
        "video.m3u8" => return Some(Resource::Media(MediaKind::Video)),
        "audio.m3u8" => return Some(Resource::Media(MediaKind::Audio)),
        "manifest.mpd" => return Some(Resource::Mpd),
        "timeline.mpd" => return Some(Resource::TimelineMpd),
        _ => {}
    }
    let mut words = path.split('/');
    let (stamp, kind, file) = (words.next()?, words.next()?, words.next()?);
    if words.next().is_some() || stamp.is_empty() {
        return None;
    }
    let kind = match kind {
        "video" => MediaKind::Video,
        "audio" => MediaKind::Audio,
        _ => return None,
    };
    let stamp = stamp.to_owned();
    if let Some(version) = file.strip_prefix("init-") {
        let version = u32::try_from(number(version.strip_suffix(".mp4")?)?).ok()?;
        return Some(Resource::Init { stamp, kind, version });
    }
    let name = file.strip_suffix(".m4s")?;
    Some(match name.split_once('.') {
        None => Resource::Segment { stamp, kind, msn: number(name)? },
        Some((msn, part)) => Resource::Part { stamp, kind, msn: number(msn)?, part: number(part)? },
    })
}

/// Digits only: one resource has one name, so that caches hold it once.
fn number(text: &str) -> Option<u64> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| plain)
}

pub(crate) const fn name(kind: MediaKind) -> &'static str {
    match kind {
        MediaKind::Video => "video",
        MediaKind::Audio => "audio",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_resource_has_one_name() {
        let stamp = || "x1".to_owned();
        let kind = MediaKind::Video;
        assert_eq!(parse_path("index.m3u8"), Some(Resource::Multivariant));
        assert_eq!(parse_path("audio.m3u8"), Some(Resource::Media(MediaKind::Audio)));
        assert_eq!(parse_path("x1/video/init-3.mp4"), Some(Resource::Init { stamp: stamp(), kind, version: 3 }));
        assert_eq!(parse_path("x1/video/0.m4s"), Some(Resource::Segment { stamp: stamp(), kind, msn: 0 }));
        assert_eq!(parse_path("x1/video/12.0.m4s"), Some(Resource::Part { stamp: stamp(), kind, msn: 12, part: 0 }));
        for wrong in [
            "",
            "x1",
            "/video/1.m4s",
            "x1/video/",
            "x1/video/01.m4s",
            "x1/video/+1.m4s",
            "x1/video/1.2.3.m4s",
            "x1/text/1.m4s",
            "x1/video/1.m4s/",
            "x1/video/99999999999999999999.m4s",
            "x1/video/init-.mp4",
            "x1/video/.m4s",
        ] {
            assert_eq!(parse_path(wrong), None, "{wrong}");
        }
    }
}
