//! Health, readiness and metrics.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use flyloft_plugins::{BreakerState, Plugins};
use http::{StatusCode, header};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use super::Site;
use super::problem;
use crate::live::Live;

/// Whether the server takes new work.
#[derive(Debug, Default)]
pub struct Health {
    ready: AtomicBool,
}

impl Health {
    pub fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Relaxed);
    }
}

pub async fn health() -> &'static str {
    "ok\n"
}

pub async fn ready(State(site): State<Arc<Site>>) -> Response {
    if site.health.ready.load(Ordering::Relaxed) {
        return "ready\n".into_response();
    }
    problem::response(StatusCode::SERVICE_UNAVAILABLE, "not-ready", "the server is starting or stopping: send work elsewhere")
}

pub async fn metrics(State(site): State<Arc<Site>>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], site.metrics.render()).into_response()
}

/// Renders what was recorded as it happened, and what is read off when somebody asks.
#[derive(Clone)]
pub struct Metrics {
    recorded: PrometheusHandle,
    live: Arc<Live>,
    plugins: Plugins,
}

impl Metrics {
    /// Starts recording. Once in a process.
    pub fn install(live: Arc<Live>, plugins: Plugins) -> anyhow::Result<Self> {
        let buckets = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5];
        let answers = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0];
        let recorded = PrometheusBuilder::new()
            .set_buckets(&buckets)?
            .set_buckets_for_metric(Matcher::Full("flyloft_webhook_attempt_seconds".into()), &answers)?
            .install_recorder()?;
        metrics::describe_histogram!(
            "flyloft_egress_latency_seconds",
            "From the arrival of a picture at the host to the end of the round of writes to its RTMP and HTTP-FLV viewers"
        );
        Ok(Self { recorded, live, plugins })
    }

    fn render(&self) -> String {
        self.recorded.run_upkeep();
        let mut text = self.recorded.render();
        let mut families = Families::default();
        for live in self.live.all() {
            let labels = format!("stream=\"{}\"", live.name());
            let stats = live.stream.stats();
            families.add(
                "flyloft_stream_publishing",
                "gauge",
                "1 while a publisher is there",
                &labels,
                u64::from(live.stream.is_publishing()),
            );
            families.add("flyloft_stream_viewers", "gauge", "Viewers now", &labels, live.viewers.count().into());
            families.add(
                "flyloft_stream_views_total",
                "counter",
                "Viewers since the stream was opened",
                &labels,
                live.viewers.views(),
            );
            families.add("flyloft_stream_frames_total", "counter", "Frames received", &labels, stats.frames);
            families.add("flyloft_stream_bytes_total", "counter", "Media bytes received", &labels, stats.bytes);
            families.add("flyloft_stream_repaired_total", "counter", "Timestamps repaired", &labels, stats.repaired);
            for (name, value) in live.labels() {
                let labels = format!("{labels},label=\"{}\",value=\"{}\"", escaped(&name), escaped(&value));
                families.add("flyloft_stream_label_info", "gauge", "What the policy has labelled a publish with", &labels, 1);
            }
            families.add("flyloft_stream_ring_bytes", "gauge", "Media bytes kept for viewers", &labels, stats.ring_bytes as u64);
        }
        for plugin in self.plugins.list() {
            let labels = format!("plugin=\"{}\",digest=\"{}\"", plugin.name, plugin.component.digest);
            families.add("flyloft_plugin_calls_total", "counter", "Calls of a plugin", &labels, plugin.counters.calls);
            for (kind, count) in plugin.counters.faults.by_kind() {
                let labels = format!("{labels},kind=\"{kind}\"");
                families.add("flyloft_plugin_faults_total", "counter", "Calls that failed", &labels, count);
            }
        }
        for binding in self.plugins.bindings() {
            let labels = format!("binding=\"{}\",plugin=\"{}\"", binding.id, binding.plugin);
            let open = u64::from(binding.breaker.state != BreakerState::Closed);
            families.add(
                "flyloft_plugin_breaker_open",
                "gauge",
                "1 while a plugin is left alone because it kept failing",
                &labels,
                open,
            );
            let opened = binding.breaker.opened;
            families.add("flyloft_plugin_breaker_opened_total", "counter", "How often a breaker has opened", &labels, opened);
            if let Ok(shadow) = self.plugins.shadow_report(&binding.id) {
                let counts = [
                    ("same", shadow.same),
                    ("different", shadow.different),
                    ("failed", shadow.failed),
                    ("dropped", shadow.dropped),
                ];
                for (result, count) in counts {
                    let labels = format!("{labels},digest=\"{}\",result=\"{result}\"", shadow.digest);
                    families.add(
                        "flyloft_plugin_shadow_calls_total",
                        "counter",
                        "Calls that a shadow version saw",
                        &labels,
                        count,
                    );
                }
            }
        }
        families.add(
            "flyloft_decisions_dropped_total",
            "counter",
            "Decisions that are missing in the decision log",
            "",
            self.plugins.decisions_dropped(),
        );
        families.render(&mut text);
        text
    }
}

/// The value of a label in the text format.
fn escaped(value: &str) -> String {
    value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n")
}

/// Metric families in the text format, each with its samples together.
#[derive(Default)]
struct Families(Vec<(&'static str, String)>);

impl Families {
    fn add(&mut self, name: &'static str, kind: &str, help: &str, labels: &str, value: u64) {
        let at = self.0.iter().position(|(known, _)| *known == name).unwrap_or_else(|| {
            self.0.push((name, format!("# HELP {name} {help}\n# TYPE {name} {kind}\n")));
            self.0.len() - 1
        });
        let family = &mut self.0[at].1;
        let _ = match labels {
            "" => writeln!(family, "{name} {value}"),
            labels => writeln!(family, "{name}{{{labels}}} {value}"),
        };
    }

    fn render(self, text: &mut String) {
        for (_, family) in self.0 {
            text.push('\n');
            text.push_str(&family);
        }
    }
}
