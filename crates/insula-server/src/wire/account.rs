//! Who is asking, with which keys, and what was used.

use insula_context::Timestamp;
use insula_infra::{AuditRecord, KeyRecord, UsageRow, WebhookRecord};
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use serde_json::Value;
use time::{Date, Duration, OffsetDateTime, macros::format_description};
use utoipa::ToSchema;

/// Who is asking.
#[derive(Debug, Serialize, ToSchema)]
pub struct Me {
    /// The tenant.
    pub tenant_id: String,
    /// The user.
    pub user_id: String,
    /// `user`, `operator`, `admin`.
    pub roles: Vec<&'static str>,
    /// `read` or `write`.
    pub access: &'static str,
    /// What was shown.
    pub credential: MeCredential,
    /// What answers.
    pub server: MeServer,
}

/// A credential, without what is secret.
#[derive(Debug, Serialize, ToSchema)]
pub struct MeCredential {
    /// `key` or `token`.
    pub kind: &'static str,
    /// A key's id, or a token's `jti`.
    pub id: Option<String>,
    /// What its owner calls a key.
    pub name: Option<String>,
    /// When it is worth nothing any more.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
}

/// What answers.
#[derive(Debug, Serialize, ToSchema)]
pub struct MeServer {
    /// Its version.
    pub version: &'static str,
}

/// A key, without what is secret.
#[derive(Debug, Serialize, ToSchema)]
pub struct Key {
    /// The public half.
    pub key_id: String,
    /// Whose it is.
    pub tenant_id: String,
    /// Whose it is.
    pub user_id: String,
    /// What its owner calls it.
    pub name: String,
    /// `user`, `operator`, `admin`.
    pub roles: Vec<&'static str>,
    /// `read` or `write`.
    pub access: &'static str,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it is worth nothing any more.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
    /// When it was last used, to the minute.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_used_at: Option<Timestamp>,
    /// Since when it is worth nothing.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub revoked_at: Option<Timestamp>,
}

impl From<KeyRecord> for Key {
    fn from(record: KeyRecord) -> Self {
        let (roles, access) = crate::auth::granted(&record);
        Self {
            key_id: record.id,
            tenant_id: record.scope.tenant().to_string(),
            user_id: record.scope.user().to_string(),
            name: record.name,
            roles: roles.iter().map(crate::auth::Role::as_str).collect(),
            access: access.as_str(),
            created_at: record.created_at,
            expires_at: record.expires_at,
            last_used_at: record.last_used_at,
            revoked_at: record.revoked_at,
        }
    }
}

/// A new key. It is never shown again.
#[derive(Serialize, ToSchema)]
pub struct ShownKey {
    /// What goes into `Authorization: Bearer`.
    pub key: String,
    /// What it is.
    #[serde(flatten)]
    pub record: Key,
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<std::time::Duration>, D::Error> {
    let text: Option<String> = Deserialize::deserialize(deserializer)?;
    text.map(|text| humantime::parse_duration(&text).map_err(D::Error::custom)).transpose()
}

/// A key of one's own that is to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyOrder {
    /// What it is called.
    pub name: String,
    /// `read` or `write`; what the caller has otherwise, and never more.
    #[serde(default)]
    pub access: Option<String>,
    /// How long it is to be worth something, `30d` for example; for ever otherwise.
    #[serde(default, deserialize_with = "duration")]
    #[schema(value_type = Option<String>)]
    pub expires_in: Option<std::time::Duration>,
}

/// A key that an admin makes for somebody.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewKeyOrder {
    /// For whom.
    pub tenant_id: String,
    /// For whom.
    pub user_id: String,
    /// What it is called.
    pub name: String,
    /// `user`, `operator`, `admin`; `user` otherwise.
    #[serde(default)]
    pub roles: Option<Vec<String>>,
    /// `read` or `write`; `write` otherwise.
    #[serde(default)]
    pub access: Option<String>,
    /// How long it is to be worth something.
    #[serde(default, deserialize_with = "duration")]
    #[schema(value_type = Option<String>)]
    pub expires_in: Option<std::time::Duration>,
}

/// A ticket for a browser's WebSocket.
#[derive(Serialize, ToSchema)]
pub struct ShownTicket {
    /// Good once, as `?ticket=`.
    pub ticket: String,
    /// When it is worth nothing any more.
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Timestamp,
}

/// What was used.
#[derive(Debug, Serialize, ToSchema)]
pub struct UsageReport {
    /// The first day.
    pub from: String,
    /// The last day.
    pub to: String,
    /// By day, then by agent.
    pub items: Vec<UsageItem>,
}

/// What one agent class used on one day.
#[derive(Debug, Serialize, ToSchema)]
pub struct UsageItem {
    /// The day, in UTC.
    pub date: String,
    /// The agent class.
    pub agent: String,
    /// Runs that ended with a result.
    pub completed: u64,
    /// Runs that failed.
    pub failed: u64,
    /// Runs that were stopped.
    pub cancelled: u64,
    /// Tokens that were spent.
    pub tokens: u64,
    /// Money, in millionths.
    pub money: u64,
    /// From beginning to end of these runs together, in milliseconds.
    pub run_ms: u64,
    /// Half of the runs took less, to a factor of two.
    pub p50_ms: Option<u64>,
    /// 95 of 100 runs took less, to a factor of two.
    pub p95_ms: Option<u64>,
}

/// Days, from the first to the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Days {
    from: Date,
    to: Date,
}

const EPOCH: Date = OffsetDateTime::UNIX_EPOCH.date();
/// The longest time that is summed up at once, in days.
const MOST_DAYS: i64 = 3_660;
/// How far back to look when nobody says, in days.
const USUAL_DAYS: i64 = 29;

impl Days {
    /// Reads days as in `2026-03-01`; without them, those up to now.
    ///
    /// # Errors
    /// In words, when one is none or they are too many.
    pub fn read(from: Option<&str>, to: Option<&str>, now: Timestamp) -> Result<Self, String> {
        let to = match to {
            Some(text) => day(text)?,
            None => EPOCH.saturating_add(Duration::microseconds(now.as_micros())),
        };
        let from = match from {
            Some(text) => day(text)?,
            None => to.saturating_sub(Duration::days(USUAL_DAYS)),
        };
        if from > to || (to - from).whole_days() > MOST_DAYS {
            return Err(format!("from is before to, by {MOST_DAYS} days at most"));
        }
        Ok(Self { from, to })
    }

    /// The numbers of the first and the last day, as [`UsageRow::day`] counts.
    pub fn numbers(self) -> (i64, i64) {
        ((self.from - EPOCH).whole_days(), (self.to - EPOCH).whole_days())
    }
}

fn day(text: &str) -> Result<Date, String> {
    Date::parse(text, format_description!("[year]-[month]-[day]"))
        .map_err(|_| format!("\"{text}\" is no day: write 2026-03-01"))
}

impl UsageReport {
    /// What was used on these days.
    pub fn of(days: Days, rows: &[UsageRow]) -> Self {
        let items = rows.iter().map(UsageItem::from).collect();
        Self { from: days.from.to_string(), to: days.to.to_string(), items }
    }
}

impl From<&UsageRow> for UsageItem {
    fn from(row: &UsageRow) -> Self {
        Self {
            date: EPOCH.saturating_add(Duration::days(row.day)).to_string(),
            agent: row.agent.clone(),
            completed: row.completed,
            failed: row.failed,
            cancelled: row.cancelled,
            tokens: row.tokens,
            money: row.money,
            run_ms: row.run_micros / 1_000,
            p50_ms: percentile(&row.took, 50),
            p95_ms: percentile(&row.took, 95),
        }
    }
}

/// The upper bound of the bucket in which this percentile is.
fn percentile(took: &[u64], percent: u64) -> Option<u64> {
    let total: u64 = took.iter().sum();
    let rank = (total * percent).div_ceil(100).max(1);
    let mut below = 0;
    let found = took.iter().position(|count| {
        below += count;
        below >= rank
    });
    found.filter(|_| total > 0).map(|bucket| 1 << bucket)
}

/// A part of the user's audit log, oldest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct AuditList {
    /// The entries: `{number, at, action, detail, hash}`.
    #[schema(value_type = Vec<Object>)]
    pub items: Vec<AuditRecord>,
    /// The `after` of the next page, while there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
}

/// A call that tells somebody of a run's end.
#[derive(Debug, Serialize, ToSchema)]
pub struct Webhook {
    /// Of which run.
    pub run_id: String,
    /// In which conversation.
    pub thread_id: String,
    /// Where it goes.
    pub url: String,
    /// `waiting`, `due`, `delivered` or `dead`.
    pub state: &'static str,
    /// How often it was tried.
    pub attempts: u32,
    /// When it is tried next.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next_at: Option<Timestamp>,
    /// What came of the last attempt.
    pub last_error: Option<String>,
    /// When the run ended.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ended_at: Option<Timestamp>,
}

impl From<WebhookRecord> for Webhook {
    fn from(record: WebhookRecord) -> Self {
        let target: Value = serde_json::from_str(record.target.get()).unwrap_or_default();
        Self {
            run_id: record.header.run.to_string(),
            thread_id: record.header.thread.to_string(),
            url: target["url"].as_str().unwrap_or_default().to_owned(),
            state: record.state.as_str(),
            attempts: record.attempts,
            next_at: record.next_at,
            last_error: record.last_error,
            ended_at: record.ended_at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_the_upper_bound_of_its_bucket() {
        let mut took = vec![0; UsageRow::BUCKETS];
        assert_eq!(percentile(&took, 50), None);
        for millis in [0, 3, 3, 100] {
            took[UsageRow::bucket(millis * 1_000)] += 1;
        }
        assert_eq!((percentile(&took, 50), percentile(&took, 95)), (Some(4), Some(128)));
    }
}
