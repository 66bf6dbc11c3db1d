//! From the first frame to the last viewer, without any media.

use super::*;
use crate::rooms::testing::{World, asker, remote};
use crate::rooms::{AppChange, EventFilter, RoomChange};
use flyloft_plugins::model::{Decision, Grant, Protocol};

async fn wanted(world: &World, member: &MemberId, granted: Option<bool>) -> bool {
    world.rooms.recording_wanted(member, |_| granted).await.unwrap().unwrap().record
}

fn made(bytes: i64) -> Archived {
    Archived { duration: 4_000, bytes, size: Some((640, 360)), codecs: "avc1.64001e".into() }
}

#[tokio::test]
async fn the_policy_comes_before_the_room_the_app_and_the_server() {
    let world = World::new().await;
    let (member, room, _) = world.live("ada", AccessLevel::Public).await;
    let id = room.room.id.as_str();
    assert!(!wanted(&world, &member.id, None).await, "the server's setting");
    let change = AppChange { record: Some(Some(true)), ..AppChange::default() };
    world.rooms.update_app(&world.server, member.app_id.as_str(), change).await.unwrap();
    assert!(wanted(&world, &member.id, None).await, "the App's");
    let change = RoomChange { record: Some(Some(false)), ..RoomChange::default() };
    world.rooms.update_room(&world.server, id, change).await.unwrap();
    assert!(!wanted(&world, &member.id, None).await, "the room's");
    assert!(wanted(&world, &member.id, Some(true)).await, "the policy's when it was published");

    world.rooms.end_room(&world.server, &asker(), id, true).await.unwrap();
    *world.rules.policy.lock() = Some(Decision::Allow(Grant { record: Some(false), ..Grant::default() }));
    let (star, _, _) = world.live("star", AccessLevel::Public).await;
    assert!(!wanted(&world, &star.id, Some(true)).await, "the policy's when the room was started");
    let quiet = world.member("quiet").await;
    assert!(!wanted(&world, &quiet.id, None).await);
    assert!(wanted(&world, &quiet.id, Some(true)).await, "a stream without a room");
}

#[tokio::test]
async fn a_recording_becomes_a_post_or_fails_and_is_tried_again() {
    let world = World::new().await;
    let (member, room, _) = world.live("ada", AccessLevel::Private).await;
    let id = room.room.id.clone();
    let post = world.rooms.begin_recording(&member.id, Some(&id)).await.unwrap();
    assert_eq!(world.rooms.begin_recording(&member.id, Some(&id)).await.unwrap().id, post.id, "a room has one");
    assert!(world.rooms.may_go_on(&post).await.unwrap());
    world.rooms.recording_lost(&post.id, "7 frames", false).await.unwrap();
    let delete = world.rooms.delete_post(&world.server, post.id.as_str()).await;
    assert!(matches!(delete, Err(Error::Busy { code: "post-under-way", .. })));

    world.rooms.end_room(&world.server, &asker(), id.as_str(), true).await.unwrap();
    assert!(!world.rooms.may_go_on(&post).await.unwrap());
    let early = world.rooms.retry_archive(&world.server, id.as_str()).await;
    assert!(matches!(early, Err(Error::Busy { code: "nothing-to-archive", .. })));
    world.rooms.archiving_began(&post.id).await.unwrap();
    // A second time after a crash.
    world.rooms.archiving_began(&post.id).await.unwrap();
    world.rooms.archiving_failed(&post.id, "full disk").await.unwrap();
    let failed = world.rooms.room(&world.server, id.as_str()).await.unwrap().room;
    assert_eq!((failed.state, failed.failure.as_deref()), (VideoRoomState::ArchiveFailed, Some("full disk")));
    let again = world.rooms.retry_archive(&world.server, id.as_str()).await.unwrap().room;
    assert_eq!((again.state, again.failure), (VideoRoomState::Archiving, None));
    world.rooms.archived(&post.id, made(1_000)).await.unwrap();
    let done = world.rooms.room(&world.server, id.as_str()).await.unwrap().room;
    assert_eq!((done.state, done.video_post_id.as_deref()), (VideoRoomState::Archived, Some(post.id.as_str())));
    let view = world.rooms.post(&world.server, post.id.as_str()).await.unwrap();
    assert_eq!((view.post.state, view.access), (PostState::Ready, AccessLevel::Private));
    assert_eq!((view.post.bytes, view.post.missing.as_deref()), (Some(1_000), Some("7 frames")));
    assert!(world.rooms.post_by_stamp(post.id.as_str(), &post.stamp).await.unwrap().is_some());
    assert!(world.rooms.post_by_stamp(post.id.as_str(), "guess").await.unwrap().is_none());
    let attempt = PlayAttempt {
        name: id.as_str(),
        token: None,
        protocol: Protocol::Hls,
        remote: remote(),
        user_agent: None,
        parameters: &[],
    };
    let live = world.rooms.resolve_play(attempt.clone()).await.unwrap_err();
    assert_eq!(live.code, "not-live", "an archived room does not show what its owner sends now");
    world.rules.deny("closed");
    let denied = world.rooms.resolve_post(PlayAttempt { name: post.id.as_str(), ..attempt }).await.unwrap_err();
    assert_eq!(denied.code, "closed", "the policy is asked");
}

#[tokio::test]
async fn the_oldest_posts_go_first() {
    let world = World::new().await;
    let member = world.member("ada").await;
    let mut posts = Vec::new();
    for bytes in [100, 200, 300] {
        let post = world.rooms.begin_recording(&member.id, None).await.unwrap();
        world.rooms.archiving_began(&post.id).await.unwrap();
        world.rooms.archived(&post.id, made(bytes)).await.unwrap();
        posts.push(post.id);
    }
    assert_eq!(world.rooms.prune_posts(0, 600).await.unwrap(), 0);
    assert_eq!(world.rooms.prune_posts(0, 500).await.unwrap(), 1);
    assert_eq!(world.rooms.post_state(&posts[0]).await.unwrap(), None);
    assert_eq!(world.rooms.prune_posts(i64::MAX, i64::MAX).await.unwrap(), 2);
    let events = world.rooms.events(&EventFilter::default(), 0, 100).await.unwrap();
    let reasons: Vec<_> = events
        .iter()
        .filter_map(|event| match &event.body {
            EventBody::PostDeleted { reason, .. } => Some(*reason),
            _ => None,
        })
        .collect();
    assert_eq!(reasons, [Deleted::SpaceLimit, Deleted::Expired, Deleted::Expired]);
}
