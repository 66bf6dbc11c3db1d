//! Requests that guests make of other servers: to those that are granted, few, in time, and not too large.

use crate::logged::logged;
use crate::requests::*;
use flyloft_plugins::model::{Decision, Grant};
use flyloft_plugins::{Config, FaultKind, Grants, NewBinding, Plugins};
use flyloft_test_guests::{NGINX_CALLBACKS, REACH, SRS_CALLBACKS};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What a server does after its answer.
#[derive(Clone, Copy, PartialEq)]
enum Then {
    Close,
    /// Sends a byte now and then, and never ends.
    Drip,
}

/// A server on this machine, and what it was asked.
struct Server {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Answers each request with `answer`, which is given its text.
    async fn start(then: Then, answer: impl Fn(&str) -> String + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let (kept, answer) = (Arc::clone(&asked), Arc::new(answer));
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (kept, answer) = (Arc::clone(&kept), Arc::clone(&answer));
                tokio::spawn(async move {
                    let request = read_request(&mut stream).await;
                    kept.lock().unwrap().push(request.clone());
                    let mut sent = stream.write_all(answer(&request).as_bytes()).await;
                    while then == Then::Drip && sent.is_ok() {
                        tokio::time::sleep(Duration::from_millis(10)).await;
                        sent = stream.write_all(b"x").await;
                    }
                });
            }
        });
        Server { address, asked }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

/// The beginning of an answer whose head goes on for as long as there are bytes.
const ENDLESS_HEAD: &str = "HTTP/1.1 200 OK\r\nX: ";

/// A request's head and body.
async fn read_request(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length =
                head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse::<usize>().ok());
            if body.len() >= length.unwrap_or(0) {
                return text;
            }
        }
        let mut chunk = [0; 4096];
        match stream.read(&mut chunk).await {
            Ok(0) | Err(_) => return text,
            Ok(read) => bytes.extend_from_slice(&chunk[..read]),
        }
    }
}

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn hosts(hosts: &[&str]) -> Grants {
    Grants { hosts: hosts.iter().map(|&host| host.to_owned()).collect(), ..Grants::default() }
}

async fn reach(grants: &[&str]) -> Plugins {
    granted(REACH, hosts(grants)).await
}

async fn told(plugins: &Plugins, order: String) -> String {
    reason(plugins, publish(&order)).await
}

#[tokio::test]
async fn a_granted_host_is_asked() {
    let server = Server::start(Then::Close, |_| ok("hello")).await;
    let plugins = reach(&["127.0.0.1"]).await;
    assert_eq!(told(&plugins, format!("http GET {}", server.url("/a?b=c"))).await, "200  hello");
    let asked = server.asked();
    assert!(asked[0].starts_with("GET /a?b=c HTTP/1.1\r\n"), "{asked:?}");
    let head = asked[0].to_ascii_lowercase();
    assert!(head.contains("x-from: guest") && head.contains(&format!("host: {}", server.address)), "{head}");
}

#[tokio::test]
async fn a_body_is_sent_whole() {
    let server =
        Server::start(Then::Close, |request| ok(&request.split("\r\n\r\n").nth(1).unwrap_or_default().len().to_string())).await;
    let plugins = reach(&["127.0.0.0/8"]).await;
    assert_eq!(told(&plugins, format!("http-body {} 100000", server.url("/"))).await, "200  100000");
    let many = told(&plugins, format!("http-body {} 1048577", server.url("/"))).await;
    assert_eq!(many, "failed: the request is too large");
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn another_host_is_refused_by_name_and_not_asked() {
    let server = Server::start(Then::Close, |_| ok("secret")).await;
    for grants in [&[][..], &["backend.example"], &["*.example", "10.0.0.0/8"], &["127.0.0.1:1"]] {
        let plugins = reach(grants).await;
        let log = logged(async {
            let order = format!("http GET {}", server.url("/"));
            assert_eq!(told(&plugins, order).await, "failed: the host is not granted to this plugin");
        })
        .await;
        assert!(log.contains(&server.address.to_string()) && log.contains("context=\"wasi:http\""), "{log}");
        assert!(log.contains("plugin=granted"), "{log}");
    }
    // A name that leads to a private address needs the address, too.
    let plugins = reach(&["localhost"]).await;
    let order = format!("http GET http://localhost:{}/", server.address.port());
    assert_eq!(told(&plugins, order).await, "failed: the host is not granted to this plugin");
    assert!(server.asked().is_empty(), "{:?}", server.asked());
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_not_followed() {
    let inner = Server::start(Then::Close, |_| ok("secret")).await;
    let target = inner.url("/inner");
    let server =
        Server::start(Then::Close, move |_| format!("HTTP/1.1 302 Found\r\nLocation: {target}\r\nContent-Length: 0\r\n\r\n"))
            .await;
    let plugins = reach(&["127.0.0.1"]).await;
    let answer = told(&plugins, format!("http GET {}", server.url("/"))).await;
    assert_eq!(answer, format!("302 {} ", inner.url("/inner")));
    assert!(inner.asked().is_empty());
}

#[tokio::test]
async fn a_call_makes_so_many_requests_and_no_more() {
    let server = Server::start(Then::Close, |_| ok("hello")).await;
    let plugins = reach(&["127.0.0.1"]).await;
    let all = "the call has made all the requests that it may";
    let log = logged(async {
        let answers = told(&plugins, format!("http-many {} 6", server.url("/"))).await;
        assert_eq!(answers, format!("200, 200, 200, 200, {all}, {all}"));
    })
    .await;
    assert!(log.contains("has made 4 HTTP requests"), "{log}");
    assert_eq!(server.asked().len(), 4);
    // The next call may again.
    assert_eq!(told(&plugins, format!("http-many {} 2", server.url("/"))).await, "200, 200");
}

#[tokio::test]
async fn an_answer_without_end_ends_with_the_call() {
    for begun in [ENDLESS_HEAD, "HTTP/1.1 200 OK\r\n\r\n"] {
        let server = Server::start(Then::Drip, move |_| begun.to_owned()).await;
        let mut config = config();
        config.limits.deadline = Duration::from_millis(300);
        let plugins = granted_with(config, REACH, hosts(&["127.0.0.1"])).await;
        let kind = fault(&plugins, publish(&format!("http GET {}", server.url("/")))).await;
        assert_eq!(kind, FaultKind::Waiting { ms: 300, host: server.address.to_string() });
        assert!(verdict(&plugins, publish("healthy")).await.is_ok());
    }
}

#[tokio::test]
async fn an_answer_that_is_too_large_is_an_error() {
    let told_size =
        Server::start(Then::Close, |_| format!("HTTP/1.1 200 OK\r\nContent-Length: 1048577\r\n\r\n{}", "x".repeat(100))).await;
    let untold = Server::start(Then::Close, |_| format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat((1 << 20) + 1))).await;
    let plugins = reach(&["127.0.0.1"]).await;
    for server in [told_size, untold] {
        let answer = told(&plugins, format!("http GET {}", server.url("/"))).await;
        assert_eq!(answer, "failed: the answer is too large");
    }
}

#[tokio::test]
async fn nobody_listens_and_nonsense_answers() {
    let plugins = reach(&["127.0.0.1"]).await;
    let unused = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    assert_eq!(told(&plugins, format!("http GET http://{unused}/")).await, "failed: the host can't be reached");
    let server = Server::start(Then::Close, |_| "nonsense\r\n\r\n".to_owned()).await;
    let answer = told(&plugins, format!("http GET {}", server.url("/"))).await;
    assert!(answer.starts_with("failed: "), "{answer}");
}

#[tokio::test]
async fn calls_that_wait_do_not_hold_up_others() {
    let server = Server::start(Then::Drip, |_| ENDLESS_HEAD.to_owned()).await;
    let config = Config { max_concurrent_calls: 8, ..config() };
    let mut config = config;
    config.limits.deadline = Duration::from_secs(2);
    let plugins = granted_with(config, REACH, hosts(&["127.0.0.1"])).await;
    let waiting: Vec<_> = (0..4)
        .map(|_| {
            let (plugins, order) = (plugins.clone(), format!("http GET {}", server.url("/")));
            tokio::spawn(async move { fault(&plugins, publish(&order)).await })
        })
        .collect();
    while server.asked().len() < 4 {
        tokio::task::yield_now().await;
    }
    for _ in 0..50 {
        assert!(verdict(&plugins, publish("healthy")).await.is_ok());
    }
    assert!(waiting.iter().all(|call| !call.is_finished()));
    for call in waiting {
        assert_eq!(call.await.unwrap(), FaultKind::Waiting { ms: 2000, host: server.address.to_string() });
    }
}

async fn callbacks(component: &'static [u8], server: &Server) -> Plugins {
    let mut grants = hosts(&["127.0.0.1"]);
    grants.config = [("on_publish".to_owned(), server.url("/on_publish"))].into();
    granted(component, grants).await
}

#[tokio::test]
async fn a_backend_for_nginx_rtmp_decides() {
    let server = Server::start(Then::Close, |request| {
        let status = if request.contains("name=good") { "200 OK" } else { "403 Forbidden" };
        format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n")
    })
    .await;
    let plugins = callbacks(NGINX_CALLBACKS, &server).await;
    assert_eq!(verdict(&plugins, publish("good")).await, Ok(Grant::default()));
    assert_eq!(verdict(&plugins, publish("bad")).await, Err("refused-by-backend".into()));
    let asked = server.asked();
    assert!(asked[0].starts_with("POST /on_publish HTTP/1.1\r\n"), "{asked:?}");
    assert!(asked[0].ends_with("&name=good&call=publish&type=live&mode=CMAF"), "{asked:?}");
    // It has no URL for plays, so they go on to the built-in policy.
    let decided = plugins.decide(&context(), &play(None, None)).await.unwrap();
    assert_eq!((&*decided.plugin, matches!(decided.answer, Decision::Deny(_))), ("room-policy", true));
}

#[tokio::test]
async fn a_backend_for_srs_decides() {
    let server =
        Server::start(Then::Close, |request| ok(if request.contains("\"stream\":\"good\"") { "{\"code\": 0}" } else { "1" }))
            .await;
    let plugins = callbacks(SRS_CALLBACKS, &server).await;
    assert_eq!(verdict(&plugins, publish("good")).await, Ok(Grant::default()));
    assert_eq!(verdict(&plugins, publish("bad")).await, Err("refused-by-backend".into()));
    let asked = server.asked();
    assert!(asked[0].contains("\"action\":\"on_publish\"") && asked[0].contains("\"param\":\"?mode=CMAF\""), "{asked:?}");
}

/// Publishes for an App whose plugin asks `url`.
fn hang(plugins: &Plugins, app: &str, url: &str) -> tokio::task::JoinHandle<Result<(), FaultKind>> {
    let mut context = context();
    context.app.id = app.into();
    let (plugins, action) = (plugins.clone(), publish(&format!("http GET {url}")));
    tokio::spawn(async move { plugins.decide(&context, &action).await.map(drop).map_err(|fault| fault.kind) })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_whose_backend_hangs_takes_no_room_from_others() {
    let server = Server::start(Then::Drip, |_| ENDLESS_HEAD.to_owned()).await;
    let mut config = config();
    config.limits.deadline = Duration::from_secs(600);
    config.max_wait = Duration::from_secs(600);
    let share = config.max_concurrent_calls_per_app as usize;
    let plugins = Plugins::open(config).unwrap();
    plugins.deploy("reach", REACH.into()).await.unwrap();
    for app in ["slow", "fast"] {
        let new =
            NewBinding { plugin: "reach".into(), app: Some(app.into()), grants: hosts(&["127.0.0.1"]), ..NewBinding::default() };
        plugins.bind(new).await.unwrap();
    }
    let hanging: Vec<_> = (0..100).map(|_| hang(&plugins, "slow", &server.url("/"))).collect();
    while server.asked().len() < share {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let mut context = context();
    context.app.id = "fast".into();
    for _ in 0..200 {
        let answered = plugins.decide(&context, &publish("config none")).await.unwrap();
        assert!(matches!(answered.answer, Decision::Deny(denial) if denial.reason == "None"));
    }
    assert!(hanging.iter().all(|call| !call.is_finished()), "the calls of the slow App still hang");
    assert_eq!(server.asked().len(), share, "as many calls of the slow App run as may");
    for call in hanging {
        call.abort();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_wait_too_long_for_others_of_their_app_are_refused() {
    let server = Server::start(Then::Drip, |_| ENDLESS_HEAD.to_owned()).await;
    let mut config = config();
    config.limits.deadline = Duration::from_secs(600);
    config.max_wait = Duration::from_millis(50);
    config.max_concurrent_calls_per_app = 2;
    let plugins = granted_with(config, REACH, hosts(&["127.0.0.1"])).await;
    let hanging = [hang(&plugins, "slow", &server.url("/")), hang(&plugins, "slow", &server.url("/"))];
    while server.asked().len() < 2 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let refused = hang(&plugins, "slow", &server.url("/")).await.unwrap().unwrap_err();
    assert!(matches!(refused, FaultKind::Overloaded { of_app: true, .. }), "{refused}");
    assert!(refused.to_string().contains("a slow backend"), "{refused}");
    assert_eq!(plugins.get("granted").unwrap().counters.faults.overloaded, 1);
    for call in hanging {
        call.abort();
    }
}
