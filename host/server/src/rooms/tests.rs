//! The service as transports and the REST API use it.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use flyloft_plugins::Plugins;
use flyloft_plugins::model::{
    Action, Decision, Grant, Limits, OutputMode as ModelMode, OutputModeAnswer, Outputs, Pair, Protocol,
};
use flyloft_rooms::{AccessLevel, EventBody, Member, StreamKeyState as K, VideoRoomState as R};

use super::testing::{FakeLive, World, asker, remote};
use super::{
    Actor, AppChange, Bases, Config, Error, EventFilter, Given, KeyChange, NewMember, Outcome, OutputMode, PlayAttempt,
    PlayGrant, PublishAttempt, Refusal, RoomTokenRequest, Rooms,
};
use crate::store::Retention;

async fn play(rooms: &Rooms, name: &str, token: Option<&str>) -> Result<PlayGrant, Refusal> {
    let (protocol, remote) = (Protocol::Hls, remote());
    rooms.resolve_play(PlayAttempt { name, token, protocol, remote, user_agent: None, parameters: &[] }).await
}

fn code<T: std::fmt::Debug>(result: Result<T, Error>) -> String {
    Refusal::from(result.unwrap_err()).code
}

#[tokio::test]
async fn the_life_of_a_broadcast_is_kept_with_its_events() {
    let world = World::new().await;
    let (member, room) = (world.member("ada").await, world.room("ada", AccessLevel::Public).await);
    let id = room.room.id.as_str();
    let key = world.key(&member).await;
    assert_eq!(code(world.rooms.start_room(&world.server, &asker(), id).await), "stream-inactive");

    let first = world.publish(&key).await.unwrap();
    assert_eq!((first.stream.as_str(), first.mode, first.room_id), (member.stream_name.as_str(), OutputMode::RtmpCmaf, None));
    assert_eq!(world.states(&member, &room).await, (K::ActivePrep, R::Scheduled));
    assert_eq!(code(world.rooms.start_room(&world.server, &asker(), id).await), "stream-not-ready");
    world.rooms.viewable(&first.publish_id).await;
    let live = world.rooms.start_room(&world.server, &asker(), id).await.unwrap();
    assert_eq!((live.room.state, live.room.mode), (R::Live, Some(OutputMode::RtmpCmaf)));
    assert_eq!(world.states(&member, &room).await, (K::ActiveLive, R::Live));
    assert_eq!(code(world.rooms.start_room(&world.server, &asker(), id).await), "already-started");
    assert_eq!(code(world.rooms.end_room(&world.server, &asker(), id, false).await), "still-publishing");

    world.rooms.publish_ended(&first.publish_id, "the encoder went away").await;
    assert_eq!(world.states(&member, &room).await, (K::InactiveLive, R::LiveInactive));
    *world.rules.mode.lock() = Some(OutputModeAnswer::UseOutputs(Outputs { mode: ModelMode::Cmaf, transcoding_profile: None }));
    let second = world.publish(&key).await.unwrap();
    assert_eq!(second.room_id.as_deref(), Some(id));
    world.rooms.viewable(&second.publish_id).await;
    assert_eq!(world.states(&member, &room).await, (K::ActiveLive, R::Live));
    assert_eq!(
        world.rooms.room(&world.server, id).await.unwrap().room.mode,
        Some(OutputMode::Cmaf),
        "the new publish has other outputs"
    );
    // What the first publish says now is old.
    world.rooms.publish_ended(&first.publish_id, "late").await;
    world.rooms.viewable(&first.publish_id).await;
    assert_eq!(world.states(&member, &room).await, (K::ActiveLive, R::Live));

    world.rooms.publish_ended(&second.publish_id, "done").await;
    let ended = world.rooms.end_room(&world.server, &asker(), id, false).await.unwrap();
    assert_eq!(ended.room.state, R::Ended);
    assert!(ended.room.ended_at >= ended.room.started_at && ended.room.started_at.is_some());
    assert_eq!(world.key(&member).await, key, "an orderly end keeps the key");
    assert_eq!(*world.live.0.lock(), std::slice::from_ref(&member.stream_name));
    assert_eq!(code(world.rooms.start_room(&world.server, &asker(), id).await), "room-ended");

    let events = world.events().await;
    let told: Vec<_> = events
        .iter()
        .map(|event| match &event.body {
            EventBody::StreamKeyStateChanged { from, to, .. } => format!("{from} {to}"),
            EventBody::RoomLive { from, to, .. }
            | EventBody::RoomInactive { from, to }
            | EventBody::RoomEnded { from, to, .. } => {
                format!("{} {from} {to}", event.body.kind())
            }
            body => body.kind().to_owned(),
        })
        .collect();
    assert_eq!(
        told,
        [
            "member.created",
            "videoRoom.created",
            "INACTIVE ACTIVE_PREP",
            "ACTIVE_PREP ACTIVE",
            "ACTIVE ACTIVE_LIVE",
            "videoRoom.live SCHEDULED LIVE",
            "ACTIVE_LIVE INACTIVE_LIVE",
            "videoRoom.inactive LIVE LIVE_INACTIVE",
            "INACTIVE_LIVE ACTIVE_LIVE_PREP",
            "ACTIVE_LIVE_PREP ACTIVE_LIVE",
            "videoRoom.live LIVE_INACTIVE LIVE",
            "ACTIVE_LIVE INACTIVE_LIVE",
            "videoRoom.inactive LIVE LIVE_INACTIVE",
            "INACTIVE_LIVE INACTIVE",
            "videoRoom.ended LIVE_INACTIVE ENDED",
        ]
    );
    assert!(events.iter().map(|event| event.seq).eq(1..=15));
    assert_eq!(*world.rooms.latest_event().borrow(), 15);
}

#[tokio::test]
async fn a_forced_end_replaces_the_key_and_sends_the_publisher_away() {
    let world = World::new().await;
    let (member, room, admitted) = world.live("ada", AccessLevel::Public).await;
    let old = world.key(&member).await;
    let ended = world.rooms.end_room(&world.server, &asker(), room.room.id.as_str(), true).await.unwrap();
    assert_eq!(ended.room.state, R::Ended);
    assert_eq!(*world.live.0.lock(), std::slice::from_ref(&member.stream_name));
    assert_eq!(world.publish(&old).await.unwrap_err().code, "unknown-stream-key");
    world.rooms.publish_ended(&admitted.publish_id, "sent away").await;
    assert_eq!(world.states(&member, &room).await, (K::Inactive, R::Ended));
    let again = world.publish(&world.key(&member).await).await.unwrap();
    assert_eq!(again.stream, admitted.stream, "the public name outlives the key");
}

#[tokio::test]
async fn of_many_publishers_with_one_key_one_gets_in() {
    let world = Arc::new(World::new().await);
    let member = world.member("ada").await;
    let key = world.key(&member).await;
    let attempts: Vec<_> = (0..16)
        .map(|_| {
            let (world, key) = (Arc::clone(&world), key.clone());
            tokio::spawn(async move { world.publish(&key).await })
        })
        .collect();
    let mut admitted = 0;
    for attempt in attempts {
        match attempt.await.unwrap() {
            Ok(_) => admitted += 1,
            Err(refusal) => assert_eq!((refusal.status.as_u16(), refusal.code.as_str()), (409, "already-publishing")),
        }
    }
    assert_eq!(admitted, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_rooms_of_a_member_one_starts() {
    let world = Arc::new(World::new().await);
    let member = world.member("ada").await;
    let admitted = world.publish(&world.key(&member).await).await.unwrap();
    world.rooms.viewable(&admitted.publish_id).await;
    let mut starts = Vec::new();
    for _ in 0..8 {
        let id = world.room("ada", AccessLevel::Public).await.room.id;
        let world = Arc::clone(&world);
        starts.push(tokio::spawn(async move { world.rooms.start_room(&world.server, &asker(), id.as_str()).await }));
    }
    let mut started = 0;
    for start in starts {
        match start.await.unwrap() {
            Ok(_) => started += 1,
            Err(error) => assert_eq!(Refusal::from(error).code, "other-room-live"),
        }
    }
    assert_eq!(started, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_that_leaves_while_it_is_let_in_leaves_the_key_free() {
    let world = Arc::new(World::new().await);
    let member = world.member("ada").await;
    let key = world.key(&member).await;
    for round in 0..40_u64 {
        let attempt = {
            let (world, key) = (Arc::clone(&world), key.clone());
            tokio::spawn(async move { world.publish(&key).await })
        };
        tokio::time::sleep(Duration::from_micros(round * 100)).await;
        attempt.abort();
        let admitted = attempt.await.ok().and_then(Result::ok);
        if let Some(admitted) = admitted {
            world.rooms.publish_ended(&admitted.publish_id, "done").await;
        }
        // Whoever is still being let in lets go of the key by itself.
        let free = async {
            loop {
                let state = world.rooms.stream_key(&world.server, member.id.as_str()).await.unwrap().key.state;
                if state == K::Inactive && world.rooms.changes.is_empty() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), free).await.unwrap();
    }
}

#[tokio::test]
async fn after_a_crash_nobody_publishes_and_live_rooms_are_paused() {
    let mut world = World::new().await;
    let (live, room, old) = world.live("live", AccessLevel::Public).await;
    let ready = world.member("ready").await;
    let admitted = world.publish(&world.key(&ready).await).await.unwrap();
    world.rooms.viewable(&admitted.publish_id).await;
    let prepared = world.member("prepared").await;
    world.publish(&world.key(&prepared).await).await.unwrap();
    world.reopen().await;

    assert_eq!(world.states(&live, &room).await, (K::InactiveLive, R::LiveInactive));
    assert_eq!(world.states(&ready, &room).await.0, K::Inactive);
    assert_eq!(world.states(&prepared, &room).await.0, K::Inactive);
    let events = world.events().await;
    assert_eq!(events.last().unwrap().seq, *world.rooms.latest_event().borrow());
    assert_eq!(events.iter().filter(|event| matches!(event.body, EventBody::RoomInactive { .. })).count(), 1);
    assert!(world.rooms.bootstrap().await.unwrap().is_none(), "the credentials are made once");
    // The publish of before is over, and the broadcast goes on with a new one.
    world.rooms.publish_ended(&old.publish_id, "late").await;
    let again = world.publish(&world.key(&live).await).await.unwrap();
    world.rooms.viewable(&again.publish_id).await;
    assert_eq!(world.states(&live, &room).await, (K::ActiveLive, R::Live));
}

#[tokio::test]
async fn the_policy_decides_and_its_failure_is_a_refusal() {
    let world = World::new().await;
    let member = world.member("ada").await;
    let room = world.room("ada", AccessLevel::Public).await;
    let key = world.key(&member).await;
    world.rules.deny("banned");
    let refusal = world.publish(&key).await.unwrap_err();
    assert_eq!((refusal.status.as_u16(), refusal.code.as_str(), refusal.reason.as_str()), (403, "banned", "Not today."));
    assert_eq!(code(world.rooms.start_room(&world.server, &asker(), room.room.id.as_str()).await), "banned");
    world.rules.deny("not-live");
    assert_eq!(play(&world.rooms, room.room.id.as_str(), None).await.unwrap_err().status.as_u16(), 404);
    world.rules.fail();
    let refusal = world.publish(&key).await.unwrap_err();
    assert_eq!((refusal.status.as_u16(), refusal.code.as_str()), (503, "policy-fault"));
    assert_eq!(play(&world.rooms, room.room.id.as_str(), None).await.unwrap_err().code, "policy-fault");
    assert_eq!(world.states(&member, &room).await, (K::Inactive, R::Scheduled), "a refusal changes nothing");

    let grant = Grant {
        limits: Limits { max_bitrate: Some(1_000), ..Limits::default() },
        labels: vec![Pair { name: "tier".into(), value: "gold".into() }],
        record: Some(true),
        ..Grant::default()
    };
    *world.rules.policy.lock() = Some(Decision::Allow(grant));
    *world.rules.mode.lock() = Some(OutputModeAnswer::Abstain);
    let admitted = world.publish(&key).await.unwrap();
    assert_eq!((admitted.limits.max_bitrate, admitted.record, admitted.labels.len()), (Some(1_000), Some(true), 1));
    let last = world.events().await.pop().unwrap().body;
    let EventBody::StreamKeyStateChanged { labels, .. } = last else { panic!("{last:?}") };
    assert_eq!(labels, [("tier".to_owned(), "gold".to_owned())]);
}

#[tokio::test]
async fn the_output_mode_is_asked_and_its_failure_leaves_the_default() {
    let world = World::new().await;
    let member = world.member("ada").await;
    let key = world.key(&member).await;
    let parameters = [("Mode".to_owned(), "HLS".to_owned()), ("token".to_owned(), "hush".to_owned())];
    *world.rules.mode.lock() = Some(OutputModeAnswer::Refuse("No such mode: HLS.".into()));
    let refusal = world.publish_with(&key, &parameters).await.unwrap_err();
    assert_eq!((refusal.status.as_u16(), refusal.reason.as_str()), (422, "No such mode: HLS."));
    let asked = world.rules.asked_mode.lock().pop().unwrap();
    assert_eq!(asked.url_mode.as_deref(), Some("HLS"));
    assert!(!format!("{asked:?} {:?}", world.rules.asked.lock()).contains("hush"), "a secret parameter went to a plugin");
    assert!(!format!("{asked:?} {:?}", world.rules.asked.lock()).contains(&key), "a stream key went to a plugin");

    *world.rules.mode.lock() = None;
    let first = world.publish(&key).await.unwrap();
    assert_eq!(first.mode, OutputMode::RtmpCmaf);
    world.rooms.publish_ended(&first.publish_id, "done").await;
    let change = AppChange { output_mode: Some(Some(OutputMode::Cmaf)), ..AppChange::default() };
    world.rooms.update_app(&world.server, &world.credentials.app.id, change).await.unwrap();
    assert_eq!(world.publish(&key).await.unwrap().mode, OutputMode::Cmaf);
}

#[tokio::test]
async fn a_rotated_key_replaces_the_old_one() {
    let world = World::new().await;
    let member = world.member("ada").await;
    let id = member.id.as_str();
    let old = world.key(&member).await;
    let new = world.rooms.rotate_stream_key(&world.server, id, false).await.unwrap().key.secret.expose().to_owned();
    assert_ne!(old, new);
    assert_eq!(world.publish(&old).await.unwrap_err().code, "unknown-stream-key");
    let admitted = world.publish(&new).await.unwrap();
    assert_eq!(code(world.rooms.rotate_stream_key(&world.server, id, false).await), "still-publishing");
    world.rooms.rotate_stream_key(&world.server, id, true).await.unwrap();
    assert_eq!(*world.live.0.lock(), std::slice::from_ref(&member.stream_name));
    world.rooms.publish_ended(&admitted.publish_id, "sent away").await;
    assert_eq!(world.rooms.stream_key(&world.server, id).await.unwrap().key.state, K::Inactive);
}

#[tokio::test]
async fn nonsense_is_refused_by_name() {
    let world = World::new().await;
    for key in ["", "nonsense", &"x".repeat(1_000_000), "' OR 1=1 --"] {
        assert_eq!(world.publish(key).await.unwrap_err().code, "unknown-stream-key");
    }
    for name in ["", "nonsense", &"x".repeat(1_000_000), "\0"] {
        assert_eq!(play(&world.rooms, name, None).await.unwrap_err().code, "unknown-stream");
    }
    for given in [
        Given::Bearer("op_nonsense"),
        Given::Bearer("ak_x:as_y"),
        Given::Bearer("a.b.c"),
        Given::Bearer(""),
        Given::Basic { key: &world.credentials.app.key, secret: "wrong" },
        Given::Basic { key: "", secret: "" },
    ] {
        assert_eq!(world.rooms.authenticate(given).await.unwrap_err().status.as_u16(), 401);
    }
    assert_eq!(world.rooms.authenticate(Given::Bearer(&world.credentials.operator_token)).await, Ok(Actor::Operator));
    world.rooms.viewable("nonsense").await;
    world.rooms.publish_ended("nonsense", "never began").await;
    assert!(world.events().await.is_empty());
}

#[tokio::test]
async fn a_private_rooms_policy_sees_the_checked_token() {
    let world = World::new().await;
    let (member, room, _) = world.live("ada", AccessLevel::Private).await;
    let id = room.room.id.as_str();
    let request = RoomTokenRequest { app_user_id: Some("ada".into()), ..RoomTokenRequest::default() };
    let issued = world.rooms.issue_room_token(&world.server, &asker(), id, request).await.unwrap();
    let grant = play(&world.rooms, id, Some(&issued.token)).await.unwrap();
    assert_eq!((grant.stream, grant.room_id.as_deref()), (member.stream_name.clone(), Some(id)));
    let Some(Action::Play(asked)) = world.rules.asked.lock().pop() else { panic!("not asked") };
    let token = asked.token.unwrap();
    assert_eq!((token.subject.as_deref(), token.room_id.as_deref()), (Some(member.id.as_str()), Some(id)));
    assert_eq!((token.role.as_deref(), asked.viewers), (Some("audience"), 3));
    assert_eq!(play(&world.rooms, id, Some("forged")).await.unwrap_err().code, "token-invalid");
    // By the name of its stream, the room that shows it is watched.
    assert_eq!(play(&world.rooms, member.stream_name.as_str(), None).await.unwrap().room_id.as_deref(), Some(id));
    let reserved = RoomTokenRequest { claims: [("room".to_owned(), "other".into())].into(), ..RoomTokenRequest::default() };
    let error = world.rooms.issue_room_token(&world.server, &asker(), id, reserved).await.err().unwrap();
    assert!(matches!(error, Error::Invalid { field: "claims", .. }));
}

#[tokio::test]
async fn a_key_keeps_its_mode_and_profile() {
    let mut world = World::new().await;
    let member = world.member("ada").await;
    let change = KeyChange { output_mode: Some(Some(OutputMode::Rtmp)), transcoding_profile: Some(Some("720p".into())) };
    world.rooms.update_stream_key(&world.server, member.id.as_str(), change).await.unwrap();
    world.reopen().await;
    let key = world.rooms.stream_key(&world.server, member.id.as_str()).await.unwrap().key;
    assert_eq!((key.output_mode, key.transcoding_profile.as_deref()), (Some(OutputMode::Rtmp), Some("720p")));
    world.publish(key.secret.expose()).await.unwrap();
    let asked = world.rules.asked_mode.lock().pop().unwrap();
    assert_eq!((asked.key_mode, asked.transcoding_profile.as_deref()), (Some(ModelMode::Rtmp), Some("720p")));
    let change = KeyChange { output_mode: Some(None), transcoding_profile: None };
    let key = world.rooms.update_stream_key(&world.server, member.id.as_str(), change).await.unwrap().key;
    assert_eq!((key.output_mode, key.transcoding_profile.as_deref()), (None, Some("720p")));
}

#[tokio::test]
async fn old_events_are_removed_and_missed() {
    let world = World::with(Retention { events: 100, age: Duration::from_secs(3600) }).await;
    let member = world.member("ada").await;
    let key = world.key(&member).await;
    while *world.rooms.latest_event().borrow() < 256 {
        let admitted = world.publish(&key).await.unwrap();
        world.rooms.publish_ended(&admitted.publish_id, "done").await;
    }
    let events = world.events().await;
    assert_eq!(events.first().unwrap().seq, 157);
    assert!(world.rooms.events_missed(1).await.unwrap());
    assert!(!world.rooms.events_missed(156).await.unwrap());
    let later = world.rooms.events(&EventFilter::default(), 250, 3).await.unwrap();
    assert_eq!(later.iter().map(|event| event.seq).collect::<Vec<_>>(), [251, 252, 253]);
}

#[tokio::test]
async fn an_address_is_shown_for_the_formats_of_the_mode_while_the_room_is_live() {
    let world = World::new().await;
    *world.rules.mode.lock() = Some(OutputModeAnswer::UseOutputs(Outputs { mode: ModelMode::Rtmp, transcoding_profile: None }));
    let (_, view, _) = world.live("ada", AccessLevel::Public).await;
    let bases = Bases { http: "http://h:8080".into(), rtmp: "rtmp://h".into() };
    let urls = bases.room(&view.room).unwrap();
    let id = &view.room.id;
    assert_eq!(urls.rtmp, Some(format!("rtmp://h/live/{id}")));
    assert_eq!(urls.http_flv, Some(format!("http://h:8080/live/{id}.flv")));
    assert_eq!(urls.watch, Some(format!("http://h:8080/watch/{id}")));
    assert_eq!((urls.hls, urls.dash), (None, None));
    let ended = world.rooms.end_room(&world.server, &asker(), id.as_str(), true).await.unwrap();
    assert_eq!(bases.room(&ended.room), None);
}

/// The built-in rules, in their sandboxes.
#[tokio::test]
async fn the_built_in_plugins_rule_a_broadcast() {
    let dir = tempfile::tempdir().unwrap();
    let plugins = Plugins::open(flyloft_plugins::Config::default()).unwrap();
    let rooms = Rooms::open(dir.path(), plugins, Arc::new(FakeLive::default()), Config::default()).await.unwrap();
    let credentials = rooms.bootstrap().await.unwrap().unwrap();
    let given = Given::Basic { key: &credentials.app.key, secret: &credentials.app.secret };
    let server = rooms.authenticate(given).await.unwrap();
    let member = async |name: &str| -> Member {
        let new = NewMember { app_id: None, app_user_id: name.into(), name: None };
        match rooms.create_member(&server, new, None).await.unwrap() {
            Outcome::Done(member) => member,
            Outcome::Replayed(_) => unreachable!(),
        }
    };
    let (ada, eve) = (member("ada").await, member("eve").await);
    let token = rooms.issue_member_token(&server, &asker(), ada.id.as_str(), None).await.unwrap().token;
    let as_ada = rooms.authenticate(Given::Bearer(&token)).await.unwrap();
    let token = rooms.issue_member_token(&server, &asker(), eve.id.as_str(), None).await.unwrap().token;
    let as_eve = rooms.authenticate(Given::Bearer(&token)).await.unwrap();
    let new = super::NewRoom {
        app_id: None,
        app_user_id: None,
        kind: flyloft_rooms::RoomType::BroadcastRtmp,
        access: AccessLevel::Public,
        title: None,
        description: None,
        scheduled_at: None,
        record: None,
    };
    let Outcome::Done(room) = rooms.create_room(&as_ada, &asker(), new, None).await.unwrap() else { unreachable!() };
    assert_eq!(room.owner.id, ada.id);
    let id = room.room.id.as_str();
    assert_eq!(play(&rooms, id, None).await.unwrap_err().code, "not-live");

    let key = rooms.stream_key(&as_ada, ada.id.as_str()).await.unwrap().key.secret;
    let publish = async |mode: &str| {
        let parameters = [("mode".to_owned(), mode.to_owned())];
        let (protocol, remote) = (Protocol::Rtmp, remote());
        rooms
            .publish(PublishAttempt { stream_key: key.expose(), parameters: &parameters, protocol, remote, user_agent: None })
            .await
    };
    let refusal = publish("HLS").await.unwrap_err();
    assert!(refusal.reason.contains("HLS") && refusal.reason.contains("RTMP_CMAF"), "{refusal:?}");
    let admitted = publish("CMAF").await.unwrap();
    assert_eq!(admitted.mode, OutputMode::Cmaf);
    rooms.viewable(&admitted.publish_id).await;
    assert_eq!(code(rooms.start_room(&as_eve, &asker(), id).await), "not-owner");
    rooms.start_room(&as_ada, &asker(), id).await.unwrap();
    assert_eq!(play(&rooms, id, None).await.unwrap().stream, ada.stream_name);
    rooms.end_room(&as_ada, &asker(), id, true).await.unwrap();
    assert_eq!(play(&rooms, id, None).await.unwrap_err().code, "not-live");
}

const CRASH_DIRECTORY: &str = "FLYLOFT_TEST_CRASH_DIRECTORY";

/// Makes members until it is killed, and says which ones were acknowledged.
async fn write_until_killed(directory: &Path) {
    let rules = Arc::new(super::testing::FakeRules::default());
    let live = Arc::new(FakeLive::default());
    let rooms = Rooms::open_with(directory, rules, live, Config::default()).await.unwrap();
    let credentials = rooms.bootstrap().await.unwrap().unwrap();
    for number in 0.. {
        let new = NewMember { app_id: Some(credentials.app.id.clone()), app_user_id: number.to_string(), name: None };
        let Outcome::Done(member) = rooms.create_member(&Actor::Operator, new, None).await.unwrap() else { unreachable!() };
        println!("\nacknowledged {}", member.id);
    }
}

/// Runs itself in a process of its own to be killed.
#[tokio::test]
async fn what_was_acknowledged_survives_a_kill() {
    if let Some(directory) = std::env::var_os(CRASH_DIRECTORY) {
        return write_until_killed(Path::new(&directory)).await;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "rooms::tests::what_was_acknowledged_survives_a_kill", "--nocapture"])
        .env(CRASH_DIRECTORY, dir.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut acknowledged = Vec::new();
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        if let Some(id) = line.strip_prefix("acknowledged ") {
            acknowledged.push(id.to_owned());
            if acknowledged.len() == 60 {
                child.kill().unwrap();
            }
        }
    }
    child.wait().unwrap();
    assert!(acknowledged.len() >= 60, "{} were acknowledged", acknowledged.len());
    let rules = Arc::new(super::testing::FakeRules::default());
    let live = Arc::new(FakeLive::default());
    let rooms = Rooms::open_with(dir.path(), rules, live, Config::default()).await.unwrap();
    for id in &acknowledged {
        assert_eq!(rooms.member(&Actor::Operator, id).await.unwrap().id.as_str(), id);
        assert_eq!(rooms.stream_key(&Actor::Operator, id).await.unwrap().key.state, K::Inactive);
    }
    let events = rooms.events(&EventFilter::default(), 0, 10_000).await.unwrap();
    assert!(
        acknowledged.iter().all(|id| events.iter().any(|event| event.member_id.as_str() == id)),
        "a change without its event"
    );
}
