//! A rooms service on a temporary directory, with rules and live streams that tests steer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use flyloft_plugins::model::{Action, Context, Decision, Denial, Grant, OutputModeAnswer, OutputModeRequest, Protocol};
use flyloft_plugins::{Decided, Fault, FaultKind};
use flyloft_rooms::{AccessLevel, Event, Member, RoomType, StreamKeyState, VideoRoomState};
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tempfile::TempDir;

use super::{
    Actor, Admitted, Asker, Config, Credentials, EventFilter, Given, LiveControl, NewMember, NewRoom, Outcome, PublishAttempt,
    Refusal, RoomView, Rooms, Rules, StreamName,
};
use crate::store::Retention;

/// What the rules answer next, and what they were asked.
pub(crate) struct FakeRules {
    pub policy: Mutex<Option<Decision>>,
    pub mode: Mutex<Option<OutputModeAnswer>>,
    pub asked: Mutex<Vec<Action>>,
    pub asked_mode: Mutex<Vec<OutputModeRequest>>,
}

impl Default for FakeRules {
    fn default() -> Self {
        Self {
            policy: Mutex::new(Some(Decision::Allow(Grant::default()))),
            mode: Mutex::new(Some(OutputModeAnswer::Abstain)),
            asked: Mutex::default(),
            asked_mode: Mutex::default(),
        }
    }
}

impl FakeRules {
    pub fn deny(&self, code: &str) {
        *self.policy.lock() = Some(Decision::Deny(Denial { code: code.into(), reason: "Not today.".into() }));
    }

    /// The next calls fail.
    pub fn fail(&self) {
        *self.policy.lock() = None;
        *self.mode.lock() = None;
    }
}

fn decided<T>(answer: Option<T>, context: &Context) -> Result<Decided<T>, Fault> {
    let (plugin, digest) = ("fake".to_owned(), "sha256:0".to_owned());
    match answer {
        Some(answer) => Ok(Decided { answer, plugin: plugin.into(), digest: digest.into(), duration: Duration::from_micros(7) }),
        None => Err(Fault { plugin, digest, call: context.call_id.clone(), kind: FaultKind::Deadline { ms: 50 } }),
    }
}

impl Rules for FakeRules {
    fn decide<'a>(&'a self, context: &'a Context, action: &'a Action) -> BoxFuture<'a, Result<Decided<Decision>, Fault>> {
        Box::pin(async move {
            tokio::task::yield_now().await;
            self.asked.lock().push(action.clone());
            decided(self.policy.lock().clone(), context)
        })
    }

    fn output_mode<'a>(
        &'a self,
        context: &'a Context,
        request: &'a OutputModeRequest,
    ) -> BoxFuture<'a, Result<Decided<OutputModeAnswer>, Fault>> {
        Box::pin(async move {
            self.asked_mode.lock().push(request.clone());
            decided(self.mode.lock().clone(), context)
        })
    }
}

/// Remembers which streams were ended.
#[derive(Default)]
pub(crate) struct FakeLive(pub Mutex<Vec<StreamName>>);

impl LiveControl for FakeLive {
    fn end_stream(&self, stream: &StreamName, _: &str) {
        self.0.lock().push(stream.clone());
    }

    fn viewers(&self, _: &StreamName) -> u32 {
        3
    }
}

pub(crate) struct World {
    pub rooms: Arc<Rooms>,
    pub rules: Arc<FakeRules>,
    pub live: Arc<FakeLive>,
    pub credentials: Credentials,
    pub server: Actor,
    pub dir: TempDir,
}

pub(crate) fn asker() -> Asker {
    Asker { remote: [127, 0, 0, 1].into(), user_agent: Some("test".into()) }
}

pub(crate) fn remote() -> SocketAddr {
    ([127, 0, 0, 1], 40_000).into()
}

impl World {
    pub async fn new() -> Self {
        Self::with(Retention::default()).await
    }

    pub async fn with(retention: Retention) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (rules, live) = (Arc::new(FakeRules::default()), Arc::new(FakeLive::default()));
        let config = Config { rtmp_port: 1935, retention, ..Config::default() };
        let rooms = Rooms::open_with(dir.path(), rules.clone(), live.clone(), config).await.unwrap();
        let credentials = rooms.bootstrap().await.unwrap().unwrap();
        let given = Given::Basic { key: &credentials.app.key, secret: &credentials.app.secret };
        let server = rooms.authenticate(given).await.unwrap();
        Self { rooms, rules, live, credentials, server, dir }
    }

    /// The server after a crash: nobody closed anything.
    pub async fn reopen(&mut self) {
        let config = Config { rtmp_port: 1935, ..Config::default() };
        let opened = Rooms::open_with(self.dir.path(), self.rules.clone(), self.live.clone(), config).await;
        self.rooms = opened.unwrap();
    }

    pub async fn member(&self, app_user_id: &str) -> Member {
        let new = NewMember { app_id: None, app_user_id: app_user_id.into(), name: None };
        match self.rooms.create_member(&self.server, new, None).await.unwrap() {
            Outcome::Done(member) => member,
            Outcome::Replayed(_) => unreachable!(),
        }
    }

    pub async fn room(&self, app_user_id: &str, access: AccessLevel) -> RoomView {
        let new = NewRoom {
            app_id: None,
            app_user_id: Some(app_user_id.into()),
            kind: RoomType::BroadcastRtmp,
            access,
            title: Some("A room".into()),
            description: None,
            scheduled_at: None,
            record: None,
        };
        match self.rooms.create_room(&self.server, &asker(), new, None).await.unwrap() {
            Outcome::Done(view) => view,
            Outcome::Replayed(_) => unreachable!(),
        }
    }

    pub async fn key(&self, member: &Member) -> String {
        self.rooms.stream_key(&self.server, member.id.as_str()).await.unwrap().key.secret.expose().to_owned()
    }

    pub async fn publish(&self, key: &str) -> Result<Admitted, Refusal> {
        self.publish_with(key, &[]).await
    }

    pub async fn publish_with(&self, key: &str, parameters: &[(String, String)]) -> Result<Admitted, Refusal> {
        let (protocol, remote) = (Protocol::Rtmp, remote());
        self.rooms.publish(PublishAttempt { stream_key: key, parameters, protocol, remote, user_agent: Some("encoder") }).await
    }

    /// A member whose room is live.
    pub async fn live(&self, app_user_id: &str, access: AccessLevel) -> (Member, RoomView, Admitted) {
        let member = self.member(app_user_id).await;
        let room = self.room(app_user_id, access).await;
        let admitted = self.publish(&self.key(&member).await).await.unwrap();
        self.rooms.viewable(&admitted.publish_id).await;
        let view = self.rooms.start_room(&self.server, &asker(), room.room.id.as_str()).await.unwrap();
        (member, view, admitted)
    }

    pub async fn states(&self, member: &Member, room: &RoomView) -> (StreamKeyState, VideoRoomState) {
        let key = self.rooms.stream_key(&self.server, member.id.as_str()).await.unwrap().key.state;
        (key, self.rooms.room(&self.server, room.room.id.as_str()).await.unwrap().room.state)
    }

    pub async fn events(&self) -> Vec<Event> {
        self.rooms.events(&EventFilter::default(), 0, 10_000).await.unwrap()
    }
}
