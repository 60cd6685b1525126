//! Conversations that branch off, are deleted, and are forgotten.

use std::{sync::Arc, time::Duration};

use insula_agent::Space;
use insula_context::{RunId, SqlRow, SystemClock, ThreadId, UserScope};
use insula_engine::{Error, RunRequest};
use insula_infra::{Backend, Error as Refused, PageRequest};
use serde_json::{Value, json};

use super::story::{Ledger, luggage, ran, stage};
use crate::{
    engine::stage::{Gate, class, held},
    support::{
        Backing, Gauge, Island, context_in, events_of_run, kinds,
        log::{events_of_thread, runs_of},
        on_every_backend, on_every_database, until,
    },
};

/// What a thread says, without the ids of who said it.
async fn said(backend: &Backend, scope: &UserScope, thread: &ThreadId) -> Vec<(u64, &'static str, String)> {
    let (_, events) = events_of_thread(backend, scope, thread).await;
    events.iter().map(|event| (event.seq, event.kind.as_str(), event.data.get().to_owned())).collect()
}

/// Whether anything of a thread and its run is left to be read.
async fn is_gone(backend: &Backend, scope: &UserScope, thread: &ThreadId, run: &RunId) -> bool {
    let log = backend.log.thread_events(scope, thread, 0, 10).await.unwrap();
    let events = backend.log.run_events(scope, run, 0, 10).await.unwrap();
    let recorded = backend.queue.recorded(scope, run).await.unwrap();
    let record = backend.runs.run(scope, run).await.unwrap();
    log.is_none() && events.is_none() && recorded.is_none() && record.is_none()
}

/// The hashes that a thread's events refer to.
async fn hashes(backend: &Backend, scope: &UserScope, run: &RunId) -> Vec<String> {
    let events = events_of_run(backend, scope, run).await;
    let data = events.iter().map(|event| event.data::<Value>().unwrap());
    data.flat_map(|data| ["input", "result", "data"].map(|part| data[part]["$payload"].clone()))
        .filter_map(|hash| hash.as_str().map(str::to_owned))
        .collect()
}

on_every_backend! {
    async fn a_fork_reads_like_the_original_up_to_there_and_goes_on_by_itself(island: Island) {
        let (ada, ben) = (island.user("ada"), island.user("ben"));
        let (factory, ports) = (island.factory(), island.ports());
        let (thread, _) = ran(&island, &ada, "tools", json!(1)).await;
        let before = said(ports, &ada, &thread).await;
        let fork = factory.fork(&ada, &thread, 3, None).await.unwrap().expect("the thread is there");
        assert_eq!((fork.head, fork.forked_from.unwrap().thread_id), (3, thread.clone()));
        assert_eq!(said(ports, &ada, &fork.thread_id).await, before[..3]);

        let context = context_in(&ada, &fork.thread_id);
        let outcome = island.engine(&context).execute_agent(&context, "echo", json!("on")).await.unwrap();
        assert!(outcome.is_success());
        let after = said(ports, &ada, &fork.thread_id).await;
        assert_eq!((after.len(), &after[..3]), (5, &before[..3]));
        assert_eq!(kinds(&events_of_run(ports, &ada, context.run()).await), ["agent_started", "agent_completed"]);
        assert_eq!(said(ports, &ada, &thread).await, before, "the original does not move");

        for (scope, from, seq) in [(&ben, &thread, 3), (&ada, &ThreadId::new("absent").unwrap(), 1), (&ada, &thread, 99)] {
            assert!(factory.fork(scope, from, seq, None).await.unwrap().is_none(), "{scope} {from} {seq}");
        }
        let taken = factory.fork(&ada, &thread, 1, Some(fork.thread_id.clone())).await.unwrap_err();
        assert!(matches!(taken, Error::Storage(Refused::ThreadExists { thread }) if thread == fork.thread_id));
        let named = ThreadId::new("a-name").unwrap();
        assert_eq!(factory.fork(&ada, &thread, 1, Some(named.clone())).await.unwrap().unwrap().thread_id, named);
    }

    async fn a_deleted_thread_leaves_nothing_to_be_read_and_others_alone(island: Island) {
        let island = stage(island, &Ledger::default());
        let (ada, ben) = (island.user("ada"), island.user("ben"));
        let (factory, ports) = (island.factory(), island.ports());
        let (thread, run) = ran(&island, &ada, "trip", luggage()).await;
        let (other, _) = ran(&island, &ada, "echo", json!(1)).await;
        let hashes = hashes(ports, &ada, &run).await;
        assert!(hashes.len() > 2);
        assert!(factory.delete_thread(&ben, &thread).await.unwrap().is_none(), "somebody else's is absent");
        let deleted = factory.delete_thread(&ada, &thread).await.unwrap().unwrap();
        assert_eq!((deleted.threads, deleted.runs), (1, 3));
        assert!(is_gone(ports, &ada, &thread, &run).await);
        for hash in hashes {
            assert!(ports.log.payload(&ada, &hash.parse().unwrap()).await.unwrap().is_none(), "{hash}");
        }
        assert!(factory.delete_thread(&ada, &thread).await.unwrap().is_none());
        assert_eq!(said(ports, &ada, &other).await.len(), 2);
        assert_eq!(runs_of(ports, &ada).await.len(), 1);
    }

    async fn a_thread_in_use_is_not_deleted(island: Island) {
        let (gauge, gate) = (Gauge::default(), Gate::closed());
        let island = island.class(held("held", &gauge, &gate));
        let (ada, factory) = (island.user("ada"), island.factory());
        let (thread, _) = ran(&island, &ada, "echo", json!(1)).await;
        let fork = factory.fork(&ada, &thread, 1, None).await.unwrap().unwrap().thread_id;
        let forked = factory.delete_thread(&ada, &thread).await.unwrap_err();
        assert!(matches!(forked, Error::Storage(Refused::ThreadForked { fork: by, .. }) if by == fork));
        let run = factory.submit(&ada, RunRequest::new("held", json!(1)).thread(fork.clone())).await.unwrap();
        until("it runs", || gauge.now() == 1).await;
        let busy = factory.delete_thread(&ada, &fork).await.unwrap_err();
        assert!(matches!(busy, Error::Storage(Refused::ThreadBusy { run: by, .. }) if by == run));
        gate.open();
        factory.wait(&ada, &run).await.unwrap();
        assert!(factory.delete_thread(&ada, &fork).await.unwrap().is_some());
        assert!(factory.delete_thread(&ada, &thread).await.unwrap().is_some());
    }

    async fn a_deleted_user_is_gone_also_in_the_middle_of_a_run(island: Island) {
        let (gauge, gate) = (Gauge::default(), Gate::closed());
        let keeps = class("keeps", |session, _| async move {
            session.state(Space::User).set("k", &"hers").await?;
            session.cache()?.set("k", b"hers".to_vec(), None).await?;
            Ok(json!(true))
        });
        let finds = class("finds", |session, _| async move {
            let state: Option<String> = session.state(Space::User).get("k").await?;
            Ok(json!([state, session.cache()?.get("k").await?.map(|v| v.len())]))
        });
        let island = island.class(keeps).class(finds).class(held("held", &gauge, &gate));
        let (ada, ben) = (island.user("ada"), island.user("ben"));
        let (factory, ports) = (island.factory(), island.ports());
        let (thread, run) = ran(&island, &ada, "keeps", json!(1)).await;
        ran(&island, &ben, "keeps", json!(1)).await;
        let running = factory.submit(&ada, RunRequest::new("held", json!(1))).await.unwrap();
        until("it runs", || gauge.now() == 1).await;
        let deleted = factory.delete_user(&ada).await.unwrap();
        assert_eq!((deleted.threads, deleted.runs), (2, 2));
        assert!(is_gone(ports, &ada, &thread, &run).await);
        assert!(ports.runs.run(&ada, &running).await.unwrap().is_none());
        assert!(ports.runs.threads(&ada, &PageRequest::default()).await.unwrap().items.is_empty());
        until("its agent is gone", || gauge.now() == 0).await;
        assert!(runs_of(ports, &ada).await.is_empty());
        let found = island.run(&ada, "finds", json!(1)).await;
        assert_eq!(found.result(), Some(&json!([null, null])), "she begins again with nothing");
        let kept = island.run(&ben, "finds", json!(1)).await;
        assert_eq!(kept.result(), Some(&json!(["hers", 4])), "and he has what he had");
    }
}

on_every_database! {
    async fn a_deleted_users_own_tables_are_gone(island: Island) {
        let tables = class("tables", |session, _| async move {
            let mut tx = session.database()?.begin().await?;
            tx.execute("CREATE TABLE IF NOT EXISTS notes (text TEXT)", &[]).await?;
            tx.execute("INSERT INTO notes VALUES ('n')", &[]).await?;
            let rows = tx.fetch("SELECT text FROM notes", &[]).await?;
            tx.commit().await?;
            Ok(json!(rows.iter().map(SqlRow::to_json).count()))
        });
        let island = island.class(tables);
        let (ada, ben) = (island.user("ada"), island.user("ben"));
        for (scope, rows) in [(&ada, 1), (&ada, 2), (&ben, 1)] {
            assert_eq!(island.run(scope, "tables", json!(1)).await.result(), Some(&json!(rows)));
        }
        island.factory().delete_user(&ada).await.unwrap();
        assert_eq!(island.run(&ada, "tables", json!(1)).await.result(), Some(&json!(1)));
        assert_eq!(island.run(&ben, "tables", json!(1)).await.result(), Some(&json!(2)));
    }
}

/// A process that works on the queue forgets what is older than things are kept; without a limit it keeps everything.
#[tokio::test(start_paused = true)]
async fn what_is_too_old_is_forgotten_by_whoever_works_on_the_queue() {
    let backend = Backing::Memory.open(Arc::new(SystemClock::new()));
    let keeping = Island::new(backend.clone()).threads(insula_engine::AgentThreads::Runtime);
    let ada = keeping.user("ada");
    let (thread, run) = ran(&keeping, &ada, "echo", json!(1)).await;
    keeping.factory().work();
    tokio::time::sleep(Duration::from_secs(150)).await;
    assert!(!is_gone(&backend, &ada, &thread, &run).await, "for ever, unless told otherwise");

    let forgetting = Island::new(backend.clone()).threads(insula_engine::AgentThreads::Runtime);
    let forgetting = forgetting.limits(|limits| limits.retention = Some(Duration::from_secs(3_600)));
    forgetting.factory().work();
    tokio::time::sleep(Duration::from_secs(150)).await;
    assert!(!is_gone(&backend, &ada, &thread, &run).await, "it is not an hour old");
    let soon = Island::new(backend.clone()).threads(insula_engine::AgentThreads::Runtime);
    let soon = soon.limits(|limits| limits.retention = Some(Duration::ZERO));
    soon.factory().work();
    tokio::time::sleep(Duration::from_secs(150)).await;
    assert!(is_gone(&backend, &ada, &thread, &run).await);
}
