//! The `vod-source` interface with a plugin that has a scheme of its own.

use crate::requests::*;
use flyloft_plugins::model::*;
use flyloft_plugins::{FaultKind, Grants, Plugins};
use flyloft_test_guests::SOURCES;

async fn sources() -> Plugins {
    granted(SOURCES, Grants { credentials: vec!["spaces".into()], ..Grants::default() }).await
}

fn request(path: &str) -> SourceRequest {
    SourceRequest { uri: format!("vod://test/{path}"), shared: true }
}

async fn open(plugins: &Plugins, path: &str) -> Result<Result<SourcePlan, SourceError>, FaultKind> {
    plugins.open_source(&context(), &request(path)).await.map(|decided| decided.answer).map_err(|fault| fault.kind)
}

#[tokio::test]
async fn plans_come_back_as_they_were_made() {
    let plugins = sources().await;
    let file = SourcePlan::File(LocalFile { path: "dir/a file.mp4".into() });
    assert_eq!(open(&plugins, "file/dir/a file.mp4").await, Ok(Ok(file)));
    let http = SourcePlan::Http(HttpSource { url: "https://a.example/v.mp4".into(), headers: vec![] });
    assert_eq!(open(&plugins, "http/a.example").await, Ok(Ok(http)));
    let s3 = SourcePlan::S3(S3Object {
        bucket: "space".into(),
        key: "dir/key one.mp4".into(),
        endpoint: Some("https://ams3.digitaloceanspaces.com".into()),
        region: None,
        addressing: Addressing::Path,
        credential: Some("spaces".into()),
    });
    assert_eq!(open(&plugins, "s3/spaces").await, Ok(Ok(s3)));
    let missing = Err(SourceError::NotFound("File not found.".into()));
    assert_eq!(open(&plugins, "missing").await, Ok(missing));
}

#[tokio::test]
async fn plans_that_break_out_are_refused() {
    let plugins = sources().await;
    for (path, expected) in [
        ("file/../secret", "open.file.path"),
        ("file//etc/passwd", "open.file.path"),
        ("http/user@a.example", "open.http.url"),
        ("s3/other", "open.s3.credential"),
        ("own/", "open.own.handle"),
    ] {
        match open(&plugins, path).await {
            Err(FaultKind::InvalidAnswer { field, .. }) => assert_eq!(field, expected, "{path}"),
            other => panic!("{path}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn what_no_plugin_knows_is_nobodys() {
    let plugins = sources().await;
    let foreign = SourceRequest { uri: "other://sample.mp4".into(), shared: false };
    assert_eq!(plugins.open_source(&context(), &foreign).await.unwrap().answer, Err(SourceError::NotMine));
}

#[tokio::test]
async fn own_bytes_are_read_piece_by_piece() {
    let plugins = sources().await;
    let opened = plugins.open_source(&context(), &request("own/film")).await.unwrap();
    let Ok(SourcePlan::Own(own)) = opened.answer else { panic!("{opened:?}") };
    let read = async |handle: &str, offset, length| {
        let range = ByteRange { handle: handle.into(), offset, length };
        plugins.read_source(&opened.plugin, &context(), &range).await
    };
    let mut whole = Vec::new();
    while (whole.len() as u64) < own.size {
        let piece = read(&own.handle, whole.len() as u64, ByteRange::MAX_LENGTH).await.unwrap().answer.unwrap();
        assert!(!piece.is_empty());
        whole.extend(piece);
    }
    assert!(whole.iter().enumerate().all(|(offset, byte)| *byte == offset as u8));
    assert_eq!(read(&own.handle, own.size, 100).await.unwrap().answer, Ok(vec![]));
    let fault = read("too-much", 0, 100).await.unwrap_err();
    assert!(matches!(&fault.kind, FaultKind::InvalidAnswer { field, .. } if field == "read"), "{fault}");
    let range = ByteRange { handle: own.handle, offset: 0, length: 1 };
    assert!(plugins.read_source("gone", &context(), &range).await.is_err());
}

#[tokio::test]
async fn sources_are_looked_at_and_listed() {
    let plugins = sources().await;
    let stat = async |path: &str| plugins.stat_source(&context(), &request(path)).await.unwrap().answer;
    let known = FileInfo { size: Some(1_000_000), modified: None, media_type: Some("video/mp4".into()) };
    assert_eq!(stat("own/film").await, Ok(Some(known)));
    assert_eq!(stat("file/a.mp4").await, Ok(None));
    let ask = ListRequest { uri: "vod://test/".into(), cursor: Some("10".into()), limit: 3 };
    let Ok(Listing::Entries(page)) = plugins.list_sources(&context(), &ask).await.unwrap().answer else { panic!("no page") };
    let uris: Vec<&str> = page.entries.iter().map(|entry| entry.uri.as_str()).collect();
    assert_eq!(uris, ["vod://test/own/10", "vod://test/own/11", "vod://test/own/12"]);
    assert_eq!(page.cursor.as_deref(), Some("13"));
}
