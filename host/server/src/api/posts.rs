//! `/v1/video-posts`: recorded broadcasts.

use axum::extract::State;
use flyloft_rooms::{AccessLevel, PostState};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Api;
use super::extract::{Auth, From, Id, Parameters};
use super::page::{List, Wanted};
use super::problem::Problem;
use super::schema::{self, Problems};
use super::text::time;
use crate::rooms::{Bases, PostView};

/// Where a video post can be watched. With a token where its room is private: append `?token=`.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PostUrls)]
#[serde(rename_all = "camelCase")]
pub struct UrlsJson {
    #[schema(example = "https://video.example.com/posts/POST.mp4")]
    mp4: String,
    #[schema(example = "https://video.example.com/posts/POST/index.m3u8")]
    hls: String,
    #[schema(example = "https://video.example.com/posts/POST/manifest.mpd")]
    dash: String,
    /// Of H.264 only.
    #[schema(example = "https://video.example.com/posts/POST/thumbnail.jpg")]
    thumbnail: String,
}

/// A recorded broadcast.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = VideoPost)]
#[serde(rename_all = "camelCase")]
pub struct PostJson {
    id: String,
    app_id: String,
    owner_id: String,
    /// Null when the stream was recorded without a room.
    room_id: Option<String>,
    #[schema(schema_with = schema::post_state)]
    video_post_state: PostState,
    /// Of the room when the recording began.
    title: Option<String>,
    description: Option<String>,
    /// As the room has it; without a room `PRIVATE`.
    #[schema(schema_with = schema::access_level)]
    access_level: AccessLevel,
    /// Milliseconds.
    #[schema(example = 3_600_000)]
    duration_ms: Option<i64>,
    #[schema(example = 1_125_000_000)]
    size_bytes: Option<i64>,
    #[schema(example = 1280)]
    width: Option<u32>,
    #[schema(example = 720)]
    height: Option<u32>,
    /// As RFC 6381 has it.
    #[schema(example = "avc1.64001f,mp4a.40.2")]
    codecs: Option<String>,
    /// When it is `READY`.
    urls: Option<UrlsJson>,
    /// Why it could not be made.
    failure: Option<String>,
    /// What of the broadcast is missing in it, and why.
    missing: Option<String>,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    updated_at: String,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub struct PostsQuery {
    /// Only this App's posts; for the operator.
    app_id: Option<String>,
    /// Only this owner's posts, by the App's own id.
    app_user_id: Option<String>,
    /// Only the post of this room.
    room_id: Option<String>,
    /// Only posts in this state.
    #[param(schema_with = schema::post_state)]
    state: Option<PostState>,
    /// 1 to 100; 50 when absent.
    limit: Option<u32>,
    /// The `nextCursor` of the page before.
    cursor: Option<String>,
}

fn show(view: PostView, bases: &Bases) -> PostJson {
    let PostView { post, access } = view;
    let urls =
        bases.post(&post).map(|urls| UrlsJson { mp4: urls.mp4, hls: urls.hls, dash: urls.dash, thumbnail: urls.thumbnail });
    PostJson {
        urls,
        id: post.id.into_string(),
        app_id: post.app_id.into_string(),
        owner_id: post.owner_id.into_string(),
        room_id: post.room_id.map(|room| room.into_string()),
        video_post_state: post.state,
        title: post.title,
        description: post.description,
        access_level: access,
        duration_ms: post.duration,
        size_bytes: post.bytes,
        width: post.size.map(|(width, _)| width),
        height: post.size.map(|(_, height)| height),
        codecs: post.codecs,
        failure: post.failure,
        missing: post.missing,
        created_at: time(post.created_at),
        updated_at: time(post.updated_at),
    }
}

/// List video posts
///
/// Newest first. A member sees its own.
#[utoipa::path(operation_id = "listVideoPosts", get, path = "/v1/video-posts", tag = "Video posts", params(PostsQuery), responses((status = 200, description = "The posts", body = List<PostJson>), Problems), security(("serverApi" = []), ("clientApi" = []), ("operatorApi" = [])))]
pub async fn list(
    State(api): State<Api>,
    auth: Auth,
    from: From,
    Parameters(query): Parameters<PostsQuery>,
) -> Result<axum::Json<List<PostJson>>, Problem> {
    let wanted = Wanted::new(query.limit, query.cursor.as_deref())?;
    let which = (query.room_id.as_deref(), query.state);
    let found = api.rooms.posts(&auth.0, query.app_id.as_deref(), query.app_user_id.as_deref(), which, wanted.page()).await?;
    Ok(axum::Json(wanted.list(found, |view| view.post.id.as_str(), |view| show(view, &from.bases))))
}

/// Get a video post
///
/// A member sees its own posts and those of public rooms of its App.
#[utoipa::path(operation_id = "getVideoPost", get, path = "/v1/video-posts/{postId}", tag = "Video posts", params(("postId" = String, Path)), responses((status = 200, description = "The post", body = PostJson), Problems), security(("serverApi" = []), ("clientApi" = []), ("operatorApi" = [])))]
pub async fn get(State(api): State<Api>, auth: Auth, from: From, Id(id): Id) -> Result<axum::Json<PostJson>, Problem> {
    Ok(axum::Json(show(api.rooms.post(&auth.0, &id).await?, &from.bases)))
}

/// Delete a video post
///
/// With its file. While the post is being made, this is refused.
#[utoipa::path(operation_id = "deleteVideoPost", delete, path = "/v1/video-posts/{postId}", tag = "Video posts", params(("postId" = String, Path)), responses((status = 204, description = "It is deleted"), Problems), security(("serverApi" = []), ("clientApi" = []), ("operatorApi" = [])))]
pub async fn delete(State(api): State<Api>, auth: Auth, Id(id): Id) -> Result<StatusCode, Problem> {
    api.rooms.delete_post(&auth.0, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}
