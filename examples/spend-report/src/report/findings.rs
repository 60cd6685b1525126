//! From the results of the analyses to findings: what it is, what it costs, and what to do.

use super::{
    Finding, Stake,
    words::{calls, count, duration, percent, usd},
};
use crate::tools::{Anomaly, Group, Latency, Saving, Spend, Trend};

/// The results that findings are made of. An analysis that was left out has none.
#[derive(Debug, Default)]
pub(crate) struct Results<'a> {
    pub(crate) spend: Option<&'a Spend>,
    pub(crate) trend: Option<&'a Trend>,
    pub(crate) duplicates: Option<&'a Saving>,
    pub(crate) oversized: Option<&'a Saving>,
    pub(crate) cache: Option<&'a Saving>,
    pub(crate) latency: Option<&'a Latency>,
}

/// What was found, dearest first.
pub(crate) fn findings(results: &Results<'_>) -> Vec<Finding> {
    let total = results.spend.map_or(0.0, |spend| spend.cost);
    let saving = |found: Option<&Saving>, make: fn(&Saving, f64) -> Finding| {
        found.filter(|found| found.saving > 0.0).map(|found| make(found, total))
    };
    let mut findings: Vec<_> = [
        saving(results.duplicates, duplicates),
        saving(results.oversized, oversized),
        saving(results.cache, cache),
        results.trend.filter(|trend| !trend.anomalies.is_empty()).map(anomalies),
        results.latency.filter(|latency| latency.outlier_calls > 0).map(latency),
    ]
    .into_iter()
    .flatten()
    .collect();
    findings.sort_by(|a, b| b.amount.total_cmp(&a.amount));
    findings
}

fn duplicates(found: &Saving, total: f64) -> Finding {
    Finding {
        found_by: "duplicate_prompts".to_owned(),
        title: "The same prompts are asked again".to_owned(),
        amount: found.saving,
        stake: Stake::Saving,
        what: format!(
            "{} repeated a prompt that the same team had sent to the same model less than a day before. They cost {}, {} of the total.",
            calls(found.calls),
            usd(found.saving),
            percent(found.saving, total)
        ),
        action: "Keep answers for a day under team, model and prompt hash, and look there first. Begin with the prompts below."
            .to_owned(),
        columns: columns(&["Team", "Model", "Prompt hash", "Repeats", "Saving"]),
        rows: rows(&found.groups, |group| vec![group.detail.clone(), count(group.calls), usd(group.saving)]),
    }
}

fn oversized(found: &Saving, total: f64) -> Finding {
    Finding {
        found_by: "oversized_models".to_owned(),
        title: "Expensive models give short answers".to_owned(),
        amount: found.saving,
        stake: Stake::Saving,
        what: format!(
            "{} of expensive models were answered in a few words. With the smaller models of the price table they would cost {} less, {} of the total.",
            calls(found.calls),
            usd(found.saving),
            percent(found.saving, total)
        ),
        action:
            "Try the smaller model on a sample of these calls, compare the answers, and route short questions to it."
                .to_owned(),
        columns: columns(&["Team", "Model", "Smaller model", "Calls", "Cost now", "Saving"]),
        rows: rows(&found.groups, |group| {
            vec![group.detail.clone(), count(group.calls), usd(group.cost), usd(group.saving)]
        }),
    }
}

fn cache(found: &Saving, total: f64) -> Finding {
    Finding {
        found_by: "cache_misses".to_owned(),
        title: "Long prompts are hardly cached".to_owned(),
        amount: found.saving,
        stake: Stake::Saving,
        what: format!(
            "{} sent long prompts of which the provider had little in its cache. With 60% of the tokens cached they would cost {} less, {} of the total.",
            calls(found.calls),
            usd(found.saving),
            percent(found.saving, total)
        ),
        action: "Put what stays the same first in the prompt and what changes last; keep time and names out of the beginning."
            .to_owned(),
        columns: columns(&["Team", "Model", "Cached", "Calls", "Cost now", "Saving"]),
        rows: rows(&found.groups, |group| {
            vec![format!("{}%", group.detail), count(group.calls), usd(group.cost), usd(group.saving)]
        }),
    }
}

fn anomalies(trend: &Trend) -> Finding {
    let excess = trend.anomalies.iter().map(|day| day.excess).sum();
    let row = |day: &Anomaly| {
        vec![day.day.clone(), usd(day.cost), usd(day.excess), day.team.clone(), day.model.clone(), usd(day.team_cost)]
    };
    Finding {
        found_by: "spend_trend".to_owned(),
        title: match trend.anomalies.len() {
            1 => "One day is out of line".to_owned(),
            days => format!("{days} days are out of line"),
        },
        amount: excess,
        stake: Stake::Once,
        what: what_ran_away(trend, excess),
        action: "Ask the team below what ran on that day, and give it a daily budget that stops a job that runs away."
            .to_owned(),
        columns: columns(&["Day", "Cost", "Beyond usual", "Team that spent most", "On model", "Its part"]),
        rows: trend.anomalies.iter().take(10).map(row).collect(),
    }
}

fn what_ran_away(trend: &Trend, excess: f64) -> String {
    let beyond = format!("Beyond what such days usually cost, {} were spent.", usd(excess));
    match trend.anomalies.as_slice() {
        [day] => format!(
            "On {}, {} spent {} on {}, of {} in all. {beyond}",
            day.day,
            day.team,
            usd(day.team_cost),
            day.model,
            usd(day.cost)
        ),
        _ => beyond,
    }
}

fn latency(latency: &Latency) -> Finding {
    let worst = latency.outliers.iter().take(8).map(|call| {
        let times = format!("{:.1}×", call.times);
        vec![
            call.at.clone(),
            call.team.clone(),
            call.model.clone(),
            duration(call.latency_ms),
            times,
            call.line.to_string(),
        ]
    });
    Finding {
        found_by: "latency_outliers".to_owned(),
        title: "Some answers take far too long".to_owned(),
        amount: 0.0,
        stake: Stake::None,
        what: format!(
            "{} took more than five times what calls of the same team to the same model usually take.",
            calls(latency.outlier_calls)
        ),
        action: "Set a timeout a little above the p99 of the model, and try again once, elsewhere if you can."
            .to_owned(),
        columns: columns(&["Time", "Team", "Model", "Took", "Against median", "Line"]),
        rows: worst.collect(),
    }
}

fn columns(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn rows(groups: &[Group], more: impl Fn(&Group) -> Vec<String>) -> Vec<Vec<String>> {
    let row = |group: &Group| [vec![group.team.clone(), group.model.clone()], more(group)].concat();
    groups.iter().map(row).collect()
}
