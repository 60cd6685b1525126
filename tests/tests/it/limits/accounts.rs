//! Allowances of users and tenants: kept by the store, for all runs in all processes.

use std::time::Duration;

use insula_context::{Amounts, Ceiling, UserScope};
use insula_infra::{EventType, Holder};
use insula_registry::AgentClass;
use serde_json::{Value, json};

use super::tools::spending;
use crate::{
    engine::stage::{class, data, log_of, spec},
    support::{Gauge, Island, context, on_every_backend, user_of},
};

const HOUR: Duration = Duration::from_secs(3_600);

/// Calls the tool `think` with its input, and makes nothing of a refusal.
fn thinker() -> AgentClass {
    class("thinker", |session, input: Value| async move {
        Ok(json!(session.call_tool("think", input).await.map_err(|error| error.to_string())))
    })
}

/// Each call is expected to cost 40 tokens.
fn stage(island: Island, calls: &Gauge) -> Island {
    island.tool(spending(spec("think").cost(Amounts::tokens(40)), calls)).class(thinker())
}

async fn spent(island: &Island, scope: &UserScope, holder: Holder) -> (u64, u64) {
    let balance = island.ports().budgets.balance(scope, holder).await.unwrap();
    assert!(balance.reserved.is_zero(), "nothing is in progress: {balance:?}");
    (balance.spent.tokens, balance.spent.tool_calls)
}

on_every_backend! {
    async fn a_user_spends_no_more_than_the_allowance_over_all_runs_and_processes(island: Island) {
        let calls = Gauge::default();
        let island = stage(island, &calls).limits(|limits| limits.user_allowance = Some((Ceiling::tokens(100), HOUR)));
        let (ada, bob) = (island.user("ada"), island.user("bob"));
        assert!(island.run(&ada, "thinker", json!(50)).await.is_success());
        let elsewhere = island.another();
        let context = context(&ada);
        let engine = elsewhere.create_for_user(&context).unwrap();
        assert!(engine.execute_agent(&context, "thinker", json!(20)).await.unwrap().is_success());
        assert_eq!(spent(&island, &ada, Holder::User).await, (70, 2));
        let refused = island.run(&ada, "thinker", json!(1)).await;
        assert_eq!(refused.end.reason(), "budget");
        let message = refused.end.message().unwrap();
        assert!(message.contains("the user may spend 100 tokens and no more, come back in "), "{message}");
        assert!(island.run(&bob, "thinker", json!(50)).await.is_success(), "his is another account");
        assert_eq!((calls.ever(), spent(&island, &ada, Holder::User).await), (3, (70, 2)));
    }

    async fn users_of_a_tenant_spend_from_one_allowance_and_those_of_another_from_theirs(island: Island) {
        let calls = Gauge::default();
        let island = stage(island, &calls);
        let island = island.limits(|limits| limits.tenant_allowance = Some((Ceiling::tokens(100), HOUR)));
        let (ada, bob, eve) = (island.user("ada"), island.user("bob"), user_of("initech", "eve"));
        island.knows(&eve);
        assert!(island.run(&ada, "thinker", json!(80)).await.is_success());
        let message = island.run(&bob, "thinker", json!(1)).await.end.message().unwrap();
        assert!(message.contains("the tenant may spend 100 tokens"), "{message}");
        assert!(island.run(&eve, "thinker", json!(80)).await.is_success());
        assert_eq!(spent(&island, &bob, Holder::Tenant).await, (80, 1));
    }

    async fn whoever_has_spent_four_fifths_is_told_once_in_each_run(island: Island) {
        let calls = Gauge::default();
        let island = stage(island, &calls).limits(|limits| limits.user_allowance = Some((Ceiling::tokens(200), HOUR)));
        let twice = class("twice", |session, _| async move {
            session.call_tool("think", 1).await?;
            session.call_tool("think", 1).await
        });
        let island = island.class(twice);
        let ada = island.user("ada");
        island.run(&ada, "thinker", json!(160)).await;
        let context = context(&ada);
        let outcome = island.engine(&context).execute_agent(&context, "twice", json!(1)).await.unwrap();
        assert!(outcome.end.reason() == "budget" || outcome.is_success(), "{outcome:?}");
        let log = log_of(&island, &context).await;
        let warnings: Vec<_> = log.iter().filter(|event| event.kind == EventType::BudgetWarning).map(data).collect();
        assert_eq!(warnings, [json!({"holder": "user", "unit": "tokens", "spent": 160, "limit": 200})]);
    }

    async fn a_user_s_plan_has_its_own_allowance_and_without_one_no_account_is_opened(island: Island) {
        let calls = Gauge::default();
        let (ada, bob) = (island.user("ada"), island.user("bob"));
        let plan = ada.clone();
        let island = stage(island, &calls).plans(move |scope| {
            let user_allowance = Some((Ceiling::tool_calls(1), HOUR));
            (*scope == plan).then(|| insula_engine::Limits { user_allowance, ..Default::default() })
        });
        for (scope, reason) in [(&ada, "budget"), (&bob, "completed")] {
            assert!(island.run(scope, "thinker", json!(1)).await.is_success());
            assert_eq!(island.run(scope, "thinker", json!(1)).await.end.reason(), reason);
        }
        assert_eq!(spent(&island, &ada, Holder::User).await, (1, 1));
        assert_eq!(island.ports().budgets.balance(&bob, Holder::User).await.unwrap().until, None);
    }

    async fn a_call_that_is_stopped_gives_back_what_it_did_not_spend(island: Island) {
        let (gauge, gate) = (Gauge::default(), crate::engine::stage::Gate::closed());
        let tool = spec("hold").cost(Amounts::tokens(90));
        let island = island
            .tool(crate::engine::stage::held_tool(tool, &gauge, &gate))
            .class(crate::engine::stage::caller("holder", "hold"))
            .limits(|limits| limits.user_allowance = Some((Ceiling::tokens(100), HOUR)));
        let ada = island.user("ada");
        let context = context(&ada);
        let engine = island.engine(&context);
        let stop = async {
            crate::support::until("it is called", || gauge.now() == 1).await;
            let balance = island.ports().budgets.balance(&ada, Holder::User).await.unwrap();
            assert_eq!(balance.reserved.tokens, 90);
            island.factory().cancel(&ada, context.run(), crate::engine::stage::enough()).await.unwrap();
        };
        let (outcome, ()) = tokio::join!(engine.execute_agent(&context, "holder", json!(1)), stop);
        assert_eq!(outcome.unwrap().end.reason(), "cancelled");
        assert_eq!(spent(&island, &ada, Holder::User).await, (0, 1), "it was called");
    }
}
