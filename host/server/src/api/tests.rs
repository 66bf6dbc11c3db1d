//! Every call of the API as a client makes it, with its errors.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use flyloft_plugins::model::{self, Action, PublishRequest};
use flyloft_plugins::{Config, Plugins};
use flyloft_rooms::AccessLevel;
use flyloft_test_guests::{ABSTAIN, BOTH, HOSTILE};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::{Api, Peer, build, described};
use crate::rooms::testing::{World, remote};
use crate::webhooks::Webhooks;

struct Client {
    world: World,
    router: Router,
    plugins: Plugins,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    json: Value,
}

impl Answer {
    /// The answer, which must have succeeded.
    fn ok(self) -> Value {
        assert!(self.status.is_success(), "{} {}", self.status, self.json);
        self.json
    }

    /// The problem, which must be complete and have this status.
    fn problem(self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.json);
        assert_eq!(self.headers["content-type"], "application/problem+json");
        assert_eq!(self.json["status"], status);
        for field in ["type", "title", "detail", "instance", "code"] {
            assert!(self.json[field].as_str().is_some_and(|text| !text.is_empty()), "no {field} in {}", self.json);
        }
        assert_eq!(self.headers.contains_key("www-authenticate"), status == 401);
        self.json
    }
}

impl Client {
    async fn new() -> Self {
        let world = World::new().await;
        let plugins = Config { data_dir: Some(world.dir.path().join("plugins")), max_concurrent_calls: 2, ..Config::default() };
        let plugins = Plugins::open(plugins).unwrap();
        let config = crate::config::Webhooks::default();
        let webhooks = Webhooks::new(world.rooms.clone(), std::sync::Arc::new(plugins.clone()), &config).unwrap();
        let vod = crate::vod::testing::open(&world, &plugins).await;
        let (rooms, registries) = (world.rooms.clone(), Default::default());
        let router = build(Api { rooms, plugins: plugins.clone(), registries, webhooks, vod });
        Self { world, router, plugins }
    }

    fn server(&self) -> String {
        let credentials = &self.world.credentials;
        format!("Basic {}", BASE64_STANDARD.encode(format!("{}:{}", credentials.app.key, credentials.app.secret)))
    }

    fn operator(&self) -> String {
        format!("Bearer {}", self.world.credentials.operator_token)
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> axum::response::Response {
        let mut request = Request::builder().method(method).uri(path).header("host", "video.example:8080");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(body.into()).unwrap();
        request.extensions_mut().insert(Peer { address: remote(), tls: false });
        self.router.clone().oneshot(request).await.unwrap()
    }

    async fn raw(&self, method: Method, path: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Answer {
        let response = self.send(method, path, headers, body).await;
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let json = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        Answer { status: parts.status, headers: parts.headers, json }
    }

    async fn call(&self, auth: &str, method: Method, path: &str, body: Value) -> Answer {
        let mut headers = vec![("authorization", auth)];
        let body = if body.is_null() { String::new() } else { body.to_string() };
        if !body.is_empty() {
            headers.push(("content-type", "application/json"));
        }
        self.raw(method, path, &headers, body).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.call(&self.server(), Method::GET, path, Value::Null).await
    }

    async fn post(&self, path: &str, body: Value) -> Answer {
        self.call(&self.server(), Method::POST, path, body).await
    }

    async fn patch(&self, path: &str, body: Value) -> Answer {
        self.call(&self.server(), Method::PATCH, path, body).await
    }

    async fn member(&self, app_user_id: &str) -> Value {
        self.post("/v1/members", json!({ "appUserId": app_user_id })).await.ok()
    }

    /// The authorization of a member's own token.
    async fn as_member(&self, member: &Value) -> String {
        let token = self.post(&format!("/v1/members/{}/tokens", text(&member["id"])), Value::Null).await.ok();
        format!("Bearer {}", text(&token["token"]))
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

fn ids(list: &Value) -> Vec<&str> {
    list["items"].as_array().unwrap().iter().map(|item| text(&item["id"])).collect()
}

#[tokio::test]
async fn a_broadcast_by_rest() {
    let client = Client::new().await;
    let member = client.post("/v1/members", json!({ "appUserId": "ada", "name": "Ada" })).await;
    assert_eq!((member.status, text(&member.json["appUserId"])), (StatusCode::CREATED, "ada"));
    assert_eq!(member.headers["location"], format!("/v1/members/{}", text(&member.json["id"])).as_str());
    let key = client.get(&format!("/v1/members/{}/stream-key", text(&member.json["id"]))).await.ok();
    assert_eq!(key["ingestURL"], "rtmp://video.example/live");
    assert_eq!(key["fullUrl"], format!("rtmp://video.example/live/{}", text(&key["streamKey"])));
    assert_eq!((text(&key["streamKeyState"]), &key["outputMode"]), ("INACTIVE", &Value::Null));

    let wanted =
        json!({ "type": "BROADCAST_RTMP", "appUserId": "ada", "title": "Evening", "scheduledAt": "2026-11-21T19:30:00+01:00" });
    let room = client.post("/v1/video-rooms", wanted).await.ok();
    assert_eq!((text(&room["videoRoomState"]), text(&room["accessLevel"])), ("SCHEDULED", "PUBLIC"));
    assert_eq!((text(&room["scheduledAt"]), &room["urls"]), ("2026-11-21T18:30:00.000Z", &Value::Null));
    let path = format!("/v1/video-rooms/{}", text(&room["id"]));
    let early = client.post(&format!("{path}/start"), json!({})).await.problem(409);
    assert_eq!(early["type"], "urn:flyloft:problem:stream-inactive");
    assert!(text(&early["detail"]).contains("INACTIVE"));
    assert_eq!(early["instance"], format!("{path}/start"));
    client.post(&format!("{path}/end"), json!({})).await.problem(409);

    let admitted = client.world.publish(text(&key["streamKey"])).await.unwrap();
    client.world.rooms.viewable(&admitted.publish_id).await;
    let live = client.post(&format!("{path}/start"), Value::Null).await.ok();
    let id = text(&room["id"]);
    assert_eq!(live["videoRoomState"], "LIVE");
    assert_eq!(
        live["urls"],
        json!({
            "rtmp": format!("rtmp://video.example/live/{id}"),
            "httpFlv": format!("http://video.example:8080/live/{id}.flv"),
            "hls": format!("http://video.example:8080/live/{id}/index.m3u8"),
            "dash": format!("http://video.example:8080/live/{id}/manifest.mpd"),
            "watch": format!("http://video.example:8080/watch/{id}"),
        })
    );
    assert_eq!(client.get(&format!("{path}/viewers")).await.ok(), json!({ "liveViewers": 3 }));
    let shown = client.raw(Method::GET, "/v1/public/rooms", &[("origin", "https://elsewhere.example")], "").await;
    assert_eq!(shown.headers["access-control-allow-origin"], "*");
    let shown = shown.ok();
    assert_eq!((text(&shown["items"][0]["title"]), text(&shown["items"][0]["ownerName"])), ("Evening", "Ada"));
    assert_eq!(shown["items"][0]["urls"], live["urls"]);

    client.post(&format!("{path}/end"), json!({ "force": false })).await.problem(409);
    client.post(&format!("{path}/end?force=true"), json!({ "force": false })).await.problem(422);
    let ended = client.post(&format!("{path}/end?force=true"), Value::Null).await.ok();
    assert_eq!((text(&ended["videoRoomState"]), &ended["urls"]), ("ENDED", &Value::Null));
    let replaced = client.get(&format!("/v1/members/{}/stream-key", text(&member.json["id"]))).await.ok();
    assert_ne!(replaced["streamKey"], key["streamKey"]);
    assert_eq!(client.get(&format!("{path}/viewers")).await.ok(), json!({ "liveViewers": 0 }));
    assert_eq!(ids(&client.raw(Method::GET, "/v1/public/rooms", &[], "").await.ok()).len(), 0);
}

#[tokio::test]
async fn every_error_is_a_problem_that_names_what_was_wrong() {
    let client = Client::new().await;
    client.member("ada").await;
    let rooms = "/v1/video-rooms";
    for (body, field) in [
        (json!({ "appUserId": "ada", "titel": "x" }), "titel"),
        (json!({ "appUserId": "ada", "title": 7 }), "title"),
        (json!({ "appUserId": "ada", "title": "x".repeat(201) }), "title"),
        (json!({ "appUserId": "ada", "title": "two\nlines" }), "title"),
        (json!({ "appUserId": "ada", "type": "RADIO" }), "type"),
        (json!({ "appUserId": "ada", "type": "VIDEO_CONFERENCE" }), "type"),
        (json!({ "appUserId": "ada", "scheduledAt": "tomorrow" }), "scheduledAt"),
        (json!({ "appUserId": "ada", "accessLevel": "public" }), "accessLevel"),
        (json!({ "appUserId": "eve" }), "appUserId"),
        (json!({ "appUserId": "ada", "appId": "another" }), "appId"),
        (json!({}), "appUserId"),
        (json!([]), "body"),
    ] {
        let problem = client.post(rooms, body.clone()).await.problem(422);
        assert_eq!(problem["field"], field, "{body} gave {problem}");
        assert_eq!(problem["errors"][0]["field"], field);
    }
    let two = client.post(rooms, json!({ "appUserId": "ada", "title": "", "scheduledAt": "x" })).await.problem(422);
    assert_eq!(two["errors"].as_array().unwrap().len(), 2);

    let server = client.server();
    let json = ("content-type", "application/json");
    let auth = ("authorization", server.as_str());
    let syntax = client.raw(Method::POST, rooms, &[auth, json], "{\"appUserId\": \n oops}").await.problem(400);
    assert_eq!((&syntax["line"], &syntax["code"]), (&json!(2), &json!("json-syntax")));
    client.raw(Method::POST, rooms, &[auth], "{}").await.problem(415);
    client.raw(Method::POST, rooms, &[auth, ("content-type", "text/plain")], "{}").await.problem(415);
    client.raw(Method::POST, rooms, &[auth, json], vec![b' '; 65 * 1024]).await.problem(413);
    client.raw(Method::POST, rooms, &[auth, json], vec![0xff; 10]).await.problem(400);
    let key = client.raw(Method::POST, rooms, &[auth, json, ("idempotency-key", &"x".repeat(256))], "{}").await.problem(422);
    assert_eq!(key["field"], "Idempotency-Key");

    client.get("/v1/nothing").await.problem(404);
    client.get("/v1").await.problem(404);
    client.get("/v1/video-rooms/nothing").await.problem(404);
    client.get("/v1/members/nothing/stream-key").await.problem(404);
    client.get("/v1/members/%ff").await.problem(404);
    let wrong = client.call(&server, Method::DELETE, rooms, Value::Null).await;
    assert!(wrong.headers["allow"].to_str().unwrap().contains("POST"));
    wrong.problem(405);
    for (path, field) in [
        ("/v1/video-rooms?limit=0", "limit"),
        ("/v1/video-rooms?limit=101", "limit"),
        ("/v1/video-rooms?limit=x", "limit"),
        ("/v1/video-rooms?cursor=%25", "cursor"),
        ("/v1/video-rooms?stat=LIVE", "stat"),
        ("/v1/video-rooms?state=DEAD", "state"),
        ("/v1/events?after=-1", "after"),
    ] {
        assert_eq!(client.get(path).await.problem(422)["field"], field, "{path}");
    }
}

#[tokio::test]
async fn callers_are_recognised_and_confined() {
    let client = Client::new().await;
    let credentials = client.world.credentials.clone();
    for auth in ["", "Bearer", "Bearer x", "Basic !!!", "Digest x", "Basic YWJj", "Bearer op_wrong", "Bearer a.b.c"] {
        client.call(auth, Method::GET, "/v1/apps", Value::Null).await.problem(401);
    }
    client.raw(Method::GET, "/v1/apps", &[], "").await.problem(401);
    let pair = format!("Bearer {}:{}", credentials.app.key, credentials.app.secret);
    assert_eq!(ids(&client.call(&pair, Method::GET, "/v1/apps", Value::Null).await.ok()), [credentials.app.id.as_str()]);

    let operator = client.operator();
    let other = client.call(&operator, Method::POST, "/v1/apps", json!({ "name": "other", "outputMode": "CMAF" })).await.ok();
    let others = format!("Bearer {}:{}", text(&other["key"]), text(&other["secret"]));
    let ada = client.member("ada").await;
    let room = client.post("/v1/video-rooms", json!({ "appUserId": "ada", "accessLevel": "PRIVATE" })).await.ok();
    let (member_path, room_path) =
        (format!("/v1/members/{}", text(&ada["id"])), format!("/v1/video-rooms/{}", text(&room["id"])));

    // Another App sees nothing of it.
    for path in
        [member_path.as_str(), &room_path, &format!("{member_path}/stream-key"), &format!("/v1/apps/{}", credentials.app.id)]
    {
        client.call(&others, Method::GET, path, Value::Null).await.problem(404);
        client.call(&operator, Method::GET, path, Value::Null).await.ok();
    }
    client.call(&others, Method::POST, &format!("{room_path}/start"), Value::Null).await.problem(404);
    client.call(&others, Method::PATCH, &room_path, json!({ "title": "mine" })).await.problem(404);
    assert!(ids(&client.call(&others, Method::GET, "/v1/members", Value::Null).await.ok()).is_empty());
    assert!(ids(&client.call(&others, Method::GET, "/v1/video-rooms", Value::Null).await.ok()).is_empty());

    // A member is itself only.
    let as_ada = client.as_member(&ada).await;
    let eve = client.member("eve").await;
    let as_eve = client.as_member(&eve).await;
    let me = client.call(&as_ada, Method::GET, "/v1/members/me/stream-key", Value::Null).await.ok();
    assert_eq!(me["memberId"], ada["id"]);
    for path in [member_path.as_str(), &format!("{member_path}/stream-key"), &room_path] {
        client.call(&as_eve, Method::GET, path, Value::Null).await.problem(404);
    }
    let own = client.call(&as_eve, Method::POST, "/v1/video-rooms", json!({ "title": "Eve's" })).await.ok();
    assert_eq!(own["appUserId"], "eve");
    client
        .call(&as_ada, Method::PATCH, &format!("/v1/video-rooms/{}", text(&own["id"])), json!({ "title": "x" }))
        .await
        .problem(403);
    client.call(&as_eve, Method::POST, "/v1/video-rooms", json!({ "appUserId": "ada" })).await.problem(422);
    assert_eq!(ids(&client.call(&as_eve, Method::GET, "/v1/video-rooms", Value::Null).await.ok()), [text(&own["id"])]);
    assert_eq!(ids(&client.call(&as_eve, Method::GET, "/v1/members", Value::Null).await.ok()), [text(&eve["id"])]);
    for (method, path, body) in [
        (Method::POST, "/v1/members".to_owned(), json!({ "appUserId": "new" })),
        (Method::POST, format!("{member_path}/tokens"), json!({})),
        (Method::POST, "/v1/apps".to_owned(), json!({ "name": "x" })),
        (Method::PATCH, format!("/v1/apps/{}", credentials.app.id), json!({ "name": "x" })),
        (Method::POST, format!("/v1/apps/{}/secret", credentials.app.id), Value::Null),
        (Method::GET, "/v1/plugins".to_owned(), Value::Null),
    ] {
        client.call(&as_eve, method, &path, body).await.problem(403);
    }
    // A room token is no member token.
    let token = client.post(&format!("{room_path}/tokens"), json!({ "appUserId": "ada", "role": "audience" })).await.ok();
    client.call(&format!("Bearer {}", text(&token["token"])), Method::GET, "/v1/members/me", Value::Null).await.problem(401);

    // The operator says which App.
    let unnamed = client.call(&operator, Method::POST, "/v1/members", json!({ "appUserId": "x" })).await.problem(422);
    assert_eq!(unnamed["field"], "appId");
    let named = json!({ "appUserId": "ada", "appId": other["id"] });
    assert_eq!(client.call(&operator, Method::POST, "/v1/members", named).await.ok()["appId"], other["id"]);
    let found = client.call(&operator, Method::GET, &format!("/v1/members?appId={}", text(&other["id"])), Value::Null).await.ok();
    assert_eq!(ids(&found).len(), 1);
}

#[tokio::test]
async fn apps_members_and_keys_are_changed() {
    let client = Client::new().await;
    let path = format!("/v1/apps/{}", client.world.credentials.app.id);
    let app = client.patch(&path, json!({ "name": "stage", "outputMode": "RTMP", "transcodingProfile": "720p" })).await.ok();
    assert_eq!((text(&app["name"]), text(&app["outputMode"]), text(&app["transcodingProfile"])), ("stage", "RTMP", "720p"));
    let app = client.patch(&path, json!({ "outputMode": null })).await.ok();
    assert_eq!((&app["outputMode"], text(&app["transcodingProfile"])), (&Value::Null, "720p"));
    assert_eq!(client.patch(&path, json!({ "outputMode": "HLS" })).await.problem(422)["field"], "outputMode");

    let member = client.member("ada").await;
    let taken = client.post("/v1/members", json!({ "appUserId": "ada" })).await.problem(409);
    assert_eq!(taken["field"], "appUserId");
    let path = format!("/v1/members/{}", text(&member["id"]));
    assert_eq!(client.patch(&path, json!({ "name": "Ada" })).await.ok()["name"], "Ada");
    assert_eq!(client.patch(&path, json!({ "name": null })).await.ok()["name"], Value::Null);
    assert_eq!(client.patch(&path, json!({ "appUserId": "eve" })).await.problem(422)["field"], "appUserId");
    assert_eq!(ids(&client.get("/v1/members?appUserId=ada").await.ok()), [text(&member["id"])]);

    let key_path = format!("{path}/stream-key");
    let key = client.patch(&key_path, json!({ "outputMode": "CMAF" })).await.ok();
    assert_eq!(key["outputMode"], "CMAF");
    let rotated = client.post(&format!("{key_path}/rotate"), json!({})).await.ok();
    assert!(rotated["streamKey"] != key["streamKey"] && rotated["outputMode"] == "CMAF");
    client.world.publish(text(&rotated["streamKey"])).await.unwrap();
    assert_eq!(client.post(&format!("{key_path}/rotate"), Value::Null).await.problem(409)["code"], "still-publishing");
    client.post(&format!("{key_path}/rotate"), json!({ "disconnect": true })).await.ok();

    let old = client.server();
    let new = client.post(&format!("/v1/apps/{}/secret", client.world.credentials.app.id), Value::Null).await.ok();
    client.call(&old, Method::GET, "/v1/members", Value::Null).await.problem(401);
    let new = format!("Bearer {}:{}", text(&new["key"]), text(&new["secret"]));
    client.call(&new, Method::GET, "/v1/members", Value::Null).await.ok();
}

#[tokio::test]
async fn rooms_are_changed_and_listed_in_pages() {
    let client = Client::new().await;
    client.member("ada").await;
    let mut made = Vec::new();
    for number in 0..5 {
        let room = client.post("/v1/video-rooms", json!({ "appUserId": "ada", "title": format!("Room {number}") })).await.ok();
        made.push(text(&room["id"]).to_owned());
    }
    made.reverse();
    let first = client.get("/v1/video-rooms?limit=2").await.ok();
    assert_eq!(ids(&first), made[..2]);
    client.post("/v1/video-rooms", json!({ "appUserId": "ada" })).await.ok();
    let second = client.get(&format!("/v1/video-rooms?limit=2&cursor={}", text(&first["nextCursor"]))).await.ok();
    assert_eq!(ids(&second), made[2..4]);
    let last = client.get(&format!("/v1/video-rooms?limit=2&cursor={}", text(&second["nextCursor"]))).await.ok();
    assert_eq!(ids(&last), made[4..]);
    assert!(last.get("nextCursor").is_none());
    assert_eq!(ids(&client.get("/v1/video-rooms?state=LIVE").await.ok()).len(), 0);
    assert_eq!(ids(&client.get("/v1/video-rooms?state=SCHEDULED&appUserId=ada").await.ok()).len(), 6);
    assert_eq!(ids(&client.get("/v1/video-rooms?appUserId=eve").await.ok()).len(), 0);

    let path = format!("/v1/video-rooms/{}", made[0]);
    let change = json!({ "title": "New", "description": "Line 1\nLine 2", "accessLevel": "PRIVATE", "scheduledAt": "2027-01-01T00:00:00Z" });
    let room = client.patch(&path, change).await.ok();
    assert_eq!(
        (text(&room["title"]), text(&room["accessLevel"]), text(&room["scheduledAt"])),
        ("New", "PRIVATE", "2027-01-01T00:00:00.000Z")
    );
    let room = client.patch(&path, json!({ "scheduledAt": null })).await.ok();
    assert_eq!((text(&room["title"]), &room["scheduledAt"]), ("New", &Value::Null));
    assert_eq!(client.patch(&path, json!({ "videoRoomState": "LIVE" })).await.problem(422)["field"], "videoRoomState");
    let events = client.get("/v1/events?after=0").await.ok();
    let last = events["items"].as_array().unwrap().last().unwrap().clone();
    assert_eq!((text(&last["type"]), &last["changed"]), ("videoRoom.updated", &json!(["scheduledAt"])));
}

#[tokio::test]
async fn a_private_room_is_shown_to_the_bearer_of_its_token() {
    let client = Client::new().await;
    let (ada, room, _) = client.world.live("ada", AccessLevel::Private).await;
    let id = room.room.id.to_string();
    let path = format!("/v1/public/rooms/{id}");
    assert_eq!(ids(&client.raw(Method::GET, "/v1/public/rooms", &[], "").await.ok()).len(), 0);
    let refused = client.raw(Method::GET, &path, &[], "").await;
    assert_eq!(refused.headers.get_all("www-authenticate").iter().collect::<Vec<_>>(), ["Bearer realm=\"flyloft\""]);
    assert_eq!(refused.problem(401)["code"], "token-needed");
    assert_eq!(client.raw(Method::GET, &format!("{path}?token=forged"), &[], "").await.problem(401)["code"], "token-invalid");
    let token = async |room: &str, body: Value| {
        text(&client.post(&format!("/v1/video-rooms/{room}/tokens"), body).await.ok()["token"]).to_owned()
    };
    let right = token(&id, json!({ "expiresIn": 60, "permissions": ["chat"], "claims": { "tier": "gold" } })).await;
    assert_eq!(client.raw(Method::GET, &format!("{path}?token={right}"), &[], "").await.ok()["id"], id);
    let other = client.world.room("ada", AccessLevel::Private).await.room.id.to_string();
    let wrong = token(&other, json!({})).await;
    assert_eq!(client.raw(Method::GET, &format!("{path}?token={wrong}"), &[], "").await.problem(401)["code"], "wrong-room");
    let owner = client.as_member(&json!({ "id": ada.id.as_str() })).await;
    let owner = owner.trim_start_matches("Bearer ");
    client.raw(Method::GET, &format!("{path}?token={owner}"), &[], "").await.ok();
    client.raw(Method::GET, "/v1/public/rooms/nothing", &[], "").await.problem(404);
    for (body, field) in [
        (json!({ "expiresIn": 5 }), "expiresIn"),
        (json!({ "expiresIn": 99_999_999 }), "expiresIn"),
        (json!({ "role": "" }), "role"),
        (json!({ "permissions": ["a", ""] }), "permissions[1]"),
        (json!({ "claims": { "exp": 1 } }), "claims"),
        (json!({ "claims": { "big": "x".repeat(2_000) } }), "claims.big"),
        (json!({ "appUserId": "nobody" }), "appUserId"),
    ] {
        let problem = client.post(&format!("/v1/video-rooms/{id}/tokens"), body.clone()).await.problem(422);
        assert_eq!(problem["field"], field, "{body}");
    }
}

#[tokio::test]
async fn a_create_with_an_idempotency_key_is_done_once() {
    let client = Client::new().await;
    client.member("ada").await;
    let (server, operator) = (client.server(), client.operator());
    let create = async |auth: &str, path: &str, key: &str, body: Value| {
        let headers = [("authorization", auth), ("content-type", "application/json"), ("idempotency-key", key)];
        client.raw(Method::POST, path, &headers, body.to_string()).await
    };
    let body = json!({ "appUserId": "ada", "title": "Once" });
    let attempts = (0..8).map(|_| create(&server, "/v1/video-rooms", "k1", body.clone()));
    let answers = futures_util::future::join_all(attempts).await;
    let fresh = answers.iter().filter(|answer| !answer.headers.contains_key("idempotency-replayed")).count();
    assert_eq!(fresh, 1);
    for answer in &answers {
        assert_eq!((answer.status, &answer.json), (StatusCode::CREATED, &answers[0].json));
    }
    assert_eq!(ids(&client.get("/v1/video-rooms").await.ok()).len(), 1);
    let other = create(&server, "/v1/video-rooms", "k1", json!({ "appUserId": "ada" })).await.problem(422);
    assert_eq!((text(&other["code"]), text(&other["field"])), ("idempotency-key-reused", "Idempotency-Key"));
    assert_ne!(create(&server, "/v1/video-rooms", "k2", body.clone()).await.ok()["id"], answers[0].json["id"]);

    let member = create(&server, "/v1/members", "k3", json!({ "appUserId": "eve" })).await.ok();
    assert_eq!(create(&server, "/v1/members", "k3", json!({ "appUserId": "eve" })).await.ok(), member);
    // Keys of different callers do not meet.
    let app = create(&operator, "/v1/apps", "k3", json!({ "name": "x" })).await.ok();
    assert!(app["secret"].is_string());
    let again = create(&operator, "/v1/apps", "k3", json!({ "name": "x" })).await.ok();
    assert_eq!((&again["id"], &again["secret"]), (&app["id"], &Value::Null), "a secret is not kept in an answer");
    let database = std::fs::read(client.world.dir.path().join("flyloft.db-wal")).unwrap();
    let secret = text(&app["secret"]).as_bytes();
    assert!(!database.windows(secret.len()).any(|window| window == secret));
}

/// Reads `count` messages of a feed: their ids and their JSON.
async fn messages(response: axum::response::Response, count: usize) -> Vec<(String, Value)> {
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut body = response.into_body();
    let (mut buffer, mut found) = (String::new(), Vec::new());
    while found.len() < count {
        let frame = tokio::time::timeout(Duration::from_secs(30), body.frame()).await.unwrap().unwrap().unwrap();
        buffer.push_str(std::str::from_utf8(&frame.into_data().unwrap()).unwrap());
        while let Some((message, rest)) = buffer.split_once("\n\n") {
            let line =
                |name: &str| message.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim().to_owned();
            found.push((line("id:"), serde_json::from_str(&line("data:")).unwrap_or(Value::Null)));
            buffer = rest.to_owned();
        }
    }
    found
}

#[tokio::test]
async fn events_are_followed_and_caught_up_with() {
    let client = Client::new().await;
    let server = client.server();
    let auth = ("authorization", server.as_str());
    let live = client.send(Method::GET, "/v1/events", &[auth], "").await;
    let (ada, room, admitted) = client.world.live("ada", AccessLevel::Public).await;
    client.world.rooms.publish_ended(&admitted.publish_id, "lost").await;
    let list = client.get("/v1/events?after=0&limit=100").await.ok();
    let all = list["items"].as_array().unwrap().clone();
    assert_eq!((all.len(), &list["missed"]), (8, &json!(false)));
    let followed = messages(live, all.len()).await;
    for ((id, json), expected) in followed.iter().zip(&all) {
        assert_eq!((id, json), (&expected["seq"].to_string(), expected));
    }
    let rest = client.send(Method::GET, "/v1/events", &[auth, ("last-event-id", "3")], "").await;
    let rest = messages(rest, 5).await;
    assert_eq!(rest.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>(), ["4", "5", "6", "7", "8"]);
    assert_eq!((text(&all[6]["reason"]), text(&all[6]["to"])), ("lost", "INACTIVE_LIVE"));
    assert!(text(&all[6]["at"]).ends_with('Z'));

    let id = room.room.id.as_str();
    let of_room = client.get(&format!("/v1/events?after=0&roomId={id}")).await.ok();
    assert!(of_room["items"].as_array().unwrap().iter().all(|event| event["roomId"] == id));
    assert_eq!(of_room["items"].as_array().unwrap().len(), 5);
    let eve = client.member("eve").await;
    let as_eve = client.as_member(&eve).await;
    let hers = client.call(&as_eve, Method::GET, "/v1/events?after=0", Value::Null).await.ok();
    assert_eq!(hers["items"].as_array().unwrap().len(), 1, "a member gets its own events: {hers}");
    let feed =
        client.send(Method::GET, "/v1/events?after=0", &[("authorization", &as_eve), ("accept", "text/event-stream")], "").await;
    assert_eq!(messages(feed, 1).await[0].1["memberId"], eve["id"]);
    let operator = client.operator();
    let every = client.call(&operator, Method::GET, "/v1/events?after=0", Value::Null).await.ok();
    assert_eq!(every["items"].as_array().unwrap().len(), 9);
    let none = client.call(&operator, Method::GET, "/v1/events?after=0&appId=none", Value::Null).await.ok();
    assert_eq!(none["items"].as_array().unwrap().len(), 0);
    let bad = client.raw(Method::GET, "/v1/events", &[auth, ("last-event-id", "x")], "").await.problem(422);
    assert_eq!(bad["field"], "Last-Event-ID");
    let mut open = client.send(Method::GET, "/v1/events", &[auth], "").await.into_body();
    client.world.rooms.end_feeds();
    let end = tokio::time::timeout(Duration::from_secs(30), open.frame()).await.unwrap();
    assert!(end.is_none(), "the feed goes on: {end:?}");
    assert!(!all.iter().any(|event| event.to_string().contains(&admitted.publish_id)));
    assert_eq!(all[0]["memberId"], ada.id.as_str());
}

/// A publish of a stream; the hostile test plugin takes its name as an order.
fn publish(stream: &str) -> (model::Context, Action) {
    let app = model::App { id: "app-1".into(), name: "Test".into(), output_mode: None };
    let context = model::Context { call_id: format!("call-{stream}"), now: 1_800_000_000_000, app };
    let connection = model::Connection {
        protocol: model::Protocol::Rtmp,
        remote_ip: "192.0.2.7".into(),
        user_agent: None,
        parameters: vec![],
    };
    let member = model::Member { id: "m".into(), app_user_id: "ada".into(), name: None };
    (context, Action::Publish(PublishRequest { connection, member, room: None, stream: stream.into() }))
}

impl Client {
    async fn operate(&self, method: Method, path: &str, body: Value) -> Answer {
        self.call(&self.operator(), method, path, body).await
    }

    async fn deploy(&self, plugin: &str, component: &'static [u8]) -> String {
        let operator = self.operator();
        let path = format!("/v1/plugins/{plugin}/versions");
        let version = self.raw(Method::POST, &path, &[("authorization", &operator)], component).await.ok();
        text(&version["digest"]).to_owned()
    }
}

#[tokio::test]
async fn plugins_are_deployed_by_the_operator() {
    let client = Client::new().await;
    let operator = client.operator();
    let path = "/v1/plugins/my-rules";
    client.operate(Method::GET, path, Value::Null).await.problem(404);
    // As curl sends it.
    let headers = [("authorization", operator.as_str()), ("content-type", "application/x-www-form-urlencoded")];
    let deployed = client.raw(Method::PUT, path, &headers, BOTH).await.ok();
    assert_eq!((text(&deployed["name"]), &deployed["size"]), ("my-rules", &json!(BOTH.len())));
    assert_eq!(deployed["serves"], json!(["room-policy", "output-mode"]));
    assert_eq!(client.operate(Method::GET, "/v1/plugins", Value::Null).await.ok()["items"][1], deployed);
    assert_eq!(client.operate(Method::GET, path, Value::Null).await.ok(), deployed);
    let rejected = client.raw(Method::PUT, path, &headers, "nonsense").await.problem(422);
    assert_eq!(rejected["code"], "plugin-rejected");
    assert!(text(&rejected["detail"]).contains("not a WebAssembly component"));
    client.raw(Method::PUT, path, &headers, vec![0; (64 << 20) + 1]).await.problem(413);
    let server = client.server();
    client.raw(Method::PUT, path, &[("authorization", &server)], BOTH).await.problem(403);
    assert_eq!(client.operate(Method::DELETE, path, Value::Null).await.status, StatusCode::NO_CONTENT);
    client.operate(Method::DELETE, path, Value::Null).await.problem(404);
    assert_eq!(
        client.operate(Method::DELETE, "/v1/plugins/room-policy", Value::Null).await.problem(409)["code"],
        "plugin-built-in"
    );
}

#[tokio::test]
async fn versions_are_bound_shadowed_activated_and_rolled_back() {
    let client = Client::new().await;
    let (first, second) = (client.deploy("front", ABSTAIN).await, client.deploy("front", BOTH).await);
    assert_eq!(client.deploy("front", BOTH).await, second, "the same component is the same version");
    let versions = client.operate(Method::GET, "/v1/plugins/front/versions", Value::Null).await.ok();
    let digests: Vec<_> = versions["items"].as_array().unwrap().iter().map(|version| text(&version["digest"])).collect();
    assert_eq!(digests, [&second, &first]);

    let app = &client.world.credentials.app.id;
    let new = json!({
        "plugin": "front", "digest": first, "appId": app, "roomType": "BROADCAST_RTMP", "interfaces": ["room-policy"], "position": -5,
        "config": { "a": "b" }, "secrets": { "key": "hunter2" }, "hosts": ["auth.example"], "keyValueQuota": 1024,
        "limits": { "deadlineMs": 100 }, "onFailure": "next", "breaker": { "failures": 3 },
    });
    let bound = client.operate(Method::POST, "/v1/bindings", new).await.ok();
    let path = format!("/v1/bindings/{}", text(&bound["id"]));
    assert_eq!((text(&bound["active"]), text(&bound["appId"]), text(&bound["roomType"])), (&*first, &**app, "BROADCAST_RTMP"));
    assert_eq!((&bound["secrets"], &bound["config"]["a"]), (&json!(["key"]), &json!("b")));
    assert_eq!((&bound["limits"]["deadlineMs"], &bound["limits"]["logLines"]), (&json!(100), &json!(64)));
    assert_eq!((&bound["breaker"]["failures"], &bound["breaker"]["backOffMs"]), (&json!(3), &json!(10_000)));
    assert!(!bound.to_string().contains("hunter2"));
    assert_eq!(client.operate(Method::GET, &path, Value::Null).await.ok(), bound);
    let all = client.operate(Method::GET, "/v1/bindings", Value::Null).await.ok();
    assert_eq!(ids(&all), [text(&bound["id"]), "local", "output-mode", "room-policy", "s3", "spaces", "webhook"]);

    let patch = json!({ "secrets": { "key": null, "other": "hunter3" }, "onFailure": null, "limits": {} });
    let patched = client.operate(Method::PATCH, &path, patch).await.ok();
    assert_eq!((&patched["secrets"], &patched["onFailure"]), (&json!(["other"]), &Value::Null));
    assert_eq!((&patched["limits"]["deadlineMs"], &patched["config"]), (&json!(50), &bound["config"]));

    client.operate(Method::GET, &format!("{path}/shadow"), Value::Null).await.problem(404);
    let shadowed = client.operate(Method::POST, &format!("{path}/shadow"), json!({ "digest": second })).await.ok();
    assert_eq!(shadowed["shadow"], *second);
    let report = client.operate(Method::GET, &format!("{path}/shadow"), Value::Null).await.ok();
    assert_eq!((text(&report["active"]), &report["counts"]["digest"]), (&*first, &json!(second)));
    let ended = client.operate(Method::DELETE, &format!("{path}/shadow"), Value::Null).await.ok();
    assert_eq!(ended["shadow"], Value::Null);

    assert_eq!(client.operate(Method::POST, &format!("{path}/rollback"), Value::Null).await.problem(409)["code"], "no-previous");
    let short = second.trim_start_matches("sha256:").get(..10).unwrap();
    let active = client.operate(Method::POST, &format!("{path}/activate"), json!({ "digest": short })).await.ok();
    assert_eq!((text(&active["active"]), text(&active["previous"])), (&*second, &*first));
    let back = client.operate(Method::POST, &format!("{path}/rollback"), Value::Null).await.ok();
    assert_eq!((text(&back["active"]), text(&back["previous"])), (&*first, &*second));

    let in_use = client.operate(Method::DELETE, "/v1/plugins/front", Value::Null).await.problem(409);
    assert_eq!(in_use["code"], "plugin-bound");
    assert_eq!(client.operate(Method::DELETE, &path, Value::Null).await.status, StatusCode::NO_CONTENT);
    assert_eq!(client.operate(Method::DELETE, "/v1/plugins/front", Value::Null).await.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn a_binding_with_an_idempotency_key_is_made_once() {
    let client = Client::new().await;
    client.deploy("front", ABSTAIN).await;
    let operator = client.operator();
    let bind = async |key: &str, body: Value| {
        let headers = [("authorization", &*operator), ("content-type", "application/json"), ("idempotency-key", key)];
        client.raw(Method::POST, "/v1/bindings", &headers, body.to_string()).await
    };
    let body = json!({ "plugin": "front", "secrets": { "key": "hunter2" } });
    let answers = futures_util::future::join_all((0..6).map(|_| bind("k1", body.clone()))).await;
    let fresh = answers.iter().filter(|answer| !answer.headers.contains_key("idempotency-replayed")).count();
    assert_eq!(fresh, 1);
    for answer in &answers {
        assert_eq!((answer.status, &answer.json), (StatusCode::CREATED, &answers[0].json));
    }
    let bound = async || {
        let all = client.operate(Method::GET, "/v1/bindings", Value::Null).await.ok();
        ids(&all).iter().filter(|id| id.starts_with("front-")).count()
    };
    assert_eq!(bound().await, 1);
    assert_eq!(bind("k1", json!({ "plugin": "front" })).await.problem(422)["code"], "idempotency-key-reused");
    // What was refused may be tried again.
    assert_eq!(bind("k2", json!({ "plugin": "front", "hosts": ["a b"] })).await.problem(422)["field"], "hosts");
    bind("k2", body).await.ok();
    assert_eq!(bound().await, 2);
}

#[tokio::test]
async fn what_can_not_be_bound_is_refused_by_its_field() {
    let client = Client::new().await;
    client.deploy("front", HOSTILE).await;
    for (body, field) in [
        (json!({ "plugin": "nobody" }), "plugin"),
        (json!({ "plugin": "front", "digest": "sha256:00" }), "digest"),
        (json!({ "plugin": "front", "appId": "none" }), "appId"),
        (json!({ "plugin": "front", "interfaces": ["output-mode"] }), "interfaces"),
        (json!({ "plugin": "front", "interfaces": ["room-polcy"] }), "interfaces[0]"),
        (json!({ "plugin": "front", "limits": { "deadlineMs": 1 } }), "limits.deadlineMs"),
        (json!({ "plugin": "front", "onFailure": "explode" }), "onFailure"),
        (json!({ "plugin": "front", "hosts": ["a b"] }), "hosts"),
        (json!({ "plugin": "front", "hosts": ["https://auth.example"] }), "hosts"),
        (json!({ "plugin": "front", "hosts": ["auth.example", "10.0.0.0/33"] }), "hosts"),
        (json!({ "plugin": "front", "colour": "red" }), "colour"),
    ] {
        let problem = client.operate(Method::POST, "/v1/bindings", body.clone()).await.problem(422);
        assert_eq!(problem["field"], field, "{body}");
    }
    assert_eq!(
        client.operate(Method::DELETE, "/v1/bindings/room-policy", Value::Null).await.problem(409)["code"],
        "binding-built-in"
    );
    client.operate(Method::GET, "/v1/bindings/none", Value::Null).await.problem(404);
    for (method, path) in [
        (Method::GET, "/v1/bindings"),
        (Method::POST, "/v1/bindings"),
        (Method::GET, "/v1/bindings/room-policy/shadow"),
        (Method::GET, "/v1/decisions"),
        (Method::GET, "/v1/plugins/room-policy/logs"),
        (Method::GET, "/v1/plugins/room-policy/stats"),
    ] {
        client.call(&client.server(), method, path, Value::Null).await.problem(403);
    }
}

#[tokio::test]
async fn decisions_logs_and_figures_are_shown() {
    let client = Client::new().await;
    let digest = client.deploy("front", HOSTILE).await;
    let breaker = json!({ "failures": 2, "backOffMs": 3_600_000 });
    client.operate(Method::POST, "/v1/bindings", json!({ "plugin": "front", "breaker": breaker })).await.ok();
    for stream in ["log", "bad-code", "count", "trap", "trap", "log"] {
        let (context, action) = publish(stream);
        let _ = client.plugins.decide(&context, &action).await;
    }
    let path = "/v1/decisions?plugin=front";
    let all = client.operate(Method::GET, path, Value::Null).await.ok();
    let outcomes: Vec<_> = all["items"].as_array().unwrap().iter().map(|decision| text(&decision["outcome"])).collect();
    assert_eq!(outcomes, ["fault", "fault", "fault", "deny", "fault", "allow"]);
    let newest = &all["items"][0];
    assert_eq!((text(&newest["fault"]["kind"]), text(&newest["digest"])), ("breaker-open", &*digest));
    assert_eq!((text(&newest["appId"]), text(&newest["context"]["callId"])), ("app-1", "call-log"));
    assert_eq!((text(&newest["function"]), text(&newest["input"]["publish"]["stream"])), ("decide", "log"));
    let deny =
        client.operate(Method::GET, &format!("{path}&outcome=deny&appId=app-1&interface=room-policy"), Value::Null).await.ok();
    assert_eq!(deny["items"], json!([all["items"][3]]));
    assert_eq!(deny["items"][0]["output"]["deny"]["code"], "count");
    let first = client.operate(Method::GET, &format!("{path}&limit=4"), Value::Null).await.ok();
    let next = format!("{path}&limit=4&cursor={}", text(&first["nextCursor"]));
    let second = client.operate(Method::GET, &next, Value::Null).await.ok();
    assert_eq!(second["items"].as_array().unwrap()[..], all["items"].as_array().unwrap()[4..]);
    assert!(second.get("nextCursor").is_none());
    let later = client.operate(Method::GET, &format!("{path}&since=2100-01-01T00:00:00Z"), Value::Null).await.ok();
    assert_eq!(later["items"], json!([]));
    for wrong in ["since=now", "interface=x", "cursor=!", "colour=red"] {
        let problem = client.operate(Method::GET, &format!("{path}&{wrong}"), Value::Null).await.problem(422);
        assert_eq!(problem["field"], wrong.split('=').next().unwrap());
    }

    let accept = [("authorization", client.operator()), ("accept", "application/json".to_owned())];
    let accept: Vec<(&str, &str)> = accept.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let lines = client.raw(Method::GET, "/v1/plugins/front/logs", &accept, "").await.ok();
    assert_eq!(lines["items"][0]["text"], "a line on stdout");
    assert_eq!((&lines["items"][0]["seq"], text(&lines["items"][0]["call"])), (&json!(1), "call-log"));
    let mut feed = client.send(Method::GET, "/v1/plugins/front/logs?after=1", &accept[..1], "").await.into_body();
    let frame = tokio::time::timeout(Duration::from_secs(30), feed.frame()).await.unwrap().unwrap().unwrap();
    let frame = String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap();
    assert!(frame.contains("id: 2\n") && frame.contains("stderr"), "{frame}");

    let stats = client.operate(Method::GET, "/v1/plugins/front/stats", Value::Null).await.ok();
    let counters = &stats["versions"][0]["counters"];
    assert_eq!((&counters["calls"], &counters["faults"]["trap"]), (&json!(5), &json!(2)));
    assert_eq!(counters["faults"]["breaker-open"], 1);
    assert_eq!(
        (text(&stats["bindings"][0]["breaker"]["state"]), &stats["bindings"][0]["breaker"]["opened"]),
        ("open", &json!(1))
    );
}

#[tokio::test]
async fn webhooks_are_managed_by_the_app() {
    let client = Client::new().await;
    let wanted = json!({ "urls": ["https://hooks.example/a"], "eventTypes": ["videoRoom.live"], "description": "Backend" });
    let made = client.post("/v1/webhooks", wanted).await;
    assert_eq!(
        (made.status, made.headers["location"].to_str().unwrap()),
        (StatusCode::CREATED, &*format!("/v1/webhooks/{}", text(&made.json["id"])))
    );
    let (made, path) = (made.json.clone(), format!("/v1/webhooks/{}", text(&made.json["id"])));
    let secret = text(&made["secret"]).to_owned();
    assert!(secret.starts_with("whsec_"));
    let shown = client.get(&path).await.ok();
    assert_eq!((&shown["enabled"], &shown["oldSecretValid"], shown.get("secret")), (&json!(true), &json!(false), None));
    assert_eq!(ids(&client.get("/v1/webhooks").await.ok()), [text(&made["id"])]);

    let rotated = client.post(&format!("{path}/rotate-secret"), Value::Null).await.ok();
    assert_ne!(rotated["secret"], secret);
    assert_eq!(client.get(&path).await.ok()["oldSecretValid"], true);
    let retired = client.post(&format!("{path}/retire-secret"), Value::Null).await.ok();
    assert_eq!((&retired["oldSecretValid"], retired.get("secret")), (&json!(false), None));

    let changed = client.patch(&path, json!({ "eventTypes": null, "description": null, "enabled": true })).await.ok();
    assert_eq!((&changed["eventTypes"], &changed["description"]), (&Value::Null, &Value::Null));
    client.member("ada").await;
    let deliveries = client.get(&format!("{path}/deliveries?state=pending")).await.ok();
    let delivery = &deliveries["items"][0];
    assert_eq!(
        (text(&delivery["eventType"]), text(&delivery["state"]), &delivery["url"]),
        ("member.created", "pending", &Value::Null)
    );
    assert_eq!(text(&delivery["messageId"]), format!("msg_{}", text(&delivery["id"])));
    let again = client.post(&format!("{path}/deliveries/{}/redeliver", text(&delivery["id"])), Value::Null).await.ok();
    assert_eq!(again["id"], delivery["id"]);
    client.post(&format!("{path}/deliveries/none/redeliver"), Value::Null).await.problem(404);
    assert_eq!(client.post(&format!("{path}/redeliver-dead"), Value::Null).await.ok(), json!({ "count": 0 }));
    assert_eq!(ids(&client.get(&format!("{path}/deliveries?state=dead")).await.ok()).len(), 0);
    assert_eq!(client.get(&format!("{path}/deliveries?state=gone")).await.problem(422)["field"], "state");

    for (body, field) in [
        (json!({}), "urls"),
        (json!({ "urls": ["ftp://hooks.example/"] }), "urls[0]"),
        (json!({ "urls": ["https://hooks.example/", "http://127.0.0.1/"] }), "urls[1]"),
        (json!({ "urls": ["http://2130706433/"] }), "urls[0]"),
        (json!({ "urls": ["http://[::ffff:10.0.0.1]/"] }), "urls[0]"),
        (json!({ "urls": ["http://user:secret@hooks.example/"] }), "urls[0]"),
        (json!({ "urls": [format!("https://hooks.example/{}", "x".repeat(3_000))] }), "urls[0]"),
        (json!({ "urls": vec!["https://hooks.example/"; 17] }), "urls"),
        (json!({ "urls": ["https://hooks.example/"], "eventTypes": ["videoRoom.lvie"] }), "eventTypes[0]"),
        (json!({ "urls": ["https://hooks.example/"], "eventTypes": [] }), "eventTypes"),
        (json!({ "urls": ["https://hooks.example/"], "eventTypes": ["videoRoom.live", "videoRoom.live"] }), "eventTypes[1]"),
        (json!({ "urls": ["https://hooks.example/"], "config": { "a": "x".repeat(5_000) } }), "config.a"),
        (json!({ "urls": ["https://hooks.example/"], "secret": "mine" }), "secret"),
    ] {
        assert_eq!(client.post("/v1/webhooks", body.clone()).await.problem(422)["field"], field, "{body}");
    }
    assert_eq!(client.patch(&path, json!({ "urls": [] })).await.problem(422)["field"], "urls");

    let ada = client.as_member(&json!({ "id": ids(&client.get("/v1/members").await.ok())[0] })).await;
    client.call(&ada, Method::GET, "/v1/webhooks", Value::Null).await.problem(403);
    client.call(&ada, Method::GET, &path, Value::Null).await.problem(403);
    let operator = client.operator();
    assert_eq!(client.call(&operator, Method::GET, &path, Value::Null).await.ok()["id"], made["id"]);
    let unnamed = json!({ "urls": ["https://hooks.example/"] });
    assert_eq!(client.call(&operator, Method::POST, "/v1/webhooks", unnamed).await.problem(422)["field"], "appId");

    let headers = [("authorization", &*client.server()), ("content-type", "application/json"), ("idempotency-key", "w")]
        .map(|(name, value)| (name, value.to_owned()));
    let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let once = json!({ "urls": ["https://hooks.example/"] }).to_string();
    let first = client.raw(Method::POST, "/v1/webhooks", &headers, once.clone()).await.ok();
    let second = client.raw(Method::POST, "/v1/webhooks", &headers, once).await.ok();
    assert_eq!((&first["id"], &second["secret"]), (&second["id"], &Value::Null), "a secret is not kept in an answer");

    assert_eq!(client.call(&client.server(), Method::DELETE, &path, Value::Null).await.status, StatusCode::NO_CONTENT);
    client.get(&path).await.problem(404);
    client.get(&format!("{path}/deliveries")).await.problem(404);
}

#[tokio::test]
async fn the_description_is_served_with_its_page() {
    let client = Client::new().await;
    let document = client.raw(Method::GET, "/v1/openapi.json", &[], "").await.ok();
    assert!(text(&document["openapi"]).starts_with("3.1"));
    for (path, kind) in [
        ("/v1/docs", "text/html; charset=utf-8"),
        ("/v1/docs/page.js", "text/javascript; charset=utf-8"),
        ("/v1/docs/page.css", "text/css; charset=utf-8"),
    ] {
        let answer = client.raw(Method::GET, path, &[], "").await;
        assert_eq!((answer.status, answer.headers["content-type"].to_str().unwrap()), (StatusCode::OK, kind));
        assert!(answer.headers["content-security-policy"].to_str().unwrap().contains("default-src 'none'"));
    }
    let preflight = [("origin", "https://a.example"), ("access-control-request-method", "PATCH")];
    let answer = client.raw(Method::OPTIONS, "/v1/video-rooms", &preflight, "").await;
    assert!(answer.headers["access-control-allow-methods"].to_str().unwrap().contains("PATCH"));
}

/// The contract as it is published. Renew it with `INSTA_UPDATE=always`.
#[test]
fn the_openapi_document_is_the_published_one() {
    let (_, document) = described().split_for_parts();
    let value: Value = serde_json::from_str(&document.to_json().unwrap()).unwrap();
    // Every reference leads somewhere.
    let all = value.to_string();
    for reference in all.split("\"$ref\":\"#").skip(1) {
        let pointer = reference.split('"').next().unwrap();
        assert!(value.pointer(pointer).is_some(), "{pointer} is missing");
    }
    let operations: Vec<&Value> = value["paths"]
        .as_object()
        .unwrap()
        .values()
        .flat_map(|item| item.as_object().unwrap().values())
        .filter(|operation| operation.get("responses").is_some())
        .collect();
    let names: std::collections::BTreeSet<_> = operations.iter().map(|operation| text(&operation["operationId"])).collect();
    assert_eq!(names.len(), operations.len(), "an operationId stands twice");
    for operation in operations {
        for (status, response) in operation["responses"].as_object().unwrap() {
            assert!(response["description"].is_string(), "{} {status} has no description", operation["operationId"]);
        }
    }
    insta::assert_json_snapshot!("openapi", value);
}

#[tokio::test]
async fn streams_of_recorded_files_are_made_listed_and_deleted() {
    let client = Client::new().await;
    let make = |body: Value| client.post("/v1/vod", body);
    let missing = make(json!({ "name": "a", "uri": "vod-live://missing.mp4" })).await.problem(404);
    assert!(missing["code"] == "file-not-found" && text(&missing["detail"]).contains("File not found"), "{missing}");
    std::fs::write(client.world.dir.path().join("media/broken.mp4"), b"no film at all, whatever its name says").unwrap();
    let broken = make(json!({ "name": "a", "uri": "vod-live://broken.mp4" })).await.problem(422);
    assert!(broken["code"] == "unplayable" && text(&broken["detail"]).contains("broken.mp4"), "{broken}");

    for (body, field) in [
        (json!({ "name": "a" }), "uri"),
        (json!({ "name": "a/b", "uri": "vod-live://x" }), "name"),
        (json!({ "name": "a", "uri": "x" }), "uri"),
        (json!({ "name": "a", "uri": "vod-live://x", "playlist": [] }), "playlist"),
        (json!({ "name": "a", "playlist": [] }), "playlist"),
        (json!({ "name": "a", "playlist": [{ "uri": "vod-live://x" }, { "uri": "vod://y" }] }), "playlist[1].uri"),
        (json!({ "name": "a", "uri": "vod-live://x", "startAt": "tomorrow" }), "startAt"),
        (json!({ "name": "a", "uri": "vod://x", "onDemand": true }), "onDemand"),
        (json!({ "name": "a", "uri": "vod-live://x", "viewerTimeoutMs": u64::MAX }), "viewerTimeoutMs"),
        (json!({ "name": "a", "uri": "vod-live://x", "lop": true }), "lop"),
    ] {
        assert_eq!(make(body.clone()).await.problem(422)["field"], field, "{body}");
    }

    let later = json!({ "name": "later", "uri": "vod-live://x.mp4", "startAt": "2999-01-01T00:00:00Z", "loop": true });
    let key =
        [("authorization", client.server()), ("idempotency-key", "k1".to_owned()), ("content-type", "application/json".into())];
    let key = key.each_ref().map(|(name, value)| (*name, value.as_str()));
    let made = client.raw(Method::POST, "/v1/vod", &key, later.to_string()).await;
    assert_eq!(made.status, StatusCode::CREATED);
    let made = made.ok();
    assert!(made["state"] == "SCHEDULED" && made["loop"] == true && made["mode"] == "RTMP_CMAF", "{made}");
    assert!(text(&made["urls"]["hls"]).ends_with("/live/later/index.m3u8"), "{made}");
    let again = client.raw(Method::POST, "/v1/vod", &key, later.to_string()).await;
    assert_eq!(again.headers["idempotency-replayed"], "true");
    assert_eq!(again.ok()["id"], made["id"]);
    assert_eq!(make(later).await.problem(409)["code"], "taken");
    let demand = make(json!({ "name": "demand", "uri": "vod-live://x.mp4", "onDemand": true, "mode": "CMAF" })).await.ok();
    assert!(demand["state"] == "IDLE" && demand["urls"]["rtmp"].is_null(), "{demand}");

    let first = client.get("/v1/vod?limit=1").await.ok();
    assert_eq!(ids(&first), [text(&demand["id"])]);
    let second = client.get(&format!("/v1/vod?limit=1&cursor={}", text(&first["nextCursor"]))).await.ok();
    assert_eq!(ids(&second), [text(&made["id"])]);
    assert!(second["nextCursor"].is_null());

    let path = format!("/v1/vod/{}", text(&demand["id"]));
    assert_eq!(client.get(&path).await.ok()["name"], "demand");
    assert_eq!(client.call(&client.server(), Method::DELETE, &path, Value::Null).await.status, StatusCode::NO_CONTENT);
    client.get(&path).await.problem(404);
    make(json!({ "name": "demand", "uri": "vod-live://x.mp4", "onDemand": true })).await.ok();
    make(json!({ "name": "three", "uri": "vod-live://x.mp4", "onDemand": true })).await.ok();
    make(json!({ "name": "four", "uri": "vod-live://x.mp4", "onDemand": true })).await.ok();
    let full = make(json!({ "name": "five", "uri": "vod-live://x.mp4", "onDemand": true })).await.problem(409);
    assert_eq!(full["code"], "too-many-streams");
}

#[tokio::test]
async fn only_the_app_and_the_operator_play_recorded_files() {
    let client = Client::new().await;
    let member = client.member("ada").await;
    let token = client.post(&format!("/v1/members/{}/tokens", text(&member["id"])), json!({})).await.ok();
    let bearer = format!("Bearer {}", text(&token["token"]));
    for path in ["/v1/vod", "/rest-api/vod/find_all", "/rest-api/vod/find", "/rest-api/vod/terminate"] {
        let method = if path == "/v1/vod" { Method::GET } else { Method::POST };
        client.call(&bearer, method.clone(), path, Value::Null).await.problem(403);
        client.raw(method, path, &[], "").await.problem(401);
    }
    let key = client.get(&format!("/v1/members/{}/stream-key", text(&member["id"]))).await.ok();
    for name in [text(&key["streamKey"]), text(&member["streamName"])] {
        let body = json!({ "name": name, "uri": "vod-live://x.mp4", "onDemand": true });
        assert_eq!(client.post("/v1/vod", body).await.problem(409)["code"], "taken", "{name}");
        let body = json!({ "localStreamName": name, "uri": "vod-live://x.mp4" });
        client.post("/rest-api/vod/startup", body).await.problem(409);
    }
    // The operator's calls are for the first App, where the configuration names none.
    let operator = client.operator();
    let missing = json!({ "localStreamName": "x", "uri": "vod-live://x.mp4" });
    client.call(&operator, Method::POST, "/rest-api/vod/startup", missing).await.problem(500);
    client.call(&operator, Method::POST, "/rest-api/vod/find_all", Value::Null).await.problem(404);
    assert_eq!(
        client.call(&operator, Method::POST, "/v1/vod", json!({ "name": "x", "uri": "vod-live://x" })).await.problem(422)["field"],
        "appId"
    );
    client.call(&operator, Method::POST, "/rest-api/vod/nothing", Value::Null).await.problem(404);
}
