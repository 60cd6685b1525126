//! What is said of a run, in which order, and to whom.

use std::time::Duration;

use futures::future::join_all;
use insula_context::ThreadId;
use insula_engine::{EventStream, StreamItem};
use insula_infra::Event;
use serde_json::json;

use crate::{
    engine::stage::{class, log_of},
    support::{Island, context, context_in, in_virtual_time, kinds, on_every_backend},
};

/// The next `n` events of a stream.
pub(super) async fn take(stream: &mut EventStream, n: usize) -> Vec<Event> {
    let mut events = Vec::with_capacity(n);
    while events.len() < n {
        match stream.next().await.unwrap() {
            Some(StreamItem::Event(event)) => events.push(event),
            other => panic!("{other:?} after {} of {n} events", events.len()),
        }
    }
    events
}

fn seqs(events: &[Event]) -> Vec<u64> {
    events.iter().map(|event| event.seq).collect()
}

on_every_backend! {
    async fn evt_1_one_tool_is_five_events_in_order(island: Island) {
        let one = class("one", |session, _| async move {
            session.think("calling one tool");
            session.call_tool("tally", json!({"n": 1})).await
        });
        let island = island.class(one);
        let ada = island.user("ada");
        let context = context(&ada);
        assert!(island.engine(&context).execute_agent(&context, "one", json!(1)).await.unwrap().is_success());
        let log = log_of(&island, &context).await;
        let expected = ["agent_started", "agent_thinking", "tool_executing", "tool_completed", "agent_completed"];
        assert_eq!(kinds(&log), expected);
        assert!(log.iter().all(|event| event.header.run == *context.run()));
        assert_eq!(seqs(&log), [1, 2, 3, 4, 5]);
    }

    async fn evt_2_three_users_in_threads_of_one_name_get_their_own_events_only(island: Island) {
        let users = island.users(3);
        let thread = ThreadId::new("same").unwrap();
        let told = join_all(users.iter().map(async |scope| {
            let context = context_in(scope, &thread);
            let engine = island.engine(&context);
            let mut stream = engine.events(&thread, 0);
            let (outcome, events) =
                tokio::join!(engine.execute_agent(&context, "tools", json!(1)), take(&mut stream, 9));
            assert!(outcome.unwrap().is_success());
            assert!(stream.ready().await.unwrap().is_empty(), "nothing more comes");
            (scope, events)
        }))
        .await;
        for (scope, events) in told {
            assert!(events.iter().all(|event| event.header.scope == *scope));
            assert_eq!(seqs(&events), (1..=9).collect::<Vec<_>>());
        }
    }

    async fn evt_6_ten_agents_at_once_in_one_thread_lose_and_double_nothing(island: Island) {
        let ada = island.user("ada");
        let first = context(&ada);
        let engine = island.engine(&first);
        let contexts: Vec<_> = (0..10).map(|_| first.next_run()).collect();
        let runs = join_all(contexts.iter().map(|context| engine.execute_agent(context, "chatty", json!(1))));
        let mut stream = engine.events(first.thread(), 0);
        let (outcomes, told) = tokio::join!(runs, take(&mut stream, 10 * 52));
        assert!(outcomes.iter().all(|outcome| outcome.as_ref().unwrap().is_success()));
        assert_eq!(seqs(&told), (1..=520).collect::<Vec<_>>());
        for context in &contexts {
            let own: Vec<_> = told.iter().filter(|event| event.header.run == *context.run()).collect();
            let thoughts: Vec<u64> =
                own.iter().filter_map(|event| event.data::<serde_json::Value>().unwrap()["step"].as_u64()).collect();
            assert_eq!((own.len(), thoughts), (52, (1..=50).collect()));
        }
    }

    async fn evt_8_a_client_that_comes_after_the_end_reads_the_whole_run(island: Island) {
        let ada = island.user("ada");
        let context = context(&ada);
        assert!(island.engine(&context).execute_agent(&context, "tools", json!(1)).await.unwrap().is_success());
        let mut stream = island.factory().run_events(&ada, context.run(), 0).await.unwrap().unwrap();
        let log = take(&mut stream, 9).await;
        assert_eq!((kinds(&log)[0], kinds(&log)[8]), ("agent_started", "agent_completed"));
        assert!(stream.next().await.unwrap().is_none(), "and then it is over");
        assert!(stream.next().await.unwrap().is_none(), "however often one asks");
    }

    async fn evt_12_every_event_is_received_in_order_by_every_reader(island: Island) {
        let ada = island.user("ada");
        let chatty = insula_registry::AgentClass::new("long", "1", || insula_agent::kit::chatty(1_000));
        let island = island.class(chatty);
        let context = context(&ada);
        let engine = island.engine(&context);
        let read = join_all((0..3).map(async |_| take(&mut engine.events(context.thread(), 0), 1_002).await));
        let (outcome, told) = tokio::join!(engine.execute_agent(&context, "long", json!(1)), read);
        assert!(outcome.unwrap().is_success());
        for events in told {
            assert_eq!(seqs(&events), (1..=1_002).collect::<Vec<_>>());
        }
    }

    async fn evt_14_thirty_users_with_fifty_events_each_get_all_of_them(island: Island) {
        let users = island.users(30);
        let told = join_all(users.iter().map(async |scope| {
            let context = context(scope);
            let engine = island.engine(&context);
            let mut stream = engine.events(context.thread(), 0);
            let (outcome, events) =
                tokio::join!(engine.execute_agent(&context, "chatty", json!(1)), take(&mut stream, 52));
            assert!(outcome.unwrap().is_success());
            events.iter().filter(|event| event.kind.as_str() == "agent_thinking").count()
        }))
        .await;
        assert_eq!(told.iter().sum::<usize>(), 1_500);
    }
}

in_virtual_time! {
    async fn evt_4_three_agents_started_apart_are_each_in_order_and_time_never_goes_back(island: Island) {
        let slow = class("slow", |session, _| async move {
            for n in 0..5 {
                session.think(format!("thought {n}"));
                tokio::time::sleep(Duration::from_millis(13)).await;
            }
            Ok(json!(true))
        });
        let island = island.class(slow);
        let ada = island.user("ada");
        let first = context(&ada);
        let engine = island.engine(&first);
        let contexts: Vec<_> = (0..3).map(|_| first.next_run()).collect();
        let runs = contexts.iter().zip([0, 20, 40]).map(async |(context, after)| {
            tokio::time::sleep(Duration::from_millis(after)).await;
            engine.execute_agent(context, "slow", json!(1)).await.unwrap()
        });
        join_all(runs).await;
        let log = take(&mut engine.events(first.thread(), 0), 21).await;
        assert_eq!(seqs(&log), (1..=21).collect::<Vec<_>>());
        assert!(log.windows(2).all(|pair| pair[0].at <= pair[1].at), "timestamps never decrease");
        for context in &contexts {
            let own: Vec<Event> = log.iter().filter(|event| event.header.run == *context.run()).cloned().collect();
            let thoughts = ["agent_thinking"; 5];
            assert_eq!(kinds(&own), [&["agent_started"][..], &thoughts, &["agent_completed"]].concat());
        }
    }
}
