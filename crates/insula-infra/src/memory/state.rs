//! What a user's agents remember. It stands beside the user's runs, because it goes with them.

use async_trait::async_trait;
use insula_context::UserScope;

use super::store::Store;
use crate::{Error, RawJson, StateKey, StateStore, Versioned};

#[async_trait]
impl StateStore for Store {
    async fn get(&self, scope: &UserScope, key: &StateKey) -> Result<Option<Versioned>, Error> {
        Ok(self.read(scope, |owner| owner.state.get(&key.space)?.get(&key.name).cloned()))
    }

    async fn put(&self, scope: &UserScope, key: &StateKey, value: RawJson) -> Result<u64, Error> {
        self.update(scope, key, value, |_| true)
    }

    async fn compare_and_set(
        &self,
        scope: &UserScope,
        key: &StateKey,
        expected: Option<u64>,
        value: RawJson,
    ) -> Result<u64, Error> {
        self.update(scope, key, value, |found| found == expected).map_err(|error| match error {
            Error::Conflict { key, found, .. } => Error::Conflict { key, expected, found },
            other => other,
        })
    }

    async fn delete(&self, scope: &UserScope, key: &StateKey) -> Result<bool, Error> {
        let mut shard = self.shards.lock(scope);
        let Some(owner) = shard.owners.get_mut(scope) else { return Ok(false) };
        let Some(values) = owner.state.get_mut(&key.space) else { return Ok(false) };
        let removed = values.remove(&key.name).is_some();
        if values.is_empty() {
            owner.state.remove(&key.space);
        }
        shard.drop_if_empty(scope);
        Ok(removed)
    }
}

impl Store {
    fn update(
        &self,
        scope: &UserScope,
        key: &StateKey,
        value: RawJson,
        may: impl FnOnce(Option<u64>) -> bool,
    ) -> Result<u64, Error> {
        let mut shard = self.shards.lock(scope);
        let found = shard.owners.get(scope).and_then(|owner| owner.state.get(&key.space)?.get(&key.name));
        let found = found.map(|value| value.version);
        if !may(found) {
            return Err(Error::Conflict { key: key.name.clone(), expected: None, found });
        }
        let version = found.unwrap_or(0) + 1;
        let owner = shard.owners.entry(scope.clone()).or_default();
        let values = owner.state.entry(key.space.clone()).or_default();
        values.insert(key.name.clone(), Versioned { value, version });
        Ok(version)
    }
}
