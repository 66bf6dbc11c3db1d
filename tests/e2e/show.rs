//! A live room with a publisher, which most tests begin with.

use anyhow::{Context, Result, ensure};
use flyloft_tests::clip::{Clip, Tag};
use flyloft_tests::contract::{Member, Urls};
use flyloft_tests::push::Push;
use flyloft_tests::rtmp::{Client, kind};
use flyloft_tests::server::Server;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// A server with one live room.
pub struct Show {
    pub server: Server,
    pub member: Member,
    pub room: String,
    pub push: Push,
    pub urls: Urls,
}

impl Show {
    /// Pushes `clip` in a loop to a server with these settings.
    pub fn start(clip: &Clip, settings: &[(&str, &str)]) -> Result<Show> {
        Show::with(settings, |url| Push::looped(clip, url))
    }

    /// As [`Show::start`], with a publisher of one's own.
    pub fn with(settings: &[(&str, &str)], push: impl FnOnce(&str) -> Result<Push>) -> Result<Show> {
        let server = Server::with(settings)?;
        let (member, room) = cast(&server, "ada")?;
        let push = push(&server.push_url(&member))?;
        let urls = server.go_live(&member, &room)?;
        Ok(Show { server, member, room, push, urls })
    }

    pub fn rtmp(&self) -> Result<&str> {
        self.urls.rtmp.as_deref().context("the room has no rtmp URL")
    }

    pub fn flv(&self) -> Result<&str> {
        self.urls.flv.as_deref().context("the room has no httpFlv URL")
    }

    pub fn hls(&self) -> Result<&str> {
        self.urls.hls.as_deref().context("the room has no hls URL")
    }

    pub fn dash(&self) -> Result<&str> {
        self.urls.dash.as_deref().context("the room has no dash URL")
    }

    /// Stops the publisher and ends the room, so that all viewers come to the end of the stream.
    pub fn finish(&mut self) -> Result<()> {
        self.push.signal(flyloft_tests::process::Signal::Interrupt)?;
        self.server.wait_room_state(&self.room, "LIVE_INACTIVE")?;
        self.server.end_room(&self.room, false)?.success()?;
        Ok(())
    }
}

/// A member and a room of that member's.
pub fn cast(server: &Server, app_user_id: &str) -> Result<(Member, String)> {
    let member = server.member(app_user_id)?;
    let room = server.room(app_user_id, &format!("The room of {app_user_id}"))?;
    Ok((member, room))
}

/// Publishes tags by our own RTMP client at the pace of `clock` (milliseconds since the begin, for each tag), and
/// leaves in an orderly way.
pub fn publish(address: SocketAddr, key: &str, tags: &[Tag], clock: &[u32]) -> Result<()> {
    let mut client = Client::connect(address, "live")?;
    let (stream, status) = client.publish(key)?;
    ensure!(status.code == "NetStream.Publish.Start", "the publish was answered with {status:?}");
    // What the server sends meanwhile must be read, or it could block; the connection is ours alone until then.
    let mut drain = client.socket.try_clone()?;
    std::thread::spawn(move || std::io::copy(&mut drain, &mut std::io::sink()));
    let begin = Instant::now();
    for (tag, at) in tags.iter().zip(clock) {
        let due = begin + Duration::from_millis(u64::from(*at));
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        send(&mut client, stream, tag)?;
    }
    client.unpublish(stream)
}

/// Sends one tag on the chunk stream that is usual for its kind.
pub fn send(client: &mut Client, stream: u32, tag: &Tag) -> Result<()> {
    if tag.kind == kind::DATA_AMF0 {
        // "onMetaData" as a file has it is sent as "@setDataFrame", "onMetaData", … by a publisher.
        let mut payload = vec![2, 0, 13];
        payload.extend_from_slice(b"@setDataFrame");
        payload.extend_from_slice(&tag.payload);
        return client.send(3, tag.kind, stream, tag.timestamp, &payload);
    }
    client.send(if tag.kind == kind::VIDEO { 4 } else { 5 }, tag.kind, stream, tag.timestamp, &tag.payload)
}
