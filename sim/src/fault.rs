//! What can befall a call or a node.

use std::{collections::BTreeSet, fmt, str::FromStr};

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// A call fails before anything is written.
    FailsBefore,
    /// A call fails after it was written.
    AnswerLost,
    /// Nobody is told of an event.
    SignalLost,
    /// A node is gone, with everything that it knew.
    Crash,
    /// The store refuses a node's calls for a time.
    Refused,
    /// A node stands still, perhaps for longer than its lease.
    Hung,
    /// A node's calls take long.
    Slow,
    /// A node is shut down in good order.
    Drain,
}

impl Fault {
    /// Every kind.
    pub const ALL: [Self; 8] = [
        Self::FailsBefore,
        Self::AnswerLost,
        Self::SignalLost,
        Self::Crash,
        Self::Refused,
        Self::Hung,
        Self::Slow,
        Self::Drain,
    ];

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::FailsBefore => "fails-before",
            Self::AnswerLost => "answer-lost",
            Self::SignalLost => "signal-lost",
            Self::Crash => "crash",
            Self::Refused => "refused",
            Self::Hung => "hung",
            Self::Slow => "slow",
            Self::Drain => "drain",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let names = || Self::ALL.map(Self::as_str).join(", ");
        Self::ALL.into_iter().find(|fault| fault.as_str() == word).ok_or_else(|| format!("there are: {}", names()))
    }
}

/// Faults that are left out, to find out which ones a failure needs. They are drawn all the same, so that a seed stays
/// the same seed.
#[derive(Debug, Clone, Default)]
pub struct Without(BTreeSet<Fault>);

impl Without {
    /// Without these.
    pub fn these(faults: impl IntoIterator<Item = Fault>) -> Self {
        Self(faults.into_iter().collect())
    }

    /// Whether this one happens.
    pub fn allows(&self, fault: Fault) -> bool {
        !self.0.contains(&fault)
    }
}
