//! `spend-report`: the four agents one after the other.
//!
//! A step hands on what the next one needs and no more: the records go into the database once, and what travels from then
//! on is the name of the load. So the log of a run stays small, however large the file is.

use insula_agent::{Agent, Result, Session};
use insula_engine::{Pipeline, Seen, Step};
use serde_json::{Value, json};

/// The pipeline, and the name of the run that it is: the load and the folder of the report are called by it, although
/// each step is a run of its own.
#[derive(Clone)]
pub(crate) struct SpendReport(Pipeline);

impl SpendReport {
    pub(crate) fn new() -> Self {
        let built = Pipeline::builder("spend-report")
            .step(Step::agent("triage", "spend-triage").input(|seen| seen.input()["file"].clone()))
            .step(Step::agent("data", "spend-data").input(for_data))
            .step(Step::agent("optimization", "spend-optimization").input(for_optimization))
            .step(Step::agent("report", "spend-report-writer").input(for_writer))
            .build();
        Self(built.expect("four steps with different names, each of which waits for the one before"))
    }
}

#[async_trait::async_trait]
impl Agent for SpendReport {
    async fn run(&mut self, session: &mut Session, input: Value) -> Result<Value> {
        let input = json!({"run": session.context().run(), "file": input});
        self.0.run(session, input).await
    }
}

fn for_data(seen: &Seen) -> Value {
    json!({"load": seen.input()["run"], "title": part(seen, "triage", "title"), "file": seen.input()["file"]})
}

fn for_optimization(seen: &Seen) -> Value {
    json!({"load": part(seen, "data", "load"), "analyses": part(seen, "triage", "analyses")})
}

fn for_writer(seen: &Seen) -> Value {
    json!({"triage": seen.result("triage"), "data": seen.result("data"), "analyses": seen.result("optimization")})
}

fn part(seen: &Seen, step: &str, name: &str) -> Option<Value> {
    seen.result(step).map(|result| result[name].clone())
}
