//! Which steps run, in which order, with what.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use insula_context::UserScope;
use insula_engine::{Pipeline, PipelineOutcome, Seen, Step, StepStatus};
use insula_registry::AgentClass;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{
    engine::stage::{class, data, log_of, nothing_is_left},
    support::{Gauge, Island, context, in_virtual_time, kinds, log::runs_of, on_every_backend},
};

/// A class that returns its input plus one.
pub(super) fn plus() -> AgentClass {
    class("plus", |_, input| async move { Ok(json!(input.as_i64().unwrap_or(0) + 1)) })
}

pub(super) async fn execute(island: &Island, scope: &UserScope, plan: &Pipeline, input: Value) -> PipelineOutcome {
    let context = context(scope);
    island.engine(&context).execute_pipeline(&context, plan, input).await.unwrap()
}

/// The names and fates of steps, in the order in which they ended.
pub(super) fn fates(outcome: &PipelineOutcome) -> Vec<(&str, StepStatus)> {
    outcome.steps.iter().map(|step| (step.name.as_str(), step.status)).collect()
}

on_every_backend! {
    async fn pipe_1_the_first_failure_stops_the_pipeline_and_nothing_more_runs(island: Island) {
        let plan = Pipeline::builder("plan").step(Step::agent("a", "plus")).step(Step::agent("b", "fail"));
        let plan = plan.step(Step::agent("c", "plus")).step(Step::agent("d", "plus")).build().unwrap();
        let island = island.class(plus());
        let ada = island.user("ada");
        let outcome = execute(&island, &ada, &plan, json!(1)).await;
        assert_eq!(fates(&outcome), [("a", StepStatus::Ok), ("b", StepStatus::Failed)]);
        assert_eq!(outcome.run.end.reason(), "error");
        assert!(outcome.run.end.message().unwrap().contains("it does not work"));
        assert_eq!(runs_of(island.ports(), &ada).await.len(), 3, "the pipeline and two steps");
        nothing_is_left(&island, &[&ada]).await;
    }

    async fn pipe_1_with_continue_on_error_the_others_run(island: Island) {
        let plan = Pipeline::builder("plan").step(Step::agent("a", "plus")).step(Step::agent("b", "fail").continue_on_error());
        let plan = plan.step(Step::agent("c", "plus")).step(Step::agent("d", "plus")).build().unwrap();
        let island = island.class(plus());
        let ada = island.user("ada");
        let outcome = execute(&island, &ada, &plan, json!(1)).await;
        use StepStatus::{Failed, Ok};
        assert_eq!(fates(&outcome), [("a", Ok), ("b", Failed), ("c", Ok), ("d", Ok)]);
        assert!(outcome.run.is_success());
        assert_eq!(runs_of(island.ports(), &ada).await.len(), 5);
    }

    async fn pipe_2_each_step_sees_the_result_of_the_one_before(island: Island) {
        let plan = Pipeline::builder("plan").step(Step::agent("a", "plus")).step(Step::agent("b", "plus"));
        let plan = plan.step(Step::agent("c", "plus").input(|seen| {
            json!(seen.result("b").unwrap().as_i64().unwrap() * 10 + seen.input().as_i64().unwrap())
        }));
        let plan = plan.build().unwrap();
        let island = island.class(plus());
        let ada = island.user("ada");
        let context = context(&ada);
        let outcome = island.engine(&context).execute_pipeline(&context, &plan, json!(4)).await.unwrap();
        let results: Vec<_> = outcome.steps.iter().map(|step| step.result.clone().unwrap()).collect();
        assert_eq!(results, [json!(5), json!(6), json!(65)]);
        assert_eq!(outcome.run.result(), Some(&json!(65)));
        let log = log_of(&island, &context).await;
        let told: Vec<_> = log.iter().filter(|event| event.kind.as_str() == "custom").map(data).collect();
        let steps: Vec<_> = told.iter().map(|told| (&told["data"]["step"], &told["data"]["status"])).collect();
        assert_eq!(steps, [(&json!("a"), &json!("ok")), (&json!("b"), &json!("ok")), (&json!("c"), &json!("ok"))]);
        assert_eq!(kinds(&log).last(), Some(&"agent_completed"));
    }

    async fn pipe_3_conditional_steps_choose_by_a_result(island: Island) {
        let large = |seen: &Seen| seen.result("measure").and_then(Value::as_i64).is_some_and(|n| n > 10);
        let plan = Pipeline::builder("plan").step(Step::agent("measure", "plus"));
        let plan = plan.step(Step::agent("shrink", "noop").after(["measure"]).when(large));
        let plan = plan.step(Step::agent("grow", "plus").after(["measure"]).when(move |seen| !large(seen)));
        let plan = plan.build().unwrap();
        let island = island.class(plus());
        let ada = island.user("ada");
        for (input, shrink, grow) in [(50, StepStatus::Ok, StepStatus::Skipped), (1, StepStatus::Skipped, StepStatus::Ok)] {
            let outcome = execute(&island, &ada, &plan, json!(input)).await;
            let seen = |name: &str| outcome.steps.iter().find(|step| step.name == name).unwrap().status;
            assert_eq!((seen("shrink"), seen("grow")), (shrink, grow), "for {input}");
        }
        assert_eq!(runs_of(island.ports(), &ada).await.len(), 6, "what is skipped is no run");
    }

    async fn pipe_4_steps_that_wait_for_a_failed_one_by_name_say_so(island: Island) {
        let plan = Pipeline::builder("plan").step(Step::agent("a", "fail")).step(Step::agent("b", "plus").after(["a"]));
        let plan = plan.step(Step::agent("c", "plus").after(["b"])).step(Step::agent("d", "plus").after(["z"]));
        let plan = plan.step(Step::agent("z", "plus").after(Vec::<String>::new())).build().unwrap();
        let island = island.class(plus());
        let ada = island.user("ada");
        let outcome = execute(&island, &ada, &plan, json!(1)).await;
        let fate = |name: &str| outcome.steps.iter().find(|step| step.name == name).map(|step| step.status);
        assert_eq!(fate("b"), Some(StepStatus::DependencyFailed));
        assert_eq!(fate("c"), Some(StepStatus::DependencyFailed), "also through another step");
        assert_eq!(fate("z"), Some(StepStatus::Ok), "what had begun is not cut off");
        let error = outcome.steps.iter().find(|step| step.name == "b").unwrap().error.as_ref().unwrap();
        assert_eq!((error.reason.as_str(), error.message.as_str()), ("dependency_failed", "the step \"a\" failed"));
    }

    async fn parallel_steps_give_their_results_by_name(island: Island) {
        let side = Step::parallel("side", [Step::agent("left", "plus"), Step::agent("right", "plus").input(|_| json!(9))]);
        let plan = Pipeline::builder("plan").step(Step::agent("a", "plus")).step(side).build().unwrap();
        let island = island.class(plus());
        let ada = island.user("ada");
        let outcome = execute(&island, &ada, &plan, json!(1)).await;
        assert_eq!(outcome.run.result(), Some(&json!({"left": 3, "right": 10})));
    }

    async fn a_failure_side_by_side_fails_the_step_unless_it_says_otherwise(island: Island) {
        let island = island.class(plus());
        let ada = island.user("ada");
        for (forgiving, success) in [(false, false), (true, true)] {
            let bad = Step::agent("bad", "fail");
            let bad = if forgiving { bad.continue_on_error() } else { bad };
            let side = Step::parallel("side", [Step::agent("good", "plus"), bad]);
            let plan = Pipeline::builder("plan").step(side).build().unwrap();
            let outcome = execute(&island, &ada, &plan, json!(1)).await;
            assert_eq!(outcome.run.is_success(), success);
            match outcome.run.result() {
                Some(result) => assert_eq!((&result["good"], &result["bad"]["error"]["reason"]), (&json!(2), &json!("error"))),
                None => assert!(outcome.run.end.message().unwrap().contains("bad: ")),
            }
        }
        nothing_is_left(&island, &[&ada]).await;
    }

    async fn a_repeated_step_feeds_itself_until_it_is_enough_or_the_rounds_are_over(island: Island) {
        let island = island.class(plus());
        let ada = island.user("ada");
        for (most, expected) in [(100, 7), (3, 4)] {
            let again = Step::repeat("again", Step::agent("body", "plus"), most, |last| last == &json!(7));
            let plan = Pipeline::builder("plan").step(again).step(Step::agent("after", "plus")).build().unwrap();
            let outcome = execute(&island, &ada, &plan, json!(1)).await;
            assert_eq!(outcome.run.result(), Some(&json!(expected + 1)));
        }
    }

    async fn a_pipeline_is_an_agent_and_a_step_of_another(island: Island) {
        let inner = Pipeline::builder("inner").step(Step::agent("a", "plus")).step(Step::agent("b", "plus")).build().unwrap();
        let island = island.class(plus()).class(AgentClass::new("inner", "1", move || inner.clone()));
        let plan = Pipeline::builder("outer").step(Step::agent("first", "inner")).step(Step::agent("second", "inner"));
        let plan = plan.build().unwrap();
        let ada = island.user("ada");
        let outcome = execute(&island, &ada, &plan, json!(1)).await;
        assert_eq!(outcome.run.result(), Some(&json!(5)));
        assert_eq!(runs_of(island.ports(), &ada).await.len(), 1 + 2 + 4);
        assert_eq!(island.run(&ada, "inner", json!(1)).await.result(), Some(&json!(3)));
    }

    async fn two_users_run_one_plan_at_once_and_see_their_own(island: Island) {
        let plan = Pipeline::builder("plan").step(Step::agent("a", "plus")).step(Step::agent("b", "plus")).build().unwrap();
        let island = island.class(plus());
        let users = island.users(8);
        let outcomes = futures::future::join_all((0..).zip(&users).map(|(n, scope)| execute(&island, scope, &plan, json!(n)))).await;
        for ((n, scope), outcome) in (0..).zip(&users).zip(&outcomes) {
            assert_eq!(outcome.run.result(), Some(&json!(n + 2)));
            assert_eq!(runs_of(island.ports(), scope).await.len(), 3);
        }
    }
}

in_virtual_time! {
    async fn pipe_4_independent_steps_overlap_and_dependent_ones_wait(island: Island) {
        let (gauge, order) = (Gauge::default(), Arc::new(Mutex::new(Vec::new())));
        let (inside, came) = (gauge.clone(), Arc::clone(&order));
        let nap = class("nap", move |_, input| {
            let (gauge, order) = (inside.clone(), Arc::clone(&came));
            async move {
                let _inside = gauge.enter();
                tokio::time::sleep(Duration::from_millis(100)).await;
                order.lock().unwrap().push(input);
                Ok(json!(true))
            }
        });
        let nothing = Vec::<String>::new;
        let step = |name: &'static str| Step::agent(name, "nap").input(move |_| json!(name));
        let plan = Pipeline::builder("plan").step(step("a").after(nothing())).step(step("b").after(nothing()));
        let plan = plan.step(step("c").after(["a", "b"])).build().unwrap();
        let island = island.class(nap);
        let ada = island.user("ada");
        let began = Instant::now();
        assert!(execute(&island, &ada, &plan, json!(1)).await.run.is_success());
        assert_eq!((began.elapsed().as_millis(), gauge.most()), (200, 2));
        assert_eq!(order.lock().unwrap().last(), Some(&json!("c")));
    }
}

#[test]
fn pipe_4_a_cycle_is_refused_before_anything_runs() {
    let circle =
        Pipeline::builder("plan").step(Step::agent("a", "x").after(["b"])).step(Step::agent("b", "x").after(["a"]));
    let refused = circle.build().unwrap_err().to_string();
    assert!(refused.contains("wait for each other: a, b"), "{refused}");
    let itself = Pipeline::builder("plan").step(Step::agent("a", "x").after(["a"])).build();
    assert!(itself.is_err_and(|error| error.to_string().ends_with(": a")));
    let nested = Step::parallel("side", [Step::agent("a", "x")]);
    let twice = Pipeline::builder("plan").step(Step::agent("a", "x")).step(nested).build();
    assert!(twice.is_err_and(|error| error.to_string().contains("two steps called \"a\"")));
}
