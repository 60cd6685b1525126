//! Runs that begin by the calendar.

use insula_context::{ThreadId, Timestamp};
use insula_engine::{Missed, Scheduled, ThreadPolicy};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::Span;
use crate::problem::{Kind, Problem};

/// A schedule.
#[derive(Debug, Serialize, ToSchema)]
pub struct Schedule {
    /// Its name.
    pub name: String,
    /// Minute, hour, day, month, weekday, with seconds before them if wanted.
    pub cron: String,
    /// The time zone.
    pub zone: String,
    /// What becomes of missed slots: `skip`, `once`, `all`.
    #[schema(value_type = String)]
    pub missed: Missed,
    /// The agent class.
    pub agent: String,
    /// What each run is given.
    #[schema(value_type = Object)]
    pub input: Value,
    /// The conversation of all its runs; each has one of its own otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thread_id: Option<String>,
    /// What a run does when others are under way there.
    #[schema(value_type = String)]
    pub policy: ThreadPolicy,
    /// How a run stands among the user's others.
    pub priority: i16,
    /// How long a run may take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline: Option<String>,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// Its next slot.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next_at: Option<Timestamp>,
    /// Whether it has none.
    pub paused: bool,
}

impl From<Scheduled> for Schedule {
    fn from(scheduled: Scheduled) -> Self {
        let Scheduled { schedule, created_at, next_at, .. } = scheduled;
        Self {
            name: schedule.name,
            cron: schedule.cron,
            zone: schedule.zone,
            missed: schedule.missed,
            agent: schedule.agent,
            input: schedule.input,
            thread_id: schedule.thread.map(|thread| thread.to_string()),
            policy: schedule.policy,
            priority: schedule.priority,
            deadline: schedule.timeout.map(|timeout| humantime::format_duration(timeout).to_string()),
            created_at,
            next_at,
            paused: next_at.is_none(),
        }
    }
}

/// A schedule that is to be kept.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ScheduleOrder {
    /// As in [`Schedule`].
    pub cron: String,
    /// `UTC` otherwise.
    #[serde(default)]
    pub zone: Option<String>,
    /// `skip` otherwise.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub missed: Missed,
    /// The agent class.
    pub agent: String,
    /// What each run is given.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub input: Value,
    /// The conversation of all its runs.
    #[serde(default)]
    pub thread_id: Option<String>,
    /// `enqueue` otherwise.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub policy: ThreadPolicy,
    /// 0 otherwise.
    #[serde(default)]
    pub priority: i16,
    /// How long a run may take, as a duration.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub deadline: Option<Span>,
}

impl ScheduleOrder {
    /// As the engine takes it.
    pub(crate) fn named(self, name: &str) -> Result<insula_engine::Schedule, Problem> {
        let schedule = insula_engine::Schedule::new(name, self.cron, self.agent, self.input)
            .missed(self.missed)
            .policy(self.policy)
            .priority(self.priority);
        let schedule = match self.zone {
            Some(zone) => schedule.zone(zone),
            None => schedule,
        };
        let schedule = match self.thread_id {
            Some(thread) => schedule.thread(ThreadId::new(thread)?),
            None => schedule,
        };
        match self.deadline {
            Some(Span::Of(deadline)) => Ok(schedule.timeout(deadline)),
            Some(Span::Until(_)) => {
                Err(Problem::new(Kind::InvalidRequest, "the deadline of a schedule is a duration, 90s for example"))
            }
            None => Ok(schedule),
        }
    }
}
