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
    let own = [echo(), sleep(), count(), refund::class()];
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
    AgentClass::new("count", "1", || kit::tools(3))
        .describe("Calls the tool \"tally\" three times.")
        .needs(insula_registry::Dependency::Tool("tally".to_owned()))
}
