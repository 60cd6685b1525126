//! A receiver on this machine, a store whose clock moves when it is told to, and runs that end.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, Uri},
    response::Response,
};
use insula_context::{CancelReason, Canceller, Clock, RunId, ScopeIssuer, ThreadId, UserScope};
use insula_infra::{
    Append, Backend, EventType, MemoryBackend, NewEvent, NewRun, PageRequest, RawJson, RunChange, RunHeader,
    WebhookRecord, WebhookState, WorkerId, conformance::ManualClock,
};
use serde_json::{Value, json, value::to_raw_value};
use tokio::{net::TcpListener, sync::Notify, task::JoinHandle};

use crate::webhooks::{Deliverer, PlainHttp, WebhookCounters, WebhookRules};

pub(super) const SECRET: &str = "c4nary-c4nary-c4nary";
/// No condition takes as long as this to come true, unless it never does.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a deliverer may take to end.
pub(super) const GRACE: Duration = Duration::from_secs(5);

/// A call as the receiver saw it.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Seen {
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

type Answer = Arc<dyn Fn(usize) -> Option<Response> + Send + Sync>;

/// Answers call number n as it is told; `None` is no answer before it is released.
#[derive(Clone)]
pub(super) struct Receiver {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    answer: Answer,
    released: Arc<Notify>,
    _server: Arc<AbortOnDrop>,
}

struct AbortOnDrop(Option<JoinHandle<()>>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.take().into_iter().for_each(|server| server.abort());
    }
}

impl Receiver {
    pub(super) async fn start(
        ip: Ipv4Addr,
        answer: impl Fn(usize) -> Option<Response> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind((ip, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (seen, released, answer): (_, _, Answer) = (Arc::default(), Arc::default(), Arc::new(answer));
        let mut receiver = Self { address, seen, answer, released, _server: Arc::new(AbortOnDrop(None)) };
        let router = Router::new().fallback(take).with_state(receiver.clone());
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        receiver._server = Arc::new(AbortOnDrop(Some(server)));
        receiver
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// Answers a call that has no answer yet.
    pub(super) fn release(&self) {
        self.released.notify_one();
    }

    pub(super) async fn has_seen(&self, count: usize) -> Vec<Seen> {
        until("the receiver has seen the calls", || async { self.seen().len() >= count }).await;
        self.seen()
    }
}

async fn take(State(receiver): State<Receiver>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let number = {
        let mut seen = receiver.seen.lock().unwrap();
        seen.push(Seen { path: uri.path().to_owned(), headers, body });
        seen.len()
    };
    match (receiver.answer)(number) {
        Some(answer) => answer,
        None => {
            receiver.released.notified().await;
            status(200)
        }
    }
}

pub(super) fn status(code: u16) -> Response {
    Response::builder().status(code).body("no, thank you".into()).unwrap()
}

/// Waits until something is so.
pub(super) async fn until<F: Future<Output = bool>>(what: &str, mut is_so: impl FnMut() -> F) {
    let looking = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
    };
    tokio::time::timeout(PATIENCE, looking).await.unwrap_or_else(|_| panic!("never: {what}"));
}

pub(super) struct Stage {
    pub backend: Backend,
    pub clock: Arc<ManualClock>,
}

/// A deliverer at work. Dropping it is a crash.
pub(super) struct AtWork {
    pub counters: Arc<WebhookCounters>,
    pub wake: Arc<Notify>,
    shutdown: Canceller,
    task: Option<JoinHandle<()>>,
}

impl AtWork {
    pub(super) fn shut_down(&self) {
        self.shutdown.cancel(CancelReason::new("shutdown", "the test ends"));
    }

    pub(super) async fn has_ended(&mut self) {
        let ending = tokio::time::timeout(PATIENCE, self.task.take().unwrap());
        ending.await.expect("the deliverer ends").unwrap();
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        self.task.take().into_iter().for_each(|task| task.abort());
    }
}

/// Tests call this machine, which nobody may by default.
pub(super) fn open_rules() -> WebhookRules {
    WebhookRules { plain_http: PlainHttp::Allowed, allow_networks: vec!["127.0.0.0/8".parse().unwrap()] }
}

#[expect(clippy::disallowed_methods, reason = "the test plays the authenticator")]
pub(super) fn user(name: &str) -> UserScope {
    ScopeIssuer::new().issue("acme", name).unwrap()
}

fn raw(value: &Value) -> RawJson {
    to_raw_value(value).unwrap().into()
}

impl Stage {
    pub(super) fn new() -> Self {
        let clock = Arc::new(ManualClock::new());
        Self { backend: MemoryBackend::with(clock.clone()).into_backend(), clock }
    }

    pub(super) fn deliver(&self, rules: WebhookRules) -> AtWork {
        let shutdown = Canceller::new();
        let deliverer = Deliverer::new(&self.backend, rules, self.clock.clone());
        let (counters, wake) = (deliverer.counters(), deliverer.wake());
        let task = tokio::spawn(deliverer.run(shutdown.cancellation(), GRACE));
        AtWork { counters, wake, shutdown, task: Some(task) }
    }

    /// A run with a webhook that ends.
    pub(super) async fn run(&self, name: &str, id: &str, url: &str) {
        let scope = user(name);
        let header = Arc::new(RunHeader {
            scope,
            thread: ThreadId::new(format!("t-{id}")).unwrap(),
            run: RunId::new(id).unwrap(),
            parent: None,
            agent: "echo".into(),
        });
        let mut new = NewRun::new(header, "1".into(), raw(&json!("the input is not told")), self.clock.now());
        new.webhook = Some(raw(&json!({"url": url, "secret": SECRET})));
        self.backend.queue.submit(new, None).await.unwrap();
        let worker = WorkerId::new("w");
        let claimed = self.backend.queue.claim(&worker, Duration::from_secs(30), 1, 64).await.unwrap().remove(0);
        let mut end = Append::new(claimed.lease, 0);
        let (kind, at) = (EventType::AgentCompleted, self.clock.now());
        end.events.push(NewEvent { kind, at, data: raw(&json!({})), journal: None });
        end.change = Some(RunChange::Completed { result: raw(&json!({"sum": 42})) });
        self.backend.queue.append(end).await.unwrap();
    }

    pub(super) async fn call(&self, name: &str, id: &str) -> WebhookRecord {
        let calls = self.backend.webhooks.webhooks(&user(name), None, &PageRequest::default()).await.unwrap();
        calls.items.into_iter().find(|call| call.header.run.as_str() == id).unwrap()
    }

    pub(super) async fn comes_to(&self, state: WebhookState, name: &str, id: &str) -> WebhookRecord {
        until(&format!("{id} is {state:?}"), || async { self.call(name, id).await.state == state }).await;
        self.call(name, id).await
    }

    /// Waits until so many attempts of a call were written down.
    pub(super) async fn was_tried(&self, times: u32, name: &str, id: &str) -> WebhookRecord {
        until(&format!("{id} was tried {times} times"), || async { self.call(name, id).await.attempts >= times }).await;
        self.call(name, id).await
    }
}
