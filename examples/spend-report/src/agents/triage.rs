//! `spend-triage`: what kind of file this is, what is wrong with it, and which analyses make sense.

use std::collections::{BTreeSet, HashSet};

use insula_agent::{Agent, Error, Result, Session};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Input, InputFile, give, read};
use crate::{Format, Malformed, Parsed, Price, Record, parse, price};

/// So many malformed rows are listed; all are counted.
const LISTED: usize = 100;
/// A trend of fewer days would be none.
const DAYS: usize = 3;
/// A percentile of fewer calls would be none.
const CALLS: usize = 20;
const UNTITLED: &str = "Model spend";
const LONGEST_TITLE: usize = 120;

/// What was found out about the file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Triage {
    /// What to call the report.
    pub title: String,
    /// How the records are written down.
    pub format: Format,
    /// How many rows are good.
    pub good: usize,
    /// How many are not.
    pub malformed_count: usize,
    /// Those that are not: the first hundred.
    pub malformed: Vec<Malformed>,
    /// Columns that mean nothing here.
    pub ignored_columns: Vec<String>,
    /// Which analyses make sense.
    pub analyses: Vec<Analysis>,
    /// Which do not, and why.
    pub left_out: Vec<LeftOut>,
}

/// An analysis, by the name of its tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Analysis {
    /// Where the money goes.
    SpendByTeam,
    /// The days one after the other.
    SpendTrend,
    /// Prompts asked again.
    DuplicatePrompts,
    /// Expensive models for short answers.
    OversizedModels,
    /// Prompts that could have been cached.
    CacheMisses,
    /// All savings together.
    SavingPotential,
    /// Answers that took far too long.
    LatencyOutliers,
}

impl Analysis {
    /// The name of the tool.
    pub const fn tool(self) -> &'static str {
        match self {
            Self::SpendByTeam => "spend_by_team",
            Self::SpendTrend => "spend_trend",
            Self::DuplicatePrompts => "duplicate_prompts",
            Self::OversizedModels => "oversized_models",
            Self::CacheMisses => "cache_misses",
            Self::SavingPotential => "saving_potential",
            Self::LatencyOutliers => "latency_outliers",
        }
    }
}

/// An analysis that makes no sense for the file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LeftOut {
    /// Which.
    pub analysis: Analysis,
    /// Why.
    pub why: String,
}

pub(crate) struct TriageAgent;

#[async_trait::async_trait]
impl Agent for TriageAgent {
    async fn run(&mut self, session: &mut Session, input: Value) -> Result<Value> {
        let file: InputFile = read::<Input>("the input", input)?.into();
        session.think(format!("Looking at {} bytes of text to see what they are.", file.text.len()));
        check_prices(&file.prices)?;
        let parsed = parse(&file.text).map_err(Error::failed)?;
        say(session, &parsed);
        if parsed.records.is_empty() {
            return Err(Error::failed(no_good_row(&parsed)));
        }
        let triage = triage(&file, parsed);
        let names: Vec<_> = triage.analyses.iter().map(|analysis| analysis.tool()).collect();
        session.think(format!("These analyses make sense here: {}.", names.join(", ")));
        for left_out in &triage.left_out {
            session.think(format!("Leaving out {}: {}.", left_out.analysis.tool(), left_out.why));
        }
        give("the triage", &triage)
    }
}

fn check_prices(prices: &[Price]) -> Result<()> {
    let negative = |price: &&Price| price.input < 0.0 || price.cached_input < 0.0 || price.output < 0.0;
    match prices.iter().find(negative) {
        Some(price) => Err(Error::failed(format!("The price of the model \"{}\" is negative.", price.model))),
        None => Ok(()),
    }
}

fn say(session: &Session, parsed: &Parsed) {
    let format = match parsed.format {
        Format::Csv => "CSV with a header",
        Format::Jsonl => "JSON lines",
    };
    session.think(format!(
        "This is {format}: {} good rows, {} malformed.",
        parsed.records.len(),
        parsed.malformed.len()
    ));
    if !parsed.malformed.is_empty() {
        session.think(format!("Malformed: {}.", listed(&parsed.malformed, 5)));
    }
    if !parsed.ignored_columns.is_empty() {
        session.think(format!("Columns that mean nothing here: {}.", parsed.ignored_columns.join(", ")));
    }
}

fn listed(malformed: &[Malformed], first: usize) -> String {
    let told: Vec<_> = malformed.iter().take(first).map(|row| format!("line {}: {}", row.line, row.reason)).collect();
    match malformed.len().saturating_sub(first) {
        0 => told.join("; "),
        more => format!("{}; and {more} more", told.join("; ")),
    }
}

fn no_good_row(parsed: &Parsed) -> String {
    match parsed.malformed.len() {
        0 => "The file has a header and no rows.".to_owned(),
        1 => format!("The file has one row, and it cannot be read: {}.", listed(&parsed.malformed, 1)),
        all => format!("None of the {all} rows of the file can be read: {}.", listed(&parsed.malformed, 3)),
    }
}

fn triage(file: &InputFile, parsed: Parsed) -> Triage {
    let (analyses, left_out) = decide(&parsed.records, &price::merged(price::built_in(), file.prices.clone()));
    Triage {
        title: title(file.title.as_deref()),
        format: parsed.format,
        good: parsed.records.len(),
        malformed_count: parsed.malformed.len(),
        malformed: parsed.malformed.into_iter().take(LISTED).collect(),
        ignored_columns: parsed.ignored_columns,
        analyses,
        left_out,
    }
}

fn title(given: Option<&str>) -> String {
    let title: String = given.unwrap_or_default().chars().filter(|c| !c.is_control()).take(LONGEST_TITLE).collect();
    if title.trim().is_empty() { UNTITLED.to_owned() } else { title.trim().to_owned() }
}

fn decide(records: &[Record], prices: &[Price]) -> (Vec<Analysis>, Vec<LeftOut>) {
    let (mut analyses, mut left_out) = (vec![Analysis::SpendByTeam], Vec::new());
    let questions = [
        (Analysis::SpendTrend, too_few_days(records)),
        (Analysis::DuplicatePrompts, nothing_repeated(records)),
        (Analysis::OversizedModels, no_smaller_model(records, prices)),
        (Analysis::CacheMisses, no_price(records, prices)),
        (Analysis::LatencyOutliers, too_few_times(records)),
    ];
    for (analysis, against) in questions {
        match against {
            None => analyses.push(analysis),
            Some(why) => left_out.push(LeftOut { analysis, why }),
        }
    }
    analyses.push(Analysis::SavingPotential);
    (analyses, left_out)
}

fn too_few_days(records: &[Record]) -> Option<String> {
    let days: BTreeSet<_> = records.iter().map(|record| record.at.date()).collect();
    (days.len() < DAYS).then(|| format!("a trend needs {DAYS} days, the file has {}", days.len()))
}

fn nothing_repeated(records: &[Record]) -> Option<String> {
    let mut seen = HashSet::new();
    let mut hashes = records.iter().filter_map(|record| record.prompt_hash.as_deref()).peekable();
    if hashes.peek().is_none() {
        return Some("the file has no prompt hashes".to_owned());
    }
    let repeated = hashes.any(|hash| !seen.insert(hash));
    (!repeated).then(|| "no prompt hash comes twice".to_owned())
}

fn no_smaller_model(records: &[Record], prices: &[Price]) -> Option<String> {
    let known = |record: &Record| prices.iter().any(|price| price.model == record.model && price.smaller.is_some());
    (!records.iter().any(known)).then(|| "the price table has no smaller model for any model of the file".to_owned())
}

fn no_price(records: &[Record], prices: &[Price]) -> Option<String> {
    let known = |record: &Record| prices.iter().any(|price| price.model == record.model);
    (!records.iter().any(known)).then(|| "the price table knows no model of the file".to_owned())
}

fn too_few_times(records: &[Record]) -> Option<String> {
    let times = records.iter().filter(|record| record.latency_ms.is_some()).count();
    (times < CALLS).then(|| format!("percentiles need {CALLS} calls with a latency, the file has {times}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Shape, generate};

    fn decided(text: &str) -> (Vec<Analysis>, Vec<LeftOut>) {
        decide(&parse(text).expect("a file").records, &price::built_in())
    }

    #[test]
    fn a_full_file_gets_every_analysis() {
        let (analyses, left_out) = decided(&generate(1, 500, &Shape::default()));
        assert_eq!((analyses.len(), left_out), (7, Vec::new()));
    }

    #[test]
    fn what_the_file_cannot_answer_is_left_out_with_a_reason() {
        let (analyses, left_out) =
            decided("time,team,model,input_tokens,output_tokens,cost\n2026-01-05T10:00:00Z,t,unheard-of,1,1,1\n");
        assert_eq!(analyses, [Analysis::SpendByTeam, Analysis::SavingPotential]);
        let reasons: Vec<_> = left_out.iter().map(|left_out| left_out.why.as_str()).collect();
        assert_eq!(reasons[0], "a trend needs 3 days, the file has 1");
        assert_eq!(reasons[1], "the file has no prompt hashes");
        assert_eq!(reasons[4], "percentiles need 20 calls with a latency, the file has 0");
    }

    #[test]
    fn a_title_is_one_short_line() {
        assert_eq!(title(Some("  March\nspend ")), "Marchspend");
        assert_eq!(title(Some(" \n")), UNTITLED);
        assert_eq!(title(Some(&"x".repeat(900))).len(), LONGEST_TITLE);
    }
}
