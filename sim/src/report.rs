//! Many seeds, on several threads, and what was seen in all of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    panic::PanicHookInfo,
    sync::{
        Mutex, Once,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

use anyhow::{Result, bail};

use crate::{
    actor::PLANNED,
    fault::Fault,
    mutants::Mutant,
    story::{self, Game, Told},
    world::{Violation, lock},
};

/// Every so many seeds one is played twice, and must be the same.
const TWICE: u64 = 10;

/// What was seen in many seeds.
#[derive(Debug, Default)]
pub struct Report {
    /// Seeds that were played.
    pub seeds: u64,
    /// Seeds that were played a second time.
    pub replayed: u64,
    /// Runs, children included.
    pub runs: u64,
    /// Operations of the store.
    pub operations: u64,
    schedules: BTreeSet<u64>,
    faults: BTreeMap<Fault, u64>,
    checked: BTreeMap<&'static str, u64>,
    /// The lowest seed that failed, and how.
    pub failed: Option<(u64, Vec<Violation>)>,
    /// For each invariant, how many seeds broke it first, and one of them.
    pub broken: BTreeMap<&'static str, (u64, u64, Violation)>,
}

/// When to play no more seeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Soon after the first that fails.
    AtAFailure,
    /// When all were played.
    AtTheEnd,
}

impl Report {
    /// How many seeds went through the store in an order of their own.
    pub fn schedules(&self) -> usize {
        self.schedules.len()
    }

    fn add(&mut self, told: Told) {
        self.seeds += 1;
        self.runs += told.runs;
        self.operations += told.seen.operations;
        self.schedules.insert(told.schedule);
        for (kind, count) in told.seen.faults {
            *self.faults.entry(kind).or_default() += count;
        }
        for (invariant, count) in told.seen.checked {
            *self.checked.entry(invariant).or_default() += count;
        }
        if let Some(first) = told.seen.violations.first() {
            let (count, ..) = self.broken.entry(first.invariant).or_insert_with(|| (0, told.seed, first.clone()));
            *count += 1;
        }
        let lower = self.failed.as_ref().is_none_or(|(seed, _)| told.seed < *seed);
        if lower && !told.seen.violations.is_empty() {
            self.failed = Some((told.seed, told.seen.violations));
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let faults: u64 = self.faults.values().sum();
        let checked: u64 = self.checked.values().sum();
        writeln!(f, "seeds run           {:>9}   ({} of them twice, with the same trace)", self.seeds, self.replayed)?;
        writeln!(f, "schedules explored  {:>9}", self.schedules())?;
        writeln!(f, "runs executed       {:>9}", self.runs)?;
        writeln!(f, "store operations    {:>9}", self.operations)?;
        writeln!(f, "faults injected     {faults:>9}")?;
        for (kind, count) in &self.faults {
            writeln!(f, "  {:<40} {count:>9}", kind.as_str())?;
        }
        writeln!(f, "invariants checked  {checked:>9}")?;
        for (invariant, count) in &self.checked {
            writeln!(f, "  {invariant:<40} {count:>9}")?;
        }
        Ok(())
    }
}

/// Plays seeds `from..from + count`.
///
/// # Errors
/// When a seed cannot be set up, or is not the same when it is played again.
pub fn explore(game: &Game, from: u64, count: u64, until: Stop) -> Result<Report> {
    quiet_panics();
    let (next, stop) = (AtomicU64::new(from), AtomicBool::new(false));
    let report = Mutex::new(Report::default());
    let work = || -> Result<()> {
        while !stop.load(Ordering::Acquire) {
            let seed = next.fetch_add(1, Ordering::AcqRel);
            if seed >= from + count {
                return Ok(());
            }
            let told = story::play(game, seed, None)?;
            let twice = seed % TWICE == 0 && game.mutant.is_none();
            if twice && story::play(game, seed, None)?.trace != told.trace {
                stop.store(true, Ordering::Release);
                bail!("seed {seed} is not the same when it is played again: something is decided outside of the seed");
            }
            if until == Stop::AtAFailure && !told.seen.violations.is_empty() {
                stop.store(true, Ordering::Release);
            }
            let mut report = lock(&report);
            report.replayed += u64::from(twice);
            report.add(told);
        }
        Ok(())
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| worker.join().unwrap_or_else(|_| bail!("a simulation panicked")))
    })?;
    Ok(report.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner))
}

/// Who finds a mistake: the first of some seeds that fails with it and not without it, and how.
///
/// # Errors
/// When a seed cannot be set up.
pub fn find(mutant: Mutant, game: &Game, from: u64, count: u64) -> Result<Option<(u64, Violation)>> {
    quiet_panics();
    let mistaken = Game { mutant: Some(mutant), ..game.clone() };
    for seed in from..from + count {
        let found = story::play(&mistaken, seed, None)?.seen.violations.into_iter().next();
        let Some(violation) = found else { continue };
        if story::play(game, seed, None)?.seen.violations.is_empty() {
            return Ok(Some((seed, violation)));
        }
    }
    Ok(None)
}

/// Agents that panic by plan do it without a word.
pub fn quiet_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let loud = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info: &PanicHookInfo<'_>| {
            let planned = info.payload().downcast_ref::<&str>() == Some(&PLANNED)
                || info.payload().downcast_ref::<String>().is_some_and(|words| words == PLANNED);
            if !planned {
                loud(info);
            }
        }));
    });
}
