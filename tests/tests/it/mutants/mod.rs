//! The suites can fail: each mistake that a store could make is put under the engine, and a promise must be seen to break.
//!
//! A mutant is a wrong port before a sound one, never a switch in the product. It is tried by the *probes*, stories that are
//! told to the real engine and name the promise that they find broken, and by the rules of the conformance suite. The
//! table that is printed says who caught what.

mod kills;
mod nodes;
mod probes;
mod stage;
mod stores;
mod wrong;

use std::{
    collections::BTreeMap,
    panic::AssertUnwindSafe,
    sync::{Arc, Once},
    thread,
};

use insula_infra::{
    Backend, MemoryBackend,
    conformance::{self, ManualClock, Rule, Subject, leaky::leaky, mutants},
};

use self::{stage::life, stores as store, wrong as queue};

/// Makes a mistake of a sound backend.
type Mistake = fn(Backend) -> Backend;

/// A mistake by name, and by how much it is to be noticed.
const MUTANTS: [(&str, Mistake); 23] = [
    ("skips the journal", queue::skips_the_journal),
    ("ignores the fencing token", mutants::ignores_the_fencing_token),
    ("forgets the reservation", mutants::forgets_a_reservation),
    ("forgets what was spent", queue::forgets_what_was_spent),
    ("tells before it writes", mutants::tells_before_it_writes),
    ("acknowledges before it writes", queue::acknowledges_before_it_writes),
    ("loses the wake of a parent", mutants::loses_the_wake_of_a_parent),
    ("loses a timer", queue::loses_a_timer),
    ("forgets a question at parking", queue::forgets_a_question),
    ("forgets an answer", store::forgets_an_answer),
    ("takes a second answer", mutants::takes_a_second_answer),
    ("forgets a wish to stop", queue::forgets_a_wish_to_stop),
    ("forgets a cancel ahead", store::forgets_a_cancel_ahead),
    ("ignores the thread's policy", mutants::ignores_the_policy_of_a_thread),
    ("ignores what an owner holds", mutants::ignores_what_an_owner_holds),
    ("fires a slot twice", queue::forgets_the_idempotency_key),
    ("hands a run to two workers", queue::hands_a_run_to_two_workers),
    ("never hands a lost run out", queue::never_hands_a_lost_run_out),
    ("forgets the deadline", queue::forgets_the_deadline),
    ("forgets that it was being undone", queue::forgets_that_it_was_being_undone),
    ("loses a run's end", queue::loses_the_end),
    ("forgets whose run it is asked for", leaky),
    ("starts a run before its time", queue::ignores_the_delay),
];

/// A reader of a log that never gives what it says that it has looks for it without an end: for the rules alone.
const OF_THE_RULES: [(&str, Mistake); 1] = [("drops the last event", mutants::drops_the_last_event)];

/// Mistakes that cost time and break nothing: whoever finds them finds too much.
const HARMLESS: [(&str, Mistake); 2] =
    [("loses every signal", store::loses_every_signal), ("is slow to answer", queue::is_slow_to_answer)];

/// What was found with one backend.
#[derive(Debug, Default)]
struct Findings {
    /// The probes that found something, and the promise that they saw broken.
    probes: BTreeMap<&'static str, String>,
    rules: Vec<String>,
}

impl Findings {
    fn is_empty(&self) -> bool {
        self.probes.is_empty() && self.rules.is_empty()
    }

    /// One line for each probe, and one for the rules.
    fn lines(&self) -> Vec<String> {
        let mut lines: Vec<_> = self.probes.iter().map(|(name, promise)| format!("{name}: {promise}")).collect();
        let more = |more: usize| if more == 0 { String::new() } else { format!(" and {more} more rules") };
        lines.extend(self.rules.first().map(|rule| format!("rule {rule}{}", more(self.rules.len() - 1))));
        lines
    }
}

fn sound() -> Backend {
    MemoryBackend::with(Arc::new(insula_context::SystemClock::new())).into_backend()
}

/// What the probes find.
fn probed(mistake: Mistake) -> Findings {
    let mut findings = Findings::default();
    for (name, probe) in probes::PROBES {
        let told = std::panic::catch_unwind(AssertUnwindSafe(|| probe(mistake(sound()))));
        let outcome = told.unwrap_or_else(|panic| Err(insula_context::cleanup::panic_message(&*panic)));
        if let Err(promise) = outcome {
            findings.probes.insert(name, promise.lines().take(2).collect::<String>().chars().take(120).collect());
        }
    }
    findings
}

/// What the probes find, and the rules of everything that memory has.
fn examined(mistake: Mistake) -> Findings {
    Findings { rules: held_against(mistake, |_| true).rules, ..probed(mistake) }
}

/// What those rules find.
fn held_against(mistake: Mistake, wanted: impl Fn(&Rule) -> bool) -> Findings {
    let rules = conformance::rules().into_iter().filter(|rule| rule.group != "database" && wanted(rule));
    let broken = rules.filter(|rule| life(breaks(*rule, mistake)) == Ok(true));
    Findings { rules: broken.map(|rule| format!("{rule:?}")).collect(), ..Findings::default() }
}

/// What the rules find that are about reading what was written.
fn read_again(mistake: Mistake) -> Findings {
    let names = ["reads_events_as_they_were_written", "reads_one_run_of_a_shared_thread"];
    held_against(mistake, |rule| names.contains(&rule.name))
}

async fn breaks(rule: Rule, mistake: Mistake) -> Result<bool, String> {
    let clock = Arc::new(ManualClock::new());
    let backend = mistake(MemoryBackend::with(clock.clone()).into_backend());
    Ok(rule.broken_by(Subject::new(backend, clock)).await.is_some())
}

/// A thread whose panics are findings, and are not printed.
fn silenced() -> thread::Builder {
    const NAME: &str = "under a mutant";
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if thread::current().name() != Some(NAME) {
                hook(panic);
            }
        }));
    });
    thread::Builder::new().name(NAME.to_owned())
}

/// Looks at all of them, one thread each: they share nothing.
fn each<const N: usize>(
    look: fn(Mistake) -> Findings,
    of: [(&'static str, Mistake); N],
) -> Vec<(&'static str, Findings)> {
    let start = |mistake| silenced().spawn(move || look(mistake)).expect("a thread");
    let looks = of.map(|(name, mistake)| (name, start(mistake)));
    looks.into_iter().map(|(name, look)| (name, look.join().expect("its findings"))).collect()
}

#[test]
fn a_sound_store_keeps_every_promise() {
    let findings = examined(std::convert::identity);
    assert!(findings.is_empty(), "{:#?}", findings.lines());
}

#[test]
fn what_only_costs_time_breaks_no_promise() {
    for (name, findings) in each(probed, HARMLESS) {
        assert!(findings.is_empty(), "{name}: {:#?}", findings.lines());
    }
}

#[test]
fn every_mutant_is_caught() {
    let mut table = each(examined, MUTANTS);
    table.extend(each(read_again, OF_THE_RULES));
    println!("mutant                            | caught by");
    for (name, findings) in &table {
        let lines = findings.lines();
        println!("{name:<33} | {}", lines.first().map_or("NOBODY", String::as_str));
        lines.iter().skip(1).for_each(|line| println!("{:<33} | {line}", ""));
    }
    let survivors: Vec<_> = table.iter().filter(|(_, findings)| findings.is_empty()).map(|(name, _)| name).collect();
    println!("{} mutants, {} caught", table.len(), table.len() - survivors.len());
    assert!(survivors.is_empty(), "nobody caught {survivors:?}");
}
