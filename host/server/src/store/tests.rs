//! The database as such.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

use flyloft_rooms::{App, AppId, Secret};

use super::{FILE, Page, Retention, Store, StoreError};

fn app(number: usize) -> App {
    App {
        id: AppId::new(format!("app-{number:03}")),
        name: format!("App {number}"),
        record: None,
        key: format!("key-{number}"),
        signing_secret: Secret::new("hush"),
        output_mode: None,
        transcoding_profile: None,
        created_at: 1,
        updated_at: 1,
    }
}

async fn open(directory: &std::path::Path) -> Store {
    Store::open(directory, Retention::default()).await.unwrap()
}

#[tokio::test]
async fn a_write_is_everything_or_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let mut tx = store.write().await.unwrap();
    tx.add_app(&app(1), "hash").await.unwrap();
    drop(tx);
    let mut tx = store.write().await.unwrap();
    tx.add_app(&app(2), "hash").await.unwrap();
    tx.commit().await.unwrap();
    drop(store);
    let store = open(dir.path()).await;
    let mut reading = store.read().await.unwrap();
    assert_eq!(Store::app(&mut reading, &AppId::new("app-001")).await.unwrap(), None);
    assert_eq!(Store::app(&mut reading, &AppId::new("app-002")).await.unwrap(), Some(app(2)));
    assert_eq!(Store::credential(&mut reading, "key-2").await.unwrap().unwrap().secret_hash, "hash");
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_writes_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(open(dir.path()).await);
    let mut tx = store.write().await.unwrap();
    tx.add_app(&App { updated_at: 0, ..app(1) }, "hash").await.unwrap();
    tx.commit().await.unwrap();
    let writers: Vec<_> = (0..40)
        .map(|_| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                let mut tx = store.write().await.unwrap();
                let mut app = Store::app(tx.connection(), &AppId::new("app-001")).await.unwrap().unwrap();
                app.updated_at += 1;
                tx.update_app(&app).await.unwrap();
                tx.commit().await.unwrap();
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    let app = Store::app(&mut store.read().await.unwrap(), &AppId::new("app-001")).await.unwrap().unwrap();
    assert_eq!(app.updated_at, 40);
}

#[tokio::test]
async fn pages_do_not_move_when_something_is_added() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let add = async |numbers: std::ops::Range<usize>| {
        let mut tx = store.write().await.unwrap();
        for number in numbers {
            tx.add_app(&app(number), "hash").await.unwrap();
        }
        tx.commit().await.unwrap();
    };
    add(0..5).await;
    let page = async |after: Option<&str>| -> Vec<String> {
        let found = Store::apps(&mut store.read().await.unwrap(), Page { after, limit: 2 }).await.unwrap();
        found.into_iter().map(|app| app.id.into_string()).collect()
    };
    assert_eq!(page(None).await, ["app-004", "app-003"]);
    add(5..8).await;
    assert_eq!(page(Some("app-003")).await, ["app-002", "app-001"]);
    assert_eq!(page(Some("app-001")).await, ["app-000"]);
}

#[tokio::test]
async fn the_database_is_for_its_owner_and_commits_reach_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{:?} can be read by others", entry.file_name());
    }
    let mut tx = store.write().await.unwrap();
    let level: i64 = sqlx::query_scalar("PRAGMA synchronous").fetch_one(tx.connection()).await.unwrap();
    let journal: String = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(tx.connection()).await.unwrap();
    let keys: i64 = sqlx::query_scalar("PRAGMA foreign_keys").fetch_one(tx.connection()).await.unwrap();
    assert_eq!((level, journal.as_str(), keys), (2, "wal", 1));
}

#[tokio::test]
async fn what_is_no_database_is_said_to_be_none() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join(FILE), "this is no database, it is a letter to the operator").unwrap();
    let error = Store::open(dir.path(), Retention::default()).await.unwrap_err();
    assert!(matches!(error, StoreError::Open { .. } | StoreError::Migrate { .. }), "{error}");
    assert!(error.to_string().contains(FILE));
}
