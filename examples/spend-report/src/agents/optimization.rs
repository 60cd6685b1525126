//! `spend-optimization`: asks one tool for each analysis, all at the same time.

use futures::future::join_all;
use insula_agent::{Agent, Error, Result, Session};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{Analysis, read};

/// What `spend-optimization` is given.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct OptimizationInput {
    /// The load that `spend-data` made.
    pub load: String,
    /// What to ask of it.
    pub analyses: Vec<Analysis>,
}

pub(crate) struct OptimizationAgent;

#[async_trait::async_trait]
impl Agent for OptimizationAgent {
    async fn run(&mut self, session: &mut Session, input: Value) -> Result<Value> {
        let OptimizationInput { load, analyses } = read("the input", input)?;
        if analyses.is_empty() {
            return Err(Error::failed("No analysis was asked for."));
        }
        session.think(format!("Running {} analyses side by side.", analyses.len()));
        let calls = analyses.iter().map(|analysis| session.call_tool(analysis.tool(), json!({"load": load})));
        let results = join_all(calls).await;
        let mut found = Map::new();
        for (analysis, result) in analyses.iter().zip(results) {
            found.insert(analysis.tool().to_owned(), result?);
        }
        session.think(headline(&found));
        Ok(Value::Object(found))
    }
}

fn headline(found: &Map<String, Value>) -> String {
    let amount = |tool: &str, field: &str| found.get(tool).and_then(|result| result[field].as_f64());
    match (amount("saving_potential", "saving"), amount("spend_by_team", "cost")) {
        (Some(saving), Some(cost)) => format!("Of ${cost:.2}, up to ${saving:.2} need not have been spent."),
        _ => "The analyses are done.".to_owned(),
    }
}
