//! The probes: stories that are told to the real engine, and say which promise they find broken.

use std::{future::Future, time::Duration};

use insula_agent::{Effect, Question, ToolCall, tool_fn};
use insula_context::{Amounts, Ceiling, RunId, UserScope};
use insula_engine::{AnswerTo, ExecutionEngineFactory, RunRequest, StreamItem};
use insula_infra::{AnswerRequest, Backend, Holder, PageRequest, RunStatus};
use serde_json::{Value, json};

use super::{
    kills, nodes,
    stage::{Found, MINUTE, ended, island, life, promise, result, whole_log},
};
use crate::{
    engine::stage::{class, parent, spec},
    support::{Island, context, user},
};

/// A story that is told on one backend.
pub(super) type Probe = fn(Backend) -> Found;

pub(super) const PROBES: [(&str, Probe); 16] = [
    ("a lost run goes on", kills::a_lost_run_goes_on),
    ("a lost undo goes on", kills::a_lost_undo_goes_on),
    ("a deadline outlives its process", kills::a_deadline_outlives_its_process),
    ("a run has one worker", nodes::a_run_has_one_worker),
    ("a stalled worker stops its work", nodes::a_stalled_worker_stops_its_work),
    ("a stop reaches another process", nodes::a_stop_reaches_another_process),
    ("a stop comes ahead of its run", nodes::a_run_that_was_stopped_ahead_never_begins),
    ("a slot is fired once", nodes::a_slot_is_fired_once),
    ("a thread runs one at a time", nodes::a_thread_runs_one_at_a_time),
    ("a delayed run waits for its time", nodes::a_delayed_run_waits_for_its_time),
    ("a question is answered once", a_question_is_answered_once),
    ("a pause ends in time", a_pause_ends_in_time),
    ("a parked parent gets its child's result", a_parked_parent_gets_its_child_s_result),
    ("two runs share a budget", two_runs_share_a_budget),
    ("runs spend from one account", runs_spend_from_one_account),
    ("a reader sees what there is", a_reader_sees_what_there_is),
];

async fn accepted(factory: &ExecutionEngineFactory, scope: &UserScope, request: RunRequest) -> Result<RunId, String> {
    factory.submit(scope, request).await.map_err(|error| format!("a run is accepted ({error})"))
}

fn a_question_is_answered_once(backend: Backend) -> Found {
    life(async {
        let asking = class("asking", |session, _| async move { session.ask::<Value>(Question::new("well?")).await });
        let (island, ada) = (island(backend.clone()).class(asking), user("ada"));
        let factory = island.factory();
        let run = accepted(factory, &ada, RunRequest::new("asking", json!(1))).await?;
        // Long enough for the run to be parked.
        tokio::time::sleep(Duration::from_secs(60)).await;
        let open = factory.inbox(&ada, None, &PageRequest::default()).await.map_err(|error| error.to_string())?.items;
        promise(open.len() == 1, "a question is in the inbox", open.len())?;
        let mut taken = Vec::new();
        for answer in ["yes", "no"] {
            // As two humans do who both have the question before them.
            let answer = AnswerTo::question(0, json!(answer));
            taken.push(factory.answer(&ada, &run, answer).await.map_err(|error| error.to_string())?);
        }
        let recorded = taken.iter().filter(|taken| **taken == Some(AnswerRequest::Recorded)).count();
        promise(recorded == 1, "a question has one answer", &taken)?;
        let record = ended(factory, &ada, &run).await?;
        promise(result(&record) == Some("\"yes\""), "the first answer counts", &record)?;
        whole_log(&backend, &ada).await
    })
}

fn a_pause_ends_in_time(backend: Backend) -> Found {
    life(async {
        let pausing = class("pausing", |session, _| async move {
            session.sleep(MINUTE * 5).await?;
            Ok(json!(true))
        });
        let (island, ada) = (island(backend.clone()).class(pausing), user("ada"));
        let run = accepted(island.factory(), &ada, RunRequest::new("pausing", json!(1))).await?;
        let began = tokio::time::Instant::now();
        let record = ended(island.factory(), &ada, &run).await?;
        promise(result(&record) == Some("true"), "a pause is over", &record)?;
        let seconds = began.elapsed().as_secs();
        promise((299..305).contains(&seconds), "a pause is as long as it says", seconds)?;
        whole_log(&backend, &ada).await
    })
}

fn a_parked_parent_gets_its_child_s_result(backend: Backend) -> Found {
    life(async {
        let slow = class("slow", |_, input: Value| async move {
            tokio::time::sleep(Duration::from_secs(300)).await;
            Ok(input)
        });
        let (island, ada) = (island(backend.clone()).class(parent("mother", "slow")).class(slow), user("ada"));
        let run = accepted(island.factory(), &ada, RunRequest::new("mother", json!(7))).await?;
        let record = ended(island.factory(), &ada, &run).await?;
        promise(result(&record) == Some("7"), "a child's result wakes its parent", &record)?;
        whole_log(&backend, &ada).await
    })
}

/// A class whose agents spend their input with one call that takes a minute.
fn spenders(backend: &Backend) -> Island {
    let think = tool_fn(spec("think").cost(Amounts::tokens(60)), |call: ToolCall, tokens: u64| async move {
        tokio::time::sleep(Duration::from_secs(60)).await;
        call.spent(Amounts::tokens(tokens));
        Ok(json!(tokens))
    });
    let spender = class("spender", |session, input: Value| async move { session.call_tool("think", input).await });
    let island = island(backend.clone()).tool(think).class(spender);
    island.limits(|limits| limits.user_allowance = Some((Ceiling::tokens(100), MINUTE * 60)))
}

/// How these runs ended, and what the account says then.
async fn spent<F: Future<Output = Result<Vec<RunStatus>, String>>>(
    backend: &Backend,
    ada: &UserScope,
    runs: F,
) -> Found {
    let statuses = runs.await?;
    promise(statuses == [RunStatus::Completed, RunStatus::Failed], "a budget is not overspent", &statuses)?;
    let balance = backend.budgets.balance(ada, Holder::User).await.map_err(|error| error.to_string())?;
    promise(balance.spent.tokens == 60, "what was spent is booked", balance)?;
    promise(balance.reserved.is_zero(), "what was reserved is given back", balance)
}

fn two_runs_share_a_budget(backend: Backend) -> Found {
    life(async {
        let (island, ada) = (spenders(&backend), user("ada"));
        let (one, other) = (island.factory(), island.another());
        let beside = async {
            let (mine, hers) = tokio::try_join!(
                accepted(one, &ada, RunRequest::new("spender", json!(60))),
                accepted(&other, &ada, RunRequest::new("spender", json!(60))),
            )?;
            let mut ends = vec![ended(one, &ada, &mine).await?.status, ended(one, &ada, &hers).await?.status];
            ends.sort_by_key(|status| *status != RunStatus::Completed);
            Ok(ends)
        };
        spent(&backend, &ada, beside).await
    })
}

fn runs_spend_from_one_account(backend: Backend) -> Found {
    life(async {
        let (island, ada) = (spenders(&backend), user("ada"));
        let one_by_one = async {
            let mut ends = Vec::new();
            for _ in 0..2 {
                let run = accepted(island.factory(), &ada, RunRequest::new("spender", json!(60))).await?;
                ends.push(ended(island.factory(), &ada, &run).await?.status);
            }
            Ok(ends)
        };
        spent(&backend, &ada, one_by_one).await
    })
}

/// Whoever follows a run gets every event of it, in order, and its end once; what was shown is there afterwards.
fn a_reader_sees_what_there_is(backend: Backend) -> Found {
    life(async {
        let (island, ada) = (island(backend.clone()), user("ada"));
        let context = context(&ada);
        let engine = island.engine(&context);
        let mut events = engine.events(context.thread(), 0);
        let reading = async {
            let mut seqs = Vec::new();
            while let Ok(Ok(Some(StreamItem::Event(event)))) = tokio::time::timeout(MINUTE, events.next()).await {
                let at_hand = backend.log.thread_events(&ada, context.thread(), event.seq - 1, 1).await;
                let is_there = at_hand.is_ok_and(|page| page.is_some_and(|page| !page.events.is_empty()));
                promise(is_there, "an event is durable before anyone is told of it", event.seq)?;
                seqs.push(event.seq);
                if event.kind.is_terminal() {
                    return Ok(seqs);
                }
            }
            Err(format!("a reader is told of the end (seen: {seqs:?})"))
        };
        let (outcome, read) = tokio::join!(engine.execute_agent(&context, "tools", json!(1)), reading);
        promise(outcome.is_ok_and(|outcome| outcome.is_success()), "a run that is not disturbed completes", ())?;
        let seqs = read?;
        promise(seqs.iter().copied().eq(1..=seqs.len() as u64), "a thread has no gap", &seqs)?;
        whole_log(&backend, &ada).await
    })
}

#[test]
fn every_effect_is_among_what_a_lost_run_does() {
    // The story of a lost run has one call of each; an effect that is added later has to be added there.
    let story = include_str!("kills.rs");
    for effect in [Effect::Pure, Effect::Idempotent, Effect::Once, Effect::Compensable] {
        assert!(story.contains(&format!("Effect::{effect:?}")), "{effect:?}");
    }
}
