//! What is written as FLV, judged by ffprobe and ffmpeg.
#![allow(clippy::unwrap_used)]

mod support;

use flyloft_media::flv;
use flyloft_media::{MediaKind, TrackId};
use support::{Scratch, rebased, text};

fn write(entries: &[std::sync::Arc<flyloft_media::hub::Entry>], path: &std::path::Path) {
    let first = &entries[0];
    let mut out = [flv::file_header(&first.tracks), flv::header(first).clone()].concat();
    for entry in entries {
        out.extend_from_slice(flv::tag(entry));
    }
    std::fs::write(path, out).unwrap();
}

#[test]
fn ffprobe_sees_the_packets_that_went_in_and_ffmpeg_decodes_them() {
    let scratch = Scratch::new("flv-output");
    let (clip, copy) = (scratch.path("clip.flv"), scratch.path("copy.flv"));
    support::clip(&clip);
    let entries = support::entries(support::media(&support::demux(&std::fs::read(&clip).unwrap())));
    write(&entries, &copy);
    let (got, expected) = (support::packets(&copy), support::packets(&clip));
    assert!(expected.iter().any(|packet| packet.pts != packet.dts), "the clip has B-frames");
    for kind in [MediaKind::Video, MediaKind::Audio] {
        assert_eq!(rebased(&got, kind), rebased(&expected, kind));
    }
    // The decoded pictures and sound are the same to the last bit.
    let decoded = |path| {
        let hash =
            support::run("ffmpeg", &["-v", "error", "-i", text(path), "-map", "0", "-f", "streamhash", "-hash", "md5", "-"]);
        assert_eq!(hash.lines().count(), 2);
        hash
    };
    assert_eq!(decoded(&copy), decoded(&clip));
}

#[test]
fn one_kind_of_media_alone_is_a_file_too() {
    let scratch = Scratch::new("flv-single");
    let clip = scratch.path("clip.flv");
    support::clip(&clip);
    let source = support::media(&support::demux(&std::fs::read(&clip).unwrap()));
    for id in [TrackId::VIDEO, TrackId::AUDIO] {
        let only = source.iter().filter(|media| match media {
            flv::Media::Track { id: of, .. } => *of == id,
            flv::Media::Frame(frame) => frame.track == id,
            flv::Media::Unsupported(_) => false,
        });
        let entries = support::entries(only.cloned().collect());
        let path = scratch.path("single.flv");
        write(&entries, &path);
        let got = support::packets(&path);
        assert_eq!(got.len(), entries.len());
        assert!(got.iter().all(|packet| (packet.kind == MediaKind::Video) == (id == TrackId::VIDEO)));
        support::run("ffmpeg", &["-v", "error", "-i", text(&path), "-f", "null", "-"]);
    }
}
