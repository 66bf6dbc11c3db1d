//! Ways in which a guest may try to reach what it was not granted. `outgoing` has what it may, and `outbound` names that resolve to
//! private addresses.

use crate::requests::*;
use flyloft_plugins::{Grants, Plugins};
use flyloft_test_guests::REACH;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// Something that listens where it is told, answers everybody with `answer`, and counts them.
struct Inner {
    port: u16,
    reached: Arc<AtomicUsize>,
}

impl Inner {
    async fn start(address: &str, answer: String) -> Option<Inner> {
        let listener = TcpListener::bind((address, 0)).await.ok()?;
        let port = listener.local_addr().unwrap().port();
        let reached = Arc::<AtomicUsize>::default();
        let count = Arc::clone(&reached);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                let mut request = [0; 4096];
                let _ = stream.read(&mut request).await;
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        Some(Inner { port, reached })
    }

    fn reached(&self) -> usize {
        self.reached.load(Ordering::Relaxed)
    }
}

fn ok() -> String {
    "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecret".to_owned()
}

async fn reach(hosts: &[&str]) -> Plugins {
    granted(REACH, Grants { hosts: hosts.iter().map(|&host| host.to_owned()).collect(), ..Grants::default() }).await
}

async fn fetch(plugins: &Plugins, url: &str) -> String {
    reason(plugins, publish(&format!("http GET {url}"))).await
}

#[tokio::test]
async fn no_way_of_writing_a_private_address_leads_there() {
    let inner = Inner::start("127.0.0.1", ok()).await.unwrap();
    let inner6 = Inner::start("::1", ok()).await;
    // The names are granted; what they stand for is not.
    let plugins = reach(&["localhost", "*.localhost", "*.example", "192.0.2.1"]).await;
    let ports = [Some(inner.port), inner6.as_ref().map(|inner| inner.port)];
    for port in ports.into_iter().flatten() {
        for host in [
            "127.0.0.1",
            "127.0.0.1.",
            "127.1",
            "127.0.1",
            "2130706433",
            "0x7f000001",
            "0x7f.0.0.1",
            "0x7f.1",
            "0177.0.0.1",
            "017700000001",
            "0000127.0.0.1",
            "127.0.0.01",
            "0.0.0.0",
            "0",
            "localhost",
            "LocalHost.",
            "[::1]",
            "[::]",
            "[0:0:0:0:0:0:0:1]",
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]",
            "[::ffff:0:127.0.0.1]",
            "[::127.0.0.1]",
            "[64:ff9b::127.0.0.1]",
            "[2002:7f00:1::]",
            "[::1%25lo]",
            "169.254.169.254",
            "[::ffff:169.254.169.254]",
            "example@127.0.0.1",
            "a.example@127.0.0.1",
            "127.0.0.1#.example",
            "１２７.0.0.1",
            "127。0。0。1",
        ] {
            let told = fetch(&plugins, &format!("http://{host}:{port}/")).await;
            assert!(told.starts_with("failed: "), "{host}: {told}");
        }
    }
    assert_eq!((inner.reached(), inner6.map_or(0, |inner| inner.reached())), (0, 0));
    assert!(verdict(&plugins, publish("healthy")).await.is_ok());
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_redirect_to_what_is_not_granted_leads_nowhere() {
    let inner = Inner::start("127.0.0.2", ok()).await.unwrap();
    let target = format!("http://127.0.0.2:{}/", inner.port);
    let answer = format!("HTTP/1.1 307 Temporary Redirect\r\nLocation: {target}\r\nContent-Length: 0\r\n\r\n");
    let outer = Inner::start("127.0.0.1", answer).await.unwrap();
    let plugins = reach(&["127.0.0.1"]).await;
    let told = fetch(&plugins, &format!("http://127.0.0.1:{}/", outer.port)).await;
    assert_eq!(told, format!("307 {target} "));
    // A guest that follows it by itself comes no further.
    assert_eq!(fetch(&plugins, &target).await, "failed: the host is not granted to this plugin");
    assert_eq!((outer.reached(), inner.reached()), (1, 0));
    let plugins = reach(&["127.0.0.0/8"]).await;
    assert_eq!(fetch(&plugins, &target).await, "200  secret");
}
