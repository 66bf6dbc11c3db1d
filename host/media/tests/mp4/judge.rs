//! What ffmpeg makes and what ffprobe sees in it.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A packet as ffprobe sees it, times in microseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    pub dts: i64,
    pub pts: i64,
    pub position: u64,
    pub size: u64,
    pub keyframe: bool,
}

/// Three seconds of pictures and of sound.
pub const SOURCE: &str =
    "-f lavfi -i testsrc2=size=160x90:rate=25:duration=3 -f lavfi -i sine=frequency=440:sample_rate=48000:duration=3";
pub const H264: &str = "-c:v libx264 -preset veryfast -pix_fmt yuv420p -bf 2 -g 25";

/// A file made by ffmpeg out of [`SOURCE`] with `arguments`.
pub fn make(directory: &Path, arguments: &str, name: &str) -> PathBuf {
    let path = directory.join(name);
    run(&format!("{SOURCE} {arguments}"), &path);
    path
}

/// Runs ffmpeg with `arguments` to write `path`.
pub fn run(arguments: &str, path: &Path) {
    let made =
        Command::new("ffmpeg").args(["-nostdin", "-v", "error", "-y"]).args(arguments.split_whitespace()).arg(path).output();
    let made = made.expect("ffmpeg is needed for these tests: install it");
    assert!(made.status.success(), "ffmpeg {arguments}: {}", String::from_utf8_lossy(&made.stderr));
}

/// The packets of one stream, in the order of the file.
pub fn packets(path: &Path, stream: usize) -> Vec<Packet> {
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-select_streams", &stream.to_string(), "-of", "compact=p=0"])
        .args(["-show_entries", "packet=pts_time,dts_time,size,pos,flags"])
        .arg(path)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let packet = |line: &str| {
        let field = |name: &str| {
            let value = line.split('|').find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
            value.unwrap_or_else(|| panic!("{name} in {line}")).to_owned()
        };
        let micros = |name| (field(name).parse::<f64>().unwrap() * 1e6).round() as i64;
        Packet {
            dts: micros("dts_time"),
            pts: micros("pts_time"),
            position: field("pos").parse().unwrap(),
            size: field("size").parse().unwrap(),
            keyframe: field("flags").starts_with('K'),
        }
    };
    text.lines().filter(|line| line.contains("pts_time=")).map(packet).collect()
}
