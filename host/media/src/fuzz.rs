//! Bodies of the fuzz targets in `host/media/fuzz`. Each takes any bytes and panics where a promise is broken; ordinary tests run
//! them on a corpus and on damaged copies of it.

use crate::flv::{Demuxer, FlvEvent};
use crate::rtmp::{Address, ClientSession, Event, ServerSession, SessionConfig};

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
