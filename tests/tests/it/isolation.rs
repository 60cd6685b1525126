//! Nobody meets anybody.

mod cast;
mod invariants;
mod leaks;
mod search;
mod secrets;

use std::collections::BTreeSet;

use async_trait::async_trait;
use futures::future::join_all;
use insula_agent::{Agent, Result, Session, agent_fn, kit};
use insula_context::{IdSource, RunId, SeededIds, ThreadId, UserExecutionContext};
use insula_infra::RunStatus;
use insula_registry::{AgentClass, Dependency};
use serde_json::{Value, json};

use crate::support::{Gate, Gauge, HandClock, Island, context, events_of_run, log::runs_of, on_every_backend};

on_every_backend! {
    async fn iso_1_three_agents_of_one_moment_are_three_instances_that_run_once(island: Island) {
        let gate = Gate::new();
        let island = island.class(gate.class("held"));
        let ada = island.user("ada");
        let clock = HandClock::new();
        let moments: Vec<_> = (0..3).map(|n| {
            let (thread, run) = (ThreadId::new("t").unwrap(), RunId::new(format!("r-{n}")).unwrap());
            UserExecutionContext::builder(ada.clone(), thread, run).clock(clock.clone()).build().unwrap()
        }).collect();
        let engine = island.engine(&moments[0]);
        let made: Vec<_> = moments.iter().map(|m| engine.create_agent_instance(m, "held").unwrap()).collect();
        let markers: BTreeSet<String> = made.iter().map(|instance| instance.marker().to_string()).collect();
        assert_eq!((markers.len(), moments[0].created_at()), (3, moments[2].created_at()));
        for (instance, moment) in made.iter().zip(&moments) {
            assert_eq!((instance.owner(), instance.context().run()), (&ada, moment.run()));
        }
        let runs = join_all(made.into_iter().map(|instance| engine.execute_instance(instance, json!("once"))));
        let look = async {
            gate.wait_for(3).await;
            let report = island.factory().isolation_report();
            assert_eq!((report.live.len(), report.violations), (3, vec![]));
            gate.let_through(3);
        };
        let (outcomes, ()) = tokio::join!(runs, look);
        let said = |outcome: &insula_engine::Outcome| outcome.result().unwrap()["marker"].as_str().unwrap().to_owned();
        assert_eq!(outcomes.iter().map(|outcome| said(outcome.as_ref().unwrap())).collect::<BTreeSet<_>>(), markers);
        assert_eq!(gate.inside().ever(), 3);
        assert!(island.factory().isolation_report().live.is_empty());
    }

    async fn iso_2_every_result_event_and_line_of_history_is_its_users(island: Island) {
        let users = island.users(4);
        let engines: Vec<_> = users.iter().map(|owner| island.engine(&context(owner))).collect();
        let runs = engines.iter().flat_map(|engine| ["echo", "tools", "chatty"].map(|class| async move {
            let context = engine.context().next_run();
            engine.execute_agent(&context, class, json!(context.scope())).await.unwrap()
        }));
        let outcomes = join_all(runs).await;
        assert_eq!((outcomes.len(), island.factory().metrics().instances_made), (12, 12));
        let mut markers = BTreeSet::new();
        for (n, engine) in engines.iter().enumerate() {
            let (owner, mine) = (&users[n], &outcomes[n * 3..n * 3 + 3]);
            assert_eq!(mine[0].result().unwrap()["echo"], json!(owner));
            let history: BTreeSet<RunId> = engine.history().into_iter().map(|line| line.run_id).collect();
            assert_eq!(history, mine.iter().map(|outcome| outcome.run.clone()).collect());
            for outcome in mine {
                let events = events_of_run(island.ports(), owner, &outcome.run).await;
                assert!(events.iter().all(|event| event.header.scope == *owner));
                markers.insert(events[0].data::<Value>().unwrap()["marker"].to_string());
            }
        }
        assert_eq!(markers.len(), 12, "an instance was shared");
        join_all(users.iter().map(|owner| async { island.factory().clean_up_user(owner) })).await;
        let metrics = island.factory().metrics();
        assert_eq!((metrics.engines_live, metrics.instances_live, metrics.runs_live), (0, 0, 0));
    }

    async fn iso_4_three_hundred_and_twenty_runs_ten_at_once_a_user_and_every_mark_its_own(island: Island) {
        let gauges: Vec<Gauge> = (0..8).map(|_| Gauge::default()).collect();
        let island = island.limits(|limits| limits.running = 10).class(counted(gauges.clone()));
        let users = island.users(8);
        let engines: Vec<_> = users.iter().map(|owner| island.engine(&context(owner))).collect();
        let runs = engines.iter().enumerate().flat_map(|(n, engine)| (0..40).map(move |_| async move {
            let context = engine.context().next_run();
            engine.execute_agent(&context, "counted", json!(n)).await.unwrap()
        }));
        let outcomes = join_all(runs).await;
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_success()).count(), 320);
        let mut markers = BTreeSet::new();
        for (n, outcome) in outcomes.iter().enumerate() {
            let events = events_of_run(island.ports(), &users[n / 40], &outcome.run).await;
            let started: Value = events.iter().find(|e| e.kind.as_str() == "agent_started").unwrap().data().unwrap();
            assert_eq!(&started["marker"], outcome.result().unwrap());
            markers.insert(started["marker"].to_string());
        }
        assert_eq!(markers.len(), 320);
        for gauge in &gauges {
            assert!(gauge.most() <= 10 && gauge.ever() == 40, "{gauge:?}");
        }
    }

    async fn iso_5_an_instance_carries_nothing_over_to_the_next(island: Island) {
        let island = island.class(AgentClass::new("counter", "1", Counter::default));
        let context = context(&island.user("ada"));
        let engine = island.engine(&context);
        for _ in 0..2 {
            let outcome = engine.execute_agent(&context.next_run(), "counter", json!("again")).await.unwrap();
            assert_eq!(outcome.result().unwrap(), &json!(["again"]));
        }
        assert_eq!(island.factory().metrics().instances_made, 2);
    }

    async fn iso_6_the_failures_of_two_users_are_theirs_alone(island: Island) {
        let users = island.users(5);
        let runs = users.iter().enumerate().map(|(n, owner)| {
            let class = if n == 0 || n == 2 { "fail" } else { "echo" };
            island.run(owner, class, json!(n))
        });
        let ends: Vec<_> = join_all(runs).await.iter().map(|outcome| outcome.end.reason()).collect();
        assert_eq!(ends, ["error", "completed", "error", "completed", "completed"]);
        for (n, owner) in users.iter().enumerate() {
            let records = runs_of(island.ports(), owner).await;
            let expected = if n == 0 || n == 2 { RunStatus::Failed } else { RunStatus::Completed };
            assert_eq!((records.len(), records[0].status), (1, expected));
        }
    }

    async fn iso_7_a_hundred_runs_with_random_panics_have_a_hundred_ends(island: Island) {
        let risky = AgentClass::new("risky", "1", || agent_fn(|_, input| async move {
            tokio::task::yield_now().await;
            assert!(input != json!(true), "a random panic");
            Ok(input)
        }));
        let island = island.class(risky);
        let dice = SeededIds::new(7);
        let panics: Vec<bool> = (0..100).map(|_| dice.random().is_multiple_of(3)).collect();
        let users = island.users(10);
        let runs = panics.iter().enumerate().map(|(n, panics)| {
            let input = if *panics { json!(true) } else { json!(n) };
            island.run(&users[n % 10], "risky", input)
        });
        let outcomes = join_all(runs).await;
        for (n, outcome) in outcomes.iter().enumerate() {
            assert_eq!(outcome.end.reason(), if panics[n] { "panic" } else { "completed" });
            let events = events_of_run(island.ports(), &users[n % 10], &outcome.run).await;
            assert_eq!(events.iter().filter(|event| event.kind.is_terminal()).count(), 1);
        }
        assert!(panics.iter().any(|panics| *panics) && island.run(&users[0], "echo", json!(1)).await.is_success());
        assert_eq!(island.factory().metrics().instances_live, 0);
    }

    async fn iso_8_a_hundred_users_at_once_all_succeed(island: Island) {
        let users = island.users(100);
        let outcomes = join_all(users.iter().map(|owner| island.run(owner, "tools", json!(owner)))).await;
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_success()).count(), 100);
        let metrics = island.factory().metrics();
        assert_eq!((metrics.runs_completed, metrics.engines_live, metrics.users_live), (100, 0, 0));
    }

    async fn iso_11_a_missing_dependency_is_named_before_anything_is_constructed(island: Island) {
        let made = Gauge::default();
        let counting = made.clone();
        let needs = Dependency::Service("large-model".to_owned());
        let class = AgentClass::new("writer", "1", move || {
            drop(counting.enter());
            kit::noop()
        });
        let island = island.class(class.needs(needs));
        let ada = island.user("ada");
        let context = context(&ada);
        let engine = island.engine(&context);
        let refusals = [
            engine.execute_agent(&context, "writer", json!(1)).await.unwrap_err(),
            engine.create_agent_instance(&context, "writer").unwrap_err(),
            island.factory().submit(&ada, insula_engine::RunRequest::new("writer", json!(1))).await.unwrap_err(),
        ];
        for refused in refusals.map(|refused| refused.to_string()) {
            assert!(refused.contains("writer") && refused.contains("large-model"), "{refused}");
        }
        let metrics = island.factory().metrics();
        assert_eq!((made.ever(), metrics.instances_made, metrics.runs_started), (0, 0, 0));
        assert!(runs_of(island.ports(), &ada).await.is_empty(), "a refused run left something behind");
        let configured = island.service("large-model");
        assert!(configured.another().instances().check("writer", &ada).is_ok(), "configured, it is there");
    }
}

/// Waits 10 ms inside of the gauge of its user and returns its mark.
fn counted(gauges: Vec<Gauge>) -> AgentClass {
    AgentClass::new("counted", "1", move || {
        let gauges = gauges.clone();
        agent_fn(move |session, input| {
            let inside = gauges[usize::try_from(input.as_u64().unwrap()).unwrap()].enter();
            async move {
                let _inside = inside;
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
                Ok(json!(session.marker()))
            }
        })
    })
}

/// Remembers every input that it was ever given.
#[derive(Default)]
struct Counter(Vec<Value>);

#[async_trait]
impl Agent for Counter {
    async fn run(&mut self, _: &mut Session, input: Value) -> Result<Value> {
        self.0.push(input);
        Ok(json!(self.0))
    }
}
