//! `spend_by_team`: where the money goes.

use insula_agent::{Result, Tool, ToolCall, Transaction, tool_fn};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{LoadArguments, analysis, rows};

/// What was spent, in all, by team and by model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Spend {
    /// In all, in USD.
    pub cost: f64,
    /// How many calls.
    pub calls: i64,
    /// The first day, as YYYY-MM-DD.
    pub from: String,
    /// The last day.
    pub to: String,
    /// How many teams there are.
    pub team_count: i64,
    /// How many models there are.
    pub model_count: i64,
    /// The teams that spent most, dearest first.
    pub teams: Vec<Share>,
    /// The models that cost most, dearest first.
    pub models: Vec<Share>,
}

/// The part of one team or model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Share {
    /// Its name, as the records have it.
    pub name: String,
    /// How many calls.
    pub calls: i64,
    /// In USD.
    pub cost: f64,
}

const TOTALS: &str = "
    SELECT SUM(cost) AS cost, COUNT(*) AS calls, MIN(day) AS first_day, MAX(day) AS last_day,
           COUNT(DISTINCT team) AS teams, COUNT(DISTINCT model) AS models
    FROM spend_records WHERE load_id = ?";

const BY_TEAM: &str = "
    SELECT team AS name, COUNT(*) AS calls, SUM(cost) AS cost
    FROM spend_records WHERE load_id = ?
    GROUP BY team ORDER BY SUM(cost) DESC, team LIMIT 30";

const BY_MODEL: &str = "
    SELECT model AS name, COUNT(*) AS calls, SUM(cost) AS cost
    FROM spend_records WHERE load_id = ?
    GROUP BY model ORDER BY SUM(cost) DESC, model LIMIT 30";

pub(super) fn by_team() -> impl Tool {
    let spec = analysis::<LoadArguments>("spend_by_team", "What was spent in all, by team and by model.");
    tool_fn(spec, |call, LoadArguments { load }| async move { spend(call, load).await })
}

async fn spend(call: ToolCall, load: String) -> Result<Spend> {
    let mut tx = rows::open(&call, &load).await?;
    let mut spend = rows::fetch_one(&mut *tx, TOTALS, &[load.as_str().into()], |row| {
        Ok(Spend {
            cost: row.money("cost")?,
            calls: row.whole("calls")?,
            from: row.text("first_day")?,
            to: row.text("last_day")?,
            team_count: row.whole("teams")?,
            model_count: row.whole("models")?,
            teams: Vec::new(),
            models: Vec::new(),
        })
    })
    .await?;
    spend.teams = shares(&mut *tx, BY_TEAM, &load).await?;
    spend.models = shares(&mut *tx, BY_MODEL, &load).await?;
    tx.rollback().await?;
    Ok(spend)
}

async fn shares(tx: &mut dyn Transaction, sql: &'static str, load: &str) -> Result<Vec<Share>> {
    rows::fetch(tx, sql, &[load.into()], |row| {
        Ok(Share { name: row.text("name")?, calls: row.whole("calls")?, cost: row.money("cost")? })
    })
    .await
}
