//! Recorded files as live streams: loops without a seam in every output, the REST calls, sources that fail, restarts.

mod loops;

use anyhow::{Context, Result, ensure};
use flyloft_tests::clip::Clip;
use flyloft_tests::http::{Http, Response};
use flyloft_tests::process::Signal;
use flyloft_tests::proxy::{Faults, Proxy};
use flyloft_tests::rtmp::Client;
use flyloft_tests::s3::{KEY, SECRET, Store};
use flyloft_tests::server::Server;
use flyloft_tests::watch::{Watch, decode, output};
use flyloft_tests::{PATIENCE, wait_for, wait_until};
use loops::{Loops, looped};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const BUCKET: &str = "films";

/// How long loops are watched: some seconds, or as long as `VOD_SECONDS` says.
fn watching() -> Duration {
    let seconds = std::env::var("VOD_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(14))
}

/// A configuration with credentials for the store behind `endpoint`.
fn store_settings(endpoint: &str) -> Result<(tempfile::NamedTempFile, String)> {
    let file = tempfile::NamedTempFile::new()?;
    let text = format!(
        "[[vod.credentials]]\nname = 'store'\nzone = 'us-east-1'\nendpoint = '{endpoint}'\nbuckets = ['{BUCKET}']\nkey = '{KEY}'\nsecret = '{SECRET}'\n"
    );
    std::fs::write(file.path(), text)?;
    let path = file.path().to_str().context("UTF-8")?.to_owned();
    Ok((file, path))
}

/// The URI of an object in the store.
fn object(endpoint: &str, key: &str) -> String {
    format!("vod-live://s3/{endpoint}/{BUCKET}/{key}")
}

/// Puts a clip into the server's media directory.
fn put(server: &Server, clip: &Clip, name: &str) -> Result<()> {
    std::fs::copy(&clip.path, server.data().join("media").join(name)).context("copying a clip into the media directory")?;
    Ok(())
}

fn rest(server: &Server, call: &str, body: &Value) -> Result<Response> {
    server.api()?.post(&format!("/rest-api/vod/{call}"), body)
}

fn start(server: &Server, uri: &str, name: &str, looped: bool) -> Result<()> {
    rest(server, "startup", &json!({"uri": uri, "localStreamName": name, "loop": looped}))?.success()?;
    Ok(())
}

/// A stream that is not over, or was, by its name.
fn stream(api: &Http, name: &str) -> Result<Value> {
    let list = api.get("/v1/vod")?.success()?;
    let items = list["items"].as_array().context("no items")?;
    let found = items.iter().find(|item| item["name"] == name);
    Ok(found.with_context(|| format!("no stream {name} in {list}"))?.clone())
}

fn wait_state(server: &Server, name: &str, state: &str) -> Result<Value> {
    let api = server.api()?;
    let mut last = Value::Null;
    wait_for(&format!("{name} is {state}"), PATIENCE, || {
        last = stream(&api, name).ok()?;
        (last["state"] == state).then(|| last.clone())
    })
    .with_context(|| format!("it is {last}"))
}

struct Addresses {
    rtmp: String,
    flv: String,
    hls: String,
    dash: String,
}

fn addresses(server: &Server, name: &str) -> Addresses {
    let (base, rtmp) = (server.base(), server.addresses().rtmp);
    Addresses {
        rtmp: format!("rtmp://{rtmp}/live/{name}"),
        flv: format!("{base}/live/{name}.flv"),
        hls: format!("{base}/live/{name}/index.m3u8"),
        dash: format!("{base}/live/{name}/manifest.mpd"),
    }
}

/// The clip with B-frames, from a store that checks signatures, in every output: every frame of every pass, and no seam.
#[test]
fn a_loop_from_a_store_has_no_seam_in_any_output() -> Result<()> {
    let clip = if watching() > Duration::from_secs(60) { Clip::ten_seconds()? } else { Clip::short()? };
    let source = decode(&clip.ffmpeg, &clip.path)?;
    let store = Store::start(&[BUCKET])?;
    store.put(BUCKET, "loop one.mp4", std::fs::read(&clip.path)?)?;
    let (_file, config) = store_settings(&store.endpoint())?;
    let window = (watching().as_secs() / 2 + 30).min(200).to_string();
    let server = Server::with(&[("config", &config), ("cmaf.window", &window)])?;
    start(&server, &object(&store.endpoint(), "loop%20one.mp4"), "loop", true)?;
    let urls = addresses(&server, "loop");
    let viewers =
        [("RTMP", Watch::start(&urls.rtmp)?), ("HTTP-FLV", Watch::start(&urls.flv)?), ("HLS", Watch::start(&urls.hls)?)];
    let dash = Watch::start(&urls.dash)?;
    let wanted = watching().as_secs() as usize * 30;
    wait_for("the loops were watched", watching() + PATIENCE, || {
        viewers.iter().all(|(_, viewer)| viewer.counts().0 >= wanted).then_some(())
    })?;
    wait_until("DASH was watched", || dash.counts().0 >= wanted / 2)?;
    drop(dash);
    let state = stream(&server.api()?, "loop")?;
    rest(&server, "terminate", &json!({"localStreamName": "loop"}))?.success()?;
    let ended_dash = ("DASH", Watch::start(&urls.dash)?);
    for (what, viewer) in viewers.into_iter().chain([ended_dash]) {
        let seen = viewer.end(PATIENCE).with_context(|| format!("{what}: end"))?;
        ensure!(seen.errors.is_empty(), "{what}: the decoder complains: {}", seen.errors);
        let Loops { pictures, passes, skew } = looped(&source, &seen).context(what)?;
        println!("{what}: {pictures} pictures, {passes} passes, sound and picture {:.1} ms apart", skew * 1000.0);
        ensure!(what == "DASH" || passes >= 2, "{what}: only {passes} passes");
        ensure!(skew.abs() < 0.020, "{what}: sound and picture are {:.1} ms apart", skew * 1000.0);
    }
    let progress = &state["progress"];
    ensure!(progress["pauses"] == 0 && progress["lastError"].is_null(), "{progress}");
    let size = std::fs::metadata(&clip.path)?.len();
    let fetched = progress["bytesFetched"].as_u64().context("no bytesFetched")?;
    ensure!(fetched <= size * 2, "{fetched} bytes of {size} were fetched");
    Ok(())
}

#[test]
fn hls_js_plays_a_loop_without_a_stall() -> Result<()> {
    let server = Server::start()?;
    put(&server, &Clip::short()?, "loop.mp4")?;
    start(&server, "vod-live://loop.mp4", "loop", true)?;
    let seconds = watching().as_secs().max(20).to_string();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/players/play.mjs");
    let url = addresses(&server, "loop").hls;
    let text = output("node", &[script, "--player", "hls", "--seconds", &seconds, "--url-hls", &url, "--json"])?;
    let report: Value = serde_json::from_str(text.lines().next().context("no report")?)?;
    ensure!(report["fatal_errors"].as_array().is_some_and(Vec::is_empty), "{report}");
    ensure!(report["stalls"].as_array().is_some_and(Vec::is_empty), "{report}");
    Ok(())
}

/// The examples and the statuses of the REST calls that other servers have.
#[test]
fn the_rest_calls_answer_as_clients_know_them() -> Result<()> {
    let server = Server::start()?;
    put(&server, &Clip::short()?, "sample.mp4")?;
    let all = |status: u16| -> Result<Value> {
        let answer = server.api()?.request("POST", "/rest-api/vod/find_all", &[], None)?;
        ensure!(answer.status == status, "find_all: {} {}", answer.status, answer.text());
        answer.json()
    };
    let call = |name: &str, body: &Value, status: u16| -> Result<Response> {
        let answer = rest(&server, name, body)?;
        ensure!(answer.status == status, "{name} {body}: {} {}", answer.status, answer.text());
        Ok(answer)
    };
    all(404)?;
    call("find", &json!({"localStreamName": "test"}), 404)?;
    call("terminate", &json!({"uri": "vod://sample.mp4", "localStreamName": "test"}), 404)?;
    let missing = call("startup", &json!({"uri": "vod-live://missing.mp4", "localStreamName": "test"}), 500)?;
    ensure!(missing.text().contains("File not found"), "{}", missing.text());

    let startup = json!({"uri": "vod-live://sample.mp4", "localStreamName": "test", "loop": true});
    call("startup", &startup, 200)?;
    let found = call("find", &json!({"localStreamName": "test"}), 200)?.json()?;
    let id = found[0]["localMediaSessionId"].as_str().context("no localMediaSessionId")?.to_owned();
    let expected = json!([{
        "localMediaSessionId": id, "localStreamName": "test", "uri": "vod-live://sample.mp4", "status": "PROCESSED_LOCAL",
        "hasAudio": true, "hasVideo": true, "record": false, "loop": true
    }]);
    ensure!(found == expected, "{found}");
    ensure!(all(200)? == expected);
    call("startup", &startup, 409)?;
    call("startup", &json!({"uri": "vod-live://sample.mp4", "localStreamName": "other"}), 200)?;
    ensure!(all(200)?.as_array().is_some_and(|all| all.len() == 2));
    ensure!(call("find", &json!({"localStreamName": "other"}), 200)?.json()?[0]["loop"] == false);
    ensure!(call("find", &json!({"uri": "vod-live://sample.mp4"}), 200)?.json()?.as_array().is_some_and(|all| all.len() == 2));
    call("terminate", &json!({"uri": "vod-live://sample.mp4", "localStreamName": "test"}), 200)?;
    call("find", &json!({"localStreamName": "test"}), 404)?;
    call("terminate", &json!({"localStreamName": "other"}), 200)?;
    all(404)?;

    for (body, field) in [
        (json!({"localStreamName": "x"}), "uri"),
        (json!({"uri": "vod-live://sample.mp4"}), "localStreamName"),
        (json!({"uri": "vod-live://sample.mp4", "localStreamName": "a/b"}), "localStreamName"),
        (json!({"uri": "sample.mp4", "localStreamName": "x"}), "uri"),
        (json!({"uri": "vod://sample.mp4", "localStreamName": "x"}), "uri"),
    ] {
        let answer = rest(&server, "startup", &body)?;
        ensure!((400..500).contains(&answer.status) && answer.json()?["field"] == field, "{body}: {}", answer.text());
    }
    let stranger = server.public().post("/rest-api/vod/find_all", &json!({}))?;
    stranger.problem(401)?;
    Ok(())
}

#[test]
fn what_lies_outside_the_media_directory_is_refused() -> Result<()> {
    let server = Server::with(&[("vod.give_up_ms", "1000")])?;
    let media = server.data().join("media");
    std::fs::create_dir_all(media.join("sub"))?;
    put(&server, &Clip::short()?, "sub/a b.mp4")?;
    std::fs::copy(&Clip::short()?.path, server.data().join("outside.mp4"))?;
    std::os::unix::fs::symlink(server.data().join("outside.mp4"), media.join("link.mp4"))?;
    std::fs::write(media.join("broken.mp4"), b"\0\0\0\x08ftyp\xff\xff\xff\xffmoov")?;
    start(&server, "vod-live://sub/a%20b.mp4", "good", false)?;
    for uri in [
        "vod-live://../outside.mp4",
        "vod-live://sub/../../outside.mp4",
        "vod-live://%2e%2e/outside.mp4",
        "vod-live:///etc/passwd",
        "vod-live://a%00.mp4",
        "vod-live://link.mp4",
        "vod-live://sub",
        "vod-live://broken.mp4",
        "vod-live://s3/https://unknown.example/bucket/key.mp4",
    ] {
        let answer = rest(&server, "startup", &json!({"uri": uri, "localStreamName": "bad"}))?;
        ensure!(answer.status == 500, "{uri}: {} {}", answer.status, answer.text());
        let detail = answer.json()?["detail"].as_str().context("no detail")?.to_owned();
        println!("{uri}: {detail}");
        ensure!(detail.len() > 10, "{uri}: {detail}");
    }
    Ok(())
}

/// Watched, it plays on; when the last viewer has left, it ends after the time that is set.
#[test]
fn a_stream_without_viewers_ends() -> Result<()> {
    let server = Server::with(&[("vod.stream_timeout_ms", "3000")])?;
    put(&server, &Clip::short()?, "loop.mp4")?;
    start(&server, "vod-live://loop.mp4", "watched", true)?;
    start(&server, "vod-live://loop.mp4", "alone", true)?;
    let forever = json!({"name": "for-ever", "uri": "vod-live://loop.mp4", "loop": true, "viewerTimeoutMs": 0});
    server.api()?.post("/v1/vod", &forever)?.success()?;
    let viewer = Watch::start(&addresses(&server, "watched").flv)?;
    let alone = wait_state(&server, "alone", "ENDED")?;
    ensure!(alone["reason"].as_str().is_some_and(|reason| reason.contains("nobody watched")), "{alone}");
    viewer.advance(90)?;
    ensure!(stream(&server.api()?, "watched")?["state"] == "PLAYING");
    drop(viewer);
    wait_state(&server, "watched", "ENDED")?;
    ensure!(stream(&server.api()?, "for-ever")?["state"] == "PLAYING");
    ensure!(rest(&server, "find", &json!({"localStreamName": "watched"}))?.status == 404);
    Ok(())
}

#[test]
fn a_personal_stream_has_one_viewer() -> Result<()> {
    let server = Server::start()?;
    put(&server, &Clip::short()?, "film.mp4")?;
    let made = server.api()?.post("/v1/vod", &json!({"name": "mine", "uri": "vod://film.mp4", "loop": true}))?.success()?;
    ensure!(made["personal"] == true && made["urls"]["hls"].is_null() && made["urls"]["rtmp"].is_string(), "{made}");
    let urls = addresses(&server, "mine");
    let viewer = Watch::start(&urls.flv)?;
    viewer.advance(10)?;
    let second = server.public().get(&urls.flv)?;
    ensure!(second.status == 409 && second.text().contains("one viewer"), "{} {}", second.status, second.text());
    let (_, status) = Client::connect(server.addresses().rtmp, "live")?.play("mine")?;
    ensure!(status.level == "error" && status.description.contains("one viewer"), "{status:?}");
    drop(viewer);
    ensure!(server.public().get(&urls.hls)?.status == 404, "a personal stream has no HLS");
    wait_until("the next viewer is let in", || {
        let Ok(mut viewer) = Watch::start(&urls.flv) else { return false };
        let over = wait_until("it plays or was refused", || viewer.counts().0 >= 10 || !viewer.running());
        over.is_ok() && viewer.counts().0 >= 10
    })
}

/// Configured and created channels start with their first viewer, end after the last one, and start again.
#[test]
fn channels_start_on_demand_and_start_again() -> Result<()> {
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(
        file.path(),
        "[vod]\nstream_timeout_ms = 2000\n[[vod.channels]]\nname = 'configured'\nuri = 'vod-live://loop.mp4'\nloop = true\n",
    )?;
    let server = Server::with(&[("config", file.path().to_str().context("UTF-8")?)])?;
    put(&server, &Clip::short()?, "loop.mp4")?;
    let made = json!({"name": "made", "uri": "vod-live://loop.mp4", "loop": true, "onDemand": true});
    server.api()?.post("/v1/vod", &made)?.success()?;
    let missing = json!({"name": "missing", "uri": "vod-live://missing.mp4", "onDemand": true});
    server.api()?.post("/v1/vod", &missing)?.success()?;
    for (name, url) in [("configured", addresses(&server, "configured").flv), ("made", addresses(&server, "made").hls)] {
        ensure!(stream(&server.api()?, name)?["state"] == "IDLE");
        // A viewer of HLS counts for a while after it has left.
        for _ in 0..if url.ends_with(".flv") { 2 } else { 1 } {
            let viewer = Watch::start(&url)?;
            viewer.advance(30)?;
            ensure!(stream(&server.api()?, name)?["state"] == "PLAYING");
            drop(viewer);
            wait_state(&server, name, "IDLE")?;
        }
    }
    let answer = server.public().get(&addresses(&server, "missing").flv)?;
    ensure!(answer.status == 404 && answer.text().contains("File not found"), "{} {}", answer.status, answer.text());
    Ok(())
}

#[test]
fn what_is_to_be_played_survives_a_crash() -> Result<()> {
    let mut server = Server::start()?;
    put(&server, &Clip::short()?, "loop.mp4")?;
    start(&server, "vod-live://loop.mp4", "playing", true)?;
    let api = server.api()?;
    let later = |seconds: i64| -> Result<String> {
        let text = output("date", &["-u", "-d", &format!("+{seconds} seconds"), "+%Y-%m-%dT%H:%M:%SZ"])?;
        Ok(text.trim().to_owned())
    };
    let soon = json!({"name": "soon", "uri": "vod-live://loop.mp4", "loop": true, "startAt": later(6)?, "endAt": later(16)?});
    api.post("/v1/vod", &soon)?.success()?;
    let much_later = json!({"name": "later", "uri": "vod-live://loop.mp4", "startAt": later(3_600)?});
    let much_later = api.post("/v1/vod", &much_later)?.success()?;
    server.kill()?;
    server.restart()?;
    let api = server.api()?;
    wait_state(&server, "playing", "PLAYING")?;
    Watch::start(&addresses(&server, "playing").flv)?.advance(60)?;
    let soon = wait_state(&server, "soon", "PLAYING")?;
    ensure!(soon["startAt"].is_string(), "{soon}");
    let over = wait_state(&server, "soon", "ENDED")?;
    ensure!(over["reason"].as_str().is_some_and(|reason| reason.contains("its time")), "{over}");
    ensure!(stream(&api, "later")?["state"] == "SCHEDULED");
    let path = format!("/v1/vod/{}", much_later["id"].as_str().context("no id")?);
    ensure!(api.delete(&path)?.status == 204 && api.get(&path)?.status == 404);
    // An orderly end keeps them as well.
    server.stop()?;
    server.restart()?;
    wait_state(&server, "playing", "PLAYING")?;
    Ok(())
}

#[test]
fn a_playlist_goes_from_file_to_file() -> Result<()> {
    let server = Server::with(&[("cmaf.window", "30")])?;
    let (short, small) = (Clip::short()?, Clip::small()?);
    put(&server, &short, "a.mp4")?;
    put(&server, &small, "b.mp4")?;
    let playlist = json!([
        {"uri": "vod-live://a.mp4"},
        {"uri": "vod-live://a.mp4", "startOffsetMs": 2_000},
        {"uri": "vod-live://b.mp4", "startOffsetMs": 12_000},
    ]);
    let made = server.api()?.post("/v1/vod", &json!({"name": "list", "playlist": playlist, "loop": false}))?.success()?;
    ensure!(made["playlist"].as_array().is_some_and(|list| list.len() == 3), "{made}");
    let viewer = Watch::start(&addresses(&server, "list").flv)?;
    let seen = viewer.end(PATIENCE)?;
    // FFmpeg's parser of FLV keeps the first configuration and complains ("NULL"); its decoder follows.
    let complaint = |line: &&str| !line.starts_with("[NULL @") && !line.contains("Last message repeated");
    let errors: Vec<_> = seen.errors.lines().filter(complaint).collect();
    ensure!(errors.is_empty(), "the decoder complains: {errors:?}");
    // Four seconds, two of them again, and three of another size; FFmpeg gives the last pictures before the change one time.
    let missing = (120 + 60 + 90_usize).abs_diff(seen.video.len());
    ensure!(missing <= 60 && missing.is_multiple_of(60), "{} pictures", seen.video.len());
    ensure!(seen.video.is_sorted_by(|one, other| one.time <= other.time), "times fall");
    let over = wait_state(&server, "list", "ENDED")?;
    ensure!(over["reason"].as_str().is_some_and(|reason| reason.contains("to its end")), "{over}");
    Ok(())
}

/// A store behind a proxy that misbehaves, and a stream that loops from it with little read ahead.
struct Trouble {
    store: Store,
    proxy: Proxy,
    server: Server,
    viewer: Watch,
}

impl Trouble {
    fn start(clip: &Clip, faults: Faults, give_up_ms: &str) -> Result<Trouble> {
        let store = Store::start(&[BUCKET])?;
        store.put(BUCKET, "film.mp4", std::fs::read(&clip.path)?)?;
        let proxy = Proxy::start(store.address())?;
        proxy.set(faults);
        let (_file, config) = store_settings(&proxy.endpoint())?;
        // No more than the smallest cache, so that the store is asked again and again.
        let settings = [
            ("config", config.as_str()),
            ("vod.buffer_ms", "3000"),
            ("vod.give_up_ms", give_up_ms),
            ("vod.cache_bytes", "8388608"),
        ];
        let server = Server::with(&settings)?;
        start(&server, &object(&proxy.endpoint(), "film.mp4"), "film", true)?;
        let viewer = Watch::start(&addresses(&server, "film").flv)?;
        viewer.advance(30)?;
        Ok(Trouble { store, proxy, server, viewer })
    }

    fn progress(&self) -> Result<Value> {
        Ok(stream(&self.server.api()?, "film")?["progress"].clone())
    }
}

#[test]
fn a_store_that_fails_now_and_then_is_not_noticed() -> Result<()> {
    let clip = Clip::load()?;
    let source = decode(&clip.ffmpeg, &clip.path)?;
    let faults = Faults { refuse_every: 10, reset_after: Some(100_000), strike_every: 7, ..Faults::default() };
    let trouble = Trouble::start(&clip, faults, "20000")?;
    trouble.viewer.advance(watching().as_secs() as usize * 30)?;
    let progress = trouble.progress()?;
    ensure!(progress["pauses"] == 0, "{progress}");
    ensure!(trouble.proxy.struck() > 0, "the store did not fail");
    rest(&trouble.server, "terminate", &json!({"localStreamName": "film"}))?.success()?;
    let seen = trouble.viewer.end(PATIENCE)?;
    ensure!(seen.errors.is_empty(), "the decoder complains: {}", seen.errors);
    looped(&source, &seen)?;
    Ok(())
}

#[test]
fn a_store_that_is_too_slow_makes_a_pause() -> Result<()> {
    let trouble = Trouble::start(&Clip::load()?, Faults::default(), "60000")?;
    // Half of the clip's bit rate.
    trouble.proxy.set(Faults { rate: Some(150_000), ..Faults::default() });
    wait_state(&trouble.server, "film", "BUFFERING")?;
    trouble.proxy.set(Faults::default());
    wait_state(&trouble.server, "film", "PLAYING")?;
    trouble.viewer.advance(90)?;
    let progress = trouble.progress()?;
    ensure!(progress["pauses"].as_u64().is_some_and(|pauses| pauses >= 1), "{progress}");
    ensure!(progress["lastError"].as_str().is_some_and(|error| error.contains("paused for")), "{progress}");
    ensure!(trouble.server.log().contains("the stream goes on after a pause"));
    Ok(())
}

#[test]
fn a_store_that_is_gone_for_good_ends_the_stream() -> Result<()> {
    let trouble = Trouble::start(&Clip::load()?, Faults::default(), "3000")?;
    trouble.proxy.set(Faults { gone: true, ..Faults::default() });
    let over = wait_state(&trouble.server, "film", "FAILED")?;
    println!("{}", over["reason"]);
    ensure!(over["reason"].as_str().is_some_and(|reason| reason.len() > 20), "{over}");
    trouble.viewer.end(PATIENCE)?;
    Ok(())
}

#[test]
fn a_file_that_is_replaced_is_played_from_its_beginning() -> Result<()> {
    let trouble = Trouble::start(&Clip::load()?, Faults::default(), "20000")?;
    // With a free box behind it, so that it is not shorter: the store looks at the range first, and then at the entity tag.
    let mut other = std::fs::read(&Clip::short()?.path)?;
    let size: u32 = 32 << 20;
    other.extend(size.to_be_bytes().iter().chain(b"free"));
    other.resize(other.len() + size as usize - 8, 0);
    trouble.store.put(BUCKET, "film.mp4", other)?;
    let mut last = Value::Null;
    let progress = wait_for("the new file is played", PATIENCE, || {
        last = stream(&trouble.server.api().ok()?, "film").ok()?;
        let progress = &last["progress"];
        (progress["lastError"].is_string() && progress["loops"].as_u64() >= Some(2)).then(|| progress.clone())
    })
    .with_context(|| format!("it is {last}"))?;
    ensure!(progress["lastError"].as_str().is_some_and(|error| error.contains("changed")), "{progress}");
    trouble.viewer.advance(60)?;
    Ok(())
}

#[test]
fn a_process_that_stood_still_does_not_burst() -> Result<()> {
    let server = Server::start()?;
    put(&server, &Clip::short()?, "loop.mp4")?;
    start(&server, "vod-live://loop.mp4", "loop", true)?;
    let viewer = Watch::start(&addresses(&server, "loop").flv)?;
    viewer.advance(30)?;
    flyloft_tests::process::signal(server.pid(), Signal::Pause)?;
    let stopped = Instant::now();
    wait_for("five seconds are over", PATIENCE, || (stopped.elapsed() > Duration::from_secs(5)).then_some(()))?;
    flyloft_tests::process::signal(server.pid(), Signal::Continue)?;
    viewer.advance(30)?;
    let progress = wait_for("the pause is noted", PATIENCE, || {
        let progress = stream(&server.api().ok()?, "loop").ok()?["progress"].clone();
        (progress["pauses"] == 1).then_some(progress)
    })?;
    ensure!(progress["pausedMs"].as_u64().is_some_and(|paused| paused >= 3_500), "{progress}");
    let times: Vec<f64> = viewer.frames().video.iter().map(|frame| frame.time).collect();
    let longest = times.windows(2).map(|pair| pair[1] - pair[0]).fold(0.0, f64::max);
    ensure!(longest > 3.5, "the timestamps do not show the pause: {longest}");
    Ok(())
}

/// A recorded file as a room's stream: in the name of its owner, with the room's addresses and states.
#[test]
fn a_room_shows_a_recorded_file() -> Result<()> {
    let server = Server::start()?;
    put(&server, &Clip::short()?, "loop.mp4")?;
    let (member, room) = crate::show::cast(&server, "ada")?;
    let stream = json!({"name": "in-the-room", "uri": "vod-live://loop.mp4", "loop": true, "roomId": room});
    let made = server.api()?.post("/v1/vod", &stream)?.success()?;
    server.wait_room_state(&room, "LIVE")?;
    let urls = server.urls(&room)?;
    for url in [&urls.rtmp, &urls.flv, &urls.hls, &urls.dash] {
        Watch::start(url.as_deref().context("the room has all outputs")?)?.advance(30)?;
    }
    ensure!(server.key_state(&member)? == "ACTIVE_LIVE", "{}", server.key_state(&member)?);
    let taken = server.api()?.post("/v1/vod", &json!({"name": "second", "uri": "vod-live://loop.mp4", "roomId": room}))?;
    ensure!(taken.problem(409)?["code"] == "already-publishing", "{}", taken.text());
    let path = format!("/v1/vod/{}", made["id"].as_str().context("no id")?);
    ensure!(server.api()?.delete(&path)?.status == 204);
    server.wait_room_state(&room, "LIVE_INACTIVE")?;
    server.end_room(&room, false)?.success()?;
    Ok(())
}
