//! What a user and a tenant may spend: reserved before a call, settled in the append that records it.

use std::{fmt, time::Duration};

use async_trait::async_trait;
use insula_context::{RunId, Timestamp, UserScope};
use serde::{Deserialize, Serialize};

use crate::Error;

/// How much of each thing. The same shape says what is allowed, reserved and spent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Amounts {
    /// Tokens of models.
    pub tokens: u64,
    /// Money, in millionths of the installation's currency.
    pub money: u64,
    /// Calls of tools.
    pub tool_calls: u64,
    /// Bytes of results.
    pub bytes: u64,
    /// Time of work, in milliseconds.
    pub millis: u64,
}

/// One of the things that are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Tokens of models.
    Tokens,
    /// Millionths of the installation's currency.
    Money,
    /// Calls of tools.
    ToolCalls,
    /// Bytes of results.
    Bytes,
    /// Milliseconds of work.
    Millis,
}

impl Unit {
    /// Every unit.
    pub const ALL: [Self; 5] = [Self::Tokens, Self::Money, Self::ToolCalls, Self::Bytes, Self::Millis];

    /// The stored and sent word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tokens => "tokens",
            Self::Money => "money",
            Self::ToolCalls => "tool_calls",
            Self::Bytes => "bytes",
            Self::Millis => "millis",
        }
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Amounts {
    /// How much of one unit.
    pub const fn of(&self, unit: Unit) -> u64 {
        match unit {
            Unit::Tokens => self.tokens,
            Unit::Money => self.money,
            Unit::ToolCalls => self.tool_calls,
            Unit::Bytes => self.bytes,
            Unit::Millis => self.millis,
        }
    }

    /// Whether there is nothing.
    pub fn is_zero(&self) -> bool {
        *self == Self::default()
    }

    /// Both together, saturating.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            tokens: self.tokens.saturating_add(other.tokens),
            money: self.money.saturating_add(other.money),
            tool_calls: self.tool_calls.saturating_add(other.tool_calls),
            bytes: self.bytes.saturating_add(other.bytes),
            millis: self.millis.saturating_add(other.millis),
        }
    }

    /// What is left of this without the other, at least nothing.
    #[must_use]
    pub const fn minus(self, other: Self) -> Self {
        Self {
            tokens: self.tokens.saturating_sub(other.tokens),
            money: self.money.saturating_sub(other.money),
            tool_calls: self.tool_calls.saturating_sub(other.tool_calls),
            bytes: self.bytes.saturating_sub(other.bytes),
            millis: self.millis.saturating_sub(other.millis),
        }
    }
}

/// How much of each unit is allowed; without a limit where there is none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ceiling {
    /// Tokens of models.
    pub tokens: Option<u64>,
    /// Money, in millionths of the installation's currency.
    pub money: Option<u64>,
    /// Calls of tools.
    pub tool_calls: Option<u64>,
    /// Bytes of results.
    pub bytes: Option<u64>,
    /// Time of work, in milliseconds.
    pub millis: Option<u64>,
}

impl Ceiling {
    /// The limit of one unit.
    pub const fn of(&self, unit: Unit) -> Option<u64> {
        match unit {
            Unit::Tokens => self.tokens,
            Unit::Money => self.money,
            Unit::ToolCalls => self.tool_calls,
            Unit::Bytes => self.bytes,
            Unit::Millis => self.millis,
        }
    }

    /// Whether nothing is limited.
    pub fn is_open(&self) -> bool {
        *self == Self::default()
    }

    /// The first unit of which this much is more than allowed.
    pub fn exceeded_by(&self, amounts: &Amounts) -> Option<Unit> {
        Unit::ALL.into_iter().find(|unit| self.of(*unit).is_some_and(|limit| amounts.of(*unit) > limit))
    }
}

/// Whose account is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Holder {
    /// All users of the tenant together.
    Tenant,
    /// The user.
    User,
}

/// What may be spent within a window. Windows follow one another; each starts with its first use and is as long as that
/// says. A holder has one account, and so one window at a time, also where allowances speak of several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// Whose.
    pub holder: Holder,
    /// How much.
    pub ceiling: Ceiling,
    /// Within which time.
    pub window: Duration,
}

/// The wish to spend, made before a call.
#[derive(Debug, Clone)]
pub struct Reservation {
    /// The run that calls. It may be one that is not written yet.
    pub run: RunId,
    /// Which of its calls. The same call reserves once, however often it asks before it is settled.
    pub index: u32,
    /// The most that the call is expected to cost.
    pub amounts: Amounts,
    /// What it must not exceed, together with what is spent and reserved already.
    pub allowances: Vec<Allowance>,
}

/// The answer to a reservation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reserved {
    /// Go ahead. Settle it with [`Append::spent`](crate::Append::spent).
    Granted,
    /// Not now. Nothing was reserved.
    Refused {
        /// Whose account is exhausted.
        holder: Holder,
        /// Of what.
        unit: Unit,
        /// How much is allowed.
        limit: u64,
        /// When the window ends.
        retry_after: Duration,
    },
}

/// What a call really cost, written in the append that records it. It takes the place of the call's reservation, and
/// counts in every account that is open for the run's owner, in the window in which it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spent {
    /// Which call of the run.
    pub index: u32,
    /// What it cost.
    pub amounts: Amounts,
}

/// How an account stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Balance {
    /// Spent in the current window.
    pub spent: Amounts,
    /// Reserved by calls in progress, also by those that began in an earlier window.
    pub reserved: Amounts,
    /// When the window ends; `None` when there is none now.
    pub until: Option<Timestamp>,
}

/// Accounts of users and tenants. Only who has an allowance has an account: it is opened by the first reservation. The end
/// of a run gives back what it has reserved and not settled.
#[async_trait]
pub trait Budgets: Send + Sync {
    /// Reserves, durably: two callers never share the last of anything. Of all allowances or of none; the first that
    /// does not allow it is named in the refusal.
    ///
    /// # Errors
    /// [`Error::RunEnded`] when the run has ended: nobody would give the reservation back. A refusal is not an error.
    async fn reserve(&self, scope: &UserScope, reservation: Reservation) -> Result<Reserved, Error>;

    /// How this user's account, or that of the user's tenant, stands.
    ///
    /// # Errors
    /// When the store does not answer.
    async fn balance(&self, scope: &UserScope, holder: Holder) -> Result<Balance, Error>;
}
