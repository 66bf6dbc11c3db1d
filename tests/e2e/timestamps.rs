//! Publishers with strange clocks and changing codecs, played by our own RTMP client.

use crate::http::{attribute, media_url, resolve};
use crate::show::{cast, publish};
use anyhow::{Context, Result, bail, ensure};
use flyloft_tests::clip::{Clip, Tag, tags};
use flyloft_tests::compare::compare;
use flyloft_tests::http::Http;
use flyloft_tests::rtmp::kind;
use flyloft_tests::server::Server;
use flyloft_tests::watch::{Frames, Watch, decode};
use flyloft_tests::{PATIENCE, wait_for};
use std::path::Path;

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

/// What a player that follows `EXT-X-MAP` decodes (RFC 8216, section 4.3.2.5): each run of segments with its own
/// initialisation section. FFmpeg as an HLS player keeps the first section to the end.
fn by_map(http: &Http, media: &str) -> Result<Vec<Frames>> {
    let playlist = http.get(media)?.text();
    let mut runs: Vec<(String, Vec<u8>)> = Vec::new();
    for line in playlist.lines() {
        if let Some(uri) = attribute(line, "#EXT-X-MAP", "URI") {
            if runs.last().is_none_or(|(last, _)| *last != uri) {
                let init = http.get(&resolve(media, &uri))?;
                ensure!(init.status == 200, "{uri}: {}", init.status);
                runs.push((uri, init.body));
            }
        } else if !line.starts_with('#') && !line.is_empty() {
            let segment = http.get(&resolve(media, line))?;
            ensure!(segment.status == 200, "{line}: {}", segment.status);
            runs.last_mut().with_context(|| format!("a segment before EXT-X-MAP in {playlist}"))?.1.extend(segment.body);
        }
    }
    let directory = tempfile::tempdir()?;
    let decode_run = |(number, (_, bytes)): (usize, (String, Vec<u8>))| {
        let file = directory.path().join(format!("{number}.mp4"));
        std::fs::write(&file, bytes)?;
        decode(Path::new("ffmpeg"), &file)
    };
    runs.into_iter().enumerate().map(decode_run).collect()
}

#[test]
fn a_codec_configuration_that_changes_is_followed() -> Result<()> {
    let (first, second) = (tags(&Clip::h264()?.flv()?)?, tags(&Clip::small()?.flv()?)?);
    let pictures = |tags: &[Tag]| tags.iter().filter(|tag| tag.kind == kind::VIDEO && tag.payload.get(1) == Some(&1)).count();
    let first: Vec<Tag> = first.into_iter().filter(|tag| tag.timestamp < 6_000).collect();
    // Without B-frames the first picture is shown as it is decoded: after the last one of the first clip.
    let second: Vec<Tag> = second.into_iter().map(|tag| Tag { timestamp: tag.timestamp + 6_100, ..tag }).collect();
    let (before, after) = (pictures(&first), pictures(&second));
    let both = [first, second].concat();

    let server = Server::with(&[("cmaf.window", "30")])?;
    let (member, room) = cast(&server, "ada")?;
    let (address, key, clock) = (server.addresses().rtmp, member.key.clone(), clock(&both));
    let publisher = std::thread::spawn(move || publish(address, &key, &both, &clock));
    let urls = server.go_live(&member, &room)?;
    let flv = Watch::start(urls.flv.as_deref().context("no httpFlv URL")?)?;
    wait_for("the publisher has sent everything", PATIENCE * 2, || publisher.is_finished().then_some(()))?;
    publisher.join().map_err(|_| anyhow::anyhow!("the publisher panicked"))??;
    server.wait_room_state(&room, "LIVE_INACTIVE")?;
    let http = server.public();
    let media = media_url(&http, urls.hls.as_deref().context("no hls URL")?)?;
    http.get(&media)?;
    server.end_room(&room, false)?.success()?;
    // Who has watched may read the end of the stream, which completes the last segment.
    let runs = by_map(&http, &media)?;

    let flv = flv.end(PATIENCE)?;
    // FFmpeg's parser of FLV keeps the first configuration and complains ("NULL"); its decoder follows.
    let complaint = |line: &&str| !line.starts_with("[NULL @") && !line.contains("Last message repeated");
    let errors: Vec<_> = flv.errors.lines().filter(complaint).take(5).collect();
    ensure!(errors.is_empty(), "HTTP-FLV: the decoder complains: {errors:?}");
    // The viewer may have begun one group of pictures (60) or two later; from there on nothing may be missing.
    let missing = (before + after).saturating_sub(flv.video.len());
    ensure!(missing <= 120 && missing % 60 == 0, "HTTP-FLV: {missing} of {} pictures are missing", before + after);
    // FFmpeg gives the last pictures one time when the order of pictures changed, from a file as well.
    ensure!(flv.video.is_sorted_by(|a, b| a.time <= b.time), "HTTP-FLV: times fall");

    let [old, new] = &runs[..] else { bail!("{} initialisation sections, not two", runs.len()) };
    ensure!(old.errors.is_empty() && new.errors.is_empty(), "HLS: {:?} {:?}", old.errors, new.errors);
    ensure!((old.video.len(), new.video.len()) == (before, after), "HLS: {} and {} pictures", old.video.len(), new.video.len());
    let rising = |frames: &Frames| frames.video.is_sorted_by(|a, b| a.time < b.time);
    ensure!(rising(old) && rising(new), "HLS: times do not rise");
    Ok(())
}
