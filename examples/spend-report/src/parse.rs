//! From the text of a file to records: the format is recognised, and a row that cannot be read is told, never dropped.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::record::{self, COLUMNS, Malformed, REQUIRED, Record, quoted};

/// How the records are written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// Values separated by comma, semicolon or tab, with a header.
    #[default]
    Csv,
    /// One JSON object a line.
    Jsonl,
}

/// What a file holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Parsed {
    /// How it is written.
    pub format: Format,
    /// The good rows, in the order of the file.
    pub records: Vec<Record>,
    /// The others.
    pub malformed: Vec<Malformed>,
    /// Columns that mean nothing here, sorted.
    pub ignored_columns: Vec<String>,
}

/// Reads a file.
///
/// ```
/// let text = "time,team,model,input_tokens,output_tokens,cost\n\
///             2026-01-05T10:00:00Z,search,basalt-mini,900,40,0.0002\n\
///             yesterday,search,basalt-mini,900,40,0.0002\n";
/// let parsed = spend_report::parse(text)?;
/// assert_eq!(parsed.records.len(), 1);
/// assert_eq!(parsed.malformed[0].line, 3);
/// # Ok::<(), String>(())
/// ```
///
/// # Errors
/// In words for the user, when the text is no such file at all: it is empty, it is neither of the formats, or its header
/// lacks a required column.
pub fn parse(text: &str) -> Result<Parsed, String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
    let Some((_, first)) = lines.clone().next() else { return Err("The file is empty.".to_owned()) };
    if first.trim_start().starts_with('{') {
        return Ok(json_lines(lines));
    }
    lines.next();
    let header = Header::read(first)?;
    Ok(csv_rows(&header, lines))
}

struct Header {
    delimiter: u8,
    names: Vec<String>,
}

impl Header {
    fn read(line: &str) -> Result<Self, String> {
        let count = |delimiter: &u8| line.bytes().filter(|byte| byte == delimiter).count();
        let delimiter = [b'\t', b';', b','].into_iter().max_by_key(count).unwrap_or(b',');
        let names: Vec<_> = fields(line, delimiter).iter().map(|name| name.trim().to_ascii_lowercase()).collect();
        let missing: Vec<_> = REQUIRED.into_iter().filter(|column| !names.iter().any(|name| name == column)).collect();
        if missing.len() == REQUIRED.len() {
            return Err(format!(
                "This is neither CSV with a header nor JSON lines: the first line is {}, expected is {}.",
                quoted(line),
                COLUMNS.join(",")
            ));
        }
        if !missing.is_empty() {
            return Err(format!("The header lacks the required columns: {}.", missing.join(", ")));
        }
        let known = |name: &String| COLUMNS.contains(&name.as_str());
        if let Some(twice) = names.iter().enumerate().find(|(n, name)| known(name) && names[..*n].contains(name)) {
            return Err(format!("The header names the column {} twice.", twice.1));
        }
        Ok(Self { delimiter, names })
    }

    fn ignored(&self) -> Vec<String> {
        unknown(self.names.iter().map(String::as_str))
    }
}

fn unknown<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut unknown: Vec<_> = names.filter(|name| !COLUMNS.contains(name)).map(str::to_owned).collect();
    unknown.sort();
    unknown.dedup();
    unknown
}

/// The fields of one line. Each line is read on its own, so that a quote that is never closed costs its own row and not
/// all the rows behind it.
fn fields(line: &str, delimiter: u8) -> csv::StringRecord {
    let mut record = csv::StringRecord::new();
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .delimiter(delimiter)
        .buffer_capacity(line.len().max(1))
        .from_reader(line.as_bytes());
    // Reading valid UTF-8 from memory, with any number of fields allowed, has no way to fail.
    let _ = reader.read_record(&mut record);
    record
}

fn csv_rows<'a>(header: &Header, lines: impl Iterator<Item = (usize, &'a str)>) -> Parsed {
    let rows = lines.map(|(line, text)| (line, csv_row(header, line, text)));
    collect(Format::Csv, rows, header.ignored())
}

fn csv_row(header: &Header, line: usize, text: &str) -> Result<Record, String> {
    let fields = fields(text, header.delimiter);
    if fields.len() != header.names.len() {
        return Err(format!("{} fields where the header has {}", fields.len(), header.names.len()));
    }
    let columns: BTreeMap<_, _> = header.names.iter().map(String::as_str).zip(fields.iter()).collect();
    record::read(line, |column| columns.get(column).copied().unwrap_or_default())
}

fn json_lines<'a>(lines: impl Iterator<Item = (usize, &'a str)>) -> Parsed {
    let mut seen = BTreeMap::new();
    let mut rows = Vec::new();
    for (line, text) in lines {
        rows.push((line, json_row(line, text, &mut seen)));
    }
    collect(Format::Jsonl, rows.into_iter(), unknown(seen.keys().map(String::as_str)))
}

fn json_row(line: usize, text: &str, seen: &mut BTreeMap<String, ()>) -> Result<Record, String> {
    let value = serde_json::from_str(text).map_err(|error| format!("not JSON (column {})", error.column()))?;
    let Value::Object(object) = value else { return Err("not a JSON object".to_owned()) };
    let mut columns = BTreeMap::new();
    for (name, value) in object {
        columns.insert(name.clone(), plain(&name, value)?);
        seen.insert(name, ());
    }
    if let Some(missing) = REQUIRED.iter().find(|column| !columns.contains_key(**column)) {
        return Err(format!("{missing} is missing"));
    }
    record::read(line, |column| columns.get(column).map_or("", String::as_str))
}

fn plain(name: &str, value: Value) -> Result<String, String> {
    match value {
        Value::Null => Ok(String::new()),
        Value::String(text) => Ok(text),
        Value::Number(number) => Ok(number.to_string()),
        // A column that means nothing here may hold whatever it likes.
        _ if !COLUMNS.contains(&name) => Ok(String::new()),
        _ => Err(format!("{name} is neither text nor a number")),
    }
}

type Row = (usize, Result<Record, String>);

fn collect(format: Format, rows: impl Iterator<Item = Row>, ignored_columns: Vec<String>) -> Parsed {
    let mut parsed = Parsed { format, records: Vec::new(), malformed: Vec::new(), ignored_columns };
    for (line, row) in rows {
        match row {
            Ok(record) => parsed.records.push(record),
            Err(reason) => parsed.malformed.push(Malformed { line, reason }),
        }
    }
    parsed
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "time,team,model,input_tokens,output_tokens,cached_tokens,cost,latency_ms,prompt_hash\n";
    const GOOD: &str = "2026-01-05T10:00:00Z,search,basalt-mini,900,40,100,0.0002,800,ab12\n";

    fn malformed(text: &str) -> Vec<(usize, String)> {
        parse(text).expect("a file").malformed.into_iter().map(|row| (row.line, row.reason)).collect()
    }

    #[test]
    fn malformed_rows_are_told_with_their_lines_and_cost_nobody_else() {
        let text =
            format!("{HEADER}{GOOD}\n2026-01-05T10:00:00Z,search\n\"open,quote,x\n{GOOD}a,b,c,d,e,f,g,h,i\n{GOOD}");
        let told = malformed(&text);
        assert_eq!(told[0], (4, "2 fields where the header has 9".to_owned()));
        assert_eq!(told[1], (5, "1 fields where the header has 9".to_owned()));
        assert_eq!(told[2], (7, "time \"a\" is not an RFC 3339 time".to_owned()));
        assert_eq!(parse(&text).expect("a file").records.len(), 3);
    }

    #[test]
    fn columns_may_come_in_any_order_with_other_separators_and_with_strangers() {
        let text = "\u{feff}cost;Team;region;model;time;output_tokens;input_tokens\r\n\
                    0.5;\"a;b\";eu;m;2026-01-05T10:00:00Z;1;2\r\n";
        let parsed = parse(text).expect("a file");
        assert_eq!(parsed.records[0].team, "a;b");
        assert_eq!((parsed.records[0].input_tokens, parsed.records[0].latency_ms), (2, None));
        assert_eq!(parsed.ignored_columns, ["region"]);
    }

    #[test]
    fn json_lines_are_recognised_and_judged_alike() {
        let good = r#"{"time":"2026-01-05T10:00:00Z","team":"t","model":"m","input_tokens":2,"output_tokens":1,"cost":0.5,"tags":["x"]}"#;
        let text =
            format!("{good}\n{{\"time\":\n[1]\n{}\n{}\n", good.replace("\"t\"", "{}"), good.replace("cost", "price"));
        let parsed = parse(&text).expect("a file");
        assert_eq!((parsed.format, parsed.records.len()), (Format::Jsonl, 1));
        assert_eq!(parsed.ignored_columns, ["price", "tags"]);
        let told = malformed(&text);
        assert!(told[0].1.starts_with("not JSON"), "{told:?}");
        assert_eq!(told[1], (3, "not a JSON object".to_owned()));
        assert_eq!(told[2], (4, "team is neither text nor a number".to_owned()));
        assert_eq!(told[3], (5, "cost is missing".to_owned()));
    }

    #[test]
    fn what_is_no_such_file_is_refused_in_words() {
        assert_eq!(parse(" \n\n"), Err("The file is empty.".to_owned()));
        assert!(parse("%PDF-1.7\u{0}").expect_err("no such file").starts_with("This is neither CSV"));
        let lacking = parse("time,team,model,cost\n").expect_err("columns are missing");
        assert_eq!(lacking, "The header lacks the required columns: input_tokens, output_tokens.");
        let twice = parse(&HEADER.replace("latency_ms", "team")).expect_err("ambiguous");
        assert_eq!(twice, "The header names the column team twice.");
    }
}
