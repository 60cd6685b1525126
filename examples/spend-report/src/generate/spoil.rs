//! Rows that cannot be read, as files of real life have them.

use std::collections::BTreeMap;

use super::rng::Rng;

/// What is wrong with a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    Time,
    CutOff,
    Negative,
    NoPrice,
    NoTeam,
    TooMuchCached,
    Abbreviated,
}

const FAULTS: [Fault; 7] = [
    Fault::CutOff,
    Fault::Time,
    Fault::NoPrice,
    Fault::Negative,
    Fault::NoTeam,
    Fault::TooMuchCached,
    Fault::Abbreviated,
];

/// Which rows are spoilt, and how: every kind in turn.
pub(super) fn places(rng: &mut Rng, rows: usize, malformed: usize) -> BTreeMap<usize, Fault> {
    let mut places = BTreeMap::new();
    while places.len() < malformed.min(rows) {
        let next = FAULTS[places.len() % FAULTS.len()];
        places.entry(rng.below(rows)).or_insert(next);
    }
    places
}

impl Fault {
    /// Spoils the fields. A line is cut off only once it is written.
    pub(super) fn spoil(self, fields: &mut [String; 9]) {
        let [time, team, _, input, output, cached, cost, ..] = fields;
        match self {
            Self::Time => *time = "yesterday".to_owned(),
            Self::CutOff => {}
            Self::Negative => *input = format!("-{input}"),
            Self::NoPrice => *cost = "n/a".to_owned(),
            Self::NoTeam => team.clear(),
            Self::TooMuchCached => *cached = format!("{input}0"),
            Self::Abbreviated => *output = "1.2k".to_owned(),
        }
    }
}
