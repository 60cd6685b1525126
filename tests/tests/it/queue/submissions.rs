//! What a submission may ask for, what is refused, and stopping many at once.

use std::time::Duration;

use futures::future::join_all;
use insula_context::{RandomIds, ThreadId};
use insula_engine::{Error, RunRequest};
use insula_infra::{RunFilter, RunStatus};
use serde_json::json;

use super::stage::{began, delay, line_up, made, record};
use crate::{
    engine::stage::{Gate, enough, held, nothing_is_left},
    support::{Gauge, Island, events_of_run, in_virtual_time, log::runs_of, on_every_backend, until, words},
};

in_virtual_time! {
    async fn a_delayed_run_begins_when_its_time_has_come_and_has_all_of_its_own(island: Island) {
        // It may take ten minutes, and is told to wait for an hour.
        let island = island.limits(|limits| limits.run_time = Duration::from_secs(600));
        let ada = island.user("ada");
        let factory = island.factory();
        let hour = Duration::from_secs(3_600);
        let late = factory.submit(&ada, RunRequest::new("echo", json!("late")).delay(hour)).await.unwrap();
        let soon = factory.submit(&ada, RunRequest::new("echo", json!("soon"))).await.unwrap();
        let at = made(&island, &ada).await[0].plus(hour * 2);
        let later = factory.submit(&ada, RunRequest::new("echo", json!("later")).at(at)).await.unwrap();
        factory.wait(&ada, &soon).await.unwrap().unwrap();
        assert_eq!(record(&island, &ada, &late).await.status, RunStatus::Queued);
        let ended = factory.wait(&ada, &late).await.unwrap().unwrap();
        assert_eq!(ended.status, RunStatus::Completed, "{ended:?}");
        let waited = delay(&island, &ended).await;
        assert!(waited >= hour && waited < hour + Duration::from_secs(1), "{waited:?}");
        let ended = factory.wait(&ada, &later).await.unwrap().unwrap();
        let began = began(&island, &ended).await;
        assert!(began >= at && began.since(at) < Duration::from_secs(1), "{began} for {at}");
        let past = factory.submit(&ada, RunRequest::new("echo", json!("past")).at(at)).await.unwrap();
        let ended = factory.wait(&ada, &past).await.unwrap().unwrap();
        assert!(delay(&island, &ended).await < Duration::from_secs(1), "a time that has passed is now");
        nothing_is_left(&island, &[&ada]).await;
    }
}

on_every_backend! {
    async fn a_full_queue_refuses_its_user_and_says_when_to_come_back(island: Island) {
        let island = island.limits(|limits| limits.queued = 3);
        let (ada, ben) = (island.user("ada"), island.user("ben"));
        let factory = island.factory();
        let runs = line_up(factory, &ada, "echo", (0..3).map(|n| json!(n))).await;
        let refused = factory.enqueue(&ada, RunRequest::new("echo", json!(4))).await.unwrap_err();
        let Error::Limit { user, what, limit, retry_after, .. } = &refused else { panic!("{refused:?}") };
        assert_eq!((user, *what, *limit), (&ada, "queued runs", 3));
        assert!(retry_after.is_some() && refused.is_transient());
        line_up(factory, &ben, "echo", [json!("another user's")]).await;
        factory.work();
        for run in &runs {
            factory.wait(&ada, run).await.unwrap().unwrap();
        }
        factory.enqueue(&ada, RunRequest::new("echo", json!(4))).await.unwrap();
        nothing_is_left(&island, &[&ada, &ben]).await;
    }

    async fn one_key_makes_one_run_also_when_two_processes_submit_at_once(island: Island) {
        let ada = island.user("ada");
        let (one, other) = (island.factory(), island.another());
        let request = || RunRequest::new("echo", json!(1)).idempotency_key("order-7");
        for n in 0..20 {
            let request = || request().idempotency_key(format!("order-{n}"));
            let pair = [one.submit(&ada, request()), other.submit(&ada, request())];
            let runs: Vec<_> = join_all(pair).await.into_iter().map(Result::unwrap).collect();
            assert_eq!(runs[0], runs[1]);
            one.wait(&ada, &runs[0]).await.unwrap().unwrap();
        }
        assert_eq!(runs_of(island.ports(), &ada).await.len(), 20);
        nothing_is_left(&island, &[&ada]).await;
    }

    async fn the_end_of_a_run_is_to_be_told_to_whom_its_submission_names_and_nobody_reads_the_secret(island: Island) {
        let ada = island.user("ada");
        let factory = island.factory();
        let target = json!({"url": "https://example.org/done", "secret": "hush-hush-hush-hush"});
        let request = RunRequest::new("echo", json!(1)).webhook(serde_json::value::to_raw_value(&target).unwrap().into());
        assert!(!format!("{request:?}").contains("hush"), "{request:?}");
        let run = factory.submit(&ada, request).await.unwrap();
        factory.submit(&ada, RunRequest::new("echo", json!(2))).await.unwrap();
        let record = factory.wait(&ada, &run).await.unwrap().unwrap();
        let calls = island.ports().webhooks.due_webhooks(Duration::from_secs(60), 9).await.unwrap();
        let [call] = calls.as_slice() else { panic!("one call: {calls:?}") };
        assert_eq!((&call.header.run, call.ended_at), (&run, record.ended_at));
        assert_eq!(serde_json::from_str::<serde_json::Value>(call.target.get()).unwrap(), target);
        let said = words(&events_of_run(island.ports(), &ada, &run).await);
        let shown = serde_json::to_string(&record).unwrap();
        for words in [said, shown, format!("{record:?} {call:?}")] {
            assert!(!words.contains("hush"), "{words}");
        }
        nothing_is_left(&island, &[&ada]).await;
    }

    async fn cancelling_a_conversation_stops_all_of_it_and_nothing_else(island: Island) {
        let (gauge, gate) = (Gauge::default(), Gate::closed());
        let island = island.class(held("held", &gauge, &gate));
        let (ada, ben) = (island.user("ada"), island.user("ben"));
        let factory = island.factory();
        let talk = ThreadId::generate(&RandomIds);
        let in_talk = |n| RunRequest::new("held", json!(n)).thread(talk.clone());
        let stopped = [
            factory.submit(&ada, in_talk(0)).await.unwrap(),
            factory.submit(&ada, in_talk(1)).await.unwrap(),
            factory.submit(&ada, in_talk(2).delay(Duration::from_secs(3_600))).await.unwrap(),
        ];
        let own = factory.submit(&ada, RunRequest::new("held", json!(3))).await.unwrap();
        let foreign = factory.submit(&ben, in_talk(4)).await.unwrap();
        until("three run", || gauge.now() == 3).await;
        let filter = RunFilter { thread: Some(talk.clone()), ..RunFilter::default() };
        let mut asked = factory.cancel_all(&ada, &filter, enough()).await.unwrap();
        asked.sort();
        let mut expected = stopped.to_vec();
        expected.sort();
        assert_eq!(asked, expected);
        for run in &stopped {
            let ended = factory.wait(&ada, run).await.unwrap().unwrap();
            assert_eq!((ended.status, ended.cancel), (RunStatus::Cancelled, Some(enough())));
        }
        assert!(factory.cancel_all(&ada, &filter, enough()).await.unwrap().is_empty(), "all have ended");
        gate.open();
        for (scope, run) in [(&ada, &own), (&ben, &foreign)] {
            assert_eq!(factory.wait(scope, run).await.unwrap().unwrap().status, RunStatus::Completed);
        }
        nothing_is_left(&island, &[&ada, &ben]).await;
    }

    async fn cancelling_by_agent_reaches_runs_of_another_process(island: Island) {
        let (gauge, gate) = (Gauge::default(), Gate::closed());
        let island = island.class(held("held", &gauge, &gate));
        let ada = island.user("ada");
        let worker = island.factory();
        let run = worker.submit(&ada, RunRequest::new("held", json!(1))).await.unwrap();
        until("it runs", || gauge.now() == 1).await;
        let filter = RunFilter { agent: Some("held".to_owned()), ..RunFilter::default() };
        let asked = island.another().cancel_all(&ada, &filter, enough()).await.unwrap();
        assert_eq!(asked, std::slice::from_ref(&run));
        assert_eq!(worker.wait(&ada, &run).await.unwrap().unwrap().status, RunStatus::Cancelled);
        nothing_is_left(&island, &[&ada]).await;
    }
}
