//! The report as Markdown, for a pull request, a ticket or a terminal.

use std::fmt::Write as _;

use super::{
    Finding, Report, Stake,
    escape::markdown as text,
    words::{count, duration, percent, usd},
};
use crate::tools::{Latency, Share};

/// Renders a report as Markdown.
pub fn markdown(report: &Report) -> String {
    let mut out = format!("# {}\n\n{} to {}\n\n", text(&report.title), text(&report.period.0), text(&report.period.1));
    out += &headline(report);
    out += "## Findings\n\n";
    if report.findings.is_empty() {
        out += "Nothing stands out.\n\n";
    }
    for (n, finding) in report.findings.iter().enumerate() {
        out += &section(n + 1, finding);
    }
    out += &shares("Team", &report.teams, report.totals.cost);
    out += &shares("Model", &report.models, report.totals.cost);
    out += &days(report);
    out += &report.latency.as_ref().map(latency).unwrap_or_default();
    out += &malformed(report);
    out + &notes(report)
}

fn headline(report: &Report) -> String {
    let totals = &report.totals;
    let head = columns(&["Total cost", "Records", "Potential saving", "Malformed rows"]);
    let saving = format!("{} ({})", usd(totals.potential_saving), percent(totals.potential_saving, totals.cost));
    let row = vec![usd(totals.cost), count(totals.records), saving, totals.malformed.to_string()];
    table(&head, &[row])
}

fn section(number: usize, finding: &Finding) -> String {
    let mut out = format!("### {number}. {}", text(&finding.title));
    if finding.stake != Stake::None {
        let _ = write!(out, ": {} {}", usd(finding.amount), finding.stake.words());
    }
    let _ = write!(out, "\n\n{}\n\n**What to do.** {}\n\n", text(&finding.what), text(&finding.action));
    out + &table(&finding.columns, &finding.rows)
}

fn shares(what: &str, shares: &[Share], total: f64) -> String {
    let row = |share: &Share| vec![share.name.clone(), count(share.calls), usd(share.cost), percent(share.cost, total)];
    let rows: Vec<_> = shares.iter().map(row).collect();
    format!("## Spend per {}\n\n{}", what.to_lowercase(), table(&columns(&[what, "Calls", "Cost", "Share"]), &rows))
}

fn days(report: &Report) -> String {
    if report.days.is_empty() {
        return String::new();
    }
    let rows = report.days.iter().map(|day| {
        let remark = if day.anomaly { "out of line" } else { "" };
        vec![day.day.clone(), count(day.calls), usd(day.cost), remark.to_owned()]
    });
    let forecast =
        report.next_week.map(|cost| format!("If nothing changes, the next seven days cost about {}.\n\n", usd(cost)));
    let table = table(&columns(&["Day", "Calls", "Cost", ""]), &rows.collect::<Vec<_>>());
    format!("## Spend per day\n\n{}{table}", forecast.unwrap_or_default())
}

fn latency(latency: &Latency) -> String {
    let rows = latency.models.iter().map(|model| {
        let times = [model.p50, model.p95, model.p99].map(duration);
        [vec![model.model.clone(), count(model.calls)], times.into()].concat()
    });
    let head = columns(&["Model", "Calls", "p50", "p95", "p99"]);
    format!("## Latency\n\n{}", table(&head, &rows.collect::<Vec<_>>()))
}

fn malformed(report: &Report) -> String {
    if report.totals.malformed == 0 {
        return String::new();
    }
    let rows: Vec<_> = report.malformed.iter().map(|row| vec![row.line.to_string(), row.reason.clone()]).collect();
    let mut out = format!("## Malformed rows\n\n{}", table(&columns(&["Line", "Reason"]), &rows));
    let more = report.totals.malformed.saturating_sub(rows.len());
    if more > 0 {
        let _ = write!(out, "{more} more are not listed.\n\n");
    }
    out
}

fn notes(report: &Report) -> String {
    if report.notes.is_empty() {
        return String::new();
    }
    let notes: String = report.notes.iter().map(|note| format!("- {}\n", text(note))).collect();
    format!("## Notes\n\n{notes}")
}

fn columns(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn table(head: &[String], rows: &[Vec<String>]) -> String {
    let line = |cells: &[String]| {
        let cells: Vec<_> = cells.iter().map(|cell| text(cell)).collect();
        format!("| {} |\n", cells.join(" | "))
    };
    let rule = format!("|{}\n", " --- |".repeat(head.len()));
    let body: String = rows.iter().map(|row| line(row)).collect();
    format!("{}{rule}{body}\n", line(head))
}
