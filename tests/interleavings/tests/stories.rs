//! Each story under many schedules: random ones, and those in which few switches of threads do the harm.

use insula_interleavings::stories;

/// Schedules of each kind that a story is told under.
const SCHEDULES: usize = 1_000;
/// Schedules of a story of threads that wait for each other by looking again and again: its histories are long, and only
/// schedules that are fair end them.
const FAIR: usize = 100;
/// How many switches of threads a schedule of the second kind is about.
const DEPTH: usize = 3;

macro_rules! under_many_schedules {
    ($($story:ident)*) => {$(
        #[test]
        fn $story() {
            shuttle::check_random(stories::$story, SCHEDULES);
            shuttle::check_pct(stories::$story, SCHEDULES, DEPTH);
        }
    )*};
}

macro_rules! under_fair_schedules {
    ($($story:ident)*) => {$(
        #[test]
        fn $story() {
            shuttle::check_random(stories::$story, FAIR);
        }
    )*};
}

under_many_schedules! {
    every_piece_is_taken_once_and_nobody_sleeps_over_one
    a_sleeper_is_woken_by_the_piece_itself
    a_listener_misses_no_news
    a_user_has_one_account_and_no_permit_too_many
    a_journal_of_two_is_one_line
    a_run_is_parked_or_goes_on_and_never_both
    a_run_that_only_waits_departs
    a_run_that_is_to_leave_leaves
}

under_fair_schedules! {
    every_agent_is_polled_to_its_end
    a_stuck_thread_is_replaced
    a_stopped_agent_is_gone
}
