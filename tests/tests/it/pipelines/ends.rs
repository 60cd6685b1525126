//! How a pipeline ends: well, badly, in time, stopped; and what always runs.

use std::time::Duration;

use insula_engine::{End, Pipeline, Step, StepStatus};
use insula_infra::RunStatus;
use serde_json::json;
use tokio::time::Instant;

use super::flow::{execute, fates, plus};
use crate::{
    engine::stage::{Gate, caller, ended_log, enough, held, held_tool, log_of, nothing_is_left, spec},
    support::{Gauge, Island, context, in_virtual_time, log::runs_of, on_every_backend, until},
};

/// A last step that says what had failed before it.
fn tidy() -> Step {
    Step::agent("tidy", "echo").input(|seen| {
        json!(
            seen.failures()
                .map(|step| format!("{}: {}", step.name, step.error.as_ref().unwrap().reason))
                .collect::<Vec<_>>()
        )
    })
}

on_every_backend! {
    async fn pipe_3_a_finally_step_always_runs_and_sees_the_failures(island: Island) {
        let island = island.class(plus());
        let ada = island.user("ada");
        for (class, failures) in [("plus", json!([])), ("fail", json!(["a: error"])), ("panic", json!(["a: panic"]))] {
            let plan = Pipeline::builder("plan").step(Step::agent("a", class)).step(Step::agent("b", "plus"));
            let plan = plan.finally(tidy()).build().unwrap();
            let outcome = execute(&island, &ada, &plan, json!(1)).await;
            let tidy = outcome.steps.last().unwrap();
            assert_eq!((tidy.name.as_str(), tidy.status), ("tidy", StepStatus::Ok));
            assert_eq!(tidy.result.as_ref().unwrap()["echo"], failures);
            assert_eq!(outcome.run.is_success(), class == "plus", "a tidy end makes no success of a failure");
        }
    }

    async fn a_finally_step_that_fails_fails_the_pipeline_and_hides_no_earlier_failure(island: Island) {
        let island = island.class(plus());
        let ada = island.user("ada");
        for (first, blamed) in [("plus", "broom"), ("panic", "a")] {
            let plan = Pipeline::builder("plan").step(Step::agent("a", first));
            let plan = plan.finally(Step::agent("broom", "fail")).finally(tidy()).build().unwrap();
            let outcome = execute(&island, &ada, &plan, json!(1)).await;
            assert!(outcome.run.end.message().unwrap().contains(&format!("\"{blamed}\"")), "{:?}", outcome.run);
            assert_eq!(outcome.steps.last().unwrap().status, StepStatus::Ok, "the other one runs all the same");
        }
    }

    async fn a_cancelled_step_is_a_failure_that_the_finally_step_sees(island: Island) {
        let (gauge, gate) = (Gauge::default(), Gate::closed());
        let island = island.class(held("held", &gauge, &gate));
        let ada = island.user("ada");
        let plan = Pipeline::builder("plan").step(Step::agent("a", "held")).finally(tidy()).build().unwrap();
        let context = context(&ada);
        let engine = island.engine(&context);
        let stop = async {
            until("the step runs", || gauge.now() == 1).await;
            let step = island.factory().isolation_report().live.into_iter().find(|live| live.class == "held").unwrap();
            engine.cancel(&step.run_id, enough()).await.unwrap();
        };
        let (outcome, ()) = tokio::join!(engine.execute_pipeline(&context, &plan, json!(1)), stop);
        let outcome = outcome.unwrap();
        assert_eq!(fates(&outcome), [("a", StepStatus::Failed), ("tidy", StepStatus::Ok)]);
        assert_eq!(outcome.steps[1].result.as_ref().unwrap()["echo"], json!(["a: cancelled"]));
        assert!(!outcome.run.is_success());
    }

    async fn a_cancelled_pipeline_stops_with_all_its_steps_and_starts_no_more(island: Island) {
        let (gauge, gate) = (Gauge::default(), Gate::closed());
        let island = island.class(held("held", &gauge, &gate)).class(plus());
        let ada = island.user("ada");
        let side = Step::parallel("side", [Step::agent("left", "held"), Step::agent("right", "held")]);
        let plan = Pipeline::builder("plan").step(Step::agent("first", "plus")).step(side);
        let plan = plan.step(Step::agent("last", "plus")).build().unwrap();
        let context = context(&ada);
        let engine = island.engine(&context);
        let stop = async {
            until("both sides run", || gauge.now() == 2).await;
            engine.cancel(context.run(), enough()).await.unwrap();
        };
        let (outcome, ()) = tokio::join!(engine.execute_pipeline(&context, &plan, json!(1)), stop);
        let outcome = outcome.unwrap();
        assert_eq!(outcome.run.end, End::Cancelled(enough()));
        // The sides may be told as failed or not at all: they are stopped together with the pipeline.
        let told = fates(&outcome);
        assert_eq!(told[0], ("first", StepStatus::Ok), "what had ended is told");
        assert!(!told.iter().any(|(name, _)| *name == "last"), "{told:?}");
        until("both sides have stopped", || gauge.now() == 0).await;
        drop(engine);
        nothing_is_left(&island, &[&ada]).await;
        let runs = runs_of(island.ports(), &ada).await;
        let cancelled = runs.iter().filter(|run| run.status == RunStatus::Cancelled).count();
        assert_eq!((runs.len(), cancelled), (4, 3));
    }

    async fn a_dropped_pipeline_ends_with_all_its_steps(island: Island) {
        let (gauge, gate) = (Gauge::default(), Gate::closed());
        let island = island.class(held("held", &gauge, &gate));
        let ada = island.user("ada");
        let plan = Pipeline::builder("plan").step(Step::agent("a", "held")).build().unwrap();
        let context = context(&ada);
        let engine = island.engine(&context);
        let mut execution = Box::pin(engine.execute_pipeline(&context, &plan, json!(1)));
        while gauge.now() == 0 {
            assert!(futures::poll!(&mut execution).is_pending());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        drop(execution);
        drop(engine);
        ended_log(&island, &context).await;
        nothing_is_left(&island, &[&ada]).await;
        assert_eq!(gauge.now(), 0);
        assert!(runs_of(island.ports(), &ada).await.iter().all(|run| run.status == RunStatus::Cancelled));
    }

    async fn a_step_of_an_unknown_class_fails_as_refused(island: Island) {
        let ada = island.user("ada");
        let plan = Pipeline::builder("plan").step(Step::agent("a", "nobody")).finally(tidy()).build().unwrap();
        let outcome = execute(&island, &ada, &plan, json!(1)).await;
        assert_eq!(outcome.steps[0].error.as_ref().unwrap().reason, "refused");
        assert_eq!(outcome.steps[1].result.as_ref().unwrap()["echo"], json!(["a: refused"]));
    }
}

in_virtual_time! {
    async fn pipe_6_a_hanging_tool_ends_its_step_with_timeout_and_the_pipeline_says_so(island: Island) {
        let (gauge, gate) = (Gauge::default(), Gate::closed());
        let hanging = held_tool(spec("hang").timeout(Duration::from_secs(7)), &gauge, &gate);
        let island = island.tool(hanging).class(caller("calling", "hang"));
        let ada = island.user("ada");
        let plan = Pipeline::builder("plan").step(Step::agent("a", "calling")).finally(tidy()).build().unwrap();
        let began = Instant::now();
        let outcome = execute(&island, &ada, &plan, json!(1)).await;
        assert_eq!(began.elapsed().as_secs(), 7);
        assert_eq!(outcome.steps[0].error.as_ref().unwrap().reason, "timeout");
        assert_eq!(outcome.steps[1].result.as_ref().unwrap()["echo"], json!(["a: timeout"]));
        assert_eq!(outcome.run.end.reason(), "timeout");
        assert_eq!(gauge.now(), 0);
    }

    async fn pipe_6_a_step_past_its_own_limit_is_stopped_with_its_tool(island: Island) {
        let (gauge, gate) = (Gauge::default(), Gate::closed());
        let island = island.tool(held_tool(spec("hang"), &gauge, &gate)).class(caller("calling", "hang"));
        let ada = island.user("ada");
        let slow = Step::agent("a", "calling").timeout(Duration::from_secs(3));
        let plan = Pipeline::builder("plan").step(slow).finally(tidy()).build().unwrap();
        let (context, began) = (context(&ada), Instant::now());
        let outcome = island.engine(&context).execute_pipeline(&context, &plan, json!(1)).await.unwrap();
        assert_eq!((began.elapsed().as_secs(), outcome.run.end.reason()), (3, "timeout"));
        assert_eq!(outcome.steps[0].error.as_ref().unwrap().reason, "timeout");
        nothing_is_left(&island, &[&ada]).await;
        assert_eq!(gauge.now(), 0, "the tool has really stopped");
        assert!(!log_of(&island, &context).await.is_empty());
    }

    async fn a_pipeline_past_its_runs_limit_stops_as_one(island: Island) {
        let (gauge, gate) = (Gauge::default(), Gate::closed());
        let island = island.class(held("held", &gauge, &gate)).limits(|limits| limits.run_time = Duration::from_secs(5));
        let ada = island.user("ada");
        let plan = Pipeline::builder("plan").step(Step::agent("a", "held")).build().unwrap();
        let began = Instant::now();
        let outcome = execute(&island, &ada, &plan, json!(1)).await;
        assert_eq!((began.elapsed().as_secs(), outcome.run.end.reason()), (5, "timeout"));
        nothing_is_left(&island, &[&ada]).await;
        assert_eq!(gauge.now(), 0);
    }
}
