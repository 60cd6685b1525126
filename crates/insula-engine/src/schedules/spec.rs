//! What a schedule says, and how it is stored.

use std::time::Duration;

use insula_context::ThreadId;
use insula_infra::ThreadPolicy;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use serde_json::Value;

use super::Calendar;
use crate::{Error, RunRequest};

/// What becomes of slots that were missed because nothing worked on the queue.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Missed {
    /// They get no run.
    #[default]
    Skip,
    /// One run stands for all of them.
    Once,
    /// Each gets its run, in order.
    All,
}

impl Missed {
    /// Every rule.
    pub const ALL: [Self; 3] = [Self::Skip, Self::Once, Self::All];

    /// The stored and sent word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Skip => "skip",
            Self::Once => "once",
            Self::All => "all",
        }
    }
}

/// When, and what is to be run then.
///
/// ```
/// use insula_engine::{Missed, Schedule};
/// use serde_json::json;
///
/// let digest = Schedule::new("digest", "0 9 * * MON-FRI", "spend-report", json!("usage.csv"))
///     .zone("Europe/Rome")
///     .missed(Missed::Once);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    /// Its name, unique for its owner.
    pub name: String,
    /// Minute, hour, day, month, weekday, and seconds before them if wanted. A day that is given twice, by its number
    /// and by its weekday, is either of them.
    pub cron: String,
    /// The time zone by its name in the tz database.
    pub zone: String,
    /// What becomes of missed slots.
    pub missed: Missed,
    /// The agent class.
    pub agent: String,
    /// What each run is given.
    pub input: Value,
    /// The conversation of all its runs; each has one of its own otherwise.
    #[serde(rename = "thread_id", serialize_with = "thread_out", deserialize_with = "thread_in")]
    pub thread: Option<ThreadId>,
    /// What a run does when others are under way in the conversation.
    pub policy: ThreadPolicy,
    /// How a run stands among the user's others.
    pub priority: i16,
    /// How long a run may take, its waiting included. In the stored form as milliseconds.
    #[serde(rename = "timeout_ms", serialize_with = "millis_out", deserialize_with = "millis_in")]
    pub timeout: Option<Duration>,
}

impl Schedule {
    /// The longest name, in bytes.
    pub const NAME_BYTES: usize = 128;

    /// A schedule in UTC that skips missed slots, each run in a conversation of its own.
    pub fn new(name: impl Into<String>, cron: impl Into<String>, agent: impl Into<String>, input: Value) -> Self {
        let (name, cron, agent, zone) = (name.into(), cron.into(), agent.into(), "UTC".to_owned());
        let (missed, thread, policy, priority, timeout) = Default::default();
        Self { name, cron, zone, missed, agent, input, thread, policy, priority, timeout }
    }

    /// Read by the clock of this time zone: `Europe/Rome`.
    #[must_use]
    pub fn zone(mut self, zone: impl Into<String>) -> Self {
        self.zone = zone.into();
        self
    }

    /// What becomes of missed slots.
    #[must_use]
    pub fn missed(mut self, rule: Missed) -> Self {
        self.missed = rule;
        self
    }

    /// All runs in this conversation.
    #[must_use]
    pub fn thread(mut self, thread: ThreadId) -> Self {
        self.thread = Some(thread);
        self
    }

    /// What a run does when others are under way in the conversation.
    #[must_use]
    pub fn policy(mut self, policy: ThreadPolicy) -> Self {
        self.policy = policy;
        self
    }

    /// As [`RunRequest::priority`].
    #[must_use]
    pub fn priority(mut self, priority: i16) -> Self {
        self.priority = priority;
        self
    }

    /// As [`RunRequest::timeout`].
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Whether everything can be read; answers with its calendar.
    pub(super) fn check(&self) -> Result<Calendar, Error> {
        let problem = match &self.name {
            name if name.trim().is_empty() => Some("it is blank".to_owned()),
            name if name.len() > Self::NAME_BYTES => {
                Some(format!("it has {} bytes, at most {} are accepted", name.len(), Self::NAME_BYTES))
            }
            name if name.contains(char::is_control) => Some("it has a control character".to_owned()),
            _ => None,
        };
        match problem {
            Some(problem) => Err(Error::Schedule { field: "name", problem }),
            None => Calendar::read(&self.cron, &self.zone),
        }
    }

    /// What is submitted for a slot.
    pub(super) fn request(self) -> RunRequest {
        let mut request = RunRequest::new(self.agent, self.input).policy(self.policy).priority(self.priority);
        (request.thread, request.timeout) = (self.thread, self.timeout);
        request
    }
}

#[expect(clippy::ref_option, reason = "serde gives a reference to the field")]
fn thread_out<S: Serializer>(thread: &Option<ThreadId>, serializer: S) -> Result<S::Ok, S::Error> {
    thread.serialize(serializer)
}

fn thread_in<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<ThreadId>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|text| ThreadId::new(text).map_err(D::Error::custom)).transpose()
}

#[expect(clippy::ref_option, reason = "serde gives a reference to the field")]
fn millis_out<S: Serializer>(timeout: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    timeout.map(|timeout| u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX)).serialize(serializer)
}

fn millis_in<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    Ok(Option::<u64>::deserialize(deserializer)?.map(Duration::from_millis))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_schedule_is_read_as_it_was_written() {
        let schedule = Schedule::new("digest", "0 9 * * *", "echo", json!({"a": 1}))
            .zone("Europe/Rome")
            .missed(Missed::Once)
            .thread(ThreadId::new("talk").expect("an id"))
            .policy(ThreadPolicy::Interrupt)
            .priority(-3)
            .timeout(Duration::from_secs(9));
        let written = serde_json::to_string(&schedule).expect("it has a JSON form");
        assert_eq!(serde_json::from_str::<Schedule>(&written).expect("it is read"), schedule);
        let plain = Schedule::new("plain", "* * * * *", "echo", Value::Null);
        let written = serde_json::to_string(&plain).expect("it has a JSON form");
        assert_eq!(serde_json::from_str::<Schedule>(&written).expect("it is read"), plain);
    }

    #[test]
    fn a_name_that_is_none_is_refused() {
        for name in ["", "  ", "a\nb", &"x".repeat(129)] {
            let refused = Schedule::new(name, "* * * * *", "echo", Value::Null).check();
            assert!(matches!(refused, Err(Error::Schedule { field: "name", .. })), "{name:?}");
        }
    }
}
