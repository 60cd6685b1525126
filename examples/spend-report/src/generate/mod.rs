//! Files to try it on: realistic, different for each seed, and the same from the same seed.

mod calls;
mod habits;
mod rng;
mod spoil;

use time::format_description::well_known::Rfc3339;

use crate::{COLUMNS, Format, Record};
use calls::Calls;
use rng::Rng;
use spoil::Fault;

/// What a generated file looks like.
///
/// ```
/// use spend_report::{Shape, generate};
///
/// let file = generate(7, 200, &Shape { malformed: 3, ..Shape::default() });
/// let parsed = spend_report::parse(&file)?;
/// assert_eq!((parsed.records.len(), parsed.malformed.len()), (197, 3));
/// # Ok::<(), String>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    /// The teams. Habits are dealt to them in turn.
    pub teams: Vec<String>,
    /// How many of the rows cannot be read.
    pub malformed: usize,
    /// How many days the calls are spread over, from 1.
    pub days: u16,
    /// How the records are written down.
    pub format: Format,
}

impl Default for Shape {
    fn default() -> Self {
        let teams = ["support", "search", "research", "platform", "marketing", "nightly-batch"];
        Self { teams: teams.map(str::to_owned).into(), malformed: 0, days: 30, format: Format::Csv }
    }
}

/// A file of so many rows, malformed ones included. Without teams, those of [`Shape::default`] are taken.
pub fn generate(seed: u64, rows: usize, shape: &Shape) -> String {
    let mut shape = shape.clone();
    shape.days = shape.days.max(1);
    if shape.teams.is_empty() {
        shape.teams = Shape::default().teams;
    }
    let records = Calls::new(seed, &shape).draw(rows);
    let faults = spoil::places(&mut Rng::of(seed, u64::MAX, 0), rows, shape.malformed);
    let header = if shape.format == Format::Csv { csv_line(&COLUMNS.map(str::to_owned)) } else { String::new() };
    let lines = records.iter().enumerate().map(|(n, record)| line(shape.format, record, faults.get(&n).copied()));
    header + &lines.collect::<String>()
}

fn line(format: Format, record: &Record, fault: Option<Fault>) -> String {
    let mut fields = fields(record);
    if let Some(fault) = fault {
        fault.spoil(&mut fields);
    }
    let mut line = match format {
        Format::Csv => csv_line(&fields),
        Format::Jsonl => json_line(&fields),
    };
    if fault == Some(Fault::CutOff) {
        line.truncate(line.len() / 2);
        line.push('\n');
    }
    line
}

fn fields(record: &Record) -> [String; 9] {
    [
        record.at.format(&Rfc3339).unwrap_or_default(),
        record.team.clone(),
        record.model.clone(),
        record.input_tokens.to_string(),
        record.output_tokens.to_string(),
        record.cached_tokens.to_string(),
        format!("{:.6}", record.cost),
        record.latency_ms.map(|ms| ms.to_string()).unwrap_or_default(),
        record.prompt_hash.clone().unwrap_or_default(),
    ]
}

fn csv_line(fields: &[String; 9]) -> String {
    let mut writer = csv::Writer::from_writer(Vec::new());
    // Writing to memory has no way to fail, and what comes out is text because text went in.
    let _ = writer.write_record(fields);
    writer.into_inner().ok().and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default()
}

fn json_line(fields: &[String; 9]) -> String {
    let value = |column: &str, text: &str| match column {
        "time" | "team" | "model" | "prompt_hash" => serde_json::Value::from(text),
        _ => serde_json::from_str(text).unwrap_or_else(|_| text.into()),
    };
    let pairs = COLUMNS
        .iter()
        .zip(fields)
        .map(|(column, text)| format!("{}:{}", serde_json::Value::from(*column), value(column, text)));
    format!("{{{}}}\n", pairs.collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::parse;

    fn shape(format: Format) -> Shape {
        Shape { malformed: 7, format, ..Shape::default() }
    }

    #[test]
    fn a_file_is_the_same_from_the_same_seed_and_another_from_another() {
        for format in [Format::Csv, Format::Jsonl] {
            let file = |seed| generate(seed, 500, &shape(format));
            assert_eq!(file(1), file(1));
            assert_ne!(file(1), file(2));
        }
    }

    #[test]
    fn both_formats_hold_the_same_records_and_as_many_malformed_rows_as_asked_for() {
        let read = |format| parse(&generate(3, 400, &shape(format))).expect("a file");
        let (csv, json) = (read(Format::Csv), read(Format::Jsonl));
        assert_eq!((csv.records.len(), csv.malformed.len()), (393, 7));
        assert_eq!((json.records.len(), json.malformed.len()), (393, 7));
        let costs = |records: &[Record]| records.iter().map(|r| (r.at, r.cost)).collect::<Vec<_>>();
        assert_eq!(costs(&csv.records), costs(&json.records));
    }

    #[test]
    fn days_have_a_rhythm_and_one_of_them_is_out_of_line() {
        let parsed = parse(&generate(11, 3_000, &Shape::default())).expect("a file");
        let (mut calls, mut cost) = (BTreeMap::new(), BTreeMap::new());
        for record in &parsed.records {
            *calls.entry(record.at.date()).or_insert(0) += 1;
            *cost.entry(record.at.date()).or_insert(0.0) += record.cost;
        }
        let mean = |weekend: bool| {
            let of = calls.iter().filter(|(day, _)| (day.weekday().number_from_monday() > 5) == weekend);
            let counts: Vec<i32> = of.map(|(_, calls)| *calls).collect();
            counts.iter().sum::<i32>() / i32::try_from(counts.len()).expect("few days")
        };
        assert!(mean(true) * 4 < mean(false) * 3, "{} at weekends, {} otherwise", mean(true), mean(false));
        let mut sorted: Vec<f64> = cost.into_values().collect();
        sorted.sort_by(f64::total_cmp);
        assert!(sorted[29] > 2.0 * sorted[28], "{sorted:?}");
    }

    #[test]
    fn teams_with_odd_names_come_back_as_they_were_given() {
        let teams = vec!["a,b".to_owned(), "\"c\"".to_owned(), "<d>".to_owned()];
        let parsed = parse(&generate(5, 100, &Shape { teams: teams.clone(), ..Shape::default() })).expect("a file");
        assert!(parsed.records.iter().all(|record| teams.contains(&record.team)));
        assert_eq!(parsed.malformed, []);
    }
}
