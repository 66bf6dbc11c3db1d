//! What is written, all of it within a [`Tx`].

use flyloft_rooms::{App, AppId, Event, EventBody, EventId, Member, MemberId, Millis, OutputMode, RoomId, StreamKey, VideoRoom};

use super::{IDEMPOTENCY, PRUNE_EVERY, StoreError, StoredAnswer, Tx, millis};

type Result<T> = std::result::Result<T, StoreError>;

fn mode(mode: Option<OutputMode>) -> Option<&'static str> {
    mode.map(OutputMode::as_str)
}

impl Tx<'_> {
    pub async fn add_operator(&mut self, token_hash: &str, now: Millis) -> Result<()> {
        sqlx::query("INSERT INTO operators (token_hash, created_at) VALUES ($1, $2)")
            .bind(token_hash.to_owned())
            .bind(now)
            .execute(self.connection())
            .await?;
        Ok(())
    }

    pub async fn add_app(&mut self, app: &App, secret_hash: &str) -> Result<()> {
        sqlx::query(
            "INSERT INTO apps (id, name, api_key, secret_hash, signing_secret, output_mode, transcoding_profile, created_at, updated_at, record) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        )
        .bind(app.id.as_str().to_owned())
        .bind(app.name.clone())
        .bind(app.key.clone())
        .bind(secret_hash.to_owned())
        .bind(app.signing_secret.expose().to_owned())
        .bind(mode(app.output_mode))
        .bind(app.transcoding_profile.clone())
        .bind(app.created_at)
        .bind(app.updated_at)
        .bind(app.record)
        .execute(self.connection())
        .await?;
        Ok(())
    }

    /// Keeps everything but the credentials.
    pub async fn update_app(&mut self, app: &App) -> Result<()> {
        sqlx::query(
            "UPDATE apps SET name = $2, output_mode = $3, transcoding_profile = $4, updated_at = $5, record = $6 WHERE id = $1",
        )
        .bind(app.id.as_str().to_owned())
        .bind(app.name.clone())
        .bind(mode(app.output_mode))
        .bind(app.transcoding_profile.clone())
        .bind(app.updated_at)
        .bind(app.record)
        .execute(self.connection())
        .await?;
        Ok(())
    }

    pub async fn set_app_secret(&mut self, app: &AppId, secret_hash: &str, now: Millis) -> Result<()> {
        sqlx::query("UPDATE apps SET secret_hash = $2, updated_at = $3 WHERE id = $1")
            .bind(app.as_str().to_owned())
            .bind(secret_hash.to_owned())
            .bind(now)
            .execute(self.connection())
            .await?;
        Ok(())
    }

    pub async fn add_member(&mut self, member: &Member, key: &StreamKey) -> Result<()> {
        sqlx::query(
            "INSERT INTO members (id, app_id, app_user_id, name, stream_name, created_at, updated_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(member.id.as_str().to_owned())
        .bind(member.app_id.as_str().to_owned())
        .bind(member.app_user_id.clone())
        .bind(member.name.clone())
        .bind(member.stream_name.as_str().to_owned())
        .bind(member.created_at)
        .bind(member.updated_at)
        .execute(self.connection())
        .await?;
        sqlx::query("INSERT INTO stream_keys (member_id, secret, state, secret_at, updated_at) VALUES ($1, $2, $3, $4, $5)")
            .bind(key.member_id.as_str().to_owned())
            .bind(key.secret.expose().to_owned())
            .bind(key.state.as_str())
            .bind(key.secret_at)
            .bind(key.updated_at)
            .execute(self.connection())
            .await?;
        Ok(())
    }

    /// Keeps the name.
    pub async fn update_member(&mut self, member: &Member) -> Result<()> {
        sqlx::query("UPDATE members SET name = $2, updated_at = $3 WHERE id = $1")
            .bind(member.id.as_str().to_owned())
            .bind(member.name.clone())
            .bind(member.updated_at)
            .execute(self.connection())
            .await?;
        Ok(())
    }

    pub async fn update_stream_key(&mut self, key: &StreamKey) -> Result<()> {
        sqlx::query(
            "UPDATE stream_keys SET secret = $2, state = $3, output_mode = $4, transcoding_profile = $5, publish_id = $6, \
             publish_mode = $7, secret_at = $8, updated_at = $9 WHERE member_id = $1",
        )
        .bind(key.member_id.as_str().to_owned())
        .bind(key.secret.expose().to_owned())
        .bind(key.state.as_str())
        .bind(mode(key.output_mode))
        .bind(key.transcoding_profile.clone())
        .bind(key.publish_id.as_ref().map(|id| id.as_str().to_owned()))
        .bind(mode(key.publish_mode))
        .bind(key.secret_at)
        .bind(key.updated_at)
        .execute(self.connection())
        .await?;
        Ok(())
    }

    pub async fn add_room(&mut self, room: &VideoRoom) -> Result<()> {
        sqlx::query(
            "INSERT INTO video_rooms (id, app_id, owner_id, kind, state, access_level, title, description, scheduled_at, mode, \
             video_post_id, failure, created_at, updated_at, started_at, ended_at, record, record_granted) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)",
        )
        .bind(room.id.as_str().to_owned())
        .bind(room.app_id.as_str().to_owned())
        .bind(room.owner_id.as_str().to_owned())
        .bind(room.kind.as_str())
        .bind(room.state.as_str())
        .bind(room.access.as_str())
        .bind(room.title.clone())
        .bind(room.description.clone())
        .bind(room.scheduled_at)
        .bind(mode(room.mode))
        .bind(room.video_post_id.clone())
        .bind(room.failure.clone())
        .bind(room.created_at)
        .bind(room.updated_at)
        .bind(room.started_at)
        .bind(room.ended_at)
        .bind(room.record)
        .bind(room.record_granted)
        .execute(self.connection())
        .await?;
        Ok(())
    }

    /// Keeps everything that can change in a room's life.
    pub async fn update_room(&mut self, room: &VideoRoom) -> Result<()> {
        sqlx::query(
            "UPDATE video_rooms SET state = $2, access_level = $3, title = $4, description = $5, scheduled_at = $6, mode = $7, \
             video_post_id = $8, failure = $9, updated_at = $10, started_at = $11, ended_at = $12, record = $13, record_granted = $14 WHERE id = $1",
        )
        .bind(room.id.as_str().to_owned())
        .bind(room.state.as_str())
        .bind(room.access.as_str())
        .bind(room.title.clone())
        .bind(room.description.clone())
        .bind(room.scheduled_at)
        .bind(mode(room.mode))
        .bind(room.video_post_id.clone())
        .bind(room.failure.clone())
        .bind(room.updated_at)
        .bind(room.started_at)
        .bind(room.ended_at)
        .bind(room.record)
        .bind(room.record_granted)
        .execute(self.connection())
        .await?;
        Ok(())
    }

    /// Keeps an event, puts it into the outbox where a webhook wants it, and removes events that are too old or too many.
    pub async fn record(
        &mut self,
        id: EventId,
        at: Millis,
        member: &Member,
        room: Option<&RoomId>,
        body: EventBody,
    ) -> Result<Event> {
        let text = serde_json::to_string(&body).map_err(|error| sqlx::Error::Encode(Box::new(error)))?;
        let seq: i64 = sqlx::query_scalar(
            "INSERT INTO events (id, app_id, member_id, room_id, kind, at, body) VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING seq",
        )
        .bind(id.as_str().to_owned())
        .bind(member.app_id.as_str().to_owned())
        .bind(member.id.as_str().to_owned())
        .bind(room.map(|room| room.as_str().to_owned()))
        .bind(body.kind())
        .bind(at)
        .bind(text)
        .fetch_one(self.connection())
        .await?;
        self.latest = Some(seq);
        if seq % PRUNE_EVERY == 0 {
            let retention = self.store.retention;
            sqlx::query("DELETE FROM events WHERE seq <= $1 OR at < $2")
                .bind(seq.saturating_sub(retention.events))
                .bind(at.saturating_sub(millis(retention.age)))
                .execute(self.connection())
                .await?;
        }
        let (app_id, member_id): (AppId, MemberId) = (member.app_id.clone(), member.id.clone());
        let event = Event { seq, id, app_id, member_id, room_id: room.cloned(), at, body };
        self.enqueue(&event).await?;
        Ok(event)
    }

    /// Keeps the answer of a create under its idempotency key, and forgets those that are too old.
    pub async fn keep_answer(&mut self, caller: &str, key: &str, answer: &StoredAnswer, now: Millis) -> Result<()> {
        sqlx::query("DELETE FROM idempotency WHERE created_at < $1")
            .bind(now.saturating_sub(millis(IDEMPOTENCY)))
            .execute(self.connection())
            .await?;
        sqlx::query(
            "INSERT INTO idempotency (caller, idempotency_key, request_hash, status, body, created_at) VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(caller.to_owned())
        .bind(key.to_owned())
        .bind(answer.request_hash.clone())
        .bind(answer.status)
        .bind(answer.body.clone())
        .bind(now)
        .execute(self.connection())
        .await?;
        Ok(())
    }
}
