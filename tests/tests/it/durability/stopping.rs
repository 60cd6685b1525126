//! A wish to stop a run that nobody works on.

use std::time::Duration;

use insula_agent::Question;
use insula_engine::RunRequest;
use insula_infra::{CancelRequest, RunStatus};
use serde_json::{Value, json};

use crate::{
    engine::stage::{Gate, class, enough, held, parent},
    support::{Gauge, Island, events_of_run, kinds, log::runs_of, on_every_backend, until_async},
};

on_every_backend! {
    async fn a_queued_run_that_was_stopped_is_never_started(island: Island) {
        let (gauge, gate) = (Gauge::default(), Gate::closed());
        let island = island.class(held("held", &gauge, &gate)).limits(|limits| limits.claimed = 0);
        let ada = island.user("ada");
        let run = island.factory().submit(&ada, RunRequest::new("held", json!(1))).await.unwrap();
        let wish = island.factory().cancel(&ada, &run, enough()).await.unwrap();
        assert_eq!(wish, CancelRequest::Recorded);
        // The process that took the wish is gone, and another begins to work.
        let second = Island::new(island.ports().clone()).class(held("held", &gauge, &gate));
        second.factory().work();
        let record = second.factory().wait(&ada, &run).await.unwrap().unwrap();
        assert_eq!((record.status, record.cancel), (RunStatus::Cancelled, Some(enough())));
        assert_eq!(kinds(&events_of_run(island.ports(), &ada, &run).await), ["agent_cancelled"]);
        assert_eq!(gauge.ever(), 0);
    }

    async fn a_parked_run_that_was_stopped_ends_when_somebody_works_again(island: Island) {
        let asking = class("asking", |session, _| async move { session.ask::<Value>(Question::new("well?")).await });
        let mother = parent("mother", "asking");
        let island = island.class(asking).class(mother).limits(|limits| limits.park_after = Duration::ZERO);
        let ada = island.user("ada");
        let first = island.another();
        let run = first.submit(&ada, RunRequest::new("mother", json!(1))).await.unwrap();
        let all_wait = async || {
            let runs = runs_of(island.ports(), &ada).await;
            runs.len() == 2 && runs.iter().all(|run| run.status == RunStatus::Waiting) && first.metrics().runs_live == 0
        };
        until_async("both are parked", all_wait).await;
        first.shutdown(Duration::ZERO).await;
        drop(first);
        island.ports().runs.request_cancel(&ada, &run, enough()).await.unwrap();
        let second = island.another();
        second.work();
        for run in runs_of(island.ports(), &ada).await {
            let record = second.wait(&ada, &run.header.run).await.unwrap().unwrap();
            assert_eq!((record.status, record.cancel), (RunStatus::Cancelled, Some(enough())));
        }
    }
}
