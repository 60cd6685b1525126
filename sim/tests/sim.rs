//! What holds for whole simulations: a few seeds of the many that `cargo xtask sim` plays.

use insula_sim::{
    mutants::Mutant,
    report::{self, Stop},
    story::{self, Game},
};

#[test]
fn fifty_seeds_keep_every_invariant() {
    let report = report::explore(&Game::default(), 0, 50, Stop::AtAFailure).unwrap();
    assert_eq!(report.failed, None, "{report}");
    assert_eq!((report.seeds, report.schedules()), (50, 50), "each seed has a schedule of its own");
}

#[test]
fn a_seed_is_the_same_whenever_it_is_played() {
    report::quiet_panics();
    let play = |seed| {
        let told = story::play(&Game::default(), seed, Some(Vec::new())).unwrap();
        (told.trace, told.seen.lines)
    };
    assert_eq!(play(7), play(7));
    assert_ne!(play(7).0, play(8).0);
}

#[test]
fn every_mistake_is_found_by_a_seed_that_is_clean_without_it() {
    for mutant in Mutant::ALL {
        let found = report::find(mutant, &Game::default(), 0, 200).unwrap();
        let (seed, violation) = found.unwrap_or_else(|| panic!("nobody finds {mutant:?}"));
        println!("{mutant:?}: seed {seed}: {}", violation.invariant);
    }
}
