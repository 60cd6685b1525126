//! The shapes of the wire, field by field. They change only by addition, and then these tests change as well.

use std::collections::BTreeSet;

use insula_context::{RequestId, RunId, ThreadId, TraceContext, UserExecutionContext};
use insula_server::{Origin, wire};
use serde_json::{Value, json};

use super::{
    house::House,
    table::{self, ROUTES},
    web::Caller,
};
use crate::{
    engine::stage::class,
    support::{Backing, Island, until_async, user},
};

async fn tell<F: Future<Output = ()>>(story: impl FnOnce(Island) -> F) {
    Backing::Memory.tell(story).await;
}

/// The value with what differs each time replaced by what it is.
fn tidy(value: Value) -> Value {
    match value {
        Value::Array(items) => items.into_iter().map(tidy).collect(),
        Value::Object(fields) => fields.into_iter().map(|(name, value)| (name, tidy(value))).collect(),
        Value::String(text) => Value::String(word_for(text)),
        other => other,
    }
}

fn word_for(text: String) -> String {
    let is_uuid = text.len() == 36 && text.split('-').map(str::len).eq([8, 4, 4, 4, 12]);
    let is_time = text.len() > 19 && text.ends_with('Z') && text.as_bytes()[10] == b'T';
    let is_hex = |digits| text.len() == digits && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    match () {
        () if is_uuid => "UUID".to_owned(),
        () if is_time => "TIME".to_owned(),
        () if is_hex(64) => "HASH".to_owned(),
        () if is_hex(16) => "KEY ID".to_owned(),
        () if text.starts_with("insula_") => "KEY".to_owned(),
        () if text.len() == 43 => "TICKET".to_owned(),
        () => text,
    }
}

/// A run as it is in a list.
fn run(over: Value) -> Value {
    let mut run = json!({
        "run_id": "r-1", "thread_id": "t-1", "user_id": "ada", "parent_run_id": null, "agent": "same", "version": "1",
        "status": "completed", "waits_for": null, "result": "salve", "failure": null, "cancel": null,
        "rolled_back": false, "created_at": "TIME", "started_at": "TIME", "ended_at": "TIME", "events": 2,
    });
    for (name, value) in over.as_object().unwrap() {
        run[name] = value.clone();
    }
    run
}

/// Returns its input.
fn same() -> insula_registry::AgentClass {
    class("same", |_, input| async move { Ok(input) })
}

async fn settled(island: Island) -> (House, Caller) {
    let house = House::open(island.class(same())).await;
    let ada = house.user("ada").await;
    let order = json!({"agent": "same", "input": "salve", "thread_id": "t-1", "run_id": "r-1"});
    let ended = tidy(ada.ended(order).await);
    assert_eq!(ended, run(json!({"input": "salve"})));
    (house, ada)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runs_threads_and_events_have_their_shapes() {
    tell(async |island: Island| {
        let (_house, ada) = settled(island).await;
        let of = async |path: &str| tidy(ada.get(path).await.is(200));
        assert_eq!(of("/v1/runs").await, json!({"items": [run(json!({}))], "next": null}));
        let thread = json!({"thread_id": "t-1", "created_at": "TIME", "head": 2});
        assert_eq!(of("/v1/threads/t-1").await, thread);
        assert_eq!(of("/v1/threads").await, json!({"items": [thread], "next": null}));
        let event = |seq: u64, kind: &str, data: Value| {
            json!({"seq": seq, "type": kind, "user_id": "ada", "thread_id": "t-1", "run_id": "r-1", "agent": "same",
                   "timestamp": "TIME", "data": data})
        };
        let mut page = of("/v1/runs/r-1/events").await;
        page["events"][1]["data"]["duration_ms"] = json!(0);
        let started = page["events"][0]["data"].clone();
        let ended = page["events"][1]["data"].clone();
        assert_eq!((&started["input"], &ended["result"]), (&json!("salve"), &json!("salve")), "{page}");
        let events = [event(1, "agent_started", started), event(2, "agent_completed", ended)];
        assert_eq!(page, json!({"events": events, "after": 0, "head": 2}));
        let forked = tidy(ada.post("/v1/threads/t-1/fork", json!({"seq": 1, "thread_id": "t-2"})).await.is(201));
        let from = json!({"thread_id": "t-1", "seq": 1});
        assert_eq!(forked, json!({"thread_id": "t-2", "created_at": "TIME", "head": 1, "forked_from": from}));
        assert_eq!(ada.delete("/v1/threads/t-2").await.is(200), json!({"threads": 1, "runs": 0}));
        let stopped = ada.post("/v1/runs/r-1/cancel", json!({})).await.is(202);
        assert_eq!(stopped, json!({"run_id": "r-1", "cancel": {"ended": "completed"}}));
        let ahead = ada.post("/v1/runs/r-9/cancel", json!({})).await.is(202);
        assert_eq!(ahead, json!({"run_id": "r-9", "cancel": "ahead"}));
        assert_eq!(ada.post("/v1/runs/cancel", json!({})).await.is(202), json!({"run_ids": []}));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_of_the_account_has_its_shapes() {
    tell(async |island: Island| {
        let (_house, ada) = settled(island).await;
        let of = async |path: &str| tidy(ada.get(path).await.is(200));
        let credential = json!({"kind": "key", "id": "KEY ID", "name": "a test's", "expires_at": null});
        let me = json!({"tenant_id": "acme", "user_id": "ada", "roles": ["user"], "access": "write",
                        "credential": credential, "server": {"version": env!("CARGO_PKG_VERSION")}});
        assert_eq!(of("/v1/me").await, me);
        let order = json!({"name": "laptop", "access": "read", "expires_in": "30d"});
        let shown = tidy(ada.post("/v1/keys", order).await.is(201));
        let mut key = json!({"key_id": "KEY ID", "tenant_id": "acme", "user_id": "ada", "name": "laptop",
                             "roles": ["user"], "access": "read", "created_at": "TIME", "expires_at": "TIME",
                             "last_used_at": null, "revoked_at": null, "key": "KEY"});
        assert_eq!(shown, key);
        key.as_object_mut().unwrap().remove("key");
        assert_eq!(of("/v1/keys?limit=1").await["items"], json!([key]), "it is never shown again");
        let ticket = tidy(ada.post("/v1/tickets", json!({})).await.is(201));
        assert_eq!(ticket, json!({"ticket": "TICKET", "expires_at": "TIME"}));
        let schedule = json!({"cron": "0 0 1 1 *", "agent": "same"});
        let kept = tidy(ada.ask("PUT", "/v1/schedules/yearly", Some(&schedule)).await.is(200));
        let expected = json!({"name": "yearly", "cron": "0 0 1 1 *", "zone": "UTC", "missed": "skip", "agent": "same",
                              "input": null, "policy": "enqueue", "priority": 0, "created_at": "TIME",
                              "next_at": "TIME", "paused": false});
        assert_eq!(kept, expected);
        assert_eq!(of("/v1/schedules").await, json!({"items": [expected]}));
        let paused = tidy(ada.post("/v1/schedules/yearly/pause", json!({})).await.is(200));
        assert_eq!((&paused["paused"], &paused["next_at"]), (&json!(true), &Value::Null));
        assert_eq!(ada.delete("/v1/schedules/yearly").await.is(204), Value::Null);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn questions_and_failures_have_their_shapes() {
    tell(async |island: Island| {
        let house = House::open(island.class(super::resuming::odyssey())).await;
        let ada = house.user("ada").await;
        ada.submitted(json!({"agent": "odyssey", "thread_id": "sea", "run_id": "r-1"})).await;
        let asked = async || !ada.get("/v1/inbox").await.is(200)["items"].as_array().unwrap().is_empty();
        until_async("it asks", asked).await;
        let inbox = tidy(ada.get("/v1/inbox").await.is(200));
        let question = inbox["items"][0]["question"].clone();
        assert_eq!((&question["text"], &question["choices"]), (&json!("Which way?"), &json!(["Scylla", "Charybdis"])));
        let index = inbox["items"][0]["index"].clone();
        let expected = json!({"run_id": "r-1", "thread_id": "sea", "agent": "odyssey", "index": index,
                              "waiting_for": "human", "question": question, "asked_at": "TIME", "expires_at": null});
        assert_eq!(inbox, json!({"items": [expected], "next": null}));
        let wrong = ada.post("/v1/runs/r-1/answer", json!({"answer": "neither"})).await.refuses(422, "invalid-input");
        assert_eq!(wrong["violations"], json!(["choose one of: Scylla, Charybdis"]));
        let given = ada.post("/v1/runs/r-1/answer", json!({"answer": "Scylla", "question": index})).await.is(200);
        assert_eq!(given, json!({"run_id": "r-1", "answer": "recorded"}));
        let failed = ada.ended(json!({"agent": "fail"})).await;
        assert_eq!((&failed["status"], &failed["result"]), (&json!("failed"), &Value::Null));
        assert_eq!(failed["failure"], json!({"reason": "error", "message": "it does not work"}));
        let unknown = ada.post("/v1/runs", json!({"agent": "nobody"})).await.refuses(404, "not-found");
        assert!(unknown["detail"].as_str().unwrap().contains("\"nobody\""), "{unknown}");
    })
    .await;
}

#[test]
fn frames_have_their_shapes() {
    let shown = |frame: &wire::Frame<'_>| serde_json::to_value(frame).unwrap();
    let gap = |reason| wire::Gap { thread_id: "t-1".to_owned(), after: 7, next: 8, head: 900, reason };
    let fields =
        |word: &str| json!({"type": "gap", "thread_id": "t-1", "after": 7, "next": 8, "head": 900, "reason": word});
    assert_eq!(shown(&wire::Frame::Gap(&gap(wire::GapReason::Behind))), fields("behind"));
    assert_eq!(shown(&wire::Frame::Gap(&gap(wire::GapReason::NotKept))), fields("not_kept"));
    assert_eq!(shown(&wire::Frame::Pong { id: None }), json!({"type": "pong"}));
    let ack = wire::Ack { id: Some(json!(1)), after: Some(2), thread_id: Some("t".to_owned()), ..wire::Ack::default() };
    assert_eq!(shown(&wire::Frame::Ack(ack)), json!({"type": "ack", "id": 1, "thread_id": "t", "after": 2}));
}

/// The description is served, and every route in it answers with exactly the methods that it names.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_description_names_the_routes_that_there_are() {
    tell(async |island: Island| {
        let house = House::open(island).await;
        let nobody = house.nobody();
        let served = nobody.get("/openapi.json").await;
        assert_eq!(served.is(200), serde_json::to_value(insula_server::openapi()).unwrap());
        let mut answered = BTreeSet::new();
        for path in ROUTES.iter().map(|row| row.path).collect::<BTreeSet<_>>() {
            let refused = nobody.ask("PATCH", &path.replace(['{', '}'], "x"), None).await;
            refused.refuses(405, "method-not-allowed");
            let methods = refused.header("allow").split(',').map(|method| method.trim().to_owned());
            answered.extend(methods.filter(|method| method != "HEAD").map(|method| format!("{method} {path}")));
        }
        assert_eq!(answered, table::described());
        nobody.ask("OPTIONS", "/v1/runs", None).await.refuses(405, "method-not-allowed");
        nobody.get("/v1/nothing").await.refuses(404, "not-found");
        let page = nobody.get("/").await;
        assert!(page.status == 200 && page.header("content-type").starts_with("text/html"), "{page:?}");
        assert!(page.header("content-security-policy").contains("default-src 'none'"));
        assert_eq!(nobody.ask("HEAD", "/healthz", None).await.is(200), Value::Null);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_names_its_request() {
    tell(async |island: Island| {
        let house = House::open(island).await;
        let ada = house.user("ada").await;
        assert_eq!(ada.with("x-request-id", "mine-1").get("/v1/me").await.header("x-request-id"), "mine-1");
        let refused = ada.with("x-request-id", "mine-2").get("/v1/runs/nothing").await.refuses(404, "not-found");
        assert_eq!(refused["request_id"], "mine-2");
        for none in ["null", " ", &"x".repeat(200)] {
            let fresh = ada.with("x-request-id", none).get("/v1/me").await;
            assert_eq!(word_for(fresh.header("x-request-id").to_owned()), "UUID", "{none:?}");
        }
    })
    .await;
}

fn origin() -> Origin {
    let trace: TraceContext = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".parse().unwrap();
    Origin {
        request: RequestId::new("req-1").unwrap(),
        correlation: Some("order-7".to_owned()),
        trace: Some(trace),
        address: Some([192, 0, 2, 7].into()),
        method: "POST".to_owned(),
        path: "/v1/runs".to_owned(),
    }
}

/// CTX-13.
#[test]
fn a_context_says_which_request_it_came_from() {
    let (thread, run) = (ThreadId::new("t-1").unwrap(), RunId::new("r-1").unwrap());
    let context = origin().apply(UserExecutionContext::builder(user("ada"), thread, run)).build().unwrap();
    let view = serde_json::to_value(context.audit_view()).unwrap();
    let text = view.to_string();
    assert_eq!(view["request_id"], "req-1", "{text}");
    for part in ["4bf92f3577b34da6a3ce929d0e0e4736", "order-7", "192.0.2.7", "POST", "/v1/runs"] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

/// CTX-13 from end to end: also the run that another process begins later knows it, and no secret is in it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_knows_the_request_that_submitted_it() {
    tell(async |island: Island| {
        let viewing =
            class(
                "viewing",
                |session, _| async move { Ok(serde_json::to_value(session.context().audit_view()).unwrap()) },
            );
        let house = House::open(island.class(viewing)).await;
        let ada = house.user("ada").await;
        let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let asking = ada.with("x-request-id", "req-1").with("x-correlation-id", "order-7").with("traceparent", trace);
        let ended = asking.ended(json!({"agent": "viewing"})).await;
        let text = ended["result"].to_string();
        for part in ["4bf92f3577b34da6a3ce929d0e0e4736", "req-1", "order-7", "127.0.0.1", "POST", "/v1/runs"] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(!text.contains("insula_") && !text.contains("wait="), "{text}");
    })
    .await;
}
