//! Publishers that vanish: those who return in time continue the same stream, and the others' streams end.

use crate::show::Show;
use anyhow::{Context, Result, ensure};
use flyloft_tests::clip::Clip;
use flyloft_tests::process::Signal;
use flyloft_tests::push::Push;
use flyloft_tests::watch::Watch;
use flyloft_tests::{PATIENCE, wait_until};

#[test]
fn a_publisher_that_returns_in_time_continues_the_same_stream() -> Result<()> {
    let clip = Clip::h264()?;
    let mut show = Show::start(&clip, &[("cmaf.window", "30")])?;
    let viewers = [Watch::start(show.rtmp()?)?, Watch::start(show.flv()?)?, Watch::start(show.hls()?)?];
    for viewer in &viewers {
        viewer.advance(60)?;
    }
    show.push.signal(Signal::Kill)?;
    show.server.wait_room_state(&show.room, "LIVE_INACTIVE")?;
    show.push = Push::looped(&clip, &show.server.push_url(&show.member))?;
    show.server.wait_room_state(&show.room, "LIVE")?;
    for viewer in &viewers {
        viewer.advance(150).context("after the publisher has returned")?;
    }
    let playlist = crate::http::media_playlist(&show, false)?;
    ensure!(playlist.contains("#EXT-X-DISCONTINUITY\n"), "no discontinuity in {playlist}");
    ensure!(!playlist.contains("#EXT-X-ENDLIST"), "the playlist has ended: {playlist}");
    let manifest = show.server.public().get(show.dash()?)?.text();
    ensure!(manifest.matches("<Period").count() >= 2, "no new Period in {manifest}");
    show.finish()?;
    for viewer in viewers {
        let seen = viewer.end(PATIENCE)?;
        ensure!(seen.errors.is_empty(), "{}", seen.errors);
        ensure!(seen.video.is_sorted_by(|a, b| a.time < b.time), "times do not rise");
    }
    Ok(())
}

#[test]
fn a_stream_whose_publisher_stays_away_ends_for_its_viewers() -> Result<()> {
    let mut show = Show::start(&Clip::h264()?, &[("live.reconnect_timeout_ms", "1500")])?;
    let viewers = [Watch::start(show.rtmp()?)?, Watch::start(show.flv()?)?, Watch::start(show.hls()?)?];
    for viewer in &viewers {
        viewer.advance(60)?;
    }
    show.push.signal(Signal::Kill)?;
    for viewer in viewers {
        viewer.end(PATIENCE)?;
    }
    ensure!(show.server.room_state(&show.room)? == "LIVE_INACTIVE", "only its owner ends a room");
    show.push = Push::looped(&Clip::h264()?, &show.server.push_url(&show.member))?;
    show.server.wait_room_state(&show.room, "LIVE").context("a publisher may return later, too")
}

#[test]
fn a_publisher_that_falls_silent_is_disconnected_and_may_return() -> Result<()> {
    let clip = Clip::h264()?;
    let mut show = Show::start(&clip, &[("live.stall_timeout_ms", "2000")])?;
    let viewer = Watch::start(show.flv()?)?;
    viewer.advance(30)?;
    show.push.signal(Signal::Pause)?;
    show.server.wait_room_state(&show.room, "LIVE_INACTIVE")?;
    let second = Push::looped(&clip, &show.server.push_url(&show.member))?;
    show.server.wait_room_state(&show.room, "LIVE")?;
    viewer.advance(30)?;
    // The first one wakes up, finds its connection closed and must not disturb the second.
    show.push.signal(Signal::Continue)?;
    let first = &mut show.push;
    wait_until("the silent publisher notices", || !first.running())?;
    viewer.advance(60)?;
    ensure!(show.server.room_state(&show.room)? == "LIVE");
    drop(second);
    Ok(())
}
