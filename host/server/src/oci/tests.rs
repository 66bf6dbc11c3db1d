//! What real registries do beside the simple case: token services, redirects, and answers that must not be believed.

use super::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

const COMPONENT: &[u8] = b"the bytes of a component";

/// A registry on 127.0.0.1 that answers as it is told: status, header fields with their line ends, body.
struct Fake {
    host: String,
    asked: Arc<parking_lot::Mutex<Vec<String>>>,
}

type Answer = (u16, String, Vec<u8>);

impl Fake {
    /// `answer` gets the own host, the path with its query, and the `Authorization` field.
    async fn start(answer: impl Fn(&str, &str, Option<&str>) -> Answer + Send + Sync + 'static) -> Fake {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let asked = Arc::new(parking_lot::Mutex::new(Vec::new()));
        let (own, seen) = (host.clone(), Arc::clone(&asked));
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let mut head = Vec::new();
                let mut buffer = [0; 4096];
                while !head.windows(4).any(|end| end == b"\r\n\r\n") {
                    match socket.read(&mut buffer).await {
                        Ok(read @ 1..) => head.extend_from_slice(&buffer[..read]),
                        _ => break,
                    }
                }
                let head = String::from_utf8_lossy(&head).into_owned();
                let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
                let field =
                    head.lines().find_map(|line| line.to_ascii_lowercase().starts_with("authorization: ").then(|| &line[15..]));
                seen.lock().push(format!("{path} {}", field.unwrap_or("-")));
                let (status, fields, body) = answer(&own, &path, field);
                let head = format!("HTTP/1.1 {status} Any\r\ncontent-length: {}\r\n{fields}\r\n", body.len());
                let _ = socket.write_all(&[head.as_bytes(), &body].concat()).await;
            }
        });
        Fake { host, asked }
    }

    fn registries(&self, registry: Registry) -> Registries {
        Registries::new(BTreeMap::from([(self.host.clone(), Registry { plain_http: true, ..registry })]))
    }

    async fn pull(&self, registry: Registry) -> Result<Pulled, PullError> {
        self.registries(registry).pull(&Reference::parse(&format!("oci://{}/team/policy:1", self.host)).unwrap()).await
    }
}

fn manifest() -> Vec<u8> {
    let layer = format!(r#"{{"mediaType": "application/wasm", "digest": "{}", "size": {}}}"#, digest(COMPONENT), COMPONENT.len());
    let config = layer.replace("application/wasm", "application/vnd.wasm.config.v0+json");
    format!(r#"{{"schemaVersion": 2, "config": {config}, "layers": [{layer}]}}"#).into_bytes()
}

fn found(path: &str) -> Answer {
    let body = if path.contains("/manifests/") { manifest() } else { COMPONENT.to_vec() };
    (200, String::new(), body)
}

fn to(location: &str) -> Answer {
    (307, format!("location: {location}\r\n"), Vec::new())
}

#[tokio::test]
async fn a_token_is_fetched_where_the_registry_says() {
    let home = tempfile::tempdir().unwrap();
    let password_file = home.path().join("password");
    std::fs::write(&password_file, "hush\n").unwrap();
    let fake = Fake::start(|host, path, authorization| match (path, authorization) {
        (path, _) if path.starts_with("/token?x=1&") => (200, String::new(), br#"{"access_token": "abc"}"#.to_vec()),
        (path, Some("Bearer abc")) => found(path),
        _ => {
            let fields = format!(
                "www-authenticate: Negotiate\r\nwww-authenticate: Bearer realm=\"http://{host}/token?x=1\",service=\"a b\",scope=\"x\"\r\n"
            );
            (401, fields, Vec::new())
        }
    })
    .await;
    let pulled = fake.pull(Registry { username: "ci".into(), password_file, ..Registry::default() }).await.unwrap();
    assert_eq!(pulled.component, COMPONENT);
    assert_eq!(pulled.reference.to_string(), format!("oci://{}/team/policy:1@{}", fake.host, digest(&manifest())));
    let asked = fake.asked.lock().clone();
    // base64 of "ci:hush"
    assert_eq!(asked[1], "/token?x=1&service=a+b&scope=repository%3Ateam%2Fpolicy%3Apull Basic Y2k6aHVzaA==");
    assert_eq!(asked.len(), 4, "{asked:?}");
}

#[tokio::test]
async fn credentials_do_not_go_to_another_host_in_the_clear() {
    let fake =
        Fake::start(|_, _, _| (401, "www-authenticate: Bearer realm=\"http://127.0.0.2/token\"\r\n".into(), Vec::new())).await;
    let error = fake.pull(Registry::default()).await.unwrap_err().to_string();
    assert!(error.contains("127.0.0.2") && error.contains("https"), "{error}");
    assert_eq!(fake.asked.lock().len(), 1);
}

#[tokio::test]
async fn a_registry_that_keeps_asking_is_given_up() {
    for fields in ["", "www-authenticate: Basic realm=\"r\"\r\n", "www-authenticate: Bearer\r\n", "www-authenticate: \"\r\n"] {
        let fake = Fake::start(move |_, _, _| (401, fields.to_owned(), Vec::new())).await;
        let error = fake.pull(Registry::default()).await.unwrap_err();
        assert!(matches!(&error, PullError::Unauthorized { .. }), "{fields:?}: {error}");
        assert!(error.to_string().contains("password_file"), "{error}");
    }
}

#[tokio::test]
async fn a_blob_may_be_elsewhere_and_only_the_registry_learns_who_asks() {
    let store = Fake::start(|_, _, authorization| {
        assert_eq!(authorization, None, "the storage was told the token");
        (200, String::new(), COMPONENT.to_vec())
    })
    .await;
    let at = store.host.clone();
    let fake = Fake::start(move |host, path, authorization| match (path, authorization) {
        (path, None) if path.starts_with("/token") => (200, String::new(), br#"{"token": "abc"}"#.to_vec()),
        (_, None) => (401, format!("www-authenticate: Bearer realm=\"http://{host}/token\"\r\n"), Vec::new()),
        (path, Some(_)) if path.contains("/blobs/") => to(&format!("http://{at}/storage?signature=1")),
        (path, Some(_)) => found(path),
    })
    .await;
    let open = Registry { allow_networks: vec!["127.0.0.1".into()], ..Registry::default() };
    assert_eq!(fake.pull(open).await.unwrap().component, COMPONENT);

    // Another host at a private address needs to be opened.
    let error = fake.pull(Registry::default()).await.unwrap_err();
    assert!(matches!(&error, PullError::Closed { .. }), "{error}");
    assert_eq!(store.asked.lock().len(), 1);
}

#[tokio::test]
async fn redirects_have_an_end_and_stay_what_they_are() {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let fake = Fake::start(move |_, path, _| match path.split_once("/manifests/") {
        Some(_) => found(path),
        None => to(&format!("/again/{}", counted.fetch_add(1, Ordering::Relaxed))),
    })
    .await;
    let error = fake.pull(Registry::default()).await.unwrap_err().to_string();
    assert!(error.contains("more than 5 times"), "{error}");
    assert_eq!(count.load(Ordering::Relaxed), 6);
    for location in ["ftp://127.0.0.1/x", "file:///etc/passwd", "//other.example/x", "x", ""] {
        let fake = Fake::start(move |_, _, _| to(location)).await;
        let error = fake.pull(Registry::default()).await.unwrap_err().to_string();
        assert!(error.contains("redirects"), "{location:?}: {error}");
    }
}

#[tokio::test]
async fn lies_about_digests_and_sizes_are_found() {
    let fake = Fake::start(|_, path, _| {
        let (status, _, body) = found(path);
        (status, format!("docker-content-digest: {}\r\n", digest(b"another manifest")), body)
    })
    .await;
    let error = fake.pull(Registry::default()).await.unwrap_err().to_string();
    assert!(error.contains("the manifest") && error.contains(&digest(b"another manifest")), "{error}");

    let fake = Fake::start(|_, path, _| match path.contains("/manifests/") {
        true => (200, String::new(), vec![b' '; MAX_MANIFEST + 1]),
        false => found(path),
    })
    .await;
    let error = fake.pull(Registry::default()).await.unwrap_err().to_string();
    assert!(error.contains("more than the 4194304 bytes"), "{error}");

    for status in [500, 429, 204] {
        let fake = Fake::start(move |_, _, _| (status, String::new(), Vec::new())).await;
        let error = fake.pull(Registry::default()).await.unwrap_err().to_string();
        assert!(error.contains(&status.to_string()), "{error}");
    }
}
