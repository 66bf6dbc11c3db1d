//! The life of a room and of its owner's stream key by REST, with every state of the two tables.

use crate::show::{Show, cast};
use anyhow::{Context, Result, ensure};
use flyloft_tests::clip::Clip;
use flyloft_tests::contract::transitions;
use flyloft_tests::http::Event;
use flyloft_tests::process::Signal;
use flyloft_tests::push::Push;
use flyloft_tests::rtmp::Client;
use flyloft_tests::server::Server;
use flyloft_tests::{PATIENCE, wait_for, wait_until};
use serde_json::Value;

fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(from, to)| ((*from).to_owned(), (*to).to_owned())).collect()
}

/// Waits until the states that a kind of thing went through are exactly these.
fn expect_transitions(server: &Server, kind: &str, expected: &[(&str, &str)]) -> Result<()> {
    let expected = pairs(expected);
    let mut seen = Vec::new();
    wait_for(&format!("the events of {kind} are complete"), PATIENCE, || {
        seen = transitions(&server.events().ok()?, kind);
        (seen.len() >= expected.len()).then_some(())
    })
    .with_context(|| format!("seen {seen:?}"))?;
    ensure!(seen == expected, "{kind} went {seen:?}, expected {expected:?}");
    Ok(())
}

#[test]
fn a_broadcast_goes_through_every_state_and_each_is_in_the_event_feed() -> Result<()> {
    let clip = Clip::h264()?;
    let server = Server::start()?;
    let mut feed = server.api()?.events("/v1/events", None)?;
    let (member, room) = cast(&server, "ada")?;
    ensure!(server.key_state(&member)? == "INACTIVE" && server.room_state(&room)? == "SCHEDULED");

    let early = server.start_room(&room)?.problem(409)?;
    ensure!(early["detail"].as_str().is_some_and(|text| text.contains("INACTIVE")), "{early}");

    let push = Push::looped(&clip, &server.push_url(&member))?;
    let urls = server.go_live(&member, &room)?;
    ensure!(urls.rtmp.is_some() && urls.flv.is_some() && urls.hls.is_some() && urls.dash.is_some(), "{urls:?}");
    server.wait_key_state(&member, "ACTIVE_LIVE")?;
    server.start_room(&room)?.problem(409).context("starting a room twice")?;
    let other = server.room("ada", "A second room at the same time")?;
    server.start_room(&other)?.problem(409).context("a second live room of the same member")?;

    drop(push);
    server.wait_room_state(&room, "LIVE_INACTIVE")?;
    server.wait_key_state(&member, "INACTIVE_LIVE")?;
    let push = Push::looped(&clip, &server.push_url(&member))?;
    server.wait_room_state(&room, "LIVE")?;
    server.wait_key_state(&member, "ACTIVE_LIVE")?;
    drop(push);
    server.wait_room_state(&room, "LIVE_INACTIVE")?;
    server.end_room(&room, false)?.success()?;
    ensure!(server.room_state(&room)? == "ENDED" && server.key_state(&member)? == "INACTIVE");
    ensure!(server.urls(&room)? == Default::default(), "an ended room still shows {:?}", server.urls(&room)?);
    ensure!(server.stream_key(&member.id)?["streamKey"] == member.key.as_str(), "an orderly end must keep the key");
    server.start_room(&room)?.problem(409).context("restarting an ended room")?;

    expect_transitions(
        &server,
        "streamKey",
        &[
            ("INACTIVE", "ACTIVE_PREP"),
            ("ACTIVE_PREP", "ACTIVE"),
            ("ACTIVE", "ACTIVE_LIVE"),
            ("ACTIVE_LIVE", "INACTIVE_LIVE"),
            ("INACTIVE_LIVE", "ACTIVE_LIVE_PREP"),
            ("ACTIVE_LIVE_PREP", "ACTIVE_LIVE"),
            ("ACTIVE_LIVE", "INACTIVE_LIVE"),
            ("INACTIVE_LIVE", "INACTIVE"),
        ],
    )?;
    expect_transitions(
        &server,
        "videoRoom",
        &[
            ("SCHEDULED", "LIVE"),
            ("LIVE", "LIVE_INACTIVE"),
            ("LIVE_INACTIVE", "LIVE"),
            ("LIVE", "LIVE_INACTIVE"),
            ("LIVE_INACTIVE", "ENDED"),
        ],
    )?;
    check_feed(&server, &mut || feed.event(), &room)
}

/// The live feed brings the same events as the list, in the same order; and it can be taken up anywhere.
fn check_feed(server: &Server, next: &mut dyn FnMut() -> Result<Event>, room: &str) -> Result<()> {
    let all = server.events()?;
    ensure!(all.len() > 12, "only {} events", all.len());
    let mut ids = Vec::new();
    for expected in &all {
        let event = next()?;
        let data: Value = serde_json::from_str(&event.data).with_context(|| format!("not JSON: {event:?}"))?;
        ensure!(data["id"] == expected["id"] && data["type"] == expected["type"], "the feed has {data}, the list {expected}");
        ensure!(!event.id.is_empty(), "no id in {event:?}");
        ids.push(event.id);
    }
    let middle = ids.len() / 2;
    let mut rest = server.api()?.events("/v1/events", ids.get(middle).map(String::as_str))?;
    for (id, expected) in ids.iter().zip(&all).skip(middle + 1) {
        let event = rest.event()?;
        ensure!(event.id == *id, "after {} came {event:?}, not {expected}", ids[middle]);
    }
    let of_room = all.iter().filter(|event| event["roomId"] == room).count();
    ensure!(of_room >= 5, "only {of_room} events name the room");
    Ok(())
}

#[test]
fn a_forced_end_disconnects_the_publisher_and_replaces_the_key() -> Result<()> {
    let mut show = Show::start(&Clip::h264()?, &[])?;
    let server = &show.server;
    server.end_room(&show.room, false)?.problem(409).context("ending without force while it streams")?;
    ensure!(server.room_state(&show.room)? == "LIVE");
    server.end_room(&show.room, true)?.success()?;
    ensure!(server.room_state(&show.room)? == "ENDED");
    let push = &mut show.push;
    wait_until("the publisher is disconnected", || !push.running())?;
    let key = server.stream_key(&show.member.id)?;
    ensure!(key["streamKeyState"] == "INACTIVE" && key["streamKey"] != show.member.key.as_str(), "{key}");
    let mut old = Client::connect(server.addresses().rtmp, "live")?;
    let (_, status) = old.publish(&show.member.key)?;
    ensure!(status.level == "error", "the replaced key still publishes: {status:?}");
    let last = transitions(&server.events()?, "streamKey").pop().context("no event of the key")?;
    ensure!(last == ("ACTIVE_LIVE".into(), "INACTIVE".into()), "{last:?}");
    Ok(())
}

#[test]
fn wrong_keys_and_second_publishers_are_told_why() -> Result<()> {
    let clip = Clip::h264()?;
    let mut show = Show::start(&clip, &[])?;
    let viewer = flyloft_tests::watch::Watch::start(show.flv()?)?;
    let mut stranger = Client::connect(show.server.addresses().rtmp, "live")?;
    let (_, status) = stranger.publish("not-a-stream-key")?;
    ensure!(status.level == "error" && status.code.starts_with("NetStream.Publish."), "{status:?}");
    ensure!(!status.description.is_empty() && !status.description.contains("not-a-stream-key"), "{status:?}");

    let mut second = Client::connect(show.server.addresses().rtmp, "live")?;
    let (_, status) = second.publish(&show.member.key)?;
    ensure!(status.level == "error" && status.code.starts_with("NetStream.Publish."), "{status:?}");
    ensure!(!status.description.contains(&show.member.key), "{status:?}");

    let mut lost = Client::connect(show.server.addresses().rtmp, "live")?;
    let (_, status) = lost.play("no-such-room")?;
    ensure!(status.level == "error" && status.code.starts_with("NetStream.Play."), "{status:?}");

    viewer.advance(60)?;
    ensure!(show.push.running(), "the first publisher was disturbed");
    let log = show.server.log();
    ensure!(!log.contains(&show.member.key) && !log.contains("not-a-stream-key"), "a stream key is in the log");
    Ok(())
}

#[test]
fn a_graceful_stop_ends_the_playlists_and_keeps_the_state() -> Result<()> {
    let mut show = Show::start(&Clip::h264()?, &[])?;
    let viewer = flyloft_tests::watch::Watch::start(show.flv()?)?;
    viewer.advance(30)?;
    let status = show.server.stop()?;
    ensure!(status.success(), "the server ended with {status}");
    let seen = viewer.end(PATIENCE)?;
    ensure!(seen.errors.is_empty(), "{}", seen.errors);
    show.push.signal(Signal::Kill)?;
    show.server.restart()?;
    ensure!(show.server.room_state(&show.room)? == "LIVE_INACTIVE");
    ensure!(show.server.key_state(&show.member)? == "INACTIVE_LIVE");
    Ok(())
}
