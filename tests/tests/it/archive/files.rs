//! Out into a file, and in again.

use insula_context::{RunId, ThreadId, UserScope};
use insula_engine::{Error, Part};
use insula_infra::{Backend, RunFilter};
use serde_json::{Value, json};

use super::story::{Ledger, SECRET, exported, luggage, ran, read, stage};
use crate::{
    engine::stage::{Gate, held},
    support::{Gauge, Island, context, events_of_run, log::runs_of, on_every_backend, until, until_async},
};

/// What a run is, without when and where it was taken in: record, events as readers see them, and the engine's part.
async fn essence(backend: &Backend, scope: &UserScope, run: &RunId) -> Value {
    let record = backend.runs.run(scope, run).await.unwrap().expect("the run is there");
    let events = events_of_run(backend, scope, run).await;
    let recorded = backend.queue.recorded(scope, run).await.unwrap().unwrap();
    let events: Vec<Value> = events
        .iter()
        .zip(&recorded)
        .map(|(event, entry)| json!([event.kind, event.at, event.data, event.header.parent, entry.data, entry.journal]))
        .collect();
    json!({
        "input": record.input, "result": record.result, "status": record.status, "failure": record.failure,
        "agent": record.header.agent, "parent": record.header.parent, "version": record.version,
        "created_at": record.created_at, "ended_at": record.ended_at, "count": record.events, "events": events,
    })
}

async fn runs_in(backend: &Backend, scope: &UserScope, thread: &ThreadId) -> Vec<RunId> {
    let runs = runs_of(backend, scope).await;
    let mut ids: Vec<RunId> =
        runs.iter().filter(|r| r.header.thread == *thread).map(|r| r.header.run.clone()).collect();
    ids.sort();
    ids
}

on_every_backend! {
    async fn a_run_with_its_children_comes_back_as_it_was_under_whoever_imports_it(island: Island) {
        let island = stage(island, &Ledger::default());
        let (ada, ben) = (island.user("ada"), island.user("ben"));
        let (thread, run) = ran(&island, &ada, "trip", luggage()).await;
        let (factory, ports) = (island.factory(), island.ports());
        let lines = exported(factory, &ada, &run, Part::Whole).await;
        let archive = read(&lines).unwrap();
        assert_eq!((archive.run(), archive.agent(), archive.part(), archive.runs()), (&run, "trip", Part::Whole, 3));

        let imported = factory.import(&ben, &archive, None).await.unwrap();
        assert_ne!(imported.thread_id, thread, "a fresh thread");
        let ids = runs_in(ports, &ada, &thread).await;
        assert_eq!(runs_in(ports, &ben, &imported.thread_id).await, ids);
        assert_eq!((imported.runs, ids.len()), (3, 3));
        for id in &ids {
            assert_eq!(essence(ports, &ben, id).await, essence(ports, &ada, id).await, "{id}");
        }
        let record = ports.runs.run(&ben, &run).await.unwrap().unwrap();
        assert_eq!(factory.whole(&ben, &record.input).await.unwrap(), luggage());
        for event in events_of_run(ports, &ben, &run).await {
            let data: Value = event.data().unwrap();
            for hash in ["input", "result", "data"].map(|part| data[part]["$payload"].clone()) {
                let Some(hash) = hash.as_str() else { continue };
                assert!(ports.log.payload(&ben, &hash.parse().unwrap()).await.unwrap().is_some(), "{hash}");
            }
        }
        // What was taken in can be given on.
        let again = exported(factory, &ben, &run, Part::Whole).await;
        assert_eq!(again.len(), lines.len());
        assert!(ports.runs.run(&island.user("carol"), &run).await.unwrap().is_none());
    }

    async fn a_file_for_readers_holds_nothing_that_they_may_not_see(island: Island) {
        let island = stage(island, &Ledger::default());
        let ada = island.user("ada");
        let (_, run) = ran(&island, &ada, "trip", luggage()).await;
        let shown = exported(island.factory(), &ada, &run, Part::Shown).await;
        let leaking: Vec<&String> = shown.iter().filter(|line| line.contains(SECRET)).collect();
        assert!(leaking.is_empty(), "{leaking:?}");
        assert!(shown.iter().all(|line| !line.contains("\"journal\"")));
        let whole = exported(island.factory(), &ada, &run, Part::Whole).await;
        assert!(whole.iter().any(|line| line.contains(SECRET)), "the secret is there to be found");
        // And it is taken in like any other.
        let ben = island.user("ben");
        island.factory().import(&ben, &read(&shown).unwrap(), None).await.unwrap();
        let events = crate::support::words(&events_of_run(island.ports(), &ben, &run).await);
        assert!(events.contains("[redacted]") && !events.contains(SECRET));
    }

    async fn a_run_is_taken_in_once_and_into_the_thread_that_was_named(island: Island) {
        let island = stage(island, &Ledger::default());
        let (ada, factory) = (island.user("ada"), island.factory());
        let (thread, run) = ran(&island, &ada, "trip", luggage()).await;
        let archive = read(&exported(factory, &ada, &run, Part::Whole).await).unwrap();
        let refused = factory.import(&ada, &archive, None).await.unwrap_err();
        assert!(matches!(&refused, Error::Storage(insula_infra::Error::RunExists { run: id }) if *id == run));
        assert_eq!(runs_of(island.ports(), &ada).await.len(), 3, "nothing was taken in");
        let ben = island.user("ben");
        let into = ran(&island, &ben, "echo", json!(1)).await.0;
        let imported = factory.import(&ben, &archive, Some(into.clone())).await.unwrap();
        assert_eq!(imported.thread_id, into);
        let kept = RunFilter { thread: Some(thread), ..RunFilter::default() };
        assert!(island.ports().runs.runs(&ben, &kept, &Default::default()).await.unwrap().items.is_empty());
    }

    async fn a_child_alone_is_a_run_of_its_own(island: Island) {
        let island = stage(island, &Ledger::default());
        let (ada, ben) = (island.user("ada"), island.user("ben"));
        ran(&island, &ada, "trip", luggage()).await;
        let runs = runs_of(island.ports(), &ada).await;
        let guide = runs.iter().find(|run| *run.header.agent == *"guide").unwrap();
        let lines = exported(island.factory(), &ada, &guide.header.run, Part::Whole).await;
        let imported = island.factory().import(&ben, &read(&lines).unwrap(), None).await.unwrap();
        let record = island.ports().runs.run(&ben, &imported.run_id).await.unwrap().unwrap();
        assert_eq!((imported.runs, &record.header.parent), (1, &None));
        assert_eq!(record.result.unwrap().get(), guide.result.as_ref().unwrap().get());
    }

    async fn only_what_has_ended_is_exported_replayed_or_run_again(island: Island) {
        let (gauge, gate) = (Gauge::default(), Gate::closed());
        let island = island.class(held("held", &gauge, &gate));
        let (ada, factory) = (island.user("ada"), island.factory());
        let context = context(&ada);
        let engine = island.engine(&context);
        let running = engine.execute_agent(&context, "held", json!(1));
        let looking = async {
            until("it runs", || gauge.now() == 1).await;
            // An agent runs before its beginning is durable.
            let is_there = async || island.ports().runs.run(&ada, context.run()).await.unwrap().is_some();
            until_async("it is written down", is_there).await;
            let refusals = [
                factory.export(&ada, context.run(), Part::Shown).await.map(drop).unwrap_err(),
                factory.replay(&ada, context.run()).await.unwrap_err(),
                factory.retry(&ada, context.run()).await.unwrap_err(),
            ];
            gate.open();
            refusals
        };
        let (outcome, refusals) = tokio::join!(running, looking);
        assert!(outcome.unwrap().is_success());
        for refused in refusals {
            assert!(matches!(&refused, Error::NotEnded { run, .. } if run == context.run()), "{refused}");
        }
    }

    async fn nobody_exports_replays_or_repeats_what_is_somebody_elses(island: Island) {
        let (ada, ben) = (island.user("ada"), island.user("ben"));
        let (_, run) = ran(&island, &ada, "echo", json!(1)).await;
        let factory = island.factory();
        assert!(factory.export(&ben, &run, Part::Shown).await.unwrap().is_none());
        assert!(factory.export(&ben, &run, Part::Whole).await.unwrap().is_none());
        assert!(factory.replay(&ben, &run).await.unwrap().is_none());
        assert!(factory.retry(&ben, &run).await.unwrap().is_none());
        assert!(runs_of(island.ports(), &ben).await.is_empty());
    }

    async fn a_retry_has_the_whole_input_again_in_the_same_thread(island: Island) {
        let island = stage(island, &Ledger::default());
        let (ada, factory) = (island.user("ada"), island.factory());
        let (thread, run) = ran(&island, &ada, "trip", luggage()).await;
        let again = factory.retry(&ada, &run).await.unwrap().unwrap();
        assert_ne!(again, run);
        let record = factory.wait(&ada, &again).await.unwrap().unwrap();
        assert_eq!((&record.header.thread, record.status.as_str()), (&thread, "completed"));
        assert_eq!(factory.whole(&ada, &record.input).await.unwrap(), luggage());
    }
}
