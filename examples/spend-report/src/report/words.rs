//! Numbers as people read them.

/// An amount in USD: cents from a dime on, more digits below it.
pub(crate) fn usd(amount: f64) -> String {
    if amount != 0.0 && amount.abs() < 0.1 { format!("${amount:.4}") } else { format!("${}", grouped(amount, 2)) }
}

/// A count with its thousands apart.
pub(crate) fn count(number: i64) -> String {
    grouped(number as f64, 0)
}

/// A time in the unit that fits.
pub(crate) fn duration(ms: i64) -> String {
    match ms {
        ..1_000 => format!("{ms} ms"),
        1_000..60_000 => format!("{:.1} s", ms as f64 / 1e3),
        _ => format!("{:.1} min", ms as f64 / 6e4),
    }
}

/// A part in percent.
pub(crate) fn percent(part: f64, whole: f64) -> String {
    match 100.0 * part / whole {
        percent if percent > 0.0 && percent < 0.5 => "<1%".to_owned(),
        percent if percent.is_finite() => format!("{percent:.0}%"),
        _ => "–".to_owned(),
    }
}

/// "1 call", "2 calls".
pub(crate) fn calls(number: i64) -> String {
    if number == 1 { "1 call".to_owned() } else { format!("{} calls", count(number)) }
}

/// A name short enough for a chart.
pub(crate) fn shortened(name: &str, longest: usize) -> String {
    if name.chars().count() <= longest {
        return name.to_owned();
    }
    name.chars().take(longest.saturating_sub(1)).chain(['…']).collect()
}

fn grouped(number: f64, digits: usize) -> String {
    let text = format!("{number:.digits$}");
    let (whole, fraction) = text.split_once('.').map_or((text.as_str(), ""), |(whole, fraction)| (whole, fraction));
    let (sign, whole) = whole.strip_prefix('-').map_or(("", whole), |whole| ("-", whole));
    let mut out = sign.to_owned();
    for (n, digit) in whole.chars().enumerate() {
        if n > 0 && (whole.len() - n).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    if fraction.is_empty() { out } else { format!("{out}.{fraction}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(
            (usd(1_234_567.891), usd(0.012), usd(0.0)),
            ("$1,234,567.89".into(), "$0.0120".into(), "$0.00".into())
        );
        assert_eq!((count(999), count(1_000), count(-12_345)), ("999".into(), "1,000".into(), "-12,345".into()));
        assert_eq!(
            (duration(90), duration(1_250), duration(90_000)),
            ("90 ms".into(), "1.2 s".into(), "1.5 min".into())
        );
        assert_eq!(
            (percent(1.0, 1_000.0), percent(1.0, 3.0), percent(0.0, 0.0)),
            ("<1%".into(), "33%".into(), "–".into())
        );
        assert_eq!(shortened("marketing", 5), "mark…");
    }
}
