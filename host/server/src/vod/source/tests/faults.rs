//! Stores that fail: what passes is tried again where it broke off, what lasts is said.

use super::*;
use flyloft_tests::proxy::Faults;

const LENGTH: usize = 3_000_000;

#[tokio::test]
async fn every_tenth_request_may_fail() {
    let world = World::new();
    let (source, content) = world.film(LENGTH).await;
    world.proxy.set(Faults { refuse_every: 2, ..Faults::default() });
    assert_eq!(read_all(&source, 200_000).await.unwrap(), content);
    let stats = source.stats();
    assert!(world.proxy.struck() >= 4 && stats.retries >= world.proxy.struck(), "{stats:?}");
    assert_eq!((stats.state, stats.bytes_fetched), (State::Healthy, LENGTH as u64));
    // Opening is tried again, too.
    for _ in 0..4 {
        world.open("vod://s3/films/a.mp4").await.unwrap();
    }
}

#[tokio::test]
async fn what_breaks_off_goes_on_where_it_was() {
    let world = World::new();
    for (name, faults) in [
        ("cut", Faults { cut_after: Some(100_000), ..Faults::default() }),
        ("reset", Faults { reset_after: Some(150_001), strike_every: 2, ..Faults::default() }),
    ] {
        world.proxy.set(Faults::default());
        let (source, content) = world.film(LENGTH).await;
        let (struck, sent) = (world.proxy.struck(), world.proxy.bytes());
        world.proxy.set(faults);
        assert_eq!(read_all(&source, 2_000_000).await.unwrap(), content, "{name}");
        assert!(world.proxy.struck() > struck, "{name}");
        assert!(source.stats().retries > 0, "{name}: {:?}", source.stats());
        // What arrived was not asked for again; what a reset threw away is little.
        let sent = world.proxy.bytes() - sent;
        assert!(sent < 2 * LENGTH as u64, "{name}: {sent}");
        drop(source);
    }
}

#[tokio::test]
async fn a_slow_store_is_waited_for() {
    let world = World::new();
    let (source, content) = world.film(700_000).await;
    world.proxy.set(Faults { rate: Some(600_000), ..Faults::default() });
    assert_eq!(read_all(&source, 700_000).await.unwrap(), content);
    assert_eq!(source.stats().retries, 0, "slow is no failure");
}

#[tokio::test]
async fn a_store_that_stalls_is_asked_again() {
    let world = World::impatient(Duration::from_millis(500), Duration::from_secs(60));
    let (source, content) = world.film(LENGTH).await;
    world.proxy.set(Faults { stall: Some(Duration::from_secs(20)), ..Faults::default() });
    let reading = source.clone();
    let reading = tokio::spawn(async move { read_all(&reading, 1_000_000).await });
    let reason = loop {
        match source.stats().state {
            State::Retrying { reason, .. } => break reason,
            State::Healthy => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    };
    assert!(reason.contains("no answer within"), "{reason}");
    world.proxy.set(Faults::default());
    assert_eq!(reading.await.unwrap().unwrap(), content);
    assert_eq!(source.stats().state, State::Healthy);
}

#[tokio::test]
async fn a_store_that_is_gone_is_given_up_with_a_reason() {
    let world = World::impatient(STALL, Duration::from_secs(3));
    let (source, content) = world.film(LENGTH).await;
    assert_eq!(source.read(0..10).await.unwrap(), content[..10]);
    world.proxy.set(Faults { gone: true, ..Faults::default() });
    assert_eq!(source.read(20..30).await.unwrap(), content[20..30], "it is kept");
    let error = source.read(2_000_000..2_000_010).await.unwrap_err();
    assert!(matches!(&error, ReadError::Unavailable { reason } if reason.contains("gave nothing for 3 s")), "{error}");
    assert!(matches!(source.stats().state, State::Retrying { .. }));
    assert!(matches!(world.open("vod://s3/films/b.mp4").await, Err(OpenError::Unavailable { .. })));
    // It may come back.
    world.proxy.set(Faults::default());
    assert_eq!(source.read(2_000_000..2_000_010).await.unwrap(), content[2_000_000..2_000_010]);
}

#[tokio::test]
async fn an_object_that_is_replaced_is_noticed() {
    let world = World::new();
    let (source, content) = world.film(LENGTH).await;
    assert_eq!(source.read(0..10).await.unwrap(), content[..10]);
    // Of the same size, so that only the entity tag tells.
    world.store.put("films", "a.mp4", vec![7; LENGTH]).unwrap();
    let error = source.read(2_000_000..2_000_010).await.unwrap_err();
    assert!(error.to_string().contains("was changed while it was played"), "{error}");
    assert_eq!(source.read(1_000_000..1_000_010).await.unwrap_err(), error, "nor are there other bytes of it");
    let again = world.open("vod-live://s3/films/a.mp4").await.unwrap();
    assert_eq!(again.read(0..10).await.unwrap(), [7; 10][..]);
    world.store.remove("films", "a.mp4").unwrap();
    let error = again.read(2_000_000..2_000_010).await.unwrap_err();
    assert!(error.to_string().starts_with("File not found"), "{error}");
}

#[tokio::test]
async fn an_answer_with_another_entity_tag_is_noticed() {
    let world = World::new();
    let (source, _) = world.film(LENGTH).await;
    world.proxy.set(Faults { entity_tag: Some("\"other\"".into()), ..Faults::default() });
    assert!(matches!(source.read(0..10).await, Err(ReadError::Changed { .. })));
}

#[tokio::test]
async fn what_nobody_waits_for_is_not_fetched_on() {
    let world = World::new();
    let (source, content) = world.film(LENGTH).await;
    world.proxy.set(Faults { gone: true, ..Faults::default() });
    let reading = tokio::spawn({
        let source = source.clone();
        async move { source.read(0..2_000_000).await }
    });
    while source.stats().retries == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    reading.abort();
    let _ = reading.await;
    world.proxy.set(Faults::default());
    // The next reader does not wait for one who is not there any more.
    assert_eq!(source.read(0..10).await.unwrap(), content[..10]);
    assert!(world.store.requests() <= 3, "{}", world.store.requests());
}
