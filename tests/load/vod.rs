//! `flyloft-bench-vod`: many loops of one recorded file, and of as many different ones, from a store that checks signatures; prints
//! what they cost the server, and how much it fetched.

use anyhow::{Context, Result, ensure};
use clap::Parser;
use flyloft_tests::clip::Clip;
use flyloft_tests::process::raise_open_files;
use flyloft_tests::s3::{KEY, SECRET, Store};
use flyloft_tests::server::{Server, binary};
use flyloft_tests::wait_for;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const BUCKET: &str = "films";
const MIB: f64 = (1 << 20) as f64;

/// Loops recorded files as live streams, and measures the server.
#[derive(Parser)]
#[command(name = "flyloft-bench-vod", version)]
struct Options {
    /// Streams of each run
    #[arg(long, default_value_t = 200)]
    streams: usize,
    /// Seconds measured in each run
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Only the run in which all play the same file
    #[arg(long)]
    same: bool,
    /// Only the run in which each plays a file of its own
    #[arg(long)]
    different: bool,
    /// The outputs of the streams: RTMP, CMAF or RTMP_CMAF
    #[arg(long, default_value = "RTMP_CMAF")]
    mode: String,
    /// Settings of Flyloft, as in its configuration file: vod.buffer_ms=5000
    #[arg(long = "set", value_name = "KEY=VALUE")]
    settings: Vec<String>,
}

fn main() -> Result<()> {
    let options = Options::parse();
    ensure!(options.streams > 0 && options.seconds > 0, "--streams and --seconds must be above 0");
    raise_open_files()?;
    let clip = Clip::ten_seconds()?;
    let content = std::fs::read(&clip.path)?;
    println!("a clip of 10 s with {:.2} MiB, {} streams, {}", content.len() as f64 / MIB, options.streams, options.mode);
    for (objects, wanted) in [(1, !options.different), (options.streams, !options.same)] {
        if wanted {
            run(&options, &content, objects)?;
        }
    }
    Ok(())
}

fn run(options: &Options, content: &[u8], objects: usize) -> Result<()> {
    let store = Store::start(&[BUCKET])?;
    for index in 0..objects {
        store.put(BUCKET, &format!("{index}.mp4"), content)?;
    }
    let file = tempfile::NamedTempFile::new()?;
    let endpoint = store.endpoint();
    std::fs::write(
        file.path(),
        format!(
            "[[vod.credentials]]\nname = 'store'\nzone = 'us-east-1'\nendpoint = '{endpoint}'\nkey = '{KEY}'\nsecret = '{SECRET}'\n"
        ),
    )?;
    let mut settings = vec![("config", file.path().to_str().context("UTF-8")?)];
    for setting in &options.settings {
        settings.push(setting.split_once('=').with_context(|| format!("{setting}: expected KEY=VALUE"))?);
    }
    let server = Server::run(&binary()?, &settings)?;
    let api = server.api()?;
    let idle = server.usage()?;
    for index in 0..options.streams {
        let uri = format!("vod-live://s3/{endpoint}/{BUCKET}/{}.mp4", index % objects);
        let stream =
            json!({"name": format!("loop-{index}"), "uri": uri, "loop": true, "mode": options.mode, "viewerTimeoutMs": 0});
        api.post("/v1/vod", &stream)?.success().with_context(|| format!("starting stream {index}"))?;
    }
    let streams = || -> Result<Vec<Value>> {
        let mut all = Vec::new();
        let mut cursor = String::new();
        loop {
            let page = api.get(&format!("/v1/vod?limit=100{cursor}"))?.success()?;
            all.extend(page["items"].as_array().context("no items")?.iter().cloned());
            match page["nextCursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return Ok(all),
            }
        }
    };
    let playing = |all: &[Value]| all.iter().filter(|stream| stream["state"] == "PLAYING").count();
    wait_for("all play", Duration::from_secs(120), || (playing(&streams().ok()?) == options.streams).then_some(()))?;
    // Until every ring and every window is full.
    std::thread::sleep(Duration::from_secs(25));
    let (begin, first, fetched) = (Instant::now(), server.usage()?, store.bytes());
    let mut largest = first.rss;
    while begin.elapsed() < Duration::from_secs(options.seconds) {
        std::thread::sleep(Duration::from_secs(5).min(Duration::from_secs(options.seconds).saturating_sub(begin.elapsed())));
        largest = largest.max(server.usage()?.rss);
    }
    let (seconds, last) = (begin.elapsed().as_secs_f64(), server.usage()?);
    let all = streams()?;
    let sum = |field: &str| all.iter().filter_map(|stream| stream["progress"][field].as_u64()).sum::<u64>();
    let each = |rss: u64| rss.saturating_sub(idle.rss) as f64 / MIB / options.streams as f64;
    let report = json!({
        "streams": options.streams,
        "objects": objects,
        "playing": playing(&all),
        "cpuPercent": (last.cpu.saturating_sub(first.cpu)).as_secs_f64() / seconds * 100.0,
        "idleRssMib": idle.rss as f64 / MIB,
        "rssMibPerStream": {"begin": each(first.rss), "end": each(last.rss), "largest": each(largest)},
        "loops": sum("loops"),
        "pauses": sum("pauses"),
        "fetchedMib": {"begin": fetched as f64 / MIB, "end": store.bytes() as f64 / MIB},
        "objectsMib": content.len() as f64 * objects as f64 / MIB,
        "requests": store.requests(),
    });
    println!("{report}");
    Ok(())
}
