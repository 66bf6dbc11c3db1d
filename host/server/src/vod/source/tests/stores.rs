//! Objects in a store that behaves, and who may read them.

use super::*;
use flyloft_plugins::model::{Addressing, HttpSource, S3Object};
use flyloft_plugins::{Grants, NewBinding};
use flyloft_test_guests::SOURCES;

#[tokio::test]
async fn objects_are_read_by_all_forms_of_their_names() {
    let world = World::new();
    let content = s3::pattern(700_000).unwrap();
    world.store.put("films", "dir/фильм один+.mp4", content.clone()).unwrap();
    let endpoint = world.proxy.endpoint();
    for uri in [
        "vod-live://s3/films/dir/фильм%20один+.mp4".to_owned(),
        "vod://s3/films/dir/%D1%84%D0%B8%D0%BB%D1%8C%D0%BC%20один%2B.mp4".to_owned(),
        format!("vod-live://s3/{endpoint}/films/dir/фильм%20один+.mp4"),
    ] {
        let source = world.open(&uri).await.unwrap();
        assert_eq!(source.size(), 700_000, "{uri}");
        assert!(source.describe().contains("films/dir/фильм один+.mp4"), "{source:?}");
        assert_eq!(source.read(262_140..262_150).await.unwrap(), content[262_140..262_150], "{uri}");
        assert_eq!(source.read(699_990..800_000).await.unwrap(), content[699_990..], "{uri}");
        assert_eq!(read_all(&source, 100_000).await.unwrap(), content, "{uri}");
        assert_eq!(source.stats().state, State::Healthy);
    }
}

#[tokio::test]
async fn buckets_may_stand_in_the_hosts_name() {
    let world = World::with(|_| Vod {
        credentials: vec![credential("eu-west-1", None)],
        allow_networks: vec!["127.0.0.0/8".into()],
        ..settings()
    });
    world.store.put("films", "dir/a.mp4", *b"film").unwrap();
    let object = S3Object {
        bucket: "films".into(),
        key: "dir/a.mp4".into(),
        endpoint: Some(format!("http://{}:{}", s3::DOMAIN, world.store.address().port())),
        region: None,
        addressing: Addressing::VirtualHost,
        credential: Some("eu-west-1".into()),
    };
    let source = world.sources.read_by(SourcePlan::S3(object), "s3".into(), &context()).await.unwrap();
    assert_eq!(source.read(0..4).await.unwrap(), "film");
}

#[tokio::test]
async fn what_is_not_there_is_said_in_so_many_words() {
    let world = World::new();
    for uri in ["vod://s3/films/none.mp4", "vod://s3/nobody/a.mp4"] {
        let error = world.open(uri).await.unwrap_err();
        assert!(matches!(error, OpenError::NotFound { .. }), "{error:?}");
        assert!(error.to_string().starts_with("File not found: s3://"), "{error}");
    }
    world.store.put("films", "empty.mp4", []).unwrap();
    assert!(invalid(world.open("vod://s3/films/empty.mp4").await).contains("is empty"));
    assert_eq!(world.proxy.requests(), 3, "what lasts is not tried again");
}

#[tokio::test]
async fn wrong_credentials_are_denied_and_never_shown() {
    let with = |key: &str, secret: &str| {
        let (key, secret) = (key.to_owned(), SecretFrom::Text(Secret::new(secret)));
        World::with(|proxy| Vod {
            credentials: vec![Credential { key, secret, ..credential("store", Some(proxy.endpoint())) }],
            ..settings()
        })
    };
    let world = with(s3::KEY, "hunter2-is-wrong");
    world.store.put("films", "a.mp4", *b"film").unwrap();
    let reason = denied(world.open("vod://s3/films/a.mp4").await);
    assert!(reason.contains("with the credentials store") && reason.contains("secret is not the right one"), "{reason}");
    assert!(!reason.contains("hunter2"), "{reason}");
    let world = with("NOBODY", s3::SECRET);
    let reason = denied(world.open("vod://s3/films/a.mp4").await);
    assert!(!reason.contains(s3::SECRET), "{reason}");
    let world = World::with(|_| Vod { allow_networks: vec!["127.0.0.1".into()], ..settings() });
    world.store.put("films", "a.mp4", *b"film").unwrap();
    let reason = denied(world.open(&format!("vod://s3/{}/films/a.mp4", world.proxy.endpoint())).await);
    assert!(reason.contains("without credentials"), "{reason}");
    assert_eq!(world.store.requests(), 0);
}

#[tokio::test]
async fn secrets_are_in_no_debug_text() {
    let world = World::new();
    world.store.put("films", "a.mp4", *b"film").unwrap();
    let source = world.open("vod://s3/films/a.mp4").await.unwrap();
    let bindings = world.sources.0.plugins.bindings();
    let told = format!("{source:?} {:?} {:?} {bindings:?}", source.stats(), source.describe());
    assert!(told.contains("films") && !told.contains(s3::SECRET) && !told.contains(s3::KEY), "{told}");
}

#[tokio::test]
async fn other_buckets_than_granted_are_refused() {
    let world = World::with(|proxy| Vod {
        credentials: vec![Credential { buckets: vec!["films".into()], ..credential("store", Some(proxy.endpoint())) }],
        ..settings()
    });
    world.store.put("films", "a.mp4", *b"film").unwrap();
    world.store.put("secrets", "a.mp4", *b"secret").unwrap();
    assert!(world.open("vod://s3/films/a.mp4").await.is_ok());
    let before = world.proxy.requests();
    for uri in ["vod://s3/secrets/a.mp4".to_owned(), format!("vod://s3/{}/secrets/a.mp4", world.proxy.endpoint())] {
        let reason = denied(world.open(&uri).await);
        assert!(reason.contains("bucket secrets is not granted"), "{reason}");
    }
    // The host looks for itself, whatever a plugin says.
    let object = |bucket: &str, key: &str| {
        SourcePlan::S3(S3Object {
            bucket: bucket.into(),
            key: key.into(),
            endpoint: Some(world.proxy.endpoint()),
            region: None,
            addressing: Addressing::Path,
            credential: Some("store".into()),
        })
    };
    let planned = async |plan| world.sources.read_by(plan, "custom".into(), &context()).await;
    assert!(denied(planned(object("secrets", "a.mp4")).await).contains("bucket secrets is not granted"));
    assert!(invalid(planned(object("films", "../secrets/a.mp4")).await).contains("key of an object"));
    assert_eq!(world.proxy.requests(), before, "nothing of it was asked for");
}

#[tokio::test]
async fn private_addresses_need_a_grant() {
    let world = World::with(|_| settings());
    world.store.put("films", "a.mp4", *b"film").unwrap();
    let port = world.store.address().port();
    for host in ["127.0.0.1", "store.test"] {
        let reason = denied(world.open(&format!("vod://s3/http://{host}:{port}/films/a.mp4")).await);
        assert!(reason.contains("vod.allow_networks"), "{reason}");
    }
    let http = HttpSource { url: format!("http://store.test:{port}/films/a.mp4"), headers: Vec::new() };
    let reason = denied(world.sources.read_by(SourcePlan::Http(http), "custom".into(), &context()).await);
    assert!(reason.contains("loopback") && reason.contains("vod.allow_networks"), "{reason}");
    assert_eq!(world.store.requests(), 0);
    // An address that stands in a credential's endpoint is meant.
    assert!(World::new().open("vod://s3/films/none.mp4").await.unwrap_err().to_string().starts_with("File not found"));
}

#[tokio::test]
async fn a_uri_is_looked_at_before_a_plugin_sees_it() {
    let world = World::new();
    for uri in ["vod://s3/https://user:password@host/b/a.mp4", "own://user:password@host/a", "vod://a\r\nb"] {
        let reason = invalid(world.open(uri).await);
        assert!(!reason.contains("password@"), "{reason}");
    }
    assert!(invalid(world.open(&format!("vod://{}", "x".repeat(3000))).await).contains("3006 bytes"));
    assert_eq!(world.sources.0.plugins.get("local").unwrap().counters.calls, 0);
    std::fs::write(world.data.path().join("media/a@b.mp4"), "film").unwrap();
    assert!(world.open("vod://a@b.mp4").await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_readers_fetch_an_object_once() {
    let world = World::new();
    let (first, content) = world.film(3_000_000).await;
    let (content, sources) = (Arc::new(content), world.sources.clone());
    let readers = (0..200u64).map(|reader| {
        let (content, sources) = (Arc::clone(&content), sources.clone());
        tokio::spawn(async move {
            let source = sources.open(&context(), "vod-live://s3/films/a.mp4", true).await.unwrap();
            // Each begins elsewhere and goes round once.
            let (size, start) = (source.size(), reader * 14_983 % source.size());
            let mut at = start;
            while at < start + size {
                let from = at % size;
                let bytes = source.read(from..from + 50_000).await.unwrap();
                assert!(!bytes.is_empty() && bytes == content[from as usize..from as usize + bytes.len()]);
                at += bytes.len() as u64;
            }
        })
    });
    for reader in readers.collect::<Vec<_>>() {
        reader.await.unwrap();
    }
    // One byte for each opening, and each block once.
    let opening = 201;
    assert_eq!(world.store.bytes(), opening + 3_000_000);
    let blocks = 3_000_000_u64.div_ceil(BLOCK);
    assert!((opening + 1..=opening + blocks).contains(&world.store.requests()), "{}", world.store.requests());
    assert_eq!(first.stats().bytes_fetched, 3_000_000);
    assert_eq!(world.sources.0.cache.bytes(), 3_000_000);
    drop(first);
    assert_eq!(world.sources.0.cache.bytes(), 0, "nobody reads it any more");
}

#[tokio::test]
async fn what_is_kept_is_bounded() {
    let world = World::new();
    let mut open = Vec::new();
    for film in 0..6 {
        let key = format!("{film}.mp4");
        world.store.put("films", &key, vec![film; 3 << 20]).unwrap();
        let source = world.open(&format!("vod://s3/films/{key}")).await.unwrap();
        let content = read_all(&source, 500_000).await.unwrap();
        assert!(content.len() == 3 << 20 && content.iter().all(|byte| *byte == film));
        assert!(world.sources.0.cache.bytes() <= 8 << 20);
        open.push(source);
    }
    assert!(world.sources.0.cache.bytes() > 6 << 20);
    // What went from the cache comes again.
    assert_eq!(open[0].read(0..10).await.unwrap(), [0; 10][..]);
    let whole = open[5].read(0..3 << 20).await.unwrap();
    assert_eq!(whole.len(), 3 << 20);
}

#[tokio::test]
async fn ranges_in_a_block_are_not_copied() {
    let world = World::new();
    let (source, _) = world.film(300_000).await;
    let whole = source.read(0..BLOCK).await.unwrap();
    let part = source.clone().read(1000..2000).await.unwrap();
    assert_eq!(part.as_ptr(), whole.slice(1000..).as_ptr());
}

/// An HTTP server with one file, which knows ranges or does not.
async fn http_server(content: Vec<u8>, ranges: bool) -> String {
    use axum::http::{HeaderMap, StatusCode, header};
    use axum::response::IntoResponse as _;
    let content = Bytes::from(content);
    let file = move |headers: HeaderMap| async move {
        let whole = (StatusCode::OK, content.clone()).into_response();
        if headers.get("authorization").is_none_or(|value| value != "Bearer t0ken") {
            return StatusCode::FORBIDDEN.into_response();
        }
        let range = headers.get(header::RANGE).and_then(|value| value.to_str().ok()?.strip_prefix("bytes=")?.split_once('-'));
        let Some((first, last)) = range.filter(|_| ranges) else { return whole };
        let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap());
        let content_range = format!("bytes {first}-{last}/{}", content.len());
        let fields = [(header::CONTENT_RANGE, content_range), (header::ETAG, "W/\"weak\"".into())];
        (StatusCode::PARTIAL_CONTENT, fields, content.slice(first..=last)).into_response()
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let gone = axum::routing::get(|| async { axum::response::Redirect::temporary("http://elsewhere.example/a?secret") });
    let router = axum::Router::new().route("/a.mp4", axum::routing::get(file)).route("/moved", gone);
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}")
}

#[tokio::test]
async fn files_on_http_servers_are_read_by_ranges() {
    let data = tempfile::tempdir().unwrap();
    let config = Vod { allow_networks: vec!["127.0.0.1".into()], ..settings() };
    let sources = sources(&config, data.path());
    let open = async |url: String, token: &str| {
        let headers = vec![flyloft_plugins::model::Pair { name: "authorization".into(), value: format!("Bearer {token}") }];
        sources.read_by(SourcePlan::Http(HttpSource { url, headers }), "custom".into(), &context()).await
    };
    let content = s3::pattern(600_000).unwrap();
    let server = http_server(content.clone(), true).await;
    let source = open(format!("{server}/a.mp4?signature=hunter2"), "t0ken").await.unwrap();
    assert_eq!(read_all(&source, 99_999).await.unwrap(), content);
    assert!(source.describe().ends_with("/a.mp4") && !format!("{source:?}").contains("hunter2"), "{source:?}");
    assert!(denied(open(format!("{server}/a.mp4"), "wrong").await).contains("403"));
    assert!(open(format!("{server}/none.mp4"), "t0ken").await.unwrap_err().to_string().starts_with("File not found"));
    let moved = invalid(open(format!("{server}/moved"), "t0ken").await);
    assert!(moved.contains("http://elsewhere.example/a") && !moved.contains("secret"), "{moved}");
    let server = http_server(content, false).await;
    let reason = invalid(open(format!("{server}/a.mp4"), "t0ken").await);
    assert!(
        reason.contains("does not answer requests for ranges") && reason.contains("put it on a server that does"),
        "{reason}"
    );
}

#[tokio::test]
async fn a_plugin_of_ones_own_makes_bytes_and_names_credentials() {
    let world = World::new();
    let plugins = &world.sources.0.plugins;
    plugins.deploy("custom", SOURCES.into()).await.unwrap();
    let grants = Grants { credentials: vec!["store".into()], ..Grants::default() };
    plugins.bind(NewBinding { plugin: "custom".into(), grants, ..NewBinding::default() }).await.unwrap();
    let source = world.open("vod://test/own/film").await.unwrap();
    assert_eq!(source.size(), 1_000_000);
    let whole = read_all(&source, 300_000).await.unwrap();
    assert!(whole.iter().enumerate().all(|(offset, byte)| *byte == offset as u8));
    // What it plans is for another store than the credentials are.
    assert!(denied(world.open("vod://test/s3/store").await).contains("are only for"));
    assert!(world.open("vod://test/missing").await.unwrap_err().to_string().starts_with("File not found"));
    // And what it does not know is asked of the built-in ones.
    world.store.put("films", "a.mp4", *b"film").unwrap();
    assert!(world.open("vod://s3/films/a.mp4").await.is_ok());
    assert!(matches!(world.open("vod://none.mp4").await, Err(OpenError::NotFound { .. })));
}
