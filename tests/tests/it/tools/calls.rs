//! Calls in pairs, under the right user, through one dispatcher.

use std::collections::BTreeSet;

use futures::future::join_all;
use insula_agent::{Error as AgentError, ToolFailure, kit, tool_fn};
use insula_engine::Error;
use insula_infra::{Lease, WorkerId};
use serde_json::{Value, json};

use crate::{
    engine::stage::{Gate, caller, class, data, held_tool, log_of, nothing_is_left, record_of, spec},
    support::{Gauge, Island, context, kinds, log::runs_of, on_every_backend, until, words},
};

on_every_backend! {
    async fn tool_1_three_tools_are_three_results_three_pairs_and_three_journal_rows(island: Island) {
        let ada = island.user("ada");
        let context = context(&ada);
        let engine = island.engine(&context);
        let outcome = engine.execute_agent(&context, "tools", json!(1)).await.unwrap();
        assert_eq!(outcome.result(), Some(&json!([1, 2, 3])));
        assert_eq!(engine.stats().tool_calls, 3);
        let log = log_of(&island, &context).await;
        let calls: Vec<_> = log.iter().filter(|event| event.kind.as_str().starts_with("tool_")).collect();
        assert_eq!(calls.len(), 6);
        for (n, pair) in calls.chunks(2).enumerate() {
            assert_eq!((pair[0].kind.as_str(), pair[1].kind.as_str()), ("tool_executing", "tool_completed"));
            assert_eq!(data(pair[0])["call_id"], data(pair[1])["call_id"]);
            assert_eq!(data(pair[0])["arguments"], json!({"n": n}));
            assert_eq!(data(pair[1])["result"], json!(n + 1));
        }
        let ids: BTreeSet<_> = calls.iter().map(|event| data(event)["call_id"].to_string()).collect();
        assert_eq!(ids.len(), 3);
        let header = record_of(&island, &context).await.header;
        let lease = Lease { header, worker: WorkerId::new("reader"), token: 1 };
        let journal = island.ports().queue.journal(&lease).await.unwrap();
        assert_eq!(journal.iter().filter(|row| row.kind.as_str() == "tool_completed").count(), 3);
    }

    async fn tool_1_calls_side_by_side_are_paired_and_numbered_in_the_order_of_writing(island: Island) {
        let (gauge, gate) = (Gauge::default(), Gate::closed());
        let fan = class("fan", |session, _| async move {
            let calls = (0..8).map(|n| session.call_tool("wait", json!(n)));
            Ok(futures::future::try_join_all(calls).await?.into())
        });
        let island = island.class(fan).tool(held_tool(spec("wait"), &gauge, &gate));
        let ada = island.user("ada");
        let context = context(&ada);
        let engine = island.engine(&context);
        let open = async {
            until("all eight are called", || gauge.now() == 8).await;
            gate.open();
        };
        let (outcome, ()) = tokio::join!(engine.execute_agent(&context, "fan", json!(1)), open);
        assert_eq!(outcome.unwrap().result(), Some(&json!([0, 1, 2, 3, 4, 5, 6, 7])));
        let log = log_of(&island, &context).await;
        assert_eq!(kinds(&log)[1..9], ["tool_executing"; 8]);
        assert_eq!(kinds(&log)[9..17], ["tool_completed"; 8]);
        for (n, event) in log[1..9].iter().enumerate() {
            assert_eq!((&data(event)["call_id"], &data(event)["arguments"]), (&json!(format!("c{n}")), &json!(n)));
        }
        for event in &log[9..17] {
            assert_eq!(format!("\"c{}\"", data(event)["result"]), data(event)["call_id"].to_string());
        }
    }

    async fn tool_3_a_tool_of_one_user_does_not_exist_for_another(island: Island) {
        let (ada, bob) = (island.user("ada"), island.user("bob"));
        let hers = tool_fn(spec("hers"), |_, arguments: Value| async move { Ok(arguments) });
        let island = island.tools(|tools| tools.with_for(ada.clone(), hers)).class(caller("calling", "hers"));
        let (her_context, his_context) = (context(&ada), context(&bob));
        let (her_engine, his_engine) = (island.engine(&her_context), island.engine(&his_context));
        let (her_dispatcher, his_dispatcher) =
            (her_engine.tool_dispatcher().unwrap(), his_engine.tool_dispatcher().unwrap());
        assert_eq!((her_dispatcher.names(), his_dispatcher.names()), (vec!["hers".into(), "tally".into()], vec!["tally".to_owned()]));
        assert!(his_dispatcher.tool("hers").is_none());
        let answer = his_dispatcher.call(&his_context, "hers", json!(1)).await.unwrap();
        let Err(AgentError::Tool { failure: ToolFailure::Absent { available }, .. }) = answer else { panic!("{answer:?}") };
        assert_eq!(available, ["tally"]);
        assert_eq!(her_dispatcher.call(&her_context, "hers", json!("secret-of-ada")).await.unwrap().unwrap(), json!("secret-of-ada"));
        let inside = island.run(&bob, "calling", json!(1)).await;
        assert!(inside.end.message().unwrap().contains("does not exist; there are: tally"), "{inside:?}");
        for run in runs_of(island.ports(), &bob).await {
            let log = crate::support::events_of_run(island.ports(), &bob, &run.header.run).await;
            assert!(!words(&log).contains("secret-of-ada"));
            assert!(!kinds(&log).contains(&"tool_executing"), "no event of an execution");
        }
        let log = log_of(&island, &her_context).await;
        assert!(log.iter().all(|event| event.header.scope == ada));
        assert_eq!(log.len(), 4);
    }

    async fn tool_6_after_the_shutdown_a_tool_is_refused(island: Island) {
        let (ada, bob) = (island.user("ada"), island.user("bob"));
        let (first, other) = (context(&ada), context(&bob));
        let (engine, others) = (island.engine(&first), island.engine(&other));
        let dispatcher = engine.tool_dispatcher().unwrap();
        assert!(dispatcher.call(&first, "tally", json!({"n": 1})).await.unwrap().is_ok());
        engine.shutdown();
        let refused = dispatcher.call(&first.next_run(), "tally", json!({"n": 1})).await;
        assert!(matches!(refused, Err(Error::ShutDown)), "{refused:?}");
        assert!(matches!(engine.tool_dispatcher().err(), Some(Error::ShutDown)));
        let still = others.tool_dispatcher().unwrap().call(&other, "tally", json!({"n": 1})).await;
        assert!(still.unwrap().is_ok(), "another user's goes on");
        assert_eq!(runs_of(island.ports(), &ada).await.len(), 1);
    }

    async fn a_session_that_outlives_its_run_can_call_no_tool(island: Island) {
        let kept = std::sync::Arc::new(std::sync::Mutex::new(None));
        let keep = std::sync::Arc::clone(&kept);
        let smuggler = class("smuggler", move |session, _| {
            let keep = std::sync::Arc::clone(&keep);
            async move {
                *keep.lock().unwrap() = Some(session);
                Ok(json!(true))
            }
        });
        let (calls, gate) = (Gauge::default(), Gate::closed());
        gate.open();
        let island = island.class(smuggler).tool(held_tool(spec("wait"), &calls, &gate));
        let ada = island.user("ada");
        let context = context(&ada);
        assert!(island.engine(&context).execute_agent(&context, "smuggler", json!(1)).await.unwrap().is_success());
        let session: insula_agent::Session = kept.lock().unwrap().take().unwrap();
        session.think("still here");
        assert!(session.call_tool("wait", json!(1)).await.is_err(), "the run is over");
        assert!(session.call_agent("echo", json!(1)).await.is_err(), "the run is over");
        assert!(session.sleep(std::time::Duration::from_millis(1)).await.is_err(), "the run is over");
        assert_eq!(calls.ever(), 0);
        assert_eq!(log_of(&island, &context).await.len(), 2);
        assert_eq!(runs_of(island.ports(), &ada).await.len(), 1);
    }

    async fn a_tool_that_panics_or_fails_ends_its_call_and_not_the_process(island: Island) {
        let explosive = tool_fn(spec("explosive"), |_, arguments: Value| async move {
            assert!(arguments != "panic", "boom at /srv/insula/tool.rs");
            Err::<Value, _>(AgentError::failed("not today"))
        });
        let careful = class("careful", |session, input| async move {
            let Err(AgentError::Tool { failure, .. }) = session.call_tool("explosive", input).await else {
                return Ok(json!("it worked"));
            };
            Ok(json!(failure.to_string()))
        });
        let island = island.class(careful).class(caller("careless", "explosive")).tool(explosive);
        let ada = island.user("ada");
        for (input, failure) in [("panic", "panicked"), ("fail", "failed: not today")] {
            for class in ["careful", "careless"] {
                let context = context(&ada);
                let outcome = island.engine(&context).execute_agent(&context, class, json!(input)).await.unwrap();
                match class {
                    "careful" => assert_eq!(outcome.result(), Some(&json!(failure))),
                    _ => assert_eq!((outcome.end.reason(), outcome.is_success()), ("error", false)),
                }
                let log = log_of(&island, &context).await;
                assert_eq!(kinds(&log)[1..3], ["tool_executing", "tool_completed"]);
                assert_eq!(data(&log[2])["status"], "error");
                assert!(!words(&log).contains("boom"), "a panic's words are for the operator");
            }
        }
        nothing_is_left(&island, &[&ada]).await;
    }

    async fn a_call_that_is_given_up_is_aborted_and_the_run_goes_on(island: Island) {
        let (gauge, gate) = (Gauge::default(), Gate::closed());
        let inside = gauge.clone();
        let impatient = class("impatient", move |session, _| {
            let gauge = inside.clone();
            async move {
                let mut call = Box::pin(session.call_tool("wait", json!(1)));
                while gauge.now() == 0 {
                    assert!(futures::poll!(&mut call).is_pending());
                    tokio::task::yield_now().await;
                }
                drop(call);
                session.call_tool("tally", json!({"n": 1})).await
            }
        });
        let island = island.class(impatient).tool(held_tool(spec("wait").in_flight(1), &gauge, &gate));
        let ada = island.user("ada");
        let context = context(&ada);
        let outcome = island.engine(&context).execute_agent(&context, "impatient", json!(1)).await.unwrap();
        assert_eq!((outcome.result(), gauge.now()), (Some(&json!(2)), 0));
        let log = log_of(&island, &context).await;
        let statuses: Vec<_> = log.iter().map(data).filter(|d| d["status"].is_string()).map(|d| d["status"].clone()).collect();
        assert_eq!(statuses, ["aborted", "ok"]);
        assert!(island.run(&ada, "impatient", json!(1)).await.is_success(), "its permit is back");
    }

    async fn a_forged_user_in_the_arguments_changes_nothing(island: Island) {
        let whose = tool_fn(spec("whose"), |call: insula_agent::ToolCall, _: Value| async move {
            call.state(insula_agent::Space::User).set("mark", &"was here").await?;
            Ok(json!([call.context().scope().user(), call.key()]))
        });
        let island = island.class(caller("calling", "whose")).tool(whose);
        let users = island.users(3);
        let outcomes = join_all(users.iter().map(async |scope| {
            let forged = json!({"user_id": users[0].user(), "tenant_id": "acme", "scope": users[0]});
            island.run(scope, "calling", forged).await
        }))
        .await;
        let mut keys = BTreeSet::new();
        for (scope, outcome) in users.iter().zip(&outcomes) {
            let result = outcome.result().unwrap();
            assert_eq!(result[0], json!(scope.user()));
            keys.insert(result[1].to_string());
        }
        assert_eq!(keys.len(), 3, "and no two calls have one key");
    }

    async fn the_kits_tool_refuses_arguments_of_the_wrong_shape_and_says_what_is_wrong(island: Island) {
        let island = island.class(caller("calling", "tally")).tool(kit::tally());
        let ada = island.user("ada");
        let outcome = island.run(&ada, "calling", json!({"m": 1})).await;
        assert_eq!(outcome.end.reason(), "error");
        assert!(outcome.end.message().unwrap().contains("missing field `n`"), "{outcome:?}");
    }
}
