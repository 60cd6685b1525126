//! One record of usage, and the rules that make it a good one.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use time::{OffsetDateTime, UtcOffset, format_description::well_known::Rfc3339};

/// The columns of a file, in the order in which the generator writes them.
pub const COLUMNS: [&str; 9] =
    ["time", "team", "model", "input_tokens", "output_tokens", "cached_tokens", "cost", "latency_ms", "prompt_hash"];

/// The columns that a file must have. Without one of the others, the analyses that need it are left out.
pub(crate) const REQUIRED: [&str; 6] = ["time", "team", "model", "input_tokens", "output_tokens", "cost"];

/// The longest team, model or prompt hash, in characters.
const MAX_NAME: usize = 120;
/// More tokens than any model takes in one call; sums of so many still fit.
const MAX_TOKENS: i64 = 1_000_000_000;
/// More than anybody pays for one call, in USD.
const MAX_COST: f64 = 1_000_000.0;

/// One call of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// The line of the file, from 1.
    pub line: usize,
    /// When, in UTC.
    pub at: OffsetDateTime,
    /// Who called.
    pub team: String,
    /// What was called.
    pub model: String,
    /// Tokens of the prompt, cached ones included.
    pub input_tokens: i64,
    /// Tokens of the answer.
    pub output_tokens: i64,
    /// Tokens of the prompt that the provider had cached.
    pub cached_tokens: i64,
    /// The price that was paid, in USD.
    pub cost: f64,
    /// How long the answer took; `None` when the file does not say.
    pub latency_ms: Option<i64>,
    /// The same prompt has the same hash; `None` when the file does not say.
    pub prompt_hash: Option<String>,
}

/// A row that could not be read, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Malformed {
    /// The line of the file, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub reason: String,
}

/// Reads one record from its fields. `field` gives the text of a column, empty when there is none.
///
/// # Errors
/// The first thing that is wrong, in words for the user.
pub(crate) fn read<'a>(line: usize, field: impl Fn(&str) -> &'a str) -> Result<Record, String> {
    let record = Record {
        line,
        at: instant(field("time"))?,
        team: name("team", field("team"))?,
        model: name("model", field("model"))?,
        input_tokens: whole("input_tokens", field("input_tokens"))?,
        output_tokens: whole("output_tokens", field("output_tokens"))?,
        cached_tokens: optional(field("cached_tokens"), |text| whole("cached_tokens", text))?.unwrap_or(0),
        cost: money("cost", field("cost"))?,
        latency_ms: optional(field("latency_ms"), |text| whole("latency_ms", text))?,
        prompt_hash: optional(field("prompt_hash"), |text| name("prompt_hash", text))?,
    };
    if record.cached_tokens > record.input_tokens {
        let (cached, input) = (record.cached_tokens, record.input_tokens);
        return Err(format!("cached_tokens ({cached}) is more than input_tokens ({input})"));
    }
    Ok(record)
}

fn optional<T>(text: &str, read: impl Fn(&str) -> Result<T, String>) -> Result<Option<T>, String> {
    if text.trim().is_empty() { Ok(None) } else { read(text).map(Some) }
}

fn instant(text: &str) -> Result<OffsetDateTime, String> {
    let parsed = OffsetDateTime::parse(text.trim(), &Rfc3339);
    let at = parsed.map_err(|_| format!("time {} is not an RFC 3339 time", quoted(text)))?;
    // The conversion of a time at the very edge of the calendar would leave it.
    if !(1970..=9998).contains(&at.year()) {
        return Err(format!("time {} is not between 1970 and 9998", quoted(text)));
    }
    Ok(at.to_offset(UtcOffset::UTC))
}

fn name(column: &str, text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.is_empty() {
        return Err(format!("{column} is empty"));
    }
    if text.chars().any(char::is_control) {
        return Err(format!("{column} has control characters"));
    }
    if text.chars().count() > MAX_NAME {
        return Err(format!("{column} is longer than {MAX_NAME} characters"));
    }
    Ok(text.to_owned())
}

fn whole(column: &str, text: &str) -> Result<i64, String> {
    match text.trim().parse::<i64>() {
        Ok(n) if (0..=MAX_TOKENS).contains(&n) => Ok(n),
        Ok(n) if n < 0 => Err(format!("{column} is negative ({n})")),
        Ok(n) => Err(format!("{column} is out of bounds ({n})")),
        Err(_) => Err(format!("{column} {} is not a whole number", quoted(text))),
    }
}

fn money(column: &str, text: &str) -> Result<f64, String> {
    match text.trim().parse::<f64>() {
        Ok(x) if x < 0.0 => Err(format!("{column} is negative ({x})")),
        Ok(x) if x <= MAX_COST => Ok(x),
        Ok(x) => Err(format!("{column} is out of bounds ({x})")),
        Err(_) => Err(format!("{column} {} is not a number", quoted(text))),
    }
}

/// Outside text within a message: short, and without what would break a line.
pub(crate) fn quoted(text: &str) -> String {
    const SHOWN: usize = 40;
    let shown: String = text.chars().filter(|c| !c.is_control()).take(SHOWN).collect();
    let more = if text.chars().count() > SHOWN { "…" } else { "" };
    format!("\"{shown}{more}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(column: &str, text: &str) -> Result<Record, String> {
        read(7, |asked| match asked {
            asked if asked == column => text,
            "time" => "2026-01-05T10:00:00+02:00",
            "team" | "model" | "prompt_hash" => "x",
            "cached_tokens" => "1",
            _ => "3",
        })
    }

    #[test]
    fn a_time_is_kept_in_utc() {
        let record = with("", "").expect("good");
        assert_eq!((record.line, record.at.hour()), (7, 8));
    }

    #[test]
    fn columns_that_may_be_absent_may_be_empty() {
        let record = with("prompt_hash", " ").expect("good");
        assert_eq!(record.prompt_hash, None);
        assert_eq!(with("cached_tokens", "").expect("good").cached_tokens, 0);
    }

    #[test]
    fn each_kind_of_bad_value_has_a_reason_in_words() {
        fn reason(column: &str, text: &str) -> String {
            with(column, text).expect_err("bad")
        }
        assert_eq!(reason("time", "yesterday"), "time \"yesterday\" is not an RFC 3339 time");
        assert_eq!(reason("time", "9999-12-31T23:59:59-12:00").split(" is ").nth(1), Some("not between 1970 and 9998"));
        assert_eq!(reason("team", "  "), "team is empty");
        assert_eq!(reason("model", "a\u{7}b"), "model has control characters");
        assert_eq!(reason("team", &"x".repeat(121)), "team is longer than 120 characters");
        assert_eq!(reason("input_tokens", "1.5"), "input_tokens \"1.5\" is not a whole number");
        assert_eq!(reason("output_tokens", "-4"), "output_tokens is negative (-4)");
        assert_eq!(reason("latency_ms", "99999999999"), "latency_ms is out of bounds (99999999999)");
        assert_eq!(reason("cost", "n/a"), "cost \"n/a\" is not a number");
        assert_eq!(reason("cost", "-1"), "cost is negative (-1)");
        assert_eq!(reason("cost", "NaN"), "cost is out of bounds (NaN)");
        assert_eq!(reason("cost", "inf"), "cost is out of bounds (inf)");
        assert_eq!(reason("cached_tokens", "4"), "cached_tokens (4) is more than input_tokens (3)");
    }
}
