//! Runs that begin by the calendar: what a schedule is, and how its owner keeps it.
//!
//! A schedule is a cron expression, read by the clock of a time zone, and what is to be run then. Each of its slots gets
//! one run, however many processes work on the queue, and a crash at any point takes none away and adds none: the run
//! is submitted with an idempotency key made of schedule and slot before the schedule is moved to its next slot.
//!
//! **When clocks change.** A fixed time that does not exist on a day comes when the gap is over; one that comes twice
//! is its first. An interval (`*` or `*/n` among minute and hour) goes on through both: nothing in the hour that does not
//! exist, and all slots in both of the hour that comes twice.
//!
//! **Missed slots.** A slot that nobody fired within a minute, because nothing worked on the queue, follows the
//! schedule's [`Missed`] rule.

mod calendar;
mod fire;
mod rule;
mod spec;

use insula_context::{Timestamp, UserScope};
use insula_infra::ScheduleRecord;
use serde::Serialize;

use crate::{Error, ExecutionEngineFactory, platform::Platform};
use calendar::Calendar;
pub(crate) use fire::fire;
pub use spec::{Missed, Schedule};

/// A schedule that is kept.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Scheduled {
    /// When, and what.
    #[serde(flatten)]
    pub schedule: Schedule,
    /// When it was made.
    pub created_at: Timestamp,
    /// Its next slot; `None` while it is paused.
    pub next_at: Option<Timestamp>,
}

impl ExecutionEngineFactory {
    /// Keeps a schedule, in place of the user's one of the same name if there is one. Its first slot is the next that
    /// comes. Processes that [work](ExecutionEngineFactory::work) on the queue fire it.
    ///
    /// # Errors
    /// [`Error::Schedule`] with the field that cannot be read, [`Error::Factory`] when the class is unknown or lacks
    /// something, [`Error::Input`], [`Error::Limit`] when the user has as many as allowed, [`Error::Storage`].
    pub async fn schedule(&self, scope: &UserScope, schedule: Schedule) -> Result<Scheduled, Error> {
        self.open()?;
        let platform = &self.platform;
        let calendar = schedule.check()?;
        let class = platform.instances.check(&schedule.agent, scope)?;
        platform.instances.registry().check_input(class.name(), &schedule.input).map_err(Error::Input)?;
        room(platform, scope, &schedule.name).await?;
        let created_at = platform.clock.now();
        let next_at = first(&calendar, &schedule, created_at)?;
        let kept = Scheduled { schedule, created_at, next_at: Some(next_at) };
        put(platform, scope, &kept).await?;
        Ok(kept)
    }

    /// The user's schedules, by name.
    ///
    /// # Errors
    /// [`Error::Storage`] when the store does not answer.
    pub async fn schedules(&self, scope: &UserScope) -> Result<Vec<Scheduled>, Error> {
        let records = self.platform.backend.schedules.schedules(scope).await?;
        records.into_iter().map(|record| kept(&record)).collect()
    }

    /// Forgets a schedule, and says whether there was one. Runs that it has begun go on.
    ///
    /// # Errors
    /// [`Error::Storage`] when the store does not answer.
    pub async fn unschedule(&self, scope: &UserScope, name: &str) -> Result<bool, Error> {
        Ok(self.platform.backend.schedules.delete_schedule(scope, name).await?)
    }

    /// Keeps a schedule without firing it. `None` when there is none of this name.
    ///
    /// # Errors
    /// [`Error::Storage`] when the store does not answer.
    pub async fn pause_schedule(&self, scope: &UserScope, name: &str) -> Result<Option<Scheduled>, Error> {
        self.change(scope, name, |_| Ok(None)).await
    }

    /// Fires a paused schedule again, from the next slot on: those in between were not missed, nobody wanted them.
    /// `None` when there is none of this name.
    ///
    /// # Errors
    /// As [`ExecutionEngineFactory::pause_schedule`].
    pub async fn resume_schedule(&self, scope: &UserScope, name: &str) -> Result<Option<Scheduled>, Error> {
        let now = self.platform.clock.now();
        let next = |known: &Scheduled| match known.next_at {
            // It was not paused.
            Some(next) => Ok(Some(next)),
            None => first(&known.schedule.check()?, &known.schedule, now).map(Some),
        };
        self.change(scope, name, next).await
    }

    async fn change(
        &self,
        scope: &UserScope,
        name: &str,
        next: impl FnOnce(&Scheduled) -> Result<Option<Timestamp>, Error>,
    ) -> Result<Option<Scheduled>, Error> {
        let known = self.schedules(scope).await?.into_iter().find(|known| known.schedule.name == name);
        let Some(known) = known else { return Ok(None) };
        let next_at = next(&known)?;
        let changed = Scheduled { next_at, ..known };
        put(&self.platform, scope, &changed).await?;
        Ok(Some(changed))
    }
}

/// The first slot; one that never comes is a slip of the pen.
fn first(calendar: &Calendar, schedule: &Schedule, now: Timestamp) -> Result<Timestamp, Error> {
    calendar.after(now).ok_or_else(|| Error::Schedule {
        field: "cron",
        problem: format!("\"{}\" never comes: no month has such a day", schedule.cron),
    })
}

async fn room(platform: &Platform, scope: &UserScope, name: &str) -> Result<(), Error> {
    let (known, limit) = (platform.backend.schedules.schedules(scope).await?, platform.limits().schedules);
    if known.len() < limit || known.iter().any(|known| known.name == name) {
        return Ok(());
    }
    let (user, what, advice) = (scope.clone(), "schedules", "remove one of them");
    Err(Error::Limit { user, what, limit, retry_after: None, advice })
}

async fn put(platform: &Platform, scope: &UserScope, kept: &Scheduled) -> Result<(), Error> {
    let json = |e: serde_json::Error| Error::Json { what: "the schedule", problem: e.to_string() };
    let spec = serde_json::value::to_raw_value(&kept.schedule).map_err(json)?.into();
    let (name, created_at, next_at) = (kept.schedule.name.clone(), kept.created_at, kept.next_at);
    let record = ScheduleRecord { name, spec, created_at, next_at };
    Ok(platform.backend.schedules.put_schedule(scope, record).await?)
}

fn kept(record: &ScheduleRecord) -> Result<Scheduled, Error> {
    let json = |e: serde_json::Error| Error::Json { what: "the stored schedule", problem: e.to_string() };
    let schedule = serde_json::from_str(record.spec.get()).map_err(json)?;
    Ok(Scheduled { schedule, created_at: record.created_at, next_at: record.next_at })
}
