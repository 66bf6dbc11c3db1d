//! Webhooks: tells an App's backends what happened. Deliveries wait in the outbox from the moment of the event, are made in order
//! within a room and side by side across rooms, and are repeated until they arrive or their time is over.

mod attempt;
mod dispatch;
mod event;
mod journey;
mod manage;
pub mod planner;
mod plugins;
mod sign;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use flyloft_plugins::outbound::{self, Client, Limits, Rules};
use futures_util::future::BoxFuture;
use http::{Request, Response};
use tokio::sync::Semaphore;

use crate::config;
use crate::rooms::Rooms;
pub use journey::Retry;
pub use manage::{NewWebhook, Tested, WebhookChange};
use planner::Planner;

/// Test deliveries that are made at a time.
const MAX_TESTS: usize = 8;

/// What deliveries may take.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// One attempt, whatever the plan says.
    pub timeout: Duration,
    pub retry: Retry,
    /// Attempts at a time.
    pub max_in_flight: usize,
    /// Attempts of one App at a time.
    pub max_in_flight_per_app: usize,
    /// How long a delivery that was given up is kept.
    pub keep_dead: Duration,
}

impl From<&config::Webhooks> for Settings {
    fn from(config: &config::Webhooks) -> Self {
        let millis = Duration::from_millis;
        Self {
            timeout: millis(config.timeout_ms),
            retry: Retry {
                first: millis(config.first_retry_ms),
                longest: millis(config.longest_retry_ms),
                give_up: millis(config.give_up_ms),
            },
            max_in_flight: config.max_in_flight,
            max_in_flight_per_app: config.max_in_flight_per_app,
            keep_dead: Duration::from_secs(config.keep_dead_days * 24 * 60 * 60),
        }
    }
}

/// Makes requests.
pub trait Transport: Send + Sync {
    /// Whether a request to `url` could be made, as far as can be told at once.
    fn check(&self, url: &http::Uri) -> Result<(), outbound::Error>;

    /// Gives the answer; of a long body, its beginning.
    fn send(&self, request: Request<Bytes>, limits: Limits) -> BoxFuture<'_, Result<Response<Bytes>, outbound::Error>>;
}

impl Transport for Client {
    fn check(&self, url: &http::Uri) -> Result<(), outbound::Error> {
        Client::check(self, url)
    }

    fn send(&self, request: Request<Bytes>, limits: Limits) -> BoxFuture<'_, Result<Response<Bytes>, outbound::Error>> {
        Box::pin(self.send_and_cut(request, limits))
    }
}

/// The webhooks of all Apps.
pub struct Webhooks {
    rooms: Arc<Rooms>,
    planner: Arc<dyn Planner>,
    transport: Arc<dyn Transport>,
    settings: Settings,
    tests: Semaphore,
}

impl Webhooks {
    /// Reaches public addresses, and private ones that the configuration grants.
    ///
    /// # Errors
    /// When the configuration names a network that is none.
    pub fn new(rooms: Arc<Rooms>, planner: Arc<dyn Planner>, config: &config::Webhooks) -> Result<Arc<Self>> {
        let rules = Rules::public().with_networks(&config.allow_networks).map_err(anyhow::Error::msg);
        let client = Client::new(rules.context("webhooks.allow_networks")?);
        Ok(Self::with(rooms, planner, Arc::new(client), Settings::from(config)))
    }

    /// As [`Webhooks::new`], with any transport.
    pub fn with(rooms: Arc<Rooms>, planner: Arc<dyn Planner>, transport: Arc<dyn Transport>, settings: Settings) -> Arc<Self> {
        Arc::new(Self { rooms, planner, transport, settings, tests: Semaphore::new(MAX_TESTS) })
    }
}
