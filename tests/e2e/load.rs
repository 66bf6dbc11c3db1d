//! A small crowd, with the same tool that measures a big one: nobody misses a frame.

use crate::show::Show;
use anyhow::{Result, ensure};
use flyloft_tests::clip::Clip;
use flyloft_tests::watch::output;

fn check(url: &str, pid: u32) -> Result<()> {
    let pid = pid.to_string();
    let arguments = [url, "--viewers", "60", "--seconds", "5", "--sample", "6", "--server-pid", &pid, "--json"];
    let report = output(env!("CARGO_BIN_EXE_flyloft-load"), &arguments)?;
    println!("{report}");
    let report: serde_json::Value = serde_json::from_str(&report)?;
    ensure!(report["viewersConnected"] == 60 && report["disconnects"] == 0, "{report}");
    ensure!(report["framesSkipped"] == 0 && report["timestampsBackwards"] == 0, "{report}");
    ensure!(report["framesParsed"].as_u64().is_some_and(|frames| frames > 1000), "{report}");
    Ok(())
}

#[test]
fn a_small_crowd_misses_nothing() -> Result<()> {
    let show = Show::start(&Clip::h264()?, &[])?;
    check(show.rtmp()?, show.server.pid())?;
    check(show.flv()?, show.server.pid())
}
