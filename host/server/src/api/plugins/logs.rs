//! `/v1/plugins/{name}/logs`: what a plugin writes, as server-sent events or as a list.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{Event as Message, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use flyloft_plugins::{LogLine, Plugins};
use futures_util::stream::{self, Stream};
use http::{HeaderMap, header};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use utoipa::{IntoParams, ToSchema};

use super::super::Api;
use super::super::extract::{Id, Operator, Parameters};
use super::super::page::List;
use super::super::problem::Problem;
use super::super::schema::Problems;
use super::{missing, show_millis};

/// How often a silent feed says that it is alive.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// A line that a plugin wrote.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PluginLogLine)]
pub struct LineJson {
    /// The place in the order of the plugin's lines: rising since the server was started.
    seq: u64,
    #[schema(format = DateTime)]
    at: String,
    /// The version that wrote it.
    digest: String,
    /// The call in which it was written.
    call: String,
    #[schema(example = "stderr")]
    stream: &'static str,
    text: String,
}

fn show(line: LogLine) -> LineJson {
    let LogLine { seq, time, digest, call, stream, text } = line;
    LineJson { seq, at: show_millis(time), digest, call, stream, text }
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct LogsQuery {
    /// Begin after the line with this `seq`; 0 begins with the oldest that is kept.
    after: Option<u64>,
}

/// Follow a plugin's log
///
/// Server-sent events, unless `Accept: application/json` asks for a list. The last 200 lines are kept, and a feed begins with them; each message has the line as JSON
/// in `data` and its `seq` as `id`, for `Last-Event-ID`.
#[utoipa::path(operation_id = "followPluginLog", get, path = "/v1/plugins/{name}/logs", tag = "Plugins", params(("name" = String, Path), LogsQuery, ("Last-Event-ID" = Option<String>, Header, description = "Go on after the line with this `seq`")),
    responses((status = 200, description = "A feed, or a list", content((List<LineJson> = "application/json"), (LineJson = "text/event-stream"))), Problems), security(("operatorApi" = [])))]
pub async fn logs(
    State(api): State<Api>,
    _: Operator,
    headers: HeaderMap,
    Id(name): Id,
    Parameters(query): Parameters<LogsQuery>,
) -> Result<Response, Problem> {
    let text = |header| headers.get(header).and_then(|value| value.to_str().ok());
    let last: Option<u64> = match text(http::HeaderName::from_static("last-event-id")) {
        Some(last) => {
            let wrong = |_| Problem::invalid("Last-Event-ID", "it must be the id of a line of this feed, a whole number");
            Some(last.trim().parse().map_err(wrong)?)
        }
        None => query.after,
    };
    let latest = api.plugins.latest_log_line(&name).ok_or_else(|| missing(&name))?;
    // A number that was not reached yet is from before the server was restarted.
    let after = last.filter(|last| *last <= *latest.borrow()).unwrap_or(0);
    let accept = text(header::ACCEPT).unwrap_or_default();
    if accept.contains("application/json") && !accept.contains("text/event-stream") {
        let lines = api.plugins.log_lines(&name, after).ok_or_else(|| missing(&name))?;
        return Ok(axum::Json(List { items: lines.into_iter().map(show).collect(), next_cursor: None }).into_response());
    }
    let end = api.rooms.feeds_end();
    let feed = Feed { plugins: api.plugins, name, latest, seq: after, end, ready: Vec::new().into_iter() };
    Ok(Sse::new(feed.messages()).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response())
}

struct Feed {
    plugins: Plugins,
    name: String,
    latest: watch::Receiver<u64>,
    /// The last line that was sent.
    seq: u64,
    end: CancellationToken,
    ready: std::vec::IntoIter<LogLine>,
}

impl Feed {
    fn messages(self) -> impl Stream<Item = Result<Message, Infallible>> {
        stream::unfold(self, |mut feed| async move { Some((Ok(feed.next().await?), feed)) })
    }

    /// The next message. None ends the feed: the plugin was removed, or the server stops.
    async fn next(&mut self) -> Option<Message> {
        loop {
            if let Some(line) = self.ready.next() {
                self.seq = line.seq;
                return Message::default().id(line.seq.to_string()).json_data(show(line)).ok();
            }
            self.latest.borrow_and_update();
            let lines = self.plugins.log_lines(&self.name, self.seq)?;
            if !lines.is_empty() {
                self.ready = lines.into_iter();
                continue;
            }
            tokio::select! {
                changed = self.latest.changed() => changed.ok()?,
                () = self.end.cancelled() => return None,
            }
        }
    }
}
