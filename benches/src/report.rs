//! Figures with their targets, as a table or as JSON.

use serde::Serialize;

/// One figure.
#[derive(Serialize)]
struct Figure {
    name: String,
    value: f64,
    unit: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reached: Option<bool>,
}

/// What a figure should be.
#[derive(Clone, Copy)]
pub(crate) enum Target {
    None,
    AtMost(f64),
    AtLeast(f64),
}

/// Collects figures and prints each as soon as it is known.
pub(crate) struct Report {
    json: bool,
    figures: Vec<Figure>,
}

impl Report {
    pub(crate) fn new(json: bool) -> Self {
        Self { json, figures: Vec::new() }
    }

    pub(crate) fn section(&self, title: &str) {
        if !self.json {
            println!("\n{title}");
        }
    }

    pub(crate) fn figure(&mut self, name: impl Into<String>, value: f64, unit: &'static str, target: Target) {
        let (target, reached) = match target {
            Target::None => (None, None),
            Target::AtMost(most) => (Some(format!("≤ {}", short(most))), Some(value <= most)),
            Target::AtLeast(least) => (Some(format!("≥ {}", short(least))), Some(value >= least)),
        };
        let figure = Figure { name: name.into(), value, unit, target, reached };
        if !self.json {
            let mark = figure.reached.map_or("", |reached| if reached { "reached" } else { "MISSED" });
            let target = figure.target.as_deref().unwrap_or("");
            println!("  {:<52} {:>14} {:<10} {target:<12} {mark}", figure.name, short(value), unit);
        }
        self.figures.push(figure);
    }

    pub(crate) fn finish(&self) {
        if self.json {
            println!("{}", serde_json::json!({ "figures": self.figures }));
        }
    }
}

/// Three significant digits, with thousands set apart.
fn short(value: f64) -> String {
    if value.abs() < 100.0 {
        return format!("{value:.3}").trim_end_matches('0').trim_end_matches('.').to_owned();
    }
    let digits = format!("{:.0}", value.abs());
    let mut out = if value < 0.0 { "-".to_owned() } else { String::new() };
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
