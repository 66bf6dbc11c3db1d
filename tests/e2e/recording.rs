//! Broadcasts are recorded, survive whatever happens to the server, and become video posts that are what was pushed.

use crate::show::{Show, cast};
use anyhow::{Context, Result, ensure};
use flyloft_tests::clip::Clip;
use flyloft_tests::compare::compare;
use flyloft_tests::contract::transitions;
use flyloft_tests::guests::component;
use flyloft_tests::process::Signal;
use flyloft_tests::push::Push;
use flyloft_tests::server::Server;
use flyloft_tests::watch::{Frames, Watch, decode, output};
use flyloft_tests::{PATIENCE, wait_for};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Duration;

const RECORD: [(&str, &str); 2] = [("recording.default", "true"), ("recording.min_free_bytes", "0")];
const CLIP: Duration = Duration::from_secs(40);
/// Pictures in a group of the clip, and in the longest fragment.
const GROUP: usize = 60;
const SYNC: f64 = 0.040;
/// Where a stream is cut off, some pictures that are shown before the last ones are missing: they are decoded later.
const LATE: usize = 4;

fn post(server: &Server, room: &str) -> Result<Value> {
    let list = server.api()?.get(&format!("/v1/video-posts?roomId={room}"))?.success()?;
    let items = list["items"].as_array().context("no items")?;
    ensure!(items.len() == 1, "one post for the room: {list}");
    Ok(items[0].clone())
}

/// Waits for the archive, and gives the post.
fn archived(server: &Server, room: &str) -> Result<Value> {
    server.wait_room_state(room, "ARCHIVED").with_context(|| server.room_json(room).unwrap_or_default().to_string())?;
    let post = post(server, room)?;
    ensure!(post["videoPostState"] == "READY" && post["id"] == server.room_json(room)?["videoPostId"], "{post}");
    Ok(post)
}

fn url<'a>(post: &'a Value, name: &str) -> Result<&'a str> {
    post["urls"][name].as_str().with_context(|| format!("no {name} URL in {post}"))
}

/// What ffmpeg sees in a post, without complaints.
fn seen(url: &str) -> Result<Frames> {
    let frames = Watch::start(url)?.end(PATIENCE)?;
    ensure!(frames.errors.is_empty(), "{url}: the decoder complains: {}", frames.errors);
    Ok(frames)
}

/// The parts that a recording under way has on the disk, with their sizes.
fn parts(server: &Server) -> Vec<(PathBuf, u64)> {
    let list = |directory: &Path| -> Vec<PathBuf> {
        std::fs::read_dir(directory).map(|found| found.flatten().map(|entry| entry.path()).collect()).unwrap_or_default()
    };
    let recordings = list(&server.data().join("media/recordings"));
    let mut parts: Vec<_> = recordings
        .iter()
        .flat_map(|recording| list(recording))
        .map(|path| (path.clone(), std::fs::metadata(&path).map_or(0, |meta| meta.len())))
        .collect();
    parts.sort();
    parts
}

fn wait_recorded(server: &Server, bytes: u64) -> Result<()> {
    wait_for("something is recorded", PATIENCE, || {
        (parts(server).iter().map(|(_, size)| size).sum::<u64>() >= bytes).then_some(())
    })
}

/// Pushes the clip once into a live room, ends it, and gives source and post.
fn recorded(clip: &Clip) -> Result<(Server, String, Frames, Value)> {
    let source = decode(&clip.ffmpeg, &clip.path)?;
    let mut show = Show::with(&RECORD, |url| Push::start(clip, url))?;
    let (status, errors) = show.push.wait(CLIP)?;
    ensure!(status.success() && errors.is_empty(), "the publisher ended with {status}: {errors}");
    show.server.wait_room_state(&show.room, "LIVE_INACTIVE")?;
    show.server.end_room(&show.room, false)?.success()?;
    let post = archived(&show.server, &show.room)?;
    Ok((show.server, show.room, source, post))
}

#[test]
fn a_post_has_every_picture_and_every_sound_of_the_broadcast() -> Result<()> {
    let (server, room, source, post) = recorded(&Clip::h264()?)?;
    let mut counts = Vec::new();
    for name in ["mp4", "hls", "dash"] {
        let found = compare(&source, &seen(url(&post, name)?)?).context(name)?;
        println!("{name}: {found:?} of {} pictures and {} sounds", source.video.len(), source.audio.len());
        let (first, count) = found.video.context("no pictures")?;
        ensure!(first + count == source.video.len() && first % GROUP == 0, "{name}: {found:?}");
        let (first, count) = found.audio.context("no sound")?;
        ensure!(first + count + 1 >= source.audio.len(), "{name}: the last sound is missing: {found:?}");
        ensure!(found.skew.is_some_and(|skew| skew.abs() < SYNC), "{name}: sound and picture are apart: {found:?}");
        counts.push(found.video);
    }
    ensure!(counts.iter().all(|count| *count == counts[0]), "{counts:?}");
    let pictures = counts[0].map_or(0, |(_, count)| count);
    let duration = post["durationMs"].as_f64().context("no duration")? / 1000.0;
    ensure!((duration - pictures as f64 / 30.0).abs() < 0.2, "{duration} s for {pictures} pictures");
    ensure!(post["width"] == 640 && post["height"] == 360 && post["codecs"] == "avc1.64001e,mp4a.40.2", "{post}");
    ensure!(post["missing"].is_null() && post["failure"].is_null(), "{post}");
    ensure!(parts(&server).is_empty(), "the parts are still there: {:?}", parts(&server));

    let expected = [
        ("SCHEDULED", "LIVE"),
        ("LIVE", "LIVE_INACTIVE"),
        ("LIVE_INACTIVE", "ENDED"),
        ("ENDED", "ARCHIVING"),
        ("ARCHIVING", "ARCHIVED"),
    ];
    let events = server.events()?;
    let states = transitions(&events, "videoRoom");
    ensure!(states.iter().map(|(from, to)| (from.as_str(), to.as_str())).eq(expected), "{states:?}");
    let kinds: Vec<_> = events.iter().filter_map(|event| event["type"].as_str()).collect();
    let at = |kind| kinds.iter().position(|found| *found == kind).with_context(|| format!("no {kind} in {kinds:?}"));
    ensure!(at("videoRoom.live")? < at("recording.started")? && at("recording.started")? < at("videoRoom.ended")?, "{kinds:?}");
    ensure!(at("videoRoom.archiving")? < at("videoPost.ready")?, "{kinds:?}");

    let picture = server.public().get(url(&post, "thumbnail")?)?;
    ensure!(picture.status == 200 && picture.need("content-type")? == "image/jpeg", "{}", picture.text());
    ensure!(picture_size(&picture.body)? == "480x270", "{}", picture_size(&picture.body)?);

    // The file is served in ranges, and told by its tag.
    let (http, mp4) = (server.public(), url(&post, "mp4")?);
    let whole = http.get(mp4)?;
    ensure!(whole.status == 200 && whole.need("content-type")? == "video/mp4", "{:?}", whole.status);
    ensure!(whole.body.len() as u64 == post["sizeBytes"].as_u64().context("no size")?);
    ensure!(whole.need("access-control-allow-origin")? == "*" && whole.need("accept-ranges")? == "bytes");
    let range = http.request("GET", mp4, &[("range", "bytes=100-299")], None)?;
    ensure!(range.status == 206 && range.body == whole.body[100..300], "{}", range.status);
    ensure!(range.need("content-range")? == format!("bytes 100-299/{}", whole.body.len()));
    let behind = http.request("GET", mp4, &[("range", "bytes=999999999-")], None)?;
    ensure!(behind.status == 416, "{}", behind.status);
    let tag = whole.need("etag")?;
    ensure!(http.request("GET", mp4, &[("if-none-match", tag)], None)?.status == 304);
    ensure!(http.request("HEAD", mp4, &[], None)?.need("content-length")? == whole.body.len().to_string());
    for nothing in ["/posts/no-such-post.mp4", "/posts/no-such-post/index.m3u8"] {
        http.get(nothing)?.problem(404)?;
    }
    for nothing in ["wrong/video-0.m4s", "../../etc/passwd", "%2e%2e/x", "video.ts"] {
        http.get(&format!("/posts/{}/{nothing}", post["id"].as_str().unwrap_or_default()))?.problem(404)?;
    }

    let path = format!("/v1/video-posts/{}", post["id"].as_str().context("no id")?);
    server.api()?.post(&format!("/v1/video-rooms/{room}/archive"), &json!({}))?.problem(409)?;
    ensure!(server.api()?.delete(&path)?.status == 204);
    server.api()?.get(&path)?.problem(404)?;
    http.get(mp4)?.problem(404)?;
    let file = server.data().join(format!("media/posts/{}.mp4", post["id"].as_str().unwrap_or_default()));
    wait_for("the file is removed", PATIENCE, || (!file.exists()).then_some(()))
}

/// Width and height of a JPEG that ffmpeg decodes without a complaint.
fn picture_size(jpeg: &[u8]) -> Result<String> {
    let file = tempfile::NamedTempFile::with_suffix(".jpg")?;
    std::fs::write(file.path(), jpeg)?;
    let path = file.path().to_str().context("the path is not UTF-8")?;
    output("ffmpeg", &["-v", "error", "-xerror", "-i", path, "-f", "null", "-"])?;
    let size = output("ffprobe", &["-v", "error", "-show_entries", "stream=width,height", "-of", "csv=p=0:s=x", path])?;
    Ok(size.trim().to_owned())
}

#[test]
fn a_live_stream_has_a_thumbnail() -> Result<()> {
    let show = Show::start(&Clip::h264()?, &[])?;
    let http = show.server.public();
    let path = format!("/live/{}/thumbnail.jpg", show.room);
    let picture = http.get(&path)?;
    ensure!(picture.status == 200 && picture.need("content-type")? == "image/jpeg", "{}", picture.text());
    ensure!(picture_size(&picture.body)? == "480x270", "{}", picture_size(&picture.body)?);
    ensure!(picture.need("access-control-allow-origin")? == "*");
    show.server.api()?.patch(&format!("/v1/video-rooms/{}", show.room), &json!({"accessLevel": "PRIVATE"}))?.success()?;
    http.get(&path)?.problem(401)?;
    http.get("/live/no-such-room/thumbnail.jpg")?.problem(404)?;
    let hevc = Show::start(&Clip::hevc()?, &[])?;
    let problem = hevc.server.public().get(&format!("/live/{}/thumbnail.jpg", hevc.room))?.problem(404)?;
    ensure!(problem["detail"].as_str().is_some_and(|text| text.contains("HEVC")), "{problem}");
    Ok(())
}

#[test]
fn other_codecs_and_single_tracks_are_recorded() -> Result<()> {
    for clip in [Clip::hevc()?, Clip::audio_only()?, Clip::video_only()?] {
        let source = decode(&clip.ffmpeg, &clip.path)?;
        let (_server, _, _, post) = recorded(&clip)?;
        let frames = Watch::with(&clip.ffmpeg, url(&post, "mp4")?)?.end(PATIENCE)?;
        let found = compare(&source, &frames).with_context(|| format!("{}", clip.path.display()))?;
        println!("{}: {found:?}", clip.path.display());
        ensure!(found.video.is_some() == clip.video && found.audio.is_some() == clip.audio, "{found:?}");
        ensure!(found.video.is_none_or(|(first, count)| first + count == source.video.len()), "{found:?}");
    }
    Ok(())
}

#[test]
fn a_killed_server_loses_the_last_fragment_at_most() -> Result<()> {
    let clip = Clip::h264()?;
    let source = decode(&clip.ffmpeg, &clip.path)?;
    let mut show = Show::with(&RECORD, |url| Push::start(&clip, url))?;
    let viewer = Watch::start(show.flv()?)?;
    viewer.advance(200)?;
    show.server.kill()?;
    let mut watched = viewer.leave()?;
    watched.video.truncate(watched.video.len().saturating_sub(LATE));
    show.server.restart()?;
    ensure!(show.server.room_state(&show.room)? == "LIVE_INACTIVE");
    ensure!(post(&show.server, &show.room)?["videoPostState"] == "RECORDING");
    show.server.end_room(&show.room, false)?.success()?;
    let post = archived(&show.server, &show.room)?;
    let mut kept = seen(url(&post, "mp4")?)?;
    kept.video.truncate(kept.video.len().saturating_sub(LATE));
    let (found, watched) = (compare(&source, &kept)?, compare(&source, &watched)?);
    println!("watched {watched:?}, kept {found:?}");
    let end = |found: Option<(usize, usize)>| found.map(|(first, count)| first + count);
    let (kept, watched) = (end(found.video).context("no pictures")?, end(watched.video).context("no pictures")?);
    // The fragment under way, the picture that waits for the next one, and what was on its way to the viewer.
    ensure!(kept + GROUP + 3 >= watched, "{kept} pictures were kept and {watched} watched");
    for name in ["hls", "dash"] {
        let mut kept = seen(url(&post, name)?)?;
        kept.video.truncate(kept.video.len().saturating_sub(LATE));
        // FFmpeg ends DASH with the first of the renditions that ends.
        let lost = if name == "dash" { 8 } else { 0 };
        let (first, count) = compare(&source, &kept)?.video.context("no pictures")?;
        let whole = found.video.map_or(0, |(_, count)| count);
        ensure!(
            found.video.is_some_and(|(of, _)| of == first) && (whole - lost..=whole).contains(&count),
            "{name}: {first} {count}"
        );
    }
    Ok(())
}

#[test]
fn a_room_goes_on_after_a_crash_and_becomes_one_post() -> Result<()> {
    let clip = Clip::h264()?;
    let mut show = Show::with(&RECORD, |url| Push::looped(&clip, url))?;
    wait_recorded(&show.server, 200_000)?;
    show.server.kill()?;
    let before: u64 = parts(&show.server).iter().map(|(_, size)| size).sum();
    show.server.restart()?;
    show.push = Push::looped(&clip, &show.server.push_url(&show.member))?;
    show.server.wait_room_state(&show.room, "LIVE")?;
    wait_recorded(&show.server, before + 200_000)?;
    ensure!(parts(&show.server).len() == 2, "{:?}", parts(&show.server));
    show.finish()?;
    let post = archived(&show.server, &show.room)?;
    let frames = seen(url(&post, "mp4")?)?;
    let gap = frames.video.windows(2).find(|pair| !(0.02..0.08).contains(&(pair[1].time - pair[0].time)));
    ensure!(gap.is_none() && frames.video.len() > 4 * GROUP, "{} pictures, {gap:?}", frames.video.len());
    Ok(())
}

#[test]
fn a_returning_publisher_goes_on_with_the_recording() -> Result<()> {
    let clip = Clip::h264()?;
    let mut show = Show::with(&RECORD, |url| Push::looped(&clip, url))?;
    wait_recorded(&show.server, 200_000)?;
    show.push.signal(Signal::Kill)?;
    show.server.wait_room_state(&show.room, "LIVE_INACTIVE")?;
    let before: u64 = parts(&show.server).iter().map(|(_, size)| size).sum();
    show.push = Push::looped(&clip, &show.server.push_url(&show.member))?;
    show.server.wait_room_state(&show.room, "LIVE")?;
    wait_recorded(&show.server, before + 300_000)?;
    ensure!(parts(&show.server).len() == 1, "the same part goes on: {:?}", parts(&show.server));
    // By force, while it is published.
    show.server.end_room(&show.room, true)?.success()?;
    let post = archived(&show.server, &show.room)?;
    let frames = seen(url(&post, "mp4")?)?;
    // Of the group that was cut off, some pictures that are shown before the last one are missing.
    let gap = frames.video.windows(2).find(|pair| !(0.001..0.15).contains(&(pair[1].time - pair[0].time)));
    ensure!(gap.is_none(), "{gap:?}");
    let again = source_starts(&clip, &frames)?;
    ensure!(again >= 2, "both publishes are in it, the clip begins {again} times");
    Ok(())
}

/// How often the clip begins.
fn source_starts(clip: &Clip, frames: &Frames) -> Result<usize> {
    let source = decode(&clip.ffmpeg, &clip.path)?;
    let first = &source.video.first().context("an empty clip")?.sum;
    Ok(frames.video.iter().filter(|frame| frame.sum == *first).count())
}

#[test]
fn the_policy_and_the_room_say_what_is_recorded() -> Result<()> {
    let clip = Clip::h264()?;
    let server = Server::with(&RECORD)?;
    // What a room says comes before the server's setting.
    let (member, room) = cast(&server, "shy")?;
    server.api()?.patch(&format!("/v1/video-rooms/{room}"), &json!({"record": false}))?.success()?;
    let mut show = live(server, &clip, member, room)?;
    Watch::start(show.flv()?)?.advance(GROUP * 2)?;
    ensure!(parts(&show.server).is_empty(), "{:?}", parts(&show.server));
    show.finish()?;
    ensure!(show.server.room_state(&show.room)? == "ENDED");

    // What the policy says comes before both.
    let server = show.server;
    server.put_plugin("off-the-record", &component("off_the_record")?)?.success()?;
    let (member, room) = cast(&server, "ada")?;
    server.api()?.patch(&format!("/v1/video-rooms/{room}"), &json!({"record": true}))?.success()?;
    let mut show = live(server, &clip, member, room)?;
    Watch::start(show.flv()?)?.advance(GROUP * 2)?;
    let media = std::fs::read_dir(show.server.data().join("media"))?.collect::<Result<Vec<_>, _>>()?;
    ensure!(media.is_empty(), "nothing may be on the disk: {media:?}, {:?}", parts(&show.server));
    show.finish()?;
    show.server.api()?.post(&format!("/v1/video-rooms/{}/archive", show.room), &json!({}))?.problem(409)?;

    // A stream without a room is recorded when the policy says so.
    let server = show.server;
    let star = server.member("star")?;
    let push = Push::looped(&clip, &server.push_url(&star))?;
    wait_recorded(&server, 200_000)?;
    drop(push);
    let ready = wait_for("the post is ready", PATIENCE + PATIENCE, || {
        let list = server.api().ok()?.get("/v1/video-posts?state=READY").ok()?.json().ok()?;
        list["items"].as_array()?.first().cloned()
    })?;
    ensure!(ready["roomId"].is_null() && ready["accessLevel"] == "PRIVATE", "{ready}");
    server.public().get(url(&ready, "mp4")?)?.problem(404).context("without a token it is for nobody")?;
    Ok(())
}

/// A room of an existing server with a publisher.
fn live(server: Server, clip: &Clip, member: flyloft_tests::contract::Member, room: String) -> Result<Show> {
    let push = Push::looped(clip, &server.push_url(&member))?;
    let urls = server.go_live(&member, &room)?;
    Ok(Show { server, member, room, push, urls })
}

#[test]
fn a_failed_archive_says_why_and_can_be_made_again() -> Result<()> {
    let mut show = Show::start(&Clip::h264()?, &RECORD)?;
    wait_recorded(&show.server, 200_000)?;
    // A file where the directory of the posts should be.
    let posts = show.server.data().join("media/posts");
    std::fs::write(&posts, "")?;
    show.finish()?;
    show.server.wait_room_state(&show.room, "ARCHIVE_FAILED")?;
    let failure = show.server.room_json(&show.room)?;
    ensure!(failure["failure"].as_str().is_some_and(|text| text.contains("can't be written")), "{failure}");
    let failed = post(&show.server, &show.room)?;
    ensure!(failed["videoPostState"] == "FAILED" && failed["failure"] == failure["failure"], "{failed}");
    ensure!(!parts(&show.server).is_empty(), "the recording is kept");
    show.server.kill()?;
    show.server.restart()?;
    ensure!(show.server.room_state(&show.room)? == "ARCHIVE_FAILED");
    std::fs::remove_file(&posts)?;
    let path = format!("/v1/video-rooms/{}/archive", show.room);
    ensure!(show.server.api()?.post(&path, &json!({}))?.success()?["videoRoomState"] == "ARCHIVING");
    let post = archived(&show.server, &show.room)?;
    ensure!(seen(url(&post, "mp4")?)?.video.len() >= GROUP, "{post}");
    let states = transitions(&show.server.events()?, "videoRoom.arch");
    let expected =
        [("ENDED", "ARCHIVING"), ("ARCHIVING", "ARCHIVE_FAILED"), ("ARCHIVE_FAILED", "ARCHIVING"), ("ARCHIVING", "ARCHIVED")];
    ensure!(states.iter().map(|(from, to)| (from.as_str(), to.as_str())).eq(expected), "{states:?}");
    Ok(())
}

#[test]
fn a_full_disk_stops_the_recording_and_not_the_stream() -> Result<()> {
    let settings = [("recording.default", "true"), ("recording.min_free_bytes", "1152921504606846976")];
    let mut show = Show::start(&Clip::h264()?, &settings)?;
    let stopped = wait_for("recording stops", PATIENCE, || {
        show.server.events().ok()?.into_iter().find(|event| event["type"] == "recording.stopped")
    })?;
    ensure!(stopped["reason"].as_str().is_some_and(|text| text.contains("min_free_bytes")), "{stopped}");
    Watch::start(show.flv()?)?.advance(GROUP)?;
    ensure!(show.server.room_state(&show.room)? == "LIVE");
    ensure!(post(&show.server, &show.room)?["missing"] == stopped["reason"], "{}", post(&show.server, &show.room)?);
    show.finish()?;
    show.server.wait_room_state(&show.room, "ARCHIVE_FAILED")?;
    let failure = show.server.room_json(&show.room)?;
    ensure!(failure["failure"].as_str().is_some_and(|text| text.contains("nothing was recorded")), "{failure}");
    Ok(())
}

#[test]
fn a_private_room_has_a_private_post() -> Result<()> {
    let clip = Clip::h264()?;
    let server = Server::with(&RECORD)?;
    let (member, room) = cast(&server, "ada")?;
    server.api()?.patch(&format!("/v1/video-rooms/{room}"), &json!({"accessLevel": "PRIVATE"}))?.success()?;
    let mut show = live(server, &clip, member, room)?;
    wait_recorded(&show.server, 200_000)?;
    show.finish()?;
    let post = archived(&show.server, &show.room)?;
    let token = |room: &str| -> Result<String> {
        let made = show.server.api()?.post(&format!("/v1/video-rooms/{room}/tokens"), &json!({}))?.success()?;
        Ok(made["token"].as_str().context("no token")?.to_owned())
    };
    let (own, other) = (token(&show.room)?, token(&show.server.room("ada", "Another room")?)?);
    let http = show.server.public();
    for name in ["mp4", "hls", "dash"] {
        let url = url(&post, name)?;
        http.get(url)?.problem(401)?;
        http.get(&format!("{url}?token={other}"))?.problem(403)?;
        ensure!(http.get(&format!("{url}?token={own}"))?.status == 200, "{name}");
    }
    let frames = seen(&format!("{}?token={own}", url(&post, "hls")?))?;
    ensure!(frames.video.len() >= GROUP && !frames.audio.is_empty());
    Ok(())
}

#[test]
fn the_browser_players_play_a_post() -> Result<()> {
    let (_server, _, _, post) = recorded(&Clip::h264()?)?;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/players/play.mjs");
    let arguments = [
        "--player",
        "hls,dash,shaka",
        "--seconds",
        "8",
        "--url-hls",
        url(&post, "hls")?,
        "--url-dash",
        url(&post, "dash")?,
        "--json",
    ];
    let text = output("node", &[&[script], &arguments[..]].concat())?;
    let reports = text.lines().map(serde_json::from_str).collect::<serde_json::Result<Vec<Value>>>()?;
    ensure!(reports.len() == 3, "{} reports", reports.len());
    for report in &reports {
        println!("{}: {} s, {} frames", report["player"], report["currentTime_advance"], report["decoded_frames"]);
        ensure!(report["fatal_errors"].as_array().is_some_and(Vec::is_empty), "{report}");
        ensure!(report["currentTime_advance"].as_f64().is_some_and(|seconds| seconds > 6.0), "{report}");
        ensure!(report["decoded_frames"].as_u64().is_some_and(|frames| frames > 150), "{report}");
    }
    Ok(())
}
