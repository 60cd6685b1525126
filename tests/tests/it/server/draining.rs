//! The end of a server, in order: nothing new, what is in progress ends or is handed over, and every reader knows where to go on.

use std::time::Duration;

use futures::future::join_all;
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{
    house::House,
    process::Process,
    socket::{Heard, Socket, event},
    sse::Sse,
    told::{Told, log_of, same},
    web::Caller,
};
use crate::{
    engine::stage::{Gate, held},
    support::{Gauge, Island, on_every_backend, until, until_async},
};

const DRAIN: Duration = Duration::from_secs(3);
/// What the last words may take after that, on a busy machine.
const FAREWELL: Duration = Duration::from_secs(20);

/// Ten runs that end in time, and ten that do not.
async fn set_out(caller: &Caller) -> Vec<String> {
    let mut runs = Vec::new();
    for n in 0..20 {
        let millis = if n % 2 == 0 { 1_500 } else { 600_000 };
        let order =
            json!({"agent": "sleep", "input": millis, "run_id": format!("r-{n}"), "thread_id": format!("t-{n}")});
        runs.push(caller.submitted(order).await);
    }
    until_async("all have begun", async || {
        let queued = caller.get("/v1/runs?status=queued").await.is(200);
        queued["items"].as_array().unwrap().is_empty()
    })
    .await;
    runs
}

async fn streams(caller: &Caller, runs: &[String]) -> Vec<Sse> {
    join_all(runs.iter().map(async |run| caller.stream(&format!("/v1/runs/{run}/events"), None).await)).await
}

/// What a socket gets until it is closed, and the code.
async fn to_the_close(mut socket: Socket) -> (Vec<Told>, Option<u16>) {
    let mut told = Vec::new();
    loop {
        match socket.hear().await {
            Heard::Text(text) => told.extend(event(&text)),
            Heard::Closed(code) => return (told, code),
        }
    }
}

/// It says that it drains, takes nothing new, and still tells what there is.
async fn refuses_what_is_new(caller: &Caller, run: &str) {
    until_async("it drains", async || caller.get("/readyz").await.status == 503).await;
    assert_eq!(caller.get("/readyz").await.is(503)["status"], "draining");
    caller.get("/healthz").await.is(200);
    let refused = caller.post("/v1/runs", json!({"agent": "echo"})).await;
    refused.refuses(503, "shutting-down");
    assert_eq!(refused.header("retry-after"), "1");
    caller.post(&format!("/v1/runs/{run}/retry"), json!({})).await.refuses(503, "shutting-down");
    caller.get(&format!("/v1/runs/{run}")).await.is(200);
}

/// RES-6.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_terminated_server_leaves_every_reader_with_an_end_or_a_cursor() {
    let folder = TempDir::new().unwrap();
    let server = Process::start(folder.path(), &["serve.drain=3s"]);
    let key = server.key.clone().unwrap();
    let caller = server.caller(&key);
    let runs = set_out(&caller).await;
    let streams = streams(&caller, &runs).await;
    let mut socket = Socket::open(server.address(), &key).await.unwrap();
    for n in 0..runs.len() {
        socket.say(json!({"type": "subscribe", "thread_id": format!("t-{n}")})).await;
    }
    let reading = tokio::spawn(join_all(streams.into_iter().map(Sse::rest)));
    let listening = tokio::spawn(to_the_close(socket));
    server.signal(Signal::TERM);
    refuses_what_is_new(&caller, &runs[0]).await;
    let (status, said) = server.ended(DRAIN + FAREWELL).await;
    assert_eq!(status.code(), Some(0), "{said}");
    let had = reading.await.unwrap();
    let (told, code) = listening.await.unwrap();
    assert_eq!(code, Some(1001), "the socket is told that the server goes away");
    let ended = |run: &String| had.iter().flatten().filter(|told| told.ends(run)).count();
    assert_eq!(runs.iter().map(ended).sum::<usize>(), 10, "those that could end have ended: {said}");
    assert_eq!(said, json!({"ended": true, "left": 10}));
    assert_eq!(told.len(), had.iter().map(Vec::len).sum::<usize>(), "socket and streams were told the same");
    goes_on_elsewhere(folder.path(), &key, &runs, had).await;
}

/// Another server goes on with what was handed over, and every reader behind its cursor.
async fn goes_on_elsewhere(folder: &std::path::Path, key: &str, runs: &[String], mut had: Vec<Vec<Told>>) {
    let server = Process::start(folder, &[]);
    let caller = server.caller(key);
    for (run, had) in runs.iter().zip(&mut had) {
        let last = had.last().map(|told| told.seq);
        let was_over = had.last().is_some_and(|last| last.ends(run));
        let stream = caller.stream(&format!("/v1/runs/{run}/events"), last).await;
        assert_eq!(stream.status(), if was_over { 204 } else { 200 }, "{run}");
        if !was_over {
            caller.post(&format!("/v1/runs/{run}/cancel"), json!({"reason": "enough"})).await.is(202);
        }
        had.extend(stream.rest().await);
        same(run, had, &log_of(&caller, run).await, run);
    }
}

on_every_backend! {
    /// In one process, with a gate: what is in progress ends while nothing new is taken.
    async fn what_is_in_progress_ends_before_the_server_does(island: Island) {
        let (gauge, gate) = (Gauge::default(), Gate::closed());
        let mut house = House::with(island.class(held("held", &gauge, &gate)), |s| s.drain = Duration::from_secs(60)).await;
        let ada = house.user("ada").await;
        let run = ada.submitted(json!({"agent": "held", "thread_id": "talk"})).await;
        until("it has begun", || gauge.now() == 1).await;
        let stream = ada.stream(&format!("/v1/runs/{run}/events"), None).await;
        let mut socket = house.socket(&ada).await;
        socket.subscribe("talk", 0).await;
        house.ask_to_end();
        refuses_what_is_new(&ada, &run).await;
        socket.say(json!({"type": "start", "id": "late", "agent": "echo"})).await;
        let refused = loop {
            let frame = socket.frame().await;
            if frame["id"] == "late" {
                break frame;
            }
        };
        assert_eq!(refused["problem"]["type"], "urn:insula:problem:shutting-down", "{refused}");
        gate.open();
        let told = stream.rest().await;
        assert!(told.last().is_some_and(|last| last.ends(&run)), "{told:?}");
        assert_eq!(socket.close_code().await, Some(1001));
        assert_eq!(house.ended().await, 0);
    }

    /// Whoever waits is told how it stands when the server has no more time.
    async fn whoever_waits_for_an_end_that_does_not_come_is_answered(island: Island) {
        let (gauge, gate) = (Gauge::default(), Gate::closed());
        let short = |settings: &mut insula_server::Settings| settings.drain = Duration::from_millis(50);
        let mut house = House::with(island.class(held("held", &gauge, &gate)), short).await;
        let ada = house.user("ada").await;
        let order = json!({"agent": "held", "run_id": "r-1"});
        let waiting = { let ada = ada.clone(); tokio::spawn(async move { ada.post("/v1/runs?wait=5m", order).await }) };
        until("it has begun", || gauge.now() == 1).await;
        let mut stream = ada.stream("/v1/runs/r-1/events", None).await;
        assert!(stream.told().await.is_some());
        house.ask_to_end();
        let answer: Value = waiting.await.unwrap().is(202);
        assert_eq!(answer["run_id"], "r-1");
        assert!(stream.rest().await.iter().all(|told| told.kind != "agent_completed"));
        let _left = house.ended().await;
        gate.open();
    }
}
