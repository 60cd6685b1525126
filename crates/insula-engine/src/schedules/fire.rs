//! Slots whose time has come get their runs.

use std::sync::{Arc, atomic::Ordering};

use insula_context::{Timestamp, UserScope};
use insula_infra::ScheduleRecord;

use super::{
    kept,
    rule::{self, Next},
};
use crate::{Error, RunRequest, platform::Platform, submission};

/// At most this many schedules are looked at in one go.
const SCHEDULES: usize = 256;
/// At most this many slots of one schedule are gone through in one go, so that one that catches up on many does not hold
/// up the others. It goes on with the next tick.
const SLOTS: usize = 100;

/// Looks at the calendar, beside everything else: what is submitted is waited for, and leases are not to wait with it.
/// A look that has not ended yet is not joined by another.
pub(crate) fn fire(platform: &Arc<Platform>) {
    let background = &platform.background;
    if !background.claiming.load(Ordering::Acquire) || background.firing.swap(true, Ordering::AcqRel) {
        return;
    }
    let look = Look(Arc::clone(platform));
    tokio::spawn(async move { look.at_the_calendar().await });
}

/// The one look at the calendar of this process.
struct Look(Arc<Platform>);

impl Drop for Look {
    fn drop(&mut self) {
        self.0.background.firing.store(false, Ordering::Release);
    }
}

impl Look {
    async fn at_the_calendar(&self) {
        match self.0.backend.queue.due_schedules(SCHEDULES).await {
            Ok((due, now)) => {
                for (scope, record) in due {
                    self.at(&scope, record, now).await;
                }
            }
            Err(error) => tracing::warn!(%error, "the calendar could not be read"),
        }
    }

    async fn at(&self, scope: &UserScope, mut record: ScheduleRecord, now: Timestamp) {
        for _ in 0..SLOTS {
            if self.0.background.closed.load(Ordering::Acquire) {
                return;
            }
            match self.go_on(scope, &record, now).await {
                Ok(Some(next)) => record.next_at = Some(next),
                Ok(None) => return,
                Err(error) => {
                    tracing::warn!(user = %scope, schedule = record.name, %error, "a slot has to wait");
                    return;
                }
            }
        }
    }

    /// Does what is to be done about the slot that a schedule stands at. Answers with the one that it is moved to; `None`
    /// when nothing is to be done, or somebody else has done it.
    async fn go_on(
        &self,
        scope: &UserScope,
        record: &ScheduleRecord,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, Error> {
        let Some(slot) = record.next_at else { return Ok(None) };
        let to = match read(record, slot, now) {
            Ok((_, Next::Wait)) => return Ok(None),
            Ok((_, Next::Pass { to })) => to,
            Ok((request, Next::Fire { then })) => {
                self.submit(scope, record, slot, request).await?;
                then
            }
            Err(error) => {
                tracing::error!(user = %scope, schedule = record.name, %error, "it cannot be read, and is paused");
                None
            }
        };
        let moved = self.0.backend.queue.advance_schedule(scope, &record.name, slot, to).await?;
        Ok(to.filter(|_| moved))
    }

    /// Hands the slot's run to the queue. A refusal that nothing but a change of the schedule would lift is as good as a
    /// run: the slot is over.
    async fn submit(
        &self,
        scope: &UserScope,
        record: &ScheduleRecord,
        slot: Timestamp,
        request: RunRequest,
    ) -> Result<(), Error> {
        let request = request.idempotency_key(key(record, slot));
        match submission::submit(&self.0, scope, request).await {
            Ok(run) => {
                tracing::debug!(user = %scope, schedule = record.name, %slot, %run, "a slot has its run");
                self.0.background.wake.notify_one();
                Ok(())
            }
            // Whoever chose to be refused when the conversation is busy does not want to come later.
            Err(error) if error.is_transient() && !matches!(error, Error::ThreadBusy { .. }) => Err(error),
            Err(error) => {
                tracing::error!(user = %scope, schedule = record.name, %slot, %error, "a slot was refused its run");
                Ok(())
            }
        }
    }
}

/// What is to be run, and what is to be done about the slot.
fn read(record: &ScheduleRecord, slot: Timestamp, now: Timestamp) -> Result<(RunRequest, Next), Error> {
    let schedule = kept(record)?.schedule;
    let next = rule::next(&schedule.check()?, schedule.missed, slot, now);
    Ok((schedule.request(), next))
}

/// The same for everybody who fires this slot of this schedule, and for no other slot or schedule: one that was replaced
/// by another of the same name has another age.
fn key(record: &ScheduleRecord, slot: Timestamp) -> String {
    format!("schedule/{}/{}/{}", record.name, record.created_at.as_micros(), slot.as_micros())
}
