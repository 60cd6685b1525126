//! The report as one HTML file: nothing is fetched, nothing is run, and its own policy says so.

use sha2::{Digest, Sha256};

use super::{
    Finding, Report, Stake, charts,
    escape::html as text,
    words::{count, duration, percent, usd},
};
use crate::{Malformed, tools::Latency};

const STYLE: &str = include_str!("style.css");

/// Renders a report as HTML.
///
/// The page carries a content security policy that allows nothing but its own style sheet, by its hash: should an escape
/// ever be missing, what slips through can still not run or fetch anything.
pub fn html(report: &Report) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'sha256-{}'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"referrer\" content=\"no-referrer\">\n<title>{}</title>\n<style>{STYLE}</style>\n</head>\n\
         <body>\n<main>\n{}</main>\n</body>\n</html>\n",
        base64(&Sha256::digest(STYLE)),
        text(&report.title),
        body(report)
    )
}

fn body(report: &Report) -> String {
    let (from, to) = &report.period;
    let totals = &report.totals;
    let scale = format!("{} teams, {} models", count(totals.teams), count(totals.models));
    let mut out =
        format!("<h1>{}</h1>\n<p class=\"period\">{} to {} · {scale}</p>\n", text(&report.title), text(from), text(to));
    out += &figures(report);
    out += &days(report);
    out += "<h2>Findings</h2>\n";
    out += &report.findings.iter().map(finding).collect::<String>();
    if report.findings.is_empty() {
        out += "<p>Nothing stands out.</p>\n";
    }
    out += &chart(
        "Spend per team",
        "What each team spent, and its share of the total.",
        &charts::shares(&report.teams, totals.cost),
    );
    out += &chart(
        "Spend per model",
        "What was spent on each model, and its share of the total.",
        &charts::shares(&report.models, totals.cost),
    );
    out += &report.latency.as_ref().map(latency).unwrap_or_default();
    out += &malformed(&report.malformed, totals.malformed);
    out + &notes(&report.notes)
}

fn figures(report: &Report) -> String {
    let totals = &report.totals;
    let figure = |class: &str, name: &str, value: String, remark: String| {
        format!("<div class=\"{class}\"><dt>{name}</dt><dd>{value}<small>{remark}</small></dd></div>\n")
    };
    let forecast = report.next_week.map_or_else(String::new, |cost| format!("next 7 days: about {}", usd(cost)));
    let part = format!("{} of the total, each call counted once", percent(totals.potential_saving, totals.cost));
    let each = if totals.records > 0 { usd(totals.cost / totals.records as f64) } else { usd(0.0) };
    let (bad, listed) =
        if totals.malformed > 0 { ("bad", "left out; listed below") } else { ("", "every row was read") };
    [
        "<dl class=\"figures\">\n".to_owned(),
        figure("", "Total cost", usd(totals.cost), forecast),
        figure("", "Records", count(totals.records), format!("{each} each on average")),
        figure("saving", "Potential saving", usd(totals.potential_saving), part),
        figure(bad, "Malformed rows", totals.malformed.to_string(), listed.to_owned()),
        "</dl>\n".to_owned(),
    ]
    .concat()
}

fn finding(finding: &Finding) -> String {
    let class = match finding.stake {
        Stake::Saving => "saving",
        Stake::Once => "once",
        Stake::None => "plain",
    };
    let amount = match finding.stake {
        Stake::None => String::new(),
        stake => format!("<span class=\"amount\">{} <small>{}</small></span>", usd(finding.amount), stake.words()),
    };
    format!(
        "<article class=\"card {class}\"><header><h3>{}</h3>{amount}</header>\n<p>{}</p>\n\
         <p class=\"do\"><strong>What to do.</strong> {}</p>\n{}</article>\n",
        text(&finding.title),
        text(&finding.what),
        text(&finding.action),
        table(&finding.columns, &finding.rows)
    )
}

fn days(report: &Report) -> String {
    if report.days.is_empty() {
        return String::new();
    }
    let words = if report.days.iter().any(|day| day.anomaly) {
        "The line is what such a day usually costs; days out of line have another colour. Days are in UTC."
    } else {
        "The line is what such a day usually costs. Days are in UTC."
    };
    chart("Spend per day", words, &charts::days(&report.days))
}

fn chart(title: &str, caption: &str, svg: &str) -> String {
    let named = svg.replacen("<svg ", &format!("<svg role=\"img\" aria-label=\"{title}\" "), 1);
    format!(
        "<h2>{title}</h2>\n<figure class=\"card\"><div class=\"scroll\">{named}</div><figcaption>{caption}</figcaption></figure>\n"
    )
}

fn latency(latency: &Latency) -> String {
    let chart = chart("Latency", "How many calls took how long.", &charts::latency(&latency.buckets));
    let columns = ["Model", "Calls", "p50", "p95", "p99"].map(str::to_owned);
    let rows = latency.models.iter().map(|model| {
        let times = [model.p50, model.p95, model.p99].map(duration);
        [vec![model.model.clone(), count(model.calls)], times.into()].concat()
    });
    format!("{chart}<div class=\"card\">{}</div>\n", table(&columns, &rows.collect::<Vec<_>>()))
}

fn malformed(listed: &[Malformed], all: usize) -> String {
    if all == 0 {
        return String::new();
    }
    let rows: Vec<_> = listed.iter().map(|row| vec![row.line.to_string(), row.reason.clone()]).collect();
    let more = match all.saturating_sub(listed.len()) {
        0 => String::new(),
        more => format!("<p class=\"quiet\">{more} more are not listed.</p>"),
    };
    let columns = ["Line", "Reason"].map(str::to_owned);
    format!("<h2>Malformed rows</h2>\n<div class=\"card\">{}{more}</div>\n", table(&columns, &rows))
}

fn notes(notes: &[String]) -> String {
    if notes.is_empty() {
        return String::new();
    }
    let items: String = notes.iter().map(|note| format!("<li>{}</li>\n", text(note))).collect();
    format!("<h2>Notes</h2>\n<ul class=\"quiet\">\n{items}</ul>\n")
}

fn table(columns: &[String], rows: &[Vec<String>]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let numeric: Vec<bool> =
        (0..columns.len()).map(|n| rows.iter().all(|row| row.get(n).is_some_and(|cell| is_figure(cell)))).collect();
    let cells = |tag: &str, cells: &[String]| -> String {
        let class = |n: usize| if numeric.get(n) == Some(&true) { " class=\"n\"" } else { "" };
        cells.iter().enumerate().map(|(n, cell)| format!("<{tag}{}>{}</{tag}>", class(n), text(cell))).collect()
    };
    let body: String = rows.iter().map(|row| format!("<tr>{}</tr>\n", cells("td", row))).collect();
    let head = cells("th", columns);
    format!("<div class=\"scroll\"><table><thead><tr>{head}</tr></thead><tbody>\n{body}</tbody></table></div>\n")
}

/// Amounts, counts and times stand on the right, where they can be compared.
fn is_figure(cell: &str) -> bool {
    let number = cell.trim_start_matches('$').trim_end_matches(['%', '×']);
    let number = ["ms", "s", "min"].iter().find_map(|unit| number.strip_suffix(&format!(" {unit}"))).unwrap_or(number);
    !number.is_empty()
        && number.len() < 14
        && number.bytes().all(|byte| byte.is_ascii_digit() || b".,-".contains(&byte))
        && !is_date(number)
}

fn is_date(text: &str) -> bool {
    text.len() == 10 && text.bytes().filter(|byte| *byte == b'-').count() == 2
}

/// As a content security policy writes a hash.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let group = chunk.iter().fold(0_u32, |group, byte| group << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        let sextets = (0..4).map(|n| ALPHABET[(group >> (18 - 6 * n) & 63) as usize] as char);
        out.extend(sextets.take(chunk.len() + 1));
        out.extend(std::iter::repeat_n('=', 3 - chunk.len()));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_written_as_browsers_read_it() {
        assert_eq!((base64(b"Man"), base64(b"Ma"), base64(b"M")), ("TWFu".into(), "TWE=".into(), "TQ==".into()));
    }

    #[test]
    fn figures_are_told_from_names_and_dates() {
        assert!(["$1,234.50", "12%", "5.1×", "1.2 s", "90 ms", "7"].iter().all(|cell| is_figure(cell)));
        assert!(["2026-01-05", "a", "gpt-4", ""].iter().all(|cell| !is_figure(cell)));
    }
}
