//! What single users may have where it is not what everybody may, as admins have said.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use insula_context::UserScope;
use insula_engine::Limits;
use insula_infra::{Error, PlanStore};

use crate::{problem::Problem, wire::OwnLimits};

type Known = HashMap<UserScope, OwnLimits>;

/// The plans of all users. A clone is the same plans.
///
/// Hand [`Plans::limits_of`] to the engine's builder, and the plans to the server's: what an admin says then holds from the
/// user's next idle moment on. Another process on the same store reads them when it starts.
#[derive(Clone)]
pub struct Plans {
    store: Arc<dyn PlanStore>,
    known: Arc<RwLock<Known>>,
}

impl Plans {
    /// Reads what is stored.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn load(store: Arc<dyn PlanStore>) -> Result<Self, Error> {
        let mut known = Known::new();
        for (scope, plan) in store.plans().await? {
            match serde_json::from_str(plan.get()) {
                Ok(limits) => drop(known.insert(scope, limits)),
                Err(error) => tracing::warn!(user = %scope, %error, "a user's limits cannot be read: everybody's hold"),
            }
        }
        Ok(Self { store, known: Arc::new(RwLock::new(known)) })
    }

    /// What the engine asks for whenever a user comes who has nothing at the moment.
    pub fn limits_of(&self, everybody: Limits) -> impl Fn(&UserScope) -> Option<Limits> + Send + Sync + use<> {
        let plans = self.clone();
        move |scope| {
            plans.of(scope).map(|own| Limits {
                running: own.running.unwrap_or(everybody.running),
                queued: own.queued.unwrap_or(everybody.queued),
                connections: own.connections.unwrap_or(everybody.connections),
                weight: own.weight.unwrap_or(everybody.weight),
                ..everybody.clone()
            })
        }
    }

    /// What a user may have where it is not what everybody may.
    pub(crate) fn of(&self, scope: &UserScope) -> Option<OwnLimits> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).get(scope).copied()
    }

    pub(crate) async fn put(&self, scope: &UserScope, limits: OwnLimits) -> Result<(), Problem> {
        let plan = serde_json::value::to_raw_value(&limits).map_err(|error| Problem::internal(&error))?;
        self.store.put_plan(scope, plan.into()).await?;
        self.known.write().unwrap_or_else(PoisonError::into_inner).insert(scope.clone(), limits);
        Ok(())
    }

    pub(crate) async fn delete(&self, scope: &UserScope) -> Result<bool, Problem> {
        let was_there = self.store.delete_plan(scope).await?;
        self.known.write().unwrap_or_else(PoisonError::into_inner).remove(scope);
        Ok(was_there)
    }
}
