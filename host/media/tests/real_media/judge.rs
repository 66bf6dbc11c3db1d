//! Writes a finished window to a directory and lets ffmpeg and ffprobe judge it.

use std::path::Path;
use std::process::Command;

use flyloft_media::cmaf::{Lookup, Resource, Window};
use flyloft_media::{MediaKind, WallClock, dash, hls};

/// Everything that a player can ask for, under its own name.
pub fn write(window: &Window, directory: &Path) {
    std::fs::write(directory.join("index.m3u8"), hls::multivariant(window, "")).unwrap();
    let now = WallClock::from_unix_micros(0);
    std::fs::write(directory.join("manifest.mpd"), dash::mpd(window, now, "").unwrap()).unwrap();
    std::fs::write(directory.join("timeline.mpd"), dash::timeline_mpd(window, now, "").unwrap()).unwrap();
    let stamp = window.stamp.to_string();
    for rendition in window.renditions() {
        let kind = rendition.kind;
        let name = if kind == MediaKind::Video { "video" } else { "audio" };
        std::fs::write(directory.join(format!("{name}.m3u8")), hls::media(window, kind, false, "").unwrap()).unwrap();
        let media = directory.join(&stamp).join(name);
        std::fs::create_dir_all(&media).unwrap();
        let content = |resource: &Resource| match window.resource(resource) {
            Lookup::Found(content) => content.chunks.concat(),
            other => panic!("{resource:?}: {other:?}"),
        };
        for init in &rendition.inits {
            let resource = Resource::Init { stamp: stamp.clone(), kind, version: init.version };
            std::fs::write(media.join(format!("init-{}.mp4", init.version)), content(&resource)).unwrap();
        }
        let mut whole = Vec::new();
        for segment in &rendition.segments {
            let resource = Resource::Segment { stamp: stamp.clone(), kind, msn: segment.msn };
            let bytes = content(&resource);
            whole.extend_from_slice(&bytes);
            std::fs::write(media.join(format!("{}.m4s", segment.msn)), bytes).unwrap();
        }
        let init = rendition.segments.first().unwrap().init.bytes.to_vec();
        std::fs::write(directory.join(format!("{name}.mp4")), [init, whole].concat()).unwrap();
    }
}

/// Decodes all of `input` and panics on any warning.
pub fn decodes(input: &Path) {
    let mut command = Command::new("ffmpeg");
    command.args(["-hide_banner", "-nostdin", "-v", "warning", "-i"]).arg(input);
    let output = command.args(["-map", "0", "-f", "null", "-"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && said.is_empty(), "{}: {said:.600}", input.display());
}

/// Presentation times in seconds of one kind of packet (`v` or `a`), in the order of the presentation.
pub fn times(input: &Path, kind: &str) -> Vec<f64> {
    let mut command = Command::new("ffprobe");
    command.args(["-v", "error", "-select_streams", kind, "-show_entries", "packet=pts_time", "-of", "csv=p=0"]);
    let output = command.arg(input).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let mut times: Vec<f64> = text.lines().filter_map(|line| line.trim_end_matches(',').parse().ok()).collect();
    times.sort_by(f64::total_cmp);
    times
}

/// Frames that a decoder gives.
pub fn decoded_frames(input: &Path, kind: &str) -> usize {
    let mut command = Command::new("ffprobe");
    command.args(["-v", "error", "-count_frames", "-select_streams", kind, "-show_entries", "stream=nb_read_frames"]);
    let output = command.args(["-of", "csv=p=0"]).arg(input).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().find_map(|line| line.trim_end_matches(',').parse().ok()).unwrap_or(0)
}

/// Mean volume in dB of `length` seconds from `start` seconds after the beginning.
pub fn loudness(input: &Path, start: f64, length: f64) -> f64 {
    let mut command = Command::new("ffmpeg");
    command.args(["-hide_banner", "-nostdin", "-ss", &start.to_string(), "-t", &length.to_string(), "-i"]).arg(input);
    let output = command.args(["-af", "volumedetect", "-f", "null", "-"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let mean = said.split("mean_volume: ").nth(1).and_then(|rest| rest.split(' ').next()?.parse().ok());
    mean.unwrap_or_else(|| panic!("no volume in: {said}"))
}
