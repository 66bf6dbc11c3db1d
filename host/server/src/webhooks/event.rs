//! Events and subscriptions as the planner sees them.

use flyloft_rooms::{App, Event, EventBody, Millis};
use serde_json::{Map, Value, json};

use super::planner;
use crate::store::Webhook;

/// The kind of the event that a test sends.
pub const TEST: &str = "webhook.test";

impl planner::Subscription {
    pub fn new(webhook: &Webhook, app: App) -> Self {
        Self { id: webhook.id.clone(), app, urls: webhook.urls.clone(), config: webhook.config.clone() }
    }
}

impl From<&Event> for planner::Event {
    fn from(event: &Event) -> Self {
        Self {
            id: event.id.as_str().to_owned(),
            kind: event.body.kind().to_owned(),
            at: event.at,
            app_id: event.app_id.as_str().to_owned(),
            member_id: Some(event.member_id.as_str().to_owned()),
            room_id: event.room_id.as_ref().map(|room| room.as_str().to_owned()),
            data: Value::from(data(event)).to_string(),
        }
    }
}

/// An event of [`TEST`], which nobody has caused.
pub fn test_event(webhook: &Webhook, id: String, at: Millis) -> planner::Event {
    planner::Event {
        id,
        kind: TEST.to_owned(),
        at,
        app_id: webhook.app_id.as_str().to_owned(),
        member_id: None,
        room_id: None,
        data: json!({ "webhookId": webhook.id, "appId": webhook.app_id.as_str() }).to_string(),
    }
}

/// What the REST API's event has, without what every event has under another name.
fn data(event: &Event) -> Map<String, Value> {
    let mut data = match serde_json::to_value(&event.body) {
        Ok(Value::Object(body)) => body,
        _ => Map::new(),
    };
    data.remove("type");
    if let EventBody::StreamKeyStateChanged { labels, .. } = &event.body
        && !labels.is_empty()
    {
        let labels = labels.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str())));
        data.insert("labels".into(), Value::Object(labels.collect()));
    }
    data.insert("seq".into(), event.seq.into());
    data.insert("appId".into(), event.app_id.as_str().into());
    data.insert("memberId".into(), event.member_id.as_str().into());
    if let Some(room) = &event.room_id {
        data.insert("roomId".into(), room.as_str().into());
    }
    data
}

#[cfg(test)]
mod tests {
    use super::*;
    use flyloft_rooms::{AppId, EventId, MemberId, RoomId, StreamKeyState};

    #[test]
    fn the_data_has_what_the_api_s_event_has() {
        let event = Event {
            seq: 7,
            id: EventId::new("e"),
            app_id: AppId::new("a"),
            member_id: MemberId::new("m"),
            room_id: Some(RoomId::new("r")),
            at: 5,
            body: EventBody::StreamKeyStateChanged {
                from: StreamKeyState::Inactive,
                to: StreamKeyState::ActivePrep,
                mode: None,
                reason: None,
                labels: vec![("tier".into(), "gold".into())],
            },
        };
        let seen = planner::Event::from(&event);
        assert_eq!((seen.id.as_str(), seen.kind.as_str(), seen.room_id.as_deref()), ("e", "streamKey.stateChanged", Some("r")));
        assert_eq!(
            serde_json::from_str::<Value>(&seen.data).unwrap(),
            json!({
                "seq": 7, "appId": "a", "memberId": "m", "roomId": "r", "from": "INACTIVE", "to": "ACTIVE_PREP",
                "labels": { "tier": "gold" },
            })
        );
    }
}
