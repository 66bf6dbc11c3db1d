//! The result of a run: one JSON line for machines, one line for people.

use crate::viewer::Viewer;
use flyloft_tests::process::Usage;
use serde_json::{Value, json};
use std::time::Duration;

/// Everything that was measured.
pub struct Report {
    pub label: String,
    pub url: String,
    /// Viewers asked for.
    pub wanted: usize,
    /// Viewers that played when the window began.
    pub connected: usize,
    pub window: Duration,
    pub own_cpu: Duration,
    /// The server before the first viewer, at the window's begin, and at its end.
    pub server: Option<((Usage, Usage), Usage)>,
    pub viewers: Vec<Viewer>,
}

impl Report {
    pub fn json(&self) -> Value {
        let mut gaps: Vec<Duration> =
            self.viewers.iter().filter(|viewer| viewer.playing()).map(|viewer| viewer.longest_gap).collect();
        gaps.sort_unstable();
        let gap = |part: f64| -> f64 {
            let index = ((gaps.len() as f64 * part).ceil() as usize).saturating_sub(1);
            gaps.get(index).map_or(0.0, |gap| rounded(gap.as_secs_f64() * 1000.0, 1))
        };
        let bytes: u64 = self.viewers.iter().map(|viewer| viewer.bytes).sum();
        let gbit = bytes as f64 * 8.0 / 1e9;
        let parsing: Vec<&Viewer> = self.viewers.iter().filter(|viewer| viewer.parses()).collect();
        let ended: Vec<&String> = self.viewers.iter().filter_map(|viewer| viewer.end.as_ref()).collect();
        let mut value = json!({
            "label": self.label,
            "url": self.url,
            "viewersWanted": self.wanted,
            "viewersConnected": self.connected,
            "windowSeconds": rounded(self.window.as_secs_f64(), 2),
            "bytes": bytes,
            "gbit": rounded(gbit, 3),
            "mbitPerViewer": rounded(gbit * 1000.0 / self.window.as_secs_f64() / self.connected.max(1) as f64, 3),
            "longestGapMs": {"median": gap(0.5), "p99": gap(0.99), "max": gap(1.0)},
            "stalls": self.viewers.iter().map(|viewer| viewer.stalls).sum::<u64>(),
            "disconnects": ended.len(),
            "disconnectReason": ended.first(),
            "parsingViewers": parsing.len(),
            "framesParsed": parsing.iter().map(|viewer| viewer.video.frames + viewer.audio.frames).sum::<u64>(),
            "framesSkipped": parsing.iter().map(|viewer| viewer.video.skipped() + viewer.audio.skipped()).sum::<u64>(),
            "timestampsBackwards": parsing.iter().map(|viewer| viewer.video.backwards + viewer.audio.backwards).sum::<u64>(),
            "clientCpuSeconds": rounded(self.own_cpu.as_secs_f64(), 2),
        });
        if let Some(((idle, before), after)) = self.server {
            let cpu = after.cpu.saturating_sub(before.cpu).as_secs_f64();
            let grown = after.rss.saturating_sub(idle.rss) as f64 / self.connected.max(1) as f64;
            value["serverCpuSeconds"] = json!(rounded(cpu, 2));
            value["cpuSecondsPerGbit"] = json!(rounded(cpu / gbit.max(f64::EPSILON), 4));
            value["serverRssMiB"] = json!({"idle": mib(idle.rss), "begin": mib(before.rss), "end": mib(after.rss)});
            value["kibPerViewer"] = json!(rounded(grown / 1024.0, 1));
        }
        value
    }

    pub fn line(&self) -> String {
        let value = self.json();
        let mut line = format!(
            "{}{} of {} viewers, {} Gbit in {} s ({} Mbit/s each); longest gap {} ms (99%: {} ms), {} stalls, {} disconnects, \
             {} frames skipped and {} timestamps backwards in {} parsed frames; client {} CPU s",
            if self.label.is_empty() { String::new() } else { format!("{}: ", self.label) },
            value["viewersConnected"],
            value["viewersWanted"],
            value["gbit"],
            value["windowSeconds"],
            value["mbitPerViewer"],
            value["longestGapMs"]["max"],
            value["longestGapMs"]["p99"],
            value["stalls"],
            value["disconnects"],
            value["framesSkipped"],
            value["timestampsBackwards"],
            value["framesParsed"],
            value["clientCpuSeconds"],
        );
        if self.server.is_some() {
            line += &format!(
                "; server {} CPU s = {} CPU s per Gbit, {} MiB, {} KiB per viewer",
                value["serverCpuSeconds"], value["cpuSecondsPerGbit"], value["serverRssMiB"]["end"], value["kibPerViewer"]
            );
        }
        line
    }
}

fn rounded(value: f64, digits: i32) -> f64 {
    let factor = 10f64.powi(digits);
    (value * factor).round() / factor
}

fn mib(bytes: u64) -> f64 {
    rounded(bytes as f64 / f64::from(1 << 20), 1)
}
