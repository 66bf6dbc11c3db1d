//! The addresses of a room and of the ingest.

use flyloft_rooms::{PostState, VideoPost, VideoRoom, VideoRoomState};

use super::{Config, Rooms};

const RTMP_PORT: u16 = 1935;

/// The beginnings of all addresses, without a slash at their end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bases {
    pub http: String,
    pub rtmp: String,
}

/// Where a room can be watched; what its output mode does not have is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoomUrls {
    pub rtmp: Option<String>,
    pub http_flv: Option<String>,
    pub hls: Option<String>,
    pub dash: Option<String>,
    pub watch: Option<String>,
}

/// Where a video post can be watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostUrls {
    pub mp4: String,
    pub hls: String,
    pub dash: String,
    pub thumbnail: String,
}

impl Rooms {
    /// The bases for somebody who reached the server under `host` (with a port, as in the `Host` header).
    pub fn bases(&self, host: Option<&str>, tls: bool) -> Bases {
        bases(&self.config, host, tls)
    }
}

fn bases(config: &Config, host: Option<&str>, tls: bool) -> Bases {
    // A host that is none would be repeated in answers, so it is checked.
    let host = host
        .filter(|host| host.parse::<http::uri::Authority>().is_ok_and(|host| !host.as_str().contains('@')))
        .unwrap_or("localhost");
    let http = config.http_url.clone().unwrap_or_else(|| format!("{}://{host}", if tls { "https" } else { "http" }));
    let rtmp = config.rtmp_url.clone().unwrap_or_else(|| {
        let authority = config.http_url.as_deref().and_then(|url| url.split_once("://")).map_or(host, |(_, rest)| rest);
        let name = authority.parse::<http::uri::Uri>().ok().and_then(|uri| uri.host().map(str::to_owned));
        let name = name.unwrap_or_else(|| "localhost".into());
        match config.rtmp_port {
            RTMP_PORT | 0 => format!("rtmp://{name}"),
            port => format!("rtmp://{name}:{port}"),
        }
    });
    Bases { http, rtmp }
}

impl Bases {
    /// Where encoders push to, without the stream key.
    pub fn ingest(&self) -> String {
        format!("{}/live", self.rtmp)
    }

    /// The addresses of a video post that is ready.
    pub fn post(&self, post: &VideoPost) -> Option<PostUrls> {
        let (http, id) = (&self.http, &post.id);
        (post.state == PostState::Ready).then(|| PostUrls {
            mp4: format!("{http}/posts/{id}.mp4"),
            hls: format!("{http}/posts/{id}/index.m3u8"),
            dash: format!("{http}/posts/{id}/manifest.mpd"),
            thumbnail: format!("{http}/posts/{id}/thumbnail.jpg"),
        })
    }

    /// The addresses of a room: while it is live, for the formats of its output mode. A paused room keeps them, so that players that
    /// wait for the broadcaster still find it.
    pub fn room(&self, room: &VideoRoom) -> Option<RoomUrls> {
        let mode = room.mode.filter(|_| matches!(room.state, VideoRoomState::Live | VideoRoomState::LiveInactive))?;
        let watch = Some(format!("{}/watch/{}", self.http, room.id));
        Some(RoomUrls { watch, ..self.stream(room.id.as_str(), mode.has_rtmp(), mode.has_cmaf()) })
    }

    /// The addresses of a stream by its name, for its outputs.
    pub fn stream(&self, name: &str, has_rtmp: bool, has_cmaf: bool) -> RoomUrls {
        let (http, rtmp) = (&self.http, &self.rtmp);
        let when = |has: bool, url: String| has.then_some(url);
        RoomUrls {
            rtmp: when(has_rtmp, format!("{rtmp}/live/{name}")),
            http_flv: when(has_rtmp, format!("{http}/live/{name}.flv")),
            hls: when(has_cmaf, format!("{http}/live/{name}/index.m3u8")),
            dash: when(has_cmaf, format!("{http}/live/{name}/manifest.mpd")),
            watch: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(http: Option<&str>, rtmp: Option<&str>, rtmp_port: u16) -> Config {
        Config { http_url: http.map(Into::into), rtmp_url: rtmp.map(Into::into), rtmp_port, ..Config::default() }
    }

    #[test]
    fn bases_come_from_the_settings_and_else_from_the_request() {
        let check = |config: Config, host, tls, http: &str, rtmp: &str| {
            assert_eq!(bases(&config, host, tls), Bases { http: http.into(), rtmp: rtmp.into() }, "{config:?} {host:?}");
        };
        check(config(None, None, 1935), Some("a.example:8080"), false, "http://a.example:8080", "rtmp://a.example");
        check(config(None, None, 2000), Some("a.example"), true, "https://a.example", "rtmp://a.example:2000");
        check(config(None, None, 2000), Some("[::1]:8080"), false, "http://[::1]:8080", "rtmp://[::1]:2000");
        check(config(Some("https://v.example"), None, 1935), Some("x"), false, "https://v.example", "rtmp://v.example");
        check(
            config(Some("https://v.example:444"), Some("rtmps://i.example"), 1),
            None,
            false,
            "https://v.example:444",
            "rtmps://i.example",
        );
        check(config(None, None, 1935), Some("a\"><script>"), false, "http://localhost", "rtmp://localhost");
        check(config(None, None, 1935), Some("me@evil"), false, "http://localhost", "rtmp://localhost");
    }
}
