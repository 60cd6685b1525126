//! Runs that were handed to the queue outlive every handle.

use futures::future::join_all;
use insula_context::{RandomIds, RunId, UserScope};
use insula_engine::{Error, RunRequest};
use insula_infra::{CancelRequest, RunStatus};
use serde_json::json;

use super::stage::{Gate, data, ended_as, enough, held, nothing_is_left};
use crate::support::{Gauge, Island, context, events_of_run, kinds, log::runs_of, on_every_backend, until};

/// Waits until a run's record says so.
async fn until_status(island: &Island, scope: &UserScope, run: &RunId, status: RunStatus) {
    let said = async {
        while island.ports().runs.run(scope, run).await.unwrap().unwrap().status != status {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), said).await.expect("the record says so in time");
}

on_every_backend! {
    async fn a_submitted_run_is_worked_on_without_a_handle_and_waited_for(island: Island) {
        let ada = island.user("ada");
        let run = island.factory().submit(&ada, RunRequest::new("tools", json!("salve"))).await.unwrap();
        let record = island.factory().wait(&ada, &run).await.unwrap().unwrap();
        assert_eq!(record.status, RunStatus::Completed);
        assert_eq!(record.result.unwrap().get(), "[1,2,3]");
        let log = events_of_run(island.ports(), &ada, &run).await;
        assert_eq!((kinds(&log)[0], log.len()), ("agent_started", 9));
        assert_eq!(data(&log[0])["input"], "salve");
        nothing_is_left(&island, &[&ada]).await;
    }

    async fn a_submitted_run_is_running_while_it_runs(island: Island) {
        let (gauge, gate) = (Gauge::default(), Gate::closed());
        let island = island.class(held("held", &gauge, &gate));
        let ada = island.user("ada");
        let run = island.factory().submit(&ada, RunRequest::new("held", json!(1))).await.unwrap();
        until("it runs", || gauge.now() == 1).await;
        until_status(&island, &ada, &run, RunStatus::Running).await;
        gate.open();
        assert_eq!(island.factory().wait(&ada, &run).await.unwrap().unwrap().status, RunStatus::Completed);
    }

    async fn a_hundred_submitted_runs_of_ten_users_all_end_once(island: Island) {
        let users = island.users(10);
        let factory = island.factory();
        let submitted = join_all((0..100).map(async |n| {
            let scope = &users[n % 10];
            let class = if n % 4 == 0 { "panic" } else { "echo" };
            (scope, factory.submit(scope, RunRequest::new(class, json!(n))).await.unwrap())
        }))
        .await;
        for (scope, run) in &submitted {
            assert!(factory.wait(scope, run).await.unwrap().unwrap().status.is_terminal());
        }
        let (mut completed, mut failed) = (0, 0);
        for scope in &users {
            completed += ended_as(&island, scope, RunStatus::Completed).await;
            failed += ended_as(&island, scope, RunStatus::Failed).await;
        }
        assert_eq!((completed, failed), (75, 25));
        nothing_is_left(&island, &users.iter().collect::<Vec<_>>()).await;
    }

    async fn a_run_that_is_cancelled_in_the_queue_never_starts(island: Island) {
        let (gauge, gate) = (Gauge::default(), Gate::closed());
        let island = island.class(held("held", &gauge, &gate)).limits(|limits| limits.claimed = 1);
        let ada = island.user("ada");
        let factory = island.factory();
        let first = factory.submit(&ada, RunRequest::new("held", json!(1))).await.unwrap();
        until("the first one runs", || gauge.now() == 1).await;
        let second = factory.submit(&ada, RunRequest::new("held", json!(2))).await.unwrap();
        let answer = factory.cancel(&ada, &second, enough()).await.unwrap();
        assert_eq!(answer, CancelRequest::Recorded);
        gate.open();
        let record = factory.wait(&ada, &second).await.unwrap().unwrap();
        assert_eq!((record.status, record.cancel), (RunStatus::Cancelled, Some(enough())));
        assert_eq!(kinds(&events_of_run(island.ports(), &ada, &second).await), ["agent_cancelled"]);
        assert_eq!(factory.wait(&ada, &first).await.unwrap().unwrap().status, RunStatus::Completed);
        assert_eq!(gauge.ever(), 1);
        nothing_is_left(&island, &[&ada]).await;
    }

    async fn a_run_of_another_process_is_stopped_through_the_store(island: Island) {
        let (gauge, gate) = (Gauge::default(), Gate::closed());
        let island = island.class(held("held", &gauge, &gate));
        let ada = island.user("ada");
        let run = island.factory().submit(&ada, RunRequest::new("held", json!(1))).await.unwrap();
        until("it runs", || gauge.now() == 1).await;
        let elsewhere = island.another();
        assert_eq!(elsewhere.cancel(&ada, &run, enough()).await.unwrap(), CancelRequest::Recorded);
        let record = elsewhere.wait(&ada, &run).await.unwrap().unwrap();
        assert_eq!((record.status, record.cancel), (RunStatus::Cancelled, Some(enough())));
        until("its work has stopped", || gauge.now() == 0).await;
        nothing_is_left(&island, &[&ada]).await;
    }

    async fn an_idempotency_key_makes_one_run_of_many_submissions(island: Island) {
        let (ada, bob) = (island.user("ada"), island.user("bob"));
        let factory = island.factory();
        let request = || RunRequest::new("echo", json!(1)).idempotency_key("order-7");
        let runs = join_all((0..10).map(async |_| factory.submit(&ada, request()).await.unwrap())).await;
        assert!(runs.iter().all(|run| *run == runs[0]), "{runs:?}");
        factory.wait(&ada, &runs[0]).await.unwrap().unwrap();
        assert_eq!(factory.submit(&ada, request()).await.unwrap(), runs[0], "after its end as well");
        assert_ne!(factory.submit(&bob, request()).await.unwrap(), runs[0], "another user's key is another key");
        assert_eq!(runs_of(island.ports(), &ada).await.len(), 1);
    }

    async fn a_submission_that_cannot_run_is_refused_and_leaves_no_run(island: Island) {
        let needy = insula_registry::AgentClass::new("needy", "1", insula_agent::kit::echo)
            .needs(insula_registry::Dependency::Service("oracle".to_owned()));
        let strict = insula_registry::AgentClass::new("strict", "1", insula_agent::kit::echo)
            .input_schema(json!({"type": "integer"}));
        let island = island.class(needy).class(strict);
        let ada = island.user("ada");
        let submit = async |class: &str| island.factory().submit(&ada, RunRequest::new(class, json!("x"))).await;
        let unknown = submit("ecco").await.unwrap_err();
        assert!(unknown.to_string().contains("\"ecco\"") && unknown.to_string().contains("echo"), "{unknown}");
        let unavailable = submit("needy").await.unwrap_err().to_string();
        assert!(unavailable.contains("needy") && unavailable.contains("oracle"), "{unavailable}");
        assert!(matches!(submit("strict").await, Err(Error::Input(_))));
        assert!(runs_of(island.ports(), &ada).await.is_empty());
    }

    async fn a_submitted_run_id_is_used_once(island: Island) {
        let ada = island.user("ada");
        let factory = island.factory();
        let run = RunId::generate(&RandomIds);
        let request = || RunRequest::new("echo", json!(1)).run(run.clone());
        factory.submit(&ada, request()).await.unwrap();
        let again = factory.submit(&ada, request()).await;
        assert!(matches!(again, Err(Error::Storage(insula_infra::Error::RunExists { .. }))), "{again:?}");
        factory.wait(&ada, &run).await.unwrap().unwrap();
        assert_eq!(factory.wait(&ada, context(&ada).run()).await.unwrap().map(|run| run.status), None, "no such run");
    }

    async fn submitted_runs_keep_to_the_users_limit_and_none_is_lost(island: Island) {
        let (gauge, gate) = (Gauge::default(), Gate::closed());
        let island = island.class(held("held", &gauge, &gate));
        let island = island.limits(|limits| (limits.running, limits.waiting) = (2, 1));
        let ada = island.user("ada");
        let factory = island.factory();
        let runs = join_all((0..8).map(async |n| {
            factory.submit(&ada, RunRequest::new("held", json!(n))).await.unwrap()
        }))
        .await;
        until("two run", || gauge.now() == 2).await;
        gate.open();
        for run in &runs {
            let record = factory.wait(&ada, run).await.unwrap().unwrap();
            assert_eq!(record.status, RunStatus::Completed, "{record:?}");
        }
        assert_eq!((gauge.most(), gauge.ever()), (2, 8));
        nothing_is_left(&island, &[&ada]).await;
    }
}
