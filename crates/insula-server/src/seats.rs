//! How many streams each user has open. A seat is a value that a stream holds, and drop gives it back.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use insula_context::UserScope;

use crate::problem::{Kind, Problem};

type Taken = HashMap<UserScope, usize>;

/// The seats of all users.
#[derive(Debug, Clone)]
pub(crate) struct Seats {
    most: usize,
    taken: Arc<Mutex<Taken>>,
}

/// A place of one user's.
#[derive(Debug)]
pub(crate) struct Seat {
    scope: UserScope,
    taken: Arc<Mutex<Taken>>,
}

fn lock(taken: &Mutex<Taken>) -> MutexGuard<'_, Taken> {
    taken.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Seats {
    /// So many for each user.
    pub(crate) fn new(most: usize) -> Self {
        Self { most, taken: Arc::default() }
    }

    /// Takes one.
    pub(crate) fn take(&self, scope: &UserScope) -> Result<Seat, Problem> {
        let mut taken = lock(&self.taken);
        let count = taken.entry(scope.clone()).or_default();
        if *count >= self.most {
            let detail = format!("{} streams are open already, and no more are allowed: close one", self.most);
            return Err(Problem::new(Kind::Limit, detail).with("what", "streams").with("limit", self.most));
        }
        *count += 1;
        Ok(Seat { scope: scope.clone(), taken: Arc::clone(&self.taken) })
    }

    /// How many are taken, by everybody.
    pub(crate) fn taken(&self) -> usize {
        lock(&self.taken).values().sum()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = lock(&self.taken);
        if let Some(count) = taken.get_mut(&self.scope) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.scope);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seat_that_is_dropped_can_be_taken_again_and_nobody_else_notices() {
        #[expect(clippy::disallowed_methods, reason = "the test plays the authenticator")]
        let issuer = insula_context::ScopeIssuer::new();
        let (ada, bob) = (issuer.issue("t", "ada").expect("valid"), issuer.issue("t", "bob").expect("valid"));
        let seats = Seats::new(1);
        let hers = seats.take(&ada).expect("the first");
        assert_eq!(seats.take(&ada).expect_err("one too many").kind, Kind::Limit);
        let _his = seats.take(&bob).expect("another user's");
        drop(hers);
        assert!(seats.take(&ada).is_ok());
        assert_eq!(seats.taken(), 1, "a refused or dropped seat is not counted");
    }
}
