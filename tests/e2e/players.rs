//! The browser players, in a headless Chromium.

use crate::show::Show;
use anyhow::{Context, Result, ensure};
use flyloft_tests::clip::Clip;
use flyloft_tests::watch::output;
use serde_json::Value;

fn play(arguments: &[&str]) -> Result<Vec<Value>> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/players/play.mjs");
    let text = output("node", &[&[script], arguments, &["--json"]].concat())
        .context("playing; the players are installed by `npm ci` in tests/players")?;
    text.lines().map(|line| serde_json::from_str(line).with_context(|| format!("not JSON: {line}"))).collect()
}

#[test]
fn four_players_play_for_half_a_minute_without_a_stall() -> Result<()> {
    let show = Show::start(&Clip::h264()?, &[])?;
    let urls = ["--url-hls", show.hls()?, "--url-dash", show.dash()?, "--url-flv", show.flv()?];
    let reports = play(&[&["--player", "hls,dash,shaka,mpegts", "--seconds", "30"], &urls[..]].concat())?;
    ensure!(reports.len() == 4, "{} reports", reports.len());
    for report in &reports {
        println!("{} {}: latency {} s", report["player"], report["version"], report["latency"]);
        ensure!(report["fatal_errors"].as_array().is_some_and(Vec::is_empty), "{report}");
        ensure!(report["stalls"].as_array().is_some_and(Vec::is_empty), "{report}");
        ensure!(report["decoded_frames"].as_u64().is_some_and(|frames| frames > 600), "{report}");
    }
    let hls = reports.iter().find(|report| report["player"] == "hls").context("no report of hls.js")?;
    let latency = hls["latency"]["median"].as_f64().with_context(|| format!("no latency in {hls}"))?;
    ensure!(latency < 3.0, "hls.js plays {latency} s behind live with default settings");
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
