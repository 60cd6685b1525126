//! Time, turns and what is remembered.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::future::join_all;
use insula_context::{UserExecutionContext, UserScope};
use insula_engine::{EngineStats, Error, Limits};
use insula_infra::RunStatus;
use insula_registry::AgentClass;
use serde_json::json;
use tokio::time::Instant;

use super::stage::{Gate, class, data, held, log_of, nothing_is_left};
use crate::support::{Gauge, Island, context, in_virtual_time, kinds, log::runs_of, on_every_backend, until};

static_assertions::assert_impl_all!(EngineStats: Copy);

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn napping(name: &str, duration: Duration) -> AgentClass {
    AgentClass::new(name, "1", move || insula_agent::kit::sleep(duration))
}

/// A context that must have ended within this time.
fn hurried(scope: &UserScope, within: Duration) -> UserExecutionContext {
    let fresh = context(scope);
    let builder = UserExecutionContext::builder(scope.clone(), fresh.thread().clone(), fresh.run().clone());
    builder.timeout(within).build().unwrap()
}

in_virtual_time! {
    async fn eng_5_five_runs_two_at_a_time_in_the_order_in_which_they_came(island: Island) {
        let (gauge, order) = (Gauge::default(), Arc::new(Mutex::new(Vec::new())));
        let (inside, came) = (gauge.clone(), Arc::clone(&order));
        let nap = class("nap", move |_, input| {
            let (gauge, order) = (inside.clone(), Arc::clone(&came));
            async move {
                let _inside = gauge.enter();
                order.lock().unwrap().push(input.clone());
                tokio::time::sleep(Duration::from_millis(100)).await;
                Ok(input)
            }
        });
        let island = island.class(nap).limits(|limits| limits.running = 2);
        let ada = island.user("ada");
        let began = Instant::now();
        join_all((0..5).map(|n| island.run(&ada, "nap", json!(n)))).await;
        assert_eq!(gauge.most(), 2);
        assert_eq!(*order.lock().unwrap(), (0..5).map(|n| json!(n)).collect::<Vec<_>>());
        assert_eq!(began.elapsed().as_millis(), 300);
    }

    async fn eng_9_a_run_that_takes_too_long_fails_in_time_and_its_work_has_stopped(island: Island) {
        let (gauge, gate) = (Gauge::default(), Gate::closed());
        let island = island.class(held("held", &gauge, &gate));
        let island = island.limits(|limits| (limits.run_time, limits.running) = (secs(10), 1));
        let ada = island.user("ada");
        let (context, began) = (context(&ada), Instant::now());
        let engine = island.engine(&context);
        let outcome = engine.execute_agent(&context, "held", json!(1)).await.unwrap();
        assert_eq!(outcome.end.reason(), "timeout");
        assert!((secs(10)..=secs(11)).contains(&began.elapsed()), "{:?}", began.elapsed());
        assert_eq!(gauge.now(), 0, "its work has really stopped");
        let log = log_of(&island, &context).await;
        assert_eq!(kinds(&log), ["agent_started", "agent_failed"]);
        assert_eq!(data(&log[1])["message"], "the run did not finish within 10s");
        assert!(island.run(&ada, "echo", json!(1)).await.is_success(), "the permit is back");
        drop(engine);
        nothing_is_left(&island, &[&ada]).await;
    }

    async fn the_earlier_of_deadline_and_limit_counts(island: Island) {
        let island = island.class(napping("nap", secs(100))).limits(|limits| limits.run_time = secs(10));
        let ada = island.user("ada");
        for (within, expected) in [(secs(3), secs(3)), (secs(60), secs(10))] {
            let (context, began) = (hurried(&ada, within), Instant::now());
            let outcome = island.engine(&context).execute_agent(&context, "nap", json!(1)).await.unwrap();
            assert_eq!(outcome.end.reason(), "timeout");
            assert_eq!(began.elapsed().as_secs(), expected.as_secs(), "asked for {within:?}");
        }
    }

    async fn a_childs_time_is_what_its_parent_has_left(island: Island) {
        let slow = class("slow", |session, _| async move {
            tokio::time::sleep(secs(7)).await;
            session.call_agent("nap", 1).await
        });
        let island = island.class(napping("nap", secs(100))).class(slow);
        let ada = island.user("ada");
        let (context, began) = (hurried(&ada, secs(10)), Instant::now());
        let outcome = island.engine(&context).execute_agent(&context, "slow", json!(1)).await.unwrap();
        assert_eq!((outcome.end.reason(), began.elapsed().as_secs()), ("timeout", 10));
        nothing_is_left(&island, &[&ada]).await;
        assert_eq!(runs_of(island.ports(), &ada).await.len(), 2);
    }

    async fn waiting_for_a_turn_is_part_of_the_time(island: Island) {
        let island = island.class(napping("nap", secs(8))).limits(|limits| limits.running = 1);
        let ada = island.user("ada");
        let contexts = [hurried(&ada, secs(20)), hurried(&ada, secs(5))];
        let engine = island.engine(&contexts[0]);
        let outcomes = join_all(contexts.iter().map(|context| engine.execute_agent(context, "nap", json!(1)))).await;
        let ends: Vec<_> = outcomes.into_iter().map(|outcome| outcome.unwrap().end.reason()).collect();
        assert_eq!(ends, ["completed", "timeout"]);
        assert_eq!(kinds(&log_of(&island, &contexts[1]).await), ["agent_queued", "agent_failed"]);
    }

    async fn a_run_in_line_is_queued_and_has_not_started(island: Island) {
        let island = island.class(napping("nap", secs(8))).limits(|limits| limits.running = 1);
        let ada = island.user("ada");
        let contexts = [context(&ada), context(&ada)];
        let engine = island.engine(&contexts[0]);
        let record = async |n: usize, at: u64| {
            tokio::time::sleep(secs(at)).await;
            let record = island.ports().runs.run(&ada, contexts[n].run()).await.unwrap().unwrap();
            (record.status, record.started_at.is_some())
        };
        let runs = join_all(contexts.iter().map(|context| engine.execute_agent(context, "nap", json!(1))));
        let (outcomes, in_line, running) = tokio::join!(runs, record(1, 3), record(1, 12));
        assert!(outcomes.into_iter().all(|outcome| outcome.unwrap().is_success()));
        assert_eq!((in_line, running), ((RunStatus::Queued, false), (RunStatus::Running, true)));
    }

    async fn eng_18_a_run_that_waited_longer_than_a_second_says_so(island: Island) {
        let nap = class("nap", |_, input| async move {
            tokio::time::sleep(Duration::from_millis(input.as_u64().unwrap_or(0))).await;
            Ok(input)
        });
        let island = island.class(nap).limits(|limits| limits.running = 1);
        let ada = island.user("ada");
        for (first, says) in [(900, false), (1_100, true)] {
            let contexts = [context(&ada), context(&ada)];
            let engine = island.engine(&contexts[0]);
            let runs = contexts.iter().zip([first, 1]);
            join_all(runs.map(|(context, ms)| engine.execute_agent(context, "nap", json!(ms)))).await;
            let log = log_of(&island, &contexts[1]).await;
            let expected: &[_] =
                if says { &["agent_queued", "agent_started", "agent_completed"] } else { &["agent_started", "agent_completed"] };
            assert_eq!(kinds(&log), expected, "after {first} ms");
            if says {
                assert_eq!(data(&log[0])["position"], 1);
            }
        }
    }

    async fn eng_13_history_is_bounded_and_statistics_count_on(island: Island) {
        assert_eq!(Limits::default().history, 100);
        let ada = island.user("ada");
        let mut context = context(&ada);
        let engine = island.engine(&context);
        for _ in 0..1_000 {
            context = context.next_run();
            assert!(engine.execute_agent(&context, "noop", json!(1)).await.unwrap().is_success());
        }
        let history = engine.history();
        assert_eq!((history.len(), history.last().map(|run| &run.run_id)), (100, Some(context.run())));
        assert_eq!((engine.stats().runs, engine.stats().completed), (1_000, 1_000));
    }
}

on_every_backend! {
    async fn eng_9_time_is_up_on_threads_of_their_own_as_well(island: Island) {
        let (gauge, gate) = (Gauge::default(), Gate::closed());
        let island = island.class(held("held", &gauge, &gate));
        let island = island.limits(|limits| (limits.run_time, limits.running) = (Duration::from_millis(40), 1));
        let ada = island.user("ada");
        let context = context(&ada);
        let outcome = island.engine(&context).execute_agent(&context, "held", json!(1)).await.unwrap();
        assert_eq!((outcome.end.reason(), gauge.now(), gauge.ever()), ("timeout", 0, 1));
        assert_eq!(kinds(&log_of(&island, &context).await), ["agent_started", "agent_failed"]);
        nothing_is_left(&island, &[&ada]).await;
    }

    async fn a_run_beyond_the_line_is_refused_by_name_and_leaves_no_trace(island: Island) {
        let (gauge, gate) = (Gauge::default(), Gate::closed());
        let island = island.class(held("held", &gauge, &gate));
        let island = island.limits(|limits| (limits.running, limits.waiting) = (1, 1));
        let (ada, bob) = (island.user("ada"), island.user("bob"));
        let contexts = [context(&ada), context(&ada), context(&ada)];
        let engine = island.engine(&contexts[0]);
        let two = join_all(contexts[..2].iter().map(|context| engine.execute_agent(context, "held", json!(1))));
        let third = async {
            until("one runs and one waits", || (gauge.now(), engine.stats().active) == (1, 2)).await;
            let refused = engine.execute_agent(&contexts[2], "held", json!(1)).await;
            assert!(island.run(&bob, "echo", json!(1)).await.is_success(), "others are unaffected");
            gate.open();
            refused
        };
        let (two, third) = tokio::join!(two, third);
        assert!(two.iter().all(|outcome| outcome.as_ref().unwrap().is_success()));
        let Err(Error::Limit { user, what, limit, .. }) = third else { panic!("{third:?}") };
        assert_eq!((user, what, limit), (ada.clone(), "waiting runs", 1));
        assert_eq!(runs_of(island.ports(), &ada).await.len(), 2, "a refused run never was");
        drop(engine);
        nothing_is_left(&island, &[&ada, &bob]).await;
    }
}
