//! The list of rules goes on: those of what a server needs beside runs.

/// Hands the rules of such a group to another macro: first those of isolation, then the others.
#[doc(hidden)]
#[macro_export]
macro_rules! conformance_service_rules {
    (keys, $then:ident $($with:tt)*) => {
        $crate::$then! { keys [$($with)*]
            isolation {
                lists_the_keys_of_their_owner_only
                revokes_the_key_of_its_owner_only
            }
            others {
                reads_a_key_as_it_was_made
                refuses_a_second_key_of_the_same_id
                makes_one_key_of_an_id_under_concurrency
                pages_through_keys_newest_first
                moves_the_last_use_forward_only
                keeps_a_revoked_key_revoked
                keeps_the_keys_of_a_deleted_user
            }
        }
    };
    (audit, $then:ident $($with:tt)*) => {
        $crate::$then! { audit [$($with)*]
            isolation {
                hides_audit_entries_from_other_users
                chains_the_entries_of_each_user_alone
            }
            others {
                chains_entries_without_gaps
                reads_entries_on_from_a_number
                keeps_the_chain_under_concurrency
                says_whose_logs_there_are
                keeps_the_audit_log_of_a_deleted_user
            }
        }
    };
    (webhooks, $then:ident $($with:tt)*) => {
        $crate::$then! { webhooks [$($with)*]
            isolation {
                hides_calls_from_other_users
                settles_the_call_of_its_owner_only
                resends_the_call_of_its_owner_only
            }
            others {
                a_call_is_due_with_the_end_of_its_run
                a_call_is_due_when_its_run_is_stopped_before_it_begins
                a_call_is_due_when_its_run_ends_in_its_first_write
                a_refused_end_makes_no_call_due
                a_child_has_no_call
                gives_a_call_to_one_until_its_time_is_over
                gives_a_call_once_under_concurrency
                tries_again_at_the_time_that_was_said
                makes_no_call_again_that_is_settled
                resends_what_was_given_up
                lists_calls_newest_first
                calls_go_with_their_thread_or_user
            }
        }
    };
    (usage, $then:ident $($with:tt)*) => {
        $crate::$then! { usage [$($with)*]
            isolation {
                counts_usage_for_each_user_alone
            }
            others {
                counts_how_runs_end
                counts_how_long_runs_take
                counts_what_was_spent
                counts_what_was_spent_by_whom
                counts_each_day_alone
                counts_nothing_for_a_refused_append
                keeps_usage_until_its_user_is_deleted
            }
        }
    };
    (census, $then:ident $($with:tt)*) => {
        $crate::$then! { census [$($with)*]
            isolation {}
            others {
                counts_runs_by_where_they_stand
                counts_a_run_as_queued_when_its_time_has_come
                counts_calls_that_are_due_or_dead
                names_those_who_hold_runs
            }
        }
    };
}
