//! What a run does when others are under way in its thread.

use insula_context::{RandomIds, ThreadId};
use insula_engine::{Error, RunRequest, ThreadPolicy};
use insula_infra::RunStatus;
use serde_json::json;

use super::stage::{began, record};
use crate::{
    engine::stage::{Gate, held, nothing_is_left},
    support::{Gauge, Island, events_of_run, kinds, on_every_backend, until},
};

/// A thread, and requests of the class `held` in it.
struct Talk(ThreadId);

impl Talk {
    fn new() -> Self {
        Self(ThreadId::generate(&RandomIds))
    }

    fn held(&self, n: u32) -> RunRequest {
        RunRequest::new("held", json!(n)).thread(self.0.clone())
    }
}

on_every_backend! {
    async fn enqueue_runs_of_a_thread_follow_each_other(island: Island) {
        let (gauge, gate) = (Gauge::default(), Gate::closed());
        let island = island.class(held("held", &gauge, &gate));
        let (ada, talk) = (island.user("ada"), Talk::new());
        let factory = island.factory();
        let mut runs = Vec::new();
        for n in 0..5 {
            runs.push(factory.submit(&ada, talk.held(n)).await.unwrap());
        }
        until("the first one runs", || gauge.now() == 1).await;
        let elsewhere = factory.submit(&ada, Talk::new().held(9)).await.unwrap();
        until("another conversation's runs beside it", || gauge.now() == 2).await;
        gate.open();
        let mut last = None;
        for run in &runs {
            let ended = factory.wait(&ada, run).await.unwrap().unwrap();
            assert_eq!(ended.status, RunStatus::Completed);
            assert!(last <= Some(began(&island, &ended).await), "it began after the one before had ended");
            last = ended.ended_at;
        }
        factory.wait(&ada, &elsewhere).await.unwrap().unwrap();
        assert_eq!((gauge.most(), gauge.ever()), (2, 6));
        nothing_is_left(&island, &[&ada]).await;
    }

    async fn reject_refuses_while_another_is_under_way_and_says_which(island: Island) {
        let (gauge, gate) = (Gauge::default(), Gate::closed());
        let island = island.class(held("held", &gauge, &gate));
        let (ada, ben, talk) = (island.user("ada"), island.user("ben"), Talk::new());
        let factory = island.factory();
        let reject = |n| talk.held(n).policy(ThreadPolicy::Reject).idempotency_key(format!("held-{n}"));
        let first = factory.submit(&ada, reject(0)).await.unwrap();
        let refused = factory.submit(&ada, reject(1)).await.unwrap_err();
        let Error::ThreadBusy { thread, run } = &refused else { panic!("{refused:?}") };
        assert_eq!((thread, run, refused.is_transient()), (&talk.0, &first, true));
        assert!(refused.to_string().contains("wait for its end, stop it, or choose another policy"), "{refused}");
        assert_eq!(factory.submit(&ada, reject(0)).await.unwrap(), first, "the same request is the same run");
        let other = factory.submit(&ben, reject(1)).await.unwrap();
        gate.open();
        factory.wait(&ada, &first).await.unwrap().unwrap();
        let next = factory.submit(&ada, reject(1)).await.unwrap();
        for (scope, run) in [(&ada, &next), (&ben, &other)] {
            assert_eq!(factory.wait(scope, run).await.unwrap().unwrap().status, RunStatus::Completed);
        }
        nothing_is_left(&island, &[&ada, &ben]).await;
    }

    async fn interrupt_stops_the_others_and_begins_when_they_have_ended(island: Island) {
        let (gauge, gate) = (Gauge::default(), Gate::closed());
        let island = island.class(held("held", &gauge, &gate));
        let (ada, talk) = (island.user("ada"), Talk::new());
        let factory = island.factory();
        let running = factory.submit(&ada, talk.held(0)).await.unwrap();
        until("the first one runs", || gauge.now() == 1).await;
        let waiting = factory.submit(&ada, talk.held(1)).await.unwrap();
        let last = factory.submit(&ada, talk.held(2).policy(ThreadPolicy::Interrupt)).await.unwrap();
        for run in [&running, &waiting] {
            let ended = factory.wait(&ada, run).await.unwrap().unwrap();
            assert_eq!((ended.status, ended.rolled_back), (RunStatus::Cancelled, false));
            assert!(ended.cancel.is_some(), "it says who and why");
        }
        until("the last one runs", || gauge.ever() == 2 && gauge.now() == 1).await;
        gate.open();
        let ended = factory.wait(&ada, &last).await.unwrap().unwrap();
        assert_eq!(ended.status, RunStatus::Completed);
        let before = record(&island, &ada, &running).await.ended_at;
        assert!(before <= Some(began(&island, &ended).await), "never two at once");
        assert_eq!((gauge.most(), gauge.ever()), (1, 2), "the one that waited never began");
        assert_eq!(kinds(&events_of_run(island.ports(), &ada, &waiting).await), ["agent_cancelled"]);
        nothing_is_left(&island, &[&ada]).await;
    }

    async fn rollback_stops_the_others_and_their_records_say_that_they_do_not_count(island: Island) {
        let (gauge, gate) = (Gauge::default(), Gate::closed());
        let island = island.class(held("held", &gauge, &gate));
        let (ada, talk) = (island.user("ada"), Talk::new());
        let factory = island.factory();
        let before = factory.submit(&ada, RunRequest::new("echo", json!(1)).thread(talk.0.clone())).await.unwrap();
        factory.wait(&ada, &before).await.unwrap().unwrap();
        let running = factory.submit(&ada, talk.held(0)).await.unwrap();
        until("the first one runs", || gauge.now() == 1).await;
        let last = factory.submit(&ada, talk.held(1).policy(ThreadPolicy::Rollback)).await.unwrap();
        let ended = factory.wait(&ada, &running).await.unwrap().unwrap();
        assert_eq!((ended.status, ended.rolled_back), (RunStatus::Cancelled, true));
        gate.open();
        let ended = factory.wait(&ada, &last).await.unwrap().unwrap();
        assert_eq!((ended.status, ended.rolled_back), (RunStatus::Completed, false));
        let before = record(&island, &ada, &before).await;
        assert_eq!((before.status, before.rolled_back), (RunStatus::Completed, false), "what had ended counts");
        assert_eq!(gauge.most(), 1);
        nothing_is_left(&island, &[&ada]).await;
    }

    async fn a_conversations_runs_follow_each_other_on_two_processes_as_well(island: Island) {
        let (gauge, gate) = (Gauge::default(), Gate::closed());
        let island = island.class(held("held", &gauge, &gate));
        let (ada, talk, other) = (island.user("ada"), Talk::new(), island.another());
        let mut runs = Vec::new();
        for n in 0..6 {
            let factory = if n % 2 == 0 { island.factory() } else { &other };
            runs.push(factory.submit(&ada, talk.held(n)).await.unwrap());
        }
        until("the first one runs", || gauge.now() == 1).await;
        gate.open();
        for run in &runs {
            let ended = other.wait(&ada, run).await.unwrap().unwrap();
            assert_eq!(ended.status, RunStatus::Completed);
        }
        assert_eq!((gauge.most(), gauge.ever()), (1, 6));
        nothing_is_left(&island, &[&ada]).await;
    }
}
