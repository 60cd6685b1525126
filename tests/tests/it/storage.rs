//! Rows, payloads and caches.

mod caches;
mod payloads;
mod pools;

use futures::future::join_all;
use insula_agent::{Error, Session, agent_fn};
use insula_context::SqlRow;
use insula_engine::UserExecutionEngine;
use insula_registry::AgentClass;
use serde_json::{Value, json};

use crate::support::{Gate, Island, context, on_every_database, until};

/// Notes its input down, with owner, thread and time; `"torn"` fails half-way and `"left"` never ends its transaction.
fn noter() -> AgentClass {
    AgentClass::new("noter", "1", || agent_fn(|session, input| async move { note(&session, input).await }))
}

async fn note(session: &Session, input: Value) -> Result<Value, Error> {
    let (context, now) = (session.context().clone(), session.now().await?);
    let mut tx = session.database()?.begin().await?;
    tx.execute("CREATE TABLE IF NOT EXISTS notes (owner TEXT, thread TEXT, at BIGINT, text TEXT)", &[]).await?;
    let text = input.as_str().unwrap_or("a note").to_owned();
    let row = [context.scope().to_string().into(), context.thread().to_string().into(), now.as_micros().into()];
    let row: Vec<_> = row.into_iter().chain([text.clone().into()]).collect();
    tx.execute("INSERT INTO notes VALUES ($1, $2, $3, $4)", &row).await?;
    match text.as_str() {
        "torn" => drop(tx.execute("INSERT INTO no_such_table VALUES (1)", &[]).await?),
        "left" => std::future::pending().await,
        _ => {}
    }
    let count = tx.fetch("SELECT count(*) AS n FROM notes", &[]).await?;
    tx.commit().await?;
    Ok(count[0].to_json())
}

/// Every note of the engine's user, outside of any agent.
async fn notes(engine: &UserExecutionEngine) -> Vec<Value> {
    let mut tx = engine.database_session_manager().unwrap().begin().await.unwrap();
    let rows = tx.fetch("SELECT owner, thread, at, text FROM notes ORDER BY at", &[]).await.unwrap();
    tx.rollback().await.unwrap();
    rows.iter().map(SqlRow::to_json).collect()
}

fn open_sessions(island: &Island) -> usize {
    island.ports().database.as_ref().unwrap().open_sessions()
}

on_every_database! {
    async fn per_1_a_run_writes_rows_with_owner_thread_and_time(island: Island) {
        let island = island.class(noter());
        let ada = context(&island.user("ada"));
        let engine = island.engine(&ada);
        for (n, text) in ["one", "two"].iter().enumerate() {
            let outcome = engine.execute_agent(&ada.next_run(), "noter", json!(text)).await.unwrap();
            assert_eq!(outcome.result().unwrap(), &json!({"n": n + 1}));
        }
        let notes = notes(&engine).await;
        assert_eq!(notes.iter().map(|note| note["text"].as_str().unwrap()).collect::<Vec<_>>(), ["one", "two"]);
        for note in &notes {
            assert_eq!((&note["owner"], &note["thread"]), (&json!("acme/ada"), &json!(ada.thread())));
            assert!(note["at"].as_i64().unwrap() >= ada.created_at().as_micros());
        }
        assert_eq!(open_sessions(&island), 0);
    }

    async fn per_1_a_failing_transaction_leaves_the_count_unchanged(island: Island) {
        let island = island.class(noter());
        let ada = context(&island.user("ada"));
        let engine = island.engine(&ada);
        assert!(engine.execute_agent(&ada, "noter", json!("kept")).await.unwrap().is_success());
        let torn = engine.execute_agent(&ada.next_run(), "noter", json!("torn")).await.unwrap();
        assert_eq!(torn.end.reason(), "error");
        assert!(torn.end.message().unwrap().contains("no_such_table"), "{torn:?}");
        assert_eq!((notes(&engine).await.len(), open_sessions(&island)), (1, 0));
    }

    async fn per_1_a_run_stopped_inside_its_transaction_leaves_no_row_and_no_session(island: Island) {
        let island = island.class(noter());
        let ada = context(&island.user("ada"));
        let engine = island.engine(&ada);
        assert!(engine.execute_agent(&ada, "noter", json!("kept")).await.unwrap().is_success());
        let left = ada.next_run();
        let running = engine.execute_agent(&left, "noter", json!("left"));
        let stopping = async {
            until("the run is inside its transaction", || open_sessions(&island) == 1).await;
            let reason = insula_context::CancelReason::new("user", "enough");
            assert!(engine.cancel(left.run(), reason).await.unwrap() == insula_infra::CancelRequest::Recorded);
        };
        let (outcome, ()) = tokio::join!(running, stopping);
        assert_eq!(outcome.unwrap().end.reason(), "cancelled");
        until("its session is given back", || open_sessions(&island) == 0).await;
        assert_eq!(notes(&engine).await.len(), 1);
    }

    async fn per_6_fifteen_users_with_transactions_do_not_meet_and_close_every_session(island: Island) {
        let island = island.class(noter());
        let (users, island) = (island.users(15), &island);
        let journeys = users.iter().map(|owner| async move {
            let context = context(owner);
            let engine = island.engine(&context);
            for text in ["one", "torn", "two", "torn", "three"] {
                let outcome = engine.execute_agent(&context.next_run(), "noter", json!(text)).await.unwrap();
                assert_eq!(outcome.is_success(), text != "torn", "{outcome:?}");
            }
            notes(&engine).await
        });
        for (owner, notes) in users.iter().zip(join_all(journeys).await) {
            let texts: Vec<_> = notes.iter().map(|note| note["text"].as_str().unwrap()).collect();
            assert_eq!(texts, ["one", "two", "three"]);
            assert!(notes.iter().all(|note| note["owner"] == json!(owner.to_string())), "{notes:?}");
        }
        assert_eq!(open_sessions(island), 0);
        assert_eq!(island.factory().isolation_report().violations, []);
    }
}
