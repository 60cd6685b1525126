//! What is shown, and what never is.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use async_trait::async_trait;
use insula_agent::kit;
use insula_context::{RunId, ScopeIssuer, ThreadId, UserScope};
use insula_engine::{ExecutionEngineFactory, RunRequest};
use insula_infra::{Backend, Census, Counts, Error, MemoryBackend, NodeRecord};
use insula_registry::{AgentClass, AgentClassRegistry};
use serde_json::json;

use super::{AuthRefusal, Frame, GapReason, Metrics, RateLimited};
use crate::webhooks::WebhookCounters;

#[expect(clippy::disallowed_methods, reason = "the test plays the authenticator")]
fn user(name: &str) -> UserScope {
    ScopeIssuer::new().issue(format!("c4nary-tenant-{name}"), format!("c4nary-user-{name}")).unwrap()
}

fn factory(backend: Backend) -> ExecutionEngineFactory {
    let registry = AgentClassRegistry::builder()
        .register(AgentClass::new("echo", "1", kit::echo))
        .register(AgentClass::new("fail", "1", || kit::fail("c4nary-failure")))
        .freeze()
        .unwrap();
    ExecutionEngineFactory::builder(registry, backend).build()
}

async fn run(factory: &ExecutionEngineFactory, name: &str, agent: &str) {
    let request = RunRequest::new(agent, json!("c4nary-input"))
        .run(RunId::new(format!("c4nary-run-{name}")).unwrap())
        .thread(ThreadId::new(format!("c4nary-thread-{name}")).unwrap());
    let run = factory.submit(&user(name), request).await.unwrap();
    factory.wait(&user(name), &run).await.unwrap().unwrap();
}

/// A line of the text that is no comment.
#[derive(Debug)]
struct Sample<'a> {
    name: &'a str,
    labels: Vec<(&'a str, &'a str)>,
    value: f64,
}

fn sample(line: &str) -> Sample<'_> {
    let (head, value) = line.rsplit_once(' ').unwrap();
    let (name, labels) = head.split_once('{').unwrap_or((head, "}"));
    // A template may hold commas of its own only within quotes, which none of ours does.
    let labels = labels.strip_suffix('}').unwrap().split("\",").filter(|label| !label.is_empty());
    let labels = labels.map(|label| label.split_once("=\"").unwrap()).map(|(k, v)| (k, v.trim_end_matches('"')));
    Sample { name, labels: labels.collect(), value: value.parse().unwrap() }
}

fn samples(text: &str) -> Vec<Sample<'_>> {
    text.lines().filter(|line| !line.starts_with('#')).map(sample).collect()
}

fn value(text: &str, name: &str, labels: &[(&str, &str)]) -> f64 {
    let found = samples(text).into_iter().find(|sample| sample.name == name && sample.labels == labels);
    found.unwrap_or_else(|| panic!("{name}{labels:?} is not in\n{text}")).value
}

async fn rendered(metrics: &Metrics, factory: &ExecutionEngineFactory) -> String {
    metrics.render(factory, &WebhookCounters::default()).await
}

#[tokio::test]
async fn what_happened_is_counted() {
    let (metrics, factory) = (Metrics::new(), factory(MemoryBackend::new().into_backend()));
    run(&factory, "ada", "echo").await;
    run(&factory, "bob", "fail").await;
    metrics.request(Some("/v1/runs/{run_id}"), "GET", 200, Duration::from_millis(3));
    metrics.request(Some("/v1/runs/{run_id}"), "GET", 404, Duration::from_millis(3));
    metrics.request(None, "BREW", 404, Duration::from_millis(1));
    metrics.frames_sent(Frame::Event, 1);
    metrics.gap(GapReason::Behind);
    metrics.auth_refused(AuthRefusal::Invalid);
    metrics.rate_limited(RateLimited::Address);
    let text = rendered(&metrics, &factory).await;
    let route = ("route", "/v1/runs/{run_id}");
    assert_eq!(value(&text, "insula_http_requests_total", &[route, ("method", "GET"), ("status", "2xx")]), 1.0);
    let none = [("route", "unmatched"), ("method", "other"), ("status", "4xx")];
    assert_eq!(value(&text, "insula_http_requests_total", &none), 1.0);
    assert_eq!(value(&text, "insula_http_request_seconds_count", &[route]), 2.0);
    assert_eq!(value(&text, "insula_http_request_seconds_bucket", &[("le", "0.0025"), route]), 0.0);
    assert_eq!(value(&text, "insula_http_request_seconds_bucket", &[("le", "0.005"), route]), 2.0);
    assert_eq!(value(&text, "insula_frames_sent_total", &[("kind", "event")]), 1.0);
    assert_eq!(value(&text, "insula_gaps_total", &[("kind", "behind")]), 1.0);
    assert_eq!(value(&text, "insula_auth_refusals_total", &[("kind", "invalid")]), 1.0);
    assert_eq!(value(&text, "insula_rate_limited_total", &[("kind", "address")]), 1.0);
    assert_eq!(value(&text, "insula_runs_started_total", &[]), 2.0);
    assert_eq!(value(&text, "insula_runs_ended_total", &[("kind", "completed")]), 1.0);
    assert_eq!(value(&text, "insula_runs_ended_total", &[("kind", "failed")]), 1.0);
    assert_eq!(value(&text, "insula_runs_queued", &[]), 0.0);
    assert_eq!(value(&text, "insula_storage_answers", &[]), 1.0);
    assert_eq!(value(&text, "insula_build_info", &[("version", env!("CARGO_PKG_VERSION"))]), 1.0);
    assert!(text.ends_with("# EOF\n"));
}

#[tokio::test]
async fn what_is_open_is_closed_by_drop() {
    let (metrics, factory) = (Metrics::new(), factory(MemoryBackend::new().into_backend()));
    let (socket, stream) = (metrics.socket_opened(), metrics.stream_opened());
    assert_eq!((metrics.sockets(), metrics.streams()), (1, 1));
    assert_eq!(value(&rendered(&metrics, &factory).await, "insula_sockets_open", &[]), 1.0);
    drop((socket, stream));
    assert_eq!(value(&rendered(&metrics, &factory).await, "insula_streams_open", &[]), 0.0);
}

#[tokio::test]
async fn no_user_tenant_run_or_thread_is_in_it_and_users_add_no_series() {
    let (metrics, factory) = (Metrics::new(), factory(MemoryBackend::new().into_backend()));
    run(&factory, "ada", "echo").await;
    let one = rendered(&metrics, &factory).await;
    run(&factory, "bob", "fail").await;
    let two = rendered(&metrics, &factory).await;
    assert!(!two.contains("c4nary"), "{two}");
    assert_eq!(samples(&one).len(), samples(&two).len());
    let names: BTreeSet<_> =
        samples(&two).iter().flat_map(|sample| sample.labels.clone()).map(|(key, _)| key).collect();
    assert_eq!(names, BTreeSet::from(["component", "kind", "version"]));
}

#[tokio::test]
async fn every_family_says_what_it_is_and_is_there_once() {
    let (metrics, factory) = (Metrics::new(), factory(MemoryBackend::new().into_backend()));
    let text = rendered(&metrics, &factory).await;
    let families: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    assert_eq!(families.len(), families.iter().collect::<BTreeSet<_>>().len());
    assert_eq!(families.len(), text.lines().filter(|line| line.starts_with("# HELP ")).count());
    assert!(families.iter().all(|family| family.starts_with("insula_")), "{families:?}");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_process_says_what_it_needs() {
    let text = rendered(&Metrics::new(), &factory(MemoryBackend::new().into_backend())).await;
    assert!(value(&text, "insula_process_resident_memory_bytes", &[]) > 1_000_000.0);
    assert!(value(&text, "insula_process_open_files", &[]) >= 3.0);
}

/// A store that never answers.
struct Silent;

#[async_trait]
impl Census for Silent {
    async fn counts(&self) -> Result<Counts, Error> {
        std::future::pending().await
    }

    async fn nodes(&self) -> Result<Vec<NodeRecord>, Error> {
        std::future::pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_does_not_answer_holds_up_nobody_who_looks() {
    let backend = Backend { census: Arc::new(Silent), ..MemoryBackend::new().into_backend() };
    let text = rendered(&Metrics::new(), &factory(backend)).await;
    assert_eq!(value(&text, "insula_storage_answers", &[]), 0.0);
    assert!(!text.contains("insula_runs_queued"));
}
