//! The example that does real work, on the engine: four agents make a report of a file of model usage.

use std::path::Path;

use futures::future::join_all;
use insula_infra::EventType;
use serde_json::Value;
use spend_report::agents::Outcome;

use crate::support::{Island, context, events_of_run, on_every_backend, on_sqlite, words};

fn with_the_example(island: Island, reports: &Path) -> Island {
    let tools = spend_report::tools(reports.to_owned());
    let island = spend_report::classes().into_iter().fold(island, Island::class);
    island.tools(|known| tools.into_iter().fold(known, insula_engine::Tools::with_arc))
}

/// A file of calls, another one for each seed.
fn file(seed: u64) -> Value {
    spend_report::generate(seed, 300, &spend_report::Shape::default()).into()
}

on_sqlite! {
    async fn a_file_becomes_a_report_of_its_users_own(island: Island) {
        let reports = tempfile::tempdir().unwrap();
        let island = with_the_example(island, reports.path());
        let users = island.users(3);
        let runs = users.iter().zip(1..).map(|(owner, seed)| island.run(owner, "spend-report", file(seed)));
        let mut totals = Vec::new();
        for (owner, run) in users.iter().zip(join_all(runs).await) {
            assert!(run.is_success(), "{run:?}");
            let outcome: Outcome = serde_json::from_value(run.result().unwrap().clone()).unwrap();
            assert!(!outcome.findings.is_empty());
            for file in &outcome.files {
                assert!(file.path.starts_with(&format!("acme/{}/", owner.user())), "{}", file.path);
                let written = std::fs::read(reports.path().join(&file.path)).unwrap();
                assert_eq!(written.len(), file.bytes);
            }
            totals.push(format!("{:?}", outcome.totals));
        }
        totals.dedup();
        assert_eq!(totals.len(), 3, "two users were given the same figures");
    }

    async fn every_tool_of_the_example_is_seen_by_its_user_and_no_path_of_the_machine(island: Island) {
        let reports = tempfile::tempdir().unwrap();
        let island = with_the_example(island, reports.path());
        let ada = island.user("ada");
        let run = island.run(&ada, "spend-report", file(7)).await;
        let events = island.ports().log.thread_events(&ada, &run.thread, 0, 10_000).await.unwrap().unwrap().events;
        let called = events.iter().filter(|event| event.kind == EventType::ToolExecuting).count();
        assert!(called >= 7, "{called} calls of tools");
        assert!(!words(&events).contains(&*reports.path().to_string_lossy()), "a path of the machine is shown");
        let own = events_of_run(island.ports(), &ada, &run.run).await;
        assert_eq!(own.first().unwrap().kind, EventType::AgentStarted);
        assert_eq!(own.last().unwrap().kind, EventType::AgentCompleted);
    }
}

on_every_backend! {
    async fn without_a_database_the_example_says_so_before_it_starts(island: Island) {
        let reports = tempfile::tempdir().unwrap();
        let island = with_the_example(island, reports.path()).backend(|ports| ports.database = None);
        let context = context(&island.user("ada"));
        let refused = island.engine(&context).execute_agent(&context, "spend-report", file(7)).await.unwrap_err();
        assert!(refused.to_string().contains("database"), "{refused}");
        assert_eq!(island.factory().metrics().instances_made, 0);
    }
}
