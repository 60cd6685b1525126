//! The four agents, and what they hand to each other.

pub(crate) mod data;
pub(crate) mod optimization;
pub(crate) mod pipeline;
pub(crate) mod triage;
pub(crate) mod writer;

use insula_agent::{Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{Price, report::Totals, tools::ReportFile};
pub use data::{DataInput, Loaded, PriceSource};
pub use optimization::OptimizationInput;
pub use triage::{Analysis, LeftOut, Triage};
pub use writer::WriterInput;

/// What a run is given: the text of a file, alone or with more to say about it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Input {
    /// The text of the file.
    Text(String),
    /// The text of the file, and more.
    File(InputFile),
}

/// The text of a file, and what to call the report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InputFile {
    /// CSV with a header, or JSON lines.
    pub text: String,
    /// What to call the report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Prices of models, beside the built-in ones or instead of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prices: Vec<Price>,
}

impl From<Input> for InputFile {
    fn from(input: Input) -> Self {
        match input {
            Input::Text(text) => Self { text, title: None, prices: Vec::new() },
            Input::File(file) => file,
        }
    }
}

/// What a run of `spend-report` comes to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Outcome {
    /// What the report is called.
    pub title: String,
    /// The headline figures.
    pub totals: Totals,
    /// The findings, dearest first.
    pub findings: Vec<Headline>,
    /// What the next seven days cost, in USD, if nothing changes.
    pub next_week: Option<f64>,
    /// The files, named from the folder of all reports.
    pub files: Vec<ReportFile>,
}

/// A finding in short.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Headline {
    /// The tool that found it.
    pub found_by: String,
    /// In a few words.
    pub title: String,
    /// The money in question, in USD.
    pub amount: f64,
    /// What that money is: `saving`, `once` or `none`.
    pub stake: crate::report::Stake,
}

/// Reads what an agent was given.
fn read<T: DeserializeOwned>(what: &str, value: Value) -> Result<T> {
    serde_json::from_value(value).map_err(|e| Error::Shape { what: what.to_owned(), problem: e.to_string() })
}

/// What an agent gives back.
fn give<T: Serialize>(what: &str, value: &T) -> Result<Value> {
    serde_json::to_value(value).map_err(|e| Error::Shape { what: what.to_owned(), problem: e.to_string() })
}
