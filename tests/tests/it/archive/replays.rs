//! A run executed again against its record.

use std::time::Duration;

use insula_agent::{Effect, Error, Result, Session, Space};
use insula_context::{CancelReason, RunId, UserScope};
use insula_engine::{Part, Replay};
use serde_json::{Value, json};

use super::story::{Ledger, exported, luggage, ran, read, stage, travel, trip};
use crate::{
    engine::stage::class,
    support::{Island, context, log::runs_of, on_every_backend},
};

/// Replays a run in a process whose `trip` is another.
async fn changed<F, Fut>(island: &Island, scope: &UserScope, run: &RunId, run_now: F) -> Replay
where
    F: Fn(Session, Value) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<Value>> + Send + 'static,
{
    let other = stage(Island::new(island.ports().clone()), &Ledger::default()).class(class("trip", run_now));
    other.factory().replay(scope, run).await.unwrap().unwrap()
}

#[track_caller]
fn differs(replay: &Replay, place: &str, recorded: &str, replayed: &str) {
    let found = replay.difference.as_ref().expect("there is a difference");
    assert_eq!(found.place, place, "{found:?}");
    assert!(found.recorded.contains(recorded) && found.replayed.contains(replayed), "{found:?}");
}

on_every_backend! {
    async fn an_unchanged_agent_has_no_difference_and_touches_nothing(island: Island) {
        let ledger = Ledger::default();
        let island = stage(island, &ledger);
        let (ada, factory) = (island.user("ada"), island.factory());
        let (thread, run) = ran(&island, &ada, "trip", luggage()).await;
        let (calls, said) = (ledger.calls(), island.ports().log.thread_events(&ada, &thread, 0, 1).await.unwrap());
        let replay = factory.replay(&ada, &run).await.unwrap().unwrap();
        assert_eq!(replay.difference, None);
        assert!(replay.is_same() && replay.same_end && replay.same_events);
        assert_eq!((replay.calls, replay.said), (13, 3));
        assert_eq!((replay.version.as_str(), replay.recorded_version.as_deref()), ("1", Some("1")));
        assert_eq!(ledger.calls(), calls, "no tool was called");
        let now = island.ports().log.thread_events(&ada, &thread, 0, 1).await.unwrap();
        assert_eq!(now.unwrap().head, said.unwrap().head, "nothing was written");
        assert_eq!(runs_of(island.ports(), &ada).await.len(), 3);
        // From a file, for somebody who never had the run.
        let archive = read(&exported(factory, &ada, &run, Part::Whole).await).unwrap();
        let elsewhere = factory.replay_archive(&island.user("ben"), &archive).await.unwrap();
        assert_eq!(elsewhere, replay);
        assert!(runs_of(island.ports(), &island.user("ben")).await.is_empty());
    }

    async fn the_first_difference_of_a_changed_agent_is_named(island: Island) {
        let island = stage(island, &Ledger::default());
        let ada = island.user("ada");
        let (_, run) = ran(&island, &ada, "trip", luggage()).await;

        let other_words = |session: Session, input: Value| async move { travel(&session, &input, "hello", 1).await };
        let replay = changed(&island, &ada, &run, other_words).await;
        differs(&replay, "thought 1", "setting out", "hello");
        assert!(!replay.same_events && replay.same_end, "what is said does not change what is done: {replay:?}");

        let other_page = |session: Session, input: Value| async move { travel(&session, &input, "setting out", 2).await };
        differs(&changed(&island, &ada, &run, other_page).await, "call 4", "the tool \"read\" with 1", "with 2");

        let other_call = |session: Session, _: Value| async move {
            session.think("setting out");
            session.call_tool("read", json!(1)).await
        };
        differs(&changed(&island, &ada, &run, other_call).await, "call 0", "a random number", "the tool \"read\"");

        let one_more = |session: Session, input: Value| async move {
            let result = travel(&session, &input, "setting out", 1).await?;
            session.call_tool("pay", json!("again")).await?;
            Ok(result)
        };
        differs(&changed(&island, &ada, &run, one_more).await, "call 16", "nothing is recorded", "the tool \"pay\"");

        let one_less = |session: Session, _: Value| async move {
            session.think("setting out");
            session.random().await?;
            Ok(json!(1))
        };
        differs(&changed(&island, &ada, &run, one_less).await, "what the agent says", "going home", "nothing more");

        let other_end = |session: Session, input: Value| async move {
            travel(&session, &input, "setting out", 1).await.map(|_| json!("done"))
        };
        let replay = changed(&island, &ada, &run, other_end).await;
        differs(&replay, "the end", "\"paid\": \"paid\"", "completed with \"done\"");
        assert!(replay.same_events && !replay.same_end);
    }

    async fn a_panic_a_new_step_and_unrecorded_state_are_differences(island: Island) {
        let island = stage(island, &Ledger::default());
        let ada = island.user("ada");
        let (_, run) = ran(&island, &ada, "trip", luggage()).await;
        let panics = |session: Session, input: Value| async move {
            travel(&session, &input, "setting out", 1).await?;
            panic!("no luck")
        };
        differs(&changed(&island, &ada, &run, panics).await, "the end", "completed", "the agent panicked");
        let steps = |session: Session, input: Value| async move {
            travel(&session, &input, "setting out", 1).await?;
            session.step("new", Effect::Once, async || -> Result<Value> { panic!("it is not done") }).await
        };
        differs(&changed(&island, &ada, &run, steps).await, "call 16", "nothing is recorded", "the step \"new\"");
        let remembers = |session: Session, _: Value| async move {
            session.think("setting out");
            session.state(Space::User).set("k", &1).await?;
            Ok(json!(1))
        };
        let replay = changed(&island, &ada, &run, remembers).await;
        differs(&replay, "the state \"k\" (written)", "nothing is recorded", "outside of a recorded step");
    }

    async fn runs_that_failed_or_were_stopped_are_compared_up_to_there(island: Island) {
        let stuck = class("stuck", |session, _| async move {
            session.think("waiting");
            session.sleep(Duration::from_secs(3_600)).await?;
            Ok(json!("never"))
        });
        let own = class("own", |session, _| async move {
            session.think("waiting");
            std::future::pending::<()>().await;
            session.call_tool("tally", json!({"n": 1})).await
        });
        let island = island.class(stuck).class(own);
        let (ada, factory) = (island.user("ada"), island.factory());
        for class in ["fail", "panic", "silent"] {
            let (_, run) = ran(&island, &ada, class, json!(1)).await;
            assert_eq!(factory.replay(&ada, &run).await.unwrap().unwrap().difference, None, "{class}");
        }
        for class in ["stuck", "own"] {
            let context = context(&ada);
            let engine = island.engine(&context);
            let stopping = async {
                let mut events = engine.events(context.thread(), 0);
                while events.cursor() < 2 {
                    events.next().await.unwrap();
                }
                engine.cancel(context.run(), CancelReason::new("user", "enough")).await.unwrap();
            };
            let (outcome, ()) = tokio::join!(engine.execute_agent(&context, class, json!(1)), stopping);
            assert_eq!(outcome.unwrap().end.reason(), "cancelled");
            assert_eq!(factory.replay(&ada, context.run()).await.unwrap().unwrap().difference, None, "{class}");
        }
    }

    async fn what_a_reader_was_not_shown_is_no_difference_in_itself(island: Island) {
        let careful = class("careful", |session, _| async move {
            let booked = session.call_tool("book", json!({"token": "mine"})).await?;
            Ok(json!({"password": booked["password"], "seat": booked["seat"]}))
        });
        let island = stage(island, &Ledger::default()).class(careful);
        let (ada, factory) = (island.user("ada"), island.factory());
        let (_, run) = ran(&island, &ada, "careful", json!(1)).await;
        let shown = read(&exported(factory, &ada, &run, Part::Shown).await).unwrap();
        let replay = factory.replay_archive(&ada, &shown).await.unwrap();
        assert_eq!((replay.part, replay.difference), (Part::Shown, None));
    }

    async fn a_class_that_is_not_here_is_refused(island: Island) {
        let island = island.class(trip());
        let (ada, other) = (island.user("ada"), Island::new(island.ports().clone()));
        let (_, run) = ran(&island.class(class("only-here", |_, _| async { Err(Error::failed("no")) })), &ada, "only-here", json!(1)).await;
        assert!(matches!(other.factory().replay(&ada, &run).await, Err(insula_engine::Error::Factory(_))));
    }
}
