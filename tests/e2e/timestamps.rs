//! Publishers with strange clocks and changing codecs, played by our own RTMP client.

use crate::show::{cast, publish};
use anyhow::{Context, Result, ensure};
use flyloft_tests::clip::{Clip, Tag, tags};
use flyloft_tests::compare::compare;
use flyloft_tests::rtmp::kind;
use flyloft_tests::server::Server;
use flyloft_tests::watch::{Frames, Watch, decode};
use flyloft_tests::{PATIENCE, wait_for};

/// Publishes tags and gives what an HTTP-FLV and an HLS viewer saw of them.
fn see(tags: Vec<Tag>, clock: Vec<u32>) -> Result<[(&'static str, Frames); 2]> {
    let server = Server::with(&[("cmaf.window", "30")])?;
    let (member, room) = cast(&server, "ada")?;
    let (address, key) = (server.addresses().rtmp, member.key.clone());
    let publisher = std::thread::spawn(move || publish(address, &key, &tags, &clock));
    let urls = server.go_live(&member, &room)?;
    let flv = Watch::start(urls.flv.as_deref().context("no httpFlv URL")?)?;
    let hls = Watch::start(urls.hls.as_deref().context("no hls URL")?)?;
    wait_for("the publisher has sent everything", PATIENCE * 2, || publisher.is_finished().then_some(()))?;
    publisher.join().map_err(|_| anyhow::anyhow!("the publisher panicked"))??;
    server.wait_room_state(&room, "LIVE_INACTIVE")?;
    server.end_room(&room, false)?.success()?;
    Ok([("HTTP-FLV", flv.end(PATIENCE)?), ("HLS", hls.end(PATIENCE)?)])
}

fn clock(tags: &[Tag]) -> Vec<u32> {
    tags.iter().map(|tag| tag.timestamp).collect()
}

/// Sends the clip with other timestamps; viewers must see it as if they were its own.
fn check(change: impl Fn(u32) -> u32) -> Result<()> {
    let clip = Clip::h264()?;
    let source = decode(&clip.ffmpeg, &clip.path)?;
    let mut tags = tags(&clip.flv()?)?;
    let clock = clock(&tags);
    for tag in &mut tags {
        tag.timestamp = change(tag.timestamp);
    }
    for (output, seen) in see(tags, clock)? {
        ensure!(seen.errors.is_empty(), "{output}: the decoder complains: {}", seen.errors);
        let found = compare(&source, &seen).context(output)?;
        let (first, count) = found.video.context("no pictures")?;
        ensure!(first + count == source.video.len(), "{output}: the last pictures are missing: {found:?}");
        ensure!(found.skew.is_some_and(|skew| skew.abs() < 0.040), "{output}: sound and picture are apart: {found:?}");
    }
    Ok(())
}

#[test]
fn timestamps_that_wrap_at_32_bits_go_on() -> Result<()> {
    check(|time| time.wrapping_add(u32::MAX - 6_000))
}

#[test]
fn timestamps_above_24_bits_are_extended() -> Result<()> {
    check(|time| time + 0x00ff_ffff - 6_000)
}

#[test]
fn a_jump_forward_is_closed() -> Result<()> {
    check(|time| if time < 6_000 { time } else { time + 3_600_000 })
}

#[test]
fn a_reset_to_zero_is_closed() -> Result<()> {
    check(|time| if time < 6_000 { time + 500_000 } else { time - 6_000 })
}

#[test]
fn a_codec_configuration_that_changes_is_followed() -> Result<()> {
    let (first, second) = (tags(&Clip::h264()?.flv()?)?, tags(&Clip::small()?.flv()?)?);
    let both: Vec<Tag> = first
        .into_iter()
        .filter(|tag| tag.timestamp < 6_000)
        .chain(second.into_iter().map(|tag| Tag { timestamp: tag.timestamp + 6_000, ..tag }))
        .collect();
    let pictures = both.iter().filter(|tag| tag.kind == kind::VIDEO && tag.payload.get(1) == Some(&1)).count();
    let clock = clock(&both);
    for (output, seen) in see(both, clock)? {
        // FFmpeg's parser of FLV keeps the first configuration and complains ("NULL"); its decoder follows.
        let errors = seen.errors.lines().filter(|line| !line.starts_with("[NULL @") && !line.contains("Last message repeated"));
        let errors: Vec<_> = errors.collect();
        ensure!(errors.is_empty(), "{output}: the decoder complains: {errors:?}");
        // Viewers may have begun one group of pictures (60) or two later; from there on nothing may be missing.
        let missing = pictures.saturating_sub(seen.video.len());
        ensure!(missing <= 120 && missing % 60 == 0, "{output}: {missing} of {pictures} pictures are missing");
        // FFmpeg gives the last pictures one time when the order of pictures changed, from a file as well.
        ensure!(seen.video.is_sorted_by(|a, b| a.time <= b.time), "{output}: times fall");
    }
    Ok(())
}
