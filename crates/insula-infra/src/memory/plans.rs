//! Plans of users.

use std::{collections::BTreeMap, sync::Mutex};

use async_trait::async_trait;
use insula_context::UserScope;

use super::shard::lock;
use crate::{Error, PlanStore, RawJson};

/// Every plan.
#[derive(Debug, Default)]
pub(super) struct Plans(Mutex<BTreeMap<UserScope, RawJson>>);

#[async_trait]
impl PlanStore for Plans {
    async fn plans(&self) -> Result<Vec<(UserScope, RawJson)>, Error> {
        Ok(lock(&self.0).iter().map(|(scope, plan)| (scope.clone(), RawJson::clone(plan))).collect())
    }

    async fn put_plan(&self, scope: &UserScope, plan: RawJson) -> Result<(), Error> {
        lock(&self.0).insert(scope.clone(), plan);
        Ok(())
    }

    async fn delete_plan(&self, scope: &UserScope) -> Result<bool, Error> {
        Ok(lock(&self.0).remove(scope).is_some())
    }
}
