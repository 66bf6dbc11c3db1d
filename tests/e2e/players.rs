//! The browser players, in a headless Chromium.

use crate::show::Show;
use anyhow::{Context, Result, ensure};
use flyloft_tests::clip::Clip;
use flyloft_tests::process::Signal;
use flyloft_tests::push::Push;
use flyloft_tests::wait_until;
use flyloft_tests::watch::{Watch, output};
use serde_json::Value;

fn play(arguments: &[&str]) -> Result<Vec<Value>> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/players/play.mjs");
    let text = output("node", &[&[script], arguments, &["--json"]].concat())
        .context("playing; the players are installed by `npm ci` in tests/players")?;
    text.lines().map(|line| serde_json::from_str(line).with_context(|| format!("not JSON: {line}"))).collect()
}

/// Plays for half a minute, one player at a time as each viewer has a machine of one's own; the player's report.
fn plays(player: &str, option: &str, url: impl FnOnce(&Show) -> Result<&str>) -> Result<Value> {
    let show = Show::start(&Clip::h264()?, &[])?;
    let mut reports = play(&["--player", player, "--seconds", "30", option, url(&show)?])?;
    let report = reports.pop().context("no report")?;
    println!("{} {}: latency {} s", report["player"], report["version"], report["latency"]);
    ensure!(report["fatal_errors"].as_array().is_some_and(Vec::is_empty), "{report}");
    ensure!(report["stalls"].as_array().is_some_and(Vec::is_empty), "{report}");
    ensure!(report["decoded_frames"].as_u64().is_some_and(|frames| frames > 600), "{report}");
    Ok(report)
}

#[test]
fn hls_js_plays_close_to_live_without_a_stall() -> Result<()> {
    let report = plays("hls", "--url-hls", Show::hls)?;
    let latency = report["latency"]["median"].as_f64().with_context(|| format!("no latency in {report}"))?;
    ensure!(latency < 3.0, "hls.js plays {latency} s behind live with default settings");
    Ok(())
}

#[test]
fn dash_js_plays_without_a_stall() -> Result<()> {
    plays("dash", "--url-dash", Show::dash).map(drop)
}

#[test]
fn shaka_player_plays_without_a_stall() -> Result<()> {
    plays("shaka", "--url-dash", Show::dash).map(drop)
}

#[test]
fn mpegts_js_plays_without_a_stall() -> Result<()> {
    plays("mpegts", "--url-flv", Show::flv).map(drop)
}

#[test]
fn players_go_on_when_the_publisher_returns() -> Result<()> {
    let mut show = Show::start(&Clip::h264()?, &[])?;
    let arguments = ["--player", "hls,mpegts", "--seconds", "25", "--url-hls", show.hls()?, "--url-flv", show.flv()?];
    let arguments = arguments.map(str::to_owned);
    let players = std::thread::spawn(move || play(&arguments.each_ref().map(String::as_str)));
    // Both play, or have given up.
    let (api, path) = (show.server.api()?, format!("/v1/video-rooms/{}/viewers", show.room));
    let viewers = || api.get(&path).ok()?.json().ok()?["liveViewers"].as_u64();
    wait_until("both watch", || viewers() >= Some(2) || players.is_finished())?;
    let viewer = Watch::start(show.flv()?)?;
    viewer.advance(120)?;
    show.push.signal(Signal::Kill)?;
    show.server.wait_room_state(&show.room, "LIVE_INACTIVE")?;
    show.push = Push::looped(&Clip::h264()?, &show.server.push_url(&show.member))?;
    show.server.wait_room_state(&show.room, "LIVE")?;
    let reports = players.join().map_err(|_| anyhow::anyhow!("the players panicked"))??;
    ensure!(reports.len() == 2, "{} reports", reports.len());
    for report in &reports {
        println!("{report}");
        ensure!(report["fatal_errors"].as_array().is_some_and(Vec::is_empty), "{report}");
        ensure!(report["final_state"] == "playing", "{report}");
        ensure!(report["currentTime_advance"].as_f64().is_some_and(|seconds| seconds > 15.0), "{report}");
    }
    Ok(())
}

#[test]
fn the_watch_page_plays_every_output() -> Result<()> {
    let show = Show::start(&Clip::h264()?, &[])?;
    let page = format!("{}/watch/{}", show.server.base(), show.room);
    let reports = play(&["--player", "page", "--url", &page, "--seconds", "6", "--switch", "hls,dash,flv"])?;
    let [report] = &reports[..] else { anyhow::bail!("{} reports", reports.len()) };
    println!("{report}");
    ensure!(report["fatal_errors"].as_array().is_some_and(Vec::is_empty), "{report}");
    let switches = report["switches"].as_array().with_context(|| format!("no switches in {report}"))?;
    ensure!(switches.len() == 3 && switches.iter().all(|step| step["ok"] == true), "{report}");
    Ok(())
}
