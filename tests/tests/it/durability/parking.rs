//! A run that only waits is a row in the store and nothing in memory, and goes on wherever there is room.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use insula_agent::Question;
use insula_context::{RunId, UserScope};
use insula_engine::{AnswerTo, End, ExecutionEngineFactory, RunRequest};
use insula_infra::{AnswerRequest, PageRequest, RunStatus};
use serde_json::{Value, json};

use super::{
    book::Book,
    tap::{Fate, Lost, Write, tap},
};
use crate::{
    engine::stage::{Gate, class, enough, held_tool, parent, spec},
    support::{
        Backing, Gauge, Island, ShiftedClock, context, events_of_run, kinds, on_every_backend, until, until_async, user,
    },
};

const HOUR: Duration = Duration::from_secs(3_600);

fn asking(name: &str) -> insula_registry::AgentClass {
    class(name, |session, _| async move { session.ask::<Value>(Question::new("well?").expires(HOUR)).await })
}

fn parks_at_once(island: Island) -> Island {
    island.limits(|limits| limits.park_after = Duration::ZERO)
}

async fn submit(factory: &ExecutionEngineFactory, scope: &UserScope, agent: &str) -> RunId {
    factory.submit(scope, RunRequest::new(agent, json!(1))).await.unwrap()
}

async fn is_parked(factory: &ExecutionEngineFactory, scope: &UserScope, run: &RunId) {
    until_async("it is parked", async || {
        let record = factory.backend().runs.run(scope, run).await.unwrap();
        record.is_some_and(|record| record.status == RunStatus::Waiting) && factory.metrics().runs_live == 0
    })
    .await;
}

async fn answer(factory: &ExecutionEngineFactory, scope: &UserScope, run: &RunId, answer: Value) {
    let given = factory.answer(scope, run, AnswerTo::the_oldest(answer)).await.unwrap();
    assert_eq!(given, Some(AnswerRequest::Recorded));
}

async fn result(factory: &ExecutionEngineFactory, scope: &UserScope, run: &RunId) -> String {
    let ended = tokio::time::timeout(Duration::from_secs(20), factory.wait(scope, run)).await.expect("it ends");
    let record = ended.unwrap().unwrap();
    record.result.map_or_else(|| format!("{:?}", record.status), |result| result.get().to_owned())
}

/// Counts claims that took something.
fn counted(backend: &insula_infra::Backend) -> (insula_infra::Backend, Arc<AtomicUsize>) {
    let claims = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&claims);
    let watch = Lost::at(move |write| {
        if let Write::Claim(_, runs) = write {
            count.fetch_add(runs.len(), Ordering::SeqCst);
        }
        Fate::GoOn
    });
    (tap(backend, watch), claims)
}

on_every_backend! {
    async fn a_parked_run_holds_nothing_and_goes_on_in_another_process(island: Island) {
        let island = parks_at_once(island.class(asking("asking")));
        let ada = island.user("ada");
        let first = island.another();
        let run = submit(&first, &ada, "asking").await;
        is_parked(&first, &ada, &run).await;
        until("its agent is gone", || first.metrics().instances_live == 0).await;
        drop(first);
        // Nobody works on it, and the answer is kept all the same.
        answer(&island.another(), &ada, &run, json!("yes")).await;
        let second = island.another();
        second.work();
        assert_eq!(result(&second, &ada, &run).await, "\"yes\"");
        let log = events_of_run(island.ports(), &ada, &run).await;
        let expected = ["agent_started", "agent_waiting", "agent_resumed", "step_completed", "agent_completed"];
        assert_eq!(kinds(&log), expected);
    }

    async fn a_run_that_is_woken_for_nothing_leaves_no_trace(island: Island) {
        let two = class("two", |session, _| async move {
            let nap = async { session.sleep(Duration::from_millis(20)).await };
            let (asked, ()) = tokio::try_join!(session.ask::<Value>(Question::new("well?")), nap)?;
            Ok(asked)
        });
        let island = parks_at_once(island.class(two));
        let ada = island.user("ada");
        let run = submit(island.factory(), &ada, "two").await;
        let slept = async || kinds(&events_of_run(island.ports(), &ada, &run).await).contains(&"step_completed");
        until_async("it has slept", slept).await;
        is_parked(island.factory(), &ada, &run).await;
        answer(island.factory(), &ada, &run, json!("yes")).await;
        assert_eq!(result(island.factory(), &ada, &run).await, "\"yes\"");
        let log = events_of_run(island.ports(), &ada, &run).await;
        let waits = kinds(&log).iter().filter(|kind| **kind == "agent_waiting").count();
        let resumes = kinds(&log).iter().filter(|kind| **kind == "agent_resumed").count();
        assert_eq!((waits, resumes), (2, 2), "{:?}", kinds(&log));
    }

    async fn a_parent_is_parked_with_its_child_and_woken_by_its_end(island: Island) {
        let island = parks_at_once(island.class(asking("asking")).class(parent("mother", "asking")));
        let ada = island.user("ada");
        let run = submit(island.factory(), &ada, "mother").await;
        is_parked(island.factory(), &ada, &run).await;
        assert_eq!(island.factory().metrics().instances_live, 0);
        let open = island.factory().inbox(&ada, None, &PageRequest::default()).await.unwrap().items;
        let [open] = &open[..] else { panic!("{open:?}") };
        answer(island.factory(), &ada, &open.header.run, json!("yes")).await;
        assert_eq!(result(island.factory(), &ada, &run).await, "\"yes\"");
        let log = events_of_run(island.ports(), &ada, &run).await;
        let expected = ["agent_started", "agent_waiting", "agent_resumed", "step_completed", "agent_completed"];
        assert_eq!(kinds(&log), expected);
    }

    async fn stopping_a_parked_parent_ends_its_parked_child(island: Island) {
        let island = parks_at_once(island.class(asking("asking")).class(parent("mother", "asking")));
        let ada = island.user("ada");
        let run = submit(island.factory(), &ada, "mother").await;
        is_parked(island.factory(), &ada, &run).await;
        let open = island.factory().inbox(&ada, None, &PageRequest::default()).await.unwrap().items;
        let child = open[0].header.run.clone();
        island.factory().cancel(&ada, &run, enough()).await.unwrap();
        for run in [&run, &child] {
            assert_eq!(result(island.factory(), &ada, run).await, "Cancelled");
            assert_eq!(kinds(&events_of_run(island.ports(), &ada, run).await), ["agent_started", "agent_waiting", "agent_cancelled"]);
        }
        assert!(island.factory().inbox(&ada, None, &PageRequest::default()).await.unwrap().items.is_empty());
    }

    async fn two_questions_and_a_pause_at_once_are_taken_in_any_order(island: Island) {
        let many = class("many", |session, _| async move {
            let (one, two, ()) = tokio::try_join!(
                session.ask::<Value>(Question::new("one?")),
                session.ask::<Value>(Question::new("two?")),
                session.sleep(Duration::from_millis(5)),
            )?;
            Ok(json!([one, two]))
        });
        let island = parks_at_once(island.class(many));
        let ada = island.user("ada");
        let run = submit(island.factory(), &ada, "many").await;
        is_parked(island.factory(), &ada, &run).await;
        for (index, said) in [(1, "second"), (0, "first")] {
            let given = AnswerTo::question(index, said);
            assert_eq!(island.factory().answer(&ada, &run, given).await.unwrap(), Some(AnswerRequest::Recorded));
            let late = AnswerTo::question(index, "late");
            let late = island.factory().answer(&ada, &run, late).await.unwrap();
            assert_ne!(late, Some(AnswerRequest::Recorded), "a second answer is refused");
        }
        assert_eq!(result(island.factory(), &ada, &run).await, "[\"first\",\"second\"]");
    }

    async fn whoever_executes_a_run_that_is_parked_gets_its_outcome(island: Island) {
        let island = parks_at_once(island.class(asking("asking")));
        let ada = island.user("ada");
        let context = context(&ada);
        let engine = island.engine(&context);
        island.factory().work();
        let answering = async {
            is_parked(island.factory(), &ada, context.run()).await;
            answer(island.factory(), &ada, context.run(), json!("yes")).await;
        };
        let (outcome, ()) = tokio::join!(engine.execute_agent(&context, "asking", json!(1)), answering);
        assert_eq!(outcome.unwrap().result(), Some(&json!("yes")));
    }

    async fn dropping_the_execution_of_a_parked_run_stops_it(island: Island) {
        let island = parks_at_once(island.class(asking("asking")));
        let ada = island.user("ada");
        let context = context(&ada);
        let engine = island.engine(&context);
        island.factory().work();
        tokio::select! {
            _ = engine.execute_agent(&context, "asking", json!(1)) => panic!("nobody answers"),
            () = is_parked(island.factory(), &ada, context.run()) => {}
        }
        assert_eq!(result(island.factory(), &ada, context.run()).await, "Cancelled");
    }

    async fn a_question_with_a_tool_beside_it_is_not_parked(island: Island) {
        let (gauge, gate) = (Gauge::default(), Gate::closed());
        let both = class("both", |session, _| async move {
            let (asked, _) = tokio::try_join!(session.ask::<Value>(Question::new("well?")), session.call_tool("held", 1))?;
            Ok(asked)
        });
        let island = island.class(both).tool(held_tool(spec("held"), &gauge, &gate));
        let island = island.limits(|limits| limits.park_after = Duration::from_millis(100));
        let ada = island.user("ada");
        let run = submit(island.factory(), &ada, "both").await;
        let said = async || kinds(&events_of_run(island.ports(), &ada, &run).await).contains(&"agent_waiting");
        until_async("it asks", said).await;
        until("the tool is called", || gauge.now() == 1).await;
        assert_eq!(island.factory().metrics().runs_live, 1);
        gate.open();
        is_parked(island.factory(), &ada, &run).await;
        answer(island.factory(), &ada, &run, json!("yes")).await;
        assert_eq!((&*result(island.factory(), &ada, &run).await, gauge.ever()), ("\"yes\"", 1));
    }

    async fn a_run_that_was_stopped_before_it_came_has_only_that_in_its_log(island: Island) {
        let ada = island.user("ada");
        let ahead = context(&ada);
        let engine = island.engine(&ahead);
        engine.cancel(ahead.run(), enough()).await.unwrap();
        let outcome = engine.execute_agent(&ahead, "echo", json!(1)).await.unwrap();
        assert_eq!(outcome.end, End::Cancelled(enough()));
        let submitted = context(&ada);
        island.factory().cancel(&ada, submitted.run(), enough()).await.unwrap();
        let request = RunRequest::new("echo", json!(1)).run(submitted.run().clone());
        let run = island.factory().submit(&ada, request).await.unwrap();
        assert_eq!(result(island.factory(), &ada, &run).await, "Cancelled");
        for run in [ahead.run(), &run] {
            assert_eq!(kinds(&events_of_run(island.ports(), &ada, run).await), ["agent_cancelled"]);
        }
    }
}

/// A run whose question expires, worked on by a process whose clock is wrong.
async fn expires(backing: Backing, clock: Arc<ShiftedClock>) {
    let (backend, claims) = counted(&backing.open(ShiftedClock::new()));
    let case = super::cases::Case::named("unanswered-submitted-atonce").unwrap();
    let factory = case.engine_with(backend, &Book::here(), insula_engine::AgentThreads::Own(1), clock);
    let request = RunRequest::new(case.agent, json!(1));
    let run = factory.submit(&user("ada"), request).await.unwrap();
    let expected = "[\"default\",\"the question expired without an answer\"]";
    assert_eq!(result(&factory, &user("ada"), &run).await, expected);
    // One to begin, and one for each question; a clock that is behind may look once more.
    let claims = claims.load(Ordering::SeqCst);
    assert!(claims <= 5, "{claims} claims: it is woken again and again");
}

#[tokio::test]
async fn the_stores_clock_says_when_a_question_has_expired_whatever_the_processs_clock_says() {
    let skew = Duration::from_secs(5);
    for backing in [|| Backing::Memory, Backing::sqlite] {
        tokio::join!(expires(backing(), ShiftedClock::ahead(skew)), expires(backing(), ShiftedClock::behind(skew)));
    }
}

/// An answer that was taken counts, whatever the clocks say.
async fn answered_in_time(backing: Backing, clock: Arc<ShiftedClock>, park_after: Duration) {
    let asking = class("asking", |session, _| async move {
        let question = Question::new("well?").expires(Duration::from_secs(7)).or_else("nobody answered");
        session.ask::<Value>(question).await
    });
    let registry = insula_registry::AgentClassRegistry::builder().register(asking).freeze().unwrap();
    let limits = insula_engine::Limits { park_after, ..Default::default() };
    let factory = ExecutionEngineFactory::builder(registry, backing.open(ShiftedClock::new()));
    let factory = factory.limits(limits).clock(clock).build();
    let (ada, run) = (user("ada"), RunId::new("asking").unwrap());
    factory.submit(&ada, RunRequest::new("asking", json!(1)).run(run.clone())).await.unwrap();
    let asked = async || !factory.inbox(&ada, Some(&run), &PageRequest::default()).await.unwrap().items.is_empty();
    until_async("it is asked", asked).await;
    answer(&factory, &ada, &run, json!("yes")).await;
    assert_eq!(result(&factory, &ada, &run).await, "\"yes\"");
}

#[tokio::test]
async fn an_answer_that_was_taken_counts_whatever_the_processs_clock_says() {
    let skew = Duration::from_secs(5);
    for backing in [|| Backing::Memory, Backing::sqlite] {
        for park_after in [Duration::ZERO, HOUR] {
            answered_in_time(backing(), ShiftedClock::ahead(skew), park_after).await;
            answered_in_time(backing(), ShiftedClock::behind(skew), park_after).await;
        }
    }
}
