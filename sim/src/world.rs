//! What everybody in a simulation shares: time, dice, the book, the ledger, and what was seen.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use insula_context::{Clock, Timestamp};
use tokio::time::Instant;

use crate::{
    book::Book,
    fault::{Fault, Without},
    ledger::Ledger,
    rng::Rng,
};

/// Something that must not be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The name of the invariant.
    pub invariant: &'static str,
    /// What was seen.
    pub detail: String,
    /// When, in virtual milliseconds from the beginning.
    pub at_millis: u64,
}

/// What was seen of one seed so far.
#[derive(Debug, Default, Clone)]
pub struct Seen {
    /// Faults by kind.
    pub faults: BTreeMap<Fault, u64>,
    /// How often each invariant was looked at.
    pub checked: BTreeMap<&'static str, u64>,
    /// What was not as it must be.
    pub violations: Vec<Violation>,
    /// Operations of the store.
    pub operations: u64,
    /// The lines of the trace, if they are wanted.
    pub lines: Option<Vec<String>>,
}

/// The shared part of one simulation.
#[derive(Debug)]
pub struct World {
    /// Dice.
    pub rng: Rng,
    /// What the store must hold.
    pub book: Mutex<Book>,
    /// What was really done.
    pub ledger: Mutex<Ledger>,
    seen: Mutex<Seen>,
    trace: Mutex<DefaultHasher>,
    order: Mutex<DefaultHasher>,
    without: Without,
    healed: OnceLock<Timestamp>,
    began: Instant,
}

/// A lock that survives a planned panic.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl World {
    /// A world in which nothing has happened.
    pub fn new(seed: u64, without: Without, lines: Option<Vec<String>>) -> Self {
        let seen = Seen { lines, ..Seen::default() };
        Self {
            rng: Rng::new(seed),
            book: Mutex::default(),
            ledger: Mutex::default(),
            seen: Mutex::new(seen),
            trace: Mutex::new(DefaultHasher::new()),
            order: Mutex::new(DefaultHasher::new()),
            without,
            healed: OnceLock::new(),
            began: Instant::now(),
        }
    }

    /// Virtual time since the beginning.
    pub fn age(&self) -> Duration {
        self.began.elapsed()
    }

    /// The store's clock.
    pub fn now(&self) -> Timestamp {
        StoreClock { began: self.began }.now()
    }

    /// The store's clock, as a clock.
    pub const fn clock(&self) -> StoreClock {
        StoreClock { began: self.began }
    }

    /// From now on nothing fails any more.
    pub fn heal(&self) {
        let _known_before = self.healed.set(self.now());
    }

    /// Whether nothing fails any more.
    pub fn is_healed(&self) -> bool {
        self.healed.get().is_some()
    }

    /// Since when nothing fails any more; now, if something may still.
    pub fn healed_at(&self) -> Timestamp {
        self.healed.get().copied().unwrap_or_else(|| self.now())
    }

    /// Whether a fault that was drawn happens. It is counted then.
    pub fn befalls(&self, fault: Fault) -> bool {
        let happens = !self.is_healed() && self.without.allows(fault);
        if happens {
            *lock(&self.seen).faults.entry(fault).or_default() += 1;
        }
        happens
    }

    /// Looks at one invariant. `broken` says what is wrong.
    pub fn check(&self, invariant: &'static str, broken: Option<String>) {
        let at_millis = millis(self.age());
        let mut seen = lock(&self.seen);
        *seen.checked.entry(invariant).or_default() += 1;
        if let Some(detail) = broken {
            seen.violations.push(Violation { invariant, detail, at_millis });
        }
    }

    /// Whether something is wrong already.
    pub fn is_broken(&self) -> bool {
        !lock(&self.seen).violations.is_empty()
    }

    /// An operation of the store, for the trace. `who` and `what` alone make the schedule.
    pub fn note(&self, who: &str, what: &str, detail: &str) {
        let at = self.age();
        (who, what).hash(&mut *lock(&self.order));
        (at, who, what, detail).hash(&mut *lock(&self.trace));
        let mut seen = lock(&self.seen);
        seen.operations += 1;
        if let Some(lines) = &mut seen.lines {
            lines.push(format!("{:>9.3} {who:<6} {what:<10} {detail}", at.as_secs_f64()));
        }
    }

    /// What was seen, the hash of the trace, and that of the order of operations.
    pub fn seen(&self) -> (Seen, u64, u64) {
        (lock(&self.seen).clone(), lock(&self.trace).finish(), lock(&self.order).finish())
    }
}

/// A duration in whole milliseconds.
pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The date begins on the first of January 2026 and follows tokio's timers.
#[derive(Debug, Clone, Copy)]
pub struct StoreClock {
    began: Instant,
}

const BEGINNING: i64 = 1_767_225_600_000_000;

impl Clock for StoreClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(BEGINNING).plus(self.began.elapsed())
    }
}

/// The clock of a node: it goes ahead of the store's or behind it.
#[derive(Debug, Clone, Copy)]
pub struct SkewedClock {
    store: StoreClock,
    ahead_micros: i64,
}

impl SkewedClock {
    /// The store's clock, ahead by that much.
    pub const fn new(store: StoreClock, ahead_micros: i64) -> Self {
        Self { store, ahead_micros }
    }
}

impl Clock for SkewedClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.store.now().as_micros() + self.ahead_micros)
    }
}
