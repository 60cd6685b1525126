//! What becomes of others when a run ends: its parent is woken, the next run of its thread has its turn, its call is due, and
//! what it has asked and reserved is gone. All in the transaction of the end.

use insula_context::{CancelReason, Timestamp};
use insula_infra::{RunChange, RunHeader, RunStatus};

use crate::{cancel, group::Desk, rows::Place};

/// A run has ended.
pub(crate) fn ended(
    desk: &mut Desk,
    number: i64,
    header: &RunHeader,
    cancelled: Option<&CancelReason>,
    now: Timestamp,
) {
    let Some(run) = desk.run(number) else { return };
    let (owner, thread, in_turn, has_call, asked) = (run.owner, run.thread, run.in_turn, run.has_call, run.asked);
    if asked > 0 {
        desk.close_all(owner, number);
        if let Some(run) = desk.change(number) {
            (run.asked, run.answered) = (0, 0);
        }
    }
    if let Some(parent) = &header.parent {
        wake_parent(desk, owner, parent.as_str(), now);
    }
    if in_turn {
        give_turn(desk, thread, now);
    }
    if has_call {
        desk.ring(owner, number);
    }
    for child in desk.children(owner, header.run.as_str()) {
        let reason = cancelled.cloned().unwrap_or_else(RunChange::orphaned);
        cancel::ask(desk, child, &reason, now);
    }
    desk.give_back(owner, &header.scope, &header.run);
}

fn wake_parent(desk: &mut Desk, owner: i64, parent: &str, now: Timestamp) {
    let number = desk.run_number(owner, parent);
    let parks = number.and_then(|number| desk.run(number));
    let parks = parks.is_some_and(|run| run.place == Some(Place::Asleep) && run.status == RunStatus::Waiting);
    if let Some(run) = number.filter(|_| parks).and_then(|number| desk.change(number)) {
        (run.place, run.due_at) = (Some(Place::Ready), Some(now.as_micros()));
    }
}

/// The oldest open run of those that go one at a time, if it waits for its turn, has it now.
fn give_turn(desk: &mut Desk, thread: i64, now: Timestamp) {
    let now = now.as_micros();
    let first = desk.in_turn(thread).into_iter().next();
    let waits = first.and_then(|first| desk.run(first)).is_some_and(|run| run.place == Some(Place::Blocked));
    if let Some(run) = first.filter(|_| waits).and_then(|first| desk.change(first)) {
        let due = run.due_at.unwrap_or(now);
        run.place = Some(if due > now { Place::Asleep } else { Place::Ready });
        run.due_at = Some(due.max(now));
    }
}
