//! How engines end: errors, failing cleanups, idleness, a thousand rounds.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use insula_context::UserExecutionContext;
use insula_engine::Error;
use insula_infra::MemoryBackend;
use serde_json::json;

use super::{Gate, Island, context, runs_of};
use crate::support::{alone, in_virtual_time, on_every_backend, resident_bytes, users};

#[derive(Debug)]
enum Mine {
    Engine,
    Own(Box<str>),
}

impl From<Error> for Mine {
    fn from(_: Error) -> Self {
        Self::Engine
    }
}

type Order = Arc<Mutex<Vec<&'static str>>>;

fn note(order: &Order, name: &'static str) -> impl FnOnce() -> Result<(), String> + Send + 'static {
    let order = Arc::clone(order);
    move || {
        order.lock().unwrap().push(name);
        match name {
            "fails" => Err("it fails".to_owned()),
            "panics" => panic!("it panics"),
            _ => Ok(()),
        }
    }
}

on_every_backend! {
    async fn enf_8_an_error_inside_reaches_the_caller_unchanged_and_the_engine_is_cleaned(island: Island) {
        let ada = context(&island.user("ada"));
        let words: Box<str> = "my own words".into();
        let address = words.as_ptr();
        let outcome: Result<(), Mine> = island.factory().with_engine(&ada, async |engine| {
            engine.execute_agent(&ada, "echo", json!(1)).await?;
            Err(Mine::Own(words))
        }).await;
        let Err(Mine::Own(words)) = outcome else { panic!("{outcome:?}") };
        assert_eq!(words.as_ptr(), address, "the very same error");
        let metrics = island.factory().metrics();
        assert_eq!((metrics.engines_live, metrics.engines_created, metrics.engines_cleaned), (0, 1, 1));
    }

    async fn enf_8_a_shutdown_survives_cleanups_that_fail_and_names_them(island: Island) {
        let order = Order::default();
        let engine = island.engine(&context(&island.user("ada")));
        for name in ["first", "fails", "second", "panics", "last"] {
            engine.defer(name, note(&order, name));
        }
        let failures = engine.shutdown();
        let failures: Vec<_> = failures.iter().map(|failure| (failure.name, &*failure.message)).collect();
        assert_eq!(failures, [("panics", "it panics"), ("fails", "it fails")]);
        assert_eq!(*order.lock().unwrap(), ["last", "panics", "second", "fails", "first"]);
        assert!(engine.shutdown().is_empty() && engine.is_shut_down());
        assert_eq!(order.lock().unwrap().len(), 5, "a guard ran twice");
        assert_eq!(island.factory().metrics().engines_live, 0);
    }

    async fn enf_8_a_dropped_engine_cleans_up_as_well(island: Island) {
        let order = Order::default();
        let engine = island.engine(&context(&island.user("ada")));
        engine.defer("fails", note(&order, "fails"));
        drop(engine);
        assert_eq!((order.lock().unwrap().len(), island.factory().metrics().engines_live), (1, 0));
    }

    async fn enf_8_the_process_shuts_down_although_cleanups_fail(island: Island) {
        let gate = Gate::new();
        let island = island.class(gate.class("held"));
        let order = Order::default();
        let engines: Vec<_> = island.users(3).iter().map(|owner| island.engine(&context(owner))).collect();
        engines.iter().for_each(|engine| engine.defer("panics", note(&order, "panics")));
        let run = engines[0].execute_agent(engines[0].context(), "held", json!(1));
        let stopping = async {
            gate.wait_for(1).await;
            island.factory().shutdown(Duration::ZERO).await
        };
        let (outcome, stopped) = tokio::join!(run, stopping);
        assert_eq!((outcome.unwrap().end.reason(), stopped), ("cancelled", 1));
        assert_eq!((order.lock().unwrap().len(), island.factory().metrics().engines_live), (3, 0));
        let late = island.factory().create_for_user(&context(&island.user("late"))).unwrap_err();
        assert!(matches!(late, Error::ShutDown), "{late}");
    }
}

in_virtual_time! {
    async fn enf_9_an_idle_engine_is_swept_and_one_at_work_is_not(island: Island) {
        let gate = Gate::new();
        let island = island.class(gate.class("held")).limits(|limits| limits.engine_idle = Duration::from_secs(60));
        let (idle, busy) = (context(&island.user("idle")), context(&island.user("busy")));
        let (idle, engine) = (island.engine(&idle), island.engine(&busy));
        let order = Order::default();
        idle.defer("swept", note(&order, "swept"));
        let running = engine.execute_agent(&busy, "held", json!("on"));
        let sweeping = async {
            gate.wait_for(1).await;
            tokio::time::sleep(Duration::from_secs(30)).await;
            assert!(!idle.is_shut_down(), "swept too early");
            tokio::time::sleep(Duration::from_secs(60)).await;
            island.factory().sweep();
            assert!(idle.is_shut_down() && !engine.is_shut_down());
            assert_eq!((island.factory().metrics().engines_live, order.lock().unwrap().len()), (1, 1));
            gate.let_through(1);
        };
        let (outcome, ()) = tokio::join!(running, sweeping);
        assert_eq!(outcome.unwrap().result().unwrap()["echo"], "on");
        assert_eq!(island.factory().sweep(), 0, "it was at work just now");
        tokio::time::sleep(Duration::from_secs(61)).await;
        island.factory().sweep();
        assert!(engine.is_shut_down());
        let refused = engine.execute_agent(&busy.next_run(), "echo", json!(1)).await.unwrap_err();
        assert!(matches!(refused, Error::ShutDown), "{refused}");
        assert_eq!(runs_of(island.ports(), busy.scope()).await.len(), 1);
    }
}

/// Five engines of five users, with two agents each.
async fn round(island: &Island, contexts: &[UserExecutionContext]) {
    for context in contexts {
        let context = context.next_run();
        let engine = island.engine(&context);
        for _ in 0..2 {
            let outcome = engine.execute_agent(&context.next_run(), "noop", json!(1)).await.unwrap();
            assert!(outcome.is_success());
        }
    }
}

async fn a_thousand_rounds() {
    let island = Island::new(MemoryBackend::new().retain(10).into_backend());
    let contexts: Vec<_> = users(5).iter().map(context).collect();
    for _ in 0..200 {
        round(&island, &contexts).await;
    }
    let warm = resident_bytes();
    for _ in 0..1_000 {
        round(&island, &contexts).await;
    }
    let grown = resident_bytes().saturating_sub(warm);
    let metrics = island.factory().metrics();
    assert_eq!((metrics.engines_live, metrics.instances_live, metrics.users_live), (0, 0, 0));
    assert_eq!((metrics.engines_created, metrics.engines_cleaned, metrics.instances_made), (6_000, 6_000, 12_000));
    println!("a thousand rounds: {grown} bytes more than after two hundred");
    assert!(grown < 1_000_000, "{grown} bytes were kept");
}

#[test]
fn enf_7_a_thousand_rounds_of_engines_and_agents_leave_nothing_behind() {
    alone("factory::lifetimes::enf_7_a_thousand_rounds_of_engines_and_agents_leave_nothing_behind", || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(a_thousand_rounds());
    });
}
