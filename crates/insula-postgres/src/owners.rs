//! Numbers of owners. A number is given once and never changes, so it is remembered for good; it says whose rows a
//! transaction is about.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use insula_context::{ScopeIssuer, UserScope};
use insula_infra::Error;
use sqlx::{PgConnection, PgPool};

use crate::error::Server;

/// Owners whose numbers are remembered. Beyond it they are looked up again.
const REMEMBERED: usize = 100_000;

/// Whether owners who have no number get one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Newcomers {
    /// Whoever writes for the first time gets a number.
    Number,
    /// Whoever has no number has nothing to be read.
    Leave,
}

#[derive(Debug, Default)]
pub(crate) struct Owners(Mutex<HashMap<UserScope, i64>>);

impl Owners {
    /// The number of one owner.
    pub(crate) async fn number(
        &self,
        pool: &PgPool,
        scope: &UserScope,
        newcomers: Newcomers,
    ) -> sqlx::Result<Option<i64>> {
        if let Some(number) = self.known().get(scope) {
            return Ok(Some(*number));
        }
        let mut connection = pool.acquire().await?;
        let found = self.numbers(&mut connection, std::slice::from_ref(scope), newcomers).await?;
        Ok(found.into_iter().next().flatten())
    }

    /// The numbers of all of these, in order.
    pub(crate) async fn numbers(
        &self,
        connection: &mut PgConnection,
        scopes: &[UserScope],
        newcomers: Newcomers,
    ) -> sqlx::Result<Vec<Option<i64>>> {
        let unknown: Vec<&UserScope> = {
            let known = self.known();
            scopes.iter().filter(|scope| !known.contains_key(scope)).collect()
        };
        if !unknown.is_empty() {
            let tenants: Vec<&str> = unknown.iter().map(|scope| scope.tenant().as_str()).collect();
            let users: Vec<&str> = unknown.iter().map(|scope| scope.user().as_str()).collect();
            let found = look_up(connection, &tenants, &users, newcomers).await?;
            self.remember(unknown.into_iter().zip(found));
        }
        let known = self.known();
        Ok(scopes.iter().map(|scope| known.get(scope).copied()).collect())
    }

    fn remember<'s>(&self, found: impl Iterator<Item = (&'s UserScope, Option<i64>)>) {
        let mut known = self.known();
        if known.len() >= REMEMBERED {
            known.clear();
        }
        known.extend(found.filter_map(|(scope, number)| Some((scope.clone(), number?))));
    }

    fn known(&self) -> MutexGuard<'_, HashMap<UserScope, i64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Numbers by name. A tenant itself is the user without a name.
pub(crate) async fn look_up(
    connection: &mut PgConnection,
    tenants: &[&str],
    users: &[&str],
    newcomers: Newcomers,
) -> sqlx::Result<Vec<Option<i64>>> {
    const LOOK_UP: &str = "SELECT insula.numbers_of($1, $2)";
    const NUMBER: &str = "SELECT insula.number_all($1, $2)";
    let sql = match newcomers {
        Newcomers::Leave => LOOK_UP,
        Newcomers::Number => NUMBER,
    };
    sqlx::query_scalar(sql).bind(tenants).bind(users).fetch_one(connection).await
}

/// An owner who was authenticated before anything of theirs was written, and is read back here.
#[expect(
    clippy::disallowed_methods,
    reason = "the scope was issued when its owner got a number, and is only read back"
)]
pub(crate) fn read_back(tenant: &str, user: &str, server: &Server) -> Result<UserScope, Error> {
    let damaged = |_| server.corrupt("an owner", "its tenant or user is damaged");
    ScopeIssuer::new().issue(tenant, user).map_err(damaged)
}
