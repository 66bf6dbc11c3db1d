//! `/v1/events`: what happened, as server-sent events or as a list.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{Event as Message, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use flyloft_rooms::{Deleted, Event, EventBody, OutputMode, Replaced, RoomId};
use futures_util::stream::{self, Stream};
use http::{HeaderMap, header};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use utoipa::{IntoParams, ToSchema};

use super::extract::{Auth, Parameters};
use super::problem::Problem;
use super::schema::Problems;
use super::text::time;
use super::{Api, page};
use crate::rooms::{Actor, EventFilter, Rooms};

/// How often a silent feed says that it is alive.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Events that a feed reads at a time.
const BATCH: u32 = 100;

/// An event. What follows `at` depends on the type.
#[derive(Debug, Default, Serialize, ToSchema)]
#[schema(as = Event)]
#[serde(rename_all = "camelCase")]
pub struct EventJson {
    /// The place in the order of all events: rising, with gaps.
    seq: i64,
    id: String,
    #[serde(rename = "type")]
    #[schema(example = "videoRoom.live")]
    kind: &'static str,
    app_id: String,
    member_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    room_id: Option<String>,
    #[schema(example = "2026-11-21T18:30:00.000Z", format = DateTime)]
    at: String,
    /// The state before.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "SCHEDULED")]
    from: Option<&'static str>,
    /// The state after.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "LIVE")]
    to: Option<&'static str>,
    /// The outputs of the stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<&'static str>,
    /// Why it happened.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// Whether the broadcast was ended by force.
    #[serde(skip_serializing_if = "Option::is_none")]
    forced: Option<bool>,
    /// What the policy gave the stream.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    labels: BTreeMap<String, String>,
    /// The properties that were changed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    changed: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    video_post_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration_ms: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size_bytes: Option<i64>,
}

fn show(event: Event) -> EventJson {
    let mut json = EventJson {
        seq: event.seq,
        id: event.id.into_string(),
        kind: event.body.kind(),
        app_id: event.app_id.into_string(),
        member_id: event.member_id.into_string(),
        room_id: event.room_id.map(RoomId::into_string),
        at: time(event.at),
        ..EventJson::default()
    };
    match event.body {
        EventBody::MemberCreated | EventBody::RoomCreated => {}
        EventBody::StreamKeyStateChanged { from, to, mode, reason, labels } => {
            (json.from, json.to) = (Some(from.as_str()), Some(to.as_str()));
            (json.mode, json.reason, json.labels) = (mode.map(OutputMode::as_str), reason, labels.into_iter().collect());
        }
        EventBody::StreamKeyReplaced { reason } => {
            json.reason = Some(match reason {
                Replaced::Rotated => "rotated".into(),
                Replaced::ForcedEnd => "forcedEnd".into(),
            });
        }
        EventBody::RoomUpdated { changed } => json.changed = changed,
        EventBody::RoomLive { from, to, mode } => {
            (json.from, json.to, json.mode) = (Some(from.as_str()), Some(to.as_str()), mode.map(OutputMode::as_str));
        }
        EventBody::RoomInactive { from, to } | EventBody::RoomArchiving { from, to } => {
            (json.from, json.to) = (Some(from.as_str()), Some(to.as_str()));
        }
        EventBody::RoomEnded { from, to, forced } => {
            (json.from, json.to, json.forced) = (Some(from.as_str()), Some(to.as_str()), Some(forced));
        }
        EventBody::RoomArchived { from, to, video_post_id } => {
            (json.from, json.to, json.video_post_id) = (Some(from.as_str()), Some(to.as_str()), Some(video_post_id));
        }
        EventBody::RoomArchiveFailed { from, to, reason } => {
            (json.from, json.to, json.reason) = (Some(from.as_str()), Some(to.as_str()), Some(reason));
        }
        EventBody::RecordingStarted { video_post_id } => json.video_post_id = Some(video_post_id),
        EventBody::RecordingStopped { video_post_id, reason } | EventBody::PostFailed { video_post_id, reason } => {
            (json.video_post_id, json.reason) = (Some(video_post_id), Some(reason));
        }
        EventBody::PostReady { video_post_id, duration_ms, size_bytes } => {
            json.video_post_id = Some(video_post_id);
            (json.duration_ms, json.size_bytes) = (Some(duration_ms), Some(size_bytes));
        }
        EventBody::PostDeleted { video_post_id, reason } => {
            json.video_post_id = Some(video_post_id);
            json.reason = Some(match reason {
                Deleted::Requested => "requested".into(),
                Deleted::Expired => "expired".into(),
                Deleted::SpaceLimit => "spaceLimit".into(),
            });
        }
    }
    json
}

/// A part of the events, oldest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct Events {
    items: Vec<EventJson>,
    /// Whether events between `after` and the first item were removed already, because they were too old.
    missed: bool,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub struct EventsQuery {
    /// Begin after the event with this `seq`; 0 begins with the oldest. Without `Accept: text/event-stream` it asks for a list.
    after: Option<i64>,
    /// Only events of this room.
    room_id: Option<String>,
    /// Only events of this App; for the operator.
    app_id: Option<String>,
    /// Of a list: 1 to 100; 50 when absent.
    limit: Option<u32>,
}

/// Follow events
///
/// Server-sent events, unless `Accept: application/json` or `after` asks for a list. Each message has the event as JSON in `data` and its `seq`
/// as `id`: a client that reconnects with `Last-Event-ID` misses nothing. Without it and without `after`, the feed begins now. A message
/// with the event name `missed` says that some of the wanted events were too old to be kept. A member gets the events that concern itself.
#[utoipa::path(operation_id = "followEvents", get, path = "/v1/events", tag = "Events", params(EventsQuery, ("Last-Event-ID" = Option<String>, Header, description = "Go on after the event with this `seq`")),
    responses((status = 200, description = "A feed, or a list", content((Events = "application/json"), (EventJson = "text/event-stream"))), Problems), security(("serverApi" = []), ("clientApi" = []), ("operatorApi" = [])))]
pub async fn events(
    State(api): State<Api>,
    auth: Auth,
    headers: HeaderMap,
    Parameters(query): Parameters<EventsQuery>,
) -> Result<Response, Problem> {
    let filter = filter(&auth.0, &query)?;
    let limit = page::limit(query.limit)?;
    if query.after.is_some_and(|after| after < 0) {
        return Err(Problem::invalid("after", "it may not be negative"));
    }
    let accepts =
        |kind: &str| headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).is_some_and(|value| value.contains(kind));
    let wants_feed = accepts("text/event-stream") || (query.after.is_none() && !accepts("application/json"));
    if !wants_feed {
        let after = query.after.unwrap_or(0);
        let missed = after > 0 && api.rooms.events_missed(after).await?;
        let items = api.rooms.events(&filter, after, limit).await?.into_iter().map(show).collect();
        return Ok(axum::Json(Events { items, missed }).into_response());
    }
    let last =
        match headers.get("last-event-id") {
            Some(value) => {
                let last = value.to_str().ok().and_then(|value| value.trim().parse().ok()).filter(|seq: &i64| *seq >= 0);
                Some(last.ok_or_else(|| {
                    Problem::invalid("Last-Event-ID", "it must be the id of an event of this feed, a whole number")
                })?)
            }
            None => query.after,
        };
    let latest = api.rooms.latest_event();
    let seq = last.unwrap_or_else(|| *latest.borrow());
    let missed = last.is_some_and(|last| last > 0) && api.rooms.events_missed(seq).await?;
    let (rooms, end) = (Arc::clone(&api.rooms), api.rooms.feeds_end());
    let feed = Feed { rooms, filter, latest, seq, missed, end, ready: Vec::new().into_iter() };
    Ok(Sse::new(feed.messages()).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response())
}

fn filter(actor: &Actor, query: &EventsQuery) -> Result<EventFilter, Problem> {
    let app = match (actor.app(), query.app_id.as_deref()) {
        (Some(own), Some(named)) if own.id.as_str() != named => {
            return Err(Problem::invalid("appId", "these credentials are for another App: leave appId out"));
        }
        (Some(own), _) => Some(own.id.clone()),
        (None, named) => named.map(flyloft_rooms::AppId::new),
    };
    Ok(EventFilter {
        app,
        member: actor.member().map(|member| member.id.clone()),
        room: query.room_id.as_deref().map(RoomId::new),
    })
}

/// Reads events from the database as they are committed, so that a slow reader costs no memory and misses nothing.
struct Feed {
    rooms: Arc<Rooms>,
    filter: EventFilter,
    latest: watch::Receiver<i64>,
    /// The last event that was looked at.
    seq: i64,
    missed: bool,
    end: CancellationToken,
    ready: std::vec::IntoIter<Event>,
}

impl Feed {
    fn messages(self) -> impl Stream<Item = Result<Message, Infallible>> {
        stream::unfold(self, |mut feed| async move { Some((Ok(feed.next().await?), feed)) })
    }

    /// The next message. `None` ends the feed; the client comes again with its `Last-Event-ID`.
    async fn next(&mut self) -> Option<Message> {
        if std::mem::take(&mut self.missed) {
            return Some(Message::default().event("missed").data("{}"));
        }
        loop {
            if let Some(event) = self.ready.next() {
                let id = event.seq.to_string();
                return Message::default().id(id).json_data(show(event)).ok();
            }
            let newest = *self.latest.borrow_and_update();
            if newest <= self.seq {
                tokio::select! {
                    changed = self.latest.changed() => changed.ok()?,
                    () = self.end.cancelled() => return None,
                }
                continue;
            }
            let found = match self.rooms.events(&self.filter, self.seq, BATCH).await {
                Ok(found) => found,
                Err(error) => {
                    tracing::warn!(%error, "an event feed ends");
                    return None;
                }
            };
            // A short batch has everything up to the newest event, also what the filter left out.
            let full = u32::try_from(found.len()).is_ok_and(|count| count >= BATCH);
            let last = found.last().map_or(newest, |event| event.seq);
            self.seq = if full { last } else { newest.max(last) };
            self.ready = found.into_iter();
        }
    }
}
