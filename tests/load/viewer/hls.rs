//! A low-latency HLS player as the server sees it: one connection that asks for the playlist with blocking reload, and
//! then for each new part. Nothing is decoded.

use super::response::Response;
use anyhow::{Context, Result, ensure};
use std::collections::VecDeque;

/// What was asked for last.
#[derive(Clone, Debug, PartialEq)]
enum Asked {
    Multivariant,
    Playlist,
    Part,
}

/// Bytes of responses in, requests out.
pub struct Session {
    asked: Asked,
    response: Response,
    body: Vec<u8>,
    /// Path of the last document that URIs are relative to.
    base: String,
    /// The media playlist's path.
    media: String,
    waiting: VecDeque<String>,
    /// The newest part that was seen in a playlist.
    newest: Option<String>,
    /// The address of the next reload.
    next: String,
}

impl Session {
    /// Begins with the multivariant playlist, whose path is given; the first request is [`Session::request`] with it.
    pub fn new(path: &str) -> Session {
        Session {
            asked: Asked::Multivariant,
            response: Response::default(),
            body: Vec::new(),
            base: path.to_owned(),
            media: String::new(),
            waiting: VecDeque::new(),
            newest: None,
            next: String::new(),
        }
    }

    /// Takes received bytes. Gives the path of the next request when the response is complete, and says if the bytes were media.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(Option<String>, bool)> {
        let media = self.asked == Asked::Part;
        if media {
            self.body.clear();
        }
        self.response.push(bytes, &mut self.body)?;
        if !self.response.done() {
            return Ok((None, media));
        }
        self.response = Response::default();
        let body = std::mem::take(&mut self.body);
        match self.asked {
            Asked::Multivariant => {
                let text = String::from_utf8_lossy(&body);
                let mut lines = text.lines().skip_while(|line| !line.starts_with("#EXT-X-STREAM-INF:"));
                let uri = lines.nth(1).context("the multivariant playlist names no variant")?;
                self.media = resolve(&self.base, uri);
                self.next = self.media.clone();
            }
            Asked::Playlist => self.playlist(&String::from_utf8_lossy(&body))?,
            Asked::Part => {}
        }
        let path = match self.waiting.pop_front() {
            Some(part) => {
                self.asked = Asked::Part;
                part
            }
            None => {
                self.asked = Asked::Playlist;
                self.next.clone()
            }
        };
        Ok((Some(path), media))
    }

    fn playlist(&mut self, text: &str) -> Result<()> {
        ensure!(!text.contains("#EXT-X-ENDLIST"), "the stream has ended");
        let sequence = text.lines().find_map(|line| line.strip_prefix("#EXT-X-MEDIA-SEQUENCE:"));
        let mut msn: u64 = sequence.context("the playlist has no media sequence")?.trim().parse()?;
        let mut parts_of_segment = 0;
        let mut parts = Vec::new();
        for line in text.lines() {
            if line.starts_with("#EXTINF:") {
                msn += 1;
                parts_of_segment = 0;
            } else if let Some(attributes) = line.strip_prefix("#EXT-X-PART:") {
                parts_of_segment += 1;
                let uri = attributes.split("URI=\"").nth(1).and_then(|rest| rest.split('"').next());
                parts.push(resolve(&self.media, uri.context("a part without URI")?));
            }
        }
        ensure!(!parts.is_empty(), "the playlist has no parts");
        // At first only the newest part is fetched: that is where a player with the lowest latency begins.
        let seen = match &self.newest {
            Some(newest) => {
                parts.iter().position(|part| part == newest).context("the playlist has moved on past the last part")?
            }
            None => parts.len().saturating_sub(2),
        };
        self.waiting.extend(parts.iter().skip(seen + 1).cloned());
        self.newest = parts.pop();
        let separator = if self.media.contains('?') { '&' } else { '?' };
        self.next = format!("{}{separator}_HLS_msn={msn}&_HLS_part={parts_of_segment}", self.media);
        Ok(())
    }
}

/// The path that `uri` means in the document at `base`; both on the same host.
fn resolve(base: &str, uri: &str) -> String {
    if let Some((_, rest)) = uri.split_once("://") {
        return rest.find('/').map_or("/", |at| &rest[at..]).to_owned();
    }
    if uri.starts_with('/') {
        return uri.to_owned();
    }
    let path = base.split('?').next().unwrap_or_default();
    format!("{}/{uri}", &path[..path.rfind('/').unwrap_or(0)])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn answer(session: &mut Session, body: &str) -> Option<String> {
        let response = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        session.push(response.as_bytes()).unwrap().0
    }

    #[test]
    fn a_session_follows_the_parts() {
        let mut session = Session::new("/live/room/index.m3u8?token=t");
        let multivariant = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nvideo.m3u8?token=t\n";
        assert_eq!(answer(&mut session, multivariant).unwrap(), "/live/room/video.m3u8?token=t");
        let first = "#EXT-X-MEDIA-SEQUENCE:4\n#EXT-X-PART:DURATION=1,URI=\"a/4.0.m4s\"\n#EXTINF:1,\na/4.m4s\n\
                     #EXT-X-PART:DURATION=1,URI=\"a/5.0.m4s\"\n";
        assert_eq!(answer(&mut session, first).unwrap(), "/live/room/a/5.0.m4s");
        let next = answer(&mut session, "media").unwrap();
        assert_eq!(next, "/live/room/video.m3u8?token=t&_HLS_msn=5&_HLS_part=1");
        let second =
            format!("{first}#EXT-X-PART:DURATION=1,URI=\"a/5.1.m4s\"\n#EXTINF:1,\na/5.m4s\n#EXT-X-PART:URI=\"/b/6.0.m4s\"\n");
        assert_eq!(answer(&mut session, &second).unwrap(), "/live/room/a/5.1.m4s");
        assert_eq!(answer(&mut session, "media").unwrap(), "/b/6.0.m4s");
        assert_eq!(answer(&mut session, "media").unwrap(), "/live/room/video.m3u8?token=t&_HLS_msn=6&_HLS_part=1");
    }

    #[test]
    fn an_ended_playlist_and_a_lost_place_are_errors() {
        let mut session = Session::new("/index.m3u8");
        session.asked = Asked::Playlist;
        assert!(session.playlist("#EXT-X-MEDIA-SEQUENCE:4\n#EXT-X-ENDLIST\n").is_err());
        session.newest = Some("/1.0.m4s".into());
        assert!(session.playlist("#EXT-X-MEDIA-SEQUENCE:4\n#EXT-X-PART:URI=\"9.0.m4s\"\n").is_err());
    }
}
