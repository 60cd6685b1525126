//! Limits of single users and of classes, and what a refusal says.

use std::time::Duration;

use futures::future::join_all;
use insula_engine::{Error, Limits, RunRequest};
use insula_registry::ClassLimits;
use serde_json::json;
use tokio::time::Instant;

use crate::{
    engine::stage::{Gate, held, nothing_is_left, parent},
    support::{Gauge, Island, context, in_virtual_time, on_every_backend, until},
};

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

in_virtual_time! {
    async fn a_class_has_so_many_runs_of_a_user_at_once_and_others_do_not_wait_for_them(island: Island) {
        let (gauge, gate) = (Gauge::default(), Gate::closed());
        let narrow = ClassLimits { running: Some(2), timeout: None };
        let island = island.class(held("held", &gauge, &gate).limits(narrow)).class(parent("above", "held"));
        let (ada, bob) = (island.user("ada"), island.user("bob"));
        let hers = join_all((0..5).map(|_| island.run(&ada, "held", json!(1))));
        let meanwhile = async {
            until("two run", || gauge.now() == 2).await;
            assert!(island.run(&ada, "echo", json!(1)).await.is_success(), "another class has its turns");
            let (his, ()) = tokio::join!(island.run(&bob, "held", json!(1)), async {
                until("his runs as well", || gauge.now() == 3).await;
                gate.open();
            });
            assert!(his.is_success());
        };
        let (hers, ()) = tokio::join!(hers, meanwhile);
        assert!(hers.iter().all(insula_engine::Outcome::is_success));
        assert_eq!((gauge.most(), gauge.ever()), (3, 6));
        assert!(island.run(&ada, "above", json!(1)).await.is_success(), "a child has its parent's turn");
        nothing_is_left(&island, &[&ada, &bob]).await;
    }

    async fn a_run_of_a_class_takes_no_longer_than_the_class_allows(island: Island) {
        let (gauge, gate) = (Gauge::default(), Gate::closed());
        let short = ClassLimits { running: None, timeout: Some(secs(3)) };
        let island = island.class(held("held", &gauge, &gate).limits(short));
        let (ada, began) = (island.user("ada"), Instant::now());
        let outcome = island.run(&ada, "held", json!(1)).await;
        assert_eq!((outcome.end.reason(), began.elapsed()), ("timeout", secs(3)));
        let run = island.factory().submit(&ada, RunRequest::new("held", json!(1)).timeout(secs(60))).await.unwrap();
        let record = island.factory().wait(&ada, &run).await.unwrap().unwrap();
        assert_eq!(record.failure.unwrap().message, "the run did not finish within 3s");
    }

    async fn every_user_has_the_limits_of_their_plan(island: Island) {
        let (gauge, gate) = (Gauge::default(), Gate::closed());
        let paying = island.user("paying");
        let plan = paying.clone();
        let island = island
            .class(held("held", &gauge, &gate))
            .limits(|limits| (limits.running, limits.run_time) = (1, secs(5)))
            .plans(move |scope| {
                (*scope == plan).then(|| Limits { running: 3, run_time: secs(50), ..Limits::default() })
            });
        let ada = island.user("ada");
        let began = Instant::now();
        let both = [(&ada, 1), (&paying, 3)].map(async |(user, running)| {
            join_all((0..3).map(|_| island.run(user, "held", json!(1)))).await;
            (running, began.elapsed())
        });
        let looking = async {
            until("one of hers and three of the other's", || gauge.now() == 4).await;
        };
        let (ends, ()) = tokio::join!(join_all(both), looking);
        assert_eq!(ends, [(1, secs(5)), (3, secs(50))]);
        assert_eq!(gauge.most(), 4);
    }
}

on_every_backend! {
    async fn res_5_too_many_runs_in_a_window_are_refused_with_the_limit_and_when_to_come_back(island: Island) {
        let island = island.limits(|limits| limits.run_rate = Some((2, secs(3_600))));
        let (ada, bob) = (island.user("ada"), island.user("bob"));
        assert!(island.run(&ada, "echo", json!(1)).await.is_success());
        island.factory().submit(&ada, RunRequest::new("echo", json!(1))).await.unwrap();
        let context = context(&ada);
        let refusals = [
            island.engine(&context).execute_agent(&context, "echo", json!(1)).await.map(drop).unwrap_err(),
            island.factory().submit(&ada, RunRequest::new("echo", json!(1))).await.map(drop).unwrap_err(),
        ];
        for refusal in refusals {
            let Error::Limit { user, what, limit, retry_after, .. } = &refusal else { panic!("{refusal}") };
            assert_eq!((user, *what, *limit), (&ada, "runs in this window", 2));
            assert!(retry_after.is_some_and(|after| after > secs(3_000) && after <= secs(3_600)), "{retry_after:?}");
            assert!(refusal.is_transient() && refusal.to_string().contains("come back"), "{refusal}");
        }
        assert!(island.run(&bob, "echo", json!(1)).await.is_success());
    }
}
