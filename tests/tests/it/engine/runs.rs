//! One run, several runs, and whose they are.

use futures::future::join_all;
use insula_engine::Error;
use insula_infra::{CancelRequest, RunStatus};
use insula_registry::AgentClass;
use serde_json::json;

use super::stage::{Gate, class, data, ended_as, enough, held, log_of, nothing_is_left, record_of};
use crate::support::{Gauge, Island, context, kinds, log::runs_of, on_every_backend, until, words};

on_every_backend! {
    async fn eng_1_an_echo_succeeds_and_is_counted_because_it_ran(island: Island) {
        let ada = island.user("ada");
        let context = context(&ada);
        let engine = island.engine(&context);
        let outcome = engine.execute_agent(&context, "echo", json!({"a": 1})).await.unwrap();
        assert_eq!(outcome.result().unwrap()["echo"], json!({"a": 1}));
        let log = log_of(&island, &context).await;
        assert_eq!(kinds(&log), ["agent_started", "agent_completed"]);
        assert!(log.iter().all(|event| event.header.scope == ada));
        let stats = engine.stats();
        assert_eq!((stats.runs, stats.completed, stats.failed, stats.cancelled, stats.active), (1, 1, 0, 0, 0));
        assert_eq!(engine.history().last().map(|run| (&run.run_id, run.end)), Some((context.run(), "completed")));
    }

    async fn eng_3_four_users_with_three_agents_in_order_get_three_results_each(island: Island) {
        let users = island.users(4);
        join_all(users.iter().map(async |scope| {
            let first = context(scope);
            let engine = island.engine(&first);
            for (n, class) in ["echo", "tools", "chatty"].into_iter().enumerate() {
                let context = if n == 0 { first.clone() } else { first.next_run() };
                let outcome = engine.execute_agent(&context, class, json!(n)).await.unwrap();
                assert!(outcome.is_success(), "{outcome:?}");
                assert!(log_of(&island, &context).await.iter().all(|event| event.header.scope == *scope));
            }
            assert_eq!(engine.stats().completed, 3);
        }))
        .await;
        for scope in &users {
            let agents: Vec<_> = runs_of(island.ports(), scope).await.iter().map(|r| r.header.agent.clone()).collect();
            assert_eq!(agents.iter().map(|a| &**a).collect::<Vec<_>>(), ["chatty", "tools", "echo"], "newest first");
        }
    }

    async fn eng_4_the_fourth_of_four_runs_waits_when_three_are_allowed(island: Island) {
        let (gauge, gate) = (Gauge::default(), Gate::closed());
        let island = island.class(held("held", &gauge, &gate)).limits(|limits| limits.running = 3);
        let ada = island.user("ada");
        let runs = join_all((0..4).map(|n| island.run(&ada, "held", json!(n))));
        let watch = async {
            until("four runs are there and three run", || {
                (island.factory().metrics().runs_live, gauge.now()) == (4, 3)
            })
            .await;
            gate.open();
        };
        let (outcomes, ()) = tokio::join!(runs, watch);
        assert!(outcomes.iter().all(insula_engine::Outcome::is_success));
        assert_eq!((gauge.most(), gauge.ever()), (3, 4));
        nothing_is_left(&island, &[&ada]).await;
    }

    async fn eng_7_another_users_context_is_refused_everywhere_and_nothing_runs(island: Island) {
        let (ada, bob) = (island.user("ada"), island.user("bob"));
        let (hers, his) = (context(&ada), context(&bob));
        let engine = island.engine(&hers);
        let plan = insula_engine::Pipeline::builder("p").step(insula_engine::Step::agent("a", "echo")).build().unwrap();
        let foreign = |error: Option<Error>| assert!(matches!(error, Some(Error::Foreign)), "{error:?}");
        foreign(engine.execute_agent(&his, "echo", json!(1)).await.err());
        foreign(engine.execute_pipeline(&his, &plan, json!(1)).await.err());
        foreign(engine.tool_dispatcher().unwrap().call(&his, "tally", json!({"n": 1})).await.err());
        foreign(engine.create_agent_instance(&his, "echo").err());
        let metrics = island.factory().metrics();
        assert_eq!((metrics.runs_started, metrics.instances_made, metrics.runs_live), (0, 0, 0));
        for scope in [&ada, &bob] {
            assert!(runs_of(island.ports(), scope).await.is_empty());
        }
    }

    async fn eng_8_an_error_is_only_in_the_stream_of_the_user_who_has_it(island: Island) {
        let users = island.users(3);
        let contexts: Vec<_> = users.iter().map(context).collect();
        let classes = ["echo", "fail", "echo"];
        let outcomes = join_all(contexts.iter().zip(classes).map(async |(context, class)| {
            island.engine(context).execute_agent(context, class, json!(1)).await.unwrap()
        }))
        .await;
        let ends: Vec<_> = outcomes.iter().map(|outcome| outcome.end.reason()).collect();
        assert_eq!(ends, ["completed", "error", "completed"]);
        for (n, context) in contexts.iter().enumerate() {
            let told = words(&log_of(&island, context).await).contains("it does not work");
            assert_eq!(told, n == 1, "user {n}");
        }
    }

    async fn eng_10_a_panic_and_a_silence_are_failures_and_the_process_goes_on(island: Island) {
        let ada = island.user("ada");
        for (class, reason) in [("panic", "panic"), ("silent", "returned_nothing"), ("fail", "error")] {
            let context = context(&ada);
            let outcome = island.engine(&context).execute_agent(&context, class, json!(1)).await.unwrap();
            assert_eq!(outcome.end.reason(), reason);
            let log = log_of(&island, &context).await;
            assert_eq!(kinds(&log), ["agent_started", "agent_failed"]);
            assert_eq!(data(&log[1])["reason"], reason);
            assert!(!words(&log).contains("the kit's panicking agent"), "a panic's words are for the operator");
            assert_eq!(record_of(&island, &context).await.status, RunStatus::Failed);
        }
        assert!(island.run(&ada, "echo", json!(1)).await.is_success());
        nothing_is_left(&island, &[&ada]).await;
    }

    async fn eng_12_cancelling_one_run_of_several_stops_only_that_one(island: Island) {
        let (gauge, gate) = (Gauge::default(), Gate::closed());
        let island = island.class(held("held", &gauge, &gate));
        let ada = island.user("ada");
        let contexts: Vec<_> = (0..4).map(|_| context(&ada)).collect();
        let engine = island.engine(&contexts[0]);
        let runs = join_all(contexts.iter().map(|context| engine.execute_agent(context, "held", json!(1))));
        let stop = async {
            until("all four run", || gauge.now() == 4).await;
            let answer = engine.cancel(contexts[2].run(), enough()).await.unwrap();
            assert_eq!(answer, CancelRequest::Recorded);
            until("one of them has stopped", || gauge.now() == 3).await;
            gate.open();
        };
        let (outcomes, ()) = tokio::join!(runs, stop);
        let ends: Vec<_> = outcomes.iter().map(|outcome| outcome.as_ref().unwrap().end.reason()).collect();
        assert_eq!(ends, ["completed", "completed", "cancelled", "completed"]);
        let cancel = record_of(&island, &contexts[2]).await.cancel.unwrap();
        assert_eq!(cancel, enough());
    }

    async fn iso_7_a_hundred_users_panic_at_random_and_every_run_has_its_end(island: Island) {
        let dice = class("dice", |session, input| async move {
            session.think("rolling");
            tokio::task::yield_now().await;
            assert!(input.as_u64().is_some_and(|n| n % 3 != 0), "unlucky");
            Ok(input)
        });
        let island = island.class(dice);
        let users = island.users(100);
        let outcomes = join_all((0_usize..).zip(&users).map(async |(n, scope)| {
            // A fixed scramble: which of them panic is the same in every test run.
            (n * 7919 % 101, island.run(scope, "dice", json!(n * 7919 % 101)).await)
        }))
        .await;
        for (roll, outcome) in &outcomes {
            assert_eq!(outcome.end.reason(), if roll % 3 == 0 { "panic" } else { "completed" });
        }
        for scope in &users {
            assert_eq!(runs_of(island.ports(), scope).await.len(), 1);
        }
        nothing_is_left(&island, &users.iter().collect::<Vec<_>>()).await;
    }

    async fn a_run_id_is_used_once_and_the_first_log_stays_as_it_was(island: Island) {
        let (gauge, gate) = (Gauge::default(), Gate::closed());
        let island = island.class(held("held", &gauge, &gate));
        let ada = island.user("ada");
        let context = context(&ada);
        let engine = island.engine(&context);
        let first = engine.execute_agent(&context, "held", json!(1));
        let second = async {
            until("the first one runs", || gauge.now() == 1).await;
            let refused = engine.execute_agent(&context, "held", json!(2)).await;
            gate.open();
            refused
        };
        let (first, second) = tokio::join!(first, second);
        assert!(first.unwrap().is_success());
        let exists = |e: &Error| matches!(e, Error::Storage(insula_infra::Error::RunExists { .. }));
        assert!(second.as_ref().is_err_and(exists), "while it runs: {second:?}");
        let log = words(&log_of(&island, &context).await);
        let again = engine.execute_agent(&context, "chatty", json!(3)).await;
        assert!(again.as_ref().is_err_and(exists), "after its end: {again:?}");
        assert_eq!(words(&log_of(&island, &context).await), log);
        drop(engine);
        nothing_is_left(&island, &[&ada]).await;
    }

    async fn an_input_of_the_wrong_shape_is_refused_before_there_is_a_run(island: Island) {
        let strict = AgentClass::new("strict", "1", insula_agent::kit::echo).input_schema(json!({"type": "integer"}));
        let island = island.class(strict);
        let ada = island.user("ada");
        let context = context(&ada);
        let engine = island.engine(&context);
        let refused = engine.execute_agent(&context, "strict", json!("seven")).await;
        assert!(matches!(refused, Err(Error::Input(_))), "{refused:?}");
        assert!(runs_of(island.ports(), &ada).await.is_empty());
        assert!(engine.execute_agent(&context, "strict", json!(7)).await.unwrap().is_success());
        assert_eq!(ended_as(&island, &ada, RunStatus::Completed).await, 1);
    }
}
