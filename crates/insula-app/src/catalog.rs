//! Which agents and tools this binary brings along.

use std::{path::Path, time::Duration};

use insula_agent::{agent_fn, kit};
use insula_engine::Tools;
use insula_registry::{AgentClass, AgentClassRegistry};
use serde::Deserialize;
use serde_json::json;

use crate::{exit::Stop, refund};

/// The agents of the examples and the smallest ones of the kit.
///
/// # Errors
/// When they do not fit together, which would be this binary's fault.
pub(crate) fn agents() -> Result<AgentClassRegistry, Stop> {
    let own = [echo(), sleep(), count(), chatty(), refund::class()];
    let all = own.into_iter().chain(spend_report::classes());
    Ok(all.fold(AgentClassRegistry::builder(), |builder, class| builder.register(class)).freeze()?)
}

/// The tools that every user has. Reports are written below `reports`.
pub(crate) fn tools(reports: &Path) -> Tools {
    let spend = spend_report::tools(reports.to_owned());
    spend.into_iter().fold(Tools::new().with(kit::tally()).with(refund::tool()), Tools::with_arc)
}

fn echo() -> AgentClass {
    AgentClass::new("echo", "1", kit::echo).describe("Returns its input: the shortest way to see a run.")
}

/// How long to sleep, in milliseconds.
#[derive(Deserialize)]
#[serde(untagged)]
enum Sleep {
    Plain(u64),
    Named { ms: u64 },
}

fn sleep() -> AgentClass {
    let agent = || {
        agent_fn(|session, input| async move {
            let (Sleep::Plain(ms) | Sleep::Named { ms }) = serde_json::from_value(input)
                .map_err(|error| insula_agent::Error::caused("the input is a number of milliseconds", error))?;
            session.think(format!("sleeping for {ms} ms"));
            tokio::time::sleep(Duration::from_millis(ms)).await;
            Ok(json!({"slept_ms": ms}))
        })
    };
    AgentClass::new("sleep", "1", agent)
        .describe(
            "Sleeps for so many milliseconds: something to watch and to interrupt. Input: 2000 or {\"ms\": 2000}.",
        )
        .input_schema(json!({
            "type": ["integer", "object"],
            "minimum": 0,
            "required": ["ms"],
            "properties": {"ms": {"type": "integer", "minimum": 0}},
            "additionalProperties": false,
        }))
}

fn count() -> AgentClass {
    let agent = || {
        agent_fn(|session, input| async move {
            let calls = input.as_u64().unwrap_or(3);
            session.think(format!("calling {calls} tools"));
            let mut results = Vec::new();
            for n in 0..calls {
                results.push(session.call_tool("tally", json!({"n": n})).await?);
            }
            Ok(serde_json::Value::Array(results))
        })
    };
    AgentClass::new("count", "1", agent)
        .describe("Calls the tool \"tally\" so many times, or three.")
        .input_schema(json!({"type": ["integer", "null"], "minimum": 0, "maximum": 1_000}))
        .needs(insula_registry::Dependency::Tool("tally".to_owned()))
}

/// What to say, and how fast.
#[derive(Deserialize)]
struct Chat {
    events: u64,
    #[serde(default)]
    pause_ms: f64,
}

fn chatty() -> AgentClass {
    let agent = || {
        agent_fn(|session, input| async move {
            let Chat { events, pause_ms } = serde_json::from_value(input)
                .map_err(|error| insula_agent::Error::caused("the input says how many events", error))?;
            // From the beginning, so that a late wake-up does not make the next one late.
            let mut beat = (pause_ms > 0.0).then(|| tokio::time::interval(Duration::from_secs_f64(pause_ms / 1e3)));
            for n in 0..events {
                session.think(format!("thought {n}"));
                match &mut beat {
                    Some(beat) => drop(beat.tick().await),
                    // Without a pause, all of them would be one append.
                    None => tokio::task::yield_now().await,
                }
            }
            Ok(json!(events))
        })
    };
    AgentClass::new("chatty", "1", agent)
        .describe("Says so many things, one after each pause: something to watch. Input: {\"events\": 100, \"pause_ms\": 10}.")
        .input_schema(json!({
            "type": "object",
            "required": ["events"],
            "properties": {
                "events": {"type": "integer", "minimum": 0, "maximum": 1_000_000},
                "pause_ms": {"type": "number", "minimum": 0, "maximum": 60_000},
            },
            "additionalProperties": false,
        }))
}
