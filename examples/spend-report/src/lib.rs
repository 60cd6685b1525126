//! The example that does real work: four agents read a file of model usage, find where the money goes, and write a
//! report as Markdown and HTML.
//!
//! | Agent | Does |
//! |---|---|
//! | `spend-triage` | recognises CSV or JSON lines, lists every row that cannot be read, decides which analyses make sense |
//! | `spend-data` | loads the records into the user's own database, in one transaction; keeps prices in the user's cache |
//! | `spend-optimization` | calls one tool for each analysis, side by side |
//! | `spend-report-writer` | makes findings of the results, dearest first, and has `write_report` write them |
//! | `spend-report` | all four in a row |
//!
//! ```
//! use insula_registry::AgentClassRegistry;
//!
//! let registry = spend_report::classes().into_iter().fold(AgentClassRegistry::builder(), |r, class| r.register(class));
//! let registry = registry.freeze()?;
//! let file = spend_report::generate(7, 3_000, &spend_report::Shape::default());
//! registry.check_input("spend-report", &file.into())?;
//!
//! let tools = spend_report::tools("reports".into());
//! assert!(tools.iter().any(|tool| tool.spec().name == "duplicate_prompts"));
//! # Ok::<(), insula_registry::Error>(())
//! ```
//!
//! In reading order: [`parse()`] and [`Record`] (the file), [`generate()`] (files to try it on), [`price`], [`agents`],
//! [`tools`](mod@tools) (the analyses) and [`report`].

pub mod agents;
mod classes;
mod generate;
mod parse;
pub mod price;
mod record;
pub mod report;
mod tables;
pub mod tools;

pub use classes::classes;
pub use generate::{Shape, generate};
pub use parse::{Format, Parsed, parse};
pub use price::Price;
pub use record::{COLUMNS, Malformed, Record};
pub use tools::tools;
