//! What a user and a tenant may spend: reserved before a call, settled in the append that records it.

use std::time::Duration;

use async_trait::async_trait;
use insula_context::{RunId, Timestamp, UserScope};
use serde::Serialize;

use crate::Error;

pub use insula_context::{Amounts, Ceiling, Unit};

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
