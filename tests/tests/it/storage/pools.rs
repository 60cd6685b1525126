//! Connections are few: who waits, how long, and who does not have to.

use std::{sync::Arc, time::Duration};

use futures::future::join_all;
use insula_agent::{Error, Transaction, agent_fn};
use insula_context::UserScope;
use insula_engine::UserExecutionEngine;
use insula_registry::AgentClass;
use insula_sqlite::SqliteBackend;
use serde_json::json;
use tempfile::TempDir;

use super::{Gate, Island, context, open_sessions};
use crate::support::users;

const PATIENCE: Duration = Duration::from_millis(50);

/// An island on SQLite with so many sessions in all, and at most one of each user.
fn pooled(sessions: usize, timeout: Duration) -> (TempDir, Island) {
    let folder = tempfile::tempdir().unwrap();
    let options = SqliteBackend::at(folder.path().join("insula.db")).pool(sessions, timeout).sessions_per_user(1);
    let island = Island::new(options.open().unwrap().into_backend());
    (folder, island)
}

/// Holds a session open as long as it stands at the gate.
fn holder(gate: &Gate) -> AgentClass {
    let gate = gate.clone();
    AgentClass::new("holder", "1", move || {
        let gate = gate.clone();
        agent_fn(move |session, _| {
            let gate = gate.clone();
            async move {
                let mut tx = session.database()?.begin().await?;
                tx.execute("CREATE TABLE IF NOT EXISTS held (n INTEGER)", &[]).await?;
                gate.pass().await;
                tx.commit().await?;
                Ok(json!(true))
            }
        })
    })
}

async fn begin(engine: &UserExecutionEngine) -> Result<Box<dyn Transaction>, Error> {
    engine.database_session_manager().unwrap().begin().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn per_7_the_user_after_a_full_pool_waits_for_its_timeout_and_is_told_so() {
    let (_folder, island) = pooled(2, PATIENCE);
    let gate = Gate::new();
    let (users, island) = (users(3), island.class(holder(&gate)));
    let (first, second) = (island.run(&users[0], "holder", json!(1)), island.run(&users[1], "holder", json!(1)));
    let third = async {
        gate.wait_for(2).await;
        let engine = island.engine(&context(&users[2]));
        let refused = begin(&engine).await.err().expect("the pool is full");
        assert!(refused.is_transient());
        let Error::Storage { cause: Some(cause), message, .. } = refused else { panic!("{refused:?}") };
        let cause = cause.downcast_ref::<insula_infra::Error>();
        assert!(matches!(cause, Some(insula_infra::Error::Timeout { after: PATIENCE, .. })), "{message}");
        let run = island.run(&users[2], "holder", json!(1)).await;
        assert!(run.end.message().unwrap().contains("50ms"), "{run:?}");
        gate.let_through(3);
        engine
    };
    let (first, second, engine) = tokio::join!(first, second, third);
    assert!(first.is_success() && second.is_success());
    begin(&engine).await.expect("there is room again").rollback().await.unwrap();
    assert_eq!(open_sessions(&island), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn per_7_a_user_who_takes_all_connections_does_not_starve_the_rest() {
    let (_folder, island) = pooled(4, Duration::from_secs(20));
    let gate = Gate::new();
    let (users, island) = (users(4), Arc::new(island.class(holder(&gate))));
    let flood = (0..20).map(|_| {
        let (island, greedy) = (Arc::clone(&island), users[0].clone());
        tokio::spawn(async move { island.run(&greedy, "holder", json!(1)).await })
    });
    let flood: Vec<_> = flood.collect();
    gate.wait_for(1).await;
    // Nobody of the flood is let through: whoever needs one of its places would wait for ever.
    let served = users[1..].iter().map(|owner: &UserScope| async {
        let mut tx = begin(&island.engine(&context(owner))).await.expect("a connection of one's own");
        let rows = tx.fetch("SELECT 1 AS n", &[]).await.unwrap();
        tx.rollback().await.unwrap();
        rows[0].to_json()
    });
    assert_eq!(join_all(served).await, vec![json!({"n": 1}); 3]);
    assert_eq!((gate.inside().now(), open_sessions(&island)), (1, 1));
    gate.let_through(20);
    assert!(join_all(flood).await.into_iter().all(|run| run.unwrap().is_success()));
    assert_eq!((gate.inside().most(), open_sessions(&island)), (1, 0));
}
