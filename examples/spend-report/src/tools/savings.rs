//! `duplicate_prompts`, `oversized_models`, `cache_misses`: money that need not be spent, and `saving_potential`, which
//! adds it up without counting any call twice.

use insula_agent::{Result, Tool, ToolCall, Transaction, tool_fn};
use insula_context::SqlValue;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    analysis,
    rows::{self, Row},
};

/// What could be saved in one way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Saving {
    /// In USD.
    pub saving: f64,
    /// How many calls it concerns.
    pub calls: i64,
    /// Where most of it is, most first.
    pub groups: Vec<Group>,
}

/// Calls that have something in common.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Group {
    /// The team.
    pub team: String,
    /// The model.
    pub model: String,
    /// The smaller model that would do, or the hash of the prompt, or the share of cached tokens in percent.
    pub detail: String,
    /// How many calls.
    pub calls: i64,
    /// What they cost, in USD.
    pub cost: f64,
    /// What could be saved, in USD.
    pub saving: f64,
}

/// What could be saved in all ways together, with each call counted once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Combined {
    /// In USD.
    pub saving: f64,
    /// How many calls it concerns.
    pub calls: i64,
}

/// Arguments of `duplicate_prompts`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct DuplicateArguments {
    /// The load that `spend-data` made.
    pub load: String,
    /// For how long a kept answer stays good, in hours.
    #[serde(default = "within_hours")]
    pub within_hours: u32,
}

/// Arguments of `oversized_models`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct OversizedArguments {
    /// The load that `spend-data` made.
    pub load: String,
    /// Answers of at most so many tokens are short.
    #[serde(default = "short_answer")]
    pub short_answer: u32,
}

/// Arguments of `cache_misses`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct CacheArguments {
    /// The load that `spend-data` made.
    pub load: String,
    /// The share of cached tokens, 0 to 1, that well-ordered prompts reach.
    #[serde(default = "target_share")]
    pub target_share: f64,
}

/// Arguments of `saving_potential`: those of the three others.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct CombinedArguments {
    /// The load that `spend-data` made.
    pub load: String,
    /// For how long a kept answer stays good, in hours.
    #[serde(default = "within_hours")]
    pub within_hours: u32,
    /// Answers of at most so many tokens are short.
    #[serde(default = "short_answer")]
    pub short_answer: u32,
    /// The share of cached tokens, 0 to 1, that well-ordered prompts reach.
    #[serde(default = "target_share")]
    pub target_share: f64,
}

fn within_hours() -> u32 {
    24
}

fn short_answer() -> u32 {
    200
}

fn target_share() -> f64 {
    0.6
}

/// Judges each call in three ways, then asks something of the result. `repeated`, `oversized` and `uncached` are what the
/// call would have saved: with a kept answer, with the smaller model, with the wanted share of cached tokens. The last
/// counts from prompts of 1,024 tokens on, because providers do not cache shorter ones.
macro_rules! judged {
    ($ask:literal) => {
        concat!(
            "WITH facts AS (
                SELECT r.line, r.team, r.model, r.prompt_hash, r.input_tokens, r.output_tokens, r.cost, p.smaller,
                       r.seconds - LAG(r.seconds) OVER same AS since,
                       ((r.input_tokens - r.cached_tokens) * s.input + r.cached_tokens * s.cached_input
                           + r.output_tokens * s.output) / 1000000.0 AS smaller_cost,
                       p.input - p.cached_input AS discount,
                       AVG(r.input_tokens) OVER alike AS usual_input,
                       1.0 * SUM(r.cached_tokens) OVER alike / NULLIF(SUM(r.input_tokens) OVER alike, 0) AS share
                FROM spend_records r
                LEFT JOIN spend_prices p ON p.load_id = r.load_id AND p.model = r.model
                LEFT JOIN spend_prices s ON s.load_id = p.load_id AND s.model = p.smaller
                WHERE r.load_id = ?
                WINDOW same AS (PARTITION BY r.team, r.model, r.prompt_hash ORDER BY r.seconds, r.line),
                       alike AS (PARTITION BY r.team, r.model)
            ), wanted AS (
                SELECT facts.*, (? - share) * input_tokens * discount / 1000000.0 AS missed FROM facts
            ), judged AS (
                SELECT wanted.*,
                       CASE WHEN prompt_hash IS NOT NULL AND since <= ? THEN cost ELSE 0.0 END AS repeated,
                       CASE WHEN output_tokens <= ? AND smaller_cost < cost THEN cost - smaller_cost ELSE 0.0 END
                           AS oversized,
                       CASE WHEN usual_input < 1024 OR missed IS NULL OR missed < 0 THEN 0.0
                            WHEN missed > cost THEN cost ELSE missed END AS uncached
                FROM wanted
            ) ",
            $ask
        )
    };
}

const REPEATED: &str =
    judged!("SELECT COUNT(*) AS calls, COALESCE(SUM(repeated), 0.0) AS saving FROM judged WHERE repeated > 0");
const REPEATED_BY: &str = judged!(
    "SELECT team, model, prompt_hash AS detail, COUNT(*) AS calls, SUM(cost) AS cost, SUM(repeated) AS saving
     FROM judged WHERE repeated > 0
     GROUP BY team, model, prompt_hash ORDER BY SUM(repeated) DESC, team, prompt_hash LIMIT 10"
);
const OVERSIZED: &str =
    judged!("SELECT COUNT(*) AS calls, COALESCE(SUM(oversized), 0.0) AS saving FROM judged WHERE oversized > 0");
const OVERSIZED_BY: &str = judged!(
    "SELECT team, model, smaller AS detail, COUNT(*) AS calls, SUM(cost) AS cost, SUM(oversized) AS saving
     FROM judged WHERE oversized > 0
     GROUP BY team, model, smaller ORDER BY SUM(oversized) DESC, team, model LIMIT 10"
);
const UNCACHED: &str =
    judged!("SELECT COUNT(*) AS calls, COALESCE(SUM(uncached), 0.0) AS saving FROM judged WHERE uncached > 0");
const UNCACHED_BY: &str = judged!(
    "SELECT team, model, CAST(CAST(MAX(share) * 100 + 0.5 AS INTEGER) AS TEXT) AS detail, COUNT(*) AS calls,
            SUM(cost) AS cost, SUM(uncached) AS saving
     FROM judged WHERE uncached > 0
     GROUP BY team, model ORDER BY SUM(uncached) DESC, team, model LIMIT 10"
);
const COMBINED: &str = judged!(
    "SELECT COUNT(*) AS calls,
            COALESCE(SUM(CASE WHEN repeated >= oversized AND repeated >= uncached THEN repeated
                              WHEN oversized >= uncached THEN oversized ELSE uncached END), 0.0) AS saving
     FROM judged WHERE repeated > 0 OR oversized > 0 OR uncached > 0"
);

impl CombinedArguments {
    fn of(load: String) -> Self {
        Self { load, within_hours: within_hours(), short_answer: short_answer(), target_share: target_share() }
    }

    /// In the order of the placeholders in `judged!`.
    fn params(&self) -> [SqlValue; 4] {
        let window = i64::from(self.within_hours) * 3_600;
        [self.load.as_str().into(), self.target_share.into(), window.into(), self.short_answer.into()]
    }
}

pub(super) fn duplicate_prompts() -> impl Tool {
    let words = "Prompts that a team asked again, and the money that keeping the answers would save.";
    tool_fn(analysis::<DuplicateArguments>("duplicate_prompts", words), |call, wanted: DuplicateArguments| {
        let rules = CombinedArguments { within_hours: wanted.within_hours, ..CombinedArguments::of(wanted.load) };
        saving(call, rules, REPEATED, REPEATED_BY)
    })
}

pub(super) fn oversized_models() -> impl Tool {
    let words = "Short answers of expensive models, and the money that the smaller model would save.";
    tool_fn(analysis::<OversizedArguments>("oversized_models", words), |call, wanted: OversizedArguments| {
        let rules = CombinedArguments { short_answer: wanted.short_answer, ..CombinedArguments::of(wanted.load) };
        saving(call, rules, OVERSIZED, OVERSIZED_BY)
    })
}

pub(super) fn cache_misses() -> impl Tool {
    let words =
        "The share of prompt tokens that the provider had cached, and the money that a better share would save.";
    tool_fn(analysis::<CacheArguments>("cache_misses", words), |call, wanted: CacheArguments| {
        let rules = CombinedArguments { target_share: wanted.target_share, ..CombinedArguments::of(wanted.load) };
        saving(call, rules, UNCACHED, UNCACHED_BY)
    })
}

pub(super) fn saving_potential() -> impl Tool {
    let words = "What all savings come to together, with each call counted once.";
    tool_fn(analysis::<CombinedArguments>("saving_potential", words), |call, wanted: CombinedArguments| async move {
        let mut tx = rows::open(&call, &wanted.load).await?;
        let combined = total(&mut *tx, &wanted, COMBINED).await?;
        tx.rollback().await?;
        Ok(combined)
    })
}

async fn saving(call: ToolCall, rules: CombinedArguments, all: &'static str, by: &'static str) -> Result<Saving> {
    let mut tx = rows::open(&call, &rules.load).await?;
    let Combined { saving, calls } = total(&mut *tx, &rules, all).await?;
    let groups = rows::fetch(&mut *tx, by, &rules.params(), group).await?;
    tx.rollback().await?;
    Ok(Saving { saving, calls, groups })
}

async fn total(tx: &mut dyn Transaction, rules: &CombinedArguments, sql: &'static str) -> Result<Combined> {
    rows::fetch_one(tx, sql, &rules.params(), |row| {
        Ok(Combined { saving: row.money("saving")?, calls: row.whole("calls")? })
    })
    .await
}

fn group(row: Row<'_>) -> Result<Group> {
    Ok(Group {
        team: row.text("team")?,
        model: row.text("model")?,
        detail: row.text("detail")?,
        calls: row.whole("calls")?,
        cost: row.money("cost")?,
        saving: row.money("saving")?,
    })
}
