//! Whether everything holds, and the summary.

use std::path::Path;

use insula_infra::RunStatus;
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    super::Desk,
    cast::User,
    evidence::{Evidence, Person},
};
use crate::{exit::Stop, table::Columns, words};

/// One thing that was counted and must be a certain number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Count {
    name: &'static str,
    found: usize,
    expected: usize,
}

/// Everything that was counted.
pub(super) struct Verdict {
    counts: Vec<Count>,
}

impl Verdict {
    pub(super) fn holds(&self) -> bool {
        self.counts.iter().all(|count| count.found == count.expected)
    }

    /// What does not hold, in one sentence.
    pub(super) fn complaint(&self) -> String {
        let wrong = self.counts.iter().filter(|count| count.found != count.expected);
        let wrong = wrong.map(|count| format!("{}: {} instead of {}", count.name, count.found, count.expected));
        format!("not everything holds: {}", wrong.collect::<Vec<_>>().join(", "))
    }
}

/// Holds what was found against what must be.
pub(super) fn of(evidence: &Evidence, cast: &[User]) -> Verdict {
    let people = &evidence.people;
    let ok = people.iter().filter(|person| person.status == Some(RunStatus::Completed)).count();
    let reports = people.iter().map(|person| person.reports.len()).sum();
    let right =
        cast.iter().zip(people).filter(|(user, person)| malformed(person) == Some(user.malformed as usize)).count();
    let count = |name, found, expected| Count { name, found, expected };
    let counts = vec![
        count("runs ok", ok, cast.len()),
        count("reports written", reports, 2 * cast.len()),
        count("users whose malformed rows were all found", right, cast.len()),
        count("live engines", evidence.metrics.engines_live, 0),
        count("live instances", evidence.metrics.instances_live, 0),
        count("isolation violations", evidence.violations, 0),
        count("open database sessions", evidence.open_sessions, 0),
        count("foreign events", evidence.foreign, 0),
        count("lost or repeated events", evidence.lost, 0),
    ];
    Verdict { counts }
}

fn malformed(person: &Person) -> Option<usize> {
    person.outcome.as_ref().map(|outcome| outcome.totals.malformed)
}

/// Prints the summary.
pub(super) fn print(desk: &Desk<'_>, evidence: &Evidence, verdict: &Verdict, kept: Option<&Path>) -> Result<(), Stop> {
    if desk.output.json {
        return desk.output.json(&as_json(evidence, verdict, kept));
    }
    let output = desk.output;
    if output.results_on_terminal {
        output.line("")?;
    }
    table(desk, evidence)?;
    output.line("")?;
    events(desk, evidence)?;
    output.line("")?;
    for count in &verdict.counts {
        line(desk, count)?;
    }
    kept.map_or(Ok(()), |folder| places(desk, evidence, folder))
}

fn table(desk: &Desk<'_>, evidence: &Evidence) -> Result<(), Stop> {
    let headings = ["user", "run", "took>", "events>", "tools>", "rows>", "malformed>", "spent>", "savings>"];
    let mut columns = Columns::new(desk.output, &headings);
    for (name, person) in names(evidence) {
        columns.row(row(name, person));
    }
    columns.lines().into_iter().try_for_each(|line| desk.output.line(line))?;
    for (name, person) in names(evidence) {
        if let Some(message) = &person.message {
            desk.output.line(format!("{name}: {}", words::plain(message)))?;
        }
    }
    Ok(())
}

fn events(desk: &Desk<'_>, evidence: &Evidence) -> Result<(), Stop> {
    let mut columns = Columns::new(desk.output, &["events of all users", "count>"]);
    for (kind, count) in &evidence.events {
        columns.row([(*kind).to_owned(), count.to_string()]);
    }
    columns.lines().into_iter().try_for_each(|line| desk.output.line(line))
}

fn names(evidence: &Evidence) -> impl Iterator<Item = (&'static str, &Person)> {
    evidence.people.iter().map(|person| (person.name, person))
}

fn row(name: &str, person: &Person) -> [String; 9] {
    let totals = person.outcome.as_ref().map(|outcome| &outcome.totals);
    let shown = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
    [
        name.to_owned(),
        shown(person.status.map(|status| status.as_str().to_owned())),
        shown(person.took.map(words::duration)),
        person.events.to_string(),
        person.tools.to_string(),
        shown(totals.map(|totals| totals.records.to_string())),
        shown(totals.map(|totals| totals.malformed.to_string())),
        shown(totals.map(|totals| format!("${:.2}", totals.cost))),
        shown(totals.map(|totals| format!("${:.2}", totals.potential_saving))),
    ]
}

fn line(desk: &Desk<'_>, count: &Count) -> Result<(), Stop> {
    let paint = desk.output.results;
    let sign = if count.found == count.expected { paint.green("✓") } else { paint.red("✗") };
    let found = match count.expected {
        0 => count.found.to_string(),
        expected => format!("{}/{expected}", count.found),
    };
    desk.output.line(format!("{sign} {} {found}", count.name))
}

fn places(desk: &Desk<'_>, evidence: &Evidence, folder: &Path) -> Result<(), Stop> {
    desk.output.line(format!("\nkept in {}", folder.display()))?;
    let reports = evidence.people.iter().flat_map(|person| &person.reports);
    reports
        .filter(|path| path.extension().is_some_and(|kind| kind == "html"))
        .try_for_each(|path| desk.output.line(format!("  {}", path.display())))
}

fn as_json(evidence: &Evidence, verdict: &Verdict, kept: Option<&Path>) -> Value {
    let person = |(name, person): (&'static str, &Person)| {
        json!({
            "user": name,
            "status": person.status,
            "duration_ms": person.took.map(|took| took.as_secs_f64() * 1e3),
            "events": person.events,
            "tools": person.tools,
            "message": person.message,
            "totals": person.outcome.as_ref().map(|outcome| &outcome.totals),
            // Without --keep they are gone when this is read.
            "reports": kept.map(|_| &person.reports),
        })
    };
    json!({
        "ok": verdict.holds(),
        "users": names(evidence).map(person).collect::<Vec<_>>(),
        "events": evidence.events,
        "checks": verdict.counts,
        "metrics": evidence.metrics,
        "kept": kept,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_wrong_count_is_enough_and_is_named() {
        let count = |name, found| Count { name, found, expected: 0 };
        let mut verdict = Verdict { counts: vec![count("live engines", 0), count("foreign events", 0)] };
        assert!(verdict.holds());
        verdict.counts[1].found = 2;
        assert!(!verdict.holds());
        assert_eq!(verdict.complaint(), "not everything holds: foreign events: 2 instead of 0");
    }
}
