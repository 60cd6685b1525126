//! What tools and steps really did, counted outside of the engine.

use std::collections::{BTreeMap, BTreeSet};

use insula_agent::Effect;

/// A thing that a run does: the user, the run, the place in its plan.
pub type Place = (String, String, String);

/// The work behind one place.
#[derive(Debug, Clone, Default)]
pub struct Work {
    /// How often it was begun.
    pub begun: u64,
    /// How often it went to its end.
    pub done: u64,
    /// Whether the tool once said that it does not know.
    pub doubted: bool,
    /// How often it was undone.
    pub undone: u64,
    /// The keys that it was given.
    pub keys: BTreeSet<String>,
}

/// All work of a simulation.
#[derive(Debug, Default)]
pub struct Ledger {
    work: BTreeMap<Place, Work>,
    keys: BTreeMap<String, Place>,
    /// What each run undid, in this order.
    undone: BTreeMap<(String, String), Vec<String>>,
}

impl Ledger {
    /// Work begins. Says what must not be, if it is.
    pub fn begin(&mut self, place: &Place, effect: Effect, key: &str) -> Option<String> {
        let work = self.work.entry(place.clone()).or_default();
        work.begun += 1;
        work.keys.insert(key.to_owned());
        let owner = self.keys.entry(format!("{}/{key}", place.0)).or_insert_with(|| place.clone());
        if owner != place {
            return Some(format!("{place:?} and {owner:?} have the key {key}"));
        }
        match effect {
            Effect::Once | Effect::Compensable if work.begun > 1 => Some(format!("{effect:?} {place:?} is done again")),
            Effect::Idempotent if work.keys.len() > 1 => Some(format!("{place:?} has the keys {:?}", work.keys)),
            _ => None,
        }
    }

    /// Work went to its end.
    pub fn end(&mut self, place: &Place) {
        self.work.entry(place.clone()).or_default().done += 1;
    }

    /// A tool does not know whether it did this.
    pub fn doubt(&mut self, place: &Place) {
        self.work.entry(place.clone()).or_default().doubted = true;
    }

    /// Work was undone.
    pub fn undo(&mut self, place: &Place) {
        let work = self.work.entry(place.clone()).or_default();
        work.undone += 1;
        if work.undone == 1 {
            let (user, run, at) = place.clone();
            self.undone.entry((user, run)).or_default().push(at);
        }
    }

    /// What a run undid, in the order in which it did.
    pub fn undone_by(&self, user: &str, run: &str) -> &[String] {
        self.undone.get(&(user.to_owned(), run.to_owned())).map_or(&[], Vec::as_slice)
    }

    /// Whether work with a key that begins like this was begun.
    pub fn has_begun(&self, user: &str, key: &str) -> bool {
        let key = format!("{user}/{key}");
        self.keys.range(key.clone()..).next().is_some_and(|(known, _)| known.starts_with(&key))
    }

    /// What was done at a place.
    pub fn at(&self, place: &Place) -> Work {
        self.work.get(place).cloned().unwrap_or_default()
    }
}
