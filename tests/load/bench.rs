//! `flyloft-bench-viewers`: a thousand viewers on nginx-rtmp and on Flyloft in turns, on the same machine in the same
//! run, with the same publisher and the same viewers; prints what each server's CPU and memory did.

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use flyloft_tests::clip::Clip;
use flyloft_tests::push::Push;
use flyloft_tests::server::{Server, binary};
use flyloft_tests::{PATIENCE, wait_for};
use serde_json::Value;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Compares Flyloft with nginx-rtmp under many viewers. One server runs at a time.
#[derive(Parser)]
#[command(name = "flyloft-bench-viewers", version)]
struct Options {
    /// Viewers of each run
    #[arg(long, default_value_t = 1000)]
    viewers: u32,
    /// Viewers of the HLS run (0: none); each asks for the playlist and for each part
    #[arg(long, default_value_t = 300)]
    hls_viewers: u32,
    /// Seconds measured in each run
    #[arg(long, default_value_t = 15)]
    seconds: u32,
    /// How often each pair is measured
    #[arg(long, default_value_t = 2)]
    rounds: u32,
    /// Measure Flyloft alone
    #[arg(long)]
    alone: bool,
    /// Settings of Flyloft, as in its configuration file: egress.coalesce_ms=20
    #[arg(long = "set", value_name = "KEY=VALUE")]
    settings: Vec<String>,
}

fn main() -> Result<()> {
    let options = Options::parse();
    let clip = Clip::load()?;
    let flyloft = binary()?;
    let mut runs = Vec::new();
    for _ in 0..options.rounds {
        if !options.alone {
            runs.push(nginx(&options, &clip)?);
        }
        runs.push(flyloft_run(&options, &clip, &flyloft, "RTMP")?);
    }
    for _ in 0..options.rounds {
        runs.push(flyloft_run(&options, &clip, &flyloft, "HTTP-FLV")?);
    }
    if options.hls_viewers > 0 {
        runs.push(flyloft_run(&options, &clip, &flyloft, "HLS")?);
    }
    print_table(&runs);
    Ok(())
}

struct Run {
    server: &'static str,
    protocol: &'static str,
    report: Value,
}

impl Run {
    fn number(&self, pointer: &str) -> f64 {
        self.report.pointer(pointer).and_then(Value::as_f64).unwrap_or(f64::NAN)
    }
}

fn print_table(runs: &[Run]) {
    println!();
    println!(
        "| server | protocol | viewers | CPU s/Gbit | Mbit/s each | gap p99 / max ms | stalls | disconnects | skipped | KiB/viewer |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    for run in runs {
        println!(
            "| {} | {} | {} | {:.4} | {:.2} | {} / {} | {} | {} | {} of {} | {:.1} |",
            run.server,
            run.protocol,
            run.report["viewersConnected"],
            run.number("/cpuSecondsPerGbit"),
            run.number("/mbitPerViewer"),
            run.report["longestGapMs"]["p99"],
            run.report["longestGapMs"]["max"],
            run.report["stalls"],
            run.report["disconnects"],
            run.report["framesSkipped"],
            run.report["framesParsed"],
            run.number("/kibPerViewer"),
        );
    }
    let mean = |server: &str, protocol: &str| -> Option<f64> {
        let of: Vec<f64> = runs
            .iter()
            .filter(|run| run.server == server && run.protocol == protocol)
            .map(|run| run.number("/cpuSecondsPerGbit"))
            .collect();
        (!of.is_empty()).then(|| of.iter().sum::<f64>() / of.len() as f64)
    };
    if let Some(peer) = mean("nginx-rtmp", "RTMP") {
        for protocol in ["RTMP", "HTTP-FLV"] {
            if let Some(own) = mean("Flyloft", protocol) {
                println!(
                    "Flyloft by {protocol} needs {:.2} of nginx-rtmp's CPU seconds per Gbit ({own:.4} / {peer:.4})",
                    own / peer
                );
            }
        }
    }
}

/// Runs the load generator, which is installed beside this program.
fn load(viewers: u32, options: &Options, url: &str, pid: u32, label: &str) -> Result<Value> {
    let tool = std::env::current_exe()?.with_file_name("flyloft-load");
    let (viewers, seconds) = (viewers.to_string(), options.seconds.to_string());
    let output = Command::new(&tool)
        .args([url, "--viewers", &viewers, "--seconds", &seconds, "--server-pid", &pid.to_string(), "--label", label])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("running {}", tool.display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let mut lines = text.lines();
    let json = lines.next().unwrap_or_default();
    ensure!(output.status.success(), "the load generator ended with {}: {text}", output.status);
    println!("{}", lines.next().unwrap_or_default());
    serde_json::from_str(json).with_context(|| format!("not JSON: {json}"))
}

fn flyloft_run(options: &Options, clip: &Clip, binary: &Path, protocol: &'static str) -> Result<Run> {
    let mut settings = Vec::new();
    for setting in &options.settings {
        settings.push(setting.split_once('=').with_context(|| format!("--set {setting}: expected KEY=VALUE"))?);
    }
    let server = Server::run(binary, &settings)?;
    let member = server.member("bench")?;
    let room = server.room("bench", "A thousand viewers")?;
    let _push = Push::looped(clip, &server.push_url(&member))?;
    let urls = server.go_live(&member, &room)?;
    let (url, viewers) = match protocol {
        "RTMP" => (urls.rtmp, options.viewers),
        "HLS" => (urls.hls, options.hls_viewers),
        _ => (urls.flv, options.viewers),
    };
    let url = url.with_context(|| format!("the room has no output {protocol}"))?;
    let report = load(viewers, options, &url, server.pid(), &format!("Flyloft {protocol}"))?;
    Ok(Run { server: "Flyloft", protocol, report })
}

/// nginx with its RTMP module, one worker, in the foreground.
struct Nginx {
    child: Child,
    address: SocketAddr,
    _directory: tempfile::TempDir,
}

impl Nginx {
    fn start() -> Result<Nginx> {
        let directory = tempfile::tempdir()?;
        let module = ["/usr/lib/nginx/modules/ngx_rtmp_module.so", "/usr/lib64/nginx/modules/ngx_rtmp_module.so"]
            .map(PathBuf::from)
            .into_iter()
            .find(|path| path.exists());
        let Some(module) = module else {
            bail!("nginx's RTMP module is not installed (apt-get install nginx libnginx-mod-rtmp); --alone measures without it");
        };
        // Asked of the system and given back: nginx can't say which port it got.
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let at = directory.path().display();
        let configuration = format!(
            "load_module {};\nworker_processes 1;\nworker_rlimit_nofile 65536;\ndaemon off;\npid {at}/pid;\nerror_log {at}/error.log;\n\
             events {{ worker_connections 16384; }}\n\
             rtmp {{ access_log off; server {{ listen {address}; chunk_size 4096; application live {{ live on; }} }} }}\n",
            module.display()
        );
        let file = directory.path().join("nginx.conf");
        std::fs::write(&file, configuration)?;
        let mut child = Command::new("nginx")
            .args(["-p"])
            .arg(directory.path())
            .arg("-c")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("starting nginx")?;
        wait_for("nginx listens", PATIENCE, || match child.try_wait() {
            Ok(None) => TcpStream::connect(address).ok().map(drop),
            _ => None,
        })?;
        Ok(Nginx { child, address, _directory: directory })
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // The master stops its worker when asked to; killed, it would leave it behind.
        let _ = flyloft_tests::process::signal(self.child.id(), flyloft_tests::process::Signal::Terminate);
        let _ = self.child.wait();
    }
}

fn nginx(options: &Options, clip: &Clip) -> Result<Run> {
    let nginx = Nginx::start()?;
    let url = format!("rtmp://{}/live/bench", nginx.address);
    let mut push = Push::looped(clip, &url)?;
    ensure!(push.running(), "ffmpeg does not push to nginx");
    let report = load(options.viewers, options, &url, nginx.child.id(), "nginx-rtmp RTMP")?;
    Ok(Run { server: "nginx-rtmp", protocol: "RTMP", report })
}
