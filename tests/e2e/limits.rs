//! Every limit of a policy's answer is kept by the host, whatever the protocol.

use crate::show::cast;
use anyhow::{Context, Result, ensure};
use flyloft_tests::clip::Clip;
use flyloft_tests::guests::component;
use flyloft_tests::http::Response;
use flyloft_tests::push::Push;
use flyloft_tests::rtmp::Client;
use flyloft_tests::server::Server;
use flyloft_tests::watch::Watch;
use flyloft_tests::{PATIENCE, wait_for};
use std::io::Read;

/// An answer with this status that says by its type why.
fn refused(answer: &Response, status: u16, code: &str) -> Result<()> {
    let problem = answer.problem(status)?;
    ensure!(problem["type"].as_str().is_some_and(|kind| kind.ends_with(&format!(":{code}"))), "{problem}");
    Ok(())
}

fn limited(server: &Server) -> Result<()> {
    server.put_plugin("limited", &component("limited")?)?.success()?;
    Ok(())
}

/// A live show of the member `who`, within what the policy allows.
fn show(who: &str) -> Result<(Server, Push, flyloft_tests::contract::Urls)> {
    let server = Server::start()?;
    limited(&server)?;
    let (member, room) = cast(&server, who)?;
    let push = Push::looped(&Clip::h264()?, &server.push_url(&member))?;
    let urls = server.go_live(&member, &room)?;
    Ok((server, push, urls))
}

#[test]
fn a_publisher_that_sends_nothing_ends_when_its_time_is_over() -> Result<()> {
    let server = Server::with(&[("live.stall_timeout_ms", "600000")])?;
    limited(&server)?;
    let member = server.member("brief")?;
    let mut client = Client::connect(server.addresses().rtmp, "live")?;
    let status = client.publish(&member.key)?.1;
    ensure!(status.code == "NetStream.Publish.Start", "{status:?}");
    // Silence from here on.
    let status = client.status()?;
    ensure!(status.description.contains("as long as it may: 1500 ms"), "{status:?}");
    server.wait_key_state(&member, "INACTIVE")
}

#[test]
fn a_publisher_that_sends_on_ends_when_its_time_is_over() -> Result<()> {
    let server = Server::start()?;
    limited(&server)?;
    let member = server.member("brief")?;
    let mut push = Push::looped(&Clip::h264()?, &server.push_url(&member))?;
    push.wait(PATIENCE).context("the endless push ends")?;
    server.wait_key_state(&member, "INACTIVE")
}

#[test]
fn a_picture_and_a_bit_rate_that_are_too_high_end_the_publish() -> Result<()> {
    let server = Server::start()?;
    limited(&server)?;
    for (who, why) in [("small", "lower the resolution"), ("thin", "bit rate over ten seconds")] {
        let member = server.member(who)?;
        let mut push = Push::looped(&Clip::h264()?, &server.push_url(&member))?;
        push.wait(PATIENCE).with_context(|| format!("{who}: the endless push ends"))?;
        server.wait_key_state(&member, "INACTIVE")?;
        let ended = wait_for("the event of the end", PATIENCE, || {
            let events = server.events().ok()?;
            events.iter().rev().find_map(|event| Some(event["reason"].as_str().filter(|text| text.contains(why))?.to_owned()))
        });
        ended.with_context(|| format!("{who}: no event says {why:?}"))?;
    }
    Ok(())
}

#[test]
fn viewers_are_limited_over_all_protocols_together() -> Result<()> {
    let (server, _push, urls) = show("few")?;
    let (flv, rtmp, hls) = (urls.flv.context("no FLV")?, urls.rtmp.context("no RTMP")?, urls.hls.context("no HLS")?);
    let path = |url: &str| url.trim_start_matches(&server.base()).to_owned();
    // One by FLV, one by HLS; the third, by RTMP, is one too many, and so is a fourth by DASH.
    let first = Watch::start(&flv)?;
    first.advance(1)?;
    let http = server.public();
    let listed = wait_for("the HLS session is let in", PATIENCE, || {
        let answer = http.get(&path(&hls)).ok()?;
        (answer.status == 200).then_some(())
    });
    listed?;
    let mut third = Client::connect(server.addresses().rtmp, "live")?;
    let name = rtmp.rsplit('/').next().context("no name")?.to_owned();
    ensure!(third.play(&name).is_err() || third.message().is_err(), "a third viewer is let in by RTMP");
    let dash = path(&urls.dash.context("no DASH")?);
    refused(&http.request("GET", &dash, &[("user-agent", "another")], None)?, 503, "viewers-limit")?;
    // Whoever watches goes on.
    first.advance(30)?;
    drop(first);
    wait_for("the place of the first viewer is free", PATIENCE, || {
        let answer = http.request("GET", &dash, &[("user-agent", "another")], None).ok()?;
        (answer.status == 200).then_some(())
    })
}

#[test]
fn a_viewer_has_its_own_limits() -> Result<()> {
    let (server, _push, urls) = show("any")?;
    let (flv, rtmp, hls) = (urls.flv.context("no FLV")?, urls.rtmp.context("no RTMP")?, urls.hls.context("no HLS")?);
    let path = |url: &str| url.trim_start_matches(&server.base()).to_owned();
    let http = server.public();
    // The picture is larger than the viewer may have.
    for url in [&flv, &hls] {
        refused(&http.get(&format!("{}?wide=64", path(url)))?, 403, "resolution-limit")?;
    }
    let name = rtmp.rsplit('/').next().context("no name")?;
    let status = Client::connect(server.addresses().rtmp, "live")?.play(&format!("{name}?wide=64"))?.1;
    ensure!(status.level == "error" && status.description.contains("64"), "{status:?}");

    // The time is over: the body of FLV ends, the player of RTMP is told, the playlist of HLS is refused.
    let (answer, mut body) = http.stream(&format!("{}?for=1000", path(&flv)), &[])?;
    ensure!(answer.status == 200, "{}", answer.status);
    std::io::copy(&mut body.by_ref(), &mut std::io::sink()).context("the FLV body ends in order")?;
    let mut player = Client::connect(server.addresses().rtmp, "live")?;
    player.play(&format!("{name}?for=1000"))?;
    while player.message().is_ok() {}
    let playlist = format!("{}?for=1000", path(&hls));
    let over = wait_for("the HLS session is over", PATIENCE, || {
        let answer = http.get(&playlist).ok()?;
        (answer.status != 200).then_some(answer)
    })?;
    refused(&over, 403, "duration-limit")?;
    refused(&http.get(&playlist)?, 403, "duration-limit").context("who goes on asking is let in again")?;
    Ok(())
}

#[test]
fn labels_are_in_events_and_metrics() -> Result<()> {
    let (server, _push, _urls) = show("any")?;
    let events = server.events()?;
    let labelled = events.iter().any(|event| event["labels"]["tier"] == "\"gold\"");
    ensure!(labelled, "no event has the label: {events:?}");
    let metrics = server.public().get("/metrics")?.text();
    let line = metrics.lines().find(|line| line.starts_with("flyloft_stream_label_info{"));
    let line = line.with_context(|| format!("no label among the metrics: {metrics}"))?;
    ensure!(line.contains(r#"label="tier",value="\"gold\""} 1"#), "{line}");
    Ok(())
}
