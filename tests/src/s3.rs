//! A real S3 server in this process: it speaks the protocol, checks signatures, and keeps its objects in a directory.

use anyhow::{Context, Result, anyhow, ensure};
use hyper_util::rt::TokioIo;
use s3s::auth::SimpleAuth;
use s3s::dto::{
    CreateBucketInput, ETag, ETagCondition, GetObjectInput, GetObjectOutput, HeadObjectInput, HeadObjectOutput,
    ListObjectsV2Input, ListObjectsV2Output, PutObjectInput, PutObjectOutput, StreamingBlob,
};
use s3s::host::{S3Host, VirtualHost};
use s3s::service::S3ServiceBuilder;
use s3s::{Body, S3, S3Request, S3Response, S3Result, s3_error};
use s3s_fs::FileSystem;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

/// The access key that the server knows.
pub const KEY: &str = "AKIDFLYLOFTTEST";
/// Its secret half.
pub const SECRET: &str = "s3cr3t/Of+TheTests=";
/// The name under which `bucket.NAME` reaches a bucket, beside the path style.
pub const DOMAIN: &str = "store.test";

/// A running S3 server; dropping it ends it.
pub struct Store {
    address: SocketAddr,
    files: Arc<Files>,
    /// Runs the server.
    runtime: Option<Runtime>,
    directory: tempfile::TempDir,
}

impl Store {
    /// Starts with these buckets.
    pub fn start(buckets: &[&str]) -> Result<Store> {
        let directory = tempfile::tempdir()?;
        let fs = FileSystem::new(directory.path()).map_err(|error| anyhow!("the directory of the store: {error:?}"))?;
        let files = Arc::new(Files { fs, requests: AtomicU64::default(), bytes: AtomicU64::default() });
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let mut service = S3ServiceBuilder::new(Shared(Arc::clone(&files)));
        service.set_auth(SimpleAuth::from_single(KEY, SECRET));
        service.set_host(Hosts);
        let service = service.build();
        runtime.spawn(async move {
            let listener = TcpListener::from_std(listener)?;
            while let Ok((socket, _)) = listener.accept().await {
                // Without it each small answer waits for an acknowledgement of the one before.
                let _ = socket.set_nodelay(true);
                let serving = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), service.clone());
                tokio::spawn(serving);
            }
            std::io::Result::Ok(())
        });
        let store = Store { address, files, runtime: Some(runtime), directory };
        for bucket in buckets {
            let input = CreateBucketInput::builder().bucket((*bucket).to_owned()).build()?;
            let created = store.block_on(store.files.fs.create_bucket(request(input)))?;
            created.map_err(|error| anyhow!("making the bucket {bucket}: {error:?}"))?;
        }
        Ok(store)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:PORT`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Puts an object, or replaces it.
    pub fn put(&self, bucket: &str, key: &str, content: impl Into<Vec<u8>>) -> Result<()> {
        let content: Vec<u8> = content.into();
        let input = PutObjectInput::builder()
            .bucket(bucket.to_owned())
            .key(key.to_owned())
            .content_length(Some(i64::try_from(content.len())?))
            .body(Some(StreamingBlob::from(Body::from(content))))
            .build()?;
        let put = self.block_on(self.files.fs.put_object(request(input)))?;
        put.map_err(|error| anyhow!("putting {bucket}/{key}: {error:?}"))?;
        Ok(())
    }

    /// Takes an object away.
    pub fn remove(&self, bucket: &str, key: &str) -> Result<()> {
        std::fs::remove_file(self.directory.path().join(bucket).join(key)).with_context(|| format!("removing {bucket}/{key}"))
    }

    /// Requests for objects that were let in so far.
    pub fn requests(&self) -> u64 {
        self.files.requests.load(Ordering::Relaxed)
    }

    /// Bytes of objects that were asked for in them.
    pub fn bytes(&self) -> u64 {
        self.files.bytes.load(Ordering::Relaxed)
    }

    /// Also for callers that are in a runtime of their own, which can't enter another one on their thread.
    fn block_on<T: Send>(&self, work: impl Future<Output = T> + Send) -> Result<T> {
        let runtime = self.runtime.as_ref().context("the store was ended")?;
        let done = std::thread::scope(|scope| scope.spawn(|| runtime.block_on(work)).join());
        done.map_err(|_| anyhow!("the store panicked"))
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // A runtime can't be dropped in another one by waiting for it.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// `bucket.store.test` names a bucket; under any other name, as of a proxy, it stands in the path.
struct Hosts;

impl S3Host for Hosts {
    fn parse_host_header<'a>(&'a self, host: &'a str) -> S3Result<VirtualHost<'a>> {
        let name = host.split(':').next().unwrap_or(host);
        let bucket = name.strip_suffix(DOMAIN).and_then(|front| front.strip_suffix('.'));
        let found = VirtualHost::new(host);
        Ok(match bucket {
            Some(bucket) => found.with_bucket(bucket),
            None => found,
        })
    }
}

fn request<T>(input: T) -> S3Request<T> {
    S3Request {
        input,
        method: http::Method::GET,
        uri: http::Uri::default(),
        headers: http::HeaderMap::default(),
        extensions: http::Extensions::default(),
        credentials: None,
        region: None,
        service: None,
        trailing_headers: None,
    }
}

/// The file system of s3s, with what it lacks: `If-Match`, and counters.
struct Files {
    fs: FileSystem,
    requests: AtomicU64,
    bytes: AtomicU64,
}

struct Shared(Arc<Files>);

#[async_trait::async_trait]
impl S3 for Shared {
    async fn get_object(&self, request: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        let Shared(files) = self;
        files.requests.fetch_add(1, Ordering::Relaxed);
        let wanted = request.input.if_match.clone();
        let answer = files.fs.get_object(request).await?;
        if let Some(ETagCondition::ETag(wanted)) = wanted
            && answer.output.e_tag.as_ref().map(ETag::value) != Some(wanted.value())
        {
            return Err(s3_error!(PreconditionFailed));
        }
        let length = answer.output.content_length.and_then(|length| u64::try_from(length).ok()).unwrap_or(0);
        files.bytes.fetch_add(length, Ordering::Relaxed);
        Ok(answer)
    }

    async fn head_object(&self, request: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        self.0.fs.head_object(request).await
    }

    async fn put_object(&self, request: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        self.0.fs.put_object(request).await
    }

    async fn list_objects_v2(&self, request: S3Request<ListObjectsV2Input>) -> S3Result<S3Response<ListObjectsV2Output>> {
        self.0.fs.list_objects_v2(request).await
    }
}

/// Bytes that differ from place to place, so that a wrong offset shows.
pub fn pattern(length: usize) -> Result<Vec<u8>> {
    ensure!(length < 1 << 30, "{length} bytes are too many for a test");
    let byte = |index: usize| (index as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes()[7];
    Ok((0..length).map(byte).collect())
}
