//! What is down is left alone, by all runs of the process and for a while.

use std::time::Duration;

use futures::future::join_all;
use insula_agent::{BreakerPolicy, Jitter, RetryPolicy, ToolSpec};
use serde_json::json;

use super::tools::{Weather, flaky};
use crate::{
    engine::stage::{Gate, caller, held_tool, log_of, spec},
    support::{Gauge, Island, context, in_virtual_time, kinds, until},
};

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// Three failures within a minute open it for ten seconds.
fn guarded(name: &str) -> ToolSpec {
    spec(name).breaker(BreakerPolicy::new(3, secs(60), secs(10)))
}

fn ends(outcome: &insula_engine::Outcome) -> String {
    outcome.end.message().unwrap_or_else(|| outcome.end.reason().to_owned())
}

in_virtual_time! {
    async fn res_2_a_breaker_opens_for_all_runs_and_closes_after_one_that_works(island: Island) {
        let (weather, calls) = (Weather::storms(9), Gauge::default());
        let island = island
            .tool(flaky(guarded("search").depends_on("search-api"), &weather, &calls))
            .class(caller("searcher", "search"));
        let users = island.users(4);
        for ada in &users[..3] {
            assert!(ends(&island.run(ada, "searcher", json!(1)).await).contains("failed for now"));
        }
        // It is down for everybody: each of the three has found that out, and the fourth need not.
        let context = context(&users[3]);
        let refused = island.engine(&context).execute_agent(&context, "searcher", json!(1)).await.unwrap();
        let words = "tool \"search\" was not called: \"search-api\" has failed too often, come back in 10s";
        assert_eq!((ends(&refused).as_str(), calls.ever()), (words, 3));
        assert_eq!(kinds(&log_of(&island, &context).await), ["agent_started", "agent_failed"], "nothing was called");
        // One call finds out whether it is back, and it is not.
        tokio::time::sleep(secs(10)).await;
        assert!(ends(&island.run(&users[0], "searcher", json!(1)).await).contains("failed for now"));
        assert!(ends(&island.run(&users[1], "searcher", json!(1)).await).contains("come back in 10s"));
        assert_eq!(calls.ever(), 4);
        weather.turns(0);
        tokio::time::sleep(secs(10)).await;
        for user in &users {
            assert!(island.run(user, "searcher", json!(1)).await.is_success(), "it is closed");
        }
    }

    async fn res_2_while_one_finds_out_the_others_are_refused_and_a_lost_one_keeps_nobody_out(island: Island) {
        let (weather, calls) = (Weather::storms(3), Gauge::default());
        let (gauge, gate) = (Gauge::default(), Gate::closed());
        let island = island
            .tool(flaky(guarded("search").depends_on("api"), &weather, &calls))
            .tool(held_tool(guarded("slow").depends_on("api"), &gauge, &gate))
            .class(caller("searcher", "search"))
            .class(caller("slowly", "slow"));
        let ada = island.user("ada");
        for _ in 0..3 {
            island.run(&ada, "searcher", json!(1)).await;
        }
        tokio::time::sleep(secs(10)).await;
        let context = context(&ada);
        let engine = island.engine(&context);
        {
            let probing = engine.execute_agent(&context, "slowly", json!(1));
            let meanwhile = async {
                until("one finds out", || gauge.now() == 1).await;
                assert!(ends(&island.run(&ada, "searcher", json!(1)).await).contains("\"api\" has failed too often"));
            };
            tokio::select! { _ = probing => panic!("it waits"), () = meanwhile => {} }
        }
        drop(engine);
        until("it was dropped", || gauge.now() == 0).await;
        assert!(island.run(&ada, "searcher", json!(1)).await.is_success());
    }

    async fn res_2_a_call_that_may_be_repeated_waits_until_the_breaker_lets_it_through(island: Island) {
        let (weather, calls) = (Weather::storms(3), Gauge::default());
        let patient = RetryPolicy::new(9).first_delay(secs(1)).jitter(Jitter::None);
        let island = island.tool(flaky(guarded("search").retry(patient), &weather, &calls));
        let island = island.class(caller("searcher", "search"));
        let began = tokio::time::Instant::now();
        assert!(island.run(&island.user("ada"), "searcher", json!(1)).await.is_success());
        // Failed at 0, 1 and 3 seconds, refused at 7, and let through when it was told to come back.
        assert_eq!((calls.ever(), began.elapsed()), (4, secs(15)));
    }

    async fn res_3_runs_that_need_none_of_what_is_down_are_unaffected(island: Island) {
        let (down, fine) = (Gauge::default(), Gauge::default());
        let storm = Weather::storms(u32::MAX);
        let island = island
            .tool(flaky(guarded("search"), &storm, &down))
            .tool(flaky(guarded("mail").depends_on("mailer"), &storm, &down))
            .tool(flaky(guarded("maps"), &Weather::default(), &fine))
            .class(caller("searcher", "search"))
            .class(caller("mailer", "mail"))
            .class(caller("mapper", "maps"));
        let ada = island.user("ada");
        join_all((0..30).map(async |n| {
            let class = ["searcher", "mailer", "mapper", "tools", "echo"][n % 5];
            let outcome = island.run(&ada, class, json!(1)).await;
            assert_eq!(outcome.is_success(), n % 5 > 1, "{class}: {outcome:?}");
        }))
        .await;
        assert_eq!((down.ever(), fine.ever()), (6, 6), "three failures each opened two breakers");
    }

    async fn a_user_s_own_tool_has_a_breaker_of_its_own(island: Island) {
        let (weather, hers, his) = (Weather::storms(9), Gauge::default(), Gauge::default());
        let (ada, bob) = (island.user("ada"), island.user("bob"));
        let island = island.class(caller("searcher", "search")).tools(|tools| {
            tools
                .with_for(ada.clone(), flaky(guarded("search"), &weather, &hers))
                .with_for(bob.clone(), flaky(guarded("search"), &Weather::default(), &his))
        });
        for _ in 0..4 {
            island.run(&ada, "searcher", json!(1)).await;
        }
        assert!(ends(&island.run(&ada, "searcher", json!(1)).await).contains("\"search\" has failed too often"));
        assert!(island.run(&bob, "searcher", json!(1)).await.is_success(), "his is another");
        assert_eq!((hers.ever(), his.ever()), (3, 1));
    }
}
