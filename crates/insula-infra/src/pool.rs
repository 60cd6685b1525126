//! Who may have a session on a user's database now: what backends with agents' own tables share.
//!
//! A user's flood stands in that user's own line. Waiting for a place is cancellation safe.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use insula_context::UserScope;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::Error;

/// How many sessions there may be, and how long one waits.
///
/// A user waits for a place of the own share first, and only then for one of all. So a user's flood stands in that user's
/// own line, and in the common one no user ever has more than a share.
#[derive(Debug, Clone)]
pub struct Pool {
    all: Arc<Semaphore>,
    shares: Arc<Mutex<HashMap<UserScope, Arc<Semaphore>>>>,
    share: usize,
    timeout: Duration,
}

/// The right to one session; dropping it gives it back.
#[derive(Debug)]
pub struct Place {
    _share: OwnedSemaphorePermit,
    _all: OwnedSemaphorePermit,
    _visit: Visit,
}

/// A user who has a session or waits for one.
#[derive(Debug)]
struct Visit {
    scope: UserScope,
    pool: Pool,
}

impl Pool {
    /// So many places in all, and so many of them for one user at a time.
    pub fn new(sessions: usize, share: usize, timeout: Duration) -> Self {
        Self { all: Arc::new(Semaphore::new(sessions)), shares: Arc::default(), share, timeout }
    }

    /// A place for this user, as soon as there is one. Cancellation safe.
    ///
    /// # Errors
    /// [`Error::Timeout`] when none became free.
    pub async fn place(&self, scope: &UserScope) -> Result<Place, Error> {
        let timeout = || Error::Timeout { operation: "open a database session", after: self.timeout };
        tokio::time::timeout(self.timeout, self.wait(scope)).await.map_err(|_| timeout())?.ok_or_else(timeout)
    }

    /// `None` only if somebody closed a semaphore, which nobody does.
    async fn wait(&self, scope: &UserScope) -> Option<Place> {
        let visit = Visit { scope: scope.clone(), pool: self.clone() };
        let share = self.share_of(scope).acquire_owned().await.ok()?;
        let all = Arc::clone(&self.all).acquire_owned().await.ok()?;
        Some(Place { _share: share, _all: all, _visit: visit })
    }

    fn share_of(&self, scope: &UserScope) -> Arc<Semaphore> {
        let share = || Arc::new(Semaphore::new(self.share));
        Arc::clone(self.shares().entry(scope.clone()).or_insert_with(share))
    }

    /// Whoever panics while holding the lock has changed one entry or none.
    fn shares(&self) -> MutexGuard<'_, HashMap<UserScope, Arc<Semaphore>>> {
        self.shares.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Visit {
    /// The last one to leave takes the entry along: the map does not grow with every user who ever came.
    fn drop(&mut self) {
        let mut shares = self.pool.shares();
        if shares.get(&self.scope).is_some_and(|share| Arc::strong_count(share) == 1) {
            shares.remove(&self.scope);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_user_who_takes_all_leaves_the_others_theirs_and_nothing_behind() {
        #[expect(clippy::disallowed_methods, reason = "the test plays the authenticator")]
        let issuer = insula_context::ScopeIssuer::new();
        let (greedy, other) = (issuer.issue("t", "greedy").expect("valid"), issuer.issue("t", "other").expect("valid"));
        let pool = Pool::new(4, 2, Duration::from_secs(1));
        let mut taken = Vec::new();
        while let Ok(place) = pool.place(&greedy).await {
            taken.push(place);
        }
        assert_eq!(taken.len(), 2);
        let theirs = pool.place(&other).await;
        assert!(theirs.is_ok());
        drop((taken, theirs));
        assert!(pool.shares().is_empty());
    }
}
