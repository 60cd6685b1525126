//! The report: what is in it, and how it is written down.

mod charts;
mod escape;
mod findings;
mod html;
mod markdown;
mod words;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Malformed,
    tools::{Day, Latency, Share},
};
pub(crate) use findings::{Results, findings};
pub use html::html;
pub use markdown::markdown;

/// Everything that a report says. [`markdown()`] and [`html()`] render it; neither adds anything.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    /// What it is called.
    pub title: String,
    /// The first and the last day.
    pub period: (String, String),
    /// The headline figures.
    pub totals: Totals,
    /// What was found, dearest first.
    pub findings: Vec<Finding>,
    /// Spend per day.
    pub days: Vec<Day>,
    /// What the next seven days cost, in USD, if that could be told.
    pub next_week: Option<f64>,
    /// Spend per team.
    pub teams: Vec<Share>,
    /// Spend per model.
    pub models: Vec<Share>,
    /// How long answers take, if the records say.
    pub latency: Option<Latency>,
    /// Rows that could not be read: the first ones.
    pub malformed: Vec<Malformed>,
    /// What else a reader should know: analyses left out, and why; prices that are not known.
    pub notes: Vec<String>,
}

/// The headline figures.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Totals {
    /// In USD.
    pub cost: f64,
    /// How many records were read.
    pub records: i64,
    /// How many rows could not be read.
    pub malformed: usize,
    /// What could be saved, in USD, with each call counted once.
    pub potential_saving: f64,
    /// How many teams there are.
    pub teams: i64,
    /// How many models there are.
    pub models: i64,
}

/// Something that was found, and what to do about it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// The tool that found it.
    pub found_by: String,
    /// In a few words.
    pub title: String,
    /// The money in question, in USD; 0 when it is not about money.
    pub amount: f64,
    /// What that money is.
    pub stake: Stake,
    /// What was found, in a sentence or two.
    pub what: String,
    /// What to do.
    pub action: String,
    /// Where.
    pub columns: Vec<String>,
    /// One row for each place.
    pub rows: Vec<Vec<String>>,
}

/// What the money of a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Stake {
    /// It could be saved, and again in the next period.
    Saving,
    /// It was spent once.
    Once,
    /// It is not about money.
    None,
}

impl Stake {
    /// The words behind an amount.
    fn words(self) -> &'static str {
        match self {
            Self::Saving => "could be saved",
            Self::Once => "beyond a usual day",
            Self::None => "",
        }
    }
}
