//! `latency_outliers`: how long answers take, by model, and those that took far too long.

use insula_agent::{Result, Tool, ToolCall, tool_fn};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{analysis, rows};

/// Arguments of `latency_outliers`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct LatencyArguments {
    /// The load that `spend-data` made.
    pub load: String,
    /// A call is an outlier when it took more than so many times the median of its team and model.
    #[serde(default = "factor")]
    pub factor: f64,
}

fn factor() -> f64 {
    5.0
}

/// How long answers take.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Latency {
    /// The models, most used first.
    pub models: Vec<ModelLatency>,
    /// All calls by how long they took, shortest first.
    pub buckets: Vec<Bucket>,
    /// How many calls took far too long.
    pub outlier_calls: i64,
    /// The worst of them, against the median of their team and model.
    pub outliers: Vec<Outlier>,
}

/// How long one model's answers take, in milliseconds. Each percentile is the time of a call that was made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ModelLatency {
    /// The model.
    pub model: String,
    /// How many calls.
    pub calls: i64,
    /// Half of all calls took no longer.
    pub p50: i64,
    /// 95 of 100 took no longer.
    pub p95: i64,
    /// 99 of 100 took no longer.
    pub p99: i64,
}

/// Calls that took about as long.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Bucket {
    /// They took less than this, in milliseconds; `None` for the longest.
    pub below_ms: Option<i64>,
    /// How many.
    pub calls: i64,
}

/// A call that took far too long.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Outlier {
    /// The line of the file.
    pub line: i64,
    /// When, in UTC.
    pub at: String,
    /// The team.
    pub team: String,
    /// The model.
    pub model: String,
    /// How long it took.
    pub latency_ms: i64,
    /// How many times the median of its team and model that is.
    pub times: f64,
}

/// The bounds of the buckets, in milliseconds, as [`BUCKETS`] has them.
const BOUNDS: [i64; 8] = [250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000];

const BUCKETS: &str = "
    SELECT CASE WHEN latency_ms < 250 THEN 0 WHEN latency_ms < 500 THEN 1 WHEN latency_ms < 1000 THEN 2
                WHEN latency_ms < 2000 THEN 3 WHEN latency_ms < 4000 THEN 4 WHEN latency_ms < 8000 THEN 5
                WHEN latency_ms < 16000 THEN 6 WHEN latency_ms < 32000 THEN 7 ELSE 8 END AS bucket,
           COUNT(*) AS calls
    FROM spend_records WHERE load_id = ? AND latency_ms IS NOT NULL GROUP BY bucket";

/// The nearest rank: the smallest time that so many in a hundred calls did not exceed.
const MODELS: &str = "
    WITH ranked AS (
        SELECT model, latency_ms, COUNT(*) OVER (PARTITION BY model) AS calls,
               ROW_NUMBER() OVER (PARTITION BY model ORDER BY latency_ms, line) AS place
        FROM spend_records WHERE load_id = ? AND latency_ms IS NOT NULL
    )
    SELECT model, MAX(calls) AS calls,
           MAX(CASE WHEN place = (calls * 50 + 99) / 100 THEN latency_ms END) AS p50,
           MAX(CASE WHEN place = (calls * 95 + 99) / 100 THEN latency_ms END) AS p95,
           MAX(CASE WHEN place = (calls * 99 + 99) / 100 THEN latency_ms END) AS p99
    FROM ranked GROUP BY model ORDER BY MAX(calls) DESC, model LIMIT 30";

/// Against the median of the same team and model: another team may ask the same model for longer answers.
macro_rules! far {
    ($ask:literal) => {
        concat!(
            "WITH ranked AS (
                SELECT line, at, team, model, latency_ms, COUNT(*) OVER (PARTITION BY team, model) AS calls,
                       ROW_NUMBER() OVER (PARTITION BY team, model ORDER BY latency_ms, line) AS place
                FROM spend_records WHERE load_id = ? AND latency_ms IS NOT NULL
            ), usual AS (
                SELECT team, model, latency_ms AS median FROM ranked WHERE place = (calls * 50 + 99) / 100
            ), far AS (
                SELECT r.line, r.at, r.team, r.model, r.latency_ms, 1.0 * r.latency_ms / u.median AS times
                FROM ranked r JOIN usual u ON u.team = r.team AND u.model = r.model
                WHERE u.median > 0 AND r.latency_ms > ? * u.median
            ) ",
            $ask
        )
    };
}

const FAR: &str = far!("SELECT COUNT(*) AS calls FROM far");
const FARTHEST: &str =
    far!("SELECT line, at, team, model, latency_ms, times FROM far ORDER BY times DESC, line LIMIT 10");

pub(super) fn outliers() -> impl Tool {
    let words = "Latency by model (p50, p95, p99), its distribution, and the calls that took far too long.";
    let spec = analysis::<LatencyArguments>("latency_outliers", words);
    tool_fn(spec, |call, wanted: LatencyArguments| async move { latency(call, wanted).await })
}

async fn latency(call: ToolCall, LatencyArguments { load, factor }: LatencyArguments) -> Result<Latency> {
    let mut tx = rows::open(&call, &load).await?;
    let params = [load.as_str().into(), factor.into()];
    let models = rows::fetch(&mut *tx, MODELS, &params[..1], model).await?;
    let outlier_calls = rows::fetch_one(&mut *tx, FAR, &params, |row| row.whole("calls")).await?;
    let outliers = rows::fetch(&mut *tx, FARTHEST, &params, outlier).await?;
    let counted = rows::fetch(&mut *tx, BUCKETS, &params[..1], |row| Ok((row.whole("bucket")?, row.whole("calls")?)));
    let buckets = buckets(&counted.await?);
    tx.rollback().await?;
    Ok(Latency { models, buckets, outlier_calls, outliers })
}

/// Those without calls as well, up to the last one that has some.
fn buckets(counted: &[(i64, i64)]) -> Vec<Bucket> {
    let last = counted.iter().map(|(bucket, _)| *bucket).max().unwrap_or(-1);
    let calls = |bucket| counted.iter().find(|(known, _)| *known == bucket).map_or(0, |(_, calls)| *calls);
    let bounds = BOUNDS.iter().copied().map(Some).chain([None]);
    (0..=last).zip(bounds).map(|(bucket, below_ms)| Bucket { below_ms, calls: calls(bucket) }).collect()
}

fn model(row: rows::Row<'_>) -> Result<ModelLatency> {
    Ok(ModelLatency {
        model: row.text("model")?,
        calls: row.whole("calls")?,
        p50: row.whole("p50")?,
        p95: row.whole("p95")?,
        p99: row.whole("p99")?,
    })
}

fn outlier(row: rows::Row<'_>) -> Result<Outlier> {
    Ok(Outlier {
        line: row.whole("line")?,
        at: row.text("at")?,
        team: row.text("team")?,
        model: row.text("model")?,
        latency_ms: row.whole("latency_ms")?,
        times: (row.real("times")? * 10.0).round() / 10.0,
    })
}
