//! What a collector on this machine gets.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use insula_agent::{Error, Question, Session, ToolSpec, agent_fn, tool_fn};
use insula_context::{RunId, ScopeIssuer, ThreadId, UserScope};
use insula_engine::{AnswerTo, ExecutionEngineFactory, Limits, MemoryBackend, RunRequest, Tools};
use insula_registry::{AgentClass, AgentClassRegistry};
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{KeyValue, any_value::Value as AnyValue},
    trace::v1::{Span as Sent, span::SpanKind, status::StatusCode},
};
use prost::Message as _;
use serde_json::{Value, json};
use tokio::time::Instant;
use tracing_subscriber::layer::SubscriberExt as _;

use super::*;

/// What no collector is to learn.
const CANARY: &str = "c4nary";
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";

/// Takes what is sent to `/v1/traces`.
struct Collector {
    address: SocketAddr,
    got: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Collector {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, got) = (listener.local_addr().unwrap(), Arc::<Mutex<Vec<_>>>::default());
        let taken = Arc::clone(&got);
        thread::spawn(move || listener.incoming().for_each(|stream| take(stream.unwrap(), &taken)));
        Self { address, got }
    }

    fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    fn spans(&self) -> Vec<Sent> {
        let got = self.got.lock().unwrap();
        let requests = got.iter().map(|body| ExportTraceServiceRequest::decode(&**body).unwrap());
        let resources = requests.flat_map(|request| request.resource_spans);
        resources.flat_map(|resource| resource.scope_spans).flat_map(|scope| scope.spans).collect()
    }
}

fn take(stream: TcpStream, got: &Mutex<Vec<Vec<u8>>>) {
    let mut reader = BufReader::new(stream);
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 || line == "\r\n" {
            break;
        }
        head.push(line.to_lowercase());
    }
    assert!(head[0].starts_with("post /v1/traces "), "{}", head[0]);
    let length = head.iter().find_map(|line| line.strip_prefix("content-length:")).unwrap().trim().parse().unwrap();
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    got.lock().unwrap().push(body);
    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    reader.into_inner().write_all(answer).unwrap();
}

fn text(pair: &KeyValue) -> Option<&str> {
    match pair.value.as_ref()?.value.as_ref()? {
        AnyValue::StringValue(text) => Some(text),
        _ => None,
    }
}

fn attributes(of: &[KeyValue]) -> BTreeMap<&str, &str> {
    of.iter().filter_map(|pair| Some((&*pair.key, text(pair)?))).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[expect(clippy::disallowed_methods, reason = "the test plays the authenticator")]
fn user() -> UserScope {
    ScopeIssuer::new().issue(format!("{CANARY}-tenant"), format!("{CANARY}-user")).unwrap()
}

async fn parent(session: Session, _: Value) -> insula_agent::Result<Value> {
    tracing::error!(target: "insula::spans", "{CANARY} of an event");
    drop(tracing::info_span!(target: "somebody_elses", "c4nary-span"));
    session.call_tool("greet", json!({"whom": CANARY})).await?;
    let _ = session.call_tool("break", json!({"whom": CANARY})).await;
    session.call_agent("child", json!(CANARY)).await
}

fn factory() -> ExecutionEngineFactory {
    let child = || {
        agent_fn(|session: Session, input: Value| async move {
            session.call_tool("greet", json!({"whom": input})).await?;
            Err::<Value, _>(Error::failed(format!("{CANARY} of a failure")))
        })
    };
    let asking = || {
        agent_fn(|session: Session, _: Value| async move {
            session.ask::<Value>(Question::new(format!("{CANARY} of a question"))).await
        })
    };
    let registry = AgentClassRegistry::builder()
        .register(AgentClass::new("parent", "7", || agent_fn(parent)))
        .register(AgentClass::new("child", "1", child))
        .register(AgentClass::new("asking", "1", asking))
        .freeze()
        .unwrap();
    let schema = || json!({"type": "object"});
    let tools = Tools::new()
        .with(tool_fn(ToolSpec::with_schema("greet", schema()), |_, whom: Value| async move { Ok(whom) }))
        .with(tool_fn(ToolSpec::with_schema("break", schema()), |_, _: Value| async move {
            Err::<Value, _>(Error::failed(format!("{CANARY} of a tool")))
        }));
    ExecutionEngineFactory::builder(registry, MemoryBackend::new().into_backend())
        .tools(tools)
        .limits(Limits { park_after: Duration::from_millis(1), ..Limits::default() })
        .traces(Arc::new(OpenTelemetry))
        .build()
}

fn request(agent: &str) -> RunRequest {
    RunRequest::new(agent, json!({"secret": CANARY}))
        .run(RunId::new(format!("r-{agent}")).unwrap())
        .thread(ThreadId::new(format!("t-{agent}")).unwrap())
        .trace(format!("00-{TRACE}-{CALLER}-01").parse().unwrap())
}

/// Runs what there is to run, with questions in between.
async fn work(factory: &ExecutionEngineFactory) {
    let run = factory.submit(&user(), request("parent")).await.unwrap();
    factory.wait(&user(), &run).await.unwrap().unwrap();
    let run = factory.submit(&user(), request("asking")).await.unwrap();
    // It has left the memory when it is parked.
    while factory.inbox(&user(), Some(&run), &Default::default()).await.unwrap().items.is_empty()
        || factory.metrics().runs_live > 0
    {
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    factory.answer(&user(), &run, AnswerTo::the_oldest(CANARY)).await.unwrap().unwrap();
    factory.wait(&user(), &run).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spans_hang_together_under_their_caller_and_say_nothing_of_what_was_said() {
    let collector = Collector::start();
    let telemetry = Telemetry::start(Some(&collector.endpoint())).unwrap();
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(telemetry.layer())).unwrap();
    let factory = factory();
    work(&factory).await;
    let deadline = Instant::now() + Duration::from_secs(20);
    while collector.spans().len() < 7 && Instant::now() < deadline {
        tokio::task::block_in_place(|| telemetry.0.as_ref().unwrap().force_flush()).unwrap();
    }
    drop(telemetry);

    let spans = collector.spans();
    let found = |name: &str, within: &Sent| {
        let mut found = spans.iter().filter(|span| span.name == name && span.parent_span_id == within.span_id);
        let one = found.next().unwrap_or_else(|| panic!("there is no {name} in {}", within.name));
        assert!(found.next().is_none(), "{name} is there twice");
        (one, attributes(&one.attributes))
    };
    let caller = Sent {
        span_id: (0..8).map(|n| u8::from_str_radix(&CALLER[n * 2..][..2], 16).unwrap()).collect(),
        ..Sent::default()
    };
    let (parent, of_parent) = found("invoke_agent parent", &caller);
    assert_eq!(of_parent["gen_ai.operation.name"], "invoke_agent");
    assert_eq!((of_parent["gen_ai.agent.name"], of_parent["gen_ai.agent.version"]), ("parent", "7"));
    assert_eq!((of_parent["gen_ai.conversation.id"], of_parent["insula.run.id"]), ("t-parent", "r-parent"));
    assert_eq!((of_parent["insula.run.status"], of_parent["error.type"]), ("failed", "error"));

    let (greet, of_greet) = found("execute_tool greet", parent);
    assert_eq!((of_greet["gen_ai.operation.name"], of_greet["gen_ai.tool.name"]), ("execute_tool", "greet"));
    assert_eq!((of_greet["gen_ai.tool.type"], of_greet.get("error.type")), ("function", None));
    assert_eq!(greet.kind(), SpanKind::Internal);
    let (broken, of_broken) = found("execute_tool break", parent);
    assert_eq!(of_broken["error.type"], "error");
    assert_eq!(broken.status.as_ref().unwrap().code(), StatusCode::Error);

    let (child, of_child) = found("invoke_agent child", parent);
    assert_eq!((of_child["insula.run.status"], of_child["gen_ai.conversation.id"]), ("failed", "t-parent"));
    found("execute_tool greet", child);

    let pieces: Vec<_> = spans.iter().filter(|span| span.name == "invoke_agent asking").collect();
    assert!(pieces.iter().all(|piece| hex(&piece.parent_span_id) == CALLER));
    let statuses: Vec<_> = pieces.iter().map(|piece| attributes(&piece.attributes)["insula.run.status"]).collect();
    assert_eq!(statuses, ["waiting", "completed"]);

    assert_eq!(spans.len(), 7);
    assert!(spans.iter().all(|span| hex(&span.trace_id) == TRACE && span.events.is_empty()));
    let sent = collector.got.lock().unwrap().concat();
    assert!(!String::from_utf8_lossy(&sent).contains(CANARY));
    assert!(String::from_utf8_lossy(&sent).contains("service.name"));
}

#[test]
fn a_collector_that_does_not_answer_holds_up_the_end_for_two_seconds_at_most() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let telemetry = Telemetry::start(Some(&format!("http://{}", silent.local_addr().unwrap()))).unwrap();
    tracing::subscriber::with_default(tracing_subscriber::registry().with(telemetry.layer()), || {
        drop(tracing::info_span!(target: "insula::spans", "something"));
    });
    let began = Instant::now();
    drop(telemetry);
    let took = began.elapsed();
    assert!(took < AT_THE_END + Duration::from_secs(1), "{took:?}");
}

#[test]
fn a_trace_that_is_not_recorded_is_not_recorded_here_either() {
    let collector = Collector::start();
    let telemetry = Telemetry::start(Some(&collector.endpoint())).unwrap();
    let trace = |flags: &str| format!("00-{TRACE}-{CALLER}-{flags}").parse().unwrap();
    tracing::subscriber::with_default(tracing_subscriber::registry().with(telemetry.layer()), || {
        for (name, flags) in [("insula::recorded", "01"), ("insula::unrecorded", "00")] {
            let span = tracing::info_span!(target: "insula::spans", "it", otel.name = name);
            OpenTelemetry.continue_from(&span, &trace(flags));
            let here = OpenTelemetry.context_of(&span).unwrap();
            assert_eq!((&*here.trace_id, here.sampled), (TRACE, flags == "01"));
        }
        assert_eq!(OpenTelemetry.context_of(&Span::none()), None);
    });
    drop(telemetry);
    let names: Vec<_> = collector.spans().into_iter().map(|span| span.name).collect();
    assert_eq!(names, ["insula::recorded"]);
}
