//! `spend-report-writer`: makes findings of the results, and has the report written.

use insula_agent::{Agent, Result, Session};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use super::{Analysis, Headline, Loaded, Outcome, PriceSource, Triage, give, read};
use crate::{
    report::{Finding, Report, Results, Totals, findings},
    tools::{Combined, Latency, Saving, Spend, Trend, WriteArguments, Written},
};

/// What `spend-report-writer` is given: the results of the three before it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WriterInput {
    /// Of `spend-triage`.
    pub triage: Triage,
    /// Of `spend-data`.
    pub data: Loaded,
    /// Of `spend-optimization`: the result of each tool under its name.
    pub analyses: Map<String, Value>,
}

pub(crate) struct WriterAgent;

#[async_trait::async_trait]
impl Agent for WriterAgent {
    async fn run(&mut self, session: &mut Session, input: Value) -> Result<Value> {
        let wanted: WriterInput = read("the input", input)?;
        let report = report(&wanted)?;
        session.think(match report.findings.first() {
            Some(dearest) => format!("{} findings; the first: {}.", report.findings.len(), dearest.title),
            None => "Nothing stands out; the report will say so.".to_owned(),
        });
        let arguments = WriteArguments { load: wanted.data.load, report };
        let written = session.call_tool("write_report", &arguments).await?;
        let Written { files } = read("the result of write_report", written)?;
        session.think("The report is written, as Markdown and as HTML.");
        let Report { title, totals, next_week, findings, .. } = arguments.report;
        let findings = findings.into_iter().map(headline).collect();
        give("the result", &Outcome { title, totals, findings, next_week, files })
    }
}

fn headline(Finding { found_by, title, amount, stake, .. }: Finding) -> Headline {
    Headline { found_by, title, amount, stake }
}

fn report(wanted: &WriterInput) -> Result<Report> {
    let spend: Spend = required(wanted, Analysis::SpendByTeam)?;
    let combined: Combined = required(wanted, Analysis::SavingPotential)?;
    let trend: Option<Trend> = result(wanted, Analysis::SpendTrend)?;
    let latency: Option<Latency> = result(wanted, Analysis::LatencyOutliers)?;
    let findings = findings(&Results {
        spend: Some(&spend),
        trend: trend.as_ref(),
        duplicates: result::<Saving>(wanted, Analysis::DuplicatePrompts)?.as_ref(),
        oversized: result::<Saving>(wanted, Analysis::OversizedModels)?.as_ref(),
        cache: result::<Saving>(wanted, Analysis::CacheMisses)?.as_ref(),
        latency: latency.as_ref(),
    });
    Ok(Report {
        title: wanted.triage.title.clone(),
        totals: totals(&spend, &combined, wanted.triage.malformed_count),
        period: (spend.from, spend.to),
        findings,
        next_week: trend.as_ref().map(|trend| trend.next_week),
        notes: notes(wanted, trend.as_ref()),
        days: trend.map(|trend| trend.days).unwrap_or_default(),
        teams: spend.teams,
        models: spend.models,
        latency,
        malformed: wanted.triage.malformed.clone(),
    })
}

fn totals(spend: &Spend, combined: &Combined, malformed: usize) -> Totals {
    Totals {
        cost: spend.cost,
        records: spend.calls,
        malformed,
        potential_saving: combined.saving,
        teams: spend.team_count,
        models: spend.model_count,
    }
}

fn notes(wanted: &WriterInput, trend: Option<&Trend>) -> Vec<String> {
    let WriterInput { triage, data, .. } = wanted;
    let mut notes: Vec<_> = triage
        .left_out
        .iter()
        .map(|left_out| format!("{} was left out: {}.", left_out.analysis.tool(), left_out.why))
        .collect();
    if !data.models_without_price.is_empty() {
        let models = data.models_without_price.join(", ");
        notes.push(format!("No price is known for {models}: what they could save is not counted."));
    }
    if !triage.ignored_columns.is_empty() {
        notes.push(format!("Columns that mean nothing here: {}.", triage.ignored_columns.join(", ")));
    }
    if let Some(days) = trend.map(|trend| trend.days_left_out).filter(|days| *days > 0) {
        notes.push(format!("{days} earlier days are counted and not drawn."));
    }
    if data.prices == PriceSource::BuiltInWithoutCache {
        notes.push("The cache was not to be had; prices are those of the built-in table.".to_owned());
    }
    notes
}

fn required<T: DeserializeOwned>(wanted: &WriterInput, analysis: Analysis) -> Result<T> {
    let value = wanted.analyses.get(analysis.tool()).cloned().unwrap_or(Value::Null);
    read(&format!("the result of {}", analysis.tool()), value)
}

fn result<T: DeserializeOwned>(wanted: &WriterInput, analysis: Analysis) -> Result<Option<T>> {
    if wanted.analyses.contains_key(analysis.tool()) { required(wanted, analysis).map(Some) } else { Ok(None) }
}
