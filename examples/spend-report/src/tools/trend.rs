//! `spend_trend`: the days one after the other, those that are out of line, and what comes next if nothing changes.

use insula_agent::{Error, Result, Tool, ToolCall, tool_fn};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use time::{Date, macros::format_description};

use super::{LoadArguments, analysis, rows};

/// Days, outliers and a forecast.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Trend {
    /// The days with calls, the last 366 of them.
    pub days: Vec<Day>,
    /// How many earlier days are not listed.
    pub days_left_out: usize,
    /// The days that are out of line.
    pub anomalies: Vec<Anomaly>,
    /// What the next seven days cost if they are like the last four weeks, in USD.
    pub next_week: f64,
}

/// One day.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Day {
    /// As YYYY-MM-DD, in UTC.
    pub day: String,
    /// How many calls.
    pub calls: i64,
    /// In USD.
    pub cost: f64,
    /// What such a day usually costs: the median of working days or of weekends.
    pub usual: f64,
    /// Whether it is out of line.
    pub anomaly: bool,
}

/// A day that is out of line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Anomaly {
    /// As YYYY-MM-DD, in UTC.
    pub day: String,
    /// In USD.
    pub cost: f64,
    /// What is beyond a usual day, in USD.
    pub excess: f64,
    /// The team that spent most on it.
    pub team: String,
    /// The model that it spent most on.
    pub model: String,
    /// What that team spent on that model on the day, in USD.
    pub team_cost: f64,
}

/// So many days are listed.
pub(crate) const MOST_DAYS: usize = 366;
/// A day is out of line only against at least so many days of its kind.
const ENOUGH: usize = 4;
/// So many days of a kind are what the forecast looks back on: working days of four weeks.
const LOOK_BACK: usize = 20;

const BY_DAY: &str = "
    SELECT day, COUNT(*) AS calls, SUM(cost) AS cost
    FROM spend_records WHERE load_id = ? GROUP BY day ORDER BY day";

const DEAREST: &str = "
    SELECT team, model, SUM(cost) AS cost
    FROM spend_records WHERE load_id = ? AND day = ?
    GROUP BY team, model ORDER BY SUM(cost) DESC, team, model LIMIT 1";

pub(super) fn trend() -> impl Tool {
    let spec = analysis::<LoadArguments>("spend_trend", "Spend per day, days out of line, and a simple forecast.");
    tool_fn(spec, |call, LoadArguments { load }| async move { run(call, load).await })
}

async fn run(call: ToolCall, load: String) -> Result<Trend> {
    let mut tx = rows::open(&call, &load).await?;
    let days = rows::fetch(&mut *tx, BY_DAY, &[load.as_str().into()], |row| {
        Ok(Day {
            day: row.text("day")?,
            calls: row.whole("calls")?,
            cost: row.money("cost")?,
            usual: 0.0,
            anomaly: false,
        })
    })
    .await?;
    let (mut days, next_week) = judge(days)?;
    let mut anomalies = Vec::new();
    for day in days.iter().filter(|day| day.anomaly) {
        let params = [load.as_str().into(), day.day.as_str().into()];
        let anomaly = rows::fetch_one(&mut *tx, DEAREST, &params, |row| {
            let (team, model, team_cost) = (row.text("team")?, row.text("model")?, row.money("cost")?);
            let (cost, excess) = (day.cost, money(day.cost - day.usual));
            Ok(Anomaly { day: day.day.clone(), cost, excess, team, model, team_cost })
        });
        anomalies.push(anomaly.await?);
    }
    tx.rollback().await?;
    let days_left_out = days.len().saturating_sub(MOST_DAYS);
    days.drain(..days_left_out);
    Ok(Trend { days, days_left_out, anomalies, next_week })
}

/// Marks what is out of line and says what a week costs. Weekends are compared with weekends.
///
/// A day is out of line when it costs more than twice the median and is beyond the usual scatter (five times the median
/// deviation): both are hardly moved by the very days that they are to find.
fn judge(mut days: Vec<Day>) -> Result<(Vec<Day>, f64)> {
    let mut week = 0.0;
    for weekend in [false, true] {
        let mut of_kind = Vec::new();
        for (n, day) in days.iter().enumerate() {
            if is_weekend(&day.day)? == weekend {
                of_kind.push(n);
            }
        }
        let costs: Vec<f64> = of_kind.iter().map(|n| days[*n].cost).collect();
        let usual = median(costs.clone());
        let scatter = 1.4826 * median(costs.iter().map(|cost| (cost - usual).abs()).collect());
        for n in &of_kind {
            let (enough, day) = (of_kind.len() >= ENOUGH, &mut days[*n]);
            day.usual = usual;
            day.anomaly = enough && day.cost > usual + (5.0 * scatter).max(usual);
        }
        let recent: Vec<f64> =
            of_kind.iter().rev().map(|n| &days[*n]).filter(|day| !day.anomaly).map(|d| d.cost).collect();
        let recent = &recent[..recent.len().min(LOOK_BACK)];
        if !recent.is_empty() {
            // Records of working days alone say nothing of weekends: those then add nothing.
            week += recent.iter().sum::<f64>() / recent.len() as f64 * if weekend { 2.0 } else { 5.0 };
        }
    }
    Ok((days, money(week)))
}

fn is_weekend(day: &str) -> Result<bool> {
    let date = Date::parse(day, format_description!("[year]-[month]-[day]"));
    let date = date.map_err(|error| Error::caused(format!("The day \"{day}\" is no date."), error))?;
    Ok(date.weekday().number_from_monday() > 5)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => 0.0,
        n if n % 2 == 1 => values[n / 2],
        n => (values[n / 2 - 1] + values[n / 2]) / 2.0,
    }
}

fn money(amount: f64) -> f64 {
    (amount * 1e6).round() / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From Monday, 5 January 2026 on.
    fn days(costs: &[f64]) -> Vec<Day> {
        let day = |(n, cost): (usize, &f64)| Day {
            day: format!("2026-01-{:02}", n + 5),
            calls: 1,
            cost: *cost,
            usual: 0.0,
            anomaly: false,
        };
        costs.iter().enumerate().map(day).collect()
    }

    #[test]
    fn a_weekend_is_judged_by_weekends() {
        let (judged, week) = judge(days(&[10.0, 11.0, 9.0, 10.0, 10.0, 2.0, 2.0, 11.0])).expect("dates");
        assert!(judged.iter().all(|day| !day.anomaly));
        assert_eq!((judged[0].usual, judged[5].usual), (10.0, 2.0));
        assert!((week - (61.0 / 6.0 * 5.0 + 4.0)).abs() < 1e-5, "{week}");
    }

    #[test]
    fn a_day_out_of_line_is_found_and_not_forecast() {
        let (judged, week) = judge(days(&[10.0, 11.0, 90.0, 9.0, 10.0, 2.0, 2.0])).expect("dates");
        let odd: Vec<_> = judged.iter().filter(|day| day.anomaly).map(|day| day.day.as_str()).collect();
        assert_eq!(odd, ["2026-01-07"]);
        assert_eq!(week, 54.0);
    }

    #[test]
    fn two_days_are_too_few_to_be_out_of_line() {
        let (judged, _) = judge(days(&[1.0, 50.0])).expect("dates");
        assert!(judged.iter().all(|day| !day.anomaly));
    }
}
