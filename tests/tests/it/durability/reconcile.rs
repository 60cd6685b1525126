//! Whether a call took effect whose process was lost: the tool is asked, and then a human.

use insula_agent::{Effect, Reconciled, Result, Tool, ToolCall};
use insula_engine::AnswerTo;
use insula_infra::{AnswerRequest, EventType, OpenQuestion, PageRequest, RunStatus, WaitFor};
use serde_json::{Value, json};

use super::{
    story::Ledger,
    tap::Fate,
    tape::{header, lost, resumed_to_its_end, started},
    wreck::{Place, Wreck},
};
use crate::{
    engine::stage::{caller, class, data},
    support::{Backing, Island, events_of_run, kinds, on_every_backend, until_async},
};

/// A run that was lost while it called this tool.
async fn lost_in_a_call(island: &Island, ada: &insula_context::UserScope, effect: &str) -> insula_context::RunId {
    let header = header(ada, "calling");
    let run = header.run.clone();
    let said = json!({"call_id": "c0", "tool": "pay", "arguments": 1, "effect": effect});
    lost(island, header, "1", &[started(), (EventType::ToolExecuting, said, Value::Null)]).await;
    run
}

fn knowing(ledger: &Ledger, effect: Effect, known: fn() -> Result<Reconciled>) -> impl Tool + 'static {
    ledger.tool("pay", effect, || Ok(json!("now"))).reconciled_by(move |call: ToolCall, arguments: Value| {
        assert!(call.key().ends_with("/0/pay") && arguments == json!(1), "{call:?}");
        async move { known() }
    })
}

fn staged(island: Island, tool: impl Tool + 'static) -> Island {
    island.class(caller("calling", "pay")).tool(tool).limits(|limits| limits.park_after = std::time::Duration::ZERO)
}

async fn the_question(island: &Island, ada: &insula_context::UserScope) -> OpenQuestion {
    let inbox = async || island.factory().inbox(ada, None, &PageRequest::default()).await.unwrap().items;
    until_async("somebody is asked", async || inbox().await.len() == 1).await;
    inbox().await.remove(0)
}

on_every_backend! {
    async fn a_hook_that_knows_the_result_ends_the_call_without_another(island: Island) {
        let ledger = Ledger::default();
        for (effect, word) in [(Effect::Once, "once"), (Effect::Compensable, "compensable")] {
            let tool = knowing(&ledger, effect, || Ok(Reconciled::Happened(json!("then"))));
            let island = staged(Island::new(island.ports().clone()), tool);
            let ada = island.user(word);
            let run = lost_in_a_call(&island, &ada, word).await;
            assert_eq!(resumed_to_its_end(&island, &ada, &run).await.result.unwrap().get(), "\"then\"");
            assert!(ledger.keys(&ada, "pay").is_empty());
            let log = events_of_run(island.ports(), &ada, &run).await;
            let expected = ["agent_started", "tool_executing", "agent_resumed", "tool_completed", "agent_completed"];
            assert_eq!((kinds(&log), &data(&log[3])["status"]), (expected.to_vec(), &json!("ok")));
        }
    }

    async fn a_hook_that_knows_that_it_did_not_happen_has_it_done_now_under_the_same_key(island: Island) {
        let ledger = Ledger::default();
        let island = staged(island, knowing(&ledger, Effect::Once, || Ok(Reconciled::DidNotHappen)));
        let ada = island.user("ada");
        let run = lost_in_a_call(&island, &ada, "once").await;
        assert_eq!(resumed_to_its_end(&island, &ada, &run).await.result.unwrap().get(), "\"now\"");
        assert_eq!(ledger.keys(&ada, "pay"), [format!("{run}/0/pay")]);
    }

    async fn a_human_is_asked_when_the_hook_does_not_know_or_fails_and_says_what_happened(island: Island) {
        let ledger = Ledger::default();
        let hooks: [fn() -> Result<Reconciled>; 2] =
            [|| Ok(Reconciled::Unknown), || Err(insula_agent::Error::failed("the bank does not answer"))];
        for (n, hook) in hooks.into_iter().enumerate() {
            let island = staged(Island::new(island.ports().clone()), knowing(&ledger, Effect::Once, hook));
            let ada = island.user(&format!("ada-{n}"));
            let run = lost_in_a_call(&island, &ada, "once").await;
            island.factory().work();
            let asked = the_question(&island, &ada).await;
            assert_eq!((asked.question.kind, asked.question.index), (WaitFor::Reconcile, 0));
            let record = async || island.ports().runs.run(&ada, &run).await.unwrap().unwrap();
            until_async("it is parked", async || record().await.status == RunStatus::Waiting).await;
            assert_eq!(record().await.waits_for, Some(WaitFor::Reconcile));
            let wrong = island.factory().answer(&ada, &run, AnswerTo::the_oldest("perhaps")).await;
            assert!(matches!(wrong, Err(insula_engine::Error::Answer { .. })), "{wrong:?}");
            let happened = AnswerTo::the_oldest(json!({"happened": true, "result": {"paid": 40}}));
            let given = island.factory().answer(&ada, &run, happened).await.unwrap();
            assert_eq!(given, Some(AnswerRequest::Recorded));
            assert_eq!(resumed_to_its_end(&island, &ada, &run).await.result.unwrap().get(), "{\"paid\":40}");
            assert!(ledger.keys(&ada, "pay").is_empty(), "it is not done again");
        }
    }

    async fn a_human_who_says_that_it_did_not_happen_has_it_done_now(island: Island) {
        let ledger = Ledger::default();
        let island = staged(island, ledger.tool("pay", Effect::Once, || Ok(json!("now"))));
        let ada = island.user("ada");
        let run = lost_in_a_call(&island, &ada, "once").await;
        island.factory().work();
        the_question(&island, &ada).await;
        let not = AnswerTo::the_oldest(json!({"happened": false}));
        assert_eq!(island.factory().answer(&ada, &run, not).await.unwrap(), Some(AnswerRequest::Recorded));
        assert_eq!(resumed_to_its_end(&island, &ada, &run).await.result.unwrap().get(), "\"now\"");
        assert_eq!(ledger.keys(&ada, "pay"), [format!("{run}/0/pay")]);
        let log = events_of_run(island.ports(), &ada, &run).await;
        let expected = [
            "agent_started", "tool_executing", "agent_resumed", "agent_waiting", "agent_resumed", "tool_completed",
            "agent_completed",
        ];
        assert_eq!(kinds(&log), expected);
    }

    async fn a_run_that_waits_for_reconcile_can_be_stopped(island: Island) {
        let ledger = Ledger::default();
        let island = staged(island, ledger.tool("pay", Effect::Once, || Ok(json!("now"))));
        let ada = island.user("ada");
        let run = lost_in_a_call(&island, &ada, "once").await;
        island.factory().work();
        the_question(&island, &ada).await;
        island.factory().cancel(&ada, &run, crate::engine::stage::enough()).await.unwrap();
        assert_eq!(resumed_to_its_end(&island, &ada, &run).await.status, RunStatus::Cancelled);
        assert!(ledger.keys(&ada, "pay").is_empty());
        let log = events_of_run(island.ports(), &ada, &run).await;
        assert_eq!(kinds(&log)[log.len() - 2..], ["tool_completed", "agent_cancelled"]);
    }

    async fn a_tool_whose_effect_has_become_harmless_is_asked_for_all_the_same(island: Island) {
        let ledger = Ledger::default();
        let island = staged(island, ledger.tool("pay", Effect::Idempotent, || Ok(json!("now"))));
        let ada = island.user("ada");
        let run = lost_in_a_call(&island, &ada, "once").await;
        island.factory().work();
        assert_eq!(the_question(&island, &ada).await.question.kind, WaitFor::Reconcile);
        assert!(ledger.keys(&ada, "pay").is_empty());
        let happened = AnswerTo::the_oldest(json!({"happened": true}));
        island.factory().answer(&ada, &run, happened).await.unwrap();
        // Nobody knows of a result, and a run that ends without one has failed.
        assert_eq!(resumed_to_its_end(&island, &ada, &run).await.status, RunStatus::Failed);
    }
}

/// Lost a second time at each write of the human's part.
async fn asked_and_lost_again(backing: Backing, place: Place, fate: Fate) {
    let first = Place::Event("signing", EventType::ToolCompleted, 1);
    let wreck = Wreck::of(&backing, "signing-submitted-atonce", first, Fate::LostBefore).await;
    wreck.again(place, fate).await;
    wreck.go_on().await;
    let log = wreck.log().await;
    assert_eq!(wreck.record().await.unwrap().status, RunStatus::Completed, "{log:?}");
    assert_eq!(wreck.done(), ["sign"], "it was done, and a human said so");
    let asked = log.iter().filter(|kind| **kind == "agent_waiting").count();
    assert_eq!(asked, 1, "nobody is asked twice: {log:?}");
}

macro_rules! lost_again {
    ($($name:ident: $fate:ident $place:expr;)*) => {$(
        #[tokio::test]
        async fn $name() {
            asked_and_lost_again(Backing::Memory, $place, Fate::$fate).await;
            asked_and_lost_again(Backing::sqlite(), $place, Fate::$fate).await;
        }
    )*};
}

lost_again! {
    reconcile_lost_before_somebody_was_asked: LostBefore Place::Event("signing", EventType::AgentWaiting, 1);
    reconcile_lost_when_somebody_was_asked: LostAfter Place::Event("signing", EventType::AgentWaiting, 1);
    reconcile_lost_before_the_answer: LostBefore Place::Answer;
    reconcile_lost_after_the_answer: LostAfter Place::Answer;
    reconcile_lost_before_its_record: LostBefore Place::Event("signing", EventType::ToolCompleted, 1);
}

#[tokio::test]
async fn a_step_that_must_not_be_repeated_is_reconciled_by_a_human() {
    let island = Island::new(Backing::Memory.open(crate::support::ShiftedClock::new()));
    let island = island.class(class("posting", |session, _| async move {
        session.step("post", Effect::Once, async || Ok(json!("now"))).await
    }));
    let ada = island.user("ada");
    let header = header(&ada, "posting");
    let run = header.run.clone();
    let began = json!({"index": 0, "name": "post", "effect": "once"});
    lost(&island, header, "1", &[started(), (EventType::StepStarted, began, Value::Null)]).await;
    island.factory().work();
    the_question(&island, &ada).await;
    let happened = AnswerTo::the_oldest(json!({"happened": true, "result": "then"}));
    island.factory().answer(&ada, &run, happened).await.unwrap();
    assert_eq!(resumed_to_its_end(&island, &ada, &run).await.result.unwrap().get(), "\"then\"");
}
