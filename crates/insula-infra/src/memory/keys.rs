//! Keys of all users. They outlive their owner's runs and threads.

use std::{collections::HashMap, sync::Mutex};

use async_trait::async_trait;
use insula_context::{Timestamp, UserScope};

use super::{arrivals::Arrivals, shard::lock};
use crate::{Error, KeyRecord, KeyStore, Page, PageRequest};

/// Every key that was ever made.
#[derive(Debug, Default)]
pub(super) struct Keyring(Mutex<Keys>);

#[derive(Debug, Default)]
struct Keys {
    by_id: HashMap<String, KeyRecord>,
    order: Arrivals<String>,
}

#[async_trait]
impl KeyStore for Keyring {
    async fn add_key(&self, key: KeyRecord) -> Result<(), Error> {
        let mut keys = lock(&self.0);
        if keys.by_id.contains_key(&key.id) {
            return Err(Error::KeyExists { key: key.id });
        }
        keys.order.push(key.id.clone());
        keys.by_id.insert(key.id.clone(), key);
        Ok(())
    }

    async fn key(&self, id: &str) -> Result<Option<KeyRecord>, Error> {
        Ok(lock(&self.0).by_id.get(id).cloned())
    }

    async fn keys(&self, owner: Option<&UserScope>, page: &PageRequest) -> Result<Page<KeyRecord>, Error> {
        let keys = lock(&self.0);
        keys.order.page(page, |id| keys.by_id.get(id).filter(|key| is_of(key, owner)).cloned())
    }

    async fn key_used(&self, id: &str, at: Timestamp) -> Result<(), Error> {
        if let Some(key) = lock(&self.0).by_id.get_mut(id) {
            key.last_used_at = key.last_used_at.max(Some(at));
        }
        Ok(())
    }

    async fn revoke_key(&self, owner: Option<&UserScope>, id: &str, at: Timestamp) -> Result<Option<KeyRecord>, Error> {
        let mut keys = lock(&self.0);
        let Some(key) = keys.by_id.get_mut(id).filter(|key| is_of(key, owner)) else { return Ok(None) };
        key.revoked_at.get_or_insert(at);
        Ok(Some(key.clone()))
    }
}

fn is_of(key: &KeyRecord, owner: Option<&UserScope>) -> bool {
    owner.is_none_or(|owner| *owner == key.scope)
}
