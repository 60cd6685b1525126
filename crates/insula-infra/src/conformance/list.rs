//! The one list of rules, and what is made of it.

/// Hands the rules of a group to another macro: first those of isolation, then the others.
#[doc(hidden)]
#[macro_export]
macro_rules! conformance_rules {
    (append, $then:ident $($with:tt)*) => {
        $crate::$then! { append [$($with)*]
            isolation {
                gives_two_users_the_same_ids
                refuses_the_lease_of_another_user
                hides_the_journal_from_other_users
            }
            others {
                creates_and_ends_a_run_in_one_write
                tells_a_run_in_line_from_one_that_runs
                refuses_a_second_run_of_the_same_id
                refuses_to_write_to_an_absent_run
                refuses_a_stale_lease
                refuses_the_token_of_another_worker
                refuses_a_token_of_the_future
                refuses_to_write_to_a_queued_run
                knows_when_a_run_began_that_ended_at_once
                refuses_an_append_out_of_order
                refuses_to_add_after_the_end
                refuses_a_second_end
                names_the_first_reason_of_a_refusal
                an_end_and_its_event_are_one
                an_append_is_all_or_nothing
                commits_in_the_order_of_the_appends
                keeps_an_append_whose_commit_is_dropped
                keeps_a_journal_that_readers_do_not_see
                refuses_the_journal_to_a_stale_lease
            }
        }
    };
    (queue, $then:ident $($with:tt)*) => {
        $crate::$then! { queue [$($with)*]
            isolation {
                keeps_idempotency_keys_apart
                claims_a_run_for_its_owner
                stops_the_run_of_its_owner_only
            }
            others {
                answers_a_known_key_with_its_run
                makes_one_run_of_a_key_under_concurrency
                hands_out_a_submitted_run_once
                runs_what_was_claimed_to_its_end
                claims_at_most_what_is_asked_for
                serves_one_owner_first_come_first_served
                serves_owners_in_turn
                hands_each_run_to_one_worker_under_concurrency
                hands_out_no_run_before_its_time
                gives_an_expired_lease_to_another_worker
                takes_over_a_run_that_was_created_running
                every_claim_makes_earlier_tokens_stale
                keeps_what_its_worker_renews
                wakes_a_parked_run_at_its_time
                takes_the_lease_back_when_a_run_is_parked
                wakes_a_parked_run_that_is_asked_to_stop
                hands_over_a_wish_that_came_before_the_start
                tells_a_worker_what_to_stop
                tells_the_worker_that_took_over
                ends_every_run_once_whatever_happens
            }
        }
    };
    (threads, $then:ident $($with:tt)*) => {
        $crate::$then! { threads [$($with)*]
            isolation {
                keeps_the_threads_of_two_users_apart
                interrupts_the_runs_of_its_owner_only
            }
            others {
                runs_a_thread_one_at_a_time
                runs_a_thread_one_at_a_time_under_concurrency
                a_parked_run_keeps_its_turn
                a_lost_run_keeps_its_turn
                waits_for_submitted_runs_only
                refuses_a_run_in_a_busy_thread
                answers_a_known_key_in_a_busy_thread
                interrupts_those_before_it
                tells_the_holder_of_the_interruption
                marks_what_is_rolled_back
                hands_out_a_waiting_run_that_is_asked_to_stop
                waits_for_its_turn_and_its_time
            }
        }
    };
    (fairness, $then:ident $($with:tt)*) => {
        $crate::$then! { fairness [$($with)*]
            isolation {
                counts_the_held_runs_of_their_owner_only
                counts_the_queued_runs_of_their_owner_only
            }
            others {
                serves_higher_priorities_first
                a_priority_moves_no_other_owner
                serves_owners_by_their_weight
                serves_an_owner_without_weight
                passes_over_an_owner_of_whom_enough_is_held
                an_expired_lease_holds_nothing
                a_wider_limit_finds_who_was_passed_over
                counts_submitted_runs_only
                refuses_more_queued_runs_than_allowed
                hands_out_the_options_of_a_run
                tells_the_time_of_the_claim
            }
        }
    };
    (waiting, $then:ident $($with:tt)*) => {
        $crate::$then! { waiting [$($with)*]
            isolation {
                wakes_the_parent_of_its_owner_only
            }
            others {
                wakes_a_parent_when_its_child_has_ended
                does_not_sleep_behind_a_child_that_has_ended
                stops_the_children_of_a_run_that_has_ended
                does_not_sleep_behind_a_child_that_is_gone
                leaves_a_running_parent_to_its_holder
                forgets_the_alarm_of_a_woken_parent
                wakes_a_parent_once_under_concurrency
                says_what_a_run_waits_for
                hands_out_what_is_given_back
                keeps_the_status_of_what_is_given_back
                what_is_given_back_is_not_held
            }
        }
    };
    (inbox, $then:ident $($with:tt)*) => {
        $crate::$then! { inbox [$($with)*]
            isolation {
                hides_questions_from_other_users
                lets_nobody_else_answer
            }
            others {
                lists_open_questions_newest_first
                pages_through_questions
                wakes_a_parked_run_with_its_answer
                loses_no_answer_that_comes_before_the_parking
                tells_the_holder_of_an_answer
                keeps_an_answer_until_it_is_taken
                takes_the_first_answer_only
                takes_one_answer_of_many
                takes_no_answer_that_comes_too_late
                answers_none_where_nothing_is_asked
                closes_all_questions_with_the_end
                asks_nothing_with_a_refused_append
            }
        }
    };
    (stopping, $then:ident $($with:tt)*) => {
        $crate::$then! { stopping [$($with)*]
            isolation {
                stops_ahead_for_its_owner_only
                stops_all_runs_of_their_owner_only
            }
            others {
                hands_out_a_run_that_was_stopped_ahead
                refuses_to_create_what_was_stopped_ahead
                keeps_the_first_wish_ahead
                forgets_a_wish_after_an_hour
                keeps_a_thousand_wishes_ahead
                stops_all_runs_of_a_filter
                stops_what_a_filter_lets_through
                a_wish_for_a_known_run_is_not_ahead
            }
        }
    };
    (runs, $then:ident $($with:tt)*) => {
        $crate::$then! { runs [$($with)*]
            isolation {
                hides_runs_from_other_users
                lists_runs_of_their_owner_only
                lists_threads_of_their_owner_only
                lets_nobody_else_ask_to_stop
                hides_a_thread_from_other_users
                makes_a_thread_for_its_owner_only
            }
            others {
                answers_none_for_an_absent_run
                summarises_a_run_as_it_goes
                keeps_the_first_start
                keeps_the_reason_of_a_failure
                keeps_the_first_wish_to_stop
                answers_a_late_wish_with_the_end
                lists_runs_newest_first
                pages_through_runs_without_loss
                refuses_a_cursor_that_is_none
                lists_what_a_filter_lets_through
                lists_threads_with_their_heads
                reads_one_thread_as_it_is_listed
                makes_a_thread_without_runs
            }
        }
    };
    (history, $then:ident $($with:tt)*) => {
        $crate::$then! { history [$($with)*]
            isolation {
                hides_what_was_recorded_from_other_users
                forks_a_thread_of_its_owner_only
                deletes_a_thread_of_its_owner_only
                deletes_everything_of_one_user_only
            }
            others {
                reads_what_was_recorded
                reads_a_fork_from_the_beginning
                reads_a_fork_on_from_a_cursor
                forks_a_fork
                reads_one_run_of_a_fork
                lists_forks_and_refuses_what_cannot_be
                deletes_a_thread_with_all_that_is_in_it
                refuses_to_delete_what_is_in_use
                deletes_everything_of_a_user
                deletes_the_account_of_a_user
                forgets_threads_that_ended_long_ago
            }
        }
    };
    (log, $then:ident $($with:tt)*) => {
        $crate::$then! { log [$($with)*]
            isolation {
                hides_threads_from_other_users
                hides_the_events_of_a_run_from_other_users
                numbers_the_same_thread_of_two_users_apart
                hides_payloads_from_other_users
            }
            others {
                answers_none_for_what_is_absent
                has_an_empty_page_for_a_queued_run
                reads_events_as_they_were_written
                keeps_the_parent_of_a_run
                never_turns_time_back_within_a_run
                reads_on_from_a_cursor
                reads_one_run_of_a_shared_thread
                keeps_seq_without_gaps_under_concurrency
                shows_a_reader_a_log_that_only_grows
                reads_back_whatever_was_written
                stores_a_large_payload_once
                keeps_a_payload_for_each_of_its_owners
            }
        }
    };
    (state, $then:ident $($with:tt)*) => {
        $crate::$then! { state [$($with)*]
            isolation {
                hides_values_from_other_users
                writes_the_value_of_its_owner_only
                deletes_the_value_of_its_owner_only
                compares_with_the_version_of_its_owner_only
            }
            others {
                counts_writes_in_the_version
                refuses_a_write_on_a_version_that_has_passed
                creates_only_what_is_absent
                deletes_a_value_once
                keeps_spaces_apart
                lets_one_of_many_writers_win
            }
        }
    };
    (schedules, $then:ident $($with:tt)*) => {
        $crate::$then! { schedules [$($with)*]
            isolation {
                hides_schedules_from_other_users
                changes_the_schedule_of_its_owner_only
                moves_the_schedule_of_its_owner_only
            }
            others {
                lists_schedules_by_name
                tells_what_is_due
                forgets_the_slot_of_what_was_changed
                moves_a_slot_once_under_concurrency
                moves_only_from_where_it_stands
            }
        }
    };
    (budgets, $then:ident $($with:tt)*) => {
        $crate::$then! { budgets [$($with)*]
            isolation {
                counts_for_each_user_alone
                counts_for_each_tenant_alone
                gives_back_to_its_owner_only
            }
            others {
                users_of_a_tenant_share_its_account
                grants_what_is_left_and_no_more
                counts_each_unit_alone
                the_same_call_reserves_once
                settles_with_what_a_call_cost
                spends_nothing_with_a_refused_append
                gives_back_what_was_not_settled
                reserves_for_a_run_that_is_not_written_yet
                refuses_to_reserve_for_an_ended_run
                keeps_a_reservation_across_workers
                begins_a_window_with_its_first_use
                carries_a_reservation_into_the_next_window
                reserves_of_all_accounts_or_of_none
                grants_no_more_under_concurrency
            }
        }
    };
    (cache, $then:ident $($with:tt)*) => {
        $crate::$then! { cache [$($with)*]
            isolation {
                hides_values_from_other_users
                sets_the_value_of_its_owner_only
                deletes_the_value_of_its_owner_only
                clears_the_values_of_their_owner_only
                counts_for_each_user_alone
                keeps_lists_of_two_users_apart
                publishes_to_its_owner_only
            }
            others {
                keeps_a_value_until_it_is_deleted
                forgets_a_value_when_its_time_is_over
                gives_a_new_value_a_new_time
                counts_from_zero
                keeps_the_time_of_a_counter
                loses_no_increment_under_concurrency
                refuses_to_count_what_is_no_number
                tells_lists_from_plain_values
                reads_parts_of_a_list
                reaches_every_subscriber_of_a_channel
            }
        }
    };
    (signals, $then:ident $($with:tt)*) => {
        $crate::$then! { signals [$($with)*]
            isolation {
                tells_other_users_nothing
            }
            others {
                tells_listeners_how_far_a_thread_has_grown
                tells_of_every_append
                tells_only_of_what_can_be_read
            }
        }
    };
    (quota, $then:ident $($with:tt)*) => {
        $crate::$then! { quota [$($with)*]
            isolation {
                counts_for_each_user_alone
            }
            others {
                grants_what_is_left_and_no_more
                counts_nothing_for_a_refusal
                begins_a_window_with_its_first_use
                refuses_more_than_a_window_has
                counts_each_name_alone
                grants_no_more_under_concurrency
            }
        }
    };
    (health, $then:ident $($with:tt)*) => {
        $crate::$then! { health [$($with)*]
            isolation {}
            others {
                answers_for_every_component
            }
        }
    };
    (database, $then:ident $($with:tt)*) => {
        $crate::$then! { database [$($with)*]
            isolation {
                keeps_the_same_table_of_two_users_apart
                forgets_the_database_of_its_owner_only
                hides_tables_from_other_users
            }
            others {
                reaches_no_other_database
                leaves_the_transaction_to_its_session
                keeps_what_is_committed
                rolls_back_when_dropped
                rolls_back_when_told
                says_why_a_statement_was_refused
                executes_a_statement_for_many_rows
                reads_values_as_they_were_written
                shares_no_session
                serves_many_users_at_a_time
                counts_open_sessions_back_to_zero
            }
        }
    };
    // What a server needs beside runs.
    ($group:ident, $($then:tt)*) => {
        $crate::conformance_service_rules!($group, $($then)*);
    };
}
