//! Which outputs a stream gets: `?mode=`, then the key's mode, then the App's.

use crate::show::cast;
use anyhow::{Context, Result, ensure};
use flyloft_tests::clip::Clip;
use flyloft_tests::contract::{Member, stream_key_path};
use flyloft_tests::push::Push;
use flyloft_tests::rtmp::Client;
use flyloft_tests::server::Server;
use serde_json::json;
use std::time::Duration;

/// Pushes, goes live, and checks that exactly the outputs of `mode` are there.
fn check(server: &Server, member: &Member, room: &str, parameters: &str, mode: &str) -> Result<()> {
    let clip = Clip::h264()?;
    let push = Push::looped(&clip, &format!("{}{parameters}", server.push_url(member)))?;
    let urls = server.go_live(member, room)?;
    let (rtmp, cmaf) = (mode != "CMAF", mode != "RTMP");
    ensure!(urls.rtmp.is_some() == rtmp && urls.flv.is_some() == rtmp, "{mode}: {urls:?}");
    ensure!(urls.hls.is_some() == cmaf && urls.dash.is_some() == cmaf, "{mode}: {urls:?}");
    let public = server.public();
    for (path, expected) in [("/index.m3u8", cmaf), ("/manifest.mpd", cmaf), (".flv", rtmp)] {
        let (head, _) = public.stream(&format!("/live/{room}{path}"), &[])?;
        let status = if expected { 200 } else { 404 };
        ensure!(head.status == status, "{mode}: {path} answers {}", head.status);
    }
    let mut player = Client::connect(server.addresses().rtmp, "live")?;
    let (_, status) = player.play(room)?;
    ensure!((status.code == "NetStream.Play.Start") == rtmp, "{mode}: playing by RTMP is answered with {status:?}");
    drop(push);
    server.wait_room_state(room, "LIVE_INACTIVE")?;
    server.end_room(room, false)?.success()?;
    server.wait_key_state(member, "INACTIVE")
}

fn room(server: &Server) -> Result<String> {
    server.room("ada", "Another room")
}

#[test]
fn the_url_goes_before_the_key_and_the_key_before_the_app() -> Result<()> {
    let server = Server::start()?;
    let (member, first) = cast(&server, "ada")?;
    check(&server, &member, &first, "", "RTMP_CMAF").context("nothing is set")?;
    for mode in ["RTMP", "CMAF", "RTMP_CMAF"] {
        check(&server, &member, &room(&server)?, &format!("?mode={mode}"), mode).context("in the URL")?;
    }
    let apps = server.operator()?.get("/v1/apps")?.success()?;
    let app = apps["items"][0]["id"].as_str().with_context(|| format!("no App in {apps}"))?.to_owned();
    server.operator()?.patch(&format!("/v1/apps/{app}"), &json!({"outputMode": "CMAF"}))?.success()?;
    check(&server, &member, &room(&server)?, "", "CMAF").context("the App's mode")?;
    let key = server.api()?.patch(&stream_key_path(&member.id), &json!({"outputMode": "RTMP"}))?.success()?;
    ensure!(key["outputMode"] == "RTMP", "{key}");
    check(&server, &member, &room(&server)?, "", "RTMP").context("the key's mode")?;
    check(&server, &member, &room(&server)?, "?mode=RTMP_CMAF", "RTMP_CMAF").context("the URL over the key")
}

#[test]
fn an_unknown_mode_is_refused_with_a_reason_that_names_it() -> Result<()> {
    let server = Server::start()?;
    let (member, _) = cast(&server, "ada")?;
    let mut client = Client::connect(server.addresses().rtmp, "live")?;
    let (_, status) = client.publish(&format!("{}?mode=HLS", member.key))?;
    ensure!(status.level == "error" && status.code.starts_with("NetStream.Publish."), "{status:?}");
    for word in ["HLS", "RTMP", "CMAF", "RTMP_CMAF"] {
        ensure!(status.description.contains(word), "{word} is not in {status:?}");
    }
    ensure!(!status.description.contains(&member.key), "the stream key is in {status:?}");
    let mut push = Push::start(&Clip::h264()?, &format!("{}?mode=HLS", server.push_url(&member)))?;
    let (status, errors) = push.wait(Duration::from_secs(30))?;
    ensure!(!status.success(), "ffmpeg did not notice: {errors}");
    ensure!(server.key_state(&member)? == "INACTIVE");
    Ok(())
}
