//! Files in the media directory.

use std::os::unix::fs::symlink;

use super::*;

struct Media {
    sources: Sources,
    data: tempfile::TempDir,
}

impl Media {
    fn new() -> Self {
        let data = tempfile::tempdir().unwrap();
        let sources = sources(&settings(), data.path());
        Self { sources, data }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.data.path().join("media").join(path)
    }

    fn put(&self, path: &str, content: &[u8]) {
        let path = self.path(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    async fn open(&self, path: &str) -> Result<Source, OpenError> {
        self.sources.open(&context(), &format!("vod://{path}"), false).await
    }
}

#[tokio::test]
async fn files_are_read_where_it_is_asked() {
    let media = Media::new();
    let content = s3::pattern(1_000_000).unwrap();
    media.put("dir/фильм один.mp4", &content);
    let source = media.open("dir/%D1%84%D0%B8%D0%BB%D1%8C%D0%BC%20один.mp4").await.unwrap();
    assert_eq!(source.size(), 1_000_000);
    assert_eq!(source.read(999_990..1_000_010).await.unwrap(), content[999_990..]);
    assert_eq!(source.read(1_000_000..1_000_010).await.unwrap(), "");
    #[expect(clippy::reversed_empty_ranges, reason = "callers compute ranges")]
    let reversed = source.read(10..5).await.unwrap();
    assert_eq!(reversed, "");
    assert_eq!(read_all(&source, 65_536).await.unwrap(), content);
    assert!(source.describe().contains("фильм один.mp4"), "{source:?}");
    let stats = source.stats();
    assert_eq!((stats.bytes_fetched, stats.state), (1_000_010, State::Healthy));
    assert!(matches!(source.read(0..MAX_READ + 1).await, Ok(bytes) if bytes.len() == 1_000_000));
}

#[tokio::test]
async fn what_is_not_there_is_said_in_so_many_words() {
    let media = Media::new();
    media.put("dir/a.mp4", b"film");
    for path in ["none.mp4", "none/a.mp4", "dir/a.mp4/b.mp4", &"x".repeat(300)] {
        let error = media.open(path).await.unwrap_err();
        assert!(matches!(error, OpenError::NotFound { .. }), "{path}: {error:?}");
        assert!(error.to_string().starts_with("File not found"), "{error}");
    }
    assert!(invalid(media.open("dir").await).contains("is no file"));
    let nobodys = media.sources.open(&context(), "test://a.mp4", false).await;
    assert!(invalid(nobodys).contains("no plugin knows"));
}

#[tokio::test]
async fn nothing_leads_out_of_the_directory() {
    let media = Media::new();
    media.put("a.mp4", b"film");
    std::fs::write(media.data.path().join("secret"), "secret").unwrap();
    for path in [
        "../secret",
        "%2e%2e/secret",
        "%2e%2e%2fsecret",
        "dir/../../secret",
        "/etc/passwd",
        "%2fetc%2fpasswd",
        "..\\secret",
        "a.mp4%00.txt",
        "./a.mp4",
        "dir//a.mp4",
        "",
    ] {
        let reason = invalid(media.open(path).await);
        assert!(reason.len() > 20, "{path}: {reason}");
    }
    assert!(invalid(media.open("a\0.mp4").await).contains("control character"));
    // The host looks for itself, whatever a plugin says.
    for path in ["../secret", "/etc/passwd", "a/../../secret", "a\0", "a\\b", "", "."] {
        let directory: Arc<Path> = media.path("").into();
        let opened = LocalFile::open(directory, path.to_owned()).await.map(|_| ());
        assert!(matches!(opened, Err(OpenError::Invalid { .. })), "{path:?}: {opened:?}");
    }
}

#[tokio::test]
async fn links_are_followed_inside_only() {
    let media = Media::new();
    media.put("dir/a.mp4", b"film");
    std::fs::write(media.data.path().join("secret"), "secret").unwrap();
    symlink("dir/a.mp4", media.path("inside.mp4")).unwrap();
    symlink("../secret", media.path("outside.mp4")).unwrap();
    symlink("/etc/passwd", media.path("absolute.mp4")).unwrap();
    symlink("..", media.path("up")).unwrap();
    symlink("loop.mp4", media.path("loop.mp4")).unwrap();
    assert_eq!(media.open("inside.mp4").await.unwrap().read(0..4).await.unwrap(), "film");
    for path in ["outside.mp4", "absolute.mp4", "up/secret", "up/media/dir/a.mp4", "loop.mp4"] {
        let reason = denied(media.open(path).await);
        assert!(reason.contains("a link that leads out"), "{path}: {reason}");
    }
}

#[tokio::test]
async fn a_pipe_is_no_file() {
    let media = Media::new();
    media.put("a.mp4", b"film");
    let path = std::ffi::CString::new(media.path("pipe.mp4").to_str().unwrap()).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, rustix::fs::Mode::from(0o600), 0).unwrap();
    assert!(invalid(media.open("pipe.mp4").await).contains("is no file"));
}

#[tokio::test]
async fn a_file_that_is_changed_is_not_mixed_with_another() {
    let media = Media::new();
    media.put("a.mp4", &[1; 1000]);
    let source = media.open("a.mp4").await.unwrap();
    // Another file under the name does not touch the one that is open.
    media.put("b.mp4", &[2; 1000]);
    std::fs::rename(media.path("b.mp4"), media.path("a.mp4")).unwrap();
    assert_eq!(source.read(0..1000).await.unwrap(), [1; 1000][..]);
    let source = media.open("a.mp4").await.unwrap();
    assert_eq!(source.read(0..1000).await.unwrap(), [2; 1000][..]);
    let file = std::fs::File::options().append(true).open(media.path("a.mp4")).unwrap();
    file.set_len(1001).unwrap();
    let changed = source.read(0..1000).await.unwrap_err();
    assert!(changed.to_string().contains("was changed while it was played"), "{changed}");
    file.set_len(500).unwrap();
    let cut = source.read(0..1000).await.unwrap_err();
    assert_eq!(cut, ReadError::Truncated { what: source.describe().into(), at: 500, size: 1000 });
}
