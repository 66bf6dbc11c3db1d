//! Rules that are replaced while the server runs, and rules that misbehave.

use crate::show::Show;
use anyhow::{Result, ensure};
use flyloft_tests::clip::Clip;
use flyloft_tests::guests::component;
use flyloft_tests::push::Push;
use flyloft_tests::rtmp::{Client, Status};
use flyloft_tests::server::Server;
use flyloft_tests::watch::Watch;

fn publish(server: &Server, key: &str) -> Result<Status> {
    Ok(Client::connect(server.addresses().rtmp, "live")?.publish(key)?.1)
}

#[test]
fn a_misbehaving_policy_costs_its_call_only() -> Result<()> {
    let show = Show::start(&Clip::h264()?, &[])?;
    let viewer = Watch::start(show.flv()?)?;
    viewer.advance(30)?;
    let server = &show.server;
    server.put_plugin("room-policy", &component("moody")?)?.success()?;
    let calm = server.member("calm")?;
    for mood in ["loop", "bomb", "trap"] {
        let member = server.member(mood)?;
        let before = server.usage()?.rss;
        for _ in 0..3 {
            let status = publish(server, &member.key)?;
            ensure!(status.level == "error" && status.code.starts_with("NetStream.Publish."), "{mood}: {status:?}");
            ensure!(!status.description.is_empty(), "{mood}: {status:?}");
        }
        ensure!(server.usage()?.rss < before + (96 << 20), "{mood}: memory grew from {before} to {:?}", server.usage()?);
        ensure!(server.key_state(&member)? == "INACTIVE", "{mood}: {}", server.key_state(&member)?);
        ensure!(publish(server, &calm.key)?.code == "NetStream.Publish.Start", "{mood}: a good call after it fails");
        server.wait_key_state(&calm, "INACTIVE")?;
    }
    let banned = server.member("banned")?;
    let status = publish(server, &banned.key)?;
    ensure!(status.level == "error" && status.description.contains("may not"), "{status:?}");
    viewer.advance(60)?;
    let seen = viewer.leave()?;
    // The publisher was interrupted: of its last group some pictures that are shown earlier were never sent.
    let whole = &seen.video[..seen.video.len().saturating_sub(4)];
    let hole = whole.windows(2).find(|pair| pair[1].time - pair[0].time > 0.050);
    ensure!(hole.is_none(), "a viewer missed pictures meanwhile: {hole:?}");
    Ok(())
}

#[test]
fn a_replaced_output_mode_answers_the_next_publish_and_survives_a_restart() -> Result<()> {
    let clip = Clip::h264()?;
    let mut server = Server::start()?;
    let member = server.member("ada")?;
    let outputs = |server: &Server| -> Result<(bool, bool)> {
        let room = server.room("ada", "A room")?;
        let push = Push::looped(&clip, &format!("{}?mode=RTMP", server.push_url(&member)))?;
        let urls = server.go_live(&member, &room)?;
        drop(push);
        server.wait_room_state(&room, "LIVE_INACTIVE")?;
        server.end_room(&room, false)?.success()?;
        server.wait_key_state(&member, "INACTIVE")?;
        Ok((urls.rtmp.is_some(), urls.hls.is_some()))
    };
    ensure!(outputs(&server)? == (true, false), "the built-in rule");
    server.put_plugin("output-mode", &component("only_cmaf")?)?.success()?;
    ensure!(outputs(&server)? == (false, true), "the replaced rule");
    server.kill()?;
    server.restart()?;
    ensure!(outputs(&server)? == (false, true), "the replaced rule after a crash");
    server.operator()?.delete("/v1/plugins/output-mode")?.success()?;
    ensure!(outputs(&server)? == (true, false), "the built-in rule again");
    Ok(())
}

#[test]
fn what_is_no_plugin_is_refused_and_changes_nothing() -> Result<()> {
    let server = Server::start()?;
    let core_module = b"\0asm\x01\0\0\0";
    let empty_component = b"\0asm\x0d\0\x01\0";
    let mut cut = component("moody")?;
    cut.truncate(cut.len() / 2);
    for bytes in [&b"not wasm at all"[..], b"", core_module, empty_component, &cut] {
        let answer = server.put_plugin("room-policy", bytes)?;
        ensure!((400..500).contains(&answer.status), "status {}: {}", answer.status, answer.text());
        answer.problem(answer.status)?;
    }
    let denied = server.api()?.request("PUT", "/v1/plugins/room-policy", &[], Some(&component("moody")?))?;
    denied.problem(403)?;
    let member = server.member("banned")?;
    ensure!(publish(&server, &member.key)?.code == "NetStream.Publish.Start", "the built-in policy is not in force");
    Ok(())
}
