//! Starts in the middle, against the whole walk from the start.

use std::path::Path;

use flyloft_media::TrackId;
use flyloft_media::mp4::Sample;

use crate::judge::{H264, make};
use crate::reading::{Store, everything};

fn of(samples: &[Sample], track: TrackId) -> Vec<Sample> {
    samples.iter().filter(|sample| sample.track == track).cloned().collect()
}

fn heard(sample: &Sample, at: i64) -> bool {
    (sample.pts - 1..=sample.pts + sample.duration).contains(&at)
}

/// From each start, the picture begins with the last key frame that is shown by then, and the sound with what is heard with it.
fn seeks(path: &Path, what: &str) {
    let (movie, all) = everything(path);
    let (pictures, sounds) = (of(&all, TrackId::VIDEO), of(&all, TrackId::AUDIO));
    for start in [i64::MIN, -1, 0, 1, 40_000, 999_999, 1_000_000, 1_500_000, 2_000_000, 2_959_999] {
        let found = Store::open(path).samples(&movie, &movie.default_tracks(), start, usize::MAX).unwrap();
        assert!(found.is_sorted_by_key(|sample| sample.dts), "{what} from {start}");
        let key = pictures.iter().rposition(|sample| sample.keyframe && sample.pts <= start.max(0)).unwrap_or(0);
        assert_eq!(of(&found, TrackId::VIDEO), pictures[key..], "{what} from {start}");
        let sound = of(&found, TrackId::AUDIO);
        assert_eq!(sound, sounds[sounds.len() - sound.len()..], "{what} from {start}");
        let target = pictures[key].pts.min(start.max(0));
        assert!(heard(&sound[0], target) || target == 0 && sound == sounds, "{what} from {start}: {:?}", sound[0]);
    }
    for start in [5_000_000, i64::MAX] {
        let found = Store::open(path).samples(&movie, &movie.default_tracks(), start, usize::MAX).unwrap();
        assert!(found.is_empty(), "{what} from {start}");
    }
    let alone = Store::open(path).samples(&movie, &[TrackId::AUDIO], 1_500_000, usize::MAX).unwrap();
    assert!(heard(&alone[0], 1_500_000), "{what}: the sound alone begins with {:?}", alone[0]);
}

#[test]
fn in_sample_tables() {
    let directory = tempfile::tempdir().unwrap();
    for (flags, name) in [("", "clip.mp4"), ("-movflags +negative_cts_offsets+faststart", "clip.mov")] {
        seeks(&make(directory.path(), &format!("{H264} -c:a aac {flags}"), name), flags);
    }
}

#[test]
fn in_fragments() {
    let directory = tempfile::tempdir().unwrap();
    for flags in [
        "+frag_keyframe+empty_moov+default_base_moof",
        "+frag_keyframe+delay_moov",
        "+frag_keyframe+empty_moov+separate_moof",
        "+dash+global_sidx+frag_keyframe",
        "+empty_moov -frag_duration 200000",
        "+empty_moov -frag_duration 2500000",
    ] {
        let path = make(directory.path(), &format!("{H264} -c:a aac -movflags {flags}"), "clip.mp4");
        seeks(&path, flags);
        // Without the index at the end.
        let data = std::fs::read(&path).unwrap();
        if data[data.len() - 12..].starts_with(b"mfro") {
            let index = u32::from_be_bytes(data[data.len() - 4..].try_into().unwrap()) as usize;
            std::fs::write(&path, &data[..data.len() - index]).unwrap();
            seeks(&path, &format!("{flags} without mfra"));
        }
    }
}
