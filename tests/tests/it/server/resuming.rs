//! A stream that is cut anywhere goes on where it was: nothing is missing, nothing comes twice, one end.

use insula_agent::{Effect, Question};
use insula_registry::AgentClass;
use serde_json::{Value, json};

use super::{
    house::House,
    told::{Told, ended_log, log_at, same},
    web::Caller,
};
use crate::{
    engine::stage::class,
    support::{Island, on_every_backend},
};

/// A run with events of many kinds: thoughts, calls, a child, a step, something of its own, a question.
pub(super) fn odyssey() -> AgentClass {
    class("odyssey", |session, _| async move {
        session.think("tell me, muse");
        session.call_tool("tally", json!({"n": 1})).await?;
        session.emit("port", json!({"name": "Aeaea", "winds": [1, 2.5, null], "ünïcode": "\u{2028}\"\\\n"}))?;
        let told: Value = session.call_agent("echo", "salve").await?;
        let way: Value = session.ask(Question::new("Which way?").choices(["Scylla", "Charybdis"])).await?;
        let years: u32 = session.step("years", Effect::Pure, async || Ok(10)).await?;
        session.think("home");
        Ok(json!([told["echo"], way, years]))
    })
}

/// Events of a reference run: its own, its child's are four more.
const LEAST: usize = 11;

async fn embark(caller: &Caller, thread: &str) -> String {
    caller.submitted(json!({"agent": "odyssey", "thread_id": thread})).await
}

/// Answers the question as soon as somebody was told of it.
pub(super) async fn answer_when_asked(caller: &Caller, told: &Told, run: &str, answer: &str) {
    let waits = || told.value()["data"]["question"].is_object();
    if told.kind == "agent_waiting" && told.run == run && waits() {
        let answer = json!({"answer": answer});
        let given = caller.post(&format!("/v1/runs/{run}/answer"), answer).await;
        assert!([200, 404, 409].contains(&given.status), "{given:?}");
    }
}

/// Reads over sockets, and is cut off after each `cut` events of the first one.
async fn cut_socket(house: &House, caller: &Caller, (thread, run): (&str, &str), cut: usize) -> Vec<Told> {
    let mut had: Vec<Told> = Vec::new();
    let mut socket = house.socket(caller).await;
    socket.subscribe(thread, 0).await;
    while had.last().is_none_or(|last| !last.ends(run)) {
        if had.len() == cut {
            // Dropped without a word, as a network does it.
            socket = house.socket(caller).await;
            socket.subscribe(thread, had.last().map_or(0, |last| last.seq)).await;
        }
        let told = socket.told().await;
        answer_when_asked(caller, &told, run, "Scylla").await;
        had.push(told);
    }
    had
}

/// As above, with server-sent events and what the browser remembers.
async fn cut_stream(caller: &Caller, path: &str, run: &str, cut: usize) -> Vec<Told> {
    let mut had: Vec<Told> = Vec::new();
    let mut stream = caller.stream(path, None).await;
    while had.last().is_none_or(|last| !last.ends(run)) {
        if had.len() == cut {
            stream = caller.stream(path, had.last().map(|last| last.seq)).await;
        }
        let told = stream.told().await.expect("it goes on to the end");
        answer_when_asked(caller, &told, run, "Scylla").await;
        had.push(told);
    }
    had
}

/// A run that has ended, and everything that its thread says.
async fn reference(house: &House, caller: &Caller) -> (String, Vec<Told>) {
    let run = embark(caller, "sea").await;
    let undisturbed = cut_socket(house, caller, ("sea", &run), usize::MAX).await;
    assert!(undisturbed.len() >= LEAST, "{undisturbed:?}");
    for kind in ["agent_thinking", "tool_completed", "custom", "agent_waiting", "agent_resumed", "step_completed"] {
        assert!(undisturbed.iter().any(|told| told.kind == kind), "no {kind}");
    }
    assert!(undisturbed.iter().any(|told| told.run != run), "no child");
    (run, undisturbed)
}

on_every_backend! {
    /// The record of a run that has ended, cut before every event.
    async fn what_was_cut_off_anywhere_is_the_undisturbed_stream_to_the_byte(island: Island) {
        let house = House::open(island.class(odyssey())).await;
        let ada = house.user("ada").await;
        let (run, undisturbed) = reference(&house, &ada).await;
        same("the log", &log_at(&ada, "/v1/threads/sea/events").await, &undisturbed, &run);
        for cut in 0..undisturbed.len() {
            let had = cut_socket(&house, &ada, ("sea", &run), cut).await;
            same(&format!("a socket, cut at {cut}"), &had, &undisturbed, &run);
            let had = cut_stream(&ada, "/v1/threads/sea/events", &run, cut).await;
            same(&format!("a thread's stream, cut at {cut}"), &had, &undisturbed, &run);
        }
        let own: Vec<Told> = undisturbed.into_iter().filter(|told| told.run == run).collect();
        let path = format!("/v1/runs/{run}/events");
        for cut in 0..own.len() {
            same(&format!("a run's stream, cut at {cut}"), &cut_stream(&ada, &path, &run, cut).await, &own, &run);
        }
    }

    /// A run in progress, whose answer comes from the client that is cut off.
    async fn a_client_that_is_cut_off_in_the_middle_of_a_run_misses_nothing(island: Island) {
        let house = House::open(island.class(odyssey())).await;
        let ada = house.user("ada").await;
        for cut in 0..LEAST + 3 {
            let thread = format!("sea-{cut}");
            let run = embark(&ada, &thread).await;
            let had = match cut % 2 {
                0 => cut_socket(&house, &ada, (&thread, &run), cut).await,
                _ => cut_stream(&ada, &format!("/v1/threads/{thread}/events"), &run, cut).await,
            };
            let log = log_at(&ada, &format!("/v1/threads/{thread}/events")).await;
            same(&format!("cut at {cut}"), &had, &log, &run);
        }
    }

    /// EVT-8.
    async fn whoever_comes_after_the_end_reads_the_whole_run(island: Island) {
        let house = House::open(island.class(odyssey())).await;
        let ada = house.user("ada").await;
        let (run, undisturbed) = reference(&house, &ada).await;
        let own: Vec<Told> = undisturbed.iter().filter(|told| told.run == run).cloned().collect();
        same("its page", &ended_log(&ada, &run).await, &own, &run);
        let path = format!("/v1/runs/{run}/events");
        same("its stream, which ends", &ada.stream(&path, None).await.rest().await, &own, &run);
        let last = own.last().map(|told| told.seq);
        let over = ada.stream(&path, last).await;
        assert_eq!(over.status(), 204, "an EventSource that comes back is told to stop");
        let mut late = house.socket(&ada).await;
        late.subscribe("sea", 0).await;
        same("a late socket", &late.until_end_of(&run).await, &undisturbed, &run);
    }

    /// What the browser remembers is newer than what the page was written with.
    async fn the_last_event_id_has_precedence_over_the_url(island: Island) {
        let house = House::open(island.class(odyssey())).await;
        let ada = house.user("ada").await;
        let (run, undisturbed) = reference(&house, &ada).await;
        let path = "/v1/threads/sea/events?after=1";
        let next = ada.stream(path, Some(5)).await.told().await.map(|told| told.seq);
        assert_eq!(next, Some(6));
        assert_eq!(ada.stream(path, None).await.told().await.map(|told| told.seq), Some(2));
        let wrong = ada.with("accept", "text/event-stream").with("last-event-id", "yesterday");
        wrong.get(&format!("/v1/runs/{run}/events")).await.refuses(400, "invalid-request");
        assert_eq!(undisturbed[0].seq, 1);
    }
}
