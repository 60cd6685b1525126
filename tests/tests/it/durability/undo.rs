//! What can be undone is undone when the run does not end well, latest first, and the log says so.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use insula_agent::{Effect, Error, Reconciled, Tool, ToolCall};
use insula_infra::{EventType, RunStatus};
use insula_registry::AgentClass;
use serde_json::{Value, json};

use super::{
    story::Ledger,
    tape::{header, lost, resumed_to_its_end, started},
};
use crate::{
    engine::stage::{class, data, ended_log, enough, log_of},
    support::{Island, context, events_of_run, kinds, on_every_backend, until, until_async},
};

/// Reserves twice, books in between, and then does as the input says.
fn traveller() -> AgentClass {
    class("traveller", |session, input| async move {
        session.call_tool("reserve", json!({"seat": 1, "password": "sesame"})).await?;
        session.call_tool("book", 2).await?;
        session.call_tool("reserve", json!({"seat": 3})).await?;
        match input.as_str() {
            Some("fail") => Err(Error::failed("sold out")),
            Some("panic") => panic!("sold out"),
            Some("silent") => Ok(Value::Null),
            Some("wait") => {
                // What was said so far is in the log by then.
                session.step("wait", Effect::Idempotent, std::future::pending::<Result<Value, Error>>).await
            }
            _ => Ok(json!("home")),
        }
    })
}

/// A tool that is undone, with what it is given noted.
fn reserve(ledger: &Ledger, undone: fn() -> Result<(), Error>) -> impl Tool + 'static {
    let note = ledger.clone();
    let tool = ledger.tool("reserve", Effect::Compensable, || Ok(json!({"token": "whole"})));
    tool.undone_by(move |call: ToolCall, arguments: Value, result: Value| {
        assert_eq!(result, json!({"token": "whole"}), "it gets what readers do not see");
        assert!(arguments["seat"] != 1 || arguments["password"] == "sesame", "{arguments}");
        note.note(&format!("undo of {}", arguments["seat"]), &call);
        async move { undone() }
    })
}

fn staged(island: Island, tool: impl Tool + 'static, ledger: &Ledger) -> Island {
    island.class(traveller()).tool(tool).tool(ledger.tool("book", Effect::Idempotent, || Ok(json!(2))))
}

/// How many calls began or ended so far.
async fn said(island: &Island, context: &insula_context::UserExecutionContext) -> usize {
    kinds(&log_of(island, context).await).iter().filter(|kind| kind.starts_with("tool_")).count()
}

/// What a tool knows of an interrupted call.
type Hook = fn() -> Reconciled;

const UNDONE: [&str; 5] = ["agent_undoing", "tool_executing", "tool_completed", "tool_executing", "tool_completed"];

on_every_backend! {
    async fn what_was_done_is_undone_latest_first_however_the_run_fails(island: Island) {
        let ledger = Ledger::default();
        let island = staged(island, reserve(&ledger, || Ok(())), &ledger);
        for (input, end) in [("fail", "error"), ("panic", "panic"), ("silent", "returned_nothing")] {
            let ada = island.user(input);
            let context = context(&ada);
            let outcome = island.engine(&context).execute_agent(&context, "traveller", json!(input)).await.unwrap();
            assert_eq!(outcome.end.reason(), end);
            let log = log_of(&island, &context).await;
            assert_eq!(kinds(&log)[7..12], UNDONE, "{:?}", kinds(&log));
            let calls: Vec<Value> = log[8..12].iter().map(|event| data(event)["call_id"].clone()).collect();
            assert_eq!(calls, ["u2", "u2", "u0", "u0"]);
            assert!(log[8..12].iter().all(|event| data(event)["undo"] == true));
            let run = context.run();
            assert_eq!(ledger.keys(&ada, "undo of 3"), [format!("{run}/2/reserve")], "under the call's own key");
            assert_eq!(ledger.keys(&ada, "undo of 1"), [format!("{run}/0/reserve")]);
        }
    }

    async fn nothing_is_undone_of_a_run_that_completes(island: Island) {
        let ledger = Ledger::default();
        let island = staged(island, reserve(&ledger, || Ok(())), &ledger);
        let ada = island.user("ada");
        assert!(island.run(&ada, "traveller", json!("go")).await.is_success());
        assert!(ledger.keys(&ada, "undo of 1").is_empty());
    }

    async fn a_run_that_is_stopped_is_undone_as_well(island: Island) {
        let ledger = Ledger::default();
        let island = staged(island, reserve(&ledger, || Ok(())), &ledger);
        let ada = island.user("ada");
        let context = context(&ada);
        let engine = island.engine(&context);
        let stop = async {
            until_async("it has reserved", async || said(&island, &context).await == 6).await;
            engine.cancel(context.run(), enough()).await.unwrap();
        };
        let (outcome, ()) = tokio::join!(engine.execute_agent(&context, "traveller", json!("wait")), stop);
        assert_eq!(outcome.unwrap().end.reason(), "cancelled");
        assert_eq!((ledger.keys(&ada, "undo of 3").len(), ledger.keys(&ada, "undo of 1").len()), (1, 1));
        assert_eq!(kinds(&log_of(&island, &context).await).last(), Some(&"agent_cancelled"));
    }

    async fn a_run_that_nobody_waits_for_any_more_is_undone_as_well(island: Island) {
        let ledger = Ledger::default();
        let island = staged(island, reserve(&ledger, || Ok(())), &ledger);
        let ada = island.user("ada");
        let context = context(&ada);
        let engine = island.engine(&context);
        island.factory().work();
        tokio::select! {
            _ = engine.execute_agent(&context, "traveller", json!("wait")) => panic!("it waits"),
            () = until_async("it has reserved", async || said(&island, &context).await == 6) => {}
        }
        let log = kinds(&ended_log(&island, &context).await);
        assert_eq!(log.last(), Some(&"agent_cancelled"), "{log:?}");
        assert_eq!((ledger.keys(&ada, "undo of 3").len(), ledger.keys(&ada, "undo of 1").len()), (1, 1));
    }

    async fn an_undo_that_is_dropped_in_the_middle_is_done_by_whoever_claims_the_run(island: Island) {
        let (ledger, is_first) = (Ledger::default(), Arc::new(AtomicBool::new(true)));
        let note = ledger.clone();
        let tool = ledger.tool("reserve", Effect::Compensable, || Ok(json!({"token": "whole"})));
        let tool = tool.undone_by(move |call: ToolCall, arguments: Value, _: Value| {
            note.note(&format!("undo of {}", arguments["seat"]), &call);
            let hangs = arguments["seat"] == 1 && is_first.swap(false, Ordering::SeqCst);
            async move { if hangs { std::future::pending().await } else { Ok(()) } }
        });
        let island = staged(island, tool, &ledger);
        let ada = island.user("ada");
        let context = context(&ada);
        let engine = island.engine(&context);
        tokio::select! {
            _ = engine.execute_agent(&context, "traveller", json!("fail")) => panic!("it hangs"),
            () = until("the last one is being undone", || ledger.keys(&ada, "undo of 1").len() == 1) => {}
        }
        island.factory().work();
        let log = ended_log(&island, &context).await;
        assert_eq!(kinds(&log)[7..12], UNDONE, "{:?}", kinds(&log));
        assert_eq!((ledger.keys(&ada, "undo of 3").len(), ledger.keys(&ada, "undo of 1").len()), (1, 2));
    }

    async fn an_undo_that_fails_is_in_the_log_and_the_run_ends_all_the_same(island: Island) {
        let ledger = Ledger::default();
        let island = staged(island, reserve(&ledger, || Err(Error::failed("the airline is gone"))), &ledger);
        let ada = island.user("ada");
        let context = context(&ada);
        let outcome = island.engine(&context).execute_agent(&context, "traveller", json!("fail")).await.unwrap();
        assert_eq!(outcome.end.message().unwrap(), "sold out");
        let log = log_of(&island, &context).await;
        assert_eq!(kinds(&log)[7..12], UNDONE);
        assert_eq!((&data(&log[9])["status"], &data(&log[11])["status"]), (&json!("error"), &json!("error")));
        assert!(data(&log[9])["error"].as_str().unwrap().contains("the airline is gone"), "{:?}", data(&log[9]));
    }

    async fn an_undo_in_doubt_asks_whether_there_is_something_to_undo(island: Island) {
        let ledger = Ledger::default();
        let hooks: [(Hook, usize, &str); 3] = [
            (|| Reconciled::Happened(json!({"token": "whole"})), 1, "ok"),
            (|| Reconciled::DidNotHappen, 0, "ok"),
            (|| Reconciled::Unknown, 0, "error"),
        ];
        for (n, (hook, undone, status)) in hooks.into_iter().enumerate() {
            let tool = reserve(&ledger, || Ok(())).reconciled_by(move |_, _| async move { Ok(hook()) });
            let island = staged(Island::new(island.ports().clone()), tool, &ledger);
            let ada = island.user(&format!("ada-{n}"));
            let header = header(&ada, "traveller");
            let run = header.run.clone();
            let said = json!({"call_id": "c0", "tool": "reserve", "arguments": {"seat": 3}, "effect": "compensable"});
            lost(&island, header, "1", &[started(), (EventType::ToolExecuting, said, Value::Null)]).await;
            island.ports().runs.request_cancel(&ada, &run, enough()).await.unwrap();
            assert_eq!(resumed_to_its_end(&island, &ada, &run).await.status, RunStatus::Cancelled);
            let log = events_of_run(island.ports(), &ada, &run).await;
            let expected = [
                "agent_started", "tool_executing", "tool_completed", "agent_undoing", "tool_executing",
                "tool_completed", "agent_cancelled",
            ];
            assert_eq!(kinds(&log), expected);
            assert_eq!(data(&log[5])["status"], status, "{:?}", data(&log[5]));
            assert_eq!(ledger.keys(&ada, "undo of 3").len(), undone);
        }
    }

    async fn an_undo_that_is_recorded_is_not_done_again(island: Island) {
        let ledger = Ledger::default();
        let island = staged(island, reserve(&ledger, || Ok(())), &ledger);
        let ada = island.user("ada");
        let header = header(&ada, "traveller");
        let run = header.run.clone();
        let called = |id: &str, seat: u32| {
            let said = json!({"call_id": id, "tool": "reserve", "arguments": {"seat": seat}, "effect": "compensable"});
            (EventType::ToolExecuting, said, Value::Null)
        };
        let done = |index: u32| {
            let said = json!({"call_id": format!("c{index}"), "tool": "reserve", "index": index, "status": "ok",
                "result": {"token": "[redacted]"}, "duration_ms": 1.0});
            (EventType::ToolCompleted, said, json!({"token": "whole"}))
        };
        let undone = json!({"call_id": "u1", "tool": "reserve", "index": 1, "status": "ok", "duration_ms": 1.0, "undo": true});
        let ending = json!({"cancelled": {"by": "user", "why": "enough"}});
        let undoing = (EventType::AgentUndoing, json!({"calls": 2}), ending);
        let events = [
            started(), called("c0", 2), done(0), called("c1", 3), done(1), undoing, called("u1", 3),
            (EventType::ToolCompleted, undone, Value::Null),
        ];
        lost(&island, header, "1", &events).await;
        assert_eq!(resumed_to_its_end(&island, &ada, &run).await.status, RunStatus::Cancelled);
        assert_eq!((ledger.keys(&ada, "undo of 3").len(), ledger.keys(&ada, "undo of 2").len()), (0, 1));
        let log = events_of_run(island.ports(), &ada, &run).await;
        assert_eq!(kinds(&log)[8..], ["tool_executing", "tool_completed", "agent_cancelled"], "it is not started again");
    }
}
