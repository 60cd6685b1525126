//! Runs that begin by the calendar: each slot once, and missed ones by their rule.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use insula_context::{Clock, SystemClock, Timestamp, UserScope};
use insula_engine::{Error, ExecutionEngineFactory, Missed, Schedule};
use insula_infra::RunStatus;
use serde_json::json;

use super::stage::made;
use crate::{
    engine::stage::{Gate, held},
    support::{Gauge, Island, in_virtual_time, log::runs_of, on_every_backend},
};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);

/// Every hour, at its beginning.
fn hourly(name: &str) -> Schedule {
    Schedule::new(name, "0 * * * *", "echo", json!(name))
}

/// Sleeps until so long after a slot. The clock is one from the test's beginning: another that is made later begins with
/// the machine's time again, which virtual time has left behind.
async fn until_after(clock: &SystemClock, slot: Timestamp, more: Duration) {
    tokio::time::sleep(slot.plus(more).since(clock.now())).await;
}

async fn next_of(factory: &ExecutionEngineFactory, scope: &UserScope, name: &str) -> Option<Timestamp> {
    let schedules = factory.schedules(scope).await.unwrap();
    schedules.into_iter().find(|known| known.schedule.name == name).expect("it is kept").next_at
}

in_virtual_time! {
    async fn every_slot_has_one_run_on_time_however_many_processes_work(island: Island) {
        let clock = SystemClock::new();
        let ada = island.user("ada");
        let (one, other) = (island.factory(), island.another());
        let kept = one.schedule(&ada, hourly("pulse")).await.unwrap();
        one.work();
        other.work();
        let mut slot = kept.next_at.unwrap();
        until_after(&clock, slot, HOUR * 9 + MINUTE).await;
        let made = made(&island, &ada).await;
        assert_eq!(made.len(), 10);
        for at in made {
            assert!(at >= slot && at.since(slot) < Duration::from_secs(1), "{at} for {slot}");
            slot = slot.plus(HOUR);
        }
        assert_eq!(next_of(one, &ada, "pulse").await, Some(slot));
        let records = runs_of(island.ports(), &ada).await;
        assert!(records.iter().all(|run| run.status == RunStatus::Completed && run.header.agent.as_ref() == "echo"));
    }

    async fn missed_slots_are_skipped_stood_for_by_one_or_all_fired(island: Island) {
        let clock = SystemClock::new();
        let users = Missed::ALL.map(|rule| (rule, island.user(rule.as_str())));
        let factory = island.factory();
        let mut slot = None;
        for (rule, scope) in &users {
            slot = factory.schedule(scope, hourly("pulse").missed(*rule)).await.unwrap().next_at;
        }
        // Nobody works on the queue for four slots and a half.
        until_after(&clock, slot.unwrap(), HOUR * 3 + HOUR / 2).await;
        factory.work();
        tokio::time::sleep(MINUTE).await;
        for ((rule, scope), runs) in users.iter().zip([0, 1, 4]) {
            assert_eq!(made(&island, scope).await.len(), runs, "{rule:?}");
            assert_eq!(next_of(factory, scope, "pulse").await, Some(slot.unwrap().plus(HOUR * 4)), "{rule:?}");
        }
        until_after(&clock, slot.unwrap(), HOUR * 4 + MINUTE).await;
        for ((rule, scope), runs) in users.iter().zip([1, 2, 5]) {
            assert_eq!(made(&island, scope).await.len(), runs, "{rule:?}: the next one is fired as ever");
        }
    }

    async fn a_long_list_of_missed_slots_is_caught_up_with_in_order_and_beside_others(island: Island) {
        let clock = SystemClock::new();
        let (ada, ben) = (island.user("ada"), island.user("ben"));
        let factory = island.factory();
        let all = Schedule::new("all", "* * * * *", "echo", json!("all")).missed(Missed::All);
        let slot = factory.schedule(&ada, all).await.unwrap().next_at.unwrap();
        factory.schedule(&ben, hourly("other").missed(Missed::Once)).await.unwrap();
        until_after(&clock, slot, HOUR * 6 - MINUTE / 2).await;
        factory.work();
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!((made(&island, &ada).await.len(), made(&island, &ben).await.len()), (360, 1));
    }

    async fn a_restart_within_a_minute_misses_nothing(island: Island) {
        let clock = SystemClock::new();
        let ada = island.user("ada");
        let slot = island.factory().schedule(&ada, hourly("pulse")).await.unwrap().next_at.unwrap();
        until_after(&clock, slot, Duration::from_secs(50)).await;
        island.factory().work();
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(made(&island, &ada).await.len(), 1);
    }

    async fn a_schedule_that_is_refused_its_run_goes_on_with_the_next_slot(island: Island) {
        let clock = SystemClock::new();
        let ada = island.user("ada");
        // It was made where the class was there; who works on the queue does not have it.
        let elsewhere = Island::new(island.ports().clone()).class(held("gone", &Gauge::default(), &Gate::closed()));
        let gone = Schedule::new("gone", "0 * * * *", "gone", json!(1));
        let slot = elsewhere.factory().schedule(&ada, gone).await.unwrap().next_at.unwrap();
        island.factory().schedule(&ada, hourly("pulse")).await.unwrap();
        island.factory().work();
        until_after(&clock, slot, MINUTE).await;
        assert_eq!(next_of(island.factory(), &ada, "gone").await, Some(slot.plus(HOUR)));
        assert_eq!(made(&island, &ada).await.len(), 1, "the other one is fired");
    }

    async fn a_paused_schedule_is_not_fired_and_misses_nothing(island: Island) {
        let clock = SystemClock::new();
        let ada = island.user("ada");
        let factory = island.factory();
        let slot = factory.schedule(&ada, hourly("pulse").missed(Missed::All)).await.unwrap().next_at.unwrap();
        factory.work();
        assert_eq!(factory.pause_schedule(&ada, "pulse").await.unwrap().unwrap().next_at, None);
        until_after(&clock, slot, HOUR * 2 + MINUTE).await;
        assert!(made(&island, &ada).await.is_empty());
        let resumed = factory.resume_schedule(&ada, "pulse").await.unwrap().unwrap();
        assert_eq!(resumed.next_at, Some(slot.plus(HOUR * 3)));
        until_after(&clock, slot, HOUR * 3 + MINUTE).await;
        assert_eq!(made(&island, &ada).await.len(), 1);
        assert!(factory.pause_schedule(&ada, "another").await.unwrap().is_none());
    }

    async fn a_schedule_that_was_replaced_fires_as_the_new_one_says(island: Island) {
        let clock = SystemClock::new();
        let ada = island.user("ada");
        let factory = island.factory();
        factory.work();
        let slot = factory.schedule(&ada, hourly("pulse")).await.unwrap().next_at.unwrap();
        until_after(&clock, slot, MINUTE).await;
        factory.schedule(&ada, Schedule::new("pulse", "30 * * * *", "echo", json!("new"))).await.unwrap();
        until_after(&clock, slot, HOUR + MINUTE).await;
        let runs = runs_of(island.ports(), &ada).await;
        let inputs: Vec<_> = runs.iter().map(|run| run.input.get()).collect();
        assert_eq!(inputs, ["\"new\"", "\"pulse\""], "newest first");
    }

    async fn a_crash_between_submission_and_the_next_slot_fires_nothing_twice(island: Island) {
        let clock = SystemClock::new();
        let lost = Arc::new(AtomicUsize::new(0));
        let forgets = super::faults::Forgets { queue: Arc::clone(&island.ports().queue), lost: Arc::clone(&lost) };
        let island = island.backend(|ports| ports.queue = Arc::new(forgets));
        let ada = island.user("ada");
        let factory = island.factory();
        let slot = factory.schedule(&ada, hourly("pulse")).await.unwrap().next_at.unwrap();
        factory.work();
        until_after(&clock, slot, HOUR * 2 + MINUTE).await;
        assert!(lost.load(Ordering::SeqCst) >= 3, "every slot was left once without being moved on");
        assert_eq!(made(&island, &ada).await.len(), 3);
        assert_eq!(next_of(factory, &ada, "pulse").await, Some(slot.plus(HOUR * 3)));
    }
}

on_every_backend! {
    async fn schedules_are_kept_by_name_and_by_owner(island: Island) {
        let (ada, ben) = (island.user("ada"), island.user("ben"));
        let factory = island.factory();
        for name in ["b", "a"] {
            factory.schedule(&ada, hourly(name).zone("Europe/Rome")).await.unwrap();
        }
        factory.schedule(&ada, hourly("a").missed(Missed::Once)).await.unwrap();
        factory.schedule(&ben, hourly("a")).await.unwrap();
        let kept = factory.schedules(&ada).await.unwrap();
        let names: Vec<_> = kept.iter().map(|kept| (&*kept.schedule.name, kept.schedule.missed)).collect();
        assert_eq!(names, [("a", Missed::Once), ("b", Missed::Skip)]);
        assert!(factory.unschedule(&ada, "a").await.unwrap());
        assert!(!factory.unschedule(&ada, "a").await.unwrap());
        assert_eq!(factory.schedules(&ben).await.unwrap().len(), 1, "another user's");
        island.ports().runs.delete_user(&ada).await.unwrap();
        assert!(factory.schedules(&ada).await.unwrap().is_empty());
    }

    async fn a_schedule_that_cannot_be_kept_is_refused_by_field(island: Island) {
        let island = island.limits(|limits| limits.schedules = 1);
        let ada = island.user("ada");
        let factory = island.factory();
        let field = async |schedule: Schedule| match factory.schedule(&ada, schedule).await {
            Err(Error::Schedule { field, .. }) => field,
            other => panic!("{other:?}"),
        };
        assert_eq!(field(hourly(" ")).await, "name");
        assert_eq!(field(Schedule::new("x", "61 * * * *", "echo", json!(1))).await, "cron");
        assert_eq!(field(Schedule::new("x", "0 0 31 2 *", "echo", json!(1))).await, "cron");
        assert_eq!(field(hourly("x").zone("Europe/Nowhere")).await, "zone");
        let unknown = factory.schedule(&ada, Schedule::new("x", "* * * * *", "ecco", json!(1))).await;
        assert!(matches!(unknown, Err(Error::Factory(_))), "{unknown:?}");
        assert!(factory.schedules(&ada).await.unwrap().is_empty());
        factory.schedule(&ada, hourly("one")).await.unwrap();
        factory.schedule(&ada, hourly("one")).await.unwrap();
        let more = factory.schedule(&ada, hourly("two")).await;
        assert!(matches!(more, Err(Error::Limit { limit: 1, .. })), "{more:?}");
    }
}
