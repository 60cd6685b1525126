//! What is done about a call that must not be repeated, when the process was lost while it was being made: somebody is
//! asked whether it took effect, the tool first and then a human.

use std::sync::Arc;

use insula_agent::{CallSite, Question, Reconciled, Result, Tool, ToolCall};
use insula_infra::{NewEvent, WaitFor};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    core::RunCore,
    events::Why,
    replay::Asked,
    waiting::{self, resumed},
};

/// What became of the call.
pub(crate) enum Verdict {
    /// The event is to be written together with the result.
    Happened { result: Value, resumed: NewEvent },
    /// It is to be done now. That is in the log already.
    DidNotHappen,
}

#[derive(Deserialize)]
struct Answer {
    happened: bool,
    #[serde(default)]
    result: Value,
}

/// Asks the tool itself. One that fails to answer does not know.
pub(crate) async fn ask_tool(tool: &dyn Tool, call: ToolCall, arguments: Value) -> Reconciled {
    let asked = tool.reconcile(call, arguments);
    let answer = match tool.spec().timeout {
        Some(limit) => tokio::time::timeout(limit, asked).await.unwrap_or(Ok(Reconciled::Unknown)),
        None => asked.await,
    };
    answer.unwrap_or_else(|error| {
        tracing::warn!(tool = tool.spec().name, %error, "a tool could not say whether an interrupted call took effect");
        Reconciled::Unknown
    })
}

/// Asks a human, for as long as it takes.
pub(crate) async fn ask(run: &Arc<RunCore>, site: &CallSite, what: &str, asked: Asked) -> Result<Verdict> {
    let question = question(what);
    let answer = waiting::ask(run, site.index, WaitFor::Reconcile, &question, None, asked == Asked::Yes).await;
    let resumed = resumed(run, site.index, Why::Reconciled);
    // The answer was held against the schema when it was given.
    let answer = answer.and_then(|answer| serde_json::from_value(answer).ok());
    match answer {
        Some(Answer { happened: true, result }) => Ok(Verdict::Happened { result, resumed }),
        Some(Answer { happened: false, .. }) => {
            run.journal.add_all(vec![(resumed, None)], Some(site.index), |_| {});
            Ok(Verdict::DidNotHappen)
        }
        None => std::future::pending().await,
    }
}

fn question(what: &str) -> Question {
    let text = format!(
        "The process was lost while {what} was in progress, and it must not be done twice. Did it happen, and with which \
         result?"
    );
    let mut question = Question::new(text);
    question.schema = Some(json!({
        "type": "object",
        "required": ["happened"],
        "additionalProperties": false,
        "properties": {"happened": {"type": "boolean"}, "result": true},
    }));
    question
}
