//! The server's REST contract as far as tests need it, in one place: members, stream keys, rooms, events, plugins.

use crate::http::{Auth, Http, Response};
use crate::server::Server;
use crate::{PATIENCE, wait_for};
use anyhow::{Context, Result};
use serde_json::{Value, json};

/// A member and how to push as that member.
#[derive(Clone, Debug)]
pub struct Member {
    pub id: String,
    /// The stream key's secret.
    pub key: String,
}

/// The addresses of a live room; those that its output mode lacks are none.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Urls {
    pub rtmp: Option<String>,
    pub flv: Option<String>,
    pub hls: Option<String>,
    pub dash: Option<String>,
    pub watch: Option<String>,
}

impl Server {
    /// Without credentials.
    pub fn public(&self) -> Http {
        Http::new(&self.base(), Auth::None)
    }

    /// As the backend of the first App.
    pub fn api(&self) -> Result<Http> {
        let credentials = self.credentials()?;
        let text = |pointer: &str| -> Result<String> {
            let value = credentials.pointer(pointer).and_then(Value::as_str);
            Ok(value.with_context(|| format!("credentials.json has no {pointer}"))?.to_owned())
        };
        Ok(self.public().with(Auth::Basic(text("/app/key")?, text("/app/secret")?)))
    }

    /// As the operator.
    pub fn operator(&self) -> Result<Http> {
        let credentials = self.credentials()?;
        let token = credentials["operatorToken"].as_str().context("credentials.json has no operatorToken")?;
        Ok(self.public().with(Auth::Bearer(token.to_owned())))
    }

    /// What the first start wrote for its owner.
    pub fn credentials(&self) -> Result<Value> {
        let path = self.data().join("credentials.json");
        let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{} is not JSON", path.display()))
    }

    /// Makes a member.
    pub fn member(&self, app_user_id: &str) -> Result<Member> {
        let member = self.api()?.post("/v1/members", &json!({"appUserId": app_user_id}))?.success()?;
        let id = member["id"].as_str().with_context(|| format!("a member without id: {member}"))?.to_owned();
        let key = self.stream_key(&id)?;
        let key = key["streamKey"].as_str().with_context(|| format!("no streamKey in {key}"))?.to_owned();
        Ok(Member { id, key })
    }

    /// The stream key of a member as the API shows it.
    pub fn stream_key(&self, member: &str) -> Result<Value> {
        self.api()?.get(&stream_key_path(member))?.success()
    }

    /// The state of a member's stream key.
    pub fn key_state(&self, member: &Member) -> Result<String> {
        let key = self.stream_key(&member.id)?;
        Ok(key["streamKeyState"].as_str().with_context(|| format!("no streamKeyState in {key}"))?.to_owned())
    }

    pub fn wait_key_state(&self, member: &Member, state: &str) -> Result<()> {
        let mut last = String::new();
        wait_for(&format!("the stream key is {state}"), PATIENCE, || {
            last = self.key_state(member).ok()?;
            (last == state).then_some(())
        })
        .with_context(|| format!("it is {last}"))
    }

    /// Where a member pushes to, as the server's documentation gives it.
    pub fn push_url(&self, member: &Member) -> String {
        self.push_url_for(&member.key)
    }

    pub fn push_url_for(&self, key: &str) -> String {
        format!("rtmp://{}/live/{key}", self.addresses().rtmp)
    }

    /// The same by RTMPS.
    pub fn secure_push_url(&self, member: &Member) -> String {
        format!("rtmps://{}/live/{}", self.addresses().rtmps, member.key)
    }

    /// Makes a public broadcast room; its id.
    pub fn room(&self, app_user_id: &str, title: &str) -> Result<String> {
        let room = self.api()?.post("/v1/video-rooms", &room_body(app_user_id, title))?.success()?;
        Ok(room["id"].as_str().with_context(|| format!("a room without id: {room}"))?.to_owned())
    }

    pub fn room_json(&self, room: &str) -> Result<Value> {
        self.api()?.get(&format!("/v1/video-rooms/{room}"))?.success()
    }

    pub fn room_state(&self, room: &str) -> Result<String> {
        let room = self.room_json(room)?;
        Ok(room["videoRoomState"].as_str().with_context(|| format!("no videoRoomState in {room}"))?.to_owned())
    }

    pub fn wait_room_state(&self, room: &str, state: &str) -> Result<()> {
        let mut last = String::new();
        wait_for(&format!("the room is {state}"), PATIENCE, || {
            last = self.room_state(room).ok()?;
            (last == state).then_some(())
        })
        .with_context(|| format!("it is {last}"))
    }

    pub fn start_room(&self, room: &str) -> Result<Response> {
        self.api()?.post(&format!("/v1/video-rooms/{room}/start"), &json!({}))
    }

    pub fn end_room(&self, room: &str, force: bool) -> Result<Response> {
        self.api()?.post(&format!("/v1/video-rooms/{room}/end"), &json!({"force": force}))
    }

    /// The addresses that a room shows now.
    pub fn urls(&self, room: &str) -> Result<Urls> {
        let room = self.room_json(room)?;
        let url = |name: &str| room["urls"][name].as_str().map(str::to_owned);
        Ok(Urls { rtmp: url("rtmp"), flv: url("httpFlv"), hls: url("hls"), dash: url("dash"), watch: url("watch") })
    }

    /// A member, a room and a publisher's way to go live: waits until the key is ACTIVE, starts the room, gives the URLs.
    pub fn go_live(&self, member: &Member, room: &str) -> Result<Urls> {
        self.wait_key_state(member, "ACTIVE")?;
        self.start_room(room)?.success().context("starting the room")?;
        self.wait_room_state(room, "LIVE")?;
        self.urls(room)
    }

    /// All events so far, oldest first.
    pub fn events(&self) -> Result<Vec<Value>> {
        let mut events = Vec::new();
        let mut after = String::from("0");
        loop {
            let page = self.api()?.get(&format!("/v1/events?after={after}&limit=100"))?.success()?;
            let items = page["items"].as_array().with_context(|| format!("no items in {page}"))?;
            let Some(last) = items.last() else { return Ok(events) };
            after = last["seq"].to_string().trim_matches('"').to_owned();
            events.extend(items.iter().cloned());
        }
    }

    /// Uploads a component under a name.
    pub fn put_plugin(&self, name: &str, component: &[u8]) -> Result<Response> {
        let headers = [("content-type", "application/wasm")];
        self.operator()?.request("PUT", &format!("/v1/plugins/{name}"), &headers, Some(component))
    }
}

pub fn stream_key_path(member: &str) -> String {
    format!("/v1/members/{member}/stream-key")
}

pub fn room_body(app_user_id: &str, title: &str) -> Value {
    json!({"type": "BROADCAST_RTMP", "appUserId": app_user_id, "title": title})
}

/// The states that the events of one kind of thing went to, in order: `("INACTIVE", "ACTIVE_PREP"), …`.
pub fn transitions(events: &[Value], kind: &str) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    events
        .iter()
        .filter(|event| event["type"].as_str().is_some_and(|name| name.starts_with(kind)))
        .filter(|event| event["to"].is_string())
        .map(|event| (text(&event["from"]), text(&event["to"])))
        .collect()
}
