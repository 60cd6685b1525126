//! Waits that were interrupted: pauses, questions, children.

use std::time::Duration;

use insula_agent::{Effect, Question};
use insula_context::{Clock, RunId, SystemClock};
use insula_engine::AnswerTo;
use insula_infra::{EventType, PayloadHash, RunHeader, RunStatus};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::tape::{header, lost, resumed_to_its_end, started};
use crate::{
    engine::stage::{Gate, class, enough, held, nothing_is_left, parent},
    support::{Gauge, Island, events_of_run, in_virtual_time, kinds, on_every_backend, until},
};

const HOUR: Duration = Duration::from_secs(3_600);

fn waiting(for_what: &str, left: Duration) -> (EventType, Value, Value) {
    let until = SystemClock::new().now().plus(left);
    (EventType::AgentWaiting, json!({"waiting_for": for_what, "index": 0, "until": until}), Value::Null)
}

/// The id of the child that this call of a run starts.
fn child_of(run: &RunId, call: u32) -> RunId {
    RunId::new(&PayloadHash::of(format!("{run}/{call}").as_bytes()).to_string()[..32]).unwrap()
}

/// A parent and the child of its first call, both lost.
async fn lost_family(island: &Island, mother: RunHeader, child: &str) -> (RunId, RunId) {
    let run = mother.run.clone();
    lost(island, mother.clone(), "1", &[started()]).await;
    let child = lost_child(island, &mother, 0, child).await;
    (run, child)
}

async fn lost_child(island: &Island, mother: &RunHeader, call: u32, class: &str) -> RunId {
    let (run, parent) = (child_of(&mother.run, call), Some(mother.run.clone()));
    let child = RunHeader { run: run.clone(), parent, agent: class.into(), ..mother.clone() };
    lost(island, child, "1", &[started()]).await;
    run
}

/// The clocks of a test and of its engine are set a moment apart.
fn assert_about(began: Instant, seconds: u64) {
    let apart = began.elapsed().abs_diff(Duration::from_secs(seconds));
    assert!(apart < Duration::from_secs(1), "{:?} instead of {seconds} s", began.elapsed());
}

in_virtual_time! {
    async fn a_pause_takes_only_what_was_left_of_it(island: Island) {
        let pausing = class("pausing", |session, _| async move {
            session.sleep(HOUR).await?;
            Ok(json!(true))
        });
        let island = island.class(pausing);
        let ada = island.user("ada");
        let resumed = header(&ada, "pausing");
        let (run, began) = (resumed.run.clone(), Instant::now());
        lost(&island, resumed, "1", &[started(), waiting("timer", Duration::from_secs(90))]).await;
        assert_eq!(resumed_to_its_end(&island, &ada, &run).await.status, RunStatus::Completed);
        assert_about(began, 90);
        let log = events_of_run(island.ports(), &ada, &run).await;
        let expected = ["agent_started", "agent_waiting", "agent_resumed", "agent_resumed", "step_completed", "agent_completed"];
        assert_eq!(kinds(&log), expected);
    }

    async fn a_question_stays_open_until_it_would_have_expired(island: Island) {
        let asking = class("asking", |session, _| async move {
            session.ask::<Value>(Question::new("well?").expires(HOUR).or_else("no")).await
        });
        let island = island.class(asking);
        let ada = island.user("ada");
        let resumed = header(&ada, "asking");
        let (run, began) = (resumed.run.clone(), Instant::now());
        lost(&island, resumed, "1", &[started(), waiting("human", Duration::from_secs(10))]).await;
        assert_eq!(resumed_to_its_end(&island, &ada, &run).await.result.unwrap().get(), "\"no\"");
        assert_about(began, 10);
    }

    async fn a_question_that_was_given_up_is_given_up_again(island: Island) {
        let impatient = class("impatient", |session, _| async move {
            let question = session.ask::<Value>(Question::new("well?"));
            let given_up = tokio::time::timeout(Duration::from_secs(5), question).await.is_err();
            let late: Value = session.step("late", Effect::Pure, async || Ok(json!("new"))).await?;
            Ok(json!([given_up, late]))
        });
        let island = island.class(impatient);
        let ada = island.user("ada");
        let resumed = header(&ada, "impatient");
        let run = resumed.run.clone();
        let given_up = (EventType::AgentResumed, json!({"why": "given_up"}), json!({"index": 0}));
        let late = (EventType::StepCompleted, json!({"index": 1, "name": "late", "result": "old"}), Value::Null);
        lost(&island, resumed, "1", &[started(), waiting("human", HOUR), given_up, late]).await;
        assert_eq!(resumed_to_its_end(&island, &ada, &run).await.result.unwrap().get(), "[true,\"old\"]");
        let late = island.factory().answer(&ada, &run, AnswerTo::the_oldest("late")).await.unwrap();
        assert_eq!(late, None, "nobody asks any more");
    }
}

on_every_backend! {
    async fn a_parent_that_waits_for_its_lost_child_leaves_it_room(island: Island) {
        let island = island.class(parent("mother", "tools")).limits(|limits| (limits.claimed, limits.running) = (1, 1));
        let ada = island.user("ada");
        let (run, child) = lost_family(&island, header(&ada, "mother"), "tools").await;
        let record = resumed_to_its_end(&island, &ada, &run).await;
        assert_eq!(record.result.unwrap().get(), "[1,2,3]");
        let log = events_of_run(island.ports(), &ada, &child).await;
        assert_eq!(kinds(&log).iter().filter(|kind| **kind == "agent_started").count(), 1);
        nothing_is_left(&island, &[&ada]).await;
    }

    async fn a_parent_that_waits_for_two_lost_children_gives_up_one_place(island: Island) {
        let twice = class("mother", |session, _| async move {
            let (one, two) = tokio::join!(session.call_agent("tools", json!(1)), session.call_agent("tools", json!(2)));
            Ok(json!([one?, two?]))
        });
        let island = island.class(twice).limits(|limits| limits.claimed = 1);
        let ada = island.user("ada");
        let mother = header(&ada, "mother");
        lost(&island, mother.clone(), "1", &[started()]).await;
        for call in [0, 1] {
            lost_child(&island, &mother, call, "tools").await;
        }
        let record = resumed_to_its_end(&island, &ada, &mother.run).await;
        assert_eq!(record.result.unwrap().get(), "[[1,2,3],[1,2,3]]");
        let later = island.factory().submit(&ada, insula_engine::RunRequest::new("noop", json!(1))).await.unwrap();
        assert_eq!(resumed_to_its_end(&island, &ada, &later).await.status, RunStatus::Completed);
    }

    async fn a_child_that_has_failed_fails_its_parent_again(island: Island) {
        let island = island.class(parent("mother", "fail"));
        let ada = island.user("ada");
        let (run, child) = lost_family(&island, header(&ada, "mother"), "fail").await;
        let failure = resumed_to_its_end(&island, &ada, &run).await.failure.expect("it fails");
        assert_eq!(failure.message, "agent \"fail\" did not give a result: it does not work");
        let log = events_of_run(island.ports(), &ada, &child).await;
        assert_eq!(kinds(&log), ["agent_started", "agent_resumed", "agent_failed"]);
    }

    async fn a_lost_child_is_stopped_with_its_parent_before_and_after_both_are_taken_over(island: Island) {
        let (gauge, gate) = (Gauge::default(), Gate::closed());
        let island = island.class(parent("mother", "held")).class(held("held", &gauge, &gate));
        let ada = island.user("ada");
        let (run, child) = lost_family(&island, header(&ada, "mother"), "held").await;
        island.ports().runs.request_cancel(&ada, &run, enough()).await.unwrap();
        for run in [&run, &child] {
            assert_eq!(resumed_to_its_end(&island, &ada, run).await.status, RunStatus::Cancelled);
        }
        assert_eq!(gauge.ever(), 0);

        let (run, child) = lost_family(&island, header(&ada, "mother"), "held").await;
        island.factory().work();
        until("the child runs again", || gauge.now() == 1).await;
        let started = async |run: &RunId| kinds(&events_of_run(island.ports(), &ada, run).await).contains(&"agent_resumed");
        while !started(&run).await {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        island.factory().cancel(&ada, &run, enough()).await.unwrap();
        for run in [&run, &child] {
            let record = resumed_to_its_end(&island, &ada, run).await;
            assert_eq!((record.status, record.cancel), (RunStatus::Cancelled, Some(enough())));
        }
        nothing_is_left(&island, &[&ada]).await;
    }
}
