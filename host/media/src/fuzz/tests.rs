use std::process::Command;
use std::sync::OnceLock;

use proptest::prelude::*;

use super::*;
use crate::flv::amf0::{self, Value};
use crate::rtmp::testing;

/// Sessions that reach far: a publisher with media, and a player.
fn conversations() -> Vec<Vec<u8>> {
    let handshake = vec![3; 1 + 2 * 1536];
    let connect = testing::command(0, &["connect".into(), 1.0.into(), amf0::object([("app", "live".into())])]);
    let create = testing::command(0, &["createStream".into(), 2.0.into(), Value::Null]);
    let publish = testing::command(1, &["publish".into(), 3.0.into(), Value::Null, "KEY".into()]);
    let play = testing::command(1, &["play".into(), 3.0.into(), Value::Null, "KEY".into()]);
    let metadata = amf0::write(&["@setDataFrame".into(), "onMetaData".into(), amf0::object([("width", 64.0.into())])]);
    let media = [
        testing::message(18, 0, &metadata),
        testing::message(9, 0, b"\x17\0\0\0\0config"),
        testing::message(8, 0, &[0xaf, 0, 0x12, 0x10]),
        testing::message(9, 0, &[&b"\x17\x01\0\0\x28"[..], &[1; 400]].concat()),
        testing::message(8, 0x0100_0000, &[&b"\xaf\x01"[..], &[2; 300]].concat()),
        testing::message(22, 0, b"\x09\0\0\x06\0\0\0\0\0\0\0\x27\x01\0\0\0x\0\0\0\x11"),
        testing::message(1, 0, &[0, 0, 1, 0]),
        testing::message(9, 40, b"\x90hvc1config"),
        testing::message(2, 0, &[0, 0, 0, 6]),
    ]
    .concat();
    let pause = testing::command(1, &["pause".into(), 0.0.into(), Value::Null, true.into(), 0.0.into()]);
    let close = testing::command(1, &["closeStream".into(), 0.0.into(), Value::Null]);
    let delete = testing::command(0, &["deleteStream".into(), 0.0.into(), Value::Null, 1.0.into()]);
    let start = [handshake, connect, create].concat();
    vec![
        [&start[..], &publish, &media, &close, &play, &delete].concat(),
        [&start[..], &play, &pause, &media, &delete, &publish].concat(),
        start,
    ]
}

/// What a server answers to a client that publishes.
fn answers() -> Vec<u8> {
    let info = |code: &str| amf0::object([("level", "status".into()), ("code", code.into())]);
    let connected = ["_result".into(), 1.0.into(), Value::Null, info("NetConnection.Connect.Success")];
    let answers = [
        testing::command(0, &connected),
        testing::command(0, &["_result".into(), 4.0.into(), Value::Null, 1.0.into()]),
        testing::command(1, &["onStatus".into(), 0.0.into(), Value::Null, info("NetStream.Publish.Start")]),
        testing::command(1, &["onStatus".into(), 0.0.into(), Value::Null, info("NetStream.Unpublish.Success")]),
    ];
    [vec![3; 1 + 2 * 1536], answers.concat()].concat()
}

fn files() -> Vec<Vec<u8>> {
    let hex = [
        include_str!("../flv/golden/hevc_aac.hex"),
        include_str!("../flv/golden/av1_opus.hex"),
        include_str!("../flv/golden/multitrack.hex"),
    ];
    let digits = hex.map(|hex| hex.chars().filter_map(|c| c.to_digit(16)).collect::<Vec<_>>());
    digits.map(|digits| digits.chunks(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect()).to_vec()
}

/// Configurations that encoders wrote, each behind the number of its codec.
fn configurations() -> Vec<Vec<u8>> {
    let events = files().into_iter().flat_map(|file| demux(std::iter::once(&file[..])).0);
    let mut found: Vec<(Codec, Vec<u8>)> = events
        .filter_map(|event| match event {
            FlvEvent::Media(crate::flv::Media::Track { codec, config, .. }) => Some((codec, config.to_vec())),
            _ => None,
        })
        .collect();
    found.push((Codec::H264, crate::cmaf::tests::AVCC.to_vec()));
    found.push((Codec::Mp3, vec![0xff, 0xfb, 0x90, 0x00]));
    let number = |codec| CODECS.iter().position(|&one| one == codec).unwrap() as u8;
    found.into_iter().map(|(codec, config)| [&[number(codec)][..], &config].concat()).collect()
}

/// Small movies by ffmpeg: with the index in front and behind, in fragments of both kinds, and as QuickTime.
fn movies() -> Vec<Vec<u8>> {
    static MOVIES: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    let make = |(name, flags): (&str, &str)| {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(name);
        let source = "-f lavfi -i testsrc2=size=64x48:rate=10:duration=1.5 -f lavfi -i sine=sample_rate=8000:duration=1.5";
        let codecs = "-c:v libx264 -preset veryfast -crf 51 -bf 2 -g 5 -pix_fmt yuv420p -c:a aac -b:a 8k";
        let arguments = format!("-v error -nostdin {source} {codecs} {flags}");
        let made = Command::new("ffmpeg").args(arguments.split_whitespace()).arg(&path).output();
        let made = made.expect("ffmpeg is needed for these tests: install it");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        std::fs::read(path).unwrap()
    };
    let kinds = [
        ("front.mp4", "-movflags +faststart"),
        ("behind.mov", "-movflags +negative_cts_offsets"),
        ("fragments.mp4", "-movflags +frag_keyframe+empty_moov+default_base_moof"),
        ("dash.mp4", "-movflags +dash+global_sidx"),
        ("mixed.mp4", "-movflags +frag_keyframe"),
    ];
    MOVIES.get_or_init(|| kinds.map(make).to_vec()).clone()
}

/// Bytes that are put in other bytes' place, left out, or sent twice, behind the first `from`.
fn damaged(corpus: Vec<Vec<u8>>, from: usize) -> impl Strategy<Value = Vec<u8>> {
    let change = (any::<prop::sample::Index>(), any::<u8>(), 0_u8..6, 1_usize..40);
    (prop::sample::select(corpus), proptest::collection::vec(change, 0..12)).prop_map(move |(mut bytes, changes)| {
        for (at, byte, what, count) in changes {
            let Some(room) = bytes.len().checked_sub(from).filter(|&room| room > 0) else { break };
            let at = from + at.index(room);
            let end = (at + count).min(bytes.len());
            match what {
                0 => drop(bytes.drain(at..end)),
                1 => {
                    let again = bytes[at..end].to_vec();
                    bytes.splice(at..at, again);
                }
                2 => bytes[at] = bytes[at].wrapping_add(1),
                3 => bytes.truncate(at),
                _ => bytes[at] = byte,
            }
        }
        bytes
    })
}

#[test]
fn the_corpus_reaches_far() {
    let [publisher, player, _] = &conversations()[..] else { panic!("three conversations") };
    let (events, broken) = serve(std::iter::once(&publisher[..]));
    assert!(!broken && events.len() > 8, "{events:?}");
    assert!(events.iter().any(|event| matches!(event, Event::PlayRequested(_))));
    let (events, broken) = serve(std::iter::once(&player[..]));
    assert!(!broken && events.contains(&Event::Paused(true)) && events.contains(&Event::PlayFinished), "{events:?}");
    rtmp_client(&answers());
    let mut codecs: Vec<u8> = configurations().iter().map(|config| config[0]).collect();
    codecs.sort_unstable();
    codecs.dedup();
    assert_eq!(codecs, [0, 1, 2, 3, 4, 5], "every codec has a configuration");
    configurations().iter().for_each(|config| codec_configuration(config));
    for movie in movies() {
        mp4(&movie);
        let (samples, broken) = play(&movie, 64, 0);
        assert!(!broken && samples.len() >= 15 + 12, "{} samples", samples.len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn damaged_conversations(input in damaged(conversations(), 1 + 2 * 1536)) {
        rtmp_server(&input);
    }

    #[test]
    fn anything_on_the_port(input in proptest::collection::vec(any::<u8>(), 0..4000)) {
        rtmp_server(&input);
        rtmp_server(&[&[3][..], &input].concat());
        rtmp_client(&input);
        rtmp_address(&input);
    }

    #[test]
    fn damaged_answers(input in damaged(vec![answers()], 1 + 2 * 1536)) {
        rtmp_client(&input);
    }

    #[test]
    fn addresses(input in "rtmps?://[a-z:@/?\\[\\]0-9.%=&]{0,30}") {
        rtmp_address(input.as_bytes());
    }

    #[test]
    fn damaged_configurations(input in damaged(configurations(), 1)) {
        codec_configuration(&input);
    }

    #[test]
    fn any_configuration(input in proptest::collection::vec(any::<u8>(), 0..200)) {
        codec_configuration(&input);
    }

    #[test]
    fn damaged_files(input in damaged(files(), 0)) {
        flv(&input);
    }

    #[test]
    fn damaged_movies(input in damaged(movies(), 0)) {
        mp4(&input);
    }

    /// The first bytes are what everything depends on, and damage there is rare in a large file.
    #[test]
    fn damaged_indices(movie in prop::sample::select(movies()), changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let mut input = movie;
        let kinds: [&[u8; 4]; 12] =
            [b"stsz", b"stts", b"ctts", b"stsc", b"stco", b"stss", b"elst", b"tfhd", b"trun", b"sidx", b"tfra", b"moov"];
        let places: Vec<_> = (4..input.len() - 24).filter(|&at| kinds.iter().any(|kind| input[at..].starts_with(*kind))).collect();
        for (at, byte) in changes {
            let place = places[at.index(places.len())];
            let at = place + [0, 3, 4, 7, 8, 11, 12, 15, 16, 19, 20, 23][usize::from(byte) % 12] - if byte & 1 == 0 { 4 } else { 0 };
            input[at] = byte.rotate_left(3);
        }
        mp4(&input);
    }
}
