//! The classes to register.

use insula_registry::{AgentClass, Dependency};

use crate::agents::{
    Analysis, DataInput, Input, Loaded, OptimizationInput, Outcome, Triage, WriterInput, data::DataAgent,
    optimization::OptimizationAgent, pipeline::SpendReport, triage::TriageAgent, writer::WriterAgent,
};

const ANALYSES: [Analysis; 7] = [
    Analysis::SpendByTeam,
    Analysis::SpendTrend,
    Analysis::DuplicatePrompts,
    Analysis::OversizedModels,
    Analysis::CacheMisses,
    Analysis::SavingPotential,
    Analysis::LatencyOutliers,
];

/// The four agents, and `spend-report`, which is all of them in a row.
pub fn classes() -> Vec<AgentClass> {
    vec![triage(), data(), optimization(), writer(), pipeline()]
}

fn triage() -> AgentClass {
    AgentClass::new("spend-triage", "1", || TriageAgent)
        .describe(
            "Recognises a file of usage records, lists what cannot be read, and decides which analyses make sense.",
        )
        .input::<Input>()
        .output::<Triage>()
}

fn data() -> AgentClass {
    AgentClass::new("spend-data", "1", || DataAgent)
        .describe("Loads usage records and prices into the user's own database, in one transaction.")
        .needs(Dependency::Database)
        .input::<DataInput>()
        .output::<Loaded>()
}

fn optimization() -> AgentClass {
    let class = AgentClass::new("spend-optimization", "1", || OptimizationAgent)
        .describe("Runs the analyses of a load side by side.")
        .needs(Dependency::Database)
        .input::<OptimizationInput>();
    ANALYSES.iter().fold(class, |class, analysis| class.needs(Dependency::Tool(analysis.tool().to_owned())))
}

fn writer() -> AgentClass {
    AgentClass::new("spend-report-writer", "1", || WriterAgent)
        .describe("Makes findings of the results, dearest first, and has the report written.")
        .needs(Dependency::Tool("write_report".to_owned()))
        .input::<WriterInput>()
        .output::<Outcome>()
}

fn pipeline() -> AgentClass {
    let plan = SpendReport::new();
    let class = AgentClass::new("spend-report", "1", move || plan.clone())
        .describe("Reads a file of model usage, finds where the money goes, and writes a report.")
        .needs(Dependency::Database)
        .needs(Dependency::Tool("write_report".to_owned()))
        .depends_on("spend-triage")
        .depends_on("spend-data")
        .depends_on("spend-optimization")
        .depends_on("spend-report-writer")
        .input::<Input>()
        .output::<Outcome>();
    ANALYSES.iter().fold(class, |class, analysis| class.needs(Dependency::Tool(analysis.tool().to_owned())))
}
