//! The REST API under `/v1`: JSON in camelCase, problem details for every error, an OpenAPI document made from the code.

mod apps;
mod docs;
mod events;
mod extract;
mod members;
mod page;
mod plugins;
mod posts;
mod problem;
mod public;
mod rooms;
mod schema;
#[cfg(test)]
mod tests;
mod text;
mod vod;
mod vod_compat;
mod webhooks;

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::routing::any;
use flyloft_plugins::Plugins;
use http::{HeaderValue, Method, header};
use tower_http::cors::{Any, CorsLayer};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::http::connection::Peer;
use crate::oci::Registries;
use crate::rooms::Rooms;
use crate::vod::Vod;
use crate::webhooks::Webhooks;
use problem::Problem;

/// What the API needs.
#[derive(Clone)]
pub struct ApiState {
    pub rooms: Arc<Rooms>,
    pub plugins: Plugins,
    /// Where components are pulled from.
    pub registries: Arc<Registries>,
    pub webhooks: Arc<Webhooks>,
    pub vod: Arc<Vod>,
}

/// What handlers get.
#[derive(Clone)]
struct Api {
    rooms: Arc<Rooms>,
    plugins: Plugins,
    registries: Arc<Registries>,
    webhooks: Arc<Webhooks>,
    vod: Arc<Vod>,
}

/// Everything under `/v1`. Requests should carry a [`Peer`].
pub fn router(state: ApiState) -> Router {
    let ApiState { rooms, plugins, registries, webhooks, vod } = state;
    build(Api { rooms, plugins, registries, webhooks, vod })
}

fn build(api: Api) -> Router {
    let (router, document) = described().split_for_parts();
    let cors = CorsLayer::new()
        .allow_origin(Any)
        .allow_methods([Method::GET, Method::HEAD, Method::POST, Method::PATCH, Method::PUT, Method::DELETE])
        .allow_headers(Any)
        .expose_headers(Any);
    router
        .merge(docs::router(&document))
        .route("/v1", any(nothing))
        .route("/v1/{*path}", any(nothing))
        .route("/rest-api/{*path}", any(nothing))
        .layer(from_fn(no_store))
        .layer(from_fn(problem::finish))
        .layer(cors)
        .with_state(api)
}

/// All routes that the OpenAPI document describes.
fn described() -> OpenApiRouter<Api> {
    OpenApiRouter::with_openapi(schema::document())
        .routes(routes!(apps::list, apps::create))
        .routes(routes!(apps::get, apps::patch))
        .routes(routes!(apps::rotate_secret))
        .routes(routes!(members::list, members::create))
        .routes(routes!(members::get, members::patch))
        .routes(routes!(members::get_key, members::patch_key))
        .routes(routes!(members::rotate_key))
        .routes(routes!(members::issue_token))
        .routes(routes!(rooms::list, rooms::create))
        .routes(routes!(rooms::get, rooms::patch))
        .routes(routes!(rooms::start))
        .routes(routes!(rooms::end))
        .routes(routes!(rooms::issue_token))
        .routes(routes!(rooms::viewers))
        .routes(routes!(rooms::archive))
        .routes(routes!(posts::list))
        .routes(routes!(posts::get, posts::delete))
        .routes(routes!(events::events))
        .routes(routes!(webhooks::list, webhooks::create))
        .routes(routes!(webhooks::get, webhooks::patch, webhooks::delete))
        .routes(routes!(webhooks::rotate_secret))
        .routes(routes!(webhooks::retire_secret))
        .routes(routes!(webhooks::deliveries))
        .routes(routes!(webhooks::redeliver))
        .routes(routes!(webhooks::redeliver_dead))
        .routes(routes!(webhooks::test))
        .routes(routes!(vod::list, vod::create))
        .routes(routes!(vod::get, vod::delete))
        .routes(routes!(vod_compat::startup))
        .routes(routes!(vod_compat::find))
        .routes(routes!(vod_compat::find_all))
        .routes(routes!(vod_compat::terminate))
        .routes(routes!(plugins::list))
        .routes(routes!(plugins::get, plugins::put, plugins::delete))
        .routes(routes!(plugins::versions, plugins::deploy))
        .routes(routes!(plugins::stats))
        .routes(routes!(plugins::logs::logs))
        .routes(routes!(plugins::bindings::list, plugins::bindings::create))
        .routes(routes!(plugins::bindings::get, plugins::bindings::patch, plugins::bindings::delete))
        .routes(routes!(plugins::bindings::activate))
        .routes(routes!(plugins::bindings::roll_back))
        .routes(routes!(plugins::bindings::shadow, plugins::bindings::set_shadow, plugins::bindings::end_shadow))
        .routes(routes!(plugins::decisions::list))
        .routes(routes!(public::list))
        .routes(routes!(public::get))
}

async fn nothing() -> Problem {
    Problem::not_found("there is nothing at this address: the API is described at /v1/docs")
}

/// Answers depend on who asks and on the moment.
async fn no_store(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    response.headers_mut().entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}
