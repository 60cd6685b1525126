//! What is asked when somebody looks: the engine, storage, the operating system.

use std::{future::Future, time::Duration};

use insula_engine::{ExecutionEngineFactory, Metrics as EngineMetrics};
use insula_infra::{ComponentHealth, Counts, Health};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::ConstCounter, family::Family, gauge::ConstGauge, gauge::Gauge},
    registry::Registry,
};

use super::{labels::Kind, process};
use crate::webhooks::WebhookCounts;

/// How long storage may take to answer: whoever looks does not wait for ever.
const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Component {
    component: String,
}

/// Asks everybody.
pub(super) async fn ask(factory: &ExecutionEngineFactory, webhooks: WebhookCounts) -> Registry {
    let census = &factory.backend().census;
    let (counts, health) = tokio::join!(in_time(census.counts()), in_time(factory.health()));
    let counts = counts.and_then(|counts| counts.inspect_err(|error| tracing::warn!(%error, "no counts")).ok());
    let mut registry = Registry::with_prefix("insula");
    engine(&mut registry, &factory.metrics());
    deliveries(&mut registry, webhooks);
    gauge(&mut registry, "storage_answers", "Whether storage counted in time", u64::from(counts.is_some()));
    counts.iter().for_each(|counts| census_of(&mut registry, counts));
    components(&mut registry, &health.unwrap_or_default());
    operating_system(&mut registry);
    registry
}

async fn in_time<T>(answer: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(PATIENCE, answer).await.ok()
}

fn gauge(registry: &mut Registry, name: &str, help: &str, value: u64) {
    registry.register(name, help, ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX)));
}

fn counter(registry: &mut Registry, name: &str, help: &str, value: u64) {
    registry.register(name, help, ConstCounter::new(value));
}

fn engine(registry: &mut Registry, metrics: &EngineMetrics) {
    let live = [
        ("engines_live", "Engines that exist", metrics.engines_live),
        ("instances_live", "Agent instances that exist", metrics.instances_live),
        ("runs_live", "Runs that this process has in memory", metrics.runs_live),
        ("users_live", "Users who have an engine, a run or a connection here", metrics.users_live),
        ("agent_threads", "Threads that poll agents", metrics.agent_threads),
    ];
    live.into_iter().for_each(|(name, help, value)| gauge(registry, name, help, value as u64));
    let counted = [
        ("engines_created", "Engines that were ever made", metrics.engines_created),
        ("engines_cleaned", "Engines that were shut down, dropped or swept", metrics.engines_cleaned),
        ("instances_made", "Agent instances that were ever made", metrics.instances_made),
        ("runs_started", "Runs whose agent was started here", metrics.runs_started),
        ("agents_abandoned", "Agents that did not let themselves be stopped", metrics.agents_abandoned),
    ];
    counted.into_iter().for_each(|(name, help, value)| counter(registry, name, help, value));
    let ended =
        [("completed", metrics.runs_completed), ("failed", metrics.runs_failed), ("cancelled", metrics.runs_cancelled)];
    by_kind(registry, "runs_ended", "Runs that ended here, by how", &ended);
}

fn by_kind(registry: &mut Registry, name: &str, help: &str, values: &[(&'static str, u64)]) {
    let family = Family::<Kind, prometheus_client::metrics::counter::Counter>::default();
    for (kind, value) in values {
        family.get_or_create(&Kind { kind }).inc_by(*value);
    }
    registry.register(name, help, family);
}

fn deliveries(registry: &mut Registry, webhooks: WebhookCounts) {
    let attempts = [("delivered", webhooks.delivered), ("failed", webhooks.failed)];
    by_kind(registry, "webhook_attempts", "Attempts to deliver a webhook", &attempts);
    counter(registry, "webhooks_given_up", "Webhooks that nobody tries any more", webhooks.dead);
}

fn census_of(registry: &mut Registry, counts: &Counts) {
    let states = [
        ("runs_queued", "Runs that wait for a worker", counts.queued),
        ("runs_delayed", "Runs that are not to begin before their time", counts.delayed),
        ("runs_blocked", "Runs that wait for those before them in their thread", counts.blocked),
        ("runs_running", "Runs that some process holds", counts.running),
        ("runs_waiting", "Runs that are parked", counts.waiting),
        ("users_with_runs", "Users who have runs that have not ended", counts.users),
        ("webhooks_due", "Webhooks that are to be delivered", counts.webhooks_due),
        ("webhooks_dead", "Webhooks in storage that nobody tries any more", counts.webhooks_dead),
    ];
    states.into_iter().for_each(|(name, help, value)| gauge(registry, name, help, value));
    let oldest = ConstGauge::new(counts.oldest_queued_ms as f64 / 1_000.0);
    registry.register("oldest_queued_seconds", "How long the oldest queued run has been able to begin", oldest);
}

fn components(registry: &mut Registry, health: &[ComponentHealth]) {
    let family = Family::<Component, Gauge>::default();
    for ComponentHealth { component, health, .. } in health {
        let value = match health {
            Health::Down => 0,
            Health::Degraded => 1,
            Health::Up => 2,
        };
        // What follows the kind of a component is the name of a file or a host.
        let component = component.split_whitespace().next().unwrap_or_default().to_owned();
        family.get_or_create(&Component { component }).set(value);
    }
    registry.register("component_health", "2 is up, 1 degraded, 0 down", family);
}

fn operating_system(registry: &mut Registry) {
    if let Some(bytes) = process::resident_bytes() {
        gauge(registry, "process_resident_memory_bytes", "Memory of the process that is in RAM", bytes);
    }
    if let Some(files) = process::open_files() {
        gauge(registry, "process_open_files", "Files and sockets that are open", files);
    }
}
