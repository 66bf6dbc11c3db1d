//! Publishing: from the stream key to a stream that a room can show, and to its end.

use std::sync::Arc;
use std::time::Duration;

use flyloft_plugins::model::{Action, OutputModeRequest, PublishRequest};
use flyloft_rooms::{AppId, KeyInput, PublishId, RoomId, Secret, Trigger};
use http::StatusCode;
use tokio::sync::oneshot;

use super::step::{Cast, Details};
use super::{Admitted, Error, PublishAttempt, Refusal, Rooms, new_id, rules};
use crate::store::Store;

/// Longer stream keys are not looked for.
const MAX_KEY: usize = 256;
/// The parameter of the publish URL that asks for an output mode.
const MODE: &str = "mode";
/// How often and after which pauses the end of a publish is tried to be kept while the database fails.
const ATTEMPTS: u32 = 8;
const PAUSE: Duration = Duration::from_millis(250);

impl Rooms {
    /// Lets a publisher in, or says why not: the stream key must be known and free, the policy must allow it, and the output mode
    /// must be one. When this returns, the stream key's new state is on the disk.
    pub async fn publish(self: &Arc<Self>, attempt: PublishAttempt<'_>) -> Result<Admitted, Refusal> {
        let secret = attempt.stream_key;
        let cast = self.cast_of_secret(secret).await?;
        cast.key.state.next(KeyInput::PublishAccepted).map_err(Error::from)?;

        let context = rules::context(&cast.app);
        let connection = rules::connection(attempt.protocol, attempt.remote.ip(), attempt.user_agent, attempt.parameters);
        let member = rules::member(&cast.member);
        let room = cast.room.as_ref().map(|room| rules::room(room, &cast.member));
        let stream = cast.member.stream_name.to_string();
        let request =
            PublishRequest { connection: connection.clone(), member: member.clone(), room: room.clone(), stream: stream.clone() };
        let grant = rules::ask(&*self.rules, &context, &Action::Publish(request)).await?;
        let request = OutputModeRequest {
            connection,
            member,
            room,
            stream,
            url_mode: attempt.parameters.iter().find(|(name, _)| name.eq_ignore_ascii_case(MODE)).map(|(_, mode)| clip(mode)),
            key_mode: cast.key.output_mode.map(rules::mode_to),
            transcoding_profile: cast.key.transcoding_profile.clone().or_else(|| cast.app.transcoding_profile.clone()),
        };
        let mode = rules::ask_mode(&*self.rules, &context, &cast.app, &request).await?;

        let publish_id = PublishId::new(new_id());
        let details = Details { publish: Some((publish_id.clone(), mode)), labels: grant.labels.clone(), ..Details::default() };
        let (this, secret) = (Arc::clone(self), secret.to_owned());
        let (sender, receiver) = oneshot::channel();
        self.changes.spawn(async move {
            let admitted = this.admit(&secret, details).await.map(|cast| Admitted {
                publish_id: publish_id.to_string(),
                stream: cast.member.stream_name,
                app_id: cast.app.id.into_string(),
                member_id: cast.member.id.into_string(),
                room_id: cast.room.map(|room| room.id.into_string()),
                mode,
                limits: grant.limits,
                labels: grant.labels,
                record: grant.record,
            });
            let admitted = admitted.map(|admitted| Ticket { rooms: Arc::clone(&this), admitted: Some(admitted) });
            let _ = sender.send(admitted);
        });
        let gone = || Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "shutting-down", "the server is shutting down");
        let mut ticket = receiver.await.map_err(|_| gone())??;
        ticket.admitted.take().ok_or_else(gone)
    }

    /// The stream key of a room's owner, for a stream that the server itself publishes in that room.
    pub(crate) async fn publisher_of_room(&self, app: &AppId, room: &str) -> Result<Secret, Refusal> {
        let missing = || Error::NotFound { what: "video room", id: clip(room) };
        let mut reading = self.store.read().await?;
        let room =
            Store::room(&mut reading, &RoomId::new(room)).await?.filter(|found| found.app_id == *app).ok_or_else(missing)?;
        let key = Store::stream_key(&mut reading, &room.owner_id).await?.ok_or_else(missing)?;
        Ok(key.secret)
    }

    async fn cast_of_secret(&self, secret: &str) -> Result<Cast, Refusal> {
        let unknown = || {
            Refusal::new(
                StatusCode::FORBIDDEN,
                "unknown-stream-key",
                "this stream key is not known: copy the current one from the member's stream key, it may have been replaced",
            )
        };
        if secret.is_empty() || secret.len() > MAX_KEY {
            return Err(unknown());
        }
        let mut reading = self.store.read().await?;
        let key = Store::stream_key_by_secret(&mut reading, secret).await?.ok_or_else(unknown)?;
        Ok(Cast::of_key(&mut reading, key).await?)
    }

    /// Keeps the step. The world may have changed while the plugins were asked, so the key is read again.
    async fn admit(&self, secret: &str, details: Details) -> Result<Cast, Refusal> {
        let mut tx = self.store.write().await?;
        let Some(key) = Store::stream_key_by_secret(tx.connection(), secret).await? else {
            return Err(Refusal::new(
                StatusCode::FORBIDDEN,
                "unknown-stream-key",
                "this stream key was replaced a moment ago: copy the new one from the member's stream key",
            ));
        };
        let mut cast = Cast::of_key(tx.connection(), key).await?;
        cast.step(&mut tx, Trigger::PublishAccepted, details).await?;
        tx.commit().await?;
        Ok(cast)
    }

    /// The first output of a publish can be watched now. A publish that is over is ignored.
    pub async fn viewable(self: &Arc<Self>, publish_id: &str) {
        self.report(publish_id, Trigger::Viewable, None).await;
    }

    /// A publish ended, whatever the cause. One that is over already is ignored.
    pub async fn publish_ended(self: &Arc<Self>, publish_id: &str, reason: &str) {
        self.report(publish_id, Trigger::PublishEnded, Some(clip(reason))).await;
    }

    async fn report(self: &Arc<Self>, publish_id: &str, trigger: Trigger, reason: Option<String>) {
        let (this, id) = (Arc::clone(self), PublishId::new(publish_id));
        self.run(async move {
            for attempt in 1..=ATTEMPTS {
                match this.keep_report(&id, trigger, reason.clone()).await {
                    Ok(()) => return,
                    Err(Error::Conflict(conflict)) => {
                        tracing::debug!(publish = %id, ?trigger, %conflict, "nothing to move");
                        return;
                    }
                    // Losing this would leave the key busy until the server is restarted.
                    Err(error) => {
                        tracing::error!(publish = %id, ?trigger, attempt, %error, "a stream key can't be moved");
                        tokio::time::sleep(PAUSE * 2u32.pow(attempt)).await;
                    }
                }
            }
        })
        .await;
    }

    async fn keep_report(&self, id: &PublishId, trigger: Trigger, reason: Option<String>) -> Result<(), Error> {
        let mut tx = self.store.write().await?;
        let Some(key) = Store::stream_key_by_publish(tx.connection(), id).await? else { return Ok(()) };
        let mut cast = Cast::of_key(tx.connection(), key).await?;
        cast.step(&mut tx, trigger, Details { reason, ..Details::default() }).await?;
        tx.commit().await?;
        Ok(())
    }

    /// No publisher survives the end of the server: ends all that the database still has.
    pub(super) async fn recover(&self) -> Result<(), Error> {
        let mut tx = self.store.write().await?;
        let keys = Store::publishing(tx.connection()).await?;
        if keys.is_empty() {
            return Ok(());
        }
        tracing::info!(publishes = keys.len(), "the server ended while somebody published: those publishes are ended");
        for key in keys {
            let mut cast = Cast::of_key(tx.connection(), key).await?;
            let reason = Some("the server was restarted".to_owned());
            cast.step(&mut tx, Trigger::PublishEnded, Details { reason, ..Details::default() }).await?;
        }
        tx.commit().await?;
        Ok(())
    }
}

/// An admitted publish on its way to the one who asked. When it does not arrive, because that one is gone, nobody would report the
/// end of the publish: then it ends here.
struct Ticket {
    rooms: Arc<Rooms>,
    admitted: Option<Admitted>,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let Some(admitted) = self.admitted.take() else { return };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let rooms = Arc::clone(&self.rooms);
        let end = async move { rooms.publish_ended(&admitted.publish_id, "the publisher left while it was let in").await };
        self.rooms.changes.spawn_on(end, &runtime);
    }
}

/// Bounds a text from a stranger.
fn clip(text: &str) -> String {
    text.chars().take(512).collect()
}
