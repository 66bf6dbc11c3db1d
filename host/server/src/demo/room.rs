//! The rooms of `flyloft demo`: one with the test picture, and one that waits for a stream of your own.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use flyloft_rooms::{AccessLevel, RoomType, StreamKeyState, VideoRoomState};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::rooms::{Actor, Asker, Bases, NewMember, NewRoom, Outcome, Page, RoomUrls, Rooms};
use crate::server::Server;

const TITLE: &str = "Flyloft test picture";
/// How often a stream key is looked at while its publisher is awaited.
const LOOK: Duration = Duration::from_millis(200);
/// How long the test picture may take until it can be watched.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running demo.
pub struct Demo {
    cancel: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
    credentials: PathBuf,
    front: String,
    picture: RoomUrls,
    push_url: String,
    own_watch: String,
}

/// Makes the rooms, pushes the test picture and waits until it is live.
pub async fn start(server: &Server, data: &Path) -> Result<Demo> {
    let rtmp = server.addresses.get("rtmp").context("the demo needs RTMP: give it an address with --rtmp")?;
    let http = server.addresses.get("http").context("the demo needs HTTP: give it an address with --http")?;
    let stage = Stage::new(&server.rooms).await?;
    let bases = server.rooms.bases(Some(&local("localhost", http)), false);

    let (key, room) = stage.cast("demo", "Flyloft", TITLE).await?;
    let cancel = CancellationToken::new();
    let (target, stop) = (format!("rtmp://{}/live/{key}", local("127.0.0.1", rtmp)), cancel.clone());
    let mut push = tokio::spawn(async move { super::run(&target, TITLE, stop).await });
    let started = tokio::select! {
        started = tokio::time::timeout(PATIENCE, stage.go_live("demo", &room)) => started.context("the test picture did not become live")?,
        ended = &mut push => return ended?.and_then(|()| bail!("the test picture ended at once")),
    };
    started.context("starting the room")?;
    let picture = stage.urls(&room, &bases).await?;
    let picturing = tokio::spawn(async move {
        if let Ok(Err(error)) = push.await {
            tracing::error!("the test picture ended: {error:#}");
        }
    });

    let (key, own) = stage.cast("you", "You", "Your own stream").await?;
    let (waiting, room) = (cancel.clone(), own.clone());
    let own_room = tokio::spawn(async move {
        tokio::select! {
            started = stage.go_live("you", &room) => if let Err(error) = started {
                tracing::error!("the room of your own stream could not be started: {error:#}");
            },
            () = waiting.cancelled() => {}
        }
    });
    Ok(Demo {
        cancel,
        tasks: vec![picturing, own_room],
        credentials: data.join("credentials.json"),
        push_url: format!("{}/{key}", bases.ingest()),
        own_watch: format!("{}/watch/{own}", bases.http),
        front: bases.http,
        picture,
    })
}

/// How this machine reaches a listener, which may listen on all addresses.
fn local(name: &str, address: SocketAddr) -> String {
    if address.ip().is_unspecified() || address.ip().is_loopback() {
        format!("{name}:{}", address.port())
    } else {
        address.to_string()
    }
}

impl Demo {
    pub fn print(&self) {
        let url = |url: &Option<String>| url.clone().unwrap_or_default();
        println!("\n  Flyloft is live.\n");
        println!("  Watch the test picture   {}", url(&self.picture.watch));
        println!("    LL-HLS                 {}", url(&self.picture.hls));
        println!("    MPEG-DASH              {}", url(&self.picture.dash));
        println!("    HTTP-FLV               {}", url(&self.picture.http_flv));
        println!("    RTMP                   {}", url(&self.picture.rtmp));
        println!("\n  Push a stream of your own, from OBS or with ffmpeg:");
        println!("    ffmpeg -re -i clip.mp4 -c copy -f flv {}", self.push_url);
        println!("  and watch it             {}", self.own_watch);
        println!("\n  All live rooms           {}/", self.front);
        println!("  The REST API             {}/v1/docs   (keys: {})", self.front, self.credentials.display());
        println!("\n  Ctrl-C ends it.\n");
    }

    pub async fn stop(self) {
        self.cancel.cancel();
        for task in self.tasks {
            let _ = task.await;
        }
    }
}

/// Makes members and rooms as a backend would, without going over HTTP.
struct Stage {
    rooms: Arc<Rooms>,
    actor: Actor,
}

impl Stage {
    async fn new(rooms: &Arc<Rooms>) -> Result<Self> {
        let page = Page { after: None, limit: 1 };
        let app =
            rooms.apps(&Actor::Operator, page).await?.pop().context("the database has no App: use another --data directory")?;
        Ok(Self { rooms: Arc::clone(rooms), actor: Actor::Server(app) })
    }

    fn asker() -> Asker {
        Asker { remote: IpAddr::V4(Ipv4Addr::LOCALHOST), user_agent: Some("flyloft demo".to_owned()) }
    }

    /// The stream key of the member `user`, and its room that is not over; both are made if they are not there.
    async fn cast(&self, user: &str, name: &str, title: &str) -> Result<(String, String)> {
        let member = match self.rooms.members(&self.actor, None, Some(user), Page { after: None, limit: 1 }).await?.pop() {
            Some(member) => member,
            None => {
                let new = NewMember { app_id: None, app_user_id: user.to_owned(), name: Some(name.to_owned()) };
                let Outcome::Done(member) = self.rooms.create_member(&self.actor, new, None).await? else {
                    bail!("a member was made twice")
                };
                member
            }
        };
        let key = self.rooms.stream_key(&self.actor, member.id.as_str()).await?.key.secret.expose().to_owned();
        let page = Page { after: None, limit: 100 };
        let open = self.rooms.rooms(&self.actor, None, Some(user), None, page).await?.into_iter().find(|view| {
            matches!(view.room.state, VideoRoomState::Scheduled | VideoRoomState::Live | VideoRoomState::LiveInactive)
        });
        let room = match open {
            Some(view) => view.room,
            None => {
                let new = NewRoom {
                    app_id: None,
                    app_user_id: Some(user.to_owned()),
                    kind: RoomType::BroadcastRtmp,
                    access: AccessLevel::Public,
                    title: Some(title.to_owned()),
                    description: None,
                    scheduled_at: None,
                    record: None,
                };
                match self.rooms.create_room(&self.actor, &Self::asker(), new, None).await? {
                    Outcome::Done(view) => view.room,
                    Outcome::Replayed(_) => bail!("a room was made twice"),
                }
            }
        };
        Ok((key, room.id.to_string()))
    }

    /// Starts the room as soon as its owner's stream can be watched.
    async fn go_live(&self, user: &str, room: &str) -> Result<()> {
        loop {
            let page = Page { after: None, limit: 1 };
            let member = self.rooms.members(&self.actor, None, Some(user), page).await?.pop().context("the member is gone")?;
            let key = self.rooms.stream_key(&self.actor, member.id.as_str()).await?.key;
            match key.state {
                StreamKeyState::ActiveLive => return Ok(()),
                StreamKeyState::Active => {
                    self.rooms.start_room(&self.actor, &Self::asker(), room).await?;
                    return Ok(());
                }
                _ => tokio::time::sleep(LOOK).await,
            }
        }
    }

    async fn urls(&self, room: &str, bases: &Bases) -> Result<RoomUrls> {
        let view = self.rooms.room(&self.actor, room).await?;
        bases.room(&view.room).context("the room is not live")
    }
}
