//! What HTTP players, caches and browsers rely on: playlists, blocking reload, ranges, validators, CORS, chunked media.

use crate::show::Show;
use anyhow::{Context, Result, ensure};
use flyloft_tests::clip::Clip;
use flyloft_tests::http::{Http, Response};
use flyloft_tests::{PATIENCE, wait_for};
use std::io::Read;
use std::process::{Command, Stdio};

/// `uri` as a player resolves it that has read it in the document at `base`.
pub fn resolve(base: &str, uri: &str) -> String {
    if uri.contains("://") {
        return uri.to_owned();
    }
    let origin_end = base.find("://").map_or(0, |at| at + 3);
    let path = base[origin_end..].find('/').map_or(base.len(), |at| origin_end + at);
    match uri.strip_prefix('/') {
        Some(absolute) => format!("{}/{absolute}", &base[..path]),
        None => format!("{}/{uri}", base[..base.rfind('/').unwrap_or(base.len())].trim_end_matches('/')),
    }
}

/// The address of the video's media playlist, taken from the multivariant one.
pub fn media_url(http: &Http, multivariant: &str) -> Result<String> {
    let text = http.get(multivariant)?.text();
    let mut lines = text.lines().skip_while(|line| !line.starts_with("#EXT-X-STREAM-INF:"));
    let uri = lines.nth(1).with_context(|| format!("no variant in {text}"))?;
    Ok(resolve(multivariant, uri))
}

/// The text of the video's media playlist; with `skip` as a delta update.
pub fn media_playlist(show: &Show, skip: bool) -> Result<String> {
    let http = show.server.public();
    let url = media_url(&http, show.hls()?)?;
    let answer = http.get(&format!("{url}{}", if skip { "?_HLS_skip=YES" } else { "" }))?;
    ensure!(answer.status == 200, "status {}: {}", answer.status, answer.text());
    Ok(answer.text())
}

/// The value of an attribute of the first line that begins with `tag`.
pub fn attribute(playlist: &str, tag: &str, name: &str) -> Option<String> {
    let line = playlist.lines().find_map(|line| line.strip_prefix(tag)?.strip_prefix(':'))?;
    let start = line.find(&format!("{name}="))? + name.len() + 1;
    let rest = &line[start..];
    let value = match rest.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next(),
        None => rest.split(',').next(),
    };
    value.map(str::to_owned)
}

/// The media sequence number of the last complete segment.
fn last_segment(playlist: &str) -> Result<u64> {
    let first = playlist.lines().find_map(|line| line.strip_prefix("#EXT-X-MEDIA-SEQUENCE:"));
    let first: u64 = first.with_context(|| format!("no media sequence in {playlist}"))?.parse()?;
    let count = playlist.lines().filter(|line| line.starts_with("#EXTINF:")).count() as u64;
    (first + count).checked_sub(1).context("no segment")
}

/// A playlist with some complete segments in it.
fn grown(show: &Show, segments: u64) -> Result<(String, String)> {
    let http = show.server.public();
    let url = media_url(&http, show.hls()?)?;
    let playlist = wait_for(&format!("there are {segments} segments"), PATIENCE * 2, || {
        let text = http.get(&url).ok()?.text();
        (text.matches("#EXTINF:").count() as u64 >= segments).then_some(text)
    })?;
    Ok((url, playlist))
}

#[test]
fn low_latency_playlists_have_all_that_a_player_needs() -> Result<()> {
    let show = Show::start(&Clip::h264()?, &[])?;
    let http = show.server.public();
    let (url, playlist) = grown(&show, 2)?;
    for needed in [
        "#EXTM3U\n",
        "#EXT-X-VERSION:",
        "#EXT-X-TARGETDURATION:",
        "CAN-BLOCK-RELOAD=YES",
        "PART-HOLD-BACK=",
        "CAN-SKIP-UNTIL=",
        "#EXT-X-PART-INF:PART-TARGET=",
        "#EXT-X-MAP:",
        "#EXT-X-PART:",
        "INDEPENDENT=YES",
        "#EXT-X-PROGRAM-DATE-TIME:",
        "#EXT-X-PRELOAD-HINT:TYPE=PART",
        "#EXT-X-RENDITION-REPORT:",
    ] {
        ensure!(playlist.contains(needed), "no {needed} in {playlist}");
    }
    let multivariant = http.get(show.hls()?)?.text();
    let codecs = attribute(&multivariant, "#EXT-X-STREAM-INF", "CODECS").context("no CODECS")?;
    ensure!(codecs.contains("avc1.64") && codecs.contains("mp4a.40.2"), "{codecs}");
    ensure!(multivariant.contains("RESOLUTION=640x360") && multivariant.contains("TYPE=AUDIO"), "{multivariant}");

    let next = last_segment(&playlist)? + 1;
    let blocked = http.get(&format!("{url}?_HLS_msn={next}"))?.text();
    ensure!(last_segment(&blocked)? >= next, "the answer came before segment {next}: {blocked}");
    let after = last_segment(&blocked)? + 1;
    let part = http.get(&format!("{url}?_HLS_msn={after}&_HLS_part=1"))?.text();
    let has_part = |line: &str| line.starts_with("#EXT-X-PART:") && line.contains(&format!("{after}.1."));
    ensure!(last_segment(&part)? >= after || part.lines().any(has_part), "the answer came before part {after}.1: {part}");
    for wrong in ["?_HLS_msn=99999999", "?_HLS_part=1", "?_HLS_msn=abc", "?_HLS_msn=-1"] {
        http.get(&format!("{url}{wrong}"))?.problem(400).context(wrong)?;
    }

    let hint = attribute(&playlist, "#EXT-X-PRELOAD-HINT", "URI").context("no hint")?;
    let hint = resolve(&url, &hint);
    let part = http.get(&hint)?;
    // The first part of a segment begins with the producer's reference time.
    let boxes = part.body.get(4..8);
    ensure!(part.status == 200 && (boxes == Some(b"moof") || boxes == Some(b"prft")), "{hint}: {} {boxes:?}", part.status);
    Ok(())
}

#[test]
fn delta_updates_skip_what_is_old() -> Result<()> {
    let show = Show::start(&Clip::h264()?, &[("cmaf.window", "14")])?;
    let (url, _) = grown(&show, 10)?;
    let http = show.server.public();
    let (whole, delta) = (http.get(&url)?.text(), http.get(&format!("{url}?_HLS_skip=YES"))?.text());
    let skipped: usize = attribute(&delta, "#EXT-X-SKIP", "SKIPPED-SEGMENTS").context(delta.clone())?.parse()?;
    ensure!(skipped > 0 && delta.len() < whole.len(), "{delta}");
    ensure!(delta.matches("#EXTINF:").count() + skipped >= whole.matches("#EXTINF:").count(), "{whole}\n{delta}");
    Ok(())
}

/// Files that never change: the initialisation section and the oldest segments of a playlist.
fn files(url: &str, playlist: &str) -> Result<[String; 2]> {
    let map = attribute(playlist, "#EXT-X-MAP", "URI").context("no EXT-X-MAP")?;
    // The oldest but one: the oldest may leave the window while the test looks at it.
    let segment = playlist.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).nth(1).context("no segment")?;
    Ok([resolve(url, &map), resolve(url, segment)])
}

#[test]
fn caches_and_browsers_get_what_they_need() -> Result<()> {
    let show = Show::start(&Clip::h264()?, &[("cmaf.window", "20")])?;
    let http = show.server.public();
    let (media, playlist) = grown(&show, 3)?;
    let [init, segment] = files(&media, &playlist)?;
    let playlists = [
        (show.hls()?, "application/vnd.apple.mpegurl"),
        (&media, "application/vnd.apple.mpegurl"),
        (show.dash()?, "application/dash+xml"),
    ];
    for (url, kind) in playlists {
        let plain = http.get(url)?;
        ensure!(plain.need("content-type")?.starts_with(kind), "{url}: {plain:?}");
        ensure!(plain.need("access-control-allow-origin")? == "*", "{url}");
        ensure!(!plain.need("cache-control")?.contains("immutable"), "{url}");
        let zipped = http.request("GET", url, &[("accept-encoding", "gzip")], None)?;
        ensure!(zipped.need("content-encoding")? == "gzip" && zipped.body.starts_with(&[0x1f, 0x8b]), "{url}: {zipped:?}");
        ensure!(zipped.header("vary").is_some_and(|vary| vary.to_lowercase().contains("accept-encoding")), "{url}");
    }
    for (url, kind) in [(&init, "video/mp4"), (&segment, "video/")] {
        let whole = http.get(url)?;
        ensure!(
            whole.status == 200 && whole.need("content-type")?.starts_with(kind),
            "{url}: {:?}",
            whole.header("content-type")
        );
        ensure!(whole.need("access-control-allow-origin")? == "*", "{url}");
        ensure!(whole.need("cache-control")?.contains("max-age="), "{url}");
        check_validators(&http, url, &whole)?;
        check_ranges(&http, url, &whole)?;
    }
    let preflight = [
        ("origin", "https://example.org"),
        ("access-control-request-method", "GET"),
        ("access-control-request-headers", "range"),
    ];
    for url in [show.hls()?, &segment, show.flv()?] {
        let answer = http.request("OPTIONS", url, &preflight, None)?;
        ensure!(
            (200..300).contains(&answer.status) && answer.header("access-control-allow-origin").is_some(),
            "{url}: {answer:?}"
        );
        let allowed = answer.need("access-control-allow-headers")?.to_lowercase();
        ensure!(allowed == "*" || allowed.contains("range"), "{url}: {allowed}");
    }
    let head = http.request("HEAD", &segment, &[], None)?;
    ensure!(head.status == 200 && head.body.is_empty(), "{head:?}");
    Ok(())
}

fn check_validators(http: &Http, url: &str, whole: &Response) -> Result<()> {
    let etag = whole.need("etag")?;
    let again = http.request("GET", url, &[("if-none-match", etag)], None)?;
    ensure!(again.status == 304 && again.body.is_empty(), "{url}: {again:?}");
    ensure!(again.need("etag")? == etag, "{url}: another ETag with 304");
    let other = http.request("GET", url, &[("if-none-match", "\"something-else\"")], None)?;
    ensure!(other.status == 200 && other.body == whole.body, "{url}: {}", other.status);
    Ok(())
}

fn check_ranges(http: &Http, url: &str, whole: &Response) -> Result<()> {
    let size = whole.body.len();
    let tail = whole.body.get(size.saturating_sub(50)..).unwrap_or_default();
    let middle = whole.body.get(10..=59).context("a file of less than 60 bytes")?;
    for (range, bytes, content) in [
        ("bytes=10-59".to_owned(), middle, format!("bytes 10-59/{size}")),
        ("bytes=-50".to_owned(), tail, format!("bytes {}-{}/{size}", size - 50, size - 1)),
        (format!("bytes={}-", size - 50), tail, format!("bytes {}-{}/{size}", size - 50, size - 1)),
    ] {
        let part = http.request("GET", url, &[("range", &range)], None)?;
        ensure!(part.status == 206 && part.body == bytes, "{url} {range}: status {}", part.status);
        ensure!(part.need("content-range")? == content, "{url} {range}: {part:?}");
    }
    let beyond = http.request("GET", url, &[("range", "bytes=999999999-")], None)?;
    ensure!(beyond.status == 416 && beyond.need("content-range")? == format!("bytes */{size}"), "{url}: {beyond:?}");
    Ok(())
}

#[test]
fn a_segment_is_sent_while_it_is_made() -> Result<()> {
    let show = Show::start(&Clip::h264()?, &[])?;
    let http = show.server.public();
    let manifest = http.get(show.dash()?)?.text();
    for needed in ["type=\"dynamic\"", "availabilityTimeOffset=", "<UTCTiming", "codecs=\"avc1.64", "codecs=\"mp4a.40.2\""] {
        ensure!(manifest.contains(needed), "no {needed} in {manifest}");
    }
    let (url, playlist) = grown(&show, 2)?;
    let hint = attribute(&playlist, "#EXT-X-PRELOAD-HINT", "URI").context("no hint")?;
    // `…/12.3.m4s` is a part of the segment `…/12.m4s` that is being made now.
    let (name, _) = hint.rsplit_once(".m4s").context(hint.clone())?;
    let (number, _) = name.rsplit_once('.').context(hint.clone())?;
    let next = last_segment(&playlist)? + 1;
    let (head, mut body) = http.stream(&resolve(&url, &format!("{number}.m4s")), &[])?;
    ensure!(head.status == 200, "status {}", head.status);
    ensure!(head.header("content-length").is_none() && head.need("transfer-encoding")? == "chunked", "{head:?}");
    let mut bytes = Vec::new();
    body.read_to_end(&mut bytes)?;
    ensure!(bytes.windows(4).filter(|name| name == b"moof").count() > 1, "not more than one chunk in {} bytes", bytes.len());
    ensure!(last_segment(&http.get(&url)?.text())? >= next, "the body ended before the segment did");
    let later = http.get(&resolve(&url, &format!("{number}.m4s")))?;
    ensure!(later.body == bytes, "the segment differs from what was sent while it was made");
    Ok(())
}

#[test]
fn http_2_carries_every_output() -> Result<()> {
    let show = Show::start(&Clip::h264()?, &[])?;
    let secure = show.flv()?.replace(&show.server.base(), &format!("https://{}", show.server.addresses().https));
    ensure!(secure.starts_with("https://"), "{secure}");
    for (url, options) in [
        (show.flv()?, &["--http2-prior-knowledge"][..]),
        (&secure, &["--http2", "--insecure"]),
        (show.hls()?, &["--http2-prior-knowledge"]),
    ] {
        let mut curl = Command::new("curl")
            .args(["--silent", "--no-buffer", "--dump-header", "-"])
            .args(options)
            .arg(url)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("running curl")?;
        let mut bytes = vec![0; 400];
        let read = curl.stdout.take().context("no output")?.read_exact(&mut bytes);
        curl.kill()?;
        curl.wait()?;
        let text = String::from_utf8_lossy(&bytes);
        read.with_context(|| format!("{url}: {text}"))?;
        ensure!(text.starts_with("HTTP/2 200"), "{url}: {text}");
        ensure!(text.contains("content-type: video/x-flv") || text.contains("mpegurl"), "{url}: {text}");
    }
    Ok(())
}

#[test]
fn errors_are_problem_details() -> Result<()> {
    let server = flyloft_tests::server::Server::start()?;
    let (public, api) = (server.public(), server.api()?);
    public.get("/v1/video-rooms")?.problem(401)?;
    ensure!(public.get("/v1/video-rooms")?.header("www-authenticate").is_some(), "no WWW-Authenticate");
    api.get("/v1/nothing-here")?.problem(404)?;
    api.get("/v1/video-rooms/nobody")?.problem(404)?;
    api.delete("/v1/video-rooms")?.problem(405)?;
    let json = [("content-type", "application/json")];
    let syntax = api.request("POST", "/v1/members", &json, Some(b"{\"appUserId\": }"))?.problem(400)?;
    ensure!(syntax["detail"].as_str().is_some_and(|text| text.contains("column")), "{syntax}");
    let unknown = api.request("POST", "/v1/members", &json, Some(br#"{"appUserId":"a","colour":"red"}"#))?;
    ensure!(unknown.status == 400 || unknown.status == 422, "{unknown:?}");
    ensure!(unknown.problem(unknown.status)?["detail"].as_str().is_some_and(|text| text.contains("colour")), "{unknown:?}");
    let wrong = api.request("POST", "/v1/members", &json, Some(br#"{"appUserId":7}"#))?;
    ensure!(wrong.status == 400 || wrong.status == 422, "{wrong:?}");
    wrong.problem(wrong.status)?;
    let large = vec![b' '; 4 << 20];
    // Without asking first, the refusal could come while the body is still being sent, and get lost.
    let asking = [json[0], ("expect", "100-continue")];
    api.request("POST", "/v1/members", &asking, Some(&large))?.problem(413)?;
    api.request("POST", "/v1/members", &[("content-type", "text/plain")], Some(b"{}"))?.problem(415)?;
    for path in ["/live/nobody.flv", "/live/nobody/index.m3u8", "/live/nobody/manifest.mpd"] {
        public.get(path)?.problem(404).context(path)?;
    }
    Ok(())
}

#[test]
fn the_server_tells_about_itself() -> Result<()> {
    let show = Show::start(&Clip::h264()?, &[])?;
    let public = show.server.public();
    ensure!(public.get("/healthz")?.status == 200 && public.get("/readyz")?.status == 200);
    let metrics = public.get("/metrics")?;
    ensure!(metrics.need("content-type")?.starts_with("text/plain"), "{metrics:?}");
    ensure!(metrics.text().lines().any(|line| line.starts_with("flyloft_")), "{}", metrics.text());
    let openapi = public.get("/v1/openapi.json")?.success()?;
    ensure!(openapi["openapi"].as_str().is_some_and(|version| version.starts_with("3.1")), "{}", openapi["openapi"]);
    ensure!(openapi["paths"].as_object().is_some_and(|paths| paths.len() > 10), "few paths");
    ensure!(public.get("/v1/docs")?.status == 200);
    let rooms = public.get("/v1/public/rooms")?.success()?;
    ensure!(rooms["items"].as_array().is_some_and(|rooms| rooms.iter().any(|room| room["id"] == show.room.as_str())), "{rooms}");
    ensure!(public.get(&format!("/watch/{}", show.room))?.text().contains("<html"), "no watch page");
    Ok(())
}
