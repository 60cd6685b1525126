//! What single users may have where it is not what everybody may. Works across owners: for whoever admits them.

use async_trait::async_trait;
use insula_context::UserScope;

use crate::{Error, RawJson};

/// Plans of users. There are few: of most users there is none.
#[async_trait]
pub trait PlanStore: Send + Sync {
    /// All of them, sorted by owner.
    ///
    /// # Errors
    /// When the store does not answer.
    async fn plans(&self) -> Result<Vec<(UserScope, RawJson)>, Error>;

    /// Keeps a user's plan, in place of the one before. The store does not read it. Durable when it returns.
    ///
    /// # Errors
    /// When the store does not answer.
    async fn put_plan(&self, scope: &UserScope, plan: RawJson) -> Result<(), Error>;

    /// Removes a user's plan, and says whether there was one.
    ///
    /// # Errors
    /// When the store does not answer.
    async fn delete_plan(&self, scope: &UserScope) -> Result<bool, Error>;
}
