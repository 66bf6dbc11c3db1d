//! Pushes over loopback TCP to the server's own session, and sees it come back after the connection is lost or refused.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use flyloft_media::rtmp::{Event, PublishRequest, ServerSession};
use flyloft_media::{Codec, MediaKind, TrackId};
use tokio::net::TcpListener;

use super::super::{Format, Source};
use super::*;

const SMALL: Format = Format { width: 320, height: 180, fps: 15 };
/// More than any machine needs.
const LIMIT: Duration = Duration::from_secs(60);

/// A connection of the server's side.
struct Guest {
    socket: TcpStream,
    session: ServerSession,
    events: Vec<Event>,
}

impl Guest {
    async fn new(listener: &TcpListener) -> Self {
        let (socket, _) = timeout(LIMIT, listener.accept()).await.expect("nobody connects").unwrap();
        Self { socket, session: ServerSession::new(SessionConfig::default()), events: Vec::new() }
    }

    /// Moves bytes until `enough`. False when the client has closed the connection before.
    async fn until(&mut self, enough: impl Fn(&[Event]) -> bool) -> bool {
        let mut input = vec![0; 4096];
        loop {
            while let Some(event) = self.session.poll_event() {
                self.events.push(event);
            }
            let written = self.flush().await;
            if enough(&self.events) {
                return true;
            }
            if written.is_err() {
                return false;
            }
            match timeout(LIMIT, self.socket.read(&mut input)).await.expect("the client is silent").unwrap_or(0) {
                0 => return false,
                length => self.session.handle_input(&input[..length]).unwrap(),
            }
        }
    }

    async fn flush(&mut self) -> std::io::Result<()> {
        while let Some(bytes) = self.session.poll_output() {
            self.socket.write_all(&bytes).await?;
        }
        Ok(())
    }

    async fn request(&mut self) -> PublishRequest {
        assert!(self.until(|events| events.iter().any(|event| matches!(event, Event::PublishRequested(_)))).await);
        let request = self.events.iter().find_map(|event| match event {
            Event::PublishRequested(request) => Some(request.clone()),
            _ => None,
        });
        request.unwrap()
    }

    fn frames(events: &[Event], kind: MediaKind) -> usize {
        let track = if kind == MediaKind::Video { TrackId::VIDEO } else { TrackId::AUDIO };
        events.iter().filter(|event| matches!(event, Event::Frame(frame) if frame.track == track)).count()
    }
}

async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

#[tokio::test(flavor = "multi_thread")]
async fn media_arrives_and_comes_again_after_a_refusal_and_a_lost_connection() {
    let (listener, server) = listener().await;
    let address = Address::parse(&format!("rtmp://{server}/live/KEY?mode=CMAF")).unwrap();
    let source = Arc::new(Source::new(SMALL, "Demo room").unwrap());
    let (cancel, readies) = (CancellationToken::new(), Arc::new(AtomicUsize::new(0)));
    let making = tokio::spawn({
        let (source, cancel) = (Arc::clone(&source), cancel.clone());
        async move { source.run(cancel).await }
    });
    let pushing = tokio::spawn({
        let (source, cancel, readies) = (Arc::clone(&source), cancel.clone(), Arc::clone(&readies));
        async move {
            let ready = || {
                readies.fetch_add(1, Ordering::Relaxed);
                source.request_keyframe();
            };
            run(source.stream(), &address, ready, &cancel).await
        }
    });

    let mut refused = Guest::new(&listener).await;
    let request = refused.request().await;
    assert_eq!((request.app.as_str(), request.name.as_str()), ("live", "KEY"));
    assert_eq!(request.parameters, [("mode".to_owned(), "CMAF".to_owned())]);
    refused.session.reject(request.id, "NetStream.Publish.BadName", "the key is in use");
    refused.flush().await.unwrap();
    assert!(!refused.until(|_| false).await, "the client goes away when it is refused");
    assert_eq!(readies.load(Ordering::Relaxed), 0);

    let mut guest = Guest::new(&listener).await;
    for round in 1..=2 {
        let request = guest.request().await;
        guest.session.accept(request.id);
        let enough =
            |events: &[Event]| Guest::frames(events, MediaKind::Video) >= 5 && Guest::frames(events, MediaKind::Audio) >= 5;
        assert!(guest.until(enough).await);
        assert_eq!(readies.load(Ordering::Relaxed), round);
        let codecs: Vec<_> = guest
            .events
            .iter()
            .filter_map(|event| match event {
                Event::Track { codec, config, .. } => Some((*codec, config.clone())),
                _ => None,
            })
            .collect();
        let tracks = source.stream().tracks();
        for codec in [Codec::H264, Codec::Aac] {
            let config = &tracks.iter().find(|track| track.codec == codec).unwrap().config;
            assert!(codecs.iter().any(|(sent, as_sent)| *sent == codec && as_sent == config), "{codec}");
        }
        let first = guest.events.iter().find_map(|event| match event {
            Event::Frame(frame) => Some(frame.clone()),
            _ => None,
        });
        let first = first.unwrap();
        assert!(first.keyframe && first.track == TrackId::VIDEO, "a push begins with a key frame");
        if round == 1 {
            drop(guest);
            guest = Guest::new(&listener).await;
        }
    }
    cancel.cancel();
    assert!(guest.until(|events| events.contains(&Event::PublishFinished)).await, "a push that is ended says so");
    pushing.await.unwrap().unwrap();
    making.await.unwrap().unwrap();
}

#[tokio::test]
async fn what_can_not_be_pushed_to_is_an_error_at_once() {
    let cancel = CancellationToken::new();
    for url in ["rtmps://127.0.0.1/live/KEY", "http://127.0.0.1/live/KEY", "rtmp://127.0.0.1"] {
        let error = timeout(LIMIT, super::super::run(url, "Demo room", cancel.clone())).await.expect("it must not try for ever");
        assert!(format!("{:#}", error.unwrap_err()).contains("rtmp"), "{url}");
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_no_reason_to_stop_before_it_is_told() {
    let (listener, server) = listener().await;
    drop(listener);
    let cancel = CancellationToken::new();
    let address = Address::parse(&format!("rtmp://{server}/live/KEY")).unwrap();
    let source = Source::new(SMALL, "").unwrap();
    let stream = Arc::clone(source.stream());
    let pushing = tokio::spawn({
        let cancel = cancel.clone();
        async move { run(&stream, &address, || {}, &cancel).await }
    });
    let listener = TcpListener::bind(server).await.unwrap();
    let mut guest = Guest::new(&listener).await;
    guest.request().await;
    cancel.cancel();
    pushing.await.unwrap().unwrap();
}
