//! What may be asked, and what an exchange may cost, with servers on loopback that are granted where they are to be reached.

use super::*;
use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

const LIMITS: Limits = Limits { deadline: Duration::from_secs(20), max_body: 1000 };

/// Names with the addresses that they resolve to, one list after the other; the last one stays.
#[derive(Default)]
struct Names {
    lists: HashMap<&'static str, Vec<Vec<IpAddr>>>,
    asked: AtomicUsize,
}

impl Resolver for Names {
    fn resolve<'a>(&'a self, name: &'a str) -> Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send + 'a>> {
        let asked = self.asked.fetch_add(1, Ordering::Relaxed);
        let lists = self.lists.get(name);
        let found = lists.and_then(|lists| lists.get(asked).or(lists.last())).cloned();
        Box::pin(async move { found.ok_or_else(|| io::Error::other("no such name")) })
    }
}

fn names(lists: &[(&'static str, &[&[&str]])]) -> Arc<Names> {
    let parse = |list: &&[&str]| list.iter().map(|address| address.parse().unwrap()).collect();
    let lists = lists.iter().map(|(name, lists)| (*name, lists.iter().map(parse).collect())).collect();
    Arc::new(Names { lists, asked: AtomicUsize::new(0) })
}

fn hosts(entries: &[&str]) -> Result<Rules, String> {
    Rules::from_hosts(&entries.iter().map(|entry| (*entry).to_owned()).collect::<Vec<_>>())
}

fn get(url: &str) -> Request<Bytes> {
    Request::get(url).body(Bytes::new()).unwrap()
}

/// A server on loopback that sends `answer` to everyone, and keeps what it was sent.
struct Canned {
    port: u16,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Canned {
    async fn start(answer: impl Into<Vec<u8>>) -> Canned {
        let (answer, listener) = (answer.into(), TcpListener::bind("127.0.0.1:0").await.unwrap());
        let (port, requests) = (listener.local_addr().unwrap().port(), Arc::new(Mutex::new(Vec::new())));
        let kept = Arc::clone(&requests);
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let mut request = Vec::new();
                while !request.windows(4).any(|window| window == b"\r\n\r\n") {
                    if socket.read_buf(&mut request).await.unwrap_or(0) == 0 {
                        break;
                    }
                }
                kept.lock().unwrap().push(String::from_utf8(request).unwrap());
                let _ = socket.write_all(&answer).await;
            }
        });
        Canned { port, requests }
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

fn loopback() -> Client {
    Client::new(hosts(&["127.0.0.1"]).unwrap())
}

#[tokio::test]
async fn no_form_of_a_private_address_is_reached() {
    let client = Client::with(Rules::public(), names(&[]), None);
    for host in [
        "127.0.0.1",
        "127.8.9.1",
        "127.0.0.1.",
        "0.0.0.0",
        "0.1.2.3",
        "10.0.0.1",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.1.1",
        "100.64.0.1",
        "100.127.255.255",
        "169.254.1.1",
        "169.254.169.254",
        "192.0.0.8",
        "192.0.2.1",
        "192.88.99.1",
        "198.18.0.1",
        "198.19.255.1",
        "198.51.100.7",
        "203.0.113.9",
        "224.0.0.1",
        "239.255.255.250",
        "240.0.0.1",
        "255.255.255.255",
        "[::]",
        "[::1]",
        "[::127.0.0.1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[0:0:0:0:0:ffff:a9fe:a9fe]",
        "[::ffff:0:127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[64:ff9b::10.0.0.1]",
        "[64:ff9b:1::1]",
        "[2002:7f00:1::]",
        "[2002:c0a8:101::1]",
        "[2001::1]",
        "[2001:db8::1]",
        "[3fff::1]",
        "[fc00::1]",
        "[fd12:3456::1]",
        "[fe80::1]",
        "[fec0::1]",
        "[ff02::1]",
        "[100::1]",
        "[5f00::1]",
        "[4000::1]",
    ] {
        let uri = format!("http://{host}:8080/").parse::<Uri>().unwrap();
        let error = client.check(&uri).unwrap_err();
        assert!(matches!(error, Error::Refused { .. }), "{host}: {error}");
        assert!(error.to_string().starts_with(&format!("{host}:8080 may not be asked: it is ")), "{error}");
        assert_eq!(client.send(get(&uri.to_string()), LIMITS).await.unwrap_err(), error);
    }
    for host in ["1.1.1.1", "172.15.0.1", "172.32.0.1", "100.63.0.1", "100.128.0.1", "[2606:4700::1111]", "[64:ff9b::1.1.1.1]"] {
        client.check(&format!("https://{host}/").parse().unwrap()).unwrap();
    }
}

#[tokio::test]
async fn odd_forms_are_addresses_for_nobody() {
    let resolver = names(&[]);
    // Even where loopback is granted: what one program reads as an address and another as a name is not sent.
    let granted = Rules::public().with_networks(&["127.0.0.0/8".into()]).unwrap();
    let client = Client::with(granted, resolver.clone(), None);
    for url in [
        "http://2130706433/",
        "http://017700000001/",
        "http://0x7f000001/",
        "http://0x7f.1/",
        "http://0x7F.0.0.1/",
        "http://0177.0.0.1/",
        "http://127.0.0.01/",
        "http://127.1/",
        "http://127.0.1/",
        "http://1.2.3.4.5/",
        "http://256.0.0.1/",
        "http://example.0x/",
        "http://127.0.0.1:0/",
        "http://127.0.0.1:65536/",
        "http://127.0.0.1:/",
        "http://127.0.0.1:+80/",
        "http://127.0.0.1..:80/",
        "http://user@example.com/",
        "http://user:password@example.com/",
        "http://example.com@127.0.0.1/",
        "http://a..b/",
        "http://-a.example/",
        "http://ex%61mple.com/",
        "http://127.0.0.1%2f@example.com/",
        "http://[::1]x/",
        "http://[::1%25eth0]/",
        "http://[127.0.0.1]/",
        "ftp://example.com/",
        "file:///etc/passwd",
        "gopher://example.com/",
        "/path",
        "http://ⓛocalhost/",
        "http://①②⑦.⓪.⓪.①/",
    ] {
        let Ok(uri) = url.parse::<Uri>() else { continue };
        let error = client.check(&uri).unwrap_err();
        assert!(matches!(error, Error::Request { .. }), "{url}: {error}");
        let request = Request::builder().uri(uri).body(Bytes::new()).unwrap();
        assert_eq!(client.send(request, LIMITS).await.unwrap_err(), error);
    }
    let long = format!("http://example.com/{}", "x".repeat(MAX_URL));
    assert!(client.check(&long.parse().unwrap()).unwrap_err().to_string().contains("8192"));
    assert!(client.check(&format!("http://{}.com/", "x".repeat(64)).parse().unwrap()).is_err());
    assert!(client.check(&format!("http://{}com/", "x.".repeat(130)).parse().unwrap()).is_err());
    assert_eq!(resolver.asked.load(Ordering::Relaxed), 0, "nothing of this is resolved");
}

#[tokio::test]
async fn names_are_judged_by_every_address_that_they_resolve_to() {
    let server = Canned::start("HTTP/1.1 200 OK\r\n\r\n").await;
    let resolver = names(&[
        ("private.example", &[&["10.1.2.3"]]),
        ("loop.example", &[&["127.0.0.1"]]),
        ("mapped.example", &[&["::ffff:127.0.0.1"]]),
        ("nat64.example", &[&["64:ff9b::a9fe:a9fe"]]),
        ("mixed.example", &[&["1.1.1.1", "127.0.0.1"]]),
        ("mixed6.example", &[&["2606:4700::1111", "fd00::1"]]),
        ("none.example", &[&[]]),
    ]);
    let client = Client::with(Rules::public(), resolver.clone(), None);
    for name in ["private", "loop", "mapped", "nat64", "mixed", "mixed6"] {
        let url = format!("http://{name}.example:{}/", server.port);
        let error = client.send(get(&url), LIMITS).await.unwrap_err();
        assert!(matches!(error, Error::Refused { .. }), "{name}: {error}");
        let text = error.to_string();
        assert!(text.contains(&format!("{name}.example")) && text.contains("it resolves to a") || name == "nat64", "{text}");
        assert!(!text.contains("10.1.2.3") && !text.contains("127.0.0.1") && !text.contains("fd00"), "it tells: {text}");
    }
    for name in ["none.example", "unknown.example"] {
        let error = client.send(get(&format!("http://{name}/")), LIMITS).await.unwrap_err();
        assert!(matches!(error, Error::Resolve { .. }) && error.to_string().contains(name), "{error}");
    }
    assert!(server.requests().is_empty());
    let many = (0..=MAX_ADDRESSES).map(|_| "1.1.1.1").collect::<Vec<_>>();
    let client = Client::with(Rules::public(), names(&[("many.example", &[&many])]), None);
    assert!(matches!(client.send(get("http://many.example/"), LIMITS).await, Err(Error::Resolve { .. })));
}

#[tokio::test]
async fn a_name_that_is_rebound_gains_nothing() {
    let server = Canned::start("HTTP/1.1 204 No Content\r\n\r\n").await;
    let url = format!("http://rebound.example:{}/", server.port);
    // First what is granted, then what is not. The second request resolves again and is refused; within one, the first answer holds.
    let resolver = names(&[("rebound.example", &[&["127.0.0.1"], &["127.0.0.2"]])]);
    let client = Client::with(hosts(&["rebound.example", "127.0.0.1"]).unwrap(), resolver.clone(), None);
    assert_eq!(client.send(get(&url), LIMITS).await.unwrap().status(), 204);
    assert_eq!(resolver.asked.load(Ordering::Relaxed), 1, "resolved once, and connected to that");
    assert!(matches!(client.send(get(&url), LIMITS).await, Err(Error::Refused { .. })));
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn redirects_are_answers() {
    let inner = Canned::start("HTTP/1.1 200 OK\r\n\r\n").await;
    for status in ["301 Moved", "302 Found", "303 See Other", "307 Temporary Redirect", "308 Permanent Redirect"] {
        let answer = format!("HTTP/1.1 {status}\r\nLocation: http://127.0.0.1:{}/\r\nContent-Length: 0\r\n\r\n", inner.port);
        let outer = Canned::start(answer).await;
        let answer = loopback().send(get(&format!("http://127.0.0.1:{}/", outer.port)), LIMITS).await.unwrap();
        assert!(answer.status().is_redirection() && answer.headers().contains_key("location"));
    }
    assert!(inner.requests().is_empty());
}

#[test]
fn entries_grant_what_they_say() {
    let resolved = |rules: &Rules, url: &str, address: &str| {
        let target = Target::of(&url.parse().unwrap()).unwrap();
        rules.check_host(&target.host, target.port)?;
        rules.check_address(&target.host, target.port, address.parse().unwrap())
    };
    let (public, private) = ("1.1.1.1", "10.1.1.1");
    let rules = hosts(&["Api.Example.COM.", "*.cdn.example", "one.example:8443"]).unwrap();
    for url in ["https://api.example.com/", "http://API.example.com.:99/", "http://a.cdn.example/", "http://a.b.cdn.example/"] {
        resolved(&rules, url, public).unwrap();
        assert!(resolved(&rules, url, private).unwrap_err().contains("granted"), "{url}");
    }
    resolved(&rules, "https://one.example:8443/", public).unwrap();
    for url in [
        "https://one.example/",
        "http://cdn.example/",
        "http://xcdn.example/",
        "http://api.example.com.evil.example/",
        "http://evilapi.example.com/",
    ] {
        assert!(resolved(&rules, url, public).unwrap_err().contains("not among the granted"), "{url}");
    }
    let rules = hosts(&["10.0.0.0/8", "192.168.7.7:9000", "[fd00::7]:80", "::1", "inner.example", "8.8.8.8"]).unwrap();
    for (url, address) in [
        ("http://10.9.9.9/", "10.9.9.9"),
        ("http://[::ffff:10.9.9.9]/", "::ffff:10.9.9.9"),
        ("http://192.168.7.7:9000/", "192.168.7.7"),
        ("http://[fd00::7]/", "fd00::7"),
        ("http://[::1]:5/", "::1"),
        ("http://8.8.8.8/", "8.8.8.8"),
        ("http://inner.example/", private),
    ] {
        resolved(&rules, url, address).unwrap();
    }
    for (url, address) in [
        ("http://11.0.0.1/", "11.0.0.1"),
        ("http://192.168.7.7/", "192.168.7.7"),
        ("http://192.168.7.8:9000/", "192.168.7.8"),
        ("http://[fd00::7]:81/", "fd00::7"),
        ("http://8.8.4.4/", "8.8.4.4"),
        ("http://inner.example/", "127.0.0.1"),
        ("http://other.example/", private),
        ("http://other.example/", "8.8.8.8"),
    ] {
        assert!(resolved(&rules, url, address).is_err(), "{url}");
    }
    assert!(resolved(&Rules::default(), "http://api.example.com/", public).is_err());
    let all = Rules::public().with_networks(&["0.0.0.0/0".into(), "::/0".into()]).unwrap();
    resolved(&all, "http://[fd00::7]/", "fd00::7").unwrap();
    resolved(&all, "http://127.0.0.1/", "127.0.0.1").unwrap();
}

#[test]
fn wrong_entries_are_named() {
    for entry in [
        "",
        "*",
        "*.",
        "a b",
        "http://example.com",
        "example.com/path",
        "example.com:0",
        "example.com:http",
        "*.*.example",
        "a.*.example",
        "*.10.0.0.1",
        "10.0.0.0/33",
        "10.0.0.0/",
        "10.0.0.0/+8",
        "fd00::/129",
        "::ffff:10.0.0.0/104",
        "0x7f.1",
        "[::1",
        "[::1]8",
    ] {
        let error = hosts(&["fine.example", entry]).unwrap_err();
        assert!(error.contains(&format!("{entry:?}")), "{error}");
    }
    assert!(Rules::public().with_networks(&["example.com".into()]).unwrap_err().contains("10.0.0.0/8"));
}

#[tokio::test]
async fn a_request_arrives_as_it_was_meant() {
    let server = Canned::start("HTTP/1.1 200 Fine\r\nContent-Length: 5\r\nX-Answer: yes\r\n\r\nhello").await;
    let request = Request::post(format!("http://127.0.0.1:{}/hook?x=1", server.port))
        .header("host", "metadata.internal")
        .header("content-length", "0")
        .header("transfer-encoding", "chunked")
        .header("connection", "upgrade")
        .header("upgrade", "h2c")
        .header("x-mine", "kept")
        .body(Bytes::from_static(b"{}"));
    let answer = loopback().send(request.unwrap(), LIMITS).await.unwrap();
    assert_eq!(
        (answer.status().as_u16(), answer.body().as_ref(), &answer.headers()["x-answer"]),
        (200, &b"hello"[..], &HeaderValue::from_static("yes"))
    );
    let head = server.requests().remove(0).to_ascii_lowercase();
    assert!(head.starts_with("post /hook?x=1 http/1.1\r\n"), "{head}");
    assert!(head.contains(&format!("host: 127.0.0.1:{}\r\n", server.port)) && head.contains("x-mine: kept\r\n"), "{head}");
    assert!(head.contains("content-length: 2\r\n") && head.contains("connection: close\r\n"), "{head}");
    assert!(!head.contains("upgrade") && !head.contains("chunked") && !head.contains("metadata"), "{head}");
}

#[tokio::test]
async fn answers_have_limits() {
    let whole = |body: usize| format!("HTTP/1.1 200 OK\r\nContent-Length: {body}\r\n\r\n{}", "x".repeat(body));
    let chunked = |body: usize| {
        format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{body:x}\r\n{}\r\n0\r\n\r\n", "x".repeat(body))
    };
    let until_close = |body: usize| format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(body));
    for (answer, fits) in [
        (whole(1000), true),
        (whole(1001), false),
        (chunked(1000), true),
        (chunked(1001), false),
        (until_close(1000), true),
        (until_close(100_000), false),
        // Announced, and never sent.
        ("HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551615\r\n\r\n".to_owned(), false),
    ] {
        let server = Canned::start(answer.clone()).await;
        match loopback().send(get(&format!("http://127.0.0.1:{}/", server.port)), LIMITS).await {
            Ok(answer) => assert!(fits && answer.body().len() == 1000),
            Err(Error::TooLarge { limit: 1000, .. } | Error::Protocol { .. }) => assert!(!fits, "{answer:.80}"),
            Err(error) => panic!("{error} of {answer:.80}"),
        }
    }
    for answer in [whole(100_000), chunked(100_000), until_close(100_000)] {
        let server = Canned::start(answer).await;
        let url = format!("http://127.0.0.1:{}/", server.port);
        assert_eq!(loopback().send_and_cut(get(&url), LIMITS).await.unwrap().body().len(), 1000);
    }
    let fields = |count: usize| format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(count));
    for (answer, fits) in [
        (fields(MAX_HEADERS - 1), true),
        (fields(MAX_HEADERS + 1), false),
        (format!("HTTP/1.1 200 OK\r\nA: {}\r\n\r\n", "b".repeat(2 * MAX_HEAD)), false),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nshort".replace('5', "6"), false),
        ("SSH-2.0-OpenSSH_9.2\r\n\r\n".to_owned(), false),
        (String::new(), false),
    ] {
        let server = Canned::start(answer.clone()).await;
        let found = loopback().send(get(&format!("http://127.0.0.1:{}/", server.port)), LIMITS).await;
        assert_eq!(found.is_ok(), fits, "{answer:.80}: {found:?}");
        if let Err(error) = found {
            assert!(matches!(error, Error::Protocol { .. }), "{error}");
        }
    }
}

#[tokio::test]
async fn a_request_has_limits() {
    let server = Canned::start("HTTP/1.1 200 OK\r\n\r\n").await;
    let url = format!("http://127.0.0.1:{}/", server.port);
    let mut many = get(&url);
    for index in 0..=MAX_HEADERS {
        many.headers_mut().insert(HeaderName::try_from(format!("x-{index}")).unwrap(), HeaderValue::from_static("y"));
    }
    let mut large = get(&url);
    large.headers_mut().insert("x", HeaderValue::try_from("y".repeat(MAX_HEAD)).unwrap());
    let tunnel = Request::connect(&url).body(Bytes::new()).unwrap();
    for request in [many, large, tunnel] {
        assert!(matches!(loopback().send(request, LIMITS).await, Err(Error::Request { .. })));
    }
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn a_server_that_dribbles_is_left_at_the_deadline() {
    for head in ["HTTP/1.1 200 OK\r\nX: ", "HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 100 Continue\r\n\r\n", ""] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://127.0.0.1:{}/", listener.local_addr().unwrap().port());
        let left = tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.unwrap();
            // An answer before the request would be none.
            assert!(socket.read(&mut [0; 1024]).await.unwrap() > 0);
            socket.write_all(head.as_bytes()).await.unwrap();
            // Ends when the client has closed the connection.
            while head.is_empty() || socket.write_all(if head.contains("100") { head.as_bytes() } else { b"x" }).await.is_ok() {
                let mut buffer = [0; 1024];
                tokio::select! {
                    read = socket.read(&mut buffer) => if read.unwrap_or(0) == 0 { return },
                    () = tokio::time::sleep(Duration::from_millis(5)) => {}
                }
            }
        });
        let limits = Limits { deadline: Duration::from_millis(200), max_body: 1 << 20 };
        let error = loopback().send(get(&url), limits).await.unwrap_err();
        assert_eq!(error, Error::Deadline { host: url["http://".len()..url.len() - 1].to_owned(), ms: 200 });
        left.await.unwrap();
    }
}

#[tokio::test]
async fn a_dead_address_is_passed_over() {
    let server = Canned::start("HTTP/1.1 204 No Content\r\n\r\n").await;
    let resolver = names(&[("two.example", &[&["127.0.0.2", "127.0.0.1"]])]);
    let rules = hosts(&["two.example", "127.0.0.0/8"]).unwrap();
    let client = Client::with(rules, resolver, None);
    assert_eq!(client.send(get(&format!("http://two.example:{}/", server.port)), LIMITS).await.unwrap().status(), 204);
    drop(server);
    let unused = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let error = client.send(get(&format!("http://two.example:{unused}/")), LIMITS).await.unwrap_err();
    assert!(matches!(error, Error::Connect { .. }) && error.to_string().contains("two.example"), "{error}");
}

#[tokio::test]
async fn the_certificate_must_be_for_the_name_and_the_connection_for_the_checked_address() {
    let made = rcgen::generate_simple_self_signed(["secure.example".to_owned()]).unwrap();
    let key = rustls_pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let names_seen = Arc::clone(&seen);
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let Ok(mut socket) = acceptor.accept(socket).await else { continue };
            names_seen.lock().unwrap().push(socket.get_ref().1.server_name().map(str::to_owned));
            let mut buffer = [0; 2048];
            let _ = socket.read(&mut buffer).await;
            let _ = socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
            let _ = socket.shutdown().await;
        }
    });
    let resolver = names(&[("secure.example", &[&["127.0.0.1"]]), ("other.example", &[&["127.0.0.1"]])]);
    let rules = hosts(&["secure.example", "other.example", "127.0.0.1"]).unwrap();
    let trusted = trusting(vec![made.cert.der().clone()]).unwrap();
    let client = Client::with(rules.clone(), resolver.clone(), Some(trusted));
    let answer = client.send(get(&format!("https://secure.example:{port}/")), LIMITS).await.unwrap();
    assert_eq!(answer.body().as_ref(), b"ok");
    assert_eq!(*seen.lock().unwrap(), [Some("secure.example".to_owned())]);
    let error = client.send(get(&format!("https://other.example:{port}/")), LIMITS).await.unwrap_err();
    assert!(matches!(error, Error::Tls { .. }) && error.to_string().contains("other.example"), "{error}");
    // Plain text to a port that speaks TLS is no answer either.
    assert!(client.send(get(&format!("http://secure.example:{port}/")), LIMITS).await.is_err());
    assert!(trusting(Vec::new()).unwrap_err().contains("ca-certificates"));
}
