//! Random and chosen stories of meters.

use super::*;

fn meter(ceiling: Ceiling, parent: Option<&Arc<Meter>>) -> Arc<Meter> {
    Arc::new(Meter::new(ceiling, parent.cloned(), &Recorded::default()))
}

fn refused_by(meter: &Arc<Meter>, amounts: Amounts) -> Option<(String, Unit, u64)> {
    match meter.reserve("search", amounts).err()? {
        ToolFailure::Budget { holder, unit, limit, .. } => Some((holder, unit, limit)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_reserved_is_not_there_for_others_until_it_is_given_back() {
    let run = meter(Ceiling::tokens(100), None);
    let hold = run.reserve("search", Amounts::tokens(60)).unwrap();
    assert!(run.try_reserve(Amounts::tokens(41)).is_some());
    drop(hold);
    let hold = run.reserve("search", Amounts::tokens(100)).unwrap();
    hold.settle(Amounts::tokens(30));
    assert_eq!((run.spent(), run.left()), (Amounts::tokens(30), Ceiling::tokens(70)));
}

#[test]
fn a_child_spends_from_all_above_and_a_refusal_leaves_nothing_reserved() {
    let top = meter(Ceiling::tokens(100), None);
    let middle = meter(Ceiling::default(), Some(&top));
    let (one, other) = (meter(Ceiling::tokens(90), Some(&middle)), meter(Ceiling::default(), Some(&middle)));
    one.reserve("search", Amounts::tokens(80)).unwrap().settle(Amounts::tokens(70));
    assert_eq!(top.spent(), Amounts::tokens(70));
    assert_eq!(refused_by(&other, Amounts::tokens(31)), Some(("parent run".to_owned(), Unit::Tokens, 100)));
    assert_eq!(top.left(), Ceiling::tokens(30), "nothing of it is left reserved");
    assert!([&other, &middle, &top].iter().all(|meter| meter.overspent().is_some()));
    assert_eq!(one.overspent(), None, "its own calls were not refused");
    assert!(refused_by(&other, Amounts::default()).is_some(), "and no other call of the run is made");
}

#[test]
fn a_run_that_is_refused_by_its_own_budget_does_not_end_its_parent() {
    let top = meter(Ceiling::tokens(100), None);
    let child = meter(Ceiling::tokens(10), Some(&top));
    assert_eq!(refused_by(&child, Amounts::tokens(11)), Some(("run".to_owned(), Unit::Tokens, 10)));
    assert_eq!(top.overspent(), None);
}

#[test]
fn each_unit_is_warned_of_once_from_four_fifths_on() {
    let run = meter(Ceiling { tokens: Some(10), tool_calls: Some(2), ..Ceiling::default() }, None);
    let spend = |tokens, tool_calls| {
        let warnings = run.spend(Amounts { tokens, tool_calls, ..Amounts::default() });
        warnings.iter().map(|warning| (warning.unit, warning.spent, warning.limit)).collect::<Vec<_>>()
    };
    assert_eq!(spend(7, 1), []);
    assert_eq!(spend(1, 0), [(Unit::Tokens, 8, 10)]);
    assert_eq!(spend(1, 1), [(Unit::ToolCalls, 2, 2)]);
    assert_eq!(spend(1, 1), []);
}

#[test]
fn what_was_spent_and_said_before_counts_after_a_resumption() {
    let warned = vec![Warned { holder: "run".to_owned(), unit: Unit::Tokens }];
    let recorded = Recorded { spent: Amounts::tokens(90), warned, ..Recorded::default() };
    let run = Arc::new(Meter::new(Ceiling::tokens(100), None, &recorded));
    assert_eq!(run.spend(Amounts::tokens(1)), []);
    assert!(refused_by(&run, Amounts::tokens(10)).is_some());
}

proptest::proptest! {
    #[test]
    fn no_ceiling_of_a_tree_is_exceeded_and_what_is_settled_is_what_is_spent(
        ceilings in (1..200_u64, 1..200_u64, 1..200_u64),
        calls in proptest::collection::vec((0..3_usize, 0..80_u64, 0..3_u8), 0..30),
    ) {
        let top = meter(Ceiling::tokens(ceilings.0), None);
        let (one, other) = (meter(Ceiling::tokens(ceilings.1), Some(&top)), meter(Ceiling::tokens(ceilings.2), Some(&top)));
        let meters = [&top, &one, &other];
        let (mut held, mut settled) = (Vec::new(), [0_u64; 3]);
        for (of, tokens, then) in calls {
            let Ok(hold) = meters[of].reserve("search", Amounts::tokens(tokens)) else { continue };
            match then {
                0 => drop(hold),
                1 => {
                    // No call costs more than it was expected to.
                    hold.settle(Amounts::tokens(tokens / 2));
                    settled[of] += tokens / 2;
                }
                _ => held.push(hold),
            }
            for meter in meters {
                let book = meter.book();
                let promised = book.spent.plus(book.reserved);
                proptest::prop_assert_eq!(meter.ceiling.exceeded_by(&promised), None);
            }
        }
        drop(held);
        let spent = meters.map(|meter| meter.spent().tokens);
        proptest::prop_assert_eq!(spent, [settled.iter().sum(), settled[1], settled[2]]);
        proptest::prop_assert!(meters.iter().all(|meter| meter.book().reserved.is_zero()));
    }
}
