//! What the process counts and holds, for whoever watches it. No user, tenant, thread or run is in it, nor anything that
//! they wrote: every label is one of a fixed set of words, or a route's template.
//!
//! `labels` has the words, `scrape` what is asked when somebody looks, `process` what the operating system says.

mod labels;
mod process;
mod scrape;
#[cfg(test)]
mod tests;

use std::time::Duration;

use insula_engine::ExecutionEngineFactory;
use prometheus_client::{
    encoding::text::{encode_eof, encode_registry},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram, info::Info},
    registry::{Registry, Unit},
};

pub use self::labels::{AuthRefusal, Frame, GapReason, RateLimited};
use self::labels::{HttpLabels, Kind, RouteLabels, method_word, status_class};
use crate::webhooks::WebhookCounters;

/// What [`Metrics::render`] gives, for its `Content-Type`.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// From a millisecond to what a request may wait for.
const SECONDS: [f64; 14] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0, 300.0];

/// The server's own counters, and the way to all others. One per server: nothing is global.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Family<HttpLabels, Counter>,
    latency: Family<RouteLabels, Histogram, fn() -> Histogram>,
    sockets: Gauge,
    streams: Gauge,
    frames: Family<Kind, Counter>,
    gaps: Family<Kind, Counter>,
    auth_refusals: Family<Kind, Counter>,
    rate_limited: Family<Kind, Counter>,
}

/// Something that is open as long as this lives.
#[derive(Debug)]
#[must_use = "dropped, it counts as closed"]
pub struct Open(Gauge);

impl Open {
    fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Metrics {
    /// Nothing has happened yet.
    pub fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("insula"),
            requests: Family::default(),
            latency: Family::new_with_constructor(|| Histogram::new(SECONDS)),
            sockets: Gauge::default(),
            streams: Gauge::default(),
            frames: Family::default(),
            gaps: Family::default(),
            auth_refusals: Family::default(),
            rate_limited: Family::default(),
        };
        metrics.register();
        metrics
    }

    fn register(&mut self) {
        let version = Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]);
        self.registry.register("build", "The version of the server", version);
        let http = self.registry.sub_registry_with_prefix("http");
        http.register("requests", "Requests that were answered", self.requests.clone());
        http.register_with_unit(
            "request",
            "From a request's head to its answer's",
            Unit::Seconds,
            self.latency.clone(),
        );
        let registry = &mut self.registry;
        registry.register("sockets_open", "WebSockets that are open", self.sockets.clone());
        registry.register("streams_open", "Streams of server-sent events that are open", self.streams.clone());
        registry.register("frames_sent", "Frames that were sent over sockets", self.frames.clone());
        registry.register("gaps", "Readers that were told of a gap", self.gaps.clone());
        registry.register("auth_refusals", "Requests whose caller was refused", self.auth_refusals.clone());
        registry.register("rate_limited", "Requests that came too often", self.rate_limited.clone());
    }

    /// A request was answered. `route` is the template that it matched, never its path; `None` when it matched none.
    pub fn request(&self, route: Option<&str>, method: &str, status: u16, elapsed: Duration) {
        let route = route.unwrap_or("unmatched").to_owned();
        let (method, status) = (method_word(method), status_class(status));
        self.requests.get_or_create(&HttpLabels { route: route.clone(), method, status }).inc();
        self.latency.get_or_create(&RouteLabels { route }).observe(elapsed.as_secs_f64());
    }

    /// A WebSocket was opened.
    pub fn socket_opened(&self) -> Open {
        Open::new(&self.sockets)
    }

    /// A stream of server-sent events was opened.
    pub fn stream_opened(&self) -> Open {
        Open::new(&self.streams)
    }

    /// How many WebSockets are open.
    pub fn sockets(&self) -> u64 {
        u64::try_from(self.sockets.get()).unwrap_or(0)
    }

    /// How many streams of server-sent events are open.
    pub fn streams(&self) -> u64 {
        u64::try_from(self.streams.get()).unwrap_or(0)
    }

    /// Frames were sent over a socket.
    pub fn frames_sent(&self, frame: Frame, count: usize) {
        self.frames.get_or_create(&Kind { kind: frame.as_str() }).inc_by(count as u64);
    }

    /// A reader was told of a gap, over a socket or a stream.
    pub fn gap(&self, reason: GapReason) {
        self.gaps.get_or_create(&Kind { kind: reason.as_str() }).inc();
    }

    /// A caller was not let in, or not there.
    pub fn auth_refused(&self, why: AuthRefusal) {
        self.auth_refusals.get_or_create(&Kind { kind: why.as_str() }).inc();
    }

    /// A request came too often.
    pub fn rate_limited(&self, what: RateLimited) {
        self.rate_limited.get_or_create(&Kind { kind: what.as_str() }).inc();
    }

    /// Everything as [`CONTENT_TYPE`], which Prometheus reads: the server's own counters, the engine's, those of webhooks,
    /// and what storage and the operating system say now. A storage that does not answer within two seconds is left out,
    /// and said to be down.
    pub async fn render(&self, factory: &ExecutionEngineFactory, webhooks: &WebhookCounters) -> String {
        let asked = scrape::ask(factory, webhooks.now()).await;
        let mut text = String::new();
        let written = encode_registry(&mut text, &self.registry)
            .and_then(|()| encode_registry(&mut text, &asked))
            .and_then(|()| encode_eof(&mut text));
        if let Err(error) = written {
            tracing::error!(%error, "the metrics could not be written");
        }
        text
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}
