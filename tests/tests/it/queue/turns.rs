//! Users in turn, by weight, and each one's own runs by priority.

use std::time::Duration;

use insula_engine::RunRequest;
use serde_json::{Value, json};

use super::stage::{Begun, LENGTH, all_ended, delay, line_up, record};
use crate::support::{Island, in_virtual_time};

fn count(begun: &[Value], name: &str) -> usize {
    begun.iter().filter(|value| *value == name).count()
}

in_virtual_time! {
    async fn ten_thousand_queued_runs_of_one_user_delay_another_by_less_than_one_run(island: Island) {
        let begun = Begun::default();
        let island = island.class(begun.class("begin")).limits(|limits| limits.claimed = 4);
        let (ada, ben) = (island.user("ada"), island.user("ben"));
        let factory = island.factory();
        line_up(factory, &ada, "begin", (0..10_000).map(|n| json!(n))).await;
        factory.work();
        // All places are taken, and the runs in them are half way through.
        tokio::time::sleep(LENGTH * 3 + LENGTH / 2).await;
        assert!(begun.so_far().len() < 100, "there are many left");
        let run = factory.submit(&ben, RunRequest::new("begin", json!("ben"))).await.unwrap();
        all_ended(factory, &ben, std::slice::from_ref(&run)).await;
        let waited = delay(&island, &record(&island, &ben, &run).await).await;
        println!("the other user's run waited {waited:?}, a run takes {LENGTH:?}");
        assert!(waited < LENGTH, "{waited:?}");
        factory.shutdown(Duration::ZERO).await;
    }

    async fn three_users_of_whom_one_floods_have_the_same_share(island: Island) {
        let begun = Begun::default();
        let island = island.class(begun.class("begin")).limits(|limits| limits.claimed = 3);
        let (ada, ben, cy) = (island.user("ada"), island.user("ben"), island.user("cy"));
        let factory = island.factory();
        line_up(factory, &ada, "begin", (0..300).map(|_| json!("ada"))).await;
        line_up(factory, &ben, "begin", (0..10).map(|_| json!("ben"))).await;
        let last = line_up(factory, &cy, "begin", (0..10).map(|_| json!("cy"))).await;
        factory.work();
        all_ended(factory, &cy, &last).await;
        let begun = begun.so_far();
        assert_eq!([count(&begun[..30], "ada"), count(&begun[..30], "ben"), count(&begun[..30], "cy")], [10, 10, 10]);
        factory.shutdown(Duration::ZERO).await;
    }

    async fn a_user_of_three_times_the_weight_has_three_times_the_share(island: Island) {
        let begun = Begun::default();
        let island = island.class(begun.class("begin")).limits(|limits| limits.claimed = 4);
        // Another process hands the runs in, for which this user weighs more.
        let heavy = Island::new(island.ports().clone()).class(begun.class("begin")).limits(|limits| limits.weight = 3);
        let (ada, ben) = (island.user("ada"), island.user("ben"));
        let mut runs = line_up(heavy.factory(), &ada, "begin", (0..30).map(|_| json!("ada"))).await;
        line_up(island.factory(), &ben, "begin", (0..30).map(|_| json!("ben"))).await;
        island.factory().work();
        all_ended(island.factory(), &ada, &runs.split_off(29)).await;
        let begun = begun.so_far();
        assert_eq!([count(&begun[..40], "ada"), count(&begun[..40], "ben")], [30, 10], "{begun:?}");
        island.factory().shutdown(Duration::ZERO).await;
    }

    async fn the_weight_holds_also_where_one_run_has_room_at_a_time(island: Island) {
        let begun = Begun::default();
        let island = island.class(begun.class("begin")).limits(|limits| limits.claimed = 1);
        let heavy = Island::new(island.ports().clone()).class(begun.class("begin")).limits(|limits| limits.weight = 3);
        let (ada, ben) = (island.user("ada"), island.user("ben"));
        let mut runs = line_up(heavy.factory(), &ada, "begin", (0..12).map(|_| json!("ada"))).await;
        line_up(island.factory(), &ben, "begin", (0..12).map(|_| json!("ben"))).await;
        island.factory().work();
        all_ended(island.factory(), &ada, &runs.split_off(11)).await;
        let begun = begun.so_far();
        assert!(count(&begun, "ben") <= 4, "{begun:?}");
        island.factory().shutdown(Duration::ZERO).await;
    }

    async fn a_users_own_runs_begin_by_priority_and_then_in_order(island: Island) {
        let begun = Begun::default();
        let island = island.class(begun.class("begin")).limits(|limits| limits.claimed = 1);
        let (ada, ben) = (island.user("ada"), island.user("ben"));
        let factory = island.factory();
        let mut runs = Vec::new();
        for (name, priority) in [("plain", 0), ("high", 7), ("low", -7), ("high too", 7), ("plain too", 0)] {
            let request = RunRequest::new("begin", json!(name)).priority(priority);
            runs.push(factory.enqueue(&ada, request).await.unwrap());
        }
        let others = line_up(factory, &ben, "begin", [json!("ben")]).await;
        factory.work();
        all_ended(factory, &ada, &runs).await;
        all_ended(factory, &ben, &others).await;
        let begun = begun.so_far();
        let own: Vec<&Value> = begun.iter().filter(|name| **name != "ben").collect();
        assert_eq!(own, ["high", "high too", "plain", "plain too", "low"]);
        // Whatever priority one gives one's own: the other has every second turn.
        assert!(begun[..2].contains(&json!("ben")), "{begun:?}");
    }
}
