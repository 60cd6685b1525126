//! Readers come when they like, go when they like, and are as slow as they like.

use insula_context::UserExecutionContext;
use insula_engine::{EventStream, StreamItem};
use insula_infra::{Event, MemoryBackend};
use serde_json::json;

use super::order::take;
use crate::{
    engine::stage::{Gate, class, held, log_of},
    support::{Gauge, Island, context, kinds, on_every_backend, until, words},
};

async fn rest(mut stream: EventStream) -> Vec<Event> {
    let mut events = Vec::new();
    while let Some(item) = stream.next().await.unwrap() {
        match item {
            StreamItem::Event(event) => events.push(event),
            gap => panic!("{gap:?} where nothing was forgotten"),
        }
    }
    events
}

async fn run_stream(island: &Island, context: &UserExecutionContext, after: u64) -> EventStream {
    island.factory().run_events(context.scope(), context.run(), after).await.unwrap().unwrap()
}

on_every_backend! {
    async fn a_reader_that_breaks_off_after_any_event_and_resumes_reads_the_same(island: Island) {
        let ada = island.user("ada");
        let context = context(&ada);
        assert!(island.engine(&context).execute_agent(&context, "tools", json!(1)).await.unwrap().is_success());
        let undisturbed = words(&rest(run_stream(&island, &context, 0).await).await);
        assert_eq!(words(&log_of(&island, &context).await), undisturbed);
        for at in 0..=9 {
            let mut stream = run_stream(&island, &context, 0).await;
            let mut events = take(&mut stream, at).await;
            let cursor = stream.cursor();
            assert_eq!(cursor, at as u64);
            drop(stream);
            events.extend(rest(run_stream(&island, &context, cursor).await).await);
            assert_eq!(words(&events), undisturbed, "broken off after {at} events");
        }
    }

    async fn a_reader_that_breaks_off_again_and_again_while_the_run_goes_on_misses_nothing(island: Island) {
        let ada = island.user("ada");
        let context = context(&ada);
        let engine = island.engine(&context);
        let read = async {
            let (mut told, mut cursor) = (Vec::new(), 0);
            while told.last().is_none_or(|event: &Event| !event.kind.is_terminal()) {
                let mut stream = engine.events(context.thread(), cursor);
                let n = 1 + told.len() % 3;
                for _ in 0..n {
                    match stream.next().await.unwrap() {
                        Some(StreamItem::Event(event)) => told.push(event),
                        other => panic!("{other:?}"),
                    }
                    if told.last().is_some_and(|event| event.kind.is_terminal()) {
                        break;
                    }
                }
                cursor = stream.cursor();
            }
            told
        };
        let (outcome, told) = tokio::join!(engine.execute_agent(&context, "chatty", json!(1)), read);
        assert!(outcome.unwrap().is_success());
        assert_eq!(words(&told), words(&log_of(&island, &context).await));
    }

    async fn a_reader_that_comes_in_the_middle_reads_from_the_start_and_then_on(island: Island) {
        let gate = Gate::closed();
        let opened = gate.clone();
        let paused = class("paused", move |session, _| {
            let gate = opened.clone();
            async move {
                session.think("before");
                gate.passed().await;
                session.think("after");
                Ok(json!(true))
            }
        });
        let island = island.class(paused);
        let ada = island.user("ada");
        let context = context(&ada);
        let engine = island.engine(&context);
        let read = async {
            let mut early = engine.events(context.thread(), 0);
            assert_eq!(kinds(&take(&mut early, 2).await), ["agent_started", "agent_thinking"]);
            let mut middle = run_stream(&island, &context, 0).await;
            assert_eq!(take(&mut middle, 2).await.len(), 2);
            let at_the_head = run_stream(&island, &context, 2).await;
            gate.open();
            let tails = [take(&mut early, 2).await, rest(middle).await, rest(at_the_head).await];
            for tail in tails {
                assert_eq!(kinds(&tail), ["agent_thinking", "agent_completed"]);
            }
        };
        let (outcome, ()) = tokio::join!(engine.execute_agent(&context, "paused", json!(1)), read);
        assert!(outcome.unwrap().is_success());
        assert!(rest(run_stream(&island, &context, 4).await).await.is_empty(), "behind the end is nothing");
    }

    async fn a_stream_of_one_run_ends_with_it_although_its_thread_goes_on(island: Island) {
        let (gauge, gate) = (Gauge::default(), Gate::closed());
        let island = island.class(held("held", &gauge, &gate));
        let ada = island.user("ada");
        let (first, other) = { let first = context(&ada); (first.clone(), first.next_run()) };
        let engine = island.engine(&first);
        let read = async {
            until("the other run goes on", || gauge.now() == 1).await;
            assert!(engine.execute_agent(&first, "tools", json!(1)).await.unwrap().is_success());
            let events = rest(run_stream(&island, &first, 0).await).await;
            gate.open();
            events
        };
        let (outcome, events) = tokio::join!(engine.execute_agent(&other, "held", json!(1)), read);
        assert!(outcome.unwrap().is_success());
        assert_eq!(events.len(), 9);
        assert!(events.iter().all(|event| event.header.run == *first.run()));
    }

    async fn a_foreign_or_unknown_run_has_no_stream(island: Island) {
        let (ada, bob) = (island.user("ada"), island.user("bob"));
        let context = context(&ada);
        assert!(island.engine(&context).execute_agent(&context, "echo", json!(1)).await.unwrap().is_success());
        assert!(island.factory().run_events(&bob, context.run(), 0).await.unwrap().is_none());
        assert!(island.factory().run_events(&ada, context.next_run().run(), 0).await.unwrap().is_none());
        let mut stream = island.factory().events(&bob, context.thread(), 0);
        assert!(stream.ready().await.unwrap().is_empty(), "her thread's name is a thread of his own");
    }
}

/// An island whose memory keeps that many ended runs.
fn forgetful(retain: usize) -> Island {
    Island::new(MemoryBackend::new().retain(retain).into_backend())
}

#[tokio::test]
async fn a_reader_that_fell_behind_what_is_kept_is_told_of_the_gap_and_goes_on_behind_it() {
    let island = forgetful(2);
    let ada = island.user("ada");
    let first = context(&ada);
    let engine = island.engine(&first);
    let mut slow = engine.events(first.thread(), 0);
    assert!(engine.execute_agent(&first, "tools", json!(1)).await.unwrap().is_success());
    assert_eq!(take(&mut slow, 1).await[0].seq, 1, "the page that it has read is still its own");
    let mut late = engine.events(first.thread(), 3);
    assert_eq!(late.head(), 3, "it has not looked yet, so it knows of nothing behind its cursor");
    for _ in 0..4 {
        assert!(engine.execute_agent(&first.next_run(), "tools", json!(1)).await.unwrap().is_success());
    }
    // Five runs of nine events were written; the last two are kept.
    let Some(StreamItem::Gap { after, next }) = late.next().await.unwrap() else { panic!("no gap was told") };
    assert_eq!((after, next), (3, 28));
    assert_eq!((late.cursor(), late.head()), (27, 45), "how far it is behind");
    let events = take(&mut late, 18).await;
    assert_eq!(events.iter().map(|event| event.seq).collect::<Vec<_>>(), (28..=45).collect::<Vec<_>>());
    assert!(engine.execute_agent(&first.next_run(), "echo", json!(1)).await.unwrap().is_success());
    assert_eq!(take(&mut late, 2).await[1].seq, 47, "and then on");
}

#[tokio::test]
async fn a_reader_of_a_run_that_is_forgotten_before_its_end_was_read_is_told_so() {
    let (gauge, gate) = (Gauge::default(), Gate::closed());
    let island = forgetful(1).class(held("held", &gauge, &gate));
    let ada = island.user("ada");
    let first = context(&ada);
    let engine = island.engine(&first);
    let read = async {
        until("it runs", || gauge.now() == 1).await;
        let mut events = engine.run_events(first.run(), 0).await.unwrap().unwrap();
        assert_eq!(take(&mut events, 1).await[0].kind.as_str(), "agent_started");
        gate.open();
        events
    };
    let (outcome, mut events) = tokio::join!(engine.execute_agent(&first, "held", json!(1)), read);
    assert!(outcome.unwrap().is_success());
    let other = context(&ada);
    assert!(engine.execute_agent(&other, "echo", json!(1)).await.unwrap().is_success());
    assert!(matches!(events.next().await.unwrap(), Some(StreamItem::Gap { after: 1, .. })));
    assert!(events.next().await.unwrap().is_none());
}
