//! Video posts.

use std::str::FromStr as _;

use flyloft_rooms::{AppId, MemberId, Millis, PostId, PostState, RoomId, VideoPost};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, SqliteConnection};

use super::{Page, Store, StoreError, Tx};

type Result<T> = std::result::Result<T, StoreError>;

/// Which posts are listed; what is none does not matter.
#[derive(Clone, Copy, Debug, Default)]
pub struct PostFilter<'a> {
    pub app: Option<&'a AppId>,
    pub owner: Option<&'a MemberId>,
    pub room: Option<&'a RoomId>,
    pub state: Option<PostState>,
}

fn post(row: &SqliteRow) -> Result<VideoPost> {
    let state: String = row.try_get("state")?;
    let state = PostState::from_str(&state).map_err(|_| StoreError::Corrupt { column: "state", value: state })?;
    let (width, height): (Option<u32>, Option<u32>) = (row.try_get("width")?, row.try_get("height")?);
    Ok(VideoPost {
        id: PostId::new(row.try_get::<String, _>("id")?),
        app_id: AppId::new(row.try_get::<String, _>("app_id")?),
        owner_id: MemberId::new(row.try_get::<String, _>("owner_id")?),
        room_id: row.try_get::<Option<String>, _>("room_id")?.map(RoomId::new),
        state,
        stamp: row.try_get("stamp")?,
        title: row.try_get("title")?,
        description: row.try_get("description")?,
        duration: row.try_get("duration")?,
        bytes: row.try_get("bytes")?,
        size: width.zip(height),
        codecs: row.try_get("codecs")?,
        failure: row.try_get("failure")?,
        missing: row.try_get("missing")?,
        created_at: row.try_get("created_at")?,
        updated_at: row.try_get("updated_at")?,
    })
}

impl Store {
    pub async fn post(c: &mut SqliteConnection, id: &PostId) -> Result<Option<VideoPost>> {
        let found = sqlx::query("SELECT * FROM video_posts WHERE id = $1").bind(id.as_str().to_owned());
        found.fetch_optional(c).await?.as_ref().map(post).transpose()
    }

    /// The post of a room's recording.
    pub async fn post_of_room(c: &mut SqliteConnection, room: &RoomId) -> Result<Option<VideoPost>> {
        let found = sqlx::query("SELECT * FROM video_posts WHERE room_id = $1").bind(room.as_str().to_owned());
        found.fetch_optional(c).await?.as_ref().map(post).transpose()
    }

    pub async fn posts(c: &mut SqliteConnection, filter: PostFilter<'_>, page: Page<'_>) -> Result<Vec<VideoPost>> {
        let found = sqlx::query(
            "SELECT * FROM video_posts WHERE ($1 IS NULL OR app_id = $1) AND ($2 IS NULL OR owner_id = $2) \
             AND ($3 IS NULL OR room_id = $3) AND ($4 IS NULL OR state = $4) AND ($5 IS NULL OR id < $5) ORDER BY id DESC LIMIT $6",
        )
        .bind(filter.app.map(|id| id.as_str().to_owned()))
        .bind(filter.owner.map(|id| id.as_str().to_owned()))
        .bind(filter.room.map(|id| id.as_str().to_owned()))
        .bind(filter.state.map(PostState::as_str))
        .bind(page.after.map(str::to_owned))
        .bind(page.limit);
        found.fetch_all(c).await?.iter().map(post).collect()
    }

    /// Posts whose recording or whose file is not complete, oldest first.
    pub async fn unfinished_posts(c: &mut SqliteConnection) -> Result<Vec<VideoPost>> {
        let found = sqlx::query("SELECT * FROM video_posts WHERE state IN ('RECORDING', 'PROCESSING') ORDER BY id");
        found.fetch_all(c).await?.iter().map(post).collect()
    }

    /// Ready posts, oldest first: the first that are too old or that make all the newer ones take more than `max_bytes`.
    pub async fn posts_to_drop(
        c: &mut SqliteConnection,
        made_before: Millis,
        max_bytes: i64,
        limit: u32,
    ) -> Result<Vec<VideoPost>> {
        let found = sqlx::query(
            "SELECT * FROM (SELECT *, SUM(bytes) OVER (ORDER BY id DESC) AS total FROM video_posts WHERE state = 'READY') AS ready \
             WHERE created_at < $1 OR total > $2 ORDER BY id LIMIT $3",
        )
        .bind(made_before)
        .bind(max_bytes)
        .bind(limit);
        found.fetch_all(c).await?.iter().map(post).collect()
    }
}

impl Tx<'_> {
    pub async fn add_post(&mut self, post: &VideoPost) -> Result<()> {
        sqlx::query(
            "INSERT INTO video_posts (id, app_id, owner_id, room_id, state, stamp, title, description, created_at, updated_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        )
        .bind(post.id.as_str().to_owned())
        .bind(post.app_id.as_str().to_owned())
        .bind(post.owner_id.as_str().to_owned())
        .bind(post.room_id.as_ref().map(|id| id.as_str().to_owned()))
        .bind(post.state.as_str())
        .bind(post.stamp.clone())
        .bind(post.title.clone())
        .bind(post.description.clone())
        .bind(post.created_at)
        .bind(post.updated_at)
        .execute(self.connection())
        .await?;
        Ok(())
    }

    /// Keeps everything that can change in a post's life.
    pub async fn update_post(&mut self, post: &VideoPost) -> Result<()> {
        sqlx::query(
            "UPDATE video_posts SET state = $2, title = $3, description = $4, duration = $5, bytes = $6, width = $7, height = $8, \
             codecs = $9, failure = $10, missing = $11, updated_at = $12 WHERE id = $1",
        )
        .bind(post.id.as_str().to_owned())
        .bind(post.state.as_str())
        .bind(post.title.clone())
        .bind(post.description.clone())
        .bind(post.duration)
        .bind(post.bytes)
        .bind(post.size.map(|(width, _)| width))
        .bind(post.size.map(|(_, height)| height))
        .bind(post.codecs.clone())
        .bind(post.failure.clone())
        .bind(post.missing.clone())
        .bind(post.updated_at)
        .execute(self.connection())
        .await?;
        Ok(())
    }

    pub async fn delete_post(&mut self, id: &PostId) -> Result<()> {
        sqlx::query("DELETE FROM video_posts WHERE id = $1").bind(id.as_str().to_owned()).execute(self.connection()).await?;
        Ok(())
    }
}
