//! Whether a viewer may watch: asks the rooms service, and remembers the answer for a few seconds, because HLS and DASH players
//! ask for their playlist several times a second.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use flyloft_plugins::model::{Limits, Protocol};
use http::{HeaderMap, StatusCode, Uri, header};
use parking_lot::Mutex;

use crate::limits::Enforcer;
use crate::live::{Live, LiveStream, TurnedAway};
use crate::rooms::{OwnStream, PlayAttempt, PlayGrant, Refusal, Rooms};
use crate::vod::{Channel, Vod};

/// How long an answer is used again. A replaced policy takes effect for running HLS and DASH viewers after this.
const REMEMBER: Duration = Duration::from_secs(5);
const MAX_REMEMBERED: usize = 50_000;

/// A request to watch, whatever the output.
#[derive(Clone, Debug)]
pub struct Viewer {
    pub remote: SocketAddr,
    pub user_agent: Option<String>,
    pub token: Option<String>,
    pub parameters: Vec<(String, String)>,
    /// Tells sessions apart: the CMCD session id, else address and player.
    pub session: u64,
}

pub struct Access {
    live: Arc<Live>,
    rooms: Arc<Rooms>,
    vod: Arc<Vod>,
    hasher: RandomState,
    remembered: Mutex<HashMap<u64, Remembered>>,
}

struct Remembered {
    asked: Instant,
    grant: PlayGrant,
    live: Weak<LiveStream>,
}

/// A viewer that may watch, and what it may watch.
#[derive(Clone, Debug)]
pub struct Admission {
    pub live: Arc<LiveStream>,
    pub grant: PlayGrant,
}

impl Admission {
    /// Whether the picture is as large as the viewer may have it. Known when the stream can be joined.
    ///
    /// # Errors
    /// Says how large it is.
    pub fn check_picture(&self) -> Result<(), Refusal> {
        let limits = &self.grant.limits;
        let tracks = self.live.stream.tracks();
        let Some(video) = tracks.iter().find_map(|track| track.video()) else { return Ok(()) };
        Enforcer::new(limits).picture(video.width, video.height).map_err(|_| too_large(video.width, video.height, limits))
    }
}

impl Access {
    pub fn new(live: Arc<Live>, rooms: Arc<Rooms>, vod: Arc<Vod>) -> Self {
        Self { live, rooms, vod, hasher: RandomState::new(), remembered: Mutex::default() }
    }

    pub fn live(&self) -> &Arc<Live> {
        &self.live
    }

    /// Reads who asks from an HTTP request.
    pub fn viewer(&self, remote: SocketAddr, uri: &Uri, headers: &HeaderMap) -> Viewer {
        let user_agent = headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok()).map(|agent| clip(agent, 512));
        let mut token =
            headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer ")).map(str::to_owned);
        let mut parameters = Vec::new();
        let mut session = None;
        for (name, value) in form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).take(32) {
            match &*name {
                "token" => token = Some(value.into_owned()),
                "CMCD" => session = cmcd_session(&value),
                _ if name.starts_with("_HLS_") => {}
                _ => parameters.push((clip(&name, 64), clip(&value, 512))),
            }
        }
        let session = self.hasher.hash_one((session, remote.ip(), &user_agent, &token));
        Viewer { remote, user_agent, token, parameters, session }
    }

    /// Asks anew. For outputs that stay connected.
    pub async fn admit(&self, name: &str, protocol: Protocol, viewer: &Viewer) -> Result<Admission, Refusal> {
        let attempt = self.attempt(name, protocol, viewer);
        let grant = match self.vod.find(name) {
            Some(channel) => self.admit_to_channel(&channel, attempt).await?,
            None => self.rooms.resolve_play(attempt).await?,
        };
        let live = self.live.get(grant.stream.as_str()).ok_or_else(no_stream)?;
        Ok(Admission { live, grant })
    }

    /// A stream of recorded files: it is started where it waits for somebody who wants to watch.
    async fn admit_to_channel(&self, channel: &Channel, attempt: PlayAttempt<'_>) -> Result<PlayGrant, Refusal> {
        let own = OwnStream { id: &channel.id, app_id: &channel.app_id, name: &channel.name, access: channel.spec.access };
        let protocol = attempt.protocol;
        let mut grant = self.rooms.resolve_own_play(own, attempt).await?;
        channel.wake().await?;
        if !channel.spec.is_shared() {
            grant.limits.max_viewers = Some(1);
            // It would count as the one viewer.
            if matches!(protocol, Protocol::Hls | Protocol::Dash) {
                let reason = "this is a stream for one viewer (vod://): it has RTMP and HTTP-FLV, and neither HLS nor MPEG-DASH";
                return Err(Refusal::new(StatusCode::NOT_FOUND, "not-an-output", reason));
            }
            if self.live.get(&channel.name).is_some_and(|live| live.viewers.count() > 0) {
                let reason = "this is a stream for one viewer (vod://), who is watching: start it as vod-live:// to share it";
                return Err(Refusal::new(StatusCode::CONFLICT, "personal-stream", reason));
            }
        }
        Ok(grant)
    }

    /// Uses a fresh answer again. For outputs that ask often.
    pub async fn admit_session(&self, name: &str, protocol: Protocol, viewer: &Viewer) -> Result<Admission, Refusal> {
        let key = self.hasher.hash_one((name, protocol as u8, viewer.session, &viewer.parameters));
        let now = Instant::now();
        let known = self.remembered.lock().get(&key).and_then(|known| {
            Some((now.duration_since(known.asked), Admission { live: known.live.upgrade()?, grant: known.grant.clone() }))
        });
        let admission = match known {
            Some((age, admission)) if age < REMEMBER && !admission.live.stream.is_ended() => admission,
            known => match (self.admit(name, protocol, viewer).await, known) {
                (Ok(admission), _) => {
                    self.remember(key, now, &admission);
                    admission
                }
                // Whoever watched until the end may read the end.
                (Err(_), Some((_, admission))) if admission.live.stream.is_ended() => admission,
                (Err(refusal), _) => return Err(refusal),
            },
        };
        admission.check_picture()?;
        let limits = &admission.grant.limits;
        admission.live.viewers.touch(viewer.session, limits.max_viewers, limits.max_duration).map_err(|away| {
            let (status, code) = match away {
                TurnedAway::Full(_) => (StatusCode::SERVICE_UNAVAILABLE, "viewers-limit"),
                TurnedAway::Over(_) => (StatusCode::FORBIDDEN, "duration-limit"),
            };
            Refusal { status, code: code.into(), reason: away.to_string() }
        })?;
        Ok(admission)
    }

    fn remember(&self, key: u64, now: Instant, admission: &Admission) {
        let mut remembered = self.remembered.lock();
        if remembered.len() >= MAX_REMEMBERED {
            remembered.retain(|_, known| now.duration_since(known.asked) < REMEMBER);
        }
        if remembered.len() < MAX_REMEMBERED {
            let (grant, live) = (admission.grant.clone(), Arc::downgrade(&admission.live));
            remembered.insert(key, Remembered { asked: now, grant, live });
        }
    }

    fn attempt<'a>(&self, name: &'a str, protocol: Protocol, viewer: &'a Viewer) -> PlayAttempt<'a> {
        PlayAttempt {
            name,
            token: viewer.token.as_deref(),
            protocol,
            remote: viewer.remote,
            user_agent: viewer.user_agent.as_deref(),
            parameters: &viewer.parameters,
        }
    }
}

fn too_large(width: u32, height: u32, limits: &Limits) -> Refusal {
    let most = |most: Option<u32>| most.map_or_else(|| "any".to_owned(), |most| most.to_string());
    let (max_width, max_height) = (most(limits.max_width), most(limits.max_height));
    Refusal {
        status: StatusCode::FORBIDDEN,
        code: "resolution-limit".into(),
        reason: format!("the picture is {width}x{height}, and you may watch up to {max_width}x{max_height}"),
    }
}

fn no_stream() -> Refusal {
    Refusal {
        status: StatusCode::NOT_FOUND,
        code: "no-stream".into(),
        reason: "nothing is published under this name right now: try again when the broadcaster is back".into(),
    }
}

/// The `sid` of a CMCD query argument (CTA-5004, section 3.1).
fn cmcd_session(value: &str) -> Option<String> {
    value.split(',').find_map(|pair| pair.strip_prefix("sid=")).map(|sid| clip(sid.trim_matches('"'), 64))
}

fn clip(text: &str, length: usize) -> String {
    text.chars().take(length).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_session_of_cmcd_is_read() {
        assert_eq!(cmcd_session("bl=2100,sid=\"6e2fb550-c457-11e9\",sf=h").as_deref(), Some("6e2fb550-c457-11e9"));
        assert_eq!(cmcd_session("bl=2100"), None);
    }
}
