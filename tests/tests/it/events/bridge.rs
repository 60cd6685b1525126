//! Connections: fed from the log, present while they give signs of life, and nobody's burden.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use insula_context::{ConnectionId, RandomIds, ThreadId, UserScope};
use insula_engine::{Batch, Connection, Delivery, Error, Gone, StreamItem};
use insula_infra::Event;
use serde_json::json;
use tokio::sync::mpsc;

use crate::{
    engine::stage::{Gate, class, log_of, nothing_is_left},
    support::{Island, context, in_virtual_time, on_every_backend, until, words},
};

/// A far end that passes on what it gets.
struct Far(mpsc::UnboundedSender<(ThreadId, StreamItem)>);

#[async_trait]
impl Delivery for Far {
    async fn deliver(&mut self, batch: Batch) -> Result<(), Gone> {
        batch.items.into_iter().try_for_each(|item| self.0.send((batch.thread.clone(), item))).map_err(|_| Gone)
    }
}

/// A far end that is broken from the start.
struct Broken;

#[async_trait]
impl Delivery for Broken {
    async fn deliver(&mut self, _: Batch) -> Result<(), Gone> {
        Err(Gone)
    }
}

/// A far end that takes nothing until the gate opens.
struct Stuck(Gate);

#[async_trait]
impl Delivery for Stuck {
    async fn deliver(&mut self, _: Batch) -> Result<(), Gone> {
        self.0.passed().await;
        Ok(())
    }
}

fn open(island: &Island, scope: &UserScope, far_end: impl Delivery) -> Result<Connection, Error> {
    island.factory().bridge().connect(scope, ConnectionId::generate(&RandomIds), far_end)
}

type Inbox = mpsc::UnboundedReceiver<(ThreadId, StreamItem)>;

fn listen(island: &Island, scope: &UserScope) -> (Connection, Inbox) {
    let (sender, inbox) = mpsc::unbounded_channel();
    (open(island, scope, Far(sender)).unwrap(), inbox)
}

/// What comes until the first end of a run.
async fn until_the_end(inbox: &mut Inbox) -> Vec<Event> {
    let mut events: Vec<Event> = Vec::new();
    while events.last().is_none_or(|event| !event.kind.is_terminal()) {
        match inbox.recv().await {
            Some((_, StreamItem::Event(event))) => events.push(event),
            other => panic!("{other:?} after {} events", events.len()),
        }
    }
    events
}

on_every_backend! {
    async fn evt_9_every_connection_gets_everything_and_the_eleventh_is_refused(island: Island) {
        let (ada, bob) = (island.user("ada"), island.user("bob"));
        let context = context(&ada);
        let mut ears: Vec<_> = (0..10).map(|_| listen(&island, &ada)).collect();
        for (connection, _) in &ears {
            connection.subscribe(context.thread().clone(), 0).await.unwrap();
        }
        let refused = open(&island, &ada, Broken).err();
        assert!(matches!(&refused, Some(Error::Limit { user, limit: 10, .. }) if *user == ada), "{refused:?}");
        let (other, mut silence) = listen(&island, &bob);
        other.subscribe(context.thread().clone(), 0).await.unwrap();
        let engine = island.engine(&context);
        assert!(engine.execute_agent(&context, "tools", json!(1)).await.unwrap().is_success());
        let log = words(&log_of(&island, &context).await);
        for (connection, inbox) in &mut ears {
            assert_eq!(words(&until_the_end(inbox).await), log);
            assert!(connection.is_present());
        }
        assert!(silence.try_recv().is_err(), "another user hears nothing");
        drop(ears.pop());
        until("the place is free", || open(&island, &ada, Broken).is_ok()).await;
        drop((ears, other, engine));
        nothing_is_left(&island, &[&ada, &bob]).await;
    }

    async fn eng_17_connections_that_fail_or_take_nothing_are_not_the_runs_business(island: Island) {
        let ada = island.user("ada");
        let context = context(&ada);
        let gate = Gate::closed();
        let broken = open(&island, &ada, Broken).unwrap();
        let stuck = open(&island, &ada, Stuck(gate.clone())).unwrap();
        let (well, mut inbox) = listen(&island, &ada);
        for connection in [&broken, &stuck, &well] {
            connection.subscribe(context.thread().clone(), 0).await.unwrap();
        }
        let engine = island.engine(&context);
        let outcome = engine.execute_agent(&context, "chatty", json!(1)).await.unwrap();
        assert!(outcome.is_success(), "it ends although the stuck one has taken nothing yet");
        assert_eq!(words(&until_the_end(&mut inbox).await), words(&log_of(&island, &context).await));
        until("the broken one is closed", || !broken.is_present()).await;
        assert!(stuck.is_present() && well.is_present());
        assert_eq!(broken.heartbeat(), Err(Gone), "and does not come back");
        gate.open();
        drop((broken, stuck, well, engine));
        nothing_is_left(&island, &[&ada]).await;
    }

    async fn evt_23_subscriptions_are_obeyed_in_order_from_any_cursor(island: Island) {
        let ada = island.user("ada");
        let (first, second) = (context(&ada), context(&ada));
        let engine = island.engine(&first);
        for context in [&first, &second] {
            assert!(engine.execute_agent(context, "tools", json!(1)).await.unwrap().is_success());
        }
        // Everything is said before the pump has had a chance to do any of it.
        let (connection, mut inbox) = listen(&island, &ada);
        connection.subscribe(first.thread().clone(), 7).await.unwrap();
        let rest = until_the_end(&mut inbox).await;
        assert_eq!(rest.iter().map(|event| event.seq).collect::<Vec<_>>(), [8, 9]);
        connection.unsubscribe(first.thread().clone()).await.unwrap();
        connection.subscribe(second.thread().clone(), 0).await.unwrap();
        let events = until_the_end(&mut inbox).await;
        assert_eq!(words(&events), words(&log_of(&island, &second).await));
        let more = second.next_run();
        for context in [&first.next_run(), &more] {
            assert!(engine.execute_agent(context, "echo", json!(1)).await.unwrap().is_success());
        }
        let events = until_the_end(&mut inbox).await;
        assert_eq!(words(&events), words(&log_of(&island, &more).await), "nothing of the first thread any more");
        connection.close();
        assert!(inbox.recv().await.is_none(), "closed");
    }
}

in_virtual_time! {
    async fn evt_20_three_missed_heartbeats_and_a_connection_is_gone_for_good(island: Island) {
        let beat = Duration::from_secs(10);
        let gate = Gate::closed();
        let island = island.limits(|limits| limits.heartbeat = beat);
        let ada = island.user("ada");
        let (lively, mut inbox) = listen(&island, &ada);
        let (silent, _ears) = listen(&island, &ada);
        let stuck = open(&island, &ada, Stuck(gate)).unwrap();
        let thread = context(&ada).thread().clone();
        stuck.subscribe(thread.clone(), 0).await.unwrap();
        for n in 1..=5 {
            tokio::time::sleep(beat - Duration::from_millis(1)).await;
            assert_eq!(lively.heartbeat(), Ok(()));
            assert_eq!(silent.is_present(), n < 4, "after {n} heartbeats");
        }
        assert_eq!(silent.heartbeat(), Err(Gone), "a dead one does not come back by itself");
        assert!(!stuck.is_present() && lively.is_present());
        lively.subscribe(thread, 0).await.unwrap();
        assert!(inbox.try_recv().is_err());
        drop((lively, silent, stuck));
        nothing_is_left(&island, &[&ada]).await;
    }

    async fn evt_20_heartbeats_delay_no_message(island: Island) {
        let ticking = class("ticking", |session, _| async move {
            for _ in 0..20 {
                session.think("tick");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            Ok(json!(true))
        });
        let island = island.class(ticking).limits(|limits| limits.heartbeat = Duration::from_secs(2));
        let ada = island.user("ada");
        let context = context(&ada);
        let (connection, mut inbox) = listen(&island, &ada);
        let connection = Arc::new(connection);
        connection.subscribe(context.thread().clone(), 0).await.unwrap();
        let engine = island.engine(&context);
        let clock = tokio::time::Instant::now();
        let beats = async {
            while connection.heartbeat().is_ok() && clock.elapsed() < Duration::from_secs(25) {
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        };
        let read = async {
            let mut late = Vec::new();
            let mut thoughts = 0;
            while let Some((_, StreamItem::Event(event))) = inbox.recv().await {
                if event.kind.is_terminal() {
                    break;
                }
                if event.kind.as_str() == "agent_thinking" {
                    if clock.elapsed() != Duration::from_secs(thoughts) {
                        late.push((thoughts, clock.elapsed()));
                    }
                    thoughts += 1;
                }
            }
            assert_eq!((thoughts, late), (20, vec![]), "each comes when it is said");
        };
        let (outcome, (), ()) = tokio::join!(engine.execute_agent(&context, "ticking", json!(1)), beats, read);
        assert!(outcome.unwrap().is_success());
    }
}
