//! Which agent classes exist, and whose instances they make.

use std::{collections::BTreeSet, sync::Arc, thread, time::Duration};

use futures::future::join_all;
use insula_agent::kit;
use insula_context::{UserExecutionContext, UserScope};
use insula_engine::{Error as EngineError, UserExecutionEngine};
use insula_factory::AgentInstance;
use insula_registry::{AgentClass, AgentClassRegistry, Error, Fault};
use serde_json::json;

use crate::support::{Gate, Island, context, events_of_run, on_every_backend};

fn class(name: &str) -> AgentClass {
    AgentClass::new(name, "1", kit::noop)
}

fn frozen(classes: impl IntoIterator<Item = AgentClass>) -> Result<AgentClassRegistry, Error> {
    classes.into_iter().fold(AgentClassRegistry::builder(), |builder, class| builder.register(class)).freeze()
}

/// Stands where a method of that name would hide it.
trait HasNone {
    fn register(&self, _: AgentClass) -> &'static str {
        "none"
    }
    fn clear(&self) -> &'static str {
        "none"
    }
}

impl HasNone for AgentClassRegistry {}

#[test]
fn reg_1_a_frozen_registry_has_no_way_in_and_reads_take_no_lock() {
    static_assertions::assert_impl_all!(AgentClassRegistry: Send, Sync, Clone);
    static_assertions::assert_not_impl_any!(AgentClassRegistry: std::ops::DerefMut, Default, Extend<AgentClass>);
    let registry = frozen([class("a"), class("b")]).unwrap();
    assert_eq!((registry.register(class("c")), registry.clear()), ("none", "none"));
    // A plain reference comes out: a lock would have to give out a guard. It is held while everybody reads.
    let held: &Arc<AgentClass> = registry.class("a").unwrap();
    thread::scope(|scope| {
        let readers: Vec<_> = (0..8).map(|_| scope.spawn(|| read_a_thousand_times(&registry))).collect();
        assert!(readers.into_iter().all(|reader| reader.join().unwrap()));
    });
    assert!(Arc::ptr_eq(held, registry.clone().class("a").unwrap()), "a clone is the same value");
    assert_eq!(registry.names().collect::<Vec<_>>(), ["a", "b"]);
}

fn read_a_thousand_times(registry: &AgentClassRegistry) -> bool {
    (0..1_000).all(|_| registry.class("a").is_some() && registry.class("c").is_none() && registry.names().count() == 2)
}

#[test]
fn reg_2_what_does_not_fit_together_is_refused_at_freeze_by_name() {
    let faults = |classes: Vec<AgentClass>| match frozen(classes).unwrap_err() {
        Error::Freeze(faults) => faults,
        other => panic!("{other}"),
    };
    assert_eq!(faults(vec![class("a"), class("  ")]), [Fault::BlankName { position: 2 }]);
    let twice = vec![class("a"), AgentClass::new("a", "2", kit::echo)];
    assert_eq!(faults(twice), [Fault::Duplicate { name: "a".into(), times: 2 }]);
    let gap = vec![class("a").depends_on("z")];
    assert_eq!(faults(gap), [Fault::Gap { class: "a".into(), missing: "z".into() }]);
    let circle = vec![class("a").depends_on("b"), class("b").depends_on("c"), class("c").depends_on("a")];
    let [Fault::Cycle(path)] = &faults(circle)[..] else { panic!("not a cycle") };
    assert_eq!(path.iter().collect::<BTreeSet<_>>().len(), 3);
    assert_eq!(faults(vec![class("a").depends_on("a")]), [Fault::Cycle(vec!["a".into(), "a".into()])]);
}

#[test]
fn reg_2_several_faults_are_all_reported_at_once() {
    let circle = [class("a").depends_on("b"), class("b").depends_on("a")];
    let others = [class(""), class("twin"), class("twin"), class("lonely").depends_on("nobody")];
    let schema = class("odd").input_schema(json!({"type": "no such type"}));
    let refused = frozen(circle.into_iter().chain(others).chain([schema])).unwrap_err();
    let words = refused.to_string();
    for part in ["number 3", "\"twin\"", "\"lonely\"", "\"nobody\"", "a → b → a", "input schema of \"odd\""] {
        assert!(words.contains(part), "{part} is not in: {words}");
    }
    let Error::Freeze(faults) = refused else { panic!("{refused}") };
    assert_eq!(faults.len(), 5);
}

#[test]
fn reg_3_names_are_sorted_and_an_unknown_one_is_answered_with_those_that_exist() {
    let classes = [class("zeta"), class("alpha").depends_on("mid"), class("mid"), class("beta").depends_on("mid")];
    let registry = frozen(classes).unwrap();
    assert_eq!(registry.names().collect::<Vec<_>>(), ["alpha", "beta", "mid", "zeta"]);
    assert!(registry.class("Alpha").is_none());
    assert_eq!(registry.dependents("mid").collect::<Vec<_>>(), ["alpha", "beta"]);
    assert_eq!(registry.dependents("zeta").count(), 0);
    let refused = registry.lookup("alhpa").unwrap_err().to_string();
    assert!(refused.contains("\"alhpa\"") && refused.contains("alpha, beta, mid, zeta"), "{refused}");
}

on_every_backend! {
    async fn reg_4_each_of_five_users_has_instances_of_its_own(island: Island) {
        let instances = island.factory().instances().clone();
        let wanted: Vec<_> = island.users(5).iter().flat_map(|owner| {
            ["echo", "noop", "chatty"].map(|class| (context(owner), class))
        }).collect();
        let making = wanted.into_iter().map(|(context, class)| {
            let instances = instances.clone();
            tokio::spawn(async move { (context.clone(), instances.create(class, &context).unwrap()) })
        });
        let made: Vec<(UserExecutionContext, AgentInstance)> =
            join_all(making).await.into_iter().map(Result::unwrap).collect();
        let markers: BTreeSet<_> = made.iter().map(|(_, instance)| instance.marker()).collect();
        assert_eq!((made.len(), markers.len(), instances.live()), (15, 15, 15));
        assert!(made.iter().all(|(context, instance)| instance.owner() == context.scope()));
        for owner in island.users(5) {
            assert_eq!(instances.instances_of(&owner).len(), 3);
        }
        assert_eq!(island.factory().isolation_report().violations, []);
    }

    async fn reg_5_sixty_results_of_three_users_all_belong_to_who_asked(island: Island) {
        let (users, island) = (island.users(3), &island);
        let rounds = users.iter().map(|owner| async move {
            let mut outcomes = Vec::new();
            for n in 0..10 {
                for class in ["echo", "noop"] {
                    outcomes.push(island.run(owner, class, json!(format!("{owner} {n}"))).await);
                }
            }
            outcomes
        });
        let outcomes = join_all(rounds).await;
        assert_eq!(outcomes.iter().map(Vec::len).sum::<usize>(), 60);
        for (owner, outcomes) in users.iter().zip(outcomes) {
            for (n, outcome) in outcomes.iter().enumerate() {
                let echo = json!(format!("{owner} {}", n / 2));
                let result = outcome.result().unwrap();
                assert!(n % 2 == 1 || result["echo"] == echo, "{owner} was given {result}");
                assert!(!events_of_run(island.ports(), owner, &outcome.run).await.is_empty());
            }
        }
    }

    async fn reg_6_cleaning_two_users_up_leaves_the_other_two_at_work(island: Island) {
        let gate = Gate::new();
        let island = island.class(gate.class("held"));
        let users = island.users(4);
        let mut engines: Vec<_> = users.iter().map(|owner| island.engine(&context(owner))).collect();
        let mut instances = engines.iter().map(four_instances).collect::<Vec<_>>();
        assert_eq!(island.factory().metrics().instances_live, 16);
        let (stay, go) = ([1, 3], [0, 2]);
        let at_work: Vec<AgentInstance> = stay.iter().flat_map(|n| std::mem::take(&mut instances[*n])).collect();
        let working = join_all(at_work.into_iter().map(|instance| {
            let engine = engines.iter().find(|engine| engine.context().scope() == instance.owner()).unwrap();
            async { (instance.owner().clone(), engine.execute_instance(instance, json!("on")).await.unwrap()) }
        }));
        let cleaning = async {
            gate.wait_for(8).await;
            for n in go {
                assert_eq!(island.factory().clean_up_user(&users[n]), 1);
            }
            assert_eq!(island.factory().metrics().instances_live, 8);
            let owners: BTreeSet<UserScope> =
                island.factory().isolation_report().live.into_iter().map(|instance| instance.scope).collect();
            assert_eq!(owners, stay.iter().map(|n| users[*n].clone()).collect());
            gate.let_through(8);
        };
        let (ended, ()) = tokio::join!(working, cleaning);
        assert!(ended.iter().all(|(_, outcome)| outcome.result().unwrap()["echo"] == "on"));
        // What the cleaned up still hold does not run, and their engines are over.
        let late = instances[go[0]].pop().unwrap();
        let refused = engines[stay[0]].execute_instance(late, json!(1)).await.unwrap_err();
        assert!(matches!(refused, EngineError::Foreign), "{refused}");
        let late = instances[go[0]].pop().unwrap();
        assert!(late.admit(late.context()).is_err());
        let refused = engines[go[0]].execute_instance(late, json!(1)).await.unwrap_err();
        assert!(matches!(refused, EngineError::ShutDown), "{refused}");
        engines.retain(|engine| !engine.is_shut_down());
        instances.clear();
        assert_eq!((engines.len(), island.factory().metrics().users_live), (2, 2));
        assert_eq!(island.factory().isolation_report().violations, []);
    }

    async fn reg_6_an_access_that_races_its_own_cleanup_finds_its_owners_or_nothing(island: Island) {
        let (users, island) = (island.users(4), &island);
        let races = users.iter().map(|owner| async move {
            for n in 0..25 {
                race(island, owner, n).await;
            }
        });
        join_all(races).await;
        for owner in &users {
            island.factory().clean_up_user(owner);
        }
        let metrics = island.factory().metrics();
        assert_eq!((metrics.engines_live, metrics.instances_live, metrics.runs_live), (0, 0, 0));
        assert_eq!(metrics.engines_created, metrics.engines_cleaned);
    }

    async fn reg_7_fifty_instances_and_two_hundred_runs_of_ten_users(island: Island) {
        let users = island.users(10);
        let instances = island.factory().instances();
        let made: Vec<_> = users.iter().flat_map(|owner| {
            ["echo", "noop", "sleep", "tools", "chatty"].map(|class| instances.create(class, &context(owner)).unwrap())
        }).collect();
        assert_eq!((made.len(), instances.live()), (50, 50));
        drop(made);
        let runs = users.iter().flat_map(|owner| (0..20).map(|n| island.run(owner, "noop", json!(n))));
        assert_eq!(join_all(runs).await.iter().filter(|outcome| outcome.is_success()).count(), 200);
        let metrics = island.factory().metrics();
        assert_eq!((metrics.runs_completed, metrics.instances_live, metrics.instances_made), (200, 0, 250));
    }
}

fn four_instances(engine: &UserExecutionEngine) -> Vec<AgentInstance> {
    let owner = engine.context().scope();
    (0..4).map(|_| engine.create_agent_instance(&context(owner), "held").unwrap()).collect()
}

/// One user's runs and look-ups while that user is cleaned up on another thread.
async fn race(island: &Island, owner: &UserScope, n: u64) {
    let (factory, mine) = (island.factory().clone(), owner.clone());
    let cleaning = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_micros(50 * (n % 8))).await;
        factory.clean_up_user(&mine)
    });
    let context = context(owner);
    if let Ok(engine) = island.factory().create_for_user(&context) {
        let kept = engine.create_agent_instance(&context.next_run(), "noop");
        match engine.execute_agent(&context, "echo", json!(owner)).await {
            Ok(outcome) if outcome.is_success() => assert_eq!(outcome.result().unwrap()["echo"], json!(owner)),
            // Stopped, or its instance was taken away before it ran.
            Ok(outcome) => {
                let why = outcome.end.message().unwrap();
                assert!(outcome.end.reason() == "cancelled" || why.contains("released"), "{why}");
            }
            Err(refused) => assert!(matches!(refused, EngineError::ShutDown | EngineError::Factory(_)), "{refused}"),
        }
        let seen = island.factory().instances().instances_of(owner);
        assert!(seen.iter().all(|instance| instance.scope == *owner), "{seen:?}");
        drop(kept);
    }
    cleaning.await.unwrap();
}
