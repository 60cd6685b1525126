//! What is wrong with a set of classes, all of it at once.

use std::fmt;

/// The registry refused something.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The classes do not fit together. Every fault is listed.
    #[error("the registry cannot be frozen: {}", List(.0))]
    Freeze(Vec<Fault>),
    /// No class has this name.
    #[error("there is no agent class \"{name}\"; there are: {}", available.join(", "))]
    UnknownClass {
        /// The name that was asked for.
        name: String,
        /// Those that exist, sorted.
        available: Vec<String>,
    },
    /// An input does not have the shape that the class declares.
    #[error("the input of \"{class}\" is refused: {}", violations.join("; "))]
    Input {
        /// The class.
        class: String,
        /// Each violation with the place in the input.
        violations: Vec<String>,
    },
}

/// One thing that is wrong with a set of classes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// A class without a name.
    #[error("class number {position} has a blank name")]
    BlankName {
        /// Its place in the order of registration, from 1.
        position: usize,
    },
    /// Two classes with one name.
    #[error("\"{name}\" is registered {times} times")]
    Duplicate {
        /// The name.
        name: String,
        /// How often.
        times: usize,
    },
    /// A class depends on one that is not there.
    #[error("\"{class}\" depends on \"{missing}\", which is not registered")]
    Gap {
        /// The class that depends.
        class: String,
        /// What it depends on.
        missing: String,
    },
    /// Classes depend on each other in a circle.
    #[error("a dependency cycle: {}", .0.join(" → "))]
    Cycle(Vec<String>),
    /// A schema is not a JSON Schema.
    #[error("the {which} schema of \"{class}\" is not a JSON Schema: {problem}")]
    Schema {
        /// The class.
        class: String,
        /// `input`, `output` or `config`.
        which: &'static str,
        /// What is wrong with it.
        problem: String,
    },
}

struct List<'a>(&'a [Fault]);

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, fault) in self.0.iter().enumerate() {
            write!(f, "{}{fault}", if n == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}
