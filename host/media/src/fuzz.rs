//! Bodies of the fuzz targets in `host/media/fuzz`. Each takes any bytes and panics where a promise is broken; ordinary tests run
//! them on a corpus and on damaged copies of it.

use crate::cmaf;
use crate::codec;
use crate::flv::{Demuxer, FlvEvent};
use crate::mp4::{self, Next, Opening, Samples, Step};
use crate::rtmp::{Address, ClientSession, Event, ServerSession, SessionConfig};
use crate::track::{Codec, MediaInfo, MediaKind, TrackId};
use bytes::Bytes;

#[cfg(test)]
mod tests;

/// Small limits, so that fuzzing reaches them.
const CONFIG: SessionConfig = SessionConfig {
    window: 1000,
    max_message: 16 << 10,
    max_command: 4 << 10,
    max_buffered: 32 << 10,
    max_chunk_streams: 8,
    max_held: 64 << 10,
};

/// A server's session against a client that sends `input`, at once and cut in pieces of different sizes: the events are the same,
/// and hold no more than came in.
pub fn rtmp_server(input: &[u8]) {
    let whole = serve(std::iter::once(input));
    let mut sizes = [1, 2, 3, 5, 8, 13, 21, 34].into_iter().cycle();
    let mut rest = input;
    let pieces = std::iter::from_fn(|| {
        let size = sizes.next().unwrap_or(1).min(rest.len());
        let (now, later) = rest.split_at(size);
        rest = later;
        (size > 0).then_some(now)
    });
    let split = serve(pieces);
    assert!(same(&whole, &split), "the split of the input shows");
    let carried: usize = whole.0.iter().map(size).sum();
    assert!(carried <= input.len(), "{carried} bytes came out of {}", input.len());
}

/// By their text, because a number that is none does not equal itself.
fn same<T: PartialEq + std::fmt::Debug>(a: &T, b: &T) -> bool {
    a == b || format!("{a:?}") == format!("{b:?}")
}

fn size(event: &Event) -> usize {
    match event {
        Event::Track { config, .. } => config.len(),
        Event::Frame(frame) => frame.payload.len(),
        _ => 0,
    }
}

/// Events until the input ends or breaks the protocol, and whether it does. Every second request is refused.
fn serve<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Event>, bool) {
    let mut session = ServerSession::new(CONFIG);
    let mut events = Vec::new();
    let mut requests = 0;
    let mut broken = false;
    for piece in pieces {
        broken = session.handle_input(piece).is_err();
        while let Some(event) = session.poll_event() {
            let id = match &event {
                Event::PublishRequested(request) => Some(request.id),
                Event::PlayRequested(request) => Some(request.id),
                _ => None,
            };
            if let Some(id) = id {
                requests += 1;
                match requests % 2 {
                    1 => session.accept(id),
                    _ => session.reject(id, "NetStream.Publish.Denied", "no"),
                }
            }
            events.push(event);
        }
        while session.poll_output().is_some() {}
        if broken {
            break;
        }
    }
    // What was wrong in input that waited for an answer is told at the next input.
    broken |= session.handle_input(&[]).is_err();
    (events, broken)
}

/// A client's session against a server that sends `input`.
pub fn rtmp_client(input: &[u8]) {
    let address = Address { tls: false, host: "localhost".into(), port: 1935, app: "live".into(), name: "key".into() };
    let Ok(mut session) = ClientSession::new(address, CONFIG) else { return };
    for piece in input.chunks(37) {
        let result = session.handle_input(piece);
        while session.poll_event().is_some() {}
        while session.poll_output().is_some() {}
        if result.is_err() {
            return;
        }
    }
}

/// A URL to publish to.
pub fn rtmp_address(input: &[u8]) {
    if let Ok(address) = Address::parse(&String::from_utf8_lossy(input)) {
        assert!(!address.host.is_empty() && !address.name.is_empty() && address.port != 0);
        assert!(address.tc_url().starts_with("rtmp"));
    }
}

/// An FLV file, at once and byte by byte.
pub fn flv(input: &[u8]) {
    let whole = demux(std::iter::once(input));
    assert!(same(&whole, &demux(input.chunks(1))), "the split of the input shows");
}

fn demux<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<FlvEvent>, bool) {
    let mut demuxer = Demuxer::new();
    let mut events = Vec::new();
    for piece in pieces {
        let broken = demuxer.handle_input(piece).is_err();
        events.extend(std::iter::from_fn(|| demuxer.poll_event()));
        if broken {
            return (events, true);
        }
    }
    (events, false)
}

const CODECS: [Codec; 6] = [Codec::H264, Codec::Hevc, Codec::Av1, Codec::Aac, Codec::Opus, Codec::Mp3];

/// A decoder configuration, of the codec that the first byte selects. What is accepted has a plausible size or rate and a name without
/// surprises, is accepted again as it is kept, and makes an initialisation segment.
pub fn codec_configuration(input: &[u8]) {
    let Some((selector, config)) = input.split_first() else { return };
    let selected = CODECS[usize::from(*selector) % CODECS.len()];
    let id = if selected.kind() == MediaKind::Video { TrackId::VIDEO } else { TrackId::AUDIO };
    let Ok(track) = codec::track(id, selected, Bytes::copy_from_slice(config)) else { return };
    match &track.info {
        MediaInfo::Video(info) => {
            assert!((1..=65_535).contains(&info.width) && (1..=65_535).contains(&info.height), "{info:?}");
            // AV1 has no NAL units.
            assert_eq!((1..=4).contains(&info.nal_length_size), selected != Codec::Av1, "{info:?}");
            assert!(info.frame_rate.is_none_or(|(frames, seconds)| frames > 0 && seconds > 0), "{info:?}");
        }
        MediaInfo::Audio(info) => assert!(info.sample_rate > 0 && info.channels > 0, "{info:?}"),
    }
    // It stands between quotes in playlists and manifests.
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '.';
    assert!(!track.codecs.is_empty() && track.codecs.chars().all(plain), "{}", track.codecs);
    if selected != Codec::Mp3 {
        assert_eq!(codec::track(id, selected, track.config.clone()).as_ref(), Ok(&track));
    }
    let init = cmaf::init_segment(&track);
    assert!(init.len() < track.config.len() + 4096 && init.get(4..8) == Some(b"ftyp"));
    if selected == Codec::Aac {
        codec::aac_silence(&track.config);
    }
}

/// An MP4 file, read in large stretches and in small ones: the samples are the same, lie in the file, and are found with bounded memory
/// and reads that get on.
pub fn mp4(input: &[u8]) {
    for start in [0, 700_000, i64::MAX] {
        let large = play(input, mp4::MAX_READ, start);
        let small = play(input, 64, start);
        assert_eq!(large, small, "the size of the reads shows");
    }
}

/// Samples of an MP4 file that are looked at. Runs can make very many out of few bytes.
const MAX_SAMPLES: usize = 2_000;
const MAX_HELD: usize = 2 << 20;

/// The first samples, and whether an error ended them.
fn play(input: &[u8], ahead: u64, start: i64) -> (Vec<mp4::Sample>, bool) {
    let size = input.len() as u64;
    // Each read stands for some bytes of boxes or tables.
    let mut reads = 100_000 + 8 * input.len();
    let mut read = |range: std::ops::Range<u64>| {
        assert!(range.start < range.end && range.end <= size && range.end - range.start <= mp4::MAX_READ, "{range:?} of {size}");
        reads = reads.checked_sub(1).expect("no end of reads");
        &input[range.start as usize..range.end as usize]
    };
    let mut opening = Opening::with_read_ahead(size, ahead);
    let movie = loop {
        match opening.step() {
            Ok(Step::Want(range)) => opening.supply(range.start, read(range)).expect("it is what was wanted"),
            Ok(Step::Ready(movie)) => break movie,
            Err(_) => return (Vec::new(), true),
        }
        assert!(opening.held() < MAX_HELD, "{} bytes held", opening.held());
    };
    let tracks: Vec<_> = movie.tracks().iter().map(|track| track.track.id).collect();
    assert!(!tracks.is_empty() && tracks.contains(&movie.default_tracks()[0]));
    let mut samples = Samples::new(movie.clone(), &tracks, start);
    let mut found = Vec::new();
    loop {
        match samples.step() {
            Ok(Next::Want(range)) => samples.supply(range.start, read(range)).expect("it is what was wanted"),
            Ok(Next::Sample(sample)) => {
                assert!(sample.range.start < sample.range.end && sample.range.end <= size, "{sample:?}");
                assert!(sample.dts <= sample.pts && sample.duration >= 0, "{sample:?}");
                found.push(sample);
            }
            Ok(Next::End) => return (found, false),
            Err(_) => return (found, true),
        }
        let held = movie.held() + samples.held();
        assert!(held < MAX_HELD, "{held} bytes held");
        if found.len() == MAX_SAMPLES {
            return (found, false);
        }
    }
}
