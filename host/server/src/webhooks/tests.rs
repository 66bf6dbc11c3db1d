//! Deliveries from the event to the receiver, with a database on disk and a receiver that tests steer.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use flyloft_plugins::Plugins;
use flyloft_plugins::outbound::{Error as OutboundError, Limits};
use flyloft_rooms::AccessLevel;
use futures_util::future::{BoxFuture, ready};
use http::{Request, Response, Uri};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::planner::{Attempt, Delivery, Event, PlanError, Planner, Subscription, Verdict};
use super::{NewWebhook, Retry, Settings, Transport, WebhookChange, Webhooks, sign};
use crate::rooms::testing::World;
use crate::rooms::{Actor, Given, NewApp, NewMember, Outcome, Page, RoomChange};
use crate::store::{Queued, QueuedState, Webhook};

const URL: &str = "https://hooks.example/";

/// What the receiver got.
#[derive(Clone, Debug)]
struct Seen {
    id: String,
    url: String,
    signature: String,
    timestamp: i64,
    body: Bytes,
    event: Value,
}

impl Seen {
    fn room(&self) -> String {
        self.event["data"]["roomId"].as_str().unwrap_or_default().to_owned()
    }

    fn seq(&self) -> i64 {
        self.event["data"]["seq"].as_i64().unwrap()
    }
}

type Answer = Box<dyn Fn(usize, &Seen) -> Result<u16, String> + Send + Sync>;

/// A receiver: what it was sent, and what it answers to the how manieth request.
struct Receiver {
    seen: Mutex<Vec<Seen>>,
    /// Those that were answered with success.
    taken: Mutex<Vec<Seen>>,
    count: watch::Sender<usize>,
    answer: Mutex<Answer>,
    /// Requests wait for a permit where this is set.
    gate: Option<Semaphore>,
}

impl Receiver {
    fn new(answer: impl Fn(usize, &Seen) -> Result<u16, String> + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self::with(None, answer))
    }

    fn with(gate: Option<Semaphore>, answer: impl Fn(usize, &Seen) -> Result<u16, String> + Send + Sync + 'static) -> Self {
        let answer = Mutex::new(Box::new(answer) as Answer);
        Self { seen: Mutex::default(), taken: Mutex::default(), count: watch::Sender::new(0), answer, gate }
    }

    fn answers(&self, answer: impl Fn(usize, &Seen) -> Result<u16, String> + Send + Sync + 'static) {
        *self.answer.lock() = Box::new(answer);
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().clone()
    }

    /// Waits until so many requests have come.
    async fn requests(&self, count: usize) {
        let mut seen = self.count.subscribe();
        let waited = tokio::time::timeout(Duration::from_secs(60), seen.wait_for(|now| *now >= count)).await;
        assert!(waited.is_ok(), "{} of {count} requests came", self.seen.lock().len());
    }
}

impl Transport for Receiver {
    fn check(&self, _: &Uri) -> Result<(), OutboundError> {
        Ok(())
    }

    fn send(&self, request: Request<Bytes>, _: Limits) -> BoxFuture<'_, Result<Response<Bytes>, OutboundError>> {
        Box::pin(async move {
            let field = |name: &str| request.headers()[name].to_str().unwrap().to_owned();
            let seen = Seen {
                id: field("webhook-id"),
                url: request.uri().to_string(),
                signature: field("webhook-signature"),
                timestamp: field("webhook-timestamp").parse().unwrap(),
                body: request.body().clone(),
                event: serde_json::from_slice(request.body()).unwrap(),
            };
            let number = {
                let mut all = self.seen.lock();
                all.push(seen.clone());
                all.len()
            };
            self.count.send_replace(number);
            if let Some(gate) = &self.gate {
                gate.acquire().await.unwrap().forget();
            }
            // As on a network, the answer comes later than the request.
            tokio::task::yield_now().await;
            let answer = (self.answer.lock())(number, &seen);
            match answer {
                Ok(status) => {
                    if (200..300).contains(&status) {
                        self.taken.lock().push(seen);
                    }
                    Ok(Response::builder().status(status).body(Bytes::new()).unwrap())
                }
                Err(reason) => Err(OutboundError::Connect { host: "hooks.example".into(), reason }),
            }
        })
    }
}

fn quick() -> Settings {
    let millis = Duration::from_millis;
    Settings {
        timeout: millis(1_000),
        retry: Retry { first: millis(1), longest: millis(20), give_up: Duration::from_secs(600) },
        max_in_flight: 16,
        max_in_flight_per_app: 8,
        keep_dead: Duration::from_secs(3_600),
    }
}

/// The built-in rule for webhooks.
fn plugins() -> Plugins {
    Plugins::open(flyloft_plugins::Config { max_concurrent_calls: 8, ..flyloft_plugins::Config::default() }).unwrap()
}

struct Stage {
    world: World,
    webhooks: Arc<Webhooks>,
    receiver: Arc<Receiver>,
    settings: Settings,
    planner: Arc<dyn Planner>,
    running: Option<JoinHandle<()>>,
}

impl Stage {
    async fn new(settings: Settings, receiver: Arc<Receiver>) -> Self {
        Self::with(settings, receiver, Arc::new(plugins())).await
    }

    async fn with(settings: Settings, receiver: Arc<Receiver>, planner: Arc<dyn Planner>) -> Self {
        let world = World::new().await;
        let webhooks = Webhooks::with(world.rooms.clone(), planner.clone(), receiver.clone(), settings);
        Self { world, webhooks, receiver, settings, planner, running: None }
    }

    fn run(&mut self) {
        self.running = Some(tokio::spawn(self.webhooks.clone().run(CancellationToken::new())));
    }

    /// As `kill -9`: nothing is finished, nothing is closed.
    async fn crash(&mut self) {
        if let Some(running) = self.running.take() {
            running.abort();
            let _ = running.await;
        }
        self.world.reopen().await;
        self.webhooks = Webhooks::with(self.world.rooms.clone(), self.planner.clone(), self.receiver.clone(), self.settings);
    }

    async fn subscribe(&self, urls: &[&str], kinds: Option<&[&str]>) -> Webhook {
        self.subscribe_as(&self.world.server, urls, kinds).await
    }

    async fn subscribe_as(&self, actor: &Actor, urls: &[&str], kinds: Option<&[&str]>) -> Webhook {
        let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let new = NewWebhook {
            app_id: None,
            description: None,
            urls: texts(urls),
            config: BTreeMap::new(),
            kinds: kinds.map(texts),
            enabled: true,
        };
        match self.webhooks.create(actor, new, None).await.unwrap() {
            Outcome::Done(made) => made,
            Outcome::Replayed(_) => unreachable!(),
        }
    }

    async fn rooms(&self, count: usize) -> Vec<String> {
        self.world.member("ada").await;
        let mut rooms = Vec::new();
        for _ in 0..count {
            rooms.push(self.world.room("ada", AccessLevel::Public).await.room.id.into_string());
        }
        rooms
    }

    async fn touch(&self, room: &str, title: &str) {
        let change = RoomChange { title: Some(Some(title.to_owned())), ..RoomChange::default() };
        self.world.rooms.update_room(&self.world.server, room, change).await.unwrap();
    }

    /// Waits until nothing is left but what was given up.
    async fn empty(&self) {
        let drained = async {
            while self.world.rooms.store().depth() > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let left = || format!("{} deliveries are left", self.world.rooms.store().depth());
        tokio::time::timeout(Duration::from_secs(60), drained).await.unwrap_or_else(|_| panic!("{}", left()));
    }

    async fn deliveries(&self, webhook: &Webhook, state: Option<QueuedState>) -> Vec<Queued> {
        self.webhooks.deliveries(&self.world.server, &webhook.id, state, Page { after: None, limit: 1_000 }).await.unwrap()
    }

    /// Every event with a room has been taken, each room's in their order, with one id for each event.
    async fn check_all_taken(&self) {
        let taken = self.receiver.taken.lock().clone();
        let (mut first, mut known, mut ids) = (HashMap::<String, Vec<i64>>::new(), HashSet::new(), HashMap::new());
        for seen in &taken {
            assert_eq!(ids.entry(seen.seq()).or_insert_with(|| seen.id.clone()), &seen.id, "an event has two ids");
            if known.insert(seen.seq()) {
                first.entry(seen.room()).or_default().push(seen.seq());
            }
        }
        let mut expected = HashMap::<String, Vec<i64>>::new();
        for event in self.world.events().await {
            expected.entry(event.room_id.map(|room| room.into_string()).unwrap_or_default()).or_default().push(event.seq);
        }
        assert_eq!(first, expected);
    }
}

/// The same numbers in every run.
fn dice(number: usize) -> u64 {
    let mut x = (number as u64).wrapping_add(0x9e37_79b9_7f4a_7c15).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x ^= x >> 29;
    x.wrapping_mul(0x94d0_49bb_1331_11eb) >> 33
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_arrives_in_order_through_failures_and_crashes() {
    let receiver = Receiver::new(|number, _| match dice(number) % 5 {
        0 => Ok(500),
        1 => Err("it is down".into()),
        _ => Ok(204),
    });
    let mut stage = Stage::new(quick(), receiver).await;
    stage.subscribe(&[URL], None).await;
    let rooms = stage.rooms(6).await;
    for round in 0..6 {
        stage.run();
        for step in 0..6 {
            for room in &rooms {
                stage.touch(room, &format!("{round}.{step}")).await;
            }
        }
        stage.receiver.requests((round + 1) * 20).await;
        stage.crash().await;
    }
    stage.run();
    stage.empty().await;
    stage.check_all_taken().await;
    assert!(stage.receiver.seen().len() > stage.receiver.taken.lock().len());
}

#[tokio::test]
async fn what_fails_in_one_room_does_not_hold_up_others() {
    let broken = Arc::new(Mutex::new(String::new()));
    let wrong = broken.clone();
    let receiver = Receiver::new(move |_, seen| if seen.room() == *wrong.lock() { Ok(500) } else { Ok(200) });
    let mut stage = Stage::new(quick(), receiver).await;
    let rooms = stage.rooms(3).await;
    *broken.lock() = rooms[0].clone();
    let webhook = stage.subscribe(&[URL], Some(&["videoRoom.updated"])).await;
    for step in 0..4 {
        for room in &rooms {
            stage.touch(room, &step.to_string()).await;
        }
    }
    stage.run();
    let others = async {
        let tried = async || stage.deliveries(&webhook, None).await.iter().any(|queued| queued.progress.attempts > 0);
        while stage.world.rooms.store().depth() > 4 || !tried().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), others).await.unwrap();
    let left = stage.deliveries(&webhook, None).await;
    assert_eq!(left.len(), 4, "the broken room keeps all of its own");
    let tried: HashSet<_> = stage.receiver.seen().iter().filter(|seen| seen.room() == rooms[0]).map(Seen::seq).collect();
    assert_eq!(tried.len(), 1, "the first blocks those behind it");
    assert!(left.iter().any(|queued| queued.progress.last_status == Some(500)));
    stage.receiver.answers(|_, _| Ok(200));
    stage.empty().await;
    let order: Vec<_> = stage.receiver.taken.lock().iter().filter(|seen| seen.room() == rooms[0]).map(Seen::seq).collect();
    assert!(order.len() == 4 && order.is_sorted(), "{order:?}");
}

#[tokio::test]
async fn one_app_does_not_take_every_place() {
    let receiver = Arc::new(Receiver::with(Some(Semaphore::new(0)), |_, _| Ok(200)));
    let mut stage = Stage::new(Settings { max_in_flight: 4, max_in_flight_per_app: 3, ..quick() }, receiver).await;
    stage.subscribe(&[URL], Some(&["videoRoom.created"])).await;
    let world = &stage.world;
    let new = NewApp { name: "small".into(), output_mode: None, transcoding_profile: None, record: None };
    let Outcome::Done(app) = world.rooms.create_app(new, None).await.unwrap() else { unreachable!() };
    let given = Given::Basic { key: &app.app.key, secret: app.secret.expose() };
    let small = world.rooms.authenticate(given).await.unwrap();
    stage.subscribe_as(&small, &["https://small.example/"], None).await;
    stage.rooms(20).await;
    stage.run();
    stage.receiver.requests(3).await;
    let new = NewMember { app_id: None, app_user_id: "eve".into(), name: None };
    stage.world.rooms.create_member(&small, new, None).await.unwrap();
    stage.receiver.requests(4).await;
    let seen = stage.receiver.seen();
    assert_eq!(seen.iter().filter(|seen| seen.url.contains("small")).count(), 1, "{seen:?}");
    stage.receiver.gate.as_ref().unwrap().add_permits(100);
    stage.empty().await;
    assert_eq!(stage.receiver.seen().len(), 21);
}

#[tokio::test]
async fn what_is_given_up_can_be_delivered_again() {
    let receiver = Receiver::new(|_, _| Ok(500));
    let settings = Settings { retry: Retry { give_up: Duration::ZERO, ..quick().retry }, ..quick() };
    let mut stage = Stage::new(settings, receiver).await;
    let webhook = stage.subscribe(&[URL], Some(&["videoRoom.created"])).await;
    stage.run();
    stage.rooms(3).await;
    stage.empty().await;
    let dead = stage.deliveries(&webhook, Some(QueuedState::Dead)).await;
    assert_eq!(dead.len(), 3);
    for queued in &dead {
        let progress = &queued.progress;
        assert_eq!((progress.attempts, progress.last_status), (1, Some(500)));
        assert!(progress.last_error.as_ref().unwrap().contains("1 attempts"), "{progress:?}");
    }
    stage.crash().await;
    stage.receiver.answers(|_, _| Ok(200));
    stage.run();
    let again = stage.webhooks.redeliver(&stage.world.server, &webhook.id, &dead[0].id).await.unwrap();
    assert_eq!((again.progress.state, again.progress.attempts), (QueuedState::Pending, 0));
    stage.empty().await;
    assert_eq!(stage.deliveries(&webhook, None).await.len(), 2);
    assert_eq!(stage.webhooks.redeliver_dead(&stage.world.server, &webhook.id).await.unwrap(), 2);
    stage.empty().await;
    assert!(stage.deliveries(&webhook, None).await.is_empty());
    let ids: HashSet<_> = dead.iter().map(|queued| format!("msg_{}", queued.id)).collect();
    assert_eq!(stage.receiver.taken.lock().iter().map(|seen| seen.id.clone()).collect::<HashSet<_>>(), ids);
    assert!(stage.webhooks.redeliver(&stage.world.server, &webhook.id, &dead[0].id).await.is_err(), "it is forgotten");
}

#[tokio::test]
async fn a_webhook_that_is_off_or_gone_takes_nothing() {
    let mut stage = Stage::new(quick(), Receiver::new(|_, _| Ok(500))).await;
    let server = stage.world.server.clone();
    let webhook = stage.subscribe(&[URL], None).await;
    let rooms = stage.rooms(1).await;
    assert_eq!(stage.world.rooms.store().depth(), 2, "a member and a room");
    let enabled = |enabled| WebhookChange { enabled: Some(enabled), ..WebhookChange::default() };
    stage.webhooks.update(&server, &webhook.id, enabled(false)).await.unwrap();
    stage.touch(&rooms[0], "unheard").await;
    assert_eq!(stage.world.rooms.store().depth(), 2);
    stage.run();
    stage.webhooks.update(&server, &webhook.id, enabled(true)).await.unwrap();
    stage.receiver.requests(4).await;
    stage.webhooks.delete(&server, &webhook.id).await.unwrap();
    stage.empty().await;
    assert_eq!(stage.world.rooms.store().depth(), 0);
    stage.touch(&rooms[0], "nobody").await;
    assert_eq!(stage.world.rooms.store().depth(), 0);
    stage.crash().await;
    assert_eq!(stage.world.rooms.store().depth(), 0);
}

#[tokio::test]
async fn secrets_are_rotated_without_a_gap() {
    let mut stage = Stage::new(quick(), Receiver::new(|_, _| Ok(200))).await;
    let server = stage.world.server.clone();
    let webhook = stage.subscribe(&[URL], Some(&["videoRoom.created"])).await;
    stage.run();
    stage.rooms(1).await;
    stage.receiver.requests(1).await;
    let rotated = stage.webhooks.rotate_secret(&server, &webhook.id).await.unwrap();
    assert_eq!(rotated.old_secret.as_ref(), Some(&webhook.secret));
    stage.world.room("ada", AccessLevel::Public).await;
    stage.receiver.requests(2).await;
    stage.webhooks.retire_secret(&server, &webhook.id).await.unwrap();
    stage.world.room("ada", AccessLevel::Public).await;
    stage.receiver.requests(3).await;
    let expected = [vec![&webhook.secret], vec![&rotated.secret, &webhook.secret], vec![&rotated.secret]];
    for (seen, secrets) in stage.receiver.seen().iter().zip(expected) {
        assert_eq!(seen.signature, sign::signatures(secrets, &seen.id, seen.timestamp, &seen.body));
    }
}

#[tokio::test]
async fn an_event_reaches_all_urls_before_the_next_one_any() {
    let receiver =
        Receiver::new(|number, seen| if seen.url.contains("two") && dice(number) & 1 == 1 { Ok(503) } else { Ok(200) });
    let mut stage = Stage::new(quick(), receiver).await;
    stage.subscribe(&["https://one.example/", "https://two.example/"], Some(&["videoRoom.updated"])).await;
    let rooms = stage.rooms(1).await;
    for step in 0..10 {
        stage.touch(&rooms[0], &step.to_string()).await;
    }
    stage.run();
    stage.empty().await;
    let taken = stage.receiver.taken.lock().clone();
    assert_eq!(taken.len(), 20);
    for pair in taken.chunks(2) {
        assert_eq!(pair[0].seq(), pair[1].seq());
        assert_ne!((&pair[0].url, &pair[0].id), (&pair[1].url, &pair[1].id));
    }
    assert!(taken.iter().map(Seen::seq).is_sorted());
}

/// Fails at first, then plans nothing for rooms, and as usual for members.
struct Moody(Mutex<u32>, Plugins);

impl Planner for Moody {
    fn plan<'a>(&'a self, subscription: &'a Subscription, event: &'a Event) -> BoxFuture<'a, Result<Vec<Delivery>, PlanError>> {
        let mut calls = self.0.lock();
        *calls += 1;
        match (*calls, &event.room_id) {
            (1..=4, _) => Box::pin(ready(Err(PlanError { reason: "the plugin failed".into() }))),
            (_, Some(_)) => Box::pin(ready(Ok(Vec::new()))),
            (_, None) => Planner::plan(&self.1, subscription, event),
        }
    }

    fn attempted<'a>(
        &'a self,
        subscription: &'a Subscription,
        event: &'a Event,
        delivery: &'a Delivery,
        attempt: &'a Attempt,
    ) -> BoxFuture<'a, Verdict> {
        Planner::attempted(&self.1, subscription, event, delivery, attempt)
    }
}

#[tokio::test]
async fn an_event_that_could_not_be_planned_is_planned_again() {
    let planner = Arc::new(Moody(Mutex::new(0), plugins()));
    let mut stage = Stage::with(quick(), Receiver::new(|_, _| Ok(200)), planner.clone()).await;
    stage.subscribe(&[URL], None).await;
    stage.rooms(2).await;
    stage.run();
    stage.empty().await;
    let taken = stage.receiver.taken.lock().clone();
    assert_eq!(taken.iter().map(|seen| seen.event["type"].clone()).collect::<Vec<_>>(), ["member.created"]);
    assert!(*planner.0.lock() >= 7);
}

#[tokio::test]
async fn a_test_goes_past_the_outbox() {
    let stage = Stage::new(quick(), Receiver::new(|_, _| Ok(418))).await;
    let webhook = stage.subscribe(&[URL], None).await;
    let tested = stage.webhooks.test(&stage.world.server, &webhook.id).await.unwrap();
    assert_eq!((tested.len(), &tested[0].verdict), (1, &Verdict::RetryAfter(None)));
    let seen = stage.receiver.seen();
    assert_eq!((&seen[0].event["type"], stage.world.rooms.store().depth()), (&Value::from("webhook.test"), 0));
    // Somebody else's webhook is not there.
    let other = NewApp { name: "other".into(), output_mode: None, transcoding_profile: None, record: None };
    let Outcome::Done(app) = stage.world.rooms.create_app(other, None).await.unwrap() else { unreachable!() };
    let given = Given::Basic { key: &app.app.key, secret: app.secret.expose() };
    let stranger = stage.world.rooms.authenticate(given).await.unwrap();
    assert!(stage.webhooks.test(&stranger, &webhook.id).await.is_err());
    assert!(stage.webhooks.rotate_secret(&stranger, &webhook.id).await.is_err());
    assert!(stage.webhooks.delete(&stranger, &webhook.id).await.is_err());
    assert!(stage.webhooks.get(&Actor::Operator, &webhook.id).await.is_ok());
}

#[tokio::test]
async fn plugins_are_told_the_app_and_their_answers_are_logged() {
    let dir = tempfile::tempdir().unwrap();
    let config = flyloft_plugins::Config {
        data_dir: Some(dir.path().to_owned()),
        max_concurrent_calls: 8,
        ..flyloft_plugins::Config::default()
    };
    let plugins = Plugins::open(config).unwrap();
    let mut stage = Stage::with(quick(), Receiver::new(|_, _| Ok(200)), Arc::new(plugins.clone())).await;
    let secret = format!("{URL}/T0/very-secret");
    stage.subscribe(&[&secret], None).await;
    stage.rooms(1).await;
    stage.run();
    stage.empty().await;
    let found = plugins.decisions(flyloft_plugins::DecisionFilter::default(), None, 100).await.unwrap().items;
    assert!(found.iter().any(|decision| (&*decision.function, &*decision.outcome) == ("deliver", "deliver")), "{found:?}");
    assert!(found.iter().any(|decision| (&*decision.function, &*decision.outcome) == ("attempted", "done")), "{found:?}");
    let Actor::Server(app) = &stage.world.server else { panic!("{:?}", stage.world.server) };
    for decision in found {
        let context: Value = serde_json::from_str(decision.context.get()).unwrap();
        assert_eq!((&context["app"]["id"], &context["app"]["name"]), (&json!(app.id.as_str()), &json!(app.name)));
        assert!(!format!("{decision:?}").contains("very-secret"), "{decision:?}");
    }
}
